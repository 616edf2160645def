//! Conversations in which both sides send all the time.
//!
//! One thread drives all of them. What is sent carries the number of the phase that it is sent in, so that what arrives
//! tells when it left.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, BorrowedFd};
use tortie_lab::netns::Netns;

use crate::Result;
use crate::stage::{PATIENCE, until};

/// Phases that can be told apart.
const PHASES: usize = 8;
/// Bytes of one write.
const CHUNK: usize = 32;
/// Time between two writes of one side.
const PACE: Duration = Duration::from_millis(2);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Carrier {
    Tcp,
    Udp,
}

enum Socket {
    Tcp(TcpStream),
    Udp(UdpSocket),
}

impl Socket {
    /// Bytes taken by the kernel; 0 when it takes none now, or has been told that nobody is there.
    fn write(&self, bytes: &[u8]) -> Result<usize> {
        let written = match self {
            Self::Tcp(stream) => (&mut &*stream).write(bytes),
            Self::Udp(socket) => socket.send(bytes),
        };
        match written {
            Ok(n) => Ok(n),
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => Ok(0),
            Err(e) => Err(e.into()),
        }
    }

    /// `None` when there is nothing to be read now.
    fn read(&self, bytes: &mut [u8]) -> Result<Option<usize>> {
        let read = match self {
            Self::Tcp(stream) => (&mut &*stream).read(bytes),
            Self::Udp(socket) => socket.recv(bytes),
        };
        match read {
            Ok(0) => Err("closed by the other side".into()),
            Ok(n) => Ok(Some(n)),
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => Ok(None),
            Err(e) => Err(e.into()),
        }
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(stream) => stream.as_fd(),
            Self::Udp(socket) => socket.as_fd(),
        }
    }
}

/// Bytes by the phase in which they were sent.
#[derive(Default)]
struct Tally {
    sent: [AtomicU64; PHASES],
    received: [AtomicU64; PHASES],
}

/// Both directions: from the client, from the server.
type Tallies = [Tally; 2];

/// A conversation that is open.
pub(crate) struct Talk {
    pub(crate) name: String,
    pub(crate) carrier: Carrier,
    ends: [Socket; 2],
    tallies: Arc<Tallies>,
}

impl Talk {
    /// Opens a connection to `to`, which is `at` behind whatever translates it.
    pub(crate) fn open(
        name: String,
        carrier: Carrier,
        (client, from): (&Netns, IpAddr),
        (to, port): (IpAddr, u16),
        (server, at, at_port): (&Netns, IpAddr, u16),
    ) -> Result<Self> {
        let ends = match carrier {
            Carrier::Tcp => {
                let listener = server.run(|| TcpListener::bind((at, at_port)))??;
                let address = (to, port).into();
                let stream = client.run(|| TcpStream::connect_timeout(&address, PATIENCE))??;
                let (accepted, _) = listener.accept()?;
                for stream in [&stream, &accepted] {
                    stream.set_nodelay(true)?;
                    stream.set_nonblocking(true)?;
                }
                [Socket::Tcp(stream), Socket::Tcp(accepted)]
            }
            Carrier::Udp => {
                let listening = server.run(|| UdpSocket::bind((at, at_port)))??;
                let asking = client.run(|| UdpSocket::bind((from, 0)))??;
                asking.connect((to, port))?;
                asking.send(b"hello")?;
                listening.set_read_timeout(Some(PATIENCE))?;
                let (_, peer) = listening.recv_from(&mut [0; CHUNK])?;
                listening.connect(peer)?;
                for socket in [&asking, &listening] {
                    socket.set_nonblocking(true)?;
                }
                [Socket::Udp(asking), Socket::Udp(listening)]
            }
        };
        Ok(Self { name, carrier, ends, tallies: Arc::default() })
    }
}

/// Who speaks, and what came of it.
struct Line {
    name: String,
    carrier: Carrier,
    tallies: Arc<Tallies>,
}

/// Conversations that go on until this is dropped.
pub(crate) struct Talks {
    lines: Vec<Line>,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<Result>>,
}

#[derive(Default)]
struct Shared {
    phase: AtomicUsize,
    turns: AtomicUsize,
    silent: AtomicBool,
    stop: AtomicBool,
}

impl Talks {
    pub(crate) fn start(talks: Vec<Talk>) -> Self {
        let shared = Arc::new(Shared::default());
        let line = |t: &Talk| Line { name: t.name.clone(), carrier: t.carrier, tallies: t.tallies.clone() };
        let lines = talks.iter().map(line).collect();
        let thread = std::thread::spawn({
            let shared = shared.clone();
            move || drive(&talks, &shared)
        });
        Self { lines, shared, thread: Some(thread) }
    }

    /// Begins a phase: when this returns, what is sent carries its number, and what had arrived was read.
    pub(crate) fn begin(&self, phase: usize) -> Result {
        self.shared.phase.store(phase, SeqCst);
        let turns = self.shared.turns.load(SeqCst);
        until("a turn of all conversations", || {
            if self.thread.as_ref().is_none_or(JoinHandle::is_finished) {
                return Err("a conversation broke".into());
            }
            Ok(self.shared.turns.load(SeqCst) > turns + 2)
        })
    }

