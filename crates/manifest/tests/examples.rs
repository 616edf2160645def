//! The examples of this repository are read without a word, and every line of their cases means somebody.

use std::collections::BTreeMap;

use tortie_manifest::case::{Case, Cell, Endpoint, Endpoints, Probe, Verdict, open};
use tortie_manifest::{Disk, LoadOptions, ObjectSet};
use tortie_model::{NetworkPolicy, PeerRule, Pod, PolicyPeer, PolicyPort, PortSpec, Protocol};

fn opened(name: &str) -> Case {
    let path = format!("{}/../../examples/{name}", env!("CARGO_MANIFEST_DIR"));
    let mut cases = open(&Disk, &path, &LoadOptions::default());
    assert!(cases.diagnostics.is_empty(), "{:?}", cases.diagnostics);
    assert_eq!(cases.cases.len(), 1);
    let case = cases.cases.remove(0);
    assert!(case.diagnostics.is_empty(), "{:?}", case.diagnostics);
    assert!(case.is_playable());
    case
}

/// The cells of each step, by step name.
fn play(name: &str) -> (Case, BTreeMap<String, Vec<Cell>>) {
    let case = opened(name);
    let mut store = case.store();
    let mut cells = BTreeMap::new();
    for step in &case.steps {
        step.change(&mut store).expect("the step's objects are there");
        let mut state = store.state();
        state.add_cluster_dns();
        assert!(state.implied_namespaces.is_empty(), "{:?}", state.implied_namespaces);
        let endpoints = Endpoints::of(&state, &case.cluster);
        let judge = |cell: &Cell| {
            let says = verdict(&state, cell);
            assert_eq!(
                cell.expected, says,
                "{}: {:?} -> {:?} {}: by the policies {says}",
                cell.place, cell.from, cell.to, cell.probe
            );
        };
        let found: Vec<Cell> = step
            .expect
            .iter()
            .flat_map(|e| {
                e.resolve(&endpoints).unwrap_or_else(|errors| {
                    panic!("{}", errors.iter().map(|d| d.render(false)).collect::<Vec<_>>().join("\n"))
                })
            })
            .collect();
        found.iter().for_each(judge);
        cells.insert(step.name.clone(), found);
    }
    (case, cells)
}

/// What the policies say, by the shortest reading of the API: union of what they allow, both directions needed.
fn verdict(state: &ObjectSet, cell: &Cell) -> Verdict {
    let pod = |e: &Endpoint| match e {
        Endpoint::Pod { namespace, name } => {
            state.pods.iter().find(|p| p.meta.namespace == *namespace && p.meta.name == *name)
        }
        _ => None,
    };
    let from = pod(&cell.from).expect("the examples send from pods");
    let ok = match &cell.probe {
        Probe::Dns(_) => {
            let servers = state.pods.iter().filter(|p| p.meta.labels.get("k8s-app") == Some("kube-dns"));
            servers.into_iter().all(|s| passes(state, from, Some(s), Some((Protocol::Udp, 53))))
        }
        Probe::Ping => passes(state, from, cell.to.as_ref().and_then(pod), None),
        Probe::Port(protocol, port) => passes(state, from, cell.to.as_ref().and_then(pod), Some((*protocol, *port))),
        Probe::Named(..) => unreachable!("the examples name no ports"),
    };
    if ok { Verdict::Allow } else { Verdict::Deny }
}

fn passes(state: &ObjectSet, from: &Pod, to: Option<&Pod>, port: Option<(Protocol, u16)>) -> bool {
    let one_side = |subject: &Pod, peer: Option<&Pod>, rules: fn(&NetworkPolicy) -> Option<&Vec<PeerRule>>| {
        let selects = |p: &&std::sync::Arc<NetworkPolicy>| {
            p.meta.namespace == subject.meta.namespace && p.pod_selector.matches(&subject.meta.labels)
        };
        let lists: Vec<_> = state.network_policies.iter().filter(selects).filter_map(|p| rules(p)).collect();
        lists.is_empty()
            || lists.into_iter().flatten().any(|rule| {
                (rule.ports.is_empty() || rule.ports.iter().any(|p| port.is_some_and(|port| fits(p, port))))
                    && (rule.peers.is_empty()
                        || peer.is_some_and(|peer| {
                            rule.peers.iter().any(|p| means(state, p, &subject.meta.namespace, peer))
                        }))
            })
    };
    one_side(from, to, |p| p.egress.as_ref()) && to.is_none_or(|to| one_side(to, Some(from), |p| p.ingress.as_ref()))
}

fn fits(port: &PolicyPort, (protocol, number): (Protocol, u16)) -> bool {
    let range = match port.port {
        PortSpec::All => true,
        PortSpec::Range(first, last) => (first..=last).contains(&number),
        PortSpec::Named(_) => false,
    };
    port.protocol == protocol && range
}

fn means(state: &ObjectSet, peer: &PolicyPeer, own: &str, pod: &Pod) -> bool {
    match peer {
        PolicyPeer::PodsHere(pods) => &*pod.meta.namespace == own && pods.matches(&pod.meta.labels),
        PolicyPeer::Pods { namespaces, pods } => {
            let namespace = state.namespaces.iter().find(|n| *n.name() == pod.meta.namespace).expect("it exists");
            namespaces.matches(namespace.labels()) && pods.as_ref().is_none_or(|p| p.matches(&pod.meta.labels))
        }
        PolicyPeer::IpBlock(_) => unreachable!("the examples have no addresses"),
    }
}

