//! The thread that drives probes.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc::{self, Receiver, Sender},
    },
    thread::JoinHandle,
    time::Instant,
};

use rustix::{
    buffer::spare_capacity,
    event::{EventfdFlags, Timespec, epoll, eventfd},
    fd::OwnedFd,
    io::Errno,
};

use super::{
    FlowTuple, Outcome, ProbeSpec,
    active::{Active, Step, next_look},
};
use crate::{error::LabError, netns::Netns};

const WAKE: u64 = 0;

/// Source ports of probes, the last excluded. Taken in turn: the kernel picks at random, and by chance a probe would
/// continue the tracked connection of an earlier one, which was allowed when this one is not.
const PORTS: (u16, u16) = (40_000, 64_000);

/// Drives any number of probes with one thread, which ends when this is dropped; probes still running end as
/// [`Outcome::Silent`].
#[derive(Debug)]
pub struct Prober {
    shared: Arc<Shared>,
    ids: AtomicU64,
    /// How many source ports were tried.
    ports: AtomicU64,
    /// What answers must echo; different in every prober, so that no late answer to another fits.
    salt: u64,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    epoll: OwnedFd,
    wake: OwnedFd,
    commands: Mutex<Vec<Command>>,
}

#[derive(Debug)]
enum Command {
    Start(u64, Box<Active>, Arc<AtomicBool>, Sender<Outcome>),
    Drop(u64),
    Stop,
}

/// A probe whose packets are known, but not sent.
#[derive(Debug)]
pub struct Prepared {
    id: u64,
    dropped: Arc<AtomicBool>,
    tuple: FlowTuple,
    active: Result<Box<Active>, Outcome>,
    shared: Arc<Shared>,
}

/// A probe on its way.
#[derive(Debug)]
pub struct ProbeRun {
    tuple: FlowTuple,
    outcome: Receiver<Outcome>,
}

/// Ends a probe whose drop was seen. Outlives it harmlessly.
#[derive(Clone, Debug)]
pub struct DropNotice {
    id: u64,
    dropped: Arc<AtomicBool>,
    shared: Arc<Shared>,
}

impl Prepared {
    /// How its packets look.
    #[must_use]
    pub fn tuple(&self) -> FlowTuple {
        self.tuple
    }

    /// To tell it of a drop, also before it was launched.
    #[must_use]
    pub fn drop_notice(&self) -> DropNotice {
        DropNotice { id: self.id, dropped: Arc::clone(&self.dropped), shared: Arc::clone(&self.shared) }
    }
}

impl ProbeRun {
    /// How its packets look.
    #[must_use]
    pub fn tuple(&self) -> FlowTuple {
        self.tuple
    }

    /// Waits for the outcome: at most the probe's deadline after the last sign of any other.
    #[must_use]
    pub fn wait(self) -> Outcome {
        self.outcome.recv().unwrap_or(Outcome::Silent)
    }
}

impl DropNotice {
    /// The drop of one of its packets was seen: it ends as [`Outcome::Dropped`], unless it is over.
    pub fn seen(&self) {
        // The flag is for a probe that is yet to be launched, the command for one that runs.
        self.dropped.store(true, Ordering::SeqCst);
        self.shared.command([Command::Drop(self.id)]);
    }
}

impl Prober {
    /// Starts the thread.
    ///
    /// # Errors
    /// [`LabError::Thread`].
    pub fn start() -> Result<Self, LabError> {
        let shared = Arc::new(Shared::new().map_err(|e| LabError::Thread(e.into()))?);
        let mut salt = [0; 8];
        rustix::rand::getrandom(&mut salt[..], rustix::rand::GetRandomFlags::empty())
            .map_err(|e| LabError::Thread(e.into()))?;
        let thread = {
            let shared = Arc::clone(&shared);
            std::thread::Builder::new()
                .name("lab-prober".to_owned())
                .spawn(move || Loop::new(&shared).run())
                .map_err(LabError::Thread)?
        };
        Ok(Self {
            shared,
            ids: AtomicU64::new(1),
            ports: AtomicU64::new(0),
            salt: u64::from_ne_bytes(salt),
            thread: Some(thread),
        })
    }

