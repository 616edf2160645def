//! From one table to the next, in an order that lets no packet see a mixture.
//!
//! A packet does several lookups, and each may see the map before or after a transaction. So:
//!
//! 1. what nothing leads to yet is added first, beginning with what is looked up last; contents of interval maps get a
//!    transaction of their own, because they appear later than the rest of it;
//! 2. then single elements change, each of them atomically, and base chains are switched;
//! 3. what nothing leads to any more is removed after a grace time: a packet may be between two lookups.
//!
//! Addresses of pods that are gone are closed at once, and those of new pods opened last.

use std::collections::BTreeSet;
use std::sync::Arc;

use tortie_model::Family;
use tortie_persistent::Changed;
use tortie_ruleset::{Chain, DataType, Element, MapSpec, Table};

use super::change::{Change, Group, Step};
use super::layout::Slot;
use super::program;
use super::unfinished::Unfinished;

/// The steps from `old` to `new`, of which at most the last is [`Step::Collect`]. Nothing is taken for granted of `old`:
/// what a way that was cut short left in it is found.
#[must_use]
pub fn steps(old: &Table, new: &Table) -> Vec<Step> {
    let chains = old.chains.changes(&new.chains);
    let maps = changed_maps(old, new);
    let unfinished = Unfinished::of(old, &chains, maps.iter().map(|m| m.name));
    in_order(old, new, chains, maps, unfinished)
}

/// As [`steps`], from a table at the end of a way: packets get to everything that is in it.
pub(super) fn steps_from_whole(old: &Table, new: &Table) -> Vec<Step> {
    in_order(old, new, old.chains.changes(&new.chains), changed_maps(old, new), Unfinished::default())
}

fn in_order<'a>(
    old: &'a Table,
    new: &'a Table,
    chains: Vec<Changed<'a, String, Arc<Chain>>>,
    maps: Vec<MapChange<'a>>,
    unfinished: Unfinished<'a>,
) -> Vec<Step> {
    let difference = Difference { old, new, chains, unfinished };
    let changed = difference.changed(maps);
    let mut in_order: Vec<&ChangedMap<'_>> = changed.iter().collect();
    in_order.sort_by_key(|c| c.slot);
    let select = |intervals: bool, part: fn(&ChangedMap<'_>) -> Vec<Group>| -> Vec<Change> {
        let wanted = in_order.iter().filter(|c| c.is_interval() == intervals);
        wanted.filter_map(|c| c.change(part(c))).collect()
    };
    // Addresses of pods that are gone.
    let mut steps = vec![Step::Flip(select(false, |c| c.groups(Part::Close)))];
    // Together: whenever chains or ways to them come, the kernel checks the whole program.
    let added = select(false, |c| c.groups(Part::Add));
    steps.push(Step::Extend(difference.fresh().into_iter().chain(added).collect()));
    steps.push(Step::Extend(select(true, |c| c.groups(Part::Add))));
    const RANGES: Option<Slot> = Some(Slot::Range(Family::V4));
    let turn = |c: &&ChangedMap<'_>| match c.slot {
        // An action that leads to ranges cut anew is taken when the classes of their identities are there.
        Some(Slot::Act(..)) => RANGES,
        slot => slot,
    };
    let mut flips = in_order.clone();
    flips.sort_by_key(turn);
    let (before, after) = flips.split_at(flips.partition_point(|c| turn(c) < RANGES));
    let flip =
        |of: &[&ChangedMap<'_>]| Step::Flip(of.iter().filter_map(|one| one.change(one.groups(Part::Flip))).collect());
    steps.extend(before.chunks(1).map(flip));
    // It is the turn of ranges cut anew, which are in maps of their own.
    let (ranges, others): (Vec<_>, Vec<_>) =
        difference.switched().into_iter().partition(|(chain, _)| program::is_by_range(chain));
    let switch = |list: Vec<(&String, Vec<Change>)>| Step::Switch(list.into_iter().flat_map(|(_, c)| c).collect());
    steps.push(switch(ranges));
    // Endpoints together: what one policy stops to deny at one end, another may begin to deny at the other end.
    steps.extend(after.chunk_by(|a, b| a.is_endpoints() && b.is_endpoints()).map(flip));
    steps.push(switch(others));
    // Elements first: a chain without rules lets everything pass that still is led to it.
    let removed = in_order.iter().rev().filter_map(|c| c.change(c.groups(Part::Remove)));
    let mut collected: Vec<Change> = removed.chain(difference.cleared()).collect();
    collected.extend(difference.gone());
    steps.push(Step::Collect(collected));
    steps.retain(|s| !s.changes().is_empty());
    steps
}

