//! Verdicts of Calico's own code, sent as packets: a sample of the random clusters of the public suites, where those are at
//! hand (`testkit::corpora`).
//!
//! A flow's packets come from the port that it names, unless the sender listens there itself. Such flows are left to the
//! tests without packets, as are messages that no probe sends, and addresses that nobody can have.

use std::collections::BTreeSet;
use std::net::IpAddr;

use serde_json::{Value, json};
use tortie_analysis::address::Families;
use tortie_analysis::observation::Answer;
use tortie_analysis::question::Question;
use tortie_analysis::staging::{Ground, Staged, Stager};
use tortie_lab::Cluster as Lab;
use tortie_manifest::case::{Endpoint, Probe};
use tortie_manifest::{Expansion, LoadOptions, Memory, ObjectSet, load};
use tortie_model::{ContainerPort, Family, Pod, Protocol, Traffic};
use tortie_policy::{Asked, Index};
use tortie_testkit::{By, corpora, decided};

use crate::packets::{self, EPHEMERAL, End};
use crate::{Result, World};

/// Clusters of the sample, evenly spread.
const CLUSTERS: usize = 60;
/// Fewer packets than this prove little.
const LEAST: usize = 1_200;

pub(crate) fn sample(world: &World) -> Result {
    let text = match corpora::suite("calico-verdicts") {
        Ok(text) => text,
        Err(missing) => {
            println!("{missing}");
            return Ok(());
        }
    };
    let lines: Vec<&str> = text.lines().collect();
    let [mut sent, mut from_ports, mut left] = [0; 3];
    for line in lines.iter().step_by((lines.len() / CLUSTERS).max(1)).take(CLUSTERS) {
        let record: Value = serde_json::from_str(line)?;
        let counts = play(world, &record).map_err(|e| format!("{}: {e}", record["id"]))?;
        for (sum, count) in [&mut sent, &mut from_ports, &mut left].into_iter().zip(counts) {
            *sum += count;
        }
    }
    println!(
        "{sent} packets agree, {from_ports} of them from given ports; {left} flows are left to tests without packets"
    );
    decided(By::Packets, sent);
    if sent < LEAST { Err(format!("{sent} packets prove little").into()) } else { Ok(()) }
}

/// Plays one cluster: how many packets were sent, how many of them from a given port, how many flows were left out.
fn play(world: &World, record: &Value) -> Result<[usize; 3]> {
    let list = json!({"apiVersion": "v1", "kind": "List", "items": record["objects"]});
    let files = Memory::new([("objects.json", list.to_string())]);
    let loaded = load(&files, &["objects.json"], &LoadOptions::default());
    let objects = ObjectSet::of(loaded.objects.iter().map(|o| &o.object), &Expansion::default());
    let flows = record["flows"].as_array().ok_or("flows")?;
    let address = |flow: &Value, key: &str| flow[key].as_str().and_then(|ip| ip.parse::<IpAddr>().ok());

    let ground = |outside| Ground { nodes: 2, families: Families::Dual, outside };
    let staged = Stager::new(ground(Vec::new())).stage(&objects)?;
    let index = staged.index();
    let ranges: Vec<_> = staged.nodes.iter().flat_map(|n| n.pod_cidrs.clone()).collect();
    let is_host = |ip: &IpAddr| {
        let side = index.address_side(*ip);
        let nobody = side.pod().is_none() && side.node().is_none() && !ranges.iter().any(|range| range.contains(ip));
        // An address that a host can have.
        nobody && !ip.is_multicast() && !ip.is_unspecified() && !ip.is_loopback() && !is_edge(*ip)
    };
    let ends = flows.iter().flat_map(|flow| [address(flow, "src_ip"), address(flow, "dst_ip")]).flatten();
    let hosts: Vec<IpAddr> = ends.filter(is_host).collect::<BTreeSet<_>>().into_iter().collect();
    let ground = ground(packets::outside(&hosts));
    let mut lab = Lab::boot(&world.sandbox, &ground)?;
    let mut staged = Stager::new(ground).stage(&objects)?;
    flows.iter().for_each(|flow| answer(&mut staged, flow));
    let index = staged.index();
    lab.sync(staged)?;

    let mut asked: Vec<(Question, bool)> = Vec::new();
    for flow in flows {
        let (Some(from), Some(to)) = (address(flow, "src_ip"), address(flow, "dst_ip")) else { continue };
        let ends = [from, to].map(|ip| end(&index, &hosts, ip));
        if let ([Some(from), Some(to)], Some(probe)) = (&ends, probe(flow, to))
            && let Some(wanted) = wanted(&index, flow, from, to, &probe)
        {
            let question = Question { source_port: source_port(flow), ..packets::question(&index, from, to, probe) };
            // What it sends would be taken for an answer to an earlier one.
            if !asked.iter().any(|(earlier, _)| is_answer(&question, earlier)) {
                asked.push((question, wanted));
            }
        }
    }
    let from_ports = asked.iter().filter(|(question, _)| question.source_port.is_some()).count();
    let sightings = lab.observe(&asked.iter().map(|(q, _)| q).collect::<Vec<_>>())?;
    let mut wrong = Vec::new();
    for ((question, wanted), sighting) in asked.iter().zip(&sightings) {
        if sighting.kernel.answer() != Some(Answer::from(*wanted)) {
            let Question { source, source_port, destination, probe, .. } = question;
            let (theirs, kernel) = (Answer::from(*wanted), &sighting.kernel);
            wrong
                .push(format!("{source} {source_port:?} -> {destination} {probe}: theirs {theirs}, kernel {kernel:?}"));
        }
    }
    if wrong.is_empty() {
        Ok([asked.len(), from_ports, flows.len() - asked.len()])
    } else {
        Err(wrong.join("\n").into())
    }
}

