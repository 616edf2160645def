//! Faults at every transaction of a transition: what the kernel holds then, and how it is put right.

use std::process::{Command, ExitCode};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use libtest_mimic::Trial;
use tortie_dataplane::{Dataplane, DataplaneError, Difference, Nftables, NftablesOptions};
use tortie_model::canonical;
use tortie_netlink::nft::{Batch, Op, TableId, read_table};
use tortie_netlink::{Errno, Protocol, Socket, Tap};
use tortie_plan::nft::{Lowering, Options, Phase, Target, phases};
use tortie_plan::{Compiler, Plan};
use tortie_policy::{Index, PodKey, Shortcut};
use tortie_ruleset::machine::{Fate, Machine, Packet};
use tortie_ruleset::{Element, Family, Hook, Table};
use tortie_testkit::{Cluster, Flow, Rng, random};

use crate::support::{facts, wire};
use crate::trial;

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("faults::a_refusal_of_any_transaction", a_refusal_of_any_transaction),
        trial("faults::a_lost_answer_to_any_transaction", a_lost_answer_to_any_transaction),
        trial("faults::the_table_is_deleted_before_any_transaction", the_table_is_deleted_before_any_transaction),
        trial("faults::killed_before_any_transaction", killed_before_any_transaction),
        trial("faults::a_map_that_others_filled", a_map_that_others_filled),
    ]
}

/// So small that a transition takes many transactions.
const LIMIT: usize = 2_600;
/// Packets of each kind, those that may pass in no case and the others, that are tried through what a fault left behind.
const PACKETS: usize = 50;

/// Set for a process that shall die: seed, and the transaction before which it does.
pub(crate) const ORDERS: &str = "TORTIE_TEST_DIE";

fn options(own: bool, batch_limit: usize) -> NftablesOptions {
    NftablesOptions { own, batch_limit, ..NftablesOptions::default() }
}

fn table_id() -> TableId {
    TableId::new(Family::Inet, "tortie")
}

fn watcher() -> Socket {
    Socket::open(Protocol::Netfilter).expect("a socket")
}

/// What the kernel holds.
fn held() -> Table {
    read_table(&mut watcher(), &table_id()).expect("read").expect("the table").table
}

/// A cluster, what comes after it, and what both ask of a packet.
struct Scene {
    clusters: [Cluster; 2],
    indexes: [Index; 2],
    plans: [Plan; 2],
    /// The tables on the way to the first, and from there to the second.
    targets: [Vec<Target>; 2],
    asked: Vec<Asked>,
}

/// A packet, and what both clusters say of it.
struct Asked {
    flow: Flow,
    hook: Hook,
    packet: Packet,
    /// Each end lets it pass before or after.
    may: bool,
    /// Both ends let it pass before and after.
    must: bool,
}

/// What one of two clusters says of a flow, at each end.
struct Word {
    hook: Hook,
    egress: bool,
    ingress: bool,
}

