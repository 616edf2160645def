//! The proof: for every governed pod, every end and every packet, the engine lets through what is needed, and nothing
//! else.
//!
//! Ends are all pods, all nodes, and of the world the first and last address of each stretch that policies or needs tell
//! apart.

use std::collections::{BTreeSet, HashMap};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use tortie_connectivity::packets;
use tortie_model::{Direction, Family};
use tortie_policy::{Delta, Index, Names, Policy, Position, Prepared, Regions, Side, Verdict};

use super::Options;
use super::needs::{Needs, Peer};
use super::party::Parties;
use crate::resolve::Population;

/// What shows that policies are not the least.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Witness {
    /// The pod that they govern.
    pub pod: String,
    /// In which direction.
    pub direction: Direction,
    /// The other end.
    pub peer: String,
    /// Packets, in words.
    pub packets: String,
    /// Whether they are let through without need; otherwise they are needed, and denied.
    pub allowed: bool,
}

impl std::fmt::Display for Witness {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { pod, direction, peer, packets, allowed } = self;
        let what =
            if *allowed { "is let through, and no recorded connection needs it" } else { "is needed, and denied" };
        match direction {
            Direction::Egress => write!(f, "{pod} -> {peer} {packets} {what} (egress)"),
            Direction::Ingress => write!(f, "{peer} -> {pod} {packets} {what} (ingress)"),
        }
    }
}

/// Proves policies, for the directions for which they are.
pub(crate) fn prove(
    population: &Population,
    parties: &Parties,
    governed: &[usize],
    needs: &Needs,
    (policies, options): (&[Policy], Options),
) -> Result<(), Witness> {
    let mut index = population.index().clone();
    let old: Vec<_> = index.policies().map(|policy| policy.object.clone()).collect();
    let removed = old.into_iter().map(Delta::PolicyRemoved);
    let added = policies.iter().map(|policy| Delta::Policy(Box::new(policy.clone())));
    for delta in removed.chain(added) {
        index.apply(delta);
    }
    let ends = ends(&index, parties, governed, needs, policies);
    for i in governed {
        let pods: Vec<_> = parties.all[*i].pods.iter().filter_map(|key| index.pod(key)).collect();
        for direction in options.directions() {
            let mut known: Option<Prepared> = None;
            for pod in &pods {
                let stack = index.stack(pod, direction);
                // Pods of a party are governed alike; where one is not, it is looked at by itself.
                if known.as_ref().is_some_and(|known| *known.stack() == stack) {
                    continue;
                }
                against_all(*i, pod, known.insert(stack.prepare()), &ends, needs)?;
            }
        }
    }
    for (from, to, traffic) in &needs.packets {
        let verdict = index.verdict(from, to, *traffic);
        if !verdict.is_allowed() {
            let direction = if verdict.egress.is_allowed() { Direction::Ingress } else { Direction::Egress };
            let (pod, peer) = match direction {
                Direction::Egress => (from, to),
                Direction::Ingress => (to, from),
            };
            let packets = traffic.to_string();
            return Err(Witness { pod: name(pod), direction, peer: name(peer), packets, allowed: false });
        }
    }
    Ok(())
}

fn against_all(
    party: usize,
    pod: &tortie_model::Pod,
    prepared: &Prepared,
    ends: &[(Peer, Side)],
    needs: &Needs,
) -> Result<(), Witness> {
    let stack = prepared.stack();
    let mut resolved: HashMap<Vec<Position>, Regions<bool>> = HashMap::new();
    for (peer, side) in ends {
        let matched = prepared.matched(side);
        let allowed = resolved.entry(matched).or_insert_with_key(|matched| {
            stack.resolve(matched, Names::NONE).map(|outcome| outcome.verdict == Verdict::Allow)
        });
        let needed = needs.packets(party, stack.direction(), *peer);
        if *allowed == needed {
            continue;
        }
        let beyond = allowed.zip(&needed, |allowed, needed| *allowed && !*needed);
        let missing = allowed.zip(&needed, |allowed, needed| !*allowed && *needed);
        let is_beyond = packets::any(&beyond);
        let packets = packets::words(if is_beyond { &beyond } else { &missing });
        let (pod, direction) = (pod.key(), stack.direction());
        return Err(Witness { pod, direction, peer: name(side), packets, allowed: is_beyond });
    }
    Ok(())
}

fn name(side: &Side) -> String {
    match (side.pod(), side.node(), side.ip()) {
        (Some(pod), ..) => pod.key(),
        (None, Some(node), _) => format!("node/{}", node.meta.name),
        (None, None, Some(ip)) => ip.to_string(),
        (None, None, None) => "an end without an address".to_owned(),
    }
}

/// Every other end that could be told apart.
fn ends(index: &Index, parties: &Parties, governed: &[usize], needs: &Needs, policies: &[Policy]) -> Vec<(Peer, Side)> {
    let mut out = Vec::new();
    for pod in index.pods() {
        let Some(party) = parties.find(pod) else { continue };
        let sides = Family::ALL.iter().filter_map(|family| index.pod_side(pod, Some(*family)));
        out.extend(sides.map(|side| (Peer::Party(party), side)));
    }
    let mut addresses: BTreeSet<IpAddr> = index.nodes().flat_map(|node| node.addresses.iter().copied()).collect();
    for policy in policies {
        let peers = policy.ingress.iter().chain(&policy.egress).flatten().flat_map(|rule| rule.peers.listed());
        for block in peers.flat_map(|peer| &peer.blocks).flatten() {
            let (first, last) = (block.cidr().network(), block.cidr().broadcast());
            addresses.extend([Some(first), Some(last), step(first, false), step(last, true)].into_iter().flatten());
        }
    }
    let needed = governed.iter().flat_map(|i| Direction::BOTH.into_iter().flat_map(|d| needs.of(*i, d)));
    for (peer, _) in needed {
        if let Peer::Address(ip) = peer {
            addresses.extend([Some(ip), step(ip, false), step(ip, true)].into_iter().flatten());
        }
    }
    addresses.extend([
        IpAddr::from([0; 4]),
        IpAddr::from([255; 4]),
        IpAddr::from([0u8; 16]),
        IpAddr::from([255u8; 16]),
    ]);
    // The address of a pod is that pod, which is asked already.
    let strangers = addresses.into_iter().map(tortie_model::canonical).filter(|ip| index.owner(*ip).is_none());
    out.extend(strangers.map(|ip| (Peer::Address(ip), index.address_side(ip))));
    out
}

/// The address after one, or before it.
fn step(ip: IpAddr, up: bool) -> Option<IpAddr> {
    match ip {
        IpAddr::V4(ip) => {
            let n = ip.to_bits();
            let n = if up { n.checked_add(1) } else { n.checked_sub(1) };
            n.map(|n| Ipv4Addr::from_bits(n).into())
        }
        IpAddr::V6(ip) => {
            let n = ip.to_bits();
            let n = if up { n.checked_add(1) } else { n.checked_sub(1) };
            n.map(|n| Ipv6Addr::from_bits(n).into())
        }
    }
}
