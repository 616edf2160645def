//! `tortie check`: what the API server would refuse.

use tortie_manifest::{Diagnostic, Loaded, Severity};

use crate::arguments::{Check, Format};
use crate::failure::{Failure, Outcome};
use crate::{input, terminal};

/// Findings that keep the command from doing its work: there was nothing to check.
const UNREAD: [&str; 2] = ["unreadable", "no-manifests"];

/// Findings are data, whatever the format; what was left out is said.
pub(crate) fn run(arguments: &Check) -> Result<Outcome, Failure> {
    let loaded = input::read(&arguments.manifests);
    let (unread, found): (Vec<_>, Vec<_>) = loaded.diagnostics.iter().partition(|d| UNREAD.contains(&d.id.as_ref()));
    for diagnostic in &found {
        match arguments.output {
            Format::Text => terminal::print(&format!("{}\n\n", diagnostic.render(true)))?,
            Format::Json => terminal::print(&format!("{}\n", diagnostic.to_json()))?,
        }
    }
    input::say_all(&loaded.notes);
    input::say_all(unread.iter().copied());
    if !unread.is_empty() {
        return Err(Failure::Untrusted("what could not be read was not checked"));
    }
    if arguments.output == Format::Text {
        terminal::say(summary(&loaded, &found));
    }
    Ok(Outcome::findings_if(found.iter().any(|d| d.severity == Severity::Error)))
}

fn summary(loaded: &Loaded, found: &[&Diagnostic]) -> String {
    let count = |severity| found.iter().filter(|d| d.severity == severity).count();
    let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
    let read = format!("{}, {}", many(loaded.objects.len(), "object"), many(loaded.files.len(), "file"));
    match (errors, warnings) {
        (0, 0) => format!("{read}: nothing to complain about"),
        (0, w) => format!("{read}: {}", many(w, "warning")),
        (e, 0) => format!("{read}: {}", many(e, "error")),
        (e, w) => format!("{read}: {}, {}", many(e, "error"), many(w, "warning")),
    }
}

/// `1 file`, `2 files`.
fn many(n: usize, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}
