//! ClusterNetworkPolicy, AdminNetworkPolicy and BaselineAdminNetworkPolicy.

use tortie_model::{ClusterAction, ClusterPeer, ClusterPolicy, ClusterPort, ClusterRule, Direction, Labels, Pod};

use super::labels::{endpoints_at, selects, selects_namespace};
use super::{peer_of, pod_at, transport};
use crate::cluster::{Cluster, Flow};

/// The rules of a policy for a direction of a pod, when it governs it. Without rules for it, it does not.
pub(crate) fn governs<'c>(
    cluster: &Cluster,
    policy: &'c ClusterPolicy,
    pod: &Pod,
    direction: Direction,
) -> Option<&'c [ClusterRule]> {
    let rules = match direction {
        Direction::Ingress => &policy.ingress,
        Direction::Egress => &policy.egress,
    };
    let selected = match &policy.subject {
        ClusterPeer::Namespaces(namespaces) => selects_namespace(cluster, namespaces, &pod.meta.namespace),
        ClusterPeer::Pods { namespaces, pods } => {
            selects_namespace(cluster, namespaces, &pod.meta.namespace) && selects(pods, &pod.meta.labels)
        }
        other => panic!("{other:?} is no subject"),
    };
    (selected && !rules.is_empty()).then_some(rules)
}

/// What a rule does with a packet, when it matches.
pub(super) fn action(cluster: &Cluster, rule: &ClusterRule, direction: Direction, flow: Flow) -> Option<ClusterAction> {
    // What is not understood, nor kept track of, must not let anything through that a rule denies or passes on.
    let strange_peer = |peer: &ClusterPeer| matches!(peer, ClusterPeer::DomainNames(_) | ClusterPeer::Unknown);
    let strange_port = |port: &ClusterPort| matches!(port, ClusterPort::Unknown);
    let strange = rule.peers.iter().any(strange_peer) || rule.ports.iter().flatten().any(strange_port);
    if strange && rule.action != ClusterAction::Accept {
        return Some(ClusterAction::Deny);
    }
    let peer = rule.peers.iter().any(|peer| peer_matches(cluster, peer, direction, flow));
    let port = rule.ports.as_ref().is_none_or(|ports| ports.iter().any(|port| port_matches(cluster, port, flow)));
    (peer && port).then_some(rule.action)
}

fn peer_matches(cluster: &Cluster, peer: &ClusterPeer, direction: Direction, flow: Flow) -> bool {
    let ip = peer_of(flow, direction);
    match peer {
        // Pods and sets of addresses of these namespaces. A set that is in none has no label of one, which is what some
        // selectors ask for; without a question, it must be in one.
        ClusterPeer::Namespaces(namespaces) => endpoints_at(cluster, ip).iter().any(|e| {
            if e.namespace.is_empty() {
                !namespaces.requirements().is_empty() && selects(namespaces, &Labels::default())
            } else {
                selects_namespace(cluster, namespaces, &e.namespace)
            }
        }),
        ClusterPeer::Pods { namespaces, pods } => pod_at(cluster, ip).is_some_and(|pod| {
            selects_namespace(cluster, namespaces, &pod.meta.namespace) && selects(pods, &pod.meta.labels)
        }),
        ClusterPeer::Networks(nets) => nets.iter().any(|net| net.contains(&ip)),
        ClusterPeer::Nodes(nodes) => {
            cluster.nodes.iter().any(|node| selects(nodes, &node.meta.labels) && node.addresses.contains(&ip))
        }
        ClusterPeer::DomainNames(_) | ClusterPeer::Unknown => false,
    }
}

fn port_matches(cluster: &Cluster, port: &ClusterPort, flow: Flow) -> bool {
    let Some(protocol) = transport(flow.traffic.protocol) else { return false };
    let number = flow.traffic.detail;
    match port {
        ClusterPort::Range(of, first, last) => *of == protocol && *first <= number && number <= *last,
        ClusterPort::Named(name) => pod_at(cluster, flow.to).is_some_and(|pod| {
            pod.ports.iter().any(|p| p.name.as_ref() == Some(name) && p.protocol == protocol && p.number == number)
        }),
        ClusterPort::Unknown => false,
    }
}
