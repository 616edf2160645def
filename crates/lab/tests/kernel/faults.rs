//! What goes wrong, and that it is told.

use std::{
    collections::BTreeSet,
    net::IpAddr,
    time::{Duration, Instant},
};

use tortie_lab::{
    Answers, LabError, Place, PodSpec, Topology,
    address::{Families, pod_link},
    probe::{Outcome, Prepared, Probe, ProbeSpec, Prober},
};
use tortie_model::{IpProtocol, Protocol};
use tortie_netlink::{
    Socket,
    nft::{Batch, Op, TableFlags},
    route::Routes,
};
use tortie_ruleset::{BaseChain, Chain, ChainKind, Family, Hook, Policy, Table};

use crate::support::{Result, World, address, answered, probe, three_pods};

pub(crate) fn outcomes(world: &World) -> Result {
    let topology = three_pods(&world.sandbox, Families::Dual)?;
    let prober = Prober::start()?;
    let (one, three) = (Place::pod("a", "one"), Place::pod("b", "three"));
    topology.set_pod_link("b", "three", false)?;
    let endpoint = topology.endpoint(&one).ok_or("no pod")?;
    let mut ports = BTreeSet::new();
    for v4 in [true, false] {
        let (source, destination) = (address(&topology, &one, v4)?, address(&topology, &three, v4)?);
        let spec = |probe| ProbeSpec {
            deadline: Duration::from_millis(300),
            ..ProbeSpec::new(source, destination, probe, Some("b/three"))
        };
        let specs: Vec<ProbeSpec> = [Probe::Ping, Probe::Tcp(80), Probe::Udp(53), Probe::Sctp(80)].map(spec).into();
        // The node of a link that is down knows no way, so these circle and are reported, or are lost.
        for outcome in prober.run(endpoint.netns, specs.clone())? {
            assert!(matches!(outcome, Outcome::Silent | Outcome::Unreachable { .. }), "{outcome:?}");
        }
        let prepared = prober.prepare(endpoint.netns, specs)?;
        let ping = IpProtocol::icmp(tortie_model::Family::of(source));
        for (prepared, protocol) in prepared.iter().zip([ping, IpProtocol::TCP, IpProtocol::UDP, IpProtocol::SCTP]) {
            let tuple = prepared.tuple();
            assert_eq!((tuple.source, tuple.destination, tuple.protocol), (source, destination, protocol));
            assert_ne!(tuple.source_port, 0);
            assert!(ports.insert((protocol, tuple.source_port)), "each has its own: {tuple:?}");
        }
        // Told before the first packet left, as far as the prober knows.
        prepared.iter().for_each(|p| p.drop_notice().seen());
        for run in prober.launch(prepared) {
            let outcome = run.wait();
            assert!(matches!(outcome, Outcome::Dropped { .. }), "{outcome:?}");
        }
    }
    let two = Place::pod("a", "two");
    for what in [Probe::Tcp(80), Probe::Udp(80), Probe::Sctp(80)] {
        for v4 in [true, false] {
            for to in [&one, &two] {
                let (source, destination) = (address(&topology, &one, v4)?, address(&topology, to, v4)?);
                let wrong = ProbeSpec::new(source, destination, what.clone(), Some("b/three"));
                let outcome = prober.run(endpoint.netns, vec![wrong])?.swap_remove(0);
                let by_whom = to.to_string();
                assert!(matches!(&outcome, Outcome::WrongName { by, .. } if *by == by_whom), "{what:?}: {outcome:?}");
            }
        }
    }
    Ok(())
}

/// A chain that drops what its namespace would forward.
fn drop_forwarded() -> Vec<Op> {
    let base = BaseChain { kind: ChainKind::Filter, hook: Hook::Forward, priority: 0, policy: Policy::Drop };
    let table = Table {
        family: Family::Inet,
        name: "drop".to_owned(),
        maps: [].into(),
        chains: [("forward".to_owned(), Chain { base: Some(base), rules: Vec::new() }.into())].into(),
    };
    Op::create(&table, TableFlags::NONE)
}

/// Makes a node drop what it would forward, without a record.
fn swallow(topology: &Topology, node: &str) -> Result {
    let node = topology.endpoint(&Place::Node(node.to_owned())).ok_or("no node")?;
    node.netns.run(|| -> Result {
        Ok(Batch::of(&drop_forwarded())?.commit(&mut Socket::open(tortie_netlink::Protocol::Netfilter)?, None)?)
    })?
}

/// Of many probes on a busy machine, the last must not be taken for lost while the others are being answered.
pub(crate) fn patience(world: &World) -> Result {
    const DEADLINE: Duration = Duration::from_millis(500);
    let topology = three_pods(&world.sandbox, Families::Ipv4)?;
    swallow(&topology, "node-2")?;
    let prober = Prober::start()?;
    let [one, two, three] = [("a", "one"), ("a", "two"), ("b", "three")].map(|(ns, name)| Place::pod(ns, name));
    let netns = topology.endpoint(&one).ok_or("no pod")?.netns;
    let (source, silent) = (address(&topology, &one, true)?, address(&topology, &three, true)?);
    loop {
        let spec = ProbeSpec { deadline: DEADLINE, ..ProbeSpec::new(source, silent, Probe::Udp(53), None) };
        let began = Instant::now();
        let run = prober.launch(prober.prepare(netns, vec![spec])?).swap_remove(0);
        let ended = std::thread::spawn(move || (run.wait(), Instant::now()));
        let (mut heard, mut longest) = (began, Duration::ZERO);
        while began.elapsed() < 3 * DEADLINE {
            answered(&probe(&topology, &prober, &one, &two, true, Probe::Ping)?, "the neighbour")?;
            longest = longest.max(heard.elapsed());
            heard = Instant::now();
        }
        let (outcome, end) = ended.join().map_err(|_| "the waiting thread")?;
        assert_eq!(outcome, Outcome::Silent);
        // Answers that came too seldom say nothing.
        if longest < DEADLINE / 2 {
            assert!(end > heard, "given up {:?} after it began, while others were answered", end - began);
            return Ok(());
        }
    }
}

