//! Cases: objects, steps, and which packets must get through after each of them.
//!
//! One format for practicals, conformance suites and people's own expectations. A case names its manifests; reading it
//! reads them, too, so that a case that was read can be played without further files.

mod endpoint;
mod expectation;
mod open;
mod probe;
mod read;
mod resolve;

#[cfg(test)]
mod tests;

pub use endpoint::{Endpoint, Pattern, PatternError};
pub use expectation::{Expectation, Line, Unnamed, Verdict, Via};
pub use open::{Cases, open};
pub use probe::{Probe, ProbeError};
pub use resolve::{Cell, Endpoints};

use std::net::IpAddr;
use std::sync::Arc;

use tortie_model::{Family, ObjectRef};

use crate::diagnostic::{Diagnostic, Severity};
use crate::load::{Loaded, LoadedObject};
use crate::objectset::Expansion;
use crate::source::Place;
use crate::store::{Store, StoreError};

/// A case, with everything that it names.
#[derive(Debug, Clone)]
pub struct Case {
    /// Its name: `name`, or that of its file.
    pub name: String,
    /// One sentence for the reader.
    pub about: Option<String>,
    /// The path that it was read from.
    pub path: Arc<str>,
    /// The cluster that it plays in.
    pub cluster: ClusterSpec,
    /// What is there before the first step: `manifests` and `objects`.
    pub base: Loaded,
    /// The steps; a case without any has one that changes nothing.
    pub steps: Vec<Step>,
    /// Everything that was found, in the manifests too.
    pub diagnostics: Vec<Diagnostic>,
}

impl Case {
    /// Whether it can be played: no error in it, or in what it names.
    #[must_use]
    pub fn is_playable(&self) -> bool {
        !self.base.has_untrusted_object() && self.diagnostics.iter().all(|d| d.severity != Severity::Error)
    }

    /// The objects before the first step.
    #[must_use]
    pub fn store(&self) -> Store {
        let expansion = Expansion { replicas: self.cluster.replicas, nodes: self.cluster.node_names() };
        let mut store = Store::new(expansion);
        store.apply(&self.base.objects);
        store
    }
}

/// The cluster of a case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterSpec {
    /// Number of nodes.
    pub nodes: u32,
    /// Address families; every probe runs on each.
    pub families: Vec<Family>,
    /// Most pods that one workload makes.
    pub replicas: u32,
    /// Hosts beyond the cluster.
    pub outside: Vec<OutsideHost>,
}

impl Default for ClusterSpec {
    fn default() -> Self {
        Self { nodes: 2, families: Family::ALL.to_vec(), replicas: 2, outside: Vec::new() }
    }
}

impl ClusterSpec {
    /// The names of its nodes where the manifests bring no Node objects: `node-1`, `node-2`, ...
    #[must_use]
    pub fn node_names(&self) -> Vec<Arc<str>> {
        (1..=self.nodes).map(|i| format!("node-{i}").into()).collect()
    }
}

/// A host beyond the cluster, answering on every port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutsideHost {
    /// Its name in expectations.
    pub name: Arc<str>,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// Names that the cluster's DNS answers with its addresses.
    pub dns: Vec<Arc<str>>,
}

/// One step of a case.
#[derive(Debug, Clone)]
pub struct Step {
    /// Its name: `name`, or its number.
    pub name: String,
    /// Objects that it applies, in order.
    pub apply: Vec<LoadedObject>,
    /// Objects that it deletes, afterwards.
    pub delete: Vec<(ObjectRef, Place)>,
    /// Labels that it changes, last.
    pub label: Vec<LabelChange>,
    /// What must be seen then.
    pub expect: Vec<Expectation>,
    /// Where it stands; `None` for the step of a case that has none.
    pub place: Option<Place>,
}

impl Step {
    /// Makes its changes: apply, then delete, then label.
    ///
    /// # Errors
    /// At the first object that is to be deleted or labelled and is not there, with its place.
    pub fn change(&self, store: &mut Store) -> Result<(), Box<Diagnostic>> {
        store.apply(&self.apply);
        let at = |place: &Place, object: &ObjectRef, error: StoreError| {
            Box::new(Diagnostic::error("case-object", error.to_string()).at(place.clone()).about(object.clone()))
        };
        for (object, place) in &self.delete {
            store.delete(object).map_err(|e| at(place, object, e))?;
        }
        for change in &self.label {
            let set = change.set.iter().map(|(k, v)| (k.as_str(), v.as_str()));
            let remove = change.remove.iter().map(String::as_str);
            store.label(&change.object, set, remove).map_err(|e| at(&change.place, &change.object, e))?;
        }
        Ok(())
    }
}

/// A change of labels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelChange {
    /// Of which object.
    pub object: ObjectRef,
    /// Labels set.
    pub set: Vec<(String, String)>,
    /// Labels removed.
    pub remove: Vec<String>,
    /// Where it is asked for.
    pub place: Place,
}
