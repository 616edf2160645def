//! Observations as tests compare them.

use std::collections::BTreeSet;
use std::sync::Arc;

use tortie_analysis::observation::{Kernel, Observation, StepReport};
use tortie_lab::{Sandbox, player};
use tortie_manifest::case::{Case, open};
use tortie_manifest::{LoadOptions, Memory};
use tortie_model::Family;

use crate::Result;

/// One probe by its names: step, family, sender, destination, what was sent, and how it was addressed.
pub(crate) type Cell = (String, Family, String, String, String, String);

pub(crate) fn cell(o: &Observation) -> Cell {
    (o.step.clone(), o.family, o.from.clone(), o.to.clone(), o.probe.clone(), o.via.clone())
}

/// An observation in one line, without times.
pub(crate) fn line(o: &Observation) -> String {
    let kernel = match &o.kernel {
        None => "not sent".to_owned(),
        Some(Kernel::Lost { why }) => format!("lost ({why})"),
        Some(kernel) => kernel.answer().map_or_else(String::new, |a| a.to_string()),
    };
    let expected = o.expected.map_or_else(|| "-".to_owned(), |e| e.to_string());
    format!(
        "`{}` {} {} -> {} {} via {}: expected {expected}, engine {}, plan {}, kernel {kernel}",
        o.step,
        o.family.as_str(),
        o.from,
        o.to,
        o.probe,
        o.via,
        o.engine,
        o.plan
    )
}

pub(crate) fn observations(reports: &[StepReport]) -> impl Iterator<Item = &Observation> {
    reports.iter().flat_map(|r| &r.observations)
}

/// The cells that do not hold.
pub(crate) fn failing(reports: &[StepReport]) -> BTreeSet<Cell> {
    observations(reports).filter(|o| !o.holds()).map(cell).collect()
}

/// Fails with the first observations that do not hold, and when there are fewer than `least`, or packets were not sent.
pub(crate) fn all_hold(reports: &[StepReport], least: usize) -> Result {
    let wrong: Vec<String> = observations(reports).filter(|o| !o.holds()).map(line).collect();
    if !wrong.is_empty() {
        return Err(some(&format!("{} observations do not hold", wrong.len()), &wrong));
    }
    let sent = observations(reports).filter(|o| o.kernel.is_some()).count();
    if sent < least {
        return Err(format!("only {sent} packets were sent").into());
    }
    Ok(())
}

/// An error with the first of many lines.
pub(crate) fn some(what: &str, lines: &[String]) -> Box<dyn std::error::Error + Send + Sync> {
    format!("{what}\n{}", lines.iter().take(12).cloned().collect::<Vec<_>>().join("\n")).into()
}

/// The only case at a path, which must be playable.
pub(crate) fn case(files: &Memory, path: &str) -> Result<Case> {
    let mut cases = open(files, path, &LoadOptions::default());
    let texts = |list: &[tortie_manifest::Diagnostic]| list.iter().map(|d| d.text()).collect::<Vec<_>>();
    if !cases.diagnostics.is_empty() || cases.cases.len() != 1 {
        return Err(some(&format!("{} cases at {path}", cases.cases.len()), &texts(&cases.diagnostics)));
    }
    let case = cases.cases.swap_remove(0);
    if case.is_playable() { Ok(case) } else { Err(some("the case is not playable", &texts(&case.diagnostics))) }
}

/// Plays a case with packets.
pub(crate) fn play(sandbox: &Sandbox, case: Case) -> Result<Vec<StepReport>> {
    Ok(player::play(sandbox, Arc::new(case), None, |_| {})?)
}
