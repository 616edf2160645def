//! Packets made by hand, as any pod can send them that may open raw sockets.

use std::net::{IpAddr, SocketAddr};

use rustix::fd::OwnedFd;
use rustix::net::{
    AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType, bind, ipproto, recv, sendto, socket_with,
};
use tortie_lab::netns::Netns;
use tortie_lab::probe::FlowTuple;
use tortie_model::IpProtocol;

use crate::Result;

/// What follows the IP header.
#[derive(Clone, Debug)]
pub(crate) enum Body {
    Udp {
        from: u16,
        to: u16,
        data: Vec<u8>,
    },
    /// A segment in the middle of a connection, as far as its flags say.
    Tcp {
        from: u16,
        to: u16,
        flags: u8,
        seq: u32,
        ack: u32,
        data: Vec<u8>,
    },
    /// An ICMP message that is no echo.
    Icmp {
        kind: u8,
        data: Vec<u8>,
    },
    /// An echo request.
    Echo {
        id: u16,
        data: Vec<u8>,
    },
    /// Another protocol.
    Other {
        protocol: u8,
        data: Vec<u8>,
    },
}

pub(crate) const SYN: u8 = 2;
pub(crate) const RST: u8 = 4;
pub(crate) const ACK: u8 = 16;

impl Body {
    pub(crate) fn protocol(&self, v4: bool) -> u8 {
        match self {
            Self::Udp { .. } => 17,
            Self::Tcp { .. } => 6,
            Self::Echo { .. } | Self::Icmp { .. } => {
                if v4 {
                    1
                } else {
                    58
                }
            }
            Self::Other { protocol, .. } => *protocol,
        }
    }

    /// How drop records name it, when it comes from this address.
    pub(crate) fn flow(&self, source: IpAddr, destination: IpAddr) -> FlowTuple {
        let (source_port, destination_port) = match self {
            Self::Udp { from, to, .. } | Self::Tcp { from, to, .. } => (*from, *to),
            Self::Echo { id, .. } => (*id, 0),
            // The first bytes after the checksum are where an echo has its identifier.
            Self::Icmp { data, .. } => (data.first_chunk().map_or(0, |b| u16::from_be_bytes(*b)), 0),
            Self::Other { .. } => (0, 0),
        };
        let protocol = IpProtocol(self.protocol(source.is_ipv4()));
        FlowTuple { source, destination, protocol, source_port, destination_port }
    }

    /// Neighbour discovery counts only from neighbours (RFC 4861, 6.1 and 7.1).
    const fn hops(&self) -> u8 {
        if let Self::Icmp { .. } = self { 255 } else { 64 }
    }

    pub(crate) fn data(&self) -> &[u8] {
        match self {
            Self::Udp { data, .. }
            | Self::Tcp { data, .. }
            | Self::Icmp { data, .. }
            | Self::Echo { data, .. }
            | Self::Other { data, .. } => data,
        }
    }

    fn bytes(&self, source: IpAddr, destination: IpAddr) -> Vec<u8> {
        let v4 = source.is_ipv4();
        let (mut bytes, checksum_at) = match self {
            Self::Udp { from, to, data } => {
                let length = u16::try_from(8 + data.len()).expect("short");
                let head = [from.to_be_bytes(), to.to_be_bytes(), length.to_be_bytes(), [0, 0]].concat();
                ([&head[..], data].concat(), 6)
            }
            Self::Tcp { from, to, flags, seq, ack, data } => {
                let mut head = [from.to_be_bytes(), to.to_be_bytes()].concat();
                head.extend(seq.to_be_bytes());
                head.extend(ack.to_be_bytes());
                head.extend([5 << 4, *flags, 0x20, 0, 0, 0, 0, 0]);
                ([&head[..], data].concat(), 16)
            }
            Self::Echo { id, data } => {
                let mut head = vec![if v4 { 8 } else { 128 }, 0, 0, 0];
                head.extend(id.to_be_bytes());
                head.extend([0, 1]);
                ([&head[..], data].concat(), 2)
            }
            Self::Icmp { kind, data } => ([&[*kind, 0, 0, 0], &data[..]].concat(), 2),
            Self::Other { data, .. } => return data.clone(),
        };
        let pseudo = if self.protocol(v4) == 1 { Vec::new() } else { self.pseudo_header(source, destination, &bytes) };
        let sum = checksum(&[&pseudo[..], &bytes].concat());
        bytes[checksum_at..checksum_at + 2].copy_from_slice(&sum.to_be_bytes());
        bytes
    }

