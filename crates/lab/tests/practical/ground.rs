//! The same cases on other ground: one family, three nodes.

use std::collections::BTreeSet;
use std::sync::Arc;

use tortie_lab::{Cluster, player};
use tortie_manifest::case::Case;
use tortie_model::Family;

use crate::seen::{all_hold, line, observations, some};
use crate::{Result, World, shop};

pub(crate) fn ipv4_alone(world: &World) -> Result {
    one_family(world, Family::V4)
}

pub(crate) fn ipv6_alone(world: &World) -> Result {
    one_family(world, Family::V6)
}

/// The practical and the corners, with no address of the other family anywhere.
fn one_family(world: &World, family: Family) -> Result {
    let both: BTreeSet<String> =
        observations(world.plain.reports(world)?).filter(|o| o.family == family).map(line).collect();
    let mut case = world.plain.case()?;
    case.cluster.families = vec![family];
    let alone: BTreeSet<String> = observations(&played(world, case, 2, &[family])?).map(line).collect();
    let differing: Vec<String> = both.symmetric_difference(&alone).cloned().collect();
    if !differing.is_empty() {
        return Err(some("not as with both families", &differing));
    }
    let mut corners = shop::corners()?;
    corners.cluster.families = vec![family];
    without_addresses_of_others(&mut corners, family);
    all_hold(&played(world, corners, 2, &[family])?, 100)
}

/// Lines that name an address cannot be asked where its family is missing.
fn without_addresses_of_others(case: &mut Case, family: Family) {
    use tortie_manifest::case::Pattern;
    let has = |p: &Pattern| !matches!(p, Pattern::Address(ip) if Family::of(*ip) != family);
    for expectation in case.steps.iter_mut().flat_map(|s| &mut s.expect) {
        for lines in [&mut expectation.allow, &mut expectation.deny] {
            lines.retain(|l| has(&l.from) && l.to.as_ref().is_none_or(has));
        }
    }
}

pub(crate) fn three_nodes(world: &World) -> Result {
    let mut case = world.plain.case()?;
    case.cluster.nodes = 3;
    all_hold(&played(world, case, 3, &Family::ALL)?, 5_000)?;
    let mut corners = shop::corners()?;
    corners.cluster.nodes = 3;
    all_hold(&played(world, corners, 3, &Family::ALL)?, 200)
}

/// Plays a case, and looks whether the cluster has pods on so many nodes and addresses of these families alone.
fn played(
    world: &World,
    case: Case,
    nodes: usize,
    families: &[Family],
) -> Result<Vec<tortie_analysis::observation::StepReport>> {
    let mut found = Vec::new();
    let mut look = |step: &str, cluster: &mut Cluster| {
        let staged = cluster.staged();
        let used: BTreeSet<_> = staged.world.pods.values().filter_map(|p| p.node.clone()).collect();
        let addresses =
            staged.world.pods.values().flat_map(|p| &p.ips).chain(staged.nodes.iter().flat_map(|n| &n.addresses));
        let of: BTreeSet<&str> = addresses.map(|ip| Family::of(*ip).as_str()).collect();
        found.push((step.to_owned(), used.len(), of.into_iter().map(str::to_owned).collect::<Vec<_>>()));
        Ok(())
    };
    let reports = player::play(&world.sandbox, Arc::new(case), Some(&mut look), |_| {})?;
    let last = found.last().ok_or("no step was played")?;
    let wanted: Vec<&str> = families.iter().map(|f| f.as_str()).collect();
    if last.1 != nodes || last.2 != wanted || reports.is_empty() {
        return Err(format!("pods on {} nodes, addresses of {:?}, after {}", last.1, last.2, last.0).into());
    }
    Ok(reports)
}
