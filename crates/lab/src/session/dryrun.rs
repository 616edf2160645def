//! What a lab tries out: a change of its objects that is not made, and whatever its objects stage.

use std::collections::BTreeMap;

use tortie_analysis::deltas::World;
use tortie_analysis::preview::Preview;
use tortie_analysis::staging::{Staged, Stager};
use tortie_manifest::{LoadedObject, Store};
use tortie_model::{ObjectRef, Pod};
use tortie_policy::PodKey;

use super::SessionError;
use super::archive::Archive;

/// A change that is tried out. It stays a change of what is there, whatever that becomes.
#[derive(Clone, Debug, Default)]
pub(super) struct DryRun {
    pub(super) apply: Vec<LoadedObject>,
    pub(super) delete: Vec<ObjectRef>,
}

impl DryRun {
    /// Whether it changes nothing.
    pub(super) fn is_empty(&self) -> bool {
        self.apply.is_empty() && self.delete.is_empty()
    }

    /// The objects as they would be.
    fn store(&self, store: &Store) -> Store {
        let mut store = store.clone();
        store.apply(&self.apply);
        for object in &self.delete {
            // It may have been deleted since.
            let _ = store.delete(object);
        }
        store
    }

    /// What would become of each object that was given.
    pub(super) fn lines(&self, store: &Store) -> Vec<String> {
        let given = self.apply.iter().map(|o| o.object.reference()).chain(self.delete.iter().cloned());
        lines(store, &self.store(store), given).into_iter().map(|line| format!("{line} (dry run)")).collect()
    }

    /// The world as it would be, with what is staged in it done; `None` when it is the one that is there.
    pub(super) fn world(
        &self,
        store: &Store,
        stager: &Stager,
        enforced: &Staged,
        archive: &mut Archive,
    ) -> Result<Option<World>, SessionError> {
        let store = self.store(store);
        let mut objects = store.state();
        objects.add_cluster_dns();
        let staged = stager.clone().stage(&objects)?;
        same_pods(enforced, &staged)?;
        let world = Preview::of(&objects).world(&staged.world);
        archive.file(&store, world.policies.keys().cloned());
        Ok((world != enforced.world).then_some(world))
    }
}

/// Policies are tried out on the pods that are there.
fn same_pods(enforced: &Staged, staged: &Staged) -> Result<(), SessionError> {
    let lasting = |p: &Pod| (p.meta.uid.clone(), p.ips.clone(), p.node.clone(), p.host_network, p.ports.clone());
    let (there, would_be) = (&enforced.world.pods, &staged.world.pods);
    let other = |key: &&PodKey| there.get(*key).map(lasting) != would_be.get(*key).map(lasting);
    if let Some(key) = there.keys().chain(would_be.keys()).find(other) {
        let what = match (there.get(key), would_be.get(key)) {
            (None, _) => "be new",
            (_, None) => "be gone",
            _ => "be another one",
        };
        return Err(SessionError::Input(format!(
            "Pod/{key} would {what}, and a dry run sends the packets of the pods that are there: it is for policies, \
             and for labels; apply the rest first"
        )));
    }
    let nodes = |staged: &Staged| staged.nodes.iter().map(|n| n.meta.name.clone()).collect::<Vec<_>>();
    if nodes(enforced) != nodes(staged) {
        return Err(SessionError::Input("a dry run adds no nodes: apply those first".to_owned()));
    }
    Ok(())
}

/// What is tried out, a line for each object that would be another.
pub(super) fn changes(enforced: &World, tried: &World) -> Vec<String> {
    let mut changes = Vec::new();
    compare(&enforced.policies, &tried.policies, ToString::to_string, &mut changes);
    compare(&enforced.tiers, &tried.tiers, |name| format!("Tier/{name}"), &mut changes);
    compare(&enforced.sets, &tried.sets, ToString::to_string, &mut changes);
    compare(&enforced.slices, &tried.slices, ToString::to_string, &mut changes);
    compare(&enforced.namespaces, &tried.namespaces, |name| format!("Namespace/{name}"), &mut changes);
    compare(&enforced.nodes, &tried.nodes, |name| format!("Node/{name}"), &mut changes);
    compare(&enforced.pods, &tried.pods, |key| format!("Pod/{key}"), &mut changes);
    changes
}

fn compare<K: Ord, V: PartialEq>(
    enforced: &BTreeMap<K, V>,
    tried: &BTreeMap<K, V>,
    name: impl Fn(&K) -> String,
    changes: &mut Vec<String>,
) {
    for (key, value) in tried {
        match enforced.get(key) {
            None => changes.push(format!("{} created", name(key))),
            Some(old) if old != value => changes.push(format!("{} configured", name(key))),
            Some(_) => {}
        }
    }
    changes.extend(enforced.keys().filter(|key| !tried.contains_key(*key)).map(|key| format!("{} deleted", name(key))));
}

/// `NetworkPolicy/b/closed created`, for each object that was given.
pub(super) fn lines(before: &Store, after: &Store, objects: impl Iterator<Item = ObjectRef>) -> Vec<String> {
    let line = |reference: ObjectRef| {
        let what = match (before.get(&reference), after.get(&reference)) {
            (None, Some(_)) => "created",
            (Some(old), Some(new)) if old == new => "unchanged",
            (Some(_), Some(_)) => "configured",
            (_, None) => "deleted",
        };
        format!("{reference} {what}")
    };
    objects.map(line).collect()
}
