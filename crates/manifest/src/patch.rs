//! Changes of a text that leave the rest of it as its author wrote it: comments, order, style.
//!
//! What is added takes the style of its surroundings: block or flow, the indentation of its neighbours, quotes in JSON.
//! A change that cannot be placed (behind an alias, in an unusual layout) is none; whoever makes one reads the result
//! again with [`reread`] before showing it.

use std::ops::Range;
use std::sync::Arc;

use crate::Memory;
use crate::document::{self, Document, Format, Origin};
use crate::load::{LoadOptions, Loaded, decode_text, load, load_inline};
use crate::source::SourceFile;
use crate::span::{Children, SpanTree};
use crate::value::Value;

/// A value to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Written {
    /// Text; quoted where it needs to be.
    Text(String),
    /// A number.
    Number(u64),
    /// A boolean.
    Bool(bool),
    /// A list.
    List(Vec<Written>),
    /// A mapping, in this order.
    Map(Vec<(String, Written)>),
}

impl Written {
    /// A mapping of texts.
    pub fn texts<'t>(entries: impl IntoIterator<Item = (&'t str, &'t str)>) -> Self {
        Self::Map(entries.into_iter().map(|(k, v)| (k.to_owned(), Self::Text(v.to_owned()))).collect())
    }

    /// A mapping of one entry.
    #[must_use]
    pub fn entry(key: &str, value: Self) -> Self {
        Self::Map(vec![(key.to_owned(), value)])
    }

    /// As YAML in block style, each line ended; `dash` is how far a list is indented below its key.
    #[must_use]
    pub fn yaml(&self, indent: usize, dash: usize) -> String {
        let mut lines = Vec::new();
        self.block(&mut lines, dash);
        lines.iter().map(|line| format!("{:indent$}{line}\n", "")).collect()
    }

    fn is_short(&self) -> bool {
        match self {
            Self::Text(_) | Self::Number(_) | Self::Bool(_) => true,
            Self::List(items) => items.is_empty(),
            Self::Map(entries) => entries.is_empty(),
        }
    }

    fn block(&self, lines: &mut Vec<String>, dash: usize) {
        match self {
            _ if self.is_short() => lines.push(self.flow(false)),
            Self::Text(_) | Self::Number(_) | Self::Bool(_) => {}
            Self::List(items) => {
                for item in items {
                    let mut own = Vec::new();
                    item.block(&mut own, dash);
                    let mark = |(i, line): (usize, String)| format!("{}{line}", if i == 0 { "- " } else { "  " });
                    lines.extend(own.into_iter().enumerate().map(mark));
                }
            }
            Self::Map(entries) => {
                for (key, value) in entries {
                    if value.is_short() {
                        lines.push(format!("{}: {}", scalar(key), value.flow(false)));
                        continue;
                    }
                    lines.push(format!("{}:", scalar(key)));
                    let mut own = Vec::new();
                    value.block(&mut own, dash);
                    let indent = if matches!(value, Self::List(_)) { dash } else { 2 };
                    lines.extend(own.into_iter().map(|line| format!("{:indent$}{line}", "")));
                }
            }
        }
    }

    /// On one line, as JSON or as YAML in flow style.
    fn flow(&self, json: bool) -> String {
        let text = |t: &str| if json { quoted(t) } else { scalar(t) };
        match self {
            Self::Text(t) => text(t),
            Self::Number(n) => n.to_string(),
            Self::Bool(b) => b.to_string(),
            Self::List(items) => {
                format!("[{}]", items.iter().map(|i| i.flow(json)).collect::<Vec<_>>().join(", "))
            }
            Self::Map(entries) => {
                let entry = |(k, v): &(String, Self)| format!("{}: {}", text(k), v.flow(json));
                format!("{{{}}}", entries.iter().map(entry).collect::<Vec<_>>().join(", "))
            }
        }
    }
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// A text as YAML: plain where every reader takes it for text.
fn scalar(text: &str) -> String {
    // What begins with a digit may be a number or a date, but for a block of addresses.
    let plain = text.starts_with(|c: char| c.is_ascii_alphabetic() || (c.is_ascii_digit() && text.contains('/')))
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._/-".contains(&b))
        && !["y", "n", "yes", "no", "on", "off", "true", "false", "null"].contains(&&*text.to_ascii_lowercase());
    if plain { text.to_owned() } else { quoted(text) }
}