    /// What was sent in a phase, and what of it has arrived, by those whose name has this in it.
    fn directions(&self, name: &str, phase: usize) -> impl Iterator<Item = (String, Carrier, u64, u64)> {
        let chosen = self.lines.iter().filter(move |l| l.name.contains(name));
        chosen.flat_map(move |line| {
            ["client", "server"].into_iter().zip(&*line.tallies).map(move |(side, tally)| {
                let count = |of: &[AtomicU64; PHASES]| of[phase].load(SeqCst);
                (format!("{} from the {side}", line.name), line.carrier, count(&tally.sent), count(&tally.received))
            })
        })
    }

    /// Bytes sent in a phase over UDP, in datagrams.
    pub(crate) fn datagrams(&self, name: &str, phase: usize) -> u64 {
        let udp = self.directions(name, phase).filter(|(_, carrier, ..)| *carrier == Carrier::Udp);
        udp.map(|(_, _, sent, _)| sent / CHUNK as u64).sum()
    }

    /// All bytes that have arrived, of any phase, by direction.
    pub(crate) fn arrived(&self, name: &str) -> Vec<(String, u64)> {
        let mut sums: Vec<(String, u64)> = Vec::new();
        for phase in 0..PHASES {
            for (at, (direction, _, _, received)) in self.directions(name, phase).enumerate() {
                match sums.get_mut(at) {
                    Some(sum) => sum.1 += received,
                    None => sums.push((direction, received)),
                }
            }
        }
        sums
    }

    /// Waits until every direction has sent this much of a phase.
    pub(crate) fn has_sent(&self, name: &str, phase: usize, bytes: u64) -> Result {
        until(&format!("{bytes} bytes are sent by all {name}"), || {
            Ok(self.directions(name, phase).all(|(_, _, sent, _)| sent >= bytes))
        })
    }

    /// Waits until every direction has received this much of a phase.
    pub(crate) fn passes(&self, name: &str, phase: usize, bytes: u64) -> Result {
        let mut late = Vec::new();
        until(&format!("{bytes} bytes pass in phase {phase} of all {name}"), || {
            late = self.directions(name, phase).filter(|(_, _, _, received)| *received < bytes).collect();
            Ok(late.is_empty())
        })
        .map_err(|e| format!("{e}: {late:?}").into())
    }

    /// Ends the sending, and checks that everything has arrived that was ever sent.
    pub(crate) fn lost_nothing(&self, name: &str) -> Result {
        self.shared.silent.store(true, SeqCst);
        self.begin(self.shared.phase.load(SeqCst))?;
        let mut short = Vec::new();
        until(&format!("all bytes of all {name} arrive"), || {
            let all = (0..PHASES).flat_map(|phase| self.directions(name, phase));
            short = all.filter(|(_, _, sent, received)| sent != received).collect();
            Ok(short.is_empty())
        })
        .map_err(|e| format!("{e}: {short:?}").into())
    }
}

impl Drop for Talks {
    fn drop(&mut self) {
        self.shared.stop.store(true, SeqCst);
        if let Some(thread) = self.thread.take()
            && let Ok(Err(e)) = thread.join()
        {
            eprintln!("a conversation broke: {e}");
        }
    }
}

fn drive(talks: &[Talk], shared: &Shared) -> Result {
    let mut bytes = vec![0; 1 << 16];
    let mut next = Instant::now();
    while !shared.stop.load(SeqCst) {
        let phase = shared.phase.load(SeqCst);
        if Instant::now() >= next && !shared.silent.load(SeqCst) {
            next = Instant::now() + PACE;
            let chunk = [u8::try_from(phase).expect("few phases"); CHUNK];
            for talk in talks {
                for (end, tally) in talk.ends.iter().zip(&*talk.tallies) {
                    let sent = end.write(&chunk).map_err(|e| format!("{}: {e}", talk.name))?;
                    tally.sent[phase].fetch_add(sent as u64, SeqCst);
                }
            }
        }
        for talk in talks {
            // What arrives at the server left the client.
            for (end, tally) in talk.ends.iter().rev().zip(&*talk.tallies) {
                while let Some(read) = end.read(&mut bytes).map_err(|e| format!("{}: {e}", talk.name))? {
                    for byte in &bytes[..read] {
                        let phase = tally.received.get(usize::from(*byte)).ok_or("nobody sent that")?;
                        phase.fetch_add(1, SeqCst);
                    }
                }
            }
        }
        shared.turns.fetch_add(1, SeqCst);
        let mut fds: Vec<PollFd<'_>> = talks
            .iter()
            .flat_map(|t| &t.ends)
            .map(|end| PollFd::from_borrowed_fd(end.as_fd(), PollFlags::IN))
            .collect();
        let _ = poll(&mut fds, Some(&Timespec::try_from(PACE)?));
    }
    Ok(())
}
