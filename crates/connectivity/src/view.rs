//! A choice of pairs, put together for people: who behaves alike is one party.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use tortie_model::{Kind, ObjectRef};
use tortie_policy::Regions;

use crate::Connectivity;
use crate::packets;
use crate::pattern::Pattern;
use crate::subject::{End, Families, Name};
use crate::waysin::WayIn;

/// Which pairs are looked at: all that every list allows. An empty list allows all.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// Senders.
    pub from: Vec<Pattern>,
    /// Receivers.
    pub to: Vec<Pattern>,
    /// One of both ends.
    pub either: Vec<Pattern>,
}

/// How a subject stands to the lists of a selection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Chosen {
    from: bool,
    to: bool,
    either: bool,
}

impl Selection {
    fn of(&self, name: &Name) -> Chosen {
        let among = |list: &[Pattern]| list.iter().any(|p| p.matches(name));
        Chosen {
            from: self.from.is_empty() || among(&self.from),
            to: self.to.is_empty() || among(&self.to),
            either: self.either.is_empty() || among(&self.either),
        }
    }

    /// Whether a pair is among the chosen ones. What passes between nodes and strangers is nobody's business.
    #[must_use]
    pub fn takes(&self, from: &Name, to: &Name) -> bool {
        let (a, b) = (self.of(from), self.of(to));
        a.from && b.to && (a.either || b.either) && (is_workload(from) || is_workload(to))
    }

    /// The patterns that choose nobody.
    pub fn idle<'s>(&'s self, connectivity: &'s Connectivity, ways: &'s [WayIn]) -> impl Iterator<Item = &'s Pattern> {
        let all = self.from.iter().chain(&self.to).chain(&self.either);
        let is_way = |pattern: &Pattern| ways.iter().any(|way| pattern.matches(&way.name()));
        all.filter(move |pattern| !connectivity.subjects().iter().any(|s| pattern.matches(&s.name)) && !is_way(pattern))
    }
}

const fn is_workload(name: &Name) -> bool {
    matches!(name, Name::Workload(_))
}

/// A pod that nobody owns, whose traffic with itself says nothing.
fn is_single(name: &Name) -> bool {
    matches!(name, Name::Workload(object) if object.kind == Kind::Pod)
}

/// What subjects are split into.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum By {
    /// Workloads are whole.
    #[default]
    Workload,
    /// Pods of a workload that policies tell apart stand by themselves.
    Class,
}

/// A subject, or some of its pods.
#[derive(Clone, Debug)]
pub struct Member {
    /// The subject.
    pub name: Name,
    /// How many of its pods are meant, and how many there are; none for those that have no pods.
    pub pods: (usize, usize),
}

/// Those between whom there is no difference, neither when they send nor when they are reached.
#[derive(Clone, Debug)]
pub struct Party {
    /// Who.
    pub members: Vec<Member>,
    /// A member, by its place among the subjects and that of its group.
    example: (usize, Option<usize>),
}

impl Party {
    /// Whether it is a single pod, whose traffic with itself says nothing. A workload may have more pods than it has.
    fn is_one_pod(&self) -> bool {
        let [member] = &self.members[..] else { return false };
        is_single(&member.name) || matches!(member.pods, (1, all) if all > 1)
    }
}

/// What is known of a pair of parties.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cell {
    /// The pair was not chosen, or its ends have no address family in common.
    Unasked,
    /// A pod with itself, which says nothing about it: everything passes.
    Itself,
    /// What passes: a set by number.
    Passes {
        /// Number of the set, see [`View::packets`].
        set: u32,
        /// Whether this holds for some of the pods or addresses only.
        partly: bool,
    },
}

/// Parties, and what passes between each two of them.
#[derive(Clone, Debug)]
pub struct View {
    /// The parties: those with workloads first, each in the order of its first member.
    pub parties: Vec<Party>,
    cells: Vec<Cell>,
    sets: Vec<Arc<Regions<bool>>>,
}

/// A line of a table.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Senders: parties by number.
    pub from: Vec<usize>,
    /// Receivers.
    pub to: Vec<usize>,
    /// What passes from each of them to each.
    pub packets: Arc<Regions<bool>>,
    /// Whether this holds for some of their pods or addresses only.
    pub partly: bool,
}

