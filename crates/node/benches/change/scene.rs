//! A big cluster, seen from one node, and what changes in it.

use std::net::{IpAddr, Ipv4Addr, TcpListener, TcpStream};
use std::sync::OnceLock;

use tortie_model::{ContainerPort, NetworkPolicy, ObjectRef, PolicyPeer, PolicyPort, PortSpec, Protocol};
use tortie_node::Change;
use tortie_plan::{NodeFacts, PodInterface};
use tortie_policy::{Delta, PodKey, network_policy};
use tortie_testkit::{Rng, build};

use crate::arguments::Arguments;

/// Distinct sets of ports.
const PORT_SETS: usize = 1_500;

/// What changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// A pod on another node, of a kind that is there.
    PodElsewhere,
    /// A pod on another node with a label value of its own.
    PodOfNewKind,
    /// A pod on this node.
    PodHere,
    /// A policy that selects no pod of this node.
    PolicyElsewhere,
    /// A policy that selects a pod of this node.
    PolicyHere,
    /// The same, with a block of addresses that no other policy names.
    PolicyWithBlock,
    /// A policy that asks for a label key that no other policy asks for, and that one pod in a hundred has.
    PolicyWithKey,
    /// The same, of a key that every pod has.
    PolicyWithKeyOfAll,
    /// The same, of a key that one pod in ten has, and of pods in all namespaces.
    PolicyThatSplits,
}

impl Event {
    pub(crate) const ALL: [Self; 9] = [
        Self::PodElsewhere,
        Self::PodOfNewKind,
        Self::PodHere,
        Self::PolicyElsewhere,
        Self::PolicyHere,
        Self::PolicyWithBlock,
        Self::PolicyWithKey,
        Self::PolicyWithKeyOfAll,
        Self::PolicyThatSplits,
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::PodElsewhere => "pod elsewhere",
            Self::PodOfNewKind => "pod of a new kind",
            Self::PodHere => "pod here",
            Self::PolicyElsewhere => "policy elsewhere",
            Self::PolicyHere => "policy here",
            Self::PolicyWithBlock => "policy with a block",
            Self::PolicyWithKey => "policy with a key of 1 %",
            Self::PolicyWithKeyOfAll => "policy with a key of all",
            Self::PolicyThatSplits => "policy that splits 10 %",
        }
    }
}

/// The cluster.
pub(crate) struct Scene {
    arguments: Arguments,
}

fn address(serial: usize) -> IpAddr {
    Ipv4Addr::from_bits(0x0a00_0000 + u32::try_from(serial).expect("fewer than 2^24 pods")).into()
}

impl Scene {
    pub(crate) fn new(arguments: &Arguments) -> Self {
        Self { arguments: arguments.clone() }
    }

    pub(crate) fn facts(&self) -> NodeFacts {
        NodeFacts {
            name: "n0".into(),
            interface_prefix: "tor".into(),
            pod_ranges: vec!["10.128.0.0/16".parse().expect("a block")],
            interfaces: std::collections::BTreeMap::new(),
        }
    }

    fn namespace(&self, serial: usize) -> String {
        format!("ns{}", serial % self.arguments.namespaces)
    }

    fn app(&self, rng: &mut Rng) -> String {
        format!("app{}", rng.below(self.arguments.apps))
    }

    /// A pod of the cluster; the first ones are here.
    fn pod(&self, serial: usize) -> tortie_model::Pod {
        let mut rng = Rng::new(serial as u64);
        let here = serial < self.arguments.local;
        let (name, app) = (format!("{}/pod-{serial}", self.namespace(serial)), self.app(&mut rng));
        let node = if here { "n0".to_owned() } else { format!("n{}", 1 + serial % 1000) };
        let tier = format!("tier{}", rng.below(3));
        let revision = format!("r{}", rng.below(2));
        let mut labels = vec![("app", &*app), ("tier", &*tier), ("revision", &*revision)];
        if rng.chance(1) {
            labels.push(("canary", "yes"));
        }
        if rng.chance(10) {
            labels.push(("edge", "yes"));
        }
        let mut pod = build::pod(&name, &node, &labels, &[]);
        pod.ips = vec![if here { address(0x80_0000 + serial + 2) } else { address(serial) }];
        pod.meta.uid = format!("uid-{serial}").into();
        if app.ends_with(['0', '5']) {
            pod.ports = vec![named("http", 8080), named("metrics", 9090)];
        }
        pod
    }

    /// A policy of the cluster.
    fn policy(&self, serial: usize) -> NetworkPolicy {
        let mut rng = Rng::new(1 << 32 | serial as u64);
        let (name, app) = (format!("{}/policy-{serial}", self.namespace(serial)), self.app(&mut rng));
        let mut policy = build::policy(&name, &[("app", &app)]);
        let peer = |rng: &mut Rng| match rng.below(10) {
            0 | 1 => block(serial),
            2..6 => build::pods_here(&[("app", &self.app(rng))]),
            _ => {
                let team = format!("team{}", rng.below(10));
                build::pods_of(&[("team", &team)], &[("app", &self.app(rng)), ("tier", "tier1")])
            }
        };
        policy.ingress = Some(vec![build::rule([peer(&mut rng)], ports(serial, rng.below(10) == 0))]);
        if rng.chance(30) {
            policy.egress = Some(vec![build::rule([peer(&mut rng)], ports(serial, rng.below(10) == 0))]);
        }
        policy
    }

