//! How many cases were decided, and by what, over all test programs of a run.
//!
//! `TORTIE_DECIDED` names a file that every test adds its counts to, a line each: `engine 506`. A file, because what tests
//! print is kept from the reader when they pass; lines, because programs that run side by side may all append to it.

use std::io::Write as _;

/// What decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// The engine.
    Engine,
    /// A plan, evaluated in memory.
    Plan,
    /// The kernel, by what became of packets.
    Packets,
}

impl By {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Engine => "engine",
            Self::Plan => "plan",
            Self::Packets => "packets",
        }
    }
}

/// Adds to the count of this run, if anybody counts.
///
/// # Panics
/// When the file that is asked for cannot be written.
pub fn decided(by: By, cases: usize) {
    let Some(path) = std::env::var_os("TORTIE_DECIDED") else { return };
    let file = std::fs::File::options().append(true).create(true).open(&path);
    // One write, so that lines of others do not come in between.
    let written = file.and_then(|mut file| file.write_all(format!("{} {cases}\n", by.as_str()).as_bytes()));
    written.unwrap_or_else(|e| panic!("TORTIE_DECIDED names {}: {e}", path.display()));
}
