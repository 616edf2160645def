//! Objects as they come and go: what `kubectl apply`, `delete` and `label` would leave in a cluster.

use std::collections::BTreeMap;

use tortie_model::{Kind, Labels, Namespace, Object, ObjectRef};

use crate::document::{Origin, SourceMap};
use crate::load::LoadedObject;
use crate::objectset::{Expansion, ObjectSet};

/// Why a change cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The object is not there.
    #[error("cannot {operation} {object}: there is none{}", nearest.as_ref().map(|n| format!("; did you mean {n}?")).unwrap_or_default())]
    NoSuchObject {
        /// What was asked: `delete` or `label`.
        operation: &'static str,
        /// The object.
        object: ObjectRef,
        /// One of the same kind with the nearest name.
        nearest: Option<ObjectRef>,
    },
}

/// The objects of a cluster, with where each was read.
#[derive(Debug, Clone, Default)]
pub struct Store {
    objects: BTreeMap<ObjectRef, Stored>,
    /// Labels of pods that a workload makes: they are no objects of their own.
    relabelled: BTreeMap<ObjectRef, Labels>,
    expansion: Expansion,
}

#[derive(Debug, Clone)]
struct Stored {
    object: Object,
    /// `None` for a namespace that only a label brought about.
    origin: Option<Origin>,
}

impl Store {
    /// An empty store whose workloads become pods by `expansion`.
    #[must_use]
    pub fn new(expansion: Expansion) -> Self {
        Self { expansion, ..Self::default() }
    }

    /// Adds objects, or replaces those of the same name.
    pub fn apply<'a>(&mut self, objects: impl IntoIterator<Item = &'a LoadedObject>) {
        for one in objects {
            let stored = Stored { object: one.object.clone(), origin: Some(one.origin.clone()) };
            self.objects.insert(one.object.reference(), stored);
        }
    }

    /// Removes an object; with a namespace everything in it.
    ///
    /// # Errors
    /// When there is no such object.
    pub fn delete(&mut self, object: &ObjectRef) -> Result<(), StoreError> {
        let found = self.objects.remove(object).is_some();
        if object.kind == Kind::Namespace {
            let before = self.objects.len();
            self.objects.retain(|r, _| r.namespace.as_deref() != Some(&*object.name));
            self.relabelled.retain(|r, _| r.namespace.as_deref() != Some(&*object.name));
            if found || self.objects.len() < before {
                return Ok(());
            }
        }
        if found { Ok(()) } else { Err(self.missing("delete", object)) }
    }

    /// Sets and removes labels of an object. A pod that a workload makes can be labelled by its name; a namespace that
    /// is only named, too.
    ///
    /// # Errors
    /// When there is no such object.
    pub fn label<'l>(
        &mut self,
        object: &ObjectRef,
        set: impl IntoIterator<Item = (&'l str, &'l str)>,
        remove: impl IntoIterator<Item = &'l str>,
    ) -> Result<(), StoreError> {
        let change = |mut labels: Labels| {
            for (key, value) in set {
                labels = labels.with(key, value);
            }
            for key in remove {
                labels = labels.without(key);
            }
            labels
        };
        if let Some(stored) = self.objects.get_mut(object) {
            let labels = change(stored.object.labels().clone());
            stored.object = stored.object.clone().with_labels(labels);
            return Ok(());
        }
        let state = self.state();
        match object.kind {
            Kind::Pod => {
                let pod = state
                    .pods
                    .iter()
                    .find(|p| *p.meta.namespace == *object.namespace_str() && p.meta.name == object.name);
                let Some(pod) = pod else { return Err(self.missing("label", object)) };
                self.relabelled.insert(object.clone(), change(pod.meta.labels.clone()));
            }
            Kind::Namespace if state.namespaces.iter().any(|n| *n.name() == object.name) => {
                let namespace = Namespace::new(&object.name, &change(Labels::default()));
                let stored = Stored { object: Object::Namespace(namespace), origin: None };
                self.objects.insert(object.clone(), stored);
            }
            _ => return Err(self.missing("label", object)),
        }
        Ok(())
    }

    fn missing(&self, operation: &'static str, object: &ObjectRef) -> StoreError {
        let nearest = self
            .objects
            .keys()
            .filter(|r| r.kind == object.kind)
            .map(|r| (distance(&r.to_string(), &object.to_string()), r))
            .min()
            .filter(|(d, _)| *d <= 8)
            .map(|(_, r)| r.clone());
        StoreError::NoSuchObject { operation, object: object.clone(), nearest }
    }

    /// Where an object was read.
    #[must_use]
    pub fn origin(&self, object: &ObjectRef) -> Option<&Origin> {
        self.objects.get(object)?.origin.as_ref()
    }

    /// Where each object was read.
    #[must_use]
    pub fn sources(&self) -> SourceMap {
        self.objects.iter().filter_map(|(r, s)| Some((r.clone(), s.origin.clone()?))).collect()
    }

    /// An object.
    #[must_use]
    pub fn get(&self, object: &ObjectRef) -> Option<&Object> {
        self.objects.get(object).map(|s| &s.object)
    }

    /// All objects, by kind, namespace and name.
    pub fn objects(&self) -> impl Iterator<Item = &Object> {
        self.objects.values().map(|s| &s.object)
    }

    /// The cluster as it is now, workloads with their pods.
    #[must_use]
    pub fn state(&self) -> ObjectSet {
        let mut state = ObjectSet::of(self.objects(), &self.expansion);
        for pod in &mut state.pods {
            let reference = ObjectRef::namespaced(Kind::Pod, &pod.meta.namespace, &pod.meta.name);
            if let Some(labels) = self.relabelled.get(&reference) {
                pod.meta.labels = labels.clone();
            }
        }
        state
    }
}