/// A stretch of a text and what takes its place.
#[derive(Clone, Debug)]
pub struct TextEdit {
    /// The text.
    pub file: Arc<SourceFile>,
    /// Bytes of it; empty where something is put in between.
    pub range: Range<usize>,
    /// What comes there.
    pub text: String,
}

/// A text with changes made; of several at one place, the first comes first. `None` when they overlap.
#[must_use]
pub fn apply<'e>(text: &str, edits: impl IntoIterator<Item = &'e TextEdit>) -> Option<String> {
    let mut edits: Vec<&TextEdit> = edits.into_iter().collect();
    edits.sort_by_key(|e| (e.range.start, e.range.end));
    let mut out = String::with_capacity(text.len() + 256);
    let mut at = 0;
    for edit in edits {
        out.push_str(text.get(at..edit.range.start)?);
        out.push_str(&edit.text);
        at = edit.range.end;
    }
    out.push_str(text.get(at..)?);
    Some(out)
}

/// Reads the document of an object again, with changes made in it; of a case, the list of objects that it is in. Other
/// documents of the text are not read.
#[must_use]
pub fn reread(origin: &Origin, edits: &[TextEdit], options: &LoadOptions) -> Loaded {
    let document = origin.document();
    let (file, range) = (document.file(), document.range());
    let here: Option<Vec<TextEdit>> = edits
        .iter()
        .map(|e| {
            let start = e.range.start.checked_sub(range.start)?;
            (e.range.end <= range.end && Arc::ptr_eq(&e.file, file))
                .then(|| TextEdit { range: start..e.range.end - range.start, ..e.clone() })
        })
        .collect();
    let changed = here.and_then(|edits| apply(file.text().get(range)?, &edits));
    let Some(text) = changed else { return Loaded::default() };
    match origin.list_in_case() {
        Some(list) => inline(&file.name().clone(), text, list, options),
        None => load(&Memory::new([(&**file.name(), text)]), &[&**file.name()], options),
    }
}

/// Reads the objects of a list in the text of a case.
fn inline(name: &Arc<str>, text: String, list: &str, options: &LoadOptions) -> Loaded {
    let Ok(file) = decode_text(name, text.into_bytes()).map(Arc::new) else { return Loaded::default() };
    let (format, documents) = document::documents(&file);
    let [one] = documents.as_slice() else { return Loaded::default() };
    let Ok(Some(parsed)) = &one.value else { return Loaded::default() };
    let document = Document::new(&file, one.range.clone(), format);
    match parsed.value.pointer(list) {
        Some(Value::Array(items)) => load_inline(&document, items, list, options),
        _ => Loaded::default(),
    }
}

impl Origin {
    /// Adds an item to the end of a list, which comes about if it is not there.
    #[must_use]
    pub fn append(&self, list: &str, item: &Written) -> Option<TextEdit> {
        let place = Site::of(self.document());
        match place.find(&self.absolute(list)) {
            (node, true) => place.append(node, item),
            (_, false) => self.put(list, &Written::List(vec![item.clone()])),
        }
    }

    /// Adds a value that is not there yet, with the mappings on the way to it.
    #[must_use]
    pub fn put(&self, pointer: &str, value: &Written) -> Option<TextEdit> {
        let site = Site::of(self.document());
        let mut holder = self.absolute(pointer);
        let mut value = value.clone();
        loop {
            let (rest, token) = holder.rsplit_once('/')?;
            let key = token.replace("~1", "/").replace("~0", "~");
            if let (node, true) = site.find(rest) {
                return site.insert(node, &key, &value);
            }
            value = Written::entry(&key, value);
            holder = rest.to_owned();
        }
    }
}

/// A document in which something is to be changed.
struct Site<'d> {
    document: &'d Document,
    text: &'d str,
    newline: &'static str,
}