pub(crate) fn drops(world: &World) -> Result {
    let topology = three_pods(&world.sandbox, Families::Dual)?;
    swallow(&topology, "node-2")?;
    let prober = Prober::start()?;
    let (one, three) = (Place::pod("a", "one"), Place::pod("b", "three"));
    let netns = topology.endpoint(&one).ok_or("no pod")?.netns;
    let specs = |deadline| -> Result<Vec<ProbeSpec>> {
        let mut specs = Vec::new();
        for v4 in [true, false] {
            let (source, destination) = (address(&topology, &one, v4)?, address(&topology, &three, v4)?);
            let resolve = Probe::Dns(vec!["www.example.com".to_owned()]);
            for probe in [Probe::Ping, Probe::Tcp(80), Probe::Udp(53), Probe::Sctp(80), resolve] {
                specs.push(ProbeSpec { deadline, ..ProbeSpec::new(source, destination, probe, Some("b/three")) });
            }
        }
        Ok(specs)
    };
    for outcome in prober.run(netns, specs(Duration::from_millis(300))?)? {
        assert_eq!(outcome, Outcome::Silent);
    }
    // An hour, of which nothing is waited for once the drop is seen. Without the notice this test would not end.
    let prepared = prober.prepare(netns, specs(Duration::from_secs(3600))?)?;
    let notices: Vec<_> = prepared.iter().map(Prepared::drop_notice).collect();
    let runs = prober.launch(prepared);
    for (run, notice) in runs.into_iter().zip(notices) {
        notice.seen();
        let outcome = run.wait();
        assert!(matches!(outcome, Outcome::Dropped { .. }), "{outcome:?}");
        notice.seen();
    }
    Ok(())
}

pub(crate) fn link(world: &World) -> Result {
    let topology = three_pods(&world.sandbox, Families::Dual)?;
    let prober = Prober::start()?;
    let (one, three) = (Place::pod("a", "one"), Place::pod("b", "three"));
    topology.set_pod_link("a", "one", false)?;
    topology.set_pod_link("a", "one", true)?;
    for v4 in [true, false] {
        for (from, to) in [(&one, &three), (&three, &one)] {
            let outcome = probe(&topology, &prober, from, to, v4, Probe::Ping)?;
            answered(&outcome, &format!("{from} -> {to}, v4 {v4}"))?;
        }
    }
    Ok(())
}

pub(crate) fn removal(world: &World) -> Result {
    let mut topology = three_pods(&world.sandbox, Families::Dual)?;
    let prober = Prober::start()?;
    let (one, two, three) = (Place::pod("a", "one"), Place::pod("a", "two"), Place::pod("b", "three"));
    let first = topology.endpoint(&two).ok_or("no pod")?.addresses.to_vec();
    topology.remove_pod("a", "two")?;
    assert!(topology.endpoint(&two).is_none());
    assert!(matches!(topology.remove_pod("a", "two"), Err(LabError::Missing { .. })));
    // Its name and its addresses can be had again at once, elsewhere too.
    let again = PodSpec {
        addresses: first.clone(),
        answers: Answers::On(vec![(Protocol::Tcp, 80)]),
        ..PodSpec::tool("a", "two", "node-2")
    };
    topology.add_pods(&[again])?;
    for from in [&one, &three] {
        for v4 in [true, false] {
            let outcome = probe(&topology, &prober, from, &two, v4, Probe::Tcp(80))?;
            answered(&outcome, &format!("{from} to the new one"))?;
        }
    }
    topology.remove_pod("a", "two")?;
    // Its links and routes are gone, those of the other pod are there.
    let node = topology.endpoint(&Place::Node("node-1".to_owned())).ok_or("no node")?;
    let (links, routes) = node.netns.run(|| -> Result<_> {
        let mut connection = Routes::open()?;
        Ok((connection.links()?, connection.routes()?))
    })??;
    let pods: Vec<&str> = links.iter().map(|l| l.name.as_str()).filter(|n| n.starts_with("tor")).collect();
    assert_eq!(pods, [pod_link("a", "one")]);
    let hosts: Vec<IpAddr> = routes.iter().filter(|r| r.gateway.is_none()).map(|r| r.destination).collect();
    for address in &first {
        assert!(!hosts.contains(address), "{routes:?}");
    }
    for address in topology.endpoint(&one).ok_or("no pod")?.addresses {
        assert!(hosts.contains(address), "{routes:?}");
    }
    topology.add_pods(&[PodSpec::tool("a", "two", "node-1")])?;
    assert_ne!(topology.endpoint(&two).ok_or("no pod")?.addresses, first, "reused as late as possible");
    Ok(())
}
