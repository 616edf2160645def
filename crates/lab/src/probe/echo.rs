//! ICMP echo messages as bytes. Pure.

use crate::raw;

/// `ICMP_ECHO` and `ICMP_ECHOREPLY`.
const V4: (u8, u8) = (8, 0);
/// `ICMPV6_ECHO_REQUEST` and `ICMPV6_ECHO_REPLY`.
const V6: (u8, u8) = (128, 129);

/// An echo request. The checksum is filled in for IPv4; for IPv6 the kernel does it, as it covers the addresses.
pub(super) fn request(v4: bool, id: u16, sequence: u16, payload: &[u8]) -> Vec<u8> {
    let mut message = vec![if v4 { V4.0 } else { V6.0 }, 0, 0, 0];
    message.extend_from_slice(&id.to_be_bytes());
    message.extend_from_slice(&sequence.to_be_bytes());
    message.extend_from_slice(payload);
    if v4 {
        let sum = checksum(&message);
        message[2..4].copy_from_slice(&sum.to_be_bytes());
    }
    message
}

/// The payload of an echo reply with this identifier, in what a raw socket received.
pub(super) fn reply(v4: bool, id: u16, received: &[u8]) -> Option<&[u8]> {
    let (head, payload) = raw::body(v4, received)?.split_first_chunk::<8>()?;
    let kind = if v4 { V4.1 } else { V6.1 };
    (head[0] == kind && head[1] == 0 && head[4..6] == id.to_be_bytes()).then_some(payload)
}

/// RFC 1071.
fn checksum(bytes: &[u8]) -> u16 {
    let mut sum: u32 =
        bytes.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]))).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).expect("folded to 16 bits")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_of_a_checked_message_is_zero() {
        let message = request(true, 0x1234, 7, b"odd");
        assert_eq!(checksum(&message), 0);
        assert_eq!(message[..2], [8, 0]);
    }

    #[test]
    fn only_a_reply_with_the_identifier_is_ours() {
        let mut packet = vec![0x45; 20];
        packet.extend([0, 0, 0, 0, 0x12, 0x34, 0, 1, b'x']);
        assert_eq!(reply(true, 0x1234, &packet), Some(&b"x"[..]));
        assert_eq!(reply(true, 0x1235, &packet), None);
        packet[20] = 8;
        assert_eq!(reply(true, 0x1234, &packet), None, "our own request, seen on loopback");
        assert_eq!(reply(false, 1, &[129, 0, 0, 0, 0, 1, 0, 0]), Some(&[][..]));
        assert_eq!(reply(false, 1, &[129, 0, 0]), None);
    }
}