impl<'d> Site<'d> {
    fn of(document: &'d Document) -> Self {
        let text = document.file().text();
        // A file may hold many documents; this one is asked often.
        let is_long = text.get(document.range()).is_some_and(|own| own.contains("\r\n"));
        Self { document, text, newline: if is_long { "\r\n" } else { "\n" } }
    }

    fn find(&self, pointer: &str) -> (&'d SpanTree, bool) {
        self.document.spans().find(pointer)
    }

    fn edit(&self, range: Range<usize>, text: &str) -> Option<TextEdit> {
        let text = if self.newline == "\n" { text.to_owned() } else { text.replace('\n', self.newline) };
        Some(TextEdit { file: Arc::clone(self.document.file()), range, text })
    }

    fn append(&self, list: &SpanTree, item: &Written) -> Option<TextEdit> {
        let one = || Written::List(vec![item.clone()]);
        let Children::Seq(items) = &list.children else { return self.replace(list, &one()) };
        match items.last() {
            _ if self.is_flow(list) && (self.is_json() || !items.is_empty()) => {
                self.within_brackets(list, items.last(), &item.flow(self.is_json()))
            }
            None => self.replace(list, &one()),
            Some(last) => {
                let column = self.dash(last)?;
                self.below(last, &one().yaml(column, self.dash_style()))
            }
        }
    }

    fn insert(&self, map: &SpanTree, key: &str, value: &Written) -> Option<TextEdit> {
        let entry = Written::entry(key, value.clone());
        let Children::Map(entries) = &map.children else { return self.replace(map, &entry) };
        let last = entries.last().map(|(_, node)| node);
        if self.is_flow(map) && (self.is_json() || last.is_some()) {
            let text = entry.flow(self.is_json());
            return self.within_brackets(map, last, &text[1..text.len() - 1]);
        }
        let Some(last) = last else { return self.replace(map, &entry) };
        let column = self.column(entries.first()?.1.key.as_ref()?.start);
        self.below(last, &entry.yaml(column, self.dash_style()))
    }

    /// In the place of a value that is empty, `null`, `[]` or `{}`.
    fn replace(&self, old: &SpanTree, new: &Written) -> Option<TextEdit> {
        let key = old.key.as_ref()?;
        let written = self.text.get(old.value.clone())?.trim();
        let is_nothing = match &old.children {
            Children::None => matches!(written, "" | "~" | "null"),
            Children::Map(entries) => entries.is_empty(),
            Children::Seq(items) => items.is_empty(),
        };
        if !is_nothing {
            return None;
        }
        let colon = key.end + self.text.get(key.end..)?.find(':')? + 1;
        let end = if written.is_empty() { colon } else { old.value.end };
        // Block style needs the key to begin its line, but for the dashes of the lists that it is in.
        let line = &self.text[self.line_start(key.start)..key.start];
        if self.is_json() || line.chars().any(|c| c != ' ' && c != '-') {
            return self.edit(colon..end, &format!(" {}", new.flow(self.is_json())));
        }
        let indent = if matches!(new, Written::List(_)) { self.dash_style() } else { 2 };
        let block = new.yaml(self.column(key.start) + indent, self.dash_style());
        self.edit(colon..end, &format!("\n{}", block.trim_end_matches('\n')))
    }

    /// Before the bracket at the end: on a line of its own where the last neighbour has one.
    fn within_brackets(&self, holder: &SpanTree, last: Option<&SpanTree>, new: &str) -> Option<TextEdit> {
        let close = holder.value.end.checked_sub(1)?;
        let Some(last) = last else { return self.edit(close..close, new) };
        let end = self.end(last).max(last.value.end);
        let start = last.key.as_ref().map_or(last.value.start, |k| k.start);
        if self.text.get(end..close)?.contains([',', '#']) {
            return None;
        }
        let line = &self.text[self.line_start(start)..start];
        let alone = !line.is_empty() && line.chars().all(char::is_whitespace);
        let between = if alone { format!(",\n{line}") } else { ", ".to_owned() };
        self.edit(end..end, &format!("{between}{new}"))
    }

