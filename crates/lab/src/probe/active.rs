//! One probe on its way: a state machine over a socket, without clock or waiting of its own.

use std::{
    collections::VecDeque,
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use hickory_proto::{
    op::{Message, Query, ResponseCode},
    rr::{Name, RData, RecordType},
};
use rustix::{
    fd::OwnedFd,
    io::Errno,
    net::{
        AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, bind, connect, ipproto, recv, send, socket_with,
        sockopt,
    },
};

use super::{FlowTuple, Outcome, Probe, ProbeSpec, echo};
use crate::{
    raw,
    sctp::{self, Reply},
    server::HELLO,
    sockopt::report_icmp_errors,
};

/// A probe with a bound socket.
#[derive(Debug)]
pub(super) struct Active {
    spec: ProbeSpec,
    pub(super) tuple: FlowTuple,
    pub(super) socket: OwnedFd,
    nonce: u64,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    Ping,
    Datagram,
    /// SCTP by hand.
    Handshake(sctp::Init),
    /// Not connected yet, or waiting for a line.
    Stream {
        connected: bool,
        line: Vec<u8>,
    },
    Dns {
        left: VecDeque<String>,
        asking: Question,
        found: Vec<IpAddr>,
    },
}

#[derive(Debug)]
struct Question {
    name: String,
    kind: RecordType,
    id: u16,
}

/// What a step of a probe came to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// More is to come.
    Wait,
    /// Over; the time is filled in by the caller.
    Done(Outcome),
}

impl Active {
    /// Opens and binds a socket in the namespace of the calling thread. Nothing is sent. `id` tells a ping or a query
    /// from all others, `ports` yields source ports to try where none is given, and `nonce` tells the answer from anything else.
    pub(super) fn open(
        spec: ProbeSpec,
        id: u16,
        nonce: u64,
        ports: impl Iterator<Item = u16>,
    ) -> Result<Self, Outcome> {
        let v4 = spec.source.is_ipv4();
        let (kind, protocol) = match (&spec.probe, v4) {
            (Probe::Ping, true) => (SocketType::RAW, ipproto::ICMP),
            (Probe::Ping, false) => (SocketType::RAW, ipproto::ICMPV6),
            (Probe::Tcp(_), _) => (SocketType::STREAM, ipproto::TCP),
            (Probe::Sctp(_), _) if sctp::has_sockets() => (SocketType::STREAM, ipproto::SCTP),
            (Probe::Sctp(_), _) => (SocketType::RAW, ipproto::SCTP),
            (Probe::Udp(_) | Probe::Dns(_), _) => (SocketType::DGRAM, ipproto::UDP),
        };
        let family = if v4 { AddressFamily::INET } else { AddressFamily::INET6 };
        let socket = socket_with(family, kind, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC, Some(protocol))
            .map_err(|e| failed("open a socket", e))?;
        if kind == SocketType::STREAM {
            // Closed by a reset: no TIME_WAIT that would use up ports.
            sockopt::set_socket_linger(&socket, Some(Duration::ZERO)).map_err(|e| failed("SO_LINGER", e))?;
        }
        let (protocol, destination_port) = spec.probe.target(spec.destination);
        let mut ports = spec.source_port.into_iter().chain(ports.take_while(|_| spec.source_port.is_none()));
        let source_port = if kind == SocketType::RAW {
            bind_first(&socket, spec.source, [0].into_iter())?;
            // Here and not on start: a raw socket without a peer is told the errors of all other probes.
            connect(&socket, &SocketAddr::new(spec.destination, 0)).map_err(|e| error_after(e, Duration::ZERO))?;
            // Nobody else in the namespace has SCTP ports where it is done by hand, so the next one is free.
            if spec.probe == Probe::Ping { id } else { ports.next().unwrap_or(id) }
        } else {
            bind_first(&socket, spec.source, ports)?
        };
        report_icmp_errors(&socket, v4).map_err(|e| failed("IP_RECVERR", e))?;
        let tuple =
            FlowTuple { source: spec.source, destination: spec.destination, protocol, source_port, destination_port };
        let stage = match &spec.probe {
            Probe::Ping => Stage::Ping,
            Probe::Udp(_) => Stage::Datagram,
            Probe::Sctp(_) if kind == SocketType::RAW => {
                let tag = u32::try_from(nonce & 0xffff_ffff).expect("four bytes").max(1);
                Stage::Handshake(sctp::Init { source_port, destination_port, tag })
            }
            Probe::Tcp(_) | Probe::Sctp(_) => Stage::Stream { connected: false, line: Vec::new() },
            Probe::Dns(names) => {
                let mut left: VecDeque<String> = names.clone().into();
                let Some(name) = left.pop_front() else {
                    return Err(Outcome::Failed { why: "a DNS probe without a name".to_owned() });
                };
                Stage::Dns { left, asking: Question { name, kind: RecordType::A, id }, found: Vec::new() }
            }
        };
        Ok(Self { spec, tuple, socket, nonce, stage })
    }