struct Difference<'a> {
    old: &'a Table,
    new: &'a Table,
    /// Chains that are not the same in both.
    chains: Vec<Changed<'a, String, Arc<Chain>>>,
    unfinished: Unfinished<'a>,
}

/// When the change of a key is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    /// At once: it only closes.
    Close,
    /// Before anything flips: nothing leads to it.
    Add,
    /// In its turn: packets decide by it.
    Flip,
    /// After the grace time.
    Remove,
}

impl<'a> Difference<'a> {
    /// Maps and chains that are new, with all that is in them.
    fn fresh(&self) -> Vec<Change> {
        let maps = || self.new.maps.iter().filter(|(name, (spec, _))| !self.has_map(name, spec));
        let come = || self.chains.iter().filter(|c| c.old.is_none());
        let chains = || come().filter_map(|c| Some((c.key, c.new.filter(|new| new.base.is_none())?)));
        let filled = |verdicts: bool| {
            maps()
                .filter(move |(_, (spec, e))| !e.is_empty() && (spec.data == Some(DataType::Verdict)) == verdicts)
                .map(|(map, (spec, elements))| Change::Elements {
                    map: map.clone(),
                    spec: spec.clone(),
                    groups: elements.iter().map(|e| Group { delete: vec![], add: vec![e.clone()] }).collect(),
                })
        };
        let mut out: Vec<Change> =
            maps().map(|(map, (spec, _))| Change::AddMap { map: map.clone(), spec: spec.clone() }).collect();
        out.extend(chains().map(|(chain, _)| Change::AddChain { chain: chain.clone(), base: None }));
        out.extend(filled(false));
        out.extend(self.unfinished.chains.iter().filter_map(|chain| {
            let rules = self.new.chains.get(*chain)?.rules.clone();
            Some(Change::SetRules { chain: (*chain).to_owned(), replace: true, rules })
        }));
        out.extend(chains().filter(|(_, c)| !c.rules.is_empty()).map(|(chain, c)| Change::SetRules {
            chain: chain.clone(),
            replace: false,
            rules: c.rules.clone(),
        }));
        out.extend(filled(true));
        out
    }

    fn has_map(&self, name: &str, spec: &MapSpec) -> bool {
        self.old.maps.get(name).is_some_and(|(s, _)| s == spec)
    }

    /// When each key of each map changes.
    fn changed(&self, maps: Vec<MapChange<'a>>) -> Vec<ChangedMap<'a>> {
        let mut out = Vec::with_capacity(maps.len());
        for MapChange { name, spec, gone, come } in maps {
            let slot = Slot::of(name).map(|(slot, _)| slot);
            let local = self.local_keys(slot);
            let unfinished = self.unfinished.maps.contains(name);
            let mut changed = ChangedMap { name, spec, slot, unfinished, keys: Vec::new() };
            changed.keys.reserve(gone.len().max(come.len()));
            // Both are sorted by their keys.
            let mut come = come.into_iter().peekable();
            for old in gone {
                while let Some(new) = come.next_if(|new| new.cmp_key(old).is_lt()) {
                    changed.keys.push((changed.part_of_addition(), None, Some(new)));
                }
                let new = come.next_if(|new| new.cmp_key(old).is_eq());
                let part = if new.is_some() { Part::Flip } else { changed.part_of_removal(Key::of(old), &local) };
                changed.keys.push((part, Some(old), new));
            }
            let added = changed.part_of_addition();
            changed.keys.extend(come.map(|new| (added, None, Some(new))));
            out.push(changed);
        }
        out
    }

    /// For a map of profiles: keys of the pods that still are on this node.
    fn local_keys(&self, slot: Option<Slot>) -> BTreeSet<Key<'a>> {
        let own = match slot {
            Some(Slot::Egress(family)) => Slot::Legit(family),
            Some(Slot::Ingress(family)) => Slot::Local(family),
            _ => return BTreeSet::new(),
        };
        let there = self.new.maps.iter().filter(|(name, _)| Slot::of(name).is_some_and(|(slot, _)| slot == own));
        there.flat_map(|(_, (_, elements))| elements.iter().map(Key::of)).collect()
    }

