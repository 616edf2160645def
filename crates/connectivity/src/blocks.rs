//! Sets of addresses as blocks, and as few of them as it takes.

use ipnet::IpNet;
use tortie_model::Family;

use crate::addresses::{Addresses, address, greatest};

/// A block in a description, and what is said within it: what is said of it is the opposite of what surrounds it.
#[derive(Clone, Debug)]
struct Said {
    block: IpNet,
    within: Vec<Said>,
}

/// The shortest description of a part of the tree of blocks where nothing of it is in the set until something is said,
/// and where everything is.
struct Shortest([(usize, Vec<Said>); 2]);

impl Addresses {
    /// The blocks that make up the set.
    #[must_use]
    pub fn blocks(&self) -> Vec<IpNet> {
        let mut out = Vec::new();
        self.collect_blocks(0, 0, &mut out);
        out
    }

    /// First and last address of a block of the tree: its first bits.
    fn span(&self, first: u128, length: u8) -> (u128, u128) {
        let host = greatest(self.family()).checked_shr(u32::from(length)).unwrap_or(0);
        (first, first | host)
    }

    /// Whether the set holds all of a block, or nothing of it; nothing when some.
    fn holds(&self, (first, last): (u128, u128)) -> Option<bool> {
        let family = self.family();
        let among = Self::new(family, [(first, last)]);
        let common = self.intersection(&among);
        if common.is_empty() { Some(false) } else { (common == among).then_some(true) }
    }

    fn halves(&self, first: u128, length: u8) -> [(u128, u8); 2] {
        let bits = if self.family() == Family::V4 { 32 } else { 128 };
        [(first, length + 1), (first | 1 << (bits - 1 - length), length + 1)]
    }

    fn block(&self, first: u128, length: u8) -> IpNet {
        IpNet::new(address(self.family(), first), length).expect("a length within the family")
    }

    fn collect_blocks(&self, first: u128, length: u8, out: &mut Vec<IpNet>) {
        match self.holds(self.span(first, length)) {
            Some(true) => out.push(self.block(first, length)),
            Some(false) => {}
            None => self.halves(first, length).into_iter().for_each(|(f, l)| self.collect_blocks(f, l, out)),
        }
    }

    /// Where a block is wholly in the set or out of it, one word tells it. Elsewhere, either its halves are told apart
    /// as they are, or first the opposite is said of all of it: whatever takes fewer words.
    fn shortest(&self, first: u128, length: u8) -> Shortest {
        let said = |within| vec![Said { block: self.block(first, length), within }];
        if let Some(all) = self.holds(self.span(first, length)) {
            return Shortest(if all { [(1, said(vec![])), (0, vec![])] } else { [(0, vec![]), (1, said(vec![]))] });
        }
        let [low, high] = self.halves(first, length).map(|(f, l)| self.shortest(f, l).0);
        let join = |i: usize| {
            let list = low[i].1.iter().chain(&high[i].1).cloned().collect::<Vec<_>>();
            (low[i].0 + high[i].0, list)
        };
        let [out, within] = [join(0), join(1)];
        let better = |kept: &(usize, Vec<Said>), turned: &(usize, Vec<Said>)| {
            if turned.0 + 1 < kept.0 { (turned.0 + 1, said(turned.1.clone())) } else { kept.clone() }
        };
        Shortest([better(&out, &within), better(&within, &out)])
    }

    /// `0.0.0.0/0 except 10.0.0.0/8 (but 10.1.0.0/16)`: the set in as few blocks as it takes.
    #[must_use]
    pub fn words(&self) -> String {
        let [(_, said), _] = self.shortest(0, 0).0;
        let one = |said: &Said| {
            let except: Vec<String> = said.within.iter().map(exception).collect();
            if except.is_empty() {
                shown(&said.block)
            } else {
                format!("{} except {}", shown(&said.block), except.join(", "))
            }
        };
        let plain = said.iter().all(|s| s.within.is_empty());
        said.iter().map(one).collect::<Vec<_>>().join(if plain { ", " } else { "; " })
    }
}

fn exception(said: &Said) -> String {
    let but: Vec<String> = said.within.iter().map(exception).collect();
    if but.is_empty() { shown(&said.block) } else { format!("{} (but {})", shown(&said.block), but.join(", ")) }
}

/// A block; of one address, the address.
fn shown(block: &IpNet) -> String {
    if block.prefix_len() == block.max_prefix_len() { block.addr().to_string() } else { block.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(family: Family, blocks: &[&str], except: &[&str]) -> Addresses {
        let numbers = |blocks: &[&str]| {
            let nets = blocks.iter().map(|b| b.parse::<IpNet>().unwrap());
            nets.map(|n| (crate::addresses::number(n.network()), crate::addresses::number(n.broadcast())))
                .collect::<Vec<_>>()
        };
        let mut ranges = Vec::new();
        let excepted = Addresses::new(family, numbers(except));
        for (first, last) in numbers(blocks) {
            let mut next = first;
            for (a, b) in excepted.ranges() {
                let (a, b) = (crate::addresses::number(a), crate::addresses::number(b));
                if a > next && a <= last {
                    ranges.push((next, a - 1));
                }
                next = next.max(b.saturating_add(1));
            }
            if next <= last {
                ranges.push((next, last));
            }
        }
        Addresses::new(family, ranges)
    }

    #[test]
    fn sets_are_told_in_few_blocks() {
        let v4 = |blocks: &[&str], except: &[&str]| set(Family::V4, blocks, except).words();
        assert_eq!(v4(&["0.0.0.0/0"], &[]), "0.0.0.0/0");
        assert_eq!(v4(&["10.0.0.0/8", "192.168.0.1/32"], &[]), "10.0.0.0/8, 192.168.0.1");
        assert_eq!(
            v4(&["0.0.0.0/0"], &["10.0.0.0/8", "192.168.0.0/16"]),
            "0.0.0.0/0 except 10.0.0.0/8, 192.168.0.0/16"
        );
        let rest = set(Family::V4, &["0.0.0.0/0"], &["10.0.0.0/8"]).union(&set(Family::V4, &["10.1.0.0/16"], &[]));
        assert_eq!(rest.words(), "0.0.0.0/0 except 10.0.0.0/8 (but 10.1.0.0/16)");
        assert_eq!(set(Family::V6, &["::/0"], &["2001:db8::1/128"]).words(), "::/0 except 2001:db8::1");
        assert_eq!(v4(&[], &[]), "");
    }

    #[test]
    fn blocks_make_up_the_set() {
        let set = set(Family::V4, &["10.0.0.0/8"], &["10.128.0.0/9", "10.0.0.0/10"]);
        assert_eq!(set.blocks().iter().map(ToString::to_string).collect::<Vec<_>>(), ["10.64.0.0/10"]);
        assert_eq!(Addresses::all(Family::V6).blocks(), ["::/0".parse::<IpNet>().unwrap()]);
    }
}
