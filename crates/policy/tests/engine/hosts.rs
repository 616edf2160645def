//! Host endpoints: the addresses that are expected of a host are found by its labels.

use std::sync::Arc;

use tortie_model::calico::{Action, Class, Entity, Policy, Selector};
use tortie_model::{Meta, Order, Protocol, Traffic};
use tortie_policy::{Delta, Index, calico_policy};
use tortie_testkit::build;

/// The policy of a namespace, or of all, that lets in whom an end selects.
fn lets_in(namespace: &str, source: Entity) -> Delta {
    let rule = build::calico_rule(Action::Allow, None, source, Entity::default());
    let policy = Policy {
        meta: Meta { namespace: namespace.into(), name: "p".into(), ..Meta::default() },
        tier: "default".into(),
        order: Order::NONE,
        selector: Selector::All,
        namespaces: None,
        service_accounts: None,
        ingress: Some(vec![rule]),
        egress: None,
        class: Class::Normal,
    };
    Delta::Policy(Box::new(calico_policy(&policy).expect("it is asked of pods")))
}

fn selector(text: &str) -> Option<Selector> {
    Some(text.parse().expect("a selector"))
}

fn host(role: &str, addresses: &[&str]) -> Delta {
    Delta::HostEndpoint(Box::new(build::host_endpoint("h", &[("role", role), ("pcns.colour", "red")], addresses)))
}

/// A pod of a red namespace, two nodes, a host with the address of one of them and with one that is no node's.
fn cluster() -> Index {
    Index::of([
        Delta::Namespace(build::namespace("ns", &[("colour", "red")])),
        Delta::Node(build::node("n1", &["192.168.0.1"])),
        Delta::Node(build::node("n2", &["192.168.0.2"])),
        Delta::Pod(Box::new(build::pod("ns/p", "n2", &[("role", "client")], &["10.0.0.1"]))),
        Delta::Pod(Box::new(build::pod("ns/q", "n2", &[], &["10.0.0.2"]))),
        host("gate", &["192.168.0.1", "fd00::1", "203.0.113.5"]),
    ])
}

/// Which of the host's addresses, another host's and a pod's get in to `ns/q`.
fn heard(index: &Index) -> Vec<&'static str> {
    let to = index.address_side(build::ip("10.0.0.2"));
    let gets_in = |from: &&str| {
        let from = index.address_side(build::ip(from));
        index.verdict(&from, &to, Traffic::port(Protocol::Tcp, 80)).is_allowed()
    };
    ["192.168.0.1", "203.0.113.5", "203.0.113.6", "10.0.0.1"].into_iter().filter(gets_in).collect()
}

#[test]
fn what_is_expected_of_a_host_is_found_by_its_labels() {
    let gate = Entity { selector: selector("role == 'gate'"), ..Entity::default() };
    let of_host = ["192.168.0.1", "203.0.113.5"];
    for (namespace, source, found) in [
        ("", gate.clone(), &of_host[..]),
        // A host is in no namespace.
        ("ns", gate.clone(), &[]),
        ("", Entity { namespaces: selector("global()"), ..gate.clone() }, &of_host),
        ("", Entity { namespaces: selector("all()"), ..gate }, &[]),
        (
            "",
            Entity { selector: selector("has(role)"), ..Entity::default() },
            &["192.168.0.1", "203.0.113.5", "10.0.0.1"],
        ),
        ("", Entity { not_selector: selector("has(role)"), ..Entity::default() }, &["203.0.113.6"]),
        // Nor does it become part of one by a label of its own, nor a pod.
        ("", Entity { selector: selector("pcns.colour == 'red'"), ..Entity::default() }, &["10.0.0.1"]),
        (
            "",
            Entity { selector: selector("projectcalico.org/orchestrator == 'k8s'"), ..Entity::default() },
            &["10.0.0.1"],
        ),
    ] {
        let mut index = cluster();
        index.apply(lets_in(namespace, source.clone()));
        assert_eq!(heard(&index), found, "{namespace:?} {source:?}");
    }
}

#[test]
fn what_policies_mean_follows_the_host() {
    let mut index = cluster();
    index.apply(lets_in("", Entity { selector: selector("role == 'gate'"), ..Entity::default() }));
    assert_eq!(heard(&index), ["192.168.0.1", "203.0.113.5"]);
    index.apply(host("gate", &["203.0.113.6"]));
    assert_eq!(heard(&index), ["203.0.113.6"]);
    index.apply(host("door", &["203.0.113.6"]));
    assert_eq!(heard(&index), [""; 0]);
    index.apply(host("gate", &["203.0.113.6", "192.168.0.1"]));
    // A set of addresses of the same name is another object.
    let set = tortie_model::calico::NetworkSet {
        meta: Meta { name: "h".into(), labels: build::labels(&[("role", "gate")]), ..Meta::default() },
        nets: vec!["203.0.113.5/32".parse().expect("a net")],
    };
    index.apply(Delta::NetworkSet(Box::new(set)));
    assert_eq!(heard(&index), ["192.168.0.1", "203.0.113.5", "203.0.113.6"]);
    let name: Arc<str> = "h".into();
    assert!(index.apply(Delta::HostEndpointRemoved(name.clone())) && !index.apply(Delta::HostEndpointRemoved(name)));
    assert_eq!(heard(&index), ["203.0.113.5"]);
}
