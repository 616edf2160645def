//! From the objects of a cluster to the plan of a node.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use roaring::RoaringBitmap;
use tortie_model::{Direction, Pod};
use tortie_persistent::Map;
use tortie_policy::{Index, PodKey, Stack};

use crate::addresses::{Moved, PodAddresses};
use crate::change::Change;
use crate::number::Numbers;
use crate::path::{PathsInUse, Versions};
use crate::plan::{IdentityId, NodeFacts, Plan, Problem, Profile, ProfileId};
use crate::range::Ranges;
use crate::table::{Matches, ProfileKey, Shared, Table};
use crate::transition::Transition;
use crate::vocabulary::{End, own_names, stack_names};
use crate::wishes::{Wanted, Wishes, replace};

/// How many elements (rows and classes) the table of one profile may have, unless told otherwise: some 14 MB of kernel
/// memory.
const ROW_LIMIT: usize = 1 << 17;

/// Compiles the plans of one node, one after the other, and keeps what their numbers mean.
///
/// What is a function of what, and therefore does not change with anything else:
///
/// - what policies can know of a pod: its labels, ports and account; or of these what the vocabulary of all policies has;
/// - an identity: that, and the blocks that contain the address;
/// - whether a rule's peers match an identity: the rule and the identity, answered from posting lists;
/// - a profile: the rules that govern in a direction, settled for the endpoint, and its own named ports;
/// - the class of an identity in a profile, and what it decides for all packets: the profile and the identity;
/// - port classes: the profile and the columns of all classes so far;
/// - a path: the policies of its rules and their place in them.
///
/// All of it is kept from one plan to the next. What is new is found by comparing the cluster with the one before,
/// which it shares most of its memory with, and only what follows from that is computed.
#[derive(Debug)]
pub struct Compiler {
    limit: usize,
    shared: Shared,
    versions: Versions,
    tables: BTreeMap<ProfileId, Table>,
    /// The tables that decide, by what they stand for.
    open: HashMap<ProfileKey, ProfileId>,
    /// Those that stand in for a table that is too big.
    closed: HashMap<ProfileKey, ProfileId>,
    /// The cluster of the plan compiled last.
    index: Index,
    addresses: PodAddresses,
    wishes: Wishes,
    ranges: Ranges,
    paths: PathsInUse,
    current: Plan,
}

impl Default for Compiler {
    fn default() -> Self {
        Self::new()
    }
}

