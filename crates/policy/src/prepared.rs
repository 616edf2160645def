//! A stack made ready for many packets: what a packet costs then depends little on how many rules there are.
//!
//! Nothing is decided here in another way than in [`Stack::decide`]. What rules say of packets and of other ends is
//! indexed, so that only those are asked that may match: a rule that is not found could not have matched, and one that
//! is found is asked by itself.

mod bits;
mod ends;
mod packets;
mod prefixes;
mod signs;

use std::sync::Arc;

use crate::ports::{Asked, Names};
use crate::rule::{EndAction, Policy, Rule};
use crate::side::Side;
use crate::stack::{Outcome, Position, Stack};
use crate::walk::walk;
use bits::Room;
use ends::Ends;
use packets::Packets;

/// A stack with an index of its rules: some hundred bytes for each rule, and for each address that rules name 8 (IPv4) or
/// 32.
#[derive(Clone, Debug)]
pub struct Prepared {
    stack: Stack,
    /// Policies in order, each with the position of its first rule.
    policies: Vec<(Position, Arc<Policy>)>,
    /// For each rule, which policy it is of.
    policy_of: Vec<u32>,
    /// For each tier: the position after its last rule, and what its end does.
    tiers: Vec<(Position, EndAction)>,
    packets: Packets,
    ends: Ends,
}

impl Stack {
    /// Makes it ready for many packets. This costs about as much as deciding a hundred of them rule by rule.
    #[must_use]
    pub fn prepare(self) -> Prepared {
        let (mut policies, mut policy_of) = (Vec::new(), Vec::new());
        for (n, policy) in (0..).zip(self.policies()) {
            let first = Position(u32::try_from(policy_of.len()).expect("fewer than 2^32 rules"));
            policies.push((first, policy.clone()));
            policy_of.resize(policy_of.len() + self.rules_of(policy).len(), n);
        }
        let rules: Vec<&Rule> = self.rules().map(|(_, rule)| rule).collect();
        let (packets, ends) = (Packets::of(&rules), Ends::of(&rules));
        Prepared { policies, policy_of, tiers: self.ends().collect(), packets, ends, stack: self }
    }
}

impl Prepared {
    /// The stack.
    #[must_use]
    pub const fn stack(&self) -> &Stack {
        &self.stack
    }

    fn rule(&self, position: Position) -> &Rule {
        let (first, policy) = &self.policies[self.policy_of[position.0 as usize] as usize];
        &self.stack.rules_of(policy)[(position.0 - first.0) as usize]
    }

    /// Decides one packet, as [`Stack::decide`] does. Nothing is allocated besides the rules that were passed, up to
    /// some 32,000 rules.
    #[must_use]
    pub fn decide(&self, peer: &Side, asked: impl Into<Asked>, names: Names<'_>) -> Outcome {
        let asked = asked.into();
        let rules = self.policy_of.len();
        let (mut about_packet, mut about_peer) = (Room::new(rules), Room::new(rules));
        let (mut candidates, mut matching) = (about_packet.bits(), about_peer.bits());
        self.packets.add(asked.traffic, &mut candidates);
        self.ends.add(peer, |position| self.rule(position), Some(&candidates), &mut matching);
        candidates.keep(&matching);
        walk(self.tiers.iter().copied(), |from, end| {
            let mut found = candidates.within(from.0, end.0).map(|n| (Position(n), self.rule(Position(n))));
            found.find(|(_, rule)| rule.admits(asked, names)).map(|(here, rule)| (here, rule.action))
        })
    }

    /// The positions of the rules whose peers match the other end, in order, as [`Stack::matched`] finds them.
    #[must_use]
    pub fn matched(&self, peer: &Side) -> Vec<Position> {
        let rules = self.policy_of.len();
        let mut about_peer = Room::new(rules);
        let mut matching = about_peer.bits();
        self.ends.add(peer, |position| self.rule(position), None, &mut matching);
        matching.within(0, u32::MAX).map(Position).collect()
    }
}
