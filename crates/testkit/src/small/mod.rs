//! Every small cluster: up to three pods, two policies and two rules, over an alphabet in which everything that a rule
//! can tell apart occurs once. Those of NetworkPolicies are one space, those with tiers another.
//!
//! What differs only by a name is one cluster. Which of the equal ones is played is drawn by the cluster's number, so
//! that names, addresses and orders that must not matter do vary.

mod networkpolicy;
mod tiers;
mod written;

use std::net::IpAddr;

use tortie_model::{Family, Node, Protocol, Traffic};

pub use networkpolicy::NetworkPolicies;
pub use tiers::Tiers;

use crate::cluster::Cluster;
use crate::{Rng, build};

/// Most pods.
const PODS: usize = 3;
/// Most rules, of all policies together.
const RULES: usize = 2;

/// Who is no pod, of each family: the nodes, an address in the block of the rules, one outside of it.
pub const OTHERS: [[&str; 4]; 2] = [
    ["192.168.0.1", "192.168.0.2", "10.244.99.9", "192.0.2.1"],
    ["fd00:192::1", "fd00:192::2", "fd00:244:99::9", "2001:db8::1"],
];

/// All small clusters of a kind, each with a number.
pub trait Space: Send + Sync {
    /// How one asks for it.
    fn name(&self) -> &'static str;

    /// How many clusters there are.
    fn size(&self) -> u64;

    /// The cluster of a number.
    ///
    /// # Panics
    /// When there are not so many.
    fn cluster(&self, number: u64) -> Cluster;

    /// The packets that are sent between two ends: one for everything that a rule can tell apart.
    fn traffic(&self, family: Family) -> Vec<Traffic>;
}

/// The pairs of ends between which packets are sent, of a pod and anybody: in one of the families, drawn.
#[must_use]
pub fn pairs(rng: &mut Rng, cluster: &Cluster) -> Vec<(IpAddr, IpAddr)> {
    let pods = cluster.pods.len();
    let of_pods = cluster.pods.iter().map(|p| [p.ips[0], p.ips[1]]);
    let ends: Vec<_> = of_pods.chain((0..OTHERS[0].len()).map(|i| OTHERS.map(|of| build::ip(of[i])))).collect();
    let mut out = Vec::new();
    for (i, from) in ends.iter().enumerate() {
        let whom = if i < pods { &ends[..] } else { &ends[..pods] };
        for to in whom {
            let family = rng.below(2);
            out.push((from[family], to[family]));
        }
    }
    out
}

/// To these ports of TCP, to one of UDP, and one without ports.
fn to_ports(tcp: &[u16], family: Family) -> Vec<Traffic> {
    let tcp = tcp.iter().map(|port| Traffic::port(Protocol::Tcp, *port));
    tcp.chain([Traffic::port(Protocol::Udp, 80), Traffic::echo_request(family)]).collect()
}

fn nodes() -> Vec<Node> {
    vec![build::node("n1", &[OTHERS[0][0], OTHERS[1][0]]), build::node("n2", &[OTHERS[0][1], OTHERS[1][1]])]
}

fn shuffle<T>(rng: &mut Rng, items: &mut [T]) {
    for i in (1..items.len()).rev() {
        items.swap(i, rng.below(i + 1));
    }
}
