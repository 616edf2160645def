//! Things put together as long as nothing tells them apart.

use std::collections::HashMap;

use roaring::RoaringBitmap;

/// A partition of the numbers from 0 on: each set that it is told of splits the parts that the set cuts through.
#[derive(Clone, Debug)]
pub(crate) struct Partition {
    part_of: Vec<u32>,
    sizes: Vec<u32>,
    /// Between the passes of a split, by part: its members that were hit, and the part that they move to. 0 otherwise,
    /// which nobody ever moves to.
    hits: Vec<u32>,
    target: Vec<u32>,
    touched: Vec<u32>,
}

impl Partition {
    /// The numbers from 0 on, told apart by one property of each.
    pub(crate) fn by<P: Eq + std::hash::Hash>(properties: impl IntoIterator<Item = P>) -> Self {
        let mut parts = HashMap::new();
        let mut sizes: Vec<u32> = Vec::new();
        let mut part_of = Vec::new();
        for property in properties {
            let part = *parts.entry(property).or_insert(sizes.len());
            if part == sizes.len() {
                sizes.push(0);
            }
            sizes[part] += 1;
            part_of.push(small(part));
        }
        let nothing = vec![0; sizes.len()];
        Self { part_of, hits: nothing.clone(), target: nothing, touched: Vec::new(), sizes }
    }

    /// Separates the members of a set from all others. Costs the size of the set or that of its complement.
    pub(crate) fn split(&mut self, set: &RoaringBitmap) {
        let all = self.part_of.len() as u64;
        if set.len() * 2 <= all {
            self.separate(set.iter());
        } else if set.len() < all {
            let mut others = RoaringBitmap::new();
            others.insert_range(0..small(self.part_of.len()));
            others -= set;
            self.separate(others.iter());
        }
    }

    fn separate(&mut self, members: impl Iterator<Item = u32> + Clone) {
        for member in members.clone() {
            let part = self.part_of[member as usize];
            let hits = &mut self.hits[part as usize];
            if *hits == 0 {
                self.touched.push(part);
            }
            *hits += 1;
        }
        for part in self.touched.iter().map(|p| *p as usize) {
            let hits = std::mem::take(&mut self.hits[part]);
            if hits < self.sizes[part] {
                self.target[part] = small(self.sizes.len());
                self.sizes[part] -= hits;
                self.sizes.push(hits);
                self.hits.push(0);
                self.target.push(0);
            }
        }
        for member in members {
            let part = &mut self.part_of[member as usize];
            let target = self.target[*part as usize];
            if target != 0 {
                *part = target;
            }
        }
        for part in self.touched.drain(..) {
            self.target[part as usize] = 0;
        }
    }

    /// How many parts there are.
    pub(crate) fn len(&self) -> usize {
        self.sizes.len()
    }

    /// The part of each number.
    pub(crate) fn parts(&self) -> &[u32] {
        &self.part_of
    }

    /// A member of each part: the first.
    pub(crate) fn representatives(&self) -> Vec<u32> {
        let mut out = vec![u32::MAX; self.len()];
        for (member, part) in self.part_of.iter().enumerate().rev() {
            out[*part as usize] = small(member);
        }
        out
    }
}

/// Whatever is counted here has fewer than 2^32 members.
pub(crate) fn small(n: usize) -> u32 {
    u32::try_from(n).expect("fewer than 2^32")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(n: usize, sets: &[&[u32]]) -> Partition {
        let mut partition = Partition::by((0..n).map(|_| ()));
        for set in sets {
            partition.split(&set.iter().copied().collect());
        }
        partition
    }

    #[test]
    fn what_the_same_sets_hold_stays_together() {
        let partition = split(6, &[&[1, 2, 3, 4, 5], &[1, 2], &[], &[0, 1, 2, 3, 4, 5], &[2, 3, 4]]);
        let together = |a: usize, b: usize| partition.parts()[a] == partition.parts()[b];
        assert!(together(3, 4));
        assert_eq!(partition.len(), 5);
        for (a, b) in [(0, 1), (1, 2), (2, 3), (4, 5), (1, 5)] {
            assert!(!together(a, b), "{a} and {b}");
        }
        let representatives = partition.representatives();
        assert!(representatives.contains(&3) && !representatives.contains(&4));
    }

    #[test]
    fn a_first_property_tells_apart() {
        let partition = Partition::by(["x", "y", "x"]);
        assert_eq!(partition.parts(), [0, 1, 0]);
        assert_eq!(split(0, &[&[]]).len(), 0);
    }
}
