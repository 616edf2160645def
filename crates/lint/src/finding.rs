//! What a lint says.

use std::ops::Range;

use schemars::JsonSchema;
use serde::Serialize;
use tortie_manifest::{Diagnostic, DiagnosticLine, Place};
use tortie_model::ObjectRef;

use crate::catalogue::{Level, Lint};

/// One finding.
#[derive(Clone, Debug)]
pub struct Finding {
    /// Which lint.
    pub lint: &'static Lint,
    /// What is said, where.
    pub diagnostic: Diagnostic,
    /// The value in the object that it is about, as a JSON pointer.
    pub pointer: String,
    /// A packet that shows it.
    pub witness: Option<Witness>,
    /// A change that mends it.
    pub fix: Option<Fix>,
    /// A value of the same object of which nothing else needs to be said.
    pub(crate) replaces: Option<String>,
}

impl Finding {
    /// The object that it is about.
    #[must_use]
    pub const fn object(&self) -> Option<&ObjectRef> {
        self.diagnostic.object.as_ref()
    }

    /// The same, as grave as that; `None` when the level is [`Level::Allow`].
    #[must_use]
    pub fn at_level(mut self, level: Level) -> Option<Self> {
        self.diagnostic.severity = level.severity()?;
        Some(self)
    }

    /// For programs.
    #[must_use]
    pub fn line(&self) -> FindingLine<'_> {
        FindingLine {
            diagnostic: self.diagnostic.line(),
            help: self.diagnostic.help.as_deref(),
            witness: self.witness.as_ref(),
            fixable: self.fix.is_some(),
        }
    }
}

/// A finding as programs read it.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct FindingLine<'f> {
    /// What is said, where.
    #[serde(flatten)]
    pub diagnostic: DiagnosticLine<'f>,
    /// The way out.
    pub help: Option<&'f str>,
    /// A packet that shows it.
    pub witness: Option<&'f Witness>,
    /// Whether `--fix` can mend it.
    pub fixable: bool,
}

/// A packet and what the engine says of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Witness {
    /// Who sends: `namespace/pod` or an address.
    pub from: String,
    /// To whom.
    pub to: String,
    /// `TCP/80`, as in cases.
    #[serde(rename = "probe")]
    pub traffic: String,
    /// Whether it passes.
    pub allowed: bool,
}

impl std::fmt::Display for Witness {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let verdict = if self.allowed { "allowed" } else { "denied" };
        write!(f, "{} -> {}  {} is {verdict}", self.from, self.to, self.traffic)
    }
}

/// Edits of one file that belong together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fix {
    /// What it does, in a few words.
    pub title: String,
    /// Whether it may change which packets pass.
    pub changes_verdicts: bool,
    /// The file, by a place in it.
    pub file: Place,
    /// Bytes and what comes in their place, in order, without overlap.
    pub edits: Vec<(Range<usize>, String)>,
}
