//! Policies of Calico, staged ones too, and their rules.

use std::sync::Arc;

use serde_json::{Value, json};
use tortie_model::calico::{
    Action, Class, Entity, Icmp, Policy, Rule, Selector, ServiceAccounts, ServiceMatch, Staged, StagedAction,
    StagedPolicy,
};
use tortie_model::{Family, IpProtocol, Kind, Object, Order, PortSpec};

use crate::{read, written};

fn policy(kind: &str, spec: &Value) -> Arc<Policy> {
    match read(&written(kind, spec)) {
        Object::CalicoPolicy(policy) => policy,
        other => panic!("{other:?}"),
    }
}

fn staged(kind: &str, spec: &Value) -> Arc<Staged> {
    match read(&written(kind, spec)) {
        Object::Staged(staged) => staged,
        other => panic!("{other:?}"),
    }
}

/// The one ingress rule of a policy; `action` is Allow unless it is given.
fn rule(mut rule: Value) -> Rule {
    if rule["action"].is_null() {
        rule["action"] = "Allow".into();
    }
    let policy = policy("GlobalNetworkPolicy", &json!({ "ingress": [rule] }));
    policy.ingress.clone().expect("a policy of ingress rules alone governs ingress").remove(0)
}

fn source(source: &Value) -> Entity {
    rule(json!({ "protocol": "TCP", "source": source })).source
}

fn selector(text: &str) -> Option<Selector> {
    Some(text.parse().expect("a selector"))
}

#[test]
fn a_policy_that_says_nothing_governs_ingress_of_all() {
    for kind in ["NetworkPolicy", "GlobalNetworkPolicy"] {
        let policy = policy(kind, &json!({}));
        assert_eq!((&*policy.tier, policy.order.get()), ("default", None), "{kind}");
        assert_eq!((&policy.selector, &policy.namespaces, &policy.service_accounts), (&Selector::All, &None, &None));
        assert_eq!((policy.ingress.as_deref(), policy.egress.as_deref()), (Some(&[][..]), None), "{kind}");
        assert_eq!(policy.class, Class::Normal, "{kind}");
    }
}

#[test]
fn the_fields_of_a_policy() {
    let spec = json!({
        "tier": "platform", "order": 10.5, "selector": "app == 'web'", "namespaceSelector": "has(team)",
        "serviceAccountSelector": "role in {'a', 'b'}", "performanceHints": ["AssumeNeededOnEveryNode"],
    });
    let policy = policy("GlobalNetworkPolicy", &spec);
    assert_eq!((&*policy.tier, policy.order), ("platform", Order::new(10.5)));
    assert_eq!(Some(policy.selector.clone()), selector("app == \"web\""));
    assert_eq!(policy.namespaces, selector("has(team)"));
    assert_eq!(policy.service_accounts, selector("role in {\"a\", \"b\"}"));
    assert_eq!((&*policy.meta.name, &*policy.meta.namespace), ("p", ""));
}

#[test]
fn orders_are_any_numbers() {
    let order = |order: Value| policy("NetworkPolicy", &json!({ "order": order })).order.get();
    assert_eq!(order(json!(7)), Some(7.0));
    assert_eq!(order(json!(0)), Some(0.0));
    assert_eq!(order(json!(-0.25)), Some(-0.25));
    assert_eq!(order(Value::Null), None);
}

#[test]
fn empty_selectors_are_as_good_as_none() {
    for empty in ["", "  "] {
        let spec = json!({ "selector": empty, "namespaceSelector": empty, "serviceAccountSelector": empty });
        let policy = policy("GlobalNetworkPolicy", &spec);
        assert_eq!((&policy.selector, &policy.namespaces, &policy.service_accounts), (&Selector::All, &None, &None));
        let accounts = json!({ "names": [], "selector": empty });
        let all = json!({
            "selector": empty, "notSelector": empty, "namespaceSelector": empty, "serviceAccounts": accounts,
        });
        let expected = Entity { service_accounts: Some(ServiceAccounts::default()), ..Entity::default() };
        assert_eq!(source(&all), expected);
    }
}

