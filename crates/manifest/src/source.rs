//! Texts and places in them.

use std::ops::Range;
use std::sync::{Arc, OnceLock};

/// One text that was read: a file, standard input, or an embedded example. Without byte order mark.
pub struct SourceFile {
    name: Arc<str>,
    text: String,
    lines: OnceLock<Vec<usize>>,
    /// Whether characters are bytes: then a column needs no counting, however long the line.
    is_ascii: OnceLock<bool>,
}

impl std::fmt::Debug for SourceFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.name)
    }
}

impl SourceFile {
    /// A text under the name that messages show.
    #[must_use]
    pub fn new(name: &str, text: String) -> Self {
        Self { name: name.into(), text, lines: OnceLock::new(), is_ascii: OnceLock::new() }
    }

    /// The name that messages show, mostly a path.
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// The text.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    fn lines(&self) -> &[usize] {
        self.lines.get_or_init(|| {
            let breaks = self.text.bytes().enumerate().filter(|(_, b)| *b == b'\n').map(|(i, _)| i + 1);
            std::iter::once(0).chain(breaks).collect()
        })
    }

    /// Line and column of a byte, both from 1; the column counts characters.
    #[must_use]
    pub fn position(&self, byte: usize) -> (usize, usize) {
        let mut byte = byte.min(self.text.len());
        while !self.text.is_char_boundary(byte) {
            byte -= 1;
        }
        let line = self.lines().partition_point(|start| *start <= byte);
        let start = self.lines()[line - 1];
        if *self.is_ascii.get_or_init(|| self.text.is_ascii()) {
            return (line, byte - start + 1);
        }
        (line, self.text[start..byte].chars().count() + 1)
    }

    /// The bytes from the first to the last line of a span, with `around` more lines on both sides, and the number of
    /// the first line, from 1.
    pub(crate) fn window(&self, span: &Range<usize>, around: usize) -> (Range<usize>, usize) {
        let lines = self.lines();
        let first = lines.partition_point(|s| *s <= span.start).saturating_sub(1 + around);
        let last = lines.partition_point(|s| *s < span.end.max(span.start + 1)) + around;
        let end = lines.get(last).copied().unwrap_or(self.text.len());
        (lines[first]..end, first + 1)
    }
}

/// A stretch of a text.
#[derive(Clone, Debug)]
pub struct Place {
    /// The text.
    pub file: Arc<SourceFile>,
    /// Bytes of it.
    pub span: Range<usize>,
}

impl Place {
    /// Line of its begin, from 1.
    #[must_use]
    pub fn line(&self) -> usize {
        self.file.position(self.span.start).0
    }

    /// Column of its begin in characters, from 1.
    #[must_use]
    pub fn column(&self) -> usize {
        self.file.position(self.span.start).1
    }
}

impl PartialEq for Place {
    fn eq(&self, other: &Self) -> bool {
        self.span == other.span && self.file.name == other.file.name
    }
}

impl Eq for Place {}

/// `file:line:column`.
impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (line, column) = self.file.position(self.span.start);
        write!(f, "{}:{line}:{column}", self.file.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_count_characters_and_lines_end_anywhere() {
        let f = SourceFile::new("f", "née: x\r\nb: y".into());
        assert_eq!(f.position(6), (1, 6));
        assert_eq!(f.position(9), (2, 1));
        assert_eq!(f.position(999), (2, 5));
        assert_eq!(f.position(2), (1, 2), "inside a character counts as its begin");
    }

    #[test]
    fn a_window_holds_whole_lines() {
        let f = SourceFile::new("f", "a\nb\nc\nd\n".into());
        assert_eq!(f.window(&(4..5), 0), (4..6, 3));
        assert_eq!(f.window(&(4..5), 1), (2..8, 2));
        assert_eq!(f.window(&(0..0), 5), (0..8, 1));
        assert_eq!(SourceFile::new("f", String::new()).window(&(0..0), 1), (0..0, 1));
    }
}
