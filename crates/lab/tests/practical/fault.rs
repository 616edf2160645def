//! What is broken in the lab must not look like a policy.

use std::sync::Arc;

use tortie_analysis::observation::{Answer, Kernel};
use tortie_lab::player;

use crate::seen::{line, some};
use crate::{Result, World};

const BROKEN: &str = "4. prod within itself";
const MENDED: &str = "5. dev reaches prod";

/// A pod's link goes down between the change of a step and its packets, and comes up a step later.
pub(crate) fn link(world: &World) -> Result {
    let mut case = world.plain.case()?;
    case.steps.truncate(7);
    let broken = case.steps.iter().position(|s| s.name == BROKEN).ok_or("no such step")?;
    case.steps[..broken].iter_mut().for_each(|s| s.expect.clear());
    let mut fault = |step: &str, cluster: &mut tortie_lab::Cluster| {
        match step {
            BROKEN => cluster.topology().set_pod_link("prod", "prod1", false)?,
            MENDED => cluster.topology().set_pod_link("prod", "prod1", true)?,
            _ => {}
        }
        Ok(())
    };
    let reports = player::play(&world.sandbox, Arc::new(case), Some(&mut fault), |_| {})?;
    let report = reports.iter().find(|r| r.step == BROKEN).ok_or("the step was not played")?;
    let (mut wrong, mut lost) = (Vec::new(), 0);
    for o in &report.observations {
        let touched = o.from == "prod/prod1" || o.to == "prod/prod1";
        let fine = match (&o.kernel, touched, o.engine) {
            (Some(Kernel::Lost { .. }), true, _) => {
                lost += 1;
                !o.holds()
            }
            // Nothing got through, and nothing that would have may be called denied; a drop that comes before the
            // link is still seen.
            (Some(Kernel::Deny), true, Answer::Deny) => o.from != "prod/prod1" && o.holds(),
            (_, true, _) => false,
            (_, false, _) => o.holds(),
        };
        if !fine {
            wrong.push(line(o));
        }
    }
    if !wrong.is_empty() {
        return Err(some("with the link down", &wrong));
    }
    // prod1 to prod2 and back by three probes, twice for the families, at least.
    if lost < 12 {
        return Err(format!("only {lost} probes were lost").into());
    }
    let mended = reports.iter().find(|r| r.step == MENDED).ok_or("the step was not played")?;
    crate::seen::all_hold(std::slice::from_ref(mended), 500)
}
