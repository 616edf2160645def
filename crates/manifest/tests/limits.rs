//! How much, how long and which together: what is refused of Calico's objects beyond the types of their fields, each at
//! the bound and beyond it.

use serde_json::{Value, json};
use tortie_manifest::{LoadOptions, Memory, Severity, load};

/// Fields that something is said against.
fn refused(object: &Value) -> Vec<String> {
    let files = Memory::new([("object.json", object.to_string())]);
    let loaded = load(&files, &["object.json"], &LoadOptions::default());
    let errors = loaded.diagnostics.into_iter().filter(|d| d.severity == Severity::Error);
    errors.map(|d| d.field.clone()).collect()
}

fn object(kind: &str, name: &str, spec: &Value) -> Value {
    json!({ "apiVersion": "projectcalico.org/v3", "kind": kind, "metadata": { "name": name }, "spec": spec })
}

#[track_caller]
fn taken(kind: &str, spec: &Value) {
    assert_eq!(refused(&object(kind, "p", spec)), [""; 0], "{kind} {spec}");
}

#[track_caller]
fn not_taken(kind: &str, spec: &Value, field: &str) {
    let errors = refused(&object(kind, "p", spec));
    assert!(errors.iter().any(|e| e == field), "{kind} {spec}: {field}, not {errors:?}");
}

/// A GlobalNetworkPolicy of one rule in a direction.
fn of_rule(direction: &str, mut rule: Value) -> Value {
    if rule["action"].is_null() {
        rule["action"] = "Allow".into();
    }
    json!({ direction: [rule] })
}

fn times(n: usize, item: impl Fn(usize) -> Value) -> Value {
    (0..n).map(item).collect()
}

/// A selector of so many characters.
fn selector(length: usize) -> String {
    format!("a == '{}'", "x".repeat(length - 7))
}

#[test]
fn names() {
    let long = |n: usize| "a".repeat(n);
    for (kind, name, fine) in [
        ("GlobalNetworkSet", "a.b-c.d".to_owned(), true),
        ("GlobalNetworkSet", long(253), true),
        ("GlobalNetworkSet", long(254), false),
        ("GlobalNetworkSet", "A".to_owned(), false),
        ("GlobalNetworkSet", "-a".to_owned(), false),
        ("Tier", long(63), true),
        ("Tier", long(64), false),
        ("Tier", "a.b".to_owned(), false),
        ("NetworkPolicy", "a.b".to_owned(), true),
        ("NetworkPolicy", "a.b.c".to_owned(), false),
        ("NetworkPolicy", "knp.default.a.b".to_owned(), true),
        ("StagedNetworkPolicy", "ossg.default.a.b".to_owned(), true),
        ("GlobalNetworkPolicy", "a.b".to_owned(), true),
        ("GlobalNetworkPolicy", "a.b.c".to_owned(), false),
        ("GlobalNetworkPolicy", "knp.default.a.b".to_owned(), false),
        ("StagedGlobalNetworkPolicy", "a.b.c".to_owned(), false),
    ] {
        let errors = refused(&object(kind, &name, &json!({})));
        assert_eq!(errors.is_empty(), fine, "{kind} {name}: {errors:?}");
    }
    for (metadata, field) in [
        (json!({ "labels": { "-": "x" } }), "metadata.labels"),
        (json!({ "labels": { "a": "-" } }), "metadata.labels"),
        (json!({ "annotations": { "a b": "x" } }), "metadata.annotations"),
        (json!({ "annotations": { "a": "x".repeat(256 * 1024) } }), "metadata.annotations"),
    ] {
        let mut written = object("GlobalNetworkPolicy", "p", &json!({}));
        written["metadata"].as_object_mut().expect("metadata").extend(metadata.as_object().expect("fields").clone());
        let errors = refused(&written);
        assert!(errors.iter().any(|e| e == field), "{field}: {errors:?}");
    }
}

