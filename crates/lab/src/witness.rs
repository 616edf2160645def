//! Sees what nodes record: tells probes of the drops of their packets, and keeps the flows where that is asked for.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use tortie_model::IpProtocol;
use tortie_netlink::Transport;
use tortie_node::{Denial, OpenedReader, Record, RecordReader};

use crate::error::LabError;
use crate::flows::Flows;
use crate::probe::{DropNotice, FlowTuple};

/// What identifies a probe's packets wherever they are seen. The destination is left out: a Service's address is
/// another behind its translation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Trail {
    source: IpAddr,
    protocol: IpProtocol,
    source_port: u16,
}

impl Trail {
    fn of_denial(denial: &Denial) -> Self {
        let tuple = &denial.tuple;
        let source_port = match tuple.transport {
            Transport::Ports { sport, .. } => sport,
            Transport::Icmp { id, .. } => id.unwrap_or_default(),
            Transport::None => 0,
        };
        Self { source: tuple.src, protocol: IpProtocol(tuple.proto), source_port }
    }
}

impl From<FlowTuple> for Trail {
    fn from(tuple: FlowTuple) -> Self {
        Self { source: tuple.source, protocol: tuple.protocol, source_port: tuple.source_port }
    }
}

#[derive(Debug)]
enum Watched {
    /// A probe that ends with the first drop.
    Probe { notice: DropNotice, seen: Option<Denial> },
    /// Somebody who wants to know of every drop.
    Listener(mpsc::Sender<Denial>),
}

type Trails = Arc<Mutex<HashMap<Trail, Watched>>>;

/// Tells of the drops of a flow, until it is dropped itself.
#[derive(Debug)]
pub struct DropWatch {
    trail: Trail,
    trails: Trails,
    drops: mpsc::Receiver<Denial>,
}

impl DropWatch {
    /// The next drop, if one is seen in time.
    #[must_use]
    pub fn next(&self, patience: Duration) -> Option<Denial> {
        self.drops.recv_timeout(patience).ok()
    }
}

impl Drop for DropWatch {
    fn drop(&mut self) {
        lock(&self.trails).remove(&self.trail);
    }
}

/// What one node says.
#[derive(Debug)]
pub(crate) enum Reader {
    /// Of packets.
    Records(RecordReader),
    /// Of connections.
    Opened(OpenedReader),
}

impl AsFd for Reader {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Records(reader) => reader.as_fd(),
            Self::Opened(reader) => reader.as_fd(),
        }
    }
}

/// What a node had to say and could not, because nobody read it in time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lost {
    /// Records of packets, as far as later ones show the gap.
    pub records: u64,
    /// How often opened connections could not be told; of how many, nobody knows.
    pub connections: u64,
}

impl Lost {
    /// Nothing.
    pub const NOTHING: Self = Self { records: 0, connections: 0 };

    /// What was lost since `before`.
    #[must_use]
    pub const fn since(self, before: Self) -> Self {
        let records = self.records.saturating_sub(before.records);
        Self { records, connections: self.connections.saturating_sub(before.connections) }
    }
}

/// By node.
type Losses = Arc<Mutex<BTreeMap<Arc<str>, Lost>>>;

/// Flows that are kept while they are read.
pub(crate) type SharedFlows = Arc<Mutex<Flows>>;

/// One thread that reads what every node says. It ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Witness {
    trails: Trails,
    losses: Losses,
    readers: mpsc::Sender<Reader>,
    wake: Arc<OwnedFd>,
    thread: Option<JoinHandle<()>>,
}

impl Witness {
    /// `flows`: where to keep them, if anywhere.
    pub(crate) fn start(flows: Option<SharedFlows>) -> Result<Self, LabError> {
        let (trails, losses) = (Trails::default(), Losses::default());
        let (readers, incoming) = mpsc::channel();
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .map_err(|e| LabError::Socket { operation: "make an eventfd".to_owned(), source: e.into() })?;
        let wake = Arc::new(wake);
        let thread = std::thread::Builder::new().name("witness".to_owned()).spawn({
            let (trails, losses, wake) = (trails.clone(), losses.clone(), wake.clone());
            move || watch(&trails, &losses, flows.as_ref(), &incoming, &wake)
        });
        let thread = thread.map_err(|source| LabError::Socket {
            operation: "start the thread that watches drops".to_owned(),
            source,
        })?;
        Ok(Self { trails, losses, readers, wake, thread: Some(thread) })
    }

