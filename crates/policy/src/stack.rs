//! The tiers and policies that govern one endpoint in one direction, and their two evaluations: for one packet, and
//! for all packets at once.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::sync::Arc;

use tortie_model::{Direction, ObjectRef};

use crate::ports::{Asked, EPHEMERAL_PORT, Names};
use crate::regions::Regions;
use crate::rule::{EndAction, Policy, Rule};
use crate::side::Side;
use crate::sweep;
use crate::walk::walk;

/// Whether a packet passes in a direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Verdict {
    /// It passes.
    Allow,
    /// It does not.
    Deny,
}

/// The place of a rule in a [`Stack`]: rules are numbered through in the order in which they are asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Position(pub u32);

/// What decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum By {
    /// A rule.
    Rule(Position),
    /// The end of a tier, by its place in [`Stack::tiers`].
    EndOfTier(usize),
    /// Nothing: no policy governs the endpoint in this direction, or every tier passed the packet on. The namespace's
    /// profile allows it.
    Profile,
}

/// The decision for a packet in one direction, and how it came about.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Outcome {
    /// The verdict.
    pub verdict: Verdict,
    /// What decided.
    pub by: By,
    /// Log and Pass rules that matched on the way, in order.
    pub passed: Vec<Position>,
}

/// A rule by the name of its policy: item `index` (from 0) of its `ingress` or `egress`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RuleRef {
    /// The policy.
    pub policy: ObjectRef,
    /// Which list.
    pub direction: Direction,
    /// Which item.
    pub index: usize,
}

/// One tier with those of its policies that govern the endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TierStack {
    /// Name of the tier.
    pub name: Arc<str>,
    /// What its end does.
    pub end: EndAction,
    /// The policies, in order. Never empty: a tier none of whose policies governs the endpoint does not count.
    pub policies: Vec<Arc<Policy>>,
}

/// What governs one endpoint in one direction.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Stack {
    direction: Direction,
    tiers: Vec<TierStack>,
}

impl Stack {
    /// A stack of tiers in order; tiers without policies are left out.
    #[must_use]
    pub fn new(direction: Direction, tiers: impl IntoIterator<Item = TierStack>) -> Self {
        Self { direction, tiers: tiers.into_iter().filter(|t| !t.policies.is_empty()).collect() }
    }

    /// The direction.
    #[must_use]
    pub const fn direction(&self) -> Direction {
        self.direction
    }

    /// The tiers, in order.
    #[must_use]
    pub fn tiers(&self) -> &[TierStack] {
        &self.tiers
    }

