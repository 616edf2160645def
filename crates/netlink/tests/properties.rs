//! Readers take any bytes without panicking, and writers' bytes are what they were.

use proptest::{collection::vec, prelude::*};
use tortie_netlink::{
    Message, PacketTuple,
    nft::{Batch, Op, TableId},
    wire::{Attrs, Writer, frame},
};
use tortie_ruleset::{Element, Family, KeyType, MapKind, MapSpec};

/// Walks nested attributes to the bottom and reads every one in every way.
fn read_everything(attrs: Attrs<'_>, depth: u8) {
    for attr in attrs {
        let _ = (attr.text(), attr.u8(), attr.be16(), attr.be32(), attr.be64(), attr.u32_ne());
        if depth > 0 {
            read_everything(attr.nested(), depth - 1);
        }
    }
}

proptest! {
    #[test]
    fn any_datagram_is_read(bytes in vec(any::<u8>(), 0..200)) {
        if let Ok(messages) = Message::parse_all(&bytes) {
            for message in messages {
                let _ = message.ack();
                read_everything(Attrs::netfilter(&message.body), 4);
            }
        }
        read_everything(Attrs::new(&bytes), 4);
    }

    /// Error messages with any flags, and bodies that are almost right.
    #[test]
    fn any_acknowledgement_is_read(kind in 2u16..4, flags: u16, body in vec(any::<u8>(), 0..80)) {
        let _ = Message { kind, flags, seq: 1, port: 0, body }.ack();
    }

    #[test]
    fn any_packet_is_read(mut bytes in vec(any::<u8>(), 0..120), version in prop_oneof![Just(0x45u8), Just(0x4f), Just(0x60)]) {
        if let Some(first) = bytes.first_mut() {
            *first = version;
        }
        let _ = PacketTuple::parse(&bytes);
    }

    /// Chains of IPv6 extension headers, cut anywhere.
    #[test]
    fn any_chain_of_headers_is_read(next in prop_oneof![Just(0u8), Just(43), Just(44), Just(51), Just(60), Just(135)],
                                    lens in vec((any::<u8>(), 0u8..4), 0..20), cut in 0usize..400) {
        let mut packet = vec![0u8; 40];
        packet[0] = 0x60;
        packet[6] = next;
        for (kind, len) in lens {
            packet.extend([kind % 64, len, 0, 0, 0, 0, 0, 0]);
        }
        packet.truncate(cut);
        let _ = PacketTuple::parse(&packet);
    }

    #[test]
    fn messages_survive_the_wire(kind: u16, flags: u16, seq: u32, value in vec(any::<u8>(), 0..50)) {
        let mut w = Writer::netfilter(2, 7);
        w.nest(3, |w| w.bytes(5, &value));
        let body = w.finish().unwrap();
        let mut datagram = Vec::new();
        frame(&mut datagram, kind, flags, seq, &body).unwrap();
        frame(&mut datagram, kind, flags, seq, &[]).unwrap();
        let messages = Message::parse_all(&datagram).unwrap();
        prop_assert_eq!(messages.len(), 2);
        prop_assert_eq!((messages[0].kind, messages[0].flags, messages[0].seq), (kind, flags, seq));
        let inner = Attrs::netfilter(&messages[0].body).get(3).unwrap().nested().get(5).unwrap();
        prop_assert_eq!(inner.value, &value[..]);
    }

    /// Whatever the limit, transactions keep to it and lose nothing: their bytes add up to those of one.
    #[test]
    fn packing_keeps_to_the_limit(limit in 200usize..4000, count in 1u32..300, tree: bool) {
        let spec = MapSpec {
            key: vec![KeyType::Ipv4], data: None,
            kind: if tree { MapKind::Interval } else { MapKind::Hash }, size: None, counter: false, timeout: false,
        };
        let elements: Vec<Element> = (0..count).map(|n| Element::key(n.to_be_bytes().to_vec())).collect();
        let table = TableId::new(Family::Inet, "t");
        let ops = [
            Op::AddMap { table: table.clone(), map: "m".into(), spec: spec.clone() },
            Op::AddElements { table, map: "m".into(), spec, elements },
        ];
        let batches = Batch::pack(&ops, limit).unwrap();
        prop_assert!(batches.iter().all(|b| b.len() <= limit && !b.is_empty()));
        let whole = Batch::of(&ops).unwrap();
        // Each message beyond the whole's repeats 20 bytes of frame and the names; each transaction, its frame.
        let frame_len = Batch::default().len();
        let payload = |batches: &[Batch]| batches.iter().map(|b| b.len() - frame_len).sum::<usize>();
        let messages: usize = batches.iter().map(Batch::message_count).sum();
        let repeated = (messages - whole.message_count()) * (16 + 4 + 8 + 8 + 4);
        prop_assert_eq!(payload(&batches), payload(&[whole]) + repeated);
    }
}
