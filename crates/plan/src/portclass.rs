//! Port classes: packets that no class of a profile tells apart.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use tortie_model::{IpProtocol, Traffic};
use tortie_policy::{Regions, Scope};

use crate::number::Numbers;
use crate::plan::{ClassId, PathId, PortClassId};
use crate::table::Column;

/// The port classes of one profile. Each has a sample: a packet that stands for it. What a class decides for a port
/// class is what it decides for the sample, whatever else moves in or out, so that a row never changes.
#[derive(Clone, Debug)]
pub(crate) struct PortClasses {
    regions: Regions<PortClassId>,
    /// `None` stands for the protocols that no rule names.
    samples: BTreeMap<PortClassId, Option<Traffic>>,
}

impl Default for PortClasses {
    fn default() -> Self {
        Self { regions: Regions::uniform(PortClassId(0)), samples: [(PortClassId(0), None)].into() }
    }
}

/// A port class until now, and a fingerprint of what each class decides.
type Fingerprint = (PortClassId, u128);

impl PortClasses {
    pub(crate) const fn regions(&self) -> &Regions<PortClassId> {
        &self.regions
    }

    pub(crate) fn samples(&self) -> impl Iterator<Item = (PortClassId, Option<Traffic>)> {
        self.samples.iter().map(|(port, sample)| (*port, *sample))
    }

    /// Splits port classes until these columns decide every one alike. A number stays with its sample; port classes
    /// never merge, since a packet may be between the lookup of its port and that of its row.
    pub(crate) fn split(&mut self, columns: &[(ClassId, &Column)], numbers: &mut Numbers) {
        let cut = self.fingerprints(columns);
        let mut found: BTreeMap<Fingerprint, PortClassId> = BTreeMap::new();
        for (port, sample) in &self.samples {
            found.insert(sample.map_or_else(|| *cut.rest(), |traffic| *cut.get(traffic)), *port);
        }
        for (scope, fingerprint) in cut.iter() {
            found.entry(*fingerprint).or_insert_with(|| {
                let port = numbers.port_class();
                let sample = match scope {
                    Scope::Range(protocol, range) => Some(Traffic { protocol, detail: *range.start() }),
                    Scope::Rest => None,
                };
                self.samples.insert(port, sample);
                port
            });
        }
        self.regions = cut.map(|fingerprint| found[fingerprint]);
    }

    /// One sweep per protocol over the ends of all ranges: the sum of differences from what the columns decide for
    /// unnamed protocols.
    fn fingerprints(&self, columns: &[(ClassId, &Column)]) -> Regions<Fingerprint> {
        let mut places: BTreeMap<IpProtocol, BTreeMap<u16, (u128, Option<PortClassId>)>> = BTreeMap::new();
        for (class, column) in columns {
            for (protocol, ranges) in column.protocols() {
                let places = places.entry(protocol).or_default();
                let mut before = column.rest();
                for (range, path) in ranges {
                    let change = fingerprint(*class, *path).wrapping_sub(fingerprint(*class, *before));
                    let place = places.entry(*range.start()).or_default();
                    place.0 = place.0.wrapping_add(change);
                    before = path;
                }
            }
        }
        for (protocol, ranges) in self.regions.protocols() {
            let places = places.entry(protocol).or_default();
            for (range, port) in ranges {
                places.entry(*range.start()).or_default().1 = Some(*port);
            }
        }
        let protocols = places.into_iter().map(|(protocol, places)| {
            let ends = places.keys().skip(1).map(|start| start - 1).chain([*protocol.details().end()]);
            let ends: Vec<u16> = ends.collect();
            let mut at = (*self.regions.rest(), 0_u128);
            let pieces = places.iter().zip(ends).map(|((start, (change, port)), end)| {
                at = (port.unwrap_or(at.0), at.1.wrapping_add(*change));
                (*start..=end, at)
            });
            (protocol, pieces.collect::<Vec<_>>())
        });
        Regions::new(protocols, (*self.regions.rest(), 0))
    }
}

