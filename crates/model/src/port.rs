//! Protocols, ports and what a policy can tell apart in a packet.

use std::ops::RangeInclusive;
use std::sync::Arc;

use crate::Family;

/// Direction of a policy, seen from the selected endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Direction {
    /// To the endpoint.
    Ingress,
    /// From the endpoint.
    Egress,
}

impl Direction {
    /// Both, in the order in which a packet meets them.
    pub const BOTH: [Self; 2] = [Self::Egress, Self::Ingress];

    /// `ingress` or `egress`, as the field of a policy is called.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ingress => "ingress",
            Self::Egress => "egress",
        }
    }
}

impl std::fmt::Display for Direction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The transport protocols that Kubernetes names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

impl Protocol {
    /// All three.
    pub const ALL: [Self; 3] = [Self::Tcp, Self::Udp, Self::Sctp];

    /// As Kubernetes writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
            Self::Sctp => "SCTP",
        }
    }
}

impl std::fmt::Display for Protocol {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Not one of `TCP`, `UDP`, `SCTP`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown protocol `{0}`: use TCP, UDP or SCTP")]
pub struct UnknownProtocol(pub String);

impl std::str::FromStr for Protocol {
    type Err = UnknownProtocol;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|p| p.as_str() == s).ok_or_else(|| UnknownProtocol(s.to_owned()))
    }
}

/// A protocol number of IANA's registry, as in the IP header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IpProtocol(pub u8);

impl IpProtocol {
    /// ICMP for IPv4.
    pub const ICMP: Self = Self(1);
    /// TCP.
    pub const TCP: Self = Self(6);
    /// UDP.
    pub const UDP: Self = Self(17);
    /// ICMP for IPv6.
    pub const ICMPV6: Self = Self(58);
    /// SCTP.
    pub const SCTP: Self = Self(132);

    /// The ICMP of a family.
    #[must_use]
    pub const fn icmp(family: Family) -> Self {
        match family {
            Family::V4 => Self::ICMP,
            Family::V6 => Self::ICMPV6,
        }
    }

    /// The transport protocol with ports, if it is one.
    #[must_use]
    pub const fn transport(self) -> Option<Protocol> {
        match self {
            Self::TCP => Some(Protocol::Tcp),
            Self::UDP => Some(Protocol::Udp),
            Self::SCTP => Some(Protocol::Sctp),
            _ => None,
        }
    }

    /// Whether it is ICMP of either family.
    #[must_use]
    pub const fn is_icmp(self) -> bool {
        matches!(self, Self::ICMP | Self::ICMPV6)
    }

    /// The values that [`Traffic::detail`] takes for this protocol.
    #[must_use]
    pub const fn details(self) -> RangeInclusive<u16> {
        if self.transport().is_some() || self.is_icmp() { 0..=u16::MAX } else { 0..=0 }
    }
}

impl From<Protocol> for IpProtocol {
    fn from(p: Protocol) -> Self {
        match p {
            Protocol::Tcp => Self::TCP,
            Protocol::Udp => Self::UDP,
            Protocol::Sctp => Self::SCTP,
        }
    }
}

impl std::fmt::Display for IpProtocol {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match *self {
            Self::ICMP => f.write_str("ICMP"),
            Self::ICMPV6 => f.write_str("ICMPv6"),
            other => match other.transport() {
                Some(p) => p.fmt(f),
                None => write!(f, "protocol {}", other.0),
            },
        }
    }
}

/// What a policy can tell apart in a packet besides its addresses: the protocol, and sixteen bits whose meaning
/// depends on it. A region of traffic is therefore a range of `detail` per protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Traffic {
    /// Protocol number.
    pub protocol: IpProtocol,
    /// Destination port for TCP, UDP and SCTP; `type << 8 | code` for ICMP and ICMPv6; 0 for every other protocol.
    pub detail: u16,
}

impl Traffic {
    /// A destination port.
    #[must_use]
    pub fn port(protocol: Protocol, port: u16) -> Self {
        Self { protocol: protocol.into(), detail: port }
    }

    /// An ICMP message of a family.
    #[must_use]
    pub const fn icmp(family: Family, kind: u8, code: u8) -> Self {
        Self { protocol: IpProtocol::icmp(family), detail: u16::from_be_bytes([kind, code]) }
    }

    /// The echo request (ping) of a family.
    #[must_use]
    pub const fn echo_request(family: Family) -> Self {
        Self::icmp(family, if matches!(family, Family::V4) { 8 } else { 128 }, 0)
    }

    /// A packet of a protocol without ports.
    #[must_use]
    pub const fn other(protocol: u8) -> Self {
        Self { protocol: IpProtocol(protocol), detail: 0 }
    }
}

impl std::fmt::Display for Traffic {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.protocol.transport().is_some() {
            write!(f, "{}/{}", self.protocol, self.detail)
        } else if self.protocol.is_icmp() {
            let [kind, code] = self.detail.to_be_bytes();
            write!(f, "{} type {kind} code {code}", self.protocol)
        } else {
            self.protocol.fmt(f)
        }
    }
}

/// A port that a container declares.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ContainerPort {
    /// Name by which policies and Services refer to it.
    pub name: Option<Arc<str>>,
    /// Protocol; TCP when not written.
    pub protocol: Protocol,
    /// Number.
    pub number: u16,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traffic_says_what_it_is() {
        assert_eq!(Traffic::port(Protocol::Tcp, 80).to_string(), "TCP/80");
        assert_eq!(Traffic::echo_request(Family::V6).to_string(), "ICMPv6 type 128 code 0");
        assert_eq!(Traffic::other(47).to_string(), "protocol 47");
        assert_eq!(IpProtocol(47).details(), 0..=0);
    }
}
