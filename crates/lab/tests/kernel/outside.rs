//! A process that stays outside the sandbox, for tests of what one sees from there.
//!
//! Started before the sandbox is entered. It reads a command a line, runs this program again with it, and answers with
//! a line: the exit code and what the command wrote.

use std::{
    ffi::OsString,
    io::{self, BufRead, BufReader, Write},
    process::{Child, ChildStdin, ChildStdout, Command, ExitCode, Stdio},
    sync::Mutex,
};

use serde::{Deserialize, Serialize};
use tortie_lab::exec::{EnterSpec, enter_and_exec};

use crate::support::Result;

/// First argument of the process that stays outside.
pub(crate) const WAIT: &str = "--wait-outside";
/// First argument of the process that enters and becomes a program.
pub(crate) const ENTER: &str = "--enter";

#[derive(Serialize, Deserialize)]
enum Request {
    /// Run a shell command in there.
    Enter(EnterSpec, String),
    /// Run this program with one argument, outside.
    Again(String),
}

#[derive(Serialize, Deserialize)]
struct Answer {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

pub(crate) struct Outside {
    pipes: Mutex<(ChildStdin, BufReader<ChildStdout>)>,
    _child: Child,
}

impl Outside {
    pub(crate) fn start() -> Result<Self> {
        let mut child =
            Command::new(std::env::current_exe()?).arg(WAIT).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let stdin = child.stdin.take().ok_or("no pipe")?;
        let stdout = child.stdout.take().ok_or("no pipe")?;
        Ok(Self { pipes: Mutex::new((stdin, BufReader::new(stdout))), _child: child })
    }

    /// What a shell command writes inside.
    pub(crate) fn shell(&self, spec: &EnterSpec, command: &str) -> Result<String> {
        self.ask(&Request::Enter(spec.clone(), command.to_owned()))
    }

    /// What this program writes outside when it is run with this argument.
    pub(crate) fn again(&self, argument: &str) -> Result<String> {
        self.ask(&Request::Again(argument.to_owned()))
    }

    fn ask(&self, request: &Request) -> Result<String> {
        let mut pipes = self.pipes.lock().map_err(|_| "an earlier command failed")?;
        let (stdin, stdout) = &mut *pipes;
        let text = serde_json::to_string(request)?;
        writeln!(stdin, "{text}")?;
        let mut line = String::new();
        stdout.read_line(&mut line)?;
        let answer: Answer = serde_json::from_str(&line)?;
        if answer.code == Some(0) {
            Ok(answer.stdout)
        } else {
            Err(format!("{text}: {:?}: {}{}", answer.code, answer.stdout, answer.stderr).into())
        }
    }
}

/// The process that stays outside.
pub(crate) fn wait() -> ExitCode {
    for line in io::stdin().lines() {
        let Ok(line) = line else { break };
        let answer = match run(&line) {
            Ok(answer) => answer,
            Err(e) => Answer { code: None, stdout: String::new(), stderr: e.to_string() },
        };
        println!("{}", serde_json::to_string(&answer).expect("strings and a number"));
    }
    ExitCode::SUCCESS
}

fn run(line: &str) -> Result<Answer> {
    let mut again = Command::new(std::env::current_exe()?);
    match serde_json::from_str(line)? {
        Request::Enter(spec, command) => {
            again.arg(ENTER).arg(serde_json::to_string(&spec)?).args(["/bin/sh", "-c", &command]);
        }
        Request::Again(argument) => {
            again.arg(argument);
        }
    }
    let output = again.output()?;
    Ok(Answer {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout)?,
        stderr: String::from_utf8(output.stderr)?,
    })
}

/// The process that enters.
pub(crate) fn enter(mut arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let spec = arguments.next().and_then(|s| s.into_string().ok()).unwrap_or_default();
    let error = match serde_json::from_str(&spec) {
        Ok(spec) => enter_and_exec(&spec, &arguments.collect::<Vec<_>>()),
        Err(e) => e.into(),
    };
    eprintln!("{error}");
    ExitCode::from(2)
}
