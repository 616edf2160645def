//! Who did it, in words and as data.

use schemars::JsonSchema;
use serde::Serialize;
use tortie_connectivity::{Cause, Fate};
use tortie_manifest::Place;
use tortie_model::{Direction, ObjectRef};
use tortie_policy::{Action, RuleRef};

use super::group::Turn;
use super::sides::Side;
use crate::connectivity::names;

/// Both clusters, in whose files policies are.
#[derive(Clone, Copy)]
pub(super) struct Sides<'s> {
    pub(super) old: &'s Side,
    pub(super) new: &'s Side,
}

/// A cause with the place in the files that it speaks of.
pub(super) struct Told {
    /// A sentence.
    pub(super) words: String,
    /// `main:k8s/db.yaml:12`.
    pub(super) place: Option<String>,
}

/// A cause as programs read it.
#[derive(Serialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum CauseLine {
    /// A policy, or a rule of it.
    Policy(PolicyLine),
    /// Something else.
    Other(OtherLine),
}

/// A policy that did it.
#[derive(Serialize, JsonSchema)]
pub(crate) struct PolicyLine {
    /// Its kind.
    kind: String,
    /// Its namespace; null for policies outside namespaces.
    namespace: Option<String>,
    /// Its name.
    name: String,
    /// What became of it.
    fate: FateLine,
    /// `ingress` or `egress`.
    direction: String,
    /// The rule, from 0; null where governing alone did it.
    rule: Option<usize>,
    /// The revision in which it is written so.
    revision: Option<String>,
    /// The file in which it is.
    file: Option<String>,
    /// Line in it, from 1.
    line: Option<usize>,
}

/// What became of a policy.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum FateLine {
    Added,
    Removed,
    Changed,
}

/// A cause that is no policy.
#[derive(Serialize, JsonSchema)]
#[serde(tag = "what", rename_all = "lowercase")]
pub(crate) enum OtherLine {
    /// The tiers of a direction are others, or in another order.
    Tiers { direction: String },
    /// An end has other labels, ports or addresses.
    Changed { who: String },
    /// An end is new.
    Added { who: String },
    /// An end is gone.
    Removed { who: String },
}

impl<'s> Sides<'s> {
    /// A cause in a sentence.
    pub(super) fn told(&self, turn: Turn, cause: &Cause) -> Told {
        let (words, found) = match cause {
            Cause::Policy { policy, fate, direction, rule } => {
                let rule = rule.map(|index| RuleRef { policy: policy.clone(), direction: *direction, index });
                let place = self.place(turn, *fate, policy, rule.as_ref());
                (policy_words(turn, policy, *fate, *direction, rule.as_ref()), place)
            }
            Cause::Tiers(direction) => {
                (format!("the tiers of {direction} policies are others, or in another order"), None)
            }
            Cause::End(name) => (
                format!(
                    "{} has other labels, other named ports, or another address, or its namespace has other labels",
                    names::name(name)
                ),
                None,
            ),
            Cause::New(name) => (format!("{} is new", names::name(name)), None),
            Cause::Gone(name) => (format!("{} is gone", names::name(name)), None),
        };
        Told { words, place: found.map(|(side, place)| side.place(&place)) }
    }

    /// A cause for programs.
    pub(super) fn line(&self, turn: Turn, cause: &Cause) -> CauseLine {
        match cause {
            Cause::Policy { policy, fate, direction, rule } => {
                let named = rule.map(|index| RuleRef { policy: policy.clone(), direction: *direction, index });
                let found = self.place(turn, *fate, policy, named.as_ref());
                CauseLine::Policy(PolicyLine {
                    kind: policy.kind.to_string(),
                    namespace: policy.namespace.as_ref().map(ToString::to_string),
                    name: policy.name.to_string(),
                    fate: match fate {
                        Fate::Added => FateLine::Added,
                        Fate::Removed => FateLine::Removed,
                        Fate::Changed => FateLine::Changed,
                    },
                    direction: direction.to_string(),
                    rule: *rule,
                    revision: found.as_ref().and_then(|(side, _)| side.revision.clone()),
                    file: found.as_ref().map(|(_, place)| place.file.name().to_string()),
                    line: found.as_ref().map(|(_, place)| place.line()),
                })
            }
            Cause::Tiers(direction) => CauseLine::Other(OtherLine::Tiers { direction: direction.to_string() }),
            Cause::End(name) => CauseLine::Other(OtherLine::Changed { who: names::name(name) }),
            Cause::New(name) => CauseLine::Other(OtherLine::Added { who: names::name(name) }),
            Cause::Gone(name) => CauseLine::Other(OtherLine::Removed { who: names::name(name) }),
        }
    }

    /// Where the policy, or its rule that decides, is written.
    fn place(&self, turn: Turn, fate: Fate, policy: &ObjectRef, rule: Option<&RuleRef>) -> Option<(&'s Side, Place)> {
        let side = match fate {
            Fate::Added => self.new,
            Fate::Removed => self.old,
            Fate::Changed => self.deciding(turn, rule),
        };
        let snapshot = &side.snapshot;
        let place = match rule {
            Some(rule) => snapshot.place_of_rule(rule),
            None => snapshot.place_of(policy),
        };
        Some((side, place?))
    }

    /// The cluster whose rule decides. What is closed was allowed by a rule of the old policy, or is denied by one of
    /// the new; what is opened, the other way round.
    fn deciding(&self, turn: Turn, rule: Option<&RuleRef>) -> &'s Side {
        let allows = |side: &Side| {
            let rule = rule?;
            let policy = side.snapshot.index.policy(&rule.policy)?;
            Some(policy.rules(rule.direction)?.get(rule.index)?.action == Action::Allow)
        };
        let (first, second) = match turn {
            Turn::Opened => (self.new, self.old),
            Turn::Closed => (self.old, self.new),
        };
        match rule {
            None => self.new,
            Some(_) if allows(first) == Some(true) => first,
            Some(_) => second,
        }
    }
}

fn policy_words(turn: Turn, policy: &ObjectRef, fate: Fate, direction: Direction, rule: Option<&RuleRef>) -> String {
    let rule = rule.map(|rule| format!("{}[{}]", rule.direction, rule.index));
    let begins = match fate {
        Fate::Added => format!("{policy} is new: "),
        Fate::Removed => format!("{policy} is gone: "),
        Fate::Changed => format!("{policy} changed: "),
    };
    let what = match (turn, fate, rule) {
        (Turn::Opened, Fate::Added, Some(rule)) => format!("its {rule} allows this"),
        (Turn::Opened, Fate::Changed, Some(rule)) => format!("its {rule} allows this now"),
        (Turn::Opened, Fate::Removed, Some(rule)) => format!("its {rule} denied this"),
        (Turn::Closed, Fate::Added, Some(rule)) => format!("its {rule} denies this"),
        (Turn::Closed, Fate::Changed | Fate::Removed, Some(rule)) => format!("its {rule} allowed this"),
        (Turn::Closed, Fate::Added, None) => format!("it governs {direction}, and no rule allows this"),
        (Turn::Closed, Fate::Changed | Fate::Removed, None) => {
            format!("it governs {direction} now, and no rule allows this")
        }
        (Turn::Opened, Fate::Added | Fate::Changed, None) => format!("it does not govern {direction} any more"),
        (Turn::Opened, Fate::Removed, None) => format!("it governed {direction}, and no rule allowed this"),
    };
    begins + &what
}
