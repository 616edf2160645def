//! The decision table of one profile.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use ipnet::IpNet;
use roaring::RoaringBitmap;
use tortie_model::{Direction, ObjectRef, Protocol};
use tortie_persistent::Map;
use tortie_policy::{
    Action, By, NamedPort, NamedPorts, Names, Outcome, Peer, Peers, Position, Regions, RuleRef, Stack, Verdict,
};

use crate::identity::{Identities, is_outside_meant};
use crate::number::Numbers;
use crate::path::{Paths, StackKey, Version, isolating};
use crate::plan::{
    ClassId, Decider, IdentityId, OutsideClass, Path, PathId, PortClassId, Profile, ProfileId, SourceRange,
};
use crate::portclass::PortClasses;
use crate::vocabulary::{End, stack_names, stack_nets};

/// What makes two endpoints share a profile in a direction.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ProfileKey {
    /// What governs them.
    pub(crate) stack: StackKey,
    /// Their own ports of the names in the rules.
    pub(crate) own: Vec<NamedPort>,
}

/// What tells an identity apart from outside addresses in no block: rules whose peers match the one and not the other,
/// and the ports that its pods have under the names in the rules.
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
    /// Those of `peers` that match outside addresses in no block: they say only who is not meant.
    outside: BTreeSet<Position>,
    /// Blocks and exceptions in the rules.
    nets: BTreeSet<IpNet>,
    /// Names in the rules, of ports of the other end.
    names: BTreeSet<(Arc<str>, Protocol)>,
    isolating: Arc<[ObjectRef]>,
    outcomes: HashMap<Outcome, PathId>,
    /// Decisions that are left to the source port.
    forks: HashMap<Vec<SourceRange>, PathId>,
    signatures: HashMap<Signature, ClassId>,
    columns: BTreeMap<ClassId, Arc<Column>>,
    by_column: HashMap<Arc<Column>, ClassId>,
    /// Whether it has looked at the identities that are not fresh.
    is_complete: bool,
    /// The class of identities that have one of their own, and how many identities a class has.
    classes: Map<IdentityId, ClassId>,
    members: HashMap<ClassId, usize>,
    ports: PortClasses,
    /// Classes whose columns the port classes and rows do not know yet.
    uncut: Vec<ClassId>,
    /// Decisions that differ from the default; `None` when they would be more than the limit.
    rows: Option<Map<Row, PathId>>,
    limit: usize,
    /// As the plan shows it.
    profile: Option<Arc<Profile>>,
}

type Row = (PortClassId, ClassId);

