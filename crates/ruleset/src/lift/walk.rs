//! Sets of packets on their way through the chains.

use std::collections::BTreeSet;
use std::sync::Arc;

use tortie_persistent::Map;

use super::answers::Answers;
use super::cube::{Cube, unite};
use super::cuts::Layout;
use super::rule::{End, RuleRun};
use super::set::ClassSet;
use super::space::Space;
use crate::machine::{Connection, Fate, Fault, Interface, JUMPS};
use crate::{Chain, ChainKind, Hook, Policy, Table, Verdict};

/// What packets have in common that are walked together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// Where they are met.
    pub hook: Hook,
    /// The interface that they came in by.
    pub input: Option<Interface>,
    /// What connection tracking says.
    pub connection: Connection,
}

/// Packets with one fate.
#[derive(Clone, Debug)]
pub struct Leaf {
    /// Which.
    pub cube: Cube,
    /// What becomes of them, or why the machine would not go on.
    pub fate: Result<Fate, Fault>,
}

/// The fate of all packets of a head. No two leaves have a packet in common.
#[derive(Clone, Debug, Default)]
pub struct Walked {
    /// The fates.
    pub leaves: Vec<Leaf>,
    /// Rules that looked at something that is no part of what a packet is here, as chain and rule.
    pub odd: BTreeSet<(String, usize)>,
    /// Whether the mark of the connection was looked at.
    pub mark: bool,
    /// Whether it was looked at whether the packet is a reply.
    pub direction: bool,
}

/// A table made ready for sets of packets.
#[derive(Debug)]
pub struct Lift<'a> {
    chains: &'a Map<String, Arc<Chain>>,
    pub(super) space: &'a Space,
    pub(super) answers: Answers<'a>,
    /// Traffic by the layout of its transport header; without one last.
    pub(super) layouts: Vec<(Option<Layout>, ClassSet)>,
}

impl<'a> Lift<'a> {
    /// Prepares a table for the packets of a space, whose cuts include those of the table.
    #[must_use]
    pub fn new(table: &'a Table, space: &'a Space) -> Self {
        let layouts = [Some(Layout::Port), Some(Layout::Type), Some(Layout::Opaque), None].map(|layout| {
            let of = |class: usize| (!space.traffic()[class].headless).then(|| space.layout_of(class));
            (layout, ClassSet::of(space.traffic().len(), |class| of(class) == layout))
        });
        Self { chains: &table.chains, space, answers: Answers::new(table, space), layouts: layouts.into() }
    }

    /// Walks all packets of a head through the base chains of its hook.
    #[must_use]
    pub fn run(&self, head: &Head) -> Walked {
        let every = self.space.addresses_where(|_| true);
        let traffic = self.space.traffic_where(|_| true);
        let mut cubes = vec![Cube { source: every.clone(), destination: every, traffic }];
        let at_hook =
            |(name, chain): (&'a String, &'a Arc<Chain>)| Some((chain.base.filter(|b| b.hook == head.hook)?, name));
        let mut base: Vec<_> = self.chains.iter().filter_map(at_hook).collect();
        base.sort_by_key(|(b, name)| (b.priority, *name));
        let mut walk = Walk { lift: self, head, accepted: Vec::new(), out: Walked::default() };
        for (attachment, name) in base {
            if attachment.kind == ChainKind::Nat && head.connection.state != Connection::NEW {
                continue;
            }
            let fallen = walk.chain(name, cubes, 0, 0);
            match attachment.policy {
                Policy::Accept => walk.accepted.extend(fallen),
                Policy::Drop => walk.end(fallen, &Ok(Fate::Drop)),
            }
            cubes = unite(std::mem::take(&mut walk.accepted));
        }
        walk.end(cubes, &Ok(Fate::Accept));
        walk.out
    }
}

/// A head on its way.
pub(super) struct Walk<'a, 'w> {
    pub(super) lift: &'w Lift<'a>,
    pub(super) head: &'w Head,
    /// By the base chain that is walked.
    accepted: Vec<Cube>,
    pub(super) out: Walked,
}

impl<'a> Walk<'a, '_> {
    pub(super) fn end(&mut self, cubes: Vec<Cube>, fate: &Result<Fate, Fault>) {
        self.out.leaves.extend(cubes.into_iter().map(|cube| Leaf { cube, fate: fate.clone() }));
    }

    /// Walks a chain; returns what comes back from it.
    fn chain(&mut self, name: &'a str, cubes: Vec<Cube>, jumps: usize, gotos: usize) -> Vec<Cube> {
        let rules = &self.lift.chains[name].rules;
        let (mut here, mut back) = (cubes, Vec::new());
        for (at, rule) in rules.iter().enumerate() {
            if here.is_empty() {
                break;
            }
            let ended = RuleRun::new(self, name, at).run(rule, std::mem::take(&mut here));
            here = ended.next;
            for (end, cubes) in ended.ends {
                let cubes = unite(cubes);
                match end {
                    End::Verdict(Verdict::Continue) => here.extend(cubes),
                    End::Verdict(Verdict::Accept) => self.accepted.extend(cubes),
                    End::Verdict(Verdict::Drop) => self.end(cubes, &Ok(Fate::Drop)),
                    End::Reject => self.end(cubes, &Ok(Fate::Reject)),
                    End::Verdict(Verdict::Return) => back.extend(cubes),
                    End::Verdict(Verdict::Jump(to) | Verdict::Goto(to)) => {
                        let Some((to, _)) = self.lift.chains.get_key_value(to) else {
                            let fault = Fault::Missing { chain: name.to_owned(), rule: at, name: to.clone() };
                            self.end(cubes, &Err(fault));
                            continue;
                        };
                        let jump = matches!(end, End::Verdict(Verdict::Jump(_)));
                        if jump && jumps == JUMPS || !jump && gotos > self.lift.chains.len() {
                            let fault = Fault::Depth { chain: name.to_owned(), rule: at };
                            self.end(cubes, &Err(fault));
                        } else if jump {
                            here.extend(self.chain(to, cubes, jumps + 1, 0));
                        } else {
                            back.extend(self.chain(to, cubes, jumps, gotos + 1));
                        }
                    }
                }
            }
            here = unite(here);
        }
        back.extend(here);
        unite(back)
    }
}
