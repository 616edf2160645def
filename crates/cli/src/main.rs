//! `tortie`: Kubernetes network policies made real, proven and explained.
//!
//! Each subcommand is thin: it reads, asks a crate below, and renders. Data goes to standard output, everything said to
//! a person to standard error. Exit codes: 0 fine; 1 findings, differences or failed expectations; 2 the command could
//! not do its work.

mod arguments;
mod check;
mod connectivity;
mod diff;
mod doctor;
mod examples;
mod explain;
mod failure;
mod generate;
mod input;
mod lab;
mod matrix;
mod play;
mod progress;
mod recorded;
mod report;
mod terminal;
mod test;
mod welcome;

use std::process::ExitCode;

use clap::Parser;

use arguments::{Arguments, Command};
use failure::Outcome;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let outcome = match arguments.command {
        None => welcome::run(),
        Some(Command::Check(args)) => check::run(&args),
        Some(Command::Connectivity(args)) => connectivity::run(&args),
        Some(Command::Diff(args)) => diff::run(&args),
        Some(Command::Examples(args)) => examples::run(&args),
        Some(Command::Explain(args)) => explain::run(&args),
        Some(Command::Generate(args)) => generate::run(&args),
        Some(Command::Doctor) => doctor::run(),
        Some(Command::Lab(args)) => lab::run(&args),
        Some(Command::Test(args)) => test::run(&args),
    };
    match outcome {
        Ok(Outcome::Fine) => ExitCode::SUCCESS,
        Ok(Outcome::Findings) => ExitCode::from(1),
        Err(failure) => failure.report(),
    }
}
