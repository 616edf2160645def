//! What kube-apiserver says to an object: decoding of the raw JSON value, then validation, with its fields and texts.
//!
//! The rules are those of Kubernetes 1.36 (`staging/src/k8s.io/apimachinery/pkg/api/validation`,
//! `pkg/apis/networking/validation`), with strict field validation as kubectl asks for. A value that passes can be
//! decoded into the model without a further check.

pub(crate) mod advice;
mod cause;
mod cidr;
mod entry;
mod label;
mod metadata;
mod name;
mod networkpolicy;
mod path;
mod plain;
mod policyport;
mod resource;
mod schema;
mod selector;
mod shapes;

pub use cause::{Cause, Reason};
pub(crate) use cidr::sloppy_cidr;
pub(crate) use path::Path;
pub(crate) use resource::port_numbers;

use tortie_model::Kind;

use crate::span::DuplicateKey;
use crate::value::Value;

/// How an object is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The value cannot be decoded into the kind (code 400): a field of the wrong type.
    Decoding(Cause),
    /// Fields that the kind does not have, or that stand twice (code 400 under strict field validation). One answer
    /// names them all: `strict decoding error: unknown field "spec.ingres"`.
    Strict {
        /// The whole text.
        message: String,
        /// One cause a field.
        fields: Vec<Cause>,
        /// What was probably meant by the first field that does not exist.
        advice: Option<String>,
    },
    /// The object is well formed and not valid (code 422).
    Invalid(Vec<Cause>),
}

/// Checks an object of a kind as the API server would on creation.
///
/// `duplicates` are keys that stand twice in the text, since a JSON value cannot hold them. Kinds that are no policies
/// may have fields that tortie does not know, and only what tortie reads of them is checked.
pub(crate) fn validate(kind: Kind, value: &Value<'_>, duplicates: &[DuplicateKey]) -> Result<(), Refusal> {
    if let Some(resource) = resource::resource(text(value, "apiVersion"), kind.written()) {
        return resource.validate(value, duplicates);
    }
    schema::check(shapes::of(kind), value, kind == Kind::NetworkPolicy, duplicates)?;
    let mut causes = Vec::new();
    match kind {
        Kind::NetworkPolicy => networkpolicy::validate(value, &mut causes),
        _ => plain::validate(kind, value, &mut causes),
    }
    if causes.is_empty() { Ok(()) } else { Err(Refusal::Invalid(causes)) }
}

/// What the API server says about an object that it accepts.
pub(crate) fn warnings(kind: Kind, value: &Value<'_>) -> Vec<Cause> {
    if kind == Kind::NetworkPolicy { networkpolicy::warnings(value) } else { Vec::new() }
}

/// A member of an object; `null` is as good as absent, as in Go's decoder.
pub(crate) fn member<'v, 'a>(value: &'v Value<'a>, name: &str) -> Option<&'v Value<'a>> {
    value.get(name).filter(|v| !v.is_null())
}

/// The items of a list member; none when it is absent.
pub(crate) fn items<'v, 'a>(value: &'v Value<'a>, name: &str) -> &'v [Value<'a>] {
    member(value, name).and_then(Value::as_array).unwrap_or_default()
}

/// A text member; the empty text when it is absent.
pub(crate) fn text<'v>(value: &'v Value<'_>, name: &str) -> &'v str {
    member(value, name).and_then(Value::as_str).unwrap_or_default()
}

/// The entries of a map of texts; `null` is the empty text.
pub(crate) fn texts<'v, 'a>(
    value: &'v Value<'a>,
    name: &str,
) -> impl Iterator<Item = (&'v str, &'v str)> + use<'v, 'a> {
    let map = member(value, name).and_then(Value::as_object);
    map.into_iter().flat_map(|m| m.iter()).map(|(k, v)| (k, v.as_str().unwrap_or_default()))
}
