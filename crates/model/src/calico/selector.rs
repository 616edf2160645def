//! Calico's selectors: what they mean, and the one text in which Calico writes each.

use std::fmt;
use std::sync::Arc;

use data_encoding::BASE64URL_NOPAD;
use sha2::{Digest, Sha224};

use crate::Labels;

/// A selector over labels, as Calico's policies, sets and profiles write it: `has(app) && tier in {"db", "web"}`.
///
/// It is the tree of the text: selectors that mean the same may differ. [`Display`](fmt::Display) gives the text in
/// which Calico writes it; no part of a selector may hold both kinds of quotes, since the language escapes nothing.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Selector {
    /// `all()`, and the empty text: everything.
    All,
    /// `global()`: in a namespaceSelector, what is in no namespace. By itself it asks nothing of labels.
    Global,
    /// `has(key)`.
    Has(Arc<str>),
    /// A comparison of one label.
    Compare(Arc<str>, Comparison),
    /// `!`, of a whole term: `!k == "v"` is `!(k == "v")`.
    Not(Box<Selector>),
    /// `&&` of two terms or more.
    And(Vec<Selector>),
    /// `||` of two terms or more.
    Or(Vec<Selector>),
}

/// How the value of a label is compared, byte by byte.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Comparison {
    /// `==`
    Equal(Arc<str>),
    /// `!=`, true also of labels without the key.
    NotEqual(Arc<str>),
    /// `contains`
    Contains(Arc<str>),
    /// `starts with`
    StartsWith(Arc<str>),
    /// `ends with`
    EndsWith(Arc<str>),
    /// `in`: one of the values, which are sorted and stand once each.
    In(Vec<Arc<str>>),
    /// `not in`, true also of labels without the key.
    NotIn(Vec<Arc<str>>),
}

impl Comparison {
    /// Whether the value of a label is admitted; `None` for labels without the key.
    #[must_use]
    pub fn admits(&self, value: Option<&str>) -> bool {
        let listed = |values: &[Arc<str>]| value.is_some_and(|v| values.binary_search_by(|x| (**x).cmp(v)).is_ok());
        match self {
            Self::Equal(v) => value == Some(&**v),
            Self::NotEqual(v) => value != Some(&**v),
            Self::Contains(v) => value.is_some_and(|value| value.contains(&**v)),
            Self::StartsWith(v) => value.is_some_and(|value| value.starts_with(&**v)),
            Self::EndsWith(v) => value.is_some_and(|value| value.ends_with(&**v)),
            Self::In(values) => listed(values),
            Self::NotIn(values) => !listed(values),
        }
    }
}

impl Selector {
    /// Whether labels are selected.
    #[must_use]
    pub fn evaluate(&self, labels: &Labels) -> bool {
        match self {
            Self::All | Self::Global => true,
            Self::Has(key) => labels.has(key),
            Self::Compare(key, comparison) => comparison.admits(labels.get(key)),
            Self::Not(term) => !term.evaluate(labels),
            Self::And(terms) => terms.iter().all(|t| t.evaluate(labels)),
            Self::Or(terms) => terms.iter().any(|t| t.evaluate(labels)),
        }
    }

    /// The name that Calico gives to the set of what is selected: a hash of the canonical text.
    #[must_use]
    pub fn unique_id(&self) -> String {
        format!("s:{}", BASE64URL_NOPAD.encode(&Sha224::digest(format!("s:{self}"))))
    }
}

/// The canonical text.
impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all()"),
            Self::Global => f.write_str("global()"),
            Self::Has(key) => write!(f, "has({key})"),
            Self::Compare(key, comparison) => write!(f, "{key} {comparison}"),
            Self::Not(term) => write!(f, "!{term}"),
            Self::And(terms) => joined(f, terms, " && "),
            Self::Or(terms) => joined(f, terms, " || "),
        }
    }
}

fn joined(f: &mut fmt::Formatter<'_>, terms: &[Selector], operator: &str) -> fmt::Result {
    f.write_str("(")?;
    for (i, term) in terms.iter().enumerate() {
        f.write_str(if i > 0 { operator } else { "" })?;
        write!(f, "{term}")?;
    }
    f.write_str(")")
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Equal(v) => write!(f, "== {}", Quoted(v)),
            Self::NotEqual(v) => write!(f, "!= {}", Quoted(v)),
            Self::Contains(v) => write!(f, "contains {}", Quoted(v)),
            Self::StartsWith(v) => write!(f, "starts with {}", Quoted(v)),
            Self::EndsWith(v) => write!(f, "ends with {}", Quoted(v)),
            Self::In(values) => write!(f, "in {{{}}}", List(values)),
            Self::NotIn(values) => write!(f, "not in {{{}}}", List(values)),
        }
    }
}

struct Quoted<'a>(&'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let quote = if self.0.contains('"') { '\'' } else { '"' };
        write!(f, "{quote}{}{quote}", self.0)
    }
}

struct List<'a>(&'a [Arc<str>]);

impl fmt::Display for List<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, value) in self.0.iter().enumerate() {
            write!(f, "{}{}", if i > 0 { ", " } else { "" }, Quoted(value))?;
        }
        Ok(())
    }
}
