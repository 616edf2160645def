//! SCTP probes: real associations where the kernel has sockets for them, otherwise handshakes made by hand.
//!
//! By hand, a probe is the INIT chunk of RFC 9260 from a raw socket. Whoever answers for the port sends back an INIT ACK
//! with its name in the state cookie, which is the answerer's to fill in and nobody else's to read; where nothing listens,
//! an ABORT comes back, as from any SCTP stack. Nodes on the way track, translate and judge these packets like all
//! others: it is the first packet of a connection that policy decides about. No data follows.

use std::{path::Path, sync::OnceLock};

use rustix::net::{AddressFamily, SocketType, ipproto, socket};

/// Whether this kernel has SCTP sockets. Found out once: probes and those who answer them must not differ in it.
#[must_use]
pub fn has_sockets() -> bool {
    static FOUND: OnceLock<bool> = OnceLock::new();
    *FOUND.get_or_init(|| socket(AddressFamily::INET, SocketType::STREAM, Some(ipproto::SCTP)).is_ok())
}

/// Whether connection tracking knows SCTP, and with it its ports. Only where connection tracking is loaded.
#[must_use]
pub fn is_tracked() -> bool {
    Path::new("/proc/sys/net/netfilter/nf_conntrack_sctp_timeout_established").exists()
}

/// Chunk types.
const INIT: u8 = 1;
const INIT_ACK: u8 = 2;
const ABORT: u8 = 6;
/// The parameter that is the state cookie.
const COOKIE: u16 = 7;
/// How the cookie of a pod begins; its name follows.
const NAMED: &[u8] = b"tortie: ";

/// Length of the common header, and where its checksum is.
const HEADER: usize = 12;
const CHECKSUM: usize = 8;
/// Length of an INIT or INIT ACK chunk up to its parameters.
const CHUNK: usize = 20;

/// The first packet of an association.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Init {
    pub(crate) source_port: u16,
    pub(crate) destination_port: u16,
    /// What answers must carry. Never 0.
    pub(crate) tag: u32,
}

/// What comes back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    /// Something listens; if it is the lab's, this is its name.
    Accepted(Option<String>),
    /// Nothing does.
    Refused,
}

impl Init {
    /// As bytes.
    pub(crate) fn packet(&self) -> Vec<u8> {
        // Only the packet that opens an association has the verification tag 0.
        packet(self.source_port, self.destination_port, 0, INIT, &beginning(self.tag))
    }

    /// Reads one, if it is whole and nothing else.
    pub(crate) fn parse(packet: &[u8]) -> Option<Self> {
        let (source_port, destination_port, tag, chunk) = parse(packet)?;
        let (INIT, own) = (*chunk.first()?, u32_at(chunk, 4)?) else { return None };
        (tag == 0 && own != 0 && chunk.len() >= CHUNK).then_some(Self { source_port, destination_port, tag: own })
    }

    /// The answer of `name`, which listens.
    pub(crate) fn accepted(&self, name: &str) -> Vec<u8> {
        let cookie = [NAMED, name.as_bytes()].concat();
        // Any tag would do: no packet of this association will follow that must carry it.
        let mut body = beginning(self.tag);
        body.extend(COOKIE.to_be_bytes());
        body.extend(u16::try_from(4 + cookie.len()).expect("names are short").to_be_bytes());
        body.extend(cookie);
        packet(self.destination_port, self.source_port, self.tag, INIT_ACK, &body)
    }

    /// The answer where nothing listens.
    pub(crate) fn refused(&self) -> Vec<u8> {
        packet(self.destination_port, self.source_port, self.tag, ABORT, &[])
    }

    /// Reads an answer to this; `None` for any other packet.
    pub(crate) fn reply(&self, packet: &[u8]) -> Option<Reply> {
        let (source_port, destination_port, tag, chunk) = parse(packet)?;
        if (source_port, destination_port, tag) != (self.destination_port, self.source_port, self.tag) {
            return None;
        }
        match *chunk.first()? {
            INIT_ACK => Some(Reply::Accepted(name(chunk.get(CHUNK..)?))),
            ABORT => Some(Reply::Refused),
            _ => None,
        }
    }
}

/// What INIT and INIT ACK have in common: tag, window, streams out and in, first sequence number.
fn beginning(tag: u32) -> Vec<u8> {
    let streams = 1_u16.to_be_bytes();
    [&tag.to_be_bytes()[..], &0xffff_u32.to_be_bytes(), &streams, &streams, &tag.to_be_bytes()].concat()
}

/// The name in the state cookie among these parameters.
fn name(mut parameters: &[u8]) -> Option<String> {
    while let (Some(kind), Some(len)) = (u16_at(parameters, 0), u16_at(parameters, 2)) {
        let value = parameters.get(4..usize::from(len))?;
        if kind == COOKIE {
            return Some(String::from_utf8_lossy(value.strip_prefix(NAMED)?).into_owned());
        }
        parameters = parameters.get(usize::from(len).next_multiple_of(4)..)?;
    }
    None
}