#[test]
fn types_are_those_that_are_written_or_those_of_the_rules() {
    let of = |spec: Value| {
        let policy = policy("NetworkPolicy", &spec);
        (policy.ingress.as_ref().map(Vec::len), policy.egress.as_ref().map(Vec::len))
    };
    let rules = json!([{ "action": "Deny" }]);
    assert_eq!(of(json!({ "ingress": rules })), (Some(1), None));
    assert_eq!(of(json!({ "egress": rules })), (None, Some(1)), "unlike in a NetworkPolicy of Kubernetes");
    assert_eq!(of(json!({ "ingress": rules, "egress": rules })), (Some(1), Some(1)));
    assert_eq!(of(json!({ "ingress": [], "egress": [] })), (Some(0), None), "a list without items is as good as none");
    assert_eq!(of(json!({ "egress": [] })), (Some(0), None));
    assert_eq!(of(json!({ "types": ["Egress"] })), (None, Some(0)));
    assert_eq!(of(json!({ "types": ["Ingress", "Egress"] })), (Some(0), Some(0)));
    // Rules of a direction that types leave out are no rules.
    assert_eq!(of(json!({ "types": ["Ingress"], "egress": rules })), (Some(0), None));
    assert_eq!(of(json!({ "types": ["Egress"], "ingress": rules, "egress": rules })), (None, Some(1)));
}

#[test]
fn classes_of_global_policies() {
    let class = |spec: Value| policy("GlobalNetworkPolicy", &spec).class;
    assert_eq!(class(json!({ "applyOnForward": false, "preDNAT": false, "doNotTrack": false })), Class::Normal);
    assert_eq!(class(json!({ "applyOnForward": true })), Class::Forward);
    assert_eq!(class(json!({ "applyOnForward": true, "preDNAT": true })), Class::PreDnat);
    assert_eq!(class(json!({ "applyOnForward": true, "doNotTrack": true })), Class::DoNotTrack);
}

#[test]
fn a_rule_that_says_nothing_matches_all() {
    let all = Rule {
        action: Action::Deny,
        family: None,
        protocol: None,
        not_protocol: None,
        icmp: None,
        not_icmp: None,
        http: false,
        source: Entity::default(),
        destination: Entity::default(),
    };
    assert_eq!(rule(json!({ "action": "Deny" })), all);
    let empty = json!({
        "action": "Deny", "metadata": { "annotations": { "why": "so" } },
        "source": { "nets": [], "ports": [] }, "destination": {},
    });
    assert_eq!(rule(empty), all);
}

#[test]
fn actions_and_their_order() {
    let actions = [("Log", Action::Log), ("Pass", Action::Pass), ("Allow", Action::Allow), ("Deny", Action::Deny)];
    let rules: Vec<_> = actions.iter().map(|(text, _)| json!({ "action": text })).collect();
    let policy = policy("NetworkPolicy", &json!({ "ingress": rules, "egress": rules }));
    for rules in [&policy.ingress, &policy.egress] {
        let read: Vec<_> = rules.iter().flatten().map(|rule| rule.action).collect();
        assert_eq!(read, actions.map(|(_, action)| action));
    }
}

#[test]
fn protocols_by_name_by_number_and_by_number_in_text() {
    let cases = [
        (json!("TCP"), 6),
        (json!("UDP"), 17),
        (json!("ICMP"), 1),
        (json!("ICMPv6"), 58),
        (json!("SCTP"), 132),
        (json!("UDPLite"), 136),
        (json!(47), 47),
        (json!(255), 255),
        (json!("47"), 47),
        (json!("6"), 6),
    ];
    for (protocol, number) in cases {
        let expected = Some(IpProtocol(number));
        let read = rule(json!({ "protocol": protocol }));
        assert_eq!((read.protocol, read.not_protocol), (expected, None), "{protocol}");
        let read = rule(json!({ "notProtocol": protocol }));
        assert_eq!((read.protocol, read.not_protocol), (None, expected), "{protocol}");
    }
}

#[test]
fn the_family_is_written_or_that_of_an_icmp_by_name() {
    let family = |given: Value| rule(given).family;
    assert_eq!(family(json!({ "ipVersion": 4 })), Some(Family::V4));
    assert_eq!(family(json!({ "ipVersion": 6 })), Some(Family::V6));
    assert_eq!(family(json!({ "protocol": "ICMP" })), Some(Family::V4));
    assert_eq!(family(json!({ "protocol": "ICMPv6" })), Some(Family::V6));
    // Numbers, other protocols and what is excluded say nothing about it.
    for given in [
        json!({ "protocol": 1 }),
        json!({ "protocol": 58 }),
        json!({ "protocol": "1" }),
        json!({ "protocol": "TCP" }),
        json!({ "notProtocol": "ICMP" }),
        json!({ "source": { "nets": ["10.0.0.0/8"] } }),
    ] {
        assert_eq!(family(given.clone()), None, "{given}");
    }
}

