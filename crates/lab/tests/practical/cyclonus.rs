//! Every step of Cyclonus with packets, where the public suites are at hand (`testkit::corpora`).
//!
//! A record is a cluster by itself and the answers of all its pairs. Here each is a step of one case: what it brings is
//! applied, what it lacks of the step before is deleted. Pods have the addresses that the suite gives them, so that its
//! blocks mean what they meant. It knows IPv4 alone: every address, range and block has a [twin] in IPv6, of which the
//! same answers are expected.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, Ipv6Addr};

use serde_json::{Value, json};
use tortie_manifest::Memory;
use tortie_testkit::{By, corpora, decided};

use crate::seen::{all_hold, case, observations, play};
use crate::{Result, World};

/// The twin of an IPv4 address is this followed by it.
const TWINS: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x64, 0, 0, 0, 0, 0, 0);
/// The ranges of the two nodes. All pods of the suite are in them, six and a half on the first.
const RANGES: [&str; 2] = ["192.168.1.0/29", "192.168.1.8/29"];
/// Clusters at once: they mostly wait for the kernel's own grace times.
const AT_ONCE: usize = 4;
/// A suite with fewer distinct steps is not the one that is meant.
const LEAST_STEPS: usize = 132;

pub(crate) fn every_step(world: &World) -> Result {
    let text = match corpora::suite("cyclonus") {
        Ok(text) => text,
        Err(missing) => {
            println!("{missing}");
            return Ok(());
        }
    };
    let records: Vec<Value> = text.lines().map(serde_json::from_str).collect::<std::result::Result<_, _>>()?;
    // Each step is there twice, the second time with a rule that lets pods ask for names, which no table is about.
    let steps: Vec<&Value> = records.iter().filter(|r| r["allow_dns"] == json!(false)).collect();
    if steps.len() < LEAST_STEPS {
        return Err(format!("only {} steps", steps.len()).into());
    }
    let packets = std::thread::scope(|scope| -> Result<usize> {
        let shares = steps.chunks(steps.len().div_ceil(AT_ONCE));
        let running: Vec<_> = shares.map(|share| scope.spawn(|| play_all(world, share))).collect();
        let mut packets = 0;
        for player in running {
            packets += player.join().map_err(|_| "a player panicked")??;
        }
        Ok(packets)
    })?;
    println!("{} steps of Cyclonus, {packets} packets", steps.len());
    decided(By::Packets, packets);
    Ok(())
}

/// Plays some records, one after the other in the same cluster: how many packets were sent.
fn play_all(world: &World, records: &[&Value]) -> Result<usize> {
    let mut steps = Vec::with_capacity(records.len());
    let mut before = BTreeSet::new();
    let mut asked = 0;
    for record in records {
        let (expect, answers) = expectations(record)?;
        let now = references(record);
        let gone: Vec<&String> = before.difference(&now).collect();
        steps.push(json!({"name": record["id"], "objects": objects(record)?, "delete": gone, "expect": expect}));
        asked += 2 * answers;
        before = now;
    }
    let told = json!({"tortie": "v1", "name": "Cyclonus", "objects": ground()?, "steps": steps});
    let path = "cyclonus.case.json";
    let reports = play(&world.sandbox, case(&Memory::new([(path, told.to_string())]), path)?)?;
    all_hold(&reports, asked)?;
    let sent = observations(&reports).count();
    if sent == asked { Ok(sent) } else { Err(format!("{sent} packets for {asked} answers").into()) }
}

/// Two nodes whose ranges hold the pods of the suite. The cluster's DNS stays in its node's network: of the ranges it
/// would take addresses that pods have.
fn ground() -> Result<Vec<Value>> {
    let mut objects = Vec::new();
    for (n, range) in (1..).zip(RANGES) {
        let cidrs = [range.to_owned(), block_twin(range)?];
        objects.push(json!({
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": format!("node-{n}")},
            "spec": {"podCIDR": cidrs[0], "podCIDRs": cidrs},
        }));
    }
    objects.push(json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"namespace": "kube-system", "name": "coredns", "labels": {"k8s-app": "kube-dns"}},
        "spec": {"nodeName": "node-1", "hostNetwork": true, "containers": [{"name": "c", "image": "i"}]},
    }));
    Ok(objects)
}

