//! Findings about input, drawn over the text or as a line of JSON.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};
use schemars::JsonSchema;
use serde::Serialize;
use tortie_model::ObjectRef;

use crate::source::Place;

/// How grave a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Good to know.
    Note,
    /// Accepted, but probably not what was meant.
    Warning,
    /// Refused: by the API server, or because tortie cannot vouch for what it means.
    Error,
}

impl Severity {
    /// `note`, `warning` or `error`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// A finding about input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// How grave it is.
    pub severity: Severity,
    /// Its stable name, such as `api-validation`.
    pub id: Cow<'static, str>,
    /// The field that it is about, as the API server names it; empty when it is about no field.
    pub field: String,
    /// What is found. Together, `field: message` is the API server's text where it would refuse the object.
    pub message: String,
    /// Where.
    pub place: Option<Place>,
    /// The object that it is about.
    pub object: Option<ObjectRef>,
    /// Further places that belong to it, with what they are.
    pub labels: Vec<(Place, String)>,
    /// The way out.
    pub help: Option<String>,
}

impl Diagnostic {
    /// A finding without field, place and object.
    #[must_use]
    pub fn new(severity: Severity, id: &'static str, message: impl Into<String>) -> Self {
        Self {
            severity,
            id: Cow::Borrowed(id),
            field: String::new(),
            message: message.into(),
            place: None,
            object: None,
            labels: Vec::new(),
            help: None,
        }
    }

    /// An error.
    #[must_use]
    pub fn error(id: &'static str, message: impl Into<String>) -> Self {
        Self::new(Severity::Error, id, message)
    }

    /// A warning.
    #[must_use]
    pub fn warning(id: &'static str, message: impl Into<String>) -> Self {
        Self::new(Severity::Warning, id, message)
    }

    /// A note.
    #[must_use]
    pub fn note(id: &'static str, message: impl Into<String>) -> Self {
        Self::new(Severity::Note, id, message)
    }

    /// The same about a field.
    #[must_use]
    pub fn field(mut self, field: impl Into<String>) -> Self {
        self.field = field.into();
        self
    }

    /// The same at a place.
    #[must_use]
    pub fn at(mut self, place: Place) -> Self {
        self.place = Some(place);
        self
    }

    /// The same about an object.
    #[must_use]
    pub fn about(mut self, object: ObjectRef) -> Self {
        self.object = Some(object);
        self
    }

    /// The same with a further place.
    #[must_use]
    pub fn label(mut self, place: Place, text: impl Into<String>) -> Self {
        self.labels.push((place, text.into()));
        self
    }

    /// The same with a way out.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// `field: message`, or the message where there is no field or it names the field itself.
    #[must_use]
    pub fn text(&self) -> String {
        let named = self.field.is_empty() || self.message.contains(&format!("\"{}\"", self.field));
        if named { self.message.clone() } else { format!("{}: {}", self.field, self.message) }
    }

    /// Drawn over the text, as rustc does; with colours when `color`.
    #[must_use]
    pub fn render(&self, color: bool) -> String {
        let level = match self.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
            Severity::Note => Level::NOTE,
        };
        // The API server's text quotes what users wrote; control characters must not reach a terminal.
        let title: String = self.text().chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        let title = level.primary_title(title).id(self.id.as_ref());
        let places: Vec<(&Place, Option<&str>)> = self
            .place
            .iter()
            .map(|p| (p, None))
            .chain(self.labels.iter().map(|(p, text)| (p, Some(text.as_str()))))
            .collect();
        let mut group = Group::with_title(title);
        let mut drawn = vec![false; places.len()];
        for i in 0..places.len() {
            if drawn[i] {
                continue;
            }
            let (first, label) = places[i];
            let excerpt = Excerpt::of(first, places.iter().skip(i).map(|(p, _)| *p));
            let text = &first.file.text()[excerpt.bytes.clone()];
            if excerpt.is_cut {
                // A snippet would count the column from the cut.
                let (line, column) = (first.line(), first.column());
                let near = label.map_or_else(|| "near".to_owned(), |label| format!("{label}, near"));
                let printable = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect::<String>();
                group = group
                    .element(Origin::path(first.file.name().as_ref()).line(line).char_column(column))
                    .element(Level::INFO.with_name(near).message(printable));
                continue;
            }
            let mut snippet =
                Snippet::source(text).path(first.file.name().as_ref()).line_start(excerpt.line).fold(true);
            for (j, (p, label)) in places.iter().enumerate().skip(i) {
                if j != i && !excerpt.holds(first, p) {
                    continue;
                }
                drawn[j] = true;
                let start = excerpt.bytes.start;
                let span = clamp(text, p.span.start - start, p.span.end.saturating_sub(start));
                let kind = if label.is_none() { AnnotationKind::Primary } else { AnnotationKind::Context };
                snippet = snippet.annotation(kind.span(span).label(*label));
            }
            group = group.element(snippet);
        }
        if let Some(help) = &self.help {
            group = group.element(Level::HELP.message(help.as_str()));
        }
        let renderer = if color { Renderer::styled() } else { Renderer::plain() };
        renderer.render(&[group])
    }

    /// For programs.
    #[must_use]
    pub fn line(&self) -> DiagnosticLine<'_> {
        let place = self.place.as_ref();
        DiagnosticLine {
            id: &self.id,
            severity: self.severity,
            field: &self.field,
            message: &self.message,
            file: place.map(|p| &**p.file.name()),
            line: place.map(Place::line),
            column: place.map(Place::column),
            object: self.object.as_ref().map(ToString::to_string),
        }
    }

    /// One line of JSON.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string(&self.line()).expect("a finding is plain data")
    }
}