#[test]
fn icmp_messages() {
    let read = rule(json!({ "protocol": "ICMP", "icmp": { "type": 3, "code": 255 }, "notICMP": { "type": 254 } }));
    assert_eq!(read.icmp, Some(Icmp { kind: Some(3), code: Some(255) }));
    assert_eq!(read.not_icmp, Some(Icmp { kind: Some(254), code: None }));
    let read = rule(json!({ "protocol": "ICMP", "icmp": {}, "notICMP": { "type": 0, "code": 0 } }));
    assert_eq!(read.icmp, Some(Icmp { kind: None, code: None }));
    assert_eq!(read.not_icmp, Some(Icmp { kind: Some(0), code: Some(0) }));
}

/// What a proxy decides about requests is no matter of packets: the rule counts without it.
#[test]
fn requests_are_left_to_proxies() {
    let http = json!({ "methods": ["GET"], "paths": [{ "exact": "/a" }, { "prefix": "/b" }] });
    let without = rule(json!({ "protocol": "TCP" }));
    assert_eq!(rule(json!({ "protocol": "TCP", "http": http })), Rule { http: true, ..without });
}

#[test]
fn either_end_has_its_own_fields() {
    let read = rule(json!({
        "protocol": "TCP",
        "source": { "selector": "has(a)", "ports": [1] },
        "destination": { "notSelector": "has(b)", "notPorts": [2] },
    }));
    let expected = Entity { selector: selector("has(a)"), ports: vec![PortSpec::Range(1, 1)], ..Entity::default() };
    assert_eq!(read.source, expected);
    let expected =
        Entity { not_selector: selector("has(b)"), not_ports: vec![PortSpec::Range(2, 2)], ..Entity::default() };
    assert_eq!(read.destination, expected);
}

#[test]
fn whom_an_end_selects() {
    let read = source(&json!({
        "selector": "a == 'b'", "notSelector": "has(c)", "namespaceSelector": "global()",
        "serviceAccounts": { "names": ["one", "two"], "selector": "has(d)" },
    }));
    assert_eq!((read.selector, read.not_selector), (selector("a == 'b'"), selector("has(c)")));
    assert_eq!(read.namespaces, Some(Selector::Global));
    let accounts = ServiceAccounts { names: vec!["one".into(), "two".into()], selector: selector("has(d)") };
    assert_eq!(read.service_accounts, Some(accounts));
    assert_eq!(read.service, None);
}

#[test]
fn services_with_and_without_a_namespace() {
    let of = |kind: &str, service: Value| {
        let rule = json!({ "action": "Allow", "destination": { "services": service } });
        let policy = policy(kind, &json!({ "egress": [rule] }));
        policy.egress.as_ref().and_then(|rules| rules[0].destination.service.clone())
    };
    let service =
        |namespace: Option<&str>| Some(ServiceMatch { name: "s".into(), namespace: namespace.map(Arc::from) });
    assert_eq!(of("GlobalNetworkPolicy", json!({ "name": "s", "namespace": "n" })), service(Some("n")));
    assert_eq!(of("NetworkPolicy", json!({ "name": "s" })), service(None));
    assert_eq!(of("NetworkPolicy", json!({ "name": "s", "namespace": "" })), service(None));
    assert_eq!(source(&json!({ "services": { "name": "s", "namespace": "n" } })).service, service(Some("n")));
}

