//! A node's loop on the running kernel, as an ordinary user, while things go wrong.
//!
//! `main` enters a user and a network namespace of its own while there is only one thread; every test then gets a
//! thread with a fresh network namespace. Nothing outlives the process. Where user namespaces are refused, the run
//! fails, unless `TORTIE_ALLOW_SKIP=1`.

mod faults;
#[expect(dead_code, reason = "not all of it is used here")]
#[path = "../../../dataplane/tests/kernel/sandbox.rs"]
mod sandbox;
mod shadow;
#[path = "../../../dataplane/tests/support/mod.rs"]
mod support;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Failed, Trial};

/// Runs `test` in a network namespace of its own.
fn trial(name: &str, test: fn()) -> Trial {
    Trial::test(name, move || sandbox::in_fresh_namespace(test).map_err(Failed::from))
}

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    if let Err(reason) = sandbox::enter() {
        if std::env::var_os("TORTIE_ALLOW_SKIP").is_some_and(|v| v == "1") {
            eprintln!("skipped: no user and network namespaces here: {reason}");
            return ExitCode::SUCCESS;
        }
        eprintln!(
            "these tests need user and network namespaces: {reason}; set TORTIE_ALLOW_SKIP=1 to pass without them"
        );
        return ExitCode::FAILURE;
    }
    let trials = faults::trials().into_iter().chain(shadow::trials()).collect();
    libtest_mimic::run(&arguments, trials).exit_code()
}
