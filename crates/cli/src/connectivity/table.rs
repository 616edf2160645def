//! A table for people: who behaves alike on one line.

use std::fmt::Write as _;

use tortie_connectivity::{Connectivity, Name, Selection, View, packets};
use tortie_model::Direction;

use super::names::Names;
use crate::terminal::{FAINT, STRONG, styled};

/// What the columns of what passes are called.
pub(super) const HEADER: [&str; 3] = ["FROM", "TO", "ALLOWED"];

/// More names than this are counted.
const MOST_NAMES: usize = 8;

/// Draws all that passes.
pub(super) fn draw(connectivity: &Connectivity, selection: &Selection, view: &View, width: usize) -> String {
    let names = Names::of(connectivity);
    let entries = view.entries();
    let mut out = String::new();
    if entries.is_empty() {
        out.push_str("Nobody reaches anybody.\n");
    }
    let mut partly = false;
    let rows: Vec<[Vec<String>; 3]> = entries
        .iter()
        .enumerate()
        .map(|(i, entry)| {
            partly |= entry.partly;
            let again = i > 0 && entries[i - 1].from == entry.from;
            let from = if again { Vec::new() } else { few(names.parties(view, &entry.from)) };
            let note = if entry.partly { " *" } else { "" };
            [from, few(names.parties(view, &entry.to)), vec![packets::words(&entry.packets) + note]]
        })
        .collect();
    out.push_str(&sheet(HEADER, &rows, width));
    if partly {
        out.push_str(&format!("\n{}\n", styled(FAINT, "* for some of its pods or addresses only: see --by class")));
    }
    let open = open(connectivity, selection, &names, width);
    if !open.is_empty() {
        let _ = write!(out, "\n{open}");
    }
    out
}

/// Rows under a header. Who sends the same as the row before says nothing for a sender.
pub(crate) fn sheet(header: [&str; 3], rows: &[[Vec<String>; 3]], width: usize) -> String {
    let mut out = String::new();
    if rows.is_empty() {
        return out;
    }
    let widths = widths(rows, width);
    let header = header.map(|h| vec![h.to_owned()]);
    out.push_str(&lines(&header, &widths, false, |text| styled(STRONG, text)));
    let mut had_gap = false;
    for (i, group) in rows.chunk_by(|_, next| next[0].is_empty()).enumerate() {
        // The names of senders run down beside all that they send.
        let mut cells = [broken_all(&group[0][0], widths[0]), Vec::new(), Vec::new()];
        for row in group {
            let (mut to, mut allowed) = (broken_all(&row[1], widths[1]), broken_all(&row[2], widths[2]));
            let height = to.len().max(allowed.len());
            to.resize(height, String::new());
            allowed.resize(height, String::new());
            cells[1].extend(to);
            cells[2].extend(allowed);
        }
        // Of several senders, each sends all that stands beside them.
        let several = cells[0].len() > 1;
        let needs_gap = several || cells[1].len() > group.len();
        if i > 0 && (needs_gap || had_gap) {
            out.push('\n');
        }
        had_gap = needs_gap;
        out.push_str(&lines(&cells, &widths, several, |text| text.to_owned()));
    }
    out
}

/// Texts in lines of a width.
fn broken_all(texts: &[String], width: usize) -> Vec<String> {
    texts.iter().flat_map(|text| broken(text, width)).collect()
}

/// The first of many.
pub(crate) fn few(mut names: Vec<String>) -> Vec<String> {
    if names.len() > MOST_NAMES {
        let more = names.len() - (MOST_NAMES - 1);
        names.truncate(MOST_NAMES - 1);
        names.push(format!("and {more} more"));
    }
    names
}

/// Widths of the columns: what they need, as far as there is room; names may take two thirds of it.
fn widths(rows: &[[Vec<String>; 3]], width: usize) -> [usize; 3] {
    let natural = |column: usize| {
        let texts = rows.iter().flat_map(|row| &row[column]).map(|text| text.chars().count());
        texts.max().unwrap_or(0).max(7)
    };
    let [mut from, mut to, allowed] = [0, 1, 2].map(natural);
    let room = width.saturating_sub(5);
    let least = allowed.min(room / 3);
    while from + to + least > room && from.max(to) > 16 {
        if from >= to {
            from -= 1;
        } else {
            to -= 1;
        }
    }
    [from, to, room.saturating_sub(from + to).max(16)]
}