    /// Lines below a value of a block.
    fn below(&self, last: &SpanTree, lines: &str) -> Option<TextEdit> {
        let end = self.end(last);
        let at = match self.text[end..].find('\n') {
            _ if end > 0 && self.text.as_bytes()[end - 1] == b'\n' => end,
            Some(n) => end + n + 1,
            None => {
                let at = self.text.len();
                return self.edit(at..at, &format!("\n{}", lines.trim_end_matches('\n')));
            }
        };
        self.edit(at..at, lines)
    }

    /// Where the text of a value ends; the end of a block is that of the last thing in it.
    fn end(&self, node: &SpanTree) -> usize {
        let last = match &node.children {
            Children::None => None,
            Children::Map(entries) => entries.last().map(|(_, n)| n),
            Children::Seq(items) => items.last(),
        };
        match last.filter(|_| !self.is_flow(node)) {
            Some(last) => self.end(last),
            None if node.value.is_empty() => node.key.as_ref().map_or(node.value.start, |k| k.end),
            None => node.value.end,
        }
    }

    fn is_json(&self) -> bool {
        self.document.format() == Format::Json
    }

    fn is_flow(&self, node: &SpanTree) -> bool {
        !matches!(node.children, Children::None) && self.text[node.value.start..].starts_with(['[', '{'])
    }

    /// The column of the dash before an item of a block.
    fn dash(&self, item: &SpanTree) -> Option<usize> {
        let before = self.text[..item.value.start].trim_end();
        before.ends_with('-').then(|| self.column(before.len() - 1))
    }

    /// How far this document indents lists below their keys.
    fn dash_style(&self) -> usize {
        fn search(site: &Site<'_>, node: &SpanTree) -> Option<usize> {
            match &node.children {
                Children::None => None,
                Children::Map(entries) => entries.iter().find_map(|(_, n)| search(site, n)),
                Children::Seq(items) => {
                    let own = || {
                        let key = node.key.as_ref().filter(|_| !site.is_flow(node))?;
                        site.dash(items.first()?)?.checked_sub(site.column(key.start))
                    };
                    own().or_else(|| items.iter().find_map(|n| search(site, n)))
                }
            }
        }
        search(self, self.document.spans()).unwrap_or(2)
    }

    fn line_start(&self, at: usize) -> usize {
        self.text[..at].rfind('\n').map_or(0, |n| n + 1)
    }

