//! Which packets a rule speaks of, besides their ends.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;

use tortie_model::{IpProtocol, Pod, Protocol, Traffic};

use crate::rule::{Detail, PortMatch, Ports, Rule};

/// The source port of a packet of which nothing else is known: one that a client would choose (RFC 6335, 6).
pub const EPHEMERAL_PORT: u16 = 49152;

/// A packet as rules see it, besides its ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Asked {
    /// Protocol and destination port.
    pub traffic: Traffic,
    /// Source port, for protocols that have ports.
    pub source_port: u16,
}

impl From<Traffic> for Asked {
    fn from(traffic: Traffic) -> Self {
        Self { traffic, source_port: EPHEMERAL_PORT }
    }
}

/// A port name of a protocol with the number that it stands for.
pub type NamedPort = (Arc<str>, Protocol, u16);

/// The ports that names stand for on one end of a packet.
#[derive(Clone, Copy, Debug)]
pub struct NamedPorts<'a>(Table<'a>);

#[derive(Clone, Copy, Debug)]
enum Table<'a> {
    Pod(Option<&'a Pod>),
    Table(&'a [NamedPort]),
}

impl<'a> NamedPorts<'a> {
    /// The end is not a pod: no name means anything.
    pub const NONE: Self = Self(Table::Pod(None));

    /// The ports of a pod.
    #[must_use]
    pub const fn of(pod: Option<&'a Pod>) -> Self {
        Self(Table::Pod(pod))
    }

    /// Ports by name and protocol; those of the same name in the order of their pod.
    #[must_use]
    pub const fn table(ports: &'a [NamedPort]) -> Self {
        Self(Table::Table(ports))
    }

    /// The numbers for a name, in the order of the pod.
    pub fn all(self, name: &str, protocol: IpProtocol) -> impl Iterator<Item = u16> {
        let (pod, table) = match self.0 {
            Table::Pod(pod) => (pod, &[][..]),
            Table::Table(table) => (None, table),
        };
        let of = move |p: Protocol| protocol.transport() == Some(p);
        let declared = pod.into_iter().flat_map(|pod| &pod.ports);
        let declared = declared.filter(move |p| of(p.protocol) && p.name.as_deref() == Some(name)).map(|p| p.number);
        declared.chain(table.iter().filter(move |(n, p, _)| of(*p) && **n == *name).map(|(_, _, number)| *number))
    }
}

/// The ports that names stand for on both ends of a packet.
#[derive(Clone, Copy, Debug)]
pub struct Names<'a> {
    /// On its source.
    pub source: NamedPorts<'a>,
    /// On its destination.
    pub destination: NamedPorts<'a>,
}

impl<'a> Names<'a> {
    /// Neither end is a pod.
    pub const NONE: Self = Self { source: NamedPorts::NONE, destination: NamedPorts::NONE };

    /// The names of the pods at both ends.
    #[must_use]
    pub const fn between(source: Option<&'a Pod>, destination: Option<&'a Pod>) -> Self {
        Self { source: NamedPorts::of(source), destination: NamedPorts::of(destination) }
    }
}

impl PortMatch {
    /// The packets that it matches, as ranges of details of its protocol; none for a name that the end does not have.
    pub fn ranges(&self, names: NamedPorts<'_>) -> impl Iterator<Item = (IpProtocol, RangeInclusive<u16>)> {
        let (range, named, most) = match &self.detail {
            Detail::All => (Some(self.protocol.details()), None, 0),
            Detail::Range(from, to) => (Some(*from..=*to), None, 0),
            Detail::Named(name) => (None, Some(name), 1),
            Detail::EveryNamed(name) => (None, Some(name), usize::MAX),
        };
        let named = named.into_iter().flat_map(move |name| names.all(name, self.protocol)).take(most).map(|n| n..=n);
        range.into_iter().filter(|range| !range.is_empty()).chain(named).map(|range| (self.protocol, range))
    }

    /// Whether a packet matches.
    #[must_use]
    pub fn matches(&self, traffic: Traffic, names: NamedPorts<'_>) -> bool {
        self.protocol == traffic.protocol && self.ranges(names).any(|(_, r)| r.contains(&traffic.detail))
    }
}

impl Ports {
    /// Whether a packet matches.
    #[must_use]
    pub fn matches(&self, traffic: Traffic, names: NamedPorts<'_>) -> bool {
        match self {
            Self::Any => true,
            Self::OneOf(ports) => ports.iter().any(|p| p.matches(traffic, names)),
        }
    }
}

/// Packets by protocol and detail.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Packets {
    /// Whether those of protocols that are not listed are among them.
    pub(crate) rest: bool,
    /// Details of the protocols that are listed; they may overlap, and there may be none.
    pub(crate) listed: BTreeMap<IpProtocol, Vec<RangeInclusive<u16>>>,
}

impl Packets {
    fn of(ports: &Ports, names: NamedPorts<'_>) -> Self {
        let mut out = Self { rest: *ports == Ports::Any, listed: BTreeMap::new() };
        for (protocol, range) in ports.listed().iter().flat_map(|p| p.ranges(names)) {
            out.listed.entry(protocol).or_default().push(range);
        }
        out
    }

