//! Pods that are not in the cluster, and that policies would tell apart.
//!
//! For every alternative of every selector of some policies a pod that it selects: in each namespace, and in one that
//! its namespaces ask for. A cluster without pods is proven by these alone.

use std::collections::BTreeSet;
use std::sync::Arc;

use tortie_model::{ContainerPort, Labels, Meta, Namespace, Operator, Phase, Pod, Protocol, Requirement};
use tortie_policy::{Delta, Detail, EndpointSelector, Index, Policy, Rule};

use crate::terms;

/// Most of them, and most namespaces for them.
const MOST: usize = 200;
const MOST_NAMESPACES: usize = 6;
/// How their names begin.
const NAME: &str = "any-pod";
const NAMESPACE: &str = "any-namespace";

/// What makes them. Namespaces that are not there are left out when the new policies are for those that are.
pub(crate) fn deltas<'p>(
    index: &Index,
    policies: impl Iterator<Item = &'p Policy> + Clone,
    new_namespaces: bool,
) -> Vec<Delta> {
    let selectors: BTreeSet<&EndpointSelector> = policies.clone().flat_map(selectors).collect();
    let terms: Vec<_> = selectors.into_iter().filter_map(|s| terms::of(s).ok()).flatten().collect();
    let mut of_pods: BTreeSet<Labels> = [Labels::default()].into();
    let mut of_namespaces: BTreeSet<Labels> = [Labels::default()].into();
    for term in &terms {
        of_pods.extend(examples(&term.pods));
        if !term.namespaces.iter().any(|r| &*r.key == terms::METADATA_NAME) {
            of_namespaces.extend(examples(&term.namespaces));
        }
    }
    let mut namespaces: Vec<Namespace> = index.namespaces().map(|ns| (**ns).clone()).collect();
    let mut out = Vec::new();
    if new_namespaces {
        let free = |n: &usize| index.namespace(&format!("{NAMESPACE}-{n}")).is_none();
        for (labels, n) in of_namespaces.iter().zip((1..).filter(free)).take(MOST_NAMESPACES) {
            let namespace = Namespace::new(&format!("{NAMESPACE}-{n}"), labels);
            out.push(Delta::Namespace(namespace.clone()));
            namespaces.push(namespace);
        }
    }
    let ports = ports(policies);
    let pods = of_pods.iter().enumerate().flat_map(|(n, labels)| namespaces.iter().map(move |ns| (n, labels, ns)));
    out.extend(pods.take(MOST).map(|(n, labels, namespace)| {
        let meta = Meta {
            namespace: namespace.name().clone(),
            name: format!("{NAME}-{n}").into(),
            labels: labels.clone(),
            uid: "none".into(),
        };
        Delta::Pod(Box::new(Pod {
            meta,
            owner: None,
            node: None,
            host_network: false,
            ips: Vec::new(),
            ports: ports.clone(),
            phase: Phase::Running,
            ready: true,
            service_account: "default".into(),
        }))
    }));
    // A pod of the cluster that has the name is itself.
    let is_free = |delta: &Delta| match delta {
        Delta::Pod(pod) => index.pod(&tortie_policy::PodKey::of(pod)).is_none(),
        _ => true,
    };
    out.retain(is_free);
    out
}

/// Whether a pod is one of them.
pub(crate) fn is_one(pod: &Pod) -> bool {
    pod.meta.name.starts_with(NAME) && &*pod.meta.uid == "none"
}

fn rules(policy: &Policy) -> impl Iterator<Item = &Rule> {
    policy.ingress.iter().chain(&policy.egress).flatten()
}

fn selectors(policy: &Policy) -> impl Iterator<Item = &EndpointSelector> {
    let peers = rules(policy).flat_map(|rule| rule.peers.listed().iter().chain(&rule.own));
    std::iter::once(&policy.subject).chain(peers.flat_map(|p| p.endpoints.iter().chain(&p.not_endpoints)))
}

/// Labels that meet requirements, and for each that asks for something not to be there, labels that fail it.
fn examples(requirements: &[Requirement]) -> Vec<Labels> {
    let mut met = Labels::default();
    for r in requirements {
        match r.operator {
            Operator::In => met = met.with(&r.key, &r.values[0]),
            Operator::Exists if !met.has(&r.key) => met = met.with(&r.key, "any"),
            Operator::Exists | Operator::NotIn | Operator::DoesNotExist => {}
        }
    }
    let failing = requirements.iter().filter_map(|r| match r.operator {
        Operator::NotIn => Some(met.with(&r.key, &r.values[0])),
        Operator::DoesNotExist => Some(met.with(&r.key, "any")),
        Operator::In | Operator::Exists => None,
    });
    failing.chain([met.clone()]).collect()
}

/// A port of each protocol for each name that rules ask for.
fn ports<'p>(policies: impl Iterator<Item = &'p Policy>) -> Vec<ContainerPort> {
    let mut names: BTreeSet<Arc<str>> = BTreeSet::new();
    for rule in policies.flat_map(rules) {
        for port in rule.ports.listed().iter().chain(rule.source_ports.listed()) {
            if let Detail::Named(name) | Detail::EveryNamed(name) = &port.detail {
                names.insert(name.clone());
            }
        }
    }
    let port =
        |((name, protocol), number): ((Arc<str>, Protocol), u16)| ContainerPort { name: Some(name), protocol, number };
    let all = names.into_iter().flat_map(|name| Protocol::ALL.map(|protocol| (name.clone(), protocol)));
    all.zip(20001..).map(port).collect()
}
