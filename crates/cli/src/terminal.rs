//! Standard output for data, standard error for what is said to a person, and how wide and colourful they are.
//!
//! Text is always made with colours. `anstream` takes them away where they are not wanted: not a terminal, `NO_COLOR`,
//! `TERM=dumb`.

use std::fmt::Display;
use std::io::{self, Write};

use anstyle::{AnsiColor, Style};

/// What gets through.
pub(crate) const ALLOW: Style = AnsiColor::Green.on_default();
/// What does not.
pub(crate) const DENY: Style = AnsiColor::Red.on_default();
/// What stands out.
pub(crate) const STRONG: Style = Style::new().bold();
/// What may be overlooked.
pub(crate) const FAINT: Style = Style::new().dimmed();
/// What went wrong with the means, not with the matter.
pub(crate) const WARN: Style = AnsiColor::Yellow.on_default();

/// Text in a style.
pub(crate) fn styled(style: Style, text: impl Display) -> String {
    format!("{style}{text}{style:#}")
}

/// Writes data.
pub(crate) fn print(text: &str) -> io::Result<()> {
    let mut out = anstream::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Says something to a person. Where nobody can hear it, nothing is lost.
pub(crate) fn say(text: impl Display) {
    let _ = writeln!(anstream::stderr().lock(), "{text}");
}

/// Says what went wrong.
pub(crate) fn error(text: impl Display) {
    say(format_args!("{} {text}", styled(AnsiColor::Red.on_default().bold(), "error:")));
}

/// Breaks a text into lines of at most `width` columns, each after `indent`; a word that is wider stays whole.
pub(crate) fn wrapped(text: &str, indent: &str, width: usize) -> String {
    let room = width.saturating_sub(indent.len());
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(last) if last.is_empty() => last.push_str(word),
            Some(last) if last.chars().count() + 1 + word.chars().count() <= room => {
                last.push(' ');
                last.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines.iter().map(|line| format!("{indent}{line}")).collect::<Vec<_>>().join("\n")
}

/// A text whose lines go on below, further in, where they are wider than `width` columns. What is quoted from a file, and a
/// word that is wider, stay whole.
pub(crate) fn fitted(text: &str, width: usize) -> String {
    text.lines().map(|line| fitted_line(line, width) + "\n").collect()
}

fn fitted_line(line: &str, width: usize) -> String {
    if columns(line) <= width || is_quoted(line) {
        return line.to_owned();
    }
    let indent = " ".repeat(line.len() - line.trim_start().len());
    let mut out = indent.clone();
    let mut used = indent.len();
    for (i, word) in line.split_whitespace().enumerate() {
        let wide = columns(word);
        if i > 0 && used + 1 + wide > width {
            out.push_str(&format!("\n{indent}  "));
            used = indent.len() + 2;
        } else if i > 0 {
            out.push(' ');
            used += 1;
        }
        out.push_str(word);
        used += wide;
    }
    out
}

/// How wide a text is without its colours.
fn columns(text: &str) -> usize {
    let mut inside = false;
    let shown = text.chars().filter(|c| {
        let before = inside;
        inside = if inside { *c != 'm' } else { *c == '\x1b' };
        !before && !inside
    });
    shown.count()
}

/// Whether a line is `  12 | text of a file`.
fn is_quoted(line: &str) -> bool {
    line.split_once(" | ").is_some_and(|(number, _)| {
        let number = number.trim_start();
        !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit())
    })
}

/// Columns of the terminal: `COLUMNS`, or what the terminal says, or 80.
pub(crate) fn width() -> usize {
    let set = std::env::var("COLUMNS").ok().and_then(|v| v.parse().ok()).filter(|n| *n >= 20);
    set.or_else(|| terminal_size::terminal_size().map(|(w, _)| usize::from(w.0)).filter(|n| *n >= 20)).unwrap_or(80)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_text_is_broken_between_words() {
        assert_eq!(wrapped("one two three", "  ", 9), "  one two\n  three");
        assert_eq!(wrapped("a/very/long/path x", "", 4), "a/very/long/path\nx");
        assert_eq!(wrapped("", "  ", 9), "  ");
    }

    #[test]
    fn a_line_that_is_too_wide_goes_on_below() {
        let bold = Style::new().bold();
        let text = format!("  {} two three\n  12 | not to be touched\n\nshort\n", styled(bold, "one"));
        let fit = format!("  {} two\n    three\n  12 | not to be touched\n\nshort\n", styled(bold, "one"));
        assert_eq!(fitted(&text, 9), fit);
        assert_eq!(fitted("    one  a/very/long/path:12\n", 12), "    one\n      a/very/long/path:12\n");
        assert_eq!(fitted("as wide\n", 7), "as wide\n");
    }
}
