//! What a cluster would hold if all that is staged in it were enforced.
//!
//! A staged policy stands for the enforced one of its namespace and name: it takes its place, or takes it away. It keeps
//! its own kind, so that whatever speaks of it names the object that is written; where it stands among the others, and
//! what it decides, is as of the policy that it would be.

use std::collections::HashSet;
use std::sync::Arc;

use tortie_manifest::{Diagnostic, ObjectSet, Store};
use tortie_model::calico::{Staged, StagedAction, StagedPolicy};
use tortie_model::{Object, ObjectRef};
use tortie_policy::{Delta, Index, Policy, calico_policy, network_policy};

use crate::deltas::World;

/// What comes of one staged policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Effect {
    /// A policy would be there that is not.
    Added,
    /// A policy would be there in place of another.
    Replaced,
    /// A policy would be gone.
    Deleted,
    /// Nothing: what it would delete is not there.
    Missing,
    /// Nothing: it says to be left out.
    Ignored,
}

/// One staged policy, and what comes of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// The object that stages it.
    pub staged: ObjectRef,
    /// What comes of it.
    pub effect: Effect,
    policy: Option<Policy>,
}

impl Change {
    fn new(staged: &Staged, reference: ObjectRef, stands: bool) -> Self {
        let effect = match (staged.action, stands) {
            (StagedAction::Set | StagedAction::Learn, false) => Effect::Added,
            (StagedAction::Set | StagedAction::Learn, true) => Effect::Replaced,
            (StagedAction::Delete, true) => Effect::Deleted,
            (StagedAction::Delete, false) => Effect::Missing,
            (StagedAction::Ignore, _) => Effect::Ignored,
        };
        let policy = match effect {
            Effect::Added | Effect::Replaced => policy(staged, &reference),
            Effect::Deleted | Effect::Missing | Effect::Ignored => None,
        };
        Self { staged: reference, effect, policy }
    }

    /// The policy as it would be, under the name of the object that stages it. `None` where none would be there, or one
    /// that is never asked about packets of pods.
    #[must_use]
    pub const fn policy(&self) -> Option<&Policy> {
        self.policy.as_ref()
    }

    /// The policy that it is about.
    #[must_use]
    pub fn enforced(&self) -> ObjectRef {
        self.staged.enforced()
    }

    /// The policy that it takes away or takes the place of.
    #[must_use]
    pub fn gone(&self) -> Option<ObjectRef> {
        matches!(self.effect, Effect::Replaced | Effect::Deleted).then(|| self.enforced())
    }
}

/// A policy as it would be enforced, under the name of the object that stages it.
fn policy(staged: &Staged, reference: &ObjectRef) -> Option<Policy> {
    let policy = match &staged.policy {
        StagedPolicy::Kubernetes(policy) => network_policy(policy),
        StagedPolicy::Calico(policy) => calico_policy(policy)?,
    };
    Some(Policy { object: reference.clone(), ..policy })
}

/// All that is staged in a cluster. Nothing here changes what is enforced.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Preview {
    /// One for each staged policy, by namespace and name.
    pub changes: Vec<Change>,
}

impl Preview {
    /// What some objects stage.
    #[must_use]
    pub fn of(objects: &ObjectSet) -> Self {
        let kubernetes = objects.network_policies.iter().map(|p| Object::NetworkPolicy(p.clone()));
        let calico = objects.calico_policies.iter().map(|p| Object::CalicoPolicy(p.clone()));
        let enforced: HashSet<ObjectRef> = kubernetes.chain(calico).map(|object| object.reference()).collect();
        let change = |staged: &Arc<Staged>| {
            let reference = Object::Staged(staged.clone()).reference();
            let stands = enforced.contains(&reference.enforced());
            Change::new(staged, reference, stands)
        };
        Self { changes: objects.staged.iter().map(change).collect() }
    }

    /// Whether nothing is staged.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// What became of the policy of this name, staged or enforced; `None` when nothing is staged of it.
    #[must_use]
    pub fn change_of(&self, policy: &ObjectRef) -> Option<&Change> {
        let enforced = policy.enforced();
        self.changes.iter().find(|change| change.enforced() == enforced)
    }

    /// What should be said of a preview: what of it does nothing.
    #[must_use]
    pub fn notes(&self, store: &Store) -> Vec<Diagnostic> {
        let note = |change: &Change| {
            let Change { staged, effect, .. } = change;
            let (id, message) = match effect {
                Effect::Added | Effect::Replaced | Effect::Deleted => return None,
                Effect::Missing => {
                    ("staged-missing", format!("{staged} would delete {}, which is not there", change.enforced()))
                }
                Effect::Ignored => ("staged-ignored", format!("{staged} says Ignore: it is left out of the preview")),
            };
            let note = Diagnostic::note(id, message).about(staged.clone());
            Some(match store.origin(staged) {
                Some(origin) => note.at(origin.place("/spec/stagedAction")),
                None => note,
            })
        };
        self.changes.iter().filter_map(note).collect()
    }

