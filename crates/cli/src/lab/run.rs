//! `tortie lab run`.

use std::sync::Arc;

use tortie_analysis::rehearsal::RehearsalError;
use tortie_manifest::case::{Case, Cases, open};
use tortie_manifest::{Disk, LoadOptions};

use super::arguments::Run;
use crate::examples;
use crate::failure::{Failure, Outcome};
use crate::input::say_all;
use crate::rehearse::{RehearseError, rehearse};
use crate::report::{Report, last_state};
use crate::terminal;

pub(crate) fn run(arguments: &Run) -> Result<Outcome, Failure> {
    let cases = read(arguments)?;
    match packets::play(arguments, &cases) {
        Ok(outcome) => outcome,
        Err(refusal) => {
            terminal::error(refusal);
            predict(arguments, &cases)
        }
    }
}

/// The cases at the path, or the practical that is built in.
fn read(arguments: &Run) -> Result<Vec<Arc<Case>>, Failure> {
    let options = LoadOptions { namespace: arguments.namespace.as_str().into() };
    let Cases { mut cases, diagnostics } = match arguments.path.as_ref().or(arguments.filename.as_ref()) {
        Some(path) => open(&Disk, path, &options),
        None => open(&examples::files(), examples::DEFAULT, &options),
    };
    say_all(diagnostics.iter().chain(cases.iter().flat_map(|c| &c.diagnostics)));
    if cases.is_empty() || cases.iter().any(|c| !c.is_playable()) {
        return Err(Failure::Untrusted("nothing was played"));
    }
    for case in &mut cases {
        case.cluster.replicas = arguments.replicas.unwrap_or(case.cluster.replicas);
        // Namespaces that no step defines.
        say_all(last_state(case).map(|store| store.state().notes()).iter().flatten());
    }
    Ok(cases.into_iter().map(Arc::new).collect())
}

/// What engine and plan say where no packets can be sent.
fn predict(arguments: &Run, cases: &[Arc<Case>]) -> Result<Outcome, Failure> {
    let mut report = Report::new(arguments.output, true);
    for case in cases {
        report.case(case)?;
        rehearse(case, |scene, step| report.step(&scene.staged, step)).map_err(|e| match e {
            RehearseError::Case(e) => say_why(e),
            RehearseError::Output(e) => e.into(),
        })?;
    }
    report.end(cases)?;
    Err(Failure::Untrusted("no packet was sent: what stands above is predicted"))
}

fn say_why(error: RehearsalError) -> Failure {
    match error {
        RehearsalError::Case(diagnostics) => {
            say_all(&diagnostics);
            Failure::Untrusted("the case cannot be played as it is written")
        }
        other => Failure::message(other),
    }
}

#[cfg(target_os = "linux")]
mod packets {
    use std::io::{self, IsTerminal};
    use std::sync::Arc;

    use tortie_lab::player::{Event, PlayError, play as play_case};
    use tortie_lab::sandbox::Sandbox;
    use tortie_manifest::case::Case;

    use super::super::STAND_INS;
    use super::{Run, say_why};
    use crate::arguments::Format;
    use crate::failure::{Failure, Outcome};
    use crate::report::Report;
    use crate::terminal::{self, FAINT, styled};

    /// Plays with packets. The outer error is why namespaces are refused.
    pub(super) fn play(arguments: &Run, cases: &[Arc<Case>]) -> Result<Result<Outcome, Failure>, Failure> {
        let sandbox = Sandbox::enter().map_err(|refusal| super::super::refused(&refusal))?;
        Ok(play_in(&sandbox, arguments, cases))
    }

    fn play_in(sandbox: &Sandbox, arguments: &Run, cases: &[Arc<Case>]) -> Result<Outcome, Failure> {
        match arguments.output {
            Format::Text => terminal::print(&format!("{STAND_INS}\n\n"))?,
            Format::Json => terminal::say(STAND_INS),
        }
        let mut report = Report::new(arguments.output, false);
        for case in cases {
            report.case(case)?;
            let mut written: io::Result<()> = Ok(());
            let played = play_case(sandbox, case.clone(), None, |event| {
                if written.is_ok() {
                    written = show(&mut report, &event);
                }
            });
            written?;
            match played {
                Ok(_) => {}
                Err(PlayError::Rehearsal(e)) => return Err(say_why(e)),
                // The lab did its work: it found that the kernel does not.
                Err(drift @ PlayError::Drift { .. }) => {
                    terminal::error(drift);
                    return Ok(Outcome::Findings);
                }
                Err(other) => return Err(Failure::message(other)),
            }
        }
        Ok(Outcome::findings_if(!report.end(cases)?))
    }

    fn show(report: &mut Report, event: &Event<'_>) -> io::Result<()> {
        let progress = |text: String| {
            // Progress is for who waits; in a log the report says it all.
            if io::stderr().is_terminal() {
                terminal::say(styled(FAINT, text));
            }
        };
        match event {
            Event::Booted { nodes, pods, took } => {
                progress(format!("{nodes} nodes and {pods} pods are up after {} ms", took.as_millis()));
            }
            Event::Applied { scene, took } => {
                let probes = scene.asked.len();
                progress(format!("{}: in force after {} ms; {probes} probes", scene.step, took.as_millis()));
            }
            Event::Done { scene, report: step, .. } => report.step(&scene.staged, step)?,
        }
        Ok(())
    }
}

#[cfg(not(target_os = "linux"))]
mod packets {
    use std::sync::Arc;

    use tortie_manifest::case::Case;

    use super::Run;
    use crate::failure::{Failure, Outcome};

    /// Namespaces exist on Linux alone.
    pub(super) fn play(_: &Run, _: &[Arc<Case>]) -> Result<Result<Outcome, Failure>, Failure> {
        Err(Failure::Untrusted("packets need Linux: run this in a virtual machine with Linux to send them"))
    }
}
