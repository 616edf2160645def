//! ClusterNetworkPolicy, and AdminNetworkPolicy and BaselineAdminNetworkPolicy before it.

use std::sync::Arc;

use serde_json::{Value, json};
use tortie_model::{
    ClusterAction, ClusterPeer, ClusterPolicy, ClusterPort, ClusterRule, ClusterTier, Kind, LabelSelector, Object,
    Protocol,
};

use crate::read;

fn policy(kind: &str, spec: &Value) -> Arc<ClusterPolicy> {
    let version = if kind == "ClusterNetworkPolicy" { "v1alpha2" } else { "v1alpha1" };
    let version = format!("policy.networking.k8s.io/{version}");
    let object = json!({ "apiVersion": version, "kind": kind, "metadata": { "name": "default" }, "spec": spec });
    match read(&object) {
        Object::ClusterPolicy(policy) => policy,
        other => panic!("{other:?}"),
    }
}

fn everyone() -> Value {
    json!({ "namespaces": {} })
}

/// The one egress rule of a ClusterNetworkPolicy, or of an AdminNetworkPolicy.
fn rule(kind: &str, rule: &Value) -> ClusterRule {
    let mut spec = json!({ "priority": 1, "subject": everyone(), "egress": [rule] });
    if kind == "ClusterNetworkPolicy" {
        spec["tier"] = "Admin".into();
    }
    policy(kind, &spec).egress[0].clone()
}

#[test]
fn kinds_tiers_and_priorities() {
    let of = |kind: &str, tier: Value, priority: Value| {
        let mut spec = json!({ "tier": tier, "priority": priority, "subject": everyone() });
        spec.as_object_mut().expect("a mapping").retain(|_, value| !value.is_null());
        let policy = policy(kind, &spec);
        assert!(policy.ingress.is_empty() && policy.egress.is_empty());
        (policy.kind, policy.tier, policy.priority)
    };
    let cluster = Kind::ClusterNetworkPolicy;
    let (none, admin, baseline) = (Value::Null, ClusterTier::Admin, ClusterTier::Baseline);
    assert_eq!(of("ClusterNetworkPolicy", json!("Admin"), json!(0)), (cluster, admin, Some(0)));
    assert_eq!(of("ClusterNetworkPolicy", json!("Baseline"), json!(1000)), (cluster, baseline, Some(1000)));
    let former = of("AdminNetworkPolicy", none.clone(), json!(7));
    assert_eq!(former, (Kind::AdminNetworkPolicy, admin, Some(7)));
    let former = of("BaselineAdminNetworkPolicy", none.clone(), none);
    assert_eq!(former, (Kind::BaselineAdminNetworkPolicy, baseline, None));
}

#[test]
fn subjects_are_namespaces_or_pods() {
    let labels = |key, value| LabelSelector::match_labels([(key, value)]);
    for kind in ["ClusterNetworkPolicy", "AdminNetworkPolicy"] {
        let of = |subject: Value| {
            let mut spec = json!({ "priority": 1, "subject": subject });
            if kind == "ClusterNetworkPolicy" {
                spec["tier"] = "Baseline".into();
            }
            policy(kind, &spec).subject.clone()
        };
        assert_eq!(of(everyone()), ClusterPeer::Namespaces(LabelSelector::everything()), "{kind}");
        let some = json!({ "namespaces": { "matchLabels": { "a": "b" } } });
        assert_eq!(of(some), ClusterPeer::Namespaces(labels("a", "b")), "{kind}");
        let pods = json!({ "pods": {
            "namespaceSelector": { "matchLabels": { "a": "b" } }, "podSelector": { "matchLabels": { "c": "d" } },
        } });
        let expected = ClusterPeer::Pods { namespaces: labels("a", "b"), pods: labels("c", "d") };
        assert_eq!(of(pods), expected, "{kind}");
    }
}