    /// Chains that both tables have, with other rules; and base chains, last: nothing filters before they are there.
    fn switched(&self) -> Vec<(&'a String, Vec<Change>)> {
        let mut out = Vec::new();
        let of =
            |base: bool| self.chains.iter().filter(move |c| c.new.is_some_and(|chain| chain.base.is_some() == base));
        for Changed { key: name, old, new } in of(false).chain(of(true)) {
            let Some(chain) = new.filter(|_| !self.unfinished.chains.contains(name.as_str())) else { continue };
            let mut changes = Vec::new();
            match old {
                Some(old) if old.base == chain.base => {}
                Some(_) | None if chain.base.is_some() => {
                    changes.push(Change::AddChain { chain: (*name).clone(), base: chain.base });
                }
                Some(_) => {}
                None => continue,
            }
            let (chain, replace, rules) = ((*name).clone(), old.is_some(), chain.rules.clone());
            changes.push(Change::SetRules { chain, replace, rules });
            out.push((*name, changes));
        }
        out
    }

    fn doomed_chains(&self) -> impl Iterator<Item = (&'a String, &'a Arc<Chain>)> {
        self.chains.iter().filter(|c| c.new.is_none()).filter_map(|c| Some((c.key, c.old?)))
    }

    /// Rules of chains that go: they may use maps that go, and lead to each other.
    fn cleared(&self) -> Vec<Change> {
        let full = self.doomed_chains().filter(|(_, c)| !c.rules.is_empty());
        full.map(|(chain, _)| Change::SetRules { chain: chain.clone(), replace: true, rules: vec![] }).collect()
    }

    fn gone(&self) -> Vec<Change> {
        let maps =
            self.old.maps.iter().filter(|(name, (spec, _))| self.new.maps.get(*name).is_none_or(|(s, _)| s != spec));
        let maps = maps.map(|(map, _)| Change::DeleteMap { map: map.clone() });
        maps.chain(self.doomed_chains().map(|(chain, _)| Change::DeleteChain { chain: chain.clone() })).collect()
    }
}

/// The key of an element; the catch-all has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Key<'a> {
    Range(&'a [u8], &'a [u8]),
    CatchAll,
}

impl<'a> Key<'a> {
    fn of(element: &'a Element) -> Self {
        match element {
            Element::Range { from, to, .. } => Self::Range(from, to),
            Element::CatchAll { .. } => Self::CatchAll,
        }
    }
}

/// A map that both tables have, and the elements that only one of them has.
struct MapChange<'a> {
    name: &'a str,
    spec: &'a MapSpec,
    gone: Vec<&'a Element>,
    come: Vec<&'a Element>,
}

fn changed_maps<'a>(old: &'a Table, new: &'a Table) -> Vec<MapChange<'a>> {
    let both = new.maps.iter().filter_map(|(name, (spec, new))| {
        let (_, old) = old.maps.get(name).filter(|(s, _)| s == spec)?;
        let (gone, come) = old.changes(new);
        Some(MapChange { name, spec, gone, come })
    });
    both.filter(|m| !(m.gone.is_empty() && m.come.is_empty())).collect()
}

/// A map whose elements change.
struct ChangedMap<'a> {
    name: &'a str,
    spec: &'a MapSpec,
    /// `None` for a map that this version of tortie does not know.
    slot: Option<Slot>,
    /// No packet looks it up yet: all of it changes before anything flips.
    unfinished: bool,
    /// When a key changes, what it had and what it gets.
    keys: Vec<(Part, Option<&'a Element>, Option<&'a Element>)>,
}

impl<'a> ChangedMap<'a> {
    /// Whether it says which policies govern pods, in one of the directions.
    const fn is_endpoints(&self) -> bool {
        matches!(self.slot, Some(Slot::Egress(_) | Slot::Ingress(_)))
    }

