//! What the texts say, read as plainly as they are written: NetworkPolicy, Calico's policies, the cluster policies, and
//! the corners that they leave open as this project decides them. No index, no ranges, no common form of rules: loops
//! over lists.
//!
//! It shares no code with the engine but the objects themselves. Selectors are read here once more.

mod calico;
mod clusterpolicy;
mod labels;
mod networkpolicy;
mod tiers;

use std::net::IpAddr;

use tortie_model::{Direction, IpProtocol, Node, Phase, Pod, Protocol};

pub(crate) use calico::governs as calico_rules;
pub(crate) use clusterpolicy::governs as cluster_rules;
pub use networkpolicy::governing;
pub use tiers::{By, Decision, RuleName};

use crate::cluster::{Cluster, Flow};

/// Whether each end lets a packet pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Halves {
    /// The source's egress.
    pub egress: bool,
    /// The destination's ingress.
    pub ingress: bool,
}

impl Halves {
    /// Whether the packet passes.
    #[must_use]
    pub const fn is_allowed(self) -> bool {
        self.egress && self.ingress
    }
}

/// What each end decides of a packet, and by what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decisions {
    /// The source's egress.
    pub egress: Decision,
    /// The destination's ingress.
    pub ingress: Decision,
}

impl Decisions {
    /// The verdicts alone.
    #[must_use]
    pub const fn halves(&self) -> Halves {
        Halves { egress: self.egress.allowed, ingress: self.ingress.allowed }
    }
}

/// The pod that has an address: a pod that ended has given its address back, and a pod in its node's network has none
/// of its own.
#[must_use]
pub fn pod_at(cluster: &Cluster, ip: IpAddr) -> Option<&Pod> {
    cluster
        .pods
        .iter()
        .find(|p| p.phase != Phase::Succeeded && p.phase != Phase::Failed && !p.host_network && p.ips.contains(&ip))
}

/// The node that has an address.
#[must_use]
pub fn node_at(cluster: &Cluster, ip: IpAddr) -> Option<&Node> {
    cluster.nodes.iter().find(|n| n.addresses.contains(&ip))
}

/// Decides a packet that would open a connection, by the text of NetworkPolicy where there is nothing else.
#[must_use]
pub fn decide(cluster: &Cluster, flow: Flow) -> Halves {
    if !(cluster.calico.is_empty() && cluster.cluster_policies.is_empty()) {
        return explain(cluster, flow).halves();
    }
    let [egress, ingress] = asked(cluster, flow).map(|end| {
        end.is_none_or(|(pod, direction)| {
            let (peer, to) = (peer_of(flow, direction), pod_at(cluster, flow.to));
            networkpolicy::allows(cluster, pod, direction, pod_at(cluster, peer), peer, to, flow.traffic)
        })
    });
    Halves { egress, ingress }
}

/// Decides a packet that would open a connection, and says by what: by the tiers of Calico, in which the policies of
/// all three APIs stand.
#[must_use]
pub fn explain(cluster: &Cluster, flow: Flow) -> Decisions {
    let [egress, ingress] = asked(cluster, flow).map(|end| match end {
        Some((pod, direction)) => tiers::walk(cluster, pod, direction, flow),
        None => Decision { allowed: true, by: By::Profile, passed: Vec::new() },
    });
    Decisions { egress, ingress }
}

/// The ends whose policies are asked, egress first.
fn asked(cluster: &Cluster, flow: Flow) -> [Option<(&Pod, Direction)>; 2] {
    let (from, to) = (pod_at(cluster, flow.from), pod_at(cluster, flow.to));
    if let (Some(from), Some(to)) = (from, to)
        && from.key() == to.key()
    {
        // "A pod cannot block access to itself."
        return [None, None];
    }
    // "... OR if the traffic source is the pod's local node"
    let from_own_node =
        |pod: &&Pod| node_at(cluster, flow.from).is_some_and(|n| pod.node.as_ref() == Some(&n.meta.name));
    let to = to.filter(|pod| !from_own_node(pod));
    [from.map(|pod| (pod, Direction::Egress)), to.map(|pod| (pod, Direction::Ingress))]
}

/// The end of a packet that is not the one asked.
const fn peer_of(flow: Flow, direction: Direction) -> IpAddr {
    match direction {
        Direction::Ingress => flow.from,
        Direction::Egress => flow.to,
    }
}

/// The protocols that have ports.
const fn transport(protocol: IpProtocol) -> Option<Protocol> {
    match protocol.0 {
        6 => Some(Protocol::Tcp),
        17 => Some(Protocol::Udp),
        132 => Some(Protocol::Sctp),
        _ => None,
    }
}