impl View {
    /// Looks at a choice of pairs, and at ways into the cluster. `progress` is told how many of how many senders were looked at.
    #[must_use]
    pub fn of(
        connectivity: &Connectivity,
        selection: &Selection,
        by: By,
        ways: &[WayIn],
        mut progress: impl FnMut(usize, usize),
    ) -> Self {
        let parties = parties(connectivity, selection, by);
        let mut view = Self { cells: Vec::with_capacity(parties.len() * parties.len()), parties, sets: Vec::new() };
        let mut numbers: HashMap<*const Regions<bool>, u32> = HashMap::new();
        for (i, a) in view.parties.iter().enumerate() {
            progress(i, view.parties.len());
            for (j, b) in view.parties.iter().enumerate() {
                let asked = selection.takes(&a.members[0].name, &b.members[0].name);
                if asked && i == j && a.is_one_pod() {
                    view.cells.push(Cell::Itself);
                    continue;
                }
                let sets = if asked { connectivity.between_groups(a.example, b.example) } else { None };
                let Some((some, every)) = sets else {
                    view.cells.push(Cell::Unasked);
                    continue;
                };
                let set = *numbers.entry(Arc::as_ptr(&some)).or_insert_with(|| {
                    view.sets.push(some.clone());
                    crate::partition::small(view.sets.len() - 1)
                });
                view.cells.push(Cell::Passes { set, partly: !Arc::ptr_eq(&some, &every) });
            }
        }
        view.with_ways(ways).without_bystanders()
    }

    /// Leaves out who has no part in any pair: strangers of a family that no pod has, and who was chosen for nothing.
    fn without_bystanders(mut self) -> Self {
        let n = self.parties.len();
        let takes_part =
            |i: usize| (0..n).any(|j| self.cell(i, j) != Cell::Unasked || self.cell(j, i) != Cell::Unasked);
        let kept: Vec<usize> = (0..n).filter(|i| takes_part(*i)).collect();
        if kept.len() < n {
            self.cells = kept.iter().flat_map(|i| kept.iter().map(|j| self.cell(*i, *j))).collect();
            self.parties = kept.iter().map(|i| self.parties[*i].clone()).collect();
        }
        self
    }

    /// The same with ways into the cluster as senders.
    fn with_ways(self, ways: &[WayIn]) -> Self {
        if ways.is_empty() {
            return self;
        }
        // Whom a way leads to is no longer like its equals.
        let mut view = self.apart(|name| ways.iter().position(|way| way.to == *name));
        let entries: BTreeSet<&ObjectRef> = ways.iter().map(|way| &way.entry).collect();
        let old = view.parties.len();
        let mut set = |packets: &Arc<Regions<bool>>| {
            let known = view.sets.iter().position(|set| set == packets).unwrap_or_else(|| {
                view.sets.push(packets.clone());
                view.sets.len() - 1
            });
            Cell::Passes { set: crate::partition::small(known), partly: false }
        };
        let nothing = set(&Arc::new(Regions::uniform(false)));
        let mut cells: Vec<Cell> = Vec::new();
        for i in 0..old {
            cells.extend((0..old).map(|j| view.cells[i * old + j]));
            cells.extend(entries.iter().map(|_| Cell::Unasked));
        }
        for entry in &entries {
            for party in &view.parties {
                let name = &party.members[0].name;
                let way = ways.iter().find(|way| way.entry == **entry && way.to == *name);
                let elsewhere = if is_workload(name) { nothing } else { Cell::Unasked };
                cells.push(way.map_or(elsewhere, |way| set(&way.packets)));
            }
            cells.extend(entries.iter().map(|_| Cell::Unasked));
        }
        view.parties.extend(entries.into_iter().map(|entry| {
            let member = Member { name: Name::Workload(entry.clone()), pods: (0, 0) };
            Party { members: vec![member], example: (0, None) }
        }));
        view.cells = cells;
        view
    }

    /// How many parties such a view would have.
    #[must_use]
    pub fn size(connectivity: &Connectivity, selection: &Selection, by: By) -> usize {
        parties(connectivity, selection, by).len()
    }

    /// What passes from one party to another.
    #[must_use]
    pub fn cell(&self, from: usize, to: usize) -> Cell {
        self.cells[from * self.parties.len() + to]
    }

    /// The sets of packets that cells speak of, by number.
    #[must_use]
    pub fn packets(&self) -> &[Arc<Regions<bool>>] {
        &self.sets
    }

    /// Parties that were asked about as senders, and as receivers.
    #[must_use]
    pub fn axes(&self) -> (Vec<usize>, Vec<usize>) {
        let all = || 0..self.parties.len();
        let sends = |i: &usize| all().any(|j| self.cell(*i, j) != Cell::Unasked);
        let is_reached = |j: &usize| all().any(|i| self.cell(i, *j) != Cell::Unasked);
        (all().filter(sends).collect(), all().filter(is_reached).collect())
    }

    /// The set of a cell, where it has packets.
    #[must_use]
    pub fn passing(&self, from: usize, to: usize) -> Option<(u32, bool)> {
        self.passes(self.cell(from, to))
    }

