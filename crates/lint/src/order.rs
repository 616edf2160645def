//! Policies that are asked in an order: tiers, equal orders, rules behind others.
//!
//! NetworkPolicies only add to each other; of them nothing is said here.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tortie_analysis::preview::{Change, Preview};
use tortie_model::{Direction, Kind, ObjectRef, Traffic};
use tortie_policy::{
    Action, By, EndAction, Outcome, Peers, Policy, Ports, Regions, Rule, Scope, Side, Stack, TierStack, Verdict,
};

use crate::finding::Finding;
use crate::scene::{Scene, both_names};

pub(crate) fn look(scene: &Scene<'_>, out: &mut Vec<Finding>) {
    tiers(scene, out);
    let ordered: Vec<Arc<Policy>> = scene.index.policies().filter(|p| is_ordered(p)).cloned().collect();
    if ordered.is_empty() {
        return;
    }
    for policy in &ordered {
        for direction in Direction::BOTH {
            let rules = policy.rules(direction).unwrap_or_default();
            behind_everything(scene, policy, direction, rules, out);
            only_logs(scene, policy, direction, rules, out);
        }
    }
    in_stacks(scene, out);
}

/// Tiers that policies are in, staged ones too, and nobody defines.
fn tiers(scene: &Scene<'_>, out: &mut Vec<Finding>) {
    let preview = Preview::of(scene.objects);
    let staged = preview.changes.iter().filter_map(Change::policy);
    for policy in scene.index.policies().map(|policy| &**policy).chain(staged) {
        if scene.index.tier(&policy.tier).is_none() {
            let text =
                format!("no tier {} is defined: it is asked after all others, and denies at its end", policy.tier);
            let finding = scene.finding("unknown-tier", &policy.object, "/spec/tier", text);
            out.push(finding.help("correct the name, or give the Tier, too"));
        }
    }
}

/// Whether the order of its rules, and its own, matter.
fn is_ordered(policy: &Policy) -> bool {
    policy.object.kind != Kind::NetworkPolicy
}

fn pointer(direction: Direction, rule: &Rule) -> String {
    format!("/spec/{direction}/{}", rule.written)
}

/// Whether a rule decides every packet that gets to it.
fn is_catch_all(rule: &Rule) -> bool {
    let whole = rule.own.is_none() && rule.not_ports.is_empty() && !rule.asks_source_port();
    whole && rule.action != Action::Log && rule.peers == Peers::Any && rule.ports == Ports::Any
}

fn behind_everything(scene: &Scene<'_>, policy: &Policy, direction: Direction, rules: &[Rule], out: &mut Vec<Finding>) {
    let Some(at) = rules.iter().position(is_catch_all) else { return };
    let Some(dead) = rules.get(at + 1).filter(|rule| rule.written != rules[at].written) else { return };
    let text = match rules.len() - at - 1 {
        1 => "no packet gets to this rule: the one before it decides all of them".to_owned(),
        n => format!("no packet gets to this rule and what follows ({n} in all): the one before decides all of them"),
    };
    let finding = scene.finding("rule-after-catch-all", &policy.object, &pointer(direction, dead), text);
    let place = scene.place(&policy.object, &pointer(direction, &rules[at]));
    out.push(finding.label(place, "this one").help("put the rule that decides everything last"));
}

fn only_logs(scene: &Scene<'_>, policy: &Policy, direction: Direction, rules: &[Rule], out: &mut Vec<Finding>) {
    let ends_denying = scene.end_of(&policy.tier) == EndAction::Deny;
    if rules.is_empty() || !ends_denying || !rules.iter().all(|rule| rule.action == Action::Log) {
        return;
    }
    let text = format!(
        "it only logs, and yet its pods' {direction} is denied by it: tier {} denies at its end what no rule decides",
        policy.tier
    );
    let help =
        "add a rule with action Pass (or Allow) after the last one, or log in a tier whose defaultAction is Pass";
    out.push(scene.finding("log-only", &policy.object, &format!("/spec/{direction}"), text).help(help));
}

