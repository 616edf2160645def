//! The addresses and ports in a packet that NFLOG delivers.
//!
//! A parser of its own rather than a crate: forty lines of bounds-checked reads suffice for what a record of a flow
//! needs, on packets that are cut at the snap length, where general parsers give up.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What tells one flow from another, as far as the packet says.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PacketTuple {
    /// Source address.
    pub src: IpAddr,
    /// Destination address.
    pub dst: IpAddr,
    /// Transport protocol number; behind IPv6 extension headers, the last of them that could be followed.
    pub proto: u8,
    /// What the transport header says; [`Transport::None`] for other protocols, later fragments and cut packets.
    pub transport: Transport,
}

/// The part of a transport header that names a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// Not there or not of these.
    None,
    /// TCP, UDP, UDP-Lite, SCTP, DCCP.
    Ports {
        /// Source port.
        sport: u16,
        /// Destination port.
        dport: u16,
    },
    /// ICMP or ICMPv6.
    Icmp {
        /// Type.
        kind: u8,
        /// Code.
        code: u8,
        /// Identifier: of echo messages only, but always the two bytes at offset 4; `None` when cut.
        id: Option<u16>,
    },
}

const TCP: u8 = 6;
const UDP: u8 = 17;
const DCCP: u8 = 33;
const SCTP: u8 = 132;
const UDPLITE: u8 = 136;
const ICMP: u8 = 1;
const ICMPV6: u8 = 58;
const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;
const DESTINATION_OPTIONS: u8 = 60;
const MOBILITY: u8 = 135;

impl PacketTuple {
    /// Reads a packet that starts with its IPv4 or IPv6 header; `None` when that header is not whole.
    #[must_use]
    pub fn parse(packet: &[u8]) -> Option<Self> {
        match packet.first()? >> 4 {
            4 => Self::parse_v4(packet),
            6 => Self::parse_v6(packet),
            _ => None,
        }
    }

    fn parse_v4(packet: &[u8]) -> Option<Self> {
        let header = packet.first_chunk::<20>()?;
        let header_len = usize::from(header[0] & 0xf) * 4;
        if header_len < header.len() {
            return None;
        }
        let address = |at: usize| Ipv4Addr::new(header[at], header[at + 1], header[at + 2], header[at + 3]).into();
        let proto = header[9];
        let first_fragment = u16::from_be_bytes([header[6], header[7]]) & 0x1fff == 0;
        let rest = packet.get(header_len..).filter(|_| first_fragment);
        Some(Self { src: address(12), dst: address(16), proto, transport: Transport::parse(proto, rest) })
    }

    fn parse_v6(packet: &[u8]) -> Option<Self> {
        let (header, mut rest) = packet.split_first_chunk::<40>()?;
        let address =
            |at: usize| -> Option<IpAddr> { Some(Ipv6Addr::from(*header.get(at..)?.first_chunk::<16>()?).into()) };
        let (src, dst) = (address(8)?, address(24)?);
        let mut proto = header[6];
        // Every header takes at least eight bytes, so this ends.
        let transport = loop {
            let [next, len, ..] = *rest else { break Transport::None };
            let skip = match proto {
                HOP_BY_HOP | ROUTING | DESTINATION_OPTIONS | MOBILITY => (usize::from(len) + 1) * 8,
                AUTHENTICATION => (usize::from(len) + 2) * 4,
                FRAGMENT => 8,
                _ => break Transport::parse(proto, Some(rest)),
            };
            let later_fragment =
                proto == FRAGMENT && rest.get(2..4).is_none_or(|b| u16::from_be_bytes([b[0], b[1]]) & !7 != 0);
            proto = next;
            match rest.get(skip..).filter(|_| !later_fragment) {
                Some(behind) => rest = behind,
                None => break Transport::None,
            }
        };
        Some(Self { src, dst, proto, transport })
    }
}

impl Transport {
    fn parse(proto: u8, header: Option<&[u8]>) -> Self {
        let Some([a, b, rest @ ..]) = header else { return Self::None };
        let third_and_fourth = rest.first_chunk::<2>().map(|x| u16::from_be_bytes(*x));
        match proto {
            TCP | UDP | DCCP | SCTP | UDPLITE => match third_and_fourth {
                Some(dport) => Self::Ports { sport: u16::from_be_bytes([*a, *b]), dport },
                None => Self::None,
            },
            ICMP | ICMPV6 => {
                let id = rest.get(2..4).map(|x| u16::from_be_bytes([x[0], x[1]]));
                Self::Icmp { kind: *a, code: *b, id }
            }
            _ => Self::None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v4(proto: u8, fragment: u16, payload: &[u8]) -> Vec<u8> {
        let mut packet = vec![0x46, 0, 0, 0, 0, 0, 0, 0, 64, proto, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2, 1, 1, 1, 1];
        packet[6..8].copy_from_slice(&fragment.to_be_bytes());
        packet.extend_from_slice(payload);
        packet
    }

    fn v6(next: u8, payload: &[u8]) -> Vec<u8> {
        let mut packet = vec![0x60, 0, 0, 0, 0, 0, next, 64];
        packet.extend([0xfd; 16]);
        packet.extend([0xfe; 16]);
        packet.extend_from_slice(payload);
        packet
    }

    fn transport(packet: &[u8]) -> (u8, Transport) {
        let tuple = PacketTuple::parse(packet).expect("a tuple");
        (tuple.proto, tuple.transport)
    }

    const PORTS: Transport = Transport::Ports { sport: 0x1234, dport: 80 };
    const PORT_BYTES: [u8; 4] = [0x12, 0x34, 0, 80];

    #[test]
    fn ports_behind_options_and_extension_headers() {
        let tuple = PacketTuple::parse(&v4(TCP, 0x4000, &PORT_BYTES)).expect("a tuple");
        assert_eq!((tuple.src, tuple.dst), ([10, 0, 0, 1].into(), [10, 0, 0, 2].into()));
        assert_eq!(tuple.transport, PORTS);
        assert_eq!(transport(&v4(UDP, 0, &PORT_BYTES[..3])), (UDP, Transport::None));
        assert_eq!(transport(&v6(SCTP, &PORT_BYTES)), (SCTP, PORTS));
        let extensions = [
            &[ROUTING, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0][..], // hop by hop, 16 bytes
            &[FRAGMENT, 0, 0, 0, 0, 0, 0, 0],                            // routing
            &[AUTHENTICATION, 0, 0, 1, 0, 0, 0, 9],                      // first fragment, more follow
            &[UDP, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],                     // authentication, 12 bytes
            &PORT_BYTES,
        ];
        assert_eq!(transport(&v6(HOP_BY_HOP, &extensions.concat())), (UDP, PORTS));
    }

    #[test]
    fn later_fragments_have_no_transport_header() {
        assert_eq!(transport(&v4(UDP, 0x2001, &PORT_BYTES)), (UDP, Transport::None));
        let fragment = [&[UDP, 0, 0, 8, 0, 0, 0, 9][..], &PORT_BYTES].concat();
        assert_eq!(transport(&v6(FRAGMENT, &fragment)), (UDP, Transport::None));
    }

    #[test]
    fn icmp_has_type_code_and_id() {
        let want = Transport::Icmp { kind: 8, code: 0, id: Some(7) };
        assert_eq!(transport(&v4(ICMP, 0, &[8, 0, 0xff, 0xff, 0, 7])), (ICMP, want));
        assert_eq!(transport(&v6(ICMPV6, &[128, 1])).1, Transport::Icmp { kind: 128, code: 1, id: None });
    }
}
