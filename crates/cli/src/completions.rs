//! `tortie completions`: what a shell needs to complete command lines.

use clap::{Args, Command, CommandFactory, ValueHint};
use clap_complete::{Shell, generate};

use crate::arguments::Arguments;
use crate::failure::{Failure, Outcome};
use crate::terminal;

/// Write what a shell needs to complete command lines
///
/// Commands, options and their values are completed, and files where files are meant. PowerShell reads it from the file
/// that `$PROFILE` names.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tortie completions bash > ~/.local/share/bash-completion/completions/tortie
  tortie completions zsh > ~/.zfunc/_tortie           with ~/.zfunc in fpath
  tortie completions fish > ~/.config/fish/completions/tortie.fish
  tortie completions elvish >> ~/.config/elvish/rc.elv")]
pub(crate) struct Completions {
    /// The shell
    #[arg(value_enum)]
    pub(crate) shell: Shell,
}

pub(crate) fn run(arguments: &Completions) -> Result<Outcome, Failure> {
    terminal::print(&script(arguments.shell))?;
    Ok(Outcome::Fine)
}

fn script(shell: Shell) -> String {
    let mut out = Vec::new();
    generate(shell, &mut hinted(Arguments::command()), "tortie", &mut out);
    String::from_utf8(out).expect("clap writes UTF-8")
}

/// Arguments are told apart by what help calls their values: `PATH` may be `-`, which makes it text to clap.
fn hinted(command: Command) -> Command {
    let command = command.mut_args(|arg| {
        let hint = match arg.get_value_names() {
            Some([name]) if name == "PATH" || name == "FILE" => ValueHint::AnyPath,
            Some([name]) if name == "DIR" => ValueHint::DirPath,
            _ => return arg,
        };
        arg.value_hint(hint)
    });
    command.mut_subcommands(hinted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::ValueEnum;

    /// All that people may write, at any depth.
    fn words(command: &Command, out: &mut Vec<String>) {
        for sub in command.get_subcommands() {
            out.push(sub.get_name().to_owned());
            let shown = sub.get_arguments().filter(|a| !a.is_hide_set());
            out.extend(shown.filter_map(|a| a.get_long()).map(ToOwned::to_owned));
            words(sub, out);
        }
    }

    #[test]
    fn every_shell_is_told_of_every_command_and_option() {
        let mut all = Vec::new();
        words(&Arguments::command(), &mut all);
        assert!(all.iter().any(|w| w == "exposure") && all.iter().any(|w| w == "connectivity"), "{all:?}");
        for shell in Shell::value_variants() {
            let script = script(*shell);
            for word in &all {
                assert!(script.contains(word.as_str()), "{shell} does not know {word}");
            }
        }
    }

    #[test]
    fn files_are_offered_where_files_are_meant() {
        let zsh = script(Shell::Zsh);
        let line = |option: &str| {
            let found = zsh.lines().find(|line| line.contains(option));
            found.unwrap_or_else(|| panic!("{option} is not in {zsh}")).to_owned()
        };
        assert!(line("--filename=").contains("_files"), "{}", line("--filename="));
        assert!(!line("--namespace=").contains("_files"), "{}", line("--namespace="));
    }
}
