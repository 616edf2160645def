//! Rules of a stack, by their positions: as bits, or as a list where there are few.

/// Words of bits that need no allocation.
const WORDS: usize = 512;
/// Bits in one.
const WIDTH: u32 = u64::BITS;

fn word_of(n: u32) -> (usize, u64) {
    ((n / WIDTH) as usize, 1 << (n % WIDTH))
}

/// Room for as many bits as there are rules, without an allocation where these are not very many.
pub(super) struct Room {
    few: [u64; WORDS],
    many: Vec<u64>,
    words: usize,
}

impl Room {
    /// For so many rules, of which none is in.
    pub(super) fn new(rules: usize) -> Self {
        let words = rules.div_ceil(WIDTH as usize);
        Self { few: [0; WORDS], many: if words > WORDS { vec![0; words] } else { Vec::new() }, words }
    }

    pub(super) fn bits(&mut self) -> Bits<'_> {
        Bits(if self.words > WORDS { &mut self.many } else { &mut self.few[..self.words] })
    }
}

/// A set of rules that is being made.
pub(super) struct Bits<'a>(&'a mut [u64]);

impl Bits<'_> {
    /// Leaves those that others hold too.
    pub(super) fn keep(&mut self, others: &Bits<'_>) {
        self.0.iter_mut().zip(&*others.0).for_each(|(word, other)| *word &= other);
    }

    /// Those from one position to before another, in order.
    pub(super) fn within(&self, from: u32, end: u32) -> impl Iterator<Item = u32> {
        let (first, _) = word_of(from);
        let words = self.0.iter().enumerate().skip(first).map(move |(n, word)| {
            let word = if n == first { word & (u64::MAX << (from % WIDTH)) } else { *word };
            (u32::try_from(n).expect("positions are 32 bits") * WIDTH, word)
        });
        let words = words.take_while(move |(first, _)| *first < end);
        words.flat_map(|(first, word)| ones(word).map(move |n| first + n)).take_while(move |n| *n < end)
    }
}

/// The bits that are set.
fn ones(word: u64) -> impl Iterator<Item = u32> {
    let some = |word: u64| (word != 0).then_some(word);
    std::iter::successors(some(word), move |word| some(word & (word - 1))).map(u64::trailing_zeros)
}

/// A set of rules that is kept, as whatever is smaller.
#[derive(Clone, Debug)]
pub(super) enum Rules {
    Listed(Box<[u32]>),
    Bits(Box<[u64]>),
}

impl Rules {
    /// Of so many rules, these.
    pub(super) fn new(rules: usize, some: Vec<u32>) -> Self {
        let words = rules.div_ceil(WIDTH as usize);
        if some.len() <= words * 2 {
            return Self::Listed(some.into());
        }
        let mut bits = vec![0; words];
        for n in some {
            let (word, bit) = word_of(n);
            bits[word] |= bit;
        }
        Self::Bits(bits.into())
    }

    pub(super) fn add_to(&self, bits: &mut Bits<'_>) {
        match self {
            Self::Listed(list) => list.iter().map(|n| word_of(*n)).for_each(|(word, bit)| bits.0[word] |= bit),
            Self::Bits(words) => bits.0.iter_mut().zip(words).for_each(|(word, more)| *word |= more),
        }
    }

    /// Whether one of them is among others.
    pub(super) fn are_some_of(&self, others: &Bits<'_>) -> bool {
        match self {
            Self::Listed(list) => list.iter().map(|n| word_of(*n)).any(|(word, bit)| others.0[word] & bit != 0),
            Self::Bits(words) => words.iter().zip(&*others.0).any(|(word, other)| word & other != 0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all_of(rules: usize, some: &[u32], from: u32, end: u32) -> Vec<u32> {
        let mut room = Room::new(rules);
        Rules::new(rules, some.to_vec()).add_to(&mut room.bits());
        room.bits().within(from, end).collect()
    }

    #[test]
    fn rules_are_found_between_positions_however_they_are_kept() {
        for rules in [1, 63, 64, 65, 200, 40_000] {
            let last = u32::try_from(rules).unwrap() - 1;
            let every: Vec<u32> = (0..=last).collect();
            let third: Vec<u32> = (0..=last).step_by(3).collect();
            for some in [&every[..], &third, &every[..1], &every[rules - 1..], &[]] {
                for (from, end) in
                    [(0, u32::MAX), (0, last), (1, last + 1), (63, 64), (64, 128), (last, last + 1), (7, 7)]
                {
                    let expected: Vec<u32> = some.iter().copied().filter(|n| (from..end).contains(n)).collect();
                    assert_eq!(all_of(rules, some, from, end), expected, "{rules}: {from}..{end}");
                }
            }
        }
    }

    #[test]
    fn only_common_ones_are_kept() {
        let (mut a, mut b) = (Room::new(130), Room::new(130));
        Rules::new(130, vec![1, 64, 100, 129]).add_to(&mut a.bits());
        Rules::new(130, vec![2, 64, 129]).add_to(&mut b.bits());
        for (rules, is) in [(vec![3, 64], true), (vec![3, 65], false), ((0..130).collect(), true), (vec![], false)] {
            assert_eq!(Rules::new(130, rules.clone()).are_some_of(&b.bits()), is, "{rules:?}");
        }
        a.bits().keep(&b.bits());
        assert_eq!(a.bits().within(0, 130).collect::<Vec<_>>(), [64, 129]);
    }
}
