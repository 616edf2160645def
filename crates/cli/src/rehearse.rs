//! A case without packets: what engine and plan say of every probe.

use std::sync::Arc;

use tortie_analysis::observation::StepReport;
use tortie_analysis::passage::Imagined;
use tortie_analysis::rehearsal::{Rehearsal, RehearsalError, Scene};
use tortie_manifest::case::Case;

/// Why a rehearsal ended early.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RehearseError {
    #[error(transparent)]
    Case(#[from] RehearsalError),
    #[error(transparent)]
    Output(#[from] std::io::Error),
}

/// Plays a case in memory; `on` sees every step as it ends.
pub(crate) fn rehearse(
    case: &Arc<Case>,
    mut on: impl FnMut(&Scene, &StepReport) -> std::io::Result<()>,
) -> Result<(), RehearseError> {
    let mut rehearsal = Rehearsal::new(case.clone());
    let mut plans = Imagined::default();
    while let Some(scene) = rehearsal.next_scene()? {
        plans.advance(&scene.staged, &scene.index);
        let observed = scene.asked.iter().map(|asked| {
            let plan = asked.answer_of(&scene.index, |from, to, traffic| plans.passes(from, to, traffic));
            asked.observed(&case.name, &scene.step, plan, None, None)
        });
        let observations = observed.collect();
        let (step, actions) = (scene.step.clone(), scene.actions.clone());
        on(&scene, &StepReport { case: case.name.clone(), step, actions, observations })?;
    }
    Ok(())
}
