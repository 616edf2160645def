//! Policies as people write them, and read again.

use std::fmt::Write as _;
use std::sync::Arc;

use tortie_manifest::{Expansion, LoadOptions, Memory, ObjectSet, load};
use tortie_model::{
    Kind, LabelSelector, NetworkPolicy, ObjectRef, Operator, PeerRule, PolicyPeer, PolicyPort, PortSpec, Protocol,
};

use super::Written;
use super::party::Parties;

/// A policy as a document of YAML.
pub(crate) fn written(policy: &NetworkPolicy, parties: &Parties) -> Written {
    let object = ObjectRef::namespaced(Kind::NetworkPolicy, &policy.meta.namespace, &policy.meta.name);
    let mut out = String::new();
    let mut line = |text: &str| out.push_str(&format!("{text}\n"));
    line("apiVersion: networking.k8s.io/v1");
    line("kind: NetworkPolicy");
    line("metadata:");
    line(&format!("  name: {}", scalar(&policy.meta.name)));
    line(&format!("  namespace: {}", scalar(&policy.meta.namespace)));
    line("spec:");
    line(&selector("  podSelector", &policy.pod_selector, "    "));
    line("  policyTypes: [Ingress, Egress]");
    let dns: Vec<&LabelSelector> =
        parties.all.iter().filter(|party| party.is_dns).map(|party| &party.selector).collect();
    for (name, peers, rules) in [("ingress", "from", &policy.ingress), ("egress", "to", &policy.egress)] {
        let rules = rules.as_deref().unwrap_or_default();
        if rules.is_empty() {
            line(&format!("  {name}: []"));
            continue;
        }
        line(&format!("  {name}:"));
        for rule in rules {
            let is_dns = name == "egress" && is_dns(rule, &dns);
            line(&format!("  - {peers}:{}", if is_dns { "    # DNS" } else { "" }));
            rule.peers.iter().for_each(|peer| line(&self::peer(peer)));
            line("    ports:");
            rule.ports.iter().for_each(|port| line(&self::port(port)));
        }
    }
    Written { object, yaml: out }
}

/// Reads policies back as every other command would.
pub(crate) fn read(written: &[Written]) -> Result<Vec<Arc<NetworkPolicy>>, String> {
    let file = |(i, one): (usize, &Written)| (format!("{i}.yaml"), one.yaml.clone());
    let files: Vec<(String, String)> = written.iter().enumerate().map(file).collect();
    let paths: Vec<String> = files.iter().map(|(path, _)| path.clone()).collect();
    if paths.is_empty() {
        return Ok(Vec::new());
    }
    let loaded = load(&Memory::new(files), &paths, &LoadOptions::default());
    if let Some(diagnostic) = loaded.diagnostics.first() {
        return Err(diagnostic.text());
    }
    let objects = ObjectSet::of(loaded.objects.iter().map(|o| &o.object), &Expansion::default());
    if objects.network_policies.len() != written.len() {
        return Err("some are missing".to_owned());
    }
    Ok(objects.network_policies)
}

/// Whether a rule is for looking up names.
fn is_dns(rule: &PeerRule, dns: &[&LabelSelector]) -> bool {
    let to_dns = |peer: &PolicyPeer| match peer {
        PolicyPeer::Pods { pods: Some(pods), .. } | PolicyPeer::PodsHere(pods) => dns.contains(&pods),
        PolicyPeer::Pods { pods: None, .. } | PolicyPeer::IpBlock(_) => false,
    };
    let of_dns = |port: &PolicyPort| port.port == PortSpec::Range(53, 53) && port.protocol != Protocol::Sctp;
    rule.peers.iter().all(to_dns) && rule.ports.iter().all(of_dns)
}

fn peer(peer: &PolicyPeer) -> String {
    match peer {
        PolicyPeer::PodsHere(pods) => selector("    - podSelector", pods, "        "),
        PolicyPeer::Pods { namespaces, pods } => {
            let first = selector("    - namespaceSelector", namespaces, "        ");
            let second = pods.as_ref().map(|pods| selector("      podSelector", pods, "        "));
            [Some(first), second].into_iter().flatten().collect::<Vec<_>>().join("\n")
        }
        PolicyPeer::IpBlock(block) => format!("    - ipBlock: {{cidr: '{}'}}", block.cidr()),
    }
}

fn port(port: &PolicyPort) -> String {
    let protocol = port.protocol;
    match &port.port {
        PortSpec::Range(a, b) if a == b => format!("    - {{protocol: {protocol}, port: {a}}}"),
        PortSpec::Range(a, b) => format!("    - {{protocol: {protocol}, port: {a}, endPort: {b}}}"),
        PortSpec::All => format!("    - {{protocol: {protocol}}}"),
        PortSpec::Named(name) => format!("    - {{protocol: {protocol}, port: {}}}", scalar(name)),
    }
}

/// A selector under a key; short ones on its line.
fn selector(key: &str, selector: &LabelSelector, indent: &str) -> String {
    let labels = |r: &&tortie_model::Requirement| r.operator == Operator::In && r.values.len() == 1;
    let (equal, others): (Vec<_>, Vec<_>) = selector.requirements().iter().partition(labels);
    let pair = |r: &&tortie_model::Requirement| format!("{}: {}", scalar(&r.key), scalar(&r.values[0]));
    let pairs: Vec<String> = equal.iter().map(pair).collect();
    if others.is_empty() {
        return match pairs.len() {
            0 => format!("{key}: {{}}"),
            _ => format!("{key}: {{matchLabels: {{{}}}}}", pairs.join(", ")),
        };
    }
    let mut out = format!("{key}:");
    if !pairs.is_empty() {
        let _ = write!(out, "\n{indent}matchLabels: {{{}}}", pairs.join(", "));
    }
    let _ = write!(out, "\n{indent}matchExpressions:");
    for requirement in others {
        let values: Vec<String> = requirement.values.iter().map(|v| scalar(v)).collect();
        let values = if values.is_empty() { String::new() } else { format!(", values: [{}]", values.join(", ")) };
        let (key, operator) = (scalar(&requirement.key), requirement.operator.as_str());
        let _ = write!(out, "\n{indent}- {{key: {key}, operator: {operator}{values}}}");
    }
    out
}

/// A text that is read as text, whatever it is.
fn scalar(text: &str) -> String {
    let plain = text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_./".contains(c));
    let lower = text.to_ascii_lowercase();
    let means_else = ["true", "false", "null", "yes", "no", "on", "off", "y", "n", "nan", "inf"].contains(&&*lower);
    if plain && !means_else { text.to_owned() } else { format!("'{}'", text.replace('\'', "''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_yaml_would_take_for_something_else_is_quoted() {
        for (text, expected) in
            [("web", "web"), ("1", "'1'"), ("true", "'true'"), ("a.b/c", "a.b/c"), ("", "''"), ("No", "'No'")]
        {
            assert_eq!(scalar(text), expected);
        }
    }
}
