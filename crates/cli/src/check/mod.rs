//! `tortie check`: what the API server would refuse, and what it would accept and nobody meant.

pub(crate) mod arguments;
mod formats;
mod levels;
mod mend;
mod pages;

use schemars::JsonSchema;
use serde::Serialize;
use tortie_analysis::snapshot::Snapshot;
use tortie_lint::{Allows, Config, Finding, FindingLine, lint_all};
use tortie_manifest::{Diagnostic, DiagnosticLine, Disk, Expansion, LoadOptions, Loaded, Severity, load};

use self::arguments::{Check, CheckFormat, FailOn};
use crate::failure::{Failure, Outcome};
use crate::progress::during;
use crate::{input, terminal};

/// Something found: by validation, or by a lint.
pub(crate) enum Found {
    /// What the API server, or tortie, would say of the input itself.
    Input(Diagnostic),
    /// What a lint says.
    Lint(Box<Finding>),
}

impl Found {
    pub(crate) const fn diagnostic(&self) -> &Diagnostic {
        match self {
            Self::Input(diagnostic) => diagnostic,
            Self::Lint(finding) => &finding.diagnostic,
        }
    }

    fn line(&self) -> Line<'_> {
        match self {
            Self::Input(diagnostic) => Line::Input(diagnostic.line()),
            Self::Lint(finding) => Line::Lint(finding.line()),
        }
    }

    const fn lint(&self) -> Option<&Finding> {
        match self {
            Self::Input(_) => None,
            Self::Lint(finding) => Some(finding),
        }
    }
}

/// Something found, as programs read it.
#[derive(Serialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum Line<'f> {
    /// What a lint says.
    Lint(FindingLine<'f>),
    /// What the API server, or tortie, would say of the input itself.
    Input(DiagnosticLine<'f>),
}

/// Findings are data, whatever the format; what was left out is said.
pub(crate) fn run(arguments: &Check) -> Result<Outcome, Failure> {
    if arguments.list {
        return pages::list();
    }
    if let Some(id) = &arguments.explain {
        return pages::explain(id);
    }
    let config = levels::read(arguments)?;
    let options = LoadOptions { namespace: arguments.namespace.as_str().into() };
    let loaded = during(input::READING, || load(&Disk, &arguments.files, &options));
    let unread: Vec<&Diagnostic> =
        loaded.diagnostics.iter().filter(|d| input::UNREAD.contains(&d.id.as_ref())).collect();
    let found = during("looking for mistakes", || look(&loaded, &config));
    if arguments.fix || arguments.diff {
        return mend::run(arguments, &loaded, &config, &found);
    }
    formats::write(arguments, &found)?;
    input::say_all(&loaded.notes);
    input::say_all(unread.iter().copied());
    if !unread.is_empty() {
        return Err(Failure::Untrusted("what could not be read was not checked"));
    }
    if loaded.has_untrusted_policy() {
        terminal::say("mistakes that the API server accepts are looked for when this is mended");
    }
    if arguments.output == CheckFormat::Text {
        terminal::say(summary(&loaded, &found, arguments.notes));
    }
    let least = match arguments.fail_on {
        FailOn::Error => Severity::Error,
        FailOn::Warning => Severity::Warning,
        FailOn::Note => Severity::Note,
    };
    Ok(Outcome::findings_if(found.iter().any(|f| f.diagnostic().severity >= least)))
}

/// All findings, those of the input first. While a policy cannot be trusted, nothing is said of what policies do.
fn look(loaded: &Loaded, config: &Config) -> Vec<Found> {
    let input = loaded.diagnostics.iter().filter(|d| !input::UNREAD.contains(&d.id.as_ref()));
    let mut out: Vec<Found> = input.cloned().map(Found::Input).collect();
    if loaded.has_untrusted_policy() {
        return out;
    }
    let snapshot = Snapshot::new(loaded, &Expansion::default());
    let mut allows = Allows::of(&loaded.files);
    for finding in lint_all(&snapshot) {
        if allows.allows(&snapshot, &finding) {
            continue;
        }
        let level = config.level(&finding);
        out.extend(finding.at_level(level).map(|f| Found::Lint(Box::new(f))));
    }
    out.extend(allows.complaints().into_iter().map(Found::Input));
    out
}

fn summary(loaded: &Loaded, found: &[Found], notes_shown: bool) -> String {
    let count = |severity| found.iter().filter(|f| f.diagnostic().severity == severity).count();
    let (errors, warnings, notes) = (count(Severity::Error), count(Severity::Warning), count(Severity::Note));
    let read = format!("{}, {}", many(loaded.objects.len(), "object"), many(loaded.files.len(), "file"));
    let told: Vec<String> = [(errors, "error"), (warnings, "warning"), (notes, "note")]
        .into_iter()
        .filter(|(n, _)| *n > 0)
        .map(|(n, what)| many(n, what))
        .collect();
    let told = if told.is_empty() { "nothing to complain about".to_owned() } else { told.join(", ") };
    let hint = if notes > 0 && !notes_shown { " (--notes shows them)" } else { "" };
    format!("{read}: {told}{hint}")
}

/// `1 file`, `2 files`.
fn many(n: usize, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}
