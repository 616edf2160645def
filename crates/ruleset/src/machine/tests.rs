use super::*;
use crate::CmpOp;
use crate::{BaseChain, ChainKind, DataType, Element, Family, KeyType, MapKind, MapSpec};

fn r(n: u8) -> Reg {
    Reg::new(n)
}

fn rule(exprs: Vec<Expr>) -> Rule {
    Rule { exprs, comment: None }
}

fn counted(verdict: Verdict) -> Rule {
    rule(vec![Expr::Counter, Expr::Verdict(verdict)])
}

type Named<'a> = (&'a str, Option<(Hook, i32)>, Vec<Rule>);

fn table(chains: Vec<Named<'_>>) -> Table {
    let chains = chains.into_iter().map(|(name, base, rules)| {
        let base =
            base.map(|(hook, priority)| BaseChain { kind: ChainKind::Filter, hook, priority, policy: Policy::Accept });
        (name.to_owned(), Chain { base, rules }.into())
    });
    Table { family: Family::Inet, name: "t".into(), maps: BTreeMap::new(), chains: chains.collect() }
}

fn packet() -> Packet {
    let mut transport = vec![0; 8];
    transport[3] = 80;
    Packet::new("10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap(), 17, transport)
}

fn run(table: &Table) -> Result<Run, Fault> {
    Machine::new(table).run(Hook::Forward, &packet())
}

#[test]
fn goto_from_a_jumped_chain_returns_to_the_caller() {
    let t = table(vec![
        (
            "f",
            Some((Hook::Forward, 0)),
            vec![rule(vec![Expr::Verdict(Verdict::Jump("a".into()))]), counted(Verdict::Drop)],
        ),
        ("a", None, vec![rule(vec![Expr::Verdict(Verdict::Goto("b".into()))]), counted(Verdict::Accept)]),
        ("b", None, vec![rule(vec![Expr::Counter])]),
    ]);
    let run = run(&t).unwrap();
    assert_eq!(run.fate, Fate::Drop);
    assert_eq!(run.counted, [("b".to_owned(), 0), ("f".to_owned(), 1)]);
}

#[test]
fn accepting_goes_on_to_the_next_base_chain_and_dropping_does_not() {
    let t = table(vec![
        ("b", Some((Hook::Forward, 10)), vec![counted(Verdict::Drop)]),
        ("a", Some((Hook::Forward, -10)), vec![counted(Verdict::Accept)]),
        ("c", Some((Hook::Forward, 20)), vec![counted(Verdict::Accept)]),
        ("i", Some((Hook::Input, 0)), vec![counted(Verdict::Accept)]),
    ]);
    let run = run(&t).unwrap();
    assert_eq!(run.counted, [("a".to_owned(), 0), ("b".to_owned(), 0)]);
    assert_eq!(run.fate, Fate::Drop);
}

#[test]
fn a_register_holds_only_what_its_own_rule_loaded() {
    let load = Expr::Meta { key: MetaKey::Mark, dreg: r(3) };
    let compare = Expr::Cmp { sreg: r(3), op: CmpOp::Eq, data: vec![0; 4] };
    let t = table(vec![("f", Some((Hook::Forward, 0)), vec![rule(vec![load]), rule(vec![compare])])]);
    assert_eq!(run(&t), Err(Fault::Unset { chain: "f".into(), rule: 1, register: 3 }));
}

#[test]
fn concatenated_ranges_match_field_by_field_and_misses_fall_to_the_catch_all() {
    let spec = MapSpec {
        key: vec![KeyType::Port, KeyType::Proto],
        data: Some(DataType::Verdict),
        kind: MapKind::Interval,
        size: None,
        counter: false,
        timeout: false,
    };
    let key = |port: u16, proto: u8| [&port.to_be_bytes()[..], &[0, 0], &[proto, 0, 0, 0]].concat();
    let mut t = table(vec![(
        "f",
        Some((Hook::Forward, 0)),
        vec![rule(vec![
            Expr::Payload { base: PayloadBase::Transport, offset: 2, len: 2, dreg: r(0) },
            Expr::Meta { key: MetaKey::L4Proto, dreg: r(1) },
            Expr::Lookup { map: "m".into(), sreg: r(0), dreg: None, verdict: true, invert: false },
        ])],
    )]);
    // As bytes, 80 . udp lies between 70 . tcp and 90 . tcp; field by field it does not.
    let elements = vec![
        Element::Range { from: key(70, 6), to: key(90, 6), data: Some(Data::Verdict(Verdict::Accept)) },
        Element::CatchAll { data: Some(Data::Verdict(Verdict::Drop)) },
    ];
    t.maps.insert("m".into(), (spec, elements.into()));
    assert_eq!(run(&t).unwrap().fate, Fate::Drop);
    let mut tcp = packet();
    tcp.protocol = 6;
    assert_eq!(Machine::new(&t).run(Hook::Forward, &tcp).unwrap().fate, Fate::Accept);
}

#[test]
fn a_load_beyond_the_end_of_the_packet_ends_the_rule() {
    let t = table(vec![(
        "f",
        Some((Hook::Forward, 0)),
        vec![rule(vec![
            Expr::Payload { base: PayloadBase::Transport, offset: 6, len: 4, dreg: r(0) },
            Expr::Verdict(Verdict::Drop),
        ])],
    )]);
    assert_eq!(run(&t).unwrap().fate, Fate::Accept);
}

#[test]
fn loops_are_stopped() {
    let again = || rule(vec![Expr::Verdict(Verdict::Jump("a".into()))]);
    let t = table(vec![("f", Some((Hook::Forward, 0)), vec![again()]), ("a", None, vec![again()])]);
    assert!(matches!(run(&t), Err(Fault::Depth { .. })));
}
