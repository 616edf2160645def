//! Where in the text each value of a document is.

use std::ops::Range;

/// The places of a value and of all values in it.
#[derive(Debug, Clone)]
pub(crate) struct SpanTree {
    /// The key's span, for an entry of a mapping.
    pub(crate) key: Option<Range<usize>>,
    /// The value's span.
    pub(crate) value: Range<usize>,
    pub(crate) children: Children,
}

/// What is inside a value.
#[derive(Debug, Clone)]
pub(crate) enum Children {
    /// A scalar, or an alias: what is inside is written elsewhere.
    None,
    /// Entries in the order of the text, duplicates included.
    Map(Vec<(String, SpanTree)>),
    /// Items.
    Seq(Vec<SpanTree>),
}

/// A key that stands twice in one mapping.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DuplicateKey {
    /// JSON pointer of the mapping.
    pub(crate) parent: String,
    pub(crate) key: String,
    pub(crate) first: Range<usize>,
    pub(crate) second: Range<usize>,
}

impl DuplicateKey {
    /// The same seen from the value at `pointer`, if it stands there.
    pub(crate) fn below(&self, pointer: &str) -> Option<Self> {
        let parent = self.parent.strip_prefix(pointer).filter(|p| p.is_empty() || p.starts_with('/'))?;
        Some(Self { parent: parent.to_owned(), ..self.clone() })
    }
}

impl SpanTree {
    pub(crate) fn leaf(value: Range<usize>) -> Self {
        Self { key: None, value, children: Children::None }
    }

    /// The deepest value on the way to `pointer` that is written in the text, and whether it is the value itself.
    pub(crate) fn find(&self, pointer: &str) -> (&Self, bool) {
        let mut at = self;
        for token in pointer.split('/').skip(1) {
            let next = match &at.children {
                Children::None => None,
                Children::Map(entries) => {
                    let key = token.replace("~1", "/").replace("~0", "~");
                    // The last of duplicates is the one whose value counts.
                    entries.iter().rev().find(|(k, _)| *k == key).map(|(_, n)| n)
                }
                Children::Seq(items) => token.parse::<usize>().ok().and_then(|i| items.get(i)),
            };
            match next {
                Some(next) => at = next,
                None => return (at, false),
            }
        }
        (at, true)
    }

    /// What to underline for this value: a scalar itself, else its key, else its first line.
    pub(crate) fn focus(&self, text: &str) -> Range<usize> {
        match (&self.children, &self.key) {
            (Children::None, _) if !self.value.is_empty() => self.value.clone(),
            (_, Some(key)) => key.clone(),
            _ => {
                let rest = text.get(self.value.clone()).unwrap_or_default();
                let line = rest.lines().next().unwrap_or_default().trim_end();
                self.value.start..self.value.start + line.len()
            }
        }
    }

    /// All keys that stand twice in a mapping, in the order of the text.
    pub(crate) fn duplicates(&self) -> Vec<DuplicateKey> {
        let mut found = Vec::new();
        self.collect_duplicates(&mut String::new(), &mut found);
        found
    }

    fn collect_duplicates(&self, pointer: &mut String, found: &mut Vec<DuplicateKey>) {
        let len = pointer.len();
        match &self.children {
            Children::None => {}
            Children::Map(entries) => {
                let mut seen = std::collections::HashMap::new();
                for (key, node) in entries {
                    let span = node.key.clone().unwrap_or_else(|| node.value.clone());
                    if let Some(first) = seen.get(key) {
                        let (first, second) = (Range::clone(first), span);
                        found.push(DuplicateKey { parent: pointer.clone(), key: key.clone(), first, second });
                    } else {
                        seen.insert(key, span);
                    }
                    push_token(pointer, key);
                    node.collect_duplicates(pointer, found);
                    pointer.truncate(len);
                }
            }
            Children::Seq(items) => {
                for (i, node) in items.iter().enumerate() {
                    push_token(pointer, &i.to_string());
                    node.collect_duplicates(pointer, found);
                    pointer.truncate(len);
                }
            }
        }
    }
}

/// Appends one reference token (RFC 6901).
pub(crate) fn push_token(pointer: &mut String, token: &str) {
    pointer.push('/');
    if token.contains(['~', '/']) {
        pointer.push_str(&token.replace('~', "~0").replace('/', "~1"));
    } else {
        pointer.push_str(token);
    }
}

/// A JSON pointer as Kubernetes writes paths: `/spec/ingress/0/from` is `spec.ingress[0].from`.
pub(crate) fn field_of_pointer(pointer: &str) -> String {
    let mut field = String::new();
    for token in pointer.split('/').skip(1) {
        let token = token.replace("~1", "/").replace("~0", "~");
        if !field.is_empty() && token.bytes().all(|b| b.is_ascii_digit()) && !token.is_empty() {
            field.push_str(&format!("[{token}]"));
        } else {
            if !field.is_empty() {
                field.push('.');
            }
            field.push_str(&token);
        }
    }
    field
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pointers_become_fields() {
        assert_eq!(field_of_pointer("/spec/ingress/0/from/1"), "spec.ingress[0].from[1]");
        assert_eq!(field_of_pointer(""), "");
        let mut p = String::new();
        push_token(&mut p, "a/b~c");
        assert_eq!(p, "/a~1b~0c");
        assert_eq!(field_of_pointer(&p), "a/b~c");
    }
}
