//! Transactions and read-back.

use std::time::Duration;

use libtest_mimic::Trial;
use tortie_netlink::{
    Buffers, Errno, Error, Protocol, Socket,
    nft::{
        Batch, Foreign, Monitor, Op, Place, TableFlags, TableId, TableState, generation, read_elements, read_table,
        read_tables,
    },
    probe::{Feature, features},
};
use tortie_persistent::Set;
use tortie_ruleset::{
    ChainKind, Data, DataType, Element, Expr, Family, Hook, KeyType, MapKind, Policy, Rule, Table, Verdict,
};

use crate::{
    sandbox::{nft_list, socket},
    tables::{MARK, base, empty, every_expression, every_map, map, rule},
    trial,
};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("nft::every_expression_comes_back", every_expression_comes_back),
        trial("nft::every_map_comes_back", every_map_comes_back),
        trial("nft::nft_lists_what_was_programmed", nft_lists_what_was_programmed),
        trial("nft::packed_transactions_make_the_same_table", packed_transactions_make_the_same_table),
        trial("nft::elements_are_added_and_deleted", elements_are_added_and_deleted),
        trial("nft::tree_ranges_survive_changes_in_any_order", tree_ranges_survive_changes_in_any_order),
        trial("nft::rules_are_placed_replaced_and_deleted", rules_are_placed_replaced_and_deleted),
        trial("nft::refusals_name_the_operation", refusals_name_the_operation),
        trial("nft::a_moved_generation_is_stale", a_moved_generation_is_stale),
        trial("nft::owned_tables_are_protected_and_adopted", owned_tables_are_protected_and_adopted),
        trial("nft::a_batch_must_fit_the_send_buffer", a_batch_must_fit_the_send_buffer),
        trial("nft::lost_replies_are_told", lost_replies_are_told),
        trial("nft::the_monitor_names_the_culprit", the_monitor_names_the_culprit),
        trial("nft::unknown_expressions_are_kept_by_name", unknown_expressions_are_kept_by_name),
    ]
}

pub(crate) fn commit(socket: &mut Socket, ops: &[Op]) -> Result<(), Error> {
    Batch::of(ops).map_err(Error::from)?.commit(socket, None)
}

pub(crate) fn read(socket: &mut Socket, table: &Table) -> TableState {
    read_table(socket, &TableId::from(table)).expect("read").expect("the table")
}

fn round_trip(table: &Table) {
    let mut socket = socket();
    commit(&mut socket, &Op::create(table, TableFlags::NONE)).unwrap_or_else(|e| panic!("{}: {e}", table.name));
    let state = read(&mut socket, table);
    assert_eq!(state.foreign, []);
    for (name, chain) in &table.chains {
        for (index, rule) in chain.rules.iter().enumerate() {
            assert_eq!(state.table.chains[name].rules.get(index), Some(rule), "rule {index} of {name}");
        }
    }
    for (name, map) in &table.maps {
        assert_eq!(state.table.maps.get(name), Some(map), "map {name}");
    }
    assert_eq!(state.table, *table);
    let rules: usize = table.chains.values().map(|c| c.rules.len()).sum();
    assert_eq!(state.rules.len(), rules);
}

fn every_expression_comes_back() {
    for family in [Family::Inet, Family::Ip, Family::Ip6] {
        round_trip(&every_expression(family));
    }
}

fn every_map_comes_back() {
    let table = every_map();
    round_trip(&table);
    let state = read(&mut socket(), &table);
    let counted: Vec<&str> = state.element_counters.keys().map(String::as_str).collect();
    assert_eq!(counted, ["hash_counter", "pipapo_counter", "tree_counter"]);
    for (name, counters) in &state.element_counters {
        assert_eq!(counters.len(), state.table.maps[name].1.len(), "{name}");
        assert!(counters.iter().all(|c| c.is_some_and(|c| c.packets == 0)), "{name}: {counters:?}");
    }
}

