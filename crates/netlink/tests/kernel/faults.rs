//! What is spoiled, lost or interrupted on the way to the kernel and back.
#![allow(unsafe_code)]

use std::{
    net::UdpSocket,
    os::fd::{AsRawFd, OwnedFd},
    sync::atomic::{AtomicI32, AtomicUsize, Ordering},
    time::Duration,
};

use libtest_mimic::Trial;
use tortie_netlink::{
    Buffers, Errno, Error, Protocol, Socket, Tap,
    nflog::{LogListener, LogOptions},
    nft::{Batch, Op, Place, TableFlags, TableId, generation, read_table},
};
use tortie_ruleset::{DataType, Element, Expr, Family, KeyType, MapKind, MapSpec, Rule, Table, Verdict};

use crate::{
    nft::{commit, read},
    sandbox::socket,
    tables::{empty, goto, map, rule},
    trial,
};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("faults::a_refusal_at_any_place_refuses_everything", a_refusal_at_any_place_refuses_everything),
        trial("faults::a_lost_answer_is_told_wherever_it_is_lost", a_lost_answer_is_told_wherever_it_is_lost),
        trial("faults::signals_interrupt_nothing", signals_interrupt_nothing),
        trial("faults::small_buffers_carry_large_tables", small_buffers_carry_large_tables),
        trial("faults::a_full_map_is_refused_by_name", a_full_map_is_refused_by_name),
    ]
}

/// Spoils one message of the next transaction.
#[derive(Debug)]
struct Spoil {
    /// Place of the message behind the frame's first.
    place: usize,
    how: fn(&mut [u8]),
}

/// Every message names its table first: it becomes one that is not there.
fn no_such_table(message: &mut [u8]) {
    assert_eq!(message[22..24], 1u16.to_ne_bytes(), "the table's name comes first");
    message[24] = b'x';
}

/// A kind that nf_tables does not have.
fn no_such_kind(message: &mut [u8]) {
    message[4] = 0xee;
}

impl Tap for Spoil {
    fn send(&mut self, datagram: &mut Vec<u8>) -> Result<(), Errno> {
        if datagram[4..6] != 0x10u16.to_ne_bytes() {
            return Ok(());
        }
        let len_at = |d: &[u8], at: usize| u32::from_ne_bytes(d[at..at + 4].try_into().expect("four bytes")) as usize;
        let mut at = 0;
        for _ in 0..=self.place {
            at += len_at(datagram, at).next_multiple_of(4);
        }
        let end = at + len_at(datagram, at);
        (self.how)(&mut datagram[at..end]);
        Ok(())
    }
}

fn verdicts() -> MapSpec {
    map(&[KeyType::Ipv4], Some(DataType::Verdict), MapKind::Hash)
}

fn entry(n: u8, chain: &str) -> Element {
    Element::entry(vec![10, 0, 0, n], goto(chain))
}

