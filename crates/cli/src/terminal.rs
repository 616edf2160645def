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
}
