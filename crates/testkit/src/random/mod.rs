//! Random clusters, changes and flows, from alphabets so small that rules match often.

mod apis;
mod calico;
mod clusterpolicy;

use std::net::IpAddr;

use ipnet::IpNet;
use tortie_model::{
    ContainerPort, Family, IpBlock, IpProtocol, LabelSelector, Labels, Meta, Namespace, NetworkPolicy, Operator,
    PeerRule, Phase, Pod, PolicyPeer, PolicyPort, PortSpec, Protocol, Requirement, Traffic,
};
use tortie_policy::{Action, EndAction, Order, Peers, Policy, Ports, Rule, Tier, network_policy};

pub use apis::{detailed_flow, three_apis};

use crate::Rng;
use crate::build;
use crate::cluster::{Cluster, Flow};

const NAMESPACES: [&str; 3] = ["red", "blue", "green"];
const NODES: [&str; 2] = ["n1", "n2"];
const LABELS: [(&str, [&str; 2]); 3] = [("app", ["web", "db"]), ("tier", ["front", "back"]), ("env", ["x", "y"])];
const PORT_NAMES: [&str; 3] = ["http", "dns", "admin"];
const PORTS: [u16; 6] = [53, 80, 81, 443, 8080, 65535];
const OUTSIDE: [&str; 9] = [
    "203.0.113.5",
    "203.0.113.200",
    "8.8.8.8",
    "10.244.1.77",
    "192.168.0.99",
    "0.0.0.0",
    "fd00:244:2::77",
    "2001:db8::1",
    "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
];
const BLOCKS: [&str; 19] = [
    "0.0.0.0/0",
    "0.0.0.0/1",
    "10.0.0.0/8",
    "10.244.0.0/16",
    "10.244.1.0/24",
    "10.244.1.0/29",
    "10.244.1.2/32",
    "10.244.2.0/30",
    "192.168.0.0/24",
    "192.168.0.1/32",
    "203.0.113.0/24",
    "203.0.113.128/25",
    "8.0.0.0/7",
    "::/0",
    "fd00::/8",
    "fd00:244::/32",
    "fd00:244:1::/64",
    "fd00:244:1::2/128",
    "2001:db8::/32",
];

/// How many random clusters a test plays: as many as it has time for when all tests run, or what `TORTIE_CLUSTERS` says.
///
/// # Panics
/// When that is no number.
#[must_use]
pub fn clusters(otherwise: u64) -> u64 {
    number("TORTIE_CLUSTERS", otherwise)
}

/// How many ways of breaking something a test tries: as many as it has time for, or what `TORTIE_CORRUPTIONS` says.
///
/// # Panics
/// When that is no number.
#[must_use]
pub fn corruptions(otherwise: u64) -> u64 {
    number("TORTIE_CORRUPTIONS", otherwise)
}

fn number(variable: &str, otherwise: u64) -> u64 {
    let asked = std::env::var(variable);
    asked.map_or(otherwise, |n| n.parse().unwrap_or_else(|_| panic!("{variable} is a number")))
}

/// A cluster of two nodes, three namespaces, some pods and some NetworkPolicies.
#[must_use]
pub fn cluster(rng: &mut Rng) -> Cluster {
    let mut out = Cluster { nodes: nodes(), ..Cluster::default() };
    for name in NAMESPACES {
        // Now and then nobody defines a namespace that pods are in.
        if rng.chance(90) {
            out.namespaces.push(Namespace::new(name, &labels(rng)));
        }
    }
    for _ in 0..2 + rng.below(8) {
        add_pod(rng, &mut out);
    }
    out.policies = policies(rng, 0, 10);
    out
}

/// A cluster with tiers and policies that pass, deny and log, besides NetworkPolicies. The reference does not know
/// such policies.
#[must_use]
pub fn tiered_cluster(rng: &mut Rng) -> Cluster {
    let mut out = cluster(rng);
    let end = |rng: &mut Rng| if rng.chance(60) { EndAction::Pass } else { EndAction::Deny };
    out.tiers = vec![
        Tier { name: "first".into(), order: Order::new(10.0), end: end(rng) },
        Tier { name: "last".into(), order: Order::new(2e6), end: end(rng) },
    ];
    out.tiered = rng.several(1, 4, tiered_policy);
    let mut seen = std::collections::BTreeSet::new();
    out.tiered.retain(|p| seen.insert(p.object.clone()));
    out
}

fn nodes() -> Vec<tortie_model::Node> {
    vec![build::node("n1", &["192.168.0.1", "fd00:192::1"]), build::node("n2", &["192.168.0.2", "fd00:192::2"])]
}

