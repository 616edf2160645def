//! Which address, name of a link and hardware address everything gets. Pure and deterministic.

use std::net::{Ipv4Addr, Ipv6Addr};

pub use tortie_analysis::address::{
    DNS_SERVICE, Families, PodAddresses, node_addresses, pod_ranges, service_addresses, wire_addresses,
};

/// The next hop of every pod, node and outside host: a link-local address that needs to exist nowhere, as its hardware
/// address is given by hand. Calico's pods have the same.
pub(crate) const GATEWAY_V4: Ipv4Addr = Ipv4Addr::new(169, 254, 1, 1);
/// As [`GATEWAY_V4`]: the link-local address of [`ROUTER_MAC`].
pub(crate) const GATEWAY_V6: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0xecee, 0xeeff, 0xfeee, 0xeeee);
/// Hardware address of every router-side end of a veth pair.
pub(crate) const ROUTER_MAC: [u8; 6] = [0xee; 6];

/// Name of the link through which a node reaches a pod: `tor` and 11 hexadecimal digits, within the 15 bytes that a
/// name of a link may have.
#[must_use]
pub fn pod_link(namespace: &str, name: &str) -> String {
    format!("tor{:011x}", hash(&[namespace, name]) >> 20)
}

/// Name of the link through which the wire reaches a node or an outside host.
pub(crate) fn wire_link(name: &str) -> String {
    format!("wire{:010x}", hash(&[name]) >> 24)
}

/// Hardware address of `eth0` inside: locally administered, unicast.
pub(crate) fn mac(parts: &[&str]) -> [u8; 6] {
    let [.., a, b, c, d, e] = hash(parts).to_be_bytes();
    [0x02, a, b, c, d, e]
}

/// FNV-1a: the same in every build, as the names are seen by users.
fn hash(parts: &[&str]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for part in parts {
        for byte in part.bytes().chain([b'/']) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    // FNV's high bits hardly depend on the last bytes.
    hash ^ hash.rotate_left(32).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_of_links_fit_and_differ() {
        let names: BTreeSet<String> = (0..5000).map(|n| pod_link("prod", &format!("web-{n}"))).collect();
        assert_eq!(names.len(), 5000);
        assert!(names.iter().all(|n| n.len() <= 15));
        assert_ne!(pod_link("a", "b-c"), pod_link("a-b", "c"));
        assert_eq!(mac(&["a"])[0] & 3, 2);
    }
}
