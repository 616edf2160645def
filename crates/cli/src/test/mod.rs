//! `tortie test`: whether cases hold.

mod failed;
mod junit;
mod tap;
mod text;

use std::sync::Arc;
use std::time::{Duration, Instant};

use tortie_analysis::observation::StepReport;
use tortie_analysis::rehearsal::Scene;
use tortie_manifest::case::{Case, Cases, open};
use tortie_manifest::{Disk, LoadOptions, Store};
use tortie_model::Object;

pub(crate) use self::failed::Line;
use self::failed::{Cause, causes, lines};
use crate::arguments::{Test, TestFormat};
use crate::failure::{Failure, Outcome};
use crate::input::say_all;
use crate::matrix;
use crate::play::{Interrupted, Means};
use crate::progress::during;
use crate::recorded::count;
use crate::report::last_state;
use crate::terminal;

/// A case that was played, or could not be.
#[derive(Debug)]
struct Played {
    name: String,
    path: Arc<str>,
    steps: Vec<Step>,
    /// Why it was not played to its end.
    broken: Option<String>,
    took: Duration,
}

/// A step that was played.
#[derive(Debug)]
struct Step {
    name: String,
    /// Where it stands: the file, and the line where the case is not the manifests alone.
    line: Option<usize>,
    probes: usize,
    /// Of these, those that were sent as packets.
    sent: usize,
    /// Log records of nodes that were lost meanwhile.
    lost_records: u64,
    causes: Vec<Cause>,
    took: Duration,
}

impl Played {
    fn probes(&self) -> usize {
        self.steps.iter().map(|s| s.probes).sum()
    }

    fn failures(&self) -> usize {
        self.steps.iter().map(Step::failures).sum()
    }

    fn lost_records(&self) -> u64 {
        self.steps.iter().map(|s| s.lost_records).sum()
    }
}

impl Step {
    fn failures(&self) -> usize {
        self.causes.iter().flat_map(|c| &c.failed).map(|f| f.probes).sum()
    }
}

pub(crate) fn run(arguments: &Test) -> Result<Outcome, Failure> {
    let cases = read(arguments)?;
    note_staged(&cases);
    let means = if arguments.lab { Means::packets()? } else { Means::Memory };
    let mut all = Vec::with_capacity(cases.len());
    for case in &cases {
        let played = play(&means, case, arguments.output)?;
        match arguments.output {
            TestFormat::Text => terminal::print(&text::case(&played))?,
            TestFormat::Json => {
                if let Some(why) = &played.broken {
                    terminal::error(format_args!("{}: {why}", played.name));
                }
            }
            TestFormat::Junit | TestFormat::Tap => {}
        }
        if let lost @ 1.. = played.lost_records()
            && arguments.output != TestFormat::Text
        {
            terminal::say(format_args!("{}: {}", played.name, matrix::lost_records(lost)));
        }
        all.push(played);
    }
    match arguments.output {
        TestFormat::Text => terminal::print(&text::summary(&all))?,
        TestFormat::Json => {}
        TestFormat::Junit => terminal::print(&junit::report(&all))?,
        TestFormat::Tap => terminal::print(&tap::report(&all))?,
    }
    if all.iter().any(|p| p.broken.is_some()) {
        return Err(Failure::Untrusted("not every case could be played"));
    }
    Ok(Outcome::findings_if(all.iter().any(|p| p.failures() > 0)))
}

/// The cases at all paths; also those that cannot be played.
fn read(arguments: &Test) -> Result<Vec<Arc<Case>>, Failure> {
    let options = LoadOptions { namespace: arguments.namespace.as_str().into() };
    let mut all = Vec::new();
    let mut unreadable = false;
    for path in &arguments.paths {
        let cases = || open(&Disk, path, &options);
        // Packets take a process that never had a thread.
        let Cases { cases, diagnostics } = if arguments.lab { cases() } else { during("reading cases", cases) };
        say_all(diagnostics.iter().chain(cases.iter().flat_map(|c| &c.diagnostics)));
        unreadable |= cases.is_empty() || !diagnostics.is_empty();
        all.extend(cases.into_iter().map(Arc::new));
    }
    if unreadable && arguments.paths.len() == 1 {
        return Err(Failure::Said);
    }
    if unreadable {
        return Err(Failure::Untrusted("not every path could be read, so nothing was played"));
    }
    Ok(all)
}

/// Says once that what is staged in cases decides nothing.
fn note_staged(cases: &[Arc<Case>]) {
    let stages = |store: Store| store.objects().any(|object| matches!(object, Object::Staged(_)));
    let staging = cases.iter().filter(|case| last_state(case).is_some_and(stages)).count();
    if staging > 0 {
        let cases = count(staging as u64, "case");
        terminal::say(format_args!(
            "note: the staged policies of {cases} decide nothing; `tortie diff --staged` says what enforcing them would change"
        ));
    }
}

/// The probes of a step for programs, a line each; those that failed with the reason.
pub(crate) fn json(scene: &Scene, report: &StepReport, store: &Store) -> String {
    in_json(scene, report, store, &mut causes(scene, report, store, &[]))
}

fn in_json(scene: &Scene, report: &StepReport, store: &Store, causes: &mut [Cause]) -> String {
    let line = |line: &Line<'_>| serde_json::to_string(line).expect("an observation is plain data") + "\n";
    lines(scene, report, store, causes).iter().map(line).collect()
}

fn play(means: &Means, case: &Arc<Case>, format: TestFormat) -> Result<Played, Failure> {
    let started = Instant::now();
    let mut played = Played {
        name: case.name.clone(),
        path: case.path.clone(),
        steps: Vec::new(),
        broken: None,
        took: Duration::ZERO,
    };
    if !case.is_playable() {
        played.broken = Some("cannot be played as it is written".to_owned());
        return Ok(played);
    }
    let mut places = case.steps.iter().map(|s| s.place.as_ref().map(tortie_manifest::Place::line));
    let mut last = started;
    let mut work = || {
        means.play(case, |scene, report, store| {
            let mut causes = causes(scene, report, store, &played.steps);
            if format == TestFormat::Json {
                terminal::print(&in_json(scene, report, store, &mut causes))?;
            }
            played.steps.push(Step {
                name: report.step.clone(),
                line: places.next().flatten(),
                probes: report.observations.len(),
                sent: report.observations.iter().filter(|o| o.kernel.is_some()).count(),
                lost_records: report.lost_records,
                causes,
                took: last.elapsed(),
            });
            last = Instant::now();
            Ok(())
        })
    };
    let ended = match (means, format) {
        // Nothing is said before it is over, and a case without packets says nothing of its steps.
        (Means::Memory, TestFormat::Text | TestFormat::Junit | TestFormat::Tap) => during("playing", work),
        _ => work(),
    };
    played.broken = match ended {
        // Silence is no evidence.
        Ok(()) if played.probes() == 0 => Some("nothing to probe: it takes two pods, and a case that asks".to_owned()),
        Ok(()) => None,
        Err(Interrupted::Output(e)) => return Err(e.into()),
        Err(Interrupted::Case(tortie_analysis::rehearsal::RehearsalError::Case(diagnostics))) => {
            Some(diagnostics.iter().map(|d| d.render(false)).collect::<Vec<_>>().join("\n"))
        }
        Err(other) => Some(other.to_string()),
    };
    played.took = started.elapsed();
    Ok(played)
}