    /// What changes for policy. Removals come first.
    pub fn deltas(&self) -> impl Iterator<Item = Delta> {
        let gone = self.changes.iter().filter_map(Change::gone).map(Delta::PolicyRemoved);
        let come = self.changes.iter().filter_map(|change| change.policy.clone());
        gone.chain(come.map(|policy| Delta::Policy(Box::new(policy))))
    }

    /// The index of the cluster as it would be, from that of the cluster as it is. They share what is the same.
    #[must_use]
    pub fn index(&self, enforced: &Index) -> Index {
        let mut index = enforced.clone();
        for delta in self.deltas() {
            index.apply(delta);
        }
        index
    }

    /// The world as it would be, from the world as it is.
    #[must_use]
    pub fn world(&self, enforced: &World) -> World {
        let mut world = enforced.clone();
        for gone in self.changes.iter().filter_map(Change::gone) {
            world.policies.remove(&gone);
        }
        let come = self.changes.iter().filter_map(|change| change.policy.clone());
        world.policies.extend(come.map(|policy| (policy.object.clone(), policy)));
        world
    }
}

#[cfg(test)]
mod tests {
    use tortie_manifest::{Expansion, LoadOptions, Memory, load};
    use tortie_model::{Direction, Meta, Protocol, Traffic};
    use tortie_testkit::{Cluster, Flow, Rng, random};

    use super::*;

    fn objects(cluster: &Cluster, staged: &[Staged]) -> ObjectSet {
        ObjectSet {
            namespaces: cluster.namespaces.clone(),
            nodes: cluster.nodes.clone(),
            pods: cluster.pods.clone(),
            network_policies: cluster.policies.iter().cloned().map(Arc::new).collect(),
            calico_policies: cluster.calico.iter().cloned().map(Arc::new).collect(),
            cluster_policies: cluster.cluster_policies.iter().cloned().map(Arc::new).collect(),
            tiers: cluster.calico_tiers.clone(),
            network_sets: cluster.network_sets.clone(),
            endpoint_slices: cluster.endpoint_slices.clone(),
            staged: staged.iter().cloned().map(Arc::new).collect(),
            ..ObjectSet::default()
        }
    }

    /// Does by hand what is staged.
    fn done(cluster: &mut Cluster, staged: &Staged) {
        fn put<T: Clone>(list: &mut Vec<T>, action: StagedAction, policy: &T, meta: impl Fn(&T) -> &Meta) {
            let name = |p: &T| (meta(p).namespace.clone(), meta(p).name.clone());
            if action != StagedAction::Ignore {
                list.retain(|p| name(p) != name(policy));
            }
            if matches!(action, StagedAction::Set | StagedAction::Learn) {
                list.push(policy.clone());
            }
        }
        match &staged.policy {
            StagedPolicy::Kubernetes(policy) => put(&mut cluster.policies, staged.action, policy, |p| &p.meta),
            StagedPolicy::Calico(policy) => put(&mut cluster.calico, staged.action, policy, |p| &p.meta),
        }
    }

    /// Who decides, under the names of what is enforced.
    fn told(index: &Index, flow: Flow) -> Vec<impl PartialEq + std::fmt::Debug> {
        let (from, to) = (index.address_side(flow.from), index.address_side(flow.to));
        let verdict = index.verdict(&from, &to, flow.asked());
        let half = |direction| {
            let half = verdict.half(direction);
            let policies: Vec<_> = half.stack.policies().map(|p| p.object.enforced()).collect();
            (half.outcome.clone(), half.is_allowed(), policies, half.stack.spares_itself(&half.outcome))
        };
        Direction::BOTH.map(half).to_vec()
    }

