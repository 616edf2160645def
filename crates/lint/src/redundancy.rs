//! What could be left out: taken away, and the engine asked again.
//!
//! What is said holds for the pods of the input and for every address outside; where it holds whatever pods there are,
//! it says so.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use tortie_model::{
    Direction, Kind, LabelSelector, NetworkPolicy, ObjectRef, Operator, PeerRule, PolicyPeer, Requirement,
};
use tortie_policy::{Action, By, Outcome, Policy, Position, Regions, Rule, RuleRef, Side, Stack, Verdict};

use crate::finding::Finding;
use crate::fix;
use crate::scene::{Half, Scene, Written, both_names};

pub(crate) fn look(scene: &Scene<'_>, out: &mut Vec<Finding>) {
    duplicates(scene, out);
    same_pods(scene, out);
    for half in scene.halves() {
        peers(scene, &half, out);
        only_itself(scene, &half, out);
    }
    ablation(scene, out);
}

fn sorted(rules: Option<&Vec<PeerRule>>) -> Option<Vec<&PeerRule>> {
    let mut rules: Vec<&PeerRule> = rules?.iter().collect();
    rules.sort_unstable();
    rules.dedup();
    Some(rules)
}

fn same(a: &NetworkPolicy, b: &NetworkPolicy) -> bool {
    a.meta.namespace == b.meta.namespace
        && a.pod_selector == b.pod_selector
        && sorted(a.ingress.as_ref()) == sorted(b.ingress.as_ref())
        && sorted(a.egress.as_ref()) == sorted(b.egress.as_ref())
}

fn duplicates(scene: &Scene<'_>, out: &mut Vec<Finding>) {
    for (i, written) in scene.policies.iter().enumerate() {
        let Some(first) = scene.policies[..i].iter().find(|w| same(w.text, written.text)) else { continue };
        let text = format!("it says the same as {}", first.object);
        let finding = scene.finding("duplicate-policy", &written.object, "", text);
        out.push(finding.label(scene.place(&first.object, ""), "this one").help("remove one of them"));
    }
}

fn same_pods(scene: &Scene<'_>, out: &mut Vec<Finding>) {
    let mut by: BTreeMap<(&str, &LabelSelector), Vec<&Written<'_>>> = BTreeMap::new();
    for written in &scene.policies {
        by.entry((&written.text.meta.namespace, &written.text.pod_selector)).or_default().push(written);
    }
    for group in by.into_values().filter(|g| g.len() > 1) {
        let names = group[1..].iter().map(|w| w.object.to_string()).collect::<Vec<_>>().join(", ");
        let text = format!("{names} select the same pods: one policy could say it all");
        out.push(scene.finding("same-pods", &group[0].object, "/spec/podSelector", text));
    }
}

/// Whether whatever meets `narrow` meets `wide`.
fn implies(narrow: &LabelSelector, wide: &LabelSelector) -> bool {
    let met = |w: &Requirement| {
        narrow.requirements().iter().any(|n| {
            n == w
                || n.key == w.key
                    && match (n.operator, w.operator) {
                        (Operator::In, Operator::In) => n.values.iter().all(|v| w.values.contains(v)),
                        (Operator::In, Operator::Exists) => !n.values.is_empty(),
                        (Operator::In, Operator::NotIn) => n.values.iter().all(|v| !w.values.contains(v)),
                        (Operator::NotIn, Operator::NotIn) => w.values.iter().all(|v| n.values.contains(v)),
                        (Operator::DoesNotExist, Operator::NotIn) => true,
                        _ => false,
                    }
        })
    };
    wide.requirements().iter().all(met)
}

