//! Packets whose fate is told apart: answered by whom, refused, reported unreachable, seen to be dropped, or lost.
//!
//! A probe has its source port or ICMP identifier before its first packet leaves ([`Prober::prepare`]), so that whoever
//! listens to drop records can recognise it; told of a drop ([`DropNotice::seen`]), it ends at once. One thread drives
//! all probes.

mod active;
mod echo;
mod engine;

use std::{net::IpAddr, time::Duration};

use rustix::io::Errno;
use tortie_model::{IpProtocol, Protocol};

pub use engine::{DropNotice, Prepared, ProbeRun, Prober};

/// How long a probe waits for an answer unless told otherwise, and goes on to wait while others of its prober are still
/// being answered: of many at once on a busy machine, the last come late.
pub const DEADLINE: Duration = Duration::from_secs(1);
/// How often probes are repeated until then, but those of connections, which repeat by themselves.
pub const REPEAT: Duration = Duration::from_millis(200);

/// What is sent.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Probe {
    /// An ICMP or ICMPv6 echo request.
    Ping,
    /// A TCP connection; the other side says its name.
    Tcp(u16),
    /// A UDP datagram; the answer begins with a name.
    Udp(u16),
    /// An SCTP association; where the kernel has no SCTP sockets, its first packet. See [`crate::sctp`].
    Sctp(u16),
    /// DNS queries for A and AAAA over UDP, for each of these full names in turn until one exists; see
    /// [`crate::resolver::candidates`].
    Dns(Vec<String>),
}

impl Probe {
    /// Number of its protocol, and its destination port (0 for ICMP).
    #[must_use]
    pub fn target(&self, destination: IpAddr) -> (IpProtocol, u16) {
        match self {
            Self::Ping if destination.is_ipv4() => (IpProtocol::ICMP, 0),
            Self::Ping => (IpProtocol::ICMPV6, 0),
            Self::Tcp(port) => (Protocol::Tcp.into(), *port),
            Self::Udp(port) => (Protocol::Udp.into(), *port),
            Self::Sctp(port) => (Protocol::Sctp.into(), *port),
            Self::Dns(_) => (Protocol::Udp.into(), 53),
        }
    }
}

/// A probe to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbeSpec {
    /// The address that it is sent from; one of the namespace's own.
    pub source: IpAddr,
    /// The address that it is sent to; for DNS, the server's.
    pub destination: IpAddr,
    /// What is sent.
    pub probe: Probe,
    /// The port that it is sent from; `None`: one that no other probe has. A ping has none.
    pub source_port: Option<u16>,
    /// The name that must answer; `None`: any. A ping is answered by its destination address, not by a name.
    pub expect: Option<String>,
    /// How long to wait for an answer; see [`DEADLINE`].
    pub deadline: Duration,
}

impl ProbeSpec {
    /// A probe with the usual deadline.
    #[must_use]
    pub fn new(source: IpAddr, destination: IpAddr, probe: Probe, expect: Option<&str>) -> Self {
        let expect = expect.map(str::to_owned);
        Self { source, destination, probe, source_port: None, expect, deadline: DEADLINE }
    }

    /// The same from a port, on which nobody else must listen or send there.
    #[must_use]
    pub fn from_port(self, source_port: Option<u16>) -> Self {
        Self { source_port, ..self }
    }
}

/// How the packets of a probe look where they leave their namespace, before any address translation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FlowTuple {
    /// Source address.
    pub source: IpAddr,
    /// Destination address.
    pub destination: IpAddr,
    /// Protocol.
    pub protocol: IpProtocol,
    /// Source port, or identifier of the ICMP echo; 0 when no socket could be had.
    pub source_port: u16,
    /// Destination port; 0 for ICMP.
    pub destination_port: u16,
}

/// What became of a probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Who was asked answered.
    Answered {
        /// The name that it gave; for a ping, the name expected or else the address.
        by: String,
        /// Time from the first packet.
        after: Duration,
    },
    /// Someone else answered.
    WrongName {
        /// What it said, up to the end of the line.
        by: String,
        /// Time from the first packet.
        after: Duration,
    },
    /// A name was resolved.
    Resolved {
        /// The full name that exists.
        name: String,
        /// Its addresses; empty if it has none.
        addresses: Vec<IpAddr>,
        /// Time from the first packet.
        after: Duration,
    },
    /// The DNS server answered that none of the names exists, or that it cannot say.
    NoSuchName {
        /// Time from the first packet.
        after: Duration,
    },
    /// Refused by a TCP reset, an SCTP abort, or "port" or "protocol unreachable".
    Refused {
        /// Time from the first packet.
        after: Duration,
    },
    /// Someone on the way said that it cannot or must not get there.
    Unreachable {
        /// As the socket reports it.
        errno: Errno,
        /// Time from the first packet.
        after: Duration,
    },
    /// The caller saw the drop.
    Dropped {
        /// Time from the first packet.
        after: Duration,
    },
    /// Nothing came back before the deadline, to this or to any other, and nobody saw a drop.
    Silent,
    /// The lab could not send it.
    Failed {
        /// Why.
        why: String,
    },
}