    /// All that makes the cluster.
    pub(crate) fn deltas(&self) -> Vec<Delta> {
        let namespaces = (0..self.arguments.namespaces).map(|n| {
            let team = format!("team{}", n % 10);
            Delta::Namespace(build::namespace(&format!("ns{n}"), &[("team", &team)]))
        });
        let pods = (0..self.arguments.pods).map(|n| Delta::Pod(Box::new(self.pod(n))));
        let policies = (0..self.arguments.policies).map(|n| Delta::Policy(Box::new(network_policy(&self.policy(n)))));
        namespaces.chain(pods).chain(policies).collect()
    }

    fn link(serial: usize) -> PodInterface {
        let index = u32::try_from(serial + 10).expect("an interface index");
        PodInterface { name: format!("tor{serial}").into(), index }
    }

    pub(crate) fn links(&self) -> Vec<(PodKey, PodInterface)> {
        let here = 0..self.arguments.local.min(self.arguments.pods);
        here.map(|serial| (PodKey::of(&self.pod(serial)), Self::link(serial))).collect()
    }

    /// What comes, or goes again.
    pub(crate) fn change(&self, event: Event, round: usize, comes: bool) -> Change {
        match event {
            Event::PodElsewhere | Event::PodOfNewKind | Event::PodHere => self.pod_change(event, round, comes),
            _ => self.policy_change(event, round, comes),
        }
    }

    fn pod_change(&self, event: Event, round: usize, comes: bool) -> Change {
        // Like one that is there, under another name and address.
        let here = event == Event::PodHere;
        let like = if here { round % self.arguments.local } else { self.arguments.local + round * 37 % 50_000 };
        let mut pod = self.pod(like % self.arguments.pods);
        pod.meta.name = format!("more-{round}").into();
        pod.meta.uid = format!("uid-more-{round}").into();
        pod.ips = vec![address(if here { 0x80_f000 + round } else { 0x40_0000 + round })];
        if event == Event::PodOfNewKind {
            pod.meta.labels = pod.meta.labels.with("app", &format!("fresh{round}"));
        }
        let key = PodKey::of(&pod);
        let mut change = Change::default();
        if comes {
            change.deltas.push(Delta::Pod(Box::new(pod)));
            change.attached.extend(here.then(|| (key, Self::link(1000 + round))));
        } else {
            change.deltas.push(Delta::PodRemoved { key: key.clone(), uid: pod.meta.uid });
            change.detached.extend(here.then_some(key));
        }
        change
    }

    fn policy_change(&self, event: Event, round: usize, comes: bool) -> Change {
        let local = self.pod(round % self.arguments.local.max(1));
        let app = local.meta.labels.get("app").unwrap_or_default().to_owned();
        let app = if event == Event::PolicyElsewhere { "nobody".to_owned() } else { app };
        let mut policy = build::policy(&format!("{}/more-{round}", local.meta.namespace), &[("app", &app)]);
        let other = format!("app{}", round % self.arguments.apps);
        let peer = match event {
            Event::PolicyWithBlock => block(1_000_000 + round),
            Event::PolicyWithKey => build::pods_here(&[("canary", "yes")]),
            Event::PolicyWithKeyOfAll => build::pods_here(&[("revision", "r1")]),
            Event::PolicyThatSplits => build::pods_of(&[], &[("edge", "yes")]),
            _ => build::pods_here(&[("app", &other)]),
        };
        policy.ingress = Some(vec![build::rule([peer], ports(round, false))]);
        let delta = if comes {
            Delta::Policy(Box::new(network_policy(&policy)))
        } else {
            let meta = &policy.meta;
            Delta::PolicyRemoved(ObjectRef::namespaced(tortie_model::Kind::NetworkPolicy, &meta.namespace, &meta.name))
        };
        Change { deltas: vec![delta], ..Change::default() }
    }
}

/// Addresses outside the cluster, without a part of them.
fn block(serial: usize) -> PolicyPeer {
    let at = 0x1400_0000 + (u32::try_from(serial).expect("fewer than 2^32 policies") << 8) % 0x7000_0000;
    let (whole, part) = (Ipv4Addr::from_bits(at), Ipv4Addr::from_bits(at + 0x40));
    build::block(&format!("{whole}/24"), &[&format!("{part}/28")])
}

fn ports(serial: usize, by_name: bool) -> Vec<PolicyPort> {
    if by_name {
        return vec![build::tcp_named(if serial.is_multiple_of(2) { "http" } else { "metrics" })];
    }
    let set = u16::try_from(serial % PORT_SETS).expect("few sets of ports");
    let udp = PolicyPort { protocol: Protocol::Udp, port: PortSpec::Range(set + 20_000, set + 20_003) };
    vec![build::tcp(set + 1_000), build::tcp(set + 5_000), udp]
}

fn named(name: &str, number: u16) -> ContainerPort {
    build::container_port(name, Protocol::Tcp, number)
}

/// Opens connections over the loopback interface and leaves them open.
pub(crate) fn connect(count: usize) -> std::io::Result<()> {
    static OPEN: OnceLock<Vec<(TcpStream, TcpStream)>> = OnceLock::new();
    let mut up = tortie_netlink::route::Batch::new();
    up.set_up(1, true);
    tortie_netlink::route::Routes::open().and_then(|mut routes| routes.commit(up)).map_err(std::io::Error::other)?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let at = listener.local_addr()?;
    let mut open = Vec::with_capacity(count);
    for _ in 0..count.min(400) {
        open.push((TcpStream::connect(at)?, listener.accept()?.0));
    }
    let _ = OPEN.set(open);
    Ok(())
}