/// Whether every end that one peer means is meant by another of the same policy, whatever pods there are.
fn subsumed(narrow: &PolicyPeer, wide: &PolicyPeer) -> bool {
    let everything = LabelSelector::everything();
    match (narrow, wide) {
        (PolicyPeer::PodsHere(a), PolicyPeer::PodsHere(b)) => implies(a, b),
        (PolicyPeer::PodsHere(a), PolicyPeer::Pods { namespaces, pods }) => {
            namespaces.is_everything() && implies(a, pods.as_ref().unwrap_or(&everything))
        }
        (PolicyPeer::Pods { namespaces: n, pods: a }, PolicyPeer::Pods { namespaces: m, pods: b }) => {
            implies(n, m) && implies(a.as_ref().unwrap_or(&everything), b.as_ref().unwrap_or(&everything))
        }
        _ => false,
    }
}

fn peers(scene: &Scene<'_>, half: &Half<'_, '_>, out: &mut Vec<Finding>) {
    for (r, rule) in half.rules.iter().enumerate() {
        for (p, peer) in rule.peers.iter().enumerate() {
            let wider = |q: &usize| {
                let other = &rule.peers[*q];
                *q != p && subsumed(peer, other) && (*q < p || !subsumed(other, peer))
            };
            let Some(q) = (0..rule.peers.len()).find(wider) else { continue };
            let at = |n: usize| half.peer_pointer(r, n);
            let mut finding = scene.finding("peer-subsumed", half.object(), &at(p), "another peer means these too");
            finding.fix = fix::remove_item(scene, half.object(), &at(p), "remove the peer that adds nothing", false);
            out.push(finding.label(scene.place(half.object(), &at(q)), "this one"));
        }
    }
}

/// Rules whose only peer is the only pod that they are about.
fn only_itself(scene: &Scene<'_>, half: &Half<'_, '_>, out: &mut Vec<Finding>) {
    let [own] = &half.written.pods[..] else { return };
    for (r, rule) in half.rules.iter().enumerate() {
        let pods_only = !rule.peers.is_empty() && !rule.peers.iter().any(|p| matches!(p, PolicyPeer::IpBlock(_)));
        let index = &scene.index;
        let meant = || index.pods().filter(|p| !p.host_network && half.engine[r].peers.matches(&scene.side(p)));
        if pods_only && meant().count() == 1 && meant().all(|p| p.key() == own.key()) {
            let text = format!("only {} is meant, and a pod always reaches itself", own.key());
            out.push(scene.finding("only-itself", half.object(), &half.pointer(r), text));
        }
    }
}

/// One end that stands for all which the same rules match.
struct Alike {
    side: Side,
    matched: Vec<Position>,
}

fn verdicts(stack: &Stack, matched: &[Position], own: &Side, peer: &Side) -> Regions<Verdict> {
    stack.resolve(matched, both_names(stack.direction(), own, peer)).map(|o| o.verdict)
}

/// Takes away each rule, and each policy, of every stack, and asks what becomes of all packets.
fn ablation(scene: &Scene<'_>, out: &mut Vec<Finding>) {
    // A rule or policy that matters to one pod matters.
    let mut rules: BTreeMap<RuleRef, Matters> = BTreeMap::new();
    let mut policies: BTreeMap<ObjectRef, Matters> = BTreeMap::new();
    let ends = scene.ends();
    let mut done: HashMap<(Direction, Vec<usize>, Vec<tortie_model::ContainerPort>), ()> = HashMap::new();
    for pod in &scene.kinds {
        for direction in Direction::BOTH {
            let stack = scene.stack(pod, direction);
            if stack.is_empty() {
                continue;
            }
            let addresses = stack.policies().map(|p| Arc::as_ptr(p).addr()).collect();
            let ports = if direction == Direction::Ingress { pod.ports.clone() } else { Vec::new() };
            if done.insert((direction, addresses, ports), ()).is_some() {
                continue;
            }
            let own = scene.side(pod);
            one_stack(scene, &stack, &own, &ends, &mut rules, &mut policies);
        }
    }
    tell(scene, rules, policies, out);
}

/// Whether something was seen to match, and to matter.
#[derive(Default)]
struct Matters {
    matched: bool,
    /// Whether a packet got so far, and it decided or passed it on.
    reached: bool,
    matters: bool,
}

