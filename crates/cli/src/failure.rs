//! How a command ends.

use std::io;
use std::process::ExitCode;

use crate::terminal;

/// The end of a command that did its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Nothing to complain about: exit code 0.
    Fine,
    /// Findings, differences or failed expectations: exit code 1.
    Findings,
}

impl Outcome {
    pub(crate) const fn findings_if(any: bool) -> Self {
        if any { Self::Findings } else { Self::Fine }
    }
}

/// Why a command could not do its work: exit code 2.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// Standard output went away, or cannot be written.
    #[error("cannot write to standard output: {0}")]
    Output(#[from] io::Error),
    /// Something in the input that answers depend on cannot be trusted. What, has been said.
    #[error("{0}")]
    Untrusted(&'static str),
    /// What the user asked for cannot be done.
    #[error("{0}")]
    Message(String),
    /// All has been said.
    #[error("")]
    Said,
}

impl Failure {
    /// What failed, as text.
    pub(crate) fn message(error: impl std::fmt::Display) -> Self {
        Self::Message(error.to_string())
    }

    /// Says why, and gives the exit code.
    pub(crate) fn report(self) -> ExitCode {
        if let Self::Output(error) = &self
            && error.kind() == io::ErrorKind::BrokenPipe
        {
            // The reader has seen enough (`tortie explain | head`): nothing went wrong.
            return ExitCode::SUCCESS;
        }
        if !matches!(self, Self::Said) {
            terminal::error(&self);
        }
        ExitCode::from(2)
    }
}
