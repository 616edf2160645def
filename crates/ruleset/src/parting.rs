//! Where two tables part: the first thing on a packet's way that one of them has otherwise, and that changes what
//! becomes of it.
//!
//! A table that judges a packet wrongly differs from the one that should be there, maybe in many things. Both ways are
//! gone side by side; where they part, that one thing is put right in thought, and the packet is sent again, until its
//! fate is the expected one. What was put right is to blame, and what was not needed is left out.

use std::collections::HashMap;
use std::sync::Arc;

use crate::machine::{Asked, Fate, Fault, Machine, Outcome, Packet, Step, Trace};
use crate::{BaseChain, Element, Hook, Rule, Table, Verdict};

/// Most things that are put right for one packet. More than a packet meets.
const MOST: usize = 64;

/// A rule with its place in the chain, from 0.
pub type Placed = (usize, Rule);

/// What is otherwise than it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parting {
    /// The element that a key hits.
    Element {
        /// The map.
        map: String,
        /// The key that is looked up.
        key: Vec<u8>,
        /// What should be hit; `None` if nothing should.
        expected: Option<Element>,
        /// What is hit.
        actual: Option<Element>,
    },
    /// A map is missing.
    MapMissing(String),
    /// A map is empty that should hold several elements.
    MapEmptied(String),
    /// A map has other types.
    MapDeclared(String),
    /// A chain is missing that packets are sent to.
    ChainMissing(String),
    /// A chain has no rules.
    ChainEmptied(String),
    /// A base chain is attached otherwise; `None` where there is none of this name.
    Attached {
        /// The chain.
        chain: String,
        /// How it should be attached.
        expected: Option<BaseChain>,
        /// How it is attached.
        actual: Option<BaseChain>,
    },
    /// A rule is another, is missing (`actual` is `None`), or should not be there (`expected` is `None`).
    Rule {
        /// The chain.
        chain: String,
        /// What should be there.
        expected: Option<Placed>,
        /// What is there.
        actual: Option<Placed>,
    },
}

/// A parting on a packet's way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parted {
    /// What is otherwise.
    pub parting: Parting,
    /// The chains that the packet should be in from there on, in order.
    pub expected: Vec<String>,
    /// The chains that it is in.
    pub actual: Vec<String>,
}

/// Two tables, to be asked where they part.
#[derive(Debug)]
pub struct Partings<'a> {
    expected: &'a Table,
    actual: &'a Table,
    machine: Machine<'a>,
}

impl<'a> Partings<'a> {
    /// The table that should be there, and the one that is.
    #[must_use]
    pub fn new(expected: &'a Table, actual: &'a Table) -> Self {
        Self { expected, actual, machine: Machine::new(expected) }
    }

    /// Why a packet has another fate than it should have, in the order in which it meets what is otherwise; empty when it
    /// has the same.
    #[must_use]
    pub fn of(&self, hook: Hook, packet: &Packet) -> Vec<Parted> {
        let wanted = self.machine.trace(hook, packet);
        let mut found = Vec::new();
        let mut mended = self.actual.clone();
        while found.len() < MOST {
            let Some((parted, next)) = self.first(&mended, hook, packet, &wanted) else { break };
            found.push(parted);
            mended = next;
        }
        // One of them may be enough; the last is, if any.
        let enough = |parted: &&Parted| {
            let mut mended = self.actual.clone();
            parted.parting.mend(self.expected, &mut mended);
            passes(&Machine::new(&mended).trace(hook, packet)) == passes(&wanted)
        };
        match found.iter().rev().find(enough) {
            Some(one) if found.len() > 1 => vec![one.clone()],
            _ => found,
        }
    }

    /// The first thing on a packet's way that a table has otherwise, and the table without that fault.
    fn first(&self, table: &Table, hook: Hook, packet: &Packet, wanted: &Trace<'_>) -> Option<(Parted, Table)> {
        let machine = Machine::new(table);
        let trace = machine.trace(hook, packet);
        if passes(&trace) == passes(wanted) {
            return None;
        }
        let parted = Pair::new(self.expected, table).part(wanted, &trace)?;
        let mut mended = table.clone();
        parted.parting.mend(self.expected, &mut mended);
        (mended != *table).then_some((parted, mended))
    }
}

/// Whether a packet gets through; `None` where a kernel would have refused the table.
fn passes(trace: &Trace<'_>) -> Option<bool> {
    trace.fate.as_ref().ok().map(|fate| *fate == Fate::Accept)
}

