//! Tables of other programs in the same network namespace.

use std::collections::BTreeMap;

use libtest_mimic::Trial;
use tortie_dataplane::{Dataplane, Nftables, NftablesOptions};
use tortie_netlink::nft::{Batch, Op, TableFlags, TableId};
use tortie_netlink::wire::Attrs;
use tortie_netlink::{Message, Protocol, Socket};
use tortie_plan::Compiler;
use tortie_plan::nft::{Lowering, Options, Phase, phases};
use tortie_ruleset::{
    BaseChain, Chain, ChainKind, Data, DataType, Element, Expr, Family, Hook, KeyType, MapKind, MapSpec, Policy, Rule,
    Table, Verdict,
};

use crate::cluster::{cluster, facts};
use crate::trial;

pub(crate) fn trials() -> Vec<Trial> {
    vec![trial("neighbours::tables_of_others_stay_as_they_are", tables_of_others_stay_as_they_are)]
}

const NFT: u16 = 10 << 8;
/// `NFT_MSG_GETTABLE`, `GETCHAIN`, `GETRULE`, `GETSET`, `GETOBJ`, `GETFLOWTABLE`.
const LISTS: [u16; 6] = [NFT | 1, NFT | 4, NFT | 7, NFT | 10, NFT | 19, NFT | 23];
/// `NFT_MSG_GETSETELEM`, of one set.
const ELEMENTS: u16 = NFT | 13;

/// Every byte that the kernel lists of tables other than ours.
fn of_others(socket: &mut Socket) -> Vec<Message> {
    let mut dump = |kind, body: &[u8]| socket.dump(kind, 0, body, || "list what others have".to_owned()).expect("list");
    let mut all: Vec<Message> = LISTS.into_iter().flat_map(|kind| dump(kind, &[0; 4])).collect();
    let sets: Vec<Vec<u8>> =
        all.iter().filter(|m| m.kind == NFT | 9).map(|m| [&m.body[..4], &named(m)].concat()).collect();
    all.extend(sets.iter().flat_map(|body| dump(ELEMENTS, body)));
    for message in &mut all {
        // Of the request, and the generation.
        (message.seq, message.port, message.body[2], message.body[3]) = (0, 0, 0, 0);
    }
    all.retain(|m| Attrs::netfilter(&m.body).get(1).is_none_or(|table| table.text() != "tortie"));
    all
}

/// Table and name of a set, as they are asked for.
fn named(set: &Message) -> Vec<u8> {
    let attrs = Attrs::netfilter(&set.body);
    let mut w = tortie_netlink::wire::Writer::new();
    w.text(1, &attrs.get(1).expect("a table").text());
    w.text(2, &attrs.get(2).expect("a name").text());
    w.finish().expect("short names")
}

/// A firewall, a translator, and a table whose names are those of ours.
fn others() -> Vec<Table> {
    let base =
        |kind, hook, priority, policy, rules| Chain { base: Some(BaseChain { kind, hook, priority, policy }), rules };
    let rule = |exprs| Rule { exprs, comment: Some("not yours".into()) };
    let spec = |key, data, kind| MapSpec { key, data, kind, size: None, counter: false, timeout: false };
    let table = |family, name: &str, maps: Vec<(&str, (MapSpec, Vec<Element>))>, chains: Vec<(&str, Chain)>| Table {
        family,
        name: name.to_owned(),
        maps: maps
            .into_iter()
            .map(|(n, (spec, elements))| (n.to_owned(), (spec, elements.into())))
            .collect::<BTreeMap<_, _>>(),
        chains: chains.into_iter().map(|(n, c)| (n.to_owned(), c.into())).collect(),
    };
    let goto = Data::Verdict(Verdict::Goto("deny_i1.1".into()));
    let range = |from: [u8; 4], to: [u8; 4]| Element::Range { from: from.to_vec(), to: to.to_vec(), data: None };
    let drop = || vec![rule(vec![Expr::Counter, Expr::Verdict(Verdict::Drop)])];
    let accept = || vec![rule(vec![Expr::Counter, Expr::Verdict(Verdict::Accept)])];
    vec![
        table(
            Family::Ip,
            "filter",
            vec![(
                "blocked",
                (spec(vec![KeyType::Ipv4], None, MapKind::Interval), vec![range([10, 0, 0, 0], [10, 0, 0, 9])]),
            )],
            vec![
                ("FORWARD", base(ChainKind::Filter, Hook::Forward, 0, Policy::Drop, accept())),
                ("INPUT", base(ChainKind::Filter, Hook::Input, -10, Policy::Accept, drop())),
            ],
        ),
        table(
            Family::Ip6,
            "nat",
            vec![],
            vec![("POSTROUTING", base(ChainKind::Nat, Hook::Postrouting, 100, Policy::Accept, accept()))],
        ),
        table(
            Family::Inet,
            "tortie2",
            vec![(
                "dec.1",
                (
                    spec(vec![KeyType::Mark], Some(DataType::Verdict), MapKind::Hash),
                    vec![Element::entry(vec![0, 0, 0, 1], goto)],
                ),
            )],
            vec![
                ("deny_i1.1", Chain { base: None, rules: drop() }),
                ("forward", base(ChainKind::Filter, Hook::Forward, 0, Policy::Accept, accept())),
            ],
        ),
    ]
}

fn tables_of_others_stay_as_they_are() {
    let mut stranger = Socket::open(Protocol::Netfilter).expect("a socket");
    for table in others() {
        let ops = Op::create(&table, TableFlags::NONE);
        Batch::of(&ops).expect("encode").commit(&mut stranger, None).unwrap_or_else(|e| panic!("{}: {e}", table.name));
    }
    // A table of the same name, of another family.
    let ops = [Op::AddTable { table: TableId::new(Family::Ip, "other"), flags: TableFlags::NONE }];
    Batch::of(&ops).expect("encode").commit(&mut stranger, None).expect("commit");
    let before = of_others(&mut stranger);
    assert!(before.len() > 15, "{} messages", before.len());
    let mut unchanged = |when: &str| assert!(of_others(&mut stranger) == before, "{when}");

    // A whole life: a start, changes, somebody who deletes the table, a successor, an end.
    for own in [false, true] {
        let options = NftablesOptions { own, ..NftablesOptions::default() };
        let mut dataplane = Nftables::open(options.clone()).expect("a dataplane");
        unchanged("opened");
        let mut compiler = Compiler::new();
        let found = dataplane.read().expect("read").expect("a table");
        let mut lowering = Lowering::new(Options::default(), Some(&found));
        let start = lowering.start(&compiler.compile(&cluster(0), &facts()));
        let mut held = found.clone();
        for turn in 0..4 {
            let targets = match turn {
                0 => start.clone(),
                _ => lowering.advance(&compiler.advance(&cluster(turn), &facts())),
            };
            for phase in phases(&held, &targets) {
                dataplane.apply(&phase).expect("apply");
                unchanged("a phase");
                held = phase.table;
            }
        }
        if !own {
            let delete = [Op::DeleteTable { table: TableId::from(&held) }];
            let mut vandal = Socket::open(Protocol::Netfilter).expect("a socket");
            Batch::of(&delete).expect("encode").commit(&mut vandal, None).expect("delete");
            dataplane.verify(&held).expect("read");
            dataplane.apply(&Phase { after_grace: false, steps: vec![], table: held.clone() }).expect("mend");
            unchanged("mended");
        }
        assert_eq!(dataplane.verify(&held).expect("read"), []);
        drop(dataplane);
        unchanged("ended");
    }
}
