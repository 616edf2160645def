use super::*;
use crate::machine::Interface;
use crate::{
    Chain, ChainKind, CmpOp, Data, DataType, Expr, Family, KeyType, MapKind, MapSpec, PayloadBase, Policy, Reg,
};

fn r(n: u8) -> Reg {
    Reg::new(n)
}

fn says(verdict: Verdict) -> Rule {
    Rule { exprs: vec![Expr::Verdict(verdict)], comment: None }
}

/// Says something of packets from this address alone.
fn from(source: u8, verdict: Verdict) -> Rule {
    let exprs = vec![
        Expr::Payload { base: PayloadBase::Network, offset: 12, len: 4, dreg: r(0) },
        Expr::Cmp { sreg: r(0), op: CmpOp::Eq, data: vec![10, 0, 0, source] },
        Expr::Verdict(verdict),
    ];
    Rule { exprs, comment: None }
}

fn looks_up(map: &str) -> Rule {
    let exprs = vec![
        Expr::Payload { base: PayloadBase::Network, offset: 12, len: 4, dreg: r(0) },
        Expr::Lookup { map: map.into(), sreg: r(0), dreg: None, verdict: true, invert: false },
    ];
    Rule { exprs, comment: None }
}

fn goto(chain: &str) -> Verdict {
    Verdict::Goto(chain.into())
}

fn entry(n: u8, verdict: Verdict) -> Element {
    Element::entry(vec![10, 0, 0, n], Data::Verdict(verdict))
}

fn spec() -> MapSpec {
    let (key, data) = (vec![KeyType::Ipv4], Some(DataType::Verdict));
    MapSpec { key, data, kind: MapKind::Hash, size: None, counter: false, timeout: false }
}

fn base(hook: Hook, policy: Policy) -> BaseChain {
    BaseChain { kind: ChainKind::Filter, hook, priority: 0, policy }
}

/// Jumps to `first`, which lets 3 pass; then the map sends 1 to `denied` and lets 2 pass; everything else is dropped.
fn table() -> Table {
    let elements = vec![entry(1, goto("denied")), entry(2, Verdict::Accept), entry(9, goto("denied"))];
    let chain = |base, rules| Arc::new(Chain { base, rules });
    let forward = vec![says(Verdict::Jump("first".into())), looks_up("verdicts"), from(7, Verdict::Accept)];
    Table {
        family: Family::Inet,
        name: "t".into(),
        maps: [("verdicts".to_owned(), (spec(), elements.into()))].into(),
        chains: [
            ("forward", chain(Some(base(Hook::Forward, Policy::Drop)), forward)),
            ("first", chain(None, vec![from(3, Verdict::Accept), from(4, Verdict::Drop)])),
            ("denied", chain(None, vec![from(1, Verdict::Drop), says(Verdict::Drop)])),
        ]
        .into_iter()
        .map(|(name, chain)| (name.to_owned(), chain))
        .collect(),
    }
}

fn rules<'t>(table: &'t mut Table, chain: &str) -> &'t mut Vec<Rule> {
    &mut Arc::make_mut(table.chains.get_mut(chain).expect("a chain")).rules
}

fn elements(table: &mut Table) -> &mut tortie_persistent::Set<Element> {
    &mut table.maps.get_mut("verdicts").expect("the map").1
}

fn packet(source: u8) -> Packet {
    let mut packet = Packet::new([10, 0, 0, source].into(), [10, 0, 1, 1].into(), 6, vec![0; 8]);
    packet.input = Some(Interface { name: "eth0".into(), index: 2 });
    packet
}

/// What parts the table from one that was changed, for a packet from an address.
fn parted(source: u8, change: impl FnOnce(&mut Table)) -> Vec<Parting> {
    let expected = table();
    let mut actual = table();
    change(&mut actual);
    let found = Partings::new(&expected, &actual).of(Hook::Forward, &packet(source));
    found.into_iter().map(|parted| parted.parting).collect()
}

fn element(n: u8, expected: Option<Verdict>, actual: Option<Verdict>) -> Vec<Parting> {
    let [expected, actual] = [expected, actual].map(|v| v.map(|v| entry(n, v)));
    vec![Parting::Element { map: "verdicts".into(), key: vec![10, 0, 0, n], expected, actual }]
}

fn rule(chain: &str, expected: Option<Placed>, actual: Option<Placed>) -> Vec<Parting> {
    vec![Parting::Rule { chain: chain.into(), expected, actual }]
}

#[test]
fn an_element_is_named_with_its_key() {
    let gone = parted(2, |t| assert!(elements(t).remove(&entry(2, Verdict::Accept))));
    assert_eq!(gone, element(2, Some(Verdict::Accept), None));
    let added = parted(5, |t| assert!(elements(t).insert(entry(5, Verdict::Accept))));
    assert_eq!(added, element(5, None, Some(Verdict::Accept)));
    let changed = parted(1, |t| {
        elements(t).remove(&entry(1, goto("denied")));
        elements(t).insert(entry(1, Verdict::Accept));
    });
    assert_eq!(changed, element(1, Some(goto("denied")), Some(Verdict::Accept)));
    let emptied = |t: &mut Table| *elements(t) = vec![].into();
    assert_eq!(parted(2, emptied), [Parting::MapEmptied("verdicts".into())]);
    assert_eq!(parted(2, |t| t.maps.clear()), [Parting::MapMissing("verdicts".into())]);
    let declared = parted(2, |t| t.maps.get_mut("verdicts").expect("the map").0.key = vec![KeyType::Proto]);
    assert_eq!(declared, [Parting::MapDeclared("verdicts".into())]);
}

