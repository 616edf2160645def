//! Loading, reading back, protecting and mending the table.

use std::sync::Arc;

use libtest_mimic::Trial;
use tortie_dataplane::{Dataplane, DataplaneError, Difference, Nftables, NftablesOptions, Protection};
use tortie_netlink::nft::{Batch, Op, Place, TableFlags, TableId};
use tortie_netlink::{Buffers, Errno, Protocol, Socket, Tap};
use tortie_plan::nft::{Denial, Lowering, Options, Phase, Target, phases};
use tortie_plan::{Compiler, Plan};
use tortie_ruleset::{Chain, Element, Expr, Family, KeyType, MapKind, MapSpec, Rule, Table, Verdict};

use crate::cluster::{cluster, facts};
use crate::sandbox::nft_list;
use crate::trial;

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("table::every_limit_loads_the_same_table", every_limit_loads_the_same_table),
        trial("table::every_option_loads", every_option_loads),
        trial("table::a_transition_through_small_transactions", a_transition_through_small_transactions),
        trial("table::nft_lists_it", nft_lists_it),
        trial("table::two_at_once", two_at_once),
        trial("table::nobody_else_can_change_it", nobody_else_can_change_it),
        trial("table::a_new_process_takes_over", a_new_process_takes_over),
        trial("table::changes_by_others_are_found_and_mended", changes_by_others_are_found_and_mended),
        trial("table::what_tortie_has_no_word_for_is_removed", what_tortie_has_no_word_for_is_removed),
        trial("table::others_may_change_their_own", others_may_change_their_own),
        trial("table::so_many_refusals_that_they_are_lost", so_many_refusals_that_they_are_lost),
        trial("table::a_table_that_is_gone_is_made_again", a_table_that_is_gone_is_made_again),
    ]
}

fn plan(turn: u32) -> Plan {
    Compiler::new().compile(&cluster(turn), &facts())
}

fn open(options: NftablesOptions) -> Nftables {
    Nftables::open(options).expect("a dataplane")
}

fn plain() -> NftablesOptions {
    NftablesOptions { own: false, ..NftablesOptions::default() }
}

fn go(dataplane: &mut Nftables, targets: &[Target]) -> Table {
    let held = dataplane.read().expect("read").expect("a table");
    for phase in phases(&held, targets) {
        dataplane.apply(&phase).unwrap_or_else(|e| panic!("{e}"));
    }
    targets.last().expect("a target").table.clone()
}

fn load(dataplane: &mut Nftables, turn: u32) -> Table {
    go(dataplane, &Lowering::new(Options::default(), None).start(&plan(turn)))
}

fn stranger() -> Socket {
    Socket::open(Protocol::Netfilter).expect("a socket")
}

fn commit(socket: &mut Socket, ops: &[Op]) -> Result<(), tortie_netlink::Error> {
    Batch::of(ops).expect("encode").commit(socket, None)
}

fn every_limit_loads_the_same_table() {
    for batch_limit in [4 << 10, 16 << 10, usize::MAX] {
        let mut dataplane = open(NftablesOptions { batch_limit, ..plain() });
        let table = load(&mut dataplane, 5);
        assert!(dataplane.read().expect("read").as_ref() == Some(&table), "limit {batch_limit}");
        assert_eq!(dataplane.verify(&table).expect("read"), []);
        commit(&mut stranger(), &[Op::DeleteTable { table: TableId::from(&table) }]).expect("delete");
    }
}

fn every_option_loads() {
    let options = Options {
        table: "other".to_owned(),
        priority: -5,
        deny: Denial::Reject,
        log_group: 7,
        snaplen: 64,
        threshold: 20,
        port_budget: 1,
        ..Options::default()
    };
    let mut dataplane = open(NftablesOptions { table: options.table.clone(), ..NftablesOptions::default() });
    let table = go(&mut dataplane, &Lowering::new(options, None).start(&plan(4)));
    assert_eq!(dataplane.verify(&table).expect("read"), []);
    let rejects = |e: &Expr| matches!(e, Expr::Reject { .. });
    assert!(table.chains.values().flat_map(|c| &c.rules).any(|r| r.exprs.iter().any(rejects)));
}

fn a_transition_through_small_transactions() {
    for batch_limit in [4 << 10, usize::MAX] {
        let mut dataplane = open(NftablesOptions { batch_limit, ..plain() });
        let mut compiler = Compiler::new();
        let mut lowering = Lowering::new(Options::default(), None);
        let mut held = go(&mut dataplane, &lowering.start(&compiler.compile(&cluster(0), &facts())));
        for turn in 1..8 {
            let targets = lowering.advance(&compiler.advance(&cluster(turn), &facts()));
            for phase in phases(&held, &targets) {
                dataplane.apply(&phase).unwrap_or_else(|e| panic!("limit {batch_limit}, turn {turn}: {e}"));
                assert_eq!(dataplane.verify(&phase.table).expect("read"), [], "limit {batch_limit}, turn {turn}");
                held = phase.table;
            }
            assert!(Some(&held) == targets.last().map(|t| &t.table));
        }
        commit(&mut stranger(), &[Op::DeleteTable { table: TableId::from(&held) }]).expect("delete");
    }
}

