//! What a lint says.

use std::ops::Range;

use serde_json::{Value, json};
use tortie_manifest::{Diagnostic, Place};
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

    /// One line of JSON: the fields of a [`Diagnostic`], and the witness.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut out: Value = serde_json::from_str(&self.diagnostic.to_json()).unwrap_or_default();
        out["help"] = json!(self.diagnostic.help);
        out["witness"] = self.witness.as_ref().map_or(Value::Null, Witness::to_json);
        out["fixable"] = json!(self.fix.is_some());
        out
    }
}

/// A packet and what the engine says of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Witness {
    /// Who sends: `namespace/pod` or an address.
    pub from: String,
    /// To whom.
    pub to: String,
    /// `TCP/80`, as in cases.
    pub traffic: String,
    /// Whether it passes.
    pub allowed: bool,
}

impl Witness {
    /// As JSON.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({"from": self.from, "to": self.to, "probe": self.traffic, "allowed": self.allowed})
    }
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
