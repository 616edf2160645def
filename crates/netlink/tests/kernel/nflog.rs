//! Log groups.

use std::{net::UdpSocket, time::Duration};

use libtest_mimic::Trial;
use tortie_netlink::{
    Errno, Transport,
    nflog::{LogEvent, LogListener, LogOptions},
    nft::{Op, TableFlags},
};
use tortie_ruleset::{ChainKind, Expr, Family, Hook, MetaKey, Policy, Rule, Table};

use crate::{
    nft::{commit, read},
    sandbox::socket,
    tables::{base, empty, r, rule},
    trial,
};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("nflog::events_tell_prefix_hook_and_flow", events_tell_prefix_hook_and_flow),
        trial("nflog::lost_events_are_counted", lost_events_are_counted),
        trial("nflog::a_group_has_one_listener", a_group_has_one_listener),
    ]
}

/// Logs what arrives from the loopback interface, with mark 5.
pub(crate) fn program(group: u16) -> Table {
    let log = Expr::Log { group, prefix: "D|7|x".into(), snaplen: 64, threshold: 1 };
    let mark = [
        Expr::Immediate { dreg: r(0), data: 5u32.to_ne_bytes().to_vec() },
        Expr::MetaSet { key: MetaKey::Mark, sreg: r(0) },
        Expr::Counter,
        log,
    ];
    let mut table = empty(Family::Inet, "log");
    let rules = vec![Rule { comment: Some("log".into()), ..rule(mark.to_vec()) }];
    table.chains.insert("in".into(), base(ChainKind::Filter, Hook::Input, 0, Policy::Accept, rules));
    commit(&mut socket(), &Op::create(&table, TableFlags::NONE)).expect("commit");
    table
}

fn gather(listener: &mut LogListener, count: usize) -> Vec<LogEvent> {
    let mut events = Vec::new();
    while events.len() < count {
        let more = listener.next(Duration::from_secs(10)).expect("events");
        assert!(!more.is_empty(), "{} of {count} events", events.len());
        events.extend(more);
    }
    events
}

fn events_tell_prefix_hook_and_flow() {
    let mut listener = LogListener::bind(7, LogOptions::default()).expect("bind");
    assert_eq!(listener.next(Duration::ZERO).expect("nothing yet"), []);
    let table = program(7);
    for address in ["127.0.0.1", "::1"] {
        let from = UdpSocket::bind((address, 0)).expect("socket");
        let to = UdpSocket::bind((address, 0)).expect("socket");
        let ports = (from.local_addr().expect("address").port(), to.local_addr().expect("address").port());
        from.send_to(&[9; 400], to.local_addr().expect("address")).expect("send");
        let event = gather(&mut listener, 1).remove(0);
        assert_eq!((event.prefix.as_str(), event.hook, event.mark), ("D|7|x", 1, 5));
        assert_eq!((event.iif, event.oif), (Some(1), None));
        assert_eq!(event.ethertype, if address == "::1" { 0x86dd } else { 0x0800 });
        assert_eq!(event.payload.len(), 64, "the rule's snap length");
        let tuple = event.tuple().expect("a tuple");
        assert_eq!(
            (tuple.src, tuple.dst, tuple.proto),
            (from.local_addr().unwrap().ip(), to.local_addr().unwrap().ip(), 17)
        );
        assert_eq!(tuple.transport, Transport::Ports { sport: ports.0, dport: ports.1 });
    }
    assert_eq!(listener.lost(), 0);
    let counter = read(&mut socket(), &table).rules[&("in".to_owned(), 0)].counter.expect("a counter");
    assert_eq!((counter.packets, counter.bytes), (2, (20 + 8 + 400) + (40 + 8 + 400)));
}

fn lost_events_are_counted() {
    let options = LogOptions { receive_buffer: 4 << 10, ..LogOptions::default() };
    let mut listener = LogListener::bind(8, options).expect("bind");
    assert!(listener.receive_buffer().expect("size") < 64 << 10);
    program(8);
    let from = UdpSocket::bind("127.0.0.1:0").expect("socket");
    let to = UdpSocket::bind("127.0.0.1:0").expect("socket");
    let send = |count: u32| {
        for _ in 0..count {
            from.send_to(b"x", to.local_addr().expect("address")).expect("send");
        }
    };
    send(500);
    let mut got = 0;
    loop {
        match listener.next(Duration::ZERO).expect("events").len() {
            0 => break,
            n => got += n as u64,
        }
    }
    assert!(got < 500, "the buffer held everything");
    // The next one that arrives shows the gap.
    send(1);
    got += gather(&mut listener, 1).len() as u64;
    assert_eq!(listener.lost() + got, 501);
}

fn a_group_has_one_listener() {
    let first = LogListener::bind(9, LogOptions::default()).expect("bind");
    let error = LogListener::bind(9, LogOptions::default()).expect_err("taken");
    assert_eq!(error.errno(), Some(Errno::PERM), "{error}");
    drop(first);
    drop(LogListener::bind(9, LogOptions::default()).expect("free again"));
}
