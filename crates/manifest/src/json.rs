//! JSON texts: one or several documents after each other.

use std::borrow::Cow;
use std::cell::Cell;
use std::ops::Range;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Number;

use crate::span::{Children, SpanTree};
use crate::value::{Map, Value};
use crate::yaml::{Parsed, YamlDocument, YamlError};

/// All documents of a JSON text, up to the first that is none.
pub(crate) fn documents(text: &str) -> Vec<YamlDocument<'_>> {
    let mut documents = Vec::new();
    let mut start = 0;
    loop {
        start += text[start..].len() - text[start..].trim_start().len();
        if start == text.len() {
            return documents;
        }
        let has_duplicates = Cell::new(false);
        // A stream of documents: what follows the first is looked at afterwards.
        let mut reader = serde_json::Deserializer::from_str(&text[start..]);
        let result = Strict(&has_duplicates).deserialize(&mut reader);
        let stream = reader.into_iter::<serde::de::IgnoredAny>();
        match result {
            Ok(value) => {
                let end = start + stream.byte_offset();
                let parsed = Parsed { value, has_duplicates: has_duplicates.get() };
                documents.push(YamlDocument { range: start..end, value: Ok(Some(parsed)) });
                start = end;
            }
            Err(error) => {
                let at = start + offset(&text[start..], error.line(), error.column());
                let mut message = error.to_string();
                if let Some(i) = message.rfind(" at line ") {
                    message.truncate(i);
                }
                let width = text[at..].chars().next().map_or(0, char::len_utf8);
                let value = Err(YamlError { message, span: at..at + width });
                documents.push(YamlDocument { range: start..text.len(), value });
                return documents;
            }
        }
    }
}

/// The byte at a line (from 1) and a column in bytes (from 1).
fn offset(text: &str, line: usize, column: usize) -> usize {
    let start: usize = text.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum();
    let mut at = (start + column.saturating_sub(1)).min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// Builds a value and notices keys that stand twice.
#[derive(Clone, Copy)]
struct Strict<'a>(&'a Cell<bool>);

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value<'de>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value<'de>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, v: bool) -> Result<Value<'de>, E> {
        Ok(Value::Bool(v))
    }

    fn visit_i64<E>(self, v: i64) -> Result<Value<'de>, E> {
        Ok(Value::Number(v.into()))
    }

    fn visit_u64<E>(self, v: u64) -> Result<Value<'de>, E> {
        Ok(Value::Number(v.into()))
    }

    fn visit_f64<E>(self, v: f64) -> Result<Value<'de>, E> {
        Ok(Number::from_f64(v).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, v: &str) -> Result<Value<'de>, E> {
        Ok(Value::String(v.to_owned().into()))
    }

    fn visit_borrowed_str<E>(self, v: &'de str) -> Result<Value<'de>, E> {
        Ok(Value::String(v.into()))
    }

    fn visit_string<E>(self, v: String) -> Result<Value<'de>, E> {
        Ok(Value::String(v.into()))
    }

    fn visit_unit<E>(self) -> Result<Value<'de>, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value<'de>, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element_seed(self)? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value<'de>, A::Error> {
        let mut entries = Map::new();
        while let Some(key) = map.next_key_seed(Key)? {
            entries.push(key, map.next_value_seed(self)?);
        }
        if entries.settle() {
            self.0.set(true);
        }
        Ok(Value::Object(entries))
    }
}

/// Reads a key, borrowed where it has no escapes.
struct Key;

impl<'de> DeserializeSeed<'de> for Key {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Key {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a key")
    }

    fn visit_borrowed_str<E>(self, v: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(v))
    }

    fn visit_str<E>(self, v: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(v.to_owned()))
    }
}

/// The places in one document that is known to be JSON.
pub(crate) fn spans(text: &str, range: &Range<usize>) -> Option<SpanTree> {
    let mut scanner = Scanner { bytes: text.as_bytes(), text, at: range.start, end: range.end };
    scanner.value()
}

struct Scanner<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
    end: usize,
}

impl Scanner<'_> {
    fn peek(&mut self) -> Option<u8> {
        while self.at < self.end && self.bytes[self.at].is_ascii_whitespace() {
            self.at += 1;
        }
        (self.at < self.end).then(|| self.bytes[self.at])
    }

    fn string(&mut self) -> Option<Range<usize>> {
        let start = self.at;
        self.at += 1;
        while self.at < self.end {
            match self.bytes[self.at] {
                b'\\' => self.at += 2,
                b'"' => {
                    self.at += 1;
                    return Some(start..self.at);
                }
                _ => self.at += 1,
            }
        }
        None
    }

    /// Nesting is bounded: serde_json refuses more than 128 levels.
    fn value(&mut self) -> Option<SpanTree> {
        match self.peek()? {
            open @ (b'{' | b'[') => {
                let start = self.at;
                self.at += 1;
                let mut entries = Vec::new();
                loop {
                    match self.peek()? {
                        b'}' | b']' => {
                            self.at += 1;
                            break;
                        }
                        b',' => self.at += 1,
                        _ if open == b'[' => entries.push((String::new(), self.value()?)),
                        _ => {
                            let key = self.string()?;
                            let name: String = serde_json::from_str(&self.text[key.clone()]).ok()?;
                            if self.peek()? != b':' {
                                return None;
                            }
                            self.at += 1;
                            let mut value = self.value()?;
                            value.key = Some(key);
                            entries.push((name, value));
                        }
                    }
                }
                let children = if open == b'{' {
                    Children::Map(entries)
                } else {
                    Children::Seq(entries.into_iter().map(|(_, v)| v).collect())
                };
                Some(SpanTree { key: None, value: start..self.at, children })
            }
            b'"' => self.string().map(SpanTree::leaf),
            _ => {
                let start = self.at;
                while self.at < self.end
                    && !matches!(self.bytes[self.at], b',' | b'}' | b']' | b' ' | b'\n' | b'\r' | b'\t')
                {
                    self.at += 1;
                }
                (self.at > start).then(|| SpanTree::leaf(start..self.at))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_documents_and_their_places() {
        let text = "{\"a\": [1, \"x\\\"y\"]}\n{\"b\": 2, \"b\": 3}";
        let docs = documents(text);
        assert_eq!(docs.len(), 2);
        assert!(!docs[0].value.as_ref().unwrap().as_ref().unwrap().has_duplicates);
        assert!(docs[1].value.as_ref().unwrap().as_ref().unwrap().has_duplicates);
        let tree = spans(text, &docs[0].range).unwrap();
        let (node, exact) = tree.find("/a/1");
        assert!(exact);
        assert_eq!(&text[node.value.clone()], "\"x\\\"y\"");
        let twice = spans(text, &docs[1].range).unwrap().duplicates();
        assert_eq!((twice.len(), &text[twice[0].second.clone()]), (1, "\"b\""));
    }

    #[test]
    fn an_error_has_its_place() {
        let docs = documents("{\"a\": 1}\n{\"b\": }");
        let error = docs[1].value.as_ref().unwrap_err();
        assert_eq!(error.span, 15..16);
    }
}
