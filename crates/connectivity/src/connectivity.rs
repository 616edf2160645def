//! Who can talk to whom, on what.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard};

use roaring::RoaringBitmap;
use tortie_model::{Direction, Family, Kind, ObjectRef};
use tortie_policy::{
    EndpointSelector, Index, NamedPort, NamedPorts, Names, Outcome, Peer, Peers, Policy, Regions, Side, Stack,
};

use crate::addresses::Addresses;
use crate::arriving::Arriving;
use crate::census::Census;
use crate::half::{Half, Whose, World, uses_names};
use crate::partition::{Partition, small};
use crate::pool::{Pool, SetId};
use crate::subject::{End, Families, Group, Name, Subject, together};

/// The connectivity of a cluster: all pairs of subjects at once.
#[derive(Debug)]
pub struct Connectivity {
    index: Index,
    subjects: Vec<Subject>,
    /// An end of each class.
    sides: Vec<Side>,
    /// Named ports of each class, by number.
    ports_of: Vec<u32>,
    ports: Vec<Vec<NamedPort>>,
    stacks: Vec<Stack>,
    halves: Vec<Half>,
    /// What governs each class, by direction: a half by number.
    governed: ByDirection<Vec<Option<u32>>>,
    pool: Mutex<Pool>,
    arriving: Arriving,
}

/// What some pods can send to some, and every pod to every.
pub(crate) type SomeAndEvery = (Arc<Regions<bool>>, Arc<Regions<bool>>);

/// One for each direction.
#[derive(Clone, Debug, Default)]
struct ByDirection<T> {
    egress: T,
    ingress: T,
}

impl<T> ByDirection<T> {
    const fn get(&self, direction: Direction) -> &T {
        match direction {
            Direction::Egress => &self.egress,
            Direction::Ingress => &self.ingress,
        }
    }

    const fn get_mut(&mut self, direction: Direction) -> &mut T {
        match direction {
            Direction::Egress => &mut self.egress,
            Direction::Ingress => &mut self.ingress,
        }
    }
}

/// What governs an end of a class in a direction, and what it decides.
#[derive(Debug)]
pub struct Decision<'c> {
    /// The policies that govern it; `None` where none does.
    pub stack: Option<&'c Stack>,
    /// What they decide for each packet; `None` where nothing governs, which allows everything.
    pub outcomes: Option<Regions<Outcome>>,
}

impl Connectivity {
    /// The connectivity of a cluster.
    #[must_use]
    pub fn of(index: &Index) -> Self {
        Builder::new(index).build()
    }

    /// The cluster.
    #[must_use]
    pub const fn index(&self) -> &Index {
        &self.index
    }

    /// Everybody: workloads by name, then nodes, then the world outside by address.
    #[must_use]
    pub fn subjects(&self) -> &[Subject] {
        &self.subjects
    }

    /// The place of a subject among [`Self::subjects`].
    #[must_use]
    pub fn find(&self, name: &Name) -> Option<usize> {
        self.subjects.binary_search_by(|s| s.name.cmp(name)).ok()
    }

    /// The packets that some pod of one subject can send to some pod of another. Equal sets are the same in memory.
    ///
    /// A pod reaches itself; a workload is asked about two different pods of it.
    #[must_use]
    pub fn allowed(&self, from: usize, to: usize) -> Arc<Regions<bool>> {
        let mut pool = self.pool();
        let set = self.some(&mut pool, from, to);
        pool.set(set).clone()
    }

    /// The packets that every pod of one subject can send to every pod of another, from and to all addresses.
    #[must_use]
    pub fn allowed_to_all(&self, from: usize, to: usize) -> Arc<Regions<bool>> {
        if self.is_loopback(from, to) {
            return self.pool().set(SetId::ALL).clone();
        }
        let nothing = || self.pool().set(SetId::NONE).clone();
        self.between_groups((from, None), (to, None)).map_or_else(nothing, |(_, every)| every)
    }