fn labels(rng: &mut Rng) -> Labels {
    let mut out = Labels::default();
    for (key, values) in LABELS {
        if rng.chance(55) {
            out = out.with(key, rng.pick::<&str>(&values));
        }
    }
    out
}

/// Adds a pod with addresses and a uid that no other pod of the cluster has.
fn add_pod(rng: &mut Rng, cluster: &mut Cluster) {
    let serial = rng.next();
    let node = rng.below(2);
    let host_network = rng.chance(10);
    let phase = match rng.below(100) {
        0..7 => Phase::Succeeded,
        7..14 => Phase::Pending,
        _ => Phase::Running,
    };
    let addresses = |n: u8| -> [IpAddr; 2] {
        let v6 = format!("fd00:244:{}::{n:x}", node + 1).parse().expect("an address");
        [[10, 244, node_number(node), n].into(), v6]
    };
    let runs = |p: &&Pod| !p.phase.is_finished() && !p.host_network;
    let taken = |ip: &IpAddr| cluster.pods.iter().filter(runs).any(|p| p.ips.contains(ip));
    let free = (2..40).find(|n| !addresses(*n).iter().any(taken));
    let [v4, v6] = addresses(free.expect("fewer pods than addresses"));
    let ips = match (host_network, rng.below(100)) {
        (true, _) => cluster.nodes[node].addresses.clone(),
        (false, 0..4) => vec![],
        (false, 4..15) => vec![v4],
        (false, 15..20) => vec![v6],
        (false, _) => vec![v4, v6],
    };
    cluster.pods.push(Pod {
        meta: Meta {
            namespace: (*rng.pick(&NAMESPACES)).into(),
            name: format!("p{serial:x}").into(),
            labels: labels(rng),
            uid: format!("{serial:x}").into(),
        },
        owner: None,
        node: Some(NODES[node].into()),
        host_network,
        ips,
        ports: container_ports(rng),
        phase,
        ready: true,
        service_account: "default".into(),
    });
}

fn node_number(node: usize) -> u8 {
    if node == 0 { 1 } else { 2 }
}

/// The same name may stand for several numbers in one pod, of one protocol or of several.
fn container_ports(rng: &mut Rng) -> Vec<ContainerPort> {
    rng.several(0, 4, |rng| ContainerPort {
        name: rng.maybe(85, |rng| (*rng.pick(&PORT_NAMES)).into()),
        protocol: protocol(rng),
        number: *rng.pick(&PORTS),
    })
}

fn protocol(rng: &mut Rng) -> Protocol {
    *rng.pick(&[Protocol::Tcp, Protocol::Tcp, Protocol::Udp, Protocol::Sctp])
}

fn selector(rng: &mut Rng, everything: usize) -> LabelSelector {
    if rng.chance(everything) {
        return LabelSelector::everything();
    }
    LabelSelector::new(rng.several(1, 2, |rng| {
        let (key, values) = rng.pick(&LABELS);
        let operator = match rng.below(100) {
            0..60 => Operator::In,
            60..75 => Operator::NotIn,
            75..88 => Operator::Exists,
            _ => Operator::DoesNotExist,
        };
        let several = usize::from(matches!(operator, Operator::In | Operator::NotIn));
        let values = rng.several(several, 2 * several, |rng| *rng.pick(values));
        Requirement::new(key, operator, values)
    }))
}

fn namespace_selector(rng: &mut Rng) -> LabelSelector {
    if rng.chance(30) {
        build::selector(&[("kubernetes.io/metadata.name", rng.pick::<&str>(&NAMESPACES))])
    } else {
        selector(rng, 25)
    }
}

fn policies(rng: &mut Rng, min: usize, max: usize) -> Vec<NetworkPolicy> {
    let mut out = rng.several(min, max, policy);
    let mut seen = std::collections::BTreeSet::new();
    out.retain(|p| seen.insert((p.meta.namespace.clone(), p.meta.name.clone())));
    out
}

fn policy(rng: &mut Rng) -> NetworkPolicy {
    NetworkPolicy {
        meta: Meta {
            namespace: (*rng.pick(&NAMESPACES)).into(),
            name: format!("np{}", rng.below(20)).into(),
            ..Meta::default()
        },
        pod_selector: selector(rng, 55),
        ingress: rng.maybe(70, |rng| rng.several(0, 4, rule)),
        egress: rng.maybe(60, |rng| rng.several(0, 4, rule)),
    }
}

fn rule(rng: &mut Rng) -> PeerRule {
    PeerRule {
        peers: if rng.chance(15) { vec![] } else { rng.several(1, 3, peer) },
        ports: if rng.chance(30) { vec![] } else { rng.several(1, 3, port) },
    }
}

