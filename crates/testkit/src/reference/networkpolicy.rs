//! NetworkPolicy (`k8s.io/api/networking/v1/types.go` and its documentation): no tiers, since its text has none.

use std::net::IpAddr;

use tortie_model::{Direction, NetworkPolicy, PeerRule, Pod, PolicyPeer, PortSpec, Traffic};

use super::labels::{selects, selects_namespace};
use super::transport;
use crate::cluster::Cluster;

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
pub(super) fn allows(
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

pub(super) fn peer_matches(
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

pub(super) fn port_matches(rule: &PeerRule, destination: Option<&Pod>, traffic: Traffic) -> bool {
    if rule.ports.is_empty() {
        return true;
    }
    let Some(protocol) = transport(traffic.protocol) else { return false };
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
