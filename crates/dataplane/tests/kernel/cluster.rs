//! A small cluster whose policies use every part of the program.

use std::net::IpAddr;

use tortie_model::{
    Family, IpBlock, LabelSelector, Labels, Meta, NetworkPolicy, PeerRule, Phase, Pod, PolicyPeer, PolicyPort,
    PortSpec, Protocol,
};
use tortie_plan::{NodeFacts, PodInterface};
use tortie_policy::{Delta, Index, PodKey, network_policy};

/// Port of the server.
pub(crate) const PORT: u16 = 5000;

/// Pods of this node, by their number.
pub(crate) const SERVER: u8 = 1;
pub(crate) const FRIEND: u8 = 2;
pub(crate) const STRANGER: u8 = 3;

/// Address of a pod.
pub(crate) fn pod_address(pod: u8, family: Family) -> IpAddr {
    match family {
        Family::V4 => IpAddr::from([10, 244, 1, pod]),
        Family::V6 => format!("fd00:10:244:1::{pod:x}").parse().expect("an address"),
    }
}

/// Address outside: 1 is let in, 2 is not.
pub(crate) fn outside_address(host: u8, family: Family) -> IpAddr {
    match family {
        Family::V4 => IpAddr::from([192, 0, 2, host]),
        Family::V6 => format!("2001:db8::{host:x}").parse().expect("an address"),
    }
}

pub(crate) fn interface(pod: u8) -> PodInterface {
    PodInterface { name: format!("tor{pod}").into(), index: 10 + u32::from(pod) }
}

fn name(pod: u8) -> &'static str {
    match pod {
        SERVER => "server",
        FRIEND => "friend",
        _ => "stranger",
    }
}

fn pod(number: u8, labels: Labels) -> Delta {
    let name = name(number);
    Delta::Pod(Box::new(Pod {
        meta: Meta { namespace: "ns".into(), name: name.into(), labels, uid: name.into() },
        owner: None,
        node: Some("n1".into()),
        host_network: false,
        ips: Family::ALL.map(|f| pod_address(number, f)).into(),
        ports: vec![],
        phase: Phase::Running,
        ready: true,
        service_account: "default".into(),
    }))
}

pub(crate) fn facts() -> NodeFacts {
    NodeFacts {
        name: "n1".into(),
        interface_prefix: "tor".into(),
        pod_ranges: vec!["10.244.1.0/24".parse().expect("a range"), "fd00:10:244:1::/64".parse().expect("a range")],
        interfaces: [SERVER, FRIEND, STRANGER].map(|p| (PodKey::new("ns", name(p)), interface(p))).into(),
    }
}

/// The cluster at turn `n`. Always: the friend and host 1 outside reach the server's port, the stranger and host 2 do
/// not. Everything else differs from turn to turn: labels, keys, policies, blocks, ranges of ports, who has egress
/// policies.
pub(crate) fn cluster(turn: u32) -> Index {
    let n = turn;
    let key = format!("key{}", n % 7);
    let value = format!("v{}", n % 5);
    let labelled = |v: &str| -> Labels { [(key.as_str(), v), ("app", "x")].into_iter().collect() };
    let pods = [pod(SERVER, labelled("server")), pod(FRIEND, labelled(&value)), pod(STRANGER, labelled("no"))];
    let udp = |from, to| PolicyPort { protocol: Protocol::Udp, port: PortSpec::Range(from, to) };
    let ports = match n % 3 {
        0 => vec![udp(PORT, PORT)],
        1 => vec![udp(4000 - (n % 100) as u16, 6000)],
        _ => vec![PolicyPort { protocol: Protocol::Udp, port: PortSpec::All }, udp(53, 53)],
    };
    let block = |cidr: String, except: Vec<String>| {
        let except = except.into_iter().map(|e| e.parse().expect("a block"));
        PolicyPeer::IpBlock(IpBlock::new(cidr.parse().expect("a block"), except))
    };
    let mut peers = vec![
        PolicyPeer::PodsHere(LabelSelector::match_labels([(key.as_str(), value.as_str())])),
        block(format!("192.0.2.0/{}", 24 + n % 6), vec!["192.0.2.2/32".to_owned()]),
        block(format!("2001:db8::/{}", 32 + n % 60), vec!["2001:db8::2/127".to_owned()]),
    ];
    // Blocks around it, so that ranges are cut anew each time.
    for i in 0..n % 12 {
        peers.push(block(format!("198.{}.0.0/16", 20 + (n + i * 7) % 100), vec![]));
        peers.push(block(format!("192.0.2.{}/32", 128 + (n * 5 + i * 3) % 100), vec![]));
    }
    let policy = |name: &str, selector, ingress, egress| {
        let meta =
            Meta { namespace: "ns".into(), name: name.into(), labels: Labels::default(), uid: String::new().into() };
        let policy = NetworkPolicy { meta, pod_selector: selector, ingress, egress };
        Delta::Policy(Box::new(network_policy(&policy)))
    };
    let server = LabelSelector::match_labels([(key.as_str(), "server")]);
    let mut policies = vec![policy(&format!("in{}", n % 3), server, Some(vec![PeerRule { peers, ports }]), None)];
    if n.is_multiple_of(2) {
        // The friend may send to the server, by a rule of its own.
        let to = PeerRule {
            peers: vec![block("10.244.0.0/16".into(), vec![]), block("fd00::/16".into(), vec![])],
            ports: vec![],
        };
        policies.push(policy(
            "out",
            LabelSelector::match_labels([(key.as_str(), value.as_str())]),
            None,
            Some(vec![to]),
        ));
    }
    Index::of(pods.into_iter().chain(policies))
}

