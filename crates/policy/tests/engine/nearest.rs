//! Which rule came nearest to allowing a denied packet, and what in it did not match.

use tortie_model::{
    Direction, Family, IpProtocol, NetworkPolicy, Operator, PolicyPeer, PolicyPort, Protocol, Requirement, Traffic,
};
use tortie_policy::{Action, Detail, NearMiss, Peer, PeerMiss, Peers, Policy, PortMiss, Ports, network_policy};
use tortie_testkit::{Cluster, build};

fn cluster() -> Cluster {
    let mut web = build::pod("shop/web", "n1", &[("app", "web"), ("tier", "front")], &["10.0.0.1"]);
    web.ports = vec![build::container_port("http", Protocol::Tcp, 8080)];
    Cluster {
        namespaces: vec![build::namespace("shop", &[("team", "shop")]), build::namespace("other", &[("team", "x")])],
        nodes: vec![build::node("n1", &["192.168.0.1"])],
        pods: vec![
            web,
            build::pod("shop/client", "n1", &[("app", "client"), ("tier", "back")], &["10.0.0.2"]),
            build::pod("other/client", "n1", &[("app", "client")], &["10.0.0.3"]),
        ],
        ..Cluster::default()
    }
}

/// Rules for ingress of `shop/web`.
fn ingress(rules: impl IntoIterator<Item = (Vec<PolicyPeer>, Vec<PolicyPort>)>) -> NetworkPolicy {
    let mut out = build::policy("shop/p", &[]);
    out.ingress = Some(rules.into_iter().map(|(peers, ports)| build::rule(peers, ports)).collect());
    out
}

fn nearest(policy: Policy, from: &str, traffic: Traffic) -> Option<NearMiss> {
    let mut cluster = cluster();
    cluster.tiered.push(policy);
    let index = cluster.index();
    let half = index.verdict(&index.address_side(build::ip(from)), &index.address_side(build::ip("10.0.0.1")), traffic);
    assert!(half.egress.nearest.is_none(), "egress is allowed");
    assert!(!half.ingress.is_allowed(), "{half:?}");
    half.ingress.nearest
}

fn tcp(port: u16) -> Traffic {
    Traffic::port(Protocol::Tcp, port)
}

/// Why the only peer of the only rule is not the sender.
fn peer_miss(peer: PolicyPeer, from: &str) -> PeerMiss {
    let miss = nearest(network_policy(&ingress([(vec![peer], vec![])])), from, tcp(80)).expect("a near miss");
    assert_eq!((miss.rule.direction, miss.rule.index, &miss.port), (Direction::Ingress, 0, &None));
    let (place, miss) = miss.peer.expect("a peer that misses");
    assert_eq!(place, 0);
    miss
}

fn is(key: &str, value: &str) -> Requirement {
    Requirement::new(key, Operator::In, [value])
}

#[test]
fn it_says_why_a_peer_is_not_the_sender() {
    let here = "10.0.0.2";
    let there = "10.0.0.3";
    let other = |found: &str| PeerMiss::OtherNamespace { expected: "shop".into(), found: found.into() };
    let pods = |pairs| build::pods_here(pairs);
    for (peer, from, expected) in [
        (pods(&[("app", "db")]), here, PeerMiss::PodLabels(vec![is("app", "db")])),
        // Only what does not match is named.
        (pods(&[("app", "client"), ("tier", "front")]), here, PeerMiss::PodLabels(vec![is("tier", "front")])),
        (pods(&[("app", "client")]), there, other("other")),
        (pods(&[("app", "db")]), there, PeerMiss::NamespaceAndPod(Box::new(other("other")), vec![is("app", "db")])),
        (
            build::pods_of(&[("team", "shop")], &[("app", "client")]),
            there,
            PeerMiss::NamespaceLabels(vec![is("team", "shop")]),
        ),
        (
            build::pods_of(&[("team", "shop")], &[("app", "db")]),
            there,
            PeerMiss::NamespaceAndPod(
                Box::new(PeerMiss::NamespaceLabels(vec![is("team", "shop")])),
                vec![is("app", "db")],
            ),
        ),
        (build::pods_of(&[("team", "shop")], &[("app", "db")]), here, PeerMiss::PodLabels(vec![is("app", "db")])),
        (pods(&[]), "203.0.113.1", PeerMiss::NotAPod),
        (build::block("203.0.113.0/24", &[]), here, PeerMiss::OutsideBlock),
        (build::block("203.0.113.0/24", &["203.0.113.0/28"]), "203.0.113.1", PeerMiss::Excepted),
    ] {
        assert_eq!(peer_miss(peer.clone(), from), expected, "{peer:?} from {from}");
    }
}

