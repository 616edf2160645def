//! Small clusters, drawn from all of them: the reference, the engine, the plans and the packets say the same.

use tortie_analysis::address::Families;
use tortie_analysis::staging::Ground;
use tortie_lab::Cluster as Lab;
use tortie_manifest::case::Probe;
use tortie_model::{ContainerPort, Direction, Protocol};
use tortie_testkit::small::{NetworkPolicies, OTHERS, Space, Tiers};
use tortie_testkit::{Cluster, Rng, build};

use crate::packets;
use crate::{Result, World};

/// Clusters, one after the other in the same network.
const CLUSTERS: usize = 24;
/// What pods answer, besides their port `http`.
const ANSWERED: [(Protocol, u16); 4] =
    [(Protocol::Tcp, 80), (Protocol::Tcp, 81), (Protocol::Tcp, 82), (Protocol::Udp, 80)];

pub(crate) fn networkpolicies(world: &World) -> Result {
    play(world, &NetworkPolicies::new())
}

pub(crate) fn tiers(world: &World) -> Result {
    play(world, &Tiers::new())
}

fn play(world: &World, space: &dyn Space) -> Result {
    let seed = std::env::var("TORTIE_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(1);
    println!("TORTIE_SEED={seed}");
    let mut rng = Rng::new(seed);
    let addresses: Vec<_> = OTHERS.iter().flat_map(|of_family| &of_family[2..]).map(|ip| build::ip(ip)).collect();
    let outside = packets::outside(&addresses);
    let ground = Ground { nodes: 2, families: Families::Dual, outside: outside.clone() };
    let mut lab = Lab::boot(&world.sandbox, &ground)?;
    let (mut played, mut allowed, mut denied) = (0, 0, 0);
    while played < CLUSTERS {
        let number = rng.next() % space.size();
        let cluster = playable(space.cluster(number), number);
        let index = cluster.index();
        let is_governed = |pod| Direction::BOTH.into_iter().any(|direction| !index.stack(pod, direction).is_empty());
        if !cluster.pods.iter().any(is_governed) {
            continue;
        }
        lab.sync(packets::staged(&cluster, &outside))?;
        // Two of five: what a second brings back must fit into the socket that the records of drops come from.
        let probe = |rng: &mut Rng| match rng.below(ANSWERED.len() + 1) {
            0 => Probe::Ping,
            n => Probe::Port(ANSWERED[n - 1].0, ANSWERED[n - 1].1),
        };
        let answers = packets::ask(&mut lab, &cluster, |_| [probe(&mut rng), probe(&mut rng)].into());
        let (a, d) = answers.map_err(|e| format!("cluster {number}: {e}"))?;
        (allowed, denied, played) = (allowed + a, denied + d, played + 1);
    }
    println!("{played} of {} clusters: {allowed} allowed, {denied} denied", space.size());
    if allowed < 400 || denied < 400 {
        return Err(format!("{allowed} allowed and {denied} denied prove little").into());
    }
    Ok(())
}

/// The same cluster with pods that answer on all ports, under names that no cluster before it used.
fn playable(mut cluster: Cluster, number: u64) -> Cluster {
    for pod in &mut cluster.pods {
        pod.meta.name = format!("{}-{number}", pod.meta.name).into();
        pod.meta.uid = pod.meta.name.clone();
        for (protocol, port) in ANSWERED {
            if !pod.ports.iter().any(|p| (p.protocol, p.number) == (protocol, port)) {
                pod.ports.push(ContainerPort { name: None, protocol, number: port });
            }
        }
    }
    for (n, node) in (1..).zip(&mut cluster.nodes) {
        let ranges = [format!("10.244.{n}.0/24"), format!("fd00:244:{n}::/64")];
        node.pod_cidrs = ranges.iter().map(|r| r.parse().expect("a range")).collect();
    }
    cluster
}
