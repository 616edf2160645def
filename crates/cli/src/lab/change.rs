//! `tortie lab apply` and `tortie lab delete`, and their dry runs.

use tortie_lab::control::{DryRunStatus, Input, Reply, Request, SourceFile};
use tortie_manifest::{Disk, LoadOptions, load};

use super::arguments::{DryRun, Files};
use super::remote::{ask_patiently, unexpected};
use crate::failure::{Failure, Outcome};
use crate::input::say_all;
use crate::terminal::{self, WARN, styled, wrapped};

/// The files as this process sees them: the lab has another folder, and maybe another standard input.
fn sources(files: &Files) -> Result<Vec<SourceFile>, Failure> {
    let loaded = load(&Disk, &files.files, &LoadOptions { namespace: files.namespace.as_str().into() });
    if loaded.diagnostics.iter().any(|d| d.severity == tortie_manifest::Severity::Error) {
        say_all(&loaded.diagnostics);
        return Err(Failure::Untrusted("nothing was changed"));
    }
    say_all(loaded.diagnostics.iter().chain(&loaded.notes));
    let text = |f: &std::sync::Arc<tortie_manifest::SourceFile>| SourceFile {
        path: f.name().to_string(),
        text: f.text().to_owned(),
    };
    Ok(loaded.files.iter().map(text).collect())
}

/// `requests`: to enforce a change, and to try it out.
pub(crate) fn run(files: &Files, requests: [fn(Input) -> Request; 2]) -> Result<Outcome, Failure> {
    let [enforce, try_out] = requests;
    let request = match (files.dry_run, files.files.as_slice()) {
        (Some(DryRun::Off), []) => Request::EndDryRun,
        (Some(DryRun::Off), _) => return Err(usage("--dry-run=off takes no files: it ends what is tried out")),
        (Some(DryRun::Packets), []) => return Err(usage("--dry-run=packets needs the change: -f PATH")),
        (Some(DryRun::Packets), _) => try_out(input(files)?),
        (None, _) => enforce(input(files)?),
    };
    let reply = ask_patiently(&files.which, "waiting until it is in force", &request)?;
    let Reply::Changed { lines, dry_run, ended, .. } = reply else { return Err(unexpected()) };
    for line in lines {
        terminal::print(&format!("{line}\n"))?;
    }
    if let Some(ended) = ended {
        terminal::say(styled(WARN, wrapped(&ended, "", terminal::width())));
    }
    match (files.dry_run, dry_run) {
        (_, Some(dry_run)) => say_tried_out(&dry_run),
        (Some(DryRun::Packets), None) => terminal::say("nothing would be otherwise, so nothing is tried out"),
        (Some(DryRun::Off), None) => terminal::say("nothing is tried out any more"),
        (None, None) => {}
    }
    Ok(Outcome::Fine)
}

fn usage(text: &str) -> Failure {
    Failure::Message(text.to_owned())
}

fn input(files: &Files) -> Result<Input, Failure> {
    Ok(Input { files: sources(files)?, namespace: files.namespace.clone() })
}

/// What is to be known of what is tried out.
pub(super) fn say_tried_out(dry_run: &DryRunStatus) {
    let changes = match dry_run.changes.len() {
        0 => None,
        1 => Some("1 change is".to_owned()),
        n => Some(format!("{n} changes are")),
    };
    let width = terminal::width();
    if let Some(changes) = changes {
        let text = "tried out on packets, not enforced; `tortie lab flows --changed` shows what would be otherwise";
        terminal::say(wrapped(&format!("{changes} {text}"), "", width));
    }
    for problem in &dry_run.problems {
        terminal::say(styled(WARN, wrapped(problem, "", width)));
    }
}
