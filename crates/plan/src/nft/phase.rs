//! The whole way from the table in force to another, with the waits.

use tortie_ruleset::Table;

use super::change::Step;
use super::difference::steps_from_whole;
use super::lowering::Target;

/// Steps that follow each other without a wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Phase {
    /// Packets that were under way at the end of the phase before must be through first.
    pub after_grace: bool,
    /// What to do, step by step.
    pub steps: Vec<Step>,
    /// The table when that is done.
    pub table: Table,
}

/// The phases from the table in force, `actual`, through all targets to the last of them: one for each target, so that
/// what is cut short is gone on with towards the table that it was on the way to, and not past it.
///
/// What a target does not need any more stays until the last has been reached and a grace time has passed; then it
/// goes, in a phase of its own. So there are two waits at most, both after the new policies are in force.
#[must_use]
pub fn phases(actual: &Table, targets: &[Target]) -> Vec<Phase> {
    let mut phases: Vec<Phase> = Vec::new();
    let mut at = actual.clone();
    for target in targets {
        let mut steps = steps_from_whole(&at, &target.table);
        if matches!(steps.last(), Some(Step::Collect(_))) {
            steps.pop();
            apply(&steps, &mut at);
        } else {
            reach(&mut at, &steps, target);
        }
        phases.push(Phase { after_grace: target.after_grace, steps, table: at.clone() });
    }
    if let Some(target) = targets.last() {
        let steps = steps_from_whole(&at, &target.table);
        reach(&mut at, &steps, target);
        phases.push(Phase { after_grace: true, steps, table: at });
    }
    phases.retain(|p| !p.steps.is_empty());
    phases
}

/// Takes all steps at once: the table that they lead to is there, in the memory that the next one shares.
fn reach(at: &mut Table, steps: &[Step], target: &Target) {
    debug_assert!(
        {
            apply(steps, at);
            *at == target.table
        },
        "the steps lead to the target"
    );
    *at = target.table.clone();
}

fn apply(steps: &[Step], table: &mut Table) {
    steps.iter().flat_map(Step::changes).for_each(|change| change.apply(table));
}
