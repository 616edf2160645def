//! Maps chained through registers: a lookup's result is part of the next lookup's key.
//!
//! Map data are `(0, value)` written to register r, so that the value lands in r+1 over a packet field loaded there
//! before. The kernel uses the value; `nft list ruleset`, which believes that a map result has length 0, sees the
//! field, where it would abort otherwise.

use std::sync::Arc;
use std::{net::UdpSocket, time::Duration};

use libtest_mimic::Trial;
use tortie_netlink::{
    nflog::{LogListener, LogOptions},
    nft::{Op, TableFlags},
};
use tortie_ruleset::{
    ChainKind, CmpOp, CtKey, Data, DataType, Element, Expr, Family, Hook, KeyType, MapKind, MapSpec, MetaKey,
    PayloadBase, Policy, Reg, Rule, Table, Verdict,
};

use crate::{
    nft::{commit, read},
    sandbox::{nft_list, socket},
    tables::{MARK_PAIR, base, empty, goto, map, payload, r, rule},
    trial,
};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("shape::chained_maps_commit_decide_and_list", chained_maps_commit_decide_and_list),
        trial("shape::chained_maps_for_ipv6_commit_and_list", chained_maps_for_ipv6_commit_and_list),
    ]
}

fn pair(value: u32) -> Data {
    Data::Value([0u32.to_ne_bytes(), value.to_ne_bytes()].concat())
}

fn number(value: u32) -> Vec<u8> {
    value.to_ne_bytes().to_vec()
}

fn chain_lookup(map: &str, sreg: Reg, dreg: Reg) -> Expr {
    Expr::Lookup { map: map.into(), sreg, dreg: Some(dreg), verdict: false, invert: false }
}

fn sized(spec: MapSpec) -> MapSpec {
    MapSpec { size: Some(256), ..spec }
}

/// One direction's program. Identity 10 is `local`; everybody else is 0. Rules: 104 allow, 101 deny.
fn program(family: Family, v6: bool, ports: [u16; 2], hook: Hook) -> Table {
    let address_key = if v6 { KeyType::Ipv6 } else { KeyType::Ipv4 };
    let local = if v6 { [&[0; 15][..], &[1]].concat() } else { vec![127, 0, 0, 1] };
    let other = if v6 { vec![0xfd; 16] } else { vec![10, 96, 5, 1] };
    let mut table = empty(family, "shape");
    let mut add = |name: &str, spec: MapSpec, elements: Vec<Element>| {
        table.maps.insert(name.into(), (spec, elements.into()));
    };
    let hash = |key: &[KeyType], data| sized(map(key, Some(data), MapKind::Hash));
    let entry = |key: Vec<u8>, value: u32| Element::entry(key, pair(value));
    let otherwise = |value: u32| Element::CatchAll { data: Some(pair(value)) };
    add("prof", hash(&[address_key], MARK_PAIR), vec![entry(local.clone(), 1)]);
    add("id", hash(&[address_key], MARK_PAIR), vec![entry(local.clone(), 10), entry(other.clone(), 11), otherwise(0)]);
    let two = |a: u32, b: u32| [number(a), number(b)].concat();
    add(
        "cls",
        hash(&[KeyType::Mark, KeyType::Mark], MARK_PAIR),
        vec![entry(two(10, 1), 1), entry(two(0, 1), 3), otherwise(0)],
    );
    let port_key = |proto: u8, port: u16, profile: u32| {
        [&[proto, 0, 0, 0][..], &port.to_be_bytes(), &[0, 0], &profile.to_ne_bytes()].concat()
    };
    let prt = [KeyType::Proto, KeyType::Port, KeyType::Mark];
    add(
        "prt",
        hash(&prt, MARK_PAIR),
        vec![entry(port_key(17, ports[0], 1), 1), entry(port_key(17, ports[1], 1), 2), otherwise(0)],
    );
    add(
        "dec",
        hash(&[KeyType::Mark, KeyType::Mark], MARK_PAIR),
        vec![entry(two(1, 1), 104), entry(two(2, 1), 101), otherwise(1)],
    );
    let verdict = |n: u32, chain: &str| Element::entry(number(n), goto(chain));
    let act = vec![
        verdict(1, "default"),
        verdict(101, "r1_deny"),
        verdict(104, "r4_allow"),
        Element::CatchAll { data: Some(goto("bad")) },
    ];
    add("act", hash(&[KeyType::Mark], DataType::Verdict), act);
    let mut cidrs = vec![
        Element::Range { from: other.clone(), to: other, data: Some(pair(20)) },
        Element::Range { from: vec![0xfe; local.len()], to: vec![0xff; local.len()], data: Some(pair(21)) },
        Element::CatchAll { data: Some(pair(1)) },
    ];
    cidrs.sort();
    table.maps.insert("cidr".into(), (map(&[address_key], Some(MARK_PAIR), MapKind::Interval), cidrs.into()));

    let (source, destination, proto) = if v6 { (8, 24, 10) } else { (12, 16, 2) };
    let network = |offset, dreg| payload(PayloadBase::Network, offset, if v6 { 16 } else { 4 }, dreg);
    // Loads an address where a lookup finds it, and a word of it where the result will be.
    let classify = |map: &str, offset, dreg: u8| -> Vec<Expr> {
        if v6 {
            let word = payload(PayloadBase::Network, offset + 12, 4, r(dreg + 1));
            vec![network(offset, r(8)), word, chain_lookup(map, r(8), r(dreg))]
        } else {
            vec![network(offset, r(dreg + 1)), chain_lookup(map, r(dreg + 1), r(dreg))]
        }
    };
    let is_family = vec![
        Expr::Meta { key: MetaKey::NfProto, dreg: r(0) },
        Expr::Cmp { sreg: r(0), op: CmpOp::Eq, data: vec![proto] },
    ];
    let tail = vec![
        payload(PayloadBase::Network, source, 4, r(7)),
        chain_lookup("cls", r(4), r(6)),
        Expr::Meta { key: MetaKey::L4Proto, dreg: r(3) },
        payload(PayloadBase::Transport, 2, 2, r(4)),
        payload(PayloadBase::Transport, 2, 2, r(6)),
        chain_lookup("prt", r(3), r(5)),
        chain_lookup("dec", r(6), r(6)),
        Expr::Lookup { map: "act".into(), sreg: r(7), dreg: None, verdict: true, invert: false },
    ];
    let main = |identity: &str| {
        rule(
            [is_family.clone(), classify("prof", destination, 4), classify(identity, source, 3), tail.clone()].concat(),
        )
    };
    let established = rule(vec![
        Expr::Ct { key: CtKey::State, dreg: r(0) },
        Expr::Bitwise { sreg: r(0), dreg: r(0), mask: number(6), xor: number(0) },
        Expr::Cmp { sreg: r(0), op: CmpOp::Neq, data: number(0) },
        Expr::Verdict(Verdict::Accept),
    ]);
    table
        .chains
        .insert("local".into(), base(ChainKind::Filter, hook, 0, Policy::Accept, vec![established, main("id")]));
    table
        .chains
        .insert("by_cidr".into(), base(ChainKind::Filter, Hook::Forward, 1, Policy::Accept, vec![main("cidr")]));
    let log = |prefix: &str| Expr::Log { group: 100, prefix: prefix.into(), snaplen: 96, threshold: 1 };
    let ending = |comment: &str, exprs: Vec<Expr>| {
        let rules = vec![Rule { exprs, comment: Some(comment.into()) }];
        Arc::new(tortie_ruleset::Chain { base: None, rules })
    };
    let drop = || Expr::Verdict(Verdict::Drop);
    table.chains.insert("r4_allow".into(), ending("allow", vec![Expr::Counter, Expr::Verdict(Verdict::Accept)]));
    table.chains.insert("r1_deny".into(), ending("deny", vec![Expr::Counter, log("D|101"), drop()]));
    table.chains.insert("default".into(), ending("default", vec![Expr::Counter, log("D|1"), drop()]));
    table.chains.insert("bad".into(), ending("bad", vec![Expr::Counter, log("B"), drop()]));
    table
}

