//! How often random cases exercise what.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use tortie_model::{
    Direction, Family, IpProtocol, LabelSelector, NetworkPolicy, Operator, PeerRule, Phase, Pod, PolicyPeer, PortSpec,
    Protocol,
};

use crate::cluster::{Cluster, Flow};
use crate::reference::{Halves, governing, node_at, pod_at};

/// Counts, out of a number of cases. What a policy says counts where it is asked: when it governs an end of the flow.
#[derive(Clone, Debug, Default)]
pub struct Coverage {
    cases: usize,
    counts: BTreeMap<&'static str, usize>,
}

impl Coverage {
    /// Counts one case.
    pub fn count(&mut self, cluster: &Cluster, flow: Flow, halves: Halves) {
        self.cases += 1;
        let mut seen = Seen::default();
        seen.flow(cluster, flow);
        seen.verdict(halves);
        seen.objects(cluster);
        let (from, to) = (pod_at(cluster, flow.from), pod_at(cluster, flow.to));
        for (pod, direction) in [(from, Direction::Egress), (to, Direction::Ingress)] {
            let Some(pod) = pod else { continue };
            let policies: Vec<_> = governing(cluster, pod, direction).collect();
            seen.if_so(policies.is_empty(), "end that no policy governs");
            seen.if_so(policies.len() > 1, "end that several policies govern");
            for (policy, rules) in policies {
                seen.policy(policy, direction, rules);
            }
        }
        for feature in seen.0 {
            *self.counts.entry(feature).or_default() += 1;
        }
    }

    /// Features seen in fewer than `percent` of 100 cases.
    #[must_use]
    pub fn rarer_than(&self, percent: usize) -> Vec<&'static str> {
        let all: BTreeSet<_> = FEATURES.iter().chain(self.counts.keys()).copied().collect();
        let rare = |f: &&'static str| self.counts.get(*f).copied().unwrap_or(0) * 100 < percent * self.cases;
        all.into_iter().filter(rare).collect()
    }

    /// Prints what was seen, and holds that no feature is rarer than 1 in 100 cases, and no verdict than 20.
    ///
    /// # Panics
    /// When one is.
    pub fn print_and_hold(&self) {
        println!("{self}");
        assert_eq!(self.rarer_than(1), Vec::<&str>::new(), "random cases leave something out:\n{self}");
        for verdict in ["allowed", "denied"] {
            let n = self.counts.get(verdict).copied().unwrap_or(0);
            assert!(n * 100 >= 20 * self.cases, "too few {verdict}:\n{self}");
        }
    }
}

impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} cases", self.cases)?;
        for (feature, n) in &self.counts {
            writeln!(f, "{:>6.1} %  {feature}", *n as f64 * 100.0 / self.cases as f64)?;
        }
        Ok(())
    }
}

/// What every run must have seen.
const FEATURES: &[&str] = &[
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

#[derive(Default)]
struct Seen(BTreeSet<&'static str>);

impl Seen {
    fn if_so(&mut self, so: bool, feature: &'static str) {
        self.0.extend(so.then_some(feature));
    }

    fn verdict(&mut self, halves: Halves) {
        self.0.insert(if halves.is_allowed() { "allowed" } else { "denied" });
        self.if_so(!halves.egress, "denied by egress");
        self.if_so(!halves.ingress, "denied by ingress");
    }

    fn flow(&mut self, cluster: &Cluster, flow: Flow) {
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
    fn objects(&mut self, cluster: &Cluster) {
        self.if_so(cluster.pods.iter().any(|p| p.host_network), "pod in its node's network");
        self.if_so(cluster.pods.iter().any(|p| p.phase.is_finished()), "pod that has ended");
        self.if_so(cluster.pods.iter().any(|p| p.phase == Phase::Pending), "pod that has not started");
        let defined = |name: &str| cluster.namespaces.iter().any(|n| **n.name() == *name);
        let implied = cluster.pods.iter().any(|p| !defined(&p.meta.namespace));
        self.if_so(implied, "namespace that nobody defined");
    }

    fn policy(&mut self, policy: &NetworkPolicy, direction: Direction, rules: &[PeerRule]) {
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
