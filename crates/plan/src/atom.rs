//! Blocks of addresses, cut into pieces that no policy can cut further.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use ipnet::IpNet;
use tortie_model::Family;

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

/// The last address of a block, as a number.
fn last(net: &IpNet) -> u128 {
    match net {
        IpNet::V4(net) => u128::from(net.broadcast().to_bits()),
        IpNet::V6(net) => net.broadcast().to_bits(),
    }
}

/// A range of addresses that lie in the same blocks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Atom {
    pub(crate) from: u128,
    pub(crate) to: u128,
    /// All blocks that contain it, sorted; never empty.
    pub(crate) nets: Arc<[IpNet]>,
}

/// The atoms of a set of blocks, by family, sorted. Neighbours differ.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Atoms {
    v4: Vec<Atom>,
    v6: Vec<Atom>,
}

impl Atoms {
    pub(crate) fn of(nets: BTreeSet<IpNet>) -> Self {
        let (v4, v6): (Vec<_>, Vec<_>) = nets.into_iter().partition(|n| Family::of_net(n) == Family::V4);
        Self { v4: cut(v4), v6: cut(v6) }
    }

    /// The atoms of a family.
    pub(crate) fn of_family(&self, family: Family) -> &[Atom] {
        match family {
            Family::V4 => &self.v4,
            Family::V6 => &self.v6,
        }
    }
}

/// Blocks nest or are disjoint: a sweep with a stack of the open ones.
fn cut(mut nets: Vec<IpNet>) -> Vec<Atom> {
    nets.sort_by_key(|n| (number(n.network()), n.prefix_len()));
    let mut out = Vec::with_capacity(nets.len() * 2);
    let mut open: Vec<IpNet> = Vec::new();
    // Where the next atom begins; `None` past the last address.
    let mut at = Some(0);
    let mut emit = |from: Option<u128>, to: u128, open: &[IpNet]| {
        if let Some(from) = from.filter(|from| *from <= to) {
            let mut nets = open.to_vec();
            nets.sort_unstable();
            out.push(Atom { from, to, nets: nets.into() });
        }
    };
    for net in nets {
        let start = number(net.network());
        while let Some(end) = open.last().map(last).filter(|end| *end < start) {
            emit(at, end, &open);
            at = end.checked_add(1);
            open.pop();
        }
        if let Some(before) = start.checked_sub(1).filter(|_| !open.is_empty()) {
            emit(at, before, &open);
        }
        open.push(net);
        at = Some(start);
    }
    while let Some(end) = open.last().map(last) {
        emit(at, end, &open);
        at = end.checked_add(1);
        open.pop();
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn atoms(nets: &[&str]) -> Vec<(IpAddr, IpAddr, usize)> {
        let atoms = Atoms::of(nets.iter().map(|n| n.parse().unwrap()).collect());
        let family = |f| {
            let list = atoms.of_family(f).iter();
            list.map(|a| (address(f, a.from), address(f, a.to), a.nets.len())).collect::<Vec<_>>()
        };
        [family(Family::V4), family(Family::V6)].concat()
    }

    fn ip(s: &str) -> IpAddr {
        s.parse().unwrap()
    }

    #[test]
    fn nested_blocks_cut_each_other() {
        assert_eq!(
            atoms(&["10.0.0.0/8", "10.0.0.0/16", "10.0.1.0/24", "10.255.255.255/32"]),
            [
                (ip("10.0.0.0"), ip("10.0.0.255"), 2),
                (ip("10.0.1.0"), ip("10.0.1.255"), 3),
                (ip("10.0.2.0"), ip("10.0.255.255"), 2),
                (ip("10.1.0.0"), ip("10.255.255.254"), 1),
                (ip("10.255.255.255"), ip("10.255.255.255"), 2),
            ]
        );
    }

    #[test]
    fn halves_leave_nothing_of_the_whole_alone() {
        assert_eq!(
            atoms(&["0.0.0.0/0", "0.0.0.0/1", "128.0.0.0/1", "::/0"]),
            [
                (ip("0.0.0.0"), ip("127.255.255.255"), 2),
                (ip("128.0.0.0"), ip("255.255.255.255"), 2),
                (ip("::"), ip("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"), 1),
            ]
        );
    }
}
