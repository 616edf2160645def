//! Connection tracking: list, delete and mark entries.
//!
//! Measured on Linux 6.18 as an ordinary user in a user and network namespace of its own: listing, deleting, and
//! writing marks (masked too) work. Labels can be written only to entries that have room for them, which the kernel
//! gives to connections that begin while some rule of the namespace *sets* labels ([`tortie_ruleset::Expr::CtSet`]);
//! to other entries the kernel answers `ENOSPC`. So marks are the dependable way, one bit of them under a mask.

mod opened;

use std::net::IpAddr;

pub use opened::OpenedListener;

use crate::{
    Error, Message, Socket, Transport,
    nft::Counter,
    wire::{Attr, Attrs, Writer},
};

/// `NFNL_SUBSYS_CTNETLINK`; `IPCTNL_MSG_CT_NEW` is 0 within it.
const NEW: u16 = 1 << 8;
/// `IPCTNL_MSG_CT_GET`.
const GET: u16 = NEW | 1;
/// `IPCTNL_MSG_CT_DELETE`.
const DELETE: u16 = NEW | 2;

const TUPLE_ORIG: u16 = 1;
const TUPLE_REPLY: u16 = 2;
const STATUS: u16 = 3;
const TIMEOUT: u16 = 7;
const MARK: u16 = 8;
const COUNTERS_ORIG: u16 = 9;
const COUNTERS_REPLY: u16 = 10;
const ID: u16 = 12;
const ZONE: u16 = 18;
const MARK_MASK: u16 = 21;
const LABELS: u16 = 22;
const LABELS_MASK: u16 = 23;

const TUPLE_IP: u16 = 1;
const TUPLE_PROTO: u16 = 2;
const PROTO_NUM: u16 = 1;
const SRC_PORT: u16 = 2;
const DST_PORT: u16 = 3;
const ICMP_ID: u16 = 4;
const ICMPV6_ID: u16 = 7;

/// Bits of [`Entry::status`] (`IPS_*`).
pub mod status {
    /// Both directions were seen.
    pub const SEEN_REPLY: u32 = 1 << 1;
    /// Will not be dropped early when the table is full.
    pub const ASSURED: u32 = 1 << 2;
    /// The first packet left.
    pub const CONFIRMED: u32 = 1 << 3;
    /// The source is translated.
    pub const SRC_NAT: u32 = 1 << 4;
    /// The destination is translated.
    pub const DST_NAT: u32 = 1 << 5;
    /// Being destroyed.
    pub const DYING: u32 = 1 << 9;
}

/// Which address family to list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
    /// Both.
    Any,
}

/// One direction of a connection.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Tuple {
    /// Source address.
    pub src: IpAddr,
    /// Destination address.
    pub dst: IpAddr,
    /// Transport protocol number.
    pub proto: u8,
    /// Ports, or ICMP type, code and id.
    pub transport: Transport,
}

/// A value and the bits of it that matter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Masked<T> {
    /// The value.
    pub value: T,
    /// Bits to compare, or to change.
    pub mask: T,
}

/// One tracked connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// As its first packet had it, before translation.
    pub original: Tuple,
    /// As answers have it when they arrive: source and destination tell the addresses after translation.
    pub reply: Tuple,
    /// Bits of [`status`].
    pub status: u32,
    /// Seconds until it expires without packets.
    pub timeout: u32,
    /// Mark.
    pub mark: u32,
    /// Labels, if the entry has room for them. Bit *n* is bit *n* modulo 8 of byte *n* / 8.
    pub labels: Option<[u8; 16]>,
    /// The kernel's number for it; together with the tuple it tells it from a later one.
    pub id: u32,
    /// Zone; 0 is the default.
    pub zone: u16,
    /// Packets and bytes of the original direction, where `nf_conntrack_acct` is on.
    pub sent: Option<Counter>,
    /// Packets and bytes of the reply direction, where `nf_conntrack_acct` is on.
    pub answered: Option<Counter>,
    /// The original tuple as received, to name the entry in requests.
    raw_original: Vec<u8>,
}

/// Tracked connections, all or those whose mark fits. The kernel does the filtering by mark.
///
/// # Errors
/// As [`Socket::dump`].
pub fn list(socket: &mut Socket, family: Family, mark: Option<Masked<u32>>) -> Result<Vec<Entry>, Error> {
    let number = match family {
        Family::V4 => 2,
        Family::V6 => 10,
        Family::Any => 0,
    };
    let mut w = Writer::netfilter(number, 0);
    if let Some(Masked { value, mask }) = mark {
        w.be32(MARK, value);
        w.be32(MARK_MASK, mask);
    }
    let messages = socket.dump(GET, 0, &w.finish()?, || "list tracked connections".to_owned())?;
    let mut entries = Vec::with_capacity(messages.len());
    for message in &messages {
        // The kernel skips silently what it does not know how to describe, and so does this.
        entries.extend(Entry::read(message)?);
    }
    if let Some(Masked { value, mask }) = mark {
        entries.retain(|e| e.mark & mask == value & mask);
    }
    Ok(entries)
}

/// Deletes an entry. `false`: it was gone already, or replaced by another connection of the same addresses and ports.
///
/// # Errors
/// As [`Socket::request`].
pub fn delete(socket: &mut Socket, entry: &Entry) -> Result<bool, Error> {
    let mut w = entry.request();
    w.be32(ID, entry.id);
    gone(socket.request(DELETE, 0, &w.finish()?, || format!("delete tracked connection {}", entry.original)))
}

