//! What one probe was expected to say, what engine and plan predicted, and what the kernel did: one line of
//! machine-readable output.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Serialize, Serializer};
use tortie_model::{Direction, Family};

/// Whether something gets through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Answer {
    /// It does.
    Allow,
    /// It does not.
    Deny,
}

impl Answer {
    /// As written in cases.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
        }
    }
}

impl From<bool> for Answer {
    fn from(allowed: bool) -> Self {
        if allowed { Self::Allow } else { Self::Deny }
    }
}

impl std::fmt::Display for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What was seen of the packets.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Kernel {
    /// The right pod answered with its name.
    Allow,
    /// The drop itself was seen.
    Deny,
    /// Neither: a failure of the lab, and never evidence of a policy.
    Lost {
        /// What was seen instead.
        why: String,
    },
}

impl Kernel {
    /// As an answer; `None` when lost.
    #[must_use]
    pub const fn answer(&self) -> Option<Answer> {
        match self {
            Self::Allow => Some(Answer::Allow),
            Self::Deny => Some(Answer::Deny),
            Self::Lost { .. } => None,
        }
    }
}

impl Serialize for Kernel {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
            Self::Lost { .. } => "lost",
        })
    }
}

impl JsonSchema for Kernel {
    fn schema_name() -> Cow<'static, str> {
        "Kernel".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let said =
            "`lost`: neither an answer nor a drop was seen, which is a failure of the lab and no evidence of a policy";
        json_schema!({"description": said, "enum": ["allow", "deny", "lost"]})
    }
}

/// The rule that decided, with its place.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, JsonSchema)]
pub struct DecidedBy {
    /// Kind of the policy.
    pub kind: String,
    /// Its namespace; nothing for policies outside namespaces.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
    /// The rule: item of `ingress` or `egress`, from 0.
    pub rule: usize,
    /// The file that holds it, when it comes from one.
    pub file: Option<String>,
    /// Line of the rule in it, from 1.
    pub line: Option<usize>,
}

/// The deciding rules of both directions; nothing where the end of a tier denied or nothing governs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, JsonSchema)]
pub struct Decisions {
    /// At the source.
    pub egress: Option<DecidedBy>,
    /// At the destination.
    pub ingress: Option<DecidedBy>,
    /// Where policies isolate and no rule allows: the direction, and each policy with its place.
    #[serde(skip)]
    pub isolated: Vec<(Direction, Vec<String>)>,
}

fn families(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"enum": Family::ALL.map(Family::as_str)})
}

fn family<S: Serializer>(family: &Family, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(family.as_str())
}

/// One probe, of one family, from one end to another, after one step of a case.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Observation {
    /// Name of the case.
    pub case: String,
    /// Name of the step.
    pub step: String,
    /// IP version.
    #[serde(serialize_with = "family")]
    #[schemars(schema_with = "families")]
    pub family: Family,
    /// Who sends: `ns/pod`, `node/NAME`, the name of an outside host, or an address.
    pub from: String,
    /// Who should answer.
    pub to: String,
    /// What is sent: `ping`, `TCP/8888`, `dns:NAME`.
    pub probe: String,
    /// `pod`, or `service` when sent to the ClusterIP of the Service that `to` names.
    pub via: String,
    /// What the case expects; nothing when it does not say.
    pub expected: Option<Answer>,
    /// What the engine says.
    pub engine: Answer,
    /// What the plan says, evaluated in memory.
    pub plan: Answer,
    /// What the packets did; nothing when none was sent.
    pub kernel: Option<Kernel>,
    /// Who decided, as the engine sees it.
    pub decided_by: Decisions,
    /// Time until the answer or the drop was seen, in milliseconds.
    pub ms: Option<f64>,
    /// Why the case expects so, in its own words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

impl Observation {
    /// Whether all that is known of the probe agrees.
    #[must_use]
    pub fn holds(&self) -> bool {
        let expected = self.expected.is_none_or(|e| e == self.engine);
        let kernel = self.kernel.as_ref().is_none_or(|k| k.answer() == Some(self.engine));
        expected && self.engine == self.plan && kernel
    }
}

/// All probes of one step.
#[derive(Clone, Debug, PartialEq)]
pub struct StepReport {
    /// Name of the case.
    pub case: String,
    /// Name of the step.
    pub step: String,
    /// What was applied, deleted and labelled, in words.
    pub actions: Vec<String>,
    /// The probes.
    pub observations: Vec<Observation>,
    /// Log records of nodes that were lost since the step before: a drop among them was not seen.
    pub lost_records: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_packet_is_not_a_denied_one() {
        let mut o = Observation {
            case: "c".into(),
            step: "s".into(),
            family: Family::V4,
            from: "a/x".into(),
            to: "b/y".into(),
            probe: "ping".into(),
            via: "pod".into(),
            expected: Some(Answer::Deny),
            engine: Answer::Deny,
            plan: Answer::Deny,
            kernel: Some(Kernel::Deny),
            decided_by: Decisions::default(),
            ms: None,
            why: None,
        };
        assert!(o.holds());
        o.kernel = Some(Kernel::Lost { why: "no answer, and no drop".into() });
        assert!(!o.holds());
        o.kernel = None;
        o.plan = Answer::Allow;
        assert!(!o.holds(), "engine and plan must agree even when no packet was sent");
    }
}