fn nft_lists_what_was_programmed() {
    let mut socket = socket();
    commit(&mut socket, &Op::create(&every_map(), TableFlags::NONE)).expect("commit");
    let Some(text) = nft_list() else { return };
    for words in [
        "10.0.0.0/24",
        "10.0.1.1-10.0.3.255",
        "240.0.0.0/4",
        "10.9.0.2 . 17 . 53",
        "10.8.0.0/16 . 6 . 8000-8080",
        "* : goto a",
        "10.0.0.9 counter packets 0 bytes 0",
        "type ipv4_addr : verdict",
        "size 1000",
    ] {
        let listed =
            text.contains(words) || text.contains(&words.replace(". 17 .", ". udp .").replace(". 6 .", ". tcp ."));
        assert!(listed, "no {words:?} in\n{text}");
    }
    let mut other = empty(Family::Inet, "words");
    let said = Rule {
        exprs: vec![
            Expr::Counter,
            Expr::Log { group: 100, prefix: "D|7".into(), snaplen: 96, threshold: 8 },
            Expr::Verdict(Verdict::Drop),
        ],
        comment: Some("why".into()),
    };
    other.chains.insert("in".into(), base(ChainKind::Filter, Hook::Input, -5, Policy::Drop, vec![said]));
    commit(&mut socket, &Op::create(&other, TableFlags::NONE)).expect("commit");
    let Some(text) = nft_list() else { return };
    for words in [
        "type filter hook input priority filter - 5; policy drop;",
        r#"counter packets 0 bytes 0 log prefix "D|7" group 100 snaplen 96 queue-threshold 8 drop comment "why""#,
    ] {
        assert!(text.contains(words), "no {words:?} in\n{text}");
    }
}

/// Many elements of each storage, and many rules.
fn large() -> Table {
    let mut table = empty(Family::Inet, "large");
    let key = |n: u32| n.to_be_bytes().to_vec();
    let hash = (0..3000).map(|n| Element::entry(key(n), Data::Value(vec![1, 2, 3, 4]))).collect();
    table.maps.insert("hash".into(), (map(&[KeyType::Ipv4], Some(MARK), MapKind::Hash), hash));
    let tree = (0..1500).map(|n| Element::Range { from: key(n * 16), to: key(n * 16 + 7), data: None }).collect();
    table.maps.insert("tree".into(), (map(&[KeyType::Ipv4], None, MapKind::Interval), tree));
    let rules = (0..200).map(|n| Rule { exprs: vec![Expr::Counter], comment: Some(format!("rule {n}")) }).collect();
    table.chains.insert("in".into(), base(ChainKind::Filter, Hook::Input, 0, Policy::Accept, rules));
    table
}

fn packed_transactions_make_the_same_table() {
    let mut socket = socket();
    let table = large();
    let ops = Op::create(&table, TableFlags::NONE);
    for limit in [4 << 10, 16 << 10, 128 << 10, usize::MAX] {
        let batches = Batch::pack(&ops, limit).expect("pack");
        let bytes: usize = batches.iter().map(Batch::len).sum();
        assert!(batches.iter().all(|b| b.len() <= limit && !b.is_empty()));
        // Full ones, but for what did not fit any more.
        assert!(batches.len() <= bytes / (limit - 512) + 1, "{} transactions for {bytes} bytes", batches.len());
        let start = generation(&mut socket).expect("generation").id;
        for (batch, generation) in batches.iter().zip(start..) {
            batch.commit(&mut socket, Some(generation)).expect("commit");
        }
        let state = read(&mut socket, &table);
        for (name, (_, want)) in &table.maps {
            let got = &state.table.maps[name].1;
            let extra = got.iter().filter(|e| !want.contains(e)).count();
            assert!(got == want, "limit {limit}, {name}: {} of {} elements, {extra} unknown", got.len(), want.len());
        }
        assert!(state.table == table, "limit {limit}: read back something else");
        commit(&mut socket, &[Op::DeleteTable { table: TableId::from(&table) }]).expect("delete");
    }
    assert!(read_table(&mut socket, &TableId::from(&table)).expect("read").is_none());
}

fn elements_are_added_and_deleted() {
    let mut socket = socket();
    let table = every_map();
    commit(&mut socket, &Op::create(&table, TableFlags::NONE)).expect("commit");
    let id = TableId::from(&table);
    for (name, (spec, elements)) in &table.maps {
        // Every other one goes and comes back.
        let some: Vec<Element> = elements.iter().step_by(2).cloned().collect();
        let rest: Vec<Element> = elements.iter().skip(1).step_by(2).cloned().collect();
        let op = |add: bool| {
            let (table, map, spec, elements) = (id.clone(), name.clone(), spec.clone(), some.clone());
            if add {
                Op::AddElements { table, map, spec, elements }
            } else {
                Op::DeleteElements { table, map, spec, elements }
            }
        };
        let now = |socket: &mut Socket| -> Vec<Element> {
            read_elements(socket, &id, name, spec).expect("elements").into_iter().map(|(e, _)| e).collect()
        };
        commit(&mut socket, &[op(false)]).unwrap_or_else(|e| panic!("delete of {name}: {e}"));
        assert_eq!(now(&mut socket), rest, "{name}");
        commit(&mut socket, &[op(true)]).unwrap_or_else(|e| panic!("add to {name}: {e}"));
        assert_eq!(Set::from(now(&mut socket)), *elements, "{name}");
        // Once more changes nothing.
        commit(&mut socket, &[op(true)]).unwrap_or_else(|e| panic!("add again to {name}: {e}"));
        assert_eq!(Set::from(now(&mut socket)), *elements, "{name}");
    }
}

