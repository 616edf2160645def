//! All pairs at once against the engine, pair by pair, on random clusters: with NetworkPolicies, and with tiers and all
//! actions.

use std::net::IpAddr;

use tortie_connectivity::{Connectivity, Name};
use tortie_model::{Family, ObjectRef, Pod};
use tortie_policy::{Index, Regions, Side};
use tortie_testkit::{Cluster, Rng, random};

const CLUSTERS: u64 = 250;
const FLOWS: usize = 20;

/// The ends that a subject stands for, each with its families.
fn ends(index: &Index, name: &Name) -> Vec<(Side, Vec<Family>)> {
    let of = |ip: IpAddr| vec![Family::of(ip)];
    match name {
        Name::Workload(object) => {
            let owns = |pod: &&std::sync::Arc<Pod>| name_of(pod) == *object;
            let pods = index.pods().filter(owns);
            pods.flat_map(|pod| match pod.host_network {
                true => {
                    let sides = Family::ALL.map(|f| index.pod_side(pod, Some(f)).map(|s| (s, vec![f])));
                    sides.into_iter().flatten().collect::<Vec<_>>()
                }
                false if pod.ips.is_empty() => {
                    index.pod_side(pod, None).map(|s| (s, Family::ALL.to_vec())).into_iter().collect()
                }
                false => index.addresses(pod).map(|ip| (index.address_side(ip), of(ip))).collect(),
            })
            .collect()
        }
        Name::Node(name) => {
            let node = index.node(name).expect("a node of that name");
            node.addresses.iter().map(|ip| (index.address_side(*ip), of(*ip))).collect()
        }
        Name::Outside(addresses) => {
            let edges = addresses.ranges().flat_map(|(a, b)| [a, b]);
            let strangers = edges.map(|ip| (index.address_side(ip), of(ip)));
            strangers.filter(|(side, _)| side.pod().is_none() && side.node().is_none()).collect()
        }
    }
}

fn name_of(pod: &Pod) -> ObjectRef {
    let own = || ObjectRef::namespaced(tortie_model::Kind::Pod, &pod.meta.namespace, &pod.meta.name);
    pod.owner.clone().unwrap_or_else(own)
}

/// What the engine says of each pair of ends.
fn engine(index: &Index, from: &Name, to: &Name) -> Vec<Regions<bool>> {
    let mut out = Vec::new();
    for (a, fa) in &ends(index, from) {
        for (b, fb) in &ends(index, to) {
            let same = a.pod().zip(b.pod()).is_some_and(|(a, b)| a.key() == b.key());
            // Of a workload, two different pods are meant.
            let asked = !same || matches!(from, Name::Workload(o) if o.kind == tortie_model::Kind::Pod);
            if asked && fa.iter().any(|f| fb.contains(f)) {
                out.push(index.pair(a, b).allowed());
            }
        }
    }
    out
}

/// Some pods have owners, and so are asked about together.
fn owned(mut cluster: Cluster) -> Cluster {
    for (i, pod) in cluster.pods.iter_mut().enumerate().filter(|(i, _)| i % 3 != 0) {
        let owner = if pod.host_network { "agent" } else { ["web", "db"][i % 2] };
        pod.owner = Some(ObjectRef::namespaced(tortie_model::Kind::Deployment, &pod.meta.namespace, owner));
    }
    cluster
}

fn hold(seed: u64, cluster: &Cluster) {
    let index = cluster.index();
    let connectivity = Connectivity::of(&index);
    let case = |from: &Name, to: &Name| format!("seed {seed}: {from} -> {to}\n{cluster}");
    for (i, from) in connectivity.subjects().iter().enumerate() {
        let row = connectivity.row(i);
        for (j, to) in connectivity.subjects().iter().enumerate() {
            let expected = engine(&index, &from.name, &to.name);
            let outside = |name: &Name| matches!(name, Name::Outside(_));
            let alone = i == j && expected.is_empty();
            if alone || outside(&from.name) && outside(&to.name) {
                continue;
            }
            let some = expected.iter().cloned().reduce(|a, b| a.zip(&b, |a, b| *a || *b));
            let some = some.unwrap_or(Regions::uniform(false));
            assert_eq!(*connectivity.allowed(i, j), some, "{}", case(&from.name, &to.name));
            assert_eq!(*row[j], some, "row: {}", case(&from.name, &to.name));
        }
    }
}

#[test]
fn all_pairs_are_what_the_engine_says_of_each() {
    for seed in 0..CLUSTERS {
        hold(seed, &owned(random::cluster(&mut Rng::new(seed))));
    }
}

#[test]
fn tiers_are_what_the_engine_says() {
    for seed in 0..CLUSTERS {
        hold(seed, &owned(random::tiered_cluster(&mut Rng::new(seed))));
    }
}

/// Every address is somebody: the pod that owns it, the node that has it, or a part of the world.
#[test]
fn flows_between_addresses_are_those_of_their_subjects() {
    for seed in 0..CLUSTERS {
        let mut rng = Rng::new(seed);
        let cluster = random::tiered_cluster(&mut rng);
        let index = cluster.index();
        let connectivity = Connectivity::of(&index);
        for _ in 0..FLOWS {
            let flow = random::flow(&mut rng, &cluster);
            let (from, to) = (index.address_side(flow.from), index.address_side(flow.to));
            let [a, b] = [(&from, flow.from), (&to, flow.to)].map(|(side, ip)| subject(&connectivity, side, ip));
            let strangers = from.pod().is_none() && to.pod().is_none();
            if strangers {
                continue;
            }
            // A pod with several addresses may be treated differently at each.
            let some = *connectivity.allowed(a, b).get(flow.traffic);
            let all = *connectivity.allowed_to_all(a, b).get(flow.traffic);
            let one = *index.pair(&from, &to).allowed().get(flow.traffic);
            assert!(all <= one && one <= some, "seed {seed}: {flow}: {all} {one} {some}\n{cluster}");
        }
    }
}

fn subject(connectivity: &Connectivity, side: &Side, ip: IpAddr) -> usize {
    let name = match (side.pod(), side.node()) {
        (Some(pod), _) => Name::Workload(name_of(pod)),
        (None, Some(node)) => Name::Node(node.meta.name.clone()),
        (None, None) => {
            let holds = |name: &Name| matches!(name, Name::Outside(addresses) if addresses.contains(ip));
            let place = connectivity.subjects().iter().position(|s| holds(&s.name));
            return place.expect("a part of the world");
        }
    };
    connectivity.find(&name).expect("a subject")
}
