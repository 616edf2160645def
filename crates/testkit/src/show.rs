//! Clusters as text: what a failing test needs, close to how one would write it.

use std::fmt;

use tortie_model::calico::{Entity, Policy, Rule};
use tortie_model::{
    ClusterPeer, ClusterPolicy, ClusterPort, ClusterRule, IpProtocol, Labels, PeerRule, PolicyPeer, PortSpec,
};

use crate::cluster::Cluster;

impl fmt::Display for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for ns in &self.namespaces {
            writeln!(f, "namespace {} {}", ns.name(), Pairs(ns.labels()))?;
            for (name, labels) in &**ns.accounts() {
                writeln!(f, "  service account {name} {}", Pairs(labels))?;
            }
        }
        for node in &self.nodes {
            writeln!(f, "node {} {} {:?}", node.meta.name, Pairs(&node.meta.labels), node.addresses)?;
        }
        for pod in &self.pods {
            write!(f, "pod {} uid {} on {}", pod.key(), pod.meta.uid, pod.node.as_deref().unwrap_or("-"))?;
            write!(f, " {} {:?} {:?} as {}", Pairs(&pod.meta.labels), pod.ips, pod.phase, pod.service_account)?;
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
        for set in &self.network_sets {
            writeln!(f, "set {}/{} {} {:?}", set.meta.namespace, set.meta.name, Pairs(&set.meta.labels), set.nets)?;
        }
        for host in &self.host_endpoints {
            writeln!(f, "host endpoint {} {} {:?}", host.meta.name, Pairs(&host.meta.labels), host.addresses)?;
        }
        for slice in &self.endpoint_slices {
            write!(f, "slice {}/{} of {:?}:", slice.meta.namespace, slice.meta.name, slice.service)?;
            let addresses: Vec<_> = slice.endpoints.iter().flat_map(|e| &e.addresses).collect();
            let ports: Vec<_> = slice.ports.iter().map(|p| (p.protocol, p.port)).collect();
            writeln!(f, " {addresses:?} {ports:?}")?;
        }
        for tier in &self.calico_tiers {
            let end = if tier.passes { "Pass" } else { "Deny" };
            writeln!(f, "calico tier {} order {:?} end {end}", tier.meta.name, tier.order.get())?;
        }
        for policy in &self.calico {
            show_calico(f, policy)?;
        }
        for policy in &self.cluster_policies {
            show_cluster_policy(f, policy)?;
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

fn show_calico(f: &mut fmt::Formatter<'_>, policy: &Policy) -> fmt::Result {
    let kind = if policy.meta.namespace.is_empty() { "GlobalNetworkPolicy" } else { "calico NetworkPolicy" };
    write!(f, "{kind} {}/{}: {}", policy.meta.namespace, policy.meta.name, policy.selector)?;
    policy.namespaces.iter().try_for_each(|s| write!(f, " namespaces {s}"))?;
    policy.service_accounts.iter().try_for_each(|s| write!(f, " service accounts {s}"))?;
    writeln!(f, " tier {} order {:?} {:?}", policy.tier, policy.order.get(), policy.class)?;
    for (name, rules) in [("ingress", &policy.ingress), ("egress", &policy.egress)] {
        let Some(rules) = rules else { continue };
        writeln!(f, "  {name}:{}", if rules.is_empty() { " []" } else { "" })?;
        rules.iter().try_for_each(|rule| show_calico_rule(f, rule))?;
    }
    Ok(())
}

fn show_calico_rule(f: &mut fmt::Formatter<'_>, rule: &Rule) -> fmt::Result {
    write!(f, "  - {:?}", rule.action)?;
    rule.family.iter().try_for_each(|family| write!(f, " {family}"))?;
    rule.protocol.iter().try_for_each(|p| write!(f, " {p}"))?;
    rule.not_protocol.iter().try_for_each(|p| write!(f, " not {p}"))?;
    rule.icmp.iter().try_for_each(|i| write!(f, " type {:?} code {:?}", i.kind, i.code))?;
    rule.not_icmp.iter().try_for_each(|i| write!(f, " not (type {:?} code {:?})", i.kind, i.code))?;
    writeln!(f, "{}{}", End("from", &rule.source), End("to", &rule.destination))
}

/// One end of Calico's rules, when anything is said of it.
struct End<'a>(&'static str, &'a Entity);

impl fmt::Display for End<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(word, entity) = self;
        if **entity == Entity::default() {
            return Ok(());
        }
        write!(f, " {word} [")?;
        let mut first = true;
        let mut item = |text: String| {
            let comma = if std::mem::take(&mut first) { "" } else { "; " };
            write!(f, "{comma}{text}")
        };
        entity.selector.iter().try_for_each(|s| item(s.to_string()))?;
        entity.not_selector.iter().try_for_each(|s| item(format!("not {s}")))?;
        entity.namespaces.iter().try_for_each(|s| item(format!("namespaces {s}")))?;
        entity.service_accounts.iter().try_for_each(|a| {
            let selector = a.selector.as_ref().map(ToString::to_string);
            item(format!("service accounts {:?} {selector:?}", a.names))
        })?;
        entity
            .service
            .iter()
            .try_for_each(|s| item(format!("service {}/{}", s.namespace.as_deref().unwrap_or("(here)"), s.name)))?;
        for (word, nets) in [("nets", &entity.nets), ("notNets", &entity.not_nets)] {
            if !nets.is_empty() {
                item(format!("{word} {nets:?}"))?;
            }
        }
        for (word, ports) in [("ports", &entity.ports), ("notPorts", &entity.not_ports)] {
            if !ports.is_empty() {
                item(format!("{word} {ports:?}"))?;
            }
        }
        f.write_str("]")
    }
}

