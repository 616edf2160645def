//! `policy.networking.k8s.io/v1alpha2` ClusterNetworkPolicy.

use tortie_model::{
    ClusterAction, ClusterPeer, ClusterPolicy, ClusterPort, ClusterRule, ClusterTier, Kind, LabelSelector, Protocol,
};

use tortie_manifest::write::{self, Node, Notes, selector};

pub(crate) fn document(policy: &ClusterPolicy, notes: &Notes) -> String {
    let tier = match policy.tier {
        ClusterTier::Admin => "Admin",
        ClusterTier::Baseline => "Baseline",
    };
    let mut spec = vec![
        ("tier", Node::text(tier)),
        ("priority", Node::number(policy.priority.unwrap_or_default())),
        ("subject", peer(&policy.subject)),
    ];
    let directions =
        [("ingress", "from", &policy.ingress, &notes.ingress), ("egress", "to", &policy.egress, &notes.egress)];
    for (direction, peers, rules, notes) in directions {
        if !rules.is_empty() {
            spec.push((direction, write::rules(rules.iter().map(|r| rule(r, peers)), notes)));
        }
    }
    write::document(Kind::ClusterNetworkPolicy, &policy.meta, Node::map(spec))
}

fn rule(rule: &ClusterRule, peers: &str) -> Node {
    let action = match rule.action {
        ClusterAction::Accept => "Accept",
        ClusterAction::Deny => "Deny",
        ClusterAction::Pass => "Pass",
    };
    let mut out = vec![("action", Node::text(action)), (peers, Node::list(rule.peers.iter().map(peer)).block())];
    if let Some(ports) = &rule.ports {
        out.push(("protocols", Node::list(ports.iter().map(port)).block()));
    }
    Node::map(out).block()
}

fn peer(peer: &ClusterPeer) -> Node {
    match peer {
        ClusterPeer::Namespaces(namespaces) => Node::map([("namespaces", selector(namespaces))]),
        ClusterPeer::Pods { namespaces, pods } => {
            let mut out = vec![("namespaceSelector", selector(namespaces)), ("podSelector", selector(pods))];
            // All namespaces are meant when none are named.
            out.retain(|(field, _)| *field != "namespaceSelector" || *namespaces != LabelSelector::everything());
            Node::map([("pods", Node::map(out))])
        }
        ClusterPeer::Networks(nets) => {
            Node::map([("networks", Node::list(nets.iter().map(|net| Node::text(&net.to_string()))))])
        }
        ClusterPeer::Nodes(nodes) => Node::map([("nodes", selector(nodes))]),
        ClusterPeer::DomainNames(names) => {
            Node::map([("domainNames", Node::list(names.iter().map(|name| Node::text(name))))])
        }
        ClusterPeer::Unknown => Node::map::<&str>([]),
    }
}

fn port(port: &ClusterPort) -> Node {
    match port {
        ClusterPort::Range(protocol, first, last) => {
            let field = match protocol {
                Protocol::Tcp => "tcp",
                Protocol::Udp => "udp",
                Protocol::Sctp => "sctp",
            };
            let destination = if first == last {
                Node::map([("number", Node::number(first))])
            } else {
                let ends = [("start", Node::number(first)), ("end", Node::number(last))];
                Node::map([("range", Node::map(ends))])
            };
            Node::map([(field, Node::map([("destinationPort", destination)]))])
        }
        ClusterPort::Named(name) => Node::map([("destinationNamedPort", Node::text(name))]),
        ClusterPort::Unknown => Node::map::<&str>([]),
    }
}
