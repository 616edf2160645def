//! `tortie schema`: JSON Schemas of what programs read and people write.
//!
//! Those of output are derived from the types that write it, that of `tortie.toml` from the one that reads it; a test
//! compares the files with the types. Files, because those of a lab are types that exist on Linux alone.

#[cfg(test)]
mod tests;

use clap::builder::PossibleValuesParser;
use clap::{Args, builder::PossibleValue};

use crate::failure::{Failure, Outcome};
use crate::terminal::{self, FAINT, STRONG, styled};

/// Write the JSON Schema of something that tortie writes or reads
///
/// Of output that is a line a thing, the schema is that of a line. Fields may be added to what is written; what is read
/// may have no others. Without NAME, all names are told.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tortie schema
  tortie schema case > case.schema.json
  tortie schema config > tortie.schema.json")]
pub(crate) struct Schema {
    /// Of what
    #[arg(value_name = "NAME", value_parser = names(), hide_possible_values = true)]
    pub(crate) name: Option<String>,
}

/// One of them.
struct Known {
    name: &'static str,
    /// What it is of.
    of: &'static str,
    text: &'static str,
}

macro_rules! known {
    ($($name:literal: $of:literal,)*) => {
        const KNOWN: &[Known] = &[$(Known {
            name: $name,
            of: $of,
            text: include_str!(concat!("../../../../docs/schemas/", $name, ".json")),
        },)*];
    };
}

known! {
    "case": "cases, as `tortie test` and `tortie lab run` play them",
    "config": "tortie.toml",
    "explain-flow": "a line that `tortie explain --batch` reads",
    "check": "a line of `tortie check -o json`",
    "connectivity": "a line of `tortie connectivity -o json`",
    "diff": "a line of `tortie diff -o json`",
    "diff-flows": "a line of `tortie diff --flows FILE -o json`",
    "explain": "a line of `tortie explain -o json`",
    "explain-batch": "a line that `tortie explain --batch` writes",
    "test": "a line of `tortie test -o json`, or of `tortie lab run -o json`",
    "lab-status": "`tortie lab status -o json`",
    "lab-probe": "a line of `tortie lab probe -o json`",
    "lab-flows": "a line of `tortie lab flows -o json`",
    "lab-verify": "a line of `tortie lab verify -o json`",
}

fn names() -> PossibleValuesParser {
    PossibleValuesParser::new(KNOWN.iter().map(|known| PossibleValue::new(known.name).help(known.of)))
}

pub(crate) fn run(arguments: &Schema) -> Result<Outcome, Failure> {
    match &arguments.name {
        Some(name) => {
            let known = KNOWN.iter().find(|known| known.name == name);
            terminal::print(known.map(|known| known.text).unwrap_or_default())?;
        }
        None => {
            let width = KNOWN.iter().map(|known| known.name.len()).max().unwrap_or_default();
            for Known { name, of, .. } in KNOWN {
                let of = styled(FAINT, of);
                terminal::print(&format!("{}  {of}\n", styled(STRONG, format_args!("{name:width$}"))))?;
            }
        }
    }
    Ok(Outcome::Fine)
}
