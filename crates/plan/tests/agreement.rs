//! A plan in memory against the engine, on random clusters.

mod support;

use support::{facts, hook, interface};
use tortie_model::{Direction, canonical};
use tortie_plan::{AttachmentPoint, Compiler, Decider, Packet, Plan, PlanVerdict};
use tortie_policy::{Action, By, FlowVerdict, Half, Index, Shortcut, Verdict};
use tortie_testkit::{Cluster, Flow, Rng, random, reference};

const CLUSTERS: u64 = 700;
const FLOWS: usize = 16;

/// Checks a plan's answer for a flow against the engine's.
fn compare(index: &Index, plan: &Plan, flow: Flow, case: &dyn Fn() -> String) {
    let (from, to) = (index.address_side(flow.from), index.address_side(flow.to));
    let verdict = index.verdict(&from, &to, flow.traffic);
    let packet = Packet {
        at: hook(index, flow.to),
        interface: interface(index, plan, flow.from),
        source: flow.from,
        destination: flow.to,
        traffic: flow.traffic,
    };
    let found = plan.evaluate(&packet);
    let local = |ip| plan.endpoint(canonical(ip));
    let in_ranges = |ip| plan.pod_ranges.iter().any(|r| r.contains(&ip)) && local(ip).is_none();
    if in_ranges(flow.from) || (packet.at == AttachmentPoint::Forward && in_ranges(flow.to)) {
        let closed = matches!(found, PlanVerdict::Unprogrammed(_));
        // The sender's own policies are asked before that.
        let denied = matches!(found, PlanVerdict::Decided { allowed: false, egress: Some(_), ingress: None, .. });
        let left = !in_ranges(flow.from) && !verdict.egress.is_allowed();
        assert!(closed && !left || denied && left, "{found:?} in {}", case());
        return;
    }
    let PlanVerdict::Decided { allowed, egress, ingress, hairpin } = found else {
        panic!("{found:?} in {}", case());
    };
    // This node decides for its own pods only; another node's pods are decided there.
    let egress_here = local(flow.from).is_some();
    let ingress_here = local(flow.to).is_some();
    if verdict.shortcut == Some(Shortcut::LocalNode) {
        // Comes from this node and not through it: never asked about.
        return;
    }
    let expected = (!egress_here || verdict.egress.is_allowed()) && (!ingress_here || verdict.ingress.is_allowed());
    assert_eq!(allowed, expected, "{found:?}, engine {:?} in {}", halves(&verdict), case());
    if verdict.shortcut == Some(Shortcut::Loopback) {
        return;
    }
    assert!(!hairpin, "{}", case());
    for (path, half, here) in [(egress, &verdict.egress, egress_here), (ingress, &verdict.ingress, ingress_here)] {
        if !here || half.stack.is_empty() || (half.stack.direction() == Direction::Ingress && path.is_none()) {
            continue;
        }
        let path = &plan.paths[&path.unwrap_or_else(|| panic!("no path in {}", case()))];
        assert_eq!(path.verdict, half.outcome.verdict, "{}", case());
        let by = match half.outcome.by {
            By::Rule(p) => Decider::Rule(half.stack.rule_ref(p).unwrap()),
            By::EndOfTier(t) => Decider::EndOfTier(half.stack.tiers()[t].name.clone()),
            By::Profile => Decider::Profile,
        };
        assert_eq!(path.by, by, "{}", case());
        let name = |p: &tortie_policy::Position| half.stack.rule_ref(*p).unwrap();
        assert_eq!(path.passed, half.outcome.passed.iter().map(name).collect::<Vec<_>>(), "{}", case());
        let rules: Vec<_> = half.stack.rules().map(|(_, r)| r.action).collect();
        let logs = half.outcome.passed.iter().filter(|p| rules[p.0 as usize] == Action::Log);
        assert_eq!(path.logged, logs.map(name).collect::<Vec<_>>(), "{}", case());
        match path.by {
            Decider::Rule(_) => {}
            _ => assert_eq!(*path.isolating, *half.isolating(), "{}", case()),
        }
    }
}

fn halves(verdict: &FlowVerdict) -> [(bool, By); 2] {
    [&verdict.egress, &verdict.ingress].map(|h: &Half| (h.outcome.verdict == Verdict::Allow, h.outcome.by))
}

fn agree(clusters: u64, make: impl Fn(&mut Rng) -> Cluster, with_reference: bool) {
    for seed in 0..clusters {
        let mut rng = Rng::new(seed);
        let cluster = make(&mut rng);
        let index = cluster.index();
        let facts = facts(&cluster);
        let plan = Compiler::new().compile(&index, &facts);
        support::check(&plan);
        for _ in 0..FLOWS {
            let flow = random::flow(&mut rng, &cluster);
            compare(&index, &plan, flow, &|| format!("seed {seed}: {flow}\n{cluster}"));
            if with_reference {
                let halves = reference::decide(&cluster, flow);
                let (from, to) = (index.address_side(flow.from), index.address_side(flow.to));
                let verdict = index.verdict(&from, &to, flow.traffic);
                assert_eq!(
                    (verdict.egress.is_allowed(), verdict.ingress.is_allowed()),
                    (halves.egress, halves.ingress)
                );
            }
        }
    }
}

#[test]
fn a_plan_decides_as_the_engine_does() {
    agree(CLUSTERS, random::cluster, true);
}

#[test]
fn a_plan_decides_as_the_engine_does_with_tiers() {
    agree(CLUSTERS, random::tiered_cluster, false);
}

/// A compiler that has seen other clusters before gives plans that decide alike.
#[test]
fn a_plan_decides_as_the_engine_does_after_changes() {
    for seed in 0..200 {
        let mut rng = Rng::new(seed);
        let tiered = rng.chance(50);
        let mut cluster = if tiered { random::tiered_cluster(&mut rng) } else { random::cluster(&mut rng) };
        let mut compiler = Compiler::new();
        for _ in 0..5 {
            let (index, facts) = (cluster.index(), facts(&cluster));
            let plan = compiler.compile(&index, &facts);
            support::check(&plan);
            for _ in 0..FLOWS {
                let flow = random::flow(&mut rng, &cluster);
                compare(&index, &plan, flow, &|| format!("seed {seed}: {flow}\n{cluster}"));
            }
            cluster = random::changed(&mut rng, &cluster);
        }
    }
}
