//! Sets of packets.

use std::collections::HashMap;
use std::hash::Hash;

use super::register::Field;
use super::set::ClassSet;

/// What a set of packets is a product of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Axis {
    Source,
    Destination,
    Traffic,
}

impl Axis {
    pub(super) const ALL: [Self; 3] = [Self::Source, Self::Destination, Self::Traffic];

    /// The axis that a field lies on; `None` for what all packets of a head have in common.
    pub(super) const fn of(field: Field) -> Option<Self> {
        match field {
            Field::Source => Some(Self::Source),
            Field::Destination => Some(Self::Destination),
            Field::Protocol | Field::Detail => Some(Self::Traffic),
            Field::Input | Field::InputName | Field::Mark => None,
        }
    }
}

/// The packets whose source, destination and traffic are each of some classes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Cube {
    /// Classes of sources.
    pub source: ClassSet,
    /// Classes of destinations.
    pub destination: ClassSet,
    /// Classes of protocol and port.
    pub traffic: ClassSet,
}

impl Cube {
    /// Whether it holds no packet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.source.is_empty() || self.destination.is_empty() || self.traffic.is_empty()
    }

    /// The packets in both, if there are any.
    #[must_use]
    pub fn and(&self, part: &Part) -> Option<Self> {
        let narrow = |set: &ClassSet, by: &Option<ClassSet>| match by {
            Some(by) if !set.meets(by) => None,
            Some(by) => Some(set.and(by)),
            None => Some(set.clone()),
        };
        Some(Self {
            source: narrow(&self.source, &part.source)?,
            destination: narrow(&self.destination, &part.destination)?,
            traffic: narrow(&self.traffic, &part.traffic)?,
        })
    }
}

/// A condition on packets; `None` asks nothing of a field.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Part {
    /// Of the source.
    pub source: Option<ClassSet>,
    /// Of the destination.
    pub destination: Option<ClassSet>,
    /// Of protocol and port.
    pub traffic: Option<ClassSet>,
}

impl Part {
    /// The same, with these classes alone on one axis.
    pub(super) fn with(mut self, axis: Axis, classes: ClassSet) -> Self {
        let field = match axis {
            Axis::Source => &mut self.source,
            Axis::Destination => &mut self.destination,
            Axis::Traffic => &mut self.traffic,
        };
        *field = Some(classes);
        self
    }
}

/// The same packets in fewer cubes. The cubes must have no packet in common.
pub(super) fn unite(mut cubes: Vec<Cube>) -> Vec<Cube> {
    loop {
        let before = cubes.len();
        if before < 2 {
            return cubes;
        }
        cubes = united_in(
            cubes,
            |c| ((c.source, c.destination), c.traffic),
            |(s, d), t| Cube { source: s, destination: d, traffic: t },
        );
        cubes = united_in(
            cubes,
            |c| ((c.source, c.traffic), c.destination),
            |(s, t), d| Cube { source: s, destination: d, traffic: t },
        );
        cubes = united_in(
            cubes,
            |c| ((c.destination, c.traffic), c.source),
            |(d, t), s| Cube { source: s, destination: d, traffic: t },
        );
        if cubes.len() == before {
            return cubes;
        }
    }
}

/// Unites the cubes that differ in one field only.
fn united_in<K: Hash + Eq>(
    cubes: Vec<Cube>,
    split: impl Fn(Cube) -> (K, ClassSet),
    join: impl Fn(K, ClassSet) -> Cube,
) -> Vec<Cube> {
    let mut found: HashMap<K, ClassSet> = HashMap::with_capacity(cubes.len());
    for cube in cubes {
        let (key, set) = split(cube);
        match found.entry(key) {
            std::collections::hash_map::Entry::Occupied(mut entry) => {
                let all = entry.get().or(&set);
                entry.insert(all);
            }
            std::collections::hash_map::Entry::Vacant(entry) => drop(entry.insert(set)),
        }
    }
    found.into_iter().map(|(key, set)| join(key, set)).collect()
}
