//! Structural schemas of custom resources, and what the API server says of values that do not fit them
//! (`apiextensions-apiserver`): first what the schema refuses, then, where nothing is missing, its rules.

use std::collections::HashSet;

use super::super::cause::{Reason, go_quote};
use super::super::{Cause, Path};
use crate::value::Value;

/// What a field may hold.
pub(super) enum Schema {
    /// A text that keeps to rules.
    Text(&'static [Text]),
    /// A whole number between bounds.
    Int(i64, i64),
    /// A whole number of a few.
    OneOf(&'static [i64]),
    /// A number.
    Number,
    /// A boolean.
    Bool,
    /// `x-kubernetes-int-or-string`.
    IntOrText,
    /// A list.
    List(&'static List),
    /// Texts by name.
    Texts,
    /// An object with fields.
    Object(&'static Object),
    /// Anything.
    Any,
}

/// What is asked of a text.
pub(super) enum Text {
    /// One of these.
    Enum(&'static [&'static str]),
    /// So many characters at most.
    Most(usize),
    /// A pattern, and whether a text matches it.
    Pattern(&'static str, fn(&str) -> bool),
    /// A rule, and what is said of texts that break it; asked last, as rules of objects are.
    Rule(fn(&str) -> bool, &'static str),
}

/// A list of items.
pub(super) struct List {
    pub(super) item: Schema,
    pub(super) least: usize,
    pub(super) most: usize,
    /// No item may stand twice.
    pub(super) set: bool,
}

/// What is asked of an object as a whole; gets its value and place.
pub(super) type Rule = fn(&Value<'_>, &Path<'_>, &mut Vec<Cause>);

/// An object.
pub(super) struct Object {
    pub(super) fields: &'static [(&'static str, Schema)],
    pub(super) required: &'static [&'static str],
    /// How many fields may be given.
    pub(super) least: usize,
    pub(super) most: usize,
    pub(super) rules: &'static [Rule],
}

impl Object {
    /// An object of any of these fields.
    pub(super) const fn of(fields: &'static [(&'static str, Schema)]) -> Self {
        Self { fields, required: &[], least: 0, most: usize::MAX, rules: &[] }
    }

    /// With fields that must be given.
    pub(super) const fn needs(self, required: &'static [&'static str]) -> Self {
        Self { required, ..self }
    }

    /// With exactly one field given.
    pub(super) const fn one_field(self) -> Self {
        Self { least: 1, most: 1, ..self }
    }

    /// With rules over several fields.
    pub(super) const fn ruled(self, rules: &'static [Rule]) -> Self {
        Self { rules, ..self }
    }
}

/// What the schema says.
pub(super) struct Read {
    /// Fields that it does not have.
    pub(super) unknown: Vec<Cause>,
    /// What does not fit.
    pub(super) causes: Vec<Cause>,
    /// Whether that keeps the rules from being asked.
    pub(super) blocked: bool,
}

/// Compares a value with the schema, without its rules.
pub(super) fn read(root: &'static Object, value: &Value<'_>) -> Read {
    let mut read = Read { unknown: Vec::new(), causes: Vec::new(), blocked: false };
    read.object(root, value, &Path::ROOT);
    let blocking = |c: &Cause| {
        matches!(
            c.reason,
            Reason::NotSupported | Reason::Required | Reason::TooLong | Reason::TooMany | Reason::TypeInvalid
        )
    };
    read.blocked = read.causes.iter().any(blocking);
    read
}

fn type_of(value: &Value<'_>) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(n) if n.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn given<'v, 'a>(value: &'v Value<'a>) -> impl Iterator<Item = (&'v str, &'v Value<'a>)> + use<'v, 'a> {
    // `null` is as good as absent.
    value.as_object().into_iter().flat_map(|m| m.iter()).filter(|(_, v)| !v.is_null())
}

impl Read {
    fn body(&mut self, path: &Path<'_>, value: impl std::fmt::Display, what: &str) {
        self.causes.push(Cause::invalid_raw(path, value, &format!("{} in body {what}", path.field())));
    }

    fn mistyped(&mut self, path: &Path<'_>, value: &Value<'_>, expected: &str) {
        let found = type_of(value);
        let text = format!("\"{found}\": {} in body must be of type {expected}: \"{found}\"", path.field());
        self.causes.push(Cause { reason: Reason::TypeInvalid, ..Cause::invalid_text(path, &text) });
    }

