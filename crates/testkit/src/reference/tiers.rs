//! Tiers: the order in which the policies of all three APIs are asked, and how they pass a packet on.

use std::cmp::Ordering;
use std::sync::Arc;

use tortie_model::{ClusterAction, ClusterTier, Direction, Kind, ObjectRef, Pod, calico as api};

use super::{calico, clusterpolicy, networkpolicy, peer_of, pod_at};
use crate::cluster::{Cluster, Flow};

/// A rule: which item of the `ingress` or `egress` of a policy, from 0.
pub type RuleName = (ObjectRef, usize);

/// What decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum By {
    /// A rule.
    Rule(RuleName),
    /// The end of a tier.
    EndOfTier(Arc<str>),
    /// Nothing: the profile of the namespace, which allows.
    Profile,
}

/// What one end decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Whether the packet passes.
    pub allowed: bool,
    /// By what.
    pub by: By,
    /// Rules that noted it or passed it on before, in order.
    pub passed: Vec<RuleName>,
}

/// A policy that governs the end, with what its rules do to the packet: `None` for those that do not match.
struct Governing {
    object: ObjectRef,
    tier: Arc<str>,
    order: Option<f64>,
    actions: Vec<Option<api::Action>>,
}

/// Asks the tiers of a pod in order.
pub(super) fn walk(cluster: &Cluster, pod: &Pod, direction: Direction, flow: Flow) -> Decision {
    let mut governing = governing(cluster, pod, direction, flow);
    governing.sort_by(|a, b| {
        compare(tier_key(cluster, &a.tier), tier_key(cluster, &b.tier))
            .then_with(|| a.tier.cmp(&b.tier))
            .then_with(|| compare((false, a.order), (false, b.order)))
            .then_with(|| joined(&a.object).cmp(&joined(&b.object)))
    });
    let mut passed = Vec::new();
    for tier in governing.chunk_by(|a, b| a.tier == b.tier) {
        let mut passed_on = false;
        'tier: for policy in tier {
            for (i, action) in policy.actions.iter().enumerate() {
                let rule = || (policy.object.clone(), i);
                match action {
                    None => {}
                    Some(api::Action::Log) => passed.push(rule()),
                    Some(api::Action::Pass) => {
                        passed.push(rule());
                        passed_on = true;
                        break 'tier;
                    }
                    Some(api::Action::Allow) => return Decision { allowed: true, by: By::Rule(rule()), passed },
                    Some(api::Action::Deny) => return Decision { allowed: false, by: By::Rule(rule()), passed },
                }
            }
        }
        let name = &tier[0].tier;
        if !passed_on && !passes_at_its_end(cluster, name) {
            return Decision { allowed: false, by: By::EndOfTier(name.clone()), passed };
        }
    }
    Decision { allowed: true, by: By::Profile, passed }
}

fn governing(cluster: &Cluster, pod: &Pod, direction: Direction, flow: Flow) -> Vec<Governing> {
    let mut out = Vec::new();
    for (policy, rules) in networkpolicy::governing(cluster, pod, direction) {
        let (peer, to) = (peer_of(flow, direction), pod_at(cluster, flow.to));
        let matches = rules.iter().map(|rule| {
            networkpolicy::peer_matches(cluster, policy, rule, pod_at(cluster, peer), peer)
                && networkpolicy::port_matches(rule, to, flow.traffic)
        });
        out.push(Governing {
            object: ObjectRef::namespaced(Kind::NetworkPolicy, &policy.meta.namespace, &policy.meta.name),
            tier: "default".into(),
            order: Some(1000.0),
            actions: matches.map(|matches| matches.then_some(api::Action::Allow)).collect(),
        });
    }
    for policy in &cluster.calico {
        let Some(rules) = calico::governs(cluster, policy, pod, direction) else { continue };
        let matches = rules.iter().map(|rule| (calico::matches(cluster, policy, rule, direction, flow), rule.action));
        let (namespace, name) = (&policy.meta.namespace, &policy.meta.name);
        out.push(Governing {
            object: if namespace.is_empty() {
                ObjectRef::cluster(Kind::GlobalNetworkPolicy, name)
            } else {
                ObjectRef::namespaced(Kind::CalicoNetworkPolicy, namespace, name)
            },
            tier: policy.tier.clone(),
            order: policy.order.get(),
            actions: matches.map(|(matches, action)| matches.then_some(action)).collect(),
        });
    }
    for policy in &cluster.cluster_policies {
        let Some(rules) = clusterpolicy::governs(cluster, policy, pod, direction) else { continue };
        let actions = rules.iter().map(|rule| clusterpolicy::action(cluster, rule, direction, flow));
        out.push(Governing {
            object: ObjectRef::cluster(policy.kind, &policy.meta.name),
            tier: match policy.tier {
                ClusterTier::Admin => "kube-admin".into(),
                ClusterTier::Baseline => "kube-baseline".into(),
            },
            order: policy.priority.map(f64::from),
            actions: actions
                .map(|action| {
                    action.map(|action| match action {
                        ClusterAction::Accept => api::Action::Allow,
                        ClusterAction::Deny => api::Action::Deny,
                        ClusterAction::Pass => api::Action::Pass,
                    })
                })
                .collect(),
        });
    }
    out
}

/// Tiers that exist, by order; then those that only policies name.
fn tier_key(cluster: &Cluster, name: &str) -> (bool, Option<f64>) {
    if let Some(tier) = cluster.calico_tiers.iter().find(|t| *t.meta.name == *name) {
        return (false, tier.order.get());
    }
    match name {
        "kube-admin" => (false, Some(1e3)),
        "default" => (false, Some(1e6)),
        "kube-baseline" => (false, Some(1e7)),
        _ => (true, None),
    }
}

fn passes_at_its_end(cluster: &Cluster, name: &str) -> bool {
    match cluster.calico_tiers.iter().find(|t| *t.meta.name == *name) {
        Some(tier) => tier.passes,
        None => name == "kube-admin" || name == "kube-baseline",
    }
}

/// What exists first, then by order, none last.
fn compare(a: (bool, Option<f64>), b: (bool, Option<f64>)) -> Ordering {
    a.0.cmp(&b.0).then_with(|| match (a.1, b.1) {
        (Some(a), Some(b)) => a.partial_cmp(&b).expect("an order is a number"),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (None, None) => Ordering::Equal,
    })
}

/// The string by which Calico sorts policies of one order: not field by field.
fn joined(object: &ObjectRef) -> String {
    let kind = match object.kind {
        Kind::NetworkPolicy => "KubernetesNetworkPolicy",
        Kind::CalicoNetworkPolicy => "NetworkPolicy",
        Kind::GlobalNetworkPolicy => "GlobalNetworkPolicy",
        Kind::ClusterNetworkPolicy => "KubernetesClusterNetworkPolicy",
        Kind::AdminNetworkPolicy => "AdminNetworkPolicy",
        Kind::BaselineAdminNetworkPolicy => "BaselineAdminNetworkPolicy",
        other => panic!("{other} is no policy"),
    };
    format!("{}/{}/{kind}", object.name, object.namespace_str())
}