impl Scene {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let first = random::cluster(&mut rng);
        let second = (0..8).fold(first.clone(), |cluster, _| random::changed(&mut rng, &cluster));
        let clusters = [first, second];
        let indexes = clusters.each_ref().map(Cluster::index);
        let mut compiler = Compiler::new();
        let mut lowering = Lowering::new(Options::default(), None);
        let [a, b] = [0, 1].map(|i| compiler.advance(&indexes[i], &facts(&clusters[i])));
        let targets = [lowering.start(&a.after), lowering.advance(&b)];
        let mut new = Self { clusters, indexes, plans: [a.after, b.after], targets, asked: Vec::new() };
        let mut room = [PACKETS, PACKETS];
        for _ in 0..20_000 {
            let which = rng.below(2);
            let flow = random::flow(&mut rng, &new.clusters[which]);
            let asked = new.ask(flow).filter(|a| room[usize::from(a.may)] > 0);
            room[asked.as_ref().map_or(0, |a| usize::from(a.may))] -= usize::from(asked.is_some());
            new.asked.extend(asked);
        }
        assert!(room[1] == 0 && room[0] < PACKETS - 10, "seed {seed}: {room:?}");
        new
    }

    fn ask(&self, flow: Flow) -> Option<Asked> {
        let (old, new) = (self.word(0, flow)?, self.word(1, flow)?);
        let [before, after] = [0, 1].map(|i| wire(&self.indexes[i], &self.plans[i], flow).1);
        // An address that is handed on to another pod is closed in between.
        let owners = |ip| self.indexes.each_ref().map(|i| i.owner(canonical(ip)).map(|p| PodKey::of(p)));
        let same = |ip| matches!(owners(ip), [a, b] if a == b);
        let all = old.egress && new.egress && old.ingress && new.ingress;
        (old.hook == new.hook && before.input == after.input).then_some(Asked {
            flow,
            hook: new.hook,
            packet: after,
            may: (old.egress || new.egress) && (old.ingress || new.ingress),
            must: all && same(flow.from) && same(flow.to),
        })
    }

    /// Loads the first cluster in few transactions, and returns a dataplane that makes many, and the phases to the
    /// second.
    fn load(&self, own: bool) -> (Nftables, Vec<Phase>) {
        let mut dataplane = Nftables::open(NftablesOptions { own, ..NftablesOptions::default() }).expect("a dataplane");
        let held = dataplane.read().expect("read").expect("a table");
        for phase in phases(&held, &self.targets[0]) {
            dataplane.apply(&phase).unwrap_or_else(|e| panic!("{e}"));
        }
        drop(dataplane);
        let dataplane = Nftables::open(options(own, LIMIT)).expect("a dataplane");
        (dataplane, phases(&self.targets[0].last().expect("a target").table, &self.targets[1]))
    }

    fn last(&self) -> &Table {
        &self.targets[1].last().expect("a target").table
    }

    /// `None` where a node is not asked.
    fn word(&self, which: usize, flow: Flow) -> Option<Word> {
        let (index, plan) = (&self.indexes[which], &self.plans[which]);
        let verdict = index.verdict(&index.address_side(flow.from), &index.address_side(flow.to), flow.traffic);
        if verdict.shortcut == Some(Shortcut::LocalNode) {
            return None;
        }
        let here = |ip| plan.endpoint(canonical(ip)).is_some();
        let closed = |ip| plan.pod_ranges.iter().any(|r| r.contains(&canonical(ip))) && !here(ip);
        let (hook, _) = wire(index, plan, flow);
        Some(Word {
            hook,
            egress: if here(flow.from) { verdict.egress.is_allowed() } else { !closed(flow.from) },
            ingress: if here(flow.to) { verdict.ingress.is_allowed() } else { hook == Hook::Input || !closed(flow.to) },
        })
    }

    /// Sends packets through a table: each end is decided by the old policies or by the new ones. Returns how many
    /// passed, and how many did not.
    fn check(&self, table: &Table, case: &str) -> [usize; 2] {
        let mut counts = [0, 0];
        let machine = Machine::new(table);
        for Asked { flow, hook, packet, may, must } in &self.asked {
            let run = machine.run(*hook, packet).unwrap_or_else(|f| panic!("{case}: {flow}: {f}"));
            let passed = run.fate == Fate::Accept;
            let [_, after] = &self.clusters;
            assert!(*may || !passed, "{case}: {flow} passes, and should in no case\n{run:?}\n{after}");
            assert!(passed || !must, "{case}: {flow} is dropped, and should in no case\n{run:?}\n{after}");
            counts[usize::from(!passed)] += 1;
        }
        counts
    }
}

/// What happens to one transaction.
#[derive(Clone, Copy, Debug)]
enum Fault {
    /// One of its messages is spoiled, so that the kernel refuses it.
    Spoil,
    /// It is applied, and the answer lost.
    Lose,
    /// Somebody deletes the table before it.
    Delete,
    /// The process is killed before it.
    Die,
}

fn is_transaction(datagram: &[u8]) -> bool {
    datagram[4..6] == 0x10u16.to_ne_bytes()
}

/// Counts transactions; brings the fault upon one of them.
#[derive(Debug)]
struct Gate {
    fault: Fault,
    at: usize,
    seen: Arc<AtomicUsize>,
    lose: bool,
}

impl Gate {
    /// The gate, and the counter of transactions that reached it.
    fn new(fault: Fault, at: usize) -> (Box<Self>, Arc<AtomicUsize>) {
        let seen = Arc::new(AtomicUsize::new(0));
        (Box::new(Self { fault, at, seen: seen.clone(), lose: false }), seen)
    }
}

impl Tap for Gate {
    fn send(&mut self, datagram: &mut Vec<u8>) -> Result<(), Errno> {
        if !is_transaction(datagram) || self.seen.fetch_add(1, Ordering::SeqCst) != self.at {
            return Ok(());
        }
        match self.fault {
            Fault::Spoil => spoil(datagram, self.at),
            Fault::Lose => self.lose = true,
            Fault::Delete => {
                let delete = Batch::of(&[Op::DeleteTable { table: table_id() }]).expect("encode");
                delete.commit(&mut watcher(), None).expect("delete");
            }
            Fault::Die => {
                let this = rustix::process::getpid();
                rustix::process::kill_process(this, rustix::process::Signal::KILL).expect("kill");
            }
        }
        Ok(())
    }

