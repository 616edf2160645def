//! Tables that use every word of the vocabulary.

use std::collections::BTreeMap;
use std::sync::Arc;

use tortie_persistent::{Map, Set};
use tortie_ruleset::{
    BaseChain, Chain, ChainKind, CmpOp, CtKey, Data, DataType, Element, Expr, Family, FibResult, Hook, KeyType,
    MapKind, MapSpec, MetaKey, NatKind, PayloadBase, Policy, Reg, Rule, Table, Verdict,
};

pub(crate) const fn r(n: u8) -> Reg {
    Reg::new(n)
}

pub(crate) fn rule(exprs: Vec<Expr>) -> Rule {
    Rule { exprs, comment: None }
}

pub(crate) fn base(kind: ChainKind, hook: Hook, priority: i32, policy: Policy, rules: Vec<Rule>) -> Arc<Chain> {
    Arc::new(Chain { base: Some(BaseChain { kind, hook, priority, policy }), rules })
}

pub(crate) fn map(key: &[KeyType], data: Option<DataType>, kind: MapKind) -> MapSpec {
    MapSpec { key: key.to_vec(), data, kind, size: None, counter: false, timeout: false }
}

pub(crate) fn empty(family: Family, name: &str) -> Table {
    Table { family, name: name.to_owned(), maps: BTreeMap::new(), chains: Map::new() }
}

pub(crate) fn goto(chain: &str) -> Data {
    Data::Verdict(Verdict::Goto(chain.to_owned()))
}

/// The mark type of `nft`, four bytes in host order.
pub(crate) const MARK: DataType = DataType::Value { len: 4, nft_type: 19 };
/// Two marks.
pub(crate) const MARK_PAIR: DataType = DataType::Value { len: 8, nft_type: 19 << 6 | 19 };

pub(crate) fn payload(base: PayloadBase, offset: u32, len: u32, dreg: Reg) -> Expr {
    Expr::Payload { base, offset, len, dreg }
}

fn cmp(sreg: Reg, op: CmpOp, data: &[u8]) -> Expr {
    Expr::Cmp { sreg, op, data: data.to_vec() }
}

