//! The reachability matrix: what a step of a case made of the cluster, at a glance.
//!
//! A row sends, a column is reached. `✓` gets through, `✗` does not, `?` is unknown (a packet was lost without a trace),
//! `v4` and `v6` get through in that family alone, `2/4` are some pairs of a group. `*` is news since the step before,
//! `!` differs from what was expected or predicted.

mod axis;
mod cell;
mod change;
mod difference;
mod draw;
mod grid;
mod summary;

use tortie_analysis::observation::StepReport;

use crate::terminal::{FAINT, STRONG, WARN, styled, wrapped};

pub(crate) use axis::Workloads;
pub(crate) use summary::Tally;

use axis::Level;

/// Draws a step: its matrices, what it changed since the step before, and everything that differs.
pub(crate) fn step(report: &StepReport, before: Option<&StepReport>, workloads: &Workloads, width: usize) -> String {
    let rule = "─".repeat(width.saturating_sub(report.step.chars().count() + 4).max(2));
    let mut out = format!("{}\n", styled(STRONG, format_args!("── {} {rule}", report.step)));
    if !report.observations.is_empty() && report.observations.iter().all(|o| o.kernel.is_none()) {
        out.push_str(&format!("{}\n", styled(WARN.bold(), "PREDICTED: no packet was sent")));
    }
    for action in actions(&report.actions) {
        out.push_str(&format!("{}\n", styled(FAINT, action)));
    }
    let answers = before.map(grid::answers);
    let news = answers.as_ref().is_some_and(|b| {
        report.observations.iter().any(|o| b.get(&grid::question(o)).is_some_and(|b| *b != cell::shown(o)))
    });
    let mut legend = Legend::default();
    for single in grid::grids(report, answers.as_ref(), Level::Single, workloads) {
        out.push('\n');
        let grid =
            if single.fits(width) { single } else { coarser(report, &single, answers.as_ref(), workloads, width) };
        legend.look(&grid, news);
        out.push_str(&grid.draw(width, news));
    }
    if let Some(answers) = &answers {
        let changes = change::changes(report, answers, width);
        if !changes.is_empty() {
            out.push_str(&format!("\n{changes}"));
        }
    }
    let differences = difference::differences(report, width);
    if !differences.is_empty() {
        out.push_str(&format!("\n{differences}"));
    }
    let legend = legend.text();
    if !legend.is_empty() {
        out.push_str(&format!("\n{}\n", styled(FAINT, legend)));
    }
    if report.lost_records > 0 {
        out.push_str(&format!("\n{}\n", styled(WARN, wrapped(&lost_records(report.lost_records), "", width))));
    }
    out
}

/// What it means that nodes could not record everything.
pub(crate) fn lost_records(count: u64) -> String {
    let records = if count == 1 { "1 log record was".to_owned() } else { format!("{count} log records were") };
    format!(
        "{records} lost in this step, because more came at once than a node's buffer holds: a packet whose record was \
         among them counts as lost, not as denied"
    )
}

/// The first grouping with which a matrix fits; the coarsest where none does.
fn coarser(
    report: &StepReport,
    single: &grid::Grid,
    before: Option<&grid::Answers<'_>>,
    workloads: &Workloads,
    width: usize,
) -> grid::Grid {
    let first = &single.probes[0];
    let mut coarse = single.clone();
    for level in [Level::Workload, Level::Namespace] {
        let found = grid::grids(report, before, level, workloads);
        let same = found.into_iter().find(|g| g.kind == single.kind && g.probes.contains(first));
        if let Some(grid) = same {
            coarse = grid::Grid { probes: single.probes.clone(), ..grid };
        }
        if coarse.fits(width) {
            break;
        }
    }
    coarse
}

/// What a step did; many objects are counted by kind.
fn actions(actions: &[String]) -> Vec<String> {
    if actions.len() <= 4 {
        return actions.to_vec();
    }
    let mut verbs: Vec<(&str, Vec<(&str, usize)>)> = Vec::new();
    for action in actions {
        let (verb, object) = action.split_once(' ').unwrap_or(("", action));
        let kind = object.split('/').next().unwrap_or(object);
        let at = verbs.iter().position(|(v, _)| *v == verb).unwrap_or_else(|| {
            verbs.push((verb, Vec::new()));
            verbs.len() - 1
        });
        let kinds = &mut verbs[at].1;
        match kinds.iter_mut().find(|(k, _)| *k == kind) {
            Some((_, n)) => *n += 1,
            None => kinds.push((kind, 1)),
        }
    }
    let plural = |(kind, n): &(&str, usize)| match (kind.strip_suffix('y'), n) {
        (_, 1) => format!("1 {kind}"),
        (Some(stem), n) => format!("{n} {stem}ies"),
        (None, n) => format!("{n} {kind}s"),
    };
    verbs.iter().map(|(v, kinds)| format!("{v} {}", kinds.iter().map(plural).collect::<Vec<_>>().join(", "))).collect()
}

/// Which signs need to be explained: those that a reader cannot guess, and only where they are used.
#[derive(Default)]
struct Legend {
    news: bool,
    differs: bool,
    lost: bool,
    family: bool,
    some: bool,
}

impl Legend {
    fn look(&mut self, grid: &grid::Grid, news: bool) {
        for cell in grid.cells.values() {
            let (text, _) = cell.text(news);
            self.news |= cell.changed && !cell.differs;
            self.differs |= cell.differs;
            self.lost |= text.starts_with('?');
            self.family |= text.starts_with('v') || text.starts_with('~');
            self.some |= text.contains('/');
        }
    }

    fn text(&self) -> String {
        let signs = [
            (self.news, "* changed by this step"),
            (self.differs, "! differs, see above"),
            (self.lost, "? lost"),
            (self.family, "v4, v6 in that family alone"),
            (self.some, "2/4 some of the pairs"),
        ];
        signs.iter().filter(|(used, _)| *used).map(|(_, t)| *t).collect::<Vec<_>>().join("   ")
    }
}

#[cfg(test)]
mod tests;