fn one_stack(
    scene: &Scene<'_>,
    stack: &Stack,
    own: &Side,
    ends: &[Side],
    rules: &mut BTreeMap<RuleRef, Matters>,
    policies: &mut BTreeMap<ObjectRef, Matters>,
) {
    let direction = stack.direction();
    // Peers that the same rules match are the same peer, but for the ports that their names stand for.
    let mut groups: HashMap<(Vec<Position>, Vec<tortie_model::ContainerPort>), Side> = HashMap::new();
    let from_named = stack.rules().any(|(_, rule)| rule.asks_source_port());
    for end in ends {
        let ports = match end.pod() {
            Some(pod) if direction == Direction::Egress || from_named => pod.ports.clone(),
            _ => Vec::new(),
        };
        groups.entry((stack.matched(end), ports)).or_insert_with(|| end.clone());
    }
    let groups: Vec<Alike> = groups.into_iter().map(|((matched, _), side)| Alike { side, matched }).collect();
    let owners: Vec<(Position, RuleRef)> =
        stack.rules().filter_map(|(position, _)| Some((position, stack.rule_ref(position)?))).collect();
    let all = &scene.index;
    let others: Vec<(ObjectRef, Stack)> = stack
        .policies()
        .map(|p: &Arc<Policy>| {
            let rest: Vec<&Arc<Policy>> = stack.policies().filter(|o| !Arc::ptr_eq(o, p)).collect();
            (p.object.clone(), all.stack_of(own.pod().map(|p| &**p), direction, rest))
        })
        .collect();
    for group in &groups {
        let whole = verdicts(stack, &group.matched, own, &group.side);
        let outcomes = stack.resolve(&group.matched, both_names(direction, own, &group.side));
        let decided = |o: &Outcome| if let By::Rule(position) = o.by { Some(position) } else { None };
        let deciding: Vec<Position> =
            outcomes.iter().flat_map(|(_, o)| o.passed.iter().copied().chain(decided(o))).collect();
        for (position, name) in &owners {
            if !group.matched.contains(position) {
                continue;
            }
            let seen = rules.entry(name.clone()).or_default();
            seen.matched = true;
            if seen.matters || !deciding.contains(position) {
                continue;
            }
            seen.reached = true;
            // What is logged is the use of a rule that logs.
            let logs = |(at, rule): (Position, &Rule)| at == *position && rule.action == Action::Log;
            if stack.rules().any(logs) {
                seen.matters = true;
                continue;
            }
            let without: Vec<Position> = group.matched.iter().copied().filter(|p| p != position).collect();
            seen.matters = verdicts(stack, &without, own, &group.side) != whole;
        }
        for (object, rest) in &others {
            let seen = policies.entry(object.clone()).or_default();
            seen.matched = true;
            if !seen.matters {
                // Without the only policy nobody governs the pod: no other one says what it says.
                seen.matters = rest.is_empty() || verdicts(rest, &rest.matched(&group.side), own, &group.side) != whole;
            }
        }
    }
}

/// Whether a policy that is asked in an order allows nothing by itself. That what comes after would do the same is no
/// reason not to say it.
fn allows_nothing(scene: &Scene<'_>, object: &ObjectRef) -> bool {
    let rules = scene.index.policy(object).map(|p| Direction::BOTH.into_iter().filter_map(|d| p.rules(d)).flatten());
    object.kind != Kind::NetworkPolicy
        && rules
            .is_some_and(|mut rules| rules.all(|rule| matches!(rule.action, Action::Deny | Action::Pass | Action::Log)))
}