impl Compiler {
    /// A compiler for a node that holds nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self {
            limit: ROW_LIMIT,
            shared: Shared::default(),
            versions: Versions::default(),
            tables: BTreeMap::new(),
            open: HashMap::new(),
            closed: HashMap::new(),
            index: Index::default(),
            addresses: PodAddresses::default(),
            wishes: Wishes::default(),
            ranges: Ranges::default(),
            paths: PathsInUse::default(),
            current: Plan::empty(),
        }
    }

    /// The same compiler, giving out numbers after these: for a node that still holds the plan of another compiler.
    #[must_use]
    pub fn after(mut self, numbers: Numbers) -> Self {
        self.current.generation = numbers.generation;
        self.shared.numbers = numbers;
        self
    }

    /// The same compiler with another limit of elements (rows and classes) per profile. A profile that needs more
    /// denies everything, and the plan says so.
    #[must_use]
    pub const fn with_limit(mut self, limit: usize) -> Self {
        self.limit = limit;
        self
    }

    /// The same compiler with another limit of kinds of pods that are told apart before a policy asks for what they
    /// differ in.
    #[must_use]
    pub const fn with_kinds(mut self, most: usize) -> Self {
        self.addresses.limit_kinds(most);
        self
    }

    /// The last numbers given out.
    #[must_use]
    pub const fn numbers(&self) -> Numbers {
        self.shared.numbers
    }

    /// The plan that was compiled last.
    #[must_use]
    pub const fn current(&self) -> &Plan {
        &self.current
    }

    /// The plan for a cluster, for a node that takes it at once rather than by way of a [`Transition`].
    pub fn compile(&mut self, index: &Index, facts: &NodeFacts) -> Plan {
        self.advance(index, facts).after
    }

    /// The way from the plan compiled last to the one for this cluster. The node must hold [`Transition::after`]
    /// before it takes the next transition.
    pub fn advance(&mut self, index: &Index, facts: &NodeFacts) -> Transition {
        let before = std::mem::replace(&mut self.index, index.clone());
        let news = before.news(index);
        let moved = self.addresses.update(&news, &before, index, &mut self.shared);
        self.wish(&news, facts);
        let mut wanted = self.wishes.wanted();
        let withdrawn = self.withdraw(&moved, &wanted);
        let ranges = self.ranges.of(used(&wanted), &self.tables, &mut self.shared);

        let grown = self.classify();
        let dying = self.dying();
        self.close_what_is_too_big(&mut wanted, &grown, &dying);

        let mut change = Change::between(&withdrawn, wanted.iter().map(|(k, w)| (k, &w.addresses[..], w.profiles)));
        let moved: Vec<_> = moved.iter().filter_map(|m| Some((m.ip, withdrawn.identity(m.ip), m.now?))).collect();
        let pairs: BTreeSet<_> = moved.iter().map(|(_, from, to)| (*from, *to)).filter(|(a, b)| a != b).collect();
        self.split_profiles_left_and_entered(&mut change, &pairs, &mut wanted);
        let mut addresses = self.addresses.identities().clone();
        for (ip, from, to) in moved {
            let between = change.identity((from, to), &self.tables, &mut self.shared);
            if between != to {
                addresses.insert(ip, between);
            }
        }
        let passing = change.ranges(&withdrawn.ranges, &ranges, &self.tables, &mut self.shared);
        self.classify();

        let used = used(&wanted);
        let problems = self.problems(&wanted);
        let endpoints = self.endpoints(&wanted);
        let plan = |addresses, ranges, identities, profiles, paths| Plan {
            generation: 0,
            interface_prefix: facts.interface_prefix.clone(),
            pod_ranges: facts.pod_ranges.clone(),
            addresses,
            ranges,
            identities,
            endpoints: endpoints.clone(),
            profiles,
            paths,
            problems: problems.clone(),
        };
        let mut identities = withdrawn.identities.clone();
        for id in self.shared.identities.take_made() {
            identities.extend(self.shared.identities.describe(id).map(|described| (id, described)));
        }
        let both: BTreeSet<_> = withdrawn.profiles.keys().chain(&used).copied().collect();
        let profiles = self.profiles(&both, &withdrawn.profiles, Some(&change));
        let paths = self.paths.follow(&withdrawn.profiles, &profiles, &self.shared.paths);
        let during = plan(addresses, passing, identities.clone(), profiles, paths);

        self.keep(&used, &change, &mut identities);
        let profiles = self.profiles(&used, &during.profiles, None);
        let paths = self.paths.follow(&during.profiles, &profiles, &self.shared.paths);
        let after = plan(self.addresses.identities().clone(), ranges, identities, profiles, paths);

        let mut last = self.current.clone();
        let mut number = |plan: Plan| {
            let plan = plan.following(&last, &mut self.shared.numbers);
            last.clone_from(&plan);
            plan
        };
        let transition = Transition { withdrawn: number(withdrawn), during: number(during), after: number(after) };
        self.current = transition.after.clone();
        transition
    }

    /// Finds the profiles that the pods of this node shall have.
    fn wish(&mut self, news: &tortie_policy::News<'_>, facts: &NodeFacts) {
        let mut wishes = std::mem::take(&mut self.wishes);
        let index = self.index.clone();
        wishes.update(news, &index, facts, |pod| {
            Direction::BOTH.map(|direction| self.profile_of(pod, index.stack(pod, direction)))
        });
        self.wishes = wishes;
    }

    fn profile_of(&mut self, pod: &Pod, stack: Stack) -> ProfileId {
        if stack.is_empty() {
            return ProfileId(0);
        }
        let own = own_names(&stack_names(End::Own, &stack), pod);
        let key = ProfileKey { stack: self.versions.stack(&stack), own };
        if let Some(id) = self.open.get(&key) {
            if let Some(table) = self.tables.get_mut(id) {
                table.refresh(stack);
            }
            return *id;
        }
        self.make(key, stack)
    }

    /// A new table, which decides for its key from now on.
    fn make(&mut self, key: ProfileKey, stack: Stack) -> ProfileId {
        self.versions.hold(&key.stack);
        let table = Table::new(key.clone(), stack, self.limit, &mut self.shared);
        let id = table.id;
        self.open.insert(key, id);
        self.tables.insert(id, table);
        id
    }

    /// The current plan without what is gone: an address of a pod that is gone may be another's by now.
    fn withdraw(&self, moved: &[Moved], wanted: &BTreeMap<PodKey, Wanted>) -> Plan {
        let mut plan = self.current.clone();
        for gone in moved.iter().filter(|m| m.is_handed_on) {
            plan.addresses.remove(&gone.ip);
        }
        for (key, endpoint) in &self.current.endpoints {
            let stays = wanted.get(key).filter(|w| w.uid == endpoint.uid && w.interface == endpoint.interface);
            match stays {
                None => drop(plan.endpoints.remove(key)),
                Some(w) if endpoint.addresses.iter().all(|ip| w.addresses.contains(ip)) => {}
                Some(w) => {
                    let mut less = (**endpoint).clone();
                    less.addresses.retain(|ip| w.addresses.contains(ip));
                    plan.endpoints.insert(key.clone(), Arc::new(less));
                }
            }
        }
        plan
    }

    /// Gives classes to all identities in all tables; returns the tables that may have grown. Every distinct peer is
    /// looked up once.
    fn classify(&mut self) -> BTreeSet<ProfileId> {
        let mut matches = Matches::new();
        let fresh = self.shared.identities.fresh();
        for peer in self.tables.values().flat_map(|table| table.asks_for(fresh)) {
            if !matches.contains_key(peer) {
                matches.insert(peer.clone(), self.shared.identities.matching(peer));
            }
        }
        let mut grown = BTreeSet::new();
        for (id, table) in &mut self.tables {
            if table.classify(&matches, &mut self.shared) {
                grown.insert(*id);
            }
        }
        self.shared.identities.settle();
        grown
    }

    /// Identities that nothing of the new plan has.
    fn dying(&self) -> RoaringBitmap {
        self.shared.identities.all() - self.addresses.used() - self.ranges.identities()
    }

    /// Puts a profile that denies everything in the place of each that is too big.
    fn close_what_is_too_big(
        &mut self,
        wanted: &mut BTreeMap<PodKey, Wanted>,
        grown: &BTreeSet<ProfileId>,
        dying: &RoaringBitmap,
    ) {
        let suspects: BTreeSet<_> =
            self.closed.keys().filter_map(|key| self.open.get(key)).chain(grown).copied().collect();
        for id in suspects {
            let Some(table) = self.tables.get(&id).filter(|t| t.is_too_big(dying)) else { continue };
            let key = table.key.clone();
            let closed = match self.closed.get(&key) {
                Some(closed) => *closed,
                None => {
                    let stand_in = Table::closed(table, &mut self.shared);
                    let closed = stand_in.id;
                    self.versions.hold(&key.stack);
                    self.closed.insert(key, closed);
                    self.tables.insert(closed, stand_in);
                    closed
                }
            };
            replace(wanted.values_mut(), id, closed);
        }
    }

    /// A profile that some endpoints leave and others enter must judge a moved address both as it was and as it is:
    /// it gets a twin, with a number of its own, for those who enter or stay.
    fn split_profiles_left_and_entered(
        &mut self,
        change: &mut Change,
        moved: &BTreeSet<(IdentityId, IdentityId)>,
        wanted: &mut BTreeMap<PodKey, Wanted>,
    ) {
        for id in change.left_and_entered() {
            let Some(table) = self.tables.get(&id).filter(|t| !t.is_closed()) else { continue };
            if moved.iter().all(|(from, to)| table.class(*from) == table.class(*to)) {
                continue;
            }
            let twin = self.make(table.key.clone(), (**table.stack()).clone());
            replace(wanted.values_mut(), id, twin);
            self.wishes.replace(id, twin);
            self.ranges.replace(id, twin);
            change.entered_instead(id, twin);
        }
        self.classify();
    }

    fn problems(&self, wanted: &BTreeMap<PodKey, Wanted>) -> Vec<Problem> {
        let mut closed: BTreeMap<ProfileId, Vec<PodKey>> = BTreeMap::new();
        for (key, endpoint) in wanted {
            for id in endpoint.profiles {
                if self.tables.get(&id).is_some_and(Table::is_closed) {
                    closed.entry(id).or_default().push(key.clone());
                }
            }
        }
        let problems = closed.into_iter().map(|(profile, endpoints)| Problem::TooManyRows {
            profile,
            direction: self.tables[&profile].direction(),
            endpoints,
            limit: self.limit,
        });
        problems.collect()
    }

    /// The endpoints, as many as possible of them those of the current plan.
    fn endpoints(&self, wanted: &BTreeMap<PodKey, Wanted>) -> Map<PodKey, Arc<crate::plan::LocalEndpoint>> {
        let mut out = self.current.endpoints.clone();
        for key in self.current.endpoints.keys().filter(|key| !wanted.contains_key(*key)) {
            out.remove(key);
        }
        for (key, wanted) in wanted {
            let endpoint = wanted.endpoint();
            if out.get(key).is_none_or(|known| **known != endpoint) {
                out.insert(key.clone(), Arc::new(endpoint));
            }
        }
        out
    }

    /// These profiles, as many as possible of them those of another plan.
    fn profiles(
        &mut self,
        used: &BTreeSet<ProfileId>,
        known: &Map<ProfileId, Arc<Profile>>,
        change: Option<&Change>,
    ) -> Map<ProfileId, Arc<Profile>> {
        let mut out = known.clone();
        for id in known.keys().filter(|id| !used.contains(id)) {
            out.remove(id);
        }
        for id in used {
            let Some(table) = self.tables.get_mut(id) else { continue };
            let mut profile = table.profile();
            let changing = change.map(|c| c.classes(table)).unwrap_or_default();
            if !changing.is_empty() {
                Arc::make_mut(&mut profile).classes.extend(changing);
            }
            if known.get(id).is_none_or(|known| !Arc::ptr_eq(known, &profile)) {
                out.insert(*id, profile);
            }
        }
        out
    }

    /// Forgets what the plan for these profiles does not need.
    fn keep(
        &mut self,
        used: &BTreeSet<ProfileId>,
        change: &Change,
        identities: &mut Map<IdentityId, crate::plan::Identity>,
    ) {
        let dying = self.dying();
        let gone: Vec<IdentityId> = dying.iter().map(IdentityId).chain(change.changing()).collect();
        for id in &gone {
            identities.remove(id);
        }
        self.shared.identities.forget(gone);
        let mut released = Vec::new();
        let (closed, tables) = (&self.closed, &mut self.tables);
        self.open.retain(|key, id| used.contains(id) || closed.get(key).is_some_and(|c| used.contains(c)));
        self.closed.retain(|_, id| used.contains(id));
        let keys: BTreeSet<ProfileId> = self.open.values().chain(self.closed.values()).copied().collect();
        for (_, table) in tables.extract_if(.., |id, _| !keys.contains(id)) {
            released.push(table.dissolve(&mut self.shared));
        }
        self.versions.release(released.iter().map(|key| &key.stack));
        if !dying.is_empty() {
            for table in tables.values_mut() {
                table.forget(&dying, &mut self.shared);
            }
        }
    }
}

/// The profiles that endpoints shall have.
fn used(wanted: &BTreeMap<PodKey, Wanted>) -> BTreeSet<ProfileId> {
    wanted.values().flat_map(|w| w.profiles).filter(|p| p.0 != 0).collect()
}

impl Plan {
    /// The plan of a node without endpoints.
    pub(crate) fn empty() -> Self {
        Self {
            generation: 0,
            interface_prefix: Arc::from(""),
            pod_ranges: Vec::new(),
            addresses: Map::new(),
            ranges: Arc::new([]),
            identities: Map::new(),
            endpoints: Map::new(),
            profiles: Map::new(),
            paths: Map::new(),
            problems: Vec::new(),
        }
    }

    /// The identity of an address: of the pod that owns it, or of its range.
    pub(crate) fn identity(&self, ip: IpAddr) -> IdentityId {
        self.addresses.get(&ip).copied().unwrap_or_else(|| self.range(ip))
    }

    /// This plan with the generation that comes after another one's, or with the same when nothing differs.
    fn following(mut self, last: &Self, numbers: &mut Numbers) -> Self {
        self.generation = last.generation;
        if self != *last {
            numbers.generation += 1;
            self.generation = numbers.generation;
        }
        self
    }
}
