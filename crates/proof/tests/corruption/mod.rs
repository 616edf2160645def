//! Ways to break a table.

use std::sync::Arc;

use tortie_ruleset::parting::Parting;
use tortie_ruleset::{Chain, Data, Element, Expr, Hook, Policy, Reg, Rule, Table, Verdict};
use tortie_testkit::Rng;

/// Breaks a table in one place; tells how.
pub(crate) fn corrupt(rng: &mut Rng, table: &mut Table) -> &'static str {
    match rng.below(16) {
        0 | 1 => element(rng, table, |_, elements, at| drop(elements.remove(at)), "element removed"),
        2 => element(rng, table, |rng, elements, at| elements[at] = with_key(rng, &elements[at]), "key changed"),
        3 => element(
            rng,
            table,
            |rng, elements, at| {
                let new = with_key(rng, &elements[at]);
                elements.push(new);
            },
            "element added",
        ),
        4 | 5 => element(
            rng,
            table,
            |rng, elements, at| {
                let other = rng.below(elements.len());
                let data = elements[other].data().cloned();
                set_data(&mut elements[at], data);
            },
            "data changed",
        ),
        6 => rule(rng, table, |_, chain, at| drop(chain.rules.remove(at)), "rule removed"),
        7 => rule(rng, table, |_, chain, at| chain.rules.insert(at, chain.rules[at].clone()), "rule duplicated"),
        8 => rule(
            rng,
            table,
            |rng, chain, at| {
                let other = rng.below(chain.rules.len());
                chain.rules.swap(at, other);
            },
            "rules swapped",
        ),
        9 | 10 => rule(
            rng,
            table,
            |rng, chain, at| {
                if !chain.rules[at].exprs.is_empty() {
                    let which = rng.below(chain.rules[at].exprs.len());
                    alter(rng, &mut chain.rules[at].exprs, which);
                }
            },
            "rule altered",
        ),
        11 => {
            let name = key(rng, table.maps.keys());
            if rng.chance(50) {
                table.maps.remove(&name);
                return "map missing";
            }
            table.maps.get_mut(&name).expect("a map").1 = vec![].into();
            "map emptied"
        }
        12 => {
            let name = key(rng, table.chains.keys());
            if rng.chance(50) {
                table.chains.remove(&name);
                return "chain missing";
            }
            Arc::make_mut(table.chains.get_mut(&name).expect("a chain")).rules.clear();
            "chain emptied"
        }
        13 => base(rng, table),
        14 => {
            let chains: Vec<String> = table.chains.keys().cloned().collect();
            let target = rng.pick(&chains).clone();
            let verdict = |e: &mut Expr| match e {
                Expr::Verdict(Verdict::Jump(to) | Verdict::Goto(to)) => Some(std::mem::replace(to, target.clone())),
                _ => None,
            };
            let places: Vec<(String, usize)> = table
                .chains
                .iter()
                .flat_map(|(name, chain)| (0..chain.rules.len()).map(|at| (name.clone(), at)))
                .collect();
            for _ in 0..200 {
                let (name, at) = rng.pick(&places);
                let chain = Arc::make_mut(table.chains.get_mut(name).expect("a chain"));
                if chain.rules[*at].exprs.iter_mut().find_map(verdict).is_some() {
                    break;
                }
            }
            "target changed"
        }
        _ => rule(
            rng,
            table,
            |rng, chain, at| {
                let verdict = rng.pick(&[Verdict::Accept, Verdict::Drop, Verdict::Return]).clone();
                chain.rules.insert(at, Rule { exprs: vec![Expr::Verdict(verdict)], comment: None });
            },
            "foreign rule",
        ),
    }
}

/// Whether a parting is a difference of two tables: where one thing was broken, that one.
pub(crate) fn is_named(parting: &Parting, sound: &Table, broken: &Table) -> bool {
    let elements = |table: &Table, map: &String, element: &Option<Element>| {
        element.as_ref().is_some_and(|e| table.maps.get(map).is_some_and(|(_, all)| all.contains(e)))
    };
    let rules = |table: &Table, chain: &String| table.chains.get(chain).map_or(Vec::new(), |c| c.rules.clone());
    match parting {
        Parting::Element { map, expected, actual, .. } => {
            let gone = elements(sound, map, expected) && !elements(broken, map, expected);
            let come = elements(broken, map, actual) && !elements(sound, map, actual);
            gone || come
        }
        Parting::MapMissing(map) => sound.maps.contains_key(map) && !broken.maps.contains_key(map),
        Parting::MapEmptied(map) => !sound.maps[map].1.is_empty() && broken.maps[map].1.is_empty(),
        Parting::MapDeclared(map) => sound.maps[map].0 != broken.maps[map].0,
        Parting::ChainMissing(chain) => sound.chains.contains_key(chain) && !broken.chains.contains_key(chain),
        Parting::ChainEmptied(chain) => !rules(sound, chain).is_empty() && rules(broken, chain).is_empty(),
        Parting::Attached { chain, .. } => {
            sound.chains.get(chain).map(|c| c.base) != broken.chains.get(chain).map(|c| c.base)
        }
        Parting::Rule { chain, expected, actual } => {
            let (before, after) = (rules(sound, chain), rules(broken, chain));
            let gone = expected.as_ref().is_none_or(|(at, r)| before.get(*at) == Some(r) && after.get(*at) != Some(r));
            let come = actual.as_ref().is_none_or(|(at, r)| after.get(*at) == Some(r) && before.get(*at) != Some(r));
            before != after && gone && come
        }
    }
}

