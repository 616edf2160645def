//! A cluster together with the texts that it was read from.

use tortie_manifest::{Place, Store};
use tortie_model::ObjectRef;
use tortie_policy::{Index, RuleRef};

use crate::snapshot::Snapshot;

/// What the engine knows, and where it is written: of some manifests, or of a case after one of its steps.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// What was read, with its places.
    pub store: &'a Store,
    /// The engine's view.
    pub index: &'a Index,
}

impl<'a> From<&'a Snapshot> for View<'a> {
    fn from(snapshot: &'a Snapshot) -> Self {
        Self { store: &snapshot.store, index: &snapshot.index }
    }
}

impl View<'_> {
    /// Where an object begins in its file.
    #[must_use]
    pub fn place_of(self, object: &ObjectRef) -> Option<Place> {
        self.store.origin(object).map(|o| o.key_place("/metadata/name"))
    }

    /// Where a rule begins in its file.
    #[must_use]
    pub fn place_of_rule(self, rule: &RuleRef) -> Option<Place> {
        self.store.origin(&rule.policy).map(|o| o.place(&pointer(rule)))
    }

    /// All that is written of a rule.
    #[must_use]
    pub fn text_of_rule(self, rule: &RuleRef) -> Option<Place> {
        self.store.origin(&rule.policy).map(|o| o.whole(&pointer(rule)))
    }
}

fn pointer(rule: &RuleRef) -> String {
    format!("/spec/{}/{}", rule.direction, rule.index)
}
