//! Sets of packets in words.

use std::ops::RangeInclusive;

use tortie_model::{IpProtocol, Protocol};
use tortie_policy::Regions;

/// Whether a set has packets.
#[must_use]
pub fn any(set: &Regions<bool>) -> bool {
    set.iter().any(|(_, has)| *has)
}

/// The ranges of details of a protocol that are in a set.
pub fn ranges(set: &Regions<bool>, protocol: IpProtocol) -> Vec<RangeInclusive<u16>> {
    set.ranges(protocol).into_iter().filter(|(_, has)| **has).map(|(range, _)| range).collect()
}

/// The packets of a protocol with these details, and no others.
#[must_use]
pub fn only(protocol: IpProtocol, range: RangeInclusive<u16>) -> Regions<bool> {
    let (first, last) = (*range.start(), *range.end());
    let details = protocol.details();
    let mut pieces = vec![(range, true)];
    if first > *details.start() {
        pieces.insert(0, (*details.start()..=first - 1, false));
    }
    if last < *details.end() {
        pieces.push((last + 1..=*details.end(), false));
    }
    Regions::new([(protocol, pieces)], false)
}

/// `TCP 80, 8000-8010; UDP all ports`, `everything`, `everything but TCP 25`, `nothing`.
#[must_use]
pub fn words(set: &Regions<bool>) -> String {
    if *set.rest() {
        let missing = listed(&set.map(|has| !has));
        return if missing.is_empty() { "everything".to_owned() } else { format!("everything but {missing}") };
    }
    let has = listed(set);
    if has.is_empty() { "nothing".to_owned() } else { has }
}

/// What a set has of the protocols that it lists.
fn listed(set: &Regions<bool>) -> String {
    let whole = |protocol: Protocol| ranges(set, protocol.into()) == [0..=u16::MAX];
    let mut parts = Vec::new();
    let all = Protocol::ALL.into_iter().all(whole);
    if all {
        parts.push("all ports".to_owned());
    }
    for (protocol, _) in set.protocols().filter(|(p, _)| !all || p.transport().is_none()) {
        let has = ranges(set, protocol);
        if has == [protocol.details()] {
            let ports = if protocol.transport().is_some() { " all ports" } else { "" };
            parts.push(format!("{protocol}{ports}"));
        } else if !has.is_empty() {
            let texts: Vec<String> = has.iter().map(|range| details(protocol, range)).collect();
            parts.push(format!("{protocol} {}", texts.join(", ")));
        }
    }
    parts.join("; ")
}

/// A range of ports, or of ICMP types.
fn details(protocol: IpProtocol, range: &RangeInclusive<u16>) -> String {
    let (first, last) = (*range.start(), *range.end());
    if !protocol.is_icmp() {
        return if first == last { first.to_string() } else { format!("{first}-{last}") };
    }
    let ([from, code], [to, end]) = (first.to_be_bytes(), last.to_be_bytes());
    match (from == to, code, end) {
        (true, 0, 255) => format!("type {from}"),
        (true, ..) if code == end => format!("type {from} code {code}"),
        (true, ..) => format!("type {from} codes {code}-{end}"),
        (false, 0, 255) => format!("types {from}-{to}"),
        (false, ..) => format!("type {from} code {code} to type {to} code {end}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ranges that are in the set.
    fn set(protocols: &[(IpProtocol, &[(u16, u16)])]) -> Regions<bool> {
        let mut out = Regions::uniform(false);
        for (protocol, ranges) in protocols {
            for (from, to) in *ranges {
                out = out.zip(&only(*protocol, *from..=*to), |a, b| *a || *b);
            }
        }
        out
    }

    #[test]
    fn sets_are_told_as_one_would() {
        let (tcp, udp, sctp) = (IpProtocol::TCP, IpProtocol::UDP, IpProtocol::SCTP);
        let all: &[(u16, u16)] = &[(0, u16::MAX)];
        for (set, expected) in [
            (set(&[]), "nothing"),
            (set(&[]).map(|_| true), "everything"),
            (set(&[(tcp, &[(80, 80), (443, 443), (8000, 8010)]), (udp, all)]), "TCP 80, 443, 8000-8010; UDP all ports"),
            (set(&[(tcp, all), (udp, all), (sctp, all)]), "all ports"),
            (set(&[(tcp, &[(25, 25)])]).map(|has| !has), "everything but TCP 25"),
            (set(&[(IpProtocol::ICMP, &[(0x800, 0x8ff)])]), "ICMP type 8"),
            (set(&[(IpProtocol::ICMP, &[(0x800, 0x800)])]), "ICMP type 8 code 0"),
            (set(&[(IpProtocol(47), &[(0, 0)])]), "protocol 47"),
        ] {
            assert_eq!(words(&set), expected);
        }
    }
}