fn nft_lists_it() {
    let mut dataplane = open(NftablesOptions::default());
    // With and without a map of port ranges.
    let mut tables = vec![load(&mut dataplane, 3)];
    let Some(text) = nft_list() else { return };
    check_listing(&text, &tables[0]);
    let held = dataplane.read().expect("read").expect("a table");
    tables.push(go(&mut dataplane, &Lowering::new(Options::default(), Some(&held)).start(&plan(4))));
    check_listing(&nft_list().expect("nft was there"), &tables[1]);
    assert!(tables.iter().any(|t| t.maps.iter().any(|(n, (_, e))| n.starts_with("prr.") && e.len() > 1)));
}

fn check_listing(text: &str, table: &Table) {
    assert_eq!(text.matches("\n\tchain ").count(), table.chains.len(), "{text}");
    let listed = text.matches("\n\tmap ").count() + text.matches("\n\tset ").count();
    assert_eq!(listed, table.maps.len(), "{text}");
    for words in ["vmap @iact", "log prefix \"tortie D ", "comment \"no rule of NetworkPolicy/ns/in", "policy accept;"]
    {
        assert!(text.contains(words), "no {words:?} in\n{text}");
    }
}

fn two_at_once() {
    for own in [true, false] {
        let options = NftablesOptions { own, ..NftablesOptions::default() };
        let first = open(options.clone());
        let second = Nftables::open(options.clone()).expect_err("the table is taken");
        let words =
            "table inet tortie belongs to another process that is still running; end it, or use another table name";
        assert_eq!(second.to_string(), words);
        // Another table is another matter.
        open(NftablesOptions { table: "tortie2".to_owned(), ..options.clone() });
        drop(first);
        open(options);
    }
}

fn nobody_else_can_change_it() {
    let mut dataplane = open(NftablesOptions::default());
    let table = load(&mut dataplane, 1);
    if dataplane.protection() == Protection::Plain {
        return eprintln!("skipped: this kernel does not keep a table without its owner (Linux 6.9)");
    }
    assert!(commit(&mut stranger(), &[Op::DeleteTable { table: TableId::from(&table) }]).is_err());
    let second = Nftables::open(NftablesOptions::default());
    assert!(matches!(second, Err(DataplaneError::Owned { .. })), "{second:?}");
    drop(dataplane);
    assert!(open(plain()).read().expect("read") == Some(table), "it outlives its owner");
}

fn a_new_process_takes_over() {
    for own in [true, false] {
        let options = NftablesOptions { own, table: format!("tortie_{own}"), ..NftablesOptions::default() };
        let lower = Options { table: options.table.clone(), ..Options::default() };
        let before = {
            let mut dataplane = open(options.clone());
            go(&mut dataplane, &Lowering::new(lower.clone(), None).start(&plan(1)))
        };
        let mut dataplane = open(options);
        let found = dataplane.read().expect("read").expect("a table");
        assert!(found == before);
        // The same cluster: nothing to do.
        assert!(Lowering::resume(lower.clone(), &found, &plan(1)).is_some());
        // Another one: numbers of before mean nothing now.
        assert!(Lowering::resume(lower.clone(), &found, &plan(2)).is_none());
        let after = go(&mut dataplane, &Lowering::new(lower, Some(&found)).start(&plan(2)));
        assert_eq!(dataplane.verify(&after).expect("read"), []);
        assert!(after.maps.keys().all(|m| !found.maps.contains_key(m)));
    }
}

fn changes_by_others_are_found_and_mended() {
    let mut dataplane = open(plain());
    let table = load(&mut dataplane, 1);
    let id = TableId::from(&table);
    let (spec, elements) = &table.maps["dec.1"];
    let (local_spec, _) = &table.maps["local4.1"];
    let first = elements.iter().find(|e| matches!(e, Element::Range { .. })).expect("a row").clone();
    let open_chain = table.chains.keys().find(|c| c.starts_with("deny_i")).expect("a chain").clone();
    let rule = Rule { exprs: vec![Expr::Verdict(Verdict::Accept)], comment: None };
    let foreign = |n: u8| Element::key(vec![10, 244, 1, n]);
    let mischief = [
        Op::DeleteElements { table: id.clone(), map: "dec.1".into(), spec: spec.clone(), elements: vec![first] },
        Op::AddElements {
            table: id.clone(),
            map: "local4.1".into(),
            spec: local_spec.clone(),
            elements: vec![foreign(99)],
        },
        Op::AddRule { table: id.clone(), chain: open_chain.clone(), place: Place::Start, rule },
        Op::AddChain { table: id.clone(), chain: "mine".into(), base: None },
    ];
    commit(&mut stranger(), &mischief).expect("commit");
    let found = dataplane.verify(&table).expect("read");
    let expected = [
        Difference::Elements { map: "dec.1".into(), missing: 1, foreign: 0, changed: 0 },
        Difference::Elements { map: "local4.1".into(), missing: 0, foreign: 1, changed: 0 },
        Difference::Rules { chain: open_chain, first: 0 },
        Difference::ChainForeign("mine".into()),
    ];
    for one in &expected {
        assert!(found.contains(one), "{one:?} is not in {found:?}");
    }
    assert_eq!(found.len(), expected.len(), "{found:?}");
    dataplane.apply(&Phase { after_grace: false, steps: vec![], table: table.clone() }).expect("mend");
    assert_eq!(dataplane.verify(&table).expect("read"), []);
    // Unnoticed before the next phase: then while it is applied.
    commit(&mut stranger(), &mischief[..2]).expect("commit");
    let targets = [Target { table: load_only(2, &table), after_grace: false }];
    let mut repaired = Vec::new();
    for phase in phases(&table, &targets) {
        repaired.extend(dataplane.apply(&phase).expect("apply").repaired);
    }
    assert_eq!(dataplane.verify(&targets[0].table).expect("read"), []);
    assert!(repaired.contains(&expected[0]) && repaired.contains(&expected[1]), "{repaired:?}");
}