fn peer(rng: &mut Rng) -> PolicyPeer {
    match rng.below(100) {
        0..30 => PolicyPeer::PodsHere(selector(rng, 40)),
        30..65 => {
            PolicyPeer::Pods { namespaces: namespace_selector(rng), pods: rng.maybe(50, |rng| selector(rng, 20)) }
        }
        _ => PolicyPeer::IpBlock(block(rng)),
    }
}

fn block(rng: &mut Rng) -> IpBlock {
    let cidr: IpNet = rng.pick(&BLOCKS).parse().expect("a CIDR");
    let inside: Vec<IpNet> = BLOCKS
        .iter()
        .map(|b| b.parse::<IpNet>().expect("a CIDR"))
        .filter(|b| Family::of_net(b) == Family::of_net(&cidr) && cidr.contains(b) && *b != cidr)
        .collect();
    let except = if inside.is_empty() { vec![] } else { rng.several(0, 2, |rng| *rng.pick(&inside)) };
    IpBlock::new(cidr, except)
}

fn port(rng: &mut Rng) -> PolicyPort {
    let port = match rng.below(100) {
        0..15 => PortSpec::All,
        15..55 => {
            let port = *rng.pick(&PORTS);
            PortSpec::Range(port, port)
        }
        55..75 => {
            let (a, b) = (*rng.pick(&PORTS), *rng.pick(&PORTS));
            PortSpec::Range(a.min(b), a.max(b))
        }
        _ => PortSpec::Named((*rng.pick(&PORT_NAMES)).into()),
    };
    PolicyPort { protocol: protocol(rng), port }
}

fn tiered_policy(rng: &mut Rng) -> Policy {
    let mut out = network_policy(&policy(rng));
    out.object.name = format!("tiered-{}", out.object.name).into();
    out.tier = (*rng.pick(&["first", "last", "default", "nobody-defined-it"])).into();
    out.order = *rng.pick(&[Order::new(1.0), Order::new(1000.0), Order::NONE]);
    if rng.chance(50) {
        out.subject.namespaces = tortie_policy::NamespaceMatch::Matching(namespace_selector(rng));
    }
    let directions = [&mut out.ingress, &mut out.egress];
    for rule in directions.into_iter().flatten().flatten() {
        tiered_rule(rng, rule);
    }
    out
}

fn tiered_rule(rng: &mut Rng, rule: &mut Rule) {
    rule.action = *rng.pick(&[Action::Allow, Action::Deny, Action::Pass, Action::Log]);
    if let Peers::OneOf(peers) = &mut rule.peers
        && rng.chance(20)
        && let [first, second, ..] = &mut peers[..]
    {
        // Both criteria in one peer: a pod that a selector selects, with an address in a block.
        first.blocks = first.blocks.take().or_else(|| second.blocks.take());
        first.endpoints = first.endpoints.take().or_else(|| second.endpoints.take());
        peers.truncate(1);
    }
    if let Ports::OneOf(ports) = &mut rule.ports
        && rng.chance(20)
    {
        // ICMP and other protocols, which a NetworkPolicy cannot name.
        let protocol = *rng.pick(&[IpProtocol::ICMP, IpProtocol::ICMPV6, IpProtocol(47)]);
        let echo = Traffic::echo_request(Family::V4).detail;
        let detail = *rng.pick(&[0, echo]);
        let detail = if rng.chance(50) || protocol == IpProtocol(47) {
            tortie_policy::Detail::All
        } else {
            tortie_policy::Detail::Range(detail, detail | 0xff)
        };
        ports.push(tortie_policy::PortMatch { protocol, detail });
    }
}

/// The same cluster after a few changes of any kind.
#[must_use]
pub fn changed(rng: &mut Rng, cluster: &Cluster) -> Cluster {
    let mut out = cluster.clone();
    for _ in 0..1 + rng.below(3) {
        change(rng, &mut out);
    }
    out
}

fn change(rng: &mut Rng, cluster: &mut Cluster) {
    match rng.below(100) {
        0..45 => change_pods(rng, cluster),
        45..58 => change_namespaces(rng, cluster),
        58..100 if cluster.is_of_three_apis() && rng.chance(80) => apis::change(rng, cluster),
        58..70 if !cluster.tiers.is_empty() => change_tiers(rng, cluster),
        _ => change_policies(rng, cluster),
    }
}

