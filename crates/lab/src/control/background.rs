//! A lab that goes on after the command that started it has ended.

use std::io::{self, BufRead, BufReader, Write};
use std::process::{Child, Stdio};

/// What the lab says on its standard output when it is up.
const READY: &str = "ready";

/// In the new process, before anything else: leave the terminal's session, so that closing it does not end the lab.
///
/// # Errors
/// When this process leads a group already, which a child never does.
pub fn leave_session() -> io::Result<()> {
    rustix::process::setsid()?;
    Ok(())
}

/// In the new process, when the lab is up: say so, and let go of what belongs to the caller.
///
/// # Errors
/// When nobody listens any more.
pub fn announce() -> io::Result<()> {
    println!("{READY}");
    io::stdout().flush()?;
    let null = std::fs::OpenOptions::new().read(true).write(true).open("/dev/null")?;
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(&null)?;
    rustix::stdio::dup2_stderr(&null)?;
    std::env::set_current_dir("/")
}

/// In the old process: start the new one, and wait until its lab is up. Tells whether it came up; why not, the new
/// process has said on the shared standard error.
///
/// # Errors
/// When it cannot be started.
pub fn start(command: &mut std::process::Command) -> io::Result<bool> {
    let mut child: Child = command.stdout(Stdio::piped()).spawn()?;
    let mut line = String::new();
    if let Some(output) = child.stdout.take() {
        BufReader::new(output).read_line(&mut line)?;
    }
    let up = line.trim_end() == READY;
    if !up {
        child.wait()?;
    }
    Ok(up)
}