#[test]
fn policies() {
    for kind in ["NetworkPolicy", "GlobalNetworkPolicy", "StagedNetworkPolicy", "StagedGlobalNetworkPolicy"] {
        for direction in ["ingress", "egress"] {
            taken(kind, &json!({ direction: times(1024, |_| json!({ "action": "Deny" })) }));
            not_taken(
                kind,
                &json!({ direction: times(1025, |_| json!({ "action": "Deny" })) }),
                &format!("spec.{direction}"),
            );
        }
        for field in ["selector", "serviceAccountSelector"] {
            taken(kind, &json!({ field: selector(1024) }));
            not_taken(kind, &json!({ field: selector(1025) }), &format!("spec.{field}"));
            not_taken(kind, &json!({ field: "global()" }), &format!("spec.{field}"));
            not_taken(kind, &json!({ field: "a ==" }), &format!("spec.{field}"));
        }
        not_taken(kind, &json!({ "types": [] }), "spec.types");
        not_taken(kind, &json!({ "types": ["Ingress", "Ingress"] }), "spec.types[1]");
        not_taken(kind, &json!({ "types": ["Both"] }), "spec.types[0]");
        not_taken(kind, &json!({ "order": "1" }), "spec.order");
        taken(kind, &json!({ "performanceHints": ["AssumeNeededOnEveryNode"] }));
        not_taken(kind, &json!({ "performanceHints": ["Fast"] }), "spec.performanceHints[0]");
    }
    for kind in ["GlobalNetworkPolicy", "StagedGlobalNetworkPolicy"] {
        taken(kind, &json!({ "namespaceSelector": selector(1024) }));
        not_taken(kind, &json!({ "namespaceSelector": selector(1025) }), "spec.namespaceSelector");
        not_taken(kind, &json!({ "namespaceSelector": "global()" }), "spec.namespaceSelector");
    }
}

#[test]
fn policies_of_hosts() {
    let kind = "GlobalNetworkPolicy";
    let both = json!({ "doNotTrack": true, "preDNAT": true, "applyOnForward": true });
    let outward = json!({ "preDNAT": true, "applyOnForward": true, "egress": [{ "action": "Deny" }] });
    let typed = json!({ "preDNAT": true, "applyOnForward": true, "types": ["Ingress", "Egress"] });
    for spec in [both, outward, typed, json!({ "doNotTrack": true }), json!({ "preDNAT": true })] {
        for kind in [kind, "StagedGlobalNetworkPolicy"] {
            assert_ne!(refused(&object(kind, "p", &spec)), [""; 0], "{kind} {spec}");
        }
    }
    taken(kind, &json!({ "doNotTrack": true, "applyOnForward": true, "egress": [{ "action": "Deny" }] }));
}

#[test]
fn rules() {
    let kind = "GlobalNetworkPolicy";
    let at = |direction: &str, way: &str| format!("spec.{direction}[0]{way}");
    for (rule, way) in [
        (json!({ "action": "Accept" }), ".action"),
        (json!({ "action": "" }), ".action"),
        (json!({ "protocol": "UDPlite" }), ".protocol"),
        (json!({ "protocol": 256 }), ".protocol"),
        (json!({ "notProtocol": "Any" }), ".notProtocol"),
        (json!({ "protocol": "ICMP", "icmp": { "type": -1 } }), ".icmp.type"),
        (json!({ "protocol": "ICMP", "icmp": { "type": 1, "code": 256 } }), ".icmp.code"),
        (json!({ "notICMP": { "type": 255 } }), ".notICMP.type"),
        (json!({ "notICMP": { "code": 1 } }), ".notICMP"),
        (json!({ "protocol": "ICMP", "ipVersion": 6 }), ""),
        (json!({ "notProtocol": "ICMP", "ipVersion": 6 }), ""),
        (json!({ "notProtocol": 58, "ipVersion": 4 }), ""),
        (json!({ "ipVersion": 6, "source": { "nets": ["10.0.0.0/8"] } }), ".source.nets[0]"),
    ] {
        for direction in ["ingress", "egress"] {
            not_taken(kind, &of_rule(direction, rule.clone()), &at(direction, way));
            not_taken("Profile", &of_rule(direction, rule.clone()), &at(direction, way));
        }
    }
    taken(kind, &of_rule("ingress", json!({ "protocol": "ICMP", "icmp": { "type": 254, "code": 255 } })));
    for action in ["Allow", "Deny", "Log", "Pass"] {
        taken(kind, &of_rule("egress", json!({ "action": action })));
    }
}

