//! What the kernel says, or could.

use tortie_netlink::conntrack::Entry;
use tortie_netlink::nflog::LogEvent;
use tortie_netlink::nft::{Batch, Op, Place, TableId, decode};
use tortie_netlink::route::{Address, Link, Route};
use tortie_netlink::wire::{Attrs, Writer};
use tortie_netlink::{Message, PacketTuple};
use tortie_ruleset::{Element, Family, MapSpec, Rule};

/// Messages of a datagram. Bytes that are no datagram are the body of one message.
fn messages(bytes: &[u8]) -> Vec<Message> {
    let messages = Message::parse_all(bytes).ok().filter(|all| !all.is_empty());
    let messages =
        messages.unwrap_or_else(|| vec![Message { kind: 0, flags: 0, seq: 0, port: 0, body: bytes.to_vec() }]);
    for message in &messages {
        let _ = message.ack();
    }
    messages
}

/// What is read back of nf_tables: read as each kind of object; what has been read is written and read again.
pub(crate) fn nftables(bytes: &[u8]) {
    let all = messages(bytes);
    let mut declared: Vec<MapSpec> = Vec::new();
    for message in &all {
        let _ = decode::table(message);
        let _ = decode::chain(message);
        if let Ok((name, Some(spec))) = decode::map(message) {
            map_again(&name, &spec);
            declared.push(spec);
        }
        for family in [Family::Inet, Family::Ip, Family::Ip6] {
            if let Ok((chain, rule, _)) = decode::rule(family, message) {
                rule_again(family, &chain, rule);
            }
        }
    }
    for spec in declared.iter().take(4) {
        if let Ok(elements) = decode::elements(spec, &all) {
            elements_again(spec, elements.into_iter().map(|(e, _)| e).collect());
        }
    }
    let mut at = 0;
    while let Some(rest) = bytes.get(at..).filter(|r| !r.is_empty()) {
        let _ = (decode::words(rest, None), decode::words(rest, Some(usize::from(rest[0]))));
        at += 64;
    }
}

/// The messages of an operation, as they are sent; `None` for what can be read but not written.
fn written(op: &Op) -> Option<Vec<Message>> {
    let batch = Batch::of([op]).ok()?;
    Some(Message::parse_all(batch.message_bytes()).expect("what is written are messages"))
}

fn table(family: Family) -> TableId {
    TableId::new(family, "t")
}

fn map_again(name: &str, spec: &MapSpec) {
    let op = Op::AddMap { table: table(Family::Inet), map: name.to_owned(), spec: spec.clone() };
    let Some(sent) = written(&op) else { return };
    assert_eq!(decode::map(&sent[0]), Ok((name.to_owned(), Some(spec.clone()))));
}

fn rule_again(family: Family, chain: &str, rule: Rule) {
    let op = Op::AddRule { table: table(family), chain: chain.to_owned(), place: Place::End, rule: rule.clone() };
    let Some(mut sent) = written(&op) else { return };
    // What is sent has no handle yet.
    let mut handle = Writer::new();
    handle.be64(3, 7);
    sent[0].body.extend(handle.finish().expect("a number"));
    let (home, again, _) = decode::rule(family, &sent[0]).expect("what is written is read");
    assert_eq!((&*home, &again), (chain, &rule));
}

fn elements_again(spec: &MapSpec, elements: Vec<Element>) {
    let op =
        |elements| Op::AddElements { table: table(Family::Inet), map: "m".to_owned(), spec: spec.clone(), elements };
    let Some(sent) = written(&op(elements)) else { return };
    let read = |sent: &[Message]| -> Vec<Element> {
        decode::elements(spec, sent).expect("what is written is read").into_iter().map(|(e, _)| e).collect()
    };
    let once = read(&sent);
    let twice = read(&written(&op(once.clone())).expect("what is read is written"));
    assert_eq!(once, twice);
    assert!(once.is_sorted());
}

/// Logged packets, tracked connections, and packets themselves.
pub(crate) fn events(bytes: &[u8]) {
    for message in messages(bytes) {
        if let Ok(event) = LogEvent::read(&message) {
            let _ = event.tuple();
        }
        if let Ok(Some(entry)) = Entry::read(&message) {
            assert!(!entry.original.to_string().is_empty());
            assert_eq!(entry.original.src.is_ipv4(), entry.original.dst.is_ipv4());
        }
    }
    if let Some(tuple) = PacketTuple::parse(bytes) {
        assert_eq!(tuple.src.is_ipv4(), tuple.dst.is_ipv4());
    }
}

/// Links, addresses and routes.
pub(crate) fn links(bytes: &[u8]) {
    for message in messages(bytes) {
        let _ = Link::parse(&message.body);
        if let Ok(Some(address)) = Address::parse(&message.body) {
            assert!(!format!("{address:?}").is_empty());
        }
        if let Ok(Some(route)) = Route::parse(&message.body) {
            assert!(!route.to_string().is_empty());
        }
        let mut attributes = Attrs::new(&message.body).into_iter();
        while attributes.next().is_some() {
            assert!(attributes.offset() <= message.body.len() + 3);
        }
    }
}

#[cfg(test)]
mod tests {
    use tortie_ruleset::Expr;

    use super::*;

    /// The ordeal is one: it sees when something is written as something else.
    #[test]
    #[should_panic(expected = "assertion")]
    fn a_rule_that_changes_on_the_wire_is_seen() {
        let unknown_chain = "c\0d";
        rule_again(Family::Inet, unknown_chain, Rule { exprs: vec![Expr::Counter], comment: None });
    }
}
