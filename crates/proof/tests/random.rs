//! Tables of random clusters: as they are lowered nothing is found, and what is broken in them is.

mod corruption;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tortie_model::{Direction, IpProtocol, Traffic};
use tortie_plan::nft::{Lane, Lowering, Options, REVOKED_BIT};
use tortie_plan::{Compiler, NodeFacts, Plan, PodInterface};
use tortie_policy::{Asked, Index, Names, PodKey, Verdict};
use tortie_proof::{Blamer, Claim, Proof, Witness, prove};
use tortie_ruleset::machine::{Connection, Fate, Interface, Machine, Packet};
use tortie_ruleset::{Chain, Expr, Hook, Table, Verdict as End};
use tortie_testkit::{Cluster, Rng, random};

struct Ground {
    lane: Lane,
    cluster: Cluster,
    index: Index,
    facts: NodeFacts,
    plan: Plan,
    table: Table,
}

/// What node `n1` knows of itself: all its pods have links.
fn facts(cluster: &Cluster) -> NodeFacts {
    let pods = cluster.pods.iter().filter(|p| p.node.as_deref() == Some("n1") && !p.host_network);
    let interfaces = pods.filter(|p| !p.phase.is_finished()).map(|p| {
        let serial = u64::from_str_radix(&p.meta.uid, 16).unwrap_or(0);
        let index = u32::try_from(serial & 0x7fff_ffff).unwrap();
        (PodKey::of(p), PodInterface { name: format!("tt{}", &p.meta.name[..9]).into(), index })
    });
    NodeFacts {
        name: "n1".into(),
        interface_prefix: "tt".into(),
        pod_ranges: ["10.244.1.0/24", "fd00:244:1::/64"].map(|r| r.parse().unwrap()).into(),
        interfaces: interfaces.collect(),
    }
}

impl Ground {
    fn new(seed: u64) -> Self {
        Self::of(seed, Lane::Enforcing)
    }

    fn of(seed: u64, lane: Lane) -> Self {
        let mut rng = Rng::new(seed);
        let cluster = if seed.is_multiple_of(2) { random::cluster(&mut rng) } else { random::tiered_cluster(&mut rng) };
        let options = Options { port_budget: *rng.pick(&[1, 64, 1000]), ..Options::default() };
        let (index, facts) = (cluster.index(), facts(&cluster));
        let plan = Compiler::new().compile(&index, &facts);
        let options = if lane == Lane::Shadow { options.shadow() } else { options };
        let table = Lowering::new(options, None).start(&plan).pop().expect("a table").table;
        Self { lane, cluster, index, facts, plan, table }
    }

