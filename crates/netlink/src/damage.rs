//! Readers of all kinds of messages against messages that make no sense: an error or a value, never a panic.

use proptest::{collection::vec, prelude::*};
use tortie_ruleset::Family;

use crate::{
    Message, conntrack, nflog, nft,
    wire::{Attrs, NLA_F_NESTED},
};

const NAMES: [&str; 17] = [
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
    "other",
];

/// Attributes in attributes, with types and values such as occur.
fn attributes() -> impl Strategy<Value = Vec<u8>> {
    let value = prop_oneof![
        vec(any::<u8>(), 0..20),
        (0u32..24).prop_map(|n| n.to_be_bytes().to_vec()),
        any::<u64>().prop_map(|n| n.to_be_bytes().to_vec()),
        prop::sample::select(&NAMES[..]).prop_map(|name| [name.as_bytes(), &[0]].concat()),
    ];
    let attribute =
        |kind: u16, len: usize| [u16::try_from(len + 4).unwrap_or(u16::MAX).to_ne_bytes(), kind.to_ne_bytes()].concat();
    let pad = |mut bytes: Vec<u8>| {
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    };
    value.prop_recursive(5, 60, 6, move |inner| {
        vec((1u16..24, inner), 0..6).prop_map(move |all| {
            all.into_iter()
                .flat_map(|(kind, value)| pad([attribute(kind | NLA_F_NESTED, value.len()), value].concat()))
                .collect()
        })
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn no_reader_panics(body in attributes(), kind in 0u16..17, offset in proptest::option::of(0usize..300), cut: u16) {
        let mut body = [&[2, 0, 0, 0][..], &body].concat();
        // Half of them cut short.
        if cut < 0x8000 {
            body.truncate(usize::from(cut) % (body.len() + 1));
        }
        for family in [Family::Inet, Family::Ip, Family::Ip6] {
            nft::read_anything(Attrs::netfilter(&body), family);
        }
        let mut whole = Vec::new();
        crate::wire::frame(&mut whole, 10 << 8 | kind, 0, 1, &body).unwrap();
        let _ = nft::describe_anything(&whole, offset);
        let message = Message { kind, flags: 0, seq: 1, port: 0, body };
        let _ = (conntrack::Entry::read(&message), nflog::LogEvent::read(&message));
    }
}
