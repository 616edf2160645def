//! Policies as people write them: short things on one line, the rest in blocks, and comments between rules.

mod networkpolicy;

pub use networkpolicy::network_policy;

use tortie_model::{Kind, LabelSelector, Meta, Operator, Requirement};

/// The width that lines keep to where they can.
const WIDTH: usize = 80;

/// A part of a document.
#[derive(Clone, Debug)]
pub enum Node {
    /// A scalar, quoted where it needs to be.
    Leaf(String),
    /// Fields in their order.
    Map(Vec<(String, Node)>),
    /// Items.
    List(Vec<Node>),
    /// Never on one line.
    Block(Box<Node>),
    /// An item with a comment before it.
    Noted(String, Box<Node>),
}

impl Node {
    /// A text, whatever it looks like.
    #[must_use]
    pub fn text(text: &str) -> Self {
        Self::Leaf(scalar(text))
    }

    /// A number.
    #[must_use]
    pub fn number(number: impl std::fmt::Display) -> Self {
        Self::Leaf(number.to_string())
    }

    /// Fields in their order.
    #[must_use]
    pub fn map<K: Into<String>>(entries: impl IntoIterator<Item = (K, Self)>) -> Self {
        Self::Map(entries.into_iter().map(|(key, value)| (key.into(), value)).collect())
    }

    /// Items.
    #[must_use]
    pub fn list(items: impl IntoIterator<Item = Self>) -> Self {
        Self::List(items.into_iter().collect())
    }

    /// The same, never on one line.
    #[must_use]
    pub fn block(self) -> Self {
        Self::Block(Box::new(self))
    }

    /// The same on one line.
    fn flow(&self) -> Option<String> {
        match self {
            Self::Leaf(text) => Some(text.clone()),
            Self::Map(entries) => {
                let entry = |(key, value): &(String, Self)| Some(format!("{}: {}", scalar(key), value.flow()?));
                Some(format!("{{{}}}", entries.iter().map(entry).collect::<Option<Vec<_>>>()?.join(", ")))
            }
            Self::List(items) => {
                Some(format!("[{}]", items.iter().map(Self::flow).collect::<Option<Vec<_>>>()?.join(", ")))
            }
            Self::Block(inner) if inner.is_empty() => inner.flow(),
            Self::Block(_) | Self::Noted(..) => None,
        }
    }

    fn is_empty(&self) -> bool {
        match self {
            Self::Map(entries) => entries.is_empty(),
            Self::List(items) => items.is_empty(),
            Self::Leaf(_) | Self::Block(_) | Self::Noted(..) => false,
        }
    }

    fn bare(&self) -> &Self {
        match self {
            Self::Block(inner) => inner.bare(),
            other => other,
        }
    }

    /// Writes it after what stands on the line already, which has `indent` and more in front.
    fn write(&self, out: &mut String, indent: usize, after_key: bool) {
        let used = out.len() - out.rfind('\n').map_or(0, |at| at + 1);
        if let Some(flow) = self.flow().filter(|f| used + 1 + f.len() <= WIDTH || self.is_scalar()) {
            out.push_str(if after_key { " " } else { "" });
            out.push_str(&flow);
            out.push('\n');
            return;
        }
        let margin = " ".repeat(indent);
        match self.bare() {
            Self::Map(entries) => {
                let inner = if after_key { indent + 2 } else { indent };
                let margin = " ".repeat(inner);
                out.push_str(if after_key { "\n" } else { "" });
                for (i, (key, value)) in entries.iter().enumerate() {
                    out.push_str(if i > 0 || after_key { &margin } else { "" });
                    out.push_str(&scalar(key));
                    out.push(':');
                    value.write(out, inner, true);
                }
            }
            Self::List(items) => {
                out.push_str(if after_key { "\n" } else { "" });
                for item in items {
                    let item = match item {
                        Self::Noted(comment, item) => {
                            out.push_str(&format!("{margin}# {comment}\n"));
                            item
                        }
                        item => item,
                    };
                    out.push_str(&format!("{margin}- "));
                    item.write(out, indent + 2, false);
                }
            }
            Self::Leaf(_) | Self::Block(_) | Self::Noted(..) => unreachable!("a scalar is on one line"),
        }
    }