    #[test]
    fn a_preview_is_the_cluster_in_which_it_was_done() {
        let (mut turned, mut effects) = (0, [0; 5]);
        for seed in 0..150 {
            let mut rng = Rng::new(seed);
            let cluster = random::three_apis(&mut rng);
            let other = random::three_apis(&mut rng);
            let kubernetes = other.policies.into_iter().map(StagedPolicy::Kubernetes);
            let calico = other.calico.into_iter().map(StagedPolicy::Calico);
            let staged: Vec<Staged> = kubernetes
                .chain(calico)
                .map(|policy| {
                    use StagedAction::{Delete, Ignore, Learn, Set};
                    Staged { action: *rng.pick(&[Set, Set, Learn, Delete, Delete, Ignore]), policy }
                })
                .collect();
            let mut expected = cluster.clone();
            staged.iter().for_each(|staged| done(&mut expected, staged));
            let expected = expected.index();

            let objects = objects(&cluster, &staged);
            let preview = Preview::of(&objects);
            preview.changes.iter().for_each(|change| effects[change.effect as usize] += 1);
            let world = World::of(&objects);
            assert!(world.policies.keys().all(|p| p.enforced() == *p), "what is staged decides nothing");
            let enforced = world.index();
            let (kept, made) = (preview.index(&enforced), preview.world(&world).index());
            for _ in 0..12 {
                let flow = random::detailed_flow(&mut rng, &cluster);
                let would_be = told(&expected, flow);
                assert!(told(&kept, flow) == would_be, "seed {seed}: {flow}\n{:#?}", told(&kept, flow));
                assert!(told(&made, flow) == would_be, "seed {seed}: {flow}, made anew");
                turned += usize::from(told(&enforced, flow) != would_be);
            }
        }
        assert!(turned > 300, "{turned}");
        assert!(effects.iter().all(|n| *n > 30), "{effects:?}");
    }

    fn network_policy(name: &str, spec: &str, kind: &str) -> String {
        let version = if kind == "NetworkPolicy" { "networking.k8s.io/v1" } else { "projectcalico.org/v3" };
        format!("---\napiVersion: {version}\nkind: {kind}\nmetadata: {{name: {name}, namespace: shop}}\nspec: {spec}\n")
    }

    fn read(text: &str) -> ObjectSet {
        let loaded = load(&Memory::new([("f.yaml", text)]), &["f.yaml"], &LoadOptions::default());
        assert!(loaded.diagnostics.is_empty(), "{:?}", loaded.diagnostics);
        ObjectSet::of(loaded.objects.iter().map(|o| &o.object), &Expansion::default())
    }

    #[test]
    fn a_staged_policy_is_about_the_one_of_its_kind_and_name() {
        const STAGED: &str = "StagedKubernetesNetworkPolicy";
        let text = network_policy("there", "{podSelector: {}}", "NetworkPolicy")
            + &network_policy("doomed", "{podSelector: {}}", "NetworkPolicy")
            + &network_policy("there", "{podSelector: {}}", STAGED)
            + &network_policy("doomed", "{stagedAction: Delete}", STAGED)
            + &network_policy("nowhere", "{stagedAction: Delete}", STAGED)
            + &network_policy("dropped", "{stagedAction: Ignore, podSelector: {}}", STAGED)
            // Calico's own of that name is another policy.
            + &network_policy("there", "{selector: all()}", "StagedNetworkPolicy");
        let preview = Preview::of(&read(&text));
        let told: Vec<_> = preview.changes.iter().map(|c| (c.staged.to_string(), c.effect)).collect();
        let staged = |kind: &str, name: &str| format!("{kind}/shop/{name}");
        assert_eq!(
            told,
            [
                (staged(STAGED, "doomed"), Effect::Deleted),
                (staged(STAGED, "dropped"), Effect::Ignored),
                (staged(STAGED, "nowhere"), Effect::Missing),
                (staged(STAGED, "there"), Effect::Replaced),
                (staged("StagedNetworkPolicy", "there"), Effect::Added),
            ]
        );
        let deltas: Vec<_> = preview
            .deltas()
            .map(|delta| match delta {
                Delta::PolicyRemoved(object) => format!("-{object}"),
                Delta::Policy(policy) => format!("+{}", policy.object),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(
            deltas,
            [
                "-NetworkPolicy/shop/doomed",
                "-NetworkPolicy/shop/there",
                "+StagedKubernetesNetworkPolicy/shop/there",
                "+StagedNetworkPolicy/shop/there",
            ]
        );
    }

    #[test]
    fn a_tier_of_which_all_is_staged_does_not_count() {
        let text = "
{apiVersion: v1, kind: Pod, metadata: {name: a}, status: {podIP: 10.0.0.1}}
---
{apiVersion: projectcalico.org/v3, kind: Tier, metadata: {name: trial}, spec: {order: 1}}
---
{apiVersion: projectcalico.org/v3, kind: StagedGlobalNetworkPolicy, metadata: {name: trial.p}, spec: {tier: trial, types: [Egress]}}
";
        let objects = read(text);
        let enforced = World::of(&objects).index();
        let [from, to] = ["10.0.0.1", "192.0.2.1"].map(|ip| ip.parse().expect("an address"));
        let passes = |index: &Index| {
            let traffic = Traffic::port(Protocol::Tcp, 80);
            index.verdict(&index.address_side(from), &index.address_side(to), traffic).is_allowed()
        };
        assert!(passes(&enforced));
        assert!(!passes(&Preview::of(&objects).index(&enforced)));
    }
}
