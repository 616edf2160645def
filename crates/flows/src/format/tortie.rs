//! What tortie writes of a lab's flows, and the flows that it reads in bulk.

use serde_json::Value;
use tortie_model::{Family, Traffic};

use super::{Line, Why, address, number, protocol, text};
use crate::record::{Endpoint, Point, Record, Who};

pub(super) fn line(value: &Value) -> Result<Line, Why> {
    let end = |key: &str, ip: &str| -> Result<Endpoint, Why> {
        let name = text(value, key).ok_or_else(|| format!("no `{key}`"))?;
        let mut end = endpoint(name);
        end.address = end.address.or(address(value, ip)?);
        Ok(end)
    };
    let (from, to) = (end("from", "fromIP")?, end("to", "toIP")?);
    let traffic = match text(value, "traffic") {
        Some(words) => shown(words)?,
        None => bulk(value, &[&from, &to])?,
    };
    let allowed = match value.get("verdict").map(|v| v.as_str().unwrap_or_default()) {
        None | Some("allow") => true,
        Some("deny") => false,
        Some(other) => return Err(format!("`{other}` is no verdict: allow or deny")),
    };
    let count = number(value, "count").unwrap_or(1);
    Ok(Line::Record(Record { from, to, traffic, allowed, point: Point::Whole, count }))
}

/// `ns/pod`, `ns/Kind/name`, `node/NAME`, an address, or the name of somebody outside.
fn endpoint(name: &str) -> Endpoint {
    if let Ok(ip) = name.parse() {
        return Endpoint::address(tortie_model::canonical(ip));
    }
    let parts: Vec<&str> = name.split('/').collect();
    let who = match parts[..] {
        ["node", name] => Who::Node(name.to_owned()),
        [namespace, name] => Who::Pod { namespace: namespace.to_owned(), name: name.to_owned() },
        [namespace, kind, name] => {
            Who::Workload { namespace: namespace.to_owned(), kind: Some(kind.to_owned()), name: name.to_owned() }
        }
        _ => Who::Other(name.to_owned()),
    };
    Endpoint { who: Some(who), address: None }
}

/// `TCP/8888`, `ICMP type 8 code 0`, `protocol 47`.
fn shown(words: &str) -> Result<Traffic, Why> {
    let unknown = || format!("`{words}` is no traffic");
    if let Some((name, port)) = words.split_once('/') {
        return protocol::traffic(protocol::protocol(name)?, Some(port.parse().map_err(|_| unknown())?));
    }
    let parts: Vec<&str> = words.split(' ').collect();
    match parts[..] {
        [name @ ("ICMP" | "ICMPv6"), "type", kind, "code", code] => {
            let family = if name == "ICMP" { Family::V4 } else { Family::V6 };
            protocol::icmp(family, kind.parse().ok(), code.parse().ok())
        }
        ["protocol", number] => number.parse().map(Traffic::other).map_err(|_| unknown()),
        _ => Err(unknown()),
    }
}

fn bulk(value: &Value, ends: &[&Endpoint]) -> Result<Traffic, Why> {
    let name = match value.get("proto") {
        None | Some(Value::Null) if value.get("icmp").is_some() => "icmp".to_owned(),
        None | Some(Value::Null) => "tcp".to_owned(),
        Some(Value::Number(n)) => n.to_string(),
        Some(other) => other.as_str().unwrap_or_default().to_owned(),
    };
    let mut protocol = protocol::protocol(&name)?;
    if protocol.is_icmp() && ends.iter().any(|end| end.address.is_some_and(|ip| ip.is_ipv6())) {
        protocol = tortie_model::IpProtocol::ICMPV6;
    }
    match value.get("icmp") {
        Some(icmp) if protocol.is_icmp() => {
            let family = if protocol == tortie_model::IpProtocol::ICMP { Family::V4 } else { Family::V6 };
            protocol::icmp(family, number(icmp, "type"), number(icmp, "code"))
        }
        _ => protocol::traffic(protocol, number(value, "port")),
    }
}
