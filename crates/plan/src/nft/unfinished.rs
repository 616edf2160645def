//! What an attempt that was cut short left behind.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use tortie_persistent::Changed;
use tortie_ruleset::{Chain, Data, Element, Expr, Table, Verdict};

/// Chains and maps that are in the table already, are to hold something else, and that no packet gets to: somebody began
/// to fill them.
#[derive(Debug, Default)]
pub(super) struct Unfinished<'a> {
    pub(super) chains: BTreeSet<&'a str>,
    pub(super) maps: BTreeSet<&'a str>,
}

impl<'a> Unfinished<'a> {
    /// Of the chains and maps that change, those that nothing leads to. Looks no further than until it has found them
    /// all: where nothing was cut short, that is soon.
    pub(super) fn of(
        old: &'a Table,
        chains: &[Changed<'a, String, Arc<Chain>>],
        maps: impl Iterator<Item = &'a str>,
    ) -> Self {
        let differs = |c: &&Changed<'a, String, Arc<Chain>>| {
            let pair = c.old.zip(c.new);
            pair.is_some_and(|(a, b)| a.base.is_none() && b.base.is_none() && a.rules != b.rules)
        };
        let chains = chains.iter().filter(differs).map(|c| &**c.key).collect();
        let mut left = Self { chains, maps: maps.collect() };
        let mut walk = Walk::new(old);
        while !left.is_empty() {
            let Some(chain) = walk.next() else { break };
            left.chains.remove(chain);
            for map in walk.enter(chain) {
                left.maps.remove(map);
            }
        }
        left
    }

    fn is_empty(&self) -> bool {
        self.chains.is_empty() && self.maps.is_empty()
    }
}

/// The chains that packets can get to. What maps lead to is many, and comes when nothing else is left.
struct Walk<'a> {
    table: &'a Table,
    seen: BTreeSet<&'a str>,
    next: Vec<&'a str>,
    by_maps: VecDeque<Box<dyn Iterator<Item = &'a str> + 'a>>,
}

impl<'a> Walk<'a> {
    fn new(table: &'a Table) -> Self {
        let hooked = table.chains.iter().filter(|(_, c)| c.base.is_some());
        let next: Vec<&str> = hooked.map(|(name, _)| &**name).collect();
        Self { table, seen: next.iter().copied().collect(), next, by_maps: VecDeque::new() }
    }

    fn next(&mut self) -> Option<&'a str> {
        if let Some(chain) = self.next.pop() {
            return Some(chain);
        }
        while let Some(map) = self.by_maps.front_mut() {
            match map.find(|chain| !self.seen.contains(chain)) {
                Some(chain) => {
                    self.seen.insert(chain);
                    return Some(chain);
                }
                None => drop(self.by_maps.pop_front()),
            }
        }
        None
    }

    /// Adds what a chain leads to; the maps in which it looks.
    fn enter(&mut self, chain: &str) -> Vec<&'a str> {
        let mut maps = Vec::new();
        for expr in self.table.chains.get(chain).iter().flat_map(|c| &c.rules).flat_map(|r| &r.exprs) {
            match expr {
                Expr::Verdict(verdict) => {
                    self.next.extend(leads_to(verdict).into_iter().filter(|chain| self.seen.insert(chain)));
                }
                Expr::Lookup { map, verdict, .. } => {
                    maps.push(&**map);
                    if let Some((_, elements)) = self.table.maps.get(map).filter(|_| *verdict) {
                        let data = elements.iter().filter_map(Element::data);
                        let chains = data.filter_map(|d| if let Data::Verdict(v) = d { leads_to(v) } else { None });
                        self.by_maps.push_back(Box::new(chains));
                    }
                }
                _ => {}
            }
        }
        maps
    }
}

fn leads_to(verdict: &Verdict) -> Option<&str> {
    if let Verdict::Goto(next) | Verdict::Jump(next) = verdict { Some(next) } else { None }
}
