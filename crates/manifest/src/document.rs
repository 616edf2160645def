//! One document of a text, and the places of the values in it.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use tortie_model::ObjectRef;

use crate::source::{Place, SourceFile};
use crate::span::{DuplicateKey, SpanTree};
use crate::{json, yaml};

/// How a text is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Yaml,
    Json,
}

/// One document. Its places are found when they are first asked for: most documents never need them.
#[derive(Debug)]
pub(crate) struct Document {
    file: Arc<SourceFile>,
    range: Range<usize>,
    format: Format,
    spans: OnceLock<SpanTree>,
}

impl Document {
    pub(crate) fn new(file: &Arc<SourceFile>, range: Range<usize>, format: Format) -> Arc<Self> {
        Arc::new(Self { file: Arc::clone(file), range, format, spans: OnceLock::new() })
    }

    pub(crate) fn file(&self) -> &Arc<SourceFile> {
        &self.file
    }

    pub(crate) const fn format(&self) -> Format {
        self.format
    }

    pub(crate) fn range(&self) -> Range<usize> {
        self.range.clone()
    }

    pub(crate) fn spans(&self) -> &SpanTree {
        self.spans.get_or_init(|| {
            let found = match self.format {
                Format::Yaml => yaml::spans(self.file.text(), &self.range),
                Format::Json => json::spans(self.file.text(), &self.range),
            };
            found.unwrap_or_else(|| SpanTree::leaf(self.range.clone()))
        })
    }

    pub(crate) fn duplicates(&self) -> Vec<DuplicateKey> {
        self.spans().duplicates()
    }

    /// What to underline for a value. Where it is not written, the deepest value on the way to it.
    fn focus(&self, pointer: &str) -> Range<usize> {
        self.spans().find(pointer).0.focus(self.file.text())
    }

    /// What to underline for a member's name.
    fn key(&self, pointer: &str) -> Range<usize> {
        match self.spans().find(pointer) {
            (node, true) => node.key.clone().unwrap_or_else(|| node.focus(self.file.text())),
            (node, false) => node.focus(self.file.text()),
        }
    }

    fn whole(&self, pointer: &str) -> Range<usize> {
        let (node, _) = self.spans().find(pointer);
        node.key.as_ref().map_or(node.value.start, |k| k.start)..node.value.end
    }
}

/// Where an object was read: a document, or an item of a list in it.
#[derive(Debug, Clone)]
pub struct Origin {
    document: Arc<Document>,
    pointer: Arc<str>,
}

impl Origin {
    pub(crate) fn new(document: &Arc<Document>, pointer: &str) -> Self {
        Self { document: Arc::clone(document), pointer: pointer.into() }
    }

    /// The text that it stands in.
    #[must_use]
    pub fn file(&self) -> &Arc<SourceFile> {
        self.document.file()
    }

    pub(crate) fn document(&self) -> &Document {
        &self.document
    }

    pub(crate) fn absolute(&self, pointer: &str) -> String {
        format!("{}{pointer}", self.pointer)
    }

    /// The list of objects that it stands in, where the document is a case.
    pub(crate) fn list_in_case(&self) -> Option<&str> {
        const OBJECTS: &str = "/objects";
        let at = self.pointer.find("/objects/").filter(|at| *at == 0 || self.pointer.starts_with("/steps/"))?;
        Some(&self.pointer[..at + OBJECTS.len()])
    }

    /// The place of a value of the object, such as `/spec/ingress/0/from/1`; the empty pointer is the object. Where the
    /// value is not written, the place of the deepest value on the way to it.
    #[must_use]
    pub fn place(&self, pointer: &str) -> Place {
        Place { file: Arc::clone(self.file()), span: self.document.focus(&self.absolute(pointer)) }
    }

    /// The place of a member's name.
    #[must_use]
    pub fn key_place(&self, pointer: &str) -> Place {
        Place { file: Arc::clone(self.file()), span: self.document.key(&self.absolute(pointer)) }
    }

    /// Whether a value is written.
    #[must_use]
    pub fn is_written(&self, pointer: &str) -> bool {
        self.document.spans().find(&self.absolute(pointer)).1
    }

    /// Everything that is written of a value, its name included.
    #[must_use]
    pub fn whole(&self, pointer: &str) -> Place {
        Place { file: Arc::clone(self.file()), span: self.document.whole(&self.absolute(pointer)) }
    }
}

/// Where objects were read: from an object and a value in it to a place.
#[derive(Debug, Clone, Default)]
pub struct SourceMap(HashMap<ObjectRef, Origin>);

impl SourceMap {
    /// Where an object was read.
    #[must_use]
    pub fn origin(&self, object: &ObjectRef) -> Option<&Origin> {
        self.0.get(object)
    }

    /// The place of a value of an object, such as `/spec/ingress/0/from/1` (see [`Origin::place`]).
    #[must_use]
    pub fn place(&self, object: &ObjectRef, pointer: &str) -> Option<Place> {
        self.0.get(object).map(|o| o.place(pointer))
    }
}

impl FromIterator<(ObjectRef, Origin)> for SourceMap {
    fn from_iter<I: IntoIterator<Item = (ObjectRef, Origin)>>(iter: I) -> Self {
        Self(iter.into_iter().collect())
    }
}

/// Reads the documents of a text. JSON is tried where the text starts like it; what is no JSON may still be YAML, unless
/// the name says otherwise.
pub(crate) fn documents(file: &SourceFile) -> (Format, Vec<yaml::YamlDocument<'_>>) {
    let text = file.text();
    let like_json = text.trim_start().starts_with(['{', '[']);
    if !like_json {
        return (Format::Yaml, yaml::documents(text));
    }
    let json = json::documents(text);
    if json.iter().all(|d| d.value.is_ok()) || file.name().ends_with(".json") {
        return (Format::Json, json);
    }
    (Format::Yaml, yaml::documents(text))
}