#[test]
fn nets_are_blocks_or_single_addresses() {
    let shown = |nets: &[ipnet::IpNet]| nets.iter().map(ToString::to_string).collect::<Vec<_>>();
    let read = source(&json!({ "nets": ["10.0.0.0/8", "10.1.2.3"], "notNets": ["10.9.0.0/16"] }));
    assert_eq!(shown(&read.nets), ["10.0.0.0/8", "10.1.2.3/32"]);
    assert_eq!(shown(&read.not_nets), ["10.9.0.0/16"]);
    let read = source(&json!({ "nets": ["2001:db8::/32", "2001:db8::1"] }));
    assert_eq!(shown(&read.nets), ["2001:db8::/32", "2001:db8::1/128"]);
    assert_eq!(read.not_nets, []);
    // IPv4 in the form of IPv6 is IPv4: no packet comes from the address as it is written.
    let read = rule(json!({ "ipVersion": 4, "source": { "nets": ["::ffff:10.1.2.3", "10.0.0.0/8"] } })).source;
    assert_eq!(shown(&read.nets), ["10.1.2.3/32", "10.0.0.0/8"]);
}

#[test]
fn ports_are_numbers_ranges_or_names() {
    let named = |name: &str| PortSpec::Named(name.into());
    let ports = json!([80, "81", "90:95", "7:7", "http", "1-to-9"]);
    let expected = [
        PortSpec::Range(80, 80),
        PortSpec::Range(81, 81),
        PortSpec::Range(90, 95),
        PortSpec::Range(7, 7),
        named("http"),
        // A range is written with a colon.
        named("1-to-9"),
    ];
    let read = source(&json!({ "ports": ports }));
    assert_eq!((read.ports, read.not_ports), (expected.to_vec(), Vec::new()));
    let read = source(&json!({ "notPorts": ports }));
    assert_eq!((read.ports, read.not_ports), (Vec::new(), expected.to_vec()));
    assert_eq!(
        source(&json!({ "ports": [65535, "1:65535"] })).ports,
        [PortSpec::Range(65535, 65535), PortSpec::Range(1, 65535)]
    );
}

#[test]
fn staged_policies_of_calico_hold_what_would_be() {
    for (kind, enforced) in
        [("StagedNetworkPolicy", "NetworkPolicy"), ("StagedGlobalNetworkPolicy", "GlobalNetworkPolicy")]
    {
        let mut spec = json!({
            "tier": "t", "order": 3, "selector": "has(a)", "types": ["Egress"], "egress": [{ "action": "Pass" }],
        });
        let would_be = StagedPolicy::Calico((*policy(enforced, &spec)).clone());
        for (text, action) in
            [("Set", StagedAction::Set), ("Learn", StagedAction::Learn), ("Ignore", StagedAction::Ignore)]
        {
            spec["stagedAction"] = text.into();
            let expected = Staged { action, policy: would_be.clone() };
            assert_eq!(*staged(kind, &spec), expected, "{kind} {text}");
        }
        spec.as_object_mut().expect("a mapping").remove("stagedAction");
        assert_eq!(staged(kind, &spec).action, StagedAction::Set, "{kind}");
        let gone = staged(kind, &json!({ "stagedAction": "Delete", "tier": "t" }));
        assert_eq!(gone.action, StagedAction::Delete, "{kind}");
    }
}

/// Its `policyTypes` are those of Kubernetes: egress rules alone govern ingress too.
#[test]
fn staged_policies_of_kubernetes_have_its_defaults() {
    let spec = json!({ "podSelector": { "matchLabels": { "a": "b" } }, "egress": [{}] });
    let staged = staged("StagedKubernetesNetworkPolicy", &spec);
    let StagedPolicy::Kubernetes(policy) = &staged.policy else { panic!("{staged:?}") };
    assert_eq!((staged.action, policy.pod_selector.to_string().as_str()), (StagedAction::Set, "a=b"));
    assert_eq!((policy.ingress.as_deref(), policy.egress.as_ref().map(Vec::len)), (Some(&[][..]), Some(1)));
}

/// As older versions of Calico store them, the name begins with that of the tier.
#[test]
fn stored_policies_mean_what_written_ones_do() {
    for (kind, of) in [("NetworkPolicy", Kind::CalicoNetworkPolicy), ("GlobalNetworkPolicy", Kind::GlobalNetworkPolicy)]
    {
        let mut object = written(kind, &json!({ "selector": "has(a)", "egress": [{ "action": "Deny" }] }));
        object["metadata"]["name"] = "default.p".into();
        let written = read(&object);
        object["apiVersion"] = "crd.projectcalico.org/v1".into();
        assert_eq!(read(&object), written);
        assert_eq!(written.kind(), of);
    }
}
