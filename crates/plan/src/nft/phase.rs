//! The whole way from the table in force to another, with the waits.

use tortie_ruleset::Table;

use super::change::Step;
use super::difference::steps;
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

/// The phases from the table in force, `actual`, through all targets to the last of them.
///
/// What a target does not need any more stays until the last has been reached and a grace time has passed; then it
/// goes, in a phase of its own. So there are two waits at most, both after the new policies are in force.
#[must_use]
pub fn phases(actual: &Table, targets: &[Target]) -> Vec<Phase> {
    let mut phases: Vec<Phase> = Vec::new();
    let mut at = actual.clone();
    for target in targets {
        let steps: Vec<Step> =
            steps(&at, &target.table).into_iter().filter(|s| !matches!(s, Step::Collect(_))).collect();
        apply(&steps, &mut at);
        match phases.last_mut() {
            Some(open) if !target.after_grace => {
                open.steps.extend(steps);
                open.table = at.clone();
            }
            _ => phases.push(Phase { after_grace: target.after_grace, steps, table: at.clone() }),
        }
    }
    if let Some(target) = targets.last() {
        let steps = steps(&at, &target.table);
        apply(&steps, &mut at);
        phases.push(Phase { after_grace: true, steps, table: at });
    }
    phases.retain(|p| !p.steps.is_empty());
    // The same table, in the memory that the next one shares.
    if let (Some(last), Some(target)) = (phases.last_mut(), targets.last())
        && last.table == target.table
    {
        last.table = target.table.clone();
    }
    phases
}

fn apply(steps: &[Step], table: &mut Table) {
    steps.iter().flat_map(Step::changes).for_each(|change| change.apply(table));
}