fn show_cluster_policy(f: &mut fmt::Formatter<'_>, policy: &ClusterPolicy) -> fmt::Result {
    write!(f, "{} {}: {:?}", policy.kind, policy.meta.name, policy.tier)?;
    writeln!(f, " priority {:?} for {}", policy.priority, Who(&policy.subject))?;
    for (name, rules) in [("ingress", &policy.ingress), ("egress", &policy.egress)] {
        if !rules.is_empty() {
            writeln!(f, "  {name}:")?;
        }
        rules.iter().try_for_each(|rule| show_cluster_rule(f, rule))?;
    }
    Ok(())
}

fn show_cluster_rule(f: &mut fmt::Formatter<'_>, rule: &ClusterRule) -> fmt::Result {
    write!(f, "  - {:?} peers [", rule.action)?;
    for (i, peer) in rule.peers.iter().enumerate() {
        write!(f, "{}{}", if i == 0 { "" } else { "; " }, Who(peer))?;
    }
    f.write_str("]")?;
    for port in rule.ports.iter().flatten() {
        match port {
            ClusterPort::Range(protocol, first, last) => {
                write!(f, " {first}-{last}/{}", IpProtocol::from(*protocol))?;
            }
            ClusterPort::Named(name) => write!(f, " {name}")?,
            ClusterPort::Unknown => f.write_str(" (unknown port)")?,
        }
    }
    writeln!(f)
}

/// A peer of a cluster policy.
struct Who<'a>(&'a ClusterPeer);

impl fmt::Display for Who<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            ClusterPeer::Namespaces(namespaces) => write!(f, "namespaces {namespaces}"),
            ClusterPeer::Pods { namespaces, pods } => write!(f, "namespaces {namespaces} pods {pods}"),
            ClusterPeer::Networks(nets) => write!(f, "networks {nets:?}"),
            ClusterPeer::Nodes(nodes) => write!(f, "nodes {nodes}"),
            ClusterPeer::DomainNames(names) => write!(f, "names {names:?}"),
            ClusterPeer::Unknown => f.write_str("(unknown)"),
        }
    }
}
