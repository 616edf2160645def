//! tortie as a plugin of kubectl, which runs the program `kubectl-tortie` for `kubectl tortie`.
//!
//! It is the same program by another name: a link, or what krew installs. A second binary would only be a second copy.

use std::ffi::OsStr;
use std::path::Path;

use clap::Command;

/// What people write to call this program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Caller {
    /// `tortie`.
    Shell,
    /// `kubectl tortie`.
    Kubectl,
}

impl Caller {
    /// Who calls, by the name that the program was started with.
    pub(crate) fn of(program: Option<&OsStr>) -> Self {
        let stem = program.and_then(|path| Path::new(path).file_stem()).unwrap_or_default();
        if stem.eq_ignore_ascii_case("kubectl-tortie") { Self::Kubectl } else { Self::Shell }
    }

    /// What is written before a command.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Shell => "tortie",
            Self::Kubectl => "kubectl tortie",
        }
    }

    /// Usage and examples as this caller has to write them.
    pub(crate) fn command(self, command: Command) -> Command {
        match self {
            Self::Shell => command,
            Self::Kubectl => examples(command.bin_name(self.name())),
        }
    }

    /// A command line as this caller has to write it.
    pub(crate) fn line(self, line: &str) -> String {
        match self {
            Self::Shell => line.to_owned(),
            // Where a command begins: after the margin, or a pipe.
            Self::Kubectl => line.replace("  tortie ", "  kubectl tortie ").replace("| tortie ", "| kubectl tortie "),
        }
    }
}

fn examples(command: Command) -> Command {
    let after = command.get_after_help().map(ToString::to_string);
    let command = match after {
        Some(text) => command.after_help(Caller::Kubectl.line(&text)),
        None => command,
    };
    command.mut_subcommands(examples)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_caller_is_known_by_the_name_of_the_program() {
        let kubectl = ["kubectl-tortie", "/home/me/.krew/bin/kubectl-tortie", "kubectl-tortie.exe"];
        for program in kubectl {
            assert_eq!(Caller::of(Some(program.as_ref())), Caller::Kubectl, "{program}");
        }
        for program in ["tortie", "/usr/bin/tortie", "tortie.exe", "/kubectl-tortie/tortie", ""] {
            assert_eq!(Caller::of(Some(program.as_ref())), Caller::Shell, "{program}");
        }
        assert_eq!(Caller::of(None), Caller::Shell);
    }
}
