//! Names and sizes of maps, and names of chains.
//!
//! Everything but base chains and a few fixed ones carries a number in its name, as in `cls.3`: the version of the
//! layout that made it. A map that would grow too small is made anew beside the old one under the next version, and
//! the base chains are switched to it; nothing is rebuilt while packets use it. A map of address ranges is made anew
//! whenever a range changes, and the chains that look into it with it: before the set fixes of 2025, kernels miss elements
//! of an interval map while other ranges of it are exchanged (measured on Linux 6.1). Such chains cost: for each rule that
//! looks into a map, the kernel walks through the whole map (`nf_tables_bind_set`). What leads to them stays.

use std::collections::BTreeMap;

use tortie_model::{Direction, Family};
use tortie_ruleset::{DataType, Element, KeyType, MapKind, MapSpec, Table};

use super::path::Act;
use super::prefix::letter;

/// Fewest elements that a hash map has room for.
const SMALLEST: u32 = 512;

/// Which of the two looks at the peer's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Stage {
    /// By pod identity.
    Pod,
    /// By range of addresses, for peers that are no pods.
    Range,
}

/// What a map is for.
///
/// The order of the variants is the order in which additions reach the kernel: a map comes after those that are looked
/// up with its results. Pods' own addresses come last, because a pod must be closed until its profiles are there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Slot {
    /// Path and profile to the chain that carries the path out.
    Act(Direction, Stage),
    /// Port class and class to path.
    Decision,
    /// Protocol and profile to port class, for protocols without ports.
    Protocol,
    /// Protocol, port and profile to port class.
    Port,
    /// Port, protocol and profile to port class, for ranges of ports.
    PortRange,
    /// Identity and profile to class.
    Class,
    /// Address to identity, for addresses of no pod.
    Range(Family),
    /// Address to identity.
    Identity(Family),
    /// Pairs of addresses of one pod of this node.
    Own(Family),
    /// Address and interface of a pod to its egress profile.
    Egress(Family),
    /// Address of a pod to its ingress profile.
    Ingress(Family),
    /// Interface and address that belong together.
    Legit(Family),
    /// Addresses of pods of this node.
    Local(Family),
}

/// Numbers in the kernel are four bytes in host order, and map data eight: a zero and the value. `nft` believes that
/// the result of a map lookup has no length and stops at its use as a key; so the value lands, one register further
/// on, over a field that the rule loaded there, and `nft list ruleset` shows that field.
const PAIR: DataType = DataType::Value { len: 8, nft_type: 19 << 6 | 19 };

/// `4` or `6`.
pub(crate) const fn digit(family: Family) -> char {
    match family {
        Family::V4 => '4',
        Family::V6 => '6',
    }
}

impl Slot {
    pub(crate) fn all() -> Vec<Self> {
        let mut all = vec![Self::Decision, Self::Protocol, Self::Port, Self::PortRange, Self::Class];
        for direction in Direction::BOTH {
            all.extend([Self::Act(direction, Stage::Pod), Self::Act(direction, Stage::Range)]);
        }
        for f in Family::ALL {
            all.extend([Self::Range(f), Self::Identity(f), Self::Own(f), Self::Egress(f), Self::Ingress(f)]);
            all.extend([Self::Legit(f), Self::Local(f)]);
        }
        all.sort_unstable();
        all
    }

    fn stem(self) -> String {
        match self {
            Self::Act(d, Stage::Pod) => format!("{}act", letter(d)),
            Self::Act(d, Stage::Range) => format!("{}cact", letter(d)),
            Self::Decision => "dec".to_owned(),
            Self::Protocol => "oth".to_owned(),
            Self::Port => "prt".to_owned(),
            Self::PortRange => "prr".to_owned(),
            Self::Class => "cls".to_owned(),
            Self::Range(f) => format!("cidr{}", digit(f)),
            Self::Identity(f) => format!("id{}", digit(f)),
            Self::Own(f) => format!("self{}", digit(f)),
            Self::Egress(f) => format!("eprof{}", digit(f)),
            Self::Ingress(f) => format!("iprof{}", digit(f)),
            Self::Legit(f) => format!("legit{}", digit(f)),
            Self::Local(f) => format!("local{}", digit(f)),
        }
    }

