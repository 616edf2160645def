//! The one thread that answers for every pod, node and outside host.
//!
//! On TCP it writes a line with the name of whom it answers for when a connection comes in, and then echoes what it
//! reads. On UDP it answers each datagram with such a line and the datagram. On SCTP it does as on TCP; where the kernel
//! has no sockets for it, it answers the first packet of each association, see [`crate::sctp`]. Port 53 of the cluster's
//! DNS pods speaks DNS instead, unless what comes in starts with [`HELLO`].

use std::{
    collections::HashMap,
    io,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
    thread::JoinHandle,
};

use rustix::{
    buffer::spare_capacity,
    event::{EventfdFlags, epoll, eventfd},
    fd::OwnedFd,
    io::Errno,
    net::{RecvFlags, SendFlags, SocketAddrAny, SocketFlags, accept_with, recv, recvfrom, send, sendto},
};

use crate::{
    dns::{self, Zone},
    error::LabError,
    raw, sctp,
};

/// How a prober begins, so that a DNS server too says who it is.
pub const HELLO: &[u8] = b"tortie? ";

/// Connections that are kept open; the oldest is closed for a new one. Peers that policy has cut off never close.
const MAX_CONNECTIONS: usize = 4096;
/// The largest UDP datagram.
const CHUNK: usize = 64 << 10;

/// How a socket is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    /// TCP, SCTP one-to-one.
    Stream,
    /// UDP.
    Datagram,
    /// SCTP by hand, on a raw socket.
    Handshake(Doorbell),
}

/// Where SCTP is answered by hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Doorbell {
    /// The address that the socket is bound to.
    pub(crate) address: IpAddr,
    /// The port; `None`: every one.
    pub(crate) port: Option<u16>,
}

impl Doorbell {
    fn is(&self, address: IpAddr, port: u16) -> bool {
        self.address == address && self.port.is_none_or(|own| own == port)
    }
}

/// What is spoken on a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Speaks {
    /// The name of the host.
    Name,
    /// DNS.
    Dns,
}

/// A bound socket, listening if it is a stream.
#[derive(Debug)]
pub(crate) struct Listener {
    pub(crate) socket: OwnedFd,
    pub(crate) transport: Transport,
    pub(crate) speaks: Speaks,
}

/// Names what was added, to remove it again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct OwnerId(u64);

/// The server. Its thread ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Server {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    epoll: OwnedFd,
    wake: OwnedFd,
    state: Mutex<State>,
    zone: Arc<RwLock<Zone>>,
}

#[derive(Debug, Default)]
struct State {
    next: u64,
    stop: bool,
    sources: HashMap<u64, Source>,
    names: HashMap<OwnerId, Arc<str>>,
    connections: usize,
}

#[derive(Debug)]
struct Source {
    owner: OwnerId,
    name: Arc<str>,
    socket: OwnedFd,
    speaks: Speaks,
    role: Role,
}

#[derive(Debug)]
enum Role {
    Listens,
    Datagrams,
    Handshakes(Doorbell),
    /// A connection, with the bytes of an unfinished DNS request.
    Connection(Vec<u8>),
}

/// Key of the event that ends a wait.
const WAKE: u64 = 0;