fn tree_ranges_survive_changes_in_any_order() {
    let mut socket = socket();
    let spec = map(&[KeyType::Port], None, MapKind::Interval);
    let mut table = empty(Family::Inet, "tree");
    table.maps.insert("m".into(), (spec.clone(), vec![].into()));
    commit(&mut socket, &Op::create(&table, TableFlags::NONE)).expect("commit");
    let id = TableId::from(&table);
    // Sixteen adjacent blocks of the whole space, present or not, in an order made by a small generator.
    let block = |n: u16| Element::Range {
        from: (n << 12).to_be_bytes().to_vec(),
        to: (n << 12 | 0xfff).to_be_bytes().to_vec(),
        data: None,
    };
    let mut present = [false; 16];
    let mut seed = 1u32;
    for step in 0..300 {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let n = (seed >> 28) as usize;
        let elements = vec![block(n as u16)];
        let (table, map, spec_) = (id.clone(), "m".to_owned(), spec.clone());
        let op = if present[n] {
            Op::DeleteElements { table, map, spec: spec_, elements }
        } else {
            Op::AddElements { table, map, spec: spec_, elements }
        };
        present[n] = !present[n];
        commit(&mut socket, &[op]).unwrap_or_else(|e| panic!("step {step}: {e}"));
        let want: Vec<Element> = (0..16).filter(|&n| present[usize::from(n)]).map(block).collect();
        let got: Vec<Element> =
            read_elements(&mut socket, &id, "m", &spec).expect("elements").into_iter().map(|(e, _)| e).collect();
        assert_eq!(got, want, "step {step}");
    }
}

fn comments(state: &TableState, chain: &str) -> Vec<String> {
    state.table.chains[chain].rules.iter().map(|r| r.comment.clone().unwrap_or_default()).collect()
}

fn rules_are_placed_replaced_and_deleted() {
    let mut socket = socket();
    let mut table = empty(Family::Inet, "places");
    table.chains.insert("c".into(), base(ChainKind::Filter, Hook::Input, 0, Policy::Accept, vec![]));
    commit(&mut socket, &Op::create(&table, TableFlags::NONE)).expect("commit");
    let id = TableId::from(&table);
    let add = |place, text: &str| Op::AddRule {
        table: id.clone(),
        chain: "c".into(),
        place,
        rule: Rule { exprs: vec![Expr::Counter], comment: Some(text.into()) },
    };
    commit(&mut socket, &[add(Place::End, "b"), add(Place::End, "c"), add(Place::Start, "a")]).expect("commit");
    let state = read(&mut socket, &table);
    assert_eq!(comments(&state, "c"), ["a", "b", "c"]);
    let handle = |n| state.rules[&("c".to_owned(), n)].handle;
    commit(
        &mut socket,
        &[
            add(Place::Before(handle(1)), "ab"),
            add(Place::After(handle(1)), "bc"),
            add(Place::Replace(handle(2)), "C"),
            Op::DeleteRule { table: id.clone(), chain: "c".into(), handle: handle(0) },
        ],
    )
    .expect("commit");
    assert_eq!(comments(&read(&mut socket, &table), "c"), ["ab", "b", "bc", "C"]);
    commit(&mut socket, &[Op::FlushChain { table: id.clone(), chain: "c".into() }]).expect("flush");
    assert_eq!(read(&mut socket, &table).table, table);
    commit(&mut socket, &[Op::DeleteChain { table: id, chain: "c".into() }]).expect("delete");
    assert!(read(&mut socket, &table).table.chains.is_empty());
}

