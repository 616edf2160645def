//! How grave findings are: `tortie.toml` and options.

use std::path::{Path, PathBuf};

use tortie_lint::{Config, Level};

use super::arguments::Check;
use crate::failure::Failure;

const FILE: &str = "tortie.toml";

pub(super) fn read(arguments: &Check) -> Result<Config, Failure> {
    let mut config = match find(arguments) {
        None => Config::default(),
        Some(path) => {
            let name = path.display();
            let text =
                std::fs::read_to_string(&path).map_err(|e| Failure::Message(format!("cannot read {name}: {e}")))?;
            Config::read(&text).map_err(|e| Failure::Message(format!("{name}: {e}")))?
        }
    };
    for (ids, level) in
        [(&arguments.allow, Level::Allow), (&arguments.warn, Level::Warning), (&arguments.deny, Level::Error)]
    {
        for id in ids {
            config.set(id, level).map_err(Failure::message)?;
        }
    }
    Ok(config)
}

/// The file that was named; or the next one at or above the first path.
fn find(arguments: &Check) -> Option<PathBuf> {
    if let Some(path) = &arguments.config {
        return Some(path.into());
    }
    let first = arguments.files.iter().find(|f| *f != "-").map_or(".", String::as_str);
    let from = std::path::absolute(Path::new(first)).ok()?;
    from.ancestors().map(|folder| folder.join(FILE)).find(|path| path.is_file())
}
