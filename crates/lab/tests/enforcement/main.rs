//! Policies in the kernel: every claim is decided by packets.
//!
//! Each test boots a cluster of its own from manifests. This program enters the sandbox before it has threads. Where user
//! namespaces are denied the tests fail, unless `TORTIE_ALLOW_SKIP=1`.

mod change;
mod corners;
mod denials;
mod flows;
mod pins;
mod ports;
mod proof;
mod raw;
mod revocation;
mod sctp;
mod spoofing;
mod stage;
mod talk;
mod trial;

use std::error::Error;
use std::process::ExitCode;

use libtest_mimic::{Arguments, Failed, Trial, run};
use tortie_lab::Sandbox;

pub(crate) type Result<T = ()> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    if arguments.list {
        return run(&arguments, trials(None)).exit_code();
    }
    let sandbox = match Sandbox::enter() {
        Ok(sandbox) => sandbox,
        Err(refusal) if std::env::var_os("TORTIE_ALLOW_SKIP").is_some_and(|v| v == "1") => {
            eprintln!("skipped: {refusal}");
            return ExitCode::SUCCESS;
        }
        Err(refusal) => {
            eprintln!("{refusal}");
            return ExitCode::FAILURE;
        }
    };
    let sandbox: &'static Sandbox = Box::leak(Box::new(sandbox));
    run(&arguments, trials(Some(sandbox))).exit_code()
}

type Test = fn(&Sandbox) -> Result;

fn trials(sandbox: Option<&'static Sandbox>) -> Vec<Trial> {
    let tests: Vec<(&str, Test)> = [
        spoofing::TESTS,
        revocation::TESTS,
        denials::TESTS,
        flows::TESTS,
        trial::TESTS,
        pins::TESTS,
        ports::TESTS,
        proof::TESTS,
        sctp::TESTS,
        change::TESTS,
        corners::TESTS,
    ]
    .concat();
    let trial = |(name, test): (&'static str, Test)| {
        Trial::test(name, move || test(sandbox.ok_or("only listed")?).map_err(|e| Failed::from(e.to_string())))
    };
    tests.into_iter().map(|(name, test)| trial((name, test))).collect()
}
