//! ClusterIPs.

use std::collections::BTreeSet;

use tortie_lab::{
    Answers, Place, PodSpec, Topology,
    address::{Families, service_addresses},
    probe::{Outcome, Probe, Prober},
    service::{Backend, Service, ServicePort, Target},
};
use tortie_model::Protocol;

use crate::support::{Result, World, answered, probe_address, two_nodes};

fn backend(topology: &Topology, namespace: &str, name: &str, http: u16) -> Result<Backend> {
    let place = Place::pod(namespace, name);
    Ok(Backend {
        name: place.to_string(),
        addresses: topology.endpoint(&place).ok_or("no pod")?.addresses.to_vec(),
        ports: [(("http".to_owned(), Protocol::Tcp), http)].into(),
    })
}

fn web(backends: Vec<Backend>) -> Service {
    let tcp = |port, target| ServicePort { protocol: Protocol::Tcp, port, target };
    Service {
        namespace: "prod".to_owned(),
        name: "web".to_owned(),
        addresses: service_addresses(100, Families::Dual),
        ports: vec![
            tcp(80, Target::Name("http".to_owned())),
            tcp(81, Target::Number(8080)),
            ServicePort { protocol: Protocol::Udp, port: 53, target: Target::Number(5353) },
            ServicePort { protocol: Protocol::Sctp, port: 90, target: Target::Number(9900) },
        ],
        backends,
    }
}

fn two_backends(world: &World) -> Result<Topology> {
    let mut topology = two_nodes(&world.sandbox, Families::Dual)?;
    let on = |port| Answers::On(vec![(Protocol::Tcp, port), (Protocol::Udp, 5353), (Protocol::Sctp, 9900)]);
    topology.add_pods(&[
        PodSpec { answers: on(8080), ..PodSpec::tool("prod", "first", "node-1") },
        PodSpec { answers: on(9090), ..PodSpec::tool("prod", "second", "node-2") },
        PodSpec::tool("dev", "client", "node-1"),
    ])?;
    Ok(topology)
}

fn who(outcome: Outcome) -> Result<String> {
    match outcome {
        Outcome::Answered { by, .. } => Ok(by),
        other => Err(format!("{other:?}").into()),
    }
}

pub(crate) fn balance(world: &World) -> Result {
    let mut topology = two_backends(world)?;
    let both = vec![backend(&topology, "prod", "first", 8080)?, backend(&topology, "prod", "second", 9090)?];
    topology.set_services(&[web(both)])?;
    let prober = Prober::start()?;
    let all: BTreeSet<String> = ["prod/first".to_owned(), "prod/second".to_owned()].into();
    for from in [Place::pod("dev", "client"), Place::Node("node-2".to_owned())] {
        for cluster in service_addresses(100, Families::Dual) {
            for what in [Probe::Tcp(80), Probe::Udp(53), Probe::Sctp(90)] {
                let mut seen = BTreeSet::new();
                for _ in 0..4 {
                    let outcome = probe_address(&topology, &prober, &from, cluster, None, what.clone())?;
                    seen.insert(who(outcome).map_err(|e| format!("{from} -> {cluster} {what:?}: {e}"))?);
                }
                assert_eq!(seen, all, "{from} -> {cluster} {what:?}");
            }
        }
    }
    // Only the ready ones from now on.
    let second = web(vec![backend(&topology, "prod", "second", 9090)?]);
    topology.set_services(&[second])?;
    let cluster = service_addresses(100, Families::Dual)[0];
    for _ in 0..3 {
        let client = Place::pod("dev", "client");
        let outcome = probe_address(&topology, &prober, &client, cluster, None, Probe::Tcp(80))?;
        assert_eq!(who(outcome)?, "prod/second");
    }
    topology.set_services(&[])?;
    let outcome = probe_address(&topology, &prober, &Place::pod("dev", "client"), cluster, None, Probe::Tcp(80))?;
    assert!(matches!(outcome, Outcome::Unreachable { .. }), "{outcome:?}");
    Ok(())
}

pub(crate) fn hairpin(world: &World) -> Result {
    let mut topology = two_backends(world)?;
    let first = web(vec![backend(&topology, "prod", "first", 8080)?]);
    let second = web(vec![backend(&topology, "prod", "second", 9090)?]);
    topology.set_services(std::slice::from_ref(&first))?;
    let prober = Prober::start()?;
    for cluster in service_addresses(100, Families::Dual) {
        for what in [Probe::Tcp(80), Probe::Tcp(81), Probe::Udp(53), Probe::Sctp(90)] {
            let itself = Place::pod("prod", "first");
            let outcome = probe_address(&topology, &prober, &itself, cluster, Some("prod/first"), what.clone())?;
            answered(&outcome, &format!("to itself through {cluster}, {what:?}"))?;
        }
        // The named port of the other pod is another number.
        topology.set_services(std::slice::from_ref(&second))?;
        let client = Place::pod("dev", "client");
        let outcome = probe_address(&topology, &prober, &client, cluster, Some("prod/second"), Probe::Tcp(80))?;
        answered(&outcome, "named port")?;
        let outcome = probe_address(&topology, &prober, &client, cluster, None, Probe::Tcp(81))?;
        assert!(matches!(outcome, Outcome::Refused { .. }), "it does not listen on 8080: {outcome:?}");
        topology.set_services(std::slice::from_ref(&first))?;
    }
    Ok(())
}
