//! What policies say about the endpoint itself, settled for one endpoint: its own labels and addresses are known, so
//! that only what they say of the other end is left.

use std::sync::Arc;

use tortie_model::{Direction, Family};

use crate::rule::{Action, Peer, Peers, Policy, Rule};
use crate::side::Side;

/// An endpoint as one end of its packets, by family.
#[derive(Clone, Debug)]
pub(crate) struct Own {
    sides: Vec<Side>,
}

/// The packets that a rule is about, as far as the endpoint's own end goes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum About {
    All,
    Only(Family),
    None,
}

impl Policy {
    /// Whether a rule for a direction says something of the endpoint itself.
    #[must_use]
    pub fn asks_own(&self, direction: Direction) -> bool {
        self.rules(direction).into_iter().flatten().any(|rule| rule.own.is_some())
    }
}

impl Own {
    /// An endpoint by its ends: one for each family of which it has an address, or one without an address.
    pub(crate) const fn new(sides: Vec<Side>) -> Self {
        Self { sides }
    }

    /// Nothing is known of it.
    pub(crate) const fn unknown() -> Self {
        Self { sides: Vec::new() }
    }

    fn about(&self, own: &Peer, action: Action) -> About {
        if self.sides.is_empty() {
            return if action == Action::Deny { About::All } else { About::None };
        }
        let matching: Vec<&Side> = self.sides.iter().filter(|side| own.matches(side)).collect();
        match matching[..] {
            [] => About::None,
            _ if matching.len() == self.sides.len() => About::All,
            [one, ..] => one.ip().map_or(About::All, |ip| About::Only(Family::of(ip))),
        }
    }

    /// A policy that governs the endpoint, as it is for this one: rules keep their places.
    pub(crate) fn settle(&self, policy: &Arc<Policy>, direction: Direction) -> Arc<Policy> {
        let rules = policy.rules(direction).unwrap_or_default();
        let settled = rules.iter().map(|rule| self.settled(rule)).collect();
        let (ingress, egress) = match direction {
            Direction::Ingress => (Some(settled), policy.egress.clone()),
            Direction::Egress => (policy.ingress.clone(), Some(settled)),
        };
        Arc::new(Policy { ingress, egress, ..(**policy).clone() })
    }

    fn settled(&self, rule: &Rule) -> Rule {
        let Some(own) = &rule.own else { return rule.clone() };
        let peers = match (self.about(own, rule.action), &rule.peers) {
            (About::All, peers) => peers.clone(),
            (About::None, _) => Peers::OneOf(Vec::new()),
            (About::Only(family), Peers::Any) => Peers::OneOf(vec![Peer { family: Some(family), ..Peer::default() }]),
            (About::Only(family), Peers::OneOf(peers)) => {
                let fits = |p: &&Peer| p.family.is_none_or(|f| f == family);
                Peers::OneOf(peers.iter().filter(fits).map(|p| Peer { family: Some(family), ..p.clone() }).collect())
            }
        };
        Rule { own: None, peers, ..rule.clone() }
    }
}