/// 128 bits, so that two different sets of decisions do not meet by chance.
fn fingerprint(class: ClassId, path: PathId) -> u128 {
    let half = |salt: u8| {
        let mut hasher = DefaultHasher::new();
        (salt, class, path).hash(&mut hasher);
        u128::from(hasher.finish())
    };
    half(1) << 64 | half(2)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use tortie_model::Protocol;

    fn column(port: u16, there: u32, elsewhere: u32) -> Column {
        let (there, elsewhere) = (PathId(there), PathId(elsewhere));
        let ranges = vec![(0..=port - 1, elsewhere), (port..=port, there), (port + 1..=u16::MAX, elsewhere)];
        Regions::new([(IpProtocol::TCP, ranges)], elsewhere)
    }

    fn at(ports: &PortClasses, port: u16) -> u32 {
        ports.regions().get(Traffic::port(Protocol::Tcp, port)).0
    }

    #[test]
    fn packets_share_a_class_until_a_column_tells_them_apart() {
        let (a, b) = (column(80, 7, 1), column(443, 8, 1));
        let mut numbers = Numbers::default();
        let mut ports = PortClasses::default();
        ports.split(&[(ClassId(0), &Column::uniform(PathId(1))), (ClassId(1), &a)], &mut numbers);
        assert_eq!((at(&ports, 79), at(&ports, 80), at(&ports, 443)), (0, 1, 0));
        ports.split(&[(ClassId(1), &a), (ClassId(2), &b)], &mut numbers);
        assert_eq!((at(&ports, 79), at(&ports, 80), at(&ports, 443)), (0, 1, 2));
        let before = ports.clone();
        ports.split(&[(ClassId(1), &a)], &mut numbers);
        assert_eq!(before.regions(), ports.regions(), "nothing merges while packets may hold a number");
        assert_eq!(ports.samples().collect::<BTreeSet<_>>().len(), 3);
        assert_eq!(*ports.regions().rest(), PortClassId(0));
    }

    #[test]
    fn equal_decisions_on_different_ports_share_a_class() {
        let ranges = [(0..=79, 1), (80..=80, 7), (81..=442, 1), (443..=443, 7), (444..=u16::MAX, 1)];
        let column = Regions::new([(IpProtocol::TCP, ranges.map(|(r, p)| (r, PathId(p))).into())], PathId(1));
        let mut ports = PortClasses::default();
        ports.split(&[(ClassId(3), &column)], &mut Numbers::default());
        assert_eq!((at(&ports, 80), at(&ports, 443), at(&ports, 81)), (1, 1, 0));
    }

    #[test]
    fn a_packet_keeps_its_number_or_gets_one_never_used() {
        let range = |from: u16, to: u16, path: u32| {
            let (path, rest) = (PathId(path), PathId(1));
            let ranges = vec![(0..=from - 1, rest), (from..=to, path), (to + 1..=u16::MAX, rest)];
            Regions::new([(IpProtocol::TCP, ranges)], rest)
        };
        let wide = range(100, 200, 7);
        let mut numbers = Numbers::default();
        let mut ports = PortClasses::default();
        ports.split(&[(ClassId(1), &wide)], &mut numbers);
        let last = numbers.port_class;
        let before = ports.regions().clone();
        ports.split(&[(ClassId(1), &wide), (ClassId(2), &range(150, 250, 8))], &mut numbers);
        for port in [99, 100, 149, 150, 200, 201, 250, 251] {
            let traffic = Traffic::port(Protocol::Tcp, port);
            let (old, new) = (*before.get(traffic), *ports.regions().get(traffic));
            assert!(new == old || new.0 > last, "port {port} goes from {old} to {new}");
        }
        let distinct: BTreeSet<_> = [99, 120, 160, 220].map(|p| at(&ports, p)).into();
        assert_eq!(distinct.len(), 4);
        assert_eq!((at(&ports, 120), at(&ports, 251)), (1, 0), "the sample's part keeps the number");
    }
}
