//! `networking.k8s.io/v1` NetworkPolicy.

use tortie_model::{Kind, NetworkPolicy, PeerRule, PolicyPeer, PolicyPort, PortSpec};

use super::{Node, Notes, selector};

/// A NetworkPolicy, with all that it says.
#[must_use]
pub fn network_policy(policy: &NetworkPolicy, notes: &Notes) -> String {
    let directions = [
        ("Ingress", "ingress", "from", &policy.ingress, &notes.ingress),
        ("Egress", "egress", "to", &policy.egress, &notes.egress),
    ];
    let types = directions.iter().filter(|d| d.3.is_some()).map(|d| Node::text(d.0));
    let mut spec = vec![("podSelector", selector(&policy.pod_selector)), ("policyTypes", Node::list(types))];
    for (_, direction, peers, rules, notes) in directions {
        if let Some(rules) = rules {
            let rules = rules.iter().map(|r| rule(r, peers));
            spec.push((direction, super::rules(rules, notes)));
        }
    }
    super::document(Kind::NetworkPolicy, &policy.meta, Node::map(spec))
}

fn rule(rule: &PeerRule, peers: &str) -> Node {
    let mut out = Vec::new();
    if !rule.peers.is_empty() {
        out.push((peers, Node::list(rule.peers.iter().map(peer)).block()));
    }
    if !rule.ports.is_empty() {
        out.push(("ports", Node::list(rule.ports.iter().map(port)).block()));
    }
    Node::map(out).block()
}

fn peer(peer: &PolicyPeer) -> Node {
    match peer {
        PolicyPeer::PodsHere(pods) => Node::map([("podSelector", selector(pods))]).block(),
        PolicyPeer::Pods { namespaces, pods } => {
            let pods = pods.as_ref().map(|pods| ("podSelector", selector(pods)));
            Node::map([("namespaceSelector", selector(namespaces))].into_iter().chain(pods)).block()
        }
        PolicyPeer::IpBlock(block) => {
            let mut out = vec![("cidr", Node::text(&block.cidr().to_string()))];
            if !block.except().is_empty() {
                out.push(("except", Node::list(block.except().iter().map(|e| Node::text(&e.to_string())))));
            }
            Node::map([("ipBlock", Node::map(out))]).block()
        }
    }
}

fn port(port: &PolicyPort) -> Node {
    let mut out = vec![("protocol", Node::text(port.protocol.as_str()))];
    match &port.port {
        PortSpec::All => {}
        PortSpec::Range(first, last) => {
            out.push(("port", Node::number(first)));
            if last != first {
                out.push(("endPort", Node::number(last)));
            }
        }
        PortSpec::Named(name) => out.push(("port", Node::text(name))),
    }
    Node::map(out)
}
