//! A matrix for people: senders down, receivers across, by number.

use std::fmt::Write as _;

use tortie_connectivity::{Cell, Connectivity, View, packets};

use super::names::Names;
use crate::terminal::{ALLOW, FAINT, STRONG, styled};

/// Names longer than this are cut.
const LONGEST: usize = 40;

/// Draws what passes between parties; those that differ in nothing are one.
pub(super) fn draw(connectivity: &Connectivity, view: &View, width: usize) -> String {
    let names = Names::of(connectivity);
    let view = view.merged(|_, _| true);
    let n = view.parties.len();
    let (_, reached) = view.axes();
    let labels: Vec<String> = (0..n).map(|i| label(&names.parties(&view, &[i]))).collect();
    let signs = Signs::of(&view);
    let digits = n.to_string().len();
    let column = digits.max(signs.widest()) + 1;
    let margin = labels.iter().map(|l| l.chars().count()).max().unwrap_or(0);
    let room = width.saturating_sub(digits + 1 + margin + 1);
    let fitting = (room / column).max(1);
    let mut out = String::new();
    for (band, columns) in reached.chunks(fitting).enumerate() {
        if band > 0 {
            out.push('\n');
        }
        let head: String = columns.iter().map(|j| format!("{:>column$}", j + 1)).collect();
        let _ = writeln!(out, "{:digits$} {:margin$}{}", "", "from \\ to", styled(STRONG, head));
        for (i, label) in labels.iter().enumerate() {
            let cells: String = columns.iter().map(|j| signs.cell(&view, i, *j, column)).collect();
            let number = styled(STRONG, format_args!("{:>digits$}", i + 1));
            let _ = writeln!(out, "{number} {label}{:1$}{cells}", "", margin - label.chars().count());
        }
    }
    let _ = write!(out, "\n{}", signs.legend(&view, width));
    out
}

/// A party on one line.
fn label(names: &[String]) -> String {
    let more = if names.len() > 1 { format!(" +{}", names.len() - 1) } else { String::new() };
    let room = LONGEST - more.len();
    let first = names.first().map_or("", String::as_str);
    if first.chars().count() <= room {
        return format!("{first}{more}");
    }
    format!("{}…{more}", first.chars().take(room - 1).collect::<String>())
}

/// Signs for sets of packets.
struct Signs {
    /// For each set of the view: `✓` for everything, `·` for nothing, a letter otherwise.
    signs: Vec<String>,
    partly: bool,
    itself: bool,
}

impl Signs {
    fn of(view: &View) -> Self {
        let mut letters = (b'a'..=b'z').map(char::from);
        let mut signs = vec![String::new(); view.packets().len()];
        let mut partly = false;
        let mut more = 0;
        let mut itself = false;
        let n = view.parties.len();
        // Letters in the order of their first use.
        for (i, j) in (0..n).flat_map(|i| (0..n).map(move |j| (i, j))) {
            itself |= view.cell(i, j) == Cell::Itself;
            let Cell::Passes { set, partly: some } = view.cell(i, j) else { continue };
            partly |= some && packets::any(&view.packets()[set as usize]);
            let sign = &mut signs[set as usize];
            if sign.is_empty() {
                *sign = match &*packets::words(&view.packets()[set as usize]) {
                    "everything" => "✓".to_owned(),
                    "nothing" => "·".to_owned(),
                    _ => letters.next().map_or_else(
                        || {
                            more += 1;
                            format!("s{more}")
                        },
                        String::from,
                    ),
                };
            }
        }
        Self { signs, partly, itself }
    }

    fn widest(&self) -> usize {
        let widest = self.signs.iter().map(|s| s.chars().count()).max().unwrap_or(1);
        widest + usize::from(self.partly)
    }

    fn cell(&self, view: &View, i: usize, j: usize, width: usize) -> String {
        let (set, partly) = match view.cell(i, j) {
            Cell::Passes { set, partly } => (set, partly),
            Cell::Itself => return format!("{:1$}{2}", "", width - 1, styled(FAINT, "-")),
            Cell::Unasked => return " ".repeat(width),
        };
        let sign = &self.signs[set as usize];
        let text = if partly && sign != "·" { format!("{sign}*") } else { sign.clone() };
        let style = if sign == "·" { FAINT } else { ALLOW };
        format!("{:1$}{2}", "", width.saturating_sub(text.chars().count()), styled(style, text))
    }

    fn legend(&self, view: &View, width: usize) -> String {
        let mut out = String::new();
        for (set, sign) in view.packets().iter().zip(&self.signs).filter(|(_, s)| !["✓", "·", ""].contains(&s.as_str()))
        {
            let text = format!("{sign}  {}", packets::words(set));
            let _ =
                writeln!(out, "{}", crate::terminal::wrapped(&text, "   ", width).trim_start().replacen(' ', "  ", 1));
        }
        let itself = if self.itself { "   - itself" } else { "" };
        let star = if self.partly { "   * for some of its pods or addresses only" } else { "" };
        let _ = writeln!(out, "{}", styled(FAINT, format_args!("✓ everything   · nothing{itself}{star}")));
        out
    }
}
