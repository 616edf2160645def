//! Packets, sent and received by one thread: everything on their way runs inside the system call that sends them.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, connect, ipproto, recv, sendto, socket_with, sockopt,
};
use tortie_lab::netns::Netns;
use tortie_model::Family;

use crate::policies::{ELSEWHERE, PORT, Role, address};
use crate::wire::Wire;
use crate::{CHUNK, Result};

/// What is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// Packets of an established connection.
    Established,
    /// A connection each, by a pod that no policy selects.
    NewIngress,
    /// A connection each, by a pod whose egress is enforced too.
    NewBoth,
    /// TCP: connect, request, reply, close; both directions enforced.
    Tcp,
    /// A connection each, from a random pod elsewhere.
    Cold,
}

impl Kind {
    pub(crate) const fn about(self) -> &'static str {
        match self {
            Self::Established => "established packet",
            Self::NewIngress => "new flow, ingress enforced",
            Self::NewBoth => "new flow, both directions enforced",
            Self::Tcp => "TCP connect, request, reply, close",
            Self::Cold => "new flow from a random pod of 262,144",
        }
    }
}

/// Sends one kind of traffic over one node.
#[derive(Debug)]
pub(crate) struct Driver {
    family: Family,
    source: Source,
    sink: UdpSocket,
    /// For [`Kind::Tcp`].
    listener: Option<TcpListener>,
    netns: Netns,
    next: u32,
}

#[derive(Debug)]
enum Source {
    Connected(UdpSocket),
    /// A socket for each flow of a turn.
    Sockets(Vec<UdpSocket>),
    Raw(OwnedFd),
    Streams,
}

/// How many pods elsewhere there are for [`Kind::Cold`].
pub(crate) const FAR: u32 = 1 << 18;

fn wildcard(family: Family) -> IpAddr {
    match family {
        Family::V4 => IpAddr::from([0; 4]),
        Family::V6 => IpAddr::from([0; 16]),
    }
}

const fn domain(family: Family) -> AddressFamily {
    match family {
        Family::V4 => AddressFamily::INET,
        Family::V6 => AddressFamily::INET6,
    }
}

fn raw(family: Family) -> Result<OwnedFd> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    Ok(socket_with(domain(family), SocketType::RAW, flags, Some(ipproto::RAW))?)
}

/// A UDP packet without payload; the kernel fills in length and checksum of the IPv4 header. The UDP checksum is absent
/// over IPv4, and computed over IPv6, where it must be there.
fn packet(from: IpAddr, to: IpAddr, port: u16) -> Vec<u8> {
    let (source, destination) = (port.to_be_bytes(), PORT.to_be_bytes());
    let mut udp = [source[0], source[1], destination[0], destination[1], 0, 8, 0, 0];
    match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            let head = [0x45, 0, 0, 0, 0, 0, 0, 0, 64, 17, 0, 0];
            [&head[..], &from.octets(), &to.octets(), &udp].concat()
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            let octets = [from.octets(), to.octets()].concat();
            let words = octets.chunks(2).chain(udp.chunks(2)).map(|w| u32::from(u16::from_be_bytes([w[0], w[1]])));
            let mut sum = words.sum::<u32>() + 17 + 8;
            while sum > 0xffff {
                sum = (sum & 0xffff) + (sum >> 16);
            }
            let sum = !u16::try_from(sum).expect("it was folded");
            udp[6..].copy_from_slice(&if sum == 0 { 0xffff } else { sum }.to_be_bytes());
            let head = [0x60, 0, 0, 0, 0, 8, 17, 64];
            [&head[..], &octets, &udp].concat()
        }
        _ => unreachable!("addresses of one family"),
    }
}

