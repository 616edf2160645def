//! How often random cases exercise what.

use std::collections::BTreeMap;
use std::fmt;

use tortie_model::{Family, Operator, PolicyPeer, PortSpec, Protocol};

use crate::cluster::{Cluster, Flow};
use crate::reference::{Halves, pod_at};

/// Counts, out of a number of cases.
#[derive(Clone, Debug, Default)]
pub struct Coverage {
    cases: usize,
    counts: BTreeMap<&'static str, usize>,
}

impl Coverage {
    /// Counts one case.
    pub fn count(&mut self, cluster: &Cluster, flow: Flow, halves: Halves) {
        self.cases += 1;
        let mut features = features(cluster);
        let (from, to) = (pod_at(cluster, flow.from), pod_at(cluster, flow.to));
        let node = |ip| cluster.nodes.iter().any(|n| n.addresses.contains(&ip));
        features.extend([
            if halves.is_allowed() { "allowed" } else { "denied" },
            if Family::of(flow.from) == Family::V4 { "IPv4" } else { "IPv6" },
        ]);
        let mut if_so = |so: bool, name| features.extend(so.then_some(name));
        if_so(!halves.egress, "denied: egress");
        if_so(!halves.ingress, "denied: ingress");
        if_so(from.is_some() && to.is_some(), "between pods");
        if_so(from.is_some() && to.is_none(), "from a pod to no pod");
        if_so(from.is_none() && to.is_some(), "from no pod to a pod");
        if_so(from.zip(to).is_some_and(|(a, b)| a.key() == b.key()), "loopback");
        if_so(node(flow.from) || node(flow.to), "a node");
        if_so(flow.traffic.protocol.is_icmp(), "ICMP");
        if_so(flow.traffic.protocol.0 == 47, "another protocol");
        if_so(flow.traffic.protocol.transport() == Some(Protocol::Sctp), "SCTP");
        features.sort_unstable();
        features.dedup();
        for feature in features {
            *self.counts.entry(feature).or_default() += 1;
        }
    }

    /// Features seen in fewer than `percent` of 100 cases.
    #[must_use]
    pub fn rarer_than(&self, percent: usize) -> Vec<&'static str> {
        let all = FEATURES.iter().chain(self.counts.keys());
        let rare = |f: &&&'static str| self.counts.get(**f).copied().unwrap_or(0) * 100 < percent * self.cases;
        all.filter(rare).copied().collect()
    }

    /// In how many of 100 cases a feature was seen.
    #[must_use]
    pub fn percent(&self, feature: &str) -> usize {
        self.counts.get(feature).copied().unwrap_or(0) * 100 / self.cases.max(1)
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
    "denied: egress",
    "denied: ingress",
    "IPv4",
    "IPv6",
    "ICMP",
    "SCTP",
    "another protocol",
    "between pods",
    "from a pod to no pod",
    "from no pod to a pod",
    "loopback",
    "a node",
    "pod in its node's network",
    "finished pod",
    "namespace that nobody defined",
    "rule without peers",
    "rule without ports",
    "direction without rules",
    "pods here",
    "pods of namespaces",
    "block",
    "block with exceptions",
    "all ports of a protocol",
    "one port",
    "range of ports",
    "named port, ingress",
    "named port, egress",
    "operator In",
    "operator NotIn",
    "operator Exists",
    "operator DoesNotExist",
];

fn features(cluster: &Cluster) -> Vec<&'static str> {
    let mut out = Vec::new();
    out.extend(cluster.pods.iter().any(|p| p.host_network).then_some("pod in its node's network"));
    out.extend(cluster.pods.iter().any(|p| p.phase.is_finished()).then_some("finished pod"));
    let defined = |name: &str| cluster.namespaces.iter().any(|n| **n.name() == *name);
    let implied = cluster.pods.iter().any(|p| !defined(&p.meta.namespace));
    out.extend(implied.then_some("namespace that nobody defined"));
    let mut selectors = Vec::new();
    for policy in &cluster.policies {
        selectors.push(&policy.pod_selector);
        for (named, rules) in [("named port, ingress", &policy.ingress), ("named port, egress", &policy.egress)] {
            let Some(rules) = rules else { continue };
            out.extend(rules.is_empty().then_some("direction without rules"));
            for rule in rules {
                out.extend(rule.peers.is_empty().then_some("rule without peers"));
                out.extend(rule.ports.is_empty().then_some("rule without ports"));
                for peer in &rule.peers {
                    out.push(match peer {
                        PolicyPeer::PodsHere(pods) => {
                            selectors.push(pods);
                            "pods here"
                        }
                        PolicyPeer::Pods { namespaces, pods } => {
                            selectors.extend(pods.iter().chain([namespaces]));
                            "pods of namespaces"
                        }
                        PolicyPeer::IpBlock(block) if block.except().is_empty() => "block",
                        PolicyPeer::IpBlock(_) => "block with exceptions",
                    });
                }
                for port in &rule.ports {
                    out.push(match port.port {
                        PortSpec::All => "all ports of a protocol",
                        PortSpec::Range(a, b) if a == b => "one port",
                        PortSpec::Range(..) => "range of ports",
                        PortSpec::Named(_) => named,
                    });
                }
            }
        }
    }
    for requirement in selectors.iter().flat_map(|s| s.requirements()) {
        out.push(match requirement.operator {
            Operator::In => "operator In",
            Operator::NotIn => "operator NotIn",
            Operator::Exists => "operator Exists",
            Operator::DoesNotExist => "operator DoesNotExist",
        });
    }
    out
}
