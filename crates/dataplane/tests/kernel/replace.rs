//! Policies are replaced while datagrams flow: none that is denied before and after gets through, and none that is
//! allowed before and after is lost.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use tortie_dataplane::{Dataplane, Nftables, NftablesOptions};
use tortie_netlink::nft::{Batch, Op, TableFlags, TableId};
use tortie_netlink::{Protocol, Socket};
use tortie_plan::Compiler;
use tortie_plan::nft::prefix::DropKind;
use tortie_plan::nft::{ChainMeaning, Lowering, Options, phases};
use tortie_policy::Index;
use tortie_ruleset::Table;

use crate::cluster::{cluster, crowd, facts, parting};
use crate::sandbox::Net;
use crate::trial;
use crate::wire::Wire;

/// Replaces that the test makes at least.
const REPLACES: u32 = 1000;
/// Times that policies part thousands of pods in another way.
const PARTINGS: u32 = 10;
/// Datagrams that each sender sends at least.
const DATAGRAMS: u64 = 20_000;
/// How long a replace waits for packets that are between two lookups.
const GRACE: Duration = Duration::from_millis(1);

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("replace::in_phases_nothing_leaks_and_nothing_is_lost", in_phases_nothing_leaks_and_nothing_is_lost),
        trial("replace::a_crowd_is_parted_and_nothing_leaks", a_crowd_is_parted_and_nothing_leaks),
        trial("replace::a_crowd_is_renumbered_and_nothing_leaks", a_crowd_is_renumbered_and_nothing_leaks),
        trial("replace::in_one_transaction_something_does", in_one_transaction_something_does),
    ]
}

/// Sends from another thread until `done` says so.
fn under_traffic(wire: &mut Wire, mut replace: impl FnMut(u32) -> bool + Send, at_least: u64) {
    let stop = AtomicBool::new(false);
    let node = Net::here();
    std::thread::scope(|scope| {
        let replacing = scope.spawn(|| {
            node.run(|| {
                let mut turn = 0;
                while replace(turn) {
                    turn += 1;
                }
            });
            stop.store(true, Ordering::Relaxed);
        });
        while !stop.load(Ordering::Relaxed) || wire.senders.iter().any(|s| s.sent < at_least) {
            wire.send(32);
        }
        replacing.join().expect("the replacing thread");
    });
    wire.settle();
}

fn report(wire: &Wire) -> String {
    let one = |s: &crate::wire::Sender| format!("{}: {} sent, {} received", s.name, s.sent, s.received);
    wire.senders.iter().map(one).collect::<Vec<_>>().join("\n")
}

/// Goes from cluster to cluster, phase by phase, while everybody sends.
fn in_phases(mut compiler: Compiler, cluster: &(dyn Fn(u32) -> Index + Sync), replaces: u32) {
    let mut wire = Wire::new();
    let mut dataplane = Nftables::open(NftablesOptions::default()).expect("a dataplane");
    let mut held = dataplane.read().expect("read").expect("a table");
    let mut lowering = Lowering::new(Options::default(), None);
    let mut transactions = 0;
    let mut go = |turn: u32, dataplane: &mut Nftables, held: &mut Table| {
        let transition = compiler.advance(&cluster(turn), &facts());
        let targets = if turn == 0 { lowering.start(&transition.after) } else { lowering.advance(&transition) };
        for phase in phases(held, &targets) {
            if phase.after_grace {
                std::thread::sleep(GRACE);
            }
            let applied = dataplane.apply(&phase).unwrap_or_else(|e| panic!("turn {turn}: {e}"));
            assert_eq!(applied.repaired, []);
            transactions += applied.transactions;
            *held = phase.table;
        }
    };
    go(0, &mut dataplane, &mut held);
    wire.send(1);
    wire.settle();
    assert_eq!(wire.lost_and_leaked(), (0, 0), "before anything is replaced\n{}", report(&wire));
    let started = Instant::now();
    under_traffic(
        &mut wire,
        |turn| {
            go(turn + 1, &mut dataplane, &mut held);
            turn + 1 < replaces
        },
        DATAGRAMS,
    );
    println!("{replaces} replaces, {transactions} transactions, {:?}\n{}", started.elapsed(), report(&wire));
    let counters = dataplane.counters().expect("counters");
    let fixed = DropKind::ALL.map(|kind| (kind, counters[&ChainMeaning::Fixed(kind)].packets));
    assert_eq!(wire.lost_and_leaked(), (0, 0), "{fixed:?}\n{}", report(&wire));
    assert_eq!(fixed, DropKind::ALL.map(|kind| (kind, 0)), "the maps never contradict each other");
    assert_eq!(dataplane.verify(&held).expect("read"), []);
}

fn in_phases_nothing_leaks_and_nothing_is_lost() {
    in_phases(Compiler::new(), &cluster, REPLACES);
}

/// A new selector parts thousands of pods, again and again.
fn parted(compiler: Compiler, size: u16) {
    let crowd = crowd(size);
    let cluster = |turn: u32| {
        let mut index = crowd.clone();
        index.apply(parting(turn));
        index
    };
    in_phases(compiler, &cluster, PARTINGS);
}

fn a_crowd_is_parted_and_nothing_leaks() {
    parted(Compiler::new(), 10_000);
}

/// The same where pods are not told apart until policies ask: each of them is of another identity then.
fn a_crowd_is_renumbered_and_nothing_leaks() {
    parted(Compiler::new().with_kinds(0), 1_000);
}

fn in_one_transaction_something_does() {
    let mut wire = Wire::new();
    let tables: Vec<Table> = (0..6)
        .map(|turn| {
            let plan = Compiler::new().compile(&cluster(turn), &facts());
            Lowering::new(Options::default(), None).start(&plan).remove(0).table
        })
        .collect();
    let mut socket = Socket::open(Protocol::Netfilter).expect("a socket");
    let mut commit = |ops: &[Op]| Batch::of(ops).expect("encode").commit(&mut socket, None).expect("commit");
    commit(&Op::create(&tables[0], TableFlags::NONE));
    let mut replaces = 0;
    // The more rounds, the surer; it usually takes a few hundred replaces.
    for _ in 0..20 {
        under_traffic(
            &mut wire,
            |turn| {
                let table = &tables[turn as usize % tables.len()];
                let mut ops = vec![Op::DeleteTable { table: TableId::from(table) }];
                ops.extend(Op::create(table, TableFlags::NONE));
                commit(&ops);
                replaces += 1;
                turn < 200
            },
            0,
        );
        if wire.lost_and_leaked() != (0, 0) {
            break;
        }
    }
    println!("{replaces} replaces\n{}", report(&wire));
    assert_ne!(wire.lost_and_leaked(), (0, 0), "so the test above would not notice either");
}
