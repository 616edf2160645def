//! JSON values that borrow their texts from the file: manifests are read whole, looked at once and dropped, and a tree
//! of owned strings and hash tables costs several times what reading does.

use std::borrow::Cow;

use serde_json::Number;

/// A JSON value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value<'a> {
    Null,
    Bool(bool),
    Number(Number),
    String(Cow<'a, str>),
    Array(Vec<Value<'a>>),
    Object(Map<'a>),
}

/// The entries of an object, in the order of the text. Keys are unique once [`Map::settle`] was called.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Map<'a>(Vec<(Cow<'a, str>, Value<'a>)>);

/// Entries up to which a search from the start beats sorting.
const FEW: usize = 16;

impl<'a> Map<'a> {
    pub(crate) const fn new() -> Self {
        Self(Vec::new())
    }

    pub(crate) fn get(&self, key: &str) -> Option<&Value<'a>> {
        self.0.iter().find(|(k, _)| k == key).map(|(_, v)| v)
    }

    pub(crate) fn contains_key(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &Value<'a>)> {
        self.0.iter().map(|(k, v)| (&**k, v))
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(k, _)| &**k)
    }

    /// Adds an entry without looking for one of the same key.
    pub(crate) fn push(&mut self, key: Cow<'a, str>, value: Value<'a>) {
        self.0.push((key, value));
    }

    /// Sets an entry.
    pub(crate) fn set(&mut self, key: Cow<'a, str>, value: Value<'a>) {
        match self.0.iter_mut().find(|(k, _)| *k == key) {
            Some((_, old)) => *old = value,
            None => self.0.push((key, value)),
        }
    }

    /// Leaves the last of entries with the same key, and says whether there were any.
    pub(crate) fn settle(&mut self) -> bool {
        if self.0.len() <= FEW {
            let twice = |i: &usize| self.0[i + 1..].iter().any(|(k, _)| *k == self.0[*i].0);
            let doomed: Vec<usize> = (0..self.0.len()).filter(twice).collect();
            doomed.iter().rev().for_each(|i| {
                self.0.remove(*i);
            });
            return !doomed.is_empty();
        }
        let mut order: Vec<usize> = (0..self.0.len()).collect();
        order.sort_by(|a, b| (&self.0[*a].0, a).cmp(&(&self.0[*b].0, b)));
        let mut keep = vec![true; self.0.len()];
        for pair in order.windows(2) {
            keep[pair[0]] = self.0[pair[0]].0 != self.0[pair[1]].0;
        }
        let before = self.0.len();
        let mut keep = keep.into_iter();
        self.0.retain(|_| keep.next().unwrap_or(true));
        self.0.len() < before
    }

    /// Adds the entries of other maps whose keys are not here, the first of them before the later ones.
    pub(crate) fn merge(&mut self, others: Vec<Self>) {
        if others.is_empty() {
            return;
        }
        let mut seen: std::collections::HashSet<String> = self.keys().map(str::to_owned).collect();
        for (key, value) in others.into_iter().flat_map(|o| o.0) {
            if seen.insert(key.to_string()) {
                self.0.push((key, value));
            }
        }
    }
}

impl<'a> Value<'a> {
    pub(crate) fn get(&self, key: &str) -> Option<&Value<'a>> {
        self.as_object()?.get(key)
    }

    pub(crate) const fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    pub(crate) const fn is_string(&self) -> bool {
        matches!(self, Self::String(_))
    }

    pub(crate) const fn is_array(&self) -> bool {
        matches!(self, Self::Array(_))
    }

    pub(crate) const fn is_object(&self) -> bool {
        matches!(self, Self::Object(_))
    }

    pub(crate) const fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Bool(b) => Some(*b),
            _ => None,
        }
    }

    pub(crate) fn as_i64(&self) -> Option<i64> {
        match self {
            Self::Number(n) => n.as_i64(),
            _ => None,
        }
    }

    pub(crate) fn as_f64(&self) -> Option<f64> {
        match self {
            Self::Number(n) => n.as_f64(),
            _ => None,
        }
    }

    pub(crate) fn as_u64(&self) -> Option<u64> {
        match self {
            Self::Number(n) => n.as_u64(),
            _ => None,
        }
    }

    pub(crate) fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(s) => Some(s),
            _ => None,
        }
    }

    pub(crate) fn as_array(&self) -> Option<&[Value<'a>]> {
        match self {
            Self::Array(items) => Some(items),
            _ => None,
        }
    }

    pub(crate) const fn as_object(&self) -> Option<&Map<'a>> {
        match self {
            Self::Object(map) => Some(map),
            _ => None,
        }
    }

    /// The value at a JSON pointer (RFC 6901).
    pub(crate) fn pointer(&self, pointer: &str) -> Option<&Value<'a>> {
        pointer.split('/').skip(1).try_fold(self, |at, token| match at {
            Self::Object(map) => map.get(&token.replace("~1", "/").replace("~0", "~")),
            Self::Array(items) => items.get(token.parse::<usize>().ok()?),
            _ => None,
        })
    }
}

#[cfg(test)]
impl From<serde_json::Value> for Value<'static> {
    fn from(value: serde_json::Value) -> Self {
        match value {
            serde_json::Value::Null => Self::Null,
            serde_json::Value::Bool(b) => Self::Bool(b),
            serde_json::Value::Number(n) => Self::Number(n),
            serde_json::Value::String(s) => Self::String(s.into()),
            serde_json::Value::Array(items) => Self::Array(items.into_iter().map(Into::into).collect()),
            serde_json::Value::Object(map) => {
                Self::Object(Map(map.into_iter().map(|(k, v)| (k.into(), v.into())).collect()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_of_equal_keys_stays_in_small_and_large_maps() {
        for n in [3_usize, 40] {
            let mut map = Map::new();
            for i in 0..n {
                map.push(format!("k{}", i % (n - 1)).into(), Value::Bool(i == n - 1));
            }
            assert!(map.settle());
            assert_eq!((map.keys().count(), map.get("k0").and_then(Value::as_bool)), (n - 1, Some(true)));
            assert!(!map.settle());
        }
    }
}
