//! What the texts say: NetworkPolicy (`k8s.io/api/networking/v1/types.go` and its documentation), and the corners that
//! they leave open as this project decides them. No index, no tiers, no ranges: loops over lists.
//!
//! It shares no code with the engine but the objects themselves. A label selector is read here once more.

use std::net::IpAddr;

use tortie_model::{
    Direction, LabelSelector, Labels, NetworkPolicy, Node, Operator, PeerRule, Phase, Pod, PolicyPeer, PortSpec,
    Protocol, Traffic,
};

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

/// Decides a packet that would open a connection.
#[must_use]
pub fn decide(cluster: &Cluster, flow: Flow) -> Halves {
    let (from, to) = (pod_at(cluster, flow.from), pod_at(cluster, flow.to));
    if let (Some(from), Some(to)) = (from, to)
        && from.key() == to.key()
    {
        // "A pod cannot block access to itself."
        return Halves { egress: true, ingress: true };
    }
    let egress = match from {
        Some(pod) => allows(cluster, pod, Direction::Egress, to, flow.to, to, flow.traffic),
        None => true,
    };
    let ingress = match to {
        // "... OR if the traffic source is the pod's local node"
        Some(pod) if node_at(cluster, flow.from).is_some_and(|n| pod.node.as_ref() == Some(&n.meta.name)) => true,
        Some(pod) => allows(cluster, pod, Direction::Ingress, from, flow.from, to, flow.traffic),
        None => true,
    };
    Halves { egress, ingress }
}

/// The policies that select a pod and speak of a direction, each with its rules for it.
pub fn governing<'c>(
    cluster: &'c Cluster,
    pod: &Pod,
    direction: Direction,
) -> impl Iterator<Item = (&'c NetworkPolicy, &'c [PeerRule])> {
    cluster.policies.iter().filter_map(move |policy| {
        let rules = match direction {
            Direction::Ingress => &policy.ingress,
            Direction::Egress => &policy.egress,
        };
        let here = policy.meta.namespace == pod.meta.namespace && selects(&policy.pod_selector, &pod.meta.labels);
        rules.as_ref().filter(|_| here).map(|rules| (policy, &rules[..]))
    })
}

/// Whether a pod's policies allow a packet in a direction: "if no policies select a pod, all traffic is allowed"; else
/// one rule of one policy that selects it must match.
fn allows(
    cluster: &Cluster,
    pod: &Pod,
    direction: Direction,
    peer: Option<&Pod>,
    peer_ip: IpAddr,
    destination: Option<&Pod>,
    traffic: Traffic,
) -> bool {
    let mut isolated = false;
    for (policy, rules) in governing(cluster, pod, direction) {
        isolated = true;
        for rule in rules {
            if peer_matches(cluster, policy, rule, peer, peer_ip) && port_matches(rule, destination, traffic) {
                return true;
            }
        }
    }
    !isolated
}

fn peer_matches(
    cluster: &Cluster,
    policy: &NetworkPolicy,
    rule: &PeerRule,
    peer: Option<&Pod>,
    peer_ip: IpAddr,
) -> bool {
    if rule.peers.is_empty() {
        return true;
    }
    for item in &rule.peers {
        let matches = match (item, peer) {
            (PolicyPeer::PodsHere(pods), Some(peer)) => {
                peer.meta.namespace == policy.meta.namespace && selects(pods, &peer.meta.labels)
            }
            (PolicyPeer::Pods { namespaces, pods }, Some(peer)) => {
                selects_namespace(cluster, namespaces, &peer.meta.namespace)
                    && pods.as_ref().is_none_or(|pods| selects(pods, &peer.meta.labels))
            }
            (PolicyPeer::PodsHere(_) | PolicyPeer::Pods { .. }, None) => false,
            (PolicyPeer::IpBlock(block), _) => {
                block.cidr().contains(&peer_ip) && !block.except().iter().any(|e| e.contains(&peer_ip))
            }
        };
        if matches {
            return true;
        }
    }
    false
}

fn port_matches(rule: &PeerRule, destination: Option<&Pod>, traffic: Traffic) -> bool {
    if rule.ports.is_empty() {
        return true;
    }
    let protocol = match traffic.protocol.0 {
        6 => Protocol::Tcp,
        17 => Protocol::Udp,
        132 => Protocol::Sctp,
        _ => return false,
    };
    for item in &rule.ports {
        if item.protocol != protocol {
            continue;
        }
        let matches = match &item.port {
            PortSpec::All => true,
            PortSpec::Range(from, to) => *from <= traffic.detail && traffic.detail <= *to,
            PortSpec::Named(name) => {
                let mut number = None;
                for port in destination.iter().flat_map(|pod| &pod.ports) {
                    if number.is_none() && port.name.as_ref() == Some(name) && port.protocol == protocol {
                        number = Some(port.number);
                    }
                }
                number == Some(traffic.detail)
            }
        };
        if matches {
            return true;
        }
    }
    false
}

fn selects_namespace(cluster: &Cluster, selector: &LabelSelector, name: &str) -> bool {
    match cluster.namespaces.iter().find(|n| **n.name() == *name) {
        Some(namespace) => selects(selector, namespace.labels()),
        // Nobody defined it, yet it exists, with its name as label.
        None => selects(selector, &[("kubernetes.io/metadata.name", name)].into_iter().collect()),
    }
}

fn selects(selector: &LabelSelector, labels: &Labels) -> bool {
    for requirement in selector.requirements() {
        let value = labels.get(&requirement.key);
        let mut listed = false;
        for wanted in &requirement.values {
            if value == Some(wanted) {
                listed = true;
            }
        }
        let met = match requirement.operator {
            Operator::In => listed,
            Operator::NotIn => !listed,
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
        };
        if !met {
            return false;
        }
    }
    true
}