    /// The slot and version of a map's name.
    pub(crate) fn of(name: &str) -> Option<(Self, u32)> {
        let (stem, version) = name.rsplit_once('.')?;
        Some((Self::all().into_iter().find(|s| s.stem() == stem)?, version.parse().ok()?))
    }

    pub(crate) fn spec(self, size: Option<u32>) -> MapSpec {
        let address = |f| match f {
            Family::V4 => KeyType::Ipv4,
            Family::V6 => KeyType::Ipv6,
        };
        let (key, data) = match self {
            Self::Act(..) => (vec![KeyType::Mark, KeyType::Mark], Some(DataType::Verdict)),
            Self::Decision | Self::Class => (vec![KeyType::Mark, KeyType::Mark], Some(PAIR)),
            Self::Protocol => (vec![KeyType::Proto, KeyType::Mark], Some(PAIR)),
            Self::Port => (vec![KeyType::Proto, KeyType::Port, KeyType::Mark], Some(PAIR)),
            // pipapo is fast only when the field that tells most apart comes first.
            Self::PortRange => (vec![KeyType::Port, KeyType::Proto, KeyType::Mark], Some(PAIR)),
            Self::Range(f) | Self::Identity(f) | Self::Ingress(f) => (vec![address(f)], Some(PAIR)),
            Self::Own(f) => (vec![address(f), address(f)], None),
            Self::Egress(f) => (vec![KeyType::IfIndex, address(f)], Some(PAIR)),
            Self::Legit(f) => (vec![KeyType::IfIndex, address(f)], None),
            Self::Local(f) => (vec![address(f)], None),
        };
        let kind = if self.is_interval() { MapKind::Interval } else { MapKind::Hash };
        MapSpec { key, data, kind, size, counter: false, timeout: false }
    }

    /// Whether its keys are ranges: such a map's new contents appear later than the rest of their transaction.
    pub(crate) const fn is_interval(self) -> bool {
        matches!(self, Self::PortRange | Self::Range(_))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Placement {
    version: u32,
    /// Room for elements; hash maps only.
    size: Option<u32>,
}

/// Names and sizes in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    /// The version in which this process began to give out numbers: paths of another process may mean something else.
    epoch: u32,
    /// Of the program.
    version: u32,
    /// The last version given out.
    last: u32,
    /// Whether some profile needs port ranges in a map of their own, which then holds the single ports too: a packet
    /// that the map of exact ports does not know starts over there. Where none does, a port that is not in the exact
    /// map is in no class, and no packet asks twice.
    port_ranges: bool,
    maps: BTreeMap<Slot, Placement>,
}

impl Layout {
    /// A layout without maps, whose names differ from all in `actual`.
    #[must_use]
    pub(crate) fn after(actual: Option<&Table>) -> Self {
        let names = actual.into_iter().flat_map(|t| t.maps.keys().chain(t.chains.keys()));
        let last = names.filter_map(|n| n.rsplit_once('.')?.1.parse::<u32>().ok()).max().unwrap_or_default();
        Self { epoch: last + 1, version: last + 1, last: last + 1, port_ranges: false, maps: BTreeMap::new() }
    }

    /// The layout of a table that was lowered before; `None` when it is not such a table.
    #[must_use]
    pub(crate) fn of(table: &Table) -> Option<Self> {
        let mut maps = BTreeMap::new();
        let mut port_ranges = false;
        for (name, (spec, elements)) in &table.maps {
            let (slot, version) = Slot::of(name)?;
            if slot == Slot::Port {
                port_ranges = !elements.iter().any(|e| matches!(e, Element::CatchAll { .. }));
            }
            maps.insert(slot, Placement { version, size: spec.size });
        }
        let version = |stem: &str| {
            let mut versions = table.chains.keys().filter_map(|n| n.strip_prefix(stem)?.parse::<u32>().ok());
            versions.next().filter(|_| versions.next().is_none())
        };
        let path = table.chains.keys().find(|n| ["allow_", "deny_", "fork_"].iter().any(|stem| n.starts_with(stem)));
        let epoch = match path {
            Some(name) => name.rsplit_once('.')?.1.parse().ok()?,
            None => version("host.")?,
        };
        let complete = Slot::all().iter().all(|slot| maps.contains_key(slot));
        let version = version("host.")?;
        let last = maps.values().map(|p: &Placement| p.version).chain([version]).max()?;
        complete.then_some(Self { epoch, version, last, port_ranges, maps })
    }

