//! The engine against the reference, where the policies of all three APIs meet: who decides, and who passed it on.

use tortie_model::Direction;
use tortie_policy::{By, Half, Index, Outcome, RuleRef, Side, Verdict};
use tortie_testkit::coverage::Coverage;
use tortie_testkit::reference::{self, Decision, Decisions, RuleName};
use tortie_testkit::{Cluster, Flow, Rng, random, smallest};

const CLUSTERS: u64 = 1_000;
const FLOWS: usize = 12;
/// Differences to cut down and show, at most.
const SHOWN: usize = 5;

/// What the engine decided, in the words of the reference.
pub(crate) fn told(half: &Half) -> Decision {
    let Outcome { verdict, by, passed } = &half.outcome;
    let name = |rule: RuleRef| -> RuleName { (rule.policy, rule.index) };
    let rule = |position| name(half.stack.rule_ref(position).expect("a rule of this stack"));
    Decision {
        allowed: *verdict == Verdict::Allow,
        by: match *by {
            By::Rule(position) => reference::By::Rule(rule(position)),
            By::EndOfTier(tier) => reference::By::EndOfTier(half.stack.tiers()[tier].name.clone()),
            By::Profile => reference::By::Profile,
        },
        passed: passed.iter().copied().map(rule).collect(),
    }
}

/// The same packet among all packets from its port.
fn among_all(half: &Half, peer: &Side, flow: Flow, names: tortie_policy::Names<'_>) -> Outcome {
    let matched = half.stack.matched(peer);
    half.stack.resolve_from(flow.source_port, &matched, names).get(flow.traffic).clone()
}

/// Compares one packet; what the reference says, when the engine says the same.
fn compare(index: &Index, cluster: &Cluster, flow: Flow) -> Result<Decisions, String> {
    let expected = reference::explain(cluster, flow);
    let (from, to) = (index.address_side(flow.from), index.address_side(flow.to));
    let verdict = index.verdict(&from, &to, flow.asked());
    let names = tortie_policy::Names::between(from.pod().map(|p| &**p), to.pod().map(|p| &**p));
    for (direction, peer, expected) in
        [(Direction::Egress, &to, &expected.egress), (Direction::Ingress, &from, &expected.ingress)]
    {
        let half = verdict.half(direction);
        if told(half) != *expected {
            return Err(format!("{direction}: engine {:?}\n  reference {expected:?}", told(half)));
        }
        let all = among_all(half, peer, flow, names);
        if all != half.outcome {
            return Err(format!("{direction}: among all packets {all:?}\n  one at a time {:?}", half.outcome));
        }
    }
    Ok(expected)
}

#[test]
fn the_engine_says_what_the_texts_of_three_apis_say() {
    let (mut different, mut coverage) = (0, Coverage::of_three_apis());
    for seed in 0..random::clusters(CLUSTERS) {
        let mut rng = Rng::new(seed);
        let cluster = random::three_apis(&mut rng);
        let index = cluster.index();
        for _ in 0..FLOWS {
            let flow = random::detailed_flow(&mut rng, &cluster);
            if let Ok(decisions) = compare(&index, &cluster, flow) {
                coverage.count_decisions(&cluster, flow, &decisions);
            } else {
                different += 1;
                if different > SHOWN {
                    continue;
                }
                let small = smallest(&cluster, |c| compare(&c.index(), c, flow).is_err());
                let difference = compare(&small.index(), &small, flow).expect_err("it is what fails");
                println!("seed {seed}: {flow}\n  {difference}\n{small}");
            }
        }
    }
    assert_eq!(different, 0, "cases differ; the first are shown above");
    coverage.print_and_hold();
}
