//! Who owns an address, through reuse and late events.

use std::net::IpAddr;

use tortie_model::{Family, Labels, Meta, Node, Phase, Pod, Traffic};
use tortie_policy::{Delta, Index, PodKey, Shortcut, fail_closed};

fn pod(name: &str, uid: &str, ips: &[&str]) -> Pod {
    Pod {
        meta: Meta { namespace: "ns".into(), name: name.into(), labels: Labels::default(), uid: uid.into() },
        owner: None,
        node: Some("n1".into()),
        host_network: false,
        ips: ips.iter().map(|i| i.parse().unwrap()).collect(),
        ports: vec![],
        phase: Phase::Running,
        ready: true,
        service_account: "default".into(),
    }
}

fn put(pod: Pod) -> Delta {
    Delta::Pod(Box::new(pod))
}

fn owner(index: &Index, ip: &str) -> Option<String> {
    index.owner(ip.parse::<IpAddr>().unwrap()).map(|p| p.key())
}

#[test]
fn a_late_event_of_the_old_owner_changes_nothing() {
    let mut index = Index::of([put(pod("old", "1", &["10.0.0.1"]))]);
    index.apply(put(pod("new", "2", &["10.0.0.1"])));
    assert_eq!(owner(&index, "10.0.0.1").as_deref(), Some("ns/new"));
    // The old pod is seen once more, with other labels, before it is deleted.
    let mut late = pod("old", "1", &["10.0.0.1"]);
    late.meta.labels = [("late", "yes")].into_iter().collect();
    index.apply(put(late));
    assert_eq!(owner(&index, "10.0.0.1").as_deref(), Some("ns/new"));
    index.apply(Delta::PodRemoved { key: PodKey::new("ns", "old"), uid: "1".into() });
    assert_eq!(owner(&index, "10.0.0.1").as_deref(), Some("ns/new"));
}

#[test]
fn the_deletion_of_a_former_pod_of_the_same_name_is_late() {
    let mut index = Index::of([put(pod("web-0", "2", &["10.0.0.1"]))]);
    assert!(!index.apply(Delta::PodRemoved { key: PodKey::new("ns", "web-0"), uid: "1".into() }));
    assert_eq!(owner(&index, "10.0.0.1").as_deref(), Some("ns/web-0"));
}

#[test]
fn finished_pods_give_their_addresses_back() {
    let mut index = Index::of([put(pod("job", "1", &["10.0.0.1"]))]);
    index.apply(put(Pod { phase: Phase::Succeeded, ..pod("job", "1", &["10.0.0.1"]) }));
    assert_eq!(owner(&index, "10.0.0.1"), None);
    assert!(index.namespace("ns").is_none(), "a namespace that only a finished pod named is gone with it");
}

#[test]
fn pods_in_their_nodes_network_are_their_node() {
    let node = Node {
        meta: Meta { name: "n1".into(), ..Meta::default() },
        addresses: vec!["192.0.2.1".parse().unwrap()],
        pod_cidrs: vec![],
    };
    let index = Index::of([
        Delta::Node(node),
        put(Pod { host_network: true, ..pod("agent", "1", &["192.0.2.1"]) }),
        put(pod("web", "2", &["10.0.0.1"])),
        Delta::Policy(Box::new(fail_closed("ns", "broken"))),
    ]);
    let agent = index.pod_side(index.pod(&PodKey::new("ns", "agent")).unwrap(), Some(Family::V4)).unwrap();
    let web = index.pod_side(index.pod(&PodKey::new("ns", "web")).unwrap(), Some(Family::V4)).unwrap();
    assert!(agent.pod().is_none());
    let probe = index.verdict(&agent, &web, Traffic::echo_request(Family::V4));
    assert_eq!((probe.is_allowed(), probe.shortcut), (true, Some(Shortcut::LocalNode)));
    // The way back is a connection of its own, and the pod's egress policy applies to it.
    assert!(!index.verdict(&web, &agent, Traffic::echo_request(Family::V4)).is_allowed());
    assert!(index.verdict(&web, &web, Traffic::echo_request(Family::V4)).is_allowed(), "loopback");
}
