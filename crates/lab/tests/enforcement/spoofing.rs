//! A packet from a pod bears the pod's own address, or goes nowhere.

use std::net::{IpAddr, UdpSocket};

use tortie_lab::Sandbox;
use tortie_model::Family;
use tortie_node::Cause;

use crate::raw::{ACK, Body, RST, SYN, Sink, send};
use crate::stage::{PATIENCE, Stage, until};
use crate::{Result, Test};

pub(crate) const TESTS: &[(&str, Test)] = &[
    ("a packet with another's address arrives nowhere", forged),
    ("a forged packet of an established connection does not arrive", within_a_connection),
];

const PODS: &str = "
{apiVersion: v1, kind: Pod, metadata: {namespace: a, name: thief}, spec: {nodeName: node-1, containers: [{name: c}]}}
---
{apiVersion: v1, kind: Pod, metadata: {namespace: a, name: near}, spec: {nodeName: node-1, containers: [{name: c}]}}
---
{apiVersion: v1, kind: Pod, metadata: {namespace: b, name: far}, spec: {nodeName: node-2, containers: [{name: c}]}}
";

const FORGED: &[u8] = b"forged";
const HONEST: &[u8] = b"honest";

/// One packet of each kind; what is in a drop record tells them apart.
fn bodies(number: u16, data: &[u8]) -> [Body; 4] {
    let (from, to, data) = (20_000 + number, 7000, data.to_vec());
    [
        Body::Udp { from, to, data: data.clone() },
        Body::Tcp { from, to, flags: SYN, seq: 1, ack: 0, data: data.clone() },
        Body::Echo { id: from, data: data.clone() },
        Body::Other { protocol: 253, data },
    ]
}

fn forged(sandbox: &Sandbox) -> Result {
    let stage = Stage::new(sandbox, PODS)?;
    let thief = stage.netns("a/thief")?;
    let mut number = 0;
    for family in Family::ALL {
        let own = stage.address("a/thief", family)?;
        let foreign: IpAddr = match family {
            Family::V4 => "203.0.113.9".parse()?,
            Family::V6 => "2001:db8:99::9".parse()?,
        };
        for destination in ["a/near", "b/far", "node/node-1", "node/node-2", "internet"] {
            let to = stage.address(destination, family)?;
            let mut sources = vec![foreign];
            for other in ["a/near", "b/far", "node/node-1", "node/node-2", "internet"] {
                let other = stage.address(other, family)?;
                sources.extend((other != to).then_some(other));
            }
            let netns = stage.netns(destination)?;
            let mut sinks = Vec::new();
            for body in bodies(0, b"") {
                sinks.push(Sink::open(netns, to, body.protocol(to.is_ipv4()))?);
            }
            for source in sources {
                number += 1;
                for body in bodies(number, FORGED) {
                    let drops = stage.cluster.watch_drops(body.flow(source, to));
                    send(thief, source, to, &body)?;
                    // The kernel itself throws away what bears the receiving host's own IPv4 address, and says nothing.
                    if source == stage.address("node/node-1", Family::V4)? {
                        continue;
                    }
                    let denial = drops.next(PATIENCE).ok_or_else(|| format!("{source} -> {to} {body:?}: no drop"))?;
                    assert_eq!(denial.cause, Cause::Spoofed, "{source} -> {to} {body:?}");
                    assert_eq!(&*denial.node, "node-1", "where the pod is");
                }
            }
            number += 1;
            for (body, sink) in bodies(number, HONEST).iter().zip(&sinks) {
                send(thief, own, to, body)?;
                // Sent last: whatever arrived of the others is there by now.
                let (mut forged, mut honest) = (0, 0);
                until(&format!("{own} -> {to} {body:?} arrives"), || {
                    let new = sink.counts(FORGED, HONEST)?;
                    (forged, honest) = (forged + new.0, honest + new.1);
                    Ok(honest > 0)
                })?;
                assert_eq!(forged, 0, "to {destination}: {body:?}");
            }
        }
    }
    Ok(())
}

fn within_a_connection(sandbox: &Sandbox) -> Result {
    let stage = Stage::new(sandbox, PODS)?;
    let thief = stage.netns("a/thief")?;
    for family in Family::ALL {
        let (client, server) = (stage.address("a/near", family)?, stage.address("b/far", family)?);
        let near = stage.netns("a/near")?.run(|| UdpSocket::bind((client, 7001)))??;
        let far = stage.netns("b/far")?.run(|| UdpSocket::bind((server, 7000)))??;
        near.connect((server, 7000))?;
        far.connect((client, 7001))?;
        let hears = |socket: &UdpSocket| -> Result<Vec<u8>> {
            socket.set_read_timeout(Some(PATIENCE))?;
            let mut bytes = [0; 64];
            let length = socket.recv(&mut bytes)?;
            Ok(bytes[..length].to_vec())
        };
        near.send(b"hello")?;
        assert_eq!(hears(&far)?, b"hello");
        far.send(b"hello yourself")?;
        assert_eq!(hears(&near)?, b"hello yourself");

        let forge = |body: Body, from: IpAddr, to: IpAddr| -> Result {
            let drops = stage.cluster.watch_drops(body.flow(from, to));
            send(thief, from, to, &body)?;
            let denial = drops.next(PATIENCE).ok_or_else(|| format!("{from} -> {to} {body:?}: no drop"))?;
            assert_eq!(denial.cause, Cause::Spoofed);
            Ok(())
        };
        let data = FORGED.to_vec();
        forge(Body::Udp { from: 7001, to: 7000, data: data.clone() }, client, server)?;
        forge(Body::Udp { from: 7000, to: 7001, data: data.clone() }, server, client)?;
        near.send(HONEST)?;
        assert_eq!(hears(&far)?, HONEST, "the forged datagram was sent before");
        far.send(HONEST)?;
        assert_eq!(hears(&near)?, HONEST);

        // A connection that is open: what would end it, or go into it, does not even reach the other host.
        let listener = stage.netns("b/far")?.run(|| std::net::TcpListener::bind((server, 7002)))??;
        let stream = stage.netns("a/near")?.run(|| std::net::TcpStream::connect((server, 7002)))??;
        let (_accepted, from) = listener.accept()?;
        let at_server = Sink::open(stage.netns("b/far")?, server, 6)?;
        let at_client = Sink::open(stage.netns("a/near")?, client, 6)?;
        for (number, flags) in (0..).zip([ACK, ACK | RST, RST, SYN]) {
            let (seq, ack, data) = (number, number, FORGED.to_vec());
            let body = Body::Tcp { from: from.port(), to: 7002, flags, seq, ack, data: data.clone() };
            forge(body, client, server)?;
            forge(Body::Tcp { from: 7002, to: from.port(), flags, seq, ack, data }, server, client)?;
        }
        std::io::Write::write_all(&mut &stream, HONEST)?;
        let mut arrived = [0, 0];
        until("the client's own segment arrives", || {
            let (forged, honest) = at_server.counts(FORGED, HONEST)?;
            arrived = [arrived[0] + forged, arrived[1] + honest];
            Ok(arrived[1] > 0)
        })?;
        assert_eq!(arrived[0], 0, "forged segments at the server");
        assert_eq!(at_client.counts(FORGED, HONEST)?.0, 0, "forged segments at the client");
    }
    Ok(())
}
