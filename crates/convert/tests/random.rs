//! Random clusters: what is converted equals its source for every pair of ends and every packet, what is refused is
//! refused with a flow that both clusters decide differently.

use tortie_connectivity::{Connectivity, Difference};
use tortie_convert::{Api, Refusal, Source, convert};
use tortie_manifest::{Expansion, LoadOptions, Memory, ObjectSet, load};
use tortie_policy::{Delta, Policy, calico_policy, calico_tier, cluster_policy, network_policy};
use tortie_testkit::{Cluster, Rng, random};

fn policies(cluster: &Cluster) -> Vec<Policy> {
    let kubernetes = cluster.policies.iter().map(network_policy);
    let calico = cluster.calico.iter().filter_map(calico_policy);
    kubernetes.chain(calico).chain(cluster.cluster_policies.iter().map(cluster_policy)).collect()
}

/// What became of the clusters that were tried.
#[derive(Debug, Default)]
struct Tally {
    converted: usize,
    refused: usize,
}

fn play(to: Api, clusters: impl Iterator<Item = Cluster>) -> Tally {
    let mut tally = Tally::default();
    for (n, cluster) in clusters.enumerate() {
        let index = cluster.index();
        let tiers = cluster.calico_tiers.iter().map(calico_tier).collect();
        let source = Source::of_rules(&index, policies(&cluster), tiers);
        match convert(&source, to) {
            Ok(converted) => {
                tally.converted += 1;
                // Read by hands of its own, and compared without pods that could come.
                let text: Vec<String> = converted.policies.iter().map(|p| p.document(None)).collect();
                let loaded =
                    load(&Memory::new([("new.yaml", text.join("---\n"))]), &["new.yaml"], &LoadOptions::default());
                assert!(
                    !loaded.has_untrusted_object() || text.is_empty(),
                    "{n}: {:?}\n{}",
                    loaded.diagnostics,
                    text.join("---\n")
                );
                let objects = ObjectSet::of(loaded.objects.iter().map(|o| &o.object), &Expansion::default());
                let mut after = index.clone();
                for object in converted.replaced {
                    assert!(after.apply(Delta::PolicyRemoved(object)));
                }
                for policy in tortie_analysis::deltas::policies(&objects) {
                    assert!(to.has(policy.object.kind));
                    after.apply(Delta::Policy(Box::new(policy)));
                }
                let difference = Difference::between(&Connectivity::of(&index), &Connectivity::of(&after));
                assert!(difference.is_empty(), "{n}: {:?}\n{}", difference.changes.first(), text.join("---\n"));
            }
            Err(Refusal::Differs(difference)) => {
                tally.refused += 1;
                let witness = difference.witness;
                assert_ne!(witness.before.is_allowed(), witness.after.is_allowed());
                if !witness.is_of_strangers() {
                    let now = index.verdict(&witness.from, &witness.to, witness.asked);
                    assert_eq!(now.is_allowed(), witness.before.is_allowed(), "{n}: {witness}");
                }
            }
            Err(other) => panic!("{n}: {other}"),
        }
    }
    tally
}

/// Clusters with policies of some APIs only.
fn clusters(seed: u64, count: u64, keep: impl Fn(&mut Cluster) + 'static) -> impl Iterator<Item = Cluster> {
    let mut rng = Rng::new(seed);
    (0..random::clusters(count)).map(move |_| {
        let mut cluster = random::three_apis(&mut rng);
        keep(&mut cluster);
        cluster
    })
}

fn only_network_policies(cluster: &mut Cluster) {
    cluster.calico.clear();
    cluster.cluster_policies.clear();
}

#[test]
fn network_policies_become_calicos() {
    let tally = play(Api::Calico, clusters(1, 20, only_network_policies));
    assert!(tally.refused * 10 < tally.converted, "{tally:?}");
}

#[test]
fn cluster_policies_become_calicos() {
    let tally = play(
        Api::Calico,
        clusters(2, 20, |cluster| {
            cluster.calico.clear();
            cluster.policies.clear();
        }),
    );
    assert!(tally.converted > tally.refused, "{tally:?}");
}

#[test]
fn network_policies_become_cluster_policies_where_they_only_govern_what_is_sent() {
    let egress = |cluster: &mut Cluster| {
        only_network_policies(cluster);
        cluster.policies.iter_mut().for_each(|p| p.ingress = None);
    };
    let tally = play(Api::ClusterNetworkPolicy, clusters(3, 20, egress));
    assert!(tally.converted > 0 && tally.refused > 0, "{tally:?}");
}

#[test]
fn calicos_become_network_policies_or_are_refused() {
    let alone = |cluster: &mut Cluster| {
        cluster.policies.clear();
        cluster.cluster_policies.clear();
        cluster.calico.truncate(1);
    };
    let tally = play(Api::NetworkPolicy, clusters(4, 20, alone));
    assert!(tally.converted > 0 && tally.refused > 0, "{tally:?}");
}

#[test]
fn whatever_is_refused_has_a_flow_that_shows_it() {
    for to in Api::ALL {
        let tally = play(to, clusters(5, 4, |_| {}));
        assert!(tally.refused > 0, "{to:?} {tally:?}");
    }
}