    fn receive(&mut self, _: &[u8]) -> Result<(), Errno> {
        if std::mem::take(&mut self.lose) { Err(Errno::NOBUFS) } else { Ok(()) }
    }
}

/// Takes down what the kernel holds before every transaction.
#[derive(Clone, Debug, Default)]
struct Film(Arc<Mutex<Vec<Table>>>);

impl Film {
    fn take(&self) -> Vec<Table> {
        std::mem::take(&mut *self.0.lock().expect("one thread"))
    }
}

impl Tap for Film {
    fn send(&mut self, datagram: &mut Vec<u8>) -> Result<(), Errno> {
        if is_transaction(datagram) {
            self.0.lock().expect("one thread").push(held());
        }
        Ok(())
    }
}

/// Makes one message of a transaction, which depends on `salt`, one of a kind that the kernel does not know.
fn spoil(datagram: &mut [u8], salt: usize) {
    let mut starts = Vec::new();
    let mut at = 0;
    while at < datagram.len() {
        starts.push(at);
        let len = u32::from_ne_bytes(datagram[at..at + 4].try_into().expect("four bytes"));
        at += (len as usize).next_multiple_of(4);
    }
    let inner = &starts[1..starts.len() - 1];
    datagram[inner[salt % inner.len()] + 4] = 0xee;
}

fn forget() {
    let delete = Batch::of(&[Op::DeleteTable { table: table_id() }]).expect("encode");
    delete.commit(&mut watcher(), None).expect("delete");
}

/// Clusters, and what comes after them.
const SEEDS: std::ops::Range<u64> = 0..3;

/// Brings a fault upon each transaction in turn; returns how many there were.
fn at_every_transaction(fault: Fault, mut one: impl FnMut(&Scene, usize, &mut Nftables, &[Phase])) -> usize {
    let mut total = 0;
    for seed in SEEDS {
        let scene = Scene::new(seed);
        for at in 0usize.. {
            let (mut dataplane, way) = scene.load(false);
            let (gate, seen) = Gate::new(fault, at);
            dataplane.set_tap(gate);
            one(&scene, at, &mut dataplane, &way);
            assert_eq!(dataplane.verify(scene.last()).expect("read"), [], "seed {seed}, transaction {at}");
            assert!(held() == *scene.last());
            drop(dataplane);
            forget();
            if seen.load(Ordering::SeqCst) <= at {
                break;
            }
            total += 1;
        }
    }
    total
}

fn a_refusal_of_any_transaction() {
    let (mut refusals, mut counts) = (0, [0, 0]);
    let total = at_every_transaction(Fault::Spoil, |scene, at, dataplane, way| {
        for phase in way {
            let case = format!("transaction {at}");
            let repaired = match dataplane.apply(phase) {
                Ok(applied) => applied.repaired,
                Err(DataplaneError::Refused { source, .. }) => {
                    refusals += 1;
                    assert!(source.to_string().contains("of table inet tortie") || source.to_string().contains("to "));
                    let seen = scene.check(&held(), &case);
                    counts = [counts[0] + seen[0], counts[1] + seen[1]];
                    // Once more: it goes on where it was, and opens nothing on the way.
                    let film = Film::default();
                    dataplane.set_tap(Box::new(film.clone()));
                    let applied = dataplane.apply(phase).expect("the fault is gone");
                    for table in film.take() {
                        scene.check(&table, &case);
                    }
                    applied.repaired
                }
                Err(other) => panic!("{case}: {other}"),
            };
            assert_eq!(repaired, [], "{case}: nobody else did anything");
        }
    });
    println!("{total} transactions, {} passed, {} dropped", counts[0], counts[1]);
    assert_eq!(refusals, total);
    assert!(total > 20 && counts[0] > 100 && counts[1] > 100, "{total} transactions, {counts:?}");
}

fn a_lost_answer_to_any_transaction() {
    let total = at_every_transaction(Fault::Lose, |_, at, dataplane, way| {
        for phase in way {
            let applied = dataplane.apply(phase).unwrap_or_else(|e| panic!("transaction {at}: {e}"));
            assert_eq!(applied.repaired, [], "transaction {at}: nobody else did anything");
        }
    });
    assert!(total > 20, "{total} transactions");
}

