//! Why a flow is decided otherwise in another cluster: the policies that did it, or the ends.

use std::collections::BTreeSet;

use tortie_model::{Direction, ObjectRef};
use tortie_policy::{Action, By, Index, Outcome, Policy, Position, Regions, Stack, TierStack, Verdict};

use crate::connectivity::{Connectivity, Decision};
use crate::subject::Name;

/// Which way a flow went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Turn {
    /// It passes now.
    Opened,
    /// It does not any more.
    Closed,
}

/// What became of a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Fate {
    /// It is new.
    Added,
    /// It is gone.
    Removed,
    /// It says something else.
    Changed,
}

/// Why a flow was opened or closed.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Cause {
    /// A policy.
    Policy {
        /// Which.
        policy: ObjectRef,
        /// What became of it.
        fate: Fate,
        /// The direction in which it decides.
        direction: Direction,
        /// The rule that decides, by its place in the cluster that has it (a removed policy: the one before); none
        /// where the policy isolates the endpoint, and its rules do not speak of the flow.
        rule: Option<usize>,
    },
    /// The tiers are others, or in another order.
    Tiers(Direction),
    /// Policies are as they were, but an end is not: its labels, those of its namespace, its named ports, its addresses.
    End(Name),
    /// An object by which requests come into the cluster: an Ingress, a Service, and so on.
    Object {
        /// Which.
        object: ObjectRef,
        /// What became of it.
        fate: Fate,
    },
    /// The end was not there before.
    New(Name),
    /// The end is not there any more.
    Gone(Name),
}

/// Why packets between ends of some classes are decided otherwise: all causes in both directions.
pub(crate) fn causes(
    clusters: [&Connectivity; 2],
    ends: &[BTreeSet<(u32, u32)>; 2],
    (turn, packets): (Turn, &Regions<bool>),
    names: [&Name; 2],
) -> BTreeSet<Cause> {
    let mut out = BTreeSet::new();
    for old in &ends[0] {
        for new in &ends[1] {
            for direction in Direction::BOTH {
                let before = clusters[0].decision(old.0, old.1, direction);
                let after = clusters[1].decision(new.0, new.1, direction);
                out.extend(causes_in(direction, clusters, [&before, &after], (turn, packets), names));
            }
        }
    }
    out
}

/// Why two decisions in a direction differ about packets.
pub(crate) fn causes_in<'j>(
    direction: Direction,
    clusters: [&'j Connectivity; 2],
    [before, after]: [&'j Decision<'j>; 2],
    (turn, packets): (Turn, &Regions<bool>),
    names: [&'j Name; 2],
) -> BTreeSet<Cause> {
    let judge = Judge { clusters, before, after, direction, names };
    let mut out = BTreeSet::new();
    for (old, new) in flips(before, after, turn, packets) {
        judge.blame(old.as_ref(), new.as_ref(), &mut out);
    }
    out
}

/// The pairs of outcomes for packets that this direction turned.
fn flips(
    before: &Decision<'_>,
    after: &Decision<'_>,
    turn: Turn,
    packets: &Regions<bool>,
) -> BTreeSet<(Option<Outcome>, Option<Outcome>)> {
    let outcomes = |decision: &Decision<'_>| {
        decision.outcomes.as_ref().map_or(Regions::uniform(None), |o| o.map(|outcome| Some(outcome.clone())))
    };
    let pairs = outcomes(before).zip(&outcomes(after), |a, b| (a.clone(), b.clone()));
    let turned = pairs.zip(packets, |(a, b), among| {
        let allows = |o: &Option<Outcome>| o.as_ref().is_none_or(|o| o.verdict == Verdict::Allow);
        let flipped = match turn {
            Turn::Opened => !allows(a) && allows(b),
            Turn::Closed => allows(a) && !allows(b),
        };
        (*among && flipped).then(|| (a.clone(), b.clone()))
    });
    turned.iter().filter_map(|(_, pair)| pair.clone()).collect()
}

