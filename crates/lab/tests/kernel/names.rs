//! DNS, and programs run in pods.

use std::{collections::BTreeMap, net::IpAddr};

use tortie_lab::{
    Answers, OutsideSpec, Place, PodSpec, Topology,
    address::{DNS_SERVICE, Families, service_addresses},
    dns::ServiceRecord,
    exec::EnterSpec,
    probe::{Outcome, Probe, Prober},
    resolver::{candidates, resolv_conf, search_list},
    service::{Backend, Service, ServicePort, Target},
};
use tortie_model::Protocol;

use crate::support::{Result, World, address, answered, probe, probe_address, three_pods, two_nodes};

fn cluster(world: &World) -> Result<Topology> {
    let families = Families::Dual;
    let mut topology = two_nodes(&world.sandbox, families)?;
    let dns = |name: &str, node: &str| PodSpec {
        dns: true,
        answers: Answers::On(vec![(Protocol::Udp, 53), (Protocol::Tcp, 53), (Protocol::Tcp, 9153)]),
        ..PodSpec::tool("kube-system", name, node)
    };
    topology.add_pods(&[
        dns("coredns-1", "node-1"),
        dns("coredns-2", "node-2"),
        PodSpec::tool("prod", "prod1", "node-1"),
    ])?;
    topology.add_outside(&[OutsideSpec {
        name: "internet".to_owned(),
        addresses: vec!["198.51.100.7".parse()?, "2001:db8:7::7".parse()?],
    }])?;
    let backends: Vec<Backend> = ["coredns-1", "coredns-2"]
        .map(|name| Backend {
            name: format!("kube-system/{name}"),
            addresses: topology
                .endpoint(&Place::pod("kube-system", name))
                .map(|e| e.addresses.to_vec())
                .unwrap_or_default(),
            ports: BTreeMap::new(),
        })
        .into();
    let port = |protocol, port| ServicePort { protocol, port, target: Target::Number(port) };
    topology.set_services(&[Service {
        namespace: "kube-system".to_owned(),
        name: "kube-dns".to_owned(),
        addresses: service_addresses(DNS_SERVICE, families),
        ports: vec![port(Protocol::Udp, 53), port(Protocol::Tcp, 53), port(Protocol::Tcp, 9153)],
        backends,
    }])?;
    let mut zone = topology.zone().write().map_err(|_| "poisoned")?;
    zone.services.insert(
        ("kube-system".to_owned(), "kube-dns".to_owned()),
        ServiceRecord::Cluster(service_addresses(DNS_SERVICE, families)),
    );
    zone.outside.insert("www.example.com".to_owned(), vec!["198.51.100.7".parse()?]);
    drop(zone);
    Ok(topology)
}

pub(crate) fn search_list_works(world: &World) -> Result {
    let topology = cluster(world)?;
    let prober = Prober::start()?;
    let pod = Place::pod("prod", "prod1");
    let search = search_list("prod", "cluster.local");
    for server in service_addresses(DNS_SERVICE, Families::Dual) {
        let ask =
            |name: &str| probe_address(&topology, &prober, &pod, server, None, Probe::Dns(candidates(name, &search)));
        for name in ["kube-dns.kube-system.svc", "kube-dns.kube-system", "kube-dns.kube-system.svc.cluster.local."] {
            let Outcome::Resolved { name: full, addresses, .. } = ask(name)? else {
                return Err(format!("{name}: {:?}", ask(name)?).into());
            };
            assert_eq!(full, "kube-dns.kube-system.svc.cluster.local");
            assert_eq!(addresses, service_addresses(DNS_SERVICE, Families::Dual));
        }
        let outcome = ask("www.example.com")?;
        let internet: Vec<IpAddr> = vec!["198.51.100.7".parse()?];
        assert!(matches!(&outcome, Outcome::Resolved { addresses, .. } if *addresses == internet), "{outcome:?}");
        assert!(matches!(ask("nowhere.example.com")?, Outcome::NoSuchName { .. }));
        // The DNS pods also say who they are: one of the two, through the Service.
        for what in [Probe::Tcp(53), Probe::Udp(53), Probe::Tcp(9153)] {
            let outcome = probe_address(&topology, &prober, &pod, server, None, what.clone())?;
            assert!(
                matches!(&outcome, Outcome::Answered { by, .. } if by.starts_with("kube-system/coredns-")),
                "{what:?}: {outcome:?}"
            );
        }
    }
    Ok(())
}

/// A file's lines, by the shell alone: on a machine with nothing else there is no `cat`.
fn show(file: &str) -> String {
    format!("while read -r line; do echo \"$line\"; done < {file}; ")
}

pub(crate) fn command(world: &World) -> Result {
    let topology = cluster(world)?;
    let pod = Place::pod("prod", "prod1");
    let endpoint = topology.endpoint(&pod).ok_or("no pod")?;
    let servers = service_addresses(DNS_SERVICE, Families::Ipv4);
    let spec = EnterSpec::new(endpoint.netns, Some(resolv_conf(&servers, "prod", "cluster.local")));
    let text = world
        .outside
        .shell(&spec, &(show("/etc/resolv.conf") + &show("/proc/net/fib_trie") + &show("/proc/self/status")))?;
    assert!(text.contains("nameserver 10.96.0.10"), "{text}");
    assert!(text.contains(&address(&topology, &pod, true)?.to_string()), "{text}");
    assert!(!text.contains("192.168.64"), "that is the node's network: {text}");
    assert!(text.contains("Uid:\t0\t0\t0\t0"), "root inside: {text}");
    // The machine's own file is untouched, and another pod's program sees its own.
    let node = topology.endpoint(&Place::Node("node-1".to_owned())).ok_or("no node")?;
    let text = world
        .outside
        .shell(&EnterSpec::new(node.netns, None), &(show("/etc/resolv.conf") + &show("/proc/net/route")))?;
    assert!(!text.contains("10.96.0.10"), "{text}");
    assert!(text.contains("tor"), "the links of its pods: {text}");
    Ok(())
}

pub(crate) fn own_program(world: &World) -> Result {
    let topology = three_pods(&world.sandbox, Families::Dual)?;
    let prober = Prober::start()?;
    let (client, server) = (Place::pod("b", "three"), Place::pod("a", "one"));
    let endpoint = topology.endpoint(&server).ok_or("no pod")?;
    let listener = endpoint.netns.run(|| std::net::TcpListener::bind("0.0.0.0:8080"))??;
    let user = std::thread::spawn(move || -> std::io::Result<()> {
        let (mut connection, _) = listener.accept()?;
        std::io::Write::write_all(&mut connection, b"mine\n")
    });
    let outcome = probe(&topology, &prober, &client, &server, true, Probe::Tcp(8080))?;
    assert!(matches!(&outcome, Outcome::WrongName { by, .. } if by == "mine"), "{outcome:?}");
    user.join().map_err(|_| "panic")??;
    // Its socket is gone, and the port is answered for it again.
    let outcome = probe(&topology, &prober, &client, &server, true, Probe::Tcp(8080))?;
    answered(&outcome, "the port that the program left")?;
    let outcome = probe(&topology, &prober, &client, &server, true, Probe::Tcp(8081))?;
    answered(&outcome, "another port")
}