/// Columns beside each other.
fn lines(cells: &[Vec<String>; 3], widths: &[usize; 3], bar: bool, style: impl Fn(&str) -> String) -> String {
    let height = cells.iter().map(Vec::len).max().unwrap_or(0);
    let starts = [0, widths[0] + 3, widths[0] + widths[1] + 5];
    let mut out = String::new();
    for i in 0..height {
        let mut text = String::new();
        let mut at = 0;
        let mut put = |start: usize, part: &str, styled: String| {
            let _ = write!(text, "{:1$}{styled}", "", start - at);
            at = start + part.chars().count();
        };
        for (column, (cell, start)) in cells.iter().zip(starts).enumerate() {
            if let Some(part) = cell.get(i).filter(|part| !part.is_empty()) {
                put(start, part, style(part));
            }
            if column == 0 && bar {
                put(widths[0] + 1, "│", styled(FAINT, "│"));
            }
        }
        let _ = writeln!(out, "{text}");
    }
    out
}

/// A text in lines of a width: broken after a space or slash where there is one, anywhere where there is none. Lines
/// after the first are indented.
fn broken(text: &str, width: usize) -> Vec<String> {
    let mut out = Vec::new();
    let mut rest: Vec<char> = text.chars().collect();
    loop {
        let indent = if out.is_empty() { "" } else { "  " };
        let room = width.saturating_sub(indent.len()).max(4);
        if rest.len() <= room {
            out.push(format!("{indent}{}", rest.into_iter().collect::<String>()));
            return out;
        }
        let space = rest[..=room].iter().rposition(|c| *c == ' ');
        let slash = rest[..room].iter().rposition(|c| *c == '/').map(|at| at + 1);
        let at = space.or(slash).filter(|at| *at > 0).unwrap_or(room);
        let line: String = rest[..at].iter().collect();
        rest = rest[at..].iter().copied().skip_while(|c| *c == ' ').collect();
        out.push(format!("{indent}{}", line.trim_end()));
    }
}

/// Who is governed by no policy, a line a direction.
fn open(connectivity: &Connectivity, selection: &Selection, names: &Names, width: usize) -> String {
    let mut out = String::new();
    for direction in [Direction::Ingress, Direction::Egress] {
        let patterns = match direction {
            Direction::Ingress => &selection.to,
            Direction::Egress => &selection.from,
        };
        // Of a choice of receivers, it matters what governs them when they are reached.
        let all = selection.from.is_empty() && selection.to.is_empty() && selection.either.is_empty();
        if !all && patterns.is_empty() && selection.either.is_empty() {
            continue;
        }
        let chosen = |name: &Name| {
            [patterns, &selection.either]
                .into_iter()
                .all(|list| list.is_empty() || list.iter().any(|p| p.matches(name)))
        };
        let open = connectivity.subjects().iter().enumerate().filter(|(i, subject)| {
            matches!(subject.name, Name::Workload(_))
                && chosen(&subject.name)
                && !connectivity.is_isolated(*i, direction)
        });
        let members: Vec<_> =
            open.map(|(_, s)| tortie_connectivity::Member { name: s.name.clone(), pods: (0, 0) }).collect();
        if members.is_empty() {
            continue;
        }
        let list = few(names.members(&members)).join(", ");
        let title = format!("No policy governs {direction}:");
        let text = crate::terminal::wrapped(&format!("{title} {list}"), "  ", width);
        let _ = writeln!(out, "{}", styled(FAINT, text.trim_start()));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_names_are_broken_where_they_can_be() {
        assert_eq!(broken("shop/Deployment/cart", 20), ["shop/Deployment/cart"]);
        assert_eq!(broken("shop/Deployment/cart", 17), ["shop/Deployment/", "  cart"]);
        assert_eq!(broken("0.0.0.0/0 except 10.0.0.0/8", 20), ["0.0.0.0/0 except", "  10.0.0.0/8"]);
        assert_eq!(broken("abcdefgh", 4), ["abcd", "  efgh"]);
    }
}
