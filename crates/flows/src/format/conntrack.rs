//! The kernel's list of connections: `conntrack -L`, with or without `-o extended`, and `/proc/net/nf_conntrack`.
//!
//! A line has a connection from both sides. What answers is who was reached in the end, behind the translation of a
//! Service; what the first packet carried as source is what policies saw.

use std::net::IpAddr;

use tortie_model::{Family, IpProtocol, Traffic, canonical};

use super::{Line, Why, protocol};
use crate::record::{Endpoint, Passed, Point, Record};

/// One side of a connection.
#[derive(Default)]
struct Side {
    source: Option<IpAddr>,
    destination: Option<IpAddr>,
    source_port: Option<u64>,
    destination_port: Option<u64>,
    kind: Option<u64>,
    code: Option<u64>,
}

pub(super) fn looks_like(text: &str) -> bool {
    text.contains(" src=") && text.contains(" dst=")
}

pub(super) fn line(text: &str) -> Result<Line, Why> {
    let mut words = text.split_whitespace().peekable();
    if matches!(words.peek(), Some(&("ipv4" | "ipv6"))) {
        words.nth(1);
    }
    let name = words.next().unwrap_or_default();
    let of = match name {
        // The name of a protocol that is not known to the program.
        "unknown" => words.peek().and_then(|n| n.parse().ok()).map(IpProtocol).ok_or("no protocol")?,
        name => protocol::protocol(name)?,
    };
    let mut sides: Vec<Side> = Vec::new();
    let (mut unanswered, mut opening) = (false, false);
    for word in words {
        match word {
            "[UNREPLIED]" => unanswered = true,
            "SYN_SENT" | "SYN_SENT2" | "SYN_RECV" | "COOKIE_WAIT" => opening = true,
            _ => {}
        }
        let Some((key, value)) = word.split_once('=') else { continue };
        if key == "src" {
            sides.push(Side::default());
        }
        let Some(side) = sides.last_mut() else { continue };
        let address = || value.parse().map(|ip| Some(canonical(ip))).map_err(|_| format!("`{value}` is no address"));
        match key {
            "src" => side.source = address()?,
            "dst" => side.destination = address()?,
            "sport" => side.source_port = value.parse().ok(),
            "dport" => side.destination_port = value.parse().ok(),
            "type" => side.kind = value.parse().ok(),
            "code" => side.code = value.parse().ok(),
            _ => {}
        }
    }
    let [there, back, ..] = &sides[..] else { return Err("not a connection with both of its sides".to_owned()) };
    let from = there.source.ok_or("no source")?;
    let to = back.source.ok_or("nobody who answers")?;
    if unanswered && (opening || of.transport().is_none()) {
        return Ok(Line::Passed(Passed::Unanswered));
    }
    let traffic = if of.is_icmp() {
        let family = if of == IpProtocol::ICMP { Family::V4 } else { Family::V6 };
        protocol::icmp(family, there.kind, there.code)?
    } else if of.transport().is_some() {
        protocol::traffic(of, back.source_port)?
    } else {
        Traffic::other(of.0)
    };
    let record = Record {
        from: Endpoint::address(from),
        to: Endpoint::address(to),
        traffic,
        allowed: true,
        point: Point::Whole,
        count: 1,
    };
    let port = |n: Option<u64>| n.and_then(|n| u16::try_from(n).ok()).unwrap_or_default();
    // Every node on the way lists it.
    let key = (from, to, of.0, port(there.source_port), traffic.detail);
    Ok(Line::Once(key, record))
}
