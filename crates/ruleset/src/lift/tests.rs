//! What is said of all packets at once, against the machine, packet by packet, on random tables.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::*;
use crate::machine::{Connection, Fault, Machine};
use crate::{
    BaseChain, Chain, ChainKind, CmpOp, CtKey, Data, DataType, Element, Expr, Family, Hook, KeyType, MapKind, MapSpec,
    MetaKey, PayloadBase, Policy, Reg, Rule, Table, Verdict,
};

/// A small generator of numbers (SplitMix64).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % sides).unwrap()
    }

    fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[self.roll(from.len() as u64)].clone()
    }
}

fn r(n: u8) -> Reg {
    Reg::new(n)
}

const CHAINS: usize = 4;

fn name(n: usize) -> String {
    format!("c{n}")
}

fn address(dice: &mut Dice) -> Vec<u8> {
    vec![10, dice.pick(&[0, 1]), 0, dice.pick(&[0, 1, 2, 3, 128, 255])]
}

fn op(dice: &mut Dice) -> CmpOp {
    dice.pick(&[CmpOp::Eq, CmpOp::Eq, CmpOp::Neq, CmpOp::Lt, CmpOp::Lte, CmpOp::Gt, CmpOp::Gte])
}

/// A condition on one field of the packet.
fn condition(dice: &mut Dice) -> Vec<Expr> {
    let network = |offset| Expr::Payload { base: PayloadBase::Network, offset, len: 4, dreg: r(0) };
    match dice.roll(7) {
        0 | 1 => {
            let data = address(dice);
            let mut exprs = vec![network(dice.pick(&[12, 16]))];
            if dice.roll(2) == 0 {
                let mask = dice.pick(&[vec![255, 255, 255, 0], vec![255, 255, 255, 128]]);
                exprs.push(Expr::Bitwise { sreg: r(0), dreg: r(0), mask, xor: vec![0; 4] });
            }
            exprs.push(Expr::Cmp { sreg: r(0), op: op(dice), data });
            exprs
        }
        2 => {
            let data = vec![dice.pick(&[1, 6, 17])];
            vec![Expr::Meta { key: MetaKey::L4Proto, dreg: r(0) }, Expr::Cmp { sreg: r(0), op: op(dice), data }]
        }
        3 => {
            let data = dice.pick(&[80u16, 443, 1000]).to_be_bytes().to_vec();
            let load = Expr::Payload { base: PayloadBase::Transport, offset: 2, len: 2, dreg: r(0) };
            // Where a port would be, other protocols have what is not looked into.
            let protocol = Expr::Cmp { sreg: r(1), op: CmpOp::Eq, data: vec![dice.pick(&[6, 17])] };
            let protocol = [Expr::Meta { key: MetaKey::L4Proto, dreg: r(1) }, protocol];
            [&protocol[..], &[load, Expr::Cmp { sreg: r(0), op: op(dice), data }]].concat()
        }
        4 => {
            let bits = dice.pick(&[Connection::NEW, Connection::ESTABLISHED]).to_ne_bytes().to_vec();
            vec![
                Expr::Ct { key: CtKey::State, dreg: r(0) },
                Expr::Bitwise { sreg: r(0), dreg: r(0), mask: bits, xor: vec![0; 4] },
                Expr::Cmp { sreg: r(0), op: CmpOp::Neq, data: vec![0; 4] },
            ]
        }
        5 => vec![
            Expr::Meta { key: MetaKey::IifName, dreg: r(0) },
            Expr::Cmp { sreg: r(0), op: CmpOp::Eq, data: b"eth".to_vec() },
        ],
        _ => vec![
            network(dice.pick(&[12, 16])),
            Expr::Lookup { map: "blocks".into(), sreg: r(0), dreg: None, verdict: false, invert: dice.roll(2) == 0 },
        ],
    }
}

fn verdict(dice: &mut Dice, chain: usize) -> Verdict {
    let simple = [Verdict::Accept, Verdict::Drop, Verdict::Return, Verdict::Continue];
    if chain + 1 == CHAINS || dice.roll(2) == 0 {
        return dice.pick(&simple);
    }
    let to = name(chain + 1 + dice.roll((CHAINS - chain - 1) as u64));
    if dice.roll(2) == 0 { Verdict::Jump(to) } else { Verdict::Goto(to) }
}

