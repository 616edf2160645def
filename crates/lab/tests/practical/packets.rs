//! Packets between all ends of a cluster of testkit's: the reference, the engine, the plans and the packets say the same.

use std::collections::BTreeSet;
use std::net::IpAddr;

use tortie_analysis::deltas::World;
use tortie_analysis::observation::Answer;
use tortie_analysis::question::{Answerer, Question};
use tortie_analysis::staging::{OutsideHost, Staged};
use tortie_lab::Cluster as Lab;
use tortie_manifest::case::{Endpoint, Probe, Via};
use tortie_model::{Family, Kind, ObjectRef, Pod, Traffic};
use tortie_policy::{Delta, Index, PodKey};
use tortie_testkit::{Cluster, Flow, reference};

use crate::Result;
use crate::seen::some;

/// Hosts beyond the cluster, one for each address.
pub(crate) fn outside(addresses: &[IpAddr]) -> Vec<OutsideHost> {
    let name = |ip: &IpAddr| ip.to_string().replace([':', '.'], "-");
    addresses.iter().map(|ip| OutsideHost { name: name(ip), addresses: vec![*ip], dns: Vec::new() }).collect()
}

/// What the lab makes of a cluster.
pub(crate) fn staged(cluster: &Cluster, outside: &[OutsideHost]) -> Staged {
    let mut world = World::default();
    for delta in cluster.deltas() {
        match delta {
            Delta::Namespace(n) => drop(world.namespaces.insert(n.name().clone(), n)),
            Delta::Node(n) => drop(world.nodes.insert(n.meta.name.clone(), n)),
            Delta::Pod(p) => drop(world.pods.insert(PodKey::of(&p), *p)),
            Delta::Tier(t) => drop(world.tiers.insert(t.name.clone(), t)),
            Delta::NetworkSet(s) => {
                let (kind, namespace) = match s.meta.namespace.is_empty() {
                    true => (Kind::GlobalNetworkSet, None),
                    false => (Kind::NetworkSet, Some(s.meta.namespace.clone())),
                };
                world.sets.insert(ObjectRef { kind, namespace, name: s.meta.name.clone() }, *s);
            }
            Delta::HostEndpoint(h) => drop(world.hosts.insert(h.meta.name.clone(), *h)),
            Delta::EndpointSlice(s) => {
                let object = ObjectRef::namespaced(Kind::EndpointSlice, &s.meta.namespace, &s.meta.name);
                world.slices.insert(object, *s);
            }
            Delta::Policy(p) => drop(world.policies.insert(p.object.clone(), *p)),
            gone => unreachable!("a cluster from nothing takes nothing away: {gone:?}"),
        }
    }
    Staged {
        nodes: cluster.nodes.clone(),
        world,
        services: std::collections::BTreeMap::default(),
        outside: outside.to_vec(),
    }
}

/// Some of the ports that the kernel gives to senders, the first and the last among them.
pub(crate) const EPHEMERAL: [u16; 4] = [32768, 40000, 49152, 60999];

/// Somebody with an address.
#[derive(Clone)]
pub(crate) struct End {
    pub(crate) endpoint: Endpoint,
    pub(crate) ip: IpAddr,
    pub(crate) name: String,
}

fn ends(cluster: &Cluster, outside: &[OutsideHost]) -> Vec<End> {
    let pods = cluster.pods.iter().flat_map(|p| {
        let endpoint = Endpoint::Pod { namespace: p.meta.namespace.clone(), name: p.meta.name.clone() };
        p.ips.iter().map(move |ip| End { endpoint: endpoint.clone(), ip: *ip, name: p.key() })
    });
    let nodes = cluster.nodes.iter().flat_map(|n| {
        let endpoint = Endpoint::Node(n.meta.name.clone());
        let name = endpoint.to_string();
        n.addresses.iter().map(move |ip| End { endpoint: endpoint.clone(), ip: *ip, name: name.clone() })
    });
    let outside = outside.iter().map(|h| End {
        endpoint: Endpoint::Outside(h.name.clone().into()),
        ip: h.addresses[0],
        name: h.name.clone(),
    });
    pods.chain(nodes).chain(outside).collect()
}

/// Sends packets between all ends of which one is a pod, and compares what everybody says: how many packets got
/// through, and how many did not.
pub(crate) fn ask(
    lab: &mut Lab,
    cluster: &Cluster,
    mut probes: impl FnMut(&End) -> BTreeSet<Probe>,
) -> Result<(usize, usize)> {
    let ends = ends(cluster, &lab.staged().outside);
    let index = cluster.index();
    let mut asked: Vec<(Question, bool)> = Vec::new();
    for from in &ends {
        for to in ends.iter().filter(|to| to.endpoint != from.endpoint) {
            let is_pod = |e: &End| matches!(e.endpoint, Endpoint::Pod { .. });
            if Family::of(from.ip) != Family::of(to.ip) || !(is_pod(from) || is_pod(to)) {
                continue;
            }
            for probe in probes(to) {
                let question = question(&index, from, to, probe);
                let traffic = question.answerers[0].traffic;
                // The kernel gives a sender any of these ports.
                let ask = |source_port| {
                    let flow = Flow { source_port, ..Flow::new(from.ip, to.ip, traffic) };
                    reference::decide(cluster, flow).is_allowed()
                };
                let wanted = ask(EPHEMERAL[0]);
                if EPHEMERAL.iter().any(|port| ask(*port) != wanted) {
                    continue;
                }
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

/// The pod that has the address of an end.
pub(crate) fn pod<'c>(cluster: &'c Cluster, end: &End) -> Option<&'c Pod> {
    cluster.pods.iter().find(|p| p.ips.contains(&end.ip))
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

pub(crate) fn question(index: &Index, from: &End, to: &End, probe: Probe) -> Question {
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
        source_port: None,
        probe,
        via: Via::Pod,
        answerers: vec![Answerer { name: to.name.clone(), side: index.address_side(to.ip), traffic }],
    }
}