#[test]
fn requests() {
    let kind = "GlobalNetworkPolicy";
    let paths = |n| times(n, |i| json!({ "exact": format!("/{i}") }));
    taken(kind, &of_rule("ingress", json!({ "http": { "methods": ["GET"], "paths": paths(20) } })));
    taken(kind, &of_rule("ingress", json!({ "protocol": 6, "http": { "paths": [{ "prefix": "/a" }] } })));
    for (direction, rule) in [
        ("egress", json!({ "http": { "methods": ["GET"] } })),
        ("ingress", json!({ "action": "Deny", "http": { "methods": ["GET"] } })),
        ("ingress", json!({ "protocol": "UDP", "http": { "methods": ["GET"] } })),
        ("ingress", json!({ "http": { "methods": ["GET", "GET"] } })),
        ("ingress", json!({ "http": { "methods": times(21, |i| format!("M{i}").into()) } })),
        ("ingress", json!({ "http": { "paths": paths(21) } })),
        ("ingress", json!({ "http": { "paths": [{ "exact": "/a", "prefix": "/a" }] } })),
        ("ingress", json!({ "http": { "paths": [{ "exact": "a" }] } })),
        ("ingress", json!({ "http": { "paths": [{ "prefix": "/a#b" }] } })),
        ("ingress", json!({ "http": { "paths": [{ "prefix": "/a b" }] } })),
        ("ingress", json!({ "http": { "paths": [{ "exact": format!("/{}", "a".repeat(1024)) }] } })),
    ] {
        assert_ne!(refused(&object(kind, "p", &of_rule(direction, rule.clone()))), [""; 0], "{direction} {rule}");
    }
}

#[test]
fn ends_of_rules() {
    let kind = "GlobalNetworkPolicy";
    let net = |i: usize| Value::from(format!("10.{}.{}.0/24", i / 256, i % 256));
    let port = |i: usize| Value::from(1 + i);
    for end in ["source", "destination"] {
        let of = |entity: Value| of_rule("ingress", json!({ "protocol": "TCP", end: entity }));
        let at = |way: &str| format!("spec.ingress[0].{end}.{way}");
        for field in ["nets", "notNets"] {
            taken(kind, &of(json!({ field: times(256, net) })));
            not_taken(kind, &of(json!({ field: times(257, net) })), &at(field));
            not_taken(kind, &of(json!({ field: ["10.0.0.0/8", "10.0.0.0/8"] })), &at(&format!("{field}[1]")));
            not_taken(kind, &of(json!({ field: ["10.0.0.0/33"] })), &at(&format!("{field}[0]")));
        }
        for field in ["ports", "notPorts"] {
            taken(kind, &of(json!({ field: times(50, port) })));
            not_taken(kind, &of(json!({ field: times(51, port) })), &at(field));
            for wrong in [json!(0), json!(65536), json!("0"), json!("1:65536"), json!("2:1"), json!("a b"), json!("")] {
                not_taken(kind, &of(json!({ field: [wrong] })), &at(&format!("{field}[0]")));
            }
        }
        for field in ["selector", "notSelector", "namespaceSelector"] {
            taken(kind, &of(json!({ field: selector(1024) })));
            not_taken(kind, &of(json!({ field: selector(1025) })), &at(field));
            not_taken(kind, &of(json!({ field: "has(" })), &at(field));
        }
        for field in ["selector", "notSelector"] {
            not_taken(kind, &of(json!({ field: "global()" })), &at(field));
        }
        taken(kind, &of(json!({ "namespaceSelector": "global()" })));
        taken(kind, &of(json!({ "serviceAccounts": { "names": ["a"], "selector": "has(b)" } })));
    }
    let service = json!({ "name": "s", "namespace": "n" });
    for (field, value) in [
        ("selector", json!("all()")),
        ("notSelector", json!("has(a)")),
        ("namespaceSelector", json!("all()")),
        ("nets", json!(["10.0.0.0/8"])),
        ("notNets", json!(["10.0.0.0/8"])),
        ("serviceAccounts", json!({ "names": ["a"] })),
        ("ports", json!([80])),
        ("notPorts", json!([80])),
    ] {
        let with = json!({ "protocol": "TCP", "destination": { "services": service, field: value } });
        assert_ne!(refused(&object(kind, "p", &of_rule("egress", with))), [""; 0], "services and {field}");
    }
    let source = json!({ "source": { "services": service } });
    assert_ne!(refused(&object(kind, "p", &of_rule("egress", source.clone()))), [""; 0]);
    taken(kind, &of_rule("ingress", source));
    taken(kind, &of_rule("egress", json!({ "destination": { "services": service } })));
    let long = json!({ "destination": { "services": { "name": "s".repeat(254), "namespace": "n" } } });
    not_taken(kind, &of_rule("egress", long), "spec.egress[0].destination.services.name");
}

