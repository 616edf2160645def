//! ClusterNetworkPolicy, AdminNetworkPolicy, BaselineAdminNetworkPolicy.

use tortie_model::{
    ClusterAction, ClusterPeer, ClusterPolicy, ClusterPort, ClusterRule, ClusterTier, Direction, Kind, Meta,
};

use super::apis::net;
use super::calico::{NAMES, PRIORITIES};
use super::{PORT_NAMES, PORTS, namespace_selector, protocol, selector};
use crate::Rng;

/// A policy of one of the three kinds.
pub(super) fn policy(rng: &mut Rng) -> ClusterPolicy {
    let (kind, tier) = match rng.below(100) {
        0..34 => (Kind::ClusterNetworkPolicy, ClusterTier::Admin),
        34..58 => (Kind::ClusterNetworkPolicy, ClusterTier::Baseline),
        58..74 => (Kind::AdminNetworkPolicy, ClusterTier::Admin),
        _ => (Kind::BaselineAdminNetworkPolicy, ClusterTier::Baseline),
    };
    let only = kind == Kind::BaselineAdminNetworkPolicy;
    let actions: &[ClusterAction] = if only {
        &[ClusterAction::Accept, ClusterAction::Deny]
    } else {
        &[ClusterAction::Accept, ClusterAction::Deny, ClusterAction::Pass]
    };
    let rules = |rng: &mut Rng, direction| rng.several(0, 3, |rng| rule(rng, actions, direction));
    ClusterPolicy {
        kind,
        meta: Meta { name: if only { "default".into() } else { (*rng.pick(&NAMES)).into() }, ..Meta::default() },
        tier,
        priority: if only { None } else { Some(*rng.pick(&PRIORITIES)) },
        subject: pods(rng),
        ingress: rules(rng, Direction::Ingress),
        egress: rules(rng, Direction::Egress),
    }
}

fn pods(rng: &mut Rng) -> ClusterPeer {
    if rng.chance(50) {
        ClusterPeer::Namespaces(namespace_selector(rng))
    } else {
        ClusterPeer::Pods { namespaces: namespace_selector(rng), pods: selector(rng, 25) }
    }
}

fn rule(rng: &mut Rng, actions: &[ClusterAction], direction: Direction) -> ClusterRule {
    ClusterRule {
        name: "".into(),
        action: *rng.pick(actions),
        peers: rng.several(1, 3, |rng| peer(rng, direction)),
        ports: rng.maybe(50, |rng| rng.several(1, 3, port)),
    }
}

fn peer(rng: &mut Rng, direction: Direction) -> ClusterPeer {
    let outward = direction == Direction::Egress;
    match rng.below(100) {
        0..4 => ClusterPeer::Unknown,
        4..30 if outward => ClusterPeer::Networks(rng.several(1, 2, net)),
        30..45 if outward => ClusterPeer::Nodes(selector(rng, 40)),
        45..50 if outward => ClusterPeer::DomainNames(vec!["example.com".into()]),
        _ => pods(rng),
    }
}

fn port(rng: &mut Rng) -> ClusterPort {
    let (a, b) = (*rng.pick(&PORTS), *rng.pick(&PORTS));
    match rng.below(100) {
        0..5 => ClusterPort::Unknown,
        5..35 => ClusterPort::Named((*rng.pick(&PORT_NAMES)).into()),
        35..70 => ClusterPort::Range(protocol(rng), a, a),
        _ => ClusterPort::Range(protocol(rng), a.min(b), a.max(b)),
    }
}
