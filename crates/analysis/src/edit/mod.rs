//! The smallest change of the manifests that would let a denied flow through.
//!
//! Every way that a NetworkPolicy offers is tried: another port or peer in a rule, a label that a selector asks for,
//! another rule, another policy. Each is made in the text, read again, and judged by the engine: one that does not let
//! the flow through is none. Of the others the one is chosen that opens least besides, and of equals the shortest.

mod candidate;
mod opening;
mod patch;
mod peer;
mod population;

pub use opening::{Example, Opening};
pub use patch::Patch;

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use tortie_manifest::patch::{TextEdit, reread};
use tortie_manifest::{LoadOptions, Memory, load};
use tortie_model::{Direction, Family, Labels, Object, ObjectRef, Traffic};
use tortie_policy::{
    By, DEFAULT_TIER, Delta, Half, Index, NETWORK_POLICY_ORDER, Order, PodKey, Policy, RuleRef, Side, network_policy,
};

use crate::view::View;
use candidate::{Candidate, Reread, candidates};
use opening::{Before, Changed, Measure, PolicyChange};
pub use population::Population;

/// What is changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// One more port in a rule whose peers match.
    Port(RuleRef),
    /// One more peer in a rule whose ports match.
    Peer(RuleRef),
    /// A label on a pod, on the template of its workload, or on a namespace.
    Label {
        /// The object.
        object: ObjectRef,
        /// The labels.
        labels: Vec<(String, String)>,
    },
    /// One more rule in a policy.
    Rule(ObjectRef, Direction),
    /// One more policy.
    Policy(ObjectRef, Direction),
}

/// A change that lets a flow through, and what it does besides.
#[derive(Clone, Debug)]
pub struct Edit {
    /// What is changed: one thing for each direction that denied.
    pub changes: Vec<Change>,
    /// The change in the text.
    pub patch: Patch,
    /// What else it opens.
    pub opening: Opening,
}

/// Why there is no edit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoEdit {
    /// The flow is allowed as it is.
    #[error("the flow is allowed")]
    Allowed,
    /// A rule denies it that no NetworkPolicy is asked before.
    #[error("no NetworkPolicy can allow it: {}[{}] of {} denies it", .0.direction, .0.index, .0.policy)]
    Rule(RuleRef),
    /// The end of a tier denies it in which no NetworkPolicy is.
    #[error("no NetworkPolicy can allow it: tier {0} denies at its end")]
    Tier(Arc<str>),
    /// Nothing that was tried lets the flow through.
    #[error("none was found that the text has room for")]
    None,
}

/// Candidates of each direction that are tried with those of the other, when both deny.
const TRIED_TOGETHER: usize = 5;

/// Finds the smallest change that lets a flow through.
///
/// # Errors
/// When there is none.
pub fn minimal(
    view: View<'_>,
    population: &Population,
    from: &Side,
    to: &Side,
    traffic: Traffic,
) -> Result<Edit, NoEdit> {
    let flow = Asked { view, population, from, to, traffic, passed: Before::default() };
    let verdict = view.index.verdict(from, to, traffic);
    let mut halves = Vec::new();
    for direction in Direction::BOTH {
        let half = verdict.half(direction);
        if half.is_allowed() {
            continue;
        }
        halves.push(candidates(&flow, half, reachable(view.index, half)?));
    }
    let mut best: Option<(Rank, Edit)> = None;
    for chosen in together(&halves) {
        flow.consider(&chosen, &mut best);
    }
    match best {
        Some((_, edit)) => Ok(edit),
        None if halves.is_empty() => Err(NoEdit::Allowed),
        None => Err(NoEdit::None),
    }
}

/// The policies of the tier in which a NetworkPolicy is asked before what denies.
fn reachable<'h>(index: &Index, half: &'h Half) -> Result<&'h [Arc<Policy>], NoEdit> {
    let tiers = half.stack.tiers();
    let default = tiers.iter().find(|t| &*t.name == DEFAULT_TIER);
    match half.outcome.by {
        By::EndOfTier(tier) => {
            let tier = &tiers[tier];
            default.filter(|t| t.name == tier.name).map(|t| &*t.policies).ok_or_else(|| NoEdit::Tier(tier.name.clone()))
        }
        By::Rule(position) => {
            let rule = half.stack.rule_ref(position).ok_or(NoEdit::None)?;
            let policy = index.policy(&rule.policy).ok_or(NoEdit::None)?;
            let is_behind = &*policy.tier == DEFAULT_TIER && policy.order > Order::new(NETWORK_POLICY_ORDER);
            default.filter(|_| is_behind).map(|t| &*t.policies).ok_or(NoEdit::Rule(rule))
        }
        By::Profile => Err(NoEdit::None),
    }
}

