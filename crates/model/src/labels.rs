//! Labels.

use std::collections::BTreeMap;
use std::sync::Arc;

/// The name under which every namespace carries its own name (KEP-2161; set and kept by the API server).
pub(crate) const METADATA_NAME: &str = "kubernetes.io/metadata.name";

/// Labels that controllers give to single pods, or to those of one revision or run: nobody means them by a policy
/// (Kubernetes, "Well-Known Labels").
pub const LABELS_OF_CONTROLLERS: [&str; 10] = [
    "pod-template-hash",
    "controller-revision-hash",
    "pod-template-generation",
    "statefulset.kubernetes.io/pod-name",
    "apps.kubernetes.io/pod-index",
    "batch.kubernetes.io/controller-uid",
    "batch.kubernetes.io/job-name",
    "batch.kubernetes.io/job-completion-index",
    "controller-uid",
    "job-name",
];

/// The labels of one object, shared and immutable: copies are cheap.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Labels(Arc<BTreeMap<Arc<str>, Arc<str>>>);

impl Labels {
    /// The label's value.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(|v| &**v)
    }

    /// Whether the label is there, with any value.
    #[must_use]
    pub fn has(&self, key: &str) -> bool {
        self.0.contains_key(key)
    }

    /// All labels, sorted by key.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(k, v)| (&**k, &**v))
    }

    /// All labels, sorted by key, to be kept without a copy.
    pub fn shared(&self) -> impl Iterator<Item = (&Arc<str>, &Arc<str>)> {
        self.0.iter()
    }

    /// Number of labels.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The same labels with one set.
    #[must_use]
    pub fn with(&self, key: &str, value: &str) -> Self {
        let mut map = (*self.0).clone();
        map.insert(key.into(), value.into());
        Self(Arc::new(map))
    }

    /// The same labels without one.
    #[must_use]
    pub fn without(&self, key: &str) -> Self {
        let mut map = (*self.0).clone();
        map.remove(key);
        Self(Arc::new(map))
    }
}

impl<K: Into<Arc<str>>, V: Into<Arc<str>>> FromIterator<(K, V)> for Labels {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(iter: I) -> Self {
        Self(Arc::new(iter.into_iter().map(|(k, v)| (k.into(), v.into())).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn with_and_without_leave_the_original_alone() {
        let a: Labels = [("app", "web")].into_iter().collect();
        let b = a.with("tier", "front");
        assert_eq!(b.get("tier"), Some("front"));
        assert!(!a.has("tier"));
        assert_eq!(b.without("tier"), a);
    }
}
