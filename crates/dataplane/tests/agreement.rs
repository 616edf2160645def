//! A lowered table in memory against the reference and the engine, on random clusters and as they change.

mod support;

use std::net::IpAddr;

use support::{facts, wire};
use tortie_dataplane::{Dataplane, Memory};
use tortie_model::{Direction, canonical};
use tortie_plan::nft::prefix::{PathKind, Prefix};
use tortie_plan::nft::{ChainMeaning, Lowering, Options, chain_meaning, phases};
use tortie_plan::{Compiler, Decider, Plan};
use tortie_policy::{By, Half, Index, Shortcut};
use tortie_ruleset::Hook;
use tortie_ruleset::machine::{Fate, Run};
use tortie_testkit::{Cluster, Flow, Rng, random, reference};

struct Asked<'a> {
    cluster: &'a Cluster,
    index: &'a Index,
    plan: &'a Plan,
    flow: Flow,
}

impl Asked<'_> {
    fn is_here(&self, ip: IpAddr) -> bool {
        self.plan.endpoint(canonical(ip)).is_some()
    }

    /// Whether the address is one of this node's ranges, and no pod's.
    fn is_closed(&self, ip: IpAddr) -> bool {
        self.plan.pod_ranges.iter().any(|r| r.contains(&canonical(ip))) && !self.is_here(ip)
    }

    /// Whether the packet shall pass; `None` where it is not this node that is asked.
    fn expected(&self, hook: Hook, tiered: bool) -> Option<bool> {
        let Flow { from, to, traffic, .. } = self.flow;
        let verdict = self.index.verdict(&self.index.address_side(from), &self.index.address_side(to), traffic);
        if verdict.shortcut == Some(Shortcut::LocalNode) {
            return None;
        }
        if self.is_closed(from) || (hook == Hook::Forward && self.is_closed(to)) {
            return Some(false);
        }
        let halves = reference::decide(self.cluster, self.flow);
        let (egress, ingress) = if tiered {
            (verdict.egress.is_allowed(), verdict.ingress.is_allowed())
        } else {
            (halves.egress, halves.ingress)
        };
        Some((!self.is_here(from) || egress) && (!self.is_here(to) || ingress))
    }

    /// A dropped packet's record names the rule by which the engine denies it.
    fn check_record(&self, run: &Run) {
        let Flow { from, to, traffic, .. } = self.flow;
        let [Ok(prefix)] = run.logged.iter().map(|l| l.parse::<Prefix>()).collect::<Vec<_>>()[..] else {
            panic!("{:?}", run.logged)
        };
        let Prefix::Path { kind: PathKind::Deny, direction, path, .. } = prefix else {
            return assert!(self.is_closed(from) || self.is_closed(to), "{prefix}");
        };
        let verdict = self.index.verdict(&self.index.address_side(from), &self.index.address_side(to), traffic);
        let half: &Half = verdict.half(direction);
        let decider = match half.outcome.by {
            By::Rule(position) => Decider::Rule(half.stack.rule_ref(position).unwrap()),
            By::EndOfTier(tier) => Decider::EndOfTier(half.stack.tiers()[tier].name.clone()),
            By::Profile => Decider::Profile,
        };
        assert_eq!(self.plan.paths[&path].by, decider);
    }
}

fn agree(seeds: std::ops::Range<u64>, tiered: bool) {
    let (mut passed, mut dropped, mut logged) = (0, 0, 0);
    for seed in seeds {
        let mut rng = Rng::new(seed);
        let mut cluster = if tiered { random::tiered_cluster(&mut rng) } else { random::cluster(&mut rng) };
        let mut compiler = Compiler::new();
        let options = Options { port_budget: *rng.pick(&[1, 64, 1000]), ..Options::default() };
        let mut lowering = Lowering::new(options, None);
        let mut memory = Memory::new("tortie");
        for turn in 0..3 {
            let (index, facts) = (cluster.index(), facts(&cluster));
            let transition = compiler.advance(&index, &facts);
            let targets = if turn == 0 { lowering.start(&transition.after) } else { lowering.advance(&transition) };
            let held = memory.read().unwrap().unwrap();
            for phase in phases(&held, &targets) {
                memory.apply(&phase).unwrap();
                assert_eq!(memory.verify(&phase.table).unwrap(), []);
            }
            let plan = &transition.after;
            for _ in 0..16 {
                let flow = random::flow(&mut rng, &cluster);
                let asked = Asked { cluster: &cluster, index: &index, plan, flow };
                let (hook, packet) = wire(&index, plan, flow);
                let Some(expected) = asked.expected(hook, tiered) else { continue };
                let run = memory.send(hook, &packet).unwrap_or_else(|f| panic!("seed {seed}: {f}"));
                let case = || format!("seed {seed}, turn {turn}: {flow}\n{run:?}\n{cluster}");
                assert_eq!(run.fate == Fate::Accept, expected, "{}", case());
                let logs = run.logged.iter().any(|l| l.starts_with("tortie L "));
                match run.fate {
                    Fate::Accept => passed += 1,
                    _ if !logs => {
                        asked.check_record(&run);
                        dropped += 1;
                    }
                    _ => {}
                }
                logged += usize::from(logs);
            }
            cluster = random::changed(&mut rng, &cluster);
        }
        let bad = ChainMeaning::Fixed(tortie_plan::nft::prefix::DropKind::Bad);
        assert!(!memory.counters().unwrap().contains_key(&bad), "seed {seed}");
    }
    println!("{passed} passed, {dropped} dropped, {logged} logged on the way");
    assert!(passed > 1000 && dropped > 1000, "{passed} passed, {dropped} dropped");
    assert_eq!(logged > 0, tiered);
}

#[test]
fn a_lowered_plan_decides_as_the_reference_does() {
    agree(0..150, false);
}

#[test]
fn a_lowered_plan_decides_as_the_engine_does_with_tiers() {
    agree(1000..1150, true);
}

#[test]
fn chains_of_paths_say_what_they_count() {
    let path = |direction, n| Some(ChainMeaning::Path(direction, tortie_plan::PathId(n)));
    assert_eq!(chain_meaning("deny_i12.3"), path(Direction::Ingress, 12));
    assert_eq!(chain_meaning("allow_e7.1"), path(Direction::Egress, 7));
    for other in ["egress4.1", "deny_i.1", "deny_x1.1", "forward", "source.1", "icid4.9"] {
        assert_eq!(chain_meaning(other), None, "{other}");
    }
}