#[test]
fn rules_keep_names_actions_and_order() {
    let of = |kind: &str, accept: &str| {
        let rule = |name: &str, action: &str, way: &str| json!({ "name": name, "action": action, way: [everyone()] });
        let mut spec = json!({
            "priority": 1, "subject": everyone(),
            "ingress": [rule("one", accept, "from"), rule("two", "Deny", "from")],
            "egress": [{ "action": "Pass", "to": [everyone()] }],
        });
        if kind == "ClusterNetworkPolicy" {
            spec["tier"] = "Admin".into();
        }
        policy(kind, &spec)
    };
    for (kind, accept) in [("ClusterNetworkPolicy", "Accept"), ("AdminNetworkPolicy", "Allow")] {
        let policy = of(kind, accept);
        let shown =
            |rules: &[ClusterRule]| -> Vec<_> { rules.iter().map(|r| (r.name.to_string(), r.action)).collect() };
        let expected = [("one".to_owned(), ClusterAction::Accept), ("two".to_owned(), ClusterAction::Deny)];
        assert_eq!(shown(&policy.ingress), expected, "{kind}");
        assert_eq!(shown(&policy.egress), [(String::new(), ClusterAction::Pass)], "{kind}");
        assert!(policy.ingress.iter().chain(&policy.egress).all(|r| r.ports.is_none()), "{kind}: every packet");
    }
}

#[test]
fn peers_of_every_kind() {
    for (kind, action) in [("ClusterNetworkPolicy", "Accept"), ("AdminNetworkPolicy", "Allow")] {
        let peers = rule(
            kind,
            &json!({ "action": action, "to": [
            { "namespaces": { "matchLabels": { "a": "b" } } },
            { "pods": { "namespaceSelector": {}, "podSelector": { "matchLabels": { "c": "d" } } } },
            { "networks": ["10.0.0.0/8", "2001:db8::/32"] },
            { "nodes": { "matchLabels": { "e": "f" } } },
            { "domainNames": ["*.example.com", "example.org."] },
        ] }),
        )
        .peers;
        let labels = |key, value| LabelSelector::match_labels([(key, value)]);
        let nets = ["10.0.0.0/8", "2001:db8::/32"].map(|net| net.parse().expect("a block"));
        let expected = [
            ClusterPeer::Namespaces(labels("a", "b")),
            ClusterPeer::Pods { namespaces: LabelSelector::everything(), pods: labels("c", "d") },
            ClusterPeer::Networks(nets.to_vec()),
            ClusterPeer::Nodes(labels("e", "f")),
            ClusterPeer::DomainNames(vec!["*.example.com".into(), "example.org.".into()]),
        ];
        assert_eq!(peers, expected, "{kind}");
    }
}

#[test]
fn protocols_of_the_present_version() {
    let ports = |protocols: Value| {
        let given = json!({ "action": "Deny", "to": [everyone()], "protocols": protocols });
        rule("ClusterNetworkPolicy", &given).ports
    };
    let given = json!([
        { "tcp": { "destinationPort": { "number": 80 } } },
        { "udp": { "destinationPort": { "range": { "start": 5, "end": 9 } } } },
        { "sctp": { "destinationPort": { "number": 65535 } } },
        { "destinationNamedPort": "http" },
    ]);
    let expected = vec![
        ClusterPort::Range(Protocol::Tcp, 80, 80),
        ClusterPort::Range(Protocol::Udp, 5, 9),
        ClusterPort::Range(Protocol::Sctp, 65535, 65535),
        ClusterPort::Named("http".into()),
    ];
    assert_eq!(ports(given), Some(expected));
}

#[test]
fn ports_of_the_former_version() {
    let given = json!({ "action": "Deny", "to": [everyone()], "ports": [
        { "portNumber": { "port": 80 } },
        { "portNumber": { "protocol": "UDP", "port": 53 } },
        { "portRange": { "protocol": "SCTP", "start": 1, "end": 9 } },
        { "portRange": { "start": 1, "end": 65535 } },
        { "namedPort": "http" },
    ] });
    let expected = vec![
        ClusterPort::Range(Protocol::Tcp, 80, 80),
        ClusterPort::Range(Protocol::Udp, 53, 53),
        ClusterPort::Range(Protocol::Sctp, 1, 9),
        ClusterPort::Range(Protocol::Tcp, 1, 65535),
        ClusterPort::Named("http".into()),
    ];
    assert_eq!(rule("AdminNetworkPolicy", &given).ports, Some(expected));
}
