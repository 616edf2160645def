//! A connection that a change forbids ends there and then, in both directions; others do not notice.

use std::net::{TcpListener, TcpStream, UdpSocket};

use tortie_lab::Sandbox;
use tortie_model::{Direction, Family};
use tortie_plan::nft::prefix::DropKind;

use crate::raw::Sink;
use crate::stage::{PATIENCE, Stage, until};
use crate::talk::{Carrier, Talk, Talks};
use crate::{Result, Test};

pub(crate) const TESTS: &[(&str, Test)] = &[
    ("connections that ingress forbids are cut, and go on when it allows them again", by_ingress),
    ("connections that egress forbids are cut, and go on when it allows them again", by_egress),
    ("a new pod does not inherit the connections of its address", inherited_address),
];

/// A client, a server beside it and one on another node, and a Service before the latter.
const CLUSTER: &str = "
{apiVersion: v1, kind: Pod, metadata: {namespace: a, name: client, labels: {role: client}}, spec: {nodeName: node-1, containers: [{name: c}]}}
---
{apiVersion: v1, kind: Pod, metadata: {namespace: b, name: near, labels: {role: server, at: near}}, spec: {nodeName: node-1, containers: [{name: c}]}}
---
{apiVersion: v1, kind: Pod, metadata: {namespace: b, name: far, labels: {role: server, at: far}}, spec: {nodeName: node-2, containers: [{name: c}]}}
---
apiVersion: v1
kind: Service
metadata: {namespace: b, name: web}
spec:
  selector: {at: far}
  ports:
  - {name: t1, protocol: TCP, port: 80, targetPort: 7002}
  - {name: t2, protocol: TCP, port: 81, targetPort: 8002}
  - {name: u1, protocol: UDP, port: 80, targetPort: 7002}
  - {name: u2, protocol: UDP, port: 81, targetPort: 8002}
";

/// The ports of conversations to be cut are 7000 and 7002, those of their neighbours 8000 and 8002.
fn conversations(stage: &Stage) -> Result<Talks> {
    let mut talks = Vec::new();
    for family in Family::ALL {
        for carrier in [Carrier::Tcp, Carrier::Udp] {
            for (port, name) in [(7000, "cut"), (8000, "kept")] {
                let client = (stage.netns("a/client")?, stage.address("a/client", family)?);
                for server in ["b/near", "b/far"] {
                    let name = format!("{name}, {server} {carrier:?} {family}");
                    let at = stage.address(server, family)?;
                    talks.push(Talk::open(name, carrier, client, (at, port), (stage.netns(server)?, at, port))?);
                }
                let name = format!("{name}, b/web {carrier:?} {family}");
                let to = (stage.cluster_ip("b/web", family)?, if port == 7000 { 80 } else { 81 });
                let at = (stage.netns("b/far")?, stage.address("b/far", family)?, port + 2);
                talks.push(Talk::open(name, carrier, client, to, at)?);
            }
        }
    }
    Ok(Talks::start(talks))
}

/// Plays: open, cut, open again, cut again, with traffic throughout.
fn cut(sandbox: &Sandbox, open: &str, closed: &str) -> Result {
    let mut stage = Stage::new(sandbox, &format!("{CLUSTER}\n---\n{open}"))?;
    let talks = conversations(&stage)?;
    talks.passes("", 0, 1000)?;
    for phase in [1, 3] {
        stage.apply(closed)?;
        let revoked = stage.dropped(DropKind::Revoked)?;
        talks.begin(phase)?;
        let before = talks.arrived("cut");
        // Both sides try: every datagram is seen to be dropped, and every stream has sent what its peer has not got.
        talks.has_sent("cut", phase, 640)?;
        until("the nodes have dropped as many packets as were sent", || {
            let sent = talks.datagrams("cut", phase);
            Ok(stage.dropped(DropKind::Revoked)? >= revoked + sent)
        })?;
        // As long as it takes a stream to send again what was not acknowledged.
        talks.passes("kept", phase, 4000)?;
        assert_eq!(talks.arrived("cut"), before, "bytes passed after the change was in force");
        stage.apply(open)?;
        talks.begin(phase + 1)?;
        talks.passes("", phase + 1, 1000)?;
    }
    talks.lost_nothing("kept")
}

fn by_ingress(sandbox: &Sandbox) -> Result {
    let policy = |ports: &str| {
        format!(
            "
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {{namespace: b, name: servers}}
spec:
  podSelector: {{matchLabels: {{role: server}}}}
  ingress:
  - from: [{{namespaceSelector: {{}}, podSelector: {{matchLabels: {{role: client}}}}}}]
    ports: [{ports}]
"
        )
    };
    let kept = "{port: 8000}, {port: 8002}, {protocol: UDP, port: 8000}, {protocol: UDP, port: 8002}";
    let cut_too = "{port: 7000}, {port: 7002}, {protocol: UDP, port: 7000}, {protocol: UDP, port: 7002}";
    cut(sandbox, &policy(&format!("{kept}, {cut_too}")), &policy(kept))
}

