//! Answers as JSON.

use schemars::JsonSchema;
use serde::Serialize;
use tortie_analysis::observation::DecidedBy;
use tortie_manifest::Place;
use tortie_model::Direction;
use tortie_policy::{FlowVerdict, Half, RuleRef, Shortcut};

use tortie_analysis::snapshot::Snapshot;

/// A rule with its place.
pub(crate) fn decided_by(snapshot: &Snapshot, rule: &RuleRef) -> DecidedBy {
    let place = snapshot.place_of_rule(rule);
    DecidedBy {
        kind: rule.policy.kind.to_string(),
        namespace: rule.policy.namespace.as_ref().map(ToString::to_string),
        name: rule.policy.name.to_string(),
        rule: rule.index,
        file: place.as_ref().map(|p| p.file.name().to_string()),
        line: place.as_ref().map(Place::line),
    }
}

/// What one direction says.
#[derive(Serialize, JsonSchema)]
pub(crate) struct HalfLine {
    /// Whether it lets the packet through.
    pub(super) allowed: bool,
    /// All policies that isolate the end, as `Kind/namespace/name`.
    pub(super) isolating: Vec<String>,
    /// The rule that decided; null where none matched, or nothing isolates.
    pub(super) decided_by: Option<DecidedBy>,
}

impl HalfLine {
    pub(super) fn of(snapshot: &Snapshot, half: &Half) -> Self {
        Self {
            allowed: half.is_allowed(),
            isolating: half.isolating().iter().map(ToString::to_string).collect(),
            decided_by: half.decided_by().map(|rule| decided_by(snapshot, &rule)),
        }
    }
}

/// What both directions say: the answer to a flow in bulk.
#[derive(Serialize, JsonSchema)]
pub(crate) struct VerdictLine {
    /// Whether the packet gets through.
    allowed: bool,
    /// What policies say at its source.
    egress: HalfLine,
    /// What they say at its destination.
    ingress: HalfLine,
}

impl VerdictLine {
    pub(crate) fn of(snapshot: &Snapshot, verdict: &FlowVerdict) -> Self {
        Self {
            allowed: verdict.is_allowed(),
            egress: HalfLine::of(snapshot, verdict.half(Direction::Egress)),
            ingress: HalfLine::of(snapshot, verdict.half(Direction::Ingress)),
        }
    }
}

/// Why policies were not asked.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) enum ShortcutLine {
    /// A pod reaches itself.
    Loopback,
    /// A node reaches its own pods.
    LocalNode,
}

impl From<Shortcut> for ShortcutLine {
    fn from(shortcut: Shortcut) -> Self {
        match shortcut {
            Shortcut::Loopback => Self::Loopback,
            Shortcut::LocalNode => Self::LocalNode,
        }
    }
}
