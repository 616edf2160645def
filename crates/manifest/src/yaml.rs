//! YAML to JSON values, document by document.

use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::Range;

use granit_parser::{Event, Options, Parser, ScalarStyle, ScanError, Span, Tag};

use crate::scalar;
use crate::span::{Children, SpanTree};
use crate::value::{Map, Value};

/// Values that the aliases of one document may stand for together; a bomb ("billion laughs") has more.
const ALIAS_BUDGET: usize = 1_000_000;
/// Longest flow key on one line; YAML says 1024, real one-line documents have longer ones.
const KEY_LOOKAHEAD: usize = 1 << 16;

/// One document of a text.
#[derive(Debug)]
pub(crate) struct YamlDocument<'a> {
    /// Bytes of it, without the `---` before the next one.
    pub(crate) range: Range<usize>,
    /// Its value, and whether a key stands twice in it; `None` for an empty document.
    pub(crate) value: Result<Option<Parsed<'a>>, YamlError>,
}

/// A value and what was noticed while it was built.
#[derive(Debug)]
pub(crate) struct Parsed<'a> {
    pub(crate) value: Value<'a>,
    /// A key stands twice in some mapping; [`SpanTree::duplicates`] says which.
    pub(crate) has_duplicates: bool,
}

/// Text that is no YAML, or YAML that has no JSON value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct YamlError {
    pub(crate) message: String,
    pub(crate) span: Range<usize>,
}

impl YamlError {
    fn new(span: Range<usize>, message: impl Into<String>) -> Self {
        Self { message: message.into(), span }
    }
}

fn parser(text: &str) -> Parser<'_, granit_parser::StrInput<'_>> {
    let mut options = Options::default();
    options.set_emit_comments(false);
    options.simple_key_max_lookahead = KEY_LOOKAHEAD;
    Parser::new_from_str_with_options(text, options)
}

fn bytes(span: &Span) -> Range<usize> {
    span.byte_range().unwrap_or(0..0)
}

fn scan_error(text: &str, error: &ScanError) -> YamlError {
    let mut at = error.marker().byte_offset().unwrap_or(text.len()).min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    let mut message = error.info();
    let line_start = text[..at].rfind('\n').map_or(0, |i| i + 1);
    let line_end = text[at..].find('\n').map_or(text.len(), |i| at + i);
    let indent = text[line_start..line_end].len() - text[line_start..line_end].trim_start_matches([' ', '\t']).len();
    if text[line_start..line_start + indent].contains('\t') {
        message.push_str(" (the line is indented with a tab; YAML takes spaces only)");
    }
    let width = text[at..].chars().next().filter(|c| *c != '\n').map_or(0, char::len_utf8);
    YamlError::new(at..at + width, message)
}

/// All documents of a text. A document that cannot be read does not keep the ones after it from being read.
pub(crate) fn documents(text: &str) -> Vec<YamlDocument<'_>> {
    let mut parser = parser(text);
    let mut documents = Vec::new();
    let mut builder = Builder::default();
    let mut start = 0;
    loop {
        match parser.next_event() {
            None => break,
            Some(Ok((event, span))) => match event {
                Event::DocumentStart(..) => {
                    builder = Builder::default();
                    start = bytes(&span).start;
                }
                Event::DocumentEnd => {
                    let end = bytes(&span).start.max(start);
                    let value = std::mem::take(&mut builder).finish();
                    documents.push(YamlDocument { range: start..end, value });
                }
                event => builder.event(event, bytes(&span)),
            },
            Some(Err(error)) => {
                let error = scan_error(text, &error);
                let end = error.span.end.max(start);
                // A value that could not be built is what went wrong first.
                let value = Err(std::mem::take(&mut builder).error.unwrap_or(error));
                documents.push(YamlDocument { range: start..end, value });
                start = end;
                match parser.proceed_next_document() {
                    Ok(true) => {}
                    _ => break,
                }
            }
        }
    }
    documents
}