impl Parting {
    /// Puts it right.
    fn mend(&self, expected: &Table, table: &mut Table) {
        let chain = |name: &String, table: &mut Table| match expected.chains.get(name) {
            Some(chain) => drop(table.chains.insert(name.clone(), chain.clone())),
            None => drop(table.chains.remove(name)),
        };
        match self {
            Self::Element { map, expected: wanted, actual, .. } => {
                let known = expected.maps.get(map).map(|(_, elements)| elements);
                let Some((_, elements)) = table.maps.get_mut(map) else { return };
                if let Some(actual) = actual.as_ref().filter(|e| known.is_none_or(|known| !known.contains(e))) {
                    elements.remove(actual);
                }
                elements.extend(wanted.clone());
            }
            Self::MapMissing(map) | Self::MapEmptied(map) | Self::MapDeclared(map) => {
                if let Some(known) = expected.maps.get(map) {
                    table.maps.insert(map.clone(), known.clone());
                }
            }
            Self::ChainMissing(name) | Self::ChainEmptied(name) | Self::Rule { chain: name, .. } => chain(name, table),
            Self::Attached { chain: name, expected: base, .. } => match (table.chains.get(name), base) {
                (None, Some(_)) => chain(name, table),
                (Some(there), _) => {
                    let mut attached = (**there).clone();
                    attached.base = *base;
                    table.chains.insert(name.clone(), Arc::new(attached));
                }
                (None, None) => {}
            },
        }
    }
}

/// Two ways, gone side by side: by the table that should be there, and by the one that is.
struct Pair<'a> {
    tables: [&'a Table; 2],
    /// By chain: the partners of its rules, from both sides.
    aligned: HashMap<&'a str, [Vec<Option<usize>>; 2]>,
}

/// How two ways go on from a pair of rules of one chain.
enum Go {
    /// Side by side.
    Both,
    /// A rule that only one of the tables has says nothing to the packet.
    One(usize),
    /// Not together.
    Part(Parting),
}

impl<'a> Pair<'a> {
    fn new(expected: &'a Table, actual: &'a Table) -> Self {
        Self { tables: [expected, actual], aligned: HashMap::new() }
    }

    fn part(&mut self, expected: &Trace<'a>, actual: &Trace<'a>) -> Option<Parted> {
        let mut ways = [&expected.steps[..], &actual.steps[..]];
        loop {
            let go = match [ways[0].first(), ways[1].first()] {
                [Some(Step::Rule(a)), Some(Step::Rule(b))] if a.chain == b.chain && a.depth == b.depth => {
                    self.rules(a, b)
                }
                [wanted, there] if depth(wanted) != depth(there) => match (self.lost(actual), wanted, there) {
                    (Some(parting), _, None) => Go::Part(parting),
                    // Who is less deep has left the chain by its end.
                    (_, Some(Step::Rule(a)), _) if depth(wanted) > depth(there) => self.alone(0, a),
                    (_, _, Some(Step::Rule(b))) => self.alone(1, b),
                    _ => return None,
                },
                [Some(a), Some(b)] if a == b => Go::Both,
                [None, None] => Go::Part(self.lost(actual)?),
                steps => Go::Part(steps.into_iter().flatten().find_map(|step| self.attached(step))?),
            };
            match go {
                Go::Both => ways = ways.map(|way| &way[1..]),
                Go::One(side) => ways[side] = &ways[side][1..],
                Go::Part(parting) => {
                    let [expected, actual] = ways.map(chains);
                    return Some(Parted { parting, expected, actual });
                }
            }
        }
    }

    /// A packet was sent to a chain that is missing: both ways end with the rule that sent it.
    fn lost(&self, actual: &Trace<'_>) -> Option<Parting> {
        let Err(Fault::Missing { name, .. }) = &actual.fate else { return None };
        let [expected, there] = self.tables.map(|t| t.chains.contains_key(name));
        (expected && !there).then(|| Parting::ChainMissing(name.clone()))
    }

    /// The base chain of a step, if it is not attached as it should be.
    fn attached(&self, step: &Step<'_>) -> Option<Parting> {
        let (Step::Begin(name) | Step::End(name, _)) = step else { return None };
        let [expected, actual] = self.tables.map(|t| t.chains.get(*name).and_then(|c| c.base));
        (expected != actual).then(|| Parting::Attached { chain: (*name).to_owned(), expected, actual })
    }