/// The edit that adds a policy for each direction that denies, and touches nothing else: what every other is held
/// against.
///
/// # Errors
/// When there is none.
pub fn trivial(
    view: View<'_>,
    population: &Population,
    from: &Side,
    to: &Side,
    traffic: Traffic,
) -> Result<Edit, NoEdit> {
    let flow = Asked { view, population, from, to, traffic, passed: Before::default() };
    let verdict = view.index.verdict(from, to, traffic);
    let denied = Direction::BOTH.into_iter().filter(|d| !verdict.half(*d).is_allowed());
    let chosen: Option<Vec<Candidate>> = denied.map(|d| candidate::policy(&flow, d)).collect();
    let chosen = chosen.ok_or(NoEdit::None)?;
    let mut best = None;
    flow.consider(&chosen.iter().collect::<Vec<_>>(), &mut best);
    best.map(|(_, edit)| edit).ok_or(NoEdit::None)
}

/// One candidate of each half, in all ways; the new policy, which is last, is always among those tried.
fn together(halves: &[Vec<Candidate>]) -> Vec<Vec<&Candidate>> {
    match halves {
        [] => Vec::new(),
        [one] => one.iter().map(|c| vec![c]).collect(),
        [first, second, ..] => {
            let few = |half: &'_ [Candidate]| -> Vec<usize> {
                let last = half.len().saturating_sub(1);
                (0..half.len()).filter(|i| *i + 1 < TRIED_TOGETHER || *i == last).collect()
            };
            let (few_first, few_second) = (few(first), few(second));
            let pairs = few_first.iter().flat_map(|i| few_second.iter().map(move |j| (*i, *j)));
            pairs.map(|(i, j)| vec![&first[i], &second[j]]).collect()
        }
    }
}

/// What is compared: closed pairs, opened from or to outside, opened pairs, opened ports, what only the other end keeps
/// closed, rules in policies that are there to deny, lines.
type Rank = (u64, u64, u64, u64, u64, usize, usize);

/// The flow that is to be let through.
pub(crate) struct Asked<'a> {
    pub(crate) view: View<'a>,
    pub(crate) population: &'a Population,
    pub(crate) from: &'a Side,
    pub(crate) to: &'a Side,
    pub(crate) traffic: Traffic,
    /// What passes as it is, of the pairs that were looked at.
    passed: Before,
}