enum Open<'a> {
    Map { entries: Map<'a>, key: Option<Cow<'a, str>>, merged: Vec<Map<'a>>, anchor: usize, size: usize },
    Seq { items: Vec<Value<'a>>, anchor: usize, size: usize },
}

#[derive(Default)]
struct Builder<'a> {
    stack: Vec<Open<'a>>,
    root: Option<Value<'a>>,
    anchors: HashMap<usize, (Value<'a>, usize)>,
    aliased: usize,
    has_duplicates: bool,
    /// The first error; the rest of the document is read over.
    error: Option<YamlError>,
}

const MERGE: &str = "<<";

impl<'a> Builder<'a> {
    fn event(&mut self, event: Event<'a>, span: Range<usize>) {
        if self.error.is_some() {
            return;
        }
        let result = match event {
            Event::MappingStart(_, anchor, _) => self.key_must_be_scalar(&span).map(|()| {
                self.stack.push(Open::Map { entries: Map::new(), key: None, merged: Vec::new(), anchor, size: 1 });
            }),
            Event::SequenceStart(_, anchor, _) => self.key_must_be_scalar(&span).map(|()| {
                self.stack.push(Open::Seq { items: Vec::new(), anchor, size: 1 });
            }),
            Event::MappingEnd | Event::SequenceEnd => match self.stack.pop() {
                Some(Open::Map { mut entries, merged, anchor, size, .. }) => {
                    self.has_duplicates |= entries.settle();
                    entries.merge(merged);
                    self.value(Value::Object(entries), anchor, size, &span)
                }
                Some(Open::Seq { items, anchor, size }) => self.value(Value::Array(items), anchor, size, &span),
                None => Ok(()),
            },
            Event::Scalar(text, style, anchor, tag) => self.scalar(text, style, anchor, tag.as_deref(), &span),
            Event::Alias(id) => self.alias(id, &span),
            _ => Ok(()),
        };
        if let Err(error) = result {
            self.error = Some(error);
        }
    }

    /// Whether the next value is a key.
    fn at_key(&self) -> bool {
        matches!(self.stack.last(), Some(Open::Map { key: None, .. }))
    }

    fn key_must_be_scalar(&self, span: &Range<usize>) -> Result<(), YamlError> {
        if self.at_key() {
            return Err(YamlError::new(span.clone(), "a mapping or list cannot be a key: quote it if text is meant"));
        }
        Ok(())
    }

    fn scalar(
        &mut self,
        text: Cow<'a, str>,
        style: ScalarStyle,
        anchor: usize,
        tag: Option<&Tag>,
        span: &Range<usize>,
    ) -> Result<(), YamlError> {
        let failed = |e: scalar::ScalarError| YamlError::new(span.clone(), e.to_string());
        let suffix = tag.and_then(Tag::core_suffix);
        let is_text = match suffix {
            Some("str") => true,
            Some("int" | "float" | "bool" | "null") => false,
            _ => style != ScalarStyle::Plain,
        };
        if let Some(Open::Map { key: key @ None, .. }) = self.stack.last_mut() {
            let name = if is_text { text } else { scalar::plain_key(text).map_err(failed)? };
            if anchor != 0 {
                self.anchors.insert(anchor, (Value::String(name.clone()), 1));
            }
            *key = Some(name);
            return Ok(());
        }
        let value = if is_text { Value::String(text) } else { scalar::plain(text).map_err(failed)? };
        self.value(value, anchor, 1, span)
    }

    fn alias(&mut self, id: usize, span: &Range<usize>) -> Result<(), YamlError> {
        let Some((value, size)) = self.anchors.get(&id).cloned() else {
            return Err(YamlError::new(span.clone(), "this alias stands for a value that it is part of"));
        };
        self.aliased = self.aliased.saturating_add(size);
        if self.aliased > ALIAS_BUDGET {
            let message = format!("the aliases of this document stand for more than {ALIAS_BUDGET} values");
            return Err(YamlError::new(span.clone(), message));
        }
        if self.at_key() {
            let Value::String(text) = value else {
                return Err(YamlError::new(span.clone(), "only text can be a key"));
            };
            if let Some(Open::Map { key, .. }) = self.stack.last_mut() {
                *key = Some(text);
            }
            return Ok(());
        }
        self.value(value, 0, size, span)
    }

    fn value(&mut self, value: Value<'a>, anchor: usize, size: usize, span: &Range<usize>) -> Result<(), YamlError> {
        if anchor != 0 {
            // Copies for anchors count as well: `&a [&b [&c ...` would otherwise cost the square of the depth.
            self.aliased = self.aliased.saturating_add(size);
            if self.aliased > ALIAS_BUDGET {
                return Err(YamlError::new(span.clone(), "too many values behind anchors"));
            }
            self.anchors.insert(anchor, (value.clone(), size));
        }
        match self.stack.last_mut() {
            None => self.root = Some(value),
            Some(Open::Seq { items, size: total, .. }) => {
                items.push(value);
                *total += size;
            }
            Some(Open::Map { entries, key, merged, size: total, .. }) => {
                *total += size;
                let name = key.take().unwrap_or_default();
                if name != MERGE {
                    entries.push(name, value);
                    return Ok(());
                }
                match value {
                    Value::Object(map) => merged.push(map),
                    Value::Array(list) if list.iter().all(Value::is_object) => {
                        merged.extend(list.into_iter().filter_map(|v| match v {
                            Value::Object(map) => Some(map),
                            _ => None,
                        }));
                    }
                    _ => return Err(YamlError::new(span.clone(), "`<<` merges a mapping or a list of mappings")),
                }
            }
        }
        Ok(())
    }

    fn finish(self) -> Result<Option<Parsed<'a>>, YamlError> {
        match self.error {
            Some(error) => Err(error),
            None => Ok(self
                .root
                .filter(|v| !v.is_null())
                .map(|value| Parsed { value, has_duplicates: self.has_duplicates })),
        }
    }
}