/// Changes bits of an entry's mark. `false`: the entry is gone.
///
/// # Errors
/// As [`Socket::request`].
pub fn set_mark(socket: &mut Socket, entry: &Entry, mark: Masked<u32>) -> Result<bool, Error> {
    let mut w = entry.request();
    w.be32(MARK, mark.value);
    w.be32(MARK_MASK, mark.mask);
    gone(socket.request(NEW, 0, &w.finish()?, || format!("mark tracked connection {}", entry.original)))
}

/// Changes bits of an entry's labels. `false`: the entry is gone.
///
/// # Errors
/// [`Error::Kernel`] with `ENOSPC` when the entry has no room for labels (see the module), otherwise as
/// [`Socket::request`].
pub fn set_labels(socket: &mut Socket, entry: &Entry, labels: Masked<[u8; 16]>) -> Result<bool, Error> {
    let mut w = entry.request();
    w.bytes(LABELS, &labels.value);
    w.bytes(LABELS_MASK, &labels.mask);
    gone(socket.request(NEW, 0, &w.finish()?, || format!("label tracked connection {}", entry.original)))
}

fn gone(result: Result<Vec<Message>, Error>) -> Result<bool, Error> {
    match result {
        Ok(_) => Ok(true),
        Err(error) if error.errno() == Some(crate::Errno::NOENT) => Ok(false),
        Err(error) => Err(error),
    }
}

impl Entry {
    /// Starts a request about this entry.
    fn request(&self) -> Writer {
        let mut w = Writer::netfilter(if self.original.src.is_ipv4() { 2 } else { 10 }, 0);
        w.nest(TUPLE_ORIG, |w| w.attributes(&self.raw_original));
        if self.zone != 0 {
            w.be16(ZONE, self.zone);
        }
        w
    }

    /// Reads the message of one entry; `None` for families other than IPv4 and IPv6.
    ///
    /// # Errors
    /// [`Error::Malformed`].
    pub fn read(message: &Message) -> Result<Option<Self>, Error> {
        let attrs = Attrs::netfilter(&message.body);
        let number = |kind| attrs.get(kind).map_or(Ok(0), Attr::be32);
        let Some(raw) = attrs.get(TUPLE_ORIG) else { return Ok(None) };
        let (Some(original), Some(reply)) =
            (Tuple::read(raw)?, attrs.get(TUPLE_REPLY).map(Tuple::read).transpose()?.flatten())
        else {
            return Ok(None);
        };
        Ok(Some(Self {
            original,
            reply,
            status: number(STATUS)?,
            timeout: number(TIMEOUT)?,
            mark: number(MARK)?,
            labels: attrs.get(LABELS).map(Attr::array).transpose()?,
            id: number(ID)?,
            zone: attrs.get(ZONE).map_or(Ok(0), Attr::be16)?,
            sent: attrs.get(COUNTERS_ORIG).map(read_counter).transpose()?,
            answered: attrs.get(COUNTERS_REPLY).map(read_counter).transpose()?,
            raw_original: raw.value.to_vec(),
        }))
    }
}

fn read_counter(attr: Attr<'_>) -> Result<Counter, Error> {
    let number = |kind| attr.nested().get(kind).map_or(Ok(0), Attr::be64);
    Ok(Counter { packets: number(1)?, bytes: number(2)? })
}

impl Tuple {
    /// `None` for families other than IPv4 and IPv6.
    fn read(attr: Attr<'_>) -> Result<Option<Self>, Error> {
        let (Some(ip), Some(proto)) = (attr.nested().get(TUPLE_IP), attr.nested().get(TUPLE_PROTO)) else {
            return Ok(None);
        };
        let (ip, proto) = (ip.nested(), proto.nested());
        let address = |v4: u16| -> Result<Option<IpAddr>, Error> {
            Ok(match (ip.get(v4), ip.get(v4 + 2)) {
                (Some(a), _) => Some(IpAddr::from(a.array::<4>()?)),
                (None, Some(a)) => Some(IpAddr::from(a.array::<16>()?)),
                (None, None) => None,
            })
        };
        let (Some(src), Some(dst)) = (address(1)?, address(2)?) else { return Ok(None) };
        let icmp = |first: u16| -> Result<Option<Transport>, Error> {
            let Some(id) = proto.get(first) else { return Ok(None) };
            let byte = |kind| proto.need(kind, "ICMP type or code").and_then(Attr::u8);
            Ok(Some(Transport::Icmp { kind: byte(first + 1)?, code: byte(first + 2)?, id: Some(id.be16()?) }))
        };
        let transport = match (proto.get(SRC_PORT), proto.get(DST_PORT)) {
            (Some(sport), Some(dport)) => Transport::Ports { sport: sport.be16()?, dport: dport.be16()? },
            _ => match icmp(ICMP_ID)? {
                Some(icmp) => icmp,
                None => icmp(ICMPV6_ID)?.unwrap_or(Transport::None),
            },
        };
        let number = proto.need(PROTO_NUM, "transport protocol")?.u8()?;
        Ok(Some(Self { src, dst, proto: number, transport }))
    }
}

impl std::fmt::Display for Tuple {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { src, dst, proto, .. } = self;
        match self.transport {
            Transport::Ports { sport, dport } => {
                write!(f, "{src} port {sport} to {dst} port {dport}, protocol {proto}")
            }
            Transport::Icmp { kind, code, .. } => write!(f, "{src} to {dst}, protocol {proto} type {kind} code {code}"),
            Transport::None => write!(f, "{src} to {dst}, protocol {proto}"),
        }
    }
}
