//! Paths: decisions by number.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use tortie_model::{Direction, ObjectRef};
use tortie_persistent::Map;
use tortie_policy::{EndAction, Policy, Stack};

use crate::number::Numbers;
use crate::plan::{Path, PathId, Profile, ProfileId};

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
    /// How many tables a version is in.
    users: HashMap<Version, usize>,
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
        // Policies that were replaced by others that say the same.
        if self.shared.len() > 2 * self.numbers.len() + 1024 {
            self.shared.retain(|_, (policy, _)| Arc::strong_count(policy) > 2);
        }
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

    /// A table of this stack is made.
    pub(crate) fn hold(&mut self, stack: &StackKey) {
        for version in stack.versions() {
            *self.users.entry(version).or_default() += 1;
        }
    }

    /// Tables of these stacks are gone: versions that no table has any more are forgotten.
    pub(crate) fn release<'a>(&mut self, stacks: impl Iterator<Item = &'a StackKey>) {
        let mut gone = BTreeSet::new();
        for version in stacks.flat_map(StackKey::versions) {
            let Some(users) = self.users.get_mut(&version) else { continue };
            *users -= 1;
            if *users == 0 {
                self.users.remove(&version);
                gone.insert(version);
            }
        }
        if !gone.is_empty() {
            self.numbers.retain(|_, v| !gone.contains(v));
            self.shared.retain(|_, (_, v)| !gone.contains(v));
        }
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
    numbers: HashMap<(Arc<Path>, Vec<Version>), PathId>,
    paths: BTreeMap<PathId, Known>,
}

/// A path, and how many tables hold it.
#[derive(Debug)]
struct Known {
    path: Arc<Path>,
    versions: Vec<Version>,
    users: usize,
}

impl Paths {
    /// The number of a path whose rules are in these versions of policies; one table more holds it.
    pub(crate) fn hold(&mut self, path: Path, versions: Vec<Version>, numbers: &mut Numbers) -> PathId {
        let path = Arc::new(path);
        let key = (path.clone(), versions);
        let id = match self.numbers.get(&key) {
            Some(id) => *id,
            None => {
                let id = numbers.path();
                self.paths.insert(id, Known { path, versions: key.1.clone(), users: 0 });
                self.numbers.insert(key, id);
                id
            }
        };
        if let Some(known) = self.paths.get_mut(&id) {
            known.users += 1;
        }
        id
    }

    pub(crate) fn get(&self, id: PathId) -> Option<&Arc<Path>> {
        self.paths.get(&id).map(|known| &known.path)
    }

    /// A table holds these no more: paths that no table holds are forgotten.
    pub(crate) fn release(&mut self, ids: impl IntoIterator<Item = PathId>) {
        for id in ids {
            let Some(known) = self.paths.get_mut(&id) else { continue };
            known.users -= 1;
            if known.users == 0
                && let Some(known) = self.paths.remove(&id)
            {
                self.numbers.remove(&(known.path, known.versions));
            }
        }
    }
}

/// The paths of a plan's profiles, kept as profiles change.
#[derive(Debug, Default)]
pub(crate) struct PathsInUse {
    /// How many rows and defaults name each.
    counts: HashMap<PathId, usize>,
    paths: Map<PathId, Arc<Path>>,
}

impl PathsInUse {
    /// The paths of other profiles.
    pub(crate) fn follow(
        &mut self,
        old: &Map<ProfileId, Arc<Profile>>,
        new: &Map<ProfileId, Arc<Profile>>,
        known: &Paths,
    ) -> Map<PathId, Arc<Path>> {
        let nothing = Map::new();
        for profile in old.changes(new) {
            let rows = |p: Option<&'_ Arc<Profile>>| p.map_or_else(|| nothing.clone(), |p| p.rows.clone());
            let (before, after) = (rows(profile.old), rows(profile.new));
            let rows = before.changes(&after);
            let come = rows.iter().filter_map(|row| row.new.copied()).chain(profile.new.map(|p| p.default));
            come.for_each(|id| self.count(id, known));
            let gone = rows.iter().filter_map(|row| row.old.copied()).chain(profile.old.map(|p| p.default));
            gone.for_each(|id| self.discount(id));
        }
        self.paths.clone()
    }

