//! Connection tracking.

use std::{
    io::{Read, Write},
    net::{IpAddr, TcpListener, TcpStream, UdpSocket},
};

use libtest_mimic::Trial;
use tortie_netlink::{
    Buffers, Errno, Socket, Transport,
    conntrack::{Entry, Family as Which, Masked, OpenedListener, delete, list, set_labels, set_mark, status},
    nft::{Op, TableFlags},
};
use tortie_ruleset::{ChainKind, CtKey, Expr, Family, Hook, Policy, Rule, Verdict};

use crate::{
    nft::commit,
    sandbox::socket,
    tables::{base, empty, r, rule},
    trial,
};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("conntrack::entries_tell_both_directions", entries_tell_both_directions),
        trial("conntrack::deleted_entries_are_gone", deleted_entries_are_gone),
        trial("conntrack::marks_are_changed_under_a_mask", marks_are_changed_under_a_mask),
        trial("conntrack::labels_need_a_rule_that_sets_them", labels_need_a_rule_that_sets_them),
        trial("conntrack::rules_see_marks_and_labels", rules_see_marks_and_labels),
        trial("conntrack::opened_connections_are_told_once", opened_connections_are_told_once),
    ]
}

/// Turns tracking on: a rule that looks at it, and unless `labels`, one that sets labels (never reached).
fn track(labels: bool, more: Vec<Rule>) {
    let mut rules = vec![rule(vec![Expr::Ct { key: CtKey::State, dreg: r(0) }])];
    rules.extend(more);
    if labels {
        rules.push(rule(vec![Expr::Verdict(Verdict::Accept)]));
        rules.push(rule(vec![
            Expr::Immediate { dreg: r(0), data: vec![0; 16] },
            Expr::CtSet { key: CtKey::Labels, sreg: r(0) },
        ]));
    }
    let mut table = empty(Family::Inet, "track");
    table.chains.insert("out".into(), base(ChainKind::Filter, Hook::Output, 0, Policy::Accept, rules));
    commit(&mut socket(), &Op::create(&table, TableFlags::NONE)).expect("commit");
}

fn udp(address: &str) -> (UdpSocket, UdpSocket) {
    let from = UdpSocket::bind((address, 0)).expect("socket");
    let to = UdpSocket::bind((address, 0)).expect("socket");
    from.connect(to.local_addr().expect("address")).expect("connect");
    from.send(b"x").expect("send");
    (from, to)
}

fn only(socket: &mut Socket) -> Entry {
    let mut all = list(socket, Which::Any, None).expect("list");
    assert_eq!(all.len(), 1, "{all:?}");
    all.remove(0)
}