    /// What some pods of two subjects can send to some, and every pod to every: of one group of pods, or of all; nothing
    /// where they have no address family in common. A pod is not asked about itself.
    pub(crate) fn between_groups(
        &self,
        (from, group): (usize, Option<usize>),
        (to, other): (usize, Option<usize>),
    ) -> Option<SomeAndEvery> {
        let mut pool = self.pool();
        let subjects = [(from, group), (to, other)].map(|(place, group)| (&self.subjects[place], group));
        let of = |(subject, group): (&Subject, Option<usize>), g: &Group| {
            group.is_none_or(|group| std::ptr::eq(&subject.groups[group], g))
        };
        let (mut some, mut every) = (SetId::NONE, None);
        for (a, x) in subjects[0].0.ends().filter(|(g, _)| of(subjects[0], g)) {
            for (b, y) in subjects[1].0.ends().filter(|(g, _)| of(subjects[1], g)) {
                if x.meets(y) && !subjects[0].0.is_one_pod(a, subjects[1].0, b) {
                    let set = self.between(&mut pool, x, y);
                    some = pool.either(some, set);
                    every = Some(every.map_or(set, |every| pool.both(every, set)));
                }
            }
        }
        if self.is_local(from, to) {
            some = SetId::ALL;
        }
        Some((pool.set(some).clone(), pool.set(every?).clone()))
    }

    /// [`Self::allowed`] for one sender and everybody.
    #[must_use]
    pub fn row(&self, from: usize) -> Vec<Arc<Regions<bool>>> {
        let mut pool = self.pool();
        let mut row = vec![SetId::NONE; self.subjects.len()];
        let mut egress = vec![SetId::ALL; self.sides.len()];
        let sender = &self.subjects[from];
        for (group, end) in sender.ends() {
            match self.governed.egress[end.class as usize] {
                Some(half) => self.halves[half as usize].fill(&mut egress),
                None => egress.fill(SetId::ALL),
            }
            let ingress = self.arriving.from(end.class, &self.halves);
            // Many receivers are of one class.
            let mut cells = vec![None; self.sides.len()];
            for (to, set) in self.subjects.iter().zip(&mut row) {
                let others = to.ends().filter(|(other, _)| !sender.is_one_pod(group, to, other));
                for (_, other) in others.filter(|(_, o)| end.meets(o)) {
                    let class = other.class as usize;
                    let both = *cells[class].get_or_insert_with(|| {
                        let arriving = self.governed.ingress[class].map_or(SetId::ALL, |half| ingress[half as usize]);
                        pool.both(egress[class], arriving)
                    });
                    *set = pool.either(*set, both);
                }
            }
        }
        for (to, set) in row.iter_mut().enumerate() {
            if self.goes_unasked(from, to) {
                *set = SetId::ALL;
            }
        }
        row.into_iter().map(|set| pool.set(set).clone()).collect()
    }

