//! Namespaces refused for real: `max_user_namespaces` is 0 where the sandbox is entered.
//!
//! The limit belongs to a user namespace, so a process makes one, sets the limit in it, and runs this program again
//! there as somebody who is not root. Nothing of the machine changes.

use std::error::Error;
use std::process::{Command, ExitCode};

use rustix::thread::UnshareFlags;
use tortie_lab::Sandbox;
use tortie_lab::sandbox::Cause;

/// Makes the namespace and runs [`ENTER`] in it.
const REFUSE: &str = "--refuse";
/// Enters the sandbox and says what came of it.
const ENTER: &str = "--enter";
/// The user inside: not root, so that it keeps no rights when a program is run.
const SOMEBODY: u32 = 1000;

fn main() -> ExitCode {
    let done = match std::env::args().nth(1).as_deref() {
        Some(REFUSE) => refuse().map(|e| format!("cannot run this program again: {e}")),
        Some(ENTER) => Ok(match Sandbox::enter() {
            Ok(_) => "entered".to_owned(),
            Err(refusal) => format!("{:?}\n{refusal}\n{}", refusal.cause, refusal.cause.remedy()),
        }),
        _ => return test(),
    };
    match done {
        Ok(text) => {
            println!("{text}");
            ExitCode::SUCCESS
        }
        Err(e) => {
            println!("not set up: {e}");
            ExitCode::FAILURE
        }
    }
}

fn test() -> ExitCode {
    println!("running 1 test");
    let output = std::env::current_exe().and_then(|me| Command::new(me).arg(REFUSE).output());
    let text = output.map(|o| String::from_utf8_lossy(&o.stdout).into_owned()).unwrap_or_else(|e| e.to_string());
    let expected = format!("{:?}\n", Cause::MaxUserNamespaces);
    let told = text.starts_with(&expected) && text.contains("max_user_namespaces");
    if !told && text.starts_with("not set up") && std::env::var_os("TORTIE_ALLOW_SKIP").is_some_and(|v| v == "1") {
        println!("skipped: {text}");
        return ExitCode::SUCCESS;
    }
    println!("test the cause is named where max_user_namespaces is 0 ... {}", if told { "ok" } else { "FAILED" });
    if told {
        println!("\ntest result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out");
        ExitCode::SUCCESS
    } else {
        println!("expected {expected}found:\n{text}");
        println!("\ntest result: FAILED. 0 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out");
        ExitCode::FAILURE
    }
}

/// Becomes this program in a user namespace that allows no further one; returns only the error that prevented it.
#[allow(unsafe_code)]
fn refuse() -> Result<std::io::Error, Box<dyn Error>> {
    use std::os::unix::process::CommandExt;
    let (user, group) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    // SAFETY: this process has one thread, and descriptors are not unshared.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWUSER)? };
    std::fs::write("/proc/self/setgroups", "deny")?;
    std::fs::write("/proc/self/uid_map", format!("{SOMEBODY} {user} 1"))?;
    std::fs::write("/proc/self/gid_map", format!("{SOMEBODY} {group} 1"))?;
    std::fs::write("/proc/sys/user/max_user_namespaces", "0")?;
    Ok(Command::new(std::env::current_exe()?).arg(ENTER).exec())
}