    pub(super) fn deadline(&self) -> Duration {
        self.spec.deadline
    }

    /// Whether it must be sent again when nothing comes back.
    pub(super) fn repeats(&self) -> bool {
        !matches!(self.stage, Stage::Stream { .. })
    }

    /// Sends the first packet.
    pub(super) fn start(&mut self) -> Step {
        if !matches!(self.stage, Stage::Ping | Stage::Handshake(_)) {
            let destination = SocketAddr::new(self.spec.destination, self.tuple.destination_port);
            match connect(&self.socket, &destination) {
                Ok(()) | Err(Errno::INPROGRESS) => {}
                Err(e) => return Step::Done(error_after(e, Duration::ZERO)),
            }
        }
        if self.repeats() { self.send() } else { Step::Wait }
    }

    /// Sends the packet, or sends it again.
    pub(super) fn send(&mut self) -> Step {
        let bytes = match &self.stage {
            Stage::Ping => echo::request(self.spec.source.is_ipv4(), self.tuple.source_port, 1, &self.payload()),
            Stage::Datagram => self.payload(),
            Stage::Handshake(init) => init.packet(),
            Stage::Stream { .. } => return Step::Wait,
            Stage::Dns { asking, .. } => match query(asking) {
                Ok(bytes) => bytes,
                Err(why) => return Step::Done(Outcome::Failed { why }),
            },
        };
        match send(&self.socket, &bytes, SendFlags::NOSIGNAL) {
            // PERM: dropped by a rule of this very namespace's output hook; whoever watches the rules will say so.
            Ok(_) | Err(Errno::AGAIN | Errno::INTR | Errno::PERM | Errno::NOBUFS) => Step::Wait,
            Err(e) => Step::Done(error_after(e, Duration::ZERO)),
        }
    }

    fn payload(&self) -> Vec<u8> {
        [HELLO, format!("{:016x}", self.nonce).as_bytes()].concat()
    }

    /// Handles that the socket has something to say.
    pub(super) fn ready(&mut self, elapsed: Duration) -> Step {
        if let Stage::Stream { connected, .. } = &mut self.stage
            && !*connected
        {
            match sockopt::socket_error(&self.socket) {
                Ok(Ok(())) => {}
                Ok(Err(e)) | Err(e) => return Step::Done(error_after(e, elapsed)),
            }
            // Writable, so connected. An ordinary host speaks first; a DNS server wants to be asked.
            *connected = true;
            let hello = [HELLO, b"\n"].concat();
            if let Err(e) = send(&self.socket, &hello, SendFlags::NOSIGNAL) {
                return Step::Done(error_after(e, elapsed));
            }
        }
        let mut chunk = [0; 4096];
        loop {
            let len = match recv(&self.socket, &mut chunk[..], RecvFlags::empty()) {
                Ok((_, len)) => len.min(chunk.len()),
                Err(Errno::AGAIN) => return Step::Wait,
                Err(Errno::INTR) => continue,
                Err(e) => return Step::Done(error_after(e, elapsed)),
            };
            match self.received(&chunk[..len], elapsed) {
                Step::Wait if len == 0 && matches!(self.stage, Stage::Stream { .. }) => {
                    return Step::Done(self.named(String::new(), elapsed));
                }
                Step::Wait => {}
                done @ Step::Done(_) => return done,
            }
        }
    }

