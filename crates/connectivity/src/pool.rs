//! Sets of packets, each kept once, and what they are together.

use std::collections::HashMap;
use std::sync::Arc;

use tortie_policy::Regions;

use crate::partition::small;

/// The number of a set of packets in a [`Pool`]. Equal sets have equal numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct SetId(u32);

/// Sets of packets by number.
#[derive(Debug)]
pub(crate) struct Pool {
    sets: Vec<Arc<Regions<bool>>>,
    numbers: HashMap<Arc<Regions<bool>>, SetId>,
    both: HashMap<(SetId, SetId), SetId>,
    either: HashMap<(SetId, SetId), SetId>,
}

impl Default for Pool {
    fn default() -> Self {
        let mut pool = Self { sets: Vec::new(), numbers: HashMap::new(), both: HashMap::new(), either: HashMap::new() };
        assert_eq!(pool.number(Regions::uniform(false)), SetId::NONE);
        assert_eq!(pool.number(Regions::uniform(true)), SetId::ALL);
        pool
    }
}

impl SetId {
    /// No packets.
    pub(crate) const NONE: Self = Self(0);
    /// All packets.
    pub(crate) const ALL: Self = Self(1);
}

impl Pool {
    /// The number of a set.
    pub(crate) fn number(&mut self, set: Regions<bool>) -> SetId {
        if let Some(number) = self.numbers.get(&set) {
            return *number;
        }
        let (number, set) = (SetId(small(self.sets.len())), Arc::new(set));
        self.sets.push(set.clone());
        self.numbers.insert(set, number);
        number
    }

    /// The set with a number.
    pub(crate) fn set(&self, number: SetId) -> &Arc<Regions<bool>> {
        &self.sets[number.0 as usize]
    }

    /// The packets that are in both sets.
    pub(crate) fn both(&mut self, a: SetId, b: SetId) -> SetId {
        match (a.min(b), a.max(b)) {
            (SetId::NONE, _) => SetId::NONE,
            (SetId::ALL, other) => other,
            (a, b) if a == b => a,
            key => {
                if let Some(known) = self.both.get(&key) {
                    return *known;
                }
                let set = self.set(a).zip(self.set(b), |a, b| *a && *b);
                let number = self.number(set);
                self.both.insert(key, number);
                number
            }
        }
    }

    /// The packets that are in one of the sets.
    pub(crate) fn either(&mut self, a: SetId, b: SetId) -> SetId {
        match (a.min(b), a.max(b)) {
            (SetId::NONE, other) => other,
            (SetId::ALL, _) => SetId::ALL,
            (a, b) if a == b => a,
            key => {
                if let Some(known) = self.either.get(&key) {
                    return *known;
                }
                let set = self.set(a).zip(self.set(b), |a, b| *a || *b);
                let number = self.number(set);
                self.either.insert(key, number);
                number
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tortie_model::IpProtocol;

    #[test]
    fn equal_sets_have_one_number() {
        let mut pool = Pool::default();
        let mut tcp = |from: u16, to: u16| {
            let whole = [(0..=from - 1, false), (from..=to, true), (to + 1..=u16::MAX, false)];
            pool.number(Regions::new([(IpProtocol::TCP, whole.to_vec())], false))
        };
        let (low, high, middle, all) = (tcp(1, 20), tcp(10, 30), tcp(10, 20), tcp(1, 30));
        assert_eq!(pool.both(low, high), middle);
        assert_eq!(pool.both(high, low), middle);
        assert_eq!(pool.either(high, low), all);
        assert_eq!((pool.both(low, SetId::ALL), pool.both(SetId::NONE, low)), (low, SetId::NONE));
        assert_eq!((pool.either(low, SetId::ALL), pool.either(SetId::NONE, low)), (SetId::ALL, low));
        assert_eq!(pool.set(SetId::ALL).rest(), &true);
    }
}