/// Edits that make one text of the other (Levenshtein).
pub(crate) fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut last = row[0];
        row[0] = i + 1;
        for (j, cb) in b.iter().enumerate() {
            let replace = last + usize::from(ca != *cb);
            last = row[j + 1];
            row[j + 1] = replace.min(row[j] + 1).min(last + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{LoadOptions, Memory, load};

    fn store(text: &str) -> Store {
        let loaded = load(&Memory::new([("f.yaml", text)]), &["f.yaml"], &LoadOptions::default());
        let mut store = Store::new(Expansion::default());
        store.apply(&loaded.objects);
        store
    }

    const TEXT: &str = "apiVersion: v1\nkind: Pod\nmetadata: {name: a, namespace: qa, labels: {x: z}}\n---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web, namespace: qa}\nspec: {template: {metadata: {labels: {app: web}}}}\n";

    #[test]
    fn labels_reach_objects_made_pods_and_named_namespaces() {
        let mut store = store(TEXT);
        let r = |s: &str| s.parse::<ObjectRef>().unwrap();
        store.label(&r("Pod/qa/a"), [("y", "1")], ["x"]).unwrap();
        store.label(&r("Pod/qa/web-1"), [("y", "2")], []).unwrap();
        store.label(&r("Namespace/qa"), [("nsp", "qa")], []).unwrap();
        let state = store.state();
        let labels: Vec<Option<&str>> = state.pods.iter().map(|p| p.meta.labels.get("y")).collect();
        assert_eq!(labels, [Some("1"), Some("2")]);
        assert!(!state.pods[0].meta.labels.has("x"));
        assert_eq!(state.namespaces[0].labels().get("nsp"), Some("qa"));
        let error = store.label(&r("Pod/qa/b"), [("y", "1")], []).unwrap_err();
        assert_eq!(error.to_string(), "cannot label Pod/qa/b: there is none; did you mean Pod/qa/a?");
    }

    #[test]
    fn a_namespace_takes_what_is_in_it_along() {
        let mut store = store(TEXT);
        store.delete(&"Namespace/qa".parse().unwrap()).unwrap();
        assert_eq!(store.objects().count(), 0);
        assert!(store.delete(&"Namespace/qa".parse().unwrap()).is_err());
        assert!(store.delete(&"Pod/qa/a".parse().unwrap()).is_err());
    }
}