#[test]
fn it_says_why_ports_do_not_match() {
    let port = |ports: Vec<PolicyPort>, traffic| {
        let miss = nearest(network_policy(&ingress([(vec![], ports)])), "10.0.0.2", traffic).expect("a near miss");
        assert_eq!(miss.peer, None);
        miss.port.expect("ports that miss")
    };
    assert_eq!(port(vec![build::tcp(80)], tcp(81)), PortMiss::Number { listed: vec![Detail::Range(80, 80)] });
    assert_eq!(
        port(vec![build::tcp(80), build::tcp_named("http"), build::udp(81)], tcp(81)),
        PortMiss::Number { listed: vec![Detail::Range(80, 80), Detail::Named("http".into())] },
        "of other protocols none is listed"
    );
    assert_eq!(port(vec![build::tcp_named("admin")], tcp(81)), PortMiss::Unnamed("admin".into()));
    assert_eq!(
        port(vec![build::tcp_named("admin"), build::tcp(80)], tcp(81)),
        PortMiss::Number { listed: vec![Detail::Range(80, 80)] },
        "a number may be meant, a name that is nowhere is not"
    );
    assert_eq!(
        port(vec![build::tcp(80), build::tcp(81), build::udp(80)], Traffic::echo_request(Family::V4)),
        PortMiss::Protocol { packet: IpProtocol::ICMP, listed: vec![IpProtocol::TCP, IpProtocol::UDP] }
    );
}

/// Each pair is written in both orders: the nearer one wins, not the first. Of two that are equally near, the first.
#[test]
fn the_nearest_rule_is_the_one_with_the_fewest_edits() {
    let any: fn() -> Vec<PolicyPeer> = Vec::new;
    let wrong_label = || vec![build::pods_here(&[("app", "db")])];
    let two_wrong_labels = || vec![build::pods_here(&[("app", "db"), ("tier", "front")])];
    let elsewhere = || vec![build::block("203.0.113.0/24", &[])];
    let excepted = || vec![build::block("10.0.0.0/24", &["10.0.0.2/32"])];
    let nobody_named = || vec![build::pods_of(&[("team", "x")], &[("app", "db")])];
    let (number, protocol) = (|| vec![build::tcp(81)], || vec![build::udp(80)]);
    let none: fn() -> Vec<PolicyPort> = Vec::new;
    for (nearer, farther) in [
        ((any(), number()), (any(), protocol())),
        ((wrong_label(), none()), (excepted(), none())),
        ((excepted(), none()), (two_wrong_labels(), none())),
        ((two_wrong_labels(), none()), (elsewhere(), none())),
        ((any(), number()), (wrong_label(), number())),
        // One edit of each kind (2 + 3) is nearer than another kind of peer (5, and its port 2).
        ((wrong_label(), protocol()), (elsewhere(), number())),
        // A namespace's label and a pod's count both: 2 + 2 is farther than an exception.
        ((excepted(), none()), (nobody_named(), none())),
        ((nobody_named(), none()), (elsewhere(), none())),
    ] {
        for (first, rules) in [(true, [&nearer, &farther]), (false, [&farther, &nearer])] {
            let policy = network_policy(&ingress(rules.map(Clone::clone)));
            let miss = nearest(policy, "10.0.0.2", tcp(80)).expect("a near miss");
            assert_eq!(miss.rule.index, usize::from(!first), "nearer {nearer:?}, farther {farther:?}: {miss:?}");
        }
    }
    // Another namespace and another label (3 + 2) are as far as another kind of peer.
    for rules in [[elsewhere(), wrong_label()], [wrong_label(), elsewhere()]] {
        let policy = network_policy(&ingress(rules.map(|peers| (peers, none()))));
        assert_eq!(nearest(policy, "10.0.0.3", tcp(80)).expect("a near miss").rule.index, 0);
    }
    let equal = network_policy(&ingress([(any(), number()), (any(), vec![build::tcp(82)])]));
    assert_eq!(nearest(equal, "10.0.0.2", tcp(80)).unwrap().rule.index, 0);
}

