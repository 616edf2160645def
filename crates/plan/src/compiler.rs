//! From the objects of a cluster to the plan of a node.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use roaring::RoaringBitmap;
use tortie_model::{Direction, Family, Pod};
use tortie_policy::{Index, PodKey, Stack};

use crate::atom::{Atoms, address};
use crate::change::Change;
use crate::identity::Content;
use crate::number::Numbers;
use crate::path::{Version, Versions};
use crate::plan::{
    ClassId, IdentityId, LocalEndpoint, NodeFacts, PathId, Plan, PodInterface, Problem, ProfileId, RangeEntry,
};
use crate::table::{Matches, ProfileKey, Shared, Table};
use crate::transition::Transition;
use crate::vocabulary::{Vocabulary, own_names, stack_names, stack_nets};

/// How many elements (rows and classes) the table of one profile may have, unless told otherwise: some 14 MB of kernel
/// memory.
const ROW_LIMIT: usize = 1 << 17;

/// A pod that owns an address.
type Owner = (PodKey, Arc<str>);

/// An endpoint as it shall be: the profiles that it shall have, in the order of [`Direction::BOTH`].
struct Wanted {
    uid: Arc<str>,
    interface: PodInterface,
    addresses: Vec<IpAddr>,
    profiles: [ProfileId; 2],
}

