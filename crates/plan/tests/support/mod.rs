//! What the tests of plans share.

#[allow(dead_code, reason = "each test file uses its part")]
pub(crate) mod judges;

use std::collections::BTreeMap;
use std::net::IpAddr;

use tortie_model::canonical;
use tortie_plan::{
    AttachmentPoint, ClassId, Decider, IdentityId, NodeFacts, OutsideClass, Plan, PodInterface, PortClassId, ProfileId,
};
use tortie_policy::{Index, PodKey, Verdict};
use tortie_testkit::Cluster;

/// What node `n1` of a random cluster knows of itself: all its pods have links.
pub(crate) fn facts(cluster: &Cluster) -> NodeFacts {
    let pods = cluster.pods.iter().filter(|p| p.node.as_deref() == Some("n1") && !p.host_network);
    let interfaces = pods.filter(|p| !p.phase.is_finished()).map(|p| {
        let serial = u64::from_str_radix(&p.meta.uid, 16).unwrap_or(0);
        let index = u32::try_from(serial & 0xffff_ffff).unwrap();
        (PodKey::of(p), PodInterface { name: format!("tt{}", p.meta.name).into(), index })
    });
    NodeFacts {
        name: "n1".into(),
        interface_prefix: "tt".into(),
        pod_ranges: ["10.244.1.0/24", "fd00:244:1::/64"].map(|r| r.parse().unwrap()).into(),
        interfaces: interfaces.collect(),
    }
}

/// The interface by which packets of an address come in.
#[allow(dead_code, reason = "each test file uses its part")]
pub(crate) fn interface(index: &Index, plan: &Plan, source: IpAddr) -> Option<PodInterface> {
    let pod = index.owner(source)?;
    plan.endpoints.get(&PodKey::of(pod)).map(|e| e.interface.clone())
}

/// Where this node meets packets to an address.
#[allow(dead_code, reason = "each test file uses its part")]
pub(crate) fn hook(index: &Index, destination: IpAddr) -> AttachmentPoint {
    let to = index.address_side(canonical(destination));
    if to.node().is_some_and(|n| &*n.meta.name == "n1") {
        AttachmentPoint::ToThisNode
    } else {
        AttachmentPoint::Forward
    }
}

/// What must hold of every plan: no number leads nowhere, and none without need.
#[allow(dead_code, reason = "each test file uses its part")]
pub(crate) fn check(plan: &Plan) {
    let sorted = plan.ranges.windows(2).all(|w| w[0].to < w[1].from);
    assert!(sorted && plan.ranges.iter().all(|r| r.from <= r.to), "ranges overlap: {:?}", plan.ranges);
    for id in plan.addresses.values().chain(plan.ranges.iter().map(|r| &r.identity)) {
        assert!(plan.identities.contains_key(id), "identity {id} means nothing");
    }
    for endpoint in plan.endpoints.values() {
        for profile in [endpoint.egress, endpoint.ingress] {
            assert!(profile == ProfileId(0) || plan.profiles.contains_key(&profile), "no profile {profile}");
        }
    }
    for path in plan.paths.values() {
        assert!(!path.spares_hairpin || path.verdict == Verdict::Deny, "{path:?} spares what it allows");
    }
    let (mut ports, mut classes) = (BTreeMap::new(), BTreeMap::new());
    for (id, profile) in &plan.profiles {
        assert_ne!(*id, ProfileId(0));
        for (identity, class) in &profile.classes {
            assert!(plan.identities.contains_key(identity), "class of identity {identity}, which means nothing");
            assert_ne!((*identity, *class), (IdentityId(0), ClassId(0)));
            assert_ne!(*class, ClassId(0), "needless element");
            assert_eq!(*classes.entry(*class).or_insert(*id), *id, "class {class} in two profiles");
        }
        for port in profile.ports.iter().map(|(_, port)| *port).filter(|p| *p != PortClassId(0)) {
            assert_eq!(*ports.entry(port).or_insert(*id), *id, "port class {port} in two profiles");
        }
        for ((port, class), path) in &profile.rows {
            assert_ne!((*port, *class), (PortClassId(0), ClassId(0)), "a row that needs a profile in its key");
            assert!(plan.paths.contains_key(path), "no path {path}");
            assert_ne!(*path, profile.default, "needless row");
        }
        assert!(plan.paths.contains_key(&profile.default));
        let blocks = profile.stack.rules().any(|(_, r)| match &r.peers {
            tortie_policy::Peers::Any => false,
            tortie_policy::Peers::OneOf(peers) => peers.iter().any(|p| {
                let listed = p.blocks.as_ref().is_some_and(|blocks| !blocks.is_empty());
                listed || !p.sets.is_empty() || !p.not_blocks.is_empty() || p.family.is_some()
            }),
        });
        let closed = plan.paths[&profile.default].by == Decider::TooBig;
        assert_eq!(profile.outside == OutsideClass::ByRange, blocks && !closed);
    }
}