fn entries_tell_both_directions() {
    track(false, vec![]);
    let mut socket = socket();
    assert_eq!(list(&mut socket, Which::Any, None).expect("list"), []);
    for (address, which, other) in [("127.0.0.1", Which::V4, Which::V6), ("::1", Which::V6, Which::V4)] {
        let listener = TcpListener::bind((address, 0)).expect("listen");
        let client = TcpStream::connect(listener.local_addr().expect("address")).expect("connect");
        let entries = list(&mut socket, which, None).expect("list");
        assert_eq!(entries.len(), 1);
        let entry = &entries[0];
        let (here, there) = (client.local_addr().expect("address"), listener.local_addr().expect("address"));
        assert_eq!((entry.original.src, entry.original.dst, entry.original.proto), (here.ip(), there.ip(), 6));
        assert_eq!(entry.original.transport, Transport::Ports { sport: here.port(), dport: there.port() });
        assert_eq!((entry.reply.src, entry.reply.dst), (there.ip(), here.ip()));
        assert_eq!(entry.reply.transport, Transport::Ports { sport: there.port(), dport: here.port() });
        assert_eq!(entry.status & status::SEEN_REPLY, status::SEEN_REPLY);
        assert!(entry.timeout > 0 && entry.id != 0 && entry.mark == 0 && entry.labels.is_none());
        assert!(list(&mut socket, other, None).expect("list").iter().all(|e| e.original != entry.original));
    }
    // An echo request to oneself, by hand: the user is root in this namespace.
    let raw = rustix::net::socket(
        rustix::net::AddressFamily::INET,
        rustix::net::SocketType::RAW,
        Some(rustix::net::ipproto::ICMP),
    )
    .expect("raw socket");
    let mut echo = vec![8, 0, 0, 0, 0x12, 0x34, 0, 1];
    let sum = !(0x0800u32 + 0x1234 + 1) as u16;
    echo[2..4].copy_from_slice(&sum.to_be_bytes());
    let to = std::net::SocketAddrV4::new([127, 0, 0, 1].into(), 0);
    rustix::net::sendto(&raw, &echo, rustix::net::SendFlags::empty(), &to).expect("send");
    let entries = list(&mut socket, Which::V4, None).expect("list");
    let icmp = entries.iter().find(|e| e.original.proto == 1).expect("an ICMP entry");
    assert_eq!(icmp.original.src, IpAddr::from([127, 0, 0, 1]));
    assert_eq!(icmp.original.transport, Transport::Icmp { kind: 8, code: 0, id: Some(0x1234) });
    assert_eq!(icmp.reply.transport, Transport::Icmp { kind: 0, code: 0, id: Some(0x1234) });
}

fn deleted_entries_are_gone() {
    track(false, vec![]);
    let mut socket = socket();
    for address in ["127.0.0.1", "::1"] {
        let (from, to) = udp(address);
        let entry = only(&mut socket);
        assert!(delete(&mut socket, &entry).expect("delete"));
        assert_eq!(list(&mut socket, Which::Any, None).expect("list"), []);
        assert!(!delete(&mut socket, &entry).expect("gone already"));
        // A new entry of the same tuple is another one: the id protects it.
        from.send(b"y").expect("send");
        let newer = only(&mut socket);
        assert_eq!(newer.original, entry.original);
        if newer.id != entry.id {
            assert!(!delete(&mut socket, &entry).expect("another one"));
        }
        assert!(delete(&mut socket, &newer).expect("delete"));
        drop(to);
    }
}

fn marks_are_changed_under_a_mask() {
    track(false, vec![]);
    let mut socket = socket();
    let _pair = udp("127.0.0.1");
    let entry = only(&mut socket);
    assert!(set_mark(&mut socket, &entry, Masked { value: 0xf0f0, mask: u32::MAX }).expect("mark"));
    assert!(set_mark(&mut socket, &entry, Masked { value: 0x8000_0000, mask: 0x8000_00f0 }).expect("mark"));
    assert_eq!(only(&mut socket).mark, 0x8000_f000);
    let with =
        |socket: &mut Socket, value, mask| list(socket, Which::Any, Some(Masked { value, mask })).expect("list").len();
    let _other = udp("127.0.0.1");
    assert_eq!(list(&mut socket, Which::Any, None).expect("list").len(), 2);
    assert_eq!(with(&mut socket, 0x8000_0000, 0x8000_0000), 1);
    assert_eq!(with(&mut socket, 0, 0x8000_0000), 1);
    assert_eq!(with(&mut socket, 1, 1), 0);
    assert!(delete(&mut socket, &entry).expect("delete"));
    assert!(!set_mark(&mut socket, &entry, Masked { value: 1, mask: 1 }).expect("gone"));
    assert_eq!(list(&mut socket, Which::Any, None).expect("list").len(), 1, "marking makes no entry");
}