impl Driver {
    pub(crate) fn new(wire: &Wire, kind: Kind, family: Family) -> Result<Self> {
        let server = SocketAddr::new(Role::Server.address(family), PORT);
        let sink = wire.sink(family)?;
        let sender = match kind {
            Kind::Established | Kind::NewIngress => wire.pod(Role::Free),
            Kind::NewBoth | Kind::Tcp => wire.pod(Role::Bound),
            Kind::Cold => &wire.elsewhere,
        };
        let source = match kind {
            Kind::Established => {
                let socket = sender.run(|| UdpSocket::bind((wildcard(family), 0)))??;
                socket.connect(server)?;
                Source::Connected(socket)
            }
            Kind::NewIngress | Kind::NewBoth => {
                let open = |_| UdpSocket::bind((wildcard(family), 0));
                Source::Sockets(sender.run(|| (0..CHUNK).map(open).collect::<std::io::Result<_>>())??)
            }
            Kind::Cold => Source::Raw(sender.run(|| raw(family))??),
            Kind::Tcp => Source::Streams,
        };
        let listener = match kind {
            Kind::Tcp => Some(wire.pod(Role::Server).run(|| TcpListener::bind(server))??),
            _ => None,
        };
        Ok(Self { family, source, sink, listener, netns: sender.clone(), next: 0 })
    }

    /// Sends `count` packets (or connections) and returns how long that took.
    pub(crate) fn send(&mut self, count: u32) -> Result<Duration> {
        match &self.source {
            Source::Connected(_) => self.established(count),
            Source::Sockets(_) => self.fresh(count),
            Source::Raw(_) => self.forged(count),
            Source::Streams => self.streams(count),
        }
    }

    fn established(&self, count: u32) -> Result<Duration> {
        let Source::Connected(socket) = &self.source else { unreachable!() };
        let mut buffer = [0; 16];
        // The answer is what establishes it.
        socket.send(b"x")?;
        let (_, from) = self.sink.recv_from(&mut buffer)?;
        self.sink.send_to(b"x", from)?;
        socket.recv(&mut buffer)?;
        let started = Instant::now();
        for _ in 0..count {
            socket.send(b"x")?;
            recv(&self.sink, &mut buffer[..], RecvFlags::empty())?;
        }
        Ok(started.elapsed())
    }

    fn fresh(&self, count: u32) -> Result<Duration> {
        let Source::Sockets(sockets) = &self.source else { unreachable!() };
        let server = SocketAddr::new(Role::Server.address(self.family), PORT);
        let mut buffer = [0; 16];
        let started = Instant::now();
        for socket in sockets.iter().take(count as usize) {
            socket.send_to(b"x", server)?;
            recv(&self.sink, &mut buffer[..], RecvFlags::empty())?;
        }
        Ok(started.elapsed())
    }

    fn forged(&mut self, count: u32) -> Result<Duration> {
        let Source::Raw(socket) = &self.source else { unreachable!() };
        let to = Role::Server.address(self.family);
        let destination = SocketAddr::new(to, 0);
        let packets: Vec<Vec<u8>> = (0..count)
            .map(|_| {
                self.next = self.next.wrapping_add(1);
                let port = 1024 + u16::try_from(self.next % 60_000).expect("below 60,000");
                // Scattered: neighbours in the map must not share a cache line.
                let from = address(self.family, ELSEWHERE + self.next.wrapping_mul(2_654_435_761) % FAR);
                packet(from, to, port)
            })
            .collect();
        let mut buffer = [0; 16];
        let started = Instant::now();
        for packet in &packets {
            sendto(socket, packet, SendFlags::empty(), &destination)?;
            recv(&self.sink, &mut buffer[..], RecvFlags::empty())?;
        }
        Ok(started.elapsed())
    }

    fn streams(&self, count: u32) -> Result<Duration> {
        let listener = self.listener.as_ref().ok_or("a listener")?;
        let server = listener.local_addr()?;
        let sockets = self.netns.run(|| -> std::io::Result<Vec<OwnedFd>> {
            let open = |_| Ok(socket_with(domain(self.family), SocketType::STREAM, SocketFlags::CLOEXEC, None)?);
            (0..count).map(open).collect()
        })??;
        let mut buffer = [0; 16];
        let started = Instant::now();
        for socket in sockets {
            connect(&socket, &server)?;
            let mut client = TcpStream::from(socket);
            let (mut served, _) = listener.accept()?;
            client.write_all(b"?")?;
            served.read_exact(&mut buffer[..1])?;
            served.write_all(b"!")?;
            client.read_exact(&mut buffer[..1])?;
            // A reset, so that nothing lingers.
            sockopt::set_socket_linger(&client, Some(Duration::ZERO))?;
            drop(client);
            drop(served);
        }
        Ok(started.elapsed())
    }
}
