//! How a table that was read back differs from the one that should be there.

use std::collections::BTreeMap;
use std::fmt;

use tortie_plan::nft::{Change, Group, Step};
use tortie_ruleset::{Element, Table};

/// One way in which a table differs from the expected one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Difference {
    /// There is no table.
    NoTable,
    /// A map is missing.
    MapMissing(String),
    /// A map is there that nobody expects.
    MapForeign(String),
    /// A map is declared otherwise.
    MapDeclared(String),
    /// Elements of a map.
    Elements {
        /// The map.
        map: String,
        /// Keys that are missing.
        missing: usize,
        /// Keys that nobody expects.
        foreign: usize,
        /// Keys with other data.
        changed: usize,
    },
    /// A chain is missing.
    ChainMissing(String),
    /// A chain is there that nobody expects.
    ChainForeign(String),
    /// A chain is attached otherwise.
    ChainAttached(String),
    /// A chain has other rules.
    Rules {
        /// The chain.
        chain: String,
        /// The first rule that differs, counted from 0.
        first: usize,
    },
    /// Something of a kind that tortie never makes.
    Foreign(String),
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoTable => f.write_str("the table is gone"),
            Self::MapMissing(map) => write!(f, "map {map} is gone"),
            Self::MapForeign(map) => write!(f, "map {map} was added"),
            Self::MapDeclared(map) => write!(f, "map {map} is declared otherwise"),
            Self::Elements { map, missing, foreign, changed } => {
                let some = [(*missing, "gone"), (*foreign, "added"), (*changed, "changed")];
                let some: Vec<String> =
                    some.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}")).collect();
                write!(f, "map {map} has other elements: {}", some.join(", "))
            }
            Self::ChainMissing(chain) => write!(f, "chain {chain} is gone"),
            Self::ChainForeign(chain) => write!(f, "chain {chain} was added"),
            Self::ChainAttached(chain) => write!(f, "chain {chain} is attached otherwise"),
            Self::Rules { chain, first } => write!(f, "chain {chain} has other rules, from rule {first} on"),
            Self::Foreign(name) => write!(f, "{name} was added, of a kind that tortie does not use"),
        }
    }
}

/// How `actual` differs from `expected`.
#[must_use]
pub fn differences(expected: &Table, actual: &Table) -> Vec<Difference> {
    between(&[expected], &[], actual)
}

/// First and last; the catch-all has none.
type Key<'a> = Option<(&'a [u8], &'a [u8])>;
type Keyed<'a> = BTreeMap<Key<'a>, &'a Element>;

fn key(element: &Element) -> Key<'_> {
    match element {
        Element::Range { from, to, .. } => Some((&from[..], &to[..])),
        Element::CatchAll { .. } => None,
    }
}

fn keyed<'a>(table: &'a Table, map: &str) -> Option<Keyed<'a>> {
    let (_, elements) = table.maps.get(map)?;
    Some(elements.iter().map(|e| (key(e), e)).collect())
}

