//! What one end allows and the other end denies.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::sync::Arc;

use tortie_model::{Direction, IpProtocol, Pod, Protocol, Traffic};
use tortie_policy::{Peers, Ports, Regions, Rule, Side, Verdict};

use crate::finding::Finding;
use crate::scene::{Scene, both_names, names, some};

/// Pairs that are looked at for one rule: enough to find one that is alive, where there is one.
const MOST_PAIRS: usize = 10_000;

pub(crate) fn look(scene: &Scene<'_>, out: &mut Vec<Finding>) {
    for half in scene.halves() {
        for (r, rule) in half.engine.iter().enumerate() {
            // Nobody governs addresses outside.
            let outside = scene.outside.iter().any(|ip| rule.peers.matches(&scene.index.address_side(*ip)));
            if rule.peers == Peers::Any || outside {
                continue;
            }
            let meant = scene.meant(&rule.peers);
            let mut pairs = half.written.pods.iter().flat_map(|a| meant.iter().map(move |b| (a, b)));
            let mut dead: Option<(Side, Side, Traffic)> = None;
            let mut by = BTreeSet::new();
            let alive = pairs.by_ref().take(MOST_PAIRS).filter(|(a, b)| a.key() != b.key()).any(|(own, peer)| {
                let (own_side, peer_side) = (scene.side(own), scene.side(peer));
                let (from, to) = match half.direction {
                    Direction::Egress => (own_side.clone(), peer_side.clone()),
                    Direction::Ingress => (peer_side.clone(), own_side.clone()),
                };
                let there = answers(scene, peer, other_end(half.direction), &peer_side, &own_side);
                match meets(rule, &there, &to) {
                    Some(Meets::Alive) => return true,
                    Some(Meets::Dead(traffic)) => {
                        let stack = scene.stack(peer, other_end(half.direction));
                        by.extend(stack.policies().map(|p| p.object.clone()));
                        dead.get_or_insert((from, to, traffic));
                    }
                    // No port of the rule exists there.
                    None => {}
                }
                false
            });
            let Some((from, to, traffic)) = dead.filter(|_| !alive) else { continue };
            let witness = scene.witness(&from, &to, traffic);
            if witness.allowed {
                continue;
            }
            let names: Vec<String> = by.iter().map(ToString::to_string).collect();
            let (what, other) = match half.direction {
                Direction::Egress => ("reached", "ingress"),
                Direction::Ingress => ("reaching", "egress"),
            };
            let text = format!("nobody is {what} by this rule: {other} at the other end is denied by {}", some(&names));
            let finding = scene.finding("one-sided", half.object(), &half.pointer(r), text);
            let place = by.first().and_then(|p| scene.place(p, ""));
            out.push(finding.label(place, "this isolates the other end").shown_by(witness));
        }
    }
}

/// What the other end says of all packets.
fn answers(scene: &Scene<'_>, pod: &Arc<Pod>, direction: Direction, own: &Side, peer: &Side) -> Regions<Verdict> {
    scene.stack(pod, direction).regions(peer, both_names(direction, own, peer)).map(|o| o.verdict)
}

const fn other_end(direction: Direction) -> Direction {
    match direction {
        Direction::Ingress => Direction::Egress,
        Direction::Egress => Direction::Ingress,
    }
}

enum Meets {
    Alive,
    Dead(Traffic),
}

/// Whether the packets of a rule and those that the other end allows have any in common.
fn meets(rule: &Rule, there: &Regions<Verdict>, to: &Side) -> Option<Meets> {
    let ranges: Vec<(IpProtocol, RangeInclusive<u16>)> = match &rule.ports {
        Ports::Any => {
            if *there.rest() == Verdict::Allow || there.iter().any(|(_, v)| *v == Verdict::Allow) {
                return Some(Meets::Alive);
            }
            return Some(Meets::Dead(Traffic::port(Protocol::Tcp, 80)));
        }
        Ports::OneOf(ports) => ports.iter().flat_map(|p| p.ranges(names(to))).collect(),
    };
    for (protocol, range) in &ranges {
        let open = |(r, v): &(RangeInclusive<u16>, &Verdict)| {
            **v == Verdict::Allow && r.start() <= range.end() && range.start() <= r.end()
        };
        if there.ranges(*protocol).iter().any(open) {
            return Some(Meets::Alive);
        }
    }
    ranges.first().map(|(protocol, range)| Meets::Dead(Traffic { protocol: *protocol, detail: *range.start() }))
}
