//! Everything reaches everything where there is no policy.

use tortie_lab::{
    Answers, OutsideSpec, Place, PodSpec,
    address::Families,
    probe::{Outcome, Probe, ProbeSpec, Prober},
};
use tortie_model::Protocol;

use crate::support::{Result, World, address, answered, probe, probe_address, three_pods, two_nodes};

pub(crate) fn pods(world: &World) -> Result {
    for (families, versions) in
        [(Families::Dual, &[true, false][..]), (Families::Ipv4, &[true]), (Families::Ipv6, &[false])]
    {
        let topology = three_pods(&world.sandbox, families)?;
        let prober = Prober::start()?;
        let places: Vec<Place> = topology.places().filter(|p| matches!(p, Place::Pod { .. })).collect();
        assert_eq!(places.len(), 3);
        for from in &places {
            for to in &places {
                for v4 in versions {
                    for what in [
                        Probe::Ping,
                        Probe::Tcp(8888),
                        Probe::Tcp(1),
                        Probe::Udp(53),
                        Probe::Udp(65535),
                        Probe::Sctp(1),
                        Probe::Sctp(65535),
                    ] {
                        let outcome = probe(&topology, &prober, from, to, *v4, what.clone())?;
                        answered(&outcome, &format!("{families:?}: {from} -> {to} {what:?}"))?;
                    }
                }
            }
        }
    }
    Ok(())
}

pub(crate) fn given_port(world: &World) -> Result {
    let mut topology = three_pods(&world.sandbox, Families::Dual)?;
    let listening = PodSpec { answers: Answers::On(vec![(Protocol::Tcp, 53)]), ..PodSpec::tool("b", "four", "node-2") };
    topology.add_pods(&[listening])?;
    let prober = Prober::start()?;
    let [one, three, four] = [("a", "one"), ("b", "three"), ("b", "four")].map(|(ns, name)| Place::pod(ns, name));
    for v4 in [true, false] {
        let sent = |from: &Place, to: &Place, what: Probe| -> Result<_> {
            let netns = topology.endpoint(from).ok_or("no such place")?.netns;
            let spec = ProbeSpec::new(address(&topology, from, v4)?, address(&topology, to, v4)?, what, None);
            let prepared = prober.prepare(netns, vec![spec.from_port(Some(53))])?;
            let port = prepared[0].tuple().source_port;
            Ok((port, prober.launch(prepared).swap_remove(0).wait()))
        };
        // One after the other, from the same port: the one before has given it back.
        for what in [Probe::Tcp(80), Probe::Tcp(81), Probe::Udp(80), Probe::Udp(81), Probe::Sctp(80), Probe::Sctp(81)] {
            let (port, outcome) = sent(&one, &three, what.clone())?;
            answered(&outcome, &format!("from a given port: {what:?}"))?;
            assert_eq!(port, 53);
        }
        let (_, outcome) = sent(&four, &three, Probe::Tcp(80))?;
        assert!(matches!(outcome, Outcome::Failed { .. }), "somebody listens on it: {outcome:?}");
    }
    Ok(())
}

pub(crate) fn declared_ports(world: &World) -> Result {
    let mut topology = two_nodes(&world.sandbox, Families::Dual)?;
    let ports = vec![(Protocol::Tcp, 8080), (Protocol::Udp, 5000), (Protocol::Sctp, 9000)];
    let web = PodSpec { answers: Answers::On(ports), ..PodSpec::tool("prod", "web", "node-1") };
    let plain =
        PodSpec { answers: Answers::On(vec![(Protocol::Tcp, 8080)]), ..PodSpec::tool("prod", "plain", "node-1") };
    topology.add_pods(&[web, plain, PodSpec::tool("prod", "client", "node-2")])?;
    let prober = Prober::start()?;
    let [client, web, plain] = ["client", "web", "plain"].map(|name| Place::pod("prod", name));
    for v4 in [true, false] {
        for what in [Probe::Tcp(8080), Probe::Udp(5000), Probe::Sctp(9000), Probe::Ping] {
            let outcome = probe(&topology, &prober, &client, &web, v4, what.clone())?;
            answered(&outcome, &format!("declared {what:?}"))?;
        }
        for what in [Probe::Tcp(8081), Probe::Udp(8080), Probe::Tcp(5000), Probe::Tcp(9000), Probe::Sctp(8080)] {
            let outcome = probe(&topology, &prober, &client, &web, v4, what.clone())?;
            assert!(matches!(outcome, Outcome::Refused { .. }), "undeclared {what:?}: {outcome:?}");
        }
        // Where no SCTP port is declared at all.
        let outcome = probe(&topology, &prober, &client, &plain, v4, Probe::Sctp(8080))?;
        assert!(matches!(outcome, Outcome::Refused { .. }), "{outcome:?}");
    }
    topology.listen(&web, Protocol::Tcp, 8081)?;
    topology.listen(&web, Protocol::Tcp, 8081)?;
    let outcome = probe(&topology, &prober, &client, &web, true, Probe::Tcp(8081))?;
    answered(&outcome, "a port that was opened later")
}

