//! Results for people: a line a case, and what failed.

use std::fmt::Write as _;

use super::Played;
use super::failed::{Cause, Told};
use crate::matrix::lost_records;
use crate::terminal::{ALLOW, DENY, FAINT, STRONG, WARN, styled, width, wrapped};

/// More pairs than this that fail for the same reason are counted only.
const MOST: usize = 5;

/// One case.
pub(super) fn case(played: &Played) -> String {
    let (word, failures) = (played.broken.is_some(), played.failures());
    let word = match (word, failures) {
        (true, _) => styled(WARN, "error"),
        (false, 0) => styled(ALLOW, "ok   "),
        (false, _) => styled(DENY.bold(), "FAIL "),
    };
    let path = styled(FAINT, &played.path);
    let count = match failures {
        0 => many(played.probes(), "probe"),
        n => format!("{n} of {} differ", many(played.probes(), "probe")),
    };
    let mut out = format!("{word} {}: {count}  {path}\n", styled(STRONG, &played.name));
    for step in &played.steps {
        for one in &step.causes {
            out.push_str(&cause(&step.name, one));
        }
    }
    if let lost @ 1.. = played.lost_records() {
        let _ = writeln!(out, "{}", styled(WARN, wrapped(&lost_records(lost), "  ", width())));
    }
    for line in played.broken.iter().flat_map(|why| why.lines()) {
        let _ = writeln!(out, "  {line}");
    }
    out
}

/// What failed after a step for one reason, and the reason.
pub(super) fn cause(step: &str, cause: &Cause) -> String {
    let mut out = format!("\n  after step `{step}`: {}\n", cause.answers);
    for failed in cause.failed.iter().take(MOST) {
        let _ = writeln!(out, "    {}", styled(STRONG, &failed.what));
        let _ = writeln!(out, "      {}", styled(FAINT, &failed.place));
        for line in &failed.because {
            let _ = writeln!(out, "{}", wrapped(line, "      ", width()));
        }
    }
    if let more @ 1.. = cause.failed.len().saturating_sub(MOST) {
        let _ = writeln!(out, "    ... and {}, for the same reason", many(more, "other pair"));
    }
    match &cause.told {
        Told::Here(text) => out.push_str(text),
        Told::Before(step) => {
            let _ = writeln!(out, "  for the reason that is told after step `{step}`");
        }
        Told::Nowhere => out.push_str("  not explained: so much fails in this case\n"),
    }
    out
}

/// The end.
pub(super) fn summary(all: &[Played]) -> String {
    let probes = all.iter().map(Played::probes).sum();
    let sent: usize = all.iter().flat_map(|p| &p.steps).map(|s| s.sent).sum();
    let broken = all.iter().filter(|p| p.broken.is_some()).count();
    let failed = all.iter().filter(|p| p.broken.is_none() && p.failures() > 0).count();
    let mut out = format!("{}: {} ok", many(all.len(), "case"), all.len() - broken - failed);
    for (n, word) in [(failed, "failed"), (broken, "not played")] {
        if n > 0 {
            let _ = write!(out, ", {n} {word}");
        }
    }
    let how = match sent {
        0 => "in memory".to_owned(),
        n => format!("{n} sent as packets"),
    };
    let _ = writeln!(out, "; {}, {how}", many(probes, "probe"));
    out
}

/// `1 probe`, `2 probes`.
fn many(n: usize, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}