/// A table, and one operation of every kind on it, with what a refusal of each must say.
fn every_operation() -> (Table, Vec<(Op, &'static str)>) {
    let mut table = empty(Family::Inet, "t");
    table.maps.insert("act".into(), (verdicts(), vec![entry(1, "c"), entry(2, "c")].into()));
    table.maps.insert("idle".into(), (verdicts(), vec![].into()));
    let accept = || rule(vec![Expr::Counter, Expr::Verdict(Verdict::Accept)]);
    for (name, rules) in [("c", vec![]), ("d", vec![accept(), accept()]), ("idle", vec![])] {
        table.chains.insert(name.into(), tortie_ruleset::Chain { base: None, rules }.into());
    }
    let id = TableId::from(&table);
    let elements = |n, chain| vec![entry(n, chain)];
    let (t, spec) = (|| id.clone(), verdicts);
    let marked = Rule { exprs: vec![Expr::Verdict(Verdict::Drop)], comment: Some("mine".into()) };
    let ops = vec![
        (Op::AddMap { table: t(), map: "new".into(), spec: spec() }, "add map new"),
        (Op::AddChain { table: t(), chain: "e".into(), base: None }, "add chain e"),
        (
            Op::AddRule { table: t(), chain: "e".into(), place: Place::End, rule: marked },
            "add rule to chain e of table inet t (comment \"mine\")",
        ),
        (
            Op::AddElements { table: t(), map: "new".into(), spec: spec(), elements: elements(9, "e") },
            "add element to map new",
        ),
        (
            Op::DeleteElements { table: t(), map: "act".into(), spec: spec(), elements: elements(1, "c") },
            "delete element of map act",
        ),
        (Op::FlushChain { table: t(), chain: "d".into() }, "flush chain d"),
        (Op::DeleteMap { table: t(), map: "idle".into() }, "delete map idle"),
        (Op::DeleteChain { table: t(), chain: "idle".into() }, "delete chain idle"),
    ];
    (table, ops)
}

fn a_refusal_at_any_place_refuses_everything() {
    let mut watcher = socket();
    let (table, ops) = every_operation();
    commit(&mut watcher, &Op::create(&table, TableFlags::NONE)).expect("commit");
    let list: Vec<Op> = ops.iter().map(|(op, _)| op.clone()).collect();
    let batch = Batch::of(&list).expect("encode");
    assert_eq!(batch.message_count(), ops.len());
    let before = generation(&mut watcher).expect("generation").id;
    for (how, expected) in [(no_such_table as fn(&mut [u8]), Errno::NOENT), (no_such_kind, Errno::INVAL)] {
        for (place, (_, words)) in ops.iter().enumerate() {
            let mut socket = socket();
            socket.set_tap(Box::new(Spoil { place, how }));
            match batch.commit(&mut socket, Some(before)) {
                Err(Error::Kernel { index: Some(index), operation, errno, .. }) => {
                    assert_eq!((index, errno), (place, expected), "{operation}");
                    assert!(operation.starts_with(words), "{operation:?} is not about {words:?}");
                }
                other => panic!("place {place}: {other:?}"),
            }
            assert_eq!(generation(&mut watcher).expect("generation").id, before, "place {place}");
            assert!(read(&mut watcher, &table).table == table, "place {place}");
        }
    }
    // Without a fault, it is applied.
    batch.commit(&mut watcher, Some(before)).expect("commit");
    assert!(read(&mut watcher, &table).table != table);
}

/// Loses one datagram of the answers.
#[derive(Debug)]
struct Lose(usize);

impl Tap for Lose {
    fn receive(&mut self, _: &[u8]) -> Result<(), Errno> {
        let left = self.0;
        self.0 = left.wrapping_sub(1);
        if left == 0 { Err(Errno::NOBUFS) } else { Ok(()) }
    }
}

fn a_lost_answer_is_told_wherever_it_is_lost() {
    let mut table = empty(Family::Inet, "t");
    let elements = (0..3000u32).map(|n| Element::entry(n.to_be_bytes().to_vec(), goto("c"))).collect();
    let spec = MapSpec { size: Some(4096), ..verdicts() };
    table.maps.insert("act".into(), (spec, elements));
    table.chains.insert("c".into(), Default::default());
    let mut watcher = socket();
    commit(&mut watcher, &Op::create(&table, TableFlags::NONE)).expect("commit");
    let id = TableId::from(&table);
    let mut told = 0;
    for at in 0.. {
        let mut socket = socket();
        socket.set_tap(Box::new(Lose(at)));
        match read_table(&mut socket, &id) {
            // What could be read is never given out as the whole.
            Err(Error::Overrun) => told += 1,
            Ok(Some(state)) => {
                assert!(state.table == table);
                break;
            }
            other => panic!("{at}: {other:?}"),
        }
        // The same socket works on.
        assert!(read_table(&mut socket, &id).expect("read").is_some_and(|s| s.table == table), "{at}");
    }
    assert!(told > 10, "a table of many datagrams: {told}");
    // A transaction whose answer is lost was applied, and is not reported as if it had not been.
    let mut socket = socket();
    socket.set_tap(Box::new(Lose(0)));
    let add = [Op::AddChain { table: id.clone(), chain: "d".into(), base: None }];
    assert_eq!(commit(&mut socket, &add), Err(Error::Overrun));
    assert!(read(&mut watcher, &table).table.chains.contains_key("d"));
}

/// Where the handler writes, and how often it ran.
static SIGNALLED: AtomicI32 = AtomicI32::new(-1);
static INTERRUPTS: AtomicUsize = AtomicUsize::new(0);

extern "C" fn on_signal(_: libc::c_int) {
    INTERRUPTS.fetch_add(1, Ordering::SeqCst);
    // SAFETY: write is async-signal-safe; the byte lives in this frame, and a bad descriptor is an error, no more.
    unsafe { libc::write(SIGNALLED.load(Ordering::SeqCst), (&raw const b"!"[0]).cast(), 1) };
}

/// Signals that reach the thread that made it, every tenth of a millisecond, until it is dropped.
struct Signals(libc::timer_t);

impl Signals {
    fn start() -> Self {
        // SAFETY: both structures are plain data whose zeros mean "nothing"; the handler is async-signal-safe, and
        // installed without SA_RESTART, so that system calls are interrupted.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = on_signal as *const () as usize;
            assert_eq!(libc::sigaction(libc::SIGUSR1, &raw const action, std::ptr::null_mut()), 0);
            let mut event: libc::sigevent = std::mem::zeroed();
            event.sigev_notify = libc::SIGEV_THREAD_ID;
            event.sigev_signo = libc::SIGUSR1;
            event.sigev_notify_thread_id = libc::gettid();
            let mut timer = std::ptr::null_mut();
            assert_eq!(libc::timer_create(libc::CLOCK_MONOTONIC, &raw mut event, &raw mut timer), 0);
            let every = libc::timespec { tv_sec: 0, tv_nsec: 100_000 };
            let spec = libc::itimerspec { it_interval: every, it_value: every };
            assert_eq!(libc::timer_settime(timer, 0, &raw const spec, std::ptr::null_mut()), 0);
            Self(timer)
        }
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        // SAFETY: the timer was made by `start` and is deleted once.
        unsafe { libc::timer_delete(self.0) };
    }
}

