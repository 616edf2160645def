//! What changes do to an index: whether they say so, and what it holds afterwards.

use std::net::IpAddr;

use tortie_model::{Direction, Family, Namespace, NetworkPolicy, Pod, Protocol, Traffic};
use tortie_policy::{Delta, EndAction, Index, Order, PodKey, Tier, network_policy};
use tortie_testkit::build;

fn pod(name: &str, ips: &[&str]) -> Pod {
    let mut out = build::pod(name, "n1", &[("app", "web")], ips);
    out.meta.uid = format!("uid of {name}").into();
    out
}

fn put(pod: &Pod) -> Delta {
    Delta::Pod(Box::new(pod.clone()))
}

fn remove(pod: &Pod) -> Delta {
    Delta::PodRemoved { key: PodKey::of(pod), uid: pod.meta.uid.clone() }
}

fn owner(index: &Index, ip: &str) -> Option<String> {
    index.owner(build::ip(ip)).map(|p| p.key())
}

/// Whether each of these changes changes anything.
fn told(index: &mut Index, deltas: impl IntoIterator<Item = Delta>) -> Vec<bool> {
    deltas.into_iter().map(|d| index.apply(d)).collect()
}

#[test]
fn a_change_says_whether_it_changes_anything() {
    let ns = |pairs| Delta::Namespace(build::namespace("ns", pairs));
    let policy = |pods| Delta::Policy(Box::new(network_policy(&build::policy("ns/p", pods))));
    let object = network_policy(&build::policy("ns/p", &[])).object;
    let node = |ips| Delta::Node(build::node("n1", ips));
    let tier = |end| Delta::Tier(Tier { name: "t".into(), order: Order::new(1.0), end });
    let host = |ips: &[&str]| Delta::HostEndpoint(Box::new(build::host_endpoint("h", &[], ips)));
    let web = pod("x/web", &["10.0.0.1"]);
    for (first, other, gone) in [
        (ns(&[("a", "b")]), ns(&[]), Delta::NamespaceRemoved("ns".into())),
        (policy(&[]), policy(&[("a", "b")]), Delta::PolicyRemoved(object)),
        (node(&["192.168.0.1"]), node(&["192.168.0.2"]), Delta::NodeRemoved("n1".into())),
        (tier(EndAction::Deny), tier(EndAction::Pass), Delta::TierRemoved("t".into())),
        (host(&["192.168.0.1"]), host(&[]), Delta::HostEndpointRemoved("h".into())),
        (put(&web), put(&pod("x/web", &["10.0.0.2"])), remove(&web)),
    ] {
        let mut index = Index::default();
        assert!(!index.apply(gone.clone()), "{gone:?} of what is not there");
        let deltas = [first.clone(), first, other.clone(), other, gone.clone(), gone];
        assert_eq!(told(&mut index, deltas.clone()), [true, false, true, false, true, false], "{deltas:?}");
    }
}

#[test]
fn an_index_holds_what_it_was_given_and_nothing_that_is_gone() {
    let np: NetworkPolicy = build::policy("ns/p", &[]);
    let (web, node) = (pod("ns/web", &["10.0.0.1", "fd00::1"]), build::node("n1", &["192.168.0.1", "fd00:192::1"]));
    let namespace = build::namespace("ns", &[("a", "b")]);
    let policy = network_policy(&np);
    let mut index = Index::of([
        Delta::Namespace(namespace.clone()),
        Delta::Node(node.clone()),
        put(&web),
        Delta::Policy(Box::new(policy.clone())),
    ]);
    let key = PodKey::of(&web);
    assert_eq!(key.to_string(), "ns/web");
    assert_eq!(index.pods().map(|p| &**p).collect::<Vec<_>>(), [&web]);
    assert_eq!(index.pod(&key).map(|p| &**p), Some(&web));
    assert_eq!(index.addresses(&web).collect::<Vec<_>>(), web.ips);
    assert_eq!(index.namespaces().map(|n| &**n).collect::<Vec<_>>(), [&namespace]);
    assert_eq!(index.namespace("ns").map(|n| &**n), Some(&namespace));
    assert_eq!(index.nodes().map(|n| &**n).collect::<Vec<_>>(), [&node]);
    assert_eq!(index.node("n1").map(|n| &**n), Some(&node));
    assert_eq!(index.policies().map(|p| &**p).collect::<Vec<_>>(), [&policy]);
    assert_eq!(index.policy(&policy.object).map(|p| &**p), Some(&policy));
    assert_eq!(index.address_side(build::ip("192.168.0.1")).node().map(|n| &**n), Some(&node));

    let gone = [
        Delta::PolicyRemoved(policy.object.clone()),
        remove(&web),
        Delta::NodeRemoved("n1".into()),
        Delta::NamespaceRemoved("ns".into()),
    ];
    assert_eq!(told(&mut index, gone), [true; 4]);
    assert_eq!(index.pods().count() + index.namespaces().count() + index.nodes().count(), 0);
    assert_eq!(index.policies().count(), 0);
    assert!(index.pod(&key).is_none() && index.namespace("ns").is_none() && index.node("n1").is_none());
    assert!(index.policy(&policy.object).is_none() && index.addresses(&web).next().is_none());
    assert!(index.address_side(build::ip("192.168.0.1")).node().is_none(), "its addresses are nobody's");
}