    /// Opens the sockets of probes that all start in one namespace. Nothing is sent yet.
    ///
    /// # Errors
    /// [`LabError::Netns`]. A probe that cannot be sent is no error here; it says so in its outcome.
    pub fn prepare(&self, netns: &Netns, specs: Vec<ProbeSpec>) -> Result<Vec<Prepared>, LabError> {
        let prepare = |spec: ProbeSpec| {
            let id = self.ids.fetch_add(1, Ordering::Relaxed);
            let (protocol, destination_port) = spec.probe.target(spec.destination);
            let unopened = FlowTuple {
                source: spec.source,
                destination: spec.destination,
                protocol,
                source_port: 0,
                destination_port,
            };
            // Identifiers come around after 65,535 probes; by then these are over. 0 says that there is none.
            let echo = u16::try_from(self.salt.wrapping_add(id) % 0xffff + 1).expect("at most 65,535");
            let ports = std::iter::repeat_with(|| self.next_port()).take(usize::from(PORTS.1 - PORTS.0));
            let active = Active::open(spec, echo, self.salt ^ id, ports).map(Box::new);
            let tuple = active.as_ref().map_or(unopened, |a| a.tuple);
            Prepared { id, dropped: Arc::default(), tuple, active, shared: Arc::clone(&self.shared) }
        };
        Ok(netns.run(|| specs.into_iter().map(prepare).collect())?)
    }

    /// One port after the other, from a random start.
    fn next_port(&self) -> u16 {
        let count = u64::from(PORTS.1 - PORTS.0);
        let turn = self.ports.fetch_add(1, Ordering::Relaxed).wrapping_add(self.salt) % count;
        PORTS.0 + u16::try_from(turn).expect("fewer than all ports")
    }

    /// Sends the first packets.
    #[must_use]
    pub fn launch(&self, prepared: Vec<Prepared>) -> Vec<ProbeRun> {
        let mut commands = Vec::new();
        let mut runs = Vec::new();
        for Prepared { id, dropped, tuple, active, .. } in prepared {
            let (sender, outcome) = mpsc::channel();
            match active {
                Ok(active) => commands.push(Command::Start(id, active, dropped, sender)),
                // The receiver is right here, so there is someone to take it.
                Err(failure) => drop(sender.send(failure)),
            }
            runs.push(ProbeRun { tuple, outcome });
        }
        self.shared.command(commands);
        runs
    }

    /// Prepares, launches and waits for all.
    ///
    /// # Errors
    /// As [`Prober::prepare`].
    pub fn run(&self, netns: &Netns, specs: Vec<ProbeSpec>) -> Result<Vec<Outcome>, LabError> {
        let runs = self.launch(self.prepare(netns, specs)?);
        Ok(runs.into_iter().map(ProbeRun::wait).collect())
    }
}

impl Drop for Prober {
    fn drop(&mut self) {
        self.shared.command([Command::Stop]);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn new() -> Result<Self, Errno> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        epoll::add(&epoll, &wake, epoll::EventData::new_u64(WAKE), epoll::EventFlags::IN)?;
        Ok(Self { epoll, wake, commands: Mutex::default() })
    }

    fn commands(&self) -> MutexGuard<'_, Vec<Command>> {
        self.commands.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn command(&self, commands: impl IntoIterator<Item = Command>) {
        self.commands().extend(commands);
        // Refused only when the counter is full, and then the thread is about to wake anyway.
        let _ = rustix::io::write(&self.wake, &1u64.to_ne_bytes());
    }
}

struct Running {
    active: Box<Active>,
    outcome: Sender<Outcome>,
    started: Instant,
    sent: Instant,
}

/// The thread's state.
struct Loop<'a> {
    shared: &'a Shared,
    running: HashMap<u64, Running>,
    looks: BinaryHeap<Reverse<(Instant, u64)>>,
    /// When the last probe began, was answered, or was seen to be dropped.
    news: Instant,
}