    /// Puts parties together that differ in nothing that is shown, unless they are to be kept apart.
    #[must_use]
    pub fn merged(&self, may_join: impl Fn(&Party, &Party) -> bool) -> Self {
        let n = self.parties.len();
        let mut groups: Vec<Vec<usize>> = Vec::new();
        // What is known of each group: its row and its column.
        let mut known: Vec<(Vec<Cell>, Vec<Cell>)> = Vec::new();
        for i in 0..n {
            let (row, column) = (self.row(i), self.column(i));
            let fits = |g: usize| {
                may_join(&self.parties[groups[g][0]], &self.parties[i])
                    && joins((&groups[g], &known[g].0), (i, &row))
                    && joins((&groups[g], &known[g].1), (i, &column))
            };
            match (0..groups.len()).find(|g| fits(*g)) {
                Some(g) => {
                    fill(&mut known[g].0, &row);
                    fill(&mut known[g].1, &column);
                    groups[g].push(i);
                }
                None => {
                    groups.push(vec![i]);
                    known.push((row, column));
                }
            }
        }
        let cell = |a: &Vec<usize>, b: &Vec<usize>| {
            let pairs = a.iter().flat_map(|i| b.iter().map(move |j| self.cell(*i, *j)));
            pairs.into_iter().find(|cell| *cell != Cell::Itself).unwrap_or(Cell::Itself)
        };
        let cells = groups.iter().flat_map(|a| groups.iter().map(move |b| cell(a, b))).collect();
        let parties = groups.iter().map(|group| {
            let first = &self.parties[group[0]];
            let members = group.iter().flat_map(|i| self.parties[*i].members.iter().cloned()).collect();
            Party { members, ..first.clone() }
        });
        Self { parties: parties.collect(), cells, sets: self.sets.clone() }
    }

    /// Takes parties apart whose members differ in something.
    #[must_use]
    pub fn apart<K: Eq>(&self, key: impl Fn(&Name) -> K) -> Self {
        let mut parties: Vec<(usize, Party)> = Vec::new();
        for (i, party) in self.parties.iter().enumerate() {
            let mut parts: Vec<(K, Vec<Member>)> = Vec::new();
            for member in &party.members {
                let key = key(&member.name);
                match parts.iter_mut().find(|(k, _)| *k == key) {
                    Some((_, members)) => members.push(member.clone()),
                    None => parts.push((key, vec![member.clone()])),
                }
            }
            parties.extend(parts.into_iter().map(|(_, members)| (i, Party { members, ..party.clone() })));
        }
        parties.sort_by(|(_, a), (_, b)| a.members[0].name.cmp(&b.members[0].name));
        let mut cells = Vec::with_capacity(parties.len() * parties.len());
        for (a, (i, from)) in parties.iter().enumerate() {
            let alone = |b: usize| a == b && from.is_one_pod();
            let cell = |(b, (j, _)): (usize, &(usize, Party))| match self.cell(*i, *j) {
                Cell::Passes { .. } if alone(b) => Cell::Itself,
                cell => cell,
            };
            cells.extend(parties.iter().enumerate().map(cell));
        }
        Self { parties: parties.into_iter().map(|(_, party)| party).collect(), cells, sets: self.sets.clone() }
    }

    fn row(&self, i: usize) -> Vec<Cell> {
        (0..self.parties.len()).map(|j| self.cell(i, j)).collect()
    }

    fn column(&self, j: usize) -> Vec<Cell> {
        (0..self.parties.len()).map(|i| self.cell(i, j)).collect()
    }

    /// All that passes, in few lines. First what many senders that differ otherwise may all send to somebody; then,
    /// of the rest, senders with equal rows together, and, for each of those, receivers of the same packets.
    #[must_use]
    pub fn entries(&self) -> Vec<Entry> {
        let rows = (0..self.parties.len()).map(|i| (vec![i], self.row(i)));
        let mut senders = alike(rows.filter(|(_, row)| row.iter().any(|cell| matches!(cell, Cell::Passes { .. }))));
        let mut out = self.shared(&mut senders);
        for (from, row) in alike(senders) {
            let first = out.len();
            for (j, cell) in row.into_iter().enumerate() {
                let Some((set, partly)) = self.passes(cell) else { continue };
                let set = &self.sets[set as usize];
                let same = |e: &&mut Entry| e.partly == partly && Arc::ptr_eq(&e.packets, set);
                match out[first..].iter_mut().find(same) {
                    Some(entry) => entry.to.push(j),
                    None => out.push(Entry { from: from.clone(), to: vec![j], packets: set.clone(), partly }),
                }
            }
        }
        out
    }

