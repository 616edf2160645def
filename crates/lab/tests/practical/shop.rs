//! Workloads and Services instead of loose pods: surveyed without a case, and asked in every way that a case can.

use tortie_analysis::observation::{Answer, StepReport};
use tortie_manifest::Memory;
use tortie_manifest::case::Case;
use tortie_model::Family;

use crate::seen::{all_hold, case, line, observations, play, some};
use crate::{Result, World};

const SHOP: &str = include_str!("shop.yaml");
const CORNERS: &str = include_str!("corners.yaml");
const CASE: &str = include_str!("corners.case.yaml");

/// What shop.yaml says, by hand: who may send what to whom.
fn allowed(from: &str, to: &str, probe: &str) -> bool {
    let is_web = |name: &str| name.starts_with("shop/web-");
    let is_db = |name: &str| name.starts_with("back/db-");
    match (from, to) {
        (from, to) if is_web(from) => is_db(to) && probe == "TCP/5432",
        (from, to) if is_web(to) => from == "shop/client" && probe == "TCP/8080",
        (_, to) => !is_db(to),
    }
}

/// A folder of manifests, and nothing said about it: everybody is tried, and engine, plan and kernel agree.
pub(crate) fn surveyed(world: &World) -> Result {
    let reports = play(&world.sandbox, case(&Memory::new([("manifests/shop.yaml", SHOP)]), "manifests")?)?;
    // Six pods, each with every other, over both families: 30 pings, and 20 tries of each declared port, since two pods
    // answer on it because they declare it and two because they declare nothing.
    let seen = observations(&reports).count();
    if seen != 2 * (30 + 20 + 20) {
        return Err(some(&format!("{seen} observations"), &observations(&reports).map(line).collect::<Vec<_>>()));
    }
    all_hold(&reports, seen)?;
    let wrong: Vec<String> = observations(&reports)
        .filter(|o| o.expected.is_some() || o.engine != Answer::from(allowed(&o.from, &o.to, &o.probe)))
        .map(line)
        .collect();
    if wrong.is_empty() { Ok(()) } else { Err(some("not as the policies say", &wrong)) }
}

pub(crate) fn corners() -> Result<Case> {
    case(&Memory::new([("shop.yaml", SHOP), ("corners.yaml", CORNERS), ("c.case.yaml", CASE)]), "")
}

/// Services, named ports, ranges, hosts of the outside at either end, nodes.
pub(crate) fn asked(world: &World) -> Result {
    let reports = play(&world.sandbox, corners()?)?;
    all_hold(&reports, 200)?;
    for report in &reports {
        has_both(report)?;
    }
    Ok(())
}

/// Fails unless something was allowed and something denied by packets, over both families.
fn has_both(report: &StepReport) -> Result {
    for family in Family::ALL {
        for answer in [Answer::Allow, Answer::Deny] {
            let is_so = |o: &&tortie_analysis::observation::Observation| {
                o.family == family && o.kernel.as_ref().and_then(|k| k.answer()) == Some(answer)
            };
            if !report.observations.iter().any(|o| is_so(&o)) {
                return Err(format!("{}: nothing over {} was {answer}", report.step, family.as_str()).into());
            }
        }
    }
    Ok(())
}
