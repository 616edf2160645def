//! `source` and `destination` of Calico's rules: whom a rule is about.

use std::net::IpAddr;

use tortie_model::calico::Selector;

use super::super::{Cause, Path, items, member, name, sloppy_cidr, text};
use super::structural::{List, Object, Schema, Text};
use crate::value::Value;

/// What is said of `global()` where it is not meant.
pub(super) const GLOBAL: &str = "global() can only be used in an EntityRule namespaceSelector";

const SELECTOR: Schema = Schema::Text(&[Text::Most(1024), Text::Rule(is_not_global, GLOBAL)]);
const NETS: Schema = Schema::List(&List {
    item: Schema::Text(&[Text::Rule(
        is_masked,
        "must be an IP address, or a CIDR block without bits beyond its prefix",
    )]),
    least: 0,
    most: 256,
    set: true,
});
const PORTS: Schema = Schema::List(&List { item: Schema::IntOrText, least: 0, most: 50, set: false });

pub(super) static ENTITY: Object = Object::of(&[
    ("nets", NETS),
    ("notNets", NETS),
    ("selector", SELECTOR),
    ("notSelector", SELECTOR),
    ("namespaceSelector", Schema::Text(&[Text::Most(1024)])),
    ("ports", PORTS),
    ("notPorts", PORTS),
    ("services", Schema::Object(&SERVICES)),
    ("serviceAccounts", Schema::Object(&ACCOUNTS)),
])
.ruled(&[services_stand_alone, everything_excluded, port_numbers]);

static SERVICES: Object =
    Object::of(&[("name", Schema::Text(&[Text::Most(253)])), ("namespace", Schema::Text(&[Text::Most(253)]))]);
static ACCOUNTS: Object = Object::of(&[
    ("names", Schema::List(&List { item: Schema::Text(&[]), least: 0, most: usize::MAX, set: false })),
    ("selector", Schema::Text(&[Text::Most(1024), Text::Rule(is_not_global, GLOBAL)])),
]);

pub(super) fn is_not_global(text: &str) -> bool {
    !text.contains("global(")
}

/// An address or a block, with whatever bits.
pub(super) fn is_net(text: &str) -> bool {
    text.parse::<IpAddr>().is_ok() || sloppy_cidr(text).is_some_and(|cidr| !cidr.leading_zeros)
}

fn is_masked(text: &str) -> bool {
    text.parse::<IpAddr>().is_ok() || sloppy_cidr(text).is_some_and(|cidr| cidr.fault().is_none())
}

fn services_stand_alone(entity: &Value<'_>, path: &Path<'_>, causes: &mut Vec<Cause>) {
    let Some(services) = member(entity, "services") else { return };
    if text(services, "name").is_empty() {
        causes.push(Cause::required(&path.child("services").child("name"), "must specify a service name"));
    }
    for (field, what) in [
        ("selector", "Selector"),
        ("notSelector", "NotSelector"),
        ("namespaceSelector", "NamespaceSelector"),
        ("serviceAccounts", "ServiceAccounts"),
        ("nets", "Nets"),
        ("notNets", "NotNets"),
    ] {
        let given = member(entity, field).is_some_and(|v| v.as_str() != Some("") && v.as_array() != Some(&[]));
        if given {
            let says = format!("cannot specify {what} and Services on the same rule");
            causes.push(Cause::invalid_text(path, &says));
        }
    }
    let is_destination = path.field().ends_with("destination");
    if is_destination && (!items(entity, "ports").is_empty() || !items(entity, "notPorts").is_empty()) {
        causes.push(Cause::invalid_text(path, "cannot specify ports with a service selector"));
    }
}

fn everything_excluded(entity: &Value<'_>, path: &Path<'_>, causes: &mut Vec<Cause>) {
    let path = path.child("notNets");
    for (i, net) in items(entity, "notNets").iter().enumerate() {
        let net = net.as_str().unwrap_or_default();
        if sloppy_cidr(net).is_some_and(|cidr| cidr.prefix == 0) {
            causes.push(Cause::invalid(&path.index(i), net, "a rule that excludes every address matches nothing"));
        }
    }
}

const PORT: &str = "port range invalid, port number must be between 1 and 65535";

fn port_numbers(entity: &Value<'_>, path: &Path<'_>, causes: &mut Vec<Cause>) {
    for field in ["ports", "notPorts"] {
        let ports = path.child(field);
        for (i, port) in items(entity, field).iter().enumerate() {
            let path = ports.index(i);
            let in_range = |n: &u64| (1..=65535).contains(n);
            match (port, port.as_str()) {
                (_, Some(text)) => match numbers(text) {
                    Some((first, last)) if first > last => {
                        causes.push(Cause::invalid(&path, text, "the first port of a range is its least"));
                    }
                    Some((first, last)) if !in_range(&first) || !in_range(&last) => {
                        causes.push(Cause::invalid(&path, text, PORT));
                    }
                    Some(_) => {}
                    None => causes.extend(name::port(text).iter().map(|e| Cause::invalid(&path, text, e))),
                },
                (number, None) if !number.as_u64().is_some_and(|n| in_range(&n)) => {
                    causes.push(Cause::invalid_raw(&path, number.as_i64().unwrap_or_default(), PORT));
                }
                _ => {}
            }
        }
    }
}

/// `80` or `80:90`; anything else is a name, `80-90` too.
pub(crate) fn numbers(text: &str) -> Option<(u64, u64)> {
    let number = |t: &str| t.parse().ok().filter(|_| t.bytes().all(|b| b.is_ascii_digit()));
    match text.split_once(':') {
        Some((first, last)) => Some((number(first)?, number(last)?)),
        None => number(text).map(|n| (n, n)),
    }
}

/// Whether a port is given by its name.
pub(super) fn is_named(port: &Value<'_>) -> bool {
    port.as_str().is_some_and(|text| numbers(text).is_none())
}

/// The selectors of an entity.
pub(super) fn selectors(entity: &Value<'_>, path: &Path<'_>, causes: &mut Vec<Cause>) {
    for field in ["selector", "notSelector", "namespaceSelector"] {
        selects(entity, field, path, causes);
    }
    let namespaces = text(entity, "namespaceSelector");
    if !is_not_global(namespaces) && !matches!(namespaces.parse(), Ok(Selector::Global) | Err(_)) {
        let says = "global() cannot be combined with anything else";
        causes.push(Cause::invalid(&path.child("namespaceSelector"), namespaces, says));
    }
    if let Some(accounts) = member(entity, "serviceAccounts") {
        selects(accounts, "selector", &path.child("serviceAccounts"), causes);
    }
}

/// A selector that can be read.
pub(super) fn selects(holder: &Value<'_>, field: &str, path: &Path<'_>, causes: &mut Vec<Cause>) {
    let text = text(holder, field);
    if let Err(error) = text.parse::<Selector>() {
        causes.push(Cause::invalid(&path.child(field), text, &error.to_string()));
    }
}