fn by_egress(sandbox: &Sandbox) -> Result {
    let policy = |from: u16| {
        format!(
            "
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {{namespace: a, name: clients}}
spec:
  podSelector: {{}}
  policyTypes: [Egress]
  egress:
  - to: [{{namespaceSelector: {{matchLabels: {{kubernetes.io/metadata.name: b}}}}}}]
    ports: [{{port: {from}, endPort: 9000}}, {{protocol: UDP, port: {from}, endPort: 9000}}]
"
        )
    };
    cut(sandbox, &policy(7000), &policy(7003))
}

/// A pod at given addresses that answers to this role.
fn at(name: &str, role: &str) -> String {
    format!(
        "
apiVersion: v1
kind: Pod
metadata: {{namespace: b, name: {name}, labels: {{role: {role}}}}}
spec: {{nodeName: node-2, containers: [{{name: c}}]}}
status: {{podIPs: [{{ip: 10.244.2.77}}, {{ip: 'fd00:10:244:2::77'}}]}}
"
    )
}

fn inherited_address(sandbox: &Sandbox) -> Result {
    let closed = "
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {namespace: b, name: newcomers}
spec:
  podSelector: {matchLabels: {role: newcomer}}
  policyTypes: [Ingress, Egress]
  ingress: [{from: [{podSelector: {matchLabels: {at: near}}}]}]
";
    let mut stage = Stage::new(sandbox, &[CLUSTER, &at("old", "server"), closed].join("\n---\n"))?;
    let mut connections = Vec::new();
    for family in Family::ALL {
        for who in ["a/client", "b/far"] {
            let (from, to) = (stage.address(who, family)?, stage.address("b/old", family)?);
            // One in each direction over each carrier; these are the ends that stay.
            let served = stage.netns("b/old")?.run(|| UdpSocket::bind((to, 0)))??;
            let asking = stage.netns(who)?.run(|| UdpSocket::bind((from, 0)))??;
            asking.connect(served.local_addr()?)?;
            asking.send(b"hello")?;
            served.set_read_timeout(Some(PATIENCE))?;
            served.recv(&mut [0; 16])?;
            served.send_to(b"hello", asking.local_addr()?)?;
            let listener = stage.netns("b/old")?.run(|| TcpListener::bind((to, 0)))??;
            let address = listener.local_addr()?;
            let stream = stage.netns(who)?.run(|| TcpStream::connect_timeout(&address, PATIENCE))??;
            stream.set_nonblocking(true)?;
            let accepted = listener.accept()?.0;
            connections.push((asking, stream, served, accepted));
        }
    }
    stage.change(&["Pod/b/old"], &at("new", "newcomer"))?;
    let mut sinks = Vec::new();
    for family in Family::ALL {
        let address = stage.address("b/new", family)?;
        for protocol in [6, 17] {
            sinks.push(Sink::open(stage.netns("b/new")?, address, protocol)?);
        }
    }
    let dropped = stage.denied_packets(Direction::Ingress)?;
    const OLD: &[u8] = b"for the old pod";
    let sends = connections.len() as u64;
    for (asking, stream, ..) in &connections {
        // An error of an earlier datagram may be told here.
        let _ = asking.send(OLD);
        asking.send(OLD)?;
        let _ = std::io::Write::write(&mut &*stream, OLD);
    }
    until("what was sent to the old pod is dropped", || {
        Ok(stage.denied_packets(Direction::Ingress)? >= dropped + 2 * sends)
    })?;
    // The way is open for whom policy allows: the same sinks see it.
    const NEW: &[u8] = b"for the new pod";
    for family in Family::ALL {
        let (from, to) = (stage.address("b/near", family)?, stage.address("b/new", family)?);
        let neighbour = stage.netns("b/near")?.run(|| UdpSocket::bind((from, 0)))??;
        neighbour.send_to(NEW, (to, 7000))?;
    }
    let (mut old, mut new) = (0, 0);
    until("what is allowed arrives", || {
        for sink in &sinks {
            let counts = sink.counts(OLD, NEW)?;
            (old, new) = (old + counts.0, new + counts.1);
        }
        Ok(new >= 2)
    })?;
    assert_eq!(old, 0, "segments or datagrams of old connections reached the new pod");
    Ok(())
}
