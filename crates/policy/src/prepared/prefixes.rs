//! Numbers by their first bits: which of many blocks hold an address, which of many ranges a port.

use std::collections::HashMap;
use std::ops::{Range, RangeInclusive};

/// A number that blocks are made of.
pub(super) trait Number: Copy + Ord {
    /// Its first bits; all others are zero.
    fn first(self, bits: u8) -> Self;
}

macro_rules! number {
    ($($of:ty),*) => {$(
        impl Number for $of {
            fn first(self, bits: u8) -> Self {
                self & Self::MAX.checked_shl(Self::BITS - u32::from(bits)).unwrap_or(0)
            }
        }
    )*};
}
number!(u16, u32, u128);

/// Blocks of numbers, each with the number of a list of what it stands for. The same list is kept once.
#[derive(Clone, Debug)]
pub(super) struct Prefixes<N> {
    /// Where the blocks of a length are, for each length that occurs.
    lengths: Vec<(u8, Range<usize>)>,
    /// By length, then in order.
    blocks: Vec<(N, u32)>,
}

impl<N: Number> Prefixes<N> {
    /// Of blocks with what they stand for, which may come several times; returns the lists, too.
    pub(super) fn new(mut entries: Vec<(u8, N, u32)>) -> (Self, Vec<Vec<u32>>) {
        entries.sort_unstable();
        entries.dedup();
        let mut out = Self { lengths: Vec::new(), blocks: Vec::new() };
        let mut lists: HashMap<Vec<u32>, u32> = HashMap::new();
        for same in entries.chunk_by(|a, b| (a.0, a.1) == (b.0, b.1)) {
            let (length, first, _) = same[0];
            let next = u32::try_from(lists.len()).expect("fewer than 2^32 lists");
            let list = *lists.entry(same.iter().map(|entry| entry.2).collect()).or_insert(next);
            let at = out.blocks.len();
            out.blocks.push((first, list));
            match out.lengths.last_mut() {
                Some((last, range)) if *last == length => range.end = at + 1,
                _ => out.lengths.push((length, at..at + 1)),
            }
        }
        out.blocks.shrink_to_fit();
        let mut ordered = vec![Vec::new(); lists.len()];
        lists.into_iter().for_each(|(list, n)| ordered[n as usize] = list);
        (out, ordered)
    }

    /// The lists of all blocks that hold a number.
    pub(super) fn holding(&self, number: N) -> impl Iterator<Item = usize> {
        self.lengths.iter().filter_map(move |(length, range)| {
            let (blocks, first) = (&self.blocks[range.clone()], number.first(*length));
            let at = blocks.binary_search_by_key(&first, |(first, _)| *first).ok()?;
            Some(blocks[at].1 as usize)
        })
    }
}

/// A range as blocks: the length of each, and its first number.
pub(super) fn blocks_of(range: &RangeInclusive<u16>) -> impl Iterator<Item = (u8, u16)> {
    let (mut next, end) = (u32::from(*range.start()), u32::from(*range.end()) + 1);
    std::iter::from_fn(move || {
        let left = end.checked_sub(next).filter(|left| *left > 0)?;
        // As big as it fits, and as its first number allows.
        let bits = next.trailing_zeros().min(left.ilog2());
        let first = next;
        next += 1 << bits;
        Some((u8::try_from(u16::BITS - bits).expect("at most 16"), u16::try_from(first).expect("at most 16 bits")))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_in_the_blocks_that_begin_as_it_does() {
        let entries =
            vec![(0, 0, 9), (8, 0x0a00_0000, 1), (8, 0x0a00_0000, 2), (32, 0x0a01_0203, 1), (31, 0x0a01_0202, 3)];
        let (prefixes, lists) = Prefixes::<u32>::new(entries);
        let holding = |n| prefixes.holding(n).flat_map(|list| lists[list].clone()).collect::<Vec<_>>();
        assert_eq!(holding(0x0a01_0203), [9, 1, 2, 3, 1]);
        assert_eq!(holding(0x0a01_0202), [9, 1, 2, 3]);
        assert_eq!(holding(0x0b01_0203), [9]);
    }

    #[test]
    fn blocks_make_up_their_range() {
        for range in [0..=0, 0..=u16::MAX, 1..=u16::MAX, 0..=u16::MAX - 1, 80..=90, 1024..=2047, 65_535..=65_535] {
            let blocks: Vec<_> = blocks_of(&range).collect();
            assert!(blocks.len() <= 30, "{range:?}: {blocks:?}");
            let entries = blocks.iter().map(|(length, first)| (*length, *first, 0)).collect();
            let (prefixes, _) = Prefixes::<u16>::new(entries);
            for n in 0..=u16::MAX {
                assert_eq!(prefixes.holding(n).count(), usize::from(range.contains(&n)), "{n} in {range:?}");
            }
        }
        let nothing = std::ops::RangeInclusive::new(5, 4);
        assert_eq!(blocks_of(&nothing).next(), None);
    }
}