/// Every expression, in `family`, with the maps that they look into.
pub(crate) fn every_expression(family: Family) -> Table {
    let mut table = empty(family, "exprs");
    table.maps.insert("set".into(), (map(&[KeyType::Port], None, MapKind::Hash), Set::new()));
    table.maps.insert("value".into(), (map(&[KeyType::Mark], Some(MARK), MapKind::Hash), Set::new()));
    table.maps.insert("verdict".into(), (map(&[KeyType::Mark], Some(DataType::Verdict), MapKind::Hash), Set::new()));
    let meta = [
        MetaKey::NfProto,
        MetaKey::L4Proto,
        MetaKey::Mark,
        MetaKey::Iif,
        MetaKey::Oif,
        MetaKey::IifName,
        MetaKey::OifName,
    ]
    .map(|key| Expr::Meta { key, dreg: r(8) });
    let ct = [CtKey::State, CtKey::Direction, CtKey::Mark, CtKey::Status, CtKey::Labels]
        .map(|key| Expr::Ct { key, dreg: r(4) });
    let mut rules = vec![
        rule(meta.to_vec()),
        rule(ct.to_vec()),
        // Every register, by both of its names.
        rule((0..16).map(|n| Expr::Meta { key: MetaKey::Mark, dreg: r(n) }).collect()),
        rule(vec![
            payload(PayloadBase::Link, 0, 6, r(0)),
            payload(PayloadBase::Network, 12, 4, r(5)),
            payload(PayloadBase::Network, 8, 16, r(12)),
            payload(PayloadBase::Transport, 2, 2, r(9)),
        ]),
        rule(vec![
            Expr::Meta { key: MetaKey::Mark, dreg: r(1) },
            Expr::Bitwise { sreg: r(1), dreg: r(2), mask: vec![0xff, 0, 0, 1], xor: vec![0, 0, 0, 2] },
            Expr::MetaSet { key: MetaKey::Mark, sreg: r(2) },
            Expr::CtSet { key: CtKey::Mark, sreg: r(2) },
            payload(PayloadBase::Network, 8, 16, r(4)),
            Expr::Bitwise { sreg: r(4), dreg: r(4), mask: vec![0xf0; 16], xor: vec![0; 16] },
        ]),
        rule(vec![Expr::Immediate { dreg: r(0), data: vec![1; 16] }, Expr::CtSet { key: CtKey::Labels, sreg: r(0) }]),
    ];
    for op in [CmpOp::Eq, CmpOp::Neq, CmpOp::Lt, CmpOp::Lte, CmpOp::Gt, CmpOp::Gte] {
        rules.push(rule(vec![payload(PayloadBase::Transport, 2, 2, r(0)), cmp(r(0), op, &[0x1f, 0x90])]));
        rules.push(rule(vec![payload(PayloadBase::Network, 0, 16, r(4)), cmp(r(4), op, &[7; 16])]));
    }
    for verdict in [
        Verdict::Accept,
        Verdict::Drop,
        Verdict::Continue,
        Verdict::Return,
        Verdict::Jump("other".into()),
        Verdict::Goto("other".into()),
    ] {
        rules.push(rule(vec![Expr::Counter, Expr::Verdict(verdict)]));
    }
    let lookup = |map: &str, sreg, dreg, verdict, invert| Expr::Lookup { map: map.into(), sreg, dreg, verdict, invert };
    rules.push(rule(vec![payload(PayloadBase::Transport, 2, 2, r(3)), lookup("set", r(3), None, false, false)]));
    rules.push(rule(vec![payload(PayloadBase::Transport, 2, 2, r(3)), lookup("set", r(3), None, false, true)]));
    rules.push(rule(vec![
        Expr::Meta { key: MetaKey::Mark, dreg: r(4) },
        lookup("value", r(4), Some(r(5)), false, false),
        lookup("verdict", r(5), None, true, false),
    ]));
    rules.push(Rule {
        exprs: vec![
            Expr::Limit { rate: 10, per_seconds: 60, burst: 7 },
            Expr::Log { group: 100, prefix: "p".repeat(127), snaplen: 64, threshold: 20 },
        ],
        comment: Some("c".repeat(127)),
    });
    rules.push(rule(vec![Expr::Log { group: 0, prefix: String::new(), snaplen: 0, threshold: 0 }]));
    rules.push(rule(vec![
        Expr::Fib { result: FibResult::AddrType, dreg: r(0) },
        cmp(r(0), CmpOp::Eq, &2u32.to_ne_bytes()),
        Expr::Fib { result: FibResult::Oif, dreg: r(7) },
    ]));
    for random in [false, true] {
        rules.push(rule(vec![Expr::Numgen { random, modulus: 3, offset: 10, dreg: r(6) }]));
    }
    rules.push(rule(vec![Expr::Reject { tcp_reset: false }]));
    rules.push(rule(vec![
        Expr::Meta { key: MetaKey::L4Proto, dreg: r(0) },
        cmp(r(0), CmpOp::Eq, &[6]),
        Expr::Reject { tcp_reset: true },
    ]));
    table.chains.insert("forward".into(), base(ChainKind::Filter, Hook::Forward, 0, Policy::Accept, rules));
    table.chains.insert("other".into(), Arc::default());
    for (name, hook) in
        [("in", Hook::Input), ("out", Hook::Output), ("pre", Hook::Prerouting), ("post", Hook::Postrouting)]
    {
        // Sockets are looked up where a packet comes in only.
        let rules = if hook == Hook::Prerouting { vec![rule(vec![Expr::Socket { dreg: r(10) }])] } else { vec![] };
        table.chains.insert(name.into(), base(ChainKind::Filter, hook, -150, Policy::Drop, rules));
    }
    table.chains.insert("reroute".into(), base(ChainKind::Route, Hook::Output, 5, Policy::Accept, vec![]));
    let (number, len) = if family == Family::Ip { (2, 4) } else { (10, 16) };
    let port = || Expr::Immediate { dreg: r(8), data: vec![0x1f, 0x90] };
    let nat = |kind, port| Expr::Nat { kind, family: number, addr: r(0), port };
    let address = || Expr::Immediate { dreg: r(0), data: vec![1; len] };
    let dnat = vec![
        rule(vec![address(), nat(NatKind::Dnat, None)]),
        rule(vec![address(), port(), nat(NatKind::Dnat, Some(r(8)))]),
        rule(vec![Expr::Redirect { port: None }]),
        rule(vec![port(), Expr::Redirect { port: Some(r(8)) }]),
    ];
    table.chains.insert("dnat".into(), base(ChainKind::Nat, Hook::Prerouting, -100, Policy::Accept, dnat));
    let snat = vec![
        rule(vec![address(), nat(NatKind::Snat, None)]),
        rule(vec![address(), port(), nat(NatKind::Snat, Some(r(8)))]),
        rule(vec![Expr::Masquerade]),
    ];
    table.chains.insert("snat".into(), base(ChainKind::Nat, Hook::Postrouting, 100, Policy::Accept, snat));
    table
}