    fn column(&self, at: usize) -> usize {
        self.text[self.line_start(at)..at].chars().count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(text: &str) -> Origin {
        let loaded = load(&Memory::new([("f.yaml", text)]), &["f.yaml"], &LoadOptions::default());
        assert!(loaded.diagnostics.is_empty(), "{:?}", loaded.diagnostics);
        loaded.objects.last().expect("an object").origin.clone()
    }

    fn port() -> Written {
        Written::Map(vec![("protocol".into(), Written::Text("TCP".into())), ("port".into(), Written::Number(81))])
    }

    fn done(text: &str, edit: Option<TextEdit>) -> String {
        let edit = edit.expect("it can be placed");
        apply(text, [&edit]).expect("it fits")
    }

    const HEAD: &str = "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: p}\nspec:\n";

    #[test]
    fn an_item_follows_its_neighbours_with_their_comments() {
        for (old, new) in [
            (
                "  ingress:\n  - ports:\n    - port: 80 # web\n    # more\n    from: []\n",
                "  ingress:\n  - ports:\n    - port: 80 # web\n    - protocol: TCP\n      port: 81\n    # more\n    from: []\n",
            ),
            (
                "  ingress:\n    - ports:\n        - {port: 80}",
                "  ingress:\n    - ports:\n        - {port: 80}\n        - protocol: TCP\n          port: 81",
            ),
            ("  ingress: [{ports: [{port: 80}]}]\n", "  ingress: [{ports: [{port: 80}, {protocol: TCP, port: 81}]}]\n"),
            (
                "  ingress:\n  - ports: []\n  podSelector: {}\n",
                "  ingress:\n  - ports:\n    - protocol: TCP\n      port: 81\n  podSelector: {}\n",
            ),
            (
                "  ingress:\n  - ports: # none\n  podSelector: {}\n",
                "  ingress:\n  - ports:\n    - protocol: TCP\n      port: 81 # none\n  podSelector: {}\n",
            ),
            (
                "  ingress:\n  - from:\n    - podSelector: {}\n",
                "  ingress:\n  - from:\n    - podSelector: {}\n    ports:\n    - protocol: TCP\n      port: 81\n",
            ),
            ("  ingress: [{from: []}]\n", "  ingress: [{from: [], ports: [{protocol: TCP, port: 81}]}]\n"),
        ] {
            let text = format!("{HEAD}{old}");
            let edit = policy(&text).append("/spec/ingress/0/ports", &port());
            assert_eq!(done(&text, edit), format!("{HEAD}{new}"));
        }
    }

    #[test]
    fn json_stays_json() {
        let head =
            "{\"apiVersion\": \"networking.k8s.io/v1\", \"kind\": \"NetworkPolicy\", \"metadata\": {\"name\": \"p\"}, ";
        for (old, new) in [
            ("\"spec\": {\"ingress\": []}}", "\"spec\": {\"ingress\": [{\"protocol\": \"TCP\", \"port\": 81}]}}"),
            (
                "\"spec\": {\"ingress\": [\n  {\"ports\": []}\n]}}",
                "\"spec\": {\"ingress\": [\n  {\"ports\": []},\n  {\"protocol\": \"TCP\", \"port\": 81}\n]}}",
            ),
            (
                "\"spec\": {\"podSelector\": {}}}",
                "\"spec\": {\"podSelector\": {}, \"ingress\": [{\"protocol\": \"TCP\", \"port\": 81}]}}",
            ),
        ] {
            let text = format!("{head}{old}");
            let edit = policy(&text).append("/spec/ingress", &port());
            assert_eq!(done(&text, edit), format!("{head}{new}"));
        }
    }

    #[test]
    fn labels_come_about_with_what_holds_them() {
        let label = Written::Text("true".into());
        for (old, new) in [
            ("metadata:\n  name: p\n", "metadata:\n  name: p\n  labels:\n    a/b: \"true\"\n"),
            (
                "metadata:\n  labels:\n    x: z # why\n  name: p\n",
                "metadata:\n  labels:\n    x: z # why\n    a/b: \"true\"\n  name: p\n",
            ),
            ("metadata: {name: p}\n", "metadata: {name: p, labels: {a/b: \"true\"}}\n"),
            ("metadata:\r\n  name: p\r\n", "metadata:\r\n  name: p\r\n  labels:\r\n    a/b: \"true\"\r\n"),
        ] {
            let text = format!("apiVersion: v1\nkind: Pod\n{old}").replace("\r\r", "\r");
            let edit = policy(&text).put("/metadata/labels/a~1b", &label);
            assert_eq!(done(&text, edit), format!("apiVersion: v1\nkind: Pod\n{new}"));
        }
    }

    #[test]
    fn what_stands_behind_an_alias_is_not_touched() {
        let text = format!("{HEAD}  egress: &r\n  - ports: &p\n    - port: 80\n  ingress: *r\n");
        assert!(policy(&text).append("/spec/ingress/0/ports", &port()).is_none());
    }

    #[test]
    fn a_document_is_read_again_without_the_others() {
        let text = format!("a: [\n---\n{HEAD}  ingress:\n  - ports:\n    - port: 80\n---\nb: [\n");
        let loaded = load(&Memory::new([("f.yaml", &*text)]), &["f.yaml"], &LoadOptions::default());
        let origin = &loaded.objects[0].origin;
        let edit = origin.append("/spec/ingress/0/ports", &port()).expect("it can be placed");
        let again = reread(origin, &[edit], &LoadOptions::default());
        assert!(again.diagnostics.is_empty(), "{:?}", again.diagnostics);
        let tortie_model::Object::NetworkPolicy(policy) = &again.objects[0].object else { panic!("a policy") };
        assert_eq!(policy.ingress.as_ref().map(|rules| rules[0].ports.len()), Some(2));
    }
}
