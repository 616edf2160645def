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
            // A name is resolved by somebody; there is no other end.
            let to = if o.probe.starts_with("dns:") { "" } else { o.to.as_str() };
            let pair = (o.from.as_str(), to);
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
        let senders = side(&all, &changed, |p| p.0.to_owned(), &from);
        let receivers = side(&all, &changed, |p| p.1.to_owned(), &to);
        let among = |p: &&(&str, &str)| changed.iter().any(|c| c.0 == p.0) && changed.iter().any(|c| c.1 == p.1);
        // A block of all senders and all receivers can be said at once.
        if changed.len() == all.iter().filter(among).count() {
            for sender in senders {
                lines.entry(sender).or_default().extend(receivers.iter().cloned());
            }
        } else {
            for (from, to) in changed {
                lines.entry(from.to_owned()).or_default().push(to.to_owned());
            }
        }
    }
    let text = |(from, to): (String, Vec<String>)| match to.iter().all(String::is_empty) {
        true => from,
        false => format!("{from} -> {}", to.join(", ")),
    };
    let mut out: Vec<String> = lines.into_iter().map(text).collect();
    let more = out.len().saturating_sub(MOST);
    if more > 0 {
        out.truncate(MOST);
        out.push(format!("and {more} more"));
    }
    out
}

/// One side of the pairs that changed: the group where it is whole, and its name where it is one.
fn side(all: &Pairs<'_>, changed: &Pairs<'_>, of: fn(&(&str, &str)) -> String, group: &str) -> Vec<String> {
    let names = |pairs: &Pairs<'_>| pairs.iter().map(of).collect::<BTreeSet<String>>();
    let (whole, part) = (names(all), names(changed));
    if whole == part && whole.len() > 1 { vec![group.to_owned()] } else { part.into_iter().collect() }
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
