//! Where public suites lie as data. They are no part of this repository.

use std::io::Read as _;
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
    let folder = folder().map_err(|folder| missing(&folder))?;
    let (plain, packed) = (folder.join(format!("{name}.jsonl")), folder.join(format!("{name}.jsonl.gz")));
    if let Ok(file) = std::fs::File::open(&packed) {
        let mut text = String::new();
        let read = flate2::read::GzDecoder::new(file).read_to_string(&mut text);
        return read.map(|_| text).map_err(|error| format!("cannot read {}: {error}", packed.display()));
    }
    std::fs::read_to_string(&plain).map_err(|_| missing(&plain))
}
