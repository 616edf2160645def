//! Recorded connections.

use std::sync::OnceLock;

use tortie_analysis::snapshot::Snapshot;
use tortie_flows::{Options, Population, generate, judge, read};
use tortie_manifest::{Expansion, LoadOptions, Memory, load};

/// A small cluster that seeds speak of.
const CLUSTER: &str = "
{apiVersion: v1, kind: Pod, metadata: {name: web, namespace: a, labels: {app: web}}, spec: {nodeName: n1, containers: [{name: c, image: i}]}, status: {podIPs: [{ip: 10.0.0.1}, {ip: 'fd00::1'}]}}
---
{apiVersion: v1, kind: Pod, metadata: {name: db, namespace: b, labels: {app: db}}, spec: {containers: [{name: c, image: i}]}, status: {podIP: 10.0.0.2}}
---
{apiVersion: apps/v1, kind: Deployment, metadata: {name: cart, namespace: a}, spec: {replicas: 2, selector: {matchLabels: {app: cart}}, template: {metadata: {labels: {app: cart}}, spec: {containers: [{name: c, image: i}]}}}}
---
{apiVersion: v1, kind: Pod, metadata: {name: agent, namespace: a}, spec: {nodeName: n1, hostNetwork: true, containers: [{name: c, image: i}]}}
---
{apiVersion: v1, kind: Node, metadata: {name: n1}, status: {addresses: [{type: InternalIP, address: 192.168.0.1}]}}
---
{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: p, namespace: b}, spec: {podSelector: {}, ingress: [{ports: [{port: 80}]}]}}
";

fn population() -> &'static Population {
    static POPULATION: OnceLock<Population> = OnceLock::new();
    POPULATION.get_or_init(|| {
        let loaded = load(&Memory::new([("c.yaml", CLUSTER)]), &["c.yaml"], &LoadOptions::default());
        assert!(loaded.diagnostics.is_empty(), "{:?}", loaded.diagnostics);
        let snapshot = Snapshot::new(&loaded, &Expansion { replicas: 2, nodes: Vec::new() });
        Population::new(&snapshot.index, &snapshot.objects.services)
    })
}

/// Lines are numbered within the text; whatever is recorded can be judged, and the policies for it are proven.
pub(crate) fn flows(bytes: &[u8]) {
    let recording = read(bytes, None).expect("memory can be read");
    let lines = bytes.split(|b| *b == b'\n').count();
    let numbers = recording.bad.iter().map(|bad| bad.line).chain(recording.flows.values().map(|seen| seen.line));
    numbers.for_each(|line| assert!((1..=lines).contains(&line), "line {line} of {lines}"));
    assert!(recording.bad_count >= recording.bad.len());
    let population = population();
    let judged = judge(&recording, None, population);
    assert_eq!(judged.turned.len() + judged.same + judged.unresolved.len(), recording.flows.len());
    generate(population, &recording, Options::default()).unwrap_or_else(|error| panic!("{error}"));
}