/// An address that a pod owns no more is not among its addresses, even when a pod of the same name in another
/// namespace, or of another name in its own, owns it.
#[test]
fn an_address_has_one_owner() {
    for heir in ["ns/other", "other/old"] {
        let (old, heir) = (pod("ns/old", &["10.0.0.1", "10.0.0.2"]), pod(heir, &["10.0.0.1"]));
        let index = Index::of([put(&old), put(&heir)]);
        assert_eq!(index.addresses(&old).collect::<Vec<_>>(), [build::ip("10.0.0.2")]);
        assert_eq!(index.addresses(&heir).collect::<Vec<_>>(), [build::ip("10.0.0.1")]);
        assert_eq!(
            index.pod_side(index.pod(&PodKey::of(&old)).unwrap(), None).unwrap().ip(),
            Some(build::ip("10.0.0.2"))
        );
    }
}

#[test]
fn an_address_that_is_news_from_a_pod_is_its_own() {
    let taken = ["10.0.0.9"];
    let former = pod("ns/former", &taken);
    // It gets another address; or it is another pod of the same name; or it had its node's network.
    let another = pod("ns/web", &["10.0.0.1"]);
    let mut of_the_same_name = pod("ns/web", &taken);
    of_the_same_name.meta.uid = "before".into();
    let mut in_its_nodes_network = pod("ns/web", &taken);
    in_its_nodes_network.host_network = true;
    for before in [another, of_the_same_name, in_its_nodes_network] {
        let mut index = Index::of([put(&before), put(&former)]);
        assert_eq!(owner(&index, "10.0.0.9").as_deref(), Some("ns/former"));
        index.apply(put(&pod("ns/web", &taken)));
        assert_eq!(owner(&index, "10.0.0.9").as_deref(), Some("ns/web"), "{before:?}");
    }
}

#[test]
fn a_removal_without_a_uid_is_never_late() {
    let mut unnamed = pod("ns/web", &["10.0.0.1"]);
    unnamed.meta.uid = "".into();
    for (there, uid) in [(pod("ns/web", &["10.0.0.1"]), ""), (unnamed, "some uid")] {
        let mut index = Index::of([put(&there)]);
        assert!(index.apply(Delta::PodRemoved { key: PodKey::of(&there), uid: uid.into() }));
        assert_eq!(owner(&index, "10.0.0.1"), None);
    }
}

/// A namespace is there as long as somebody defines it, or a pod is in it.
#[test]
fn a_namespace_that_only_pods_name_lives_as_long_as_they_do() {
    let named = |index: &Index| index.namespace("ns").map(|n| n.labels().clone());
    let implied = Namespace::new("ns", &build::labels(&[]));
    let defined = build::namespace("ns", &[("a", "b")]);
    let (one, two) = (pod("ns/one", &["10.0.0.1"]), pod("ns/two", &["10.0.0.2"]));
    let mut index = Index::of([put(&one), put(&two)]);
    assert_eq!(named(&index).as_ref(), Some(implied.labels()));
    assert!(!index.apply(Delta::NamespaceRemoved("ns".into())), "nobody defined it");
    assert_eq!(named(&index).as_ref(), Some(implied.labels()), "its pods are still there");
    index.apply(remove(&one));
    assert!(named(&index).is_some(), "one pod is still there");
    index.apply(remove(&two));
    assert_eq!(named(&index), None);

    index.apply(put(&one));
    assert!(index.apply(Delta::Namespace(defined.clone())));
    assert!(index.apply(Delta::NamespaceRemoved("ns".into())));
    assert_eq!(named(&index).as_ref(), Some(implied.labels()), "its labels are gone, its pod is not");
    index.apply(Delta::Namespace(defined.clone()));
    index.apply(remove(&one));
    assert_eq!(named(&index).as_ref(), Some(defined.labels()), "defined, with or without pods");
    // Somebody else's pods do not keep it.
    index.apply(put(&pod("other/one", &["10.0.0.1"])));
    assert!(index.apply(Delta::NamespaceRemoved("ns".into())));
    assert_eq!(named(&index), None);
}