impl Server {
    pub(crate) fn start(zone: Arc<RwLock<Zone>>) -> Result<Self, LabError> {
        let shared = Arc::new(Shared::new(zone).map_err(|e| LabError::Thread(e.into()))?);
        let thread = {
            let shared = Arc::clone(&shared);
            std::thread::Builder::new()
                .name("lab-server".to_owned())
                .spawn(move || shared.serve())
                .map_err(LabError::Thread)?
        };
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Answers on these sockets with `name`.
    pub(crate) fn add(&self, name: &str, listeners: Vec<Listener>) -> Result<OwnerId, LabError> {
        let mut state = self.shared.lock();
        let owner = OwnerId(state.fresh());
        state.names.insert(owner, name.into());
        drop(state);
        self.extend(owner, listeners)?;
        Ok(owner)
    }

    /// Answers on further sockets for the same.
    pub(crate) fn extend(&self, owner: OwnerId, listeners: Vec<Listener>) -> Result<(), LabError> {
        let mut state = self.shared.lock();
        let Some(name) = state.names.get(&owner).cloned() else { return Ok(()) };
        for Listener { socket, transport, speaks } in listeners {
            let role = match transport {
                Transport::Stream => Role::Listens,
                Transport::Datagram => Role::Datagrams,
                // As with sockets, a port has one owner; nodes and the pods in their network share an address.
                Transport::Handshake(Doorbell { address, port: Some(port) }) if state.answers(address, port) => {
                    continue;
                }
                Transport::Handshake(doorbell) => Role::Handshakes(doorbell),
            };
            let source = Source { owner, name: Arc::clone(&name), socket, speaks, role };
            self.shared
                .insert(&mut state, source)
                .map_err(|e| LabError::Socket { operation: format!("serve {name}"), source: e.into() })?;
        }
        Ok(())
    }

    /// Closes all sockets that were added under `owner`, and the connections accepted on them.
    pub(crate) fn remove(&self, owner: OwnerId) {
        let mut state = self.shared.lock();
        state.names.remove(&owner);
        // A closed descriptor leaves the epoll set by itself: none of these is shared.
        state.sources.retain(|_, source| source.owner != owner);
        state.connections = state.sources.values().filter(|s| matches!(s.role, Role::Connection(_))).count();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.lock().stop = true;
        // An eventfd takes a write whenever its counter is not full.
        let _ = rustix::io::write(&self.shared.wake, &1u64.to_ne_bytes());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl State {
    fn fresh(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// Whether a handshake with this port of an address is answered.
    fn answers(&self, address: IpAddr, port: u16) -> bool {
        self.sources.values().any(|s| matches!(&s.role, Role::Handshakes(doorbell) if doorbell.is(address, port)))
    }

    /// Whether there was a connection to close.
    fn close_oldest(&mut self) -> bool {
        let connections = self.sources.iter().filter(|(_, s)| matches!(s.role, Role::Connection(_)));
        let Some(oldest) = connections.map(|(key, _)| *key).min() else { return false };
        self.sources.remove(&oldest);
        self.connections -= 1;
        true
    }
}

impl Shared {
    fn new(zone: Arc<RwLock<Zone>>) -> Result<Self, Errno> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        epoll::add(&epoll, &wake, epoll::EventData::new_u64(WAKE), epoll::EventFlags::IN)?;
        Ok(Self { epoll, wake, state: Mutex::default(), zone })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn insert(&self, state: &mut State, source: Source) -> Result<(), Errno> {
        let key = state.fresh();
        epoll::add(&self.epoll, &source.socket, epoll::EventData::new_u64(key), epoll::EventFlags::IN)?;
        if matches!(source.role, Role::Connection(_)) {
            state.connections += 1;
        }
        state.sources.insert(key, source);
        Ok(())
    }

    fn serve(&self) {
        let mut events = Vec::with_capacity(256);
        let mut chunk = vec![0; CHUNK];
        loop {
            events.clear();
            match epoll::wait(&self.epoll, spare_capacity(&mut events), None) {
                Ok(_) | Err(Errno::INTR) => {}
                // The descriptor is ours and valid as long as this thread runs.
                Err(e) => unreachable!("epoll_wait on an epoll descriptor: {e}"),
            }
            let mut state = self.lock();
            if state.stop {
                return;
            }
            for event in &events {
                let key = event.data.u64();
                if key != WAKE {
                    self.handle(&mut state, key, &mut chunk);
                }
            }
        }
    }

    /// Errors on a socket concern its peer alone: a connection is closed, a datagram not answered.
    fn handle(&self, state: &mut State, key: u64, chunk: &mut [u8]) {
        let Some(source) = state.sources.get_mut(&key) else { return };
        match &mut source.role {
            Role::Listens => self.accept(state, key),
            Role::Datagrams => self.datagrams(source, chunk),
            Role::Handshakes(doorbell) => {
                let doorbell = *doorbell;
                handshakes(state, key, doorbell, chunk);
            }
            Role::Connection(pending) => {
                let open = loop {
                    match recv(&source.socket, &mut *chunk, RecvFlags::empty()) {
                        Ok((_, 0)) => break false,
                        Ok((_, len)) => {
                            let answer = match source.speaks {
                                Speaks::Name => chunk[..len].to_vec(),
                                Speaks::Dns => {
                                    pending.extend_from_slice(&chunk[..len]);
                                    self.dns_stream(&source.name, pending)
                                }
                            };
                            if send_all(&source.socket, &answer).is_err() {
                                break false;
                            }
                        }
                        Err(Errno::INTR) => {}
                        Err(Errno::AGAIN) => break true,
                        Err(_) => break false,
                    }
                };
                if !open {
                    state.sources.remove(&key);
                    state.connections -= 1;
                }
            }
        }
    }

    fn accept(&self, state: &mut State, key: u64) {
        loop {
            let Some(source) = state.sources.get(&key) else { return };
            let socket = match accept_with(&source.socket, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC) {
                Ok(socket) => socket,
                Err(Errno::INTR | Errno::CONNABORTED) => continue,
                Err(Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::NOBUFS) if state.close_oldest() => continue,
                // AGAIN: no more.
                Err(_) => return,
            };
            let connection = Source {
                owner: source.owner,
                name: Arc::clone(&source.name),
                socket,
                speaks: source.speaks,
                role: Role::Connection(Vec::new()),
            };
            if connection.speaks == Speaks::Name && send_all(&connection.socket, &line(&connection.name)).is_err() {
                continue;
            }
            if state.connections >= MAX_CONNECTIONS {
                state.close_oldest();
            }
            if self.insert(state, connection).is_err() {
                return;
            }
        }
    }

    fn datagrams(&self, source: &Source, chunk: &mut [u8]) {
        loop {
            let (len, from) = match recvfrom(&source.socket, &mut *chunk, RecvFlags::empty()) {
                Ok((_, len, Some(from))) => (len, from),
                Ok((_, _, None)) | Err(Errno::INTR) => continue,
                // AGAIN, or an ICMP error about an earlier answer: another event follows if there is more.
                Err(_) => return,
            };
            let asked = &chunk[..len];
            let answer = if source.speaks == Speaks::Dns && !asked.starts_with(HELLO) {
                dns::answer_bytes(asked, &self.zone(), dns::Carrier::Datagram)
            } else {
                let mut answer = line(&source.name);
                answer.extend_from_slice(asked);
                Some(answer)
            };
            if let Some(answer) = answer {
                let _ = sendto(&source.socket, &answer, SendFlags::empty(), &from as &SocketAddrAny);
            }
        }
    }

    /// Takes the complete requests out of `pending` and returns their answers, each after its length.
    fn dns_stream(&self, name: &str, pending: &mut Vec<u8>) -> Vec<u8> {
        if pending.starts_with(HELLO) {
            pending.clear();
            return line(name);
        }
        let mut answers = Vec::new();
        while let Some((length, rest)) = pending.split_first_chunk::<2>() {
            let length = usize::from(u16::from_be_bytes(*length));
            let Some(request) = rest.get(..length) else { break };
            if let Some(answer) = dns::answer_bytes(request, &self.zone(), dns::Carrier::Stream)
                && let Ok(length) = u16::try_from(answer.len())
            {
                answers.extend_from_slice(&length.to_be_bytes());
                answers.extend_from_slice(&answer);
            }
            pending.drain(..2 + length);
        }
        answers
    }

    fn zone(&self) -> std::sync::RwLockReadGuard<'_, Zone> {
        self.zone.read().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Answers the first packets of SCTP associations. A raw socket gets those to all ports of its address.
fn handshakes(state: &State, key: u64, doorbell: Doorbell, chunk: &mut [u8]) {
    let Some(source) = state.sources.get(&key) else { return };
    loop {
        let (len, from) = match recvfrom(&source.socket, &mut *chunk, RecvFlags::empty()) {
            Ok((_, len, Some(from))) => (len, from),
            Ok((_, _, None)) | Err(Errno::INTR) => continue,
            Err(_) => return,
        };
        let packet = raw::body(doorbell.address.is_ipv4(), &chunk[..len]);
        let Some(init) = packet.and_then(sctp::Init::parse) else { continue };
        let answer = if doorbell.is(doorbell.address, init.destination_port) {
            init.accepted(&source.name)
        } else if state.answers(doorbell.address, init.destination_port) {
            continue;
        } else {
            init.refused()
        };
        let _ = sendto(&source.socket, &answer, SendFlags::empty(), &from as &SocketAddrAny);
    }
}

/// Answers are shorter than any send buffer; a peer that does not read is cut off.
fn send_all(socket: &OwnedFd, bytes: &[u8]) -> io::Result<()> {
    if bytes.is_empty() {
        return Ok(());
    }
    loop {
        match send(socket, bytes, SendFlags::NOSIGNAL) {
            Ok(sent) if sent == bytes.len() => return Ok(()),
            Ok(_) => return Err(io::ErrorKind::WriteZero.into()),
            Err(Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
    }
}

fn line(name: &str) -> Vec<u8> {
    format!("{name}\n").into_bytes()
}