impl Asked<'_> {
    /// The end that policies of a direction govern, and the other one.
    pub(crate) fn ends(&self, direction: Direction) -> (&Side, &Side) {
        match direction {
            Direction::Egress => (self.from, self.to),
            Direction::Ingress => (self.to, self.from),
        }
    }

    /// Tries candidates together, and keeps them when they are better than the best.
    fn consider(&self, chosen: &[&Candidate], best: &mut Option<(Rank, Edit)>) {
        let Some((after, changed)) = self.made(chosen) else { return };
        let again = |side: &Side| again(&after, side);
        let (Some(from), Some(to)) = (again(self.from), again(self.to)) else { return };
        if !after.verdict(&from, &to, self.traffic).is_allowed() {
            return;
        }
        let limit = best.as_ref().map(|((closed, outside, pairs, ..), _)| (*closed, *outside, *pairs));
        let (before, passed, asked) = (self.view.index, &self.passed, [self.from, self.to]);
        let measure = Measure { before, passed, after: &after, asked, limit };
        let Some(opening) = measure.opening(self.population, &changed) else { return };
        let lines = chosen.iter().map(|c| c.lines()).sum();
        let Opening { closed, outside, pairs, width, latent, .. } = opening;
        let denying = chosen.iter().filter(|c| self.is_there_to_deny(c)).count();
        let rank = (closed, outside, pairs, width, latent, denying, lines);
        if best.as_ref().is_none_or(|(other, _)| rank < *other) {
            let changes = chosen.iter().map(|c| c.change.clone()).collect();
            let patch = Patch::new(chosen.iter().flat_map(|c| &c.edits), chosen.iter().filter_map(|c| c.file.as_ref()));
            *best = Some((rank, Edit { changes, patch, opening }));
        }
    }

    /// Whether a rule would come into a policy that has none of its direction, and so is there to deny.
    fn is_there_to_deny(&self, candidate: &Candidate) -> bool {
        let Change::Rule(policy, direction) = &candidate.change else { return false };
        let rules = self.view.index.policy(policy).and_then(|p| p.rules(*direction));
        rules.is_some_and(<[_]>::is_empty)
    }

    /// The cluster after changes: the texts are changed, read again, and what they say is applied.
    fn made(&self, chosen: &[&Candidate]) -> Option<(Index, Changed)> {
        let mut after = self.view.index.clone();
        let mut changed = Changed::default();
        let mut objects: BTreeMap<&ObjectRef, Vec<&Candidate>> = BTreeMap::new();
        for candidate in chosen {
            objects.entry(&candidate.object).or_default().push(candidate);
        }
        for (object, candidates) in objects {
            let written = match candidates[..] {
                [one] => one.reread.get_or_init(|| self.read(object, &candidates)).clone()?,
                _ => self.read(object, &candidates)?,
            };
            let labels = candidates.iter().filter_map(|c| match &c.change {
                Change::Label { labels, .. } => Some(labels),
                _ => None,
            });
            let labels: Vec<&str> = labels.flatten().map(|(key, _)| key.as_str()).collect();
            self.take(written, &labels, &mut after, &mut changed)?;
        }
        Some((after, changed))
    }

    /// An object as its changed text says, or that of its new file.
    fn read(&self, object: &ObjectRef, candidates: &[&Candidate]) -> Option<Reread> {
        let loaded = match candidates.iter().find_map(|c| c.file.as_ref()) {
            Some((name, text)) => {
                let files = Memory::new([(name.as_str(), text.as_str())]);
                load(&files, &[name.as_str()], &LoadOptions::default())
            }
            None => {
                let edits: Vec<TextEdit> = candidates.iter().flat_map(|c| &c.edits).cloned().collect();
                let options = LoadOptions { namespace: object.namespace_str().into() };
                reread(self.view.store.origin(object)?, &edits, &options)
            }
        };
        if loaded.has_untrusted_object() {
            return None;
        }
        let reread = loaded.objects.into_iter().map(|o| o.object).find(|o| o.reference() == *object)?;
        Some(match reread {
            Object::NetworkPolicy(policy) => {
                let old = self.view.index.policy(object).cloned();
                Reread::Policy(Rc::new(PolicyChange::new(old, Arc::new(network_policy(&policy)))))
            }
            other => Reread::Other(Rc::new(other)),
        })
    }

    /// Applies an object as it is written now. Of labels it takes those that were written: a case may have changed
    /// others after it was read.
    fn take(&self, reread: Reread, written: &[&str], after: &mut Index, changed: &mut Changed) -> Option<()> {
        let object = match reread {
            Reread::Policy(change) => {
                after.apply(Delta::Policy(Box::new((**change.policy()).clone())));
                changed.policies.push(change);
                return Some(());
            }
            Reread::Other(object) => object,
        };
        let reference = object.reference();
        match &*object {
            Object::Namespace(namespace) => {
                let now = self.view.index.namespace(namespace.name())?;
                let labels = with(now.labels().clone(), namespace.labels(), written);
                changed.pods.extend(self.view.index.pods_of(namespace.name()).map(|p| PodKey::of(p)));
                after.apply(Delta::Namespace(now.with_labels(&labels)));
            }
            Object::Pod(_) | Object::Workload(_) => {
                // Pods keep what they are but for the labels that came to what they are made of.
                let labels = match &*object {
                    Object::Workload(workload) => &workload.template.labels,
                    _ => object.labels(),
                };
                let is_its = |pod: &&Arc<tortie_model::Pod>| match &*object {
                    Object::Pod(own) => PodKey::of(own) == PodKey::of(pod),
                    _ => pod.owner.as_ref() == Some(&reference),
                };
                let namespace: Arc<str> = reference.namespace_str().into();
                let pods: Vec<_> = self.view.index.pods_of(&namespace).filter(is_its).cloned().collect();
                for pod in pods {
                    let mut pod = (*pod).clone();
                    pod.meta.labels = with(pod.meta.labels, labels, written);
                    changed.pods.insert(PodKey::of(&pod));
                    after.apply(Delta::Pod(Box::new(pod)));
                }
            }
            _ => return None,
        }
        Some(())
    }
}

/// Labels with those of some keys from others.
fn with(labels: Labels, others: &Labels, keys: &[&str]) -> Labels {
    let written = others.iter().filter(|(key, _)| keys.contains(key));
    written.fold(labels, |all, (key, value)| all.with(key, value))
}

/// An end as it is in another state of the cluster.
fn again(after: &Index, side: &Side) -> Option<Side> {
    match side.pod() {
        Some(pod) => after.pod_side(after.pod(&PodKey::of(pod))?, side.ip().map(Family::of)),
        None => Some(side.clone()),
    }
}
