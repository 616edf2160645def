//! What recorded connections need: for each party and direction, whom it talks with, and on which ports.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use tortie_model::{Direction, Protocol, Traffic};
use tortie_policy::{Regions, Side};

use super::Uncovered;
use super::party::Parties;
use crate::judge::family;
use crate::record::Flow;
use crate::resolve::Population;

/// The other end of a need.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Peer {
    /// Pods, by the place of their party.
    Party(usize),
    /// An address: of a node, or of nobody in the cluster.
    Address(IpAddr),
}

/// A port of a protocol.
pub(crate) type Port = (Protocol, u16);

/// What parties need.
#[derive(Debug, Default)]
pub(crate) struct Needs {
    by: BTreeMap<(usize, Direction), BTreeMap<Peer, BTreeSet<Port>>>,
    /// Pairs of ends of connections, which must get through in the end.
    pub(crate) packets: Vec<(Side, Side, Traffic)>,
    touched: BTreeSet<usize>,
}

/// The port on which names are looked up.
const DNS: u16 = 53;

impl Needs {
    /// Adds what a connection needs: nothing at all, when a part of it cannot be had.
    pub(crate) fn add(&mut self, population: &Population, parties: &Parties, flow: &Flow) -> Result<(), Uncovered> {
        let (from, to) = (population.resolve(&flow.from)?, population.resolve(&flow.to)?);
        let sides = population.sides(&from, &to, family(flow));
        if sides.is_empty() {
            return Err(Uncovered::NoFamily);
        }
        let peer = |side: &Side, name: &dyn std::fmt::Display| match side.pod() {
            Some(pod) => Ok(Peer::Party(parties.find(pod).expect("every pod is of a party"))),
            None => side.ip().map(Peer::Address).ok_or_else(|| Uncovered::NoAddress(name.to_string())),
        };
        let ends = sides.iter().map(|(a, b)| Ok((peer(a, &from)?, peer(b, &to)?)));
        let ends: Vec<(Peer, Peer)> = ends.collect::<Result<_, Uncovered>>()?;
        // What goes by without being asked needs no policy.
        let asked = |(a, b): &(Side, Side)| population.index().verdict(a, b, flow.traffic).shortcut.is_none();
        let asked: Vec<bool> = sides.iter().map(asked).collect();
        let governed = ends.iter().zip(&asked).any(|(_, asked)| *asked);
        let Some(protocol) = flow.traffic.protocol.transport() else {
            return if governed { Err(Uncovered::Portless(flow.traffic.protocol)) } else { Ok(()) };
        };
        if flow.traffic.detail == 0 && governed {
            return Err(Uncovered::PortZero);
        }
        for (((a, b), (x, y)), asked) in sides.into_iter().zip(ends).zip(asked) {
            for party in [x, y] {
                if let Peer::Party(party) = party {
                    self.touched.insert(party);
                }
            }
            if !asked {
                continue;
            }
            for port in ports(parties, y, (protocol, flow.traffic.detail)) {
                self.need(x, Direction::Egress, y, port);
                self.need(y, Direction::Ingress, x, port);
            }
            self.packets.push((a, b, flow.traffic));
        }
        Ok(())
    }

    fn need(&mut self, end: Peer, direction: Direction, other: Peer, port: Port) {
        if let Peer::Party(party) = end {
            self.by.entry((party, direction)).or_default().entry(other).or_default().insert(port);
        }
    }

    /// Whether a party has a part in some connection.
    pub(crate) fn touches(&self, party: usize) -> bool {
        self.touched.contains(&party)
    }

    /// Whom a party talks with in a direction, and on which ports.
    pub(crate) fn of(&self, party: usize, direction: Direction) -> impl Iterator<Item = (Peer, &BTreeSet<Port>)> {
        self.by.get(&(party, direction)).into_iter().flatten().map(|(peer, ports)| (*peer, ports))
    }

    /// The packets that a party needs to send to a peer, or to be sent by it.
    pub(crate) fn packets(&self, party: usize, direction: Direction, peer: Peer) -> Regions<bool> {
        let ports = self.by.get(&(party, direction)).and_then(|peers| peers.get(&peer));
        let mut out: BTreeMap<Protocol, BTreeSet<u16>> = BTreeMap::new();
        for (protocol, port) in ports.into_iter().flatten() {
            out.entry(*protocol).or_default().insert(*port);
        }
        Regions::new(out.into_iter().map(|(protocol, ports)| (protocol.into(), pieces(&ports))), false)
    }
}

/// The ports that a connection needs. A resolver asks again over TCP when an answer is too long for UDP.
fn ports(parties: &Parties, to: Peer, port: Port) -> Vec<Port> {
    match to {
        Peer::Party(party) if parties.all[party].is_dns && port.1 == DNS && port.0 != Protocol::Sctp => {
            vec![(Protocol::Udp, DNS), (Protocol::Tcp, DNS)]
        }
        _ => vec![port],
    }
}

/// All ports, cut at those that are in a set.
fn pieces(ports: &BTreeSet<u16>) -> Vec<(std::ops::RangeInclusive<u16>, bool)> {
    let mut out = Vec::new();
    let mut next = Some(0);
    for port in ports {
        if let Some(first) = next.filter(|first| first < port) {
            out.push((first..=*port - 1, false));
        }
        out.push((*port..=*port, true));
        next = port.checked_add(1);
    }
    if let Some(first) = next {
        out.push((first..=u16::MAX, false));
    }
    out
}
