//! The map: a tree of sorted nodes, all leaves at the same depth.

use std::borrow::Borrow;
use std::fmt;
use std::ops::Index;
use std::sync::Arc;

use crate::changes::changes;
use crate::{Changed, Iter};

/// Most entries of a node. A change copies one node of each level that is shared.
const WIDTH: usize = 16;

/// A node.
#[derive(Clone)]
pub(crate) enum Node<K, V> {
    Leaf(Vec<(K, V)>),
    Inner(Vec<Child<K, V>>),
}

/// A child of a node, with the first key below it.
pub(crate) type Child<K, V> = (K, Arc<Node<K, V>>);

/// A sorted map; see the crate's documentation.
#[derive(Clone)]
pub struct Map<K, V> {
    pub(crate) root: Arc<Node<K, V>>,
    len: usize,
}

impl<K, V> Default for Map<K, V> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K, V> Map<K, V> {
    /// A map without entries.
    #[must_use]
    pub fn new() -> Self {
        Self { root: Arc::new(Node::Leaf(Vec::new())), len: 0 }
    }

    /// How many entries it has.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether it has none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Its entries, sorted by key.
    #[must_use]
    pub fn iter(&self) -> Iter<'_, K, V> {
        Iter::all(&self.root, self.len)
    }

    /// Its keys, sorted.
    pub fn keys(&self) -> impl Iterator<Item = &K> {
        self.iter().map(|(key, _)| key)
    }

    /// Its values, sorted by key.
    pub fn values(&self) -> impl Iterator<Item = &V> {
        self.iter().map(|(_, value)| value)
    }

    /// Whether both are one value in memory, and therefore equal.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.root, &other.root)
    }
}

/// Where in a sorted list of children a key belongs.
fn child<K: Borrow<Q>, Q: Ord + ?Sized, T>(children: &[(K, T)], key: &Q) -> usize {
    children.partition_point(|(first, _)| first.borrow() <= key).saturating_sub(1)
}

fn find<K: Borrow<Q>, Q: Ord + ?Sized, T>(entries: &[(K, T)], key: &Q) -> Result<usize, usize> {
    entries.binary_search_by(|(k, _)| k.borrow().cmp(key))
}

impl<K: Ord, V> Map<K, V> {
    /// A key as the map has it, and its value.
    #[must_use]
    pub fn get_key_value<Q: Ord + ?Sized>(&self, key: &Q) -> Option<(&K, &V)>
    where
        K: Borrow<Q>,
    {
        let mut node = &*self.root;
        loop {
            match node {
                Node::Leaf(entries) => return find(entries, key).ok().map(|i| (&entries[i].0, &entries[i].1)),
                Node::Inner(children) => node = &children[child(children, key)].1,
            }
        }
    }

    /// The value of a key.
    #[must_use]
    pub fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.get_key_value(key).map(|(_, value)| value)
    }

    /// Whether it has a key.
    #[must_use]
    pub fn contains_key<Q: Ord + ?Sized>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        self.get(key).is_some()
    }

    /// Its entries from a key on, sorted by key.
    #[must_use]
    pub fn range_from<Q: Ord + ?Sized>(&self, key: &Q) -> Iter<'_, K, V>
    where
        K: Borrow<Q>,
    {
        let mut out = Iter::none();
        let mut node = &*self.root;
        loop {
            match node {
                Node::Leaf(entries) => {
                    out.push_entries(&entries[find(entries, key).unwrap_or_else(|i| i)..]);
                    return out;
                }
                Node::Inner(children) => {
                    let i = child(children, key);
                    out.push_children(&children[i + 1..]);
                    node = &children[i].1;
                }
            }
        }
    }
}

impl<K: Ord + Clone, V: Clone> Map<K, V> {
    /// The value of a key, to be changed.
    pub fn get_mut<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        self.contains_key(key).then(|| {
            let mut node = Arc::make_mut(&mut self.root);
            loop {
                match node {
                    Node::Leaf(entries) => {
                        let i = find(entries, key).unwrap_or_else(|i| i);
                        return &mut entries[i].1;
                    }
                    Node::Inner(children) => {
                        let i = child(children, key);
                        node = Arc::make_mut(&mut children[i].1);
                    }
                }
            }
        })
    }

    /// Gives a key a value; returns the one that it had.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        let (old, split) = Arc::make_mut(&mut self.root).insert(key, value);
        if let Some(right) = split {
            let left = std::mem::replace(&mut self.root, Arc::new(Node::Leaf(Vec::new())));
            let children = [left, Arc::new(right)].into_iter().filter_map(|n| Some((n.first()?.clone(), n)));
            self.root = Arc::new(Node::Inner(children.collect()));
        }
        self.len += usize::from(old.is_none());
        old
    }

    /// Removes a key; returns the value that it had.
    pub fn remove<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        if !self.contains_key(key) {
            return None;
        }
        let old = Arc::make_mut(&mut self.root).remove(key);
        self.len -= usize::from(old.is_some());
        loop {
            let only = match &*self.root {
                Node::Inner(children) if children.len() == 1 => children[0].1.clone(),
                Node::Inner(children) if children.is_empty() => Arc::new(Node::Leaf(Vec::new())),
                _ => return old,
            };
            self.root = only;
        }
    }

    /// Keeps only the entries for which `keep` says so.
    pub fn retain(&mut self, mut keep: impl FnMut(&K, &V) -> bool) {
        let gone: Vec<K> = self.iter().filter(|(k, v)| !keep(k, v)).map(|(k, _)| k.clone()).collect();
        for key in &gone {
            self.remove(key);
        }
    }
}