/// Lets the pod that a flow is for answer it. A port without a name is nothing to policies.
fn answer(staged: &mut Staged, flow: &Value) {
    let Some(to) = flow["dst_ip"].as_str().and_then(|ip| ip.parse().ok()) else { return };
    let (Some(Probe::Port(protocol, number)), Some(pod)) =
        (probe(flow, to), staged.world.pods.values_mut().find(|pod| pod.ips.contains(&to)))
    else {
        return;
    };
    // One that declares none answers on every port.
    if !pod.ports.is_empty() && !listens(pod, Traffic::port(protocol, number)) {
        pod.ports.push(ContainerPort { name: None, protocol, number });
    }
}

fn listens(pod: &Pod, traffic: Traffic) -> bool {
    pod.ports.iter().any(|port| Traffic::port(port.protocol, port.number) == traffic)
}

/// The port that a flow comes from.
fn source_port(flow: &Value) -> Option<u16> {
    flow["sport"].as_u64().and_then(|n| u16::try_from(n).ok())
}

/// Whether a packet has the ends and ports of an answer to another.
fn is_answer(question: &Question, to: &Question) -> bool {
    let protocol = |q: &Question| q.answerers[0].traffic.protocol;
    (question.source, question.destination) == (to.destination, to.source)
        && protocol(question) == protocol(to)
        && (question.source_port, Some(question.port)) == (Some(to.port), to.source_port)
}

/// The last byte of the first and the last address of a small network, which hosts seldom have.
fn is_edge(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_broadcast() || matches!(ip.octets()[3], 0 | 255) || ip.octets()[0] == 0,
        IpAddr::V6(ip) => ip.octets()[15] == 0 || matches!(ip.octets()[0], 0 | 0xfe | 0xff),
    }
}

fn end(index: &Index, hosts: &[IpAddr], ip: IpAddr) -> Option<End> {
    if let Some(pod) = index.owner(ip) {
        let endpoint = Endpoint::Pod { namespace: pod.meta.namespace.clone(), name: pod.meta.name.clone() };
        return Some(End { endpoint, ip, name: pod.key() });
    }
    let host = packets::outside(&[hosts.iter().find(|host| **host == ip).copied()?]).pop()?;
    Some(End { endpoint: Endpoint::Outside(host.name.clone().into()), ip, name: host.name })
}

/// The probe that sends a flow's packets.
fn probe(flow: &Value, to: IpAddr) -> Option<Probe> {
    let port = || flow["port"].as_u64().and_then(|n| u16::try_from(n).ok());
    match flow["proto"].as_str()? {
        "ICMP" | "ICMPv6" => {
            let [kind, code] = Traffic::echo_request(Family::of(to)).detail.to_be_bytes();
            let is = |key: &str, n: u8| flow["icmp"][key].as_u64().is_none_or(|found| found == u64::from(n));
            let of_family = (flow["proto"] == "ICMP") == to.is_ipv4();
            (of_family && is("type", kind) && is("code", code)).then_some(Probe::Ping)
        }
        protocol => Some(Probe::Port(protocol.parse::<Protocol>().ok()?, port()?)),
    }
}

/// What Calico says, where a packet can show it.
fn wanted(index: &Index, flow: &Value, from: &End, to: &End, probe: &Probe) -> Option<bool> {
    let wanted = flow["allowed"].as_bool()?;
    let (source, destination) = (index.address_side(from.ip), index.address_side(to.ip));
    if source.pod().is_none() && destination.pod().is_none() || from.ip == to.ip {
        return None;
    }
    let traffic = match probe {
        Probe::Port(protocol, port) => Traffic::port(*protocol, *port),
        _ => Traffic::echo_request(Family::of(to.ip)),
    };
    let ours = |source_port| index.verdict(&source, &destination, Asked { traffic, source_port }).is_allowed();
    let given = source_port(flow);
    // Where ours is deliberately another: see conformance/exceptions.toml.
    let differs =
        given.as_slice().iter().chain(EPHEMERAL.iter().filter(|_| given.is_none())).any(|p| ours(*p) != wanted);
    let from_port = given.map(|port| Traffic { detail: port, ..traffic });
    let taken = from_port.is_some_and(|from| from.detail == 0 || source.pod().is_some_and(|pod| listens(pod, from)));
    (!differs && !taken).then_some(wanted)
}