    /// Two rules at the same place.
    fn rules(&mut self, a: &Asked<'a>, b: &Asked<'a>) -> Go {
        let [of_a, of_b] = self.aligned(a.chain);
        if of_b.get(b.at).is_some_and(Option::is_none) {
            return self.alone(1, b);
        }
        if of_a.get(a.at).is_some_and(Option::is_none) {
            return self.alone(0, a);
        }
        if a.outcome == b.outcome {
            return Go::Both;
        }
        let changed = Go::Part(self.rule(a.chain, Some(a.at), Some(b.at)));
        let [before, after] = [(0, a), (1, b)].map(|(side, asked)| self.rule_of(side, asked.chain, asked.at));
        if before.map(|r| &r.exprs) != after.map(|r| &r.exprs) {
            return changed;
        }
        // The rule is the same: the maps are not.
        for (wanted, there) in a.looked.iter().zip(&b.looked) {
            let map = || wanted.map.to_owned();
            if wanted.key != there.key {
                return Go::Part(Parting::MapDeclared(map()));
            }
            if wanted.found.map(Element::data) != there.found.map(Element::data) {
                let [many, none] =
                    self.tables.map(|t| t.maps.get(wanted.map).map_or(0, |(_, elements)| elements.len()));
                if many > 1 && none == 0 {
                    return Go::Part(Parting::MapEmptied(map()));
                }
                let (expected, actual) = (wanted.found.cloned(), there.found.cloned());
                return Go::Part(Parting::Element { map: map(), key: wanted.key.clone(), expected, actual });
            }
        }
        match &b.outcome {
            Err(Fault::Missing { name, .. }) => Go::Part(Parting::MapMissing(name.clone())),
            _ => match a.looked.last() {
                Some(looked) => Go::Part(Parting::MapDeclared(looked.map.to_owned())),
                None => changed,
            },
        }
    }

    /// A rule that the other table does not have.
    fn alone(&self, side: usize, asked: &Asked<'a>) -> Go {
        match &asked.outcome {
            Ok(Outcome::Next | Outcome::Verdict(Verdict::Continue)) => Go::One(side),
            _ if side == 0 => Go::Part(self.rule(asked.chain, Some(asked.at), None)),
            _ => Go::Part(self.rule(asked.chain, None, Some(asked.at))),
        }
    }

    fn rule(&self, chain: &str, expected: Option<usize>, actual: Option<usize>) -> Parting {
        if self.tables[1].chains.get(chain).is_some_and(|c| c.rules.is_empty()) {
            return Parting::ChainEmptied(chain.to_owned());
        }
        let of = |side, at: Option<usize>| at.and_then(|at| Some((at, self.rule_of(side, chain, at)?.clone())));
        Parting::Rule { chain: chain.to_owned(), expected: of(0, expected), actual: of(1, actual) }
    }

    fn rule_of(&self, side: usize, chain: &str, at: usize) -> Option<&'a Rule> {
        self.tables[side].chains.get(chain)?.rules.get(at)
    }

    fn aligned(&mut self, chain: &'a str) -> &[Vec<Option<usize>>; 2] {
        let tables = self.tables;
        self.aligned.entry(chain).or_insert_with(|| {
            let [expected, actual] = tables.map(|t| t.chains.get(chain).map_or(&[][..], |c| &c.rules[..]));
            partners(expected, actual)
        })
    }
}

fn depth(step: Option<&Step<'_>>) -> usize {
    match step {
        Some(Step::Rule(asked)) => asked.depth + 1,
        _ => 0,
    }
}

/// The chains of the rest of a way, in order.
fn chains(way: &[Step<'_>]) -> Vec<String> {
    let rules = way.iter().filter_map(|step| if let Step::Rule(asked) = step { Some(asked.chain) } else { None });
    let mut chains: Vec<String> = rules.map(str::to_owned).collect();
    chains.dedup();
    chains
}

/// Which rule of a chain corresponds to which of another version of it, when as few as can be were added, taken away or
/// changed; `None` for those that were added or taken away.
fn partners(expected: &[Rule], actual: &[Rule]) -> [Vec<Option<usize>>; 2] {
    let (n, m) = (expected.len(), actual.len());
    let same = |i: usize, j: usize| expected[i].exprs == actual[j].exprs;
    // How many steps it takes from the rules from `i` on to those from `j` on.
    let mut steps = vec![vec![0; m + 1]; n + 1];
    for (i, j) in (0..=n).rev().flat_map(|i| (0..=m).rev().map(move |j| (i, j))) {
        steps[i][j] = match (i < n, j < m) {
            (true, true) if same(i, j) => steps[i + 1][j + 1],
            (true, true) => 1 + steps[i + 1][j + 1].min(steps[i + 1][j]).min(steps[i][j + 1]),
            _ => n - i + m - j,
        };
    }
    let mut out = [vec![None; n], vec![None; m]];
    let (mut i, mut j) = (0, 0);
    while i < n && j < m {
        if same(i, j) || steps[i][j] == 1 + steps[i + 1][j + 1] {
            (out[0][i], out[1][j]) = (Some(j), Some(i));
            (i, j) = (i + 1, j + 1);
        } else if steps[i][j] == 1 + steps[i + 1][j] {
            i += 1;
        } else {
            j += 1;
        }
    }
    out
}

#[cfg(test)]
mod tests;
