//! Policies as people write them, and read again.

use tortie_analysis::deltas;
use tortie_manifest::write::{self, Notes};
use tortie_manifest::{Expansion, LoadOptions, Memory, ObjectSet, load};
use tortie_model::{
    Kind, LabelSelector, NetworkPolicy, ObjectRef, PeerRule, PolicyPeer, PolicyPort, PortSpec, Protocol,
};
use tortie_policy::Policy;

use super::party::{Parties, Party};
use super::{Written, policy};

/// A policy as a document of YAML; rules for looking up names are called so.
pub(crate) fn written(policy: &NetworkPolicy, parties: &Parties) -> Written {
    let object = ObjectRef::namespaced(Kind::NetworkPolicy, &policy.meta.namespace, &policy.meta.name);
    let dns: Vec<&Party> = parties.all.iter().filter(|party| party.is_dns).collect();
    let rules = policy.egress.iter().flatten();
    let egress = rules.map(|rule| is_dns(rule, &policy.meta.namespace, &dns).then(|| "DNS".to_owned())).collect();
    Written { object, yaml: write::network_policy(policy, &Notes { egress, ..Notes::default() }) }
}

/// Reads policies back as every other command would.
pub(crate) fn read(written: &[Written]) -> Result<Vec<Policy>, String> {
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
    let policies: Vec<Policy> = deltas::policies(&objects).collect();
    if policies.len() == written.len() { Ok(policies) } else { Err("some are missing".to_owned()) }
}

/// Whether a rule is for looking up names.
fn is_dns(rule: &PeerRule, namespace: &str, dns: &[&Party]) -> bool {
    let everything = LabelSelector::everything();
    let to_dns = |peer: &PolicyPeer| match peer {
        PolicyPeer::PodsHere(pods) => dns.iter().any(|dns| *dns.namespace == *namespace && dns.selector == *pods),
        PolicyPeer::Pods { namespaces, pods } => dns.iter().any(|dns| {
            *namespaces == policy::namespace(&dns.namespace) && dns.selector == *pods.as_ref().unwrap_or(&everything)
        }),
        PolicyPeer::IpBlock(_) => false,
    };
    let of_dns = |port: &PolicyPort| port.port == PortSpec::Range(53, 53) && port.protocol != Protocol::Sctp;
    rule.peers.iter().all(to_dns) && rule.ports.iter().all(of_dns)
}