    /// What governs a packet from an end of one class to an end of another in a direction: the egress policies of the
    /// sender or the ingress policies of the receiver. Classes as in [`Self::classes`].
    #[must_use]
    pub fn decision(&self, from: u32, to: u32, direction: Direction) -> Decision<'_> {
        let (class, other) = match direction {
            Direction::Egress => (from, to),
            Direction::Ingress => (to, from),
        };
        let stack = self.stack_of(class, direction);
        let names = Names { source: self.named_ports(from), destination: self.named_ports(to) };
        let outcomes = stack.map(|stack| stack.regions(&self.sides[other as usize], names));
        Decision { stack, outcomes }
    }

    /// The classes of the ends of a subject: what policies can tell apart in it.
    pub fn classes(&self, subject: usize) -> impl Iterator<Item = u32> {
        self.subjects[subject].ends().map(|(_, end)| end.class)
    }

    /// Whether some policy governs every pod of a subject in a direction.
    #[must_use]
    pub fn is_isolated(&self, subject: usize, direction: Direction) -> bool {
        self.classes(subject).all(|class| self.governed.get(direction)[class as usize].is_some())
    }

    /// How many classes of ends there are in all.
    #[must_use]
    pub fn class_count(&self) -> usize {
        self.sides.len()
    }

    /// What governs a class in a direction.
    pub(crate) fn stack_of(&self, class: u32, direction: Direction) -> Option<&Stack> {
        let half = self.governed.get(direction)[class as usize]?;
        Some(&self.stacks[self.halves[half as usize].stack as usize])
    }

    /// The named ports of a class.
    pub(crate) fn named_ports(&self, class: u32) -> NamedPorts<'_> {
        NamedPorts::table(&self.ports[self.ports_of[class as usize] as usize])
    }

    /// An end of a class.
    pub(crate) fn side(&self, class: u32) -> &Side {
        &self.sides[class as usize]
    }

    /// Whether a selector that some rule uses selects a pod of the cluster.
    pub(crate) fn selects_somebody(&self, selector: &EndpointSelector) -> bool {
        let selects = |side: &Side| side.pod().zip(side.namespace()).is_some_and(|(p, n)| selector.selects(p, n));
        self.sides.iter().any(selects)
    }

    /// The policies that govern some pod.
    pub(crate) fn employed(&self) -> HashSet<&ObjectRef> {
        self.stacks.iter().flat_map(Stack::policies).map(|policy| &policy.object).collect()
    }

    pub(crate) fn pool(&self) -> MutexGuard<'_, Pool> {
        self.pool.lock().expect("nobody panics while holding it")
    }

    fn some(&self, pool: &mut Pool, from: usize, to: usize) -> SetId {
        if self.goes_unasked(from, to) {
            return SetId::ALL;
        }
        let pairs = self.pairs(from, to);
        self.any_of(pool, pairs)
    }

    /// What passes between some of these pairs of ends.
    pub(crate) fn any_of<'s>(&self, pool: &mut Pool, pairs: impl IntoIterator<Item = (&'s End, &'s End)>) -> SetId {
        pairs.into_iter().fold(SetId::NONE, |all, (a, b)| {
            let set = self.between(pool, a, b);
            pool.either(all, set)
        })
    }

    /// Whether some pod of one reaches some pod of the other because policy is not asked.
    pub(crate) fn goes_unasked(&self, from: usize, to: usize) -> bool {
        self.is_loopback(from, to) || self.is_local(from, to)
    }

    /// Whether a node speaks to a pod that it runs.
    fn is_local(&self, from: usize, to: usize) -> bool {
        let (a, b) = (&self.subjects[from], &self.subjects[to]);
        let here = |(node, families): &(u32, Families)| {
            b.runs_on.iter().any(|(home, f)| home == node && !f.common(*families).is_empty())
        };
        a.is_node.iter().any(here)
    }

    /// Whether a pod speaks to itself.
    fn is_loopback(&self, from: usize, to: usize) -> bool {
        let is_pod = |name: &Name| matches!(name, Name::Workload(object) if object.kind == Kind::Pod);
        from == to && is_pod(&self.subjects[from].name)
    }

    /// The pairs of ends between which packets can go at all.
    fn pairs(&self, from: usize, to: usize) -> impl Iterator<Item = (&End, &End)> {
        let (sender, receiver) = (&self.subjects[from], &self.subjects[to]);
        sender.ends().flat_map(move |(group, a)| {
            let others = receiver.ends().filter(move |(other, _)| !sender.is_one_pod(group, receiver, other));
            others.filter(move |(_, b)| a.meets(b)).map(move |(_, b)| (a, b))
        })
    }

    /// What passes from one end to another.
    fn between(&self, pool: &mut Pool, a: &End, b: &End) -> SetId {
        let half = |direction, class: u32, other: u32| {
            let half = self.governed.get(direction)[class as usize];
            half.map_or(SetId::ALL, |half| self.halves[half as usize].get(other))
        };
        let egress = half(Direction::Egress, a.class, b.class);
        pool.both(egress, half(Direction::Ingress, b.class, a.class))
    }
}

/// Sets of kinds of ends, each that policies speak of once.
struct Spoken<'p, T> {
    numbers: HashMap<&'p T, u32>,
    sets: Vec<RoaringBitmap>,
}

impl<'p, T: Eq + std::hash::Hash> Spoken<'p, T> {
    fn new() -> Self {
        Self { numbers: HashMap::new(), sets: Vec::new() }
    }

