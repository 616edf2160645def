//! Manifests as they were at a revision of a git repository.
//!
//! A repository is read as it lies on the disk: no other program is run, nothing is fetched, and of all configuration
//! only the repository's own is looked at. A [`Tree`] is read like a folder, by the paths that its files have in the
//! working tree.

mod error;
mod repository;
mod tree;

pub use error::RevisionError;
pub use repository::Repository;
pub use tree::Tree;
