//! `policy.networking.k8s.io`: ClusterNetworkPolicy v1alpha2, AdminNetworkPolicy and BaselineAdminNetworkPolicy v1alpha1.

use tortie_model::{
    ClusterAction, ClusterPeer, ClusterPolicy, ClusterPort, ClusterRule, ClusterTier, Kind, LabelSelector, Meta,
    Protocol,
};

use super::{calico, networkpolicy};
use crate::validation::{items, member, text};
use crate::value::Value;

pub(super) fn policy(kind: Kind, meta: Meta, value: &Value<'_>) -> ClusterPolicy {
    let spec = member(value, "spec").unwrap_or(&Value::Null);
    let is_admin = match kind {
        Kind::ClusterNetworkPolicy => text(spec, "tier") == "Admin",
        kind => kind == Kind::AdminNetworkPolicy,
    };
    ClusterPolicy {
        kind,
        meta,
        tier: if is_admin { ClusterTier::Admin } else { ClusterTier::Baseline },
        priority: (kind != Kind::BaselineAdminNetworkPolicy).then(|| number(spec, "priority")),
        subject: member(spec, "subject").map_or(ClusterPeer::Unknown, peer),
        ingress: rules(spec, "ingress", "from"),
        egress: rules(spec, "egress", "to"),
    }
}

fn rules(spec: &Value<'_>, direction: &str, peers: &str) -> Vec<ClusterRule> {
    let rule = |rule: &Value<'_>| {
        let ports = member(rule, "protocols").or_else(|| member(rule, "ports")).and_then(Value::as_array);
        ClusterRule {
            name: text(rule, "name").into(),
            action: match text(rule, "action") {
                "Accept" | "Allow" => ClusterAction::Accept,
                "Pass" => ClusterAction::Pass,
                _ => ClusterAction::Deny,
            },
            peers: items(rule, peers).iter().map(peer).collect(),
            // A list without items is as good as none.
            ports: ports.filter(|ports| !ports.is_empty()).map(|ports| ports.iter().map(port).collect()),
        }
    };
    items(spec, direction).iter().map(rule).collect()
}

fn peer(peer: &Value<'_>) -> ClusterPeer {
    let selector = |field: &str| member(peer, field).map(networkpolicy::selector);
    if let Some(namespaces) = selector("namespaces") {
        return ClusterPeer::Namespaces(namespaces);
    }
    if let Some(pods) = member(peer, "pods") {
        let selector =
            |field: &str| member(pods, field).map_or_else(LabelSelector::everything, networkpolicy::selector);
        return ClusterPeer::Pods { namespaces: selector("namespaceSelector"), pods: selector("podSelector") };
    }
    if member(peer, "networks").is_some() {
        return ClusterPeer::Networks(calico::nets(peer, "networks"));
    }
    if let Some(nodes) = selector("nodes") {
        return ClusterPeer::Nodes(nodes);
    }
    if member(peer, "domainNames").is_some() {
        let names = items(peer, "domainNames").iter().filter_map(|n| Some(n.as_str()?.into()));
        return ClusterPeer::DomainNames(names.collect());
    }
    ClusterPeer::Unknown
}

fn port(port: &Value<'_>) -> ClusterPort {
    // v1alpha2: the protocol is the field.
    let protocols = [("tcp", Protocol::Tcp), ("udp", Protocol::Udp), ("sctp", Protocol::Sctp)];
    for (field, protocol) in protocols {
        let Some(of) = member(port, field) else { continue };
        let Some(destination) = member(of, "destinationPort") else {
            return ClusterPort::Range(protocol, 0, u16::MAX);
        };
        return match (member(destination, "number"), member(destination, "range")) {
            (Some(_), _) => ClusterPort::Range(protocol, number(destination, "number"), number(destination, "number")),
            (None, Some(range)) => ClusterPort::Range(protocol, number(range, "start"), number(range, "end")),
            (None, None) => ClusterPort::Unknown,
        };
    }
    if let Some(name) = member(port, "destinationNamedPort").or_else(|| member(port, "namedPort")) {
        return ClusterPort::Named(name.as_str().unwrap_or_default().into());
    }
    // v1alpha1: the kind of port is the field.
    if let Some(one) = member(port, "portNumber") {
        return ClusterPort::Range(networkpolicy::protocol(one), number(one, "port"), number(one, "port"));
    }
    if let Some(range) = member(port, "portRange") {
        return ClusterPort::Range(networkpolicy::protocol(range), number(range, "start"), number(range, "end"));
    }
    ClusterPort::Unknown
}

fn number(holder: &Value<'_>, field: &str) -> u16 {
    member(holder, field).and_then(Value::as_u64).and_then(|n| u16::try_from(n).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn rule_of(rule: &serde_json::Value) -> ClusterRule {
        let value = json!({ "spec": { "tier": "Admin", "egress": [rule] } });
        policy(Kind::ClusterNetworkPolicy, Meta::default(), &value.into()).egress.remove(0)
    }

    /// Later versions of the API may have kinds of peers and ports that are not known yet: they must not read as a rule
    /// for everybody, nor for every packet.
    #[test]
    fn what_is_not_known_is_told_from_what_is_not_written() {
        let read = rule_of(&json!({
            "action": "Accept",
            "to": [{ "tenants": {} }, {}, { "namespaces": {} }],
            "protocols": [{ "quic": {} }, {}, { "tcp": { "destinationPort": { "service": "http" } } }],
        }));
        let everyone = ClusterPeer::Namespaces(LabelSelector::everything());
        assert_eq!(read.peers, [ClusterPeer::Unknown, ClusterPeer::Unknown, everyone]);
        assert_eq!(read.ports, Some(vec![ClusterPort::Unknown; 3]));
        let value = json!({ "spec": { "subject": { "tenants": {} } } });
        let policy = policy(Kind::ClusterNetworkPolicy, Meta::default(), &value.into());
        assert_eq!(policy.subject, ClusterPeer::Unknown);
    }

    #[test]
    fn a_protocol_without_ports_is_all_of_it_and_no_protocols_are_every_packet() {
        let ports = |protocols| rule_of(&json!({ "action": "Deny", "protocols": protocols })).ports;
        assert_eq!(ports(json!([{ "tcp": {} }])), Some(vec![ClusterPort::Range(Protocol::Tcp, 0, u16::MAX)]));
        assert_eq!(ports(json!([])), None);
        assert_eq!(ports(json!(null)), None);
    }
}
