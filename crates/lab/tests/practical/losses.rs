//! Records that nobody read in time: they are counted, and it is said that they are missing.

use std::net::{IpAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tortie_lab::control::{FlowReport, LostLine, Reply, Request};
use tortie_lab::probe::FlowTuple;
use tortie_lab::session::{NodeOptions, Session};
use tortie_lab::{Cluster, ClusterError, LabError, Place, player};
use tortie_manifest::case::ClusterSpec;
use tortie_manifest::{Expansion, LoadOptions, Memory, Store, load};
use tortie_model::IpProtocol;

use crate::{Result, World, seen};

const OBJECTS: &str = "\
{apiVersion: v1, kind: Pod, metadata: {namespace: a, name: one}, spec: {nodeName: node-1, containers: [{name: c}]}}
---
{apiVersion: v1, kind: Pod, metadata: {namespace: b, name: two}, spec: {nodeName: node-2, containers: [{name: c}]}}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {namespace: b, name: closed}
spec: {podSelector: {}}
";

/// How long anything is waited for that is going to happen.
const PATIENCE: Duration = Duration::from_secs(20);
/// Where packets are sent.
const PORT: u16 = 9;

/// Nodes that have room for a few records.
fn narrow() -> NodeOptions {
    let mut options = NodeOptions::default();
    options.records.receive_buffer = 4 << 10;
    options
}

/// A socket of `a/one`, and the address of `b/two`, which denies everything.
fn ends(cluster: &Cluster) -> std::result::Result<(UdpSocket, [IpAddr; 2]), ClusterError> {
    let end = |namespace, name| {
        let endpoint = cluster.topology().endpoint(&Place::pod(namespace, name)).expect("a pod of the case");
        (endpoint.netns, *endpoint.addresses.iter().find(|ip| ip.is_ipv4()).expect("an IPv4 address"))
    };
    let ((netns, from), (_, to)) = (end("a", "one"), end("b", "two"));
    let socket = netns.run(|| UdpSocket::bind((from, 0)))?;
    let socket = socket.map_err(|source| LabError::Socket { operation: "bind".to_owned(), source })?;
    Ok((socket, [from, to]))
}

fn send(cluster: &Cluster, count: usize) -> std::result::Result<(), ClusterError> {
    let (socket, [_, to]) = ends(cluster)?;
    let sent = (0..count).try_for_each(|_| socket.send_to(b"?", (to, PORT)).map(drop));
    Ok(sent.map_err(|source| LabError::Socket { operation: "send".to_owned(), source })?)
}

/// Sends packets until one is told: then nothing is left in the buffer, and what was lost before has shown. How many
/// were sent.
fn flush(cluster: &Cluster) -> std::result::Result<usize, ClusterError> {
    let end = Instant::now() + PATIENCE;
    for sent in 1.. {
        let (socket, [source, destination]) = ends(cluster)?;
        let failed = |source| LabError::Socket { operation: "send".to_owned(), source };
        let source_port = socket.local_addr().map_err(failed)?.port();
        let (protocol, destination_port) = (IpProtocol::UDP, PORT);
        let watch = cluster.watch_drops(FlowTuple { source, destination, protocol, source_port, destination_port });
        socket.send_to(b"?", (destination, PORT)).map_err(failed)?;
        if watch.next(Duration::from_secs(1)).is_some() {
            return Ok(sent);
        }
        assert!(Instant::now() < end, "records are not read any more");
    }
    unreachable!("there is no last number")
}

/// While somebody looks at the flows, nobody writes records down.
pub(crate) fn told(world: &World) -> Result {
    const BURST: usize = 500;
    let loaded = load(&Memory::new([("objects.yaml", OBJECTS)]), &["objects.yaml"], &LoadOptions::default());
    let mut store = Store::new(Expansion::default());
    store.apply(&loaded.objects);
    let spec = ClusterSpec::default();
    let mut session = Session::start_with(&world.sandbox, "losses", spec, store, narrow())?;
    let report = |session: &mut Session| -> Result<FlowReport> {
        match session.answer(Request::Flows { since: 0 }) {
            Reply::Flows(report) => Ok(report),
            other => Err(format!("{other:?}").into()),
        }
    };
    assert_eq!(report(&mut session)?.lost, []);
    let cluster = session.cluster();
    cluster.flows(|_| send(cluster, BURST)).ok_or("flows are kept")??;
    let sent = BURST + flush(cluster)?;
    let told = report(&mut session)?;
    let [LostLine { node, records, connections: 0 }] = &told.lost[..] else {
        return Err(format!("only records were lost, and on one node: {:?}", told.lost).into());
    };
    assert_eq!(node, "node-2", "where they are dropped");
    assert!(*records > 300, "the buffer has room for a few: {records}");
    let denied: u64 = told.flows.iter().filter(|f| f.verdict == "deny").map(|f| f.count).sum();
    assert_eq!(records + denied, sent as u64, "every packet is told or lost");
    let Reply::Status(status) = session.answer(Request::Status) else { return Err("no status".into()) };
    let told: Vec<u64> = status.nodes.iter().map(|n| n.lost.records).collect();
    assert_eq!(told, [0, *records]);
    Ok(())
}

/// The step says so in which they were lost, and the next one does not.
pub(crate) fn counted(world: &World) -> Result {
    let case = format!(
        "tortie: v1\nname: losses\nmanifests: [objects.yaml]\nsteps:\n{}",
        ["before", "lossy", "after"]
            .map(|step| format!("- name: {step}\n  expect:\n  - {{probe: UDP/9, deny: ['a/one -> b/two']}}\n"))
            .concat()
    );
    let files = Memory::new([("losses.case.yaml", case.as_str()), ("objects.yaml", OBJECTS)]);
    let case = seen::case(&files, "losses.case.yaml")?;
    let mut fault = |step: &str, cluster: &mut Cluster| {
        let end = Instant::now() + PATIENCE;
        while step == "lossy" && cluster.lost().is_empty() && Instant::now() < end {
            send(cluster, 200)?;
            flush(cluster)?;
        }
        Ok(())
    };
    let reports = player::play_with(&world.sandbox, Arc::new(case), narrow(), Some(&mut fault), |_| {})?;
    let lost: Vec<(&str, bool)> = reports.iter().map(|r| (r.step.as_str(), r.lost_records > 0)).collect();
    assert_eq!(lost, [("before", false), ("lossy", true), ("after", false)], "{reports:?}");
    Ok(())
}
