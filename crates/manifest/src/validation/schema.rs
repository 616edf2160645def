//! Decoding as Go does it: types of fields, fields that are unknown or stand twice (`sigs.k8s.io/json`, strict).

use super::{Cause, Path, Refusal, advice};
use crate::span::{DuplicateKey, field_of_pointer};
use crate::value::Value;

/// What a Go field holds.
#[derive(Clone, Copy)]
pub(super) enum Shape {
    /// A text of a Go type.
    Text(&'static str),
    /// A whole number of a Go type, between bounds.
    Int(&'static str, i64, i64),
    /// A boolean.
    Bool,
    /// `intstr.IntOrString`.
    IntOrString,
    /// `metav1.Time`.
    Time,
    /// A struct.
    Struct(&'static Struct),
    /// A slice of a Go type.
    List(&'static str, &'static Shape),
    /// `map[string]string` and the like.
    Map(&'static str, &'static Shape),
    /// Anything.
    Any,
}

/// A Go struct.
pub(super) struct Struct {
    /// Its name, as errors about its fields give it.
    pub(super) name: &'static str,
    /// Its type, as errors about a field that holds it give it.
    pub(super) go_type: &'static str,
    /// Its JSON fields.
    pub(super) fields: &'static [(&'static str, Shape)],
}

pub(super) const INT32: Shape = Shape::Int("int32", i32::MIN as i64, i32::MAX as i64);
pub(super) const INT64: Shape = Shape::Int("int64", i64::MIN, i64::MAX);
pub(super) const TEXT: Shape = Shape::Text("string");
pub(super) const TEXTS: Shape = Shape::List("[]string", &TEXT);
pub(super) const LABELS: Shape = Shape::Map("map[string]string", &TEXT);

/// The metadata of an object of which nothing else is looked at here.
pub(super) static META_ONLY: Struct = Struct {
    name: "ObjectMeta",
    go_type: "v1.ObjectMeta",
    fields: &[
        super::shapes::VERSION,
        super::shapes::KIND,
        ("metadata", super::shapes::META),
        ("spec", Shape::Any),
        ("status", Shape::Any),
    ],
};

/// As [`check`] of a closed struct, after `unknown` fields of it were found elsewhere.
pub(super) fn check_with(
    root: &'static Struct,
    value: &Value<'_>,
    unknown: Vec<Cause>,
    duplicates: &[DuplicateKey],
) -> Result<(), Refusal> {
    let top = |c: &Cause| c.pointer.matches('/').count() == 1;
    walk(root, value, unknown.into_iter().filter(|c| !top(c)).collect(), true, duplicates)
}

/// Checks that a value decodes into a struct; `closed`: fields that it does not have are refused.
pub(super) fn check(
    root: &'static Struct,
    value: &Value<'_>,
    closed: bool,
    duplicates: &[DuplicateKey],
) -> Result<(), Refusal> {
    walk(root, value, Vec::new(), closed, duplicates)
}

fn walk(
    root: &'static Struct,
    value: &Value<'_>,
    unknown: Vec<Cause>,
    closed: bool,
    duplicates: &[DuplicateKey],
) -> Result<(), Refusal> {
    let mut walk = Walk { closed, unknown, advice: None, wrong: None, fatal: None };
    walk.shape(&Shape::Struct(root), value, &Path::ROOT, root.name);
    if let Some(cause) = walk.fatal.or(walk.wrong) {
        return Err(Refusal::Decoding(cause));
    }
    // Kubernetes reports at most a hundred, each once.
    let mut fields = walk.unknown;
    for twice in duplicates {
        let mut pointer = twice.parent.clone();
        crate::span::push_token(&mut pointer, &twice.key);
        let field = join(&field_of_pointer(&twice.parent), &twice.key);
        let message = format!("duplicate field \"{field}\"");
        if !fields.iter().any(|f| f.message == message) {
            fields.push(Cause { reason: super::Reason::Decoding, field, message, pointer, on_name: true });
        }
    }
    if fields.is_empty() {
        return Ok(());
    }
    let list = fields.iter().take(100).map(|f| f.message.as_str()).collect::<Vec<_>>().join(", ");
    Err(Refusal::Strict { message: format!("strict decoding error: {list}"), fields, advice: walk.advice })
}

fn join(parent: &str, key: &str) -> String {
    if parent.is_empty() { key.to_owned() } else { format!("{parent}.{key}") }
}

struct Walk {
    /// Whether fields that a struct does not have are looked for. Of kinds that are read in part there are many.
    closed: bool,
    unknown: Vec<Cause>,
    /// What was probably meant by the first of them.
    advice: Option<String>,
    /// The first field of a wrong type; Go's decoder goes on, and reports this one.
    wrong: Option<Cause>,
    /// The first value that a type with a decoder of its own refused: Go's decoder stops there and forgets the others.
    fatal: Option<Cause>,
}

fn kind_of(value: &Value<'_>) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

impl Walk {
    fn mismatch(&mut self, what: &str, go_type: &str, path: &Path<'_>, holder: &str) {
        if self.wrong.is_none() {
            let message = match path.members() {
                at if at.is_empty() => format!("json: cannot unmarshal {what} into Go value of type {go_type}"),
                at => format!("json: cannot unmarshal {what} into Go struct field {holder}.{at} of type {go_type}"),
            };
            self.wrong = Some(Cause::decoding(path, message));
        }
    }

    /// `holder` is the struct whose field is being decoded.
    fn shape(&mut self, shape: &Shape, value: &Value<'_>, path: &Path<'_>, holder: &str) {
        match (shape, value) {
            (_, Value::Null)
            | (Shape::Any, _)
            | (Shape::Bool, Value::Bool(_))
            | (Shape::Text(_) | Shape::IntOrString, Value::String(_)) => {}
            (Shape::Int(go_type, low, high), Value::Number(n)) => {
                if n.as_i64().is_none_or(|n| n < *low || n > *high) {
                    self.mismatch(&format!("number {n}"), go_type, path, holder);
                }
            }
            (Shape::IntOrString, value) => {
                let before = self.wrong.take();
                self.shape(&INT32, value, path, holder);
                let refused = std::mem::replace(&mut self.wrong, before);
                self.fatal = self.fatal.take().or(refused);
            }
            (Shape::Time, Value::String(text)) => {
                if !is_time(text) && self.fatal.is_none() {
                    let message = format!(
                        "parsing time {0} as \"2006-01-02T15:04:05Z07:00\": cannot parse {0} as a time",
                        super::cause::go_quote(text)
                    );
                    self.fatal = Some(Cause::decoding(path, message));
                }
            }
            (Shape::Struct(fields), Value::Object(map)) => {
                for (key, value) in map.iter() {
                    let path = path.child(key);
                    match fields.fields.iter().find(|(name, _)| *name == key) {
                        Some((_, shape)) => self.shape(shape, value, &path, fields.name),
                        None if !self.closed => {}
                        None => {
                            let message = format!("unknown field \"{}\"", path.field());
                            if self.unknown.is_empty() {
                                self.advice = Some(advice::unknown_field(fields, map, key));
                            }
                            self.unknown.push(Cause::decoding(&path, message));
                        }
                    }
                }
            }
            (Shape::List(_, item), Value::Array(items)) => {
                for (i, value) in items.iter().enumerate() {
                    self.shape(item, value, &path.index(i), holder);
                }
            }
            (Shape::Map(_, item), Value::Object(map)) => {
                for (key, value) in map.iter() {
                    let before = self.wrong.is_none();
                    self.shape(item, value, path, holder);
                    if before {
                        // Go names the map only; the place is that of the entry.
                        self.wrong = self.wrong.take().map(|c| c.at_member(key));
                    }
                }
            }
            (
                Shape::Text(go_type) | Shape::Int(go_type, ..) | Shape::List(go_type, _) | Shape::Map(go_type, _),
                value,
            ) => {
                self.mismatch(kind_of(value), go_type, path, holder);
            }
            (Shape::Bool, value) => self.mismatch(kind_of(value), "bool", path, holder),
            (Shape::Time, value) => self.mismatch(kind_of(value), "string", path, holder),
            (Shape::Struct(fields), value) => self.mismatch(kind_of(value), fields.go_type, path, holder),
        }
    }
}

/// Whether a text has the form of RFC 3339, as far as digits and signs go.
fn is_time(text: &str) -> bool {
    let b = text.as_bytes();
    let digit = |r: std::ops::Range<usize>| b.get(r).is_some_and(|s| s.iter().all(u8::is_ascii_digit));
    let head = b.len() >= 20
        && digit(0..4)
        && digit(5..7)
        && digit(8..10)
        && digit(11..13)
        && digit(14..16)
        && digit(17..19)
        && (b[4], b[7], b[10], b[13], b[16]) == (b'-', b'-', b'T', b':', b':');
    if !head {
        return false;
    }
    let rest = &text[19..];
    let rest = match rest.strip_prefix('.') {
        Some(fraction) => fraction.trim_start_matches(|c: char| c.is_ascii_digit()),
        None => rest,
    };
    rest == "Z"
        || (rest.len() == 6
            && rest.starts_with(['+', '-'])
            && rest.as_bytes()[3] == b':'
            && rest[1..].bytes().enumerate().all(|(i, c)| i == 2 || c.is_ascii_digit()))
}