/// A packet, and what a lint says of it.
struct Seen {
    from: Side,
    to: Side,
    traffic: Traffic,
}

/// What is found in the stacks of all pods, each once.
#[derive(Default)]
struct Found {
    ties: BTreeMap<(ObjectRef, ObjectRef), Seen>,
    drops: BTreeMap<Arc<str>, (ObjectRef, Direction, Seen)>,
    /// Rules that pass, and whether a tier comes after theirs for some pod that they govern.
    passes: BTreeMap<(ObjectRef, Direction, usize), bool>,
}

fn in_stacks(scene: &Scene<'_>, out: &mut Vec<Finding>) {
    let ends = scene.ends();
    let mut found = Found::default();
    for pod in &scene.kinds {
        for direction in Direction::BOTH {
            let stack = scene.stack(pod, direction);
            if stack.policies().all(|p| !is_ordered(p)) {
                continue;
            }
            note_passes(&stack, &mut found.passes);
            let own = scene.side(pod);
            let swapped = ties(&stack);
            let without = tiers_left_out(&stack);
            for peer in ends.iter().filter(|peer| peer.pod().map(|p| p.key()) != Some(pod.key())) {
                let outcomes = outcomes(&stack, &own, peer);
                for ((first, second), other) in &swapped {
                    let key = (first.clone(), second.clone());
                    let packet = found.ties.contains_key(&key).then_some(None);
                    let packet = packet.unwrap_or_else(|| difference(&outcomes, &self::outcomes(other, &own, peer)));
                    if let Some(traffic) = packet {
                        found.ties.insert(key, seen(direction, &own, peer, traffic));
                    }
                }
                for (tier, other) in &without {
                    let name = &stack.tiers()[*tier].name;
                    if found.drops.contains_key(name) {
                        continue;
                    }
                    let dropped = outcomes.map(|o| o.verdict == Verdict::Deny && o.by == By::EndOfTier(*tier));
                    let else_passes =
                        self::outcomes(other, &own, peer).map(|o| o.verdict == Verdict::Allow && decides(o));
                    let lost = dropped.zip(&else_passes, |a, b| *a && *b);
                    if let Some(traffic) = first_of(&lost) {
                        let policy = stack.tiers()[*tier].policies[0].object.clone();
                        found.drops.insert(name.clone(), (policy, direction, seen(direction, &own, peer, traffic)));
                    }
                }
            }
        }
    }
    tell(scene, found, out);
}

fn decides(outcome: &Outcome) -> bool {
    matches!(outcome.by, By::Rule(_))
}

fn outcomes(stack: &Stack, own: &Side, peer: &Side) -> Regions<Outcome> {
    stack.regions(peer, both_names(stack.direction(), own, peer))
}

fn seen(direction: Direction, own: &Side, peer: &Side, traffic: Traffic) -> Seen {
    let (from, to) = match direction {
        Direction::Egress => (own, peer),
        Direction::Ingress => (peer, own),
    };
    Seen { from: from.clone(), to: to.clone(), traffic }
}

/// A packet that one says of what the other does not.
fn difference(one: &Regions<Outcome>, other: &Regions<Outcome>) -> Option<Traffic> {
    first_of(&one.zip(other, |a, b| a.verdict != b.verdict))
}

/// The first packet of a set; one with a port where there is one.
fn first_of(set: &Regions<bool>) -> Option<Traffic> {
    let packet = |(scope, is_in): (Scope, &bool)| match scope {
        _ if !is_in => None,
        Scope::Range(protocol, range) => Some(Traffic { protocol, detail: *range.start() }),
        Scope::Rest => Some(Traffic::port(tortie_model::Protocol::Tcp, 80)),
    };
    let transport = |t: &Traffic| t.protocol.transport().is_some();
    // A witness is told as a connection.
    set.iter().filter_map(packet).find(transport)
}

