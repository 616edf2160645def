//! How policies enter and leave, and are settled anew when an object changes that they name.

use std::collections::BTreeMap;
use std::sync::Arc;

use tortie_model::calico::NetworkSet;
use tortie_model::{EndpointSlice, Kind, Namespace, ObjectRef};

use super::{Index, PolicyKey};
use crate::references::{self, World};
use crate::rule::{NamespaceMatch, Policy};

impl Index {
    pub(super) fn put_policy(&mut self, policy: Arc<Policy>) -> bool {
        self.forget_written(&policy.object);
        if !policy.refers() {
            return self.put_settled(policy);
        }
        self.sets.hold(&policy, &self.namespaces);
        let settled = self.world().settle(&policy);
        self.written.insert(policy.object.clone(), policy);
        self.put_settled(Arc::new(settled))
    }

    pub(super) fn forget_written(&mut self, object: &ObjectRef) {
        if let Some(policy) = self.written.remove(object) {
            self.sets.release(&policy);
        }
    }

    fn put_settled(&mut self, policy: Arc<Policy>) -> bool {
        if self.policies.get(&policy.object).is_some_and(|p| **p == *policy) {
            return false;
        }
        self.take_policy(&policy.object);
        self.list_for(&policy).insert((policy.order, policy.tie_break()), policy.clone());
        self.policies.insert(policy.object.clone(), policy);
        true
    }

    const fn world(&self) -> World<'_> {
        World { nodes: &self.nodes, sets: &self.sets, slices: &self.slices }
    }

    /// Settles anew the policies that something else than pods and namespaces concerns.
    pub(super) fn follow(&mut self, changed: references::Changed<'_>) {
        let concerned: Vec<_> = self.written.values().filter(|p| p.concerns(changed)).cloned().collect();
        for policy in concerned {
            let settled = self.world().settle(&policy);
            self.put_settled(Arc::new(settled));
        }
    }

    pub(super) fn put_set(&mut self, object: ObjectRef, set: Arc<NetworkSet>) -> bool {
        let old = self.sets.insert(object, set.clone());
        if old.as_ref() == Some(&set) {
            return false;
        }
        if !set.meta.namespace.is_empty() {
            self.imply_namespace(&set.meta.namespace);
        }
        old.iter().chain([&set]).for_each(|set| self.set_changed(set));
        true
    }

    pub(super) fn take_set(&mut self, object: &ObjectRef) -> bool {
        let gone = self.sets.remove(object);
        gone.iter().for_each(|set| self.set_changed(set));
        gone.is_some()
    }

    fn set_changed(&mut self, set: &NetworkSet) {
        let namespace = self.namespaces.get(&set.meta.namespace).cloned();
        self.set_changed_in(set, namespace.as_deref());
    }

    fn set_changed_in(&mut self, set: &NetworkSet, namespace: Option<&Namespace>) {
        self.sets.changed(set, namespace, &self.namespaces);
        self.follow(references::Changed::Set(set, namespace));
    }

    pub(super) fn namespace_of_sets_changed(&mut self, name: &Arc<str>, old: Option<&Namespace>) {
        let here: Vec<_> = self.sets.all().values().filter(|set| set.meta.namespace == *name).cloned().collect();
        for set in here {
            self.set_changed_in(&set, old);
            self.set_changed(&set);
        }
    }

    pub(super) fn put_slice(&mut self, slice: Arc<EndpointSlice>) -> bool {
        let object = ObjectRef::namespaced(Kind::EndpointSlice, &slice.meta.namespace, &slice.meta.name);
        let old = self.slices.insert(object, slice.clone());
        if old.as_ref() == Some(&slice) {
            return false;
        }
        old.iter().chain([&slice]).for_each(|slice| self.slice_changed(slice));
        true
    }

    pub(super) fn slice_changed(&mut self, slice: &EndpointSlice) {
        if let Some(name) = &slice.service {
            self.follow(references::Changed::Service { namespace: &slice.meta.namespace, name });
        }
    }

    pub(super) fn take_policy(&mut self, object: &ObjectRef) -> bool {
        let Some(policy) = self.policies.remove(object) else {
            return false;
        };
        self.list_for(&policy).remove(&(policy.order, policy.tie_break()));
        true
    }

    fn list_for(&mut self, policy: &Policy) -> &mut BTreeMap<PolicyKey, Arc<Policy>> {
        match &policy.subject.namespaces {
            NamespaceMatch::Named(name) => {
                if !self.by_namespace.contains_key(name) {
                    self.by_namespace.insert(name.clone(), Arc::default());
                }
                Arc::make_mut(self.by_namespace.get_mut(name).expect("it is there now"))
            }
            NamespaceMatch::Matching(_) => Arc::make_mut(&mut self.cluster_wide),
        }
    }
}
