//! What NetworkPolicies, and flows between any ends, exercise.

use tortie_model::{
    Direction, Family, IpProtocol, LabelSelector, NetworkPolicy, Operator, PeerRule, Phase, Pod, PolicyPeer, PortSpec,
    Protocol,
};

use super::Seen;
use crate::cluster::{Cluster, Flow};
use crate::reference::{Halves, node_at, pod_at};

/// What every run must have seen.
pub(super) const FEATURES: &[&str] = &[
    "allowed",
    "denied",
    "denied by egress",
    "denied by ingress",
    "IPv4",
    "IPv6",
    "packet: TCP",
    "packet: UDP",
    "packet: SCTP",
    "packet: ICMP",
    "packet: another protocol",
    "between pods",
    "within a namespace",
    "between namespaces",
    "from a pod to no pod",
    "from no pod to a pod",
    "loopback",
    "from a pod's own node",
    "from another node",
    "from a pod to a node",
    "pod in its node's network",
    "pod that has ended",
    "pod that has not started",
    "pod of one family",
    "namespace that nobody defined",
    "end that no policy governs",
    "end that several policies govern",
    "policy: ingress alone",
    "policy: egress alone",
    "policy: both directions",
    "policy for all pods",
    "policy for some pods",
    "ingress without rules",
    "egress without rules",
    "several rules",
    "rule for everything",
    "rule without peers",
    "rule without ports",
    "rule with several peers",
    "rule with several ports",
    "peer: pods here",
    "peer: all pods here",
    "peer: namespaces",
    "peer: pods of namespaces",
    "peer: IPv4 block",
    "peer: IPv6 block",
    "peer: block with exceptions",
    "peer: all addresses of a family",
    "peer: one address",
    "ports: TCP",
    "ports: UDP",
    "ports: SCTP",
    "ports: all of a protocol",
    "ports: one",
    "ports: a range",
    "ports: by name, ingress",
    "ports: by name, egress",
    "operator In, one value",
    "operator In, several values",
    "operator NotIn",
    "operator Exists",
    "operator DoesNotExist",
    "several requirements",
];

impl Seen {
    pub(super) fn verdict(&mut self, halves: Halves) {
        self.0.insert(if halves.is_allowed() { "allowed" } else { "denied" });
        self.if_so(!halves.egress, "denied by egress");
        self.if_so(!halves.ingress, "denied by ingress");
    }

    pub(super) fn flow(&mut self, cluster: &Cluster, flow: Flow) {
        let (from, to) = (pod_at(cluster, flow.from), pod_at(cluster, flow.to));
        let (from_node, to_node) = (node_at(cluster, flow.from), node_at(cluster, flow.to));
        self.0.extend([
            if Family::of(flow.from) == Family::V4 { "IPv4" } else { "IPv6" },
            match flow.traffic.protocol {
                IpProtocol::TCP => "packet: TCP",
                IpProtocol::UDP => "packet: UDP",
                IpProtocol::SCTP => "packet: SCTP",
                icmp if icmp.is_icmp() => "packet: ICMP",
                _ => "packet: another protocol",
            },
        ]);
        match (from, to) {
            (Some(from), Some(to)) => {
                let together = from.meta.namespace == to.meta.namespace;
                self.0.insert("between pods");
                self.if_so(from.key() == to.key(), "loopback");
                self.if_so(together && from.key() != to.key(), "within a namespace");
                self.if_so(!together, "between namespaces");
            }
            (Some(_), None) => {
                self.0.insert("from a pod to no pod");
                self.if_so(to_node.is_some(), "from a pod to a node");
            }
            (None, Some(to)) => {
                self.0.insert("from no pod to a pod");
                let own = |pod: &Pod| from_node.is_some_and(|n| pod.node.as_ref() == Some(&n.meta.name));
                self.if_so(own(to), "from a pod's own node");
                self.if_so(from_node.is_some() && !own(to), "from another node");
            }
            (None, None) => {}
        }
        let one_family = |pod: &Pod| pod.ips.len() == 1;
        self.if_so(from.is_some_and(one_family) || to.is_some_and(one_family), "pod of one family");
    }

