//! Policies of custom resources: our own cases, and what their own servers and validators said.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::PathBuf;

use serde_json::{Value, json};
use tortie_manifest::{Diagnostic, LoadOptions, Memory, Severity, load};

fn judged(object: &Value) -> Vec<Diagnostic> {
    let files = Memory::new([("object.json", object.to_string())]);
    let loaded = load(&files, &["object.json"], &LoadOptions::default());
    let errors: Vec<_> = loaded.diagnostics.into_iter().filter(|d| d.severity == Severity::Error).collect();
    assert_eq!(loaded.objects.is_empty(), !errors.is_empty(), "{object}: it is read, or it is refused: {errors:?}");
    errors
}

fn texts(errors: &[Diagnostic]) -> BTreeSet<(String, String)> {
    errors.iter().map(|d| (d.field.clone(), d.message.clone())).collect()
}

fn calico(kind: &str, name: &str, spec: &Value) -> Value {
    json!({ "apiVersion": "projectcalico.org/v3", "kind": kind, "metadata": { "name": name }, "spec": spec })
}

/// A GlobalNetworkPolicy of one ingress rule, which allows.
fn allow(mut rule: Value) -> Value {
    rule["action"] = "Allow".into();
    calico("GlobalNetworkPolicy", "p", &json!({ "ingress": [rule] }))
}

#[track_caller]
fn refused(object: &Value, field: &str, text: &str) {
    let errors = judged(object);
    assert!(errors.iter().any(|d| d.field == field && d.message.contains(text)), "{object}: {errors:?}");
}

#[test]
fn every_kind_is_accepted_as_it_is_stored_too() {
    for version in ["projectcalico.org/v3", "crd.projectcalico.org/v1"] {
        for (kind, spec) in [
            ("NetworkPolicy", json!({ "tier": "default", "order": 1.5, "selector": "has(a)", "types": ["Egress"] })),
            ("GlobalNetworkPolicy", json!({ "namespaceSelector": "all()", "preDNAT": true, "applyOnForward": true })),
            ("StagedNetworkPolicy", json!({ "stagedAction": "Delete", "tier": "t" })),
            ("StagedGlobalNetworkPolicy", json!({ "stagedAction": "Learn", "selector": "has(a)" })),
            ("StagedKubernetesNetworkPolicy", json!({ "podSelector": {}, "egress": [{ "ports": [{ "port": 80 }] }] })),
            ("Tier", json!({ "order": 5, "defaultAction": "Pass" })),
            ("NetworkSet", json!({ "nets": ["10.0.0.1/8", "2001:db8::1"] })),
            ("GlobalNetworkSet", json!({ "nets": [] })),
            ("Profile", json!({ "labelsToApply": { "pcns.a": "b" }, "ingress": [{ "action": "Allow" }] })),
            (
                "HostEndpoint",
                json!({ "node": "n", "interfaceName": "*", "ports": [{ "name": "http", "protocol": "TCP", "port": 80 }] }),
            ),
        ] {
            let mut object = calico(kind, "p", &spec);
            object["apiVersion"] = version.into();
            assert_eq!(texts(&judged(&object)), BTreeSet::new(), "{version} {kind}");
            object["spec"]["nonsense"] = 1.into();
            refused(&object, "spec.nonsense", "strict decoding error: unknown field \"spec.nonsense\"");
        }
    }
}