#[test]
fn the_nearest_peer_of_a_rule_is_named_by_its_place() {
    let peers = |peers: Vec<PolicyPeer>| {
        let policy = network_policy(&ingress([(peers, vec![])]));
        nearest(policy, "10.0.0.2", tcp(80)).expect("a near miss").peer.expect("a peer that misses")
    };
    let (far, near) = (build::block("203.0.113.0/24", &[]), build::pods_here(&[("app", "db")]));
    let miss = PeerMiss::PodLabels(vec![is("app", "db")]);
    assert_eq!(peers(vec![far.clone(), near.clone()]), (1, miss.clone()));
    assert_eq!(peers(vec![near.clone(), far]), (0, miss.clone()));
    assert_eq!(peers(vec![near, build::pods_here(&[("app", "x")])]), (0, miss), "of equal ones, the first");
}

/// A peer that matches is no miss, even beside others: the ports are what is wrong.
#[test]
fn where_one_peer_matches_none_is_to_blame() {
    let peers = vec![build::pods_here(&[("app", "db")]), build::pods_here(&[("app", "client")])];
    let miss = nearest(network_policy(&ingress([(peers, vec![build::tcp(81)])])), "10.0.0.2", tcp(80)).unwrap();
    assert_eq!((miss.peer, miss.port), (None, Some(PortMiss::Number { listed: vec![Detail::Range(81, 81)] })));
}

/// Only rules that allow can come near to allowing, and only those that are asked before what denies.
#[test]
fn rules_that_deny_or_match_are_not_near() {
    assert_eq!(nearest(network_policy(&ingress([])), "10.0.0.2", tcp(80)), None);
    let denying = |at: usize| {
        let mut policy = network_policy(&ingress([(vec![], vec![build::tcp(80)]), (vec![], vec![build::tcp(80)])]));
        let rule = &mut policy.ingress.as_mut().unwrap()[at];
        (rule.action, rule.ports) = (Action::Deny, Ports::Any);
        policy
    };
    assert_eq!(nearest(denying(0), "10.0.0.2", tcp(80)), None, "what would allow is not asked");
    assert_eq!(nearest(denying(0), "10.0.0.2", tcp(81)), None, "nor would it be with other ports");
    let miss = nearest(denying(1), "10.0.0.2", tcp(81)).expect("the first rule does not match");
    assert_eq!((miss.rule.index, miss.port), (0, Some(PortMiss::Number { listed: vec![Detail::Range(80, 80)] })));
}

/// A peer with blocks and a selector misses by the selector first; one that matches by both is no miss.
#[test]
fn a_rule_without_a_possible_peer_says_so() {
    let with = |peers: Vec<Peer>| {
        let mut policy = network_policy(&ingress([(vec![], vec![])]));
        policy.ingress.as_mut().unwrap()[0].peers = Peers::OneOf(peers);
        policy.ingress.as_mut().unwrap()[0].ports = Ports::Any;
        policy
    };
    let miss = |policy| nearest(policy, "10.0.0.2", tcp(80)).unwrap().peer;
    assert_eq!(miss(with(vec![])), Some((0, PeerMiss::NoPeers)));
    let mut both = network_policy(&ingress([(vec![build::pods_here(&[("app", "client")])], vec![])]));
    let Peers::OneOf(peers) = &mut both.ingress.as_mut().unwrap()[0].peers else { panic!("peers") };
    peers[0].blocks = Some(vec![tortie_model::IpBlock::new("10.0.0.3/32".parse().unwrap(), [])]);
    assert_eq!(miss(both), Some((0, PeerMiss::OutsideBlock)));
}

/// A pod of which no address is known yet.
#[test]
fn an_unknown_address_is_in_no_block() {
    let mut cluster = cluster();
    cluster.pods[1].ips.clear();
    cluster.policies.push(ingress([(vec![build::block("0.0.0.0/0", &[])], vec![])]));
    let index = cluster.index();
    let client = index.pod(&tortie_policy::PodKey::new("shop", "client")).unwrap();
    let side = index.pod_side(client, Some(Family::V4)).expect("a pod without addresses may still get one");
    let verdict = index.verdict(&side, &index.address_side(build::ip("10.0.0.1")), tcp(80));
    assert_eq!(verdict.ingress.nearest.unwrap().peer, Some((0, PeerMiss::NoAddress)));
}
