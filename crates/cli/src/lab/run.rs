//! `tortie lab run`.

use std::sync::Arc;

use tortie_manifest::case::{Case, Cases, open};
use tortie_manifest::{Disk, LoadOptions};

use super::STAND_INS;
use super::arguments::Run;
use crate::arguments::Format;
use crate::examples;
use crate::failure::{Failure, Outcome};
use crate::input::say_all;
use crate::play::{Interrupted, Means};
use crate::report::{Report, last_state};
use crate::terminal;

pub(crate) fn run(arguments: &Run) -> Result<Outcome, Failure> {
    let cases = read(arguments)?;
    match Means::packets() {
        Ok(packets) => {
            match arguments.output {
                Format::Text => terminal::print(&format!("{STAND_INS}\n\n"))?,
                Format::Json => terminal::say(STAND_INS),
            }
            let holds = play(&packets, arguments, &cases)?;
            Ok(Outcome::findings_if(!holds))
        }
        Err(refusal) => {
            terminal::error(refusal);
            play(&Means::Memory, arguments, &cases)?;
            Err(Failure::Untrusted("no packet was sent: what stands above is predicted"))
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

/// Plays and reports; tells whether everything agreed.
fn play(means: &Means, arguments: &Run, cases: &[Arc<Case>]) -> Result<bool, Failure> {
    let mut report = Report::new(arguments.output, matches!(means, Means::Memory));
    for case in cases {
        report.case(case)?;
        match means.play(case, |scene, step, store| report.step(scene, step, store)) {
            Ok(()) => {}
            // The lab did its work: it found that the kernel does not.
            #[cfg(target_os = "linux")]
            Err(Interrupted::Lab(drift @ tortie_lab::player::PlayError::Drift { .. })) => {
                terminal::error(drift);
                return Ok(false);
            }
            Err(other) => return Err(other.into()),
        }
    }
    report.end(cases)
}