#[test]
fn tiers_sets_hosts_and_what_is_staged() {
    not_taken("Tier", &json!({ "defaultAction": "Allow" }), "spec.defaultAction");
    for (name, order, end) in [("kube-admin", 1e3, "Pass"), ("default", 1e6, "Deny"), ("kube-baseline", 1e7, "Pass")] {
        let other = if end == "Pass" { "Deny" } else { "Pass" };
        assert_eq!(refused(&object("Tier", name, &json!({ "order": order, "defaultAction": end }))), [""; 0]);
        assert_ne!(refused(&object("Tier", name, &json!({ "order": 5, "defaultAction": end }))), [""; 0]);
        assert_ne!(refused(&object("Tier", name, &json!({ "order": order, "defaultAction": other }))), [""; 0]);
    }
    for kind in ["NetworkSet", "GlobalNetworkSet"] {
        taken(kind, &json!({ "nets": times(2000, |i| format!("10.{}.{}.1/24", i / 256, i % 256).into()) }));
        not_taken(kind, &json!({ "nets": ["10.0.0.0/33"] }), "spec.nets[0]");
    }
    let host = |more: Value| {
        let mut spec = json!({ "node": "n", "interfaceName": "eth0" });
        spec.as_object_mut().expect("fields").extend(more.as_object().expect("fields").clone());
        spec
    };
    let port = |name: &str, protocol: &str, port: u32| json!({ "ports": [{ "name": name, "protocol": protocol, "port": port }] });
    taken("HostEndpoint", &host(json!({ "interfaceName": "a".repeat(15) })));
    taken("HostEndpoint", &json!({ "node": "n", "expectedIPs": ["192.0.2.1", "2001:db8::1"] }));
    taken("HostEndpoint", &host(port("http", "SCTP", 65535)));
    for (more, field) in [
        (json!({ "interfaceName": "a".repeat(16) }), "spec.interfaceName"),
        (json!({ "interfaceName": "a b" }), "spec.interfaceName"),
        (json!({ "expectedIPs": ["192.0.2.0/24"] }), "spec.expectedIPs[0]"),
        (port("http", "ICMP", 80), "spec.ports[0].protocol"),
        (port("http", "TCP", 0), "spec.ports[0].port"),
        (port("http", "TCP", 65536), "spec.ports[0].port"),
        (port("80", "TCP", 80), "spec.ports[0].name"),
        (port("a-name-that-is-long", "TCP", 80), "spec.ports[0].name"),
    ] {
        not_taken("HostEndpoint", &host(more), field);
    }
    for kind in ["StagedNetworkPolicy", "StagedGlobalNetworkPolicy"] {
        not_taken(kind, &json!({ "stagedAction": "Try" }), "spec.stagedAction");
    }
    let tried = json!({ "stagedAction": "Try", "podSelector": {} });
    not_taken("StagedKubernetesNetworkPolicy", &tried, "spec.stagedAction");
    for (field, value) in [
        ("selector", json!("has(a)")),
        ("types", json!(["Ingress"])),
        ("ingress", json!([{ "action": "Deny" }])),
        ("egress", json!([{ "action": "Deny" }])),
        ("serviceAccountSelector", json!("has(a)")),
    ] {
        for kind in ["StagedNetworkPolicy", "StagedGlobalNetworkPolicy"] {
            not_taken(kind, &json!({ "stagedAction": "Delete", field: value }), &format!("spec.{field}"));
        }
    }
    let gone = json!({ "stagedAction": "Delete", "egress": [{}] });
    assert_ne!(refused(&object("StagedKubernetesNetworkPolicy", "p", &gone)), [""; 0]);
}