/// Labels by which policies part them, one after the other.
const KEYS: u32 = 7;

fn key(number: u32) -> String {
    format!("key{number}")
}

/// The three pods of this node and a crowd of `size` elsewhere. The friend has all keys, the stranger none, and every four pods of
/// the crowd have others than the next four.
pub(crate) fn crowd(size: u16) -> Index {
    let keys = |has: &dyn Fn(u32) -> bool| -> Labels {
        let keys = (0..KEYS).filter(|n| has(*n)).map(|n| (key(n), "yes".to_owned()));
        keys.chain([("app".to_owned(), "x".to_owned())]).collect()
    };
    let here = [
        pod(SERVER, keys(&|_| false).with("role", "server")),
        pod(FRIEND, keys(&|_| true)),
        pod(STRANGER, keys(&|_| false)),
    ];
    let elsewhere = (0..size).map(|n| {
        let kind = u32::from(n / 4);
        let [high, low] = n.to_be_bytes();
        let ips = [IpAddr::from([10, 245, high, low]), IpAddr::from([0xfd00, 0, 0, 0, 0, 0, 1, n])];
        let labels = keys(&|key| kind >> key & 1 == 1).with("kind", &(kind >> KEYS).to_string());
        let name: std::sync::Arc<str> = format!("crowd{n}").into();
        Delta::Pod(Box::new(Pod {
            meta: Meta { namespace: "ns".into(), name: name.clone(), labels, uid: name },
            owner: None,
            node: Some("n2".into()),
            host_network: false,
            ips: ips.into(),
            ports: vec![],
            phase: Phase::Running,
            ready: true,
            service_account: "default".into(),
        }))
    });
    Index::of(here.into_iter().chain(elsewhere))
}

/// The policy of a turn: it asks for a label that none before asked for, of which half the crowd has one. The friend and
/// host 1 outside may reach the server's port.
pub(crate) fn parting(turn: u32) -> Delta {
    let outside = |cidr: &str| PolicyPeer::IpBlock(IpBlock::new(cidr.parse().expect("a block"), []));
    let peers = vec![
        PolicyPeer::PodsHere(LabelSelector::match_labels([(&*key(turn % KEYS), "yes")])),
        outside("192.0.2.1/32"),
        outside("2001:db8::1/128"),
    ];
    let ports = vec![PolicyPort { protocol: Protocol::Udp, port: PortSpec::Range(PORT, PORT) }];
    let meta = Meta { namespace: "ns".into(), name: "in".into(), labels: Labels::default(), uid: "".into() };
    let pod_selector = LabelSelector::match_labels([("role", "server")]);
    let policy = NetworkPolicy { meta, pod_selector, ingress: Some(vec![PeerRule { peers, ports }]), egress: None };
    Delta::Policy(Box::new(network_policy(&policy)))
}