/// Declares every set of a kind that tortie does not have.
#[derive(Debug)]
struct OtherKind;

impl Tap for OtherKind {
    fn send(&mut self, datagram: &mut Vec<u8>) -> Result<(), Errno> {
        // NFTA_SET_KEY_TYPE: a mark.
        let key_type = [8, 0, 4, 0, 0, 0, 0, 19];
        let at = datagram.windows(key_type.len()).position(|w| w == key_type).expect("the type of a key");
        datagram[at + 7] = 63;
        Ok(())
    }
}

fn what_tortie_has_no_word_for_is_removed() {
    let mut dataplane = open(plain());
    let table = load(&mut dataplane, 1);
    let spec = MapSpec {
        key: vec![KeyType::Mark],
        data: None,
        kind: MapKind::Hash,
        size: None,
        counter: false,
        timeout: false,
    };
    let add = [Op::AddMap { table: TableId::from(&table), map: "odd".into(), spec }];
    let mut other = stranger();
    other.set_tap(Box::new(OtherKind));
    commit(&mut other, &add).expect("commit");
    let told = [Difference::Foreign("odd".into())];
    assert_eq!(dataplane.verify(&table).expect("read"), told);
    let mended = dataplane.apply(&Phase { after_grace: false, steps: vec![], table: table.clone() }).expect("mend");
    assert_eq!(mended.repaired, told);
    assert_eq!(dataplane.verify(&table).expect("read"), []);
}

fn load_only(turn: u32, actual: &Table) -> Table {
    Lowering::new(Options::default(), Some(actual)).start(&plan(turn)).remove(0).table
}

fn others_may_change_their_own() {
    for own in [true, false] {
        let name = format!("tortie_{own}");
        let mut dataplane = open(NftablesOptions { own, table: name.clone(), ..NftablesOptions::default() });
        let mut lowering = Lowering::new(Options { table: name, ..Options::default() }, None);
        let mut compiler = Compiler::new();
        let mut held = go(&mut dataplane, &lowering.start(&compiler.compile(&cluster(0), &facts())));
        let mut other = stranger();
        for turn in 1..6 {
            for phase in phases(&held, &lowering.advance(&compiler.advance(&cluster(turn), &facts()))) {
                let theirs = TableId::new(Family::Ip, &format!("theirs{turn}"));
                commit(&mut other, &[Op::AddTable { table: theirs, flags: TableFlags::NONE }]).expect("commit");
                assert_eq!(dataplane.apply(&phase).expect("apply").repaired, []);
                held = phase.table;
            }
        }
        assert_eq!(dataplane.verify(&held).expect("read"), []);
    }
}

fn so_many_refusals_that_they_are_lost() {
    let buffers = Buffers { send: 1 << 20, receive: 2 << 10 };
    let mut dataplane = open(NftablesOptions { buffers, ..plain() });
    let table = load(&mut dataplane, 1);
    // A phase that deletes what is not there. Every refusal is answered, and so many answers do not fit.
    let mut imagined = table.clone();
    imagined.chains.extend((0..2000).map(|n| (format!("absent{n:04}"), Arc::new(Chain::default()))));
    let wrong = phases(&imagined, &[Target { table: table.clone(), after_grace: false }]);
    let refused = dataplane.apply(&wrong[0]).expect_err("nothing of that is there");
    let expected = "cannot change table inet tortie: delete chain absent0000 of table inet tortie: No such file";
    assert!(refused.to_string().starts_with(expected), "{refused}");
    // Tried again, it is found that there is nothing to do.
    assert_eq!(dataplane.apply(&wrong[0]).expect("apply").repaired, []);
    assert_eq!(dataplane.verify(&table).expect("read"), []);
}

fn a_table_that_is_gone_is_made_again() {
    let mut dataplane = open(plain());
    let table = load(&mut dataplane, 1);
    commit(&mut stranger(), &[Op::DeleteTable { table: TableId::from(&table) }]).expect("delete");
    assert_eq!(dataplane.verify(&table).expect("read"), [Difference::NoTable]);
    dataplane.apply(&Phase { after_grace: false, steps: vec![], table: table.clone() }).expect("mend");
    assert_eq!(dataplane.verify(&table).expect("read"), []);
}
