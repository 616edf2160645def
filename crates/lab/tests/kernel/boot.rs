//! How long it takes, printed and not judged.

use std::time::Instant;

use tortie_lab::{
    Place, PodSpec, Topology,
    address::Families,
    probe::{Probe, ProbeSpec, Prober},
};

use crate::support::{Result, World, answered, two_nodes};

fn boot(world: &World, pods: usize) -> Result<(Topology, Vec<Place>)> {
    let start = Instant::now();
    let mut topology = two_nodes(&world.sandbox, Families::Dual)?;
    let nodes = start.elapsed();
    let specs: Vec<PodSpec> = (0..pods)
        .map(|n| PodSpec::tool("many", &format!("pod-{n}"), if n % 2 == 0 { "node-1" } else { "node-2" }))
        .collect();
    topology.add_pods(&specs)?;
    println!("two nodes {nodes:.1?}, with {pods} pods {:.1?}", start.elapsed());
    Ok((topology, specs.iter().map(PodSpec::place).collect()))
}

/// Every pair, both families.
fn all_pairs(topology: &Topology, places: &[Place], probe: &Probe) -> Result {
    let prober = Prober::start()?;
    let start = Instant::now();
    let mut runs = Vec::new();
    for from in places {
        let endpoint = topology.endpoint(from).ok_or("no pod")?;
        let mut specs = Vec::new();
        for to in places {
            let other = topology.endpoint(to).ok_or("no pod")?;
            for (source, destination) in endpoint.addresses.iter().zip(other.addresses) {
                specs.push(ProbeSpec::new(*source, *destination, probe.clone(), Some(&to.to_string())));
            }
        }
        runs.extend(prober.launch(prober.prepare(endpoint.netns, specs)?));
    }
    let count = runs.len();
    for run in runs {
        let tuple = run.tuple();
        answered(&run.wait(), &format!("{tuple:?}"))?;
    }
    println!("{count} probes {probe:?}: {:.1?}", start.elapsed());
    Ok(())
}

pub(crate) fn twelve_pods(world: &World) -> Result {
    let (topology, places) = boot(world, 12)?;
    for probe in [Probe::Ping, Probe::Tcp(8888), Probe::Udp(8888)] {
        all_pairs(&topology, &places, &probe)?;
    }
    let start = Instant::now();
    drop(topology);
    println!("gone in {:.1?}", start.elapsed());
    Ok(())
}

pub(crate) fn hundred_pods(world: &World) -> Result {
    let (topology, places) = boot(world, 100)?;
    all_pairs(&topology, &places[..20], &Probe::Ping)
}
