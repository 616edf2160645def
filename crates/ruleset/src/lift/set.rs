//! Sets of classes of one field, as bits.

use std::rc::Rc;

/// Some of the classes of a field. All sets of one field are of the same length.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClassSet(Rc<[u64]>);

impl ClassSet {
    /// The classes below `len` for which `holds`.
    pub fn of(len: usize, mut holds: impl FnMut(usize) -> bool) -> Self {
        let word = |at: usize| {
            let bits = (at * 64..len.min(at * 64 + 64)).filter(|class| holds(*class));
            bits.fold(0u64, |word, class| word | 1 << (class % 64))
        };
        Self((0..len.div_ceil(64)).map(word).collect())
    }

    /// Whether a class is among them.
    #[must_use]
    pub fn contains(&self, class: usize) -> bool {
        self.0[class / 64] >> (class % 64) & 1 == 1
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }

    /// The lowest of them.
    #[must_use]
    pub fn first(&self) -> Option<usize> {
        let at = self.0.iter().position(|word| *word != 0)?;
        Some(at * 64 + self.0[at].trailing_zeros() as usize)
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        self.0.iter().enumerate().flat_map(|(at, word)| {
            let mut left = *word;
            std::iter::from_fn(move || {
                let bit = (left != 0).then(|| left.trailing_zeros() as usize)?;
                left &= left - 1;
                Some(at * 64 + bit)
            })
        })
    }

    /// Those in both.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        if Rc::ptr_eq(&self.0, &other.0) {
            return self.clone();
        }
        Self(self.0.iter().zip(&*other.0).map(|(a, b)| a & b).collect())
    }

    /// Those in either.
    #[must_use]
    pub fn or(&self, other: &Self) -> Self {
        Self(self.0.iter().zip(&*other.0).map(|(a, b)| a | b).collect())
    }

    /// Those that are not in the other.
    #[must_use]
    pub fn without(&self, other: &Self) -> Self {
        Self(self.0.iter().zip(&*other.0).map(|(a, b)| a & !b).collect())
    }

    /// Whether any is in both.
    #[must_use]
    pub fn meets(&self, other: &Self) -> bool {
        self.0.iter().zip(&*other.0).any(|(a, b)| a & b != 0)
    }
}

impl std::fmt::Debug for ClassSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// As many as fit in one word, fewer, more, and none.
    const LENGTHS: [usize; 5] = [0, 1, 64, 65, 200];

    fn every(step: usize, len: usize) -> (ClassSet, BTreeSet<usize>) {
        let holds = |class: usize| class.is_multiple_of(step);
        (ClassSet::of(len, holds), (0..len).filter(|c| holds(*c)).collect())
    }

    #[test]
    fn they_are_sets() {
        for len in LENGTHS {
            for (by, other) in [(1, 3), (2, 3), (63, 64), (1000, 1)] {
                let ((a, wanted_a), (b, wanted_b)) = (every(by, len), every(other, len));
                let list = |set: &ClassSet| set.iter().collect::<BTreeSet<_>>();
                assert_eq!(list(&a), wanted_a);
                assert_eq!(a.first(), wanted_a.first().copied());
                assert_eq!(a.is_empty(), wanted_a.is_empty());
                assert!((0..len).all(|c| a.contains(c) == wanted_a.contains(&c)));
                assert_eq!(list(&a.and(&b)), &wanted_a & &wanted_b);
                assert_eq!(list(&a.or(&b)), &wanted_a | &wanted_b);
                assert_eq!(list(&a.without(&b)), &wanted_a - &wanted_b);
                assert_eq!(a.meets(&b), !wanted_a.is_disjoint(&wanted_b));
                assert_eq!(a.and(&a), a, "shared memory is looked at as well");
            }
        }
    }
}
