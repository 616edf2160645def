//! Random clusters, what changes in them, and packets.

use std::collections::BTreeMap;
use std::net::IpAddr;

use tortie_model::{
    ContainerPort, Family, IpBlock, LabelSelector, Labels, Meta, NetworkPolicy, Node, PeerRule, Phase, Pod, PolicyPeer,
    PolicyPort, PortSpec, Protocol, Traffic,
};
use tortie_policy::{Delta, Index, PodKey, network_policy};

use crate::{AttachmentPoint, NodeFacts, Packet, PodInterface};

/// A small generator of numbers (SplitMix64).
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % sides
    }

    pub(super) fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.roll(from.len() as u64) as usize]
    }
}

pub(super) const NAMESPACES: [&str; 2] = ["a", "b"];
const APPS: [&str; 3] = ["web", "db", "job"];
const BLOCKS: [&str; 6] =
    ["10.244.0.0/16", "10.244.1.0/29", "192.0.2.0/24", "0.0.0.0/0", "fd00:10:244::/48", "2001:db8::/32"];
pub(super) const OUTSIDE: [&str; 5] = ["192.0.2.7", "192.0.2.130", "198.51.100.1", "2001:db8::9", "2001:db9::1"];
const RANGES: [(u16, u16); 5] = [(80, 80), (53, 53), (80, 90), (1000, 5000), (4000, 65535)];

pub(super) fn address(node: u64, n: u64, family: Family) -> IpAddr {
    match family {
        Family::V4 => format!("10.244.{node}.{n}").parse().unwrap(),
        Family::V6 => format!("fd00:10:244:{node}::{n}").parse().unwrap(),
    }
}

pub(super) fn pod(dice: &mut Dice, name: &str, n: u64) -> Pod {
    let node = 1 + n % 2;
    let ports = (dice.roll(2) == 0).then(|| ContainerPort {
        name: Some("http".into()),
        protocol: Protocol::Tcp,
        number: *dice.pick(&[80, 85, 8080]),
    });
    Pod {
        meta: Meta {
            namespace: (*dice.pick(&NAMESPACES)).into(),
            name: name.into(),
            labels: [("app", *dice.pick(&APPS))].into_iter().collect(),
            uid: format!("{name}-{}", dice.roll(1 << 40)).into(),
        },
        owner: None,
        node: Some(format!("n{node}").into()),
        host_network: false,
        ips: Family::ALL.map(|f| address(node, 2 + n, f)).into(),
        ports: ports.into_iter().collect(),
        phase: Phase::Running,
        ready: true,
        service_account: "default".into(),
    }
}

fn selector(dice: &mut Dice) -> LabelSelector {
    match dice.roll(3) {
        0 => LabelSelector::everything(),
        _ => LabelSelector::match_labels([("app", *dice.pick(&APPS))]),
    }
}

fn rules(dice: &mut Dice) -> Vec<PeerRule> {
    let peer = |dice: &mut Dice| match dice.roll(4) {
        0 => PolicyPeer::PodsHere(selector(dice)),
        1 => {
            let namespaces = LabelSelector::match_labels([("kubernetes.io/metadata.name", *dice.pick(&NAMESPACES))]);
            PolicyPeer::Pods { namespaces, pods: Some(selector(dice)) }
        }
        _ => {
            let except = (dice.roll(3) == 0).then(|| "192.0.2.128/25".parse().unwrap());
            PolicyPeer::IpBlock(IpBlock::new(dice.pick(&BLOCKS).parse().unwrap(), except))
        }
    };
    let port = |dice: &mut Dice| PolicyPort {
        protocol: *dice.pick(&Protocol::ALL),
        port: match dice.roll(5) {
            0 => PortSpec::All,
            1 => PortSpec::Named("http".into()),
            _ => {
                let (from, to) = *dice.pick(&RANGES);
                PortSpec::Range(from, to)
            }
        },
    };
    (0..dice.roll(3))
        .map(|_| PeerRule {
            peers: (0..dice.roll(3)).map(|_| peer(dice)).collect(),
            ports: (0..dice.roll(3)).map(|_| port(dice)).collect(),
        })
        .collect()
}

