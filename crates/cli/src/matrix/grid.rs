//! Matrices of one step, before they are drawn.

use std::collections::BTreeMap;

use tortie_analysis::observation::{Answer, Observation, StepReport};
use tortie_model::Family;

use super::axis::{Label, Level, Workloads, labels};
use super::cell::{Cell, shown};

/// What one probe was, whatever the family and the step.
pub(super) type Question<'r> = (&'r str, &'r str, &'r str, &'r str, Family);

pub(super) fn question(o: &Observation) -> Question<'_> {
    (&o.from, &o.to, &o.probe, &o.via, o.family)
}

/// Answers of a step by question.
pub(super) type Answers<'r> = BTreeMap<Question<'r>, Option<Answer>>;

pub(super) fn answers(report: &StepReport) -> Answers<'_> {
    report.observations.iter().map(|o| (question(o), shown(o))).collect()
}

/// Probes with the same matrix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Grid {
    /// `ping`, `TCP/8888`: all probes that look like this.
    pub(super) probes: Vec<String>,
    pub(super) kind: Kind,
    pub(super) families: Vec<Family>,
    pub(super) rows: Vec<Label>,
    pub(super) columns: Vec<Label>,
    /// Row and column that are the same single endpoint.
    pub(super) selves: Vec<(usize, usize)>,
    pub(super) cells: BTreeMap<(usize, usize), Cell>,
}

/// Probes that can share a matrix at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// Between pods and nodes.
    Inside,
    /// Through a Service's address.
    Service,
    /// To what is beyond the cluster.
    Outside,
    /// Names resolved: the columns are names.
    Dns,
}

fn kind(o: &Observation) -> Kind {
    if o.probe.starts_with("dns:") {
        Kind::Dns
    } else if o.via == "service" {
        Kind::Service
    } else if o.to.contains('/') {
        Kind::Inside
    } else {
        Kind::Outside
    }
}

/// The matrices of a step at a level, those that look the same together, in the order of their first probe.
pub(super) fn grids(
    report: &StepReport,
    before: Option<&Answers<'_>>,
    level: Level,
    workloads: &Workloads,
) -> Vec<Grid> {
    let mut sorted: Vec<(Kind, &str, Vec<&Observation>)> = Vec::new();
    for o in &report.observations {
        let (kind, probe) = (kind(o), if kind(o) == Kind::Dns { "" } else { o.probe.as_str() });
        match sorted.iter_mut().find(|(k, p, _)| *k == kind && *p == probe) {
            Some((_, _, list)) => list.push(o),
            None => sorted.push((kind, probe, vec![o])),
        }
    }
    sorted.sort_by_key(|(kind, ..)| *kind);
    let mut out: Vec<Grid> = Vec::new();
    for (kind, probe, observations) in sorted {
        let mut grid = grid(kind, &observations, before, level, workloads);
        let alike = |g: &&mut Grid| {
            g.kind == kind
                && (&g.rows, &g.columns) == (&grid.rows, &grid.columns)
                && g.cells.keys().eq(grid.cells.keys())
                && g.cells.values().zip(grid.cells.values()).all(|(a, b)| a.says_as(b))
        };
        match out.iter_mut().find(alike) {
            Some(same) => {
                same.probes.push(probe.to_owned());
                for (mine, other) in same.cells.values_mut().zip(grid.cells.values()) {
                    mine.changed |= other.changed;
                }
            }
            None => {
                grid.probes.push(probe.to_owned());
                out.push(grid);
            }
        }
    }
    out
}

fn grid(
    kind: Kind,
    observations: &[&Observation],
    before: Option<&Answers<'_>>,
    level: Level,
    workloads: &Workloads,
) -> Grid {
    let (rows, from) = labels(observations.iter().map(|o| o.from.as_str()), level, workloads);
    let (columns, to) = labels(observations.iter().map(|o| o.to.as_str()), level, workloads);
    let mut cells: BTreeMap<(usize, usize), Cell> = BTreeMap::new();
    let mut families: Vec<Family> = Vec::new();
    for o in observations {
        let cell = Cell::of(o, before.and_then(|b| b.get(&question(o)).copied()));
        cells.entry((from[o.from.as_str()], to[o.to.as_str()])).or_default().add(&cell);
        families.push(o.family);
    }
    families.sort_unstable();
    families.dedup();
    let selves = from.iter().filter_map(|(name, row)| Some((*row, *to.get(name)?))).collect();
    Grid { probes: Vec::new(), kind, families, rows, columns, selves, cells }
}
