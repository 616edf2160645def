//! Who did it, in words and as data.

use schemars::JsonSchema;
use serde::Serialize;
use tortie_analysis::preview::{Change, Effect};
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
    /// `main:k8s/db.yaml:12`; first that of what did it.
    pub(super) places: Vec<String>,
}

/// A cause as programs read it.
#[derive(Serialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum CauseLine {
    /// A policy, or a rule of it.
    Policy(Box<PolicyLine>),
    /// An object by which requests come in.
    Object(ObjectLine),
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
    /// The object that stages this, where the cluster is that in which all that is staged was done.
    #[serde(skip_serializing_if = "Option::is_none")]
    staged: Option<StagedLine>,
}

/// The object that adds, replaces or deletes a policy.
#[derive(Serialize, JsonSchema)]
struct StagedLine {
    /// Its kind; namespace and name are those of the policy.
    kind: String,
    /// What it does.
    effect: EffectLine,
    /// The file in which it is.
    file: Option<String>,
    /// Line in it, from 1.
    line: Option<usize>,
}

/// What a staged policy does.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum EffectLine {
    Adds,
    Replaces,
    Deletes,
}

/// An Ingress, a Service, or another object by which requests come in, that did it.
#[derive(Serialize, JsonSchema)]
pub(crate) struct ObjectLine {
    /// Its kind.
    kind: String,
    /// Its namespace.
    namespace: Option<String>,
    /// Its name.
    name: String,
    /// What became of it.
    fate: FateLine,
    /// The revision in which it is written so.
    revision: Option<String>,
    /// The file in which it is.
    file: Option<String>,
    /// Line in it, from 1.
    line: Option<usize>,
}

/// What became of an object.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum FateLine {
    Added,
    Removed,
    Changed,
}

impl From<Fate> for FateLine {
    fn from(fate: Fate) -> Self {
        match fate {
            Fate::Added => Self::Added,
            Fate::Removed => Self::Removed,
            Fate::Changed => Self::Changed,
        }
    }
}

/// A cause that is no object.
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
        let words = match cause {
            Cause::Policy { policy, fate, direction, rule } => {
                let blamed = self.blamed(turn, policy, *fate, *direction, *rule);
                return Told { words: blamed.words(turn, *fate, *direction), places: blamed.places() };
            }
            Cause::Tiers(direction) => format!("the tiers of {direction} policies are others, or in another order"),
            Cause::End(name) => format!(
                "{} has other labels, other named ports, or another address, or its namespace has other labels",
                names::name(name)
            ),
            Cause::Object { object, fate } => {
                let place = self.place_of(*fate, object).map(|(side, place)| side.place(&place));
                return Told { words: object_words(turn, object, *fate), places: place.into_iter().collect() };
            }
            Cause::New(name) => format!("{} is new", names::name(name)),
            Cause::Gone(name) => format!("{} is gone", names::name(name)),
        };
        Told { words, places: Vec::new() }
    }

    /// A cause for programs.
    pub(super) fn line(&self, turn: Turn, cause: &Cause) -> CauseLine {
        match cause {
            Cause::Policy { policy, fate, direction, rule } => {
                let blamed = self.blamed(turn, policy, *fate, *direction, *rule);
                let found = blamed.place();
                CauseLine::Policy(Box::new(PolicyLine {
                    kind: policy.kind.to_string(),
                    namespace: policy.namespace.as_ref().map(ToString::to_string),
                    name: policy.name.to_string(),
                    fate: (*fate).into(),
                    direction: direction.to_string(),
                    rule: *rule,
                    revision: found.as_ref().and_then(|_| blamed.side.revision.clone()),
                    file: found.as_ref().map(|place| place.file.name().to_string()),
                    line: found.as_ref().map(Place::line),
                    staged: blamed.staged_line(),
                }))
            }
            Cause::Object { object, fate } => {
                let found = self.place_of(*fate, object);
                CauseLine::Object(ObjectLine {
                    kind: object.kind.to_string(),
                    namespace: object.namespace.as_ref().map(ToString::to_string),
                    name: object.name.to_string(),
                    fate: (*fate).into(),
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

    fn blamed<'b>(
        &self,
        turn: Turn,
        policy: &'b ObjectRef,
        fate: Fate,
        direction: Direction,
        rule: Option<usize>,
    ) -> Blamed<'b>
    where
        's: 'b,
    {
        let rule = rule.map(|index| RuleRef { policy: policy.clone(), direction, index });
        let side = match fate {
            Fate::Added => self.new,
            Fate::Removed => self.old,
            Fate::Changed => self.deciding(turn, rule.as_ref()),
        };
        let change = self.new.preview.as_ref().and_then(|preview| preview.change_of(policy));
        // One of these names can also have changed by itself, where OLD is another revision.
        let staged = change.filter(|change| change.staged == *policy || change.gone().as_ref() == Some(policy));
        let staged = staged.map(|change| Staged { change, side: self.new });
        Blamed { policy, rule, side, is_new: std::ptr::eq(side, self.new), staged }
    }

    /// Where an object is written, as it is now, or as it was when it is gone.
    fn place_of(&self, fate: Fate, object: &ObjectRef) -> Option<(&'s Side, Place)> {
        let side = if fate == Fate::Removed { self.old } else { self.new };
        Some((side, side.snapshot.place_of(object)?))
    }

    /// The cluster whose rule decides: the only one that has it, or else the one that does what the flow lost or won. What
    /// is closed was allowed by a rule of the old policy, or is denied by one of the new; what is opened, the other way
    /// round.
    fn deciding(&self, turn: Turn, rule: Option<&RuleRef>) -> &'s Side {
        let (first, second) = match turn {
            Turn::Opened => (self.new, self.old),
            Turn::Closed => (self.old, self.new),
        };
        let Some(rule) = rule else { return self.new };
        match (action(first, rule), action(second, rule)) {
            (Some(Action::Allow), _) | (Some(_), None) => first,
            _ => second,
        }
    }
}

fn object_words(turn: Turn, object: &ObjectRef, fate: Fate) -> String {
    match (turn, fate) {
        (Turn::Opened, Fate::Added) => format!("{object} is new: requests come in through it"),
        (Turn::Opened, Fate::Changed) => format!("{object} changed: requests come in through it now"),
        (Turn::Opened, Fate::Removed) => format!("{object} is gone: it kept requests out"),
        (Turn::Closed, Fate::Added) => format!("{object} is new: it keeps requests out"),
        (Turn::Closed, Fate::Changed) => format!("{object} changed: requests came in through it"),
        (Turn::Closed, Fate::Removed) => format!("{object} is gone: requests came in through it"),
    }
}

/// What a rule of a cluster does.
fn action(side: &Side, rule: &RuleRef) -> Option<Action> {
    let policy = side.snapshot.index.policy(&rule.policy)?;
    policy.rules(rule.direction)?.iter().find(|r| r.written == rule.index).map(|r| r.action)
}

/// A policy that did it, in the cluster in which it, or its rule, decides.
struct Blamed<'b> {
    policy: &'b ObjectRef,
    rule: Option<RuleRef>,
    side: &'b Side,
    is_new: bool,
    staged: Option<Staged<'b>>,
}

/// What is staged of a policy.
struct Staged<'b> {
    change: &'b Change,
    side: &'b Side,
}

