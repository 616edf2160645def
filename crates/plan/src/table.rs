//! The decision table of one profile.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use roaring::RoaringBitmap;
use tortie_model::{Direction, Kind, ObjectRef, Protocol};
use tortie_policy::{
    Action, By, NamedPort, NamedPorts, Outcome, Peer, Peers, Position, Regions, RuleRef, Stack, Verdict,
};

use crate::identity::Identities;
use crate::number::Numbers;
use crate::path::{Paths, StackKey, Version, isolating};
use crate::plan::{ClassId, Decider, IdentityId, OutsideClass, Path, PathId, Profile, ProfileId};
use crate::portclass::PortClasses;
use crate::vocabulary::{stack_names, stack_nets};

/// What makes two endpoints share a profile in a direction.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ProfileKey {
    /// What governs them.
    pub(crate) stack: StackKey,
    /// For ingress: their own ports of the names in the rules.
    pub(crate) own: Vec<NamedPort>,
}

/// The matches that tell an identity apart: rules whose peers match it (those that match everybody left out), and the
/// ports that its pods have under the names in the rules.
type Signature = (Vec<Position>, Vec<NamedPort>);

/// Decisions for all packets from or to identities of one class.
pub(crate) type Column = Regions<PathId>;

/// A profile in the making. A class once given to an identity stays, a column once given to a class stays: both are
/// functions of the profile's key and of the identity's content. Only port classes split, when a new class tells more
/// packets apart.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) id: ProfileId,
    pub(crate) key: ProfileKey,
    stack: Arc<Stack>,
    /// When the table is too big: the path that denies everything.
    closed: Option<PathId>,
    /// Policy version and index of each rule, by position.
    rules: Vec<(Version, RuleRef, Action)>,
    /// Rules that match everybody.
    any: Vec<Position>,
    peers: Vec<(Position, Vec<Peer>)>,
    has_blocks: bool,
    /// For egress: names in the rules.
    names: BTreeSet<(Arc<str>, Protocol)>,
    isolating: Arc<[ObjectRef]>,
    outcomes: HashMap<Outcome, PathId>,
    signatures: HashMap<Signature, ClassId>,
    columns: BTreeMap<ClassId, Arc<Column>>,
    by_column: HashMap<Arc<Column>, ClassId>,
    /// Identities that were looked at, and the class of those that have one of their own.
    seen: RoaringBitmap,
    classes: BTreeMap<IdentityId, ClassId>,
    ports: PortClasses,
}

/// What tables share while they are made.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    pub(crate) numbers: Numbers,
    pub(crate) paths: Paths,
    pub(crate) identities: Identities,
}

/// The identities that the distinct peers of all rules mean, found once per plan.
pub(crate) type Matches = HashMap<Peer, RoaringBitmap>;

impl Table {
    /// The table of a stack, with no identity looked at yet.
    pub(crate) fn new(key: ProfileKey, stack: Stack, shared: &mut Shared) -> Self {
        let direction = stack.direction();
        let versions: Vec<Version> = key.stack.versions().collect();
        let mut rules = Vec::new();
        for (policy, version) in stack.policies().zip(&versions) {
            for (index, rule) in policy.rules(direction).into_iter().flatten().enumerate() {
                let name = RuleRef { policy: policy.object.clone(), direction, index };
                rules.push((*version, name, rule.action));
            }
        }
        let mut any = Vec::new();
        let mut peers = Vec::new();
        for (position, rule) in stack.rules() {
            match &rule.peers {
                Peers::Any => any.push(position),
                Peers::OneOf(list) if list.iter().any(|p| p.endpoints.is_none() && p.blocks.is_none()) => {
                    any.push(position);
                }
                Peers::OneOf(list) => peers.push((position, list.clone())),
            }
        }
        let names = if direction == Direction::Egress { stack_names(&stack) } else { BTreeSet::new() };
        let has_blocks = stack_nets(&stack).next().is_some();
        let mut table = Self {
            id: shared.numbers.profile(),
            key,
            closed: None,
            has_blocks,
            isolating: isolating(&stack),
            stack: Arc::new(stack),
            rules,
            any,
            peers,
            names,
            outcomes: HashMap::new(),
            signatures: HashMap::new(),
            columns: BTreeMap::new(),
            by_column: HashMap::new(),
            seen: RoaringBitmap::new(),
            classes: BTreeMap::new(),
            ports: PortClasses::default(),
        };
        // Class 0: whom no rule singles out.
        let nobody = table.column(&[], &[], shared);
        table.columns.insert(ClassId(0), nobody.clone());
        table.by_column.insert(nobody, ClassId(0));
        table
    }