    /// What stands beside the ends of the flow, and might be taken for one.
    pub(super) fn objects(&mut self, cluster: &Cluster) {
        self.if_so(cluster.pods.iter().any(|p| p.host_network), "pod in its node's network");
        self.if_so(cluster.pods.iter().any(|p| p.phase.is_finished()), "pod that has ended");
        self.if_so(cluster.pods.iter().any(|p| p.phase == Phase::Pending), "pod that has not started");
        let defined = |name: &str| cluster.namespaces.iter().any(|n| **n.name() == *name);
        let implied = cluster.pods.iter().any(|p| !defined(&p.meta.namespace));
        self.if_so(implied, "namespace that nobody defined");
    }

    pub(super) fn policy(&mut self, policy: &NetworkPolicy, direction: Direction, rules: &[PeerRule]) {
        self.0.insert(match (&policy.ingress, &policy.egress) {
            (Some(_), None) => "policy: ingress alone",
            (None, _) => "policy: egress alone",
            (Some(_), Some(_)) => "policy: both directions",
        });
        let everything = policy.pod_selector.is_everything();
        self.0.insert(if everything { "policy for all pods" } else { "policy for some pods" });
        self.selector(&policy.pod_selector);
        let none = if direction == Direction::Ingress { "ingress without rules" } else { "egress without rules" };
        self.if_so(rules.is_empty(), none);
        self.if_so(rules.len() > 1, "several rules");
        for rule in rules {
            self.rule(rule, direction);
        }
    }

    fn rule(&mut self, rule: &PeerRule, direction: Direction) {
        self.if_so(rule.peers.is_empty() && rule.ports.is_empty(), "rule for everything");
        self.if_so(rule.peers.is_empty(), "rule without peers");
        self.if_so(rule.ports.is_empty(), "rule without ports");
        self.if_so(rule.peers.len() > 1, "rule with several peers");
        self.if_so(rule.ports.len() > 1, "rule with several ports");
        for peer in &rule.peers {
            self.peer(peer);
        }
        for port in &rule.ports {
            self.0.insert(match port.protocol {
                Protocol::Tcp => "ports: TCP",
                Protocol::Udp => "ports: UDP",
                Protocol::Sctp => "ports: SCTP",
            });
            self.0.insert(match (&port.port, direction) {
                (PortSpec::All, _) => "ports: all of a protocol",
                (PortSpec::Range(first, last), _) if first == last => "ports: one",
                (PortSpec::Range(..), _) => "ports: a range",
                (PortSpec::Named(_), Direction::Ingress) => "ports: by name, ingress",
                (PortSpec::Named(_), Direction::Egress) => "ports: by name, egress",
            });
        }
    }

    fn peer(&mut self, peer: &PolicyPeer) {
        match peer {
            PolicyPeer::PodsHere(pods) => {
                self.0.insert(if pods.is_everything() { "peer: all pods here" } else { "peer: pods here" });
                self.selector(pods);
            }
            PolicyPeer::Pods { namespaces, pods } => {
                self.0.insert(if pods.is_some() { "peer: pods of namespaces" } else { "peer: namespaces" });
                self.selector(namespaces);
                pods.iter().for_each(|pods| self.selector(pods));
            }
            PolicyPeer::IpBlock(block) => {
                let v4 = block.family() == Family::V4;
                self.0.insert(if v4 { "peer: IPv4 block" } else { "peer: IPv6 block" });
                self.if_so(!block.except().is_empty(), "peer: block with exceptions");
                self.if_so(block.cidr().prefix_len() == 0, "peer: all addresses of a family");
                self.if_so(block.cidr().prefix_len() == block.cidr().max_prefix_len(), "peer: one address");
            }
        }
    }

    fn selector(&mut self, selector: &LabelSelector) {
        self.if_so(selector.requirements().len() > 1, "several requirements");
        for requirement in selector.requirements() {
            self.0.insert(match requirement.operator {
                Operator::In if requirement.values.len() > 1 => "operator In, several values",
                Operator::In => "operator In, one value",
                Operator::NotIn => "operator NotIn",
                Operator::Exists => "operator Exists",
                Operator::DoesNotExist => "operator DoesNotExist",
            });
        }
    }
}