impl Staged<'_> {
    /// Where it is written.
    fn place(&self) -> Option<Place> {
        self.side.snapshot.place_of(&self.change.staged)
    }
}

impl Blamed<'_> {
    /// Where the policy, or its rule that decides, is written.
    fn place(&self) -> Option<Place> {
        match &self.rule {
            Some(rule) => self.side.snapshot.place_of_rule(rule),
            None => self.side.snapshot.place_of(self.policy),
        }
    }

    /// The same for people; what is enforced comes after what is staged in its place.
    fn places(&self) -> Vec<String> {
        let staged = self.staged.as_ref().filter(|staged| staged.change.staged != *self.policy);
        let staged = staged.and_then(|staged| Some(staged.side.place(&staged.place()?)));
        staged.into_iter().chain(self.place().map(|place| self.side.place(&place))).collect()
    }

    fn words(&self, turn: Turn, fate: Fate, direction: Direction) -> String {
        let policy = self.policy;
        let begins = match (&self.staged, fate) {
            (Some(Staged { change, .. }), _) => match change.effect {
                Effect::Replaced => format!("{} replaces {}", change.staged, change.enforced()),
                Effect::Deleted => format!("{} deletes {}", change.staged, change.enforced()),
                Effect::Added | Effect::Missing | Effect::Ignored => format!("{} is staged", change.staged),
            },
            (None, Fate::Added) => format!("{policy} is new"),
            (None, Fate::Removed) => format!("{policy} is gone"),
            (None, Fate::Changed) => format!("{policy} changed"),
        };
        let Some(rule) = &self.rule else {
            let what = match (turn, fate) {
                (Turn::Closed, Fate::Added) => format!("it governs {direction}, and no rule allows this"),
                (Turn::Closed, _) => format!("it governs {direction} now, and no rule allows this"),
                (Turn::Opened, Fate::Removed) => format!("it governed {direction}, and no rule allowed this"),
                (Turn::Opened, _) => format!("it does not govern {direction} any more"),
            };
            return format!("{begins}: {what}");
        };
        let what = match (action(self.side, rule), turn, self.is_new) {
            (Some(Action::Pass), _, true) => "passes this on",
            (Some(Action::Pass), _, false) => "passed this on",
            (_, Turn::Opened, true) => "allows this",
            (_, Turn::Opened, false) => "denied this",
            (_, Turn::Closed, true) => "denies this",
            (_, Turn::Closed, false) => "allowed this",
        };
        let now = if fate == Fate::Changed && self.is_new { " now" } else { "" };
        // Of two policies of one name, it is the one before whose rule it was.
        let whose = if self.staged.is_some() && !self.is_new { ", whose" } else { ": its" };
        format!("{begins}{whose} {}[{}] {what}{now}", rule.direction, rule.index)
    }

    fn staged_line(&self) -> Option<StagedLine> {
        let staged = self.staged.as_ref()?;
        let place = staged.place();
        let effect = match staged.change.effect {
            Effect::Added => EffectLine::Adds,
            Effect::Replaced => EffectLine::Replaces,
            Effect::Deleted => EffectLine::Deletes,
            Effect::Missing | Effect::Ignored => return None,
        };
        Some(StagedLine {
            kind: staged.change.staged.kind.to_string(),
            effect,
            file: place.as_ref().map(|place| place.file.name().to_string()),
            line: place.as_ref().map(Place::line),
        })
    }
}
