//! Sets of addresses, made of blocks.

use std::hash::{Hash, Hasher};
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

/// A set of addresses as the union of blocks. Copies are cheap, and an address is found in a moment however many blocks
/// there are.
#[derive(Clone, Debug)]
pub struct Nets(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// Sorted, each once.
    blocks: Vec<IpNet>,
    /// First and last address, as numbers, of what the blocks cover; disjoint and sorted.
    v4: Vec<(u128, u128)>,
    v6: Vec<(u128, u128)>,
    hash: u64,
}

impl Nets {
    /// The union of blocks; host bits are masked off.
    #[must_use]
    pub fn new(blocks: impl IntoIterator<Item = IpNet>) -> Self {
        let mut blocks: Vec<IpNet> = blocks.into_iter().map(|net| net.trunc()).collect();
        blocks.sort_unstable();
        blocks.dedup();
        let covered = |v4: bool| {
            let mut ranges: Vec<(u128, u128)> = Vec::new();
            let of = blocks.iter().filter(|net| net.addr().is_ipv4() == v4);
            for (first, last) in of.map(|net| (number(net.network()), number(net.broadcast()))) {
                match ranges.last_mut() {
                    Some((_, end)) if first <= *end => *end = last.max(*end),
                    _ => ranges.push((first, last)),
                }
            }
            ranges
        };
        let (v4, v6) = (covered(true), covered(false));
        let mut hasher = std::hash::DefaultHasher::new();
        blocks.hash(&mut hasher);
        Self(Arc::new(Inner { v4, v6, hash: hasher.finish(), blocks }))
    }

    /// The blocks, sorted.
    #[must_use]
    pub fn blocks(&self) -> &[IpNet] {
        &self.0.blocks
    }

    /// Whether it holds no address.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.blocks.is_empty()
    }

    /// Whether an address is in it.
    #[must_use]
    pub fn contains(&self, ip: IpAddr) -> bool {
        let ranges = if ip.is_ipv4() { &self.0.v4 } else { &self.0.v6 };
        let ip = number(ip);
        let at = ranges.partition_point(|(_, last)| *last < ip);
        ranges.get(at).is_some_and(|(first, _)| *first <= ip)
    }
}

fn number(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(ip) => u128::from(ip.to_bits()),
        IpAddr::V6(ip) => ip.to_bits(),
    }
}

impl Default for Nets {
    fn default() -> Self {
        Self::new([])
    }
}

impl FromIterator<IpNet> for Nets {
    fn from_iter<I: IntoIterator<Item = IpNet>>(blocks: I) -> Self {
        Self::new(blocks)
    }
}

impl PartialEq for Nets {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || (self.0.hash == other.0.hash && self.0.blocks == other.0.blocks)
    }
}

impl Eq for Nets {}

impl Hash for Nets {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash.hash(state);
    }
}

impl Ord for Nets {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.blocks.cmp(&other.0.blocks)
    }
}

impl PartialOrd for Nets {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_in_the_union_of_its_blocks_alone() {
        let nets = ["10.0.0.0/8", "10.1.0.0/16", "192.0.2.7/32", "128.0.0.0/1", "fd00::/8", "::/128"];
        let nets: Vec<IpNet> = nets.iter().map(|n| n.parse().unwrap()).collect();
        let all = Nets::new(nets.iter().rev().copied());
        for ip in ["9.255.255.255", "10.0.0.0", "10.255.255.255", "11.0.0.0", "127.255.255.255", "128.0.0.0"]
            .iter()
            .chain(&["192.0.2.7", "255.255.255.255", "::", "::1", "fd00::1", "fe00::", "::ffff:10.0.0.1"])
        {
            let ip = ip.parse().unwrap();
            assert_eq!(all.contains(ip), nets.iter().any(|net| net.contains(&ip)), "{ip}");
        }
        assert_eq!(all, Nets::new(nets));
        assert!(!Nets::default().contains("10.0.0.1".parse().unwrap()));
    }
}