/// A finding as programs read it.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct DiagnosticLine<'d> {
    /// Its stable name, such as `api-validation`, or that of the lint.
    pub id: &'d str,
    /// How grave it is.
    pub severity: Severity,
    /// The field that it is about, as the API server names it; empty when it is about no field.
    pub field: &'d str,
    /// What is found.
    pub message: &'d str,
    /// The file.
    pub file: Option<&'d str>,
    /// Line in it, from 1.
    pub line: Option<usize>,
    /// Column in it, from 1.
    pub column: Option<usize>,
    /// The object, as `Kind/namespace/name`.
    pub object: Option<String>,
}

/// The part of a text that is drawn around a place.
struct Excerpt {
    bytes: Range<usize>,
    /// The line that it begins with.
    line: usize,
    /// Lines are too long to be drawn whole, as in JSON without line ends.
    is_cut: bool,
}

impl Excerpt {
    /// Longest stretch of whole lines: each finding is drawn by reading them all.
    const LONGEST: usize = 1 << 14;
    /// What is left of too long lines on both sides.
    const MARGIN: usize = 30;

    /// Around the first place, with those of the others that are near it.
    fn of<'p>(first: &Place, others: impl Iterator<Item = &'p Place>) -> Self {
        let file = &first.file;
        let (mut bytes, mut line) = file.window(&first.span, 1);
        let near = |p: &&Place| Arc::ptr_eq(&p.file, file) && p.span.start.abs_diff(first.span.start) < 4000;
        for other in others.filter(near) {
            let (more, begin) = file.window(&other.span, 1);
            bytes = bytes.start.min(more.start)..bytes.end.max(more.end);
            line = line.min(begin);
        }
        if bytes.len() <= Self::LONGEST {
            return Self { bytes, line, is_cut: false };
        }
        let (own, line) = file.window(&first.span, 0);
        let start = own.start.max(first.span.start.saturating_sub(Self::MARGIN));
        let end = own.end.min(first.span.end.min(first.span.start + Self::MARGIN) + Self::MARGIN);
        let bytes = clamp(file.text(), start, end);
        Self { bytes, line, is_cut: true }
    }

    fn holds(&self, first: &Place, other: &Place) -> bool {
        Arc::ptr_eq(&other.file, &first.file)
            && self.bytes.start <= other.span.start
            && other.span.start <= self.bytes.end
    }
}

/// A span inside the text and on character boundaries.
fn clamp(text: &str, start: usize, end: usize) -> Range<usize> {
    let mut start = start.min(text.len());
    while !text.is_char_boundary(start) {
        start -= 1;
    }
    let mut end = end.clamp(start, text.len());
    while !text.is_char_boundary(end) {
        end += 1;
    }
    start..end
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::SourceFile;

    #[test]
    fn of_a_long_line_only_what_is_near_is_drawn() {
        let text = format!("[{}\"née\", {}]", "\"é\",".repeat(10_000), "1,".repeat(100_000));
        let at = text.find("née").unwrap();
        let file = Arc::new(SourceFile::new("f.json", text));
        let place = Place { file: Arc::clone(&file), span: at..at + 4 };
        let far = Place { file: Arc::clone(&file), span: 1..4 };
        let drawn = Diagnostic::error("x", "bad").at(place).label(far, "first here").render(false);
        assert!(drawn.contains("f.json:1:40003\n") && drawn.contains("\"née\", 1,1"), "{drawn}");
        assert!(drawn.contains("f.json:1:2\n") && drawn.contains("first here, near: [\"é\""), "{drawn}");
        assert!(drawn.len() < 400, "{drawn}");
    }
}
