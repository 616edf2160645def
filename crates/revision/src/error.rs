//! Why there is nothing to read.

use std::path::PathBuf;

/// Why a revision cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum RevisionError {
    /// No repository is around a folder.
    #[error("{0} is in no git repository")]
    NoRepository(PathBuf),
    /// A repository is there, and cannot be read.
    #[error("the git repository of {0} cannot be read: {1}")]
    Unreadable(PathBuf, String),
    /// A name that means no revision.
    #[error("there is no revision `{revision}`{hint}")]
    Unknown {
        /// As it was written.
        revision: String,
        /// A name that is close to it, or where older revisions are to be had; in words, after a semicolon.
        hint: String,
    },
    /// A name that means something else: a file, or a folder.
    #[error("`{0}` is no commit")]
    NoCommit(String),
    /// Two revisions that do not go back to a common one.
    #[error("`{0}` and `{1}` have no commit in common{2}")]
    Unrelated(String, String, String),
}
