//! Random clusters with random policies: the reference, the engine, the plans and the packets say the same, before and
//! after a few changes at once.

use tortie_analysis::address::Families;
use tortie_analysis::staging::Ground;
use tortie_lab::Cluster as Lab;
use tortie_manifest::case::Probe;
use tortie_model::Protocol;
use tortie_policy::PodKey;
use tortie_testkit::{Cluster, Rng, build, random};

use crate::packets::{self, End};
use crate::{Result, World};

/// Clusters, each in two states.
const CLUSTERS: u64 = 15;
/// Senders beyond the cluster, inside and outside the blocks of random policies.
const OUTSIDE: [&str; 4] = ["203.0.113.5", "203.0.113.200", "8.8.8.8", "2001:db8::1"];
/// Ports of random policies, and their neighbours.
const PORTS: [u16; 8] = [53, 79, 80, 81, 443, 444, 8080, 65535];

/// Clusters with policies of three APIs.
const OF_THREE_APIS: u64 = 15;

pub(crate) fn clusters(world: &World) -> Result {
    play(world, CLUSTERS, |rng| {
        let raw = random::cluster(rng);
        (raw.policies.len() > 2).then_some(raw)
    })
}

/// Tiers, order, Pass, Log, selectors by expression, sets, exclusions, messages and named ports, in one kernel with
/// NetworkPolicies.
pub(crate) fn three_apis(world: &World) -> Result {
    play(world, OF_THREE_APIS, |rng| Some(random::three_apis(rng)))
}

fn play(world: &World, clusters: u64, draw: impl Fn(&mut Rng) -> Option<Cluster>) -> Result {
    let first = std::env::var("TORTIE_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(8_001);
    let (mut allowed, mut denied) = (0, 0);
    println!("seeds {first} to {}", first + clusters - 1);
    for seed in first..first + clusters {
        let (a, d) = one(world, seed, &draw).map_err(|e| format!("TORTIE_SEED={seed}: {e}"))?;
        allowed += a;
        denied += d;
    }
    println!("{allowed} allowed, {denied} denied");
    if allowed < 1_000 || denied < 1_000 {
        return Err(format!("{allowed} allowed and {denied} denied prove little").into());
    }
    Ok(())
}

/// Plays one cluster: how many packets got through, and how many did not.
fn one(world: &World, seed: u64, draw: &impl Fn(&mut Rng) -> Option<Cluster>) -> Result<(usize, usize)> {
    let mut rng = Rng::new(seed);
    let raw = loop {
        let Some(raw) = draw(&mut rng) else { continue };
        if (4..=8).contains(&playable(raw.clone()).pods.len()) {
            break raw;
        }
    };
    let before = playable(raw.clone());
    let mut after = playable(random::changed(&mut rng, &raw));
    // A pod's ports are fixed once it is made.
    for pod in &mut after.pods {
        if let Some(old) = before.pods.iter().find(|p| p.meta.uid == pod.meta.uid) {
            pod.ports.clone_from(&old.ports);
        }
    }
    let outside = packets::outside(&OUTSIDE.map(build::ip));
    let mut lab = Lab::boot(&world.sandbox, &Ground { nodes: 2, families: Families::Dual, outside: outside.clone() })?;
    let mut count = (0, 0);
    for cluster in [before, after] {
        lab.sync(packets::staged(&cluster, &outside))?;
        for (name, node) in lab.nodes() {
            // What the kernel holds is checked by packets; that the node knows its plan, here.
            if !node.plan().endpoints.keys().all(|key| cluster.pods.iter().any(|p| PodKey::of(p) == *key)) {
                return Err(format!("{name} keeps pods that are gone\n{cluster}").into());
            }
        }
        // A ping and two other packets.
        let probes = |to: &End| [Probe::Ping, port(&mut rng, &cluster, to), port(&mut rng, &cluster, to)].into();
        let (allowed, denied) = packets::ask(&mut lab, &cluster, probes)?;
        count = (count.0 + allowed, count.1 + denied);
    }
    Ok(count)
}

/// The part of a random cluster that can send and answer: pods that have ended, have no address or share their node's
/// are left out, and nodes get the ranges that the pods are in.
fn playable(mut cluster: Cluster) -> Cluster {
    cluster.pods.retain(|p| !p.phase.is_finished() && !p.host_network && !p.ips.is_empty());
    for (n, node) in (1..).zip(&mut cluster.nodes) {
        let ranges = [format!("10.244.{n}.0/24"), format!("fd00:244:{n}::/64")];
        node.pod_cidrs = ranges.iter().map(|r| r.parse().expect("a range")).collect();
    }
    cluster
}

/// A port: mostly one that the destination declares.
fn port(rng: &mut Rng, cluster: &Cluster, to: &End) -> Probe {
    let declared = packets::pod(cluster, to).map(|p| &p.ports[..]).unwrap_or_default();
    if !declared.is_empty() && rng.chance(60) {
        let port = rng.pick(declared);
        return Probe::Port(port.protocol, port.number);
    }
    Probe::Port(*rng.pick(&Protocol::ALL), *rng.pick(&PORTS))
}
