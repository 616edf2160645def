//! Words for a message of a transaction, made from its bytes when the kernel refuses it.

use tortie_ruleset::Family;

use super::{
    TableId, expression,
    number::{self, msg},
    operation::read_family,
};
use crate::wire::{Attr, Attrs, HEADER_LEN};

/// What `message` (header included) asks for. `offset` is where the kernel says the offending attribute is, counted
/// from the header: it tells which element of many, or which expression.
pub(crate) fn describe(message: &[u8], offset: Option<usize>) -> String {
    let kind = match message.get(4..6) {
        Some(&[a, b]) => u16::from_ne_bytes([a, b]),
        _ => return "malformed operation".to_owned(),
    };
    let body = message.get(HEADER_LEN..).unwrap_or_default();
    let attrs = Attrs::netfilter(body);
    let family = body.first().and_then(|&n| read_family(n)).unwrap_or(Family::Inet);
    let text = |kind| attrs.get(kind).map(Attr::text).unwrap_or_default();
    // The table's name is attribute 1 in all of them.
    let table = TableId::new(family, &text(1));
    let chain = || text(number::rule::CHAIN);
    match kind {
        msg::NEWTABLE => format!("add table {table}"),
        msg::DELTABLE => format!("delete table {table}"),
        msg::NEWCHAIN => format!("add chain {} to table {table}", text(number::chain::NAME)),
        msg::DELCHAIN => format!("delete chain {} of table {table}", text(number::chain::NAME)),
        msg::NEWRULE => {
            let mut words = format!("add rule to chain {} of table {table}", chain());
            if let Some(comment) = attrs.get(number::rule::USERDATA).and_then(|a| a.value.get(2..)) {
                words += &format!(" (comment {:?})", Attr { kind: 0, value: comment }.text());
            }
            if let Some((number, one)) = inside(body, number::rule::EXPRESSIONS, offset)
                && let Some(name) = one.nested().get(expression::NAME)
            {
                words += &format!(", expression {} ({})", number + 1, name.text());
            }
            words
        }
        msg::DELRULE => match attrs.get(number::rule::HANDLE).and_then(|h| h.be64().ok()) {
            Some(handle) => format!("delete rule {handle} of chain {} of table {table}", chain()),
            None => format!("flush chain {} of table {table}", chain()),
        },
        msg::NEWSET => format!("add map {} to table {table}", text(number::set::NAME)),
        msg::DELSET => format!("delete map {} of table {table}", text(number::set::NAME)),
        msg::NEWSETELEM | msg::DELSETELEM => {
            let (verb, word) = if kind == msg::NEWSETELEM { ("add", "to") } else { ("delete", "of") };
            let map = text(number::element::LIST_SET);
            let list = attrs.get(number::element::LIST_ELEMENTS).map_or(Attrs::new(&[]), Attr::nested);
            let count = list.into_iter().count();
            let only = || list.into_iter().next().filter(|_| count == 1);
            let one = inside(body, number::element::LIST_ELEMENTS, offset).map(|(_, e)| e).or_else(only);
            match one {
                Some(one) => format!("{verb} element {word} map {map} of table {table} ({})", key(one)),
                None => format!("{verb} {count} elements {word} map {map} of table {table}"),
            }
        }
        other => format!("operation {other:#x} on table {table}"),
    }
}

fn key(element: Attr<'_>) -> String {
    let attrs = element.nested();
    let value = |kind| attrs.get(kind).and_then(|k| k.nested().get(number::data::VALUE)).map(|v| hex(v.value));
    match (value(number::element::KEY), value(number::element::KEY_END)) {
        (Some(from), Some(to)) if from != to => format!("keys {from} to {to}"),
        (Some(key), _) => format!("key {key}"),
        (None, _) => "catch-all".to_owned(),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect::<Vec<_>>().join(" ")
}

/// The member of the list attribute `list` that holds `offset`, and its position.
fn inside(body: &[u8], list: u16, offset: Option<usize>) -> Option<(usize, Attr<'_>)> {
    // Offsets count from the header; attributes begin after it and the four bytes of `nfgenmsg`.
    let mut left = offset?.checked_sub(HEADER_LEN + 4)?;
    let mut outer = Attrs::netfilter(body).into_iter();
    loop {
        let start = outer.offset();
        let attr = outer.next()?;
        if attr.kind == list && left >= start + 4 && left < outer.offset() {
            left -= start + 4;
            let mut members = attr.nested().into_iter();
            for number in 0.. {
                let member = members.next()?;
                if left < members.offset() {
                    return Some((number, member));
                }
            }
        }
    }
}