const BIT_3: Masked<[u8; 16]> = Masked {
    value: [8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    mask: [8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
};

fn labels_need_a_rule_that_sets_them() {
    let mut socket = socket();
    track(false, vec![]);
    let _without = udp("127.0.0.1");
    let entry = only(&mut socket);
    let refused = set_labels(&mut socket, &entry, BIT_3).expect_err("no room for labels");
    assert_eq!(refused.errno(), Some(Errno::NOSPC), "{refused}");
    assert!(delete(&mut socket, &entry).expect("delete"));
    commit(&mut socket, &[Op::DeleteTable { table: tortie_netlink::nft::TableId::new(Family::Inet, "track") }])
        .expect("delete");
    track(true, vec![]);
    let _with = udp("127.0.0.1");
    let entry = only(&mut socket);
    assert!(set_labels(&mut socket, &entry, BIT_3).expect("label"));
    assert_eq!(only(&mut socket).labels, Some(BIT_3.value));
    let other = Masked {
        value: [0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        mask: [0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    };
    assert!(set_labels(&mut socket, &entry, other).expect("label"));
    assert_eq!(only(&mut socket).labels.map(|l| (l[0], l[1])), Some((8, 1)), "other bits stay");
}

/// A packet that matches is dropped, so an established flow stops when its entry is marked.
fn rules_see_marks_and_labels() {
    let drop_if = |key, len: usize, data: Vec<u8>| {
        rule(vec![
            Expr::Ct { key, dreg: r(0) },
            Expr::Bitwise { sreg: r(0), dreg: r(0), mask: data.clone(), xor: vec![0; len] },
            Expr::Cmp { sreg: r(0), op: tortie_ruleset::CmpOp::Eq, data },
            Expr::Counter,
            Expr::Verdict(Verdict::Drop),
        ])
    };
    let marked = drop_if(CtKey::Mark, 4, 0x8000_0000u32.to_ne_bytes().to_vec());
    let labelled = drop_if(CtKey::Labels, 16, BIT_3.value.to_vec());
    track(true, vec![marked, labelled]);
    let mut socket = socket();
    for by_label in [false, true] {
        let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
        let mut client = TcpStream::connect(listener.local_addr().expect("address")).expect("connect");
        let (mut server, _) = listener.accept().expect("accept");
        client.write_all(b"a").expect("write");
        server.read_exact(&mut [0]).expect("read");
        let here = client.local_addr().expect("address").port();
        let all = list(&mut socket, Which::V4, None).expect("list");
        let entry = all
            .iter()
            .find(|e| matches!(e.original.transport, Transport::Ports { sport, .. } if sport == here))
            .expect("the connection");
        let changed = if by_label {
            set_labels(&mut socket, entry, BIT_3)
        } else {
            set_mark(&mut socket, entry, Masked { value: 0x8000_0000, mask: 0x8000_0000 })
        };
        assert!(changed.expect("change"));
        // The write is accepted and the packet dropped in the output hook: nothing arrives.
        client.write_all(b"b").expect("write");
        server.set_nonblocking(true).expect("non-blocking");
        let error = server.read(&mut [0]).expect_err("dropped");
        assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
        let id = tortie_netlink::nft::TableId::new(Family::Inet, "track");
        let rules = tortie_netlink::nft::read_rules(&mut socket, &id).expect("rules");
        let counter = rules[1 + usize::from(by_label)].2.counter.expect("a counter");
        assert!(counter.packets >= 1, "{counter:?}");
    }
}

fn opened_connections_are_told_once() {
    track(false, vec![]);
    let mut listener = OpenedListener::open(Buffers::default()).expect("a listener");
    let (from, to) = udp("127.0.0.1");
    from.send(b"again").expect("send");
    let told = listener.next(std::time::Duration::from_secs(5)).expect("news");
    let ports: Vec<Transport> = told.iter().map(|entry| entry.original.transport).collect();
    let port = |socket: &UdpSocket| socket.local_addr().expect("address").port();
    assert_eq!(ports, [Transport::Ports { sport: port(&from), dport: port(&to) }]);
    assert_eq!(listener.next(std::time::Duration::ZERO).expect("news"), []);
    assert_eq!(listener.overruns(), 0);
}