    fn schema(&mut self, schema: &'static Schema, value: &Value<'_>, path: &Path<'_>) {
        match (schema, value) {
            (Schema::Any, _)
            | (Schema::Bool, Value::Bool(_))
            | (Schema::Number, Value::Number(_))
            | (Schema::IntOrText, Value::String(_)) => {}
            (Schema::IntOrText, Value::Number(n)) if !n.is_f64() => {}
            (Schema::Text(rules), Value::String(text)) => self.text(rules, text, path),
            (Schema::Int(least, most), Value::Number(n)) if !n.is_f64() => match n.as_i64() {
                Some(n) if n < *least => self.body(path, n, &format!("should be greater than or equal to {least}")),
                Some(n) if n <= *most => {}
                _ => self.body(path, n, &format!("should be less than or equal to {most}")),
            },
            (Schema::OneOf(few), Value::Number(n)) if !n.is_f64() => {
                if n.as_i64().is_none_or(|n| !few.contains(&n)) {
                    let list = few.iter().map(|n| format!("\"{n}\"")).collect::<Vec<_>>().join(", ");
                    let text = format!("Unsupported value: {n}: supported values: {list}");
                    let cause = Cause { reason: Reason::NotSupported, ..Cause::invalid_text(path, "") };
                    self.causes.push(Cause { message: text, ..cause });
                }
            }
            (Schema::List(list), Value::Array(items)) => self.list(list, items, path),
            (Schema::Texts, Value::Object(map)) => {
                for (key, value) in map.iter().filter(|(_, v)| !v.is_string() && !v.is_null()) {
                    self.mistyped(&path.child(key), value, "string");
                }
            }
            (Schema::Object(object), Value::Object(_)) => self.object(object, value, path),
            (Schema::Text(_), _) => self.mistyped(path, value, "string"),
            (Schema::Int(..) | Schema::OneOf(_), _) => self.mistyped(path, value, "integer"),
            (Schema::IntOrText, _) => self.mistyped(path, value, "integer,string"),
            (Schema::Number, _) => self.mistyped(path, value, "number"),
            (Schema::Bool, _) => self.mistyped(path, value, "boolean"),
            (Schema::List(_), _) => self.mistyped(path, value, "array"),
            (Schema::Texts | Schema::Object(_), _) => self.mistyped(path, value, "object"),
        }
    }

    fn text(&mut self, rules: &'static [Text], text: &str, path: &Path<'_>) {
        for rule in rules {
            match rule {
                Text::Enum(few) if !few.contains(&text) => self.causes.push(Cause::not_supported(path, text, few)),
                Text::Most(most) if text.chars().count() > *most => self.causes.push(Cause::too_long(path, *most)),
                Text::Pattern(pattern, matches) if !matches(text) => {
                    self.body(path, go_quote(text), &format!("should match '{pattern}'"));
                }
                Text::Enum(_) | Text::Most(_) | Text::Pattern(..) | Text::Rule(..) => {}
            }
        }
    }

    fn too_many(&mut self, path: &Path<'_>, count: usize, most: usize) {
        let what = if most == 1 { "item" } else { "items" };
        let message = format!("Too many: {count}: must have at most {most} {what}");
        let cause = Cause { reason: Reason::TooMany, ..Cause::invalid_text(path, "") };
        self.causes.push(Cause { message, ..cause });
    }

    fn list(&mut self, list: &'static List, items: &[Value<'_>], path: &Path<'_>) {
        if items.len() < list.least {
            self.body(path, items.len(), &format!("should have at least {} items", list.least));
        }
        if items.len() > list.most {
            return self.too_many(path, items.len(), list.most);
        }
        let mut seen = HashSet::new();
        for (i, item) in items.iter().enumerate() {
            let path = path.index(i);
            self.schema(&list.item, item, &path);
            if list.set
                && let Some(text) = item.as_str()
                && !seen.insert(text)
            {
                let cause = Cause { reason: Reason::Duplicate, ..Cause::invalid_text(&path, "") };
                self.causes.push(Cause { message: format!("Duplicate value: {}", go_quote(text)), ..cause });
            }
        }
    }

    fn object(&mut self, object: &'static Object, value: &Value<'_>, path: &Path<'_>) {
        let count = given(value).count();
        if count < object.least {
            self.body(path, count, &format!("should have at least {} properties", object.least));
        }
        if count > object.most {
            self.too_many(path, count, object.most);
        }
        for name in object.required {
            if value.get(name).is_none_or(Value::is_null) {
                self.causes.push(Cause::required(&path.child(name), ""));
            }
        }
        for (key, value) in value.as_object().into_iter().flat_map(|m| m.iter()) {
            let path = path.child(key);
            match object.fields.iter().find(|(name, _)| *name == key) {
                Some((_, schema)) if !value.is_null() => self.schema(schema, value, &path),
                Some(_) => {}
                None => {
                    self.unknown.push(Cause::decoding(&path, format!("unknown field \"{}\"", path.field())));
                }
            }
        }
    }
}

/// Asks the rules of everything in a value that fits its schema.
pub(super) fn rules(root: &'static Object, value: &Value<'_>, causes: &mut Vec<Cause>) {
    object_rules(root, value, &Path::ROOT, causes);
}

fn object_rules(object: &'static Object, value: &Value<'_>, path: &Path<'_>, causes: &mut Vec<Cause>) {
    for (key, value) in given(value) {
        if let Some((_, schema)) = object.fields.iter().find(|(name, _)| *name == key) {
            schema_rules(schema, value, &path.child(key), causes);
        }
    }
    for rule in object.rules {
        rule(value, path, causes);
    }
}

fn schema_rules(schema: &'static Schema, value: &Value<'_>, path: &Path<'_>, causes: &mut Vec<Cause>) {
    match (schema, value) {
        (Schema::Object(object), _) => object_rules(object, value, path, causes),
        (Schema::List(list), Value::Array(items)) => {
            for (i, item) in items.iter().enumerate() {
                schema_rules(&list.item, item, &path.index(i), causes);
            }
        }
        (Schema::Text(rules), Value::String(text)) => {
            for rule in *rules {
                if let Text::Rule(holds, says) = rule
                    && !holds(text)
                {
                    causes.push(Cause::invalid(path, text, says));
                }
            }
        }
        _ => {}
    }
}