#[test]
fn rules_of_calico_are_judged_field_by_field() {
    let rule = "spec.ingress[0]";
    let at = |way: &str| format!("{rule}{way}");
    for (given, field, text) in [
        (json!({ "protocol": "tcp" }), ".protocol", "must be TCP, UDP"),
        (json!({ "notProtocol": 0 }), ".notProtocol", "Invalid value: 0: must be TCP"),
        (json!({ "ipVersion": 5 }), ".ipVersion", "Unsupported value: 5: supported values: \"4\", \"6\""),
        (json!({ "icmp": { "type": 8 } }), "", "ICMP fields need protocol"),
        (json!({ "protocol": "ICMP", "icmp": { "code": 1 } }), ".icmp", "ICMP code specified without an ICMP type"),
        (json!({ "protocol": 1, "icmp": { "type": 255 } }), ".icmp.type", "less than or equal to 254"),
        (json!({ "protocol": "ICMPv6", "ipVersion": 4 }), "", "protocol ICMPv6 requires ipVersion 6"),
        (json!({ "source": { "ports": [80] } }), ".source.ports", "need a protocol"),
        (json!({ "protocol": 47, "source": { "notPorts": ["http"] } }), ".source.notPorts", "TCP, UDP or SCTP"),
        (json!({ "protocol": "TCP", "source": { "ports": ["9:8"] } }), ".source.ports[0]", "its least"),
        (json!({ "protocol": "TCP", "source": { "ports": ["80-90"] } }), ".source.ports[0]", "at least one letter"),
        (json!({ "source": { "nets": ["10.0.0.1/8"] } }), ".source.nets[0]", "without bits beyond"),
        (
            json!({ "source": { "nets": ["10.0.0.0/8"] }, "destination": { "notNets": ["::1"] } }),
            ".destination.notNets[0]",
            "both IPv4 and IPv6",
        ),
        (json!({ "source": { "notNets": ["0.0.0.0/0"] } }), ".source.notNets[0]", "excludes every address"),
        (json!({ "source": { "selector": "a = 'b'" } }), ".source.selector", "expected `==`, `!=`"),
        (json!({ "source": { "selector": "a = 'b'" } }), ".source.selector", "at character 3"),
        (json!({ "source": { "selector": "global()" } }), ".source.selector", "global() can only be used"),
        (json!({ "source": { "namespaceSelector": "!global()" } }), ".source.namespaceSelector", "cannot be combined"),
        (
            json!({ "source": { "serviceAccounts": { "selector": "a" } } }),
            ".source.serviceAccounts.selector",
            "found the end",
        ),
        (json!({ "source": { "services": { "name": "s" } } }), ".source.services.namespace", "Required value"),
        (
            json!({ "destination": { "services": { "name": "s", "namespace": "n" } } }),
            ".destination.services",
            "are for egress",
        ),
        (json!({ "source": { "services": { "namespace": "n" } } }), ".source.services.name", "Required value"),
        (json!({ "http": { "paths": [{ "exact": "/a?b" }] } }), ".http.paths[0].exact", "must start with `/`"),
        (json!({ "metadata": { "annotations": { "..": "" } } }), ".metadata.annotations", "name part"),
    ] {
        refused(&allow(given), &at(field), text);
    }
    assert!(judged(&allow(json!({ "source": { "namespaceSelector": " global() " } }))).is_empty());
    // Nothing asks of notICMP what is asked of icmp.
    assert!(judged(&allow(json!({ "notICMP": { "type": 8 } }))).is_empty());
}

#[test]
fn other_kinds_of_calico_have_their_own_rules() {
    refused(&calico("Tier", "a.b", &json!({})), "metadata.name", "must not contain dots");
    refused(&calico("Tier", "default", &json!({ "order": 7 })), "spec.order", "default tier order must be 1000000");
    refused(&calico("NetworkPolicy", "a.b.c", &json!({})), "metadata.name", "two with a dot");
    assert!(judged(&calico("NetworkPolicy", "knp.default.a.b", &json!({}))).is_empty());
    let mut set = calico("NetworkSet", "s", &json!({ "nets": ["10.0.0.0/8", "x"] }));
    set["metadata"]["labels"] = json!({ "projectcalico.org/namespace": "n" });
    refused(&set, "metadata.labels", "set by Calico");
    refused(&set, "spec.nets[1]", "an IP address or a CIDR block");
    refused(&calico("HostEndpoint", "h", &json!({ "interfaceName": "eth0" })), "spec.node", "Required value");
    refused(&calico("HostEndpoint", "h", &json!({ "node": "n" })), "spec", "at least one of interfaceName");
    let staged = calico("StagedNetworkPolicy", "p", &json!({ "stagedAction": "Delete", "order": 0 }));
    refused(&staged, "spec.order", "a staged deletion");
    let kubernetes = json!({ "podSelector": {}, "ingress": [{ "from": [{ "ipBlock": { "cidr": "x" } }] }] });
    let staged = calico("StagedKubernetesNetworkPolicy", "p", &kubernetes);
    refused(&staged, "spec.ingress[0].from[0].ipBlock.cidr", "must be a valid CIDR value");
}