fn seen(cells: &[Cell], from: &str, to: &str, probe: &str) -> Option<String> {
    let is = |c: &&Cell| {
        c.from.to_string() == from
            && c.to.as_ref().map_or(String::new(), ToString::to_string) == to
            && c.probe.to_string() == probe
    };
    let found: Vec<String> = cells.iter().filter(is).map(|c| c.expected.to_string()).collect();
    assert!(found.len() <= 1, "{from} -> {to} {probe}: {found:?}");
    found.into_iter().next()
}

/// What the practical is about, in both versions.
fn practical(cells: &BTreeMap<String, Vec<Cell>>) {
    let step = |prefix: &str| {
        cells.iter().filter(|(name, _)| name.starts_with(prefix)).map(|(_, c)| c).next_back().expect("the step")
    };
    let check = |name: &str, from: &str, to: &str, probe: &str, expected: &str| {
        let found = seen(step(name), from, to, probe);
        assert_eq!(found.as_deref(), Some(expected), "{name}: {from} -> {to} {probe}");
    };
    check("before", "default/trouble1", "default/trouble2", "ping", "allow");
    check("1. nobody", "default/trouble1", "default/trouble2", "ping", "allow");
    check("1. nobody", "default/trouble2", "default/trouble1", "ping", "deny");
    check("1. trouble1", "default/trouble1", "default/trouble2", "ping", "deny");
    check("2.", "qa/qa1", "prod/prod2", "ping", "allow");
    check("3.", "prod/prod1", "prod/prod2", "ping", "deny");
    check("3.", "prod/prod1", "", "dns:www.example.com", "deny");
    check("3.", "default/trouble2", "dev-tools/stranger", "TCP/8888", "allow");
    check("4.", "prod/prod2", "prod/prod1", "UDP/8888", "allow");
    check("4.", "dev/dev1", "dev/dev2", "ping", "deny");
    check("5.", "dev/dev1", "prod/prod2", "TCP/80", "allow");
    check("5.", "prod/prod2", "dev/dev1", "TCP/80", "deny");
    check("5.", "dev/dev1", "dev/dev2", "ping", "deny");
    check("6.", "prod/prod1", "qa/qa2", "TCP/8888", "allow");
    check("6.", "prod/prod1", "qa/qa2", "TCP/80", "deny");
    check("6.", "prod/prod1", "qa/qa2", "UDP/8888", "deny");
    check("6.", "prod/prod1", "qa/qa2", "ping", "deny");
    check("6.", "qa/qa2", "prod/prod1", "TCP/8888", "deny");
    check("7.", "prod/prod1", "", "dns:www.example.com", "allow");
    check("7.", "qa/qa1", "", "dns:www.example.com", "deny");
    check("7.", "prod/prod1", "internet", "TCP/80", "deny");
}

#[test]
fn the_practical_shows_its_traps() {
    let (_, cells) = play("three-namespaces");
    practical(&cells);
    let at = |step: &str, from: &str, to: &str, probe: &str| seen(&cells[step], from, to, probe);
    assert_eq!(at("5. dev reaches prod", "dev-tools/stranger", "prod/prod1", "TCP/80").as_deref(), Some("allow"));
    for probe in ["TCP/53", "UDP/53", "TCP/9153"] {
        let found = at("7. prod resolves names", "prod/prod1", "kube-system/metrics", probe);
        assert_eq!(found.as_deref(), Some("allow"), "{probe}");
    }
}

#[test]
fn the_hardened_practical_closes_them() {
    let (_, cells) = play("three-namespaces-hardened");
    practical(&cells);
    let at = |step: &str, from: &str, to: &str, probe: &str| seen(&cells[step], from, to, probe);
    assert_eq!(at("5. dev reaches prod", "dev-tools/stranger", "prod/prod1", "TCP/80").as_deref(), Some("deny"));
    for probe in ["TCP/53", "UDP/53", "TCP/9153"] {
        let found = at("7. prod resolves names", "prod/prod1", "kube-system/metrics", probe);
        assert_eq!(found.as_deref(), Some("deny"), "{probe}");
    }
}

#[test]
fn the_practical_in_calicos_api_expects_what_the_hardened_one_does() {
    let expected = |name: &str| {
        let case = opened(name);
        let mut store = case.store();
        let mut told = Vec::new();
        for step in &case.steps {
            step.change(&mut store).expect("the step's objects are there");
            let mut state = store.state();
            state.add_cluster_dns();
            let endpoints = Endpoints::of(&state, &case.cluster);
            for cell in step.expect.iter().flat_map(|e| e.resolve(&endpoints).expect("every line means somebody")) {
                let to = cell.to.as_ref().map(ToString::to_string);
                told.push((step.name.clone(), cell.from.to_string(), to, cell.probe.to_string(), cell.expected));
            }
        }
        told
    };
    let hardened = expected("three-namespaces-hardened");
    assert!(hardened.len() > 1_000, "{}", hardened.len());
    assert_eq!(expected("three-namespaces-calico"), hardened);
}
