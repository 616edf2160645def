//! The lab on the kernel, as an ordinary user or as root.
//!
//! This program enters the sandbox before it has threads; every test then makes a topology of its own in it. Where user
//! namespaces are denied the tests fail, unless `TORTIE_ALLOW_SKIP=1`.

mod reach;
mod support;

use std::process::ExitCode;

use libtest_mimic::{Arguments, run};
use tortie_lab::Sandbox;

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
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
    run(&arguments, reach::trials(sandbox)).exit_code()
}
