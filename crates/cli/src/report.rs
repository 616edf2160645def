//! The report of a run: matrices for people, or a line of JSON a probe, as steps end.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Instant;

use tortie_analysis::observation::StepReport;
use tortie_analysis::rehearsal::Scene;
use tortie_analysis::staging::Staged;
use tortie_analysis::traps::{Trap, traps};
use tortie_manifest::Store;
use tortie_manifest::case::Case;

use crate::arguments::Format;
use crate::failure::Failure;
use crate::matrix::{self, Tally, Workloads};
use crate::terminal::{FAINT, STRONG, print, say, styled, width, wrapped};

/// A report in the making.
pub(crate) struct Report {
    format: Format,
    width: usize,
    started: Instant,
    /// The last step of the case that is being played.
    before: Option<StepReport>,
    tally: Tally,
    predicted: bool,
}

impl Report {
    /// A report of packets, or, when `predicted`, of what engine and plan say without any.
    pub(crate) fn new(format: Format, predicted: bool) -> Self {
        let started = Instant::now();
        Self { format, width: width(), started, before: None, tally: Tally::default(), predicted }
    }

    /// A case begins.
    pub(crate) fn case(&mut self, case: &Case) -> io::Result<()> {
        self.before = None;
        if self.format == Format::Json {
            return Ok(());
        }
        let about =
            case.about.as_ref().map(|a| format!("{}\n", styled(FAINT, wrapped(a, "", self.width)))).unwrap_or_default();
        print(&format!("{}\n{about}\n", styled(STRONG, &case.name)))
    }

    /// A step is over.
    pub(crate) fn step(&mut self, scene: &Scene, report: &StepReport, store: &Store) -> io::Result<()> {
        self.tally.add(report);
        match self.format {
            Format::Json => {
                print(&crate::test::json(scene, report, store))?;
                if report.lost_records > 0 {
                    say(matrix::lost_records(report.lost_records));
                }
            }
            Format::Text => {
                let drawn = matrix::step(report, self.before.as_ref(), &workloads(&scene.staged), self.width);
                print(&format!("{drawn}\n"))?;
            }
        }
        self.before = Some(report.clone());
        Ok(())
    }

    /// Everything is over: the summary, with the traps in what was played. Tells whether everything agreed.
    ///
    /// # Errors
    /// When output cannot be written; when there was nothing to probe, since silence is no evidence.
    pub(crate) fn end(self, cases: &[Arc<Case>]) -> Result<bool, Failure> {
        if self.tally.probes == 0 {
            let pods = cases.iter().filter_map(|c| last_state(c)).map(|s| s.state().pods.len()).max();
            return Err(Failure::message(match pods.unwrap_or_default() {
                0 => {
                    "nothing to probe: there are no pods; add Pods, Deployments or other workloads for the policies to \
                     be about"
                }
                1 => "nothing to probe: there is one pod, and it takes two to send a packet",
                _ => "nothing to probe: the case expects nothing",
            }));
        }
        if self.format == Format::Text {
            let found: Vec<Trap> = cases.iter().flat_map(|c| traps_of(c)).collect();
            let took = (!self.predicted).then(|| self.started.elapsed());
            print(&self.tally.text(took, &found, self.width))?;
        }
        Ok(self.tally.holds())
    }
}

fn workloads(staged: &Staged) -> Workloads {
    let owner = |(key, pod): (&tortie_policy::PodKey, &tortie_model::Pod)| {
        let owner = pod.owner.as_ref()?;
        Some((key.to_string(), format!("{}/{}/{}", owner.namespace_str(), owner.kind, owner.name)))
    };
    staged.world.pods.iter().filter_map(owner).collect::<BTreeMap<_, _>>()
}

/// The traps in the policies as they are after the last step.
fn traps_of(case: &Case) -> Vec<Trap> {
    last_state(case).map(|store| traps(&store)).unwrap_or_default()
}

/// The objects after the last step; nothing where a step cannot be made, which ends a run with its reason.
pub(crate) fn last_state(case: &Case) -> Option<Store> {
    let mut store = case.store();
    case.steps.iter().try_for_each(|s| s.change(&mut store)).ok()?;
    Some(store)
}