#[test]
fn a_side_has_the_address_of_the_family_that_is_asked_for() {
    let (v4, v6): (IpAddr, IpAddr) = (build::ip("10.0.0.1"), build::ip("fd00::1"));
    let node = build::node("n1", &["192.168.0.1", "fd00:192::1"]);
    let dual = pod("ns/dual", &["10.0.0.1", "fd00::1"]);
    let (single, none) = (pod("ns/single", &["10.0.0.2"]), pod("ns/none", &[]));
    let mut host = pod("ns/host", &["192.168.0.1"]);
    host.host_network = true;
    let mut host_of_no_node = pod("ns/lost", &[]);
    (host_of_no_node.host_network, host_of_no_node.node) = (true, None);
    let index =
        Index::of([&dual, &single, &none, &host, &host_of_no_node].map(put).into_iter().chain([Delta::Node(node)]));
    let side = |pod: &Pod, family| index.pod_side(index.pod(&PodKey::of(pod)).unwrap(), family);
    let ip = |pod: &Pod, family| side(pod, family).map(|s| s.ip());
    assert_eq!(ip(&dual, Some(Family::V4)), Some(Some(v4)));
    assert_eq!(ip(&dual, Some(Family::V6)), Some(Some(v6)));
    assert_eq!(ip(&dual, None), Some(Some(v4)));
    assert_eq!(ip(&single, Some(Family::V6)), None, "it has addresses, none of this family");
    assert_eq!(ip(&none, Some(Family::V6)), Some(None), "it may still get one");
    // A pod in its node's network is its node, with the node's addresses where it tells none.
    assert_eq!(ip(&host, Some(Family::V4)), Some(Some(build::ip("192.168.0.1"))));
    assert_eq!(ip(&host, Some(Family::V6)), Some(Some(build::ip("fd00:192::1"))));
    assert!(side(&host, None).unwrap().node().is_some_and(|n| &*n.meta.name == "n1"));
    assert_eq!(ip(&host_of_no_node, Some(Family::V4)), None);
    assert_eq!(ip(&host_of_no_node, None), Some(None));

    let node = index.node("n1").unwrap();
    let of = |family| index.node_side(node, family).and_then(|s| s.ip());
    assert_eq!(of(Family::V4), Some(build::ip("192.168.0.1")));
    assert_eq!(of(Family::V6), Some(build::ip("fd00:192::1")));
    assert!(index.node_side(node, Family::V4).unwrap().node().is_some());
}

/// Nothing governs a pod in its node's network, whatever selects it.
#[test]
fn a_pod_in_its_nodes_network_has_no_stack() {
    let mut host = pod("ns/host", &["192.168.0.1"]);
    host.host_network = true;
    let web = pod("ns/web", &["10.0.0.1"]);
    let mut np = build::policy("ns/deny", &[]);
    (np.ingress, np.egress) = (Some(vec![]), None);
    let index = Index::of([put(&host), put(&web), Delta::Policy(Box::new(network_policy(&np)))]);
    assert!(index.stack(&host, Direction::Ingress).is_empty());
    assert!(index.stack(&web, Direction::Egress).is_empty());
    let stack = index.stack(&web, Direction::Ingress);
    assert_eq!((stack.is_empty(), stack.direction()), (false, Direction::Ingress));
    let verdict = index.verdict(
        &index.address_side(build::ip("203.0.113.1")),
        &index.address_side(build::ip("10.0.0.1")),
        Traffic::port(Protocol::Tcp, 80),
    );
    assert_eq!(verdict.half(Direction::Ingress).isolating().len(), 1);
    assert!(verdict.half(Direction::Egress).isolating().is_empty());
    assert_eq!(verdict.ingress.decided_by(), None);
}
