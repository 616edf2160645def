//! Everything between two ends at once: which packets pass, and by which rules.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::ops::RangeInclusive;

use schemars::JsonSchema;
use serde::Serialize;
use tortie_model::{Direction, IpProtocol};
use tortie_policy::{Outcome, PairVerdict, RuleRef, Scope, Stack, Verdict};

use super::flow::{Flow, cited, place};
use super::json::HalfLine;
use super::words;
use crate::terminal::{ALLOW, DENY, STRONG, styled};
use tortie_analysis::view::View;

/// What decided a region: the rules of both directions, egress first.
type Rules = [(Verdict, Option<RuleRef>); 2];

fn rules(pair: &PairVerdict, outcome: &(Outcome, Outcome)) -> Rules {
    let rule = |stack: &Stack, outcome: &Outcome| match outcome.by {
        tortie_policy::By::Rule(position) => stack.rule_ref(position),
        _ => None,
    };
    [(outcome.0.verdict, rule(&pair.egress, &outcome.0)), (outcome.1.verdict, rule(&pair.ingress, &outcome.1))]
}

fn passes(rules: &Rules) -> bool {
    rules.iter().all(|(v, _)| *v == Verdict::Allow)
}

/// Regions that the same rules decide together, those that pass first.
fn grouped(pair: &PairVerdict) -> Vec<(Rules, Vec<Scope>)> {
    let mut groups: Vec<(Rules, Vec<Scope>)> = Vec::new();
    for (scope, outcome) in pair.regions.iter() {
        let rules = rules(pair, outcome);
        match groups.iter_mut().find(|(r, _)| *r == rules) {
            Some((_, scopes)) => scopes.push(scope),
            None => groups.push((rules, vec![scope])),
        }
    }
    groups.sort_by_key(|(rules, _)| !passes(rules));
    groups
}

/// `TCP 53, 9153; UDP 53`, or `everything else`.
pub(super) fn scopes_text(scopes: &[Scope], only: bool) -> String {
    let mut protocols: BTreeMap<IpProtocol, Vec<String>> = BTreeMap::new();
    let mut rest = false;
    for scope in scopes {
        match scope {
            Scope::Rest => rest = true,
            Scope::Range(protocol, range) => protocols.entry(*protocol).or_default().push(range_text(*protocol, range)),
        }
    }
    if rest {
        // The ranges beside the rest are what the other groups leave over: nobody wants to read them.
        return if only { "everything".to_owned() } else { "everything else".to_owned() };
    }
    let texts = protocols.into_iter().map(|(p, ranges)| format!("{p} {}", ranges.join(", ")));
    texts.collect::<Vec<_>>().join("; ")
}

fn range_text(protocol: IpProtocol, range: &RangeInclusive<u16>) -> String {
    let (first, last) = (*range.start(), *range.end());
    if *range == protocol.details() {
        "all".to_owned()
    } else if protocol.is_icmp() {
        format!("type {}", first >> 8)
    } else if first == last {
        first.to_string()
    } else {
        format!("{first}-{last}")
    }
}

pub(super) fn text(view: View<'_>, flow: &Flow, pair: &PairVerdict) -> String {
    let groups = grouped(pair);
    let mut out = String::new();
    for (rules, scopes) in &groups {
        let verdict = if passes(rules) { styled(ALLOW.bold(), "ALLOWED") } else { styled(DENY.bold(), "DENIED ") };
        let _ = writeln!(out, "\n  {verdict}  {}", styled(STRONG, scopes_text(scopes, groups.len() == 1)));
        for (direction, (verdict, rule)) in Direction::BOTH.into_iter().zip(rules) {
            let stack = match direction {
                Direction::Egress => &pair.egress,
                Direction::Ingress => &pair.ingress,
            };
            let half = format!("{} of {}", styled(STRONG, direction), flow.name(direction));
            match (verdict, rule) {
                (Verdict::Allow, Some(rule)) => {
                    let _ = writeln!(out, "  {half}: allowed by {}", words::rule_name(rule));
                    out.push_str(&cited(view, rule));
                }
                (Verdict::Deny, Some(rule)) => {
                    let _ = writeln!(out, "  {half}: denied by {}", words::rule_name(rule));
                    out.push_str(&cited(view, rule));
                }
                (Verdict::Allow, None) if !stack.is_empty() => {
                    let _ = writeln!(out, "  {half}: allowed, every tier passes it on");
                }
                (Verdict::Allow, None) => {
                    let _ = writeln!(out, "  {half}: allowed, {}", flow.ungoverned(direction));
                }
                (Verdict::Deny, None) => {
                    let _ = writeln!(out, "  {half}: denied, isolated by");
                    for policy in stack.policies() {
                        let _ = writeln!(out, "    {}{}", policy.object, place(view, &policy.object));
                    }
                }
            }
        }
    }
    out
}

/// Packets that the same rules decide.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Region")]
pub(super) struct Line {
    /// Their protocol; null for all that no other item names.
    protocol: Option<String>,
    /// First and last port, or for ICMP `type * 256 + code`.
    range: Option<[u16; 2]>,
    /// Whether they get through.
    allowed: bool,
    /// What policies say at the source.
    egress: HalfLine,
    /// What they say at the destination.
    ingress: HalfLine,
}

/// All packets by what decides them.
pub(super) fn lines(view: View<'_>, pair: &PairVerdict) -> Vec<Line> {
    let item = |(scope, outcome): (Scope, &(Outcome, Outcome))| {
        let rules = rules(pair, outcome);
        let (protocol, range) = match scope {
            Scope::Range(protocol, range) => (Some(protocol.to_string()), Some([*range.start(), *range.end()])),
            Scope::Rest => (None, None),
        };
        Line {
            protocol,
            range,
            allowed: passes(&rules),
            egress: HalfLine::decided(view, &pair.egress, &outcome.0),
            ingress: HalfLine::decided(view, &pair.ingress, &outcome.1),
        }
    };
    pair.regions.iter().map(item).collect()
}
