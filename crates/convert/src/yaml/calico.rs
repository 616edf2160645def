//! `projectcalico.org/v3` NetworkPolicy and GlobalNetworkPolicy, as far as other APIs make them.

use tortie_model::calico::{Action, Entity, Policy, Rule};
use tortie_model::{IpProtocol, Kind, PortSpec};

use tortie_manifest::write::{self, Node, Notes};

pub(crate) fn document(policy: &Policy, notes: &Notes) -> String {
    let kind = if policy.meta.namespace.is_empty() { Kind::GlobalNetworkPolicy } else { Kind::CalicoNetworkPolicy };
    let mut spec = vec![("tier", Node::text(&policy.tier))];
    if let Some(order) = policy.order.get() {
        spec.push(("order", Node::number(order)));
    }
    if let Some(namespaces) = &policy.namespaces {
        spec.push(("namespaceSelector", Node::text(&namespaces.to_string())));
    }
    spec.push(("selector", Node::text(&policy.selector.to_string())));
    let directions =
        [("Ingress", "ingress", &policy.ingress, &notes.ingress), ("Egress", "egress", &policy.egress, &notes.egress)];
    let types = directions.iter().filter(|d| d.2.is_some()).map(|d| Node::text(d.0));
    spec.push(("types", Node::list(types)));
    for (_, direction, rules, notes) in directions {
        if let Some(rules) = rules {
            spec.push((direction, write::rules(rules.iter().map(rule), notes)));
        }
    }
    write::document(kind, &policy.meta, Node::map(spec))
}

fn rule(rule: &Rule) -> Node {
    let action = match rule.action {
        Action::Allow => "Allow",
        Action::Deny => "Deny",
        Action::Log => "Log",
        Action::Pass => "Pass",
    };
    let mut out = vec![("action", Node::text(action))];
    if let Some(protocol) = rule.protocol {
        out.push(("protocol", protocol_of(protocol)));
    }
    for (field, end) in [("source", &rule.source), ("destination", &rule.destination)] {
        if *end != Entity::default() {
            out.push((field, entity(end)));
        }
    }
    Node::map(out).block()
}

fn protocol_of(protocol: IpProtocol) -> Node {
    protocol.transport().map_or_else(|| Node::number(protocol.0), |known| Node::text(known.as_str()))
}

fn entity(entity: &Entity) -> Node {
    let mut out = Vec::new();
    for (field, selector) in [("namespaceSelector", &entity.namespaces), ("selector", &entity.selector)] {
        if let Some(selector) = selector {
            out.push((field, Node::text(&selector.to_string())));
        }
    }
    for (field, nets) in [("nets", &entity.nets), ("notNets", &entity.not_nets)] {
        if !nets.is_empty() {
            out.push((field, Node::list(nets.iter().map(|net| Node::text(&net.to_string())))));
        }
    }
    if !entity.ports.is_empty() {
        out.push(("ports", Node::list(entity.ports.iter().map(port))));
    }
    Node::map(out).block()
}

fn port(port: &PortSpec) -> Node {
    match port {
        PortSpec::All => Node::text("0:65535"),
        PortSpec::Range(first, last) if first == last => Node::number(first),
        PortSpec::Range(first, last) => Node::text(&format!("{first}:{last}")),
        PortSpec::Named(name) => Node::text(name),
    }
}
