//! Random clusters with random policies: the reference, the engine, the plans and the packets say the same, before and
//! after a few changes at once.

use std::collections::BTreeSet;
use std::net::IpAddr;

use tortie_analysis::address::Families;
use tortie_analysis::observation::Answer;
use tortie_analysis::question::{Answerer, Question};
use tortie_analysis::staging::{Ground, OutsideHost, Staged};
use tortie_lab::Cluster as Lab;
use tortie_manifest::case::{Endpoint, Probe, Via};
use tortie_model::{Family, Pod, Protocol, Traffic};
use tortie_policy::{Index, PodKey, network_policy};
use tortie_testkit::{Cluster, Flow, Rng, random, reference};

use crate::seen::some;
use crate::{Result, World};

/// Clusters, each in two states.
const CLUSTERS: u64 = 15;
/// Senders beyond the cluster, inside and outside the blocks of random policies.
const OUTSIDE: [&str; 4] = ["203.0.113.5", "203.0.113.200", "8.8.8.8", "2001:db8::1"];
/// Ports of random policies, and their neighbours.
const PORTS: [u16; 8] = [53, 79, 80, 81, 443, 444, 8080, 65535];

pub(crate) fn clusters(world: &World) -> Result {
    let first = std::env::var("TORTIE_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(8_001);
    let (mut allowed, mut denied) = (0, 0);
    println!("seeds {first} to {}", first + CLUSTERS - 1);
    for seed in first..first + CLUSTERS {
        let (a, d) = one(world, seed).map_err(|e| format!("TORTIE_SEED={seed}: {e}"))?;
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
fn one(world: &World, seed: u64) -> Result<(usize, usize)> {
    let mut rng = Rng::new(seed);
    let raw = loop {
        let raw = random::cluster(&mut rng);
        if (4..=8).contains(&playable(raw.clone()).pods.len()) && raw.policies.len() > 2 {
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
    let mut lab = Lab::boot(&world.sandbox, &Ground { nodes: 2, families: Families::Dual, outside: outside() })?;
    let mut count = (0, 0);
    for cluster in [before, after] {
        lab.sync(staged(&cluster))?;
        for (name, node) in lab.nodes() {
            // What the kernel holds is checked by packets; that the node knows its plan, here.
            if !node.plan().endpoints.keys().all(|key| cluster.pods.iter().any(|p| PodKey::of(p) == *key)) {
                return Err(format!("{name} keeps pods that are gone\n{cluster}").into());
            }
        }
        let (allowed, denied) = ask(&mut lab, &cluster, &mut rng)?;
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

fn outside() -> Vec<OutsideHost> {
    OUTSIDE
        .iter()
        .map(|ip| OutsideHost { name: ip.replace([':', '.'], "-"), addresses: vec![address(ip)], dns: Vec::new() })
        .collect()
}

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn staged(cluster: &Cluster) -> Staged {
    let policies = cluster.policies.iter().map(network_policy);
    Staged {
        nodes: cluster.nodes.clone(),
        namespaces: cluster.namespaces.iter().map(|n| (n.name().clone(), n.clone())).collect(),
        pods: cluster.pods.iter().map(|p| (PodKey::of(p), p.clone())).collect(),
        services: std::collections::BTreeMap::default(),
        policies: policies.map(|p| (p.object.clone(), p)).collect(),
        outside: outside(),
    }
}

/// Somebody with an address.
#[derive(Clone)]
struct End {
    endpoint: Endpoint,
    ip: IpAddr,
    name: String,
}

fn ends(cluster: &Cluster) -> Vec<End> {
    let pods = cluster.pods.iter().flat_map(|p| {
        let endpoint = Endpoint::Pod { namespace: p.meta.namespace.clone(), name: p.meta.name.clone() };
        p.ips.iter().map(move |ip| End { endpoint: endpoint.clone(), ip: *ip, name: p.key() })
    });
    let nodes = cluster.nodes.iter().flat_map(|n| {
        let endpoint = Endpoint::Node(n.meta.name.clone());
        let name = endpoint.to_string();
        n.addresses.iter().map(move |ip| End { endpoint: endpoint.clone(), ip: *ip, name: name.clone() })
    });
    let outside = outside().into_iter().map(|h| End {
        endpoint: Endpoint::Outside(h.name.clone().into()),
        ip: h.addresses[0],
        name: h.name,
    });
    pods.chain(nodes).chain(outside).collect()
}

/// Sends a ping and two other packets between all ends of which one is a pod, and compares what everybody says.
fn ask(lab: &mut Lab, cluster: &Cluster, rng: &mut Rng) -> Result<(usize, usize)> {
    let ends = ends(cluster);
    let index = cluster.index();
    let mut asked: Vec<(Question, bool)> = Vec::new();
    for from in &ends {
        for to in ends.iter().filter(|to| to.endpoint != from.endpoint) {
            let is_pod = |e: &End| matches!(e.endpoint, Endpoint::Pod { .. });
            if Family::of(from.ip) != Family::of(to.ip) || !(is_pod(from) || is_pod(to)) {
                continue;
            }
            let probes: BTreeSet<Probe> = [Probe::Ping, port(rng, cluster, to), port(rng, cluster, to)].into();
            for probe in probes {
                let question = question(&index, from, to, probe);
                let traffic = question.answerers[0].traffic;
                let wanted = reference::decide(cluster, Flow { from: from.ip, to: to.ip, traffic }).is_allowed();
                if !(wanted && nobody_listens(cluster, to, traffic)) {
                    asked.push((question, wanted));
                }
            }
        }
    }
    let sightings = lab.observe(&asked.iter().map(|(q, _)| q).collect::<Vec<_>>())?;
    let (mut allowed, mut denied, mut wrong) = (0, 0, Vec::new());
    for ((question, wanted), sighting) in asked.iter().zip(&sightings) {
        let answerer = &question.answerers[0];
        let sender = index.address_side(question.source);
        let engine = index.verdict(&sender, &answerer.side, answerer.traffic).is_allowed();
        let plan = lab.plan_passes(&sender, &answerer.side, answerer.traffic);
        let kernel = sighting.kernel.answer();
        match kernel {
            Some(Answer::Allow) => allowed += 1,
            Some(Answer::Deny) => denied += 1,
            None => {}
        }
        if engine != *wanted || plan != *wanted || kernel != Some((*wanted).into()) {
            let (from, to) = (question.source, question.destination);
            wrong.push(format!(
                "{from} -> {to} {}: reference {}, engine {}, plan {}, kernel {:?} ({})",
                question.probe,
                Answer::from(*wanted),
                Answer::from(engine),
                Answer::from(plan),
                sighting.kernel,
                sighting.detail
            ));
        }
    }
    if wrong.is_empty() { Ok((allowed, denied)) } else { Err(some(&format!("{cluster}"), &wrong)) }
}

fn pod<'c>(cluster: &'c Cluster, end: &End) -> Option<&'c Pod> {
    cluster.pods.iter().find(|p| p.ips.contains(&end.ip))
}

/// A port: half the time one that the destination declares.
fn port(rng: &mut Rng, cluster: &Cluster, to: &End) -> Probe {
    let declared = pod(cluster, to).map(|p| &p.ports[..]).unwrap_or_default();
    if !declared.is_empty() && rng.chance(60) {
        let port = rng.pick(declared);
        return Probe::Port(port.protocol, port.number);
    }
    Probe::Port(*rng.pick(&Protocol::ALL), *rng.pick(&PORTS))
}

/// Whether a packet that arrives at a pod is answered by nobody: the pod declares ports, and not this one.
fn nobody_listens(cluster: &Cluster, to: &End, traffic: Traffic) -> bool {
    let listens = |p: &Pod| {
        p.ports.is_empty()
            || traffic.protocol.transport().is_none()
            || p.ports.iter().any(|c| Traffic::port(c.protocol, c.number) == traffic)
    };
    pod(cluster, to).is_some_and(|p| !listens(p))
}

fn question(index: &Index, from: &End, to: &End, probe: Probe) -> Question {
    let family = Family::of(to.ip);
    let traffic = match probe {
        Probe::Port(protocol, port) => Traffic::port(protocol, port),
        _ => Traffic::echo_request(family),
    };
    Question {
        family,
        from: from.endpoint.clone(),
        source: from.ip,
        to: Some(to.endpoint.clone()),
        destination: to.ip,
        port: if traffic.protocol.transport().is_some() { traffic.detail } else { 0 },
        probe,
        via: Via::Pod,
        answerers: vec![Answerer { name: to.name.clone(), side: index.address_side(to.ip), traffic }],
    }
}