fn change_pods(rng: &mut Rng, cluster: &mut Cluster) {
    if cluster.pods.is_empty() || rng.chance(25) {
        return add_pod(rng, cluster);
    }
    let i = rng.below(cluster.pods.len());
    match rng.below(100) {
        0..22 => {
            cluster.pods.remove(i);
        }
        22..40 => {
            // Its address goes to another pod at once.
            let (node, ips) = (cluster.pods[i].node.clone(), cluster.pods[i].ips.clone());
            let reused = !cluster.pods[i].phase.is_finished() && !cluster.pods[i].host_network;
            cluster.pods.remove(i);
            add_pod(rng, cluster);
            if let Some(pod) = cluster.pods.last_mut().filter(|p| reused && !p.host_network) {
                pod.node = node;
                pod.ips = ips;
            }
        }
        40..50 => cluster.pods[i].phase = Phase::Succeeded,
        50..88 => cluster.pods[i].meta.labels = labels(rng),
        _ => cluster.pods[i].ports = container_ports(rng),
    }
}

fn change_namespaces(rng: &mut Rng, cluster: &mut Cluster) {
    let name = *rng.pick(&NAMESPACES);
    let defined = cluster.namespaces.iter().position(|n| **n.name() == *name);
    match defined {
        // Its pods stay, for the time that it takes to delete them.
        Some(i) if rng.chance(15) => {
            cluster.namespaces.remove(i);
        }
        Some(i) => cluster.namespaces[i] = Namespace::new(name, &labels(rng)),
        None => cluster.namespaces.push(Namespace::new(name, &labels(rng))),
    }
}

fn change_policies(rng: &mut Rng, cluster: &mut Cluster) {
    let n = cluster.policies.len();
    match rng.below(100) {
        0..35 if n > 0 => {
            cluster.policies.remove(rng.below(n));
        }
        35..65 if n > 0 => {
            let i = rng.below(n);
            let meta = cluster.policies[i].meta.clone();
            cluster.policies[i] = NetworkPolicy { meta, ..policy(rng) };
        }
        _ => {
            let new = policy(rng);
            cluster.policies.retain(|p| p.meta != new.meta);
            cluster.policies.push(new);
        }
    }
}

fn change_tiers(rng: &mut Rng, cluster: &mut Cluster) {
    let i = rng.below(cluster.tiers.len());
    match rng.below(100) {
        0..20 => cluster.tiers[i].order = *rng.pick(&[Order::new(10.0), Order::new(1e6), Order::new(2e6)]),
        20..40 => {
            let flipped = if cluster.tiers[i].end == EndAction::Pass { EndAction::Deny } else { EndAction::Pass };
            cluster.tiers[i].end = flipped;
        }
        40..60 if cluster.tiered.len() > 1 => {
            cluster.tiered.remove(rng.below(cluster.tiered.len()));
        }
        _ => {
            let new = tiered_policy(rng);
            cluster.tiered.retain(|p| p.object != new.object);
            cluster.tiered.push(new);
        }
    }
}

/// A packet between two addresses of a family: of pods, of nodes, from outside.
#[must_use]
pub fn flow(rng: &mut Rng, cluster: &Cluster) -> Flow {
    let from = address(rng, cluster, None);
    let to = address(rng, cluster, Some(Family::of(from)));
    Flow::new(from, to, traffic(rng, Family::of(from)))
}

/// An address that may be anybody's.
fn address(rng: &mut Rng, cluster: &Cluster, family: Option<Family>) -> IpAddr {
    let fits = |ip: &IpAddr| family.is_none_or(|f| Family::of(*ip) == f);
    let pods: Vec<IpAddr> = cluster.pods.iter().flat_map(|p| p.ips.iter().copied()).filter(fits).collect();
    let nodes: Vec<IpAddr> = cluster.nodes.iter().flat_map(|n| n.addresses.iter().copied()).filter(fits).collect();
    let outside: Vec<IpAddr> = OUTSIDE.iter().map(|a| build::ip(a)).filter(fits).collect();
    match rng.below(100) {
        0..75 if !pods.is_empty() => *rng.pick(&pods),
        75..84 if !nodes.is_empty() => *rng.pick(&nodes),
        _ => *rng.pick(&outside),
    }
}

/// A packet's protocol and port.
pub fn traffic(rng: &mut Rng, family: Family) -> Traffic {
    match rng.below(100) {
        0..8 => Traffic::echo_request(family),
        8..11 => Traffic::icmp(family, 3, 1),
        11..14 => Traffic::other(47),
        _ => {
            let port = *rng.pick(&PORTS);
            let port = match rng.below(10) {
                0 => port.saturating_add(1),
                1 => port - 1,
                _ => port,
            };
            Traffic::port(protocol(rng), port)
        }
    }
}