pub(super) fn policy(dice: &mut Dice, n: u64) -> NetworkPolicy {
    let kinds = dice.roll(3);
    NetworkPolicy {
        meta: Meta {
            namespace: (*dice.pick(&NAMESPACES)).into(),
            name: format!("p{n}").into(),
            labels: Labels::default(),
            uid: "".into(),
        },
        pod_selector: selector(dice),
        ingress: (kinds != 0).then(|| rules(dice)),
        egress: (kinds != 1).then(|| rules(dice)),
    }
}

pub(super) struct Cluster {
    pub(super) pods: BTreeMap<u64, Pod>,
    pub(super) policies: BTreeMap<u64, NetworkPolicy>,
}

impl Cluster {
    pub(super) fn random(dice: &mut Dice) -> Self {
        let pods = (0..8).filter(|_| dice.roll(4) != 0).collect::<Vec<_>>();
        Self {
            pods: pods.into_iter().map(|n| (n, pod(dice, &format!("x{n}"), n))).collect(),
            policies: (0..dice.roll(6)).map(|n| (n, policy(dice, n))).collect(),
        }
    }

    /// Some pods and policies are others.
    pub(super) fn change(&mut self, dice: &mut Dice) {
        for _ in 0..=dice.roll(2) {
            let n = dice.roll(8);
            match dice.roll(5) {
                0 => drop(self.pods.remove(&n)),
                1 => drop(self.pods.insert(n, pod(dice, &format!("x{n}"), n))),
                2 => drop(self.policies.remove(&n)),
                _ => drop(self.policies.insert(n, policy(dice, n))),
            }
        }
    }

    pub(super) fn index(&self) -> Index {
        let node = |n: u64| {
            Delta::Node(Node {
                meta: Meta { name: format!("n{n}").into(), ..Meta::default() },
                addresses: vec![format!("192.168.64.{n}").parse().unwrap()],
                pod_cidrs: vec![],
            })
        };
        let pods = self.pods.values().map(|p| Delta::Pod(Box::new(p.clone())));
        let policies = self.policies.values().map(|p| Delta::Policy(Box::new(network_policy(p))));
        Index::of([node(1), node(2)].into_iter().chain(pods).chain(policies))
    }

    pub(super) fn facts(&self) -> NodeFacts {
        let here = self.pods.iter().filter(|(_, p)| p.node.as_deref() == Some("n1"));
        NodeFacts {
            name: "n1".into(),
            interface_prefix: "tor".into(),
            pod_ranges: vec!["10.244.1.0/24".parse().unwrap(), "fd00:10:244:1::/64".parse().unwrap()],
            interfaces: here.map(|(n, p)| (PodKey::of(p), interface(*n))).collect(),
        }
    }
}

pub(super) fn interface(n: u64) -> PodInterface {
    PodInterface { name: format!("tor{n}").into(), index: 10 + n as u32 }
}

pub(super) fn traffic(dice: &mut Dice, family: Family) -> Traffic {
    match dice.roll(8) {
        0 => Traffic::echo_request(family),
        1 => Traffic::other(*dice.pick(&[47, 50, 2])),
        _ => Traffic::port(*dice.pick(&Protocol::ALL), *dice.pick(&[80, 53, 81, 90, 91, 85, 2000, 4500, 8080, 65535])),
    }
}

/// A packet that opens a connection; mostly one that could be.
pub(super) fn packet(dice: &mut Dice) -> Packet {
    let family = *dice.pick(&Family::ALL);
    let outside = |dice: &mut Dice| loop {
        let ip: IpAddr = dice.pick(&OUTSIDE).parse().unwrap();
        if Family::of(ip) == family {
            return ip;
        }
    };
    let n = dice.roll(8);
    let (source, interface) = match dice.roll(8) {
        0 => (outside(dice), None),
        1 => (address(1, 2 + dice.roll(9), family), Some(interface(n))),
        _ if n.is_multiple_of(2) => (address(1, 2 + n, family), Some(interface(n))),
        _ => (address(2, 2 + n, family), None),
    };
    let m = dice.roll(10);
    let destination = if dice.roll(5) == 0 { outside(dice) } else { address(1 + m % 2, 2 + m, family) };
    // A pod's address is never this node's own.
    let (at, destination) = match dice.roll(6) {
        0 => (AttachmentPoint::ToThisNode, outside(dice)),
        _ => (AttachmentPoint::Forward, destination),
    };
    Packet { at, interface, source, destination, traffic: traffic(dice, family), source_port: 0xfffe }
}
