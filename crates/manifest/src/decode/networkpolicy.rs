//! NetworkPolicy, with its defaults (`pkg/apis/networking/v1/defaults.go`).

use crate::value::Value;
use tortie_model::{
    IpBlock, LabelSelector, Meta, NetworkPolicy, Operator, PeerRule, PolicyPeer, PolicyPort, PortSpec, Protocol,
    Requirement,
};

use crate::validation::{items, member, sloppy_cidr, text, texts};

pub(super) fn policy(meta: Meta, value: &Value<'_>) -> NetworkPolicy {
    let spec = member(value, "spec").unwrap_or(&Value::Null);
    let egress = rules(spec, "egress", "to");
    let types = items(spec, "policyTypes");
    // Without policyTypes: Ingress always, Egress when there are egress rules.
    let (has_ingress, has_egress) = if types.is_empty() {
        (true, !egress.is_empty())
    } else {
        let has = |name: &str| types.iter().any(|t| t.as_str() == Some(name));
        (has("Ingress"), has("Egress"))
    };
    NetworkPolicy {
        meta,
        pod_selector: member(spec, "podSelector").map_or_else(LabelSelector::everything, selector),
        ingress: has_ingress.then(|| rules(spec, "ingress", "from")),
        egress: has_egress.then_some(egress),
    }
}

fn rules(spec: &Value<'_>, direction: &str, peers: &str) -> Vec<PeerRule> {
    let rule = |rule: &Value<'_>| PeerRule {
        peers: items(rule, peers).iter().map(peer).collect(),
        ports: items(rule, "ports").iter().map(port).collect(),
    };
    items(spec, direction).iter().map(rule).collect()
}

fn peer(peer: &Value<'_>) -> PolicyPeer {
    let pods = member(peer, "podSelector").map(selector);
    match (member(peer, "namespaceSelector").map(selector), member(peer, "ipBlock")) {
        (Some(namespaces), _) => PolicyPeer::Pods { namespaces, pods },
        (None, Some(block)) => PolicyPeer::IpBlock(ip_block(block)),
        (None, None) => PolicyPeer::PodsHere(pods.unwrap_or_default()),
    }
}

fn ip_block(block: &Value<'_>) -> IpBlock {
    let network = |text: &str| sloppy_cidr(text).map(|c| c.network());
    let except = items(block, "except").iter().filter_map(|e| network(e.as_str()?));
    IpBlock::new(network(text(block, "cidr")).expect("validation has read this block"), except)
}

fn port(port: &Value<'_>) -> PolicyPort {
    let number = |v: &Value<'_>| v.as_u64().and_then(|n| u16::try_from(n).ok()).unwrap_or_default();
    let port_spec = match member(port, "port") {
        None => PortSpec::All,
        Some(Value::String(name)) => PortSpec::Named((**name).into()),
        Some(first) => {
            let first = number(first);
            PortSpec::Range(first, member(port, "endPort").map_or(first, number))
        }
    };
    PolicyPort { protocol: protocol(port), port: port_spec }
}

/// `protocol`, TCP when it is not written.
pub(super) fn protocol(port: &Value<'_>) -> Protocol {
    text(port, "protocol").parse().unwrap_or(Protocol::Tcp)
}

/// A label selector.
pub(super) fn selector(selector: &Value<'_>) -> LabelSelector {
    let labels = texts(selector, "matchLabels").map(|(k, v)| Requirement::new(k, Operator::In, [v]));
    let expressions = items(selector, "matchExpressions").iter().map(|e| {
        let operator = match text(e, "operator") {
            "In" => Operator::In,
            "NotIn" => Operator::NotIn,
            "Exists" => Operator::Exists,
            _ => Operator::DoesNotExist,
        };
        Requirement::new(text(e, "key"), operator, items(e, "values").iter().map(|v| v.as_str().unwrap_or_default()))
    });
    LabelSelector::new(labels.chain(expressions))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(spec: &serde_json::Value) -> NetworkPolicy {
        policy(Meta::default(), &json!({ "spec": spec }).into())
    }

    #[test]
    fn policy_types_default_as_in_the_api_server() {
        let of = |spec: serde_json::Value| {
            let p = read(&spec);
            (p.ingress.is_some(), p.egress.is_some())
        };
        assert_eq!(of(json!({})), (true, false));
        assert_eq!(of(json!({ "egress": [] })), (true, false));
        assert_eq!(of(json!({ "egress": [{}] })), (true, true), "egress rules alone isolate ingress too");
        assert_eq!(of(json!({ "egress": [{}], "policyTypes": ["Egress"] })), (false, true));
        assert_eq!(of(json!({ "ingress": [{}], "policyTypes": ["Egress"] })), (false, true));
    }

    #[test]
    fn peers_and_ports() {
        let p = read(&json!({ "ingress": [{
            "from": [{ "podSelector": {} }, { "namespaceSelector": {} }, { "namespaceSelector": {}, "podSelector": { "matchLabels": { "a": "b" } } }, { "ipBlock": { "cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"] } }],
            "ports": [{}, { "port": 80 }, { "port": "http", "protocol": "UDP" }, { "port": 1, "endPort": 5 }],
        }] }));
        let rule = &p.ingress.as_ref().unwrap()[0];
        assert!(matches!(rule.peers[0], PolicyPeer::PodsHere(ref s) if s.is_everything()));
        assert!(matches!(rule.peers[1], PolicyPeer::Pods { pods: None, .. }));
        assert!(matches!(rule.peers[2], PolicyPeer::Pods { pods: Some(_), .. }));
        assert!(
            matches!(rule.peers[3], PolicyPeer::IpBlock(ref b) if b.to_string() == "10.0.0.0/8 except 10.1.0.0/16")
        );
        let specs: Vec<_> = rule.ports.iter().map(|p| p.port.clone()).collect();
        assert_eq!(
            specs,
            [PortSpec::All, PortSpec::Range(80, 80), PortSpec::Named("http".into()), PortSpec::Range(1, 5)]
        );
        assert_eq!(rule.ports[2].protocol, Protocol::Udp);
    }
}
