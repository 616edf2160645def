//! What `tortie` alone says: three commands to try.

use crate::failure::{Failure, Outcome};
use crate::terminal::{FAINT, STRONG, print, styled};

const LINES: [(&str, &str); 3] = [
    ("tortie lab run", "a practical with real packets: who reaches whom after each policy; no root, no cluster"),
    ("tortie examples practicals", "the same practical as files, to be read and changed"),
    (
        "tortie explain -f practicals/three-namespaces dev/dev1 prod/prod1 80",
        "which policy, rule and line decides whether a packet gets through",
    ),
];

fn text(commands: &[(&str, &str)]) -> String {
    let mut out =
        String::from("Kubernetes network policies: enforced in the Linux kernel, proven, explained.\n\nTry:\n");
    for (command, what) in commands {
        out.push_str(&format!("\n  {}\n      {}\n", styled(STRONG, command), styled(FAINT, what)));
    }
    out.push_str("\nAll commands: tortie --help\n");
    out
}

pub(crate) fn run() -> Result<Outcome, Failure> {
    print(&text(&LINES))?;
    Ok(Outcome::Fine)
}