    fn is_interval(&self) -> bool {
        self.slot.is_some_and(Slot::is_interval)
    }

    /// Without its key, an address falls to the catch-all or to "no policy": that is a decision, and takes its turn.
    /// But a pod that is gone keeps its profiles until no packet to or from it is on the way.
    fn part_of_removal(&self, key: Key<'_>, local: &BTreeSet<Key<'a>>) -> Part {
        match self.slot {
            Some(Slot::Legit(_) | Slot::Local(_)) => Part::Close,
            Some(Slot::Identity(_) | Slot::Range(_)) => Part::Flip,
            Some(Slot::Egress(_) | Slot::Ingress(_)) if local.contains(&key) => Part::Flip,
            _ => Part::Remove,
        }
    }

    const fn part_of_addition(&self) -> Part {
        match self.slot {
            Some(
                Slot::Legit(_)
                | Slot::Local(_)
                | Slot::Identity(_)
                | Slot::Range(_)
                | Slot::Egress(_)
                | Slot::Ingress(_)
                | Slot::Own(_),
            ) => Part::Flip,
            _ => Part::Add,
        }
    }

    /// The groups of one part.
    fn groups(&self, part: Part) -> Vec<Group> {
        let single = |(_, old, new): &(Part, Option<&Element>, Option<&Element>)| Group {
            delete: old.iter().map(|e| (*e).clone()).collect(),
            add: new.iter().map(|e| (*e).clone()).collect(),
        };
        if !self.is_interval() {
            let part_of = |p: Part| if self.unfinished { Part::Add } else { p };
            return self.keys.iter().filter(|(p, ..)| part_of(*p) == part).map(single).collect();
        }
        // Ranges that are cut in another way come and go together, in their turn.
        let groups = overlapping(self.slot, self.keys.iter().map(single).collect());
        let flips = matches!(self.slot, Some(Slot::Range(_)));
        let part_of = |g: &Group| match (g.delete.is_empty(), g.add.is_empty()) {
            _ if self.unfinished => Part::Add,
            _ if flips => Part::Flip,
            (true, _) => Part::Add,
            (_, true) => Part::Remove,
            _ => Part::Flip,
        };
        groups.into_iter().filter(|g| part_of(g) == part).collect()
    }

    fn change(&self, groups: Vec<Group>) -> Option<Change> {
        (!groups.is_empty()).then(|| Change::Elements { map: self.name.to_owned(), spec: self.spec.clone(), groups })
    }
}

/// Unites groups whose ranges overlap: a range can only come when what it overlaps goes in the same transaction.
fn overlapping(slot: Option<Slot>, groups: Vec<Group>) -> Vec<Group> {
    let mut ranges: Vec<(Span, Group)> = Vec::new();
    let mut out: Vec<Group> = Vec::new();
    for group in groups {
        match group.delete.iter().chain(&group.add).find_map(|e| Span::of(slot, e)) {
            Some(span) => ranges.push((span, group)),
            None => out.push(group),
        }
    }
    ranges.sort_by(|a, b| a.0.cmp(&b.0));
    let mut last: Option<Span> = None;
    for (span, group) in ranges {
        match (&mut last, out.last_mut()) {
            (Some(last), Some(open)) if last.fixed == span.fixed && span.from <= last.to => {
                open.delete.extend(group.delete);
                open.add.extend(group.add);
                last.to = span.to.max(std::mem::take(&mut last.to));
            }
            (last, _) => {
                out.push(group);
                *last = Some(span);
            }
        }
    }
    out
}

/// The keys of a range: they differ in one field only.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Span {
    fixed: Vec<u8>,
    from: Vec<u8>,
    to: Vec<u8>,
}

impl Span {
    fn of(slot: Option<Slot>, element: &Element) -> Option<Self> {
        let Element::Range { from, to, .. } = element else { return None };
        let field = if slot == Some(Slot::PortRange) { 4 } else { from.len() };
        let ((from, fixed), (to, _)) = (from.split_at(field), to.split_at(field));
        Some(Self { fixed: fixed.to_vec(), from: from.to_vec(), to: to.to_vec() })
    }
}