fn range(from: &[u8], to: &[u8], data: Option<Data>) -> Element {
    Element::Range { from: from.to_vec(), to: to.to_vec(), data }
}

/// Every kind of set and map.
pub(crate) fn every_map() -> Table {
    let mut table = empty(Family::Inet, "maps");
    table.chains.insert("a".into(), Arc::default());
    table.chains.insert("b".into(), Arc::default());
    let mut add = |name: &str, spec: MapSpec, elements: Vec<Element>| {
        table.maps.insert(name.into(), (spec, elements.into()));
    };
    let v4 = |d: u8| vec![10, 0, 0, d];
    let value = |n: u32| Some(Data::Value(n.to_ne_bytes().to_vec()));
    let verdicts = [
        Verdict::Accept,
        Verdict::Drop,
        Verdict::Continue,
        Verdict::Return,
        Verdict::Jump("a".into()),
        Verdict::Goto("b".into()),
    ];

    for key in [
        KeyType::Ipv4,
        KeyType::Ipv6,
        KeyType::Proto,
        KeyType::Port,
        KeyType::Mark,
        KeyType::IfIndex,
        KeyType::IfName,
        KeyType::CtState,
    ] {
        let elements = [1, 2, 7].map(|n| {
            let mut bytes = vec![0; key.len()];
            bytes[0] = n;
            Element::key(bytes)
        });
        add(&format!("set_{key:?}"), map(&[key], None, MapKind::Hash), elements.to_vec());
    }
    let catch_all = |data| Element::CatchAll { data };
    let hash = map(&[KeyType::Ipv4], Some(MARK), MapKind::Hash);
    add("hash_empty", hash.clone(), vec![]);
    add(
        "hash_value",
        hash.clone(),
        vec![range(&v4(1), &v4(1), value(1)), range(&v4(2), &v4(2), value(2)), catch_all(value(0))],
    );
    add(
        "hash_sized",
        MapSpec { size: Some(1000), ..hash.clone() },
        vec![range(&v4(1), &v4(1), value(9)), catch_all(value(0))],
    );
    add(
        "hash_timeout",
        MapSpec { timeout: true, ..map(&[KeyType::Ipv4], None, MapKind::Hash) },
        vec![Element::key(v4(9))],
    );
    add(
        "hash_counter",
        MapSpec { counter: true, ..map(&[KeyType::Ipv4], None, MapKind::Hash) },
        vec![Element::key(v4(9)), Element::key(v4(8))],
    );
    add(
        "hash_verdict",
        map(&[KeyType::Mark], Some(DataType::Verdict), MapKind::Hash),
        (1u32..)
            .zip(verdicts)
            .map(|(n, v)| Element::entry(n.to_ne_bytes().to_vec(), Data::Verdict(v)))
            .chain([catch_all(Some(goto("a")))])
            .collect(),
    );
    let mut pair = vec![0; 4];
    pair.extend(7u32.to_ne_bytes());
    add(
        "hash_pair",
        MapSpec { size: Some(16), ..map(&[KeyType::Ipv4], Some(MARK_PAIR), MapKind::Hash) },
        vec![Element::entry(v4(1), Data::Value(pair))],
    );
    let triple =
        |proto: u8, port: u16, prof: u8| [&[proto, 0, 0, 0][..], &port.to_be_bytes(), &[0, 0, prof, 0, 0, 0]].concat();
    add(
        "concat_hash",
        MapSpec { size: Some(64), ..map(&[KeyType::Proto, KeyType::Port, KeyType::Mark], Some(MARK), MapKind::Hash) },
        vec![
            Element::entry(triple(6, 80, 1), Data::Value(vec![1; 4])),
            Element::entry(triple(17, 53, 2), Data::Value(vec![2; 4])),
            catch_all(value(0)),
        ],
    );
    let ranges = vec![
        range(&[0, 0, 0, 0], &[0, 255, 255, 255], None),
        range(&[10, 0, 0, 0], &[10, 0, 0, 255], None),
        range(&[10, 0, 1, 0], &[10, 0, 1, 0], None),   // adjacent
        range(&[10, 0, 1, 1], &[10, 0, 3, 255], None), // adjacent
        range(&[192, 168, 0, 0], &[192, 168, 255, 255], None),
        range(&[240, 0, 0, 0], &[255, 255, 255, 255], None), // to the top
    ];
    let tree = map(&[KeyType::Ipv4], None, MapKind::Interval);
    add("tree_set", tree.clone(), ranges.clone());
    add("tree_all", tree.clone(), vec![range(&[0; 4], &[255; 4], None)]);
    add("tree_counter", MapSpec { counter: true, ..tree.clone() }, ranges[1..4].to_vec());
    let with = |data: &dyn Fn(u32) -> Data| {
        let each = (1..).zip(&ranges).map(|(n, e)| match e {
            Element::Range { from, to, .. } => range(from, to, Some(data(n))),
            Element::CatchAll { .. } => unreachable!("only ranges above"),
        });
        each.chain([catch_all(Some(data(99)))]).collect::<Vec<_>>()
    };
    add(
        "tree_map",
        map(&[KeyType::Ipv4], Some(MARK), MapKind::Interval),
        with(&|n| Data::Value(n.to_ne_bytes().to_vec())),
    );
    add("tree_vmap", map(&[KeyType::Ipv4], Some(DataType::Verdict), MapKind::Interval), with(&|_| goto("b")));
    add(
        "tree_v6",
        map(&[KeyType::Ipv6], None, MapKind::Interval),
        vec![range(&[0x20; 16], &[0x21; 16], None), range(&[0xfd; 16], &[0xff; 16], None)],
    );
    let net = |address: [u8; 4], proto: u8, port: u16| {
        [&address[..], &[proto, 0, 0, 0], &port.to_be_bytes(), &[0, 0]].concat()
    };
    let pipapo = [KeyType::Ipv4, KeyType::Proto, KeyType::Port];
    add(
        "pipapo_set",
        map(&pipapo, None, MapKind::Interval),
        vec![
            range(&net([10, 9, 0, 2], 17, 53), &net([10, 9, 0, 2], 17, 53), None),
            range(&net([10, 8, 0, 0], 6, 8000), &net([10, 8, 255, 255], 6, 8080), None),
            range(&net([255, 255, 255, 0], 0, 0), &net([255, 255, 255, 255], 255, 65535), None),
        ],
    );
    add(
        "pipapo_vmap",
        MapSpec { size: Some(128), ..map(&pipapo, Some(DataType::Verdict), MapKind::Interval) },
        vec![
            range(&net([10, 9, 0, 2], 17, 53), &net([10, 9, 0, 9], 17, 54), Some(goto("a"))),
            catch_all(Some(goto("b"))),
        ],
    );
    add(
        "pipapo_counter",
        MapSpec { counter: true, ..map(&pipapo, None, MapKind::Interval) },
        vec![range(&net([10, 9, 0, 2], 17, 53), &net([10, 9, 0, 9], 17, 54), None)],
    );
    table
}
