//! Paths: decisions by number.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use tortie_model::{Direction, ObjectRef};
use tortie_policy::{EndAction, Policy, Stack};

use crate::number::Numbers;
use crate::plan::{Path, PathId};

/// What a policy says in one direction, by number: the same object with other rules is another version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Version(u32);

/// A policy as far as decisions in one direction depend on it: whom it selects does not matter.
#[derive(Clone, Debug)]
struct Said {
    policy: Arc<Policy>,
    direction: Direction,
}

impl PartialEq for Said {
    fn eq(&self, other: &Self) -> bool {
        self.direction == other.direction
            && (Arc::ptr_eq(&self.policy, &other.policy)
                || self.policy.object == other.policy.object
                    && self.policy.rules(self.direction) == other.policy.rules(self.direction))
    }
}

impl Eq for Said {}

impl Hash for Said {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.direction.hash(state);
        self.policy.object.hash(state);
        self.policy.rules(self.direction).hash(state);
    }
}

/// Versions given out.
#[derive(Debug, Default)]
pub(crate) struct Versions {
    numbers: HashMap<Said, Version>,
    /// The same by address, which spares hashing all rules of a policy for every pod that it selects.
    shared: HashMap<(usize, Direction), (Arc<Policy>, Version)>,
    last: u32,
}

impl Versions {
    /// The version of a policy in a direction.
    pub(crate) fn of(&mut self, policy: &Arc<Policy>, direction: Direction) -> Version {
        let pointer = (Arc::as_ptr(policy).addr(), direction);
        if let Some((_, version)) = self.shared.get(&pointer) {
            return *version;
        }
        let said = Said { policy: policy.clone(), direction };
        let last = &mut self.last;
        let version = *self.numbers.entry(said).or_insert_with(|| {
            *last = last.checked_add(1).expect("fewer than 2^32 versions of policies");
            Version(*last)
        });
        self.shared.insert(pointer, (policy.clone(), version));
        version
    }

    /// A stack by content.
    pub(crate) fn stack(&mut self, stack: &Stack) -> StackKey {
        let direction = stack.direction();
        let tiers = stack.tiers().iter();
        let tiers = tiers.map(|t| (t.name.clone(), t.end, t.policies.iter().map(|p| self.of(p, direction)).collect()));
        StackKey { direction, tiers: tiers.collect() }
    }

    /// Forgets all versions but these.
    pub(crate) fn retain(&mut self, keep: &BTreeSet<Version>) {
        self.numbers.retain(|_, v| keep.contains(v));
        self.shared.retain(|_, (_, v)| keep.contains(v));
    }
}

/// A stack by content: equal keys decide equally, and with the same names.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct StackKey {
    pub(crate) direction: Direction,
    tiers: Vec<(Arc<str>, EndAction, Vec<Version>)>,
}

impl StackKey {
    /// Versions of its policies, in order.
    pub(crate) fn versions(&self) -> impl Iterator<Item = Version> {
        self.tiers.iter().flat_map(|(_, _, policies)| policies.iter().copied())
    }
}

/// Paths given out. A path is what it shows and the versions of the policies in it.
#[derive(Debug, Default)]
pub(crate) struct Paths {
    numbers: HashMap<(Path, Vec<Version>), PathId>,
    paths: BTreeMap<PathId, (Path, Vec<Version>)>,
}

impl Paths {
    /// The number of a path whose rules are in these versions of policies.
    pub(crate) fn intern(&mut self, path: Path, versions: Vec<Version>, numbers: &mut Numbers) -> PathId {
        let key = (path, versions);
        if let Some(id) = self.numbers.get(&key) {
            return *id;
        }
        let id = numbers.path();
        self.numbers.insert(key.clone(), id);
        self.paths.insert(id, key);
        id
    }

    pub(crate) fn get(&self, id: PathId) -> Option<&Path> {
        self.paths.get(&id).map(|(path, _)| path)
    }

    /// Forgets all paths but these.
    pub(crate) fn retain(&mut self, keep: &BTreeSet<PathId>) {
        let numbers = &mut self.numbers;
        self.paths.retain(|id, key| {
            let stays = keep.contains(id);
            if !stays {
                numbers.remove(key);
            }
            stays
        });
    }
}

/// The policies of a stack, in order.
pub(crate) fn isolating(stack: &Stack) -> Arc<[ObjectRef]> {
    stack.policies().map(|p| p.object.clone()).collect()
}