impl<'a> Loop<'a> {
    fn new(shared: &'a Shared) -> Self {
        Self { shared, running: HashMap::new(), looks: BinaryHeap::new(), news: Instant::now() }
    }

    fn run(&mut self) {
        let mut events = Vec::with_capacity(256);
        loop {
            let timeout = self.looks.peek().map(|Reverse((at, _))| {
                let left = at.saturating_duration_since(Instant::now());
                Timespec::try_from(left).expect("deadlines are seconds away")
            });
            events.clear();
            match epoll::wait(&self.shared.epoll, spare_capacity(&mut events), timeout.as_ref()) {
                Ok(_) | Err(Errno::INTR) => {}
                // The descriptor is ours and valid as long as this thread runs.
                Err(e) => unreachable!("epoll_wait on an epoll descriptor: {e}"),
            }
            let keys: Vec<u64> = events.iter().map(|e| e.data.u64()).collect();
            if keys.contains(&WAKE) && !self.obey() {
                return;
            }
            for key in keys {
                let Some(running) = self.running.get_mut(&key) else { continue };
                let step = running.active.ready(running.started.elapsed());
                self.after(key, step);
            }
            self.look();
        }
    }

    /// Whether to go on.
    fn obey(&mut self) -> bool {
        let mut count = [0; 8];
        let _ = rustix::io::read(&self.shared.wake, &mut count);
        let commands = std::mem::take(&mut *self.shared.commands());
        for command in commands {
            match command {
                Command::Start(id, active, dropped, outcome) => self.begin(id, active, &dropped, outcome),
                Command::Drop(id) => {
                    if let Some(running) = self.running.get(&id) {
                        let after = running.started.elapsed();
                        self.after(id, Step::Done(Outcome::Dropped { after }));
                    }
                }
                Command::Stop => return false,
            }
        }
        true
    }

    fn begin(&mut self, id: u64, mut active: Box<Active>, dropped: &AtomicBool, outcome: Sender<Outcome>) {
        let flags = if active.repeats() {
            epoll::EventFlags::IN
        } else {
            epoll::EventFlags::IN | epoll::EventFlags::OUT | epoll::EventFlags::ET
        };
        let now = Instant::now();
        let step = active.start();
        // Watched only now: an unconnected stream socket reports a hang-up.
        let step = match epoll::add(&self.shared.epoll, &active.socket, epoll::EventData::new_u64(id), flags) {
            Ok(()) => step,
            Err(e) => Step::Done(Outcome::Failed { why: format!("epoll_ctl: {e}") }),
        };
        self.news = now;
        self.looks.push(Reverse((next_look(&active, now, now), id)));
        self.running.insert(id, Running { active, outcome, started: now, sent: now });
        self.after(id, step);
        if dropped.load(Ordering::SeqCst) {
            self.after(id, Step::Done(Outcome::Dropped { after: now.elapsed() }));
        }
    }

    fn after(&mut self, id: u64, step: Step) {
        if let Step::Done(outcome) = step
            && let Some(Running { active, outcome: told, .. }) = self.running.remove(&id)
        {
            if outcome != Outcome::Silent {
                self.news = Instant::now();
            }
            // Whoever is told may send from the same port at once.
            drop(active);
            // Nobody waits for a run that was thrown away.
            let _ = told.send(outcome);
        }
    }

    /// Repeats what is due and ends what is overdue.
    fn look(&mut self) {
        let now = Instant::now();
        while let Some(Reverse((at, id))) = self.looks.peek().copied() {
            if at > now {
                return;
            }
            self.looks.pop();
            let Some(running) = self.running.get_mut(&id) else { continue };
            let step = if running.started + running.active.deadline() <= now {
                // As long as others are heard of, the machine is busy rather than the packet lost.
                let quiet = self.news + running.active.deadline();
                if quiet > now {
                    self.looks.push(Reverse((quiet, id)));
                    continue;
                }
                Step::Done(Outcome::Silent)
            } else {
                running.sent = now;
                let step = running.active.send();
                self.looks.push(Reverse((next_look(&running.active, running.started, now), id)));
                step
            };
            self.after(id, step);
        }
    }
}
