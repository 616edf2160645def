//! Protocols as recorders write them.

use tortie_model::{Family, IpProtocol, Traffic};

use super::Why;

/// A protocol by name or number.
pub(super) fn protocol(text: &str) -> Result<IpProtocol, Why> {
    let known = match text.to_ascii_lowercase().as_str() {
        "tcp" => Some(IpProtocol::TCP),
        "udp" => Some(IpProtocol::UDP),
        "sctp" => Some(IpProtocol::SCTP),
        "icmp" | "icmpv4" => Some(IpProtocol::ICMP),
        "icmpv6" | "icmp6" | "ipv6-icmp" => Some(IpProtocol::ICMPV6),
        "udplite" => Some(IpProtocol(136)),
        "dccp" => Some(IpProtocol(33)),
        "gre" => Some(IpProtocol(47)),
        "esp" => Some(IpProtocol(50)),
        "ah" => Some(IpProtocol(51)),
        "ipip" | "ipencap" => Some(IpProtocol(4)),
        number => number.parse().ok().map(IpProtocol),
    };
    known.ok_or_else(|| format!("`{text}` is no protocol"))
}

/// The traffic of a protocol to a port; a ping where it is ICMP and says no more.
pub(super) fn traffic(protocol: IpProtocol, port: Option<u64>) -> Result<Traffic, Why> {
    if protocol.transport().is_some() {
        let port = port.ok_or_else(|| format!("{protocol} without a destination port"))?;
        let detail = u16::try_from(port).map_err(|_| format!("{port} is no port"))?;
        return Ok(Traffic { protocol, detail });
    }
    Ok(match protocol {
        IpProtocol::ICMP => Traffic::echo_request(Family::V4),
        IpProtocol::ICMPV6 => Traffic::echo_request(Family::V6),
        other => Traffic::other(other.0),
    })
}

/// ICMP of a type and a code.
pub(super) fn icmp(family: Family, kind: Option<u64>, code: Option<u64>) -> Result<Traffic, Why> {
    let byte = |n: Option<u64>| u8::try_from(n.unwrap_or_default()).map_err(|_| "no ICMP type or code".to_owned());
    Ok(Traffic::icmp(family, byte(kind)?, byte(code)?))
}
