//! A difference for people.

use std::fmt::Write as _;

use super::cause::{Sides, Told};
use super::group::{Group, Turn};
use crate::connectivity::names::Names;
use crate::connectivity::table::{few, sheet};
use crate::terminal::{ALLOW, DENY, FAINT, STRONG, styled, wrapped};

/// Draws what was opened and closed, under who did it.
pub(super) fn draw(sides: Sides<'_>, groups: &[Group], names: &Names, width: usize) -> String {
    let mut out = String::new();
    for group in groups {
        for told in few_causes(group.causes.iter().map(|cause| sides.told(group.turn, cause)).collect()) {
            let text = wrapped(&told.words, "  ", width);
            let _ = writeln!(out, "{}", styled(STRONG, text.trim_start()));
            for place in &told.places {
                let _ = writeln!(out, "  {}", styled(FAINT, place));
            }
        }
        let header = match group.turn {
            Turn::Opened => "OPENED",
            Turn::Closed => "CLOSED",
        };
        let rows: Vec<_> = group.rows.iter().map(|row| row.words(names).map(few)).collect();
        let table = sheet(["FROM", "TO", header], &rows, width.saturating_sub(2));
        for line in table.lines() {
            let _ = writeln!(out, "{}{line}", if line.is_empty() { "" } else { "  " });
        }
        out.push('\n');
    }
    out + &summary(groups) + "\n"
}

/// Many things that came or went are counted.
pub(super) fn few_causes(mut told: Vec<Told>) -> Vec<Told> {
    const MOST: usize = 6;
    if told.len() > MOST {
        let more = told.len() - (MOST - 1);
        told.truncate(MOST - 1);
        told.push(Told { words: format!("and {more} more"), places: Vec::new() });
    }
    told
}

/// How much was opened and closed.
fn summary(groups: &[Group]) -> String {
    let part = |turn: Turn| {
        let pairs: usize = groups.iter().filter(|g| g.turn == turn).map(|g| g.pairs).sum();
        let style = match turn {
            Turn::Opened => ALLOW,
            Turn::Closed => DENY,
        };
        (pairs > 0).then(|| styled(style, format_args!("{} for {}", turn.word(), count(pairs))))
    };
    let parts: Vec<String> = Turn::BOTH.into_iter().filter_map(part).collect();
    if parts.is_empty() { "Nothing is opened or closed.".to_owned() } else { parts.join(", ") }
}

/// `1 pair`, `2 pairs`.
pub(super) fn count(pairs: usize) -> String {
    format!("{pairs} {}", if pairs == 1 { "pair" } else { "pairs" })
}