#[test]
fn a_rule_is_named_with_its_place_in_both_chains() {
    let accept = || says(Verdict::Accept);
    let gone = parted(4, |t| drop(rules(t, "first").remove(1)));
    assert_eq!(gone, [], "it is dropped further down all the same");
    let gone = parted(7, |t| drop(rules(t, "forward").remove(2)));
    assert_eq!(gone, rule("forward", Some((2, from(7, Verdict::Accept))), None));
    let added = parted(1, |t| rules(t, "first").push(accept()));
    assert_eq!(added, rule("first", None, Some((2, accept()))));
    // What is the same stays the same behind what was added before it.
    let added = parted(1, |t| rules(t, "forward").splice(..0, [from(8, Verdict::Drop), accept()]).for_each(drop));
    assert_eq!(added, rule("forward", None, Some((1, accept()))));
    let changed = parted(3, |t| rules(t, "first")[0] = from(3, Verdict::Drop));
    assert_eq!(changed, rule("first", Some((0, from(3, Verdict::Accept))), Some((0, from(3, Verdict::Drop)))));
    assert_eq!(parted(3, |t| rules(t, "first").clear()), [Parting::ChainEmptied("first".into())]);
    let swapped = parted(3, |t| {
        rules(t, "forward").swap(0, 2);
        rules(t, "forward")[0] = from(3, Verdict::Drop);
    });
    let (before, after) = (says(Verdict::Jump("first".into())), from(3, Verdict::Drop));
    assert_eq!(swapped, rule("forward", Some((0, before)), Some((0, after))));
    let elsewhere = parted(2, |t| rules(t, "forward")[1] = says(goto("denied")));
    assert_eq!(elsewhere, rule("forward", Some((1, looks_up("verdicts"))), Some((1, says(goto("denied"))))));
}

#[test]
fn chains_are_named_that_are_missing_or_attached_otherwise() {
    assert_eq!(parted(3, |t| drop(t.chains.remove("first"))), [Parting::ChainMissing("first".into())]);
    let attached = |change: fn(&mut BaseChain)| {
        parted(1, |t| {
            let chain = Arc::make_mut(t.chains.get_mut("forward").expect("a chain"));
            change(chain.base.as_mut().expect("a base chain"));
        })
    };
    let forward = |actual| {
        let expected = Some(base(Hook::Forward, Policy::Drop));
        vec![Parting::Attached { chain: "forward".into(), expected, actual }]
    };
    assert_eq!(attached(|b| b.hook = Hook::Input), forward(Some(base(Hook::Input, Policy::Drop))));
    assert_eq!(attached(|b| b.priority = 7), [], "it is alone at its hook");
    let policy = parted(5, |t| {
        Arc::make_mut(t.chains.get_mut("forward").expect("a chain")).base = Some(base(Hook::Forward, Policy::Accept));
    });
    assert_eq!(policy, forward(Some(base(Hook::Forward, Policy::Accept))));
    let foreign = Chain { base: Some(base(Hook::Forward, Policy::Drop)), rules: vec![] };
    let added = parted(2, |t| drop(t.chains.insert("zz".into(), Arc::new(foreign.clone()))));
    assert_eq!(added, [Parting::Attached { chain: "zz".into(), expected: None, actual: foreign.base }]);
    assert_eq!(parted(1, |t| drop(t.chains.remove("forward"))), forward(None));
}

#[test]
fn what_makes_no_difference_is_not_to_blame() {
    // Two elements on the way are otherwise, but the first leads where the same becomes of the packet.
    let found = parted(1, |t| {
        *rules(t, "first") = vec![says(Verdict::Return)];
        rules(t, "denied")[0] = from(1, Verdict::Accept);
    });
    assert_eq!(found, rule("denied", Some((0, from(1, Verdict::Drop))), Some((0, from(1, Verdict::Accept)))));
    // Either lets it pass: both are.
    let found = parted(1, |t| {
        rules(t, "first")[0] = from(1, Verdict::Accept);
        rules(t, "denied")[0] = from(1, Verdict::Accept);
    });
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(parted(1, |t| rules(t, "denied").insert(1, says(Verdict::Accept))).is_empty());
}

#[test]
fn the_chains_that_follow_are_told() {
    let (expected, mut actual) = (table(), table());
    elements(&mut actual).remove(&entry(1, goto("denied")));
    elements(&mut actual).insert(entry(1, Verdict::Accept));
    let found = Partings::new(&expected, &actual).of(Hook::Forward, &packet(1));
    assert_eq!(
        (&found[0].expected[..], &found[0].actual[..]),
        (&["forward", "denied"].map(String::from)[..], &["forward".to_owned()][..])
    );
}

#[test]
fn rules_keep_their_partners_around_others() {
    let [a, b, c, d] = [1, 2, 3, 4].map(|n| from(n, Verdict::Drop));
    let of = |expected: &[&Rule], actual: &[&Rule]| {
        let list = |rules: &[&Rule]| rules.iter().map(|r| (*r).clone()).collect::<Vec<_>>();
        partners(&list(expected), &list(actual))[0].clone()
    };
    assert_eq!(of(&[&a, &b, &c], &[&a, &c]), [Some(0), None, Some(1)]);
    assert_eq!(of(&[&a, &b], &[&d, &a, &c, &b]), [Some(1), Some(3)]);
    assert_eq!(of(&[&a, &b, &c], &[&c, &b, &a]), [Some(0), Some(1), Some(2)], "two of them have changed");
    assert_eq!(of(&[&a, &b, &c], &[&a, &d, &c]), [Some(0), Some(1), Some(2)]);
    assert_eq!(of(&[&a], &[]), [None]);
    let comment = |rule: &Rule| Rule { comment: Some("said otherwise".into()), ..rule.clone() };
    assert_eq!(of(&[&a], &[&comment(&a)]), [Some(0)], "comments decide nothing");
}