    fn claim(&self) -> Claim<'_> {
        Claim { lane: self.lane, index: &self.index, facts: &self.facts, problems: &[], revoked_bit: REVOKED_BIT }
    }

    fn prove(&self, table: &Table) -> Proof {
        prove(table, &self.claim())
    }

    /// The engine's answer for one packet that opens a connection through this node, one packet at a time.
    fn opens(&self, packet: &Witness) -> Option<bool> {
        // The engine is not asked about packets without a header.
        let asked = packet.hook == Hook::Forward && !packet.traffic.headless;
        if !asked || packet.packet.connection.state != Connection::NEW {
            return None;
        }
        let traffic = Traffic { protocol: IpProtocol(packet.traffic.protocol), detail: packet.traffic.detail };
        let asked = Asked { traffic, source_port: packet.traffic.source_port };
        let (from, to) = (self.index.address_side(packet.from), self.index.address_side(packet.to));
        let here = |key: &PodKey| self.facts.interfaces.get(key);
        let source = from.pod().map(|p| PodKey::of(p)).filter(|k| here(k).is_some());
        let destination = to.pod().map(|p| PodKey::of(p)).filter(|k| here(k).is_some());
        let input = packet.packet.input.as_ref()?;
        let ranged = |ip| self.facts.pod_ranges.iter().any(|r| r.contains(&ip));
        if input.name.starts_with("tt") {
            let bound = source.as_ref().and_then(here);
            if bound.is_none_or(|i| *i.name != *input.name || i.index != input.index) {
                return Some(false);
            }
        } else if ranged(packet.from) {
            return Some(false);
        }
        if destination.is_none() && ranged(packet.to) {
            return Some(false);
        }
        if source.is_some() && source == destination {
            return Some(self.index.hairpin(&from, asked) == [true; 2]);
        }
        let names = Names::between(from.pod().map(|p| &**p), to.pod().map(|p| &**p));
        let half = |key: &PodKey, direction, peer| {
            let stack = self.index.stack(self.index.pod(key).unwrap(), direction);
            stack.is_empty() || stack.decide(peer, asked, names).verdict == Verdict::Allow
        };
        Some(
            source.is_none_or(|key| !input.name.starts_with("tt") || half(&key, Direction::Egress, &to))
                && destination.is_none_or(|key| half(&key, Direction::Ingress, &from)),
        )
    }

    /// A witness counts only when machine and engine confirm it, packet by packet.
    fn confirm(&self, table: &Table, witness: &Witness) {
        let run = Machine::new(table).run(witness.hook, &witness.packet);
        let passes = run.as_ref().is_ok_and(|r| r.fate == Fate::Accept);
        assert!(run.is_err() || passes != witness.passes, "{witness}");
        if let Some(opens) = self.opens(witness) {
            assert_eq!(opens, witness.passes, "{witness}\n{}", self.cluster);
        }
        // The table as it was lowered does what is expected.
        let before = Machine::new(&self.table).run(witness.hook, &witness.packet).expect("a sound table");
        assert_eq!(before.fate == Fate::Accept, witness.passes, "{witness}");
    }

    /// A packet of any kind.
    fn packet(&self, rng: &mut Rng) -> (Hook, Packet) {
        let flow = random::flow(rng, &self.cluster);
        let (from, to) = (tortie_model::canonical(flow.from), tortie_model::canonical(flow.to));
        let [high, low] = flow.traffic.detail.to_be_bytes();
        let transport = match flow.traffic.protocol {
            p if p.is_icmp() => vec![high, low, 0, 0, 0, 0, 0, 0],
            _ => vec![0, 0, high, low, 0, 0, 0, 0],
        };
        let mut packet = Packet::new(from, to, flow.traffic.protocol.0, transport);
        let pods: Vec<PodInterface> = self.facts.interfaces.values().cloned().collect();
        let own = self.index.owner(from).and_then(|p| self.facts.interfaces.get(&PodKey::of(p)));
        let pod = |i: &PodInterface| Interface { name: i.name.to_string(), index: i.index };
        packet.input = Some(match own {
            Some(own) if rng.chance(85) => pod(own),
            _ if !pods.is_empty() && rng.chance(10) => pod(rng.pick(&pods)),
            _ => Interface { name: "eth0".to_owned(), index: 2 },
        });
        packet.connection.state = match rng.below(10) {
            0 => Connection::ESTABLISHED,
            1 => Connection::INVALID,
            2 => Connection::UNTRACKED,
            _ => Connection::NEW,
        };
        packet.connection.mark = if rng.chance(20) { REVOKED_BIT } else { 0 };
        (if rng.chance(75) { Hook::Forward } else { Hook::Input }, packet)
    }
}

#[test]
fn nothing_is_found_in_tables_as_they_are_lowered() {
    let mut longest = Duration::ZERO;
    for seed in 0..200 {
        let ground = Ground::new(seed);
        let began = Instant::now();
        let proof = ground.prove(&ground.table);
        longest = longest.max(began.elapsed());
        assert!(proof.holds(), "seed {seed}: {:#?}\n{}", proof.findings(), ground.cluster);
    }
    println!("longest proof: {longest:?}");
}

/// What the shadow lane says is held to the same, and what ends a packet there is found.
#[test]
fn nothing_is_found_in_shadow_lanes_as_they_are_lowered() {
    let (mut missed, mut ends) = (0, 0);
    for seed in 0..20 {
        let ground = Ground::of(seed, Lane::Shadow);
        let proof = ground.prove(&ground.table);
        assert!(proof.holds(), "seed {seed}: {:#?}\n{}", proof.findings(), ground.cluster);
        // Each denial in turn says nothing, or drops the packet as well.
        let denials = ground.table.chains.iter().filter(|(name, _)| name.starts_with("deny_"));
        for (name, chain) in denials.take(2) {
            let broken = |change: &dyn Fn(&mut Vec<Expr>)| {
                let mut chain = Chain::clone(chain);
                chain.rules.iter_mut().for_each(|rule| change(&mut rule.exprs));
                let mut table = ground.table.clone();
                table.chains.insert(name.clone(), Arc::new(chain));
                usize::from(!ground.prove(&table).witnesses.is_empty())
            };
            let (silent, drops) = (
                broken(&|exprs| exprs.retain(|e| !matches!(e, Expr::Log { .. }))),
                broken(&|exprs| {
                    let accepts = exprs.iter_mut().filter(|e| **e == Expr::Verdict(End::Accept));
                    accepts.for_each(|e| *e = Expr::Verdict(End::Drop));
                }),
            );
            assert_eq!(silent, drops, "seed {seed}: {name}");
            (missed, ends) = (missed + silent, ends + drops);
        }
    }
    assert!(missed > 10 && ends > 10, "{missed} {ends}");
}

