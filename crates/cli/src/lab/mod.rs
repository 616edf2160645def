//! `tortie lab`: a cluster made of network namespaces.

pub(crate) mod arguments;
#[cfg(target_os = "linux")]
mod change;
#[cfg(target_os = "linux")]
mod flows;
#[cfg(target_os = "linux")]
mod lost;
#[cfg(target_os = "linux")]
mod remote;
mod run;
#[cfg(target_os = "linux")]
mod up;
#[cfg(target_os = "linux")]
mod verify;

#[cfg(target_os = "linux")]
use tortie_lab::{control::Request, sandbox::Refusal};

use self::arguments::{Lab, LabCommand};
use crate::failure::{Failure, Outcome};

/// What must be known before anything is believed.
const STAND_INS: &str = "Pods are stand-ins: images are not run. Each answers with its own name.";

pub(crate) fn run(lab: &Lab) -> Result<Outcome, Failure> {
    match &lab.command {
        LabCommand::Run(arguments) => run::run(arguments),
        #[cfg(target_os = "linux")]
        LabCommand::Up(arguments) => up::run(arguments),
        #[cfg(target_os = "linux")]
        LabCommand::Status(arguments) => remote::status(arguments),
        #[cfg(target_os = "linux")]
        LabCommand::Apply(arguments) => change::run(&arguments.files, [Request::Apply, Request::TryApply]),
        #[cfg(target_os = "linux")]
        LabCommand::Delete(arguments) => change::run(&arguments.files, [Request::Delete, Request::TryDelete]),
        #[cfg(target_os = "linux")]
        LabCommand::Probe(arguments) => remote::probe(arguments),
        #[cfg(target_os = "linux")]
        LabCommand::Flows(arguments) => flows::run(arguments),
        #[cfg(target_os = "linux")]
        LabCommand::Verify(arguments) => verify::run(arguments),
        #[cfg(target_os = "linux")]
        LabCommand::Exec(arguments) => remote::exec(arguments),
        #[cfg(target_os = "linux")]
        LabCommand::Down(arguments) => remote::down(arguments),
    }
}

/// Namespaces are refused: why, and the way out.
#[cfg(target_os = "linux")]
fn refused(refusal: &Refusal) -> Failure {
    Failure::message(refusal)
}
