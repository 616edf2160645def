//! Bytes of messages, written out by hand after `include/uapi/linux/netfilter/nf_tables.h`.
#![cfg(target_endian = "little")]

use tortie_netlink::nft::{Batch, Op, Place, TableFlags, TableId};
use tortie_ruleset::{Data, DataType, Element, Expr, Family, KeyType, MapKind, MapSpec, MetaKey, Reg, Rule, Verdict};

/// The message of an operation; its sequence number is filled in when it is sent.
fn bytes_of(op: Op) -> Vec<u8> {
    Batch::of(&[op]).expect("encodes").message_bytes().to_vec()
}

/// Bytes from hexadecimal text; everything behind `|` on a line is a remark.
fn hex(text: &str) -> Vec<u8> {
    let digits: String = text
        .lines()
        .filter_map(|line| line.split('|').next())
        .flat_map(str::chars)
        .filter(|c| !c.is_whitespace())
        .collect();
    (0..digits.len()).step_by(2).map(|i| u8::from_str_radix(&digits[i..i + 2], 16).expect("hexadecimal")).collect()
}

fn table() -> TableId {
    TableId::new(Family::Inet, "t")
}

#[test]
fn a_table_with_an_owner() {
    let got = bytes_of(Op::AddTable { table: table(), flags: TableFlags::OWNED });
    let want = "24000000 000a 0104 00000000 00000000 | NEWTABLE, REQUEST|CREATE
                01 00 0000                           | inet, version 0, resource 0
                0600 0100 74000000                   | NAME t
                0800 0200 00000006                   | FLAGS owner, persist";
    assert_eq!(got, hex(want));
}

#[test]
fn a_rule_with_a_lookup_and_a_comment() {
    let lookup = Expr::Lookup { map: "act".into(), sreg: Reg::new(7), dreg: None, verdict: true, invert: false };
    let exprs = vec![Expr::Meta { key: MetaKey::L4Proto, dreg: Reg::new(0) }, lookup];
    let rule = Rule { exprs, comment: Some("why".into()) };
    let got = bytes_of(Op::AddRule { table: table(), chain: "in".into(), place: Place::End, rule });
    let want = "84000000 060a 010c 00000000 00000000 | NEWRULE, REQUEST|CREATE|APPEND
                01 00 0000
                0600 0100 74000000                   | TABLE t
                0700 0200 696e0000                   | CHAIN in
                5400 0480                            | EXPRESSIONS
                2400 0180                            | ELEM
                0900 0100 6d657461 00000000          | NAME meta
                1400 0280                            | DATA
                0800 0100 00000008                   | DREG NFT_REG32_00
                0800 0200 00000010                   | KEY L4PROTO
                2c00 0180                            | ELEM
                0b00 0100 6c6f6f6b 75700000          | NAME lookup
                1c00 0280                            | DATA
                0800 0100 61637400                   | SET act
                0800 0200 0000000f                   | SREG NFT_REG32_07
                0800 0300 00000000                   | DREG NFT_REG_VERDICT
                0a00 0700 0004 77687900 0000         | USERDATA comment";
    assert_eq!(got, hex(want));
}

#[test]
fn a_range_in_a_tree_is_two_elements() {
    let spec = MapSpec {
        key: vec![KeyType::Ipv4],
        data: Some(DataType::Verdict),
        kind: MapKind::Interval,
        size: None,
        counter: false,
        timeout: false,
    };
    let data = Some(Data::Verdict(Verdict::Goto("c".into())));
    let element = Element::Range { from: vec![10, 0, 0, 0], to: vec![10, 255, 255, 255], data };
    let got = bytes_of(Op::AddElements { table: table(), map: "m".into(), spec, elements: vec![element] });
    let want = "68000000 0c0a 0104 00000000 00000000 | NEWSETELEM, REQUEST|CREATE
                01 00 0000
                0600 0100 74000000                   | TABLE t
                0600 0200 6d000000                   | SET m
                4400 0380                            | ELEMENTS
                2800 0180                            | ELEM
                0c00 0180 0800 0100 0a000000         | KEY 10.0.0.0
                1800 0280                            | DATA
                1400 0280                            | VERDICT
                0800 0100 fffffffc                   | CODE goto
                0600 0200 63000000                   | CHAIN c
                1800 0180                            | ELEM
                0c00 0180 0800 0100 0b000000         | KEY 11.0.0.0
                0800 0300 00000001                   | FLAGS INTERVAL_END";
    assert_eq!(got, hex(want));
}