fn admin(kind: &str, name: &str, spec: Value) -> Value {
    let version = if kind == "ClusterNetworkPolicy" { "v1alpha2" } else { "v1alpha1" };
    let version = format!("policy.networking.k8s.io/{version}");
    json!({ "apiVersion": version, "kind": kind, "metadata": { "name": name }, "spec": spec })
}

#[test]
fn policies_of_administrators_are_judged() {
    let everyone = json!({ "namespaces": {} });
    let spec = |egress: Value| json!({ "priority": 1, "subject": everyone, "egress": [egress] });
    let kind = "AdminNetworkPolicy";
    let fine =
        json!({ "action": "Pass", "to": [{ "networks": ["10.0.0.1/8"] }], "ports": [{ "portNumber": { "port": 1 } }] });
    assert_eq!(texts(&judged(&admin(kind, "a", spec(fine)))), BTreeSet::new());
    let range = json!({ "portRange": { "start": 5, "end": 5 } });
    let equal = json!({ "action": "Deny", "to": [{ "namespaces": {} }], "ports": [range] });
    refused(
        &admin(kind, "a", spec(equal)),
        "spec.egress[0].ports[0].portRange",
        "Start port must be less than End port",
    );
    let named = json!({ "action": "Deny", "to": [{ "nodes": {} }], "ports": [{ "namedPort": "http" }] });
    refused(&admin(kind, "a", spec(named)), "spec.egress[0]", "cannot be set with namedPorts");
    let accept = json!({ "action": "Accept", "to": [{ "namespaces": {} }] });
    refused(
        &admin(kind, "a", spec(accept)),
        "spec.egress[0].action",
        "supported values: \"Allow\", \"Deny\", \"Pass\"",
    );
    let baseline = |name| admin("BaselineAdminNetworkPolicy", name, json!({ "subject": everyone }));
    assert!(judged(&baseline("default")).is_empty());
    refused(&baseline("other"), "", "Only one baseline admin network policy");
    let tier = json!({ "tier": "admin", "priority": 1001, "subject": { "namespaces": {}, "pods": {} } });
    let errors = texts(&judged(&admin("ClusterNetworkPolicy", "c", tier)));
    let fields: Vec<&str> = errors.iter().map(|(field, _)| field.as_str()).collect();
    assert_eq!(fields, ["<nil>", "spec.priority", "spec.subject", "spec.subject.pods.podSelector", "spec.tier"]);
}

#[test]
fn a_policy_that_is_refused_is_no_part_of_a_cluster_that_can_be_trusted() {
    let files = Memory::new([("p.json", calico("Tier", "p", &json!({ "order": "first" })).to_string())]);
    let loaded = load(&files, &["p.json"], &LoadOptions::default());
    assert!(loaded.has_untrusted_policy());
}

fn records(name: &str) -> Option<Vec<Value>> {
    let folder = std::env::var_os("TORTIE_CORPORA")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/corpora"), PathBuf::from);
    let path = folder.join(name);
    let Ok(text) = std::fs::read_to_string(&path) else {
        // Past the test harness, which keeps the output of tests that pass to itself.
        let _ =
            writeln!(std::io::stderr(), "skipped: {} is not there (TORTIE_CORPORA names its folder)", path.display());
        return None;
    };
    Some(text.lines().map(|line| serde_json::from_str(line).expect("a record is JSON")).collect())
}

