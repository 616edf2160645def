//! Answers as JSON.

use schemars::JsonSchema;
use serde::Serialize;
use tortie_analysis::observation::DecidedBy;
use tortie_manifest::Place;
use tortie_model::Direction;
use tortie_policy::{By, FlowVerdict, Half, Outcome, RuleRef, Shortcut, Stack, Verdict};

use tortie_analysis::view::View;

/// A rule with its place.
pub(crate) fn decided_by(view: View<'_>, rule: &RuleRef) -> DecidedBy {
    let place = view.place_of_rule(rule);
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
    /// The tier at whose end it was denied, where a tier has policies of other APIs than NetworkPolicy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) end_of_tier: Option<String>,
    /// Rules with action Log or Pass that matched before, in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) passed_by: Vec<DecidedBy>,
}

impl HalfLine {
    pub(super) fn of(view: View<'_>, half: &Half) -> Self {
        Self::decided(view, &half.stack, &half.outcome)
    }

    /// What a stack says of some packets.
    pub(super) fn decided(view: View<'_>, stack: &Stack, outcome: &Outcome) -> Self {
        let rule = |position| stack.rule_ref(position).map(|rule| decided_by(view, &rule));
        Self {
            allowed: outcome.verdict == Verdict::Allow,
            isolating: stack.policies().map(|p| p.object.to_string()).collect(),
            decided_by: if let By::Rule(position) = outcome.by { rule(position) } else { None },
            end_of_tier: end_of_tier(stack, outcome),
            passed_by: outcome.passed.iter().filter_map(|position| rule(*position)).collect(),
        }
    }
}

/// The tier that denied at its end, where it is worth telling.
fn end_of_tier(stack: &Stack, outcome: &Outcome) -> Option<String> {
    let By::EndOfTier(tier) = outcome.by else { return None };
    super::tiers::matter(stack).then(|| stack.tiers()[tier].name.to_string())
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
    pub(crate) fn of(view: View<'_>, verdict: &FlowVerdict) -> Self {
        Self {
            allowed: verdict.is_allowed(),
            egress: HalfLine::of(view, verdict.half(Direction::Egress)),
            ingress: HalfLine::of(view, verdict.half(Direction::Ingress)),
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
