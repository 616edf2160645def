//! What must be seen.

use std::sync::Arc;

use super::{Pattern, Probe};
use crate::source::Place;

/// What a probe must show.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Verdict {
    /// It gets through.
    Allow,
    /// It is dropped.
    Deny,
}

impl Verdict {
    /// `allow` or `deny`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
        }
    }
}

/// `allow` or `deny`.
impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What holds for the pairs that no line names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Unnamed {
    /// They are not tried.
    #[default]
    Unchecked,
    /// Every pair of pods must show this.
    Must(Verdict),
}

/// How the destination is addressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum Via {
    /// By its own address.
    #[default]
    Pod,
    /// Through the ClusterIP of the Service named on the right.
    Service,
}

impl Via {
    /// `pod` or `service`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pod => "pod",
            Self::Service => "service",
        }
    }
}

/// One item of `expect`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expectation {
    /// What is tried, ranges as their ends. Either all resolve names or none does.
    pub probes: Vec<Probe>,
    /// How the destination is addressed.
    pub via: Via,
    /// What holds for pairs that no line names.
    pub default: Unnamed,
    /// Lines under `allow`.
    pub allow: Vec<Line>,
    /// Lines under `deny`.
    pub deny: Vec<Line>,
    /// Where it stands.
    pub place: Place,
}

/// `from -> to  # why`; without an arrow for names to be resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Who sends.
    pub from: Pattern,
    /// Who is reached; `None` for names to be resolved.
    pub to: Option<Pattern>,
    /// What its author says about it.
    pub why: Option<Arc<str>>,
    /// Where it stands.
    pub place: Place,
}