    fn number(&mut self, what: &'p T, set: impl FnOnce() -> RoaringBitmap) -> u32 {
        *self.numbers.entry(what).or_insert_with(|| {
            self.sets.push(set());
            small(self.sets.len() - 1)
        })
    }
}

/// A policy by the numbers of what it speaks of.
struct Lines {
    subject: u32,
    peers: ByDirection<Vec<u32>>,
}

/// The way from an index to its connectivity.
struct Builder<'p> {
    index: &'p Index,
    census: Census<'p>,
    policies: Vec<&'p Arc<Policy>>,
    lines: Vec<Lines>,
    /// By kind at first, by class in the end.
    subjects: Vec<RoaringBitmap>,
    peers: Vec<RoaringBitmap>,
    /// What else tells kinds apart: what rules say of the endpoint itself.
    own: Vec<RoaringBitmap>,
    /// The numbers of peers in `peers`.
    numbers: HashMap<&'p Peers, u32>,
    /// A kind of each class.
    kinds: Vec<u32>,
    ports_of: Vec<u32>,
}

impl<'p> Builder<'p> {
    fn new(index: &'p Index) -> Self {
        let mut census = Census::of(index);
        let policies: Vec<_> = index.policies().collect();
        let mut subjects: Spoken<'p, EndpointSelector> = Spoken::new();
        let mut peers: Spoken<'p, Peers> = Spoken::new();
        let mut own: Spoken<'p, Peer> = Spoken::new();
        let mut lines = Vec::with_capacity(policies.len());
        for policy in &policies {
            let subject = subjects.number(&policy.subject, || census.selected(&policy.subject));
            let mut line = Lines { subject, peers: ByDirection::default() };
            for direction in Direction::BOTH {
                let rules = policy.rules(direction).into_iter().flatten();
                let number = |rule: &'p tortie_policy::Rule| peers.number(&rule.peers, || census.meant(&rule.peers));
                *line.peers.get_mut(direction) = rules.clone().map(number).collect();
                for peer in rules.filter_map(|rule| rule.own.as_ref()) {
                    own.number(peer, || census.meant_by(peer));
                }
            }
            lines.push(line);
        }
        if !own.sets.is_empty() {
            // What is said of the endpoint may hold for packets of one family only.
            own.sets.extend(Family::ALL.map(|family| census.of_family(family)));
        }
        Self {
            index,
            census,
            policies,
            lines,
            subjects: subjects.sets,
            peers: peers.sets,
            own: own.sets,
            numbers: peers.numbers,
            kinds: Vec::new(),
            ports_of: Vec::new(),
        }
    }

    fn build(mut self) -> Connectivity {
        self.classify();
        let mut pool = Pool::default();
        let mut stacks = Vec::new();
        let mut halves = Vec::new();
        let mut governed = ByDirection::default();
        for direction in Direction::BOTH {
            *governed.get_mut(direction) = self.govern(direction, &mut stacks, &mut halves, &mut pool);
        }
        let sides: Vec<Side> = self.kinds.iter().map(|kind| self.census.side(*kind).clone()).collect();
        let (subjects, ports) = self.census.into_parts();
        let arriving = Arriving::of(&halves, sides.len());
        let mut out = Connectivity {
            index: self.index.clone(),
            subjects,
            sides,
            ports_of: self.ports_of,
            ports,
            stacks,
            halves,
            governed,
            pool: Mutex::new(pool),
            arriving,
        };
        out.put_strangers_together();
        out
    }

    /// Puts kinds together that no policy tells apart.
    fn classify(&mut self) {
        let census = &self.census;
        let mut partition = Partition::by((0..small(census.len())).map(|kind| census.ports_of(kind)));
        self.subjects.iter().chain(&self.peers).chain(&self.own).for_each(|set| partition.split(set));
        self.kinds = partition.representatives();
        self.ports_of = self.kinds.iter().map(|kind| census.ports_of(*kind).unwrap_or_default()).collect();
        for set in self.subjects.iter_mut().chain(&mut self.peers) {
            *set = set.iter().map(|kind| partition.parts()[kind as usize]).collect();
        }
        for subject in &mut self.census.subjects {
            let mut groups: Vec<Group> = Vec::with_capacity(subject.groups.len());
            let mut places: HashMap<Vec<End>, usize> = HashMap::new();
            for mut group in std::mem::take(&mut subject.groups) {
                let class = |end: End| End { class: partition.parts()[end.class as usize], ..end };
                group.ends = together(group.ends.into_iter().map(class));
                match places.get(&group.ends) {
                    Some(place) => groups[*place].pods.extend(group.pods),
                    None => {
                        places.insert(group.ends.clone(), groups.len());
                        groups.push(group);
                    }
                }
            }
            subject.groups = groups;
        }
    }