    /// Takes out of the rows what at least so many of them share.
    fn shared(&self, senders: &mut [(Vec<usize>, Vec<Cell>)]) -> Vec<Entry> {
        const MANY: usize = 3;
        // By packets and senders: receivers.
        let mut found: BTreeMap<(u32, bool, Vec<usize>), Vec<usize>> = BTreeMap::new();
        for j in 0..self.parties.len() {
            let mut by_set: BTreeMap<(u32, bool), Vec<usize>> = BTreeMap::new();
            for (g, (_, row)) in senders.iter().enumerate() {
                if let Some(what) = self.passes(row[j]) {
                    by_set.entry(what).or_default().push(g);
                }
            }
            for ((set, partly), groups) in by_set.into_iter().filter(|(_, groups)| groups.len() >= MANY) {
                found.entry((set, partly, groups)).or_default().push(j);
            }
        }
        let mut out: Vec<Entry> = Vec::with_capacity(found.len());
        for ((set, partly, groups), to) in found {
            let mut from: Vec<usize> = Vec::new();
            for g in groups {
                from.extend(&senders[g].0);
                to.iter().for_each(|j| senders[g].1[*j] = Cell::Unasked);
            }
            from.sort_unstable();
            out.push(Entry { from, to, packets: self.sets[set as usize].clone(), partly });
        }
        out.sort_by_key(|entry| (std::cmp::Reverse(entry.from.len() * entry.to.len()), entry.from.clone()));
        out
    }

    fn passes(&self, cell: Cell) -> Option<(u32, bool)> {
        match cell {
            Cell::Passes { set, partly } if packets::any(&self.sets[set as usize]) => Some((set, partly)),
            Cell::Passes { .. } | Cell::Itself | Cell::Unasked => None,
        }
    }
}

/// Puts senders together whose rows agree.
fn alike(rows: impl IntoIterator<Item = (Vec<usize>, Vec<Cell>)>) -> Vec<(Vec<usize>, Vec<Cell>)> {
    let mut senders: Vec<(Vec<usize>, Vec<Cell>)> = Vec::new();
    for (members, row) in rows {
        let joins =
            |(group, known): &&mut (Vec<usize>, Vec<Cell>)| members.iter().all(|i| joins((group, known), (*i, &row)));
        match senders.iter_mut().find(joins) {
            Some((group, known)) => {
                fill(known, &row);
                group.extend(members);
            }
            None => senders.push((members, row)),
        }
    }
    senders
}

/// Whether what is known of a group agrees with what is known of one more. A pod with itself agrees with what it is to
/// the others, if they are the same to it.
fn joins((group, known): (&[usize], &[Cell]), (i, new): (usize, &[Cell])) -> bool {
    let agrees = |(a, b): (&Cell, &Cell)| a == b || *a == Cell::Itself || *b == Cell::Itself;
    let mutual = |j: &usize| {
        let asked = known[*j] != Cell::Itself && new[i] != Cell::Itself;
        asked || new[*j] == known[i]
    };
    known.iter().zip(new).all(agrees) && group.iter().all(mutual)
}

fn fill(known: &mut [Cell], new: &[Cell]) {
    for (a, b) in known.iter_mut().zip(new) {
        if *a == Cell::Itself {
            *a = *b;
        }
    }
}

/// Everybody who has a part in a chosen pair; those of whom policies think alike together.
fn parties(connectivity: &Connectivity, selection: &Selection, by: By) -> Vec<Party> {
    type Key = (Vec<Vec<End>>, Vec<(u32, Families)>, Vec<(u32, Families)>, Chosen, bool);
    let mut places: HashMap<Key, usize> = HashMap::new();
    let mut out: Vec<Party> = Vec::new();
    for (place, subject) in connectivity.subjects().iter().enumerate() {
        let chosen = selection.of(&subject.name);
        if !chosen.from && !chosen.to {
            continue;
        }
        let groups: Vec<Option<usize>> = match by {
            By::Workload => vec![None],
            By::Class => (0..subject.groups.len()).map(Some).collect(),
        };
        let all = subject.groups.iter().map(|g| g.pods.len()).sum();
        for group in groups {
            let (ends, pods) = match group {
                None => (subject.groups.iter().map(|g| g.ends.clone()).collect::<Vec<_>>(), all),
                Some(g) => (vec![subject.groups[g].ends.clone()], subject.groups[g].pods.len()),
            };
            let member = Member { name: subject.name.clone(), pods: (pods, all) };
            let key = (ends, subject.is_node.clone(), subject.runs_on.clone(), chosen, is_workload(&subject.name));
            match places.get(&key) {
                Some(at) => out[*at].members.push(member),
                None => {
                    places.insert(key, out.len());
                    out.push(Party { members: vec![member], example: (place, group) });
                }
            }
        }
    }
    out
}
