//! `tortie lab run`.

use std::sync::Arc;

use tortie_analysis::observation::StepReport;
use tortie_analysis::passage::Imagined;
use tortie_analysis::rehearsal::{Rehearsal, RehearsalError};
use tortie_lab::player::{Event, PlayError, play};
use tortie_lab::sandbox::Sandbox;
use tortie_manifest::case::{Case, Cases, open};
use tortie_manifest::{Disk, LoadOptions};

use super::STAND_INS;
use super::arguments::Run;
use crate::examples;
use crate::failure::{Failure, Outcome};
use crate::input::say_all;
use crate::terminal;

pub(crate) fn run(arguments: &Run) -> Result<Outcome, Failure> {
    let cases = read(arguments)?;
    let sandbox = match Sandbox::enter() {
        Ok(sandbox) => sandbox,
        Err(refusal) => {
            let failure = super::refused(&refusal);
            terminal::error(&failure);
            return predict(arguments, &cases);
        }
    };
    terminal::say(STAND_INS);
    let mut reports = Vec::new();
    for case in &cases {
        let played = play(&sandbox, case.clone(), None, |event| show(arguments, &event));
        reports.extend(played.map_err(say_why)?);
    }
    let failed = reports.iter().flat_map(|r: &StepReport| &r.observations).any(|o| !o.holds());
    Ok(Outcome::findings_if(failed))
}

fn read(arguments: &Run) -> Result<Vec<Arc<Case>>, Failure> {
    let options = LoadOptions { namespace: arguments.namespace.as_str().into() };
    let Cases { cases, diagnostics } = match &arguments.path {
        Some(path) => open(&Disk, path, &options),
        None => open(&examples::files(), examples::DEFAULT, &options),
    };
    say_all(diagnostics.iter().chain(cases.iter().flat_map(|c| &c.diagnostics)));
    if cases.is_empty() || cases.iter().any(|c| !c.is_playable()) {
        return Err(Failure::Untrusted("nothing was played"));
    }
    Ok(cases.into_iter().map(Arc::new).collect())
}

fn show(arguments: &Run, event: &Event<'_>) {
    let _ = (arguments, event);
}

fn say_why(error: PlayError) -> Failure {
    match error {
        PlayError::Rehearsal(RehearsalError::Case(diagnostics)) => {
            say_all(&diagnostics);
            Failure::Untrusted("the case cannot be played as it is written")
        }
        other => Failure::message(other),
    }
}

/// What engine and plan say where no packets can be sent.
fn predict(arguments: &Run, cases: &[Arc<Case>]) -> Result<Outcome, Failure> {
    let _ = (arguments, cases, Imagined::default(), Rehearsal::new as fn(_) -> _);
    Err(Failure::Untrusted("no packet was sent"))
}
