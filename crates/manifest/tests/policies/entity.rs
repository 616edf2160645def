//! What policies of Calico stand in and speak of.

use serde_json::{Value, json};
use tortie_model::calico::{Action, HostEndpoint, NetworkSet, Profile, Tier};
use tortie_model::{ContainerPort, Object, Order, Protocol};

use crate::{read, written};

fn tier(spec: &Value) -> Tier {
    match read(&written("Tier", spec)) {
        Object::Tier(tier) => tier,
        other => panic!("{other:?}"),
    }
}

fn set(kind: &str, spec: &Value) -> NetworkSet {
    let mut object = written(kind, spec);
    object["metadata"]["labels"] = json!({ "a": "b" });
    match read(&object) {
        Object::NetworkSet(set) => set,
        other => panic!("{other:?}"),
    }
}

fn profile(spec: &Value) -> Profile {
    match read(&written("Profile", spec)) {
        Object::Profile(profile) => profile,
        other => panic!("{other:?}"),
    }
}

fn host_endpoint(spec: &Value) -> HostEndpoint {
    match read(&written("HostEndpoint", spec)) {
        Object::HostEndpoint(endpoint) => endpoint,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_tier_denies_at_its_end_and_stands_with_the_default_one() {
    let of = |spec: Value| {
        let tier = tier(&spec);
        (tier.order, tier.passes)
    };
    assert_eq!(of(json!({})), (Order::new(1_000_000.0), false));
    assert_eq!(of(json!({ "order": -2.5, "defaultAction": "Pass" })), (Order::new(-2.5), true));
    assert_eq!(of(json!({ "order": 0, "defaultAction": "Deny" })), (Order::new(0.0), false));
}

#[test]
fn a_set_holds_blocks_and_addresses_without_host_bits() {
    for (kind, namespace) in [("NetworkSet", "default"), ("GlobalNetworkSet", "")] {
        let read = set(kind, &json!({ "nets": ["10.1.2.3/8", "10.1.2.3", "2001:db8::1/32", "::1", "0.0.0.0/0"] }));
        let nets: Vec<_> = read.nets.iter().map(ToString::to_string).collect();
        assert_eq!(nets, ["10.0.0.0/8", "10.1.2.3/32", "2001:db8::/32", "::1/128", "0.0.0.0/0"], "{kind}");
        assert_eq!((&*read.meta.namespace, read.meta.labels.get("a")), (namespace, Some("b")));
        assert_eq!(set(kind, &json!({})).nets, [], "{kind}");
        // IPv4 in the form of IPv6 is IPv4, and all of IPv6 is not.
        let read = set(kind, &json!({ "nets": ["::ffff:10.1.2.3", "::ffff:10.1.2.3/104", "::/0", "::ffff:0:0/95"] }));
        let nets: Vec<_> = read.nets.iter().map(ToString::to_string).collect();
        assert_eq!(nets, ["10.1.2.3/32", "10.0.0.0/8", "::/0", "::fffe:0:0/95"], "{kind}");
    }
}

#[test]
fn a_profile_has_rules_and_gives_labels() {
    let empty = profile(&json!({}));
    assert_eq!((empty.ingress, empty.egress, empty.labels_to_apply.is_empty()), (Vec::new(), Vec::new(), true));
    let read = profile(&json!({
        "ingress": [{ "action": "Allow" }, { "action": "Deny" }], "egress": [{ "action": "Log" }],
        "labelsToApply": { "pcns.team": "blue", "x": "" },
    }));
    let actions = |rules: &[tortie_model::calico::Rule]| rules.iter().map(|r| r.action).collect::<Vec<_>>();
    assert_eq!(actions(&read.ingress), [Action::Allow, Action::Deny]);
    assert_eq!(actions(&read.egress), [Action::Log]);
    let labels: Vec<_> = read.labels_to_apply.iter().collect();
    assert_eq!(labels, [("pcns.team", "blue"), ("x", "")]);
}

#[test]
fn a_host_endpoint_is_an_interface_or_addresses_of_a_node() {
    let read = host_endpoint(&json!({ "node": "n", "interfaceName": "*" }));
    assert_eq!((&*read.node, &*read.interface), ("n", "*"));
    assert!(read.addresses.is_empty() && read.profiles.is_empty() && read.ports.is_empty(), "{read:?}");
    let read = host_endpoint(&json!({
        "node": "n", "expectedIPs": ["192.0.2.1", "2001:db8::1"], "profiles": ["b", "a"],
        "ports": [
            { "name": "http", "protocol": "TCP", "port": 80 }, { "name": "dns", "protocol": "UDP", "port": 53 },
            { "name": "sig", "protocol": "SCTP", "port": 65535 },
        ],
    }));
    let addresses: Vec<_> = read.addresses.iter().map(ToString::to_string).collect();
    assert_eq!((&*read.interface, addresses), ("", vec!["192.0.2.1".to_owned(), "2001:db8::1".to_owned()]));
    let profiles: Vec<_> = read.profiles.iter().map(|p| &**p).collect();
    assert_eq!(profiles, ["b", "a"], "their order counts");
    let port = |name: &str, protocol, number| ContainerPort { name: Some(name.into()), protocol, number };
    let expected =
        [port("http", Protocol::Tcp, 80), port("dns", Protocol::Udp, 53), port("sig", Protocol::Sctp, 65535)];
    assert_eq!(read.ports, expected);
}