/// Tables that are broken.
const TABLES: u64 = 50;
/// Corruptions of all of them together.
const CORRUPTIONS: u64 = 250;

/// What became of corruptions.
#[derive(Debug, Default)]
struct Tally {
    /// Found with witnesses.
    found: usize,
    /// A rule looks at something that is not followed, and that is said.
    odd: usize,
    /// No packet's fate changes.
    harmless: usize,
    /// Of those found, those of which every witness names what was broken.
    blamed: usize,
    /// By kind: with a witness, without.
    kinds: BTreeMap<&'static str, (usize, usize)>,
}

impl Tally {
    fn add(&mut self, other: Self) {
        self.found += other.found;
        self.odd += other.odd;
        self.harmless += other.harmless;
        self.blamed += other.blamed;
        for (kind, (with, without)) in other.kinds {
            let sum = self.kinds.entry(kind).or_default();
            *sum = (sum.0 + with, sum.1 + without);
        }
    }
}

/// Breaks one table in its share of all ways.
fn break_one(seed: u64, corruptions: u64) -> Tally {
    let ground = Ground::new(seed);
    let mut tally = Tally::default();
    for n in (seed..corruptions).step_by(TABLES as usize) {
        let mut rng = Rng::new(10_000 + n);
        let (kind, table) = loop {
            let mut table = ground.table.clone();
            let kind = corruption::corrupt(&mut rng, &mut table);
            if table != ground.table {
                break (kind, table);
            }
        };
        let mut proof = ground.prove(&table);
        let counts = tally.kinds.entry(kind).or_default();
        if !proof.witnesses.is_empty() {
            proof.witnesses.iter().for_each(|w| ground.confirm(&table, w));
            counts.0 += 1;
            tally.found += 1;
            proof.blame(&Blamer::new(&ground.table, &table, &ground.plan, &ground.index));
            let named = |w: &Witness| match w.blame.as_deref() {
                // One thing was broken.
                Some([one]) => corruption::is_named(&one.parting, &ground.table, &table),
                _ => false,
            };
            tally.blamed += usize::from(proof.witnesses.iter().all(named));
            continue;
        }
        let (sound, broken) = (Machine::new(&ground.table), Machine::new(&table));
        for _ in 0..100 {
            let (hook, packet) = ground.packet(&mut rng);
            let [before, after] = [&sound, &broken].map(|m| m.run(hook, &packet).map(|r| r.fate == Fate::Accept));
            assert_eq!(before, after, "corruption {n} ({kind}) was not found: {packet:?}");
        }
        counts.1 += 1;
        if proof.odd.is_empty() {
            tally.harmless += 1;
        } else {
            tally.odd += 1;
        }
    }
    tally
}

/// Corruptions that change some packet's fate: each is found by witnesses. Those without a witness change the fate of
/// none of many packets.
#[test]
fn what_is_broken_is_found() {
    let all = random::corruptions(CORRUPTIONS);
    let threads = std::thread::available_parallelism().map_or(2, |n| n.get() as u64);
    let mut tally = Tally::default();
    std::thread::scope(|scope| {
        let share = |first: u64| (first..TABLES).step_by(threads as usize).map(|seed| break_one(seed, all));
        let run = |first| scope.spawn(move || share(first).fold(Tally::default(), |mut sum, t| (sum.add(t), sum).1));
        let running: Vec<_> = (0..threads).map(run).collect();
        running.into_iter().for_each(|t| tally.add(t.join().expect("no corruption is missed")));
    });
    let Tally { found, odd, harmless, blamed, kinds } = tally;
    println!("{found} found with witnesses, {odd} not followed, {harmless} change no packet's fate");
    println!("of those found, {blamed} are what every witness blames");
    println!("by kind (with witness, without): {kinds:?}");
    let all = all as usize;
    assert_eq!(found + odd + harmless, all);
    assert!(found * 10 > all * 4 && odd * 100 < all * 3, "too few corruptions mean something");
    assert!(blamed * 100 >= found * 99, "blame misses what was broken: {blamed} of {found}");
}
