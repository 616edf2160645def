//! How a table that was read back differs from the one that should be there.

use std::collections::BTreeMap;
use std::fmt;

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
                write!(f, "map {map}: {missing} elements are gone, {foreign} were added, {changed} changed")
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
    between(expected, expected, actual)
}

type Keyed<'a> = BTreeMap<Option<(&'a [u8], &'a [u8])>, &'a Element>;

fn keyed<'a>(table: &'a Table, map: &str) -> Option<Keyed<'a>> {
    let (_, elements) = table.maps.get(map)?;
    Some(
        elements
            .iter()
            .map(|e| match e {
                Element::Range { from, to, .. } => (Some((&from[..], &to[..])), e),
                Element::CatchAll { .. } => (None, e),
            })
            .collect(),
    )
}

/// How `actual` differs from every state on the way from `before` to `after`: each thing may be as in either.
pub(crate) fn between(before: &Table, after: &Table, actual: &Table) -> Vec<Difference> {
    let mut out = Vec::new();
    let names = |of: fn(&Table) -> Vec<&String>| {
        let mut names: Vec<&String> = [before, after, actual].into_iter().flat_map(of).collect();
        names.sort_unstable();
        names.dedup();
        names
    };
    for name in names(|t| t.maps.keys().collect()) {
        let [old, new] = [before, after].map(|t| t.maps.get(name));
        match actual.maps.get(name) {
            None if old.is_some() && new.is_some() => out.push(Difference::MapMissing(name.clone())),
            None => {}
            Some(_) if old.is_none() && new.is_none() => out.push(Difference::MapForeign(name.clone())),
            Some((spec, _)) if [old, new].into_iter().flatten().all(|(s, _)| s != spec) => {
                out.push(Difference::MapDeclared(name.clone()));
            }
            Some(_) => out.extend(elements_between(name, before, after, actual)),
        }
    }
    for name in names(|t| t.chains.keys().collect()) {
        let [old, new] = [before, after].map(|t| t.chains.get(name));
        let known = || [old, new].into_iter().flatten();
        match actual.chains.get(name) {
            None if old.is_some() && new.is_some() => out.push(Difference::ChainMissing(name.clone())),
            None => {}
            Some(_) if known().next().is_none() => out.push(Difference::ChainForeign(name.clone())),
            Some(chain) if known().all(|c| c.base != chain.base) => out.push(Difference::ChainAttached(name.clone())),
            Some(chain) if known().all(|c| c.rules != chain.rules) => {
                // On its way in or out, a chain may be without rules for a moment.
                let passing = chain.rules.is_empty() && (old.is_none() || new.is_none());
                let wanted = known().last().map_or(&[][..], |c| &c.rules[..]);
                let first = chain.rules.iter().zip(wanted).take_while(|(a, b)| a == b).count();
                if !passing {
                    out.push(Difference::Rules { chain: name.clone(), first });
                }
            }
            Some(_) => {}
        }
    }
    out
}

fn elements_between(map: &str, before: &Table, after: &Table, actual: &Table) -> Option<Difference> {
    let [old, new, there] = [before, after, actual].map(|t| keyed(t, map).unwrap_or_default());
    let missing = old.keys().filter(|k| new.contains_key(*k) && !there.contains_key(*k)).count();
    let (mut foreign, mut changed) = (0, 0);
    for (key, element) in &there {
        match (old.get(key), new.get(key)) {
            (None, None) => foreign += 1,
            (a, b) if a != Some(element) && b != Some(element) => changed += 1,
            _ => {}
        }
    }
    let any = missing + foreign + changed > 0;
    any.then(|| Difference::Elements { map: map.to_owned(), missing, foreign, changed })
}
