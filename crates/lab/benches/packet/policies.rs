//! Clusters whose policies all select the measured pods.

use std::net::{IpAddr, Ipv6Addr};

use tortie_model::{ContainerPort, Family, PeerRule, PolicyPort, PortSpec, Protocol};
use tortie_policy::{Delta, network_policy};
use tortie_testkit::build;

/// Port that only the last policy opens, over UDP and TCP.
pub(crate) const PORT: u16 = 5000;
/// Distinct sets of ports in the other policies.
pub(crate) const PORT_SETS: u32 = 1000;
/// Pods elsewhere, each with a label that some policies ask for.
pub(crate) const APPS: u32 = 500;

/// Who is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Sends; no policy selects it.
    Free,
    /// Sends; as many policies select it for egress.
    Bound,
    /// Receives; all policies select it for ingress.
    Server,
}

impl Role {
    pub(crate) const ALL: [Self; 3] = [Self::Free, Self::Bound, Self::Server];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Free => "free",
            Self::Bound => "bound",
            Self::Server => "server",
        }
    }

    pub(crate) const fn number(self) -> u8 {
        match self {
            Self::Free => 1,
            Self::Bound => 2,
            Self::Server => 3,
        }
    }

    pub(crate) fn address(self, family: Family) -> IpAddr {
        address(family, 0x0a40_0100 + u32::from(self.number()))
    }
}

/// The address of a pod by the bits of its IPv4 address; both families count alike.
pub(crate) fn address(family: Family, bits: u32) -> IpAddr {
    match family {
        Family::V4 => IpAddr::from(bits.to_be_bytes()),
        Family::V6 => Ipv6Addr::from_bits((0xfd00 << 112) | u128::from(bits)).into(),
    }
}

/// Pods that run on another node, from this address on.
pub(crate) const ELSEWHERE: u32 = 0x0a80_0000;

fn pod(name: &str, node: &str, labels: &[(&str, &str)], bits: u32) -> Delta {
    let mut pod = build::pod(&format!("ns/{name}"), node, labels, &[]);
    pod.meta.uid = name.into();
    pod.ips = Family::ALL.map(|f| address(f, bits)).into();
    pod.ports = vec![ContainerPort { name: Some("http".into()), protocol: Protocol::Tcp, number: 8080 }];
    Delta::Pod(Box::new(pod))
}

/// The ports of policy `n`: one of many sets, each with a port of its own and every third with a range.
fn ports(n: u32) -> Vec<PolicyPort> {
    let set = u16::try_from(n % PORT_SETS).expect("fewer than 65536 sets");
    let udp = |from, to| PolicyPort { protocol: Protocol::Udp, port: PortSpec::Range(from, to) };
    let mut ports = vec![udp(10_000 + set, 10_000 + set)];
    if set.is_multiple_of(3) {
        ports.push(udp(20_000 + set * 4, 20_003 + set * 4));
    }
    // Every tenth policy names a port.
    if n.is_multiple_of(10) {
        ports.push(build::tcp_named("http"));
    }
    ports
}

/// The rule of policy `n`: every fifth has blocks with exceptions, the others pods of one label.
fn rule(n: u32) -> PeerRule {
    let peers = if n % 5 == 2 {
        let (high, low) = (n / 256 % 256, n % 256);
        vec![
            build::block(
                &format!("172.{}.{low}.0/24", 16 + high % 16),
                &[&format!("172.{}.{low}.128/25", 16 + high % 16)],
            ),
            build::block(&format!("fd01:{high:x}:{low:x}::/48"), &[&format!("fd01:{high:x}:{low:x}:8000::/49")]),
        ]
    } else {
        vec![build::pods_here(&[("app", &format!("a{}", n % APPS))])]
    };
    build::rule(peers, ports(n))
}

/// Those who are measured, and the pods that most policies ask for.
pub(crate) fn pods() -> Vec<Delta> {
    let mut deltas: Vec<Delta> = Role::ALL
        .iter()
        .map(|role| {
            let bits = 0x0a40_0100 + u32::from(role.number());
            pod(role.name(), "here", &[("role", role.name()), ("app", "probe")], bits)
        })
        .collect();
    deltas.extend((0..APPS).map(|n| pod(&format!("app-{n}"), "there", &[("app", &format!("a{n}"))], 0x0a41_0000 + n)));
    deltas
}

/// A cluster with `policies` policies in each direction, of which the last alone opens [`PORT`], and `elsewhere` pods on
/// another node, from [`ELSEWHERE`] on, all of which the last policy lets in.
pub(crate) fn cluster(policies: u32, elsewhere: u32) -> Vec<Delta> {
    let mut deltas = pods();
    deltas.extend((0..elsewhere).map(|n| pod(&format!("far-{n}"), "there", &[("app", "probe")], ELSEWHERE + n)));
    for n in 0..policies {
        let rule = if n + 1 == policies {
            let udp = PolicyPort { protocol: Protocol::Udp, port: PortSpec::Range(PORT, PORT) };
            build::rule([build::pods_here(&[("app", "probe")])], [udp, build::tcp(PORT)])
        } else {
            rule(n)
        };
        let mut to_server = build::policy(&format!("ns/in-{n:06}"), &[("role", "server")]);
        to_server.ingress = Some(vec![rule.clone()]);
        let mut from_bound = build::policy(&format!("ns/out-{n:06}"), &[("role", "bound")]);
        from_bound.egress = Some(vec![rule]);
        deltas.extend([to_server, from_bound].map(|p| Delta::Policy(Box::new(network_policy(&p)))));
    }
    deltas
}
