//! The engine against the reference: for one packet, and for all packets at once.

use tortie_policy::Verdict;
use tortie_testkit::coverage::Coverage;
use tortie_testkit::{Flow, Rng, random, reference};

use crate::apis::told;

const CLUSTERS: u64 = 1_500;
const FLOWS: usize = 12;

#[test]
fn the_engine_says_what_the_texts_say() {
    let mut coverage = Coverage::default();
    for seed in 0..random::clusters(CLUSTERS) {
        let mut rng = Rng::new(seed);
        let cluster = random::cluster(&mut rng);
        let index = cluster.index();
        for _ in 0..FLOWS {
            let flow = random::flow(&mut rng, &cluster);
            let expected = reference::decide(&cluster, flow);
            let (from, to) = (index.address_side(flow.from), index.address_side(flow.to));
            let verdict = index.verdict(&from, &to, flow.traffic);
            let case = || format!("seed {seed}: {flow}\n{cluster}");
            let engine = (verdict.egress.is_allowed(), verdict.ingress.is_allowed());
            assert_eq!(engine, (expected.egress, expected.ingress), "(egress, ingress) in {}", case());

            let pair = index.pair(&from, &to);
            let (egress, ingress) = pair.regions.get(flow.traffic);
            let regions = (egress.verdict == Verdict::Allow, ingress.verdict == Verdict::Allow);
            assert_eq!(regions, engine, "regions in {}", case());
            assert_eq!(*pair.allowed().get(flow.traffic), expected.is_allowed(), "allowed regions in {}", case());
            assert_eq!(*egress, verdict.egress.outcome, "egress trace in {}", case());
            assert_eq!(*ingress, verdict.ingress.outcome, "ingress trace in {}", case());
            // The same by the text of tiers, which NetworkPolicy does not have.
            let tiers = reference::explain(&cluster, flow);
            assert_eq!(tiers.halves(), expected, "tiers in {}", case());
            assert_eq!(told(&verdict.egress), tiers.egress, "egress, by whom, in {}", case());
            assert_eq!(told(&verdict.ingress), tiers.ingress, "ingress, by whom, in {}", case());
            coverage.count(&cluster, flow, expected);
        }
    }
    coverage.print_and_hold();
}

/// One packet at a time, and all at once, walk the same stack: with tiers, and with all actions.
#[test]
fn tiers_decide_alike_one_packet_at_a_time_and_all_at_once() {
    for seed in 0..random::clusters(CLUSTERS) {
        let mut rng = Rng::new(seed);
        let cluster = random::tiered_cluster(&mut rng);
        let index = cluster.index();
        for _ in 0..FLOWS {
            let Flow { from, to, traffic, .. } = random::flow(&mut rng, &cluster);
            let (from, to) = (index.address_side(from), index.address_side(to));
            let verdict = index.verdict(&from, &to, traffic);
            let pair = index.pair(&from, &to);
            let regions = pair.regions.get(traffic);
            let case = || format!("seed {seed}: {:?} -> {:?} {traffic}\n{cluster}", from.ip(), to.ip());
            assert_eq!(*regions, (verdict.egress.outcome.clone(), verdict.ingress.outcome.clone()), "{}", case());
        }
    }
}

/// Policies that are known to select a pod make the stack that the index finds for it.
#[test]
fn the_policies_of_a_pod_make_its_stack() {
    let mut governed = 0;
    for seed in 0..random::clusters(CLUSTERS) {
        let index = random::tiered_cluster(&mut Rng::new(seed)).index();
        for pod in index.pods().filter(|p| !p.host_network) {
            let namespace = index.namespace(&pod.meta.namespace).expect("a namespace for every pod");
            let mut selecting: Vec<_> = index.policies().filter(|p| p.subject.selects(pod, namespace)).collect();
            selecting.reverse();
            for direction in tortie_model::Direction::BOTH {
                let stack = index.stack(pod, direction);
                assert_eq!(index.stack_of(Some(pod), direction, selecting.iter().copied()), stack, "seed {seed}");
                governed += usize::from(stack.policies().count() > 1);
            }
        }
    }
    assert!(governed > 1_000, "{governed} pods were governed by several policies");
}