/// The whole object that a record is a part of; `None` for types that are no part of policy.
fn whole(kind: &str, part: &Value) -> Option<Value> {
    let kind = kind.trim_start_matches('*');
    let kind = kind.strip_prefix("v3.").unwrap_or(kind);
    Some(match kind {
        "Rule" => calico("GlobalNetworkPolicy", "p", &json!({ "ingress": [part] })),
        "EntityRule" => allow(json!({ "source": part })),
        "ICMPFields" => allow(json!({ "protocol": "ICMP", "icmp": part })),
        "HTTPMatch" => allow(json!({ "http": part })),
        "numorstring.Protocol" => allow(json!({ "protocol": part })),
        _ if kind.ends_with("Config") || kind.starts_with("internalapi.") || kind == "ProtoPort" => return None,
        _ => match kind.strip_suffix("Spec") {
            Some(kind) => calico(kind, "p", part),
            None => {
                let mut object = part.clone();
                object["apiVersion"] = "projectcalico.org/v3".into();
                object["kind"] = kind.into();
                object
            }
        },
    })
}

#[test]
fn calico_accepts_and_refuses_alike() {
    let Some(records) = records("calico-validator.jsonl") else { return };
    let mut wrong = Vec::new();
    let mut compared = 0;
    for record in &records {
        let Some(object) = whole(record["type"].as_str().expect("a type"), &record["object"]) else { continue };
        let errors = judged(&object);
        compared += 1;
        if record["valid"] != errors.is_empty() {
            wrong.push(format!("{}: valid {}: {object}: {:?}", record["id"], record["valid"], texts(&errors)));
        }
    }
    assert!(compared > 140, "{compared}");
    assert!(wrong.is_empty(), "{} of {compared} differ:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn definitions_of_calico_say_the_same() {
    let Some(records) = records("calico-crd-validation.jsonl") else { return };
    let mut wrong = Vec::new();
    for record in &records {
        let errors = judged(&record["object"]);
        let text = record["error_contains"].as_str().unwrap_or_default();
        if record["valid"] != errors.is_empty()
            || !(errors.is_empty() || errors.iter().any(|d| d.message.contains(text)))
        {
            wrong.push(format!("{}: {text}: {:?}", record["id"], texts(&errors)));
        }
    }
    assert!(wrong.is_empty(), "{} of {} differ:\n{}", wrong.len(), records.len(), wrong.join("\n"));
}

#[test]
fn cluster_policies_are_refused_in_the_words_of_the_api_server() {
    let Some(records) = records("cnp-api-texts.jsonl") else { return };
    let mut wrong = Vec::new();
    for record in &records {
        let ours = texts(&judged(&record["object"]));
        let causes = record["causes"].as_array().map(Vec::as_slice).unwrap_or_default();
        let of = |cause: &Value, field: &str| cause[field].as_str().unwrap_or_default().to_owned();
        let same = match record["code"].as_u64() {
            Some(422) => ours == causes.iter().map(|c| (of(c, "field"), of(c, "message"))).collect(),
            Some(400) => {
                let theirs = record["message"].as_str().unwrap_or_default();
                ours.iter().any(|(_, message)| theirs.ends_with(message.as_str()))
            }
            _ => ours.is_empty(),
        };
        if !same {
            wrong.push(format!("{}: {causes:?} {}: {ours:?}", record["id"], record["message"]));
        }
    }
    assert!(wrong.is_empty(), "{} of {} differ:\n{}", wrong.len(), records.len(), wrong.join("\n"));
}

/// Policies of the conformance suites are all well formed.
#[test]
fn policies_of_conformance_suites_are_accepted() {
    for suite in ["npapi-conformance-cnp.jsonl", "npapi-conformance-anp.jsonl"] {
        let Some(records) = records(suite) else { return };
        let objects = records.iter().flat_map(|r| r["objects"].as_array().expect("objects"));
        let mut count = 0;
        for object in objects.filter(|o| o["apiVersion"].as_str().is_some_and(|v| v.starts_with("policy."))) {
            assert_eq!(texts(&judged(object)), BTreeSet::new(), "{object}");
            count += 1;
        }
        assert!(count > 20, "{suite}: {count}");
    }
}
