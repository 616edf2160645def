//! What each tier says of a packet, in the order in which they are asked.

use std::fmt::Write as _;

use tortie_analysis::view::View;
use tortie_policy::{Action, By, DEFAULT_TIER, EndAction, Half, Position, Stack};

use super::flow::place;
use super::words;
use crate::terminal::{STRONG, styled};

/// Whether it helps to tell of tiers: NetworkPolicies alone are in one, and need not know.
pub(super) fn matter(stack: &Stack) -> bool {
    let plain = |policy: &std::sync::Arc<tortie_policy::Policy>| policy.object.is_network_policy();
    stack.tiers().iter().any(|tier| *tier.name != *DEFAULT_TIER) || !stack.policies().all(plain)
}

/// Every tier that governs the end, with its policies, and what it did.
pub(super) fn text(view: View<'_>, half: &Half) -> String {
    let stack = &half.stack;
    let decided = match half.outcome.by {
        By::Rule(position) => stack.tier_of(position),
        By::EndOfTier(tier) => Some(tier),
        By::Profile => None,
    };
    let mut out = String::new();
    for (t, tier) in stack.tiers().iter().enumerate() {
        let here = |position: &&Position| stack.tier_of(**position) == Some(t);
        let passed: Vec<&Position> = half.outcome.passed.iter().filter(here).collect();
        let named = |action: Action| {
            let is = |position: &Position| stack.rules().any(|(at, rule)| at == *position && rule.action == action);
            let rules = passed.iter().filter(move |position| is(position));
            rules
                .filter_map(|position| stack.rule_ref(**position))
                .map(|rule| words::rule_name(&rule))
                .collect::<Vec<_>>()
        };
        let said = match (decided, named(Action::Pass).first()) {
            (Some(tier), _) if tier < t => "is not asked".to_owned(),
            (Some(tier), _) if tier == t => match half.outcome.by {
                By::Rule(_) => "decides".to_owned(),
                _ => "has no rule for it, and denies at its end".to_owned(),
            },
            (_, Some(rule)) => format!("passes it on, by {rule}"),
            (_, None) if tier.end == EndAction::Pass => "has no rule for it, and passes it on at its end".to_owned(),
            (_, None) => "passes it on".to_owned(),
        };
        let _ = writeln!(out, "    tier {} {said}", styled(STRONG, &tier.name));
        for rule in named(Action::Log) {
            let _ = writeln!(out, "      logged by {rule}");
        }
        for policy in &tier.policies {
            let _ = writeln!(out, "      {}{}", policy.object, place(view, &policy.object));
        }
    }
    if decided.is_none() {
        let _ = writeln!(out, "    the profile of its namespace allows what no tier decides");
    }
    out
}
