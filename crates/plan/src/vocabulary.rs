//! What the policies of a cluster ask of a pod: the only things by which identities may differ.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use tortie_model::{LabelSelector, Labels, Namespace, Pod, Protocol};
use tortie_policy::{Detail, EndpointSelector, Index, NamedPort, NamespaceMatch, Peers, Ports, Rule, Stack};

use crate::atom::Atoms;
use crate::identity::{Content, PodContent};

/// A function of the cluster's policies. A new policy that asks for what others already ask for changes nothing here,
/// and so renumbers no pod.
#[derive(Debug, Default)]
pub(crate) struct Vocabulary {
    namespace_keys: BTreeSet<Arc<str>>,
    pod_keys: BTreeSet<Arc<str>>,
    /// Port names in egress rules: part of what the destination is.
    egress_names: BTreeSet<(Arc<str>, Protocol)>,
    atoms: Atoms,
}

impl Vocabulary {
    /// The vocabulary of all policies of a cluster.
    pub(crate) fn of(index: &Index) -> Self {
        let mut out = Self::default();
        let mut nets = BTreeSet::new();
        for policy in index.policies() {
            out.add_selector(&policy.subject);
            for rule in policy.ingress.iter().chain(&policy.egress).flatten() {
                if let Peers::OneOf(peers) = &rule.peers {
                    for selector in peers.iter().filter_map(|p| p.endpoints.as_ref()) {
                        out.add_selector(selector);
                    }
                }
                nets.extend(rule_nets(rule));
            }
            for rule in policy.egress.iter().flatten() {
                out.egress_names.extend(port_names(rule));
            }
        }
        out.atoms = Atoms::of(nets);
        out
    }

    fn add_selector(&mut self, selector: &EndpointSelector) {
        if let NamespaceMatch::Matching(namespaces) = &selector.namespaces {
            self.namespace_keys.extend(keys(namespaces));
        }
        self.pod_keys.extend(keys(&selector.pods));
    }

    /// What policies can know of a pod, besides its address.
    pub(crate) fn pod(&self, pod: &Pod, namespace: &Namespace) -> Arc<PodContent> {
        let names = self.egress_names.iter();
        Arc::new(PodContent {
            namespace: pod.meta.namespace.clone(),
            namespace_labels: project(namespace.labels(), &self.namespace_keys),
            pod_labels: project(&pod.meta.labels, &self.pod_keys),
            names: names.filter_map(|(n, p)| Some((n.clone(), *p, pod.named_port(n, *p)?))).collect(),
        })
    }

    /// What policies can know of an address of a pod.
    pub(crate) fn pod_address(&self, pod: &Arc<PodContent>, ip: IpAddr) -> Content {
        Content::Address { pod: Some(pod.clone()), nets: self.atoms.nets(ip) }
    }
}

fn keys(selector: &LabelSelector) -> impl Iterator<Item = Arc<str>> {
    selector.requirements().iter().map(|r| r.key.clone())
}

fn project(labels: &Labels, keys: &BTreeSet<Arc<str>>) -> Vec<(Arc<str>, Arc<str>)> {
    // Both are sorted; pods have few labels, clusters many keys.
    labels.iter().filter_map(|(k, v)| Some((keys.get(k)?.clone(), Arc::from(v)))).collect()
}

/// The blocks and exceptions that a rule names.
fn rule_nets(rule: &Rule) -> impl Iterator<Item = IpNet> {
    let peers = match &rule.peers {
        Peers::Any => &[][..],
        Peers::OneOf(peers) => peers,
    };
    let blocks = peers.iter().filter_map(|p| p.blocks.as_ref()).flatten();
    blocks.flat_map(|b| b.except().iter().copied().chain([b.cidr()]))
}

/// The blocks and exceptions that the rules of a stack name.
pub(crate) fn stack_nets(stack: &Stack) -> impl Iterator<Item = IpNet> {
    stack.rules().flat_map(|(_, rule)| rule_nets(rule))
}

/// The port names that a rule names, with their protocols.
fn port_names(rule: &Rule) -> impl Iterator<Item = (Arc<str>, Protocol)> {
    let ports = match &rule.ports {
        Ports::Any => &[][..],
        Ports::OneOf(ports) => ports,
    };
    ports.iter().filter_map(|p| match &p.detail {
        Detail::Named(name) => Some((name.clone(), p.protocol.transport()?)),
        Detail::All | Detail::Range(..) => None,
    })
}

/// The port names that the rules of a stack name.
pub(crate) fn stack_names(stack: &Stack) -> BTreeSet<(Arc<str>, Protocol)> {
    stack.rules().flat_map(|(_, rule)| port_names(rule)).collect()
}

/// What those names stand for on a pod.
pub(crate) fn own_names(names: &BTreeSet<(Arc<str>, Protocol)>, pod: &Pod) -> Vec<NamedPort> {
    names.iter().filter_map(|(n, p)| Some((n.clone(), *p, pod.named_port(n, *p)?))).collect()
}