    /// What governs each class in a direction: the number of a half.
    fn govern(
        &self,
        direction: Direction,
        stacks: &mut Vec<Stack>,
        halves: &mut Vec<Half>,
        pool: &mut Pool,
    ) -> Vec<Option<u32>> {
        let mut governing: Vec<Vec<u32>> = vec![Vec::new(); self.kinds.len()];
        for ((policy, line), number) in self.policies.iter().zip(&self.lines).zip(0..) {
            if policy.rules(direction).is_some() {
                for class in &self.subjects[line.subject as usize] {
                    governing[class as usize].push(number);
                }
            }
        }
        let world = World { ports_of: &self.ports_of, ports: self.census.ports() };
        let mut known_stacks: HashMap<(Vec<u32>, Option<u32>), (u32, bool)> = HashMap::new();
        let mut known_halves: HashMap<(u32, u32), u32> = HashMap::new();
        let mut out = Vec::with_capacity(self.kinds.len());
        for ((policies, ports), class) in governing.into_iter().zip(&self.ports_of).zip(0..) {
            if policies.is_empty() {
                out.push(None);
                continue;
            }
            let asks_own = policies.iter().any(|p| self.policies[*p as usize].asks_own(direction));
            let key = (policies, asks_own.then_some(class));
            let (stack, named) = *known_stacks.entry(key).or_insert_with_key(|(policies, _)| {
                let pod = self.census.side(self.kinds[class as usize]).pod();
                let governing = policies.iter().map(|p| self.policies[*p as usize]);
                let stack = self.index.stack_of(pod.map(|p| &**p), direction, governing);
                let named = uses_names(&stack, Whose::Own);
                stacks.push(stack);
                (small(stacks.len() - 1), named)
            });
            let own = if named { *ports } else { 0 };
            let half = *known_halves.entry((stack, own)).or_insert_with(|| {
                let governing = &stacks[stack as usize];
                let meant: Vec<_> = governing.rules().map(|(_, rule)| self.meant(&rule.peers)).collect();
                halves.push(Half::of((stack, governing), &meant, own, &world, pool));
                small(halves.len() - 1)
            });
            out.push(Some(half));
        }
        out
    }
}

impl Builder<'_> {
    /// The classes that peers mean: known, or those of a rule that was settled for an endpoint.
    fn meant(&self, peers: &Peers) -> Cow<'_, RoaringBitmap> {
        match self.numbers.get(peers) {
            Some(number) => Cow::Borrowed(&self.peers[*number as usize]),
            None => {
                let means = |class: &u32| peers.matches(self.census.side(self.kinds[*class as usize]));
                Cow::Owned((0..small(self.kinds.len())).filter(means).collect())
            }
        }
    }
}

impl Connectivity {
    /// Pieces of the outside that policies cannot tell apart are one subject.
    fn put_strangers_together(&mut self) {
        let mut places: HashMap<Vec<End>, usize> = HashMap::new();
        let mut kept: Vec<Subject> = Vec::with_capacity(self.subjects.len());
        for subject in self.subjects.drain(..) {
            let Name::Outside(addresses) = &subject.name else {
                kept.push(subject);
                continue;
            };
            let ends = &subject.groups[0].ends;
            match places.get(ends) {
                Some(place) => {
                    let Name::Outside(known) = &mut kept[*place].name else { continue };
                    *known = Addresses::union(known, addresses);
                }
                None => {
                    places.insert(ends.clone(), kept.len());
                    kept.push(subject);
                }
            }
        }
        kept.sort_by(|a, b| a.name.cmp(&b.name));
        self.subjects = kept;
    }
}