fn listed(table: &Table) {
    let Some(text) = nft_list() else { return };
    for words in ["vmap @act", "comment \"deny\"", "goto r4_allow", "map dec"] {
        assert!(text.contains(words), "no {words:?} in\n{text}");
    }
    assert_eq!(text.matches("\n\tchain ").count(), table.chains.len(), "{text}");
}

fn chained_maps_commit_decide_and_list() {
    let sockets: Vec<UdpSocket> = (0..3).map(|_| UdpSocket::bind("127.0.0.1:0").expect("socket")).collect();
    let ports: Vec<u16> = sockets.iter().map(|s| s.local_addr().expect("address").port()).collect();
    let mut listener = LogListener::bind(100, LogOptions::default()).expect("bind");
    let table = program(Family::Inet, false, [ports[0], ports[1]], Hook::Input);
    let mut socket = socket();
    commit(&mut socket, &Op::create(&table, TableFlags::NONE)).expect("commit");
    assert_eq!(read(&mut socket, &table).table, table);
    // Allowed, denied, not mentioned.
    for to in &sockets {
        UdpSocket::bind("127.0.0.1:0").expect("socket").send_to(b"x", to.local_addr().expect("address")).expect("send");
    }
    let state = read(&mut socket, &table);
    let packets = |chain: &str| state.rules[&(chain.to_owned(), 0)].counter.map(|c| c.packets);
    assert_eq!(
        [packets("r4_allow"), packets("r1_deny"), packets("default"), packets("bad")],
        [Some(1), Some(1), Some(1), Some(0)]
    );
    let mut prefixes = Vec::new();
    while prefixes.len() < 2 {
        let events = listener.next(Duration::from_secs(10)).expect("events");
        assert!(!events.is_empty(), "only {prefixes:?}");
        prefixes.extend(events.into_iter().map(|e| e.prefix));
    }
    assert_eq!(prefixes, ["D|101", "D|1"]);
    sockets[0].set_nonblocking(true).expect("non-blocking");
    assert_eq!(sockets[0].recv(&mut [0; 8]).expect("allowed"), 1);
    listed(&table);
}

fn chained_maps_for_ipv6_commit_and_list() {
    let table = program(Family::Inet, true, [5000, 5001], Hook::Forward);
    let mut socket = socket();
    commit(&mut socket, &Op::create(&table, TableFlags::NONE)).expect("commit");
    assert_eq!(read(&mut socket, &table).table, table);
    listed(&table);
}
