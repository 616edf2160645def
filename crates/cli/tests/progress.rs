//! Long work is told on a terminal, and in a pipe there is nothing of it.
#![cfg(target_os = "linux")]

use std::fs::File;
use std::io::{Read, Write};
use std::process::{Child, ChildStdin, Command, Stdio};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

const POD: &[u8] = b"{apiVersion: v1, kind: Pod, metadata: {name: one}}\n";

/// `tortie check` that waits for the rest of its input.
fn check(said: impl Into<Stdio>) -> (Child, ChildStdin) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tortie"));
    command.args(["check", "-f", "-"]).env("NO_COLOR", "1");
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(said);
    let mut child = command.spawn().expect("tortie starts");
    let input = child.stdin.take().expect("a pipe");
    (child, input)
}

#[test]
fn who_waits_at_a_terminal_is_told_and_a_pipe_is_not() {
    let (piped, piped_input) = check(Stdio::piped());
    let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
    grantpt(&terminal).expect("granted");
    unlockpt(&terminal).expect("unlocked");
    let path = ptsname(&terminal, Vec::new()).expect("a name");
    let side = File::options().read(true).write(true).open(path.to_str().expect("text")).expect("its other side");
    let (mut told, told_input) = check(side);

    // Both wait for input, the pipe for longer: what the terminal says now, the pipe would have said.
    let mut terminal = File::from(terminal);
    let mut said = String::new();
    let mut read = |said: &mut String| {
        let mut some = [0; 256];
        // The last reader of a terminal without writers meets an error.
        let n = terminal.read(&mut some).unwrap_or(0);
        said.push_str(&String::from_utf8_lossy(&some[..n]));
        n > 0
    };
    while !said.contains("reading manifests \u{2026}") {
        assert!(read(&mut said), "it ended: {said}");
    }
    for mut input in [piped_input, told_input] {
        input.write_all(POD).expect("it reads");
    }
    while read(&mut said) {}
    assert!(told.wait().expect("it ends").success());
    let (progress, rest) = said.rsplit_once("\r\x1b[K").expect("the line is cleared");
    assert!(progress.starts_with("\rreading manifests"), "{said:?}");
    assert!(rest.starts_with("1 object, 1 file"), "{said:?}");
    let output = piped.wait_with_output().expect("it ends");
    assert_eq!(String::from_utf8_lossy(&output.stderr), rest.replace("\r\n", "\n"));
}
