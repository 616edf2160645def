//! Why a packet must pass or not, in words.

use std::net::IpAddr;

use tortie_model::Direction;
use tortie_policy::{Asked, By, Half};
use tortie_ruleset::Hook;
use tortie_ruleset::lift::Head;

use crate::Claim;
use crate::endpoint::Endpoints;

/// Why packets must pass or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// Policies of pods of this node say so.
    Policy,
    /// Tortie does not judge them.
    NotAsked,
    /// The source is not the pod's own.
    Spoofed,
    /// The source is an address of this node's pods, and comes from elsewhere.
    Forged,
    /// No pod here has the destination's address.
    Unprogrammed,
    /// Their connection is open.
    Open,
    /// Their connection is not allowed any more.
    Revoked,
    /// Connection tracking cannot make sense of them.
    Invalid,
}

impl Why {
    pub(crate) const fn text(self, passes: bool) -> &'static str {
        match self {
            Self::Policy => "policy says so",
            Self::NotAsked => "it is not tortie's to judge",
            Self::Open => "its connection is open",
            // What must pass where the rest must not.
            Self::Spoofed | Self::Revoked | Self::Invalid if passes => "neighbour discovery always passes",
            Self::Spoofed => "its source is not the pod's own",
            Self::Forged => "its source is an address of this node's pods, and it comes from none of them",
            Self::Unprogrammed => "no pod here has the address that it goes to",
            Self::Revoked => "its connection is not allowed any more",
            Self::Invalid => "connection tracking makes no sense of it",
        }
    }
}

/// What those halves of policy say that are asked on this node.
pub(crate) fn policy(
    claim: &Claim<'_>,
    endpoints: &Endpoints,
    head: &Head,
    [from, to]: [IpAddr; 2],
    asked: Asked,
) -> String {
    let index = claim.index;
    let over_pod_link = head.input.as_ref().is_some_and(|i| i.name.starts_with(&*claim.facts.interface_prefix));
    let sender = endpoints.at(from).filter(|_| over_pod_link);
    let receiver = endpoints.at(to).filter(|_| head.hook == Hook::Forward);
    if sender.is_some() && sender == receiver {
        return "a pod may speak to itself but for what policies other than NetworkPolicy deny".to_owned();
    }
    let verdict = index.verdict(&index.address_side(from), &index.address_side(to), asked);
    let asked = [(Direction::Egress, sender, &verdict.egress), (Direction::Ingress, receiver, &verdict.ingress)];
    let mut said: Vec<String> = asked
        .into_iter()
        .filter_map(|(direction, endpoint, answer)| {
            let closed = endpoints.is_closed(endpoint?, direction);
            Some(if closed { format!("{direction} is closed: its table does not fit") } else { half(answer) })
        })
        .collect();
    let ranged = claim.facts.pod_ranges.iter().any(|r| r.contains(&to));
    if head.hook == Hook::Forward && receiver.is_none() && ranged {
        said.push(Why::Unprogrammed.text(false).to_owned());
    }
    said.join(", ")
}

/// What policy says in one direction.
fn half(half: &Half) -> String {
    let by = match half.outcome.by {
        By::Rule(position) => half
            .stack
            .rule_ref(position)
            .map_or_else(String::new, |r| format!(" by {} {}[{}]", r.policy, r.direction, r.index)),
        By::EndOfTier(_) => {
            let policies: Vec<String> = half.stack.policies().map(|p| p.object.to_string()).collect();
            match policies.as_slice() {
                [first] => format!(": no rule of {first} allows it"),
                [first, rest @ ..] => format!(": no rule of {first} and {} more allows it", rest.len()),
                [] => String::new(),
            }
        }
        By::Profile => String::new(),
    };
    format!("{} is {}{by}", half.stack.direction(), if half.is_allowed() { "allowed" } else { "denied" })
}
