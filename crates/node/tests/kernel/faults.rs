//! Refusals, other people's hands, and two nodes at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use tortie_dataplane::{Nftables, NftablesOptions};
use tortie_model::canonical;
use tortie_netlink::nft::{Batch, Op, TableId, read_table};
use tortie_netlink::{Errno, Protocol, Socket, Tap};
use tortie_node::{Change, Node, NodeOptions};
use tortie_plan::nft::Options;
use tortie_policy::{Delta, Index, Shortcut, network_policy};
use tortie_ruleset::machine::{Fate, Machine};
use tortie_ruleset::{Family, Hook, Table};
use tortie_testkit::{Cluster, Rng, random};

use crate::support::{facts, wire};
use crate::trial;

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("faults::a_refused_update_is_finished_later", a_refused_update_is_finished_later),
        trial("faults::where_one_update_is_refused_for_good_the_next_is_not", one_update_is_refused_for_good),
        trial("faults::a_table_that_others_delete_is_made_again_and_told", a_deleted_table_is_made_again_and_told),
        trial("faults::the_second_node_is_refused", the_second_node_is_refused),
    ]
}

fn options() -> NodeOptions {
    let dataplane = NftablesOptions { own: false, batch_limit: 2_600, ..NftablesOptions::default() };
    NodeOptions { grace: Duration::from_millis(1), dataplane, ..NodeOptions::default() }
}

fn table_id() -> TableId {
    TableId::new(Family::Inet, "tortie")
}

pub(crate) fn stranger() -> Socket {
    Socket::open(Protocol::Netfilter).expect("a socket")
}

pub(crate) fn held() -> Table {
    read_table(&mut stranger(), &table_id()).expect("read").expect("the table").table
}

pub(crate) fn forget() {
    let delete = Batch::of(&[Op::DeleteTable { table: table_id() }]).expect("encode");
    delete.commit(&mut stranger(), None).expect("delete");
}

/// From nothing to this cluster, or from one to another that has the same pods with links.
pub(crate) fn change(before: Option<&Cluster>, after: &Cluster) -> Change {
    let facts = facts(after);
    let gone = before.into_iter().flat_map(|c| &c.policies).map(|p| Delta::PolicyRemoved(network_policy(p).object));
    Change {
        deltas: gone.chain(after.deltas()).collect(),
        attached: facts.interfaces.into_iter().collect(),
        detached: Vec::new(),
    }
}

/// A cluster, and two that come after it: policies and labels differ.
pub(crate) fn clusters(seed: u64) -> [Cluster; 3] {
    let mut rng = Rng::new(seed);
    let first = random::cluster(&mut rng);
    let mut next = |cluster: &Cluster| {
        let changed = (0..20).fold(cluster.clone(), |c, _| random::changed(&mut rng, &c));
        Cluster { pods: cluster.pods.clone(), nodes: cluster.nodes.clone(), ..changed }
    };
    let second = next(&first);
    let third = next(&second);
    [first, second, third]
}

pub(crate) fn node(cluster: &Cluster) -> Node {
    let facts = tortie_plan::NodeFacts { interfaces: Default::default(), ..facts(cluster) };
    Node::open(facts, options()).expect("a node")
}

pub(crate) fn finish(node: &mut Node) {
    let later = Instant::now() + Duration::from_secs(60);
    assert_eq!(node.tick(later).expect("nothing is in the way"), None);
    assert_eq!(node.verify().expect("read"), Vec::<String>::new());
}

/// What the kernel holds decides as the engine does.
fn check(node: &Node, cluster: &Cluster, rng: &mut Rng) {
    let table = held();
    let (index, plan): (&Index, _) = (&cluster.index(), node.plan());
    for _ in 0..60 {
        let flow = random::flow(rng, cluster);
        let verdict = index.verdict(&index.address_side(flow.from), &index.address_side(flow.to), flow.traffic);
        let here = |ip| plan.endpoint(canonical(ip)).is_some();
        let (hook, packet) = wire(index, plan, flow);
        let closed = |ip| plan.pod_ranges.iter().any(|r| r.contains(&canonical(ip))) && !here(ip);
        if verdict.shortcut == Some(Shortcut::LocalNode) {
            continue;
        }
        let egress = if here(flow.from) { verdict.egress.is_allowed() } else { !closed(flow.from) };
        let unclosed = hook == Hook::Input || !closed(flow.to);
        let ingress = if here(flow.to) { verdict.ingress.is_allowed() } else { unclosed };
        let run = Machine::new(&table).run(hook, &packet).unwrap_or_else(|f| panic!("{flow}: {f}"));
        assert_eq!(run.fate == Fate::Accept, egress && ingress, "{flow}\n{run:?}\n{cluster}");
    }
}

/// Spoils transactions, beginning with one, as many as are wanted.
#[derive(Debug)]
pub(crate) struct Spoil {
    from: usize,
    most: usize,
    seen: Arc<AtomicUsize>,
}

