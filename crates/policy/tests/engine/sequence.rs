//! An index that has seen many changes is the index of what is there: it decides alike, for all packets.

use std::collections::BTreeSet;
use std::net::IpAddr;

use tortie_model::{Direction, ObjectRef, Pod};
use tortie_policy::{Index, Stack};
use tortie_testkit::{Cluster, Rng, build, random};

const SEQUENCES: u64 = 120;
const STEPS: usize = 8;

/// Addresses of anybody in one of these clusters, and of nobody.
fn addresses(clusters: &[&Cluster]) -> BTreeSet<IpAddr> {
    let pods = clusters.iter().flat_map(|c| &c.pods).flat_map(|p| p.ips.clone());
    let nodes = clusters.iter().flat_map(|c| &c.nodes).flat_map(|n| n.addresses.clone());
    let nobody = ["203.0.113.5", "10.244.1.77", "2001:db8::1", "fd00:244:2::77"].map(build::ip);
    pods.chain(nodes).chain(nobody).collect()
}

/// All that can be seen of an index without asking about packets.
type Seen = (Vec<Pod>, Vec<String>, Vec<String>, Vec<ObjectRef>, Vec<Option<String>>, Vec<Stack>);

fn seen(index: &Index, addresses: &BTreeSet<IpAddr>) -> Seen {
    let stacks = index.pods().flat_map(|p| Direction::BOTH.map(|d| index.stack(p, d)));
    (
        index.pods().map(|p| (**p).clone()).collect(),
        index.namespaces().map(|n| format!("{n:?}")).collect(),
        index.nodes().map(|n| format!("{n:?}")).collect(),
        index.policies().map(|p| p.object.clone()).collect(),
        addresses.iter().map(|ip| index.owner(*ip).map(|p| p.key())).collect(),
        stacks.collect(),
    )
}

fn shuffled<T>(rng: &mut Rng, mut items: Vec<T>) -> Vec<T> {
    for i in (1..items.len()).rev() {
        items.swap(i, rng.below(i + 1));
    }
    items
}

#[test]
fn an_index_that_was_changed_is_the_index_of_what_is_there() {
    let (mut changes, mut silent) = (0, 0);
    for seed in 0..random::clusters(SEQUENCES) {
        let mut rng = Rng::new(seed);
        let mut cluster = match rng.below(4) {
            0 => random::cluster(&mut rng),
            1 => random::tiered_cluster(&mut rng),
            _ => random::three_apis(&mut rng),
        };
        let mut index = cluster.index();
        for step in 0..STEPS {
            let mut next = random::changed(&mut rng, &cluster);
            if rng.chance(20) {
                let addresses = *rng.pick(&[["192.168.0.2", "fd00:192::2"], ["192.168.0.3", "fd00:192::3"]]);
                next.nodes[1] = build::node("n2", &addresses);
            }
            let case = format!("seed {seed} step {step}\n--- from\n{cluster}--- to\n{next}");
            let known = addresses(&[&cluster, &next]);
            let deltas = cluster.deltas_to(&next);
            for delta in shuffled(&mut rng, deltas) {
                let before = seen(&index, &known);
                let told = index.apply(delta.clone());
                let differs = before != seen(&index, &known);
                assert!(told || !differs, "{delta:?} changes something and does not say so in {case}");
                assert!(!index.apply(delta.clone()), "{delta:?} again changes something in {case}");
                changes += usize::from(differs);
                silent += usize::from(told && !differs);
            }
            let fresh = next.index();
            assert_eq!(seen(&index, &known), seen(&fresh, &known), "{case}");
            for from in &known {
                for to in &known {
                    let regions = |index: &Index| {
                        let pair = index.pair(&index.address_side(*from), &index.address_side(*to));
                        (pair.shortcut, pair.regions)
                    };
                    assert_eq!(regions(&index), regions(&fresh), "{from} -> {to} in {case}");
                }
            }
            cluster = next;
        }
    }
    println!("{changes} changes that show, {silent} that do not");
    assert!(changes > 1_000, "{changes} changes prove little");
}