    fn received(&mut self, bytes: &[u8], elapsed: Duration) -> Step {
        let payload = self.payload();
        match &mut self.stage {
            Stage::Ping => {
                let v4 = self.spec.source.is_ipv4();
                if echo::reply(v4, self.tuple.source_port, bytes) != Some(&payload) {
                    return Step::Wait;
                }
                let by = self.spec.expect.clone().unwrap_or_else(|| self.spec.destination.to_string());
                Step::Done(Outcome::Answered { by, after: elapsed })
            }
            Stage::Datagram => {
                let Some((name, echoed)) = split_line(bytes) else {
                    return Step::Done(self.named(text(bytes), elapsed));
                };
                if echoed != payload { Step::Wait } else { Step::Done(self.named(text(name), elapsed)) }
            }
            Stage::Handshake(init) => {
                let packet = raw::body(self.spec.source.is_ipv4(), bytes);
                match packet.and_then(|p| init.reply(p)) {
                    None => Step::Wait,
                    Some(Reply::Refused) => Step::Done(Outcome::Refused { after: elapsed }),
                    Some(Reply::Accepted(name)) => {
                        let name = name.unwrap_or_else(|| "something that gives no name".to_owned());
                        Step::Done(self.named(name, elapsed))
                    }
                }
            }
            Stage::Stream { line, .. } => {
                line.extend_from_slice(bytes);
                match split_line(line) {
                    Some((name, _)) => {
                        let name = text(name);
                        Step::Done(self.named(name, elapsed))
                    }
                    None => Step::Wait,
                }
            }
            Stage::Dns { left, asking, found } => {
                let Ok(reply) = Message::from_vec(bytes) else { return Step::Wait };
                if reply.metadata.id != asking.id {
                    return Step::Wait;
                }
                found.extend(reply.answers.iter().filter_map(|r| match &r.data {
                    RData::A(a) => Some(IpAddr::V4(a.0)),
                    RData::AAAA(a) => Some(IpAddr::V6(a.0)),
                    _ => None,
                }));
                let exists = reply.metadata.response_code == ResponseCode::NoError;
                if exists && asking.kind == RecordType::A {
                    asking.kind = RecordType::AAAA;
                } else if exists {
                    let (name, addresses) = (asking.name.clone(), std::mem::take(found));
                    return Step::Done(Outcome::Resolved { name, addresses, after: elapsed });
                } else if let Some(next) = left.pop_front() {
                    found.clear();
                    *asking = Question { name: next, kind: RecordType::A, id: asking.id };
                } else {
                    return Step::Done(Outcome::NoSuchName { after: elapsed });
                }
                asking.id = asking.id.wrapping_add(1);
                self.send()
            }
        }
    }

    fn named(&self, by: String, after: Duration) -> Outcome {
        if self.spec.expect.as_ref().is_some_and(|want| *want != by) {
            Outcome::WrongName { by, after }
        } else {
            Outcome::Answered { by, after }
        }
    }
}

fn error_after(errno: Errno, after: Duration) -> Outcome {
    match errno {
        // The last two: "protocol unreachable", which ICMPv6 calls a parameter problem.
        Errno::CONNREFUSED | Errno::CONNRESET | Errno::PIPE | Errno::NOPROTOOPT | Errno::PROTO => {
            Outcome::Refused { after }
        }
        Errno::HOSTUNREACH | Errno::NETUNREACH | Errno::ACCESS | Errno::HOSTDOWN | Errno::NONET => {
            Outcome::Unreachable { errno, after }
        }
        Errno::TIMEDOUT => Outcome::Silent,
        e => failed("send", e),
    }
}

/// When a probe must be looked at again.
pub(super) fn next_look(active: &Active, started: Instant, sent: Instant) -> Instant {
    let end = started + active.deadline();
    if active.repeats() { end.min(sent + super::REPEAT) } else { end }
}

/// Binds to the first of these ports that is free.
fn bind_first(socket: &OwnedFd, source: IpAddr, ports: impl Iterator<Item = u16>) -> Result<u16, Outcome> {
    for port in ports {
        match bind(socket, &SocketAddr::new(source, port)) {
            Ok(()) => return Ok(port),
            Err(Errno::ADDRINUSE) => {}
            Err(e) => return Err(failed(&format!("bind to {source}"), e)),
        }
    }
    Err(failed(&format!("bind to {source}"), Errno::ADDRINUSE))
}

fn query(question: &Question) -> Result<Vec<u8>, String> {
    let name = Name::from_ascii(format!("{}.", question.name.trim_end_matches('.')))
        .map_err(|e| format!("{} is not a name: {e}", question.name))?;
    let mut message = Message::query();
    message.metadata.id = question.id;
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(name, question.kind));
    message.to_vec().map_err(|e| format!("cannot encode a query: {e}"))
}

fn split_line(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.iter().position(|b| *b == b'\n')?;
    Some((&bytes[..end], &bytes[end + 1..]))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim_end().to_owned()
}

fn failed(operation: &str, errno: Errno) -> Outcome {
    Outcome::Failed { why: format!("{operation}: {errno}") }
}
