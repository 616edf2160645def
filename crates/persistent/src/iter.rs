//! Entries in order.

use std::slice;

use crate::map::{Child, Node};

/// Entries of a map, sorted by key.
pub struct Iter<'a, K, V> {
    above: Vec<slice::Iter<'a, Child<K, V>>>,
    entries: slice::Iter<'a, (K, V)>,
    left: usize,
}

impl<'a, K, V> Iter<'a, K, V> {
    pub(crate) fn none() -> Self {
        Self { above: Vec::new(), entries: [].iter(), left: 0 }
    }

    pub(crate) fn all(root: &'a Node<K, V>, len: usize) -> Self {
        let mut out = Self::none();
        match root {
            Node::Leaf(entries) => out.push_entries(entries),
            Node::Inner(children) => out.push_children(children),
        }
        out.left = len;
        out
    }

    /// What comes before all that was pushed until now.
    pub(crate) fn push_children(&mut self, children: &'a [Child<K, V>]) {
        self.above.push(children.iter());
    }

    pub(crate) fn push_entries(&mut self, entries: &'a [(K, V)]) {
        self.entries = entries.iter();
    }
}

impl<K, V> Clone for Iter<'_, K, V> {
    fn clone(&self) -> Self {
        Self { above: self.above.clone(), entries: self.entries.clone(), left: self.left }
    }
}

impl<'a, K, V> Iterator for Iter<'a, K, V> {
    type Item = (&'a K, &'a V);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some((key, value)) = self.entries.next() {
                self.left = self.left.saturating_sub(1);
                return Some((key, value));
            }
            match self.above.last_mut()?.next() {
                None => drop(self.above.pop()),
                Some((_, node)) => match &**node {
                    Node::Leaf(entries) => self.entries = entries.iter(),
                    Node::Inner(children) => self.above.push(children.iter()),
                },
            }
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, None)
    }
}
