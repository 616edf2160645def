//! Elements of one map, indexed for lookups.

use std::collections::BTreeMap;

use crate::Element;

/// Elements of one map.
#[derive(Debug)]
pub(crate) struct Storage<'a> {
    exact: BTreeMap<&'a [u8], &'a Element>,
    /// Ranges of more than one key, as `first, last, element`. A key is in a range when each of its fields is.
    ranges: Vec<(&'a [u8], &'a [u8], &'a Element)>,
    catch_all: Option<&'a Element>,
    fields: Vec<std::ops::Range<usize>>,
    key_len: usize,
}

impl<'a> Storage<'a> {
    pub(crate) fn new(spec: &crate::MapSpec, elements: &'a tortie_persistent::Set<Element>) -> Self {
        Self::of(spec, elements)
    }

    /// Some elements of a map.
    pub(crate) fn of(spec: &crate::MapSpec, elements: impl IntoIterator<Item = &'a Element>) -> Self {
        let mut fields = Vec::with_capacity(spec.key.len());
        let mut at = 0;
        for field in &spec.key {
            fields.push(at..at + field.len());
            at += field.padded_len();
        }
        let mut new =
            Self { exact: BTreeMap::new(), ranges: Vec::new(), catch_all: None, fields, key_len: spec.key_len() };
        for element in elements {
            match element {
                Element::Range { from, to, .. } if from == to => drop(new.exact.insert(from, element)),
                Element::Range { from, to, .. } => new.ranges.push((from, to, element)),
                Element::CatchAll { .. } => new.catch_all = Some(element),
            }
        }
        new
    }

    pub(crate) const fn key_len(&self) -> usize {
        self.key_len
    }

    /// The element that a key hits.
    pub(crate) fn get(&self, key: &[u8]) -> Option<&'a Element> {
        let covers = |from: &[u8], to: &[u8]| {
            self.fields.iter().all(|f| from[f.clone()] <= key[f.clone()] && key[f.clone()] <= to[f.clone()])
        };
        self.exact
            .get(key)
            .copied()
            .or_else(|| self.ranges.iter().find(|(from, to, _)| covers(from, to)).map(|(_, _, e)| *e))
            .or(self.catch_all)
    }
}
