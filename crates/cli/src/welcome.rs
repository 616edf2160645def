//! What `tortie` alone says: three commands to try.

use crate::failure::{Failure, Outcome};
use crate::kubectl::Caller;
use crate::terminal::{FAINT, STRONG, print, styled};

const LINES: [(&str, &str); 3] = [
    ("lab run", "real packets: who reaches whom after each policy; no root, no cluster"),
    ("examples practicals", "the same practical as files, to be read and changed"),
    (
        "explain -f practicals/three-namespaces dev/dev1 prod/prod1 80",
        "which policy, rule and line decides whether a packet gets through",
    ),
];

fn text(caller: Caller, commands: &[(&str, &str)]) -> String {
    let mut out =
        String::from("Kubernetes network policies: enforced in the Linux kernel, proven, explained.\n\nTry:\n");
    let name = caller.name();
    for (command, what) in commands {
        let command = format!("{name} {command}");
        out.push_str(&format!("\n  {}\n      {}\n", styled(STRONG, command), styled(FAINT, what)));
    }
    out.push_str(&format!("\nAll commands: {name} --help\n"));
    out
}

pub(crate) fn run(caller: Caller) -> Result<Outcome, Failure> {
    print(&text(caller, &LINES))?;
    Ok(Outcome::Fine)
}
