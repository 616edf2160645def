//! SCTP: by the kernel's sockets where it has them, otherwise by hand.

use tortie_lab::{
    Answers, Place, PodSpec, Topology,
    address::Families,
    probe::{Outcome, Probe, Prober},
    sctp,
};
use tortie_model::Protocol;

use crate::support::{Result, World, answered, probe, two_nodes};

/// A file of `/proc/net` as a place sees it; `None` where there is no such file.
fn proc_net(topology: &Topology, place: &Place, file: &str) -> Result<Option<String>> {
    let netns = topology.endpoint(place).ok_or("no such place")?.netns;
    let read = netns.run(|| std::fs::read_to_string(format!("/proc/thread-self/net/{file}")))?;
    match read {
        Ok(text) => Ok(Some(text)),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e.into()),
    }
}

/// The kernel itself says what was used: associations that it opened, or raw sockets of the protocol.
pub(crate) fn means(world: &World) -> Result {
    let mut topology = two_nodes(&world.sandbox, Families::Dual)?;
    let server =
        PodSpec { answers: Answers::On(vec![(Protocol::Sctp, 9000)]), ..PodSpec::tool("a", "server", "node-1") };
    topology.add_pods(&[server, PodSpec::tool("a", "client", "node-2")])?;
    let prober = Prober::start()?;
    let (server, client) = (Place::pod("a", "server"), Place::pod("a", "client"));
    for v4 in [true, false] {
        let outcome = probe(&topology, &prober, &client, &server, v4, Probe::Sctp(9000))?;
        answered(&outcome, "SCTP")?;
    }
    let by_hand = |place: &Place| -> Result<bool> {
        // An address, and the number of the protocol where others have their port.
        let lists = [proc_net(&topology, place, "raw")?, proc_net(&topology, place, "raw6")?];
        Ok(lists.iter().flatten().all(|list| list.contains(":0084 ")))
    };
    match proc_net(&topology, &client, "sctp/snmp")? {
        Some(counts) => {
            let opened =
                counts.lines().find_map(|line| line.strip_prefix("SctpActiveEstabs")).ok_or("no such count")?;
            let listening = proc_net(&topology, &server, "sctp/eps")?.unwrap_or_default();
            assert!(sctp::has_sockets());
            assert_eq!(opened.trim(), "2", "one association a family");
            assert!(listening.contains(" 9000 "), "{listening}");
            assert!(!by_hand(&server)?);
            println!("SCTP by the kernel's sockets");
        }
        None => {
            assert!(!sctp::has_sockets());
            assert!(by_hand(&server)? && by_hand(&client)?, "the client answers, too");
            println!("SCTP by hand");
        }
    }
    Ok(())
}

/// A node and the pods in its network have one address: a port belongs to whoever had it first.
pub(crate) fn shared_address(world: &World) -> Result {
    let mut topology = two_nodes(&world.sandbox, Families::Dual)?;
    let hosted = |name: &str, port| PodSpec {
        host_network: true,
        answers: Answers::On(vec![(Protocol::Sctp, port)]),
        ..PodSpec::tool("a", name, "node-1")
    };
    topology.add_pods(&[hosted("first", 9001), hosted("second", 9002), PodSpec::tool("b", "client", "node-2")])?;
    let node = Place::Node("node-1".to_owned());
    let [first, second] = ["first", "second"].map(|name| Place::pod("a", name));
    topology.listen(&node, Protocol::Sctp, 9000)?;
    topology.listen(&node, Protocol::Sctp, 9001)?;
    let prober = Prober::start()?;
    let client = Place::pod("b", "client");
    for v4 in [true, false] {
        for (owner, port) in [(&node, 9000), (&first, 9001), (&second, 9002)] {
            for _ in 0..3 {
                let outcome = probe(&topology, &prober, &client, owner, v4, Probe::Sctp(port))?;
                answered(&outcome, &format!("{owner} on {port}"))?;
            }
        }
        let outcome = probe(&topology, &prober, &client, &node, v4, Probe::Sctp(9003))?;
        assert!(matches!(outcome, Outcome::Refused { .. }), "{outcome:?}");
    }
    topology.remove_pod("a", "second")?;
    let outcome = probe(&topology, &prober, &client, &node, true, Probe::Sctp(9002))?;
    assert!(matches!(outcome, Outcome::Refused { .. }), "it left its port: {outcome:?}");
    Ok(())
}
