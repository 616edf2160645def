//! Verdicts of Calico's own code, sent as packets: a sample of the random clusters of the public suites, where those are at
//! hand (`testkit::corpora`).
//!
//! The kernel chooses the port that a probe comes from, and pods answer on the ports that they declare; flows for which
//! either matters are left to the tests without packets, as are messages that no probe sends.

use std::collections::BTreeSet;
use std::net::IpAddr;

use serde_json::{Value, json};
use tortie_analysis::address::Families;
use tortie_analysis::observation::Answer;
use tortie_analysis::question::Question;
use tortie_analysis::staging::{Ground, Stager};
use tortie_lab::Cluster as Lab;
use tortie_manifest::case::{Endpoint, Probe};
use tortie_manifest::{Expansion, LoadOptions, Memory, ObjectSet, load};
use tortie_model::{Family, Protocol, Traffic};
use tortie_policy::{Asked, Index};
use tortie_testkit::{By, corpora, decided};

use crate::packets::{self, EPHEMERAL, End};
use crate::{Result, World};

/// Clusters of the sample, evenly spread.
const CLUSTERS: usize = 60;
/// Fewer packets than this prove little.
const LEAST: usize = 600;

pub(crate) fn sample(world: &World) -> Result {
    let text = match corpora::suite("calico-verdicts") {
        Ok(text) => text,
        Err(missing) => {
            println!("{missing}");
            return Ok(());
        }
    };
    let lines: Vec<&str> = text.lines().collect();
    let (mut sent, mut left) = (0, 0);
    for line in lines.iter().step_by((lines.len() / CLUSTERS).max(1)).take(CLUSTERS) {
        let record: Value = serde_json::from_str(line)?;
        let (s, l) = play(world, &record).map_err(|e| format!("{}: {e}", record["id"]))?;
        sent += s;
        left += l;
    }
    println!("{sent} packets agree, {left} flows are left to tests without packets");
    decided(By::Packets, sent);
    if sent < LEAST { Err(format!("{sent} packets prove little").into()) } else { Ok(()) }
}

/// Plays one cluster: how many packets were sent, and how many flows were left out.
fn play(world: &World, record: &Value) -> Result<(usize, usize)> {
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
    lab.sync(Stager::new(ground).stage(&objects)?)?;

    let mut asked: Vec<(Question, bool)> = Vec::new();
    for flow in flows {
        let (Some(from), Some(to)) = (address(flow, "src_ip"), address(flow, "dst_ip")) else { continue };
        let ends = [from, to].map(|ip| end(&index, &hosts, ip));
        if let ([Some(from), Some(to)], Some(probe)) = (&ends, probe(flow, to))
            && let Some(wanted) = wanted(&index, flow, from, to, &probe)
        {
            asked.push((packets::question(&index, from, to, probe), wanted));
        }
    }
    let sightings = lab.observe(&asked.iter().map(|(q, _)| q).collect::<Vec<_>>())?;
    let mut wrong = Vec::new();
    for ((question, wanted), sighting) in asked.iter().zip(&sightings) {
        if sighting.kernel.answer() != Some(Answer::from(*wanted)) {
            let (from, to, probe) = (question.source, question.destination, &question.probe);
            wrong.push(format!(
                "{from} -> {to} {probe}: theirs {}, kernel {:?}",
                Answer::from(*wanted),
                sighting.kernel
            ));
        }
    }
    if wrong.is_empty() { Ok((asked.len(), flows.len() - asked.len())) } else { Err(wrong.join("\n").into()) }
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
    // Where ours is deliberately another, too: see conformance/exceptions.toml.
    let depends = EPHEMERAL.iter().any(|port| ours(*port) != wanted);
    let silent = |pod: &tortie_model::Pod| {
        let listens = |c: &tortie_model::ContainerPort| Traffic::port(c.protocol, c.number) == traffic;
        traffic.protocol.transport().is_some() && !pod.ports.is_empty() && !pod.ports.iter().any(listens)
    };
    let unanswered = wanted && destination.pod().is_some_and(|pod| silent(pod));
    (!depends && !unanswered).then_some(wanted)
}
