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
            Field::Protocol | Field::Detail | Field::SourcePort => Some(Self::Traffic),
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

#[cfg(test)]
mod tests {
    use super::*;

    const LEN: usize = 4;

    fn set(bits: u8) -> ClassSet {
        ClassSet::of(LEN, |class| bits >> class & 1 == 1)
    }

    fn cube(source: u8, destination: u8, traffic: u8) -> Cube {
        Cube { source: set(source), destination: set(destination), traffic: set(traffic) }
    }

    fn packets(cubes: &[Cube]) -> Vec<[usize; 3]> {
        let of = |c: &Cube| {
            let (sources, destinations, traffic) = (c.source.clone(), c.destination.clone(), c.traffic.clone());
            let pairs = sources.iter().flat_map(|s| destinations.iter().map(move |d| (s, d))).collect::<Vec<_>>();
            pairs
                .into_iter()
                .flat_map(|(s, d)| traffic.iter().map(move |t| [s, d, t]).collect::<Vec<_>>())
                .collect::<Vec<_>>()
        };
        let mut all: Vec<_> = cubes.iter().flat_map(of).collect();
        all.sort_unstable();
        all
    }

    #[test]
    fn a_part_narrows_what_it_asks_for_and_nothing_else() {
        let all = cube(15, 15, 15);
        let part = Part::default().with(Axis::Source, set(3)).with(Axis::Traffic, set(8));
        assert_eq!(all.and(&part), Some(cube(3, 15, 8)));
        assert_eq!(all.and(&Part::default()), Some(all.clone()));
        assert_eq!(cube(12, 15, 15).and(&part), None, "no source is in both");
        assert!(cube(1, 0, 1).is_empty() && !cube(1, 1, 1).is_empty());
    }

    #[test]
    fn united_cubes_hold_the_same_packets_once() {
        // Quarters of a square, which become one cube in two turns.
        let quarters = vec![cube(3, 3, 15), cube(12, 3, 15), cube(3, 12, 15), cube(12, 12, 15)];
        assert_eq!(unite(quarters), [cube(15, 15, 15)]);
        // A stair: no two steps differ in one field only, until the first two are one.
        let stair = vec![cube(1, 1, 1), cube(1, 1, 2), cube(2, 1, 3), cube(4, 2, 1)];
        let (before, after) = (packets(&stair), unite(stair));
        assert_eq!(packets(&after), before);
        assert_eq!(after.len(), 2, "{after:?}");
        // The first two are one before they fit the third.
        assert_eq!(unite(vec![cube(1, 1, 1), cube(2, 1, 1), cube(3, 1, 2)]), [cube(3, 1, 3)]);
        assert_eq!(unite(vec![]), []);
    }
}