    fn pseudo_header(&self, source: IpAddr, destination: IpAddr, bytes: &[u8]) -> Vec<u8> {
        let length = u32::try_from(bytes.len()).expect("short").to_be_bytes();
        let protocol = [0, 0, 0, self.protocol(source.is_ipv4())];
        let octets = |ip: IpAddr| match ip {
            IpAddr::V4(ip) => ip.octets().to_vec(),
            IpAddr::V6(ip) => ip.octets().to_vec(),
        };
        [&octets(source)[..], &octets(destination), &length, &protocol].concat()
    }
}

fn checksum(bytes: &[u8]) -> u16 {
    let word = |pair: &[u8]| u32::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]));
    let mut sum: u32 = bytes.chunks(2).map(word).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).expect("it was folded")
}

/// A whole packet; the kernel fills in length and checksum of the IPv4 header.
pub(crate) fn packet(source: IpAddr, destination: IpAddr, body: &Body) -> Vec<u8> {
    let bytes = body.bytes(source, destination);
    let mut out = match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let head = [0x45, 0, 0, 0, 0, 0, 0, 0, 64, body.protocol(true), 0, 0];
            [&head[..], &source.octets(), &destination.octets()].concat()
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            let [high, low] = u16::try_from(bytes.len()).expect("short").to_be_bytes();
            let head = [0x60, 0, 0, 0, high, low, body.protocol(false), body.hops()];
            [&head[..], &source.octets(), &destination.octets()].concat()
        }
        _ => unreachable!("addresses of one family"),
    };
    out.extend(bytes);
    out
}

/// Sends a packet from a namespace, whatever its source address says.
pub(crate) fn send(netns: &Netns, source: IpAddr, destination: IpAddr, body: &Body) -> Result {
    let bytes = packet(source, destination, body);
    let socket = netns.run(|| open(destination.is_ipv4(), ipproto::RAW))??;
    sendto(&socket, &bytes, SendFlags::empty(), &SocketAddr::new(destination, 0))?;
    Ok(())
}

fn open(v4: bool, protocol: Protocol) -> Result<OwnedFd> {
    let family = if v4 { AddressFamily::INET } else { AddressFamily::INET6 };
    Ok(socket_with(family, SocketType::RAW, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC, Some(protocol))?)
}

/// Sees every packet of a protocol that arrives at an address.
pub(crate) struct Sink(OwnedFd);

impl Sink {
    /// For protocol numbers of [`Body::protocol`].
    pub(crate) fn open(netns: &Netns, address: IpAddr, protocol: u8) -> Result<Self> {
        let number = std::num::NonZeroU32::new(protocol.into()).ok_or("a protocol")?;
        netns.run(|| -> Result<Self> {
            let socket = open(address.is_ipv4(), Protocol::from_raw(number))?;
            bind(&socket, &SocketAddr::new(address, 0))?;
            Ok(Self(socket))
        })?
    }

    /// How many packets have come since the last look that contain the one mark, and the other.
    pub(crate) fn counts(&self, one: &[u8], other: &[u8]) -> Result<(usize, usize)> {
        let mut counts = (0, 0);
        let mut bytes = vec![0; 1 << 16];
        loop {
            match recv(&self.0, &mut bytes[..], RecvFlags::empty()) {
                Ok((_, length)) => {
                    let has = |mark: &[u8]| usize::from(bytes[..length].windows(mark.len().max(1)).any(|w| w == mark));
                    counts = (counts.0 + has(one), counts.1 + has(other));
                }
                Err(rustix::io::Errno::AGAIN) => return Ok(counts),
                Err(e) => return Err(e.into()),
            }
        }
    }
}
