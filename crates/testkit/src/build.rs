//! Objects in few words.

use std::net::IpAddr;

use tortie_model::calico::{Action, Entity, HostEndpoint, Rule};
use tortie_model::{
    ContainerPort, IpBlock, IpProtocol, LabelSelector, Labels, Meta, Namespace, NetworkPolicy, Node, PeerRule, Phase,
    Pod, PolicyPeer, PolicyPort, PortSpec, Protocol,
};

/// Labels of pairs.
#[must_use]
pub fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs.iter().copied().collect()
}

/// A selector of pairs; none selects everything.
#[must_use]
pub fn selector(pairs: &[(&str, &str)]) -> LabelSelector {
    LabelSelector::match_labels(pairs.iter().copied())
}

/// A namespace.
#[must_use]
pub fn namespace(name: &str, pairs: &[(&str, &str)]) -> Namespace {
    Namespace::new(name, &labels(pairs))
}

/// A node with its addresses.
///
/// # Panics
/// When an address does not parse.
#[must_use]
pub fn node(name: &str, addresses: &[&str]) -> Node {
    Node {
        meta: Meta { name: name.into(), ..Meta::default() },
        addresses: addresses.iter().map(|a| ip(a)).collect(),
        pod_cidrs: Vec::new(),
    }
}

/// A host endpoint of node `n1` with the addresses that are expected of it.
///
/// # Panics
/// When an address does not parse.
#[must_use]
pub fn host_endpoint(name: &str, pairs: &[(&str, &str)], addresses: &[&str]) -> HostEndpoint {
    HostEndpoint {
        meta: Meta { name: name.into(), labels: labels(pairs), ..Meta::default() },
        node: "n1".into(),
        interface: "".into(),
        addresses: addresses.iter().map(|a| ip(a)).collect(),
        profiles: Vec::new(),
        ports: Vec::new(),
    }
}

/// An address.
///
/// # Panics
/// When it does not parse.
#[must_use]
pub fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

/// A running pod `namespace/name` on a node.
///
/// # Panics
/// When the name has no namespace or an address does not parse.
#[must_use]
pub fn pod(name: &str, node: &str, pairs: &[(&str, &str)], ips: &[&str]) -> Pod {
    let (namespace, name) = name.split_once('/').expect("namespace/name");
    Pod {
        meta: Meta { namespace: namespace.into(), name: name.into(), labels: labels(pairs), uid: "".into() },
        owner: None,
        node: Some(node.into()),
        host_network: false,
        ips: ips.iter().map(|a| ip(a)).collect(),
        ports: Vec::new(),
        phase: Phase::Running,
        ready: true,
        service_account: "default".into(),
    }
}

/// A named container port.
#[must_use]
pub fn container_port(name: &str, protocol: Protocol, number: u16) -> ContainerPort {
    ContainerPort { name: Some(name.into()), protocol, number }
}

/// A policy `namespace/name` for these pods, with no direction yet.
///
/// # Panics
/// When the name has no namespace.
#[must_use]
pub fn policy(name: &str, pods: &[(&str, &str)]) -> NetworkPolicy {
    let (namespace, name) = name.split_once('/').expect("namespace/name");
    NetworkPolicy {
        meta: Meta { namespace: namespace.into(), name: name.into(), ..Meta::default() },
        pod_selector: selector(pods),
        ingress: None,
        egress: None,
    }
}

/// A rule.
#[must_use]
pub fn rule(peers: impl IntoIterator<Item = PolicyPeer>, ports: impl IntoIterator<Item = PolicyPort>) -> PeerRule {
    PeerRule { peers: peers.into_iter().collect(), ports: ports.into_iter().collect() }
}

/// Pods of the policy's own namespace.
#[must_use]
pub fn pods_here(pairs: &[(&str, &str)]) -> PolicyPeer {
    PolicyPeer::PodsHere(selector(pairs))
}

/// Pods of namespaces.
#[must_use]
pub fn pods_of(namespaces: &[(&str, &str)], pods: &[(&str, &str)]) -> PolicyPeer {
    PolicyPeer::Pods { namespaces: selector(namespaces), pods: Some(selector(pods)) }
}

/// A block of addresses with exceptions.
///
/// # Panics
/// When one does not parse.
#[must_use]
pub fn block(cidr: &str, except: &[&str]) -> PolicyPeer {
    PolicyPeer::IpBlock(IpBlock::new(cidr.parse().expect("a CIDR"), except.iter().map(|e| e.parse().expect("a CIDR"))))
}

/// A TCP port.
#[must_use]
pub const fn tcp(port: u16) -> PolicyPort {
    PolicyPort { protocol: Protocol::Tcp, port: PortSpec::Range(port, port) }
}

/// A UDP port.
#[must_use]
pub const fn udp(port: u16) -> PolicyPort {
    PolicyPort { protocol: Protocol::Udp, port: PortSpec::Range(port, port) }
}

/// A TCP port by name.
#[must_use]
pub fn tcp_named(name: &str) -> PolicyPort {
    PolicyPort { protocol: Protocol::Tcp, port: PortSpec::Named(name.into()) }
}

/// A rule of Calico's that asks for nothing but its protocol and its ends.
#[must_use]
pub const fn calico_rule(action: Action, protocol: Option<IpProtocol>, source: Entity, destination: Entity) -> Rule {
    Rule {
        action,
        family: None,
        protocol,
        not_protocol: None,
        icmp: None,
        not_icmp: None,
        source,
        destination,
        http: false,
    }
}
