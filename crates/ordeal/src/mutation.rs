//! Seeds, bent.

/// A sequence of numbers that depends on its seed alone (xorshift).
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// A sequence.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// A number below `limit`, which is not 0.
    pub fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) as usize % limit
    }
}

/// Numbers at which counters, lengths and ports turn over.
const EDGES: [u8; 8] = [0, 1, 4, 0x7f, 0x80, 0xfe, 0xff, b'\n'];

/// A text or datagram like `seed`, with a few bytes, lines or blocks changed, cut, repeated, or taken from `other`.
#[must_use]
pub fn mutated(dice: &mut Dice, seed: &[u8], other: &[u8]) -> Vec<u8> {
    let mut out = seed.to_vec();
    for _ in 0..=dice.below(4) {
        if out.is_empty() {
            return out;
        }
        let at = dice.below(out.len());
        match dice.below(9) {
            0 => out[at] ^= 1 << dice.below(8),
            1 => out[at] = EDGES[dice.below(EDGES.len())],
            2 => out.truncate(at),
            3 => drop(out.drain(at..(at + 1 + dice.below(16)).min(out.len()))),
            4 => {
                let block = block(dice, other);
                out.splice(at..at, block);
            }
            5 => {
                let block = block(dice, &out);
                out.splice(at..at, block);
            }
            // Aligned words, as netlink has them.
            6 => {
                let at = at & !3;
                let word = out.get(at..at + 4).map(<[u8]>::to_vec).unwrap_or_default();
                let to = dice.below(out.len()) & !3;
                out.splice(to..to, word);
            }
            // Lines, as people write them.
            7 => {
                let lines: Vec<Vec<u8>> = out.split_inclusive(|b| *b == b'\n').map(<[u8]>::to_vec).collect();
                let (from, to) = (dice.below(lines.len()), dice.below(lines.len()));
                out = lines.concat();
                let start: usize = lines[..to].iter().map(Vec::len).sum();
                out.splice(start..start, lines[from].clone());
            }
            _ => {
                let lines: Vec<&[u8]> = out.split_inclusive(|b| *b == b'\n').collect();
                let gone = dice.below(lines.len());
                out = lines.iter().enumerate().filter(|(i, _)| *i != gone).flat_map(|(_, l)| l.to_vec()).collect();
            }
        }
    }
    out
}

fn block(dice: &mut Dice, of: &[u8]) -> Vec<u8> {
    if of.is_empty() {
        return Vec::new();
    }
    let start = dice.below(of.len());
    let end = (start + 1 + dice.below(48)).min(of.len());
    of[start..end].to_vec()
}