    /// The profile that denies everything, in place of one that is too big.
    pub(crate) fn closed(open: &Self, shared: &mut Shared) -> Self {
        let path = Path {
            verdict: Verdict::Deny,
            direction: open.stack.direction(),
            by: Decider::TooBig,
            passed: Vec::new(),
            logged: Vec::new(),
            isolating: open.isolating.clone(),
            spares_hairpin: open.isolating.iter().all(|p| p.kind == Kind::NetworkPolicy),
        };
        let path = shared.paths.intern(path, open.key.stack.versions().collect(), &mut shared.numbers);
        let column = Arc::new(Column::uniform(path));
        Self {
            id: shared.numbers.profile(),
            key: open.key.clone(),
            stack: open.stack.clone(),
            closed: Some(path),
            rules: Vec::new(),
            any: Vec::new(),
            peers: Vec::new(),
            has_blocks: false,
            names: BTreeSet::new(),
            isolating: open.isolating.clone(),
            outcomes: HashMap::new(),
            signatures: HashMap::new(),
            columns: [(ClassId(0), column.clone())].into(),
            by_column: [(column, ClassId(0))].into(),
            seen: RoaringBitmap::new(),
            classes: BTreeMap::new(),
            ports: PortClasses::default(),
        }
    }

    pub(crate) const fn is_closed(&self) -> bool {
        self.closed.is_some()
    }

    pub(crate) fn direction(&self) -> Direction {
        self.stack.direction()
    }

    pub(crate) const fn stack(&self) -> &Arc<Stack> {
        &self.stack
    }

    /// Takes the policies as they are now: equal to those before in all that decides.
    pub(crate) fn refresh(&mut self, stack: Stack) {
        self.stack = Arc::new(stack);
    }

    /// Whether every one of these identities was looked at.
    pub(crate) fn has_seen(&self, identities: &RoaringBitmap) -> bool {
        self.is_closed() || identities.is_subset(&self.seen)
    }

    /// The peers of its rules.
    pub(crate) fn peers(&self) -> impl Iterator<Item = &Peer> {
        self.peers.iter().flat_map(|(_, peers)| peers)
    }

    /// Gives a class to every identity not looked at yet.
    pub(crate) fn classify(&mut self, matches: &Matches, shared: &mut Shared) {
        let fresh = shared.identities.all() - &self.seen;
        if fresh.is_empty() || self.is_closed() {
            return;
        }
        self.seen |= &fresh;
        let mut signatures: BTreeMap<u32, Signature> = BTreeMap::new();
        for (position, peers) in &self.peers {
            let mut members = RoaringBitmap::new();
            for ids in peers.iter().filter_map(|p| matches.get(p)) {
                members |= ids & &fresh;
            }
            for id in members {
                signatures.entry(id).or_default().0.push(*position);
            }
        }
        if !self.names.is_empty() {
            for id in &fresh {
                let names = shared.identities.names(IdentityId(id)).iter();
                let known: Vec<_> = names.filter(|(n, p, _)| self.names.contains(&(n.clone(), *p))).cloned().collect();
                if !known.is_empty() {
                    signatures.entry(id).or_default().1 = known;
                }
            }
        }
        for (id, signature) in signatures {
            let class = match self.signatures.get(&signature) {
                Some(class) => *class,
                None => {
                    let column = self.column(&signature.0, &signature.1, shared);
                    let class = *self.by_column.entry(column.clone()).or_insert_with(|| shared.numbers.class());
                    self.columns.insert(class, column);
                    self.signatures.insert(signature, class);
                    class
                }
            };
            if class != ClassId(0) {
                self.classes.insert(IdentityId(id), class);
            }
        }
    }

    /// What the rules that match everybody and these decide.
    fn column(&mut self, matched: &[Position], names: &[NamedPort], shared: &mut Shared) -> Arc<Column> {
        let mut all: Vec<Position> = self.any.iter().chain(matched).copied().collect();
        all.sort_unstable();
        let names = match self.stack.direction() {
            Direction::Ingress => &self.key.own,
            Direction::Egress => names,
        };
        let regions = self.stack.clone().resolve(&all, NamedPorts::table(names));
        Arc::new(regions.map(|outcome| self.path(outcome, shared)))
    }