    fn count(&mut self, id: PathId, known: &Paths) {
        let count = self.counts.entry(id).or_default();
        *count += 1;
        if *count == 1
            && let Some(path) = known.get(id)
        {
            self.paths.insert(id, path.clone());
            path.branches().iter().for_each(|branch| self.count(branch.path, known));
        }
    }

    fn discount(&mut self, id: PathId) {
        let Some(count) = self.counts.get_mut(&id) else { return };
        *count -= 1;
        if *count == 0 {
            self.counts.remove(&id);
            if let Some(path) = self.paths.remove(&id) {
                path.branches().iter().for_each(|branch| self.discount(branch.path));
            }
        }
    }
}

/// The policies of a stack, in order.
pub(crate) fn isolating(stack: &Stack) -> Arc<[ObjectRef]> {
    stack.policies().map(|p| p.object.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tortie_policy::{Delta, Index, PodKey, Verdict, network_policy};
    use tortie_testkit::build;

    /// An index with a pod that a policy governs, which takes packets to this port.
    fn index(port: u16) -> Index {
        let mut policy = build::policy("a/web", &[]);
        policy.ingress = Some(vec![build::rule([], [build::tcp(port)])]);
        let pod = build::pod("a/web", "n1", &[], &["10.244.1.2"]);
        Index::of([Delta::Pod(Box::new(pod)), Delta::Policy(Box::new(network_policy(&policy)))])
    }

    fn stack(index: &Index) -> Stack {
        index.stack(index.pod(&PodKey::new("a", "web")).unwrap(), Direction::Ingress)
    }

    #[test]
    fn versions_that_no_table_has_are_forgotten() {
        let mut versions = Versions::default();
        let (first, second) = (stack(&index(80)), stack(&index(443)));
        let (a, b) = (versions.stack(&first), versions.stack(&second));
        assert_ne!(a, b);
        for key in [&a, &b, &a] {
            versions.hold(key);
        }
        versions.release([&a, &b].into_iter());
        assert_eq!(versions.stack(&stack(&index(80))), a, "a table has it still");
        let kept: Vec<_> = versions.numbers.values().chain(versions.shared.values().map(|(_, v)| v)).copied().collect();
        assert_eq!(kept, vec![a.versions().next().unwrap(); 3]);
        versions.release([&a].into_iter());
        assert!(versions.numbers.is_empty() && versions.shared.is_empty() && versions.users.is_empty());
        assert_ne!(versions.stack(&first), a, "a number is not given out again");
    }

    #[test]
    fn policies_that_were_replaced_by_equal_ones_are_let_go() {
        let mut versions = Versions::default();
        let key = versions.stack(&stack(&index(80)));
        for _ in 0..4000 {
            assert_eq!(versions.stack(&stack(&index(80))), key);
        }
        assert!(versions.shared.len() < 3000, "{}", versions.shared.len());
    }

    #[test]
    fn paths_that_no_table_holds_are_forgotten() {
        let path = |passes: bool| Path {
            verdict: if passes { Verdict::Allow } else { Verdict::Deny },
            direction: Direction::Egress,
            by: crate::plan::Decider::Profile,
            passed: Vec::new(),
            logged: Vec::new(),
            isolating: Arc::new([]),
            spares_hairpin: false,
        };
        let (mut paths, mut numbers) = (Paths::default(), Numbers::default());
        let ids = [true, false, true].map(|passes| paths.hold(path(passes), Vec::new(), &mut numbers));
        assert_eq!(ids, [PathId(1), PathId(2), PathId(1)]);
        paths.release([PathId(1), PathId(2)]);
        assert_eq!(paths.hold(path(true), Vec::new(), &mut numbers), PathId(1), "a table holds it still");
        paths.release([PathId(1), PathId(1)]);
        assert!(paths.numbers.is_empty() && paths.paths.is_empty());
        assert_eq!(paths.hold(path(true), Vec::new(), &mut numbers), PathId(3), "a number is not given out again");
    }
}