/// How `actual` differs from every state on a way: what all `states` have must be there, and each thing may be as in any
/// of them, or as in `passing`, which holds what was so for a while.
pub(crate) fn between(states: &[&Table], passing: &[Table], actual: &Table) -> Vec<Difference> {
    let mut out = Vec::new();
    let known = || states.iter().copied().chain(passing);
    let names = |of: fn(&Table) -> Vec<&String>| {
        let mut names: Vec<&String> = known().chain([actual]).flat_map(of).collect();
        names.sort_unstable();
        names.dedup();
        names
    };
    for name in names(|t| t.maps.keys().collect()) {
        let declared: Vec<_> = known().filter_map(|t| t.maps.get(name)).collect();
        match actual.maps.get(name) {
            None if states.iter().all(|t| t.maps.contains_key(name)) => out.push(Difference::MapMissing(name.clone())),
            None => {}
            Some(_) if declared.is_empty() => out.push(Difference::MapForeign(name.clone())),
            Some((spec, _)) if declared.iter().all(|(s, _)| s != spec) => {
                out.push(Difference::MapDeclared(name.clone()));
            }
            Some(_) => out.extend(elements_between(name, states, passing, actual)),
        }
    }
    for name in names(|t| t.chains.keys().collect()) {
        let made: Vec<_> = known().filter_map(|t| t.chains.get(name)).collect();
        let lasts = states.iter().all(|t| t.chains.contains_key(name));
        match actual.chains.get(name) {
            None if lasts => out.push(Difference::ChainMissing(name.clone())),
            None => {}
            Some(_) if made.is_empty() => out.push(Difference::ChainForeign(name.clone())),
            Some(chain) if made.iter().all(|c| c.base != chain.base) => {
                out.push(Difference::ChainAttached(name.clone()));
            }
            Some(chain) if made.iter().all(|c| c.rules != chain.rules) => {
                // On its way in, a chain gets its rules one after the other; on its way out, it may have none.
                let on_its_way = !lasts && made.iter().any(|c| c.rules.starts_with(&chain.rules));
                let wanted = states.iter().filter_map(|t| t.chains.get(name)).next_back();
                let wanted = wanted.map_or(&[][..], |c| &c.rules[..]);
                let first = chain.rules.iter().zip(wanted).take_while(|(a, b)| a == b).count();
                if !on_its_way {
                    out.push(Difference::Rules { chain: name.clone(), first });
                }
            }
            Some(_) => {}
        }
    }
    out
}

fn elements_between(map: &str, states: &[&Table], passing: &[Table], actual: &Table) -> Option<Difference> {
    let states: Vec<Keyed<'_>> = states.iter().map(|t| keyed(t, map).unwrap_or_default()).collect();
    let passing: Vec<Keyed<'_>> = passing.iter().filter_map(|t| keyed(t, map)).collect();
    let there = keyed(actual, map).unwrap_or_default();
    let (first, others) = states.split_first()?;
    let lasting = first.keys().filter(|k| others.iter().all(|t| t.contains_key(*k)));
    let missing = lasting.filter(|k| !there.contains_key(*k)).count();
    let (mut foreign, mut changed) = (0, 0);
    for (key, element) in &there {
        let mut meanings = states.iter().chain(&passing).filter_map(|t| t.get(key)).peekable();
        if meanings.peek().is_none() {
            foreign += 1;
        } else if meanings.all(|meaning| meaning != element) {
            changed += 1;
        }
    }
    let any = missing + foreign + changed > 0;
    any.then(|| Difference::Elements { map: map.to_owned(), missing, foreign, changed })
}

/// What lasts on the way from a state by these steps: it, without all that any of them deletes. And what each of them
/// brings, which a later one may take back.
pub(crate) fn on_the_way(from: &Table, steps: &[Step]) -> (Table, Vec<Table>) {
    let mut lasting = from.clone();
    for change in steps.iter().flat_map(Step::changes) {
        match change {
            Change::Elements { map, spec, groups } => {
                let only = |g: &Group| Group { delete: g.delete.clone(), add: Vec::new() };
                let groups = groups.iter().map(only).collect();
                Change::Elements { map: map.clone(), spec: spec.clone(), groups }.apply(&mut lasting);
            }
            Change::DeleteMap { .. } | Change::DeleteChain { .. } => change.apply(&mut lasting),
            Change::AddMap { .. } | Change::AddChain { .. } | Change::SetRules { .. } => {}
        }
    }
    let nothing = || Table { family: from.family, name: from.name.clone(), maps: BTreeMap::new(), chains: [].into() };
    let brought = |step: &Step| {
        let mut table = nothing();
        step.changes().iter().for_each(|change| change.apply(&mut table));
        table
    };
    (lasting, steps.iter().map(brought).collect())
}

/// `actual` without elements of keys that none of these tables has.
pub(crate) fn without_foreign_elements<'a>(known: impl Iterator<Item = &'a Table> + Clone, actual: &Table) -> Table {
    let mut out = actual.clone();
    for (name, (_, elements)) in &mut out.maps {
        let known: Vec<Keyed<'_>> = known.clone().filter_map(|t| keyed(t, name)).collect();
        if !known.is_empty() {
            elements.retain(|e| known.iter().any(|t| t.contains_key(&key(e))));
        }
    }
    out
}
