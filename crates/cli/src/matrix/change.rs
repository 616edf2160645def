//! What a step opened and closed, in few words.

use std::collections::{BTreeMap, BTreeSet};

use tortie_analysis::observation::{Answer, StepReport};

use super::cell::shown;
use super::grid::{Answers, question};
use crate::terminal::{ALLOW, DENY, STRONG, styled};

type Pairs<'r> = BTreeSet<(&'r str, &'r str)>;

/// More than this is counted only.
const MOST: usize = 9;

/// `opened`, `closed`: lines, or that nothing changed.
pub(super) fn changes(report: &StepReport, before: &Answers<'_>, width: usize) -> String {
    let mut out = String::new();
    for (answer, word) in [(Answer::Allow, styled(ALLOW, "opened")), (Answer::Deny, styled(DENY, "closed"))] {
        let mut by_probe: Vec<(&str, Pairs<'_>, Pairs<'_>)> = Vec::new();
        for o in &report.observations {
            let place = match by_probe.iter().position(|(probe, ..)| *probe == o.probe) {
                Some(place) => place,
                None => {
                    by_probe.push((&o.probe, Pairs::new(), Pairs::new()));
                    by_probe.len() - 1
                }
            };
            let (_, all, changed) = &mut by_probe[place];
            let pair = (o.from.as_str(), o.to.as_str());
            all.insert(pair);
            let now = shown(o);
            if now == Some(answer) && before.get(&question(o)).is_some_and(|b| *b != now) {
                changed.insert(pair);
            }
        }
        let mut merged: Vec<(Vec<&str>, Pairs<'_>, Pairs<'_>)> = Vec::new();
        for (probe, all, changed) in by_probe.into_iter().filter(|(_, _, c)| !c.is_empty()) {
            match merged.iter_mut().find(|(_, a, c)| *a == all && *c == changed) {
                Some((probes, ..)) => probes.push(probe),
                None => merged.push((vec![probe], all, changed)),
            }
        }
        for (probes, all, changed) in &merged {
            let lead = format!("{word}  {}: ", styled(STRONG, probes.join(", ")));
            let plain = "opened  ".len() + probes.join(", ").chars().count() + 2;
            out.push_str(&wrap(&lead, plain, &named(all, changed), width));
        }
    }
    out
}

/// Pairs by namespaces where whole namespaces changed.
fn named(all: &Pairs<'_>, changed: &Pairs<'_>) -> Vec<String> {
    let namespace = |e: &'_ str| e.split_once('/').map_or(e.to_owned(), |(ns, _)| format!("{ns}/*"));
    let mut blocks: BTreeMap<(String, String), (Pairs<'_>, Pairs<'_>)> = BTreeMap::new();
    for pair in all {
        let block = blocks.entry((namespace(pair.0), namespace(pair.1))).or_default();
        block.0.insert(*pair);
        if changed.contains(pair) {
            block.1.insert(*pair);
        }
    }
    // Who sends, to whom.
    let mut lines: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for ((from, to), (all, changed)) in blocks {
        // A group of one is called by its name.
        let only = |side: fn(&(&str, &str)) -> String, group: &str| {
            let names: BTreeSet<String> = all.iter().map(side).collect();
            if names.len() == 1 { names.into_iter().next().unwrap_or_default() } else { group.to_owned() }
        };
        if changed.len() == all.len() {
            let from = only(|p| p.0.to_owned(), &from);
            lines.entry(from).or_default().push(only(|p| p.1.to_owned(), &to));
        } else {
            for (from, to) in changed {
                lines.entry(from.to_owned()).or_default().push(to.to_owned());
            }
        }
    }
    let mut out: Vec<String> = lines.into_iter().map(|(from, to)| format!("{from} -> {}", to.join(", "))).collect();
    let more = out.len().saturating_sub(MOST);
    if more > 0 {
        out.truncate(MOST);
        out.push(format!("and {more} more"));
    }
    out
}

/// Items after a lead, separated by `; `, on lines of a width; further lines are indented.
fn wrap(lead: &str, lead_width: usize, items: &[String], width: usize) -> String {
    const INDENT: usize = 8;
    let mut out = lead.to_owned();
    let mut at = lead_width;
    for (i, item) in items.iter().enumerate() {
        let text = format!("{item}{}", if i + 1 < items.len() { "; " } else { "" });
        for word in text.split_inclusive(' ') {
            let length = word.trim_end().chars().count();
            if at + length > width && at > INDENT {
                out.truncate(out.trim_end().len());
                out.push_str(&format!("\n{:INDENT$}", ""));
                at = INDENT;
            }
            out.push_str(word);
            at += word.chars().count();
        }
    }
    out.push('\n');
    out
}
