//! A cluster as lists of objects.

use std::fmt;
use std::net::IpAddr;

use tortie_model::{Labels, Namespace, NetworkPolicy, Node, PeerRule, Pod, PolicyPeer, PortSpec, Traffic};
use tortie_policy::{Delta, Index, PodKey, Policy, Tier, network_policy};

/// A cluster as lists of objects. Shown, it is what a failing test needs, close to how one would write it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Cluster {
    /// Namespaces.
    pub namespaces: Vec<Namespace>,
    /// Nodes.
    pub nodes: Vec<Node>,
    /// Pods; no two that run share an address.
    pub pods: Vec<Pod>,
    /// NetworkPolicies.
    pub policies: Vec<NetworkPolicy>,
    /// Tiers, besides `default`.
    pub tiers: Vec<Tier>,
    /// Policies in the engine's own form, with tiers and every action. The reference knows nothing of them.
    pub tiered: Vec<Policy>,
}

impl Cluster {
    /// The changes that make the cluster from nothing.
    #[must_use]
    pub fn deltas(&self) -> Vec<Delta> {
        let mut out = Vec::new();
        out.extend(self.namespaces.iter().cloned().map(Delta::Namespace));
        out.extend(self.nodes.iter().cloned().map(Delta::Node));
        out.extend(self.pods.iter().cloned().map(|p| Delta::Pod(Box::new(p))));
        out.extend(self.tiers.iter().cloned().map(Delta::Tier));
        out.extend(self.policies.iter().map(|p| Delta::Policy(Box::new(network_policy(p)))));
        out.extend(self.tiered.iter().cloned().map(|p| Delta::Policy(Box::new(p))));
        out
    }

    /// The changes that make another cluster of this one, with every order allowed.
    #[must_use]
    pub fn deltas_to(&self, next: &Self) -> Vec<Delta> {
        let mut out = Vec::new();
        let gone = |name: &Namespace| !next.namespaces.iter().any(|n| n.name() == name.name());
        out.extend(self.namespaces.iter().filter(|n| gone(n)).map(|n| Delta::NamespaceRemoved(n.name().clone())));
        let gone = |node: &Node| !next.nodes.iter().any(|n| n.meta.name == node.meta.name);
        out.extend(self.nodes.iter().filter(|n| gone(n)).map(|n| Delta::NodeRemoved(n.meta.name.clone())));
        let gone = |pod: &Pod| !next.pods.iter().any(|p| PodKey::of(p) == PodKey::of(pod));
        let removed = |p: &Pod| Delta::PodRemoved { key: PodKey::of(p), uid: p.meta.uid.clone() };
        out.extend(self.pods.iter().filter(|p| gone(p)).map(removed));
        let gone = |tier: &Tier| !next.tiers.iter().any(|t| t.name == tier.name);
        out.extend(self.tiers.iter().filter(|t| gone(t)).map(|t| Delta::TierRemoved(t.name.clone())));
        let (old, new) = (self.deltas(), next.deltas());
        let object = |delta: &Delta| match delta {
            Delta::Policy(policy) => Some(policy.object.clone()),
            _ => None,
        };
        let stays = |delta: &Delta| new.iter().any(|n| object(n) == object(delta));
        out.extend(old.iter().filter(|d| !stays(d)).filter_map(object).map(Delta::PolicyRemoved));
        out.extend(new.into_iter().filter(|delta| !old.contains(delta)));
        out
    }

    /// The engine's index of the cluster.
    #[must_use]
    pub fn index(&self) -> Index {
        Index::of(self.deltas())
    }
}

/// A packet that would open a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flow {
    /// Source.
    pub from: IpAddr,
    /// Destination, of the same family.
    pub to: IpAddr,
    /// Protocol and port.
    pub traffic: Traffic,
}

impl fmt::Display for Flow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} -> {} {}", self.from, self.to, self.traffic)
    }
}

impl fmt::Display for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for ns in &self.namespaces {
            writeln!(f, "namespace {} {}", ns.name(), Pairs(ns.labels()))?;
        }
        for node in &self.nodes {
            writeln!(f, "node {} {:?}", node.meta.name, node.addresses)?;
        }
        for pod in &self.pods {
            write!(f, "pod {} uid {} on {}", pod.key(), pod.meta.uid, pod.node.as_deref().unwrap_or("-"))?;
            write!(f, " {} {:?} {:?}", Pairs(&pod.meta.labels), pod.ips, pod.phase)?;
            for port in &pod.ports {
                write!(f, " {}={}/{}", port.name.as_deref().unwrap_or("-"), port.number, port.protocol)?;
            }
            writeln!(f, "{}", if pod.host_network { " hostNetwork" } else { "" })?;
        }
        for policy in &self.policies {
            writeln!(f, "NetworkPolicy {}/{}: {}", policy.meta.namespace, policy.meta.name, policy.pod_selector)?;
            for (name, rules) in [("ingress", &policy.ingress), ("egress", &policy.egress)] {
                let Some(rules) = rules else { continue };
                writeln!(f, "  {name}:{}", if rules.is_empty() { " []" } else { "" })?;
                for rule in rules {
                    writeln!(f, "  - {}", Shown(rule))?;
                }
            }
        }
        for tier in &self.tiers {
            writeln!(f, "tier {} order {:?} end {:?}", tier.name, tier.order.get(), tier.end)?;
        }
        for policy in &self.tiered {
            writeln!(f, "policy {policy:?}")?;
        }
        Ok(())
    }
}

struct Pairs<'a>(&'a Labels);

impl fmt::Display for Pairs<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.0.iter()).finish()
    }
}

struct Shown<'a>(&'a PeerRule);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("peers [")?;
        for (i, peer) in self.0.peers.iter().enumerate() {
            f.write_str(if i == 0 { "" } else { "; " })?;
            match peer {
                PolicyPeer::PodsHere(pods) => write!(f, "pods {pods}")?,
                PolicyPeer::Pods { namespaces, pods } => {
                    write!(f, "namespaces {namespaces}")?;
                    if let Some(pods) = pods {
                        write!(f, " pods {pods}")?;
                    }
                }
                PolicyPeer::IpBlock(block) => write!(f, "block {block}")?,
            }
        }
        f.write_str("] ports [")?;
        for (i, port) in self.0.ports.iter().enumerate() {
            f.write_str(if i == 0 { "" } else { "; " })?;
            match &port.port {
                PortSpec::All => write!(f, "{}", port.protocol)?,
                PortSpec::Range(from, to) => write!(f, "{from}-{to}/{}", port.protocol)?,
                PortSpec::Named(name) => write!(f, "{name}/{}", port.protocol)?,
            }
        }
        f.write_str("]")
    }
}
