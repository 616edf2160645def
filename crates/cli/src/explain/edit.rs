//! The smallest change that lets a denied flow through, as text and as JSON.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use schemars::JsonSchema;
use serde::Serialize;
use tortie_analysis::edit::{Change, Edit, Example, NoEdit, Opening};

use super::region::scopes_text;
use super::words;
use crate::terminal::{FAINT, STRONG, fitted, styled, width};

/// The change with the patch that makes it; lines of the patch begin at the margin, so that `patch -p0` reads them.
pub(crate) fn text(found: &Result<Edit, NoEdit>) -> String {
    let edit = match found {
        Ok(edit) => edit,
        Err(NoEdit::Allowed) => return String::new(),
        Err(why) => return fitted(&format!("\n  no change of a manifest to allow it: {why}\n"), width()),
    };
    let mut out = format!("\n  {}\n", styled(STRONG, "the smallest change that allows it"));
    for line in summary(edit) {
        out.push_str(&fitted(&format!("    {line}"), width()));
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

/// A change as programs read it.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Edit")]
pub(crate) struct Line {
    /// What is changed.
    changes: Vec<ChangeLine>,
    /// The patch that changes it, for `patch -p0`.
    patch: String,
    /// What it opens besides.
    opens: OpeningLine,
}

/// One thing that is changed.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(untagged)]
enum ChangeLine {
    /// A label of an object.
    Label {
        kind: LabelKind,
        /// The object, as `Kind/namespace/name`.
        object: String,
        /// The labels that it gets.
        labels: BTreeMap<String, String>,
    },
    /// A policy.
    Policy {
        kind: ChangeKind,
        /// The policy, as `Kind/namespace/name`.
        object: String,
        /// `ingress` or `egress`.
        direction: String,
        /// The rule that gets a port or peer, from 0; null for one more rule or policy.
        rule: Option<usize>,
    },
}

/// A label is changed.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum LabelKind {
    Label,
}

/// What a policy gets, or that it is one more.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum ChangeKind {
    Port,
    Peer,
    Rule,
    Policy,
}

/// What a change opens besides what it is made for.
#[derive(Debug, Serialize, JsonSchema)]
struct OpeningLine {
    /// Pairs of pods of which the first reaches the second on more than before.
    pairs: u64,
    /// Pods that addresses outside reach on more than before, or that reach more of them.
    outside: u64,
    /// Pairs that lose something.
    closed: u64,
    /// Some of the pairs.
    examples: Vec<ExampleLine>,
}

/// A pair that a change opens.
#[derive(Debug, Serialize, JsonSchema)]
struct ExampleLine {
    /// Who sends: a pod or an address.
    from: String,
    /// Who is reached.
    to: String,
    /// On what, in words.
    opened: String,
}

/// Nothing where there is no change.
pub(crate) fn line(found: &Result<Edit, NoEdit>) -> Option<Line> {
    let edit = found.as_ref().ok()?;
    let change = |change: &Change| {
        let (kind, object, direction, rule) = match change {
            Change::Port(rule) => (ChangeKind::Port, &rule.policy, rule.direction, Some(rule.index)),
            Change::Peer(rule) => (ChangeKind::Peer, &rule.policy, rule.direction, Some(rule.index)),
            Change::Rule(policy, direction) => (ChangeKind::Rule, policy, *direction, None),
            Change::Policy(policy, direction) => (ChangeKind::Policy, policy, *direction, None),
            Change::Label { object, labels } => {
                let labels = labels.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect();
                return ChangeLine::Label { kind: LabelKind::Label, object: object.to_string(), labels };
            }
        };
        ChangeLine::Policy { kind, object: object.to_string(), direction: direction.to_string(), rule }
    };
    let example =
        |e: &Example| ExampleLine { from: e.from.clone(), to: e.to.clone(), opened: scopes_text(&e.opened, true) };
    let Opening { pairs, outside, closed, examples, .. } = &edit.opening;
    Some(Line {
        changes: edit.changes.iter().map(change).collect(),
        patch: edit.patch.diff(),
        opens: OpeningLine {
            pairs: *pairs,
            outside: *outside,
            closed: *closed,
            examples: examples.iter().map(example).collect(),
        },
    })
}