    /// Reads one more node.
    pub(crate) fn watch(&self, reader: Reader) -> Result<(), LabError> {
        let gone = || LabError::Socket {
            operation: "watch drops".to_owned(),
            source: std::io::Error::other("the thread that watches drops has ended"),
        };
        self.readers.send(reader).map_err(|_| gone())?;
        self.rouse();
        Ok(())
    }

    /// Tells a probe when one of its packets is dropped, from now on.
    pub(crate) fn follow(&self, tuple: FlowTuple, notice: DropNotice) {
        lock(&self.trails).insert(tuple.into(), Watched::Probe { notice, seen: None });
    }

    /// Tells of every drop of a flow, from now on.
    pub(crate) fn tell(&self, tuple: FlowTuple) -> DropWatch {
        let (sender, drops) = mpsc::channel();
        let trail = tuple.into();
        lock(&self.trails).insert(trail, Watched::Listener(sender));
        DropWatch { trail, trails: self.trails.clone(), drops }
    }

    /// Stops following, and says what dropped the probe's packets, if anything did.
    pub(crate) fn forget(&self, tuple: FlowTuple) -> Option<Denial> {
        match lock(&self.trails).remove(&tuple.into())? {
            Watched::Probe { seen, .. } => seen,
            Watched::Listener(_) => None,
        }
    }

    /// What was lost until now, by node; those that lost nothing are left out.
    pub(crate) fn lost(&self) -> BTreeMap<Arc<str>, Lost> {
        lock(&self.losses).clone()
    }

    fn rouse(&self) {
        // A full counter means that the thread is roused already.
        let _ = rustix::io::write(&self.wake, &1u64.to_ne_bytes());
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        // The channel's end is what the thread looks for when it is roused.
        self.readers = mpsc::channel().0;
        self.rouse();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

pub(crate) fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

fn watch(
    trails: &Trails,
    losses: &Losses,
    flows: Option<&SharedFlows>,
    incoming: &mpsc::Receiver<Reader>,
    wake: &OwnedFd,
) {
    let mut readers: Vec<Reader> = Vec::new();
    loop {
        loop {
            match incoming.try_recv() {
                Ok(reader) => readers.push(reader),
                Err(mpsc::TryRecvError::Empty) => break,
                Err(mpsc::TryRecvError::Disconnected) => return,
            }
        }
        let mut fds: Vec<PollFd<'_>> = vec![PollFd::new(wake, PollFlags::IN)];
        fds.extend(readers.iter().map(|r| PollFd::from_borrowed_fd(r.as_fd(), PollFlags::IN)));
        if poll(&mut fds, None).is_err() {
            continue;
        }
        let ready: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
        if ready[0] {
            let _ = rustix::io::read(wake, &mut [0u8; 8]);
        }
        for (reader, _) in readers.iter_mut().zip(&ready[1..]).filter(|(_, ready)| **ready) {
            match reader {
                // Lost records show as lost probes: a drop that nobody saw is no evidence. They are counted before what
                // shows the gap is told.
                Reader::Records(reader) => {
                    let records = reader.read().unwrap_or_default();
                    if reader.lost() > 0 {
                        lock(losses).entry(reader.node().clone()).or_default().records = reader.lost();
                    }
                    for record in records {
                        if let Some(flows) = flows {
                            lock(flows).record(&record);
                        }
                        if let Record::Denied(denial) = record {
                            tell(trails, denial);
                        }
                    }
                }
                Reader::Opened(reader) => {
                    let opened = reader.read().unwrap_or_default();
                    if reader.overruns() > 0 {
                        lock(losses).entry(reader.node().clone()).or_default().connections = reader.overruns();
                    }
                    if let Some(flows) = flows {
                        let mut flows = lock(flows);
                        opened.iter().for_each(|one| flows.opened(one));
                    }
                }
            }
        }
    }
}

fn tell(trails: &Trails, denial: Denial) {
    match lock(trails).get_mut(&Trail::of_denial(&denial)) {
        Some(Watched::Probe { notice, seen }) => {
            seen.get_or_insert(denial);
            notice.seen();
        }
        // Whoever listened may be gone.
        Some(Watched::Listener(listener)) => drop(listener.send(denial)),
        None => {}
    }
}
