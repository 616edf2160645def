//! The cluster of some manifests, as far as files tell.
//!
//! Addresses are those that the files have (`status.podIPs`, Node and Service objects): none are invented. A pod
//! without one therefore matches no `ipBlock`, and explanations say so.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use tortie_manifest::{Expansion, Loaded, ObjectSet, Place, Store};
use tortie_model::{Kind, ObjectRef, Pod, Service};
use tortie_policy::{Index, PodKey, RuleRef};

use crate::backend::Backends;
use crate::deltas::World;
use crate::edit::Population;
use crate::preview::Preview;
use crate::view::View;

/// Objects, where they were read, and the engine's view of them.
#[derive(Debug)]
pub struct Snapshot {
    /// What was read, with its places.
    pub store: Store,
    /// What the cluster holds: workloads have made their pods.
    pub objects: ObjectSet,
    /// The engine's view.
    pub index: Index,
    services: BTreeMap<PodKey, usize>,
    population: OnceLock<Population>,
}

impl Snapshot {
    /// The cluster of what was read.
    #[must_use]
    pub fn new(loaded: &Loaded, expansion: &Expansion) -> Self {
        let mut store = Store::new(expansion.clone());
        store.apply(&loaded.objects);
        let objects = store.state();
        let index = World::of(&objects).index();
        let services =
            objects.services.iter().enumerate().map(|(i, s)| (PodKey::new(&s.meta.namespace, &s.meta.name), i));
        let services = services.collect();
        Self { store, objects, index, services, population: OnceLock::new() }
    }

    /// What is staged in it.
    #[must_use]
    pub fn preview(&self) -> Preview {
        Preview::of(&self.objects)
    }

    /// The same objects, with the engine's view of what they would be if all that a preview has were done.
    #[must_use]
    pub fn previewed(&self, preview: &Preview) -> Self {
        Self {
            store: self.store.clone(),
            objects: self.objects.clone(),
            index: preview.index(&self.index),
            services: self.services.clone(),
            population: OnceLock::new(),
        }
    }

    /// The pods in classes, made when they are first asked for.
    pub fn population(&self) -> &Population {
        self.population.get_or_init(|| Population::new(&self.index))
    }

    /// A Service.
    #[must_use]
    pub fn service(&self, namespace: &str, name: &str) -> Option<&Service> {
        self.services.get(&PodKey::new(namespace, name)).map(|i| &self.objects.services[*i])
    }

    /// What is behind Services.
    #[must_use]
    pub fn backends(&self) -> Backends<'_> {
        Backends::new(&self.objects)
    }

    /// The pods that a workload makes.
    #[must_use]
    pub fn pods_of(&self, workload: &ObjectRef) -> Vec<&Pod> {
        self.objects.pods.iter().filter(|p| p.owner.as_ref() == Some(workload)).collect()
    }

    /// Whether a pod of this name has ended.
    #[must_use]
    pub fn has_finished(&self, namespace: &str, name: &str) -> bool {
        self.objects.finished.iter().any(|p| *p.meta.namespace == *namespace && *p.meta.name == *name)
    }

    /// Where an object begins in its file.
    #[must_use]
    pub fn place_of(&self, object: &ObjectRef) -> Option<Place> {
        View::from(self).place_of(object)
    }

    /// Where a rule begins in its file.
    #[must_use]
    pub fn place_of_rule(&self, rule: &RuleRef) -> Option<Place> {
        View::from(self).place_of_rule(rule)
    }

    /// All that is written of a rule.
    #[must_use]
    pub fn text_of_rule(&self, rule: &RuleRef) -> Option<Place> {
        View::from(self).text_of_rule(rule)
    }

    /// Everything that can be named as an end, for suggestions.
    pub fn names(&self) -> impl Iterator<Item = String> {
        let workloads = self.objects.workloads.iter().map(|w| {
            let r = &w.reference;
            format!("{}/{}/{}", r.namespace_str(), r.kind, r.name)
        });
        let services = self.objects.services.iter();
        let services = services.map(|s| format!("{}/{}/{}", s.meta.namespace, Kind::Service, s.meta.name));
        let nodes = self.objects.nodes.iter().map(|n| format!("node/{}", n.meta.name));
        self.objects.pods.iter().map(Pod::key).chain(workloads).chain(services).chain(nodes)
    }
}
