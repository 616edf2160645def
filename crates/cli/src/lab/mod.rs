//! `tortie lab`: a cluster made of network namespaces.

pub(crate) mod arguments;
mod remote;
mod run;
mod up;

use tortie_lab::control::Request;
use tortie_lab::sandbox::Refusal;

use self::arguments::{Lab, LabCommand};
use crate::failure::{Failure, Outcome};

/// What must be known before anything is believed.
const STAND_INS: &str = "Pods are stand-ins: images are not run. Each answers with its own name.";

pub(crate) fn run(lab: &Lab) -> Result<Outcome, Failure> {
    match &lab.command {
        LabCommand::Run(arguments) => run::run(arguments),
        LabCommand::Up(arguments) => up::run(arguments),
        LabCommand::Status(arguments) => remote::status(arguments),
        LabCommand::Apply(arguments) => remote::change(&arguments.files, Request::Apply),
        LabCommand::Delete(arguments) => remote::change(&arguments.files, Request::Delete),
        LabCommand::Probe(arguments) => remote::probe(arguments),
        LabCommand::Exec(arguments) => remote::exec(arguments),
        LabCommand::Down(arguments) => remote::down(arguments),
    }
}

/// Namespaces are refused: why, and the way out.
fn refused(refusal: &Refusal) -> Failure {
    Failure::Message(format!("{refusal}\n  {}", refusal.cause.remedy()))
}