/// The places in one document, whose text is `text[range]`; `None` when it cannot be read by itself.
pub(crate) fn spans(text: &str, range: &Range<usize>) -> Option<SpanTree> {
    struct Frame {
        start: usize,
        map: bool,
        own_key: Option<Range<usize>>,
        entries: Vec<(String, SpanTree)>,
        key: Option<(String, Range<usize>)>,
        merges: Vec<(Range<usize>, usize)>,
    }
    let slice = text.get(range.clone())?;
    let mut stack: Vec<Frame> = Vec::new();
    let mut anchors: HashMap<usize, Vec<String>> = HashMap::new();
    let mut texts: HashMap<usize, String> = HashMap::new();
    let mut open_anchors: Vec<usize> = Vec::new();
    let mut last_end = range.start;
    for event in parser(slice) {
        let (event, span) = event.ok()?;
        let span = bytes(&span);
        let span = span.start + range.start..span.end + range.start;
        let done = match event {
            Event::MappingStart(_, anchor, _) | Event::SequenceStart(_, anchor, _) => {
                let map = matches!(event, Event::MappingStart(..));
                let own_key = stack.last().and_then(|f| f.key.as_ref().map(|(_, s)| s.clone()));
                open_anchors.push(anchor);
                let (entries, merges) = (Vec::new(), Vec::new());
                stack.push(Frame { start: span.start, map, own_key, entries, key: None, merges });
                continue;
            }
            Event::MappingEnd | Event::SequenceEnd => {
                let mut frame = stack.pop()?;
                let anchor = open_anchors.pop().unwrap_or(0);
                for (place, id) in std::mem::take(&mut frame.merges) {
                    for key in anchors.get(&id).into_iter().flatten() {
                        if !frame.entries.iter().any(|(k, _)| k == key) {
                            let mut leaf = SpanTree::leaf(place.clone());
                            leaf.key = Some(place.clone());
                            frame.entries.push((key.clone(), leaf));
                        }
                    }
                }
                if anchor != 0 && frame.map {
                    anchors.insert(anchor, frame.entries.iter().map(|(k, _)| k.clone()).collect());
                }
                let end = if span.end > span.start { span.end } else { last_end.max(frame.start) };
                let children = if frame.map {
                    Children::Map(frame.entries)
                } else {
                    Children::Seq(frame.entries.into_iter().map(|(_, n)| n).collect())
                };
                SpanTree { key: frame.own_key, value: frame.start..end, children }
            }
            Event::Scalar(value, style, anchor, tag) => {
                last_end = span.end;
                let is_text = style != ScalarStyle::Plain || tag.as_deref().and_then(Tag::core_suffix) == Some("str");
                if let Some(Frame { map: true, key: key @ None, .. }) = stack.last_mut() {
                    let name = if is_text { value } else { scalar::plain_key(value).ok()? }.into_owned();
                    if anchor != 0 {
                        texts.insert(anchor, name.clone());
                    }
                    *key = Some((name, span));
                    continue;
                }
                if anchor != 0 {
                    texts.insert(anchor, value.into_owned());
                }
                SpanTree::leaf(span)
            }
            Event::Alias(id) => {
                last_end = span.end;
                match stack.last_mut() {
                    Some(Frame { map: true, key: key @ None, .. }) => {
                        *key = Some((texts.get(&id)?.clone(), span));
                        continue;
                    }
                    Some(Frame { map: true, key: Some((name, _)), merges, .. }) if name == MERGE => {
                        merges.push((span.clone(), id));
                    }
                    _ => {}
                }
                SpanTree::leaf(span)
            }
            _ => continue,
        };
        let mut done = done;
        match stack.last_mut() {
            None => return Some(done),
            Some(frame) => {
                let key = frame.key.take();
                done.key = key.as_ref().map(|(_, s)| s.clone());
                let name = key.map(|(k, _)| k).unwrap_or_default();
                if !(frame.map && name == MERGE) {
                    frame.entries.push((name, done));
                }
            }
        }
    }
    None
}
