//! Sets of addresses of one family, and the pieces into which blocks cut a family.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use tortie_model::{Family, canonical};

/// Addresses of one family: sorted ranges that neither overlap nor touch, both ends included.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Addresses {
    family: Family,
    ranges: Vec<(u128, u128)>,
}

impl Addresses {
    /// The addresses of some ranges, as numbers.
    pub(crate) fn new(family: Family, ranges: impl IntoIterator<Item = (u128, u128)>) -> Self {
        let mut all: Vec<_> = ranges.into_iter().collect();
        all.sort_unstable();
        let mut merged: Vec<(u128, u128)> = Vec::with_capacity(all.len());
        for (first, end) in all {
            match merged.last_mut() {
                Some(last) if last.1.checked_add(1).is_none_or(|next| first <= next) => last.1 = last.1.max(end),
                _ => merged.push((first, end)),
            }
        }
        Self { family, ranges: merged }
    }

    /// All addresses of a family.
    #[must_use]
    pub fn all(family: Family) -> Self {
        Self { family, ranges: vec![(0, greatest(family))] }
    }

    /// The family.
    #[must_use]
    pub const fn family(&self) -> Family {
        self.family
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// The ranges, first and last address of each, in order.
    pub fn ranges(&self) -> impl ExactSizeIterator<Item = (IpAddr, IpAddr)> {
        self.ranges.iter().map(|(a, b)| (address(self.family, *a), address(self.family, *b)))
    }

    /// The first address.
    ///
    /// # Panics
    /// When there are none.
    #[must_use]
    pub fn first(&self) -> IpAddr {
        address(self.family, self.ranges.first().expect("an address").0)
    }

    /// Whether an address is among them.
    #[must_use]
    pub fn contains(&self, ip: IpAddr) -> bool {
        let ip = canonical(ip);
        let n = number(ip);
        let at = self.ranges.partition_point(|(_, last)| *last < n);
        Family::of(ip) == self.family && self.ranges.get(at).is_some_and(|(first, _)| *first <= n)
    }

    /// The addresses that are in both.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        let mut ranges = Vec::new();
        if self.family == other.family {
            let (mut a, mut b) = (self.ranges.iter().peekable(), other.ranges.iter().peekable());
            while let (Some(x), Some(y)) = (a.peek(), b.peek()) {
                let (first, last) = (x.0.max(y.0), x.1.min(y.1));
                if first <= last {
                    ranges.push((first, last));
                }
                if x.1 < y.1 {
                    a.next()
                } else {
                    b.next()
                };
            }
        }
        Self { family: self.family, ranges }
    }

    /// The addresses that are in either.
    ///
    /// # Panics
    /// When the families differ.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        assert_eq!(self.family, other.family, "addresses of one family");
        Self::new(self.family, self.ranges.iter().chain(&other.ranges).copied())
    }
}

/// A family cut at both ends of every block: pieces that lie wholly inside or wholly outside of each.
#[derive(Clone, Debug)]
pub(crate) struct Pieces {
    family: Family,
    /// First address of each piece.
    starts: Vec<u128>,
}

impl Pieces {
    /// Cuts a family at blocks; those of the other family cut nothing.
    pub(crate) fn cut<'b>(family: Family, blocks: impl IntoIterator<Item = &'b IpNet>) -> Self {
        let mut starts = BTreeSet::from([0]);
        for block in blocks.into_iter().filter(|b| Family::of_net(b) == family) {
            starts.insert(number(block.network()));
            starts.extend(number(block.broadcast()).checked_add(1).filter(|n| *n <= greatest(family)));
        }
        Self { family, starts: starts.into_iter().collect() }
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.starts.len()
    }

    /// First and last number of a piece.
    pub(crate) fn range(&self, piece: usize) -> (u128, u128) {
        let last = self.starts.get(piece + 1).map_or(greatest(self.family), |next| next - 1);
        (self.starts[piece], last)
    }

    /// The piece that an address lies in.
    pub(crate) fn of(&self, ip: IpAddr) -> usize {
        self.starts.partition_point(|start| *start <= number(ip)) - 1
    }
}

/// An address as a number.
pub(crate) fn number(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(ip) => u128::from(ip.to_bits()),
        IpAddr::V6(ip) => ip.to_bits(),
    }
}

/// The address of a family with this number.
pub(crate) fn address(family: Family, number: u128) -> IpAddr {
    match family {
        Family::V4 => Ipv4Addr::from_bits(u32::try_from(number).expect("a number of an IPv4 address")).into(),
        Family::V6 => Ipv6Addr::from_bits(number).into(),
    }
}

/// The number of the last address of a family.
pub(crate) const fn greatest(family: Family) -> u128 {
    match family {
        Family::V4 => u32::MAX as u128,
        Family::V6 => u128::MAX,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v4(ranges: &[(u128, u128)]) -> Addresses {
        Addresses::new(Family::V4, ranges.iter().copied())
    }

    #[test]
    fn ranges_that_touch_are_one() {
        assert_eq!(v4(&[(5, 9), (0, 4), (11, 12), (8, 9)]), v4(&[(0, 9), (11, 12)]));
        let all = Addresses::new(Family::V6, [(0, u128::MAX), (7, 8)]);
        assert_eq!(all, Addresses::all(Family::V6));
    }

    #[test]
    fn sets_are_met_and_joined() {
        let (a, b) = (v4(&[(0, 9), (20, 29)]), v4(&[(5, 24), (29, 40)]));
        assert_eq!(a.intersection(&b), v4(&[(5, 9), (20, 24), (29, 29)]));
        assert_eq!(a.union(&b), v4(&[(0, 40)]));
        assert!(a.intersection(&Addresses::all(Family::V6)).is_empty());
        assert!(a.contains("0.0.0.9".parse().unwrap()) && !a.contains("0.0.0.10".parse().unwrap()));
        assert!(!a.contains("::9".parse().unwrap()) && a.contains("::ffff:0.0.0.9".parse().unwrap()));
    }

    #[test]
    fn a_family_is_cut_at_both_ends_of_a_block() {
        let blocks = ["10.0.0.0/8", "10.1.0.0/16", "255.0.0.0/8", "fd00::/8"].map(|b| b.parse::<IpNet>().unwrap());
        let pieces = Pieces::cut(Family::V4, &blocks);
        let shown: Vec<String> = (0..pieces.len())
            .map(|i| {
                let (first, last) = pieces.range(i);
                format!("{}-{}", address(Family::V4, first), address(Family::V4, last))
            })
            .collect();
        let expected = [
            "0.0.0.0-9.255.255.255",
            "10.0.0.0-10.0.255.255",
            "10.1.0.0-10.1.255.255",
            "10.2.0.0-10.255.255.255",
            "11.0.0.0-254.255.255.255",
            "255.0.0.0-255.255.255.255",
        ];
        assert_eq!(shown, expected);
        assert_eq!(pieces.of("10.1.2.3".parse().unwrap()), 2);
        assert_eq!(pieces.of("255.255.255.255".parse().unwrap()), 5);
    }
}
