//! The set: a map to nothing.

use std::fmt;
use std::sync::Arc;

use crate::{Iter, Map};

/// A sorted set; see the crate's documentation. Nodes that are copied share their members.
#[derive(Clone)]
pub struct Set<T>(Map<Arc<T>, ()>);

impl<T> Default for Set<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Set<T> {
    /// A set without members.
    #[must_use]
    pub fn new() -> Self {
        Self(Map::new())
    }

    /// How many members it has.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether it has none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Its members, sorted.
    #[must_use]
    pub fn iter(&self) -> Members<'_, T> {
        Members(self.0.iter())
    }

    /// Whether both are one value in memory, and therefore equal.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        self.0.is_same(&other.0)
    }
}

impl<T: Ord> Set<T> {
    /// Whether something is a member.
    #[must_use]
    pub fn contains(&self, member: &T) -> bool {
        self.0.contains_key(member)
    }

    /// Its members from one on, sorted.
    #[must_use]
    pub fn range_from(&self, member: &T) -> Members<'_, T> {
        Members(self.0.range_from(member))
    }

    /// What is not in `new` any more, and what is new there, both sorted: costs what is not shared.
    #[must_use]
    pub fn changes<'a>(&'a self, new: &'a Self) -> (Vec<&'a T>, Vec<&'a T>) {
        let (gone, come): (Vec<_>, Vec<_>) = self.0.changes(&new.0).into_iter().partition(|c| c.old.is_some());
        let members = |list: Vec<crate::Changed<'a, Arc<T>, ()>>| list.into_iter().map(|c| &**c.key).collect();
        (members(gone), members(come))
    }
}

impl<T: Ord> Set<T> {
    /// Adds a member; tells whether it is new.
    pub fn insert(&mut self, member: T) -> bool {
        self.0.insert(Arc::new(member), ()).is_none()
    }

    /// Keeps only the members for which `keep` says so.
    pub fn retain(&mut self, mut keep: impl FnMut(&T) -> bool) {
        self.0.retain(|member, ()| keep(member));
    }

    /// Removes a member; tells whether it was one.
    pub fn remove(&mut self, member: &T) -> bool {
        self.0.remove(member).is_some()
    }
}

impl<T: Ord> PartialEq for Set<T> {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl<T: Ord> Eq for Set<T> {}

/// Equal when the array lists the members in order.
impl<T: Ord, const N: usize> PartialEq<[T; N]> for Set<T> {
    fn eq(&self, other: &[T; N]) -> bool {
        self.iter().eq(other)
    }
}

impl<T: fmt::Debug> fmt::Debug for Set<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

impl<T: Ord> Extend<T> for Set<T> {
    fn extend<I: IntoIterator<Item = T>>(&mut self, members: I) {
        for member in members {
            self.insert(member);
        }
    }
}

impl<T: Ord> FromIterator<T> for Set<T> {
    fn from_iter<I: IntoIterator<Item = T>>(members: I) -> Self {
        let mut out = Self::new();
        out.extend(members);
        out
    }
}

impl<T: Ord> From<Vec<T>> for Set<T> {
    fn from(members: Vec<T>) -> Self {
        members.into_iter().collect()
    }
}

impl<'a, T> IntoIterator for &'a Set<T> {
    type Item = &'a T;
    type IntoIter = Members<'a, T>;

    fn into_iter(self) -> Members<'a, T> {
        self.iter()
    }
}

/// Members of a set, sorted.
pub struct Members<'a, T>(Iter<'a, Arc<T>, ()>);

impl<T> Clone for Members<'_, T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<'a, T> Iterator for Members<'a, T> {
    type Item = &'a T;

    fn next(&mut self) -> Option<&'a T> {
        self.0.next().map(|(member, ())| &**member)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}