fn tell(
    scene: &Scene<'_>,
    rules: BTreeMap<RuleRef, Matters>,
    policies: BTreeMap<ObjectRef, Matters>,
    out: &mut Vec<Finding>,
) {
    let useless: Vec<&ObjectRef> = policies.iter().filter(|(_, m)| m.matched && !m.matters).map(|(o, _)| o).collect();
    let twin = |object: &ObjectRef| {
        let written = |o: &ObjectRef| scene.policies.iter().find(|w| w.object == *o);
        let own = written(object);
        own.is_some_and(|a| scene.policies.iter().any(|b| b.object != a.object && same(a.text, b.text)))
    };
    // Pods that are still to come: a policy that alone isolates some of them does something.
    let isolates_alone = |object: &ObjectRef| {
        let Some(own) = scene.policies.iter().find(|w| w.object == *object) else { return false };
        let other = |direction| {
            scene.policies.iter().any(|w| {
                w.object != own.object
                    && w.text.meta.namespace == own.text.meta.namespace
                    && w.policy.rules(direction).is_some()
                    && implies(&own.text.pod_selector, &w.text.pod_selector)
            })
        };
        Direction::BOTH.into_iter().any(|d| own.policy.rules(d).is_some() && !other(d))
    };
    // A rule for ends that the input does not have may matter to them.
    let all_seen = |object: &ObjectRef| {
        let Some(policy) = scene.index.policy(object) else { return false };
        Direction::BOTH.into_iter().all(|direction| {
            let rule = |rule: &Rule| RuleRef { policy: object.clone(), direction, index: rule.written };
            let mut written = policy.rules(direction).into_iter().flatten().map(rule);
            written.all(|rule| rules.get(&rule).is_some_and(|seen| seen.matched))
        })
    };
    // What tiers drop at their ends is told once.
    let dropped = out.iter().any(|f| f.lint.id == "tier-end-drop");
    for object in &useless {
        let defeated = |f: &Finding| f.lint.id == "default-deny-defeated" && f.object() == Some(*object);
        let idle = !isolates_alone(object) && all_seen(object) && !allows_nothing(scene, object) && !dropped;
        if idle && !twin(object) && !out.iter().any(defeated) {
            let text = "the same packets pass without it: other policies say all of this, with these pods";
            let help = "policies only add: one that shall take away must be the only one, or the others must say less";
            out.push(scene.finding("policy-without-effect", object, "", text).help(help));
        }
    }
    for (rule, seen) in rules {
        if !seen.matched || seen.matters || useless.contains(&&rule.policy) || twin(&rule.policy) {
            continue;
        }
        let pointer = format!("/spec/{}/{}", rule.direction, rule.index);
        let dead = |f: &Finding| f.lint.id == "rule-after-catch-all" && f.object() == Some(&rule.policy);
        if rule.policy.kind == Kind::NetworkPolicy {
            let text = "the same packets pass without this rule: others allow all of it, with these pods";
            out.push(scene.finding("redundant-rule", &rule.policy, &pointer, text));
        } else if seen.reached && !allows_nothing(scene, &rule.policy) {
            let text = "the same packets pass without this rule: what comes after decides them alike, with these pods";
            out.push(scene.finding("redundant-rule", &rule.policy, &pointer, text));
        } else if !seen.reached && !out.iter().any(dead) {
            let text = "no packet gets to this rule: what comes before decides all that it matches, with these pods";
            out.push(scene.finding("unreachable-rule", &rule.policy, &pointer, text));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selector(requirements: &[(&str, Operator, &[&str])]) -> LabelSelector {
        LabelSelector::new(requirements.iter().map(|(k, o, v)| Requirement::new(k, *o, v.iter().copied())))
    }

    #[test]
    fn what_implies_what() {
        use Operator::{DoesNotExist, Exists, In, NotIn};
        let a = selector(&[("app", In, &["web"])]);
        assert!(implies(&a, &LabelSelector::everything()) && !implies(&LabelSelector::everything(), &a));
        assert!(implies(&a, &selector(&[("app", In, &["web", "db"])])));
        assert!(implies(&a, &selector(&[("app", Exists, &[])])));
        assert!(implies(&a, &selector(&[("app", NotIn, &["db"])])));
        assert!(!implies(&a, &selector(&[("app", NotIn, &["web"])])));
        assert!(implies(&selector(&[("app", DoesNotExist, &[])]), &selector(&[("app", NotIn, &["web"])])));
        assert!(!implies(&selector(&[("app", NotIn, &["web"])]), &selector(&[("app", DoesNotExist, &[])])));
    }
}