    fn take(&mut self, protocol: IpProtocol, range: &RangeInclusive<u16>) {
        let whole = || if self.rest { vec![protocol.details()] } else { Vec::new() };
        let ranges = self.listed.entry(protocol).or_insert_with(whole);
        let left = |from: u16, to: Option<u16>| to.map(|to| from..=to).filter(|r| !r.is_empty());
        *ranges = ranges
            .iter()
            .flat_map(|r| {
                let before = left(*r.start(), range.start().checked_sub(1).map(|end| end.min(*r.end())));
                let after = range.end().checked_add(1).and_then(|start| left(start.max(*r.start()), Some(*r.end())));
                [before, after].into_iter().flatten()
            })
            .collect();
    }
}

/// The source of packets of a protocol, as if it were their destination; without ports all come from the same.
fn from(protocol: IpProtocol, port: u16) -> Traffic {
    Traffic { protocol, detail: if protocol.transport().is_some() { port } else { 0 } }
}

impl Rule {
    /// Whether it speaks of a packet, whatever its ends.
    #[must_use]
    pub fn admits(&self, asked: Asked, names: Names<'_>) -> bool {
        let traffic = asked.traffic;
        let source = from(traffic.protocol, asked.source_port);
        self.ports.matches(traffic, names.destination)
            && !self.not_ports.iter().any(|p| p.matches(traffic, names.destination))
            && self.source_ports.matches(source, names.source)
            && !self.not_source_ports.iter().any(|p| p.matches(source, names.source))
    }

    /// The packets from a port that it speaks of.
    pub(crate) fn packets(&self, source_port: u16, names: Names<'_>) -> Packets {
        let mut out = Packets::of(&self.ports, names.destination);
        for (protocol, range) in self.not_ports.iter().flat_map(|p| p.ranges(names.destination)) {
            out.take(protocol, &range);
        }
        if let Ports::OneOf(ports) = &self.source_ports {
            // Only protocols that are listed for the source can match.
            let admitted = |protocol: IpProtocol| {
                let source = from(protocol, source_port);
                ports.iter().any(|p| p.matches(source, names.source))
            };
            if out.rest {
                for protocol in ports.iter().map(|p| p.protocol) {
                    out.listed.entry(protocol).or_insert_with(|| vec![protocol.details()]);
                }
                out.rest = false;
            }
            out.listed.retain(|protocol, _| admitted(*protocol));
        }
        for port in &self.not_source_ports {
            if port.matches(from(port.protocol, source_port), names.source) {
                out.take(port.protocol, &port.protocol.details());
            }
        }
        out
    }

    /// Where source ports begin to mean something else to it; the first of them is left out.
    pub(crate) fn source_cuts(&self, names: NamedPorts<'_>) -> impl Iterator<Item = u16> {
        let ranges = self.source_ports.listed().iter().chain(&self.not_source_ports);
        let ranges = ranges.filter(|p| p.protocol.transport().is_some());
        let ranges = ranges.flat_map(move |p| p.ranges(names)).map(|(_, range)| range);
        ranges.flat_map(|r| [Some(*r.start()), r.end().checked_add(1)]).flatten().filter(|cut| *cut != 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rule::{Action, Peers};

    fn tcp(from: u16, to: u16) -> PortMatch {
        PortMatch { protocol: IpProtocol::TCP, detail: Detail::Range(from, to) }
    }

    fn rule(ports: Ports) -> Rule {
        Rule::new(0, Action::Allow, Peers::Any, ports)
    }

    /// Both ways to ask give the same answer.
    fn agree(rule: &Rule) {
        let names = Names::NONE;
        for source_port in [0, 1, 80, 99, 100, 101, u16::MAX] {
            let packets = rule.packets(source_port, names);
            for protocol in [IpProtocol::TCP, IpProtocol::UDP, IpProtocol::ICMP, IpProtocol(47)] {
                for detail in [0, 1, 79, 80, 81, 99, 100, 101, 2048, u16::MAX] {
                    let detail = detail.min(*protocol.details().end());
                    let asked = Asked { traffic: Traffic { protocol, detail }, source_port };
                    let listed = packets.listed.get(&protocol);
                    let found = listed.map_or(packets.rest, |ranges| ranges.iter().any(|r| r.contains(&detail)));
                    assert_eq!(found, rule.admits(asked, names), "{rule:?} {asked:?}");
                }
            }
        }
    }

    #[test]
    fn packets_are_those_that_are_admitted() {
        let all = |protocol| PortMatch { protocol, detail: Detail::All };
        let lists = [
            vec![],
            vec![tcp(80, 80)],
            vec![tcp(0, 99), tcp(50, 100)],
            vec![all(IpProtocol::TCP), all(IpProtocol(47))],
            vec![tcp(100, u16::MAX), all(IpProtocol::ICMP)],
        ];
        for ports in lists.iter().map(|l| Ports::OneOf(l.clone())).chain([Ports::Any]) {
            for not_ports in &lists {
                for source_ports in [Ports::Any, Ports::OneOf(lists[1].clone()), Ports::OneOf(lists[2].clone())] {
                    for not_source_ports in &lists {
                        agree(&Rule {
                            not_ports: not_ports.clone(),
                            source_ports: source_ports.clone(),
                            not_source_ports: not_source_ports.clone(),
                            ..rule(ports.clone())
                        });
                    }
                }
            }
        }
    }
}
