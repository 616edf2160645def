//! Answers as JSON.

use serde_json::{Value, json};
use tortie_analysis::observation::DecidedBy;
use tortie_manifest::Place;
use tortie_policy::{Half, RuleRef, Shortcut};

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

/// One direction: `{"allowed","isolating","decided_by"}`.
pub(crate) fn half(snapshot: &Snapshot, half: &Half) -> Value {
    let isolating: Vec<String> = half.isolating().iter().map(ToString::to_string).collect();
    let decided = half.decided_by().map(|r| decided_by(snapshot, &r));
    json!({"allowed": half.is_allowed(), "isolating": isolating, "decided_by": decided})
}

/// Why policy was not asked.
pub(crate) const fn shortcut(shortcut: Shortcut) -> &'static str {
    match shortcut {
        Shortcut::Loopback => "loopback",
        Shortcut::LocalNode => "local-node",
    }
}
