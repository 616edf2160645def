//! Every command line that people are told is one that the program takes.

use clap::{Command, CommandFactory};

use crate::arguments::Arguments;

/// The words of a command line as a shell makes them, up to what ends the command: `|`, `>`, `;`, `&&`, a comment.
fn words(line: &str) -> Vec<String> {
    let (mut out, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for c in line.chars() {
        match (quote, c) {
            (Some(q), c) if c == q => quote = None,
            (Some(_), c) => word.get_or_insert_default().push(c),
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, '|' | '>' | '<' | ';' | '&' | '#') if word.is_none() => break,
            (None, c) if c.is_whitespace() => out.extend(word.take()),
            (None, c) => word.get_or_insert_default().push(c),
        }
    }
    out.extend(word);
    out
}

/// The calls of tortie in a line: at its beginning, and behind pipes.
fn calls(line: &str) -> Vec<Vec<String>> {
    let starts = line.match_indices("tortie ").map(|(at, _)| at);
    let begins = |at: &usize| {
        let before = line[..*at].trim_end().trim_end_matches("kubectl").trim_end();
        before.is_empty() || before.ends_with(['|', ';', '&']) || before.ends_with("$")
    };
    starts.filter(begins).map(|at| words(&line[at..])).collect()
}

/// Panics where the program would not take the words.
fn is_taken(words: &[String], told: &str) {
    if let Err(error) = Arguments::command().try_get_matches_from(words) {
        let asks = [clap::error::ErrorKind::DisplayHelp, clap::error::ErrorKind::DisplayVersion];
        assert!(asks.contains(&error.kind()), "{told}: {words:?}\n{error}");
    }
}

/// Looks at all lines of a text; says how many calls are in it.
fn all_taken(text: &str, told: &str) -> usize {
    let found: Vec<_> = text.lines().flat_map(calls).collect();
    found.iter().for_each(|words| is_taken(words, told));
    found.len()
}

#[test]
fn lines_are_divided_as_a_shell_does() {
    assert_eq!(words("tortie a 'b c' \"d|e\" f-g > h"), ["tortie", "a", "b c", "d|e", "f-g"]);
    assert_eq!(words("tortie a ''  # why"), ["tortie", "a", ""]);
    let piped = calls("kubectl get x | tortie check -f - | jq .");
    assert_eq!(piped, [["tortie", "check", "-f", "-"]]);
    assert!(calls("about tortie and nothing else").is_empty());
    assert_eq!(calls("kubectl tortie doctor"), [["tortie", "doctor"]]);
}

#[test]
#[should_panic(expected = "--no-such-option")]
fn a_line_that_is_not_taken_is_found() {
    all_taken("  tortie check -f k8s/ --no-such-option", "a test");
}

#[test]
fn every_command_shows_examples_that_are_taken() {
    fn look(command: &Command) {
        if command.has_subcommands() {
            return command.get_subcommands().for_each(look);
        }
        let after = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        let name = command.get_name();
        // What stands behind two spaces is a remark.
        let lines = after.lines().filter_map(|line| line.strip_prefix("  "));
        let shown: String = lines.map(|line| line.split("  ").next().unwrap_or_default().to_owned() + "\n").collect();
        assert!(all_taken(&shown, name) > 0, "{name} shows no example");
    }
    look(&Arguments::command());
}

/// The hooks of pre-commit: `entry` and `args`, and names of files where they are passed.
#[test]
fn hooks_are_taken() {
    let text = include_str!("../../../.pre-commit-hooks.yaml");
    let hooks: Vec<serde_json::Value> = serde_saphyr::from_str(text).expect("a list");
    for hook in &hooks {
        let mut line = words(hook["entry"].as_str().expect("a command"));
        assert_eq!(line[0], "tortie");
        line.extend(hook["args"].as_array().into_iter().flatten().filter_map(|a| a.as_str().map(ToOwned::to_owned)));
        is_taken(&line, "a hook");
    }
    assert!(!hooks.is_empty());
}

/// The command lines of the page about CI servers, editors, kubectl and packages.
#[test]
fn the_page_shows_lines_that_are_taken() {
    let page = include_str!("../../../docs/ecosystem.md");
    let blocks = page.split("```sh\n").skip(1).filter_map(|rest| rest.split("```").next());
    let shown: usize = blocks.map(|block| all_taken(block, "docs/ecosystem.md")).sum();
    assert!(shown >= 14, "only {shown} are found");
}

/// Those of the page about dry runs: in its table and its sentences, and after a prompt.
#[test]
fn the_page_of_dry_runs_shows_lines_that_are_taken() {
    let (page, name) = (include_str!("../../../docs/dry-run.md"), "docs/dry-run.md");
    let spans = page.split('`').filter(|text| text.starts_with("tortie "));
    let shown: usize = spans.map(|line| all_taken(line, name)).sum();
    assert!(shown + all_taken(page, name) >= 10, "only {shown} are found");
}