    const fn is_scalar(&self) -> bool {
        matches!(self, Self::Leaf(_))
    }
}

/// A whole object.
#[must_use]
pub fn document(kind: Kind, meta: &Meta, spec: Node) -> String {
    let mut named = vec![("name", Node::text(&meta.name))];
    if !meta.namespace.is_empty() {
        named.push(("namespace", Node::text(&meta.namespace)));
    }
    let mut out = String::new();
    Node::map([
        ("apiVersion", Node::Leaf(kind.api_version().to_owned())),
        ("kind", Node::Leaf(kind.written().to_owned())),
        ("metadata", Node::map(named).block()),
        ("spec", spec.block()),
    ])
    .block()
    .write(&mut out, 0, false);
    out
}

/// What is said of rules, in a comment before each that has one.
#[derive(Clone, Debug, Default)]
pub struct Notes {
    /// For each rule of ingress.
    pub ingress: Vec<Option<String>>,
    /// For each rule of egress.
    pub egress: Vec<Option<String>>,
}

/// Rules with what is said of them.
#[must_use]
pub fn rules(rules: impl IntoIterator<Item = Node>, notes: &[Option<String>]) -> Node {
    let noted = rules.into_iter().enumerate().map(|(i, rule)| match notes.get(i).cloned().flatten() {
        Some(note) => Node::Noted(note, Box::new(rule)),
        None => rule,
    });
    Node::List(noted.collect()).block()
}

/// A label selector.
#[must_use]
pub fn selector(selector: &LabelSelector) -> Node {
    let is_label = |r: &&Requirement| r.operator == Operator::In && r.values.len() == 1;
    let (mut labels, mut others): (Vec<_>, Vec<_>) = selector.requirements().iter().partition(is_label);
    // Of a key that is asked for twice, the second is a requirement of its own.
    let mut keys = std::collections::BTreeSet::new();
    labels.retain(|r| {
        keys.insert(r.key.clone()) || {
            others.push(*r);
            false
        }
    });
    let mut out = Vec::new();
    if !labels.is_empty() {
        out.push(("matchLabels", Node::map(labels.iter().map(|r| (&*r.key, Node::text(&r.values[0]))))));
    }
    if !others.is_empty() {
        out.push(("matchExpressions", Node::list(others.into_iter().map(requirement))));
    }
    Node::map(out)
}

fn requirement(requirement: &Requirement) -> Node {
    let mut out = vec![("key", Node::text(&requirement.key)), ("operator", Node::text(requirement.operator.as_str()))];
    if !requirement.values.is_empty() {
        out.push(("values", Node::list(requirement.values.iter().map(|v| Node::text(v)))));
    }
    Node::map(out)
}

/// A text that is read as text, whatever it is.
fn scalar(text: &str) -> String {
    let plain = text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_./".contains(c));
    let lower = text.to_ascii_lowercase();
    let means_else = ["true", "false", "null", "yes", "no", "on", "off", "y", "n", "nan", "inf"].contains(&&*lower);
    if plain && !means_else { text.to_owned() } else { format!("'{}'", text.replace('\'', "''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_yaml_would_take_for_something_else_is_quoted() {
        for (text, expected) in [
            ("web", "web"),
            ("1", "'1'"),
            ("true", "'true'"),
            ("a.b/c", "a.b/c"),
            ("", "''"),
            ("No", "'No'"),
            ("has(a) && b == 'c'", "'has(a) && b == ''c'''"),
        ] {
            assert_eq!(scalar(text), expected);
        }
    }
}
