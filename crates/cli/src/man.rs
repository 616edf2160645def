//! `tortie man`: the manual, as pages for man(1).

use std::io;
use std::path::{Path, PathBuf};

use clap::{Args, Command, CommandFactory};
use clap_mangen::Man as Page;
use roff::{Roff, roman};

use crate::arguments::Arguments;
use crate::failure::{Failure, Outcome};
use crate::terminal;

/// Write the manual, as pages for man(1)
///
/// With DIR, a page each for tortie and all its commands: `tortie.1`, `tortie-check.1`, `tortie-lab-up.1` and so on.
/// Pages that are there are replaced. Without it, the page of tortie goes to standard output.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tortie man ~/.local/share/man/man1
  tortie man > tortie.1")]
pub(crate) struct Man {
    /// The folder; it is made when it is not there
    #[arg(value_name = "DIR")]
    pub(crate) directory: Option<PathBuf>,
}

pub(crate) fn run(arguments: &Man) -> Result<Outcome, Failure> {
    let pages = pages();
    match &arguments.directory {
        // The page of all is the first.
        None => terminal::print(&pages[0].1)?,
        Some(folder) => {
            let failed = |e| Failure::Message(format!("cannot write to {}: {e}", folder.display()));
            write(folder, &pages).map_err(failed)?;
        }
    }
    Ok(Outcome::Fine)
}

fn write(folder: &Path, pages: &[(String, String)]) -> io::Result<()> {
    std::fs::create_dir_all(folder)?;
    pages.iter().try_for_each(|(name, text)| std::fs::write(folder.join(name), text))
}

/// The name of its file, and the text of every page.
fn pages() -> Vec<(String, String)> {
    fn add(command: &Command, exit: &str, out: &mut Vec<(String, String)>) {
        let page = Page::new(command.clone()).source(concat!("tortie ", env!("CARGO_PKG_VERSION"))).manual("tortie");
        let text = page_text(&page, command, exit).expect("memory can be written to");
        out.push((page.get_filename(), text));
        command.get_subcommands().filter(|sub| !sub.is_hide_set()).for_each(|sub| add(sub, exit, out));
    }
    let mut command = Arguments::command();
    command.build();
    let after = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let exit = after.lines().find_map(|line| line.strip_prefix(EXIT)).expect("help says what exit codes mean");
    let mut out = Vec::new();
    add(&command, exit, &mut out);
    out
}

/// What the sentence about exit codes begins with, below the help of tortie.
const EXIT: &str = "Exit codes: ";

fn page_text(page: &Page, command: &Command, exit: &str) -> io::Result<String> {
    let mut out = Vec::new();
    page.render_title(&mut out)?;
    page.render_name_section(&mut out)?;
    page.render_synopsis_section(&mut out)?;
    page.render_description_section(&mut out)?;
    page.render_options_section(&mut out)?;
    if command.has_subcommands() {
        page.render_subcommands_section(&mut out)?;
    }
    let after = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let (examples, notes) = divided(&after);
    let mut roff = Roff::default();
    section(&mut roff, "EXAMPLES", &examples, true);
    section(&mut roff, "NOTES", &notes, false);
    section(
        &mut roff,
        "EXIT STATUS",
        &exit.trim_end_matches('.').split("; ").map(ToOwned::to_owned).collect::<Vec<_>>(),
        true,
    );
    roff.to_writer(&mut out)?;
    Ok(String::from_utf8(out).expect("pages are UTF-8"))
}

fn section(roff: &mut Roff, title: &str, lines: &[String], is_verbatim: bool) {
    if lines.is_empty() {
        return;
    }
    roff.control("SH", [title]);
    if is_verbatim {
        roff.control("nf", []);
    }
    for line in lines {
        roff.text([roman(line)]);
    }
    if is_verbatim {
        roff.control("fi", []);
    }
}

/// What stands below help: command lines under `Example`, and sentences.
fn divided(after: &str) -> (Vec<String>, Vec<String>) {
    let (mut examples, mut notes) = (Vec::new(), Vec::new());
    for line in after.lines().filter(|line| !line.is_empty() && !line.starts_with(EXIT)) {
        match line.strip_prefix("  ") {
            Some(example) => examples.push(example.to_owned()),
            None if line.starts_with("Example") => {}
            None => notes.push(line.to_owned()),
        }
    }
    (examples, notes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_page_with_its_examples() {
        fn names(command: &Command, out: &mut Vec<String>) {
            out.push(format!("{}.1", command.get_display_name().unwrap_or(command.get_name())));
            command.get_subcommands().for_each(|sub| names(sub, out));
        }
        let (mut command, mut all) = (Arguments::command(), Vec::new());
        command.build();
        names(&command, &mut all);
        let pages = pages();
        assert_eq!(pages.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>(), all);
        assert!(all.contains(&"tortie.1".to_owned()) && all.contains(&"tortie-lab-run.1".to_owned()), "{all:?}");
        for (name, text) in &pages {
            let group = ["tortie.1", "tortie-lab.1"].contains(&name.as_str());
            assert_eq!(text.contains(".SH EXAMPLES\n.nf\n"), !group, "{name}: {text}");
            assert!(text.contains(".SH \"EXIT STATUS\"\n.nf\n0 fine\n"), "{name}: {text}");
            assert!(text.contains(&format!("\"tortie {}\"", env!("CARGO_PKG_VERSION"))), "{name}: {text}");
        }
    }

    #[test]
    fn what_stands_below_help_is_told_apart() {
        let (examples, notes) = divided("Examples:\n  tortie a\n  b | tortie c\n\nA sentence.\nExit codes: 0 fine");
        assert_eq!(examples, ["tortie a", "b | tortie c"]);
        assert_eq!(notes, ["A sentence."]);
    }
}
