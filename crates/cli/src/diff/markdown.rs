//! A difference as a comment at a pull request.
//!
//! The first line never changes, so that a comment can be found again and replaced; the same difference is always the
//! same text.

use std::fmt::Write as _;

use super::cause::Sides;
use super::group::{Group, Turn};
use super::text::{count, few_causes};
use crate::connectivity::names::Names;

/// What a comment is found by.
const MARK: &str = "<!-- tortie diff -->";

/// Rows of a table that are shown; a comment has room for some 60,000 letters.
const MOST_ROWS: usize = 40;
/// Names in a cell.
const MOST_NAMES: usize = 12;

/// Writes what was opened and closed.
pub(super) fn draw(sides: Sides<'_>, groups: &[Group], names: &Names) -> String {
    let mut out = format!("{MARK}\n### Network policies: {}\n", headline(groups));
    let _ = writeln!(out, "\n{} → {}", code(&sides.old.name), code(&sides.new.name));
    for turn in Turn::BOTH {
        let of_turn: Vec<&Group> = groups.iter().filter(|g| g.turn == turn).collect();
        if of_turn.is_empty() {
            continue;
        }
        let title = match turn {
            Turn::Opened => "🟢 Opened",
            Turn::Closed => "🔴 Closed",
        };
        let pairs = of_turn.iter().map(|g| g.pairs).sum();
        let _ = writeln!(out, "\n<details open>\n<summary><b>{title}</b> for {}</summary>", count(pairs));
        for group in of_turn {
            out.push('\n');
            for told in few_causes(group.causes.iter().map(|cause| sides.told(turn, cause)).collect()) {
                let places: Vec<String> = told.places.iter().map(|place| code(place)).collect();
                let places = if places.is_empty() { String::new() } else { format!(" ({})", places.join(", ")) };
                let _ = writeln!(out, "- {}{places}", escaped(&told.words));
            }
            out.push_str("\n| From | To | Packets |\n| --- | --- | --- |\n");
            for row in group.rows.iter().take(MOST_ROWS) {
                let [from, to, packets] = row.words(names).map(cell);
                let _ = writeln!(out, "| {from} | {to} | {packets} |");
            }
            if let Some(more) = group.rows.len().checked_sub(MOST_ROWS).filter(|more| *more > 0) {
                let _ = writeln!(out, "| … | … | and {more} more rows |");
            }
        }
        out.push_str("\n</details>\n");
    }
    out
}

fn headline(groups: &[Group]) -> String {
    let pairs = |turn| groups.iter().filter(|g| g.turn == turn).map(|g| g.pairs).sum::<usize>();
    let part = |turn: Turn| (pairs(turn) > 0).then(|| format!("{} for {}", turn.word(), count(pairs(turn))));
    let parts: Vec<String> = Turn::BOTH.into_iter().filter_map(part).collect();
    if parts.is_empty() { "nothing is opened or closed".to_owned() } else { parts.join(", ") }
}

fn cell(mut names: Vec<String>) -> String {
    if names.len() > MOST_NAMES {
        let more = names.len() - (MOST_NAMES - 1);
        names.truncate(MOST_NAMES - 1);
        names.push(format!("and {more} more"));
    }
    names.iter().map(|name| escaped(name)).collect::<Vec<_>>().join("<br>")
}

/// Text in which nothing is markup.
pub(super) fn escaped(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '&' => out.push_str("&amp;"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '~' | '#' => out.extend(['\\', c]),
            // A name of somebody's workload must not call for them.
            '@' => out.push_str("&#64;"),
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

/// Text as code.
pub(super) fn code(text: &str) -> String {
    let plain: String = text.chars().map(|c| if c == '`' || c.is_control() { '\'' } else { c }).collect();
    format!("`{plain}`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_users_wrote_is_markup() {
        assert_eq!(escaped("a_b|<c>*@me`"), "a\\_b\\|&lt;c>\\*&#64;me\\`");
        assert_eq!(code("a`b"), "`a'b`");
    }
}
