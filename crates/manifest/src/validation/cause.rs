//! One reason for which an object is refused, in the API server's words.

use super::Path;

/// The machine-readable kind of a cause (`field.ErrorType`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    /// `Invalid value`.
    Invalid,
    /// `Required value`.
    Required,
    /// `Forbidden`.
    Forbidden,
    /// `Unsupported value`.
    NotSupported,
    /// `Too long`.
    TooLong,
    /// `Too many`.
    TooMany,
    /// A value of the wrong type, in a custom resource.
    TypeInvalid,
    /// `Duplicate value`.
    Duplicate,
    /// No reason to refuse it: a warning.
    Warning,
    /// No cause of validation: the field has the wrong type, does not exist or stands twice.
    Decoding,
}

impl Reason {
    /// As in a status: `FieldValueInvalid`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Invalid => "FieldValueInvalid",
            Self::Required => "FieldValueRequired",
            Self::Forbidden => "FieldValueForbidden",
            Self::NotSupported => "FieldValueNotSupported",
            Self::TooLong => "FieldValueTooLong",
            Self::TooMany => "FieldValueTooMany",
            Self::TypeInvalid => "FieldValueTypeInvalid",
            Self::Duplicate => "FieldValueDuplicate",
            Self::Warning => "Warning",
            Self::Decoding => "BadRequest",
        }
    }
}

/// One cause of a status, with its place in the document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause {
    /// The kind of cause.
    pub reason: Reason,
    /// The field, as the API server names it.
    pub field: String,
    /// The text after the field.
    pub message: String,
    /// JSON pointer of the value that the text is about; it need not exist.
    pub pointer: String,
    /// The text is about the member's name rather than its value.
    pub on_name: bool,
}

impl Cause {
    fn new(reason: Reason, path: &Path<'_>, message: String) -> Self {
        Self { reason, field: path.field(), message, pointer: path.pointer(), on_name: false }
    }

    /// `Invalid value: "x": detail`.
    pub(crate) fn invalid(path: &Path<'_>, value: &str, detail: &str) -> Self {
        Self::new(Reason::Invalid, path, format!("Invalid value: {}: {detail}", go_quote(value)))
    }

    /// `Invalid value: detail`, where the value is not shown.
    pub(crate) fn invalid_text(path: &Path<'_>, detail: &str) -> Self {
        Self::new(Reason::Invalid, path, format!("Invalid value: {detail}"))
    }

    /// As [`Cause::invalid`] for a value that Go prints as it is: a number, or the JSON text of something larger.
    pub(crate) fn invalid_raw(path: &Path<'_>, value: impl std::fmt::Display, detail: &str) -> Self {
        Self::new(Reason::Invalid, path, format!("Invalid value: {value}: {detail}"))
    }

    /// `Required value`, with a detail when there is one.
    pub(crate) fn required(path: &Path<'_>, detail: &str) -> Self {
        Self::new(Reason::Required, path, with_detail("Required value", detail))
    }

    /// `Forbidden: detail`.
    pub(crate) fn forbidden(path: &Path<'_>, detail: &str) -> Self {
        Self::new(Reason::Forbidden, path, with_detail("Forbidden", detail))
    }

    /// `Unsupported value: "x": supported values: "A", "B"`. The value is of a named type, which is printed as JSON.
    pub(crate) fn not_supported(path: &Path<'_>, value: &str, supported: &[&str]) -> Self {
        let list = supported.iter().map(|s| go_quote(s)).collect::<Vec<_>>().join(", ");
        Self::new(
            Reason::NotSupported,
            path,
            format!("Unsupported value: {}: supported values: {list}", go_json_string(value)),
        )
    }

    /// `Too long: may not be more than N bytes`.
    pub(crate) fn too_long(path: &Path<'_>, limit: usize) -> Self {
        Self::new(Reason::TooLong, path, format!("Too long: may not be more than {limit} bytes"))
    }

    /// A field that cannot be decoded.
    pub(crate) fn decoding(path: &Path<'_>, message: String) -> Self {
        Self::new(Reason::Decoding, path, message)
    }

    /// What the API server says about a value that it accepts.
    pub(crate) fn warning(path: &Path<'_>, message: String) -> Self {
        Self::new(Reason::Warning, path, message)
    }

    /// The same cause about the name of a member of the field.
    pub(crate) fn at_name(self, key: &str) -> Self {
        Self { on_name: true, ..self.at_member(key) }
    }

    /// The same cause about a member of the field: a label by its key, where Kubernetes names only the map.
    pub(crate) fn at_member(mut self, key: &str) -> Self {
        crate::span::push_token(&mut self.pointer, key);
        self
    }
}

fn with_detail(what: &str, detail: &str) -> String {
    if detail.is_empty() { what.to_owned() } else { format!("{what}: {detail}") }
}

/// Go's `%q`: `strconv.Quote`.
pub(crate) fn go_quote(text: &str) -> String {
    use std::fmt::Write as _;
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{b}' => out.push_str("\\v"),
            c if is_printable(c) => out.push(c),
            c if (c as u32) < 0x20 || c as u32 == 0x7f => {
                let _ = write!(out, "\\x{:02x}", c as u32);
            }
            c if (c as u32) < 0x1_0000 => {
                let _ = write!(out, "\\u{:04x}", c as u32);
            }
            c => {
                let _ = write!(out, "\\U{:08x}", c as u32);
            }
        }
    }
    out.push('"');
    out
}

/// Near enough to Go's `strconv.IsPrint`: letters, marks, numbers, punctuation, symbols and the ASCII space.
fn is_printable(c: char) -> bool {
    // Rust's own debug form escapes what is not printable, grapheme extenders aside.
    c == ' ' || (!c.is_whitespace() && (c.is_alphanumeric() || c.escape_debug().len() == 1 || is_mark(c)))
}

const fn is_mark(c: char) -> bool {
    matches!(c, '\u{300}'..='\u{36f}' | '\u{1ab0}'..='\u{1aff}' | '\u{20d0}'..='\u{20ff}' | '\u{fe00}'..='\u{fe0f}' | '\u{fe20}'..='\u{fe2f}')
}

/// Go's `json.Marshal` of a string, which escapes what HTML would read.
pub(crate) fn go_json_string(text: &str) -> String {
    let quoted = serde_json::to_string(text).unwrap_or_default();
    escape_html(&quoted)
}

/// Go's `json.Marshal` of a list of strings.
pub(crate) fn go_json_strings<'a>(items: impl Iterator<Item = &'a str>) -> String {
    format!("[{}]", items.map(go_json_string).collect::<Vec<_>>().join(","))
}

fn escape_html(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        match c {
            '<' => out.push_str("\\u003c"),
            '>' => out.push_str("\\u003e"),
            '&' => out.push_str("\\u0026"),
            '\u{2028}' => out.push_str("\\u2028"),
            '\u{2029}' => out.push_str("\\u2029"),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_quoted_as_go_does() {
        assert_eq!(go_quote("a\"b\\\n\u{1}\u{7f}"), r#""a\"b\\\n\x01\x7f""#);
        assert_eq!(go_quote("ünï 世界"), "\"ünï 世界\"");
        assert_eq!(go_quote("a\u{a0}b\u{200b}c\u{feff}"), r#""a\u00a0b\u200bc\ufeff""#);
        assert_eq!(go_quote("😀\u{10ffff}"), "\"😀\\U0010ffff\"");
        assert_eq!(go_json_string("a<b>&"), r#""a\u003cb\u003e\u0026""#);
    }
}
