//! The classes of packets that nobody tells apart.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;

use super::IpVersion;
use super::cuts::{Cuts, Interval, Layout, last};
use super::set::ClassSet;
use crate::machine::{Connection, Interface, Packet};

/// A class of protocols and ports, by one that stands for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TrafficClass {
    /// Protocol number.
    pub protocol: u8,
    /// Destination port, or ICMP type and code; 0 for protocols without.
    pub detail: u16,
    /// Source port; 0 for protocols without.
    pub source_port: u16,
    /// The transport header is missing. Connection tracking finds such packets invalid, but it may be told to look away,
    /// and does not know the ICMP of the other version.
    pub headless: bool,
}

/// Addresses and traffic of one IP version, as classes: what is compared tells no two packets apart whose source,
/// destination and traffic are of the same classes.
#[derive(Debug)]
pub struct Space {
    /// The IP version.
    pub version: IpVersion,
    addresses: Vec<IpAddr>,
    traffic: Vec<TrafficClass>,
    layouts: Vec<Layout>,
}

/// Addresses that show better than the lowest of their class.
const SHOWN: [&str; 6] = ["203.0.113.1", "198.51.100.1", "8.8.8.8", "2001:db8::1", "2606:4700::1111", "fd00::1"];

/// A source port that shows better than the lowest of its class: one that a client would choose.
const SHOWN_PORT: u16 = 49152;

impl Space {
    /// The classes between these cuts.
    #[must_use]
    pub fn new(version: IpVersion, cuts: &Cuts) -> Self {
        let none = BTreeSet::new();
        let intervals = cuts.addresses.get(&version).unwrap_or(&none).iter().copied();
        let classes = classes(intervals, last(version.bits()));
        let shown = SHOWN.map(|a| IpVersion::split(a.parse().expect("an address")));
        let sample = |members: &Vec<Interval>| {
            let fits =
                |(v, ip): &&(IpVersion, u128)| *v == version && members.iter().any(|(from, to)| from <= ip && ip <= to);
            version.address(shown.iter().find(fits).map_or(members[0].0, |(_, ip)| *ip))
        };
        let addresses = classes.iter().map(sample).collect();
        let mut found: BTreeMap<(Layout, bool, Vec<usize>), TrafficClass> = BTreeMap::new();
        let mut first = 0;
        let rects: HashMap<Layout, Vec<(usize, _)>> = [Layout::Port, Layout::Type, Layout::Opaque]
            .into_iter()
            .map(|layout| {
                let of: Vec<_> = cuts.traffic.get(&(version, layout)).into_iter().flatten().copied().collect();
                let numbered: Vec<_> = of.into_iter().enumerate().map(|(n, rect)| (first + n, rect)).collect();
                first += numbered.len();
                (layout, numbered)
            })
            .collect();
        for protocol in 0..=u8::MAX {
            let layout = Layout::of(protocol);
            let here: Vec<_> =
                rects[&layout].iter().filter(|(_, r)| r.protocols.0 <= protocol && protocol <= r.protocols.1).collect();
            if layout == Layout::Opaque {
                let ids = here.iter().filter(|(_, r)| r.details.0 == 0).map(|(n, _)| *n).collect();
                let class = TrafficClass { protocol, detail: 0, source_port: 0, headless: false };
                found.entry((layout, false, ids)).or_insert(class);
                continue;
            }
            let whole = here.iter().filter(|(_, r)| r.details == (0, u16::MAX)).map(|(n, _)| *n).collect();
            let class = TrafficClass { protocol, detail: 0, source_port: 0, headless: true };
            found.entry((layout, true, whole)).or_insert(class);
            let mut starts: BTreeSet<u16> = [0].into();
            for (_, rect) in &here {
                starts.insert(rect.details.0);
                starts.extend(rect.details.1.checked_add(1));
            }
            for detail in starts {
                let ids = here.iter().filter(|(_, r)| r.details.0 <= detail && detail <= r.details.1);
                let ids = ids.map(|(n, _)| *n).collect();
                found.entry((layout, false, ids)).or_insert(TrafficClass {
                    protocol,
                    detail,
                    source_port: 0,
                    headless: false,
                });
            }
        }
        let cut: Vec<u16> = [0].into_iter().chain(cuts.sources.iter().copied().filter(|port| *port != 0)).collect();
        let sources: Vec<u16> = cut
            .iter()
            .zip(cut.iter().skip(1).map(|next| next - 1).chain([u16::MAX]))
            .map(|(from, to)| if (*from..=to).contains(&SHOWN_PORT) { SHOWN_PORT } else { *from })
            .collect();
        let from_each = |class: TrafficClass| -> Vec<TrafficClass> {
            if class.headless || Layout::of(class.protocol) != Layout::Port {
                return vec![class];
            }
            sources.iter().map(|port| TrafficClass { source_port: *port, ..class }).collect()
        };
        let traffic: Vec<TrafficClass> = found.into_values().flat_map(from_each).collect();
        let layouts = traffic.iter().map(|t| Layout::of(t.protocol)).collect();
        Self { version, addresses, traffic, layouts }
    }