    /// Whether no policy governs the endpoint in this direction.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tiers.is_empty()
    }

    /// The policies in the order in which they are asked.
    pub fn policies(&self) -> impl Iterator<Item = &Arc<Policy>> {
        self.tiers.iter().flat_map(|t| &t.policies)
    }

    /// The rules of a policy of this stack.
    pub(crate) fn rules_of<'a>(&self, policy: &'a Policy) -> &'a [Rule] {
        policy.rules(self.direction).expect("a stack holds only policies that govern its direction")
    }

    /// All rules with their positions, in order.
    pub fn rules(&self) -> impl Iterator<Item = (Position, &Rule)> {
        let rules = self.policies().flat_map(|p| self.rules_of(p));
        rules.enumerate().map(|(i, r)| (Position(u32::try_from(i).expect("fewer than 2^32 rules")), r))
    }

    /// For each tier: the position after its last rule, and what its end does.
    pub(crate) fn ends(&self) -> impl Iterator<Item = (Position, EndAction)> {
        let mut rules = 0;
        self.tiers.iter().map(move |tier| {
            rules += tier.policies.iter().map(|p| self.rules_of(p).len()).sum::<usize>();
            (Position(u32::try_from(rules).expect("fewer than 2^32 rules")), tier.end)
        })
    }

    /// The rule at a position, by name.
    #[must_use]
    pub fn rule_ref(&self, position: Position) -> Option<RuleRef> {
        let mut left = position.0 as usize;
        for policy in self.policies() {
            let rules = self.rules_of(policy);
            if let Some(rule) = rules.get(left) {
                return Some(RuleRef { policy: policy.object.clone(), direction: self.direction, index: rule.written });
            }
            left -= rules.len();
        }
        None
    }

    /// The position of what decides: that of the rule, or the one after the last rule that was asked.
    #[must_use]
    pub fn position_of(&self, by: By) -> Position {
        let tiers = match by {
            By::Rule(position) => return position,
            By::EndOfTier(tier) => &self.tiers[..=tier],
            By::Profile => &self.tiers[..],
        };
        let rules = tiers.iter().flat_map(|tier| &tier.policies).map(|p| self.rules_of(p).len()).sum::<usize>();
        Position(u32::try_from(rules).expect("fewer than 2^32 rules"))
    }

    /// The tier of the rule at a position, by its place in [`Stack::tiers`].
    #[must_use]
    pub fn tier_of(&self, position: Position) -> Option<usize> {
        (0..self.tiers.len()).find(|tier| position < self.position_of(By::EndOfTier(*tier)))
    }

    /// Decides one packet, walking the rules in order.
    ///
    /// `peer` is the other end; `names` are the named ports of both.
    #[must_use]
    pub fn decide(&self, peer: &Side, asked: impl Into<Asked>, names: Names<'_>) -> Outcome {
        let asked = asked.into();
        let mut rules = self.rules().peekable();
        walk(self.ends(), |from, end| {
            loop {
                let (here, rule) = rules.next_if(|(here, _)| *here < end)?;
                if here >= from && rule.admits(asked, names) && rule.peers.matches(peer) {
                    return Some((here, rule.action));
                }
            }
        })
    }

    /// Whether a pod's connection to itself by way of a Service passes although this denies it: a NetworkPolicy "cannot
    /// block itself", every other policy is evaluated.
    #[must_use]
    pub fn spares_itself(&self, outcome: &Outcome) -> bool {
        outcome.verdict == Verdict::Deny
            && match outcome.by {
                By::Rule(position) => self.rule_ref(position).is_some_and(|rule| rule.policy.is_network_policy()),
                By::EndOfTier(tier) => self.tiers[tier].policies.iter().all(|p| p.object.is_network_policy()),
                By::Profile => false,
            }
    }

    /// The positions of the rules whose peers match the other end, in order: all that [`Stack::resolve`] needs to
    /// know of it.
    #[must_use]
    pub fn matched(&self, peer: &Side) -> Vec<Position> {
        self.rules().filter(|(_, r)| r.peers.matches(peer)).map(|(p, _)| p).collect()
    }

    /// Decides all packets from a client's port at once, given the rules whose peers match (sorted).
    #[must_use]
    pub fn resolve(&self, matched: &[Position], names: Names<'_>) -> Regions<Outcome> {
        self.resolve_from(EPHEMERAL_PORT, matched, names)
    }

    /// Decides all packets from a port at once, given the rules whose peers match (sorted).
    #[must_use]
    pub fn resolve_from(&self, source_port: u16, matched: &[Position], names: Names<'_>) -> Regions<Outcome> {
        sweep::resolve(self, source_port, matched, names)
    }

    /// Source ports that these rules cannot tell apart, as ranges in order. One, when none of them asks.
    #[must_use]
    pub fn source_ranges(&self, matched: &[Position], names: Names<'_>) -> Vec<RangeInclusive<u16>> {
        if !self.rules().any(|(_, rule)| rule.asks_source_port()) {
            return vec![0..=u16::MAX];
        }
        let rules = sweep::Numbered::new(self);
        let cuts = matched.iter().flat_map(|p| rules.get(*p).source_cuts(names.source));
        let cuts: BTreeSet<u16> = cuts.collect();
        let starts = [0].into_iter().chain(cuts.iter().copied());
        let ends = cuts.iter().map(|cut| cut - 1).chain([u16::MAX]);
        starts.zip(ends).map(|(start, end)| start..=end).collect()
    }

    /// Decides all packets from or to another end at once, from a client's port.
    #[must_use]
    pub fn regions(&self, peer: &Side, names: Names<'_>) -> Regions<Outcome> {
        self.resolve(&self.matched(peer), names)
    }
}
