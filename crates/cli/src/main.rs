//! `tortie`: Kubernetes network policies made real, proven and explained.
//!
//! Each subcommand is thin: it reads, asks a crate below, and renders. Data goes to standard output, everything said to
//! a person to standard error. Exit codes: 0 fine; 1 findings, differences or failed expectations; 2 the command could
//! not do its work.

mod arguments;
mod check;
mod completions;
mod connectivity;
mod convert;
mod diff;
mod doctor;
mod examples;
mod explain;
mod failure;
mod generate;
mod input;
mod kubectl;
mod lab;
mod man;
mod matrix;
mod play;
mod progress;
mod recorded;
mod report;
mod schema;
#[cfg(test)]
mod surface;
mod terminal;
mod test;
mod welcome;

use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches};

use arguments::{Arguments, Command};
use failure::Outcome;
use kubectl::Caller;

fn main() -> ExitCode {
    let caller = Caller::of(std::env::args_os().next().as_deref());
    let matches = caller.command(Arguments::command()).get_matches();
    let arguments = Arguments::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    let outcome = match arguments.command {
        None => welcome::run(caller),
        Some(Command::Check(args)) => check::run(&args),
        Some(Command::Completions(args)) => completions::run(&args),
        Some(Command::Connectivity(args)) => connectivity::run(&args),
        Some(Command::Convert(args)) => convert::run(&args),
        Some(Command::Diff(args)) => diff::run(&args),
        Some(Command::Examples(args)) => examples::run(&args),
        Some(Command::Explain(args)) => explain::run(&args),
        Some(Command::Generate(args)) => generate::run(&args),
        Some(Command::Doctor) => doctor::run(),
        Some(Command::Lab(args)) => lab::run(&args),
        Some(Command::Man(args)) => man::run(&args),
        Some(Command::Schema(args)) => schema::run(&args),
        Some(Command::Test(args)) => test::run(&args),
    };
    match outcome {
        Ok(Outcome::Fine) => ExitCode::SUCCESS,
        Ok(Outcome::Findings) => ExitCode::from(1),
        Err(failure) => failure.report(),
    }
}