struct Judge<'j> {
    clusters: [&'j Connectivity; 2],
    before: &'j Decision<'j>,
    after: &'j Decision<'j>,
    direction: Direction,
    names: [&'j Name; 2],
}

impl Judge<'_> {
    /// Finds who did it. Of what decided before and decides now, that is to blame which is not in both clusters alike;
    /// where everything is, an end has changed.
    fn blame(&self, old: Option<&Outcome>, new: Option<&Outcome>, out: &mut BTreeSet<Cause>) {
        let mut found = BTreeSet::new();
        self.blame_in((self.before, old), self.after, 0, &mut found);
        self.blame_in((self.after, new), self.before, 1, &mut found);
        if found.is_empty() {
            // Whoever passed it on, and does not any more.
            self.blame_passing((self.before, old), &mut found);
        }
        if found.is_empty() {
            found.insert(self.otherwise());
        }
        out.extend(found);
    }

    /// Looks at what decided in one cluster.
    fn blame_in(
        &self,
        (decision, outcome): (&Decision<'_>, Option<&Outcome>),
        other: &Decision<'_>,
        i: usize,
        out: &mut BTreeSet<Cause>,
    ) {
        let (Some(stack), Some(outcome)) = (decision.stack, outcome) else { return };
        match outcome.by {
            By::Rule(position) => {
                if let Some(rule) = stack.rule_ref(position) {
                    out.extend(self.fate(&rule.policy).map(|fate| self.policy(&rule.policy, fate, Some(rule.index))));
                }
            }
            By::EndOfTier(tier) => {
                // A tier that denied in the other cluster, too, isolated the endpoint already: its other policies
                // have no part in this.
                let tier = &stack.tiers()[tier];
                let policies = if isolates(other.stack, tier) { &[][..] } else { &tier.policies };
                let newcomers = policies.iter().map(|p| &p.object);
                let fates = newcomers.filter_map(|policy| Some((policy, self.fate(policy)?)));
                out.extend(fates.map(|(policy, fate)| self.policy(policy, fate, None)));
            }
            By::Profile => {}
        }
        // Whoever passes the packet on to a later tier had a part in it.
        if i == 1 {
            self.blame_passing((decision, Some(outcome)), out);
        }
    }

    fn blame_passing(&self, (decision, outcome): (&Decision<'_>, Option<&Outcome>), out: &mut BTreeSet<Cause>) {
        let (Some(stack), Some(outcome)) = (decision.stack, outcome) else { return };
        // Rules that log are among them, and have no part in it.
        let passes = |at: &&Position| stack.rules().any(|(p, rule)| p == **at && rule.action == Action::Pass);
        for rule in outcome.passed.iter().filter(passes).filter_map(|at| stack.rule_ref(*at)) {
            out.extend(self.fate(&rule.policy).map(|fate| self.policy(&rule.policy, fate, Some(rule.index))));
        }
    }

    fn policy(&self, policy: &ObjectRef, fate: Fate, rule: Option<usize>) -> Cause {
        Cause::Policy { policy: policy.clone(), fate, direction: self.direction, rule }
    }

    /// What became of a policy; nothing when both clusters have it alike.
    fn fate(&self, policy: &ObjectRef) -> Option<Fate> {
        let [before, after] = self.clusters.map(|cluster| namesake(cluster.index(), policy));
        match (before, after) {
            (None, _) => Some(Fate::Added),
            (_, None) => Some(Fate::Removed),
            (Some(a), Some(b)) => (!alike(a, b)).then_some(Fate::Changed),
        }
    }

    /// What it can be where no policy that decided differs.
    fn otherwise(&self) -> Cause {
        let policies = |stack: Option<&Stack>| -> Vec<_> {
            stack.into_iter().flat_map(Stack::policies).map(|p| p.object.enforced()).collect()
        };
        let (old, new) = (policies(self.before.stack), policies(self.after.stack));
        let [sender, receiver] = self.names;
        let (own, other) = match self.direction {
            Direction::Egress => (sender, receiver),
            Direction::Ingress => (receiver, sender),
        };
        let sorted = |list: &[ObjectRef]| list.iter().cloned().collect::<BTreeSet<_>>();
        if sorted(&old) != sorted(&new) {
            // Others select it now.
            return Cause::End(own.clone());
        }
        let tiers = |stack: Option<&Stack>| -> Vec<_> {
            stack.into_iter().flat_map(Stack::tiers).map(|t| (t.name.clone(), t.end)).collect()
        };
        if old != new || tiers(self.before.stack) != tiers(self.after.stack) {
            return Cause::Tiers(self.direction);
        }
        Cause::End(other.clone())
    }
}

/// The policy of that name; one that is staged is the same as the enforced one that it is about.
fn namesake<'i>(index: &'i Index, policy: &ObjectRef) -> Option<&'i Policy> {
    let enforced = || policy.enforced();
    let staged = || Some(ObjectRef { kind: policy.kind.staged()?, ..policy.clone() });
    let found = index.policy(policy).or_else(|| index.policy(&enforced())).or_else(|| index.policy(&staged()?));
    found.map(|policy| &**policy)
}

/// Whether two policies say the same, whatever they are called.
fn alike(a: &Policy, b: &Policy) -> bool {
    a == b || (a.object != b.object && *a == Policy { object: a.object.clone(), ..b.clone() })
}

/// Whether a stack has a tier of this name that ends as this one does.
fn isolates(stack: Option<&Stack>, tier: &TierStack) -> bool {
    stack.into_iter().flat_map(Stack::tiers).any(|t| t.name == tier.name && t.end == tier.end)
}
