//! What a table does with every packet, against the engine.
//!
//! ```text
//! Table ──ruleset::lift──▶ fate of every packet ┐
//!                                               ├─▶ witnesses: packets that the table judges otherwise
//! Index, NodeFacts ──Stack::regions──▶ demand ──┘
//! ```
//!
//! The table is taken as it is read back from the kernel; how it was lowered is not looked at. Both sides are functions
//! of classes of packets, so that no packet is left out: every hook and interface, both families, connections that are
//! new, established, revoked, invalid or exempt from tracking.

mod blame;
mod demand;
mod endpoint;
mod why;
mod witness;
mod words;

use tortie_plan::nft::{Lane, as_enforced};
use tortie_plan::{NodeFacts, Problem};
use tortie_policy::Index;
use tortie_ruleset::lift::{Cuts, Head, IpVersion, Lift, Space, interfaces, marks, odd};
use tortie_ruleset::machine::{Connection, Fate, Interface};
use tortie_ruleset::{Hook, Table};

pub use blame::{Blame, Blamer};
pub use witness::Witness;

use witness::policy_traffic;

use demand::Demand;
use endpoint::Endpoints;

/// Most witnesses that are looked for.
const WITNESSES: usize = 8;

/// What a node's table is for.
#[derive(Clone, Copy, Debug)]
pub struct Claim<'a> {
    /// Whether it enforces, or says what it would do.
    pub lane: Lane,
    /// The cluster as the node knows it.
    pub index: &'a Index,
    /// The node.
    pub facts: &'a NodeFacts,
    /// What is closed because it does not fit.
    pub problems: &'a [Problem],
    /// The bit of the connection mark by which revoked connections are known.
    pub revoked_bit: u32,
}

/// How much was compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extent {
    /// Pods of the node that have a link.
    pub endpoints: usize,
    /// Regions of packets: those that the table does the same with, and that must have the same fate. Together they are
    /// all packets, unless witnesses ended the search.
    pub regions: usize,
}

/// The outcome of a comparison.
#[derive(Clone, Debug, Default)]
pub struct Proof {
    /// What was compared.
    pub extent: Extent,
    /// Packets that the table judges otherwise than the engine; the search ends with the eighth.
    pub witnesses: Vec<Witness>,
    /// Rules that look at something that packets are not told apart by here, as chain and rule (from 0). While there
    /// are any, the absence of witnesses proves nothing.
    pub odd: Vec<(String, usize)>,
}

impl Proof {
    /// Whether the table judges every packet as the engine does.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.witnesses.is_empty() && self.odd.is_empty()
    }

    /// Finds what in the table is to blame for each witness.
    pub fn blame(&mut self, blamer: &Blamer<'_>) {
        for witness in &mut self.witnesses {
            witness.blame = Some(blamer.blame(witness.hook, &witness.packet));
        }
    }

    /// Every finding in words.
    #[must_use]
    pub fn findings(&self) -> Vec<String> {
        let odd = |(chain, rule): &(String, usize)| {
            format!("chain {chain}, rule {rule}: looks at what policy does not know, so nothing is proven")
        };
        self.witnesses.iter().map(ToString::to_string).chain(self.odd.iter().map(odd)).collect()
    }
}

/// Compares what a table does with every packet with what the engine says. Of a table of the shadow lane, what it says
/// of every packet that policy is asked about; it has to let all others go on.
#[must_use]
pub fn prove(table: &Table, claim: &Claim<'_>) -> Proof {
    let read;
    let table = match claim.lane {
        Lane::Enforcing => table,
        Lane::Shadow => {
            read = as_enforced(table);
            &read
        }
    };
    let endpoints = Endpoints::of(claim);
    let mut cuts = Cuts::of(table);
    endpoints.cut_addresses(claim, &mut cuts);
    let known: Vec<Interface> = endpoints.interfaces().collect();
    let extent = Extent { endpoints: endpoints.all.len(), regions: 0 };
    let mut proof = Proof { extent, odd: odd(&cuts), ..Proof::default() };
    for version in IpVersion::ALL {
        let halves = endpoints.halves(claim, Space::new(version, &cuts).addresses());
        halves.cut_traffic(&mut cuts);
        let space = Space::new(version, &cuts);
        let lift = Lift::new(table, &space);
        let demand = Demand::new(claim, &endpoints, &halves, &space);
        let comparison = Comparison { table, space: &space, lift: &lift, demand: &demand };
        comparison.run(&interfaces(&cuts, &known), &marks(&cuts).0, &mut proof);
    }
    proof.odd.sort_unstable();
    proof.odd.dedup();
    proof
}