    /// The layout that also has room for so many elements in each map: the same, or one of the next version.
    #[must_use]
    pub(crate) fn fit(&self, needs: &BTreeMap<Slot, usize>, port_ranges: bool) -> Self {
        let mut new = self.clone();
        let version = if self.maps.is_empty() { self.version } else { self.last + 1 };
        for slot in Slot::all() {
            let need = u32::try_from(needs.get(&slot).copied().unwrap_or_default()).unwrap_or(u32::MAX / 4);
            let ample = (need.saturating_mul(2)).max(SMALLEST).checked_next_power_of_two().unwrap_or(u32::MAX);
            let size = (!slot.is_interval()).then_some(ample);
            match new.maps.get(&slot) {
                Some(Placement { size: None, .. }) => {}
                Some(Placement { size: Some(room), .. }) if need <= room / 4 * 3 => {}
                _ => drop(new.maps.insert(slot, Placement { version, size })),
            }
        }
        if port_ranges && !self.port_ranges {
            new.port_ranges = true;
            // The map of exact ports gets another catch-all: it becomes another map.
            if let Some(placement) = new.maps.get_mut(&Slot::Port) {
                placement.version = version;
            }
        }
        if new != *self {
            // The chains of the second stage look into other maps, too.
            for family in Family::ALL {
                new.maps.insert(Slot::Range(family), Placement { version, size: None });
            }
            new.version = version;
            new.last = version;
        }
        new
    }

    /// The layout in which these ranges are in a map of their own.
    #[must_use]
    pub(crate) fn with_fresh_ranges(&self, families: &[Family]) -> Self {
        let mut new = self.clone();
        new.last += u32::from(!families.is_empty());
        for family in families {
            new.maps.insert(Slot::Range(*family), Placement { version: new.last, size: None });
        }
        new
    }

    pub(crate) const fn port_ranges(&self) -> bool {
        self.port_ranges
    }

    /// Name and declaration of a map.
    pub(crate) fn map(&self, slot: Slot) -> (String, MapSpec) {
        let placement = self.maps.get(&slot).copied().unwrap_or(Placement { version: self.version, size: None });
        (format!("{}.{}", slot.stem(), placement.version), slot.spec(placement.size))
    }

    /// Name of a map.
    pub(crate) fn name(&self, slot: Slot) -> String {
        self.map(slot).0
    }

    /// Name of a chain of the program.
    pub(crate) fn chain(&self, stem: &str) -> String {
        format!("{stem}.{}", self.version)
    }

    /// Name of a chain of the second stage, which is made anew with the map of ranges that it looks into.
    pub(crate) fn range_chain(&self, stem: &str, family: Family) -> String {
        let version = self.maps.get(&Slot::Range(family)).map_or(self.version, |placement| placement.version);
        format!("{stem}{}.{version}", digit(family))
    }

    /// Name of the chain of a path.
    pub(crate) fn path(&self, direction: Direction, path: crate::PathId, act: Act) -> String {
        format!("{}_{}{path}.{}", act.as_str(), letter(direction), self.epoch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back() {
        let layout = Layout::after(None).fit(&BTreeMap::new(), false);
        for slot in Slot::all() {
            assert_eq!(Slot::of(&layout.name(slot)), Some((slot, 1)));
        }
        assert_eq!(Slot::of("cls"), None);
        assert_eq!(Slot::of("somebody.1"), None);
    }

    #[test]
    fn a_map_that_fills_up_is_made_anew_and_the_others_stay() {
        let old = Layout::after(None).fit(&BTreeMap::from([(Slot::Class, 300)]), false);
        assert_eq!(old.map(Slot::Class).1.size, Some(1024));
        assert_eq!(old.fit(&BTreeMap::from([(Slot::Class, 768)]), false), old);
        let new = old.fit(&BTreeMap::from([(Slot::Class, 769)]), false);
        assert_eq!((new.name(Slot::Class), new.map(Slot::Class).1.size), ("cls.2".to_owned(), Some(2048)));
        assert_eq!(new.name(Slot::Decision), "dec.1");
        assert_eq!(new.chain("forward4"), "forward4.2");
        assert_eq!(new.path(Direction::Ingress, crate::PathId(7), Act::Deny), "deny_i7.1", "paths keep their meaning");
        assert_eq!(new.fit(&BTreeMap::new(), false), new, "nothing shrinks");
    }
}