/// A packet of one chunk.
fn packet(source_port: u16, destination_port: u16, tag: u32, kind: u8, body: &[u8]) -> Vec<u8> {
    let mut packet = [source_port.to_be_bytes(), destination_port.to_be_bytes()].concat();
    packet.extend(tag.to_be_bytes());
    packet.extend([0; 4]);
    packet.extend([kind, 0]);
    packet.extend(u16::try_from(4 + body.len()).expect("a chunk is short").to_be_bytes());
    packet.extend(body);
    packet.resize(packet.len().next_multiple_of(4), 0);
    let sum = crc32c(packet.iter().copied());
    // The one field that is in the other byte order.
    packet[CHECKSUM..HEADER].copy_from_slice(&sum.to_le_bytes());
    packet
}

/// Ports, tag, and the first chunk, if the checksum is right.
fn parse(packet: &[u8]) -> Option<(u16, u16, u32, &[u8])> {
    let unsummed = packet.iter().enumerate().map(|(at, b)| if (CHECKSUM..HEADER).contains(&at) { 0 } else { *b });
    if packet.get(CHECKSUM..HEADER)? != crc32c(unsummed).to_le_bytes() {
        return None;
    }
    let len = usize::from(u16_at(packet, HEADER + 2)?);
    let chunk = packet.get(HEADER..)?.get(..len)?;
    Some((u16_at(packet, 0)?, u16_at(packet, 2)?, u32_at(packet, 4)?, chunk))
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|b| u16::from_be_bytes(*b))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|b| u32::from_be_bytes(*b))
}

/// CRC-32C, of which SCTP's checksum is made (RFC 9260, appendix A). A few hundred bytes at most: bit by bit.
fn crc32c(bytes: impl Iterator<Item = u8>) -> u32 {
    const REVERSED_POLYNOMIAL: u32 = 0x82f6_3b78;
    !bytes.fold(!0, |sum, byte| {
        (0..8).fold(
            sum ^ u32::from(byte),
            |sum, _| {
                if sum & 1 == 0 { sum >> 1 } else { sum >> 1 ^ REVERSED_POLYNOMIAL }
            },
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASKED: Init = Init { source_port: 40_000, destination_port: 80, tag: 0x1234_5678 };

    #[test]
    fn the_checksum_is_that_of_the_standards() {
        // RFC 3720, B.4, and the check value of the algorithm.
        assert_eq!(crc32c([0; 32].into_iter()), 0x8a91_36aa);
        assert_eq!(crc32c([0xff; 32].into_iter()), 0x62a8_ab43);
        assert_eq!(crc32c(b"123456789".iter().copied()), 0xe306_9283);
    }

    #[test]
    fn an_init_is_laid_out_as_in_the_standard() {
        let packet = ASKED.packet();
        assert_eq!(packet[..8], [0x9c, 0x40, 0, 80, 0, 0, 0, 0], "ports, and no tag yet");
        assert_eq!(packet[12..16], [1, 0, 0, 20], "a chunk INIT without parameters");
        assert_eq!(packet[16..20], [0x12, 0x34, 0x56, 0x78]);
        assert_eq!(packet.len(), 32);
        assert_eq!(Init::parse(&packet), Some(ASKED));
    }

    #[test]
    fn the_name_comes_back_in_the_cookie() {
        for name in ["a/one", "kube-system/some-longer-name", ""] {
            let packet = ASKED.accepted(name);
            assert_eq!(packet.len() % 4, 0);
            assert_eq!(ASKED.reply(&packet), Some(Reply::Accepted(Some(name.to_owned()))));
        }
        assert_eq!(ASKED.reply(&ASKED.refused()), Some(Reply::Refused));
    }

    #[test]
    fn only_an_answer_to_this_very_packet_counts() {
        let packet = ASKED.accepted("a/one");
        for other in
            [Init { source_port: 1, ..ASKED }, Init { destination_port: 81, ..ASKED }, Init { tag: 1, ..ASKED }]
        {
            assert_eq!(other.reply(&packet), None, "{other:?}");
        }
        assert_eq!(ASKED.reply(&ASKED.packet()), None, "our own, seen on loopback");
        assert_eq!(Init::parse(&packet), None);
        for at in 0..packet.len() {
            assert_eq!(ASKED.reply(&packet[..at]), None, "cut at {at}");
            let mut damaged = packet.clone();
            damaged[at] ^= 1;
            assert_eq!(ASKED.reply(&damaged), None, "damaged at {at}");
        }
    }

    #[test]
    fn a_stack_that_gives_no_name_is_not_mistaken_for_a_pod() {
        let foreign = |parameters: &[u8]| {
            let body = [&beginning(9)[..], parameters].concat();
            packet(ASKED.destination_port, ASKED.source_port, ASKED.tag, INIT_ACK, &body)
        };
        // Another's cookie, one behind a parameter with padding, a parameter that is longer than the packet, none.
        let cookie = [0, 7, 0, 6, b'x', b'y', 0, 0];
        let behind = [&[0x80, 8, 0, 5, 1, 0, 0, 0][..], &[0, 7, 0, 13], NAMED, b"z"].concat();
        for (parameters, name) in [(&cookie[..], None), (&behind, Some("z")), (&[0, 7, 0, 9, 1], None), (&[], None)] {
            let reply = ASKED.reply(&foreign(parameters));
            assert_eq!(reply, Some(Reply::Accepted(name.map(str::to_owned))), "{parameters:?}");
        }
    }
}