impl<K: Ord, V: PartialEq> Map<K, V> {
    /// What is different in `new`, sorted by key: costs what is not shared.
    #[must_use]
    pub fn changes<'a>(&'a self, new: &'a Self) -> Vec<Changed<'a, K, V>> {
        changes(&self.root, &new.root)
    }
}

impl<K, V> Node<K, V> {
    /// The first key below it; `None` only for the root of an empty map.
    pub(crate) fn first(&self) -> Option<&K> {
        match self {
            Self::Leaf(entries) => entries.first().map(|(key, _)| key),
            Self::Inner(children) => children.first().map(|(key, _)| key),
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::Leaf(entries) => entries.len(),
            Self::Inner(children) => children.len(),
        }
    }
}

impl<K: Ord + Clone, V: Clone> Node<K, V> {
    /// The right half, when it became too wide.
    fn insert(&mut self, key: K, value: V) -> (Option<V>, Option<Self>) {
        match self {
            Self::Leaf(entries) => match find(entries, &key) {
                Ok(i) => (Some(std::mem::replace(&mut entries[i].1, value)), None),
                Err(i) => {
                    entries.insert(i, (key, value));
                    (None, split(entries, i).map(Self::Leaf))
                }
            },
            Self::Inner(children) => {
                let i = child(children, &key);
                if key < children[i].0 {
                    children[i].0 = key.clone();
                }
                let (old, right) = Arc::make_mut(&mut children[i].1).insert(key, value);
                if let Some((first, right)) = right.and_then(|r| Some((r.first()?.clone(), r))) {
                    children.insert(i + 1, (first, Arc::new(right)));
                    return (old, split(children, i + 1).map(Self::Inner));
                }
                (old, None)
            }
        }
    }

    fn remove<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        match self {
            Self::Leaf(entries) => find(entries, key).ok().map(|i| entries.remove(i).1),
            Self::Inner(children) => {
                let i = child(children, key);
                let old = Arc::make_mut(&mut children[i].1).remove(key);
                match children[i].1.first() {
                    None => drop(children.remove(i)),
                    Some(first) => {
                        if children[i].0 != *first {
                            children[i].0 = first.clone();
                        }
                        merge(children, i);
                    }
                }
                old
            }
        }
    }
}

/// Cuts a list in two when it is too long. One that grows at its end keeps its first part full.
fn split<T>(list: &mut Vec<T>, grown_at: usize) -> Option<Vec<T>> {
    let at = if grown_at + 1 == list.len() { grown_at } else { list.len() / 2 };
    (list.len() > WIDTH).then(|| list.split_off(at))
}

/// Unites a small child with a neighbour.
fn merge<K: Clone, V: Clone>(children: &mut Vec<Child<K, V>>, i: usize) {
    let small = |n: usize| n <= WIDTH / 4;
    if !small(children[i].1.len()) || children.len() < 2 {
        return;
    }
    let left = if i + 1 < children.len() { i } else { i - 1 };
    if children[left].1.len() + children[left + 1].1.len() > WIDTH / 4 * 3 {
        return;
    }
    let (_, right) = children.remove(left + 1);
    match (Arc::make_mut(&mut children[left].1), &*right) {
        (Node::Leaf(a), Node::Leaf(b)) => a.extend(b.iter().cloned()),
        (Node::Inner(a), Node::Inner(b)) => a.extend(b.iter().cloned()),
        (Node::Leaf(_), Node::Inner(_)) | (Node::Inner(_), Node::Leaf(_)) => unreachable!("leaves are at one depth"),
    }
}

impl<K: Ord, V: PartialEq> PartialEq for Map<K, V> {
    fn eq(&self, other: &Self) -> bool {
        self.is_same(other) || (self.len == other.len && self.changes(other).is_empty())
    }
}

impl<K: Ord, V: Eq> Eq for Map<K, V> {}

impl<K: fmt::Debug, V: fmt::Debug> fmt::Debug for Map<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl<K: Ord + Borrow<Q>, V, Q: Ord + ?Sized> Index<&Q> for Map<K, V> {
    type Output = V;

    fn index(&self, key: &Q) -> &V {
        self.get(key).expect("the key is there")
    }
}

impl<K: Ord + Clone, V: Clone> Extend<(K, V)> for Map<K, V> {
    fn extend<I: IntoIterator<Item = (K, V)>>(&mut self, entries: I) {
        for (key, value) in entries {
            self.insert(key, value);
        }
    }
}

impl<K: Ord + Clone, V: Clone> FromIterator<(K, V)> for Map<K, V> {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(entries: I) -> Self {
        let mut out = Self::new();
        out.extend(entries);
        out
    }
}

impl<K: Ord + Clone, V: Clone, const N: usize> From<[(K, V); N]> for Map<K, V> {
    fn from(entries: [(K, V); N]) -> Self {
        entries.into_iter().collect()
    }
}

impl<'a, K, V> IntoIterator for &'a Map<K, V> {
    type Item = (&'a K, &'a V);
    type IntoIter = Iter<'a, K, V>;

    fn into_iter(self) -> Iter<'a, K, V> {
        self.iter()
    }
}
