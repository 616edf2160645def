//! Front end for `networking.k8s.io/v1` NetworkPolicy.

use std::sync::Arc;

use tortie_model::{LabelSelector, NetworkPolicy, ObjectRef, Order, PeerRule, PolicyPeer, PolicyPort, PortSpec};

use crate::rule::{
    Action, DEFAULT_TIER, Detail, EndpointSelector, NamespaceMatch, Peer, Peers, Policy, PortMatch, Ports, Rule,
};

/// Where a NetworkPolicy stands in tier `default` (`libcalico-go`, `names.KubernetesNetworkPolicyOrder`).
pub const NETWORK_POLICY_ORDER: f64 = 1000.0;

/// A NetworkPolicy in the one rule form.
///
/// Isolation needs no stage of its own: a policy that governs a direction makes tier `default` count for the pods
/// that it selects, and the end of that tier denies.
#[must_use]
pub fn network_policy(np: &NetworkPolicy) -> Policy {
    let namespace = &np.meta.namespace;
    let rules = |rules: &Option<Vec<PeerRule>>| {
        rules.as_ref().map(|rules| rules.iter().enumerate().map(|(i, r)| rule(i, r, namespace)).collect())
    };
    in_default_tier(
        object(namespace, &np.meta.name),
        EndpointSelector::pods(NamespaceMatch::Named(namespace.clone()), np.pod_selector.clone()),
        rules(&np.ingress),
        rules(&np.egress),
    )
}

/// What stands in for a stored NetworkPolicy that cannot be understood: it denies all that its namespace allows it
/// to select, in both directions, until it is mended.
#[must_use]
pub fn fail_closed(namespace: &str, name: &str) -> Policy {
    let namespace: Arc<str> = namespace.into();
    in_default_tier(
        object(&namespace, name),
        EndpointSelector::pods(NamespaceMatch::Named(namespace.clone()), LabelSelector::everything()),
        Some(Vec::new()),
        Some(Vec::new()),
    )
}

fn object(namespace: &str, name: &str) -> ObjectRef {
    ObjectRef::namespaced(tortie_model::Kind::NetworkPolicy, namespace, name)
}

fn in_default_tier(
    object: ObjectRef,
    subject: EndpointSelector,
    ingress: Option<Vec<Rule>>,
    egress: Option<Vec<Rule>>,
) -> Policy {
    Policy { object, tier: DEFAULT_TIER.into(), order: Order::new(NETWORK_POLICY_ORDER), subject, ingress, egress }
}

fn rule(written: usize, rule: &PeerRule, namespace: &Arc<str>) -> Rule {
    let peers = if rule.peers.is_empty() {
        Peers::Any
    } else {
        Peers::OneOf(rule.peers.iter().map(|p| peer(p, namespace)).collect())
    };
    let ports = if rule.ports.is_empty() { Ports::Any } else { Ports::OneOf(rule.ports.iter().map(port).collect()) };
    Rule::new(written, Action::Allow, peers, ports)
}

fn peer(peer: &PolicyPeer, namespace: &Arc<str>) -> Peer {
    match peer {
        PolicyPeer::PodsHere(pods) => {
            Peer::endpoints(EndpointSelector::pods(NamespaceMatch::Named(namespace.clone()), pods.clone()))
        }
        PolicyPeer::Pods { namespaces, pods } => Peer::endpoints(EndpointSelector::pods(
            NamespaceMatch::Matching(namespaces.clone()),
            pods.clone().unwrap_or_default(),
        )),
        PolicyPeer::IpBlock(block) => Peer::block(block.clone()),
    }
}

fn port(port: &PolicyPort) -> PortMatch {
    let detail = match &port.port {
        PortSpec::All => Detail::All,
        PortSpec::Range(from, to) => Detail::Range(*from, *to),
        PortSpec::Named(name) => Detail::Named(name.clone()),
    };
    PortMatch { protocol: port.protocol.into(), detail }
}