/// What a record consists of.
fn objects(record: &Value) -> Result<Vec<Value>> {
    let mut objects = Vec::new();
    for (name, labels) in record["namespaces"].as_object().into_iter().flatten() {
        objects.push(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}));
    }
    for pod in list(&record["pods"]) {
        let port = |p: &Value| json!({"name": p["name"], "containerPort": p["port"], "protocol": p["protocol"]});
        let ports: Vec<Value> = list(&pod["ports"]).iter().map(port).collect();
        let ip = pod["ip"].as_str().ok_or("a pod has an address")?;
        objects.push(json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"namespace": pod["namespace"], "name": pod["name"], "labels": pod["labels"]},
            "spec": {"containers": [{"name": "c", "image": "i", "ports": ports}]},
            "status": {"podIP": ip, "podIPs": [{"ip": ip}, {"ip": twin(ip.parse()?)}]},
        }));
    }
    for policy in list(&record["policies"]) {
        let mut policy = policy.clone();
        for (direction, peers) in [("ingress", "from"), ("egress", "to")] {
            let rules = policy["spec"].get_mut(direction).and_then(Value::as_array_mut);
            for peers in rules.into_iter().flatten().filter_map(|rule| rule.get_mut(peers)?.as_array_mut()) {
                let blocks = peers.iter().filter_map(|peer| peer.get("ipBlock"));
                let twins = blocks.map(peer_twin).collect::<Result<Vec<_>>>()?;
                peers.extend(twins);
            }
        }
        objects.push(policy);
    }
    Ok(objects)
}

/// The names of what comes and goes.
fn references(record: &Value) -> BTreeSet<String> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let pods = list(&record["pods"]).iter().map(|p| ("Pod", &p["namespace"], &p["name"]));
    let policies = list(&record["policies"])
        .iter()
        .map(|p| ("NetworkPolicy", &p["metadata"]["namespace"], &p["metadata"]["name"]));
    pods.chain(policies).map(|(kind, namespace, name)| format!("{kind}/{}/{}", text(namespace), text(name))).collect()
}

/// What a record says of all pairs, and how many answers that is. The diagonal is left out: Cyclonus asks policy about
/// it, and a pod always reaches itself.
fn expectations(record: &Value) -> Result<(Vec<Value>, usize)> {
    let order: Vec<&str> = list(&record["order"]).iter().filter_map(Value::as_str).collect();
    // Most ports have the same table.
    let mut tables: BTreeMap<Vec<&str>, Vec<&str>> = BTreeMap::new();
    for (probe, table) in record["expected"].as_object().ok_or("a record has tables")? {
        let rows = list(&table["combined"]).iter().filter_map(Value::as_str).collect();
        tables.entry(rows).or_default().push(probe);
    }
    let (mut expect, mut answers) = (Vec::new(), 0);
    for (rows, probes) in tables {
        let (mut allow, mut deny) = (Vec::new(), Vec::new());
        for (from, row) in order.iter().zip(rows) {
            for (to, cell) in order.iter().zip(row.chars()).filter(|(to, _)| *to != from) {
                match cell {
                    '.' => allow.push(format!("{from} -> {to}")),
                    'X' => deny.push(format!("{from} -> {to}")),
                    other => return Err(format!("`{other}` is no answer").into()),
                }
            }
        }
        let pairs = order.len() * (order.len() - 1);
        if allow.len() + deny.len() != pairs {
            return Err(format!("{}: a table of other pairs", record["id"]).into());
        }
        answers += pairs * probes.len();
        expect.push(json!({"probe": probes, "allow": allow, "deny": deny}));
    }
    Ok((expect, answers))
}

fn twin(ip: Ipv4Addr) -> Ipv6Addr {
    (u128::from(TWINS) | u128::from(u32::from(ip))).into()
}

/// The block of the twins of all addresses of a block.
fn block_twin(cidr: &str) -> Result<String> {
    let (ip, length) = cidr.split_once('/').ok_or("a block has a length")?;
    Ok(format!("{}/{}", twin(ip.parse()?), 96 + length.parse::<u8>()?))
}

/// A peer of the twins of all whom a block means.
fn peer_twin(block: &Value) -> Result<Value> {
    let of = |cidr: &Value| block_twin(cidr.as_str().ok_or("a block is text")?);
    let except = list(&block["except"]).iter().map(of).collect::<Result<Vec<_>>>()?;
    Ok(json!({"ipBlock": {"cidr": of(&block["cidr"])?, "except": except}}))
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}