fn signals_interrupt_nothing() {
    let (told, tell): (OwnedFd, OwnedFd) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).expect("a pipe");
    rustix::io::ioctl_fionbio(&tell, true).expect("non-blocking");
    SIGNALLED.store(tell.as_raw_fd(), Ordering::SeqCst);
    let table = crate::nflog::program(7);
    let from = UdpSocket::bind("127.0.0.1:0").expect("socket");
    let to = UdpSocket::bind("127.0.0.1:0").expect("socket").local_addr().expect("address");
    let mut listener = LogListener::bind(7, LogOptions::default()).expect("bind");
    let signals = Signals::start();
    // The packet is sent when the listener has been interrupted many times while it waited.
    let events = std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut bytes = [0; 1];
            for _ in 0..200 {
                rustix::io::retry_on_intr(|| rustix::io::read(&told, &mut bytes)).expect("a signal came");
            }
            from.send_to(b"x", to).expect("send");
        });
        listener.next(Duration::from_secs(60)).expect("not interrupted")
    });
    assert_eq!(events.len(), 1);
    let before = INTERRUPTS.load(Ordering::SeqCst);
    assert!(before >= 200, "{before} signals");
    // Transactions and dumps, until many of them were interrupted too.
    let mut socket = socket();
    let id = TableId::from(&table);
    let mut rounds = 0;
    while INTERRUPTS.load(Ordering::SeqCst) < before + 200 || rounds < 50 {
        commit(&mut socket, &[Op::AddChain { table: id.clone(), chain: "more".into(), base: None }]).expect("commit");
        assert_eq!(read(&mut socket, &table).table.chains.len(), table.chains.len() + 1);
        commit(&mut socket, &[Op::DeleteChain { table: id.clone(), chain: "more".into() }]).expect("commit");
        rounds += 1;
    }
    drop(signals);
    assert!(read(&mut socket, &table).table == table);
}

/// Buffers of which the kernel grants 64 KiB.
const SMALL: Buffers = Buffers { send: 32 << 10, receive: 32 << 10 };

fn small_buffers_carry_large_tables() {
    let mut socket = Socket::open_with(Protocol::Netfilter, SMALL).expect("socket");
    assert_eq!(socket.send_limit(), (64 << 10) - 32);
    let mut table = empty(Family::Inet, "t");
    let verdict = |n: u32| goto(if n.is_multiple_of(2) { "c" } else { "d" });
    let entries = (0..30_000u32).map(|n| Element::entry(n.to_be_bytes().to_vec(), verdict(n))).collect();
    let range = |n: u32| Element::Range {
        from: (n << 8).to_be_bytes().to_vec(),
        to: (n << 8 | 0x7f).to_be_bytes().to_vec(),
        data: Some(verdict(n)),
    };
    let tree = map(&[KeyType::Ipv4], Some(DataType::Verdict), MapKind::Interval);
    table.maps.insert("hash".into(), (MapSpec { size: Some(65_536), ..verdicts() }, entries));
    table.maps.insert("tree".into(), (tree, (1..10_000).map(range).collect()));
    table.chains.insert("c".into(), Default::default());
    table.chains.insert("d".into(), Default::default());
    let batches = Batch::pack(&Op::create(&table, TableFlags::NONE), socket.send_limit()).expect("pack");
    assert!(batches.len() > 20, "{}", batches.len());
    for batch in &batches {
        batch.commit(&mut socket, None).expect("commit");
    }
    assert!(read(&mut socket, &table).table == table);
}

fn a_full_map_is_refused_by_name() {
    let mut table = empty(Family::Inet, "t");
    let full = (0..64u8).map(|n| entry(n, "c")).collect();
    table.maps.insert("act".into(), (MapSpec { size: Some(64), ..verdicts() }, full));
    table.chains.insert("c".into(), Default::default());
    let mut socket = socket();
    commit(&mut socket, &Op::create(&table, TableFlags::NONE)).expect("commit");
    let spec = table.maps["act"].0.clone();
    let add = Op::AddElements { table: TableId::from(&table), map: "act".into(), spec, elements: vec![entry(99, "c")] };
    match commit(&mut socket, &[add]) {
        Err(Error::Kernel { index: Some(0), operation, errno: Errno::NFILE, .. }) => {
            assert_eq!(operation, "add element to map act of table inet t (key 0a 00 00 63)");
        }
        other => panic!("{other:?}"),
    }
    assert!(read(&mut socket, &table).table == table);
}