    fn path(&mut self, outcome: &Outcome, shared: &mut Shared) -> PathId {
        if let Some(id) = self.outcomes.get(outcome) {
            return *id;
        }
        let rule = |p: &Position| &self.rules[p.0 as usize];
        let mut versions: Vec<Version> = outcome.passed.iter().map(|p| rule(p).0).collect();
        let denies = outcome.verdict == Verdict::Deny;
        let (by, isolating, is_network_policy) = match outcome.by {
            By::Rule(position) => {
                let (version, name, _) = rule(&position);
                versions.push(*version);
                let isolating = Arc::from([name.policy.clone()]);
                (Decider::Rule(name.clone()), isolating, name.policy.kind == Kind::NetworkPolicy)
            }
            By::EndOfTier(tier) => {
                let tier = &self.stack.tiers()[tier];
                let by = Decider::EndOfTier(tier.name.clone());
                (by, self.isolating.clone(), tier.policies.iter().all(|p| p.object.kind == Kind::NetworkPolicy))
            }
            By::Profile => (Decider::Profile, self.isolating.clone(), false),
        };
        let passed = outcome.passed.iter().map(|p| rule(p).1.clone()).collect();
        let logged = outcome.passed.iter().map(rule).filter(|r| r.2 == Action::Log).map(|r| r.1.clone()).collect();
        let path = Path {
            verdict: outcome.verdict,
            direction: self.stack.direction(),
            by,
            passed,
            logged,
            isolating,
            spares_hairpin: denies && is_network_policy,
        };
        let id = shared.paths.intern(path, versions, &mut shared.numbers);
        self.outcomes.insert(outcome.clone(), id);
        id
    }

    /// The class of an identity that was looked at.
    pub(crate) fn class(&self, id: IdentityId) -> ClassId {
        self.classes.get(&id).copied().unwrap_or(ClassId(0))
    }

    /// Splits port classes until every one is decided alike within each class of these identities. Returns how many
    /// elements the table then has.
    pub(crate) fn split_ports(&mut self, ids: &RoaringBitmap, shared: &mut Shared) {
        let present = self.present(ids, &BTreeMap::new());
        let columns = present.values().chain([&ClassId(0)]).collect::<BTreeSet<_>>();
        let columns: Vec<_> = columns.into_iter().map(|c| (*c, &*self.columns[c])).collect();
        self.ports.split(&columns, &mut shared.numbers);
    }

    /// Classes of those of these identities that have one.
    fn present(&self, ids: &RoaringBitmap, changing: &BTreeMap<IdentityId, ClassId>) -> BTreeMap<IdentityId, ClassId> {
        let own = ids.iter().map(IdentityId).filter_map(|id| Some((id, *self.classes.get(&id)?)));
        own.chain(changing.iter().filter(|(_, c)| **c != ClassId(0)).map(|(id, c)| (*id, *c))).collect()
    }

    /// The number of elements (rows and classes) for these identities, counted up to just past a limit.
    pub(crate) fn size(&self, ids: &RoaringBitmap, limit: usize) -> usize {
        let classes = self.present(ids, &BTreeMap::new());
        let distinct: BTreeSet<_> = classes.values().chain([&ClassId(0)]).copied().collect();
        let rows = distinct.iter().flat_map(|class| self.rows(*class));
        classes.len() + rows.take(limit.saturating_add(1)).count()
    }

    fn default(&self) -> PathId {
        *self.columns[&ClassId(0)].rest()
    }

    fn rows(&self, class: ClassId) -> impl Iterator<Item = ((crate::plan::PortClassId, ClassId), PathId)> {
        let (column, default) = (self.columns[&class].clone(), self.default());
        self.ports.samples().filter_map(move |(port, sample)| {
            let path = *sample.map_or_else(|| column.rest(), |traffic| column.get(traffic));
            (path != default).then_some(((port, class), path))
        })
    }

    /// The profile for these identities, and for `changing` ones with the classes given.
    pub(crate) fn profile(&self, ids: &RoaringBitmap, changing: &BTreeMap<IdentityId, ClassId>) -> Profile {
        let classes = self.present(ids, changing);
        let distinct: BTreeSet<_> = classes.values().chain([&ClassId(0)]).copied().collect();
        Profile {
            stack: self.stack.clone(),
            outside: if self.has_blocks { OutsideClass::ByRange } else { OutsideClass::One(ClassId(0)) },
            ports: self.ports.regions().clone(),
            rows: distinct.iter().flat_map(|class| self.rows(*class)).collect(),
            default: self.default(),
            classes,
        }
    }

    /// Forgets identities that are gone, and classes that no identity has any more.
    pub(crate) fn retain(&mut self, keep: &RoaringBitmap) {
        self.seen &= keep;
        self.classes.retain(|id, _| keep.contains(id.0));
        let live: BTreeSet<_> = self.classes.values().copied().chain([ClassId(0)]).collect();
        self.signatures.retain(|_, class| live.contains(class));
        self.by_column.retain(|_, class| live.contains(class));
        self.columns.retain(|class, _| live.contains(class));
        let paths: BTreeSet<_> = self.paths().collect();
        self.outcomes.retain(|_, path| paths.contains(path));
    }

    /// All paths that its columns name.
    pub(crate) fn paths(&self) -> impl Iterator<Item = PathId> {
        self.columns.values().flat_map(|column| column.iter().map(|(_, path)| *path))
    }
}
