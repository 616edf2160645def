//! What `tortie check` is told.

use clap::{Args, ValueEnum};

/// Say what the API server would refuse, and what it would accept and nobody meant
///
/// Mistakes are found by the engine: whom a rule lets in, what could be left out, what one end allows and the other
/// denies. `tortie check --list` names all of them, `--explain ID` shows the page of one. How grave they are is said in
/// `tortie.toml`, by options, or where they stand: `# tortie: allow(ID) because`. Exits with 1 when there are errors.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tortie check -f policies/
  kubectl kustomize overlays/prod | tortie check -f -
  tortie check -f policies/ --fail-on warning -o sarif > tortie.sarif
  tortie check -f policies/ --fix
  tortie check --explain peers-apart")]
pub(crate) struct Check {
    /// File or folder with manifests, or `-` for standard input; may be given several times
    #[arg(short = 'f', long = "filename", value_name = "PATH", required_unless_present_any = ["list", "explain"])]
    pub(crate) files: Vec<String>,
    /// Namespace of objects that say none
    #[arg(short = 'n', long, value_name = "NAMESPACE", default_value = "default")]
    pub(crate) namespace: String,
    /// How findings are written
    #[arg(short = 'o', long, value_enum, value_name = "FORMAT", default_value_t, hide_default_value = true)]
    pub(crate) output: CheckFormat,
    /// Show notes, too; they are counted otherwise. Formats for programs always have them
    #[arg(long)]
    pub(crate) notes: bool,
    /// Exit with 1 from this on
    #[arg(long, value_enum, value_name = "SEVERITY", default_value_t)]
    pub(crate) fail_on: FailOn,
    /// Do not tell what this lint finds
    #[arg(long, value_name = "ID")]
    pub(crate) allow: Vec<String>,
    /// Make what this lint finds a warning
    #[arg(long, value_name = "ID")]
    pub(crate) warn: Vec<String>,
    /// Make what this lint finds an error
    #[arg(long, value_name = "ID")]
    pub(crate) deny: Vec<String>,
    /// Levels of lints; without it, `tortie.toml` in the folder of the first PATH or the next one above that has it
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<String>,
    /// Mend in the files what can be mended safely
    #[arg(long)]
    pub(crate) fix: bool,
    /// Show what --fix would change, and change nothing
    #[arg(long)]
    pub(crate) diff: bool,
    /// Name all lints
    #[arg(long, conflicts_with_all = ["files", "explain"])]
    pub(crate) list: bool,
    /// Show the page of a lint
    #[arg(long, value_name = "ID", conflicts_with = "files")]
    pub(crate) explain: Option<String>,
}

/// How findings are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum CheckFormat {
    /// For people: drawn over the text.
    #[default]
    Text,
    /// For programs: JSON, one line a finding.
    Json,
    /// SARIF 2.1.0, for code scanning.
    Sarif,
    /// Annotations of GitHub Actions.
    Github,
}

/// The least grave finding that fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum FailOn {
    /// Errors.
    #[default]
    Error,
    /// Warnings and errors.
    Warning,
    /// Whatever is found.
    Note,
}
