//! Which address everything in a staged cluster gets. Pure and deterministic.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use tortie_model::Family;

/// Address families of a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Families {
    /// IPv4 alone.
    Ipv4,
    /// IPv6 alone.
    Ipv6,
    /// Both; IPv4 comes first.
    Dual,
}

impl Families {
    /// Whether this address's family is among them.
    #[must_use]
    pub fn have(self, address: IpAddr) -> bool {
        match self {
            Self::Dual => true,
            Self::Ipv4 => address.is_ipv4(),
            Self::Ipv6 => address.is_ipv6(),
        }
    }

    /// The families, IPv4 first.
    #[must_use]
    pub fn list(self) -> &'static [Family] {
        match self {
            Self::Ipv4 => &[Family::V4],
            Self::Ipv6 => &[Family::V6],
            Self::Dual => &Family::ALL,
        }
    }

    /// Whether IPv6 is among them.
    #[must_use]
    pub fn have_v6(self) -> bool {
        self != Self::Ipv4
    }
}

/// Addresses of the router between nodes, from which it reports unreachable destinations.
#[must_use]
pub fn wire_addresses(families: Families) -> Vec<IpAddr> {
    select(families, node_v4(0), node_v6(0))
}

/// Addresses of node `number` (from 1): `192.168.64.10 + number`, `fd00:192:168:64::10 + number`.
#[must_use]
pub fn node_addresses(number: u16, families: Families) -> Vec<IpAddr> {
    let host = 10 + u32::from(number);
    select(families, node_v4(host), node_v6(host))
}

fn node_v4(host: u32) -> Ipv4Addr {
    (u32::from(Ipv4Addr::new(192, 168, 64, 1)) + host).into()
}

fn node_v6(host: u32) -> Ipv6Addr {
    (u128::from(Ipv6Addr::new(0xfd00, 0x192, 0x168, 0x64, 0, 0, 0, 1)) + u128::from(host)).into()
}

/// Pod ranges of node `number` (from 1): `10.244.number.0/24` (counting on into the next second byte) and
/// `fd00:10:244:number::/64`.
#[must_use]
pub fn pod_ranges(number: u16, families: Families) -> Vec<IpNet> {
    let [high, low] = number.to_be_bytes();
    let v4 = Ipv4Addr::new(10, 244u8.wrapping_add(high), low, 0);
    let v6 = Ipv6Addr::new(0xfd00, 0x10, 0x244, number, 0, 0, 0, 0);
    [
        IpNet::V4(Ipv4Net::new(v4, 24).expect("24 is at most 32")),
        IpNet::V6(Ipv6Net::new(v6, 64).expect("64 is at most 128")),
    ]
    .into_iter()
    .filter(|net| families.have(net.addr()))
    .collect()
}

/// Address number `host` of the service ranges `10.96.0.0/16` and `fd00:10:96::/112`. The tenth is the cluster DNS.
#[must_use]
pub fn service_addresses(host: u16, families: Families) -> Vec<IpAddr> {
    let [high, low] = host.to_be_bytes();
    select(families, Ipv4Addr::new(10, 96, high, low), Ipv6Addr::new(0xfd00, 0x10, 0x96, 0, 0, 0, 0, host))
}

/// Number of the cluster DNS among [`service_addresses`].
pub const DNS_SERVICE: u16 = 10;

fn select(families: Families, v4: Ipv4Addr, v6: Ipv6Addr) -> Vec<IpAddr> {
    [IpAddr::V4(v4), IpAddr::V6(v6)].into_iter().filter(|a| families.have(*a)).collect()
}

/// Gives out the addresses of a node's pod ranges, the same host number in both families.
///
/// The next one is the one after the last given, so that an address is reused as late as possible; after the last
/// comes the first again. Host numbers 0 and 1 are left out, as most clusters do.
#[derive(Clone, Debug)]
pub struct PodAddresses {
    ranges: Vec<IpNet>,
    last: u32,
    taken: BTreeSet<u32>,
}

impl PodAddresses {
    /// All addresses of these ranges are free. At most one range a family is used.
    #[must_use]
    pub fn new(ranges: Vec<IpNet>) -> Self {
        Self { ranges, last: 1, taken: BTreeSet::new() }
    }

    /// The next free addresses, one in each range; `None` when there is none that `used` does not claim.
    pub fn take(&mut self, used: impl Fn(IpAddr) -> bool) -> Option<Vec<IpAddr>> {
        let capacity = self.hosts();
        for step in 1..=capacity {
            let host = 2 + (self.last - 1 + step - 1) % capacity;
            let addresses = self.at(host);
            if self.taken.contains(&host) || addresses.iter().any(|a| used(*a)) {
                continue;
            }
            self.last = host;
            self.taken.insert(host);
            return Some(addresses);
        }
        None
    }

    /// Gives addresses back. Others than those of the ranges are ignored.
    pub fn release(&mut self, addresses: &[IpAddr]) {
        let hosts: Vec<u32> =
            self.taken.iter().copied().filter(|h| self.at(*h).iter().any(|a| addresses.contains(a))).collect();
        for host in hosts {
            self.taken.remove(&host);
        }
    }

    /// How many there are, free or not.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.hosts() as usize
    }

    /// Host numbers from 2 on that exist in every range, the IPv4 broadcast address left out.
    fn hosts(&self) -> u32 {
        self.ranges
            .iter()
            .map(|r| {
                let bits = u32::from(r.max_prefix_len() - r.prefix_len()).min(16);
                (1u32 << bits).saturating_sub(3)
            })
            .min()
            .unwrap_or(0)
    }

    fn at(&self, host: u32) -> Vec<IpAddr> {
        self.ranges
            .iter()
            .map(|range| match range.network() {
                IpAddr::V4(a) => IpAddr::V4((u32::from(a) + host).into()),
                IpAddr::V6(a) => IpAddr::V6((u128::from(a) + u128::from(host)).into()),
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(addresses: &[IpAddr]) -> Vec<String> {
        addresses.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn addresses_of_the_first_node() {
        assert_eq!(texts(&node_addresses(1, Families::Dual)), ["192.168.64.12", "fd00:192:168:64::c"]);
        let ranges: Vec<String> = pod_ranges(1, Families::Dual).iter().map(ToString::to_string).collect();
        assert_eq!(ranges, ["10.244.1.0/24", "fd00:10:244:1::/64"]);
        assert_eq!(pod_ranges(1, Families::Ipv6).len(), 1);
        assert_eq!(texts(&service_addresses(DNS_SERVICE, Families::Dual)), ["10.96.0.10", "fd00:10:96::a"]);
    }

    #[test]
    fn an_address_is_reused_as_late_as_possible() {
        let mut pool = PodAddresses::new(vec!["10.0.0.0/29".parse().expect("net")]);
        let free = |_| false;
        let first = pool.take(free).expect("free");
        assert_eq!(texts(&first), ["10.0.0.2"]);
        assert_eq!(texts(&pool.take(|a| a.to_string() == "10.0.0.3").expect("free")), ["10.0.0.4"]);
        pool.release(&first);
        assert_eq!(texts(&pool.take(free).expect("free")), ["10.0.0.5"]);
        assert_eq!(texts(&pool.take(free).expect("free")), ["10.0.0.6"]);
        assert_eq!(texts(&pool.take(free).expect("free")), ["10.0.0.2"]);
        assert_eq!(texts(&pool.take(free).expect("free")), ["10.0.0.3"]);
        assert_eq!(pool.take(free), None);
    }
}