fn rule(dice: &mut Dice, chain: usize) -> Rule {
    let mut exprs = condition(dice);
    match dice.roll(4) {
        // An address to a number, and the number with the protocol to a verdict.
        0 => exprs.extend([
            Expr::Payload { base: PayloadBase::Network, offset: dice.pick(&[12, 16]), len: 4, dreg: r(4) },
            Expr::Lookup { map: "numbers".into(), sreg: r(4), dreg: Some(r(5)), verdict: false, invert: false },
            Expr::Meta { key: MetaKey::L4Proto, dreg: r(6) },
            Expr::Lookup { map: "verdicts".into(), sreg: r(5), dreg: None, verdict: true, invert: false },
        ]),
        // A pair of addresses.
        1 => exprs.extend([
            Expr::Payload { base: PayloadBase::Network, offset: 12, len: 4, dreg: r(4) },
            Expr::Payload { base: PayloadBase::Network, offset: 16, len: 4, dreg: r(5) },
            Expr::Lookup { map: "pairs".into(), sreg: r(4), dreg: None, verdict: false, invert: false },
            Expr::Verdict(verdict(dice, chain)),
        ]),
        2 => {
            exprs.extend(condition(dice));
            exprs.push(Expr::Verdict(verdict(dice, chain)));
        }
        _ => exprs.push(Expr::Verdict(verdict(dice, chain))),
    }
    Rule { exprs, comment: None }
}

fn maps(dice: &mut Dice) -> BTreeMap<String, (MapSpec, tortie_persistent::Set<Element>)> {
    let spec = |key: Vec<KeyType>, data, kind| MapSpec { key, data, kind, size: None, counter: false, timeout: false };
    let value = DataType::Value { len: 4, nft_type: KeyType::Mark.nft_type() };
    let numbers = (0..3u32).map(|n| Element::entry(address(dice), Data::Value(n.to_ne_bytes().to_vec()))).collect();
    let verdicts = [0u32, 1].map(|n| {
        let key = [&n.to_ne_bytes()[..], &[dice.pick(&[6, 17]), 0, 0, 0]].concat();
        let to = dice.pick(&[Verdict::Accept, Verdict::Drop, Verdict::Goto(name(CHAINS - 1))]);
        Element::entry(key, Data::Verdict(to))
    });
    let pairs = (0..3).map(|_| Element::key([address(dice), address(dice)].concat())).collect();
    let block = |n: u8| Element::Range { from: vec![10, n, 0, 0], to: vec![10, n, 0, 127], data: None };
    let mut out = BTreeMap::new();
    let mut put = |name: &str, spec, mut elements: Vec<Element>| {
        elements.sort();
        elements.dedup_by(
            |a, b| matches!((a, b), (Element::Range { from: a, .. }, Element::Range { from: b, .. }) if a == b),
        );
        out.insert(name.to_owned(), (spec, elements.into()));
    };
    put("numbers", spec(vec![KeyType::Ipv4], Some(value), MapKind::Hash), numbers);
    let pair = vec![KeyType::Mark, KeyType::Proto];
    put("verdicts", spec(pair, Some(DataType::Verdict), MapKind::Hash), verdicts.into());
    put("pairs", spec(vec![KeyType::Ipv4; 2], None, MapKind::Hash), pairs);
    put("blocks", spec(vec![KeyType::Ipv4], None, MapKind::Interval), vec![block(dice.pick(&[0, 1]))]);
    out
}

/// Two base chains, and others that they lead to.
fn table(dice: &mut Dice) -> Table {
    let chains = (0..CHAINS).map(|n| {
        let base = (n < 2).then(|| BaseChain {
            kind: ChainKind::Filter,
            hook: Hook::Forward,
            priority: if n == 0 { 0 } else { 5 },
            policy: dice.pick(&[Policy::Accept, Policy::Drop]),
        });
        let rules = (0..=dice.roll(4)).map(|_| rule(dice, n)).collect();
        (name(n), Arc::new(Chain { base, rules }))
    });
    let chains = chains.collect();
    Table { family: Family::Inet, name: "t".into(), maps: maps(dice), chains }
}

fn heads(cuts: &Cuts) -> Vec<Head> {
    let states = [Connection::NEW, Connection::ESTABLISHED, Connection::UNTRACKED];
    let inputs = interfaces(cuts, &[]);
    let head = |input: &Interface, state| {
        let connection = Connection { state, ..Connection::new() };
        Head { hook: Hook::Forward, input: Some(input.clone()), connection }
    };
    inputs.iter().flat_map(|input| states.map(|state| head(input, state))).collect()
}

