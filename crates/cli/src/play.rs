//! Cases, played with packets or in memory.

use std::io;
use std::sync::Arc;

use tortie_analysis::observation::StepReport;
use tortie_analysis::rehearsal::{RehearsalError, Scene, rehearse};
use tortie_manifest::Store;
use tortie_manifest::case::Case;

use crate::failure::Failure;
use crate::input::say_all;

/// What a case is played with.
#[derive(Debug)]
pub(crate) enum Means {
    /// Engine and plan.
    Memory,
    /// These, and packets in a sandbox that was entered for them.
    #[cfg(target_os = "linux")]
    Packets(tortie_lab::Sandbox),
}

/// Why a case was not played to its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Interrupted {
    #[error(transparent)]
    Case(#[from] RehearsalError),
    #[cfg(target_os = "linux")]
    #[error(transparent)]
    Lab(tortie_lab::player::PlayError),
    #[error(transparent)]
    Output(#[from] io::Error),
}

impl From<Interrupted> for Failure {
    fn from(why: Interrupted) -> Self {
        match why {
            Interrupted::Case(RehearsalError::Case(diagnostics)) => {
                say_all(&diagnostics);
                Self::Untrusted("the case cannot be played as it is written")
            }
            Interrupted::Output(e) => e.into(),
            other => Self::message(other),
        }
    }
}

impl Means {
    /// Packets, where namespaces may be made.
    #[cfg(target_os = "linux")]
    pub(crate) fn packets() -> Result<Self, Failure> {
        tortie_lab::Sandbox::enter().map(Self::Packets).map_err(|refusal| Failure::message(&refusal))
    }

    /// Namespaces exist on Linux alone.
    #[cfg(not(target_os = "linux"))]
    pub(crate) fn packets() -> Result<Self, Failure> {
        Err(Failure::Untrusted("packets need Linux: run this in a virtual machine with Linux to send them"))
    }

    /// Plays a case; `on` sees every step as it ends, with the objects as they are then.
    pub(crate) fn play(
        &self,
        case: &Arc<Case>,
        mut on: impl FnMut(&Scene, &StepReport, &Store) -> io::Result<()>,
    ) -> Result<(), Interrupted> {
        let mut written: io::Result<()> = Ok(());
        let mut done = |scene: &Scene, report: &StepReport, store: &Store| {
            if written.is_ok() {
                written = on(scene, report, store);
            }
        };
        match self {
            Self::Memory => {
                rehearse(case, &mut done)?;
            }
            #[cfg(target_os = "linux")]
            Self::Packets(sandbox) => {
                use tortie_lab::player::{Event, PlayError, play};
                let played = play(sandbox, case.clone(), None, |event| match event {
                    Event::Done { scene, report, store, .. } => done(scene, report, store),
                    other => progress(&other),
                });
                played.map_err(|e| match e {
                    PlayError::Rehearsal(e) => Interrupted::Case(e),
                    other => Interrupted::Lab(other),
                })?;
            }
        }
        Ok(written?)
    }
}

/// Progress is for who waits; in a log the report says it all.
#[cfg(target_os = "linux")]
fn progress(event: &tortie_lab::player::Event<'_>) {
    use std::io::IsTerminal;

    use tortie_lab::player::Event;

    use crate::terminal::{FAINT, say, styled};

    let text = match event {
        Event::Booted { nodes, pods, took } => {
            format!("{nodes} nodes and {pods} pods are up after {} ms", took.as_millis())
        }
        Event::Applied { scene, took } => {
            let probes = scene.asked.len();
            format!("{}: in force after {} ms; {probes} probes", scene.step, took.as_millis())
        }
        Event::Done { .. } => return,
    };
    if io::stderr().is_terminal() {
        say(styled(FAINT, text));
    }
}