/// Up to so many fresh identities, a table asks of each which rules mean it, rather than of each rule whom it means.
const FEW: u64 = 16;

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
    pub(crate) fn new(key: ProfileKey, stack: Stack, limit: usize, shared: &mut Shared) -> Self {
        let direction = stack.direction();
        let versions: Vec<Version> = key.stack.versions().collect();
        let mut rules = Vec::new();
        for (policy, version) in stack.policies().zip(&versions) {
            for rule in policy.rules(direction).into_iter().flatten() {
                let name = RuleRef { policy: policy.object.clone(), direction, index: rule.written };
                rules.push((*version, name, rule.action));
            }
        }
        let mut any = Vec::new();
        let mut peers = Vec::new();
        for (position, rule) in stack.rules() {
            match &rule.peers {
                Peers::Any => any.push(position),
                Peers::OneOf(list) if list.iter().any(Peer::is_anybody) => any.push(position),
                Peers::OneOf(list) => peers.push((position, list.clone())),
            }
        }
        let outside: BTreeSet<Position> = peers
            .iter()
            .filter(|(_, list): &&(Position, Vec<Peer>)| list.iter().any(is_outside_meant))
            .map(|(position, _)| *position)
            .collect();
        let names = stack_names(End::Peer, &stack);
        let mut table = Self {
            id: shared.numbers.profile(),
            key,
            closed: None,
            nets: stack_nets(&stack),
            isolating: isolating(&stack),
            stack: Arc::new(stack),
            rules,
            any,
            peers,
            outside,
            names,
            outcomes: HashMap::new(),
            forks: HashMap::new(),
            signatures: HashMap::new(),
            columns: BTreeMap::new(),
            by_column: HashMap::new(),
            is_complete: false,
            classes: Map::new(),
            members: HashMap::new(),
            ports: PortClasses::default(),
            uncut: vec![ClassId(0)],
            rows: Some(Map::new()),
            limit,
            profile: None,
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
            spares_hairpin: open.isolating.iter().all(ObjectRef::is_network_policy),
        };
        let path = shared.paths.hold(path, open.key.stack.versions().collect(), &mut shared.numbers);
        let column = Arc::new(Column::uniform(path));
        Self {
            id: shared.numbers.profile(),
            key: open.key.clone(),
            stack: open.stack.clone(),
            closed: Some(path),
            rules: Vec::new(),
            any: Vec::new(),
            peers: Vec::new(),
            outside: BTreeSet::new(),
            nets: BTreeSet::new(),
            names: BTreeSet::new(),
            isolating: open.isolating.clone(),
            outcomes: HashMap::new(),
            forks: HashMap::new(),
            signatures: HashMap::new(),
            columns: [(ClassId(0), column.clone())].into(),
            by_column: [(column, ClassId(0))].into(),
            is_complete: true,
            classes: Map::new(),
            members: HashMap::new(),
            ports: PortClasses::default(),
            uncut: Vec::new(),
            rows: Some(Map::new()),
            limit: usize::MAX,
            profile: None,
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

    pub(crate) const fn nets(&self) -> &BTreeSet<IpNet> {
        &self.nets
    }

    /// Takes the policies as they are now: equal to those before in all that decides.
    pub(crate) fn refresh(&mut self, stack: Stack) {
        if *self.stack != stack {
            self.stack = Arc::new(stack);
            self.profile = None;
        }
    }

    /// The peers that it must know the members of before it can look at what it has not looked at.
    pub(crate) fn asks_for(&self, fresh: &RoaringBitmap) -> impl Iterator<Item = &Peer> {
        let all = !self.is_complete || fresh.len() > FEW;
        self.peers.iter().filter(move |_| all).flat_map(|(_, peers)| peers)
    }

    /// Gives a class to every identity not looked at yet; tells whether it may have grown.
    pub(crate) fn classify(&mut self, matches: &Matches, shared: &mut Shared) -> bool {
        if self.is_closed() || (self.is_complete && shared.identities.fresh().is_empty()) {
            return false;
        }
        let was_complete = std::mem::replace(&mut self.is_complete, true);
        let todo = if was_complete { shared.identities.fresh() } else { shared.identities.all() }.clone();
        let mut signatures: BTreeMap<u32, Signature> = BTreeMap::new();
        for (position, peers) in &self.peers {
            let outside = self.outside.contains(position);
            if was_complete && todo.len() <= FEW {
                let means = |id: u32| peers.iter().any(|peer| shared.identities.is_meant(peer, IdentityId(id)));
                for id in todo.iter().filter(|id| means(*id) != outside) {
                    signatures.entry(id).or_default().0.push(*position);
                }
                continue;
            }
            let mut members = RoaringBitmap::new();
            for ids in peers.iter().filter_map(|p| matches.get(p)) {
                members |= ids & &todo;
            }
            let apart = if outside { &todo - members } else { members };
            for id in apart {
                signatures.entry(id).or_default().0.push(*position);
            }
        }
        if !self.names.is_empty() {
            for id in &todo {
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
                None => self.class_of(signature, shared),
            };
            if class != ClassId(0) {
                self.classes.insert(IdentityId(id), class);
                *self.members.entry(class).or_default() += 1;
                self.profile = None;
            }
        }
        self.cut(shared);
        self.profile.is_none()
    }

    /// The class of a signature that no identity had until now.
    fn class_of(&mut self, signature: Signature, shared: &mut Shared) -> ClassId {
        let column = self.column(&signature.0, &signature.1, shared);
        let class = match self.by_column.get(&column) {
            Some(class) => *class,
            None => {
                let class = shared.numbers.class();
                self.by_column.insert(column.clone(), class);
                self.columns.insert(class, column);
                self.uncut.push(class);
                class
            }
        };
        self.signatures.insert(signature, class);
        class
    }

    /// What is decided for those whom these rules tell apart from outside addresses in no block.
    fn column(&mut self, apart: &[Position], names: &[NamedPort], shared: &mut Shared) -> Arc<Column> {
        let apart: BTreeSet<Position> = apart.iter().copied().collect();
        let mut all: Vec<Position> = self.outside.symmetric_difference(&apart).chain(&self.any).copied().collect();
        all.sort_unstable();
        let (stack, own) = (self.stack.clone(), self.key.own.clone());
        let names = match stack.direction() {
            Direction::Ingress => Names { source: NamedPorts::table(names), destination: NamedPorts::table(&own) },
            Direction::Egress => Names { source: NamedPorts::table(&own), destination: NamedPorts::table(names) },
        };
        let mut ranges = stack.source_ranges(&all, names).into_iter();
        let mut decided = |start: u16| stack.resolve_from(start, &all, names).map(|outcome| self.path(outcome, shared));
        let first = ranges.next().expect("source ports are in one range at least");
        let column = decided(*first.start());
        let mut columns = column.map(|path| vec![SourceRange { last: *first.end(), path: *path }]);
        let mut several = false;
        for range in ranges {
            several = true;
            columns = columns.zip(&decided(*range.start()), |before, path| {
                let mut all = before.clone();
                match all.last_mut() {
                    Some(last) if last.path == *path => last.last = *range.end(),
                    _ => all.push(SourceRange { last: *range.end(), path: *path }),
                }
                all
            });
        }
        if !several {
            return Arc::new(column);
        }
        Arc::new(columns.map(|ranges| self.fork(ranges, shared)))
    }

    /// The path that leads on by source port; where all ports lead the same way, that way.
    fn fork(&mut self, ranges: &[SourceRange], shared: &mut Shared) -> PathId {
        if let [only] = ranges {
            return only.path;
        }
        if let Some(id) = self.forks.get(ranges) {
            return *id;
        }
        let fork = Path {
            verdict: Verdict::Deny,
            direction: self.stack.direction(),
            by: Decider::SourcePort(ranges.into()),
            passed: Vec::new(),
            logged: Vec::new(),
            isolating: Arc::new([]),
            spares_hairpin: false,
        };
        let id = shared.paths.hold(fork, Vec::new(), &mut shared.numbers);
        self.forks.insert(ranges.to_vec(), id);
        id
    }

    fn path(&mut self, outcome: &Outcome, shared: &mut Shared) -> PathId {
        if let Some(id) = self.outcomes.get(outcome) {
            return *id;
        }
        let rule = |p: &Position| &self.rules[p.0 as usize];
        let mut versions: Vec<Version> = outcome.passed.iter().map(|p| rule(p).0).collect();
        let (by, isolating) = match outcome.by {
            By::Rule(position) => {
                let (version, name, _) = rule(&position);
                versions.push(*version);
                let isolating = Arc::from([name.policy.clone()]);
                (Decider::Rule(name.clone()), isolating)
            }
            By::EndOfTier(tier) => (Decider::EndOfTier(self.stack.tiers()[tier].name.clone()), self.isolating.clone()),
            By::Profile => (Decider::Profile, self.isolating.clone()),
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
            spares_hairpin: self.stack.spares_itself(outcome),
        };
        let id = shared.paths.hold(path, versions, &mut shared.numbers);
        self.outcomes.insert(outcome.clone(), id);
        id
    }

    /// The class of an identity that was looked at.
    pub(crate) fn class(&self, id: IdentityId) -> ClassId {
        self.classes.get(&id).copied().unwrap_or(ClassId(0))
    }

    /// Splits port classes until every one is decided alike within each class, and writes the rows that are missing.
    fn cut(&mut self, shared: &mut Shared) {
        if self.uncut.is_empty() {
            return;
        }
        let fresh: BTreeSet<ClassId> = self.uncut.drain(..).collect();
        let known: BTreeSet<PortClassId> = self.ports.samples().map(|(port, _)| port).collect();
        let columns: Vec<_> = self.columns.iter().map(|(class, column)| (*class, &**column)).collect();
        self.ports.split(&columns, &mut shared.numbers);
        let mut rows = self.rows.take();
        if let Some(rows) = &mut rows {
            let split = self.ports.samples().any(|(port, _)| !known.contains(&port));
            for class in self.columns.keys().filter(|class| split || fresh.contains(class)) {
                let missing = self.rows(*class).filter(|((port, _), _)| fresh.contains(class) || !known.contains(port));
                rows.extend(missing.take(self.limit.saturating_add(1).saturating_sub(rows.len())));
            }
        }
        self.rows = rows.filter(|rows| rows.len() <= self.limit);
        self.profile = None;
    }

    /// Whether it has more than the limit of elements (rows and classes) when these identities are gone.
    pub(crate) fn is_too_big(&self, dying: &RoaringBitmap) -> bool {
        let mut left: HashMap<ClassId, usize> = HashMap::new();
        let mut classes = self.classes.len();
        for class in dying.iter().filter_map(|id| self.classes.get(&IdentityId(id))) {
            classes -= 1;
            *left.entry(*class).or_insert_with(|| self.members[class]) -= 1;
        }
        let emptied: BTreeSet<ClassId> = left.into_iter().filter(|(_, n)| *n == 0).map(|(class, _)| class).collect();
        let rows = match &self.rows {
            Some(rows) if emptied.is_empty() => rows.len(),
            _ => {
                let live = self.columns.keys().filter(|class| !emptied.contains(class));
                live.flat_map(|class| self.rows(*class)).take(self.limit.saturating_add(1)).count()
            }
        };
        classes + rows > self.limit
    }

    fn default(&self) -> PathId {
        *self.columns[&ClassId(0)].rest()
    }

    fn rows(&self, class: ClassId) -> impl Iterator<Item = (Row, PathId)> {
        let (column, default) = (self.columns[&class].clone(), self.default());
        self.ports.samples().filter_map(move |(port, sample)| {
            let path = *sample.map_or_else(|| column.rest(), |traffic| column.get(traffic));
            (path != default).then_some(((port, class), path))
        })
    }

    /// As the plan shows it, with all identities that there are.
    pub(crate) fn profile(&mut self) -> Arc<Profile> {
        if let Some(profile) = &self.profile {
            return profile.clone();
        }
        let rows = self.rows.clone();
        let profile = Arc::new(Profile {
            stack: self.stack.clone(),
            outside: if self.nets.is_empty() { OutsideClass::One(ClassId(0)) } else { OutsideClass::ByRange },
            ports: self.ports.regions().clone(),
            rows: rows.unwrap_or_else(|| self.columns.keys().flat_map(|class| self.rows(*class)).collect()),
            default: self.default(),
            classes: self.classes.clone(),
        });
        self.profile = Some(profile.clone());
        profile
    }

    /// Forgets identities that are gone, and classes that no identity has any more.
    pub(crate) fn forget(&mut self, gone: &RoaringBitmap, shared: &mut Shared) {
        let mut emptied = BTreeSet::new();
        for id in gone {
            let Some(class) = self.classes.remove(&IdentityId(id)) else { continue };
            self.profile = None;
            let Some(members) = self.members.get_mut(&class) else { continue };
            *members -= 1;
            if *members == 0 {
                self.members.remove(&class);
                emptied.insert(class);
            }
        }
        if emptied.is_empty() {
            return;
        }
        for class in &emptied {
            let Some(column) = self.columns.remove(class) else { continue };
            self.by_column.remove(&column);
            for (port, _) in self.ports.samples() {
                self.rows.iter_mut().for_each(|rows| {
                    rows.remove(&(port, *class));
                });
            }
        }
        if self.rows.is_none() && !self.is_too_big(&RoaringBitmap::new()) {
            self.rows = Some(self.columns.keys().flat_map(|class| self.rows(*class)).collect());
        }
        self.signatures.retain(|_, class| !emptied.contains(class));
        let paths: BTreeSet<PathId> =
            self.columns.values().flat_map(|column| column.iter().map(|(_, path)| *path)).collect();
        let forks = self.forks.extract_if(|_, path| !paths.contains(path)).map(|(_, path)| path);
        shared.paths.release(forks);
        let by_fork = self.forks.keys().flatten().map(|range| range.path);
        let paths: BTreeSet<PathId> = by_fork.chain(paths).collect();
        let unused = self.outcomes.extract_if(|_, path| !paths.contains(path)).map(|(_, path)| path);
        shared.paths.release(unused);
    }

    /// It is gone.
    pub(crate) fn dissolve(self, shared: &mut Shared) -> ProfileKey {
        shared.paths.release(self.outcomes.into_values().chain(self.forks.into_values()).chain(self.closed));
        self.key
    }
}
