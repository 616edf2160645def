//! The smallest change that lets a denied flow through, as text and as JSON.

use std::fmt::Write as _;

use serde_json::{Value, json};
use tortie_analysis::edit::{Change, Edit, NoEdit, Opening};

use super::region::scopes_text;
use super::words;
use crate::terminal::{FAINT, STRONG, styled};

/// The change with the patch that makes it; lines of the patch begin at the margin, so that `patch -p0` reads them.
pub(crate) fn text(found: &Result<Edit, NoEdit>) -> String {
    let edit = match found {
        Ok(edit) => edit,
        Err(NoEdit::Allowed) => return String::new(),
        Err(why) => return format!("\n  no change of a manifest to allow it: {why}\n"),
    };
    let mut out = format!("\n  {}\n", styled(STRONG, "the smallest change that allows it"));
    for line in summary(edit) {
        let _ = writeln!(out, "    {line}");
    }
    out.push('\n');
    for line in edit.patch.diff().lines() {
        // What users wrote must not steer a terminal.
        let line: String = line.chars().map(|c| if c.is_control() && c != '\t' { ' ' } else { c }).collect();
        let _ = match line.as_bytes().first() {
            Some(b'+' | b'-') => writeln!(out, "{line}"),
            _ => writeln!(out, "{}", styled(FAINT, line)),
        };
    }
    out
}

/// What is changed, where, and what else it does: a line each.
pub(crate) fn summary(edit: &Edit) -> Vec<String> {
    let mut lines: Vec<String> = edit.changes.iter().map(change).collect();
    let mut places = edit.patch.places();
    for (line, one) in lines.iter_mut().zip(&edit.changes) {
        if matches!(one, Change::Policy(..)) {
            continue;
        }
        if let Some((file, number)) = places.next() {
            let _ = write!(line, "\n      {}", styled(FAINT, format_args!("{file}:{number}")));
        }
    }
    lines.push(opening(&edit.opening));
    lines
}

fn change(change: &Change) -> String {
    match change {
        Change::Port(rule) => format!("one more port in {}", words::rule_name(rule)),
        Change::Peer(rule) => format!("one more peer in {}", words::rule_name(rule)),
        Change::Label { object, labels } => {
            let labels: Vec<String> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
            let where_ = if object.kind.is_workload() { "the pods of " } else { "" };
            format!("label {} on {where_}{object}", labels.join(", "))
        }
        Change::Rule(policy, direction) => format!("one more {direction} rule in {policy}"),
        Change::Policy(policy, direction) => format!("one more policy for {direction}: {policy}"),
    }
}

fn opening(opening: &Opening) -> String {
    let mut parts = Vec::new();
    if opening.pairs > 0 {
        let pairs = if opening.pairs == 1 { "another pair" } else { "other pairs" };
        let count = if opening.pairs == 1 { String::new() } else { format!("{} ", opening.pairs) };
        parts.push(format!("it opens {count}{pairs} of pods too"));
    }
    if opening.outside > 0 {
        parts.push(format!("it opens {} to addresses outside, or from them", pods(opening.outside)));
    }
    if opening.closed > 0 {
        parts.push(format!("it closes something between {} pairs", opening.closed));
    }
    if parts.is_empty() {
        return "it opens nothing else".to_owned();
    }
    let example =
        opening.examples.first().map(|e| format!(", such as {} -> {}  {}", e.from, e.to, scopes_text(&e.opened, true)));
    parts.join("; ") + &example.unwrap_or_default()
}

fn pods(count: u64) -> String {
    if count == 1 { "a pod".to_owned() } else { format!("{count} pods") }
}

/// `null` where there is none.
pub(crate) fn json(found: &Result<Edit, NoEdit>) -> Value {
    let Ok(edit) = found else { return Value::Null };
    let change = |change: &Change| {
        let (kind, object, direction, rule) = match change {
            Change::Port(rule) => ("port", &rule.policy, Some(rule.direction), Some(rule.index)),
            Change::Peer(rule) => ("peer", &rule.policy, Some(rule.direction), Some(rule.index)),
            Change::Rule(policy, direction) => ("rule", policy, Some(*direction), None),
            Change::Policy(policy, direction) => ("policy", policy, Some(*direction), None),
            Change::Label { object, labels } => {
                let labels: serde_json::Map<_, _> =
                    labels.iter().map(|(k, v)| (k.clone(), v.as_str().into())).collect();
                return json!({"kind": "label", "object": object.to_string(), "labels": labels});
            }
        };
        let direction = direction.map(|d| d.to_string());
        json!({"kind": kind, "object": object.to_string(), "direction": direction, "rule": rule})
    };
    let Opening { pairs, outside, closed, examples, .. } = &edit.opening;
    let examples: Vec<Value> =
        examples.iter().map(|e| json!({"from": e.from, "to": e.to, "opened": scopes_text(&e.opened, true)})).collect();
    json!({
        "changes": edit.changes.iter().map(change).collect::<Vec<_>>(),
        "patch": edit.patch.diff(),
        "opens": {"pairs": pairs, "outside": outside, "closed": closed, "examples": examples},
    })
}