fn the_table_is_deleted_before_any_transaction() {
    let mut noticed = 0;
    let total = at_every_transaction(Fault::Delete, |_, at, dataplane, way| {
        for phase in way {
            let applied = dataplane.apply(phase).unwrap_or_else(|e| panic!("transaction {at}: {e}"));
            noticed += usize::from(applied.repaired == [Difference::NoTable]);
            assert!(matches!(&applied.repaired[..], [] | [Difference::NoTable]), "{:?}", applied.repaired);
        }
    });
    assert!(total > 20 && noticed == total, "noticed {noticed} of {total}");
}

/// The process that dies: loads a cluster, and is killed on the way to the next.
pub(crate) fn die(orders: &str) -> ExitCode {
    let (seed, at) = orders.split_once(' ').expect("two numbers");
    let scene = Scene::new(seed.parse().expect("a seed"));
    let at: usize = at.parse().expect("a number");
    let (mut dataplane, way) = scene.load(at.is_multiple_of(2));
    dataplane.set_tap(Gate::new(Fault::Die, at).0);
    for phase in way {
        dataplane.apply(&phase).expect("apply");
    }
    ExitCode::SUCCESS
}

fn killed_before_any_transaction() {
    let (mut killed, mut counts) = (0, [0, 0]);
    for seed in SEEDS {
        let scene = Scene::new(seed);
        for at in 0usize.. {
            let case = format!("seed {seed}, transaction {at}");
            let this = std::env::current_exe().expect("this program");
            let status = Command::new(this).env(ORDERS, format!("{seed} {at}")).status().expect("it starts");
            if status.success() {
                break;
            }
            assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(9), "{case}: {status}");
            killed += 1;
            let left = held();
            let seen = scene.check(&left, &case);
            counts = [counts[0] + seen[0], counts[1] + seen[1]];
            // The next process takes over.
            let limit = if at % 4 == 1 { LIMIT } else { usize::MAX };
            let taken_over = Nftables::open(options(at.is_multiple_of(3), limit));
            let mut dataplane = taken_over.unwrap_or_else(|e| panic!("{case}: {e}"));
            let found = dataplane.read().expect("read").expect("it is still there");
            assert!(found == left, "{case}: opening changes nothing");
            let film = Film::default();
            dataplane.set_tap(Box::new(film.clone()));
            let targets = Lowering::new(Options::default(), Some(&found)).start(&scene.plans[1]);
            for phase in phases(&found, &targets) {
                assert_eq!(dataplane.apply(&phase).unwrap_or_else(|e| panic!("{case}: {e}")).repaired, [], "{case}");
            }
            for table in film.take() {
                scene.check(&table, &case);
            }
            assert!(held() == targets[0].table, "{case}");
            drop(dataplane);
            forget();
        }
        forget();
    }
    println!("{killed} kills, {} passed, {} dropped", counts[0], counts[1]);
    assert!(killed > 20 && counts[0] > 100 && counts[1] > 100, "{killed} kills, {counts:?}");
}

fn a_map_that_others_filled() {
    let scene = Scene::new(0);
    for noticed in [true, false] {
        let (mut dataplane, way) = scene.load(false);
        let first = &scene.targets[0].last().expect("a target").table;
        // Every map that can be full is.
        let mut full = 0;
        let mut stranger = watcher();
        for (name, (spec, elements)) in &first.maps {
            let (Some(room), Some(like)) = (spec.size, elements.iter().find(|e| matches!(e, Element::Range { .. })))
            else {
                continue;
            };
            let foreign = (0..room).map(|n| {
                let mut key = vec![0xee; spec.key_len()];
                let at = key.len() - 4;
                key[at..].copy_from_slice(&(0xee00_0000 | n).to_be_bytes());
                Element::Range { from: key.clone(), to: key, data: like.data().cloned() }
            });
            let room = room as usize - elements.len();
            let elements = foreign.take(room).collect();
            let add = Op::AddElements { table: table_id(), map: name.clone(), spec: spec.clone(), elements };
            Batch::of(&[add]).expect("encode").commit(&mut stranger, None).expect("commit");
            full += 1;
        }
        assert!(full > 5, "{full} maps");
        let found = if noticed { dataplane.verify(first).expect("read") } else { Vec::new() };
        let mut repaired = Vec::new();
        for phase in &way {
            repaired.extend(dataplane.apply(phase).unwrap_or_else(|e| panic!("{e}")).repaired);
        }
        assert_eq!(dataplane.verify(scene.last()).expect("read"), []);
        let foreign = |d: &&Difference| matches!(d, Difference::Elements { foreign: 1.., .. });
        assert_eq!(repaired.iter().filter(foreign).count(), full, "{repaired:?}");
        assert!(!noticed || found.iter().filter(foreign).count() == full, "{found:?}");
        drop(dataplane);
        forget();
    }
}