impl Tap for Spoil {
    fn send(&mut self, datagram: &mut Vec<u8>) -> Result<(), Errno> {
        if datagram[4..6] == 0x10u16.to_ne_bytes() {
            let at = self.seen.fetch_add(1, Ordering::SeqCst);
            if at >= self.from && at - self.from < self.most {
                // The first message behind the frame's becomes one of a kind that the kernel does not know.
                datagram[20 + 8 + 4] = 0xee;
            }
        }
        Ok(())
    }
}

pub(crate) fn spoil(from: usize, most: usize) -> (Box<Spoil>, Arc<AtomicUsize>) {
    let seen = Arc::new(AtomicUsize::new(0));
    (Box::new(Spoil { from, most, seen: seen.clone() }), seen)
}

fn a_refused_update_is_finished_later() {
    let mut rng = Rng::new(5);
    let mut refused = 0;
    for seed in 0..3 {
        let [first, second, third] = clusters(seed);
        for at in 0usize.. {
            let mut node = node(&first);
            node.update(change(None, &first), Instant::now()).expect("the first");
            finish(&mut node);
            let (tap, seen) = spoil(at, 1);
            node.set_tap(tap);
            match node.update(change(Some(&first), &second), Instant::now()) {
                Ok(()) => {}
                Err(error) => {
                    assert!(error.to_string().starts_with("cannot change table inet tortie: "), "{error}");
                    refused += 1;
                    // Nothing is forgotten, and what is missing is done when it can be.
                    if at.is_multiple_of(2) {
                        finish(&mut node);
                    }
                }
            }
            if seen.load(Ordering::SeqCst) <= at {
                drop(node);
                forget();
                break;
            }
            let more = node.update(change(Some(&second), &third), Instant::now());
            more.unwrap_or_else(|e| panic!("seed {seed}, transaction {at}: {e}"));
            finish(&mut node);
            check(&node, &third, &mut rng);
            assert_eq!(node.mended(), Vec::<String>::new(), "nobody else did anything");
            drop(node);
            forget();
        }
    }
    assert!(refused > 10, "{refused} refusals");
}

fn one_update_is_refused_for_good() {
    let mut rng = Rng::new(6);
    let mut refused = 0;
    for seed in 0..3 {
        let [first, second, third] = clusters(seed);
        for at in 0usize..12 {
            let mut node = node(&first);
            node.update(change(None, &first), Instant::now()).expect("the first");
            finish(&mut node);
            // Refused in the update, in a later tick, and once more when the next update comes.
            let (tap, _) = spoil(at, 3);
            node.set_tap(tap);
            if node.update(change(Some(&first), &second), Instant::now()).is_err() {
                refused += usize::from(node.tick(Instant::now()).is_err());
            }
            // Faults may be left for it; each is met once.
            if node.update(change(Some(&second), &third), Instant::now()).is_err() {
                while node.tick(Instant::now()).is_err() {}
            }
            node.set_tap(spoil(usize::MAX, 0).0);
            finish(&mut node);
            check(&node, &third, &mut rng);
            drop(node);
            forget();
        }
    }
    assert!(refused > 5, "{refused} refusals");
}

fn a_deleted_table_is_made_again_and_told() {
    let mut rng = Rng::new(7);
    let [first, second, _] = clusters(1);
    let mut node = node(&first);
    node.update(change(None, &first), Instant::now()).expect("the first");
    finish(&mut node);
    assert_eq!(node.mend().expect("read"), Vec::<String>::new());
    forget();
    assert_eq!(node.verify().expect("read"), ["the table is gone"]);
    assert_eq!(node.mend().expect("mend"), ["the table is gone"]);
    finish(&mut node);
    check(&node, &first, &mut rng);
    // Noticed by nobody before the next update.
    forget();
    node.update(change(Some(&first), &second), Instant::now()).expect("an update");
    assert_eq!(node.mended(), ["the table is gone"]);
    finish(&mut node);
    check(&node, &second, &mut rng);
}

fn the_second_node_is_refused() {
    let [first, second, _] = clusters(2);
    let mut node = node(&first);
    node.update(change(None, &first), Instant::now()).expect("the first");
    finish(&mut node);
    let before = held();
    let words = "table inet tortie belongs to another process that is still running; end it, or use another table name";
    for own in [true, false] {
        let dataplane = NftablesOptions { own, ..NftablesOptions::default() };
        // Another log group does not help.
        for log_group in [100, 101] {
            let lowering = Options { log_group, ..Options::default() };
            let options = NodeOptions { lowering, dataplane: dataplane.clone(), ..NodeOptions::default() };
            let second = Node::open(facts(&second), options);
            assert_eq!(second.expect_err("it is taken").to_string(), words);
        }
    }
    // Another table in the same group: the denied packets have a reader.
    let lowering = Options { table: "tortie2".to_owned(), ..Options::default() };
    let other = Node::open(facts(&second), NodeOptions { lowering, ..NodeOptions::default() });
    let told = other.expect_err("the group is taken").to_string();
    assert!(told.starts_with("cannot listen to records: log group 100: bind: "), "{told}");
    assert!(held() == before, "nobody changed anything");
    drop(node);
    drop(Nftables::open(NftablesOptions::default()).expect("free again"));
}
