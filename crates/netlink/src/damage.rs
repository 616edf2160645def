//! Readers of all kinds of messages against messages that make no sense: an error or a value, never a panic.

use proptest::{collection::vec, prelude::*};
use tortie_ruleset::Family;

use crate::{Message, conntrack, nflog, nft, wire::NLA_F_NESTED};

const NAMES: [&str; 18] = [
    "meta",
    "ct",
    "payload",
    "bitwise",
    "cmp",
    "immediate",
    "lookup",
    "counter",
    "log",
    "limit",
    "fib",
    "nat",
    "masq",
    "redir",
    "numgen",
    "reject",
    "socket",
    "other",
];

fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let len = u16::try_from(value.len() + 4).unwrap_or(u16::MAX);
    let mut bytes = [&len.to_ne_bytes()[..], &kind.to_ne_bytes(), value].concat();
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// Attributes with values that `value` makes.
fn attributes(value: impl Strategy<Value = Vec<u8>>, most: usize) -> impl Strategy<Value = Vec<u8>> {
    vec((1u16..24, value), 0..most)
        .prop_map(|all| all.into_iter().flat_map(|(kind, value)| attribute(kind | NLA_F_NESTED, &value)).collect())
}

/// Numbers, names and bytes such as occur.
fn leaf() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        vec(any::<u8>(), 0..20),
        vec(0u8..4, 0..8),
        (0u32..40).prop_map(|n| n.to_be_bytes().to_vec()),
        any::<u64>().prop_map(|n| n.to_be_bytes().to_vec()),
        prop::sample::select(&NAMES[..]).prop_map(|name| [name.as_bytes(), &[0]].concat()),
    ]
}

/// Attributes in attributes.
fn tree() -> impl Strategy<Value = Vec<u8>> {
    leaf().prop_recursive(5, 60, 6, |inner| attributes(inner, 6))
}

/// A known name, and numbers and nests in place of its parameters.
fn expression() -> impl Strategy<Value = Vec<u8>> {
    let number = (0u32..40).prop_map(|n| n.to_be_bytes().to_vec());
    let parameter = || prop_oneof![4 => number.clone(), 1 => tree()];
    let parameters = (parameter(), parameter(), parameter(), parameter(), parameter(), parameter());
    (prop::sample::select(&NAMES[..]), parameters).prop_map(|(name, (a, b, c, d, e, f))| {
        let body: Vec<u8> =
            (1u16..).zip([a, b, c, d, e, f]).flat_map(|(kind, value)| attribute(kind, &value)).collect();
        [attribute(1, &[name.as_bytes(), &[0]].concat()), attribute(2 | NLA_F_NESTED, &body)].concat()
    })
}

/// Every reader of nf_tables.
fn read_anything(message: &Message) {
    let _ = (nft::decode::table(message), nft::decode::chain(message));
    if let Ok((_, Some(spec))) = nft::decode::map(message) {
        let _ = nft::decode::elements(&spec, std::slice::from_ref(message));
    }
    for family in [Family::Inet, Family::Ip, Family::Ip6] {
        let _ = nft::decode::rule(family, message);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn no_reader_panics(body in prop_oneof![tree(), expression()], kind in 0u16..17,
                        offset in proptest::option::of(0usize..300), cut: u16) {
        let mut body = [&[2, 0, 0, 0][..], &body].concat();
        // Some of them cut short.
        if cut < 0x4000 {
            body.truncate(usize::from(cut) % (body.len() + 1));
        }
        let mut whole = Vec::new();
        crate::wire::frame(&mut whole, 10 << 8 | kind, 0, 1, &body).unwrap();
        let _ = nft::decode::words(&whole, offset);
        let message = Message { kind, flags: 0, seq: 1, port: 0, body };
        read_anything(&message);
        let _ = (conntrack::Entry::read(&message), nflog::LogEvent::read(&message));
    }

    #[test]
    fn no_user_data_panic(userdata in vec(0u8..6, 0..24)) {
        let body = [&[1, 0, 0, 0][..], &attribute(7, &userdata)].concat();
        read_anything(&Message { kind: 0, flags: 0, seq: 1, port: 0, body });
    }
}