    /// An address of each class.
    #[must_use]
    pub fn addresses(&self) -> &[IpAddr] {
        &self.addresses
    }

    /// Traffic of each class.
    #[must_use]
    pub fn traffic(&self) -> &[TrafficClass] {
        &self.traffic
    }

    /// The classes of addresses for which something holds.
    pub fn addresses_where(&self, mut holds: impl FnMut(IpAddr) -> bool) -> ClassSet {
        ClassSet::of(self.addresses.len(), |class| holds(self.addresses[class]))
    }

    /// The classes of traffic for which something holds.
    pub fn traffic_where(&self, mut holds: impl FnMut(TrafficClass) -> bool) -> ClassSet {
        ClassSet::of(self.traffic.len(), |class| holds(self.traffic[class]))
    }

    pub(super) fn layout_of(&self, class: usize) -> Layout {
        self.layouts[class]
    }

    /// The packet that stands for these classes.
    #[must_use]
    pub fn packet(
        &self,
        input: Option<&Interface>,
        connection: Connection,
        [source, destination, traffic]: [usize; 3],
    ) -> Packet {
        let TrafficClass { protocol, detail, source_port, headless } = self.traffic[traffic];
        let [high, low] = detail.to_be_bytes();
        let [from_high, from_low] = source_port.to_be_bytes();
        let transport = match self.layouts[traffic] {
            _ if headless => vec![],
            Layout::Port => vec![from_high, from_low, high, low, 0, 0, 0, 0],
            Layout::Type => vec![high, low, 0, 0, 0, 0, 0, 0],
            Layout::Opaque => vec![0; 8],
        };
        let mut packet = Packet::new(self.addresses[source], self.addresses[destination], protocol, transport);
        packet.input = input.cloned();
        packet.connection = connection;
        packet
    }
}

/// Interfaces that are told apart: all names between the cuts with all numbers between the cuts, without those that
/// are known.
pub(super) fn interfaces(cuts: &Cuts, known: &[Interface]) -> Vec<Interface> {
    let number = |i: &Interface| super::cuts::number(&i.index.to_ne_bytes());
    let name = |i: &Interface| super::cuts::number(&i.padded_name());
    let mut inputs = cuts.inputs.clone();
    inputs.extend(known.iter().map(|i| (number(i), number(i))));
    let mut names = cuts.names.clone();
    names.extend(known.iter().map(|i| (name(i), name(i))));
    let is_known = |value: u128, of: &dyn Fn(&Interface) -> u128| known.iter().any(|i| of(i) == value);
    let mut numbers: BTreeSet<u32> = BTreeSet::new();
    for members in classes(each(&inputs), last(32)) {
        let alone = members.len() == 1 && members[0].0 == members[0].1 && is_known(members[0].0, &number);
        let usable = members.iter().flat_map(|(from, to)| [*from, *to, to.saturating_sub(1).max(*from)]);
        let indices = usable.map(|n| u32::from_ne_bytes(u32::try_from(n).unwrap_or_default().to_be_bytes()));
        numbers.extend(indices.filter(|n| *n > 0 && !alone).take(1));
    }
    let mut texts: BTreeSet<String> = BTreeSet::new();
    for members in classes(each(&names), u128::MAX) {
        let inside = |n: &u128| members.iter().any(|(from, to)| from <= n && n <= to);
        let samples = ["eth0", "a", "zz"].map(|s| name(&Interface { name: s.to_owned(), index: 0 }));
        let ends = members.iter().flat_map(|(from, to)| [*from, from | 0x7a << 8, *to]);
        let candidates = samples.into_iter().filter(inside).chain(ends.filter(inside));
        texts.extend(candidates.filter(|n| !is_known(*n, &name)).find_map(text));
    }
    let pair = |n: &u32| texts.iter().map(|t| Interface { name: t.clone(), index: *n }).collect::<Vec<_>>();
    let mut out: Vec<Interface> = numbers.iter().flat_map(pair).collect();
    out.push(Interface { name: "lo".to_owned(), index: 1 });
    out.extend(known.iter().cloned());
    out
}

/// The name that sixteen bytes are, if an interface can be called so.
fn text(name: u128) -> Option<String> {
    let bytes = name.to_be_bytes();
    let len = bytes.iter().position(|b| *b == 0)?;
    let fine = len > 0 && bytes[len..].iter().all(|b| *b == 0);
    (fine && bytes[..len].iter().all(u8::is_ascii_graphic)).then(|| String::from_utf8_lossy(&bytes[..len]).into_owned())
}