/// Stacks in which two policies of the same tier and order have changed places.
fn ties(stack: &Stack) -> Vec<((ObjectRef, ObjectRef), Stack)> {
    let mut out = Vec::new();
    for (t, tier) in stack.tiers().iter().enumerate() {
        for (p, pair) in tier.policies.windows(2).enumerate() {
            let [first, second] = pair else { continue };
            if first.order != second.order || !is_ordered(first) && !is_ordered(second) {
                continue;
            }
            let mut tiers: Vec<TierStack> = stack.tiers().to_vec();
            tiers[t].policies.swap(p, p + 1);
            out.push(((first.object.clone(), second.object.clone()), Stack::new(stack.direction(), tiers)));
        }
    }
    out
}

/// For each tier that denies at its end and is not the last: the stack without it.
fn tiers_left_out(stack: &Stack) -> Vec<(usize, Stack)> {
    let last = stack.tiers().len() - 1;
    let denying = stack.tiers()[..last].iter().enumerate().filter(|(_, tier)| tier.end == EndAction::Deny);
    let without = |t: usize| {
        let rest = stack.tiers().iter().enumerate().filter(|(i, _)| *i != t).map(|(_, tier)| tier.clone());
        (t, Stack::new(stack.direction(), rest))
    };
    denying.map(|(t, _)| without(t)).collect()
}

fn note_passes(stack: &Stack, passes: &mut BTreeMap<(ObjectRef, Direction, usize), bool>) {
    let last = stack.tiers().len() - 1;
    for (t, tier) in stack.tiers().iter().enumerate() {
        for policy in tier.policies.iter().filter(|p| is_ordered(p)) {
            let rules = policy.rules(stack.direction()).unwrap_or_default();
            for rule in rules.iter().filter(|rule| rule.action == Action::Pass) {
                let key = (policy.object.clone(), stack.direction(), rule.written);
                *passes.entry(key).or_default() |= t < last;
            }
        }
    }
}

fn tell(scene: &Scene<'_>, found: Found, out: &mut Vec<Finding>) {
    for ((first, second), packet) in found.ties {
        let field = if is_cluster(&second) { "/spec/priority" } else { "/spec/order" };
        let text =
            format!("{first} comes before it for its name alone: both have the same place in their tier, and disagree");
        let finding =
            scene.finding("order-tie", &second, if scene.is_written(&second, field) { field } else { "" }, text);
        let verdict = scene.witness(&packet.from, &packet.to, packet.traffic);
        let turned = format!("{verdict}; the other way round it is not so");
        let place = scene.place(&first, "");
        out.push(finding.label(place, "this one comes first").help(format!("give them different places: {turned}")));
    }
    for (tier, (policy, direction, packet)) in found.drops {
        let text = format!(
            "tier {tier} drops at its end what no rule of its policies decides, and later tiers allow some of it"
        );
        let finding = scene.finding("tier-end-drop", &policy, &format!("/spec/{direction}"), text);
        let witness = scene.witness(&packet.from, &packet.to, packet.traffic);
        let help = "end the tier with a rule of action Pass, or give it defaultAction Pass";
        out.push(finding.help(help).shown_by(witness));
    }
    let nowhere: BTreeSet<_> =
        found.passes.into_iter().filter(|(_, leads_on)| !leads_on).map(|(rule, _)| rule).collect();
    for (policy, direction, rule) in nowhere {
        let text = "no later tier has a policy for these pods: what it passes is allowed";
        let finding = scene.finding("pass-to-nowhere", &policy, &format!("/spec/{direction}/{rule}"), text);
        out.push(finding.help("write Allow where that is meant, or add the policies that shall decide"));
    }
}

fn is_cluster(object: &ObjectRef) -> bool {
    matches!(object.kind, Kind::ClusterNetworkPolicy | Kind::AdminNetworkPolicy | Kind::BaselineAdminNetworkPolicy)
}