/// Compiles the plans of one node, one after the other, and keeps what their numbers mean.
///
/// What is a function of what, and therefore does not change with anything else:
///
/// - what policies can know of a pod: its labels, its ports and the vocabulary of all policies;
/// - an identity: that, and the blocks that contain the address;
/// - whether a rule's peers match an identity: the rule and the identity, answered from posting lists;
/// - a profile: the rules that govern in a direction, and for ingress the endpoint's own named ports;
/// - the class of an identity in a profile, and what it decides for all packets: the profile and the identity;
/// - port classes: the profile and the columns of all classes so far;
/// - a path: the policies of its rules and their place in them.
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
    owners: BTreeMap<IpAddr, Owner>,
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
            owners: BTreeMap::new(),
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
        let vocabulary = Vocabulary::of(index);
        let (target, owners) = self.identify(index, &vocabulary);
        let mut wanted = self.endpoints(index, facts);
        let withdrawn = self.withdraw(&owners, &wanted);
        let ranges = self.ranges(&wanted);

        // What is withdrawn may still be under way in the kernel.
        let old = ids(self.current.addresses.values(), &self.current.ranges);
        let new = ids(target.values(), &ranges);
        self.classify();
        self.close_what_is_too_big(&mut wanted, &old, &new);

        let mut change = Change::between(&withdrawn, wanted.iter().map(|(k, w)| (k, &w.addresses[..], w.profiles)));
        let moved: BTreeSet<_> = target.iter().map(|(ip, to)| (withdrawn.identity(*ip), *to)).collect();
        self.split_profiles_left_and_entered(&mut change, &moved, &mut wanted);
        let between: BTreeMap<_, _> =
            moved.into_iter().map(|pair| (pair, change.identity(pair, &self.tables, &mut self.shared))).collect();
        let addresses: BTreeMap<_, _> =
            target.iter().map(|(ip, to)| (*ip, between[&(withdrawn.identity(*ip), *to)])).collect();
        let passing = change.ranges(&withdrawn.ranges, &ranges, &self.tables, &mut self.shared);
        self.classify();

        let all = &old | &new | ids(addresses.values(), &passing);
        for table in self.tables.values_mut() {
            table.split_ports(&all, &mut self.shared);
        }
        let used: BTreeSet<ProfileId> = wanted.values().flat_map(|w| w.profiles).filter(|p| p.0 != 0).collect();
        let problems = self.problems(&wanted);
        let endpoints: BTreeMap<_, _> = wanted.into_iter().map(|(key, w)| (key, w.endpoint())).collect();
        let plan = |addresses, ranges, identities, profiles: BTreeMap<_, _>, paths| Plan {
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
        let both: BTreeSet<_> = withdrawn.profiles.keys().chain(&used).copied().collect();
        let profiles = self.profiles(&both, &all, Some(&change));
        let paths = self.paths(&profiles);
        let during = plan(addresses, passing, self.shared.identities.describe(&all), profiles, paths);
        let profiles = self.profiles(&used, &new, None);
        let paths = self.paths(&profiles);
        let after = plan(target, ranges, self.shared.identities.describe(&new), profiles, paths);
        self.keep(&used, &new);

        let mut last = self.current.clone();
        let mut number = |plan: Plan| {
            let plan = plan.following(&last, &mut self.shared.numbers);
            last.clone_from(&plan);
            plan
        };
        let transition = Transition { withdrawn: number(withdrawn), during: number(during), after: number(after) };
        self.owners = owners;
        self.current = transition.after.clone();
        transition
    }

    /// The identities of all addresses of pods, and their owners.
    fn identify(
        &mut self,
        index: &Index,
        vocabulary: &Vocabulary,
    ) -> (BTreeMap<IpAddr, IdentityId>, BTreeMap<IpAddr, Owner>) {
        let (mut identities, mut owners) = (BTreeMap::new(), BTreeMap::new());
        for pod in index.pods().filter(|p| !p.host_network) {
            let Some(namespace) = index.namespace(&pod.meta.namespace) else { continue };
            let content = vocabulary.pod(pod, namespace);
            for ip in index.addresses(pod) {
                let content = vocabulary.pod_address(&content, ip);
                identities.insert(ip, self.shared.identities.intern(content, &mut self.shared.numbers));
                owners.insert(ip, (PodKey::of(pod), pod.meta.uid.clone()));
            }
        }
        (identities, owners)
    }

    /// The pods of this node whose link is there.
    fn endpoints(&mut self, index: &Index, facts: &NodeFacts) -> BTreeMap<PodKey, Wanted> {
        let mut out = BTreeMap::new();
        for (key, interface) in &facts.interfaces {
            let Some(pod) = index.pod(key).filter(|p| p.node.as_ref() == Some(&facts.name) && !p.host_network) else {
                continue;
            };
            let addresses: BTreeSet<_> = index.addresses(pod).collect();
            let wanted = Wanted {
                uid: pod.meta.uid.clone(),
                interface: interface.clone(),
                addresses: addresses.into_iter().collect(),
                profiles: Direction::BOTH.map(|direction| self.profile_of(pod, index.stack(pod, direction))),
            };
            out.insert(key.clone(), wanted);
        }
        out
    }

    fn profile_of(&mut self, pod: &Pod, stack: Stack) -> ProfileId {
        if stack.is_empty() {
            return ProfileId(0);
        }
        let own = match stack.direction() {
            Direction::Ingress => own_names(&stack_names(&stack), pod),
            Direction::Egress => Vec::new(),
        };
        let key = ProfileKey { stack: self.versions.stack(&stack), own };
        if let Some(id) = self.open.get(&key) {
            if let Some(table) = self.tables.get_mut(id) {
                table.refresh(stack);
            }
            return *id;
        }
        let table = Table::new(key.clone(), stack, &mut self.shared);
        let id = table.id;
        self.open.insert(key, id);
        self.tables.insert(id, table);
        id
    }

    /// The current plan without what is gone: an address of a pod that is gone may be another's by now.
    fn withdraw(&self, owners: &BTreeMap<IpAddr, Owner>, wanted: &BTreeMap<PodKey, Wanted>) -> Plan {
        let mut plan = self.current.clone();
        plan.addresses.retain(|ip, _| self.owners.get(ip).is_some_and(|o| owners.get(ip) == Some(o)));
        plan.endpoints.retain(|key, endpoint| {
            let stays = wanted.get(key).filter(|w| w.uid == endpoint.uid && w.interface == endpoint.interface);
            endpoint.addresses.retain(|ip| stays.is_some_and(|w| w.addresses.contains(ip)));
            stays.is_some()
        });
        plan
    }

    /// Identities of the ranges that the rules of these endpoints tell apart.
    fn ranges(&mut self, wanted: &BTreeMap<PodKey, Wanted>) -> Vec<RangeEntry> {
        let used: BTreeSet<_> = wanted.values().flat_map(|w| w.profiles).collect();
        let tables = used.iter().filter_map(|id| self.tables.get(id));
        let nets: BTreeSet<IpNet> = tables.flat_map(|t| stack_nets(t.stack()).collect::<Vec<_>>()).collect();
        let atoms = Atoms::of(nets);
        let mut out = Vec::new();
        for family in Family::ALL {
            for atom in atoms.of_family(family) {
                let content = Content::outside(atom.nets.clone());
                let identity = self.shared.identities.intern(content, &mut self.shared.numbers);
                out.push(RangeEntry { from: address(family, atom.from), to: address(family, atom.to), identity });
            }
        }
        out
    }

    /// Gives classes to all identities in all tables. Every distinct peer is looked up once.
    fn classify(&mut self) {
        let mut matches = Matches::new();
        for table in self.tables.values().filter(|t| !t.has_seen(self.shared.identities.all())) {
            for peer in table.peers() {
                if !matches.contains_key(peer) {
                    matches.insert(peer.clone(), self.shared.identities.matching(peer));
                }
            }
        }
        for table in self.tables.values_mut() {
            table.classify(&matches, &mut self.shared);
        }
    }

    /// Puts a profile that denies everything in the place of each that is too big.
    fn close_what_is_too_big(
        &mut self,
        wanted: &mut BTreeMap<PodKey, Wanted>,
        old: &RoaringBitmap,
        new: &RoaringBitmap,
    ) {
        let used: BTreeSet<_> = wanted.values().flat_map(|w| w.profiles).filter(|p| p.0 != 0).collect();
        let all = old | new;
        for id in used {
            let Some(table) = self.tables.get_mut(&id) else { continue };
            table.split_ports(&all, &mut self.shared);
            if table.size(new, self.limit) <= self.limit {
                continue;
            }
            let key = table.key.clone();
            let closed = match self.closed.get(&key) {
                Some(closed) => *closed,
                None => {
                    let stand_in = Table::closed(table, &mut self.shared);
                    let closed = stand_in.id;
                    self.closed.insert(key, closed);
                    self.tables.insert(closed, stand_in);
                    closed
                }
            };
            replace(wanted, id, closed);
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
            let twin = Table::new(table.key.clone(), (**table.stack()).clone(), &mut self.shared);
            let twin_id = twin.id;
            self.open.insert(twin.key.clone(), twin_id);
            self.tables.insert(twin_id, twin);
            replace(wanted, id, twin_id);
            change.entered_instead(id, twin_id);
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

    fn profiles(
        &self,
        used: &BTreeSet<ProfileId>,
        identities: &RoaringBitmap,
        change: Option<&Change>,
    ) -> BTreeMap<ProfileId, crate::plan::Profile> {
        let tables = used.iter().filter_map(|id| self.tables.get(id));
        let profile = |table: &Table| {
            let changing: BTreeMap<IdentityId, ClassId> = change.map(|c| c.classes(table)).unwrap_or_default();
            table.profile(identities, &changing)
        };
        tables.map(|table| (table.id, profile(table))).collect()
    }

    fn paths(&self, profiles: &BTreeMap<ProfileId, crate::plan::Profile>) -> BTreeMap<PathId, crate::plan::Path> {
        let ids: BTreeSet<PathId> =
            profiles.values().flat_map(|p| p.rows.values().copied().chain([p.default])).collect();
        ids.into_iter().filter_map(|id| Some((id, self.shared.paths.get(id)?.clone()))).collect()
    }

    /// Forgets what the plan for these profiles and identities does not need.
    fn keep(&mut self, used: &BTreeSet<ProfileId>, identities: &RoaringBitmap) {
        let keys: BTreeSet<ProfileId> = self
            .open
            .iter()
            .filter(|(key, id)| used.contains(id) || self.closed.get(*key).is_some_and(|c| used.contains(c)))
            .map(|(_, id)| *id)
            .collect();
        self.open.retain(|_, id| keys.contains(id));
        self.closed.retain(|_, id| used.contains(id));
        self.tables.retain(|id, _| keys.contains(id) || used.contains(id));
        let mut paths = BTreeSet::new();
        let mut versions: BTreeSet<Version> = BTreeSet::new();
        for table in self.tables.values_mut() {
            table.retain(identities);
            paths.extend(table.paths());
            versions.extend(table.key.stack.versions());
        }
        self.shared.paths.retain(&paths);
        self.shared.identities.retain(identities);
        self.versions.retain(&versions);
    }
}

impl Wanted {
    fn endpoint(self) -> LocalEndpoint {
        let [egress, ingress] = self.profiles;
        LocalEndpoint { uid: self.uid, interface: self.interface, addresses: self.addresses, egress, ingress }
    }
}

impl Plan {
    /// The plan of a node without endpoints.
    fn empty() -> Self {
        Self {
            generation: 0,
            interface_prefix: Arc::from(""),
            pod_ranges: Vec::new(),
            addresses: BTreeMap::new(),
            ranges: Vec::new(),
            identities: BTreeMap::new(),
            endpoints: BTreeMap::new(),
            profiles: BTreeMap::new(),
            paths: BTreeMap::new(),
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

fn ids<'a>(addresses: impl Iterator<Item = &'a IdentityId>, ranges: &[RangeEntry]) -> RoaringBitmap {
    addresses.map(|id| id.0).chain(ranges.iter().map(|r| r.identity.0)).filter(|id| *id != 0).collect()
}

fn replace(wanted: &mut BTreeMap<PodKey, Wanted>, from: ProfileId, to: ProfileId) {
    for profile in wanted.values_mut().flat_map(|w| &mut w.profiles) {
        if *profile == from {
            *profile = to;
        }
    }
}
