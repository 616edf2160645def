//! Policies that are tried out in front of those that are enforced.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use tortie_netlink::nft::{Batch, Op, TableId, read_table, read_tables};
use tortie_node::Node;
use tortie_policy::{Index, PodKey};
use tortie_ruleset::{Family, Table};
use tortie_testkit::Cluster;

use crate::faults::{change, clusters, finish, forget, held, node, spoil, stranger};
use crate::trial;

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("shadow::what_is_enforced_does_not_change_by_what_is_tried_out", what_is_enforced_does_not_change),
        trial("shadow::a_refused_trial_is_taken_away_and_disturbs_nobody", a_refused_trial_is_taken_away),
        trial("shadow::what_others_do_to_it_is_put_right", what_others_do_to_it_is_put_right),
        trial("shadow::what_an_ended_process_tried_out_is_taken_away", what_an_ended_process_tried_out_is_taken_away),
    ]
}

fn shadow_id() -> TableId {
    TableId::new(Family::Inet, "tortie-shadow")
}

fn shadow() -> Option<Table> {
    read_table(&mut stranger(), &shadow_id()).expect("read").map(|state| state.table)
}

/// A node that enforces a cluster.
fn enforcing(cluster: &Cluster) -> Node {
    let mut node = node(cluster);
    node.update(change(None, cluster), Instant::now()).expect("the first");
    finish(&mut node);
    node
}

fn try_out(node: &mut Node, index: &Index) {
    node.try_out(index, Instant::now()).expect("a trial");
    let later = Instant::now() + Duration::from_secs(60);
    assert_eq!(node.tick(later).expect("nothing is in the way"), None);
    let verified = node.prove_trial().expect("read").expect("a trial");
    assert!(verified.holds(), "{:#?}", verified.findings());
}

fn what_is_enforced_does_not_change() {
    for seed in 0..3 {
        let [first, second, third] = clusters(seed);
        let mut node = enforcing(&first);
        let before = held();
        assert!(shadow().is_none() && node.tried_out().is_none(), "nobody pays for what nobody tries out");
        let mut last = 0;
        for tried in [&second, &third, &first] {
            try_out(&mut node, &tried.index());
            assert!(held() == before, "seed {seed}");
            let plan = node.tried_out().expect("a trial");
            let pods: Vec<&PodKey> = plan.endpoints.keys().collect();
            assert_eq!(pods, node.plan().endpoints.keys().collect::<Vec<_>>());
            assert!(plan.generation > last, "numbers are not given out again");
            last = plan.generation;
            if seed == 1 {
                node.end_trial().expect("taken away");
                assert!(shadow().is_none() && node.tried_out().is_none());
            }
        }
        // The other policies come into force; what is tried out stays.
        try_out(&mut node, &third.index());
        let tried = shadow().expect("a table");
        node.update(change(Some(&first), &second), Instant::now()).expect("an update");
        finish(&mut node);
        assert!(shadow() == Some(tried), "seed {seed}");
        node.end_trial().expect("taken away");
        assert!(shadow().is_none());
        assert_eq!(node.verify().expect("read"), Vec::<String>::new());
        drop(node);
        forget();
    }
}

fn a_refused_trial_is_taken_away() {
    let mut refused = 0;
    for seed in 0..3 {
        let [first, second, third] = clusters(seed);
        let mut node = enforcing(&first);
        let before = held();
        for at in 0.. {
            try_out(&mut node, &second.index());
            let (tap, seen) = spoil(at, 1);
            node.set_shadow_tap(tap);
            let later = Instant::now() + Duration::from_secs(60);
            let error = match node.try_out(&third.index(), Instant::now()) {
                Err(error) => Some(error),
                Ok(()) => {
                    assert_eq!(node.tick(later).expect("what is enforced is"), None);
                    node.trial_failure()
                }
            };
            let met = seen.load(Ordering::SeqCst) > at;
            assert_eq!(error.is_some(), met && node.tried_out().is_none(), "seed {seed}, {at}: {error:?}");
            if let Some(error) = error {
                assert!(error.to_string().starts_with("cannot change table inet tortie-shadow: "), "{error}");
                assert!(shadow().is_none(), "seed {seed}, {at}");
                refused += 1;
            }
            node.end_trial().expect("taken away");
            assert!(held() == before && shadow().is_none(), "seed {seed}, {at}");
            if !met {
                break;
            }
        }
        assert_eq!(node.verify().expect("read"), Vec::<String>::new());
        drop(node);
        forget();
    }
    assert!(refused > 5, "{refused} refusals");
}

fn what_others_do_to_it_is_put_right() {
    let [first, second, _] = clusters(1);
    let mut node = enforcing(&first);
    try_out(&mut node, &second.index());
    let tried = shadow();
    let delete = Batch::of(&[Op::DeleteTable { table: shadow_id() }]).expect("encode");
    delete.commit(&mut stranger(), None).expect("delete");
    let found = node.prove_trial().expect("read").expect("a trial");
    assert_eq!(found.findings(), ["the table is gone"]);
    assert_eq!(node.mend().expect("mend"), Vec::<String>::new(), "nobody touched what is enforced");
    assert!(shadow() == tried);
    // What is gone already is no obstacle.
    let delete = Batch::of(&[Op::DeleteTable { table: shadow_id() }]).expect("encode");
    delete.commit(&mut stranger(), None).expect("delete");
    node.end_trial().expect("it is gone");
}

fn what_an_ended_process_tried_out_is_taken_away() {
    let [first, second, _] = clusters(2);
    let mut earlier = enforcing(&first);
    try_out(&mut earlier, &second.index());
    drop(earlier);
    assert!(shadow().is_some(), "nothing is torn down on exit");
    let mut next = node(&first);
    assert!(shadow().is_none() && next.trial_failure().is_none());
    let tables = read_tables(&mut stranger()).expect("read");
    assert_eq!(tables.len(), 1, "what it enforced stays: {tables:?}");
}