fn key<'a>(rng: &mut Rng, names: impl Iterator<Item = &'a String>) -> String {
    let names: Vec<&String> = names.collect();
    (*rng.pick(&names)).clone()
}

fn element(
    rng: &mut Rng,
    table: &mut Table,
    change: impl Fn(&mut Rng, &mut Vec<Element>, usize),
    kind: &'static str,
) -> &'static str {
    let full: Vec<String> = table.maps.iter().filter(|(_, (_, e))| !e.is_empty()).map(|(n, _)| n.clone()).collect();
    let name = rng.pick(&full).clone();
    let held = &mut table.maps.get_mut(&name).expect("a map").1;
    let mut elements: Vec<Element> = held.iter().cloned().collect();
    let at = rng.below(elements.len());
    change(rng, &mut elements, at);
    elements.sort();
    elements.dedup_by(|a, b| match (&*a, &*b) {
        (Element::Range { from: a, to: b, .. }, Element::Range { from: c, to: d, .. }) => a == c && b == d,
        (Element::CatchAll { .. }, Element::CatchAll { .. }) => true,
        _ => false,
    });
    *held = elements.into();
    kind
}

fn with_key(rng: &mut Rng, element: &Element) -> Element {
    let Element::Range { from, to, data } = element else { return element.clone() };
    let (mut from, mut to) = (from.clone(), to.clone());
    let exact = from == to;
    // A byte that is no padding, most likely.
    let at = rng.below(from.len());
    let bit = 1 << rng.below(8);
    from[at] ^= bit;
    if exact {
        to.clone_from(&from);
    }
    if from > to {
        std::mem::swap(&mut from, &mut to);
    }
    Element::Range { from, to, data: data.clone() }
}

fn set_data(element: &mut Element, new: Option<Data>) {
    match element {
        Element::Range { data, .. } | Element::CatchAll { data } => *data = new,
    }
}

fn rule(
    rng: &mut Rng,
    table: &mut Table,
    change: impl Fn(&mut Rng, &mut Chain, usize),
    kind: &'static str,
) -> &'static str {
    let full: Vec<String> = table.chains.iter().filter(|(_, c)| !c.rules.is_empty()).map(|(n, _)| n.clone()).collect();
    let name = rng.pick(&full).clone();
    let chain = table.chains.get_mut(&name).expect("a chain");
    let at = rng.below(chain.rules.len());
    change(rng, Arc::make_mut(chain), at);
    kind
}

fn alter(rng: &mut Rng, exprs: &mut Vec<Expr>, at: usize) {
    match &mut exprs[at] {
        Expr::Cmp { data, .. } | Expr::Immediate { data, .. } | Expr::Bitwise { mask: data, .. }
            if !data.is_empty() =>
        {
            let byte = rng.below(data.len());
            data[byte] ^= 1 << rng.below(8);
        }
        Expr::Payload { offset, .. } => *offset ^= 4,
        Expr::Lookup { invert, dreg: None, verdict: false, .. } => *invert = !*invert,
        Expr::Lookup { sreg, .. } => *sreg = Reg::new((sreg.index() + 1) % 16),
        Expr::Verdict(verdict) => {
            *verdict = if *verdict == Verdict::Accept { Verdict::Drop } else { Verdict::Accept };
        }
        Expr::Counter => drop(exprs.remove(at)),
        _ => drop(exprs.remove(at)),
    }
}

fn base(rng: &mut Rng, table: &mut Table) -> &'static str {
    let names: Vec<String> = table.chains.iter().filter(|(_, c)| c.base.is_some()).map(|(n, _)| n.clone()).collect();
    let name = rng.pick(&names).clone();
    let chain = Arc::make_mut(table.chains.get_mut(&name).expect("a chain"));
    let Some(base) = &mut chain.base else { return "base" };
    match rng.below(3) {
        0 => base.policy = Policy::Drop,
        1 => base.hook = *rng.pick(&[Hook::Prerouting, Hook::Input, Hook::Forward, Hook::Output]),
        _ => {
            base.priority -= 100;
            return "priority changed";
        }
    }
    "policy or hook changed"
}