pub(crate) fn beyond_pods(world: &World) -> Result {
    let mut topology = three_pods(&world.sandbox, Families::Dual)?;
    topology.add_outside(&[OutsideSpec {
        name: "internet".to_owned(),
        addresses: vec!["198.51.100.7".parse()?, "2001:db8:7::7".parse()?],
    }])?;
    let agent = PodSpec {
        host_network: true,
        answers: Answers::On(vec![(Protocol::Tcp, 9099)]),
        ..PodSpec::tool("kube-system", "agent", "node-2")
    };
    topology.add_pods(&[agent])?;
    let prober = Prober::start()?;
    let pod = Place::pod("a", "one");
    let internet = Place::Outside("internet".to_owned());
    let nodes = [Place::Node("node-1".to_owned()), Place::Node("node-2".to_owned())];
    let agent = Place::pod("kube-system", "agent");
    for v4 in [true, false] {
        let mut pairs = vec![
            (&pod, &internet, Probe::Tcp(443)),
            (&internet, &pod, Probe::Udp(123)),
            (&internet, &pod, Probe::Sctp(123)),
            (&pod, &internet, Probe::Sctp(443)),
            (&internet, &nodes[0], Probe::Tcp(10250)),
            (&pod, &agent, Probe::Tcp(9099)),
            (&agent, &pod, Probe::Tcp(80)),
        ];
        for node in &nodes {
            pairs.extend([
                (&pod, node, Probe::Tcp(10250)),
                (node, &pod, Probe::Tcp(80)),
                (node, &internet, Probe::Ping),
            ]);
            pairs.extend([(&pod, node, Probe::Ping), (&internet, node, Probe::Udp(10250))]);
        }
        for (from, to, what) in pairs {
            let outcome = probe(&topology, &prober, from, to, v4, what.clone())?;
            answered(&outcome, &format!("{from} -> {to} {what:?}"))?;
        }
    }
    // Nothing has this address: the wire says so, where a policy would say nothing.
    let outcome = probe_address(&topology, &prober, &pod, "203.0.113.9".parse()?, None, Probe::Tcp(80))?;
    assert!(matches!(outcome, Outcome::Unreachable { .. }), "{outcome:?}");
    Ok(())
}

pub(crate) fn given_addresses(world: &World) -> Result {
    let mut topology = two_nodes(&world.sandbox, Families::Dual)?;
    let given = ["172.20.3.4".parse()?, "10.244.1.2".parse()?, "fd99::7".parse()?];
    let odd = PodSpec { addresses: given.to_vec(), ..PodSpec::tool("a", "odd", "node-2") };
    topology.add_pods(&[odd, PodSpec::tool("a", "one", "node-1"), PodSpec::tool("a", "two", "node-1")])?;
    let prober = Prober::start()?;
    let taken = PodSpec { addresses: vec!["fd99::7".parse()?], ..PodSpec::tool("a", "thief", "node-1") };
    let refusal = topology.add_pods(&[taken]).expect_err("a/odd has it").to_string();
    assert!(refusal.contains("fd99::7") && refusal.contains("a/odd"), "{refusal}");
    assert!(topology.endpoint(&Place::pod("a", "thief")).is_none());
    for from in [Place::pod("a", "one"), Place::pod("a", "two"), Place::Node("node-1".to_owned())] {
        for to in given {
            for what in [Probe::Ping, Probe::Tcp(80), Probe::Udp(53)] {
                let outcome = probe_address(&topology, &prober, &from, to, Some("a/odd"), what.clone())?;
                answered(&outcome, &format!("{from} -> {to} {what:?}"))?;
            }
        }
    }
    Ok(())
}