#[test]
fn every_packet_has_one_fate_and_it_is_the_machines() {
    let (mut packets, mut dropped, mut faults) = (0u32, 0u32, 0u32);
    for seed in 0..150 {
        let mut dice = Dice(seed);
        let mut table = table(&mut dice);
        if seed % 10 == 0 {
            // What the kernel would refuse is told for those packets only that meet it.
            table.maps.remove("pairs");
        }
        let mut cuts = Cuts::of(&table);
        // Somebody else tells more apart than the table does.
        let apart = address(&mut dice);
        let apart = std::net::Ipv4Addr::new(apart[0], apart[1], apart[2], apart[3]).into();
        cuts.addresses(apart, apart);
        cuts.traffic(6, 440..=450);
        let space = Space::new(IpVersion::V4, &cuts);
        let (lift, machine) = (Lift::new(&table, &space), Machine::new(&table));
        for head in heads(&cuts) {
            let walked = lift.run(&head);
            assert!(walked.odd.is_empty(), "all of it is followed: {:?}", walked.odd);
            let n = space.addresses().len();
            for classes in (0..n * n * space.traffic().len()).map(|i| [i % n, i / n % n, i / n / n]) {
                if space.traffic()[classes[2]].headless && head.connection.state != Connection::UNTRACKED {
                    continue;
                }
                let has = |leaf: &&Leaf| {
                    let cube = &leaf.cube;
                    cube.source.contains(classes[0])
                        && cube.destination.contains(classes[1])
                        && cube.traffic.contains(classes[2])
                };
                let fates: Vec<_> = walked.leaves.iter().filter(has).map(|leaf| leaf.fate.clone()).collect();
                let packet = space.packet(head.input.as_ref(), head.connection, classes);
                let run = machine.run(head.hook, &packet).map(|run| run.fate);
                assert_eq!(fates, std::slice::from_ref(&run), "seed {seed}, {head:?}, {packet:?}\n{table:#?}");
                packets += 1;
                dropped += u32::from(run == Ok(crate::machine::Fate::Drop));
                faults += u32::from(matches!(run, Err(Fault::Missing { .. })));
            }
        }
    }
    println!("{packets} packets, {dropped} dropped, {faults} not judged");
    assert!(dropped > packets / 5 && dropped < packets / 5 * 4, "{dropped} of {packets}");
    assert!(faults > packets / 200, "{faults} of {packets}");
}

#[test]
fn a_rule_that_looks_at_what_is_no_part_of_a_packet_is_named() {
    let mut table = table(&mut Dice(1));
    let odd = |exprs: Vec<Expr>| Arc::new(Chain { base: None, rules: vec![Rule { exprs, comment: None }] });
    let base = BaseChain { kind: ChainKind::Filter, hook: Hook::Forward, priority: -5, policy: Policy::Accept };
    let look = |exprs: &mut Vec<Expr>| exprs.push(Expr::Cmp { sreg: r(0), op: CmpOp::Eq, data: vec![1] });
    for (load, said) in [
        // Time to live, the source port, the middle of an address.
        (Expr::Payload { base: PayloadBase::Network, offset: 8, len: 1, dreg: r(0) }, true),
        (Expr::Payload { base: PayloadBase::Transport, offset: 1, len: 1, dreg: r(0) }, true),
        (Expr::Payload { base: PayloadBase::Network, offset: 14, len: 1, dreg: r(0) }, true),
        (Expr::Payload { base: PayloadBase::Network, offset: 12, len: 1, dreg: r(0) }, false),
        (Expr::Ct { key: CtKey::Direction, dreg: r(0) }, false),
    ] {
        let mut exprs = vec![load.clone()];
        look(&mut exprs);
        let mut chain = odd(exprs);
        Arc::make_mut(&mut chain).base = Some(base);
        table.chains.insert("odd".into(), chain);
        let cuts = Cuts::of(&table);
        let space = Space::new(IpVersion::V4, &cuts);
        let walked = Lift::new(&table, &space).run(&heads(&cuts)[0]);
        let named = walked.odd.contains(&("odd".to_owned(), 0));
        assert_eq!(named, said, "{load:?}");
        assert_eq!(walked.direction, matches!(load, Expr::Ct { .. }), "{load:?}");
    }
}
