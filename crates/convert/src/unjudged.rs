//! What the engine does not judge, so that no proof can be about it: names that stand for addresses, what a later version
//! of an API may say, and what a proxy is asked.

use tortie_manifest::ObjectSet;
use tortie_model::{ClusterPeer, Direction, Object, ObjectRef};
use tortie_policy::RuleRef;

/// A policy that says something of which the engine knows nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{policy}: {why}", .rule.as_ref().map(|rule| format!("{}[{}] of ", rule.direction, rule.index)).unwrap_or_default())]
pub struct Unjudged {
    /// The policy.
    pub policy: ObjectRef,
    /// The rule that says it; none where the policy says it of whom it is for.
    pub rule: Option<RuleRef>,
    /// What it is, and why it cannot be converted.
    pub why: &'static str,
}

/// Nothing is known of such a peer.
const STRANGE: &str =
    "a peer that is no pod, namespace, network or node cannot be converted: nothing is known of it here";
/// Calico's rules for HTTP.
const HTTP: &str = "`http` of a rule is for a proxy to judge, and no other API asks one";

/// All of them among the policies of some objects.
pub(crate) fn unjudged(objects: &ObjectSet) -> Vec<Unjudged> {
    let is_strange = |peer: &ClusterPeer| matches!(peer, ClusterPeer::DomainNames(_) | ClusterPeer::Unknown);
    let mut out = Vec::new();
    for policy in &objects.cluster_policies {
        let reference = Object::ClusterPolicy(policy.clone()).reference();
        if is_strange(&policy.subject) {
            out.push(Unjudged { policy: reference.clone(), rule: None, why: STRANGE });
        }
        let both = [(Direction::Ingress, &policy.ingress), (Direction::Egress, &policy.egress)];
        for (direction, rules) in both {
            let strange = rules.iter().map(|rule| rule.peers.iter().any(is_strange));
            out.extend(of_rules(&reference, direction, strange, STRANGE));
        }
    }
    for policy in &objects.calico_policies {
        let reference = Object::CalicoPolicy(policy.clone()).reference();
        let both = [(Direction::Ingress, &policy.ingress), (Direction::Egress, &policy.egress)];
        for (direction, rules) in both {
            let asks_proxy = rules.iter().flatten().map(|rule| rule.http);
            out.extend(of_rules(&reference, direction, asks_proxy, HTTP));
        }
    }
    out
}

fn of_rules(
    policy: &ObjectRef,
    direction: Direction,
    rules: impl Iterator<Item = bool>,
    why: &'static str,
) -> impl Iterator<Item = Unjudged> {
    rules.enumerate().filter(|(_, is_unjudged)| *is_unjudged).map(move |(index, _)| Unjudged {
        policy: policy.clone(),
        rule: Some(RuleRef { policy: policy.clone(), direction, index }),
        why,
    })
}
