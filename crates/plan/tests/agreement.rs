//! On random clusters, all who decide agree: the reference, the engine, the plan in memory, the lowered table.

mod support;

use support::facts;
use support::judges::{Court, Judges};
use tortie_model::Family;
use tortie_plan::Compiler;
use tortie_plan::nft::{Lowering, Options};
use tortie_testkit::coverage::Coverage;
use tortie_testkit::{Cluster, Flow, Rng, random};

const CLUSTERS: u64 = 700;
const FLOWS: usize = 8;

/// Small port budgets and large ones take different ways to the same verdict.
fn options(rng: &mut Rng) -> Options {
    Options { port_budget: *rng.pick(&[1, 64, 1000]), ..Options::default() }
}

fn ask(judges: &Judges<'_>, rng: &mut Rng, cluster: &Cluster, case: &str, coverage: &mut Coverage) {
    for _ in 0..FLOWS {
        let three = cluster.is_of_three_apis();
        let flow = if three { random::detailed_flow(rng, cluster) } else { random::flow(rng, cluster) };
        let more = Flow { traffic: random::traffic(rng, Family::of(flow.from)), ..flow };
        let case = || format!("{case}\n{cluster}");
        let halves = judges.ask_all(&[flow, more], &case);
        for (flow, halves) in [flow, more].into_iter().zip(halves) {
            coverage.count(cluster, flow, halves);
        }
    }
}

fn agree(make: impl Fn(&mut Rng) -> Cluster) -> Coverage {
    let mut coverage = Coverage::default();
    for seed in 0..random::clusters(CLUSTERS) {
        let mut rng = Rng::new(seed);
        let cluster = make(&mut rng);
        let court = Court::of(&cluster, options(&mut rng));
        ask(&court.judges(&cluster), &mut rng, &cluster, &format!("seed {seed}"), &mut coverage);
    }
    coverage
}

#[test]
fn all_who_decide_agree() {
    agree(random::cluster).print_and_hold();
}

/// From ports that rules name, too.
#[test]
fn all_who_know_three_apis_agree() {
    println!("{}", agree(random::three_apis));
}

/// The reference does not know tiers: it is not heard.
#[test]
fn all_who_know_tiers_agree() {
    println!("{}", agree(random::tiered_cluster));
}

/// A compiler and a lowering that have seen other clusters before.
#[test]
fn all_agree_after_changes() {
    let mut coverage = Coverage::default();
    // Each is five clusters.
    for seed in 0..random::clusters(1_000) / 5 {
        let mut rng = Rng::new(seed);
        let mut cluster = match rng.below(3) {
            0 => random::cluster(&mut rng),
            1 => random::tiered_cluster(&mut rng),
            _ => random::three_apis(&mut rng),
        };
        let mut compiler = Compiler::new();
        let mut lowering = Lowering::new(options(&mut rng), None);
        for step in 0..5 {
            let index = cluster.index();
            let transition = compiler.advance(&index, &facts(&cluster));
            let targets = if step == 0 { lowering.start(&transition.after) } else { lowering.advance(&transition) };
            support::check(&transition.after);
            let table = targets.last().expect("a target").table.clone();
            let court = Court { index, plan: transition.after, table };
            ask(&court.judges(&cluster), &mut rng, &cluster, &format!("seed {seed} step {step}"), &mut coverage);
            cluster = random::changed(&mut rng, &cluster);
        }
    }
    println!("{coverage}");
}
