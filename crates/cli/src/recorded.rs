//! Recorded connections as commands read them.

use std::fs::File;
use std::io::{BufRead, BufReader};

use clap::ValueEnum;
use tortie_flows::{BadLine, Population, Recording, read};

use crate::failure::Failure;
use crate::progress::during;
use crate::terminal;
use tortie_analysis::snapshot::Snapshot;

/// How connections were recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Lines of `tortie lab flows -o json`, or of `explain --batch`.
    Tortie,
    /// `hubble observe -o json`.
    Hubble,
    /// Flow logs of Calico, from files or from Goldmane.
    Calico,
    /// `conntrack -L`.
    Conntrack,
}

impl From<Format> for tortie_flows::Format {
    fn from(format: Format) -> Self {
        match format {
            Format::Tortie => Self::Tortie,
            Format::Hubble => Self::Hubble,
            Format::Calico => Self::Calico,
            Format::Conntrack => Self::Conntrack,
        }
    }
}

/// Bad lines that are shown; the others are counted.
const SHOWN: usize = 5;

/// Reads a recording from a file, or from standard input, and says what of it could not be used.
///
/// # Errors
/// When it cannot be read, or holds no connection.
pub(crate) fn recording(path: &str, format: Option<Format>) -> Result<Recording, Failure> {
    let unreadable = |error: std::io::Error| Failure::Message(format!("cannot read {path}: {error}"));
    let input: Box<dyn BufRead> = match path {
        "-" => Box::new(std::io::stdin().lock()),
        path => Box::new(BufReader::with_capacity(1 << 16, File::open(path).map_err(unreadable)?)),
    };
    let recording = during("reading flows", || read(input, format.map(Into::into))).map_err(unreadable)?;
    let name = if path == "-" { "standard input" } else { path };
    for BadLine { line, why } in recording.bad.iter().take(SHOWN) {
        terminal::say(format_args!("warning: {name}:{line} is not read: {why}"));
    }
    if recording.bad_count > SHOWN {
        let more = recording.bad_count - SHOWN;
        terminal::say(format_args!("warning: {more} more lines of {name} are not read"));
    }
    if !recording.passed.is_empty() {
        let each = recording.passed.iter().map(|(what, n)| format!("{n} {}", what.as_str()));
        terminal::say(format_args!("note: passed over: {}", each.collect::<Vec<_>>().join(", ")));
    }
    if recording.flows.is_empty() {
        return Err(Failure::Message(format!("there are no connections in {name}")));
    }
    Ok(recording)
}

/// The pods of a cluster by all that records call them.
pub(crate) fn population(snapshot: &Snapshot) -> Population {
    Population::new(&snapshot.index, &snapshot.objects.services)
}

/// Says for which connections there is no answer: a line for each reason.
pub(crate) fn unanswered<'w, W: ToString + 'w>(whys: impl IntoIterator<Item = &'w W>) {
    let mut counts: std::collections::BTreeMap<String, usize> = std::collections::BTreeMap::new();
    for why in whys {
        *counts.entry(why.to_string()).or_default() += 1;
    }
    let mut sorted: Vec<(String, usize)> = counts.into_iter().collect();
    sorted.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    const MOST: usize = 10;
    for (why, n) in sorted.iter().take(MOST) {
        terminal::say(format_args!("note: {} left out: {why}", count(*n as u64, "recorded flow")));
    }
    if sorted.len() > MOST {
        let more: usize = sorted[MOST..].iter().map(|(_, n)| n).sum();
        terminal::say(format_args!("note: {more} more left out, for {} other reasons", sorted.len() - MOST));
    }
}

/// `1 flow`, `2 flows`.
pub(crate) fn count(n: u64, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}