/// Intervals that all mean something else.
fn each(intervals: &BTreeSet<Interval>) -> impl Iterator<Item = (Interval, usize)> + '_ {
    intervals.iter().copied().zip(0..)
}

/// The values between all these intervals, those of the same meanings together.
fn classes(intervals: impl Iterator<Item = (Interval, usize)>, last: u128) -> Vec<Vec<Interval>> {
    let mut places: BTreeMap<u128, (Vec<usize>, Vec<usize>)> = [(0, <_>::default())].into();
    for ((from, to), meaning) in intervals {
        places.entry(from).or_default().0.push(meaning);
        if to < last {
            places.entry(to + 1).or_default().1.push(meaning);
        }
    }
    let ends: Vec<u128> = places.keys().skip(1).map(|p| p - 1).chain([last]).collect();
    // With how many intervals that mean it are open.
    let mut open: BTreeMap<usize, usize> = BTreeMap::new();
    let mut found: BTreeMap<Vec<usize>, Vec<Interval>> = BTreeMap::new();
    for ((from, (opens, closes)), to) in places.into_iter().zip(ends) {
        for meaning in opens {
            *open.entry(meaning).or_default() += 1;
        }
        for meaning in closes {
            if let Some(count) = open.get_mut(&meaning) {
                *count -= 1;
                if *count == 0 {
                    open.remove(&meaning);
                }
            }
        }
        found.entry(open.keys().copied().collect()).or_default().push((from, to));
    }
    found.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn values_in_the_same_intervals_are_one_class() {
        let intervals = [((10, 20), 0), ((15, 30), 1), ((40, 40), 0), ((50, 60), 2), ((55, 255), 2)];
        let mut found = classes(intervals.into_iter(), 255);
        found.sort();
        let wanted: [&[Interval]; 5] = [
            &[(0, 9), (31, 39), (41, 49)],
            &[(10, 14), (40, 40)],
            &[(15, 20)],
            &[(21, 30)],
            &[(50, 54), (55, 60), (61, 255)],
        ];
        assert_eq!(found, wanted);
    }

    #[test]
    fn addresses_of_one_meaning_stand_for_each_other() {
        let mut cuts = Cuts::default();
        for (address, meaning) in [("10.0.0.1", 0), ("10.0.0.2", 0), ("10.0.0.3", 1)] {
            cuts.address(ip(address), meaning);
        }
        cuts.addresses(ip("10.0.0.0"), ip("10.255.255.255"));
        let space = Space::new(IpVersion::V4, &cuts);
        // The two, the third, the rest of the block, and all others.
        assert_eq!(space.addresses().len(), 4);
        assert!(space.addresses().contains(&ip("203.0.113.1")), "one that shows well: {:?}", space.addresses());
        assert_eq!(Space::new(IpVersion::V6, &cuts).addresses(), [ip("2001:db8::1")]);
    }

    #[test]
    fn traffic_is_told_apart_by_port_and_by_whether_there_is_one() {
        let mut cuts = Cuts::default();
        cuts.traffic(6, 80..=89);
        let space = Space::new(IpVersion::V4, &cuts);
        let has = |protocol, detail, headless| {
            let same = |t: &&TrafficClass| t.protocol == protocol && t.detail == detail && t.headless == headless;
            space.traffic().iter().any(|t| same(&t))
        };
        assert!(has(6, 80, false));
        let of = |holds: &dyn Fn(&TrafficClass) -> bool| space.traffic().iter().filter(|t| holds(t)).count();
        assert_eq!(of(&|t| t.protocol == 6 && t.detail == 80), 1);
        assert_eq!(of(&|t| t.protocol == 6 && t.detail == 90), 0, "as any other port of any protocol");
        assert_eq!(of(&|t| t.headless), 2, "of those with ports, and of ICMP");
        for class in 0..space.traffic().len() {
            let packet = space.packet(None, Connection::new(), [0, 0, class]);
            assert_eq!(packet.protocol, space.traffic()[class].protocol);
            assert_eq!(packet.transport.is_empty(), space.traffic()[class].headless);
        }
    }

    #[test]
    fn interfaces_are_the_known_ones_and_one_of_each_other_kind() {
        let known = [Interface { name: "tor1".into(), index: 7 }];
        let mut cuts = Cuts::default();
        let prefix = super::super::cuts::number(&{
            let mut name = b"tor".to_vec();
            name.resize(16, 0);
            name
        });
        cuts.names.insert((prefix, prefix | last(13 * 8)));
        let found = interfaces(&cuts, &known);
        assert_eq!(found.iter().filter(|i| **i == known[0]).count(), 1);
        assert!(found.iter().any(|i| i.name.starts_with("tor") && i.index != 7), "another of the kind: {found:?}");
        assert!(found.iter().any(|i| !i.name.starts_with("tor") && i.index != 7 && i.index != 1), "{found:?}");
        assert!(found.contains(&Interface { name: "lo".into(), index: 1 }));
    }
}
