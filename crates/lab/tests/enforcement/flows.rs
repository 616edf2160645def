//! What is told of connections afterwards, and counters under load.

use std::net::{IpAddr, SocketAddr, UdpSocket};

use tortie_lab::Sandbox;
use tortie_lab::flows::{Flow, FlowKey};
use tortie_model::{Direction, Family, Kind, ObjectRef, Protocol, Traffic};
use tortie_policy::RuleRef;

use crate::stage::{HERE, Stage, THERE, closed, pod, policy, until};
use crate::{Result, Test};

pub(crate) const TESTS: &[(&str, Test)] = &[
    ("flows tell what allowed and denied them, after the policies are gone too", told),
    ("counters of rules are exact while other policies are replaced", exact),
];

fn rule(direction: Direction, namespace: &str, name: &str) -> RuleRef {
    RuleRef { policy: ObjectRef::namespaced(Kind::NetworkPolicy, namespace, name), direction, index: 0 }
}

fn told(sandbox: &Sandbox) -> Result {
    let allowed = policy(
        "b/allow",
        "podSelector: {}, policyTypes: [Ingress], \
         ingress: [{from: [{namespaceSelector: {}}], ports: [{port: 80}]}]",
    );
    let out = policy("a/out", "podSelector: {}, policyTypes: [Egress], egress: [{ports: [{port: 80}, {port: 81}]}]");
    let pods = [pod("a/one", HERE, "", ""), pod("b/two", THERE, "", "")].concat();
    let mut stage = Stage::recording(sandbox, &[&pods, &allowed, &out].map(String::as_str).concat())?;
    stage.allowed("a/one", "b/two", "TCP/80 TCP/80 TCP/80")?;
    stage.denied("a/one", "b/two", "TCP/81 UDP/80")?;
    stage.allowed("b/two", "internet", "TCP/80")?;
    // What happened is told as it was, whatever has become of the policies.
    stage.delete(&["NetworkPolicy/b/allow", "NetworkPolicy/a/out"])?;
    let (egress, ingress) = (rule(Direction::Egress, "a", "out"), rule(Direction::Ingress, "b", "allow"));
    for family in Family::ALL {
        let [one, two, internet] = ["a/one", "b/two", "internet"].map(|who| stage.address(who, family));
        let (one, two, internet) = (one?, two?, internet?);
        let flow = |stage: &Stage, source: IpAddr, destination: IpAddr, protocol, port| {
            let key = FlowKey { source, destination, traffic: Traffic::port(protocol, port) };
            let found = stage.cluster.flows(|flows| flows.since(0).find(|(k, _)| **k == key).map(|(_, f)| f.clone()));
            found.flatten().unwrap_or_else(Flow::default)
        };
        // Records and connections are told on different sockets, and read by another thread.
        let complete = |f: &Flow| f.allowed.connections == 3 && f.allowed.by.egress.is_some();
        until("three connections are told", || Ok(complete(&flow(&stage, one, two, Protocol::Tcp, 80))))?;
        let by = flow(&stage, one, two, Protocol::Tcp, 80).allowed.by;
        let rules = [by.egress, by.ingress].map(|m| m.and_then(|m| m.path.rule().cloned()));
        assert_eq!(rules, [Some(egress.clone()), Some(ingress.clone())]);

        let missed = flow(&stage, one, two, Protocol::Tcp, 81);
        let denied = missed.denied.ok_or("the denied connection is told")?;
        assert_eq!((missed.allowed.connections, &*denied.last.node), (0, THERE));
        assert_eq!(denied.passed.egress.and_then(|m| m.path.rule().cloned()), Some(egress.clone()));
        let wrong = flow(&stage, one, two, Protocol::Udp, 80).denied.ok_or("so is that of another protocol")?;
        assert_eq!((&*wrong.last.node, wrong.passed.egress), (HERE, None));

        until("an ungoverned connection is told", || {
            let flow = flow(&stage, two, internet, Protocol::Tcp, 80);
            Ok(flow.allowed.connections == 1 && flow.denied.is_none() && flow.allowed.by.egress.is_none())
        })?;
    }
    Ok(())
}

/// Policies that are replaced.
const REPLACES: u16 = 20;
/// Connections, and denied packets, of each family during one replace.
const PACKETS: u16 = 200;

fn exact(sandbox: &Sandbox) -> Result {
    let pods = [
        pod("a/client", HERE, "role: client", ""),
        pod("b/server", HERE, "role: server", ""),
        pod("c/other", HERE, "role: other", ""),
    ];
    let allow =
        policy("b/allow", "podSelector: {}, policyTypes: [Ingress], ingress: [{ports: [{port: 7000, protocol: UDP}]}]");
    let mut stage = Stage::new(sandbox, &[pods.concat(), allow, closed("c")].concat())?;
    let netns = stage.netns("a/client")?.clone();
    let addresses: Vec<IpAddr> =
        Family::ALL.into_iter().map(|f| stage.address("b/server", f)).collect::<Result<_>>()?;
    let sinks: Vec<_> = addresses.iter().map(|ip| (SocketAddr::new(*ip, 7000), SocketAddr::new(*ip, 7001))).collect();
    let denied = stage.denied_packets(Direction::Ingress)?;
    // A source port for each connection: one that was used before would still be established.
    let send = |first: u16| -> std::io::Result<()> {
        for port in first..first + PACKETS {
            for (open, shut) in &sinks {
                let local: IpAddr = if open.is_ipv4() { [0; 4].into() } else { [0; 16].into() };
                let socket = UdpSocket::bind((local, port))?;
                socket.send_to(b"?", open)?;
                // The pod answers with its name, which establishes the connection: one decision for each.
                socket.recv(&mut [0; 64])?;
                socket.send_to(b"?", shut)?;
            }
        }
        Ok(())
    };
    for turn in 1..=REPLACES {
        std::thread::scope(|scope| -> Result {
            let sending = scope.spawn(|| netns.run(|| send(10_000 + turn * PACKETS)));
            let ingress = format!("ingress: [{{ports: [{{port: {turn}}}]}}]");
            stage.apply(&policy("c/other", &format!("podSelector: {{}}, policyTypes: [Ingress], {ingress}")))?;
            Ok(sending.join().map_err(|_| "the sender panicked")???)
        })?;
    }
    let sent = 2 * u64::from(REPLACES) * u64::from(PACKETS);
    let counted = stage.decided_by(HERE, &rule(Direction::Ingress, "b", "allow"))?;
    assert_eq!(counted, sent, "one count for each connection");
    assert_eq!(stage.denied_packets(Direction::Ingress)? - denied, sent, "one for each denied packet");
    Ok(())
}
