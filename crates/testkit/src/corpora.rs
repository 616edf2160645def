//! Where public suites lie as data. They are no part of this repository.

use std::path::{Path, PathBuf};

/// The folder that `TORTIE_CORPORA` names, or `../shared/corpora` beside the workspace.
///
/// # Errors
/// The folder, when it is not there.
pub fn folder() -> Result<PathBuf, PathBuf> {
    let folder = std::env::var_os("TORTIE_CORPORA")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/corpora"), PathBuf::from);
    if folder.is_dir() { Ok(folder) } else { Err(folder) }
}

/// The text of a suite.
///
/// # Errors
/// Why there is none, in words.
pub fn suite(name: &str) -> Result<String, String> {
    let missing = |path: &Path| format!("skipped: {} is not there (TORTIE_CORPORA names its folder)", path.display());
    let path = folder().map_err(|folder| missing(&folder))?.join(format!("{name}.jsonl"));
    std::fs::read_to_string(&path).map_err(|_| missing(&path))
}