fn refusals_name_the_operation() {
    let mut socket = socket();
    let mut table = empty(Family::Inet, "no");
    let spec = map(&[KeyType::Ipv4], Some(DataType::Verdict), MapKind::Hash);
    table.maps.insert("act".into(), (spec.clone(), vec![].into()));
    table.chains.insert("c".into(), Default::default());
    commit(&mut socket, &Op::create(&table, TableFlags::NONE)).expect("commit");
    let id = TableId::from(&table);
    let entry = |n: u8, chain: &str| Element::entry(vec![10, 0, 0, n], Data::Verdict(Verdict::Goto(chain.into())));
    let elements = vec![entry(1, "c"), entry(2, "c"), entry(3, "absent"), entry(4, "c")];
    let add = Op::AddElements { table: id.clone(), map: "act".into(), spec: spec.clone(), elements };
    let fine = Op::AddChain { table: id.clone(), chain: "d".into(), base: None };
    match commit(&mut socket, &[fine.clone(), add, fine.clone()]) {
        Err(Error::Kernel { index: Some(1), operation, errno: Errno::NOENT, more: 0, .. }) => {
            assert_eq!(operation, "add element to map act of table inet no (key 0a 00 00 03)");
        }
        other => panic!("{other:?}"),
    }
    let lookup = |map: &str| Expr::Lookup {
        map: map.into(),
        sreg: crate::tables::r(0),
        dreg: None,
        verdict: true,
        invert: false,
    };
    let rule = Rule { exprs: vec![Expr::Counter, lookup("nothing")], comment: Some("mine".into()) };
    let add = Op::AddRule { table: id.clone(), chain: "c".into(), place: Place::End, rule };
    match commit(&mut socket, &[fine.clone(), fine.clone(), add]) {
        Err(Error::Kernel { index: Some(2), operation, errno: Errno::NOENT, .. }) => {
            assert!(operation.starts_with(r#"add rule to chain c of table inet no (comment "mine")"#), "{operation}");
        }
        other => panic!("{other:?}"),
    }
    let absent = |n| Op::DeleteElements {
        table: id.clone(),
        map: "act".into(),
        spec: spec.clone(),
        elements: vec![entry(n, "c")],
    };
    match commit(&mut socket, &[absent(1), absent(2), absent(3)]) {
        Err(Error::Kernel { index: Some(0), operation, errno: Errno::NOENT, more: 2, .. }) => {
            assert_eq!(operation, "delete element of map act of table inet no (key 0a 00 00 01)");
        }
        other => panic!("{other:?}"),
    }
    // Nothing of all this was applied.
    assert_eq!(read(&mut socket, &table).table, table);
}

fn a_moved_generation_is_stale() {
    let mut socket = socket();
    let add = |name: &str| [Op::AddTable { table: TableId::new(Family::Inet, name), flags: TableFlags::NONE }];
    let before = generation(&mut socket).expect("generation").id;
    Batch::of(&add("one")).unwrap().commit(&mut socket, Some(before)).expect("the generation has not moved");
    assert_eq!(generation(&mut socket).expect("generation").id, before + 1);
    assert_eq!(Batch::of(&add("two")).unwrap().commit(&mut socket, Some(before)), Err(Error::Stale));
    assert_eq!(read_tables(&mut socket).expect("tables").len(), 1);
}

fn owned_tables_are_protected_and_adopted() {
    let mut owner = socket();
    let mut stranger = socket();
    let mut table = empty(Family::Inet, "ours");
    table.chains.insert("in".into(), base(ChainKind::Filter, Hook::Input, 0, Policy::Accept, vec![]));
    let ops = Op::create(&table, TableFlags::OWNED);
    if features().check(Feature::Persist).is_err() {
        return owned_tables_go_with_their_owner(owner, &table);
    }
    commit(&mut owner, &ops).expect("commit");
    let info = read(&mut stranger, &table).info;
    assert_eq!((info.flags, info.owner), (TableFlags::OWNED, Some(owner.port())));
    let delete = [Op::DeleteTable { table: TableId::from(&table) }];
    assert_eq!(commit(&mut stranger, &delete).expect_err("not ours").errno(), Some(Errno::PERM));
    drop(owner);
    let info = read(&mut stranger, &table).info;
    assert_eq!((info.flags, info.owner), (TableFlags { owner: false, persist: true }, None));
    let mut heir = socket();
    commit(&mut heir, &ops).expect("adopted");
    assert_eq!(read(&mut stranger, &table).info.owner, Some(heir.port()));
    assert_eq!(commit(&mut stranger, &delete).expect_err("not ours").errno(), Some(Errno::PERM));
    commit(&mut heir, &delete).expect("delete");
}

/// Before Linux 6.9. Policy must outlive whoever programs it, so no table of ours has an owner there.
fn owned_tables_go_with_their_owner(mut owner: Socket, table: &Table) {
    let refused = commit(&mut owner, &Op::create(table, TableFlags::OWNED)).expect_err("the flag is not known");
    assert_eq!(refused.errno(), Some(Errno::OPNOTSUPP));
    let mut stranger = socket();
    commit(&mut owner, &Op::create(table, TableFlags { owner: true, persist: false })).expect("commit");
    let info = read(&mut stranger, table).info;
    assert_eq!((info.flags, info.owner), (TableFlags { owner: true, persist: false }, Some(owner.port())));
    drop(owner);
    assert_eq!(read_tables(&mut stranger).expect("tables").len(), 0);
}

fn a_batch_must_fit_the_send_buffer() {
    let mut socket =
        Socket::open_with(Protocol::Netfilter, Buffers { send: 8 << 10, receive: 1 << 20 }).expect("socket");
    let limit = socket.send_limit();
    assert!((8 << 10..64 << 10).contains(&limit), "granted {limit}");
    let table = large();
    let ops = Op::create(&table, TableFlags::NONE);
    let whole = Batch::of(&ops).expect("encode");
    assert_eq!(whole.commit(&mut socket, None), Err(Error::TooBig { len: whole.len(), limit }));
    // The kernel agrees about the limit, to the byte.
    for batch in Batch::pack(&ops, limit).expect("pack") {
        batch.commit(&mut socket, None).expect("commit");
    }
    assert!(read(&mut socket, &table).table == table);
    let longest = vec![0; limit + 1];
    assert_eq!(socket.send(&longest), Err(Error::TooBig { len: limit + 1, limit }));
}

fn lost_replies_are_told() {
    let mut socket =
        Socket::open_with(Protocol::Netfilter, Buffers { send: 1 << 20, receive: 2 << 10 }).expect("socket");
    let id = TableId::new(Family::Inet, "t");
    let mut ops = vec![Op::AddTable { table: id.clone(), flags: TableFlags::NONE }];
    ops.extend((0..2000).map(|n| Op::DeleteChain { table: id.clone(), chain: format!("absent{n}") }));
    let before = generation(&mut socket).expect("generation").id;
    // Most of the refusals do not fit the buffer. The first one does, and says it all.
    match commit(&mut socket, &ops) {
        Err(Error::Kernel { index: Some(1), operation, errno: Errno::NOENT, more, .. }) => {
            assert_eq!(operation, "delete chain absent0 of table inet t");
            assert!(more < 1999, "nothing was lost");
        }
        other => panic!("{other:?}"),
    }
    // The same socket still works, and the generation tells the outcome.
    assert_eq!(generation(&mut socket).expect("generation").id, before);
    commit(&mut socket, &ops[..1]).expect("commit");
}

fn the_monitor_names_the_culprit() {
    let mut monitor = Monitor::open().expect("monitor");
    assert_eq!(monitor.next(Duration::ZERO).expect("nothing yet"), []);
    let mut socket = socket();
    commit(&mut socket, &[Op::AddTable { table: TableId::new(Family::Ip, "t"), flags: TableFlags::NONE }])
        .expect("commit");
    let mut news = monitor.next(Duration::from_secs(10)).expect("news");
    let now = generation(&mut socket).expect("generation").id;
    while news.is_empty() {
        news = monitor.next(Duration::from_secs(10)).expect("news");
    }
    assert_eq!((news.len(), news[0].generation, news[0].port), (1, now, socket.port()));
    assert_ne!(news[0].pid, 0);
    assert!(!news[0].process.is_empty());
}

fn unknown_expressions_are_kept_by_name() {
    let mut socket = socket();
    let program = "table inet foreign { set s { type ipv4_addr . ether_addr; } ; chain c { quota over 1 mbytes drop ; ip daddr set 10.0.0.1 ; } ; }";
    match std::process::Command::new("nft").arg(program).status() {
        Ok(status) => assert!(status.success()),
        Err(_) => return eprintln!("skipped: no nft in PATH"),
    }
    let state = read_table(&mut socket, &TableId::new(Family::Inet, "foreign")).expect("read").expect("table");
    assert_eq!(state.foreign, [Foreign::Map("s".into())]);
    let rules = &state.table.chains["c"].rules;
    assert_eq!(rules[0], rule(vec![Expr::Unknown("quota".into()), Expr::Verdict(Verdict::Drop)]));
    assert!(rules[1].exprs.contains(&Expr::Unknown("payload".into())), "{rules:?}");
}