struct Comparison<'a> {
    table: &'a Table,
    space: &'a Space,
    lift: &'a Lift<'a>,
    demand: &'a Demand<'a>,
}

impl Comparison<'_> {
    fn run(&self, interfaces: &[Interface], marks: &[u32], proof: &mut Proof) {
        let states =
            [Connection::NEW, Connection::ESTABLISHED, Connection::RELATED, Connection::INVALID, Connection::UNTRACKED];
        for hook in [Hook::Forward, Hook::Input, Hook::Output, Hook::Prerouting, Hook::Postrouting] {
            let sent = matches!(hook, Hook::Output | Hook::Postrouting);
            let asked = matches!(hook, Hook::Forward | Hook::Input);
            if !asked && !self.table.chains.values().any(|c| c.base.is_some_and(|b| b.hook == hook)) {
                continue;
            }
            let inputs: Vec<Option<&Interface>> = if sent { vec![None] } else { interfaces.iter().map(Some).collect() };
            for input in inputs {
                for state in states {
                    let (mut by_mark, mut by_direction) = (false, false);
                    for reply in [false, true] {
                        for (nth, mark) in marks.iter().enumerate() {
                            let matters = state == Connection::ESTABLISHED || state == Connection::RELATED;
                            if nth > 0 && !by_mark && !matters || reply && !by_direction {
                                continue;
                            }
                            let connection = Connection { state, mark: *mark, reply };
                            let head = Head { hook, input: input.cloned(), connection };
                            let walked = self.head(&head, proof);
                            (by_mark, by_direction) = (by_mark || walked.0, by_direction || walked.1);
                            if proof.witnesses.len() >= WITNESSES {
                                return;
                            }
                        }
                    }
                }
            }
        }
    }

    /// Compares all packets of a head; tells whether the mark and the direction mattered.
    fn head(&self, head: &Head, proof: &mut Proof) -> (bool, bool) {
        let walked = self.lift.run(head);
        let wanted = self.demand.of(head);
        proof.odd.extend(walked.odd);
        for leaf in &walked.leaves {
            let passes = leaf.fate == Ok(Fate::Accept);
            for want in &wanted {
                let wrong = match (&leaf.fate, passes) {
                    (Err(_), _) => leaf.cube.traffic.clone(),
                    (_, true) => leaf.cube.traffic.without(&want.passes),
                    (_, false) => leaf.cube.traffic.and(&want.passes),
                };
                let source = leaf.cube.source.and(&want.source).first();
                let destination = leaf.cube.destination.and(&want.destination).first();
                let (Some(source), Some(destination)) = (source, destination) else { continue };
                proof.extent.regions += 1;
                let Some(traffic) = wrong.first() else { continue };
                let expected = want.passes.contains(traffic);
                let classes = [source, destination, traffic];
                let ends = [source, destination].map(|class| self.space.addresses()[class]);
                let traffic = policy_traffic(self.space.traffic()[traffic]);
                let why = self.demand.words(want, expected, head, ends, traffic);
                proof.witnesses.push(Witness::of(self.table, self.space, head, classes, (expected, why)));
                if proof.witnesses.len() >= WITNESSES {
                    return (true, true);
                }
            }
        }
        (walked.mark, walked.direction)
    }
}
