//! Bytes of netlink messages and attributes: writing and reading, no I/O.
//!
//! Attributes are `length (2, header included), type (2), value, padding to 4`. nf_tables, conntrack and NFLOG carry
//! their numbers in network order, hence the `be` methods; the values inside keys and registers are raw bytes.

use crate::{EncodeError, Error, message::Message};

/// Length of a netlink message header.
pub const HEADER_LEN: usize = 16;
/// Flag of an attribute that holds attributes.
pub const NLA_F_NESTED: u16 = 0x8000;
/// Most bytes that the value of one attribute can have.
pub const ATTR_MAX: usize = u16::MAX as usize - 4;

const TYPE_MASK: u16 = 0x3fff;

/// Rounds a length up to the alignment of messages and attributes.
#[must_use]
pub const fn align(len: usize) -> usize {
    len.next_multiple_of(4)
}

/// Appends a whole message: header and body, padded.
///
/// # Errors
/// [`EncodeError::AttributeTooLong`] when the body is 4 GiB or more.
pub fn frame(out: &mut Vec<u8>, kind: u16, flags: u16, seq: u32, body: &[u8]) -> Result<(), EncodeError> {
    let len = u32::try_from(HEADER_LEN + body.len())
        .map_err(|_| EncodeError::AttributeTooLong { what: "message", len: body.len() })?;
    out.extend_from_slice(&len.to_ne_bytes());
    out.extend_from_slice(&kind.to_ne_bytes());
    out.extend_from_slice(&flags.to_ne_bytes());
    out.extend_from_slice(&seq.to_ne_bytes());
    out.extend_from_slice(&0u32.to_ne_bytes());
    out.extend_from_slice(body);
    out.resize(align(out.len()), 0);
    Ok(())
}

/// Writes the body of one message, or attributes to be put into one.
///
/// A writer that met an error remembers the first one and yields it in [`Writer::finish`], so that encoders need not
/// check every attribute.
#[derive(Debug, Default)]
pub struct Writer {
    buf: Vec<u8>,
    error: Option<EncodeError>,
}

impl Writer {
    /// Starts with nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Starts with a `struct nfgenmsg`: address family, version 0, resource id.
    #[must_use]
    pub fn netfilter(family: u8, resource: u16) -> Self {
        let [high, low] = resource.to_be_bytes();
        Self { buf: vec![family, 0, high, low], error: None }
    }

    /// Bytes so far.
    #[must_use]
    pub fn size(&self) -> usize {
        self.buf.len()
    }

    /// An attribute of raw bytes.
    pub fn bytes(&mut self, kind: u16, value: &[u8]) {
        self.put(kind, &[value], "value");
    }

    /// A text, zero-terminated.
    pub fn text(&mut self, kind: u16, value: &str) {
        self.put(kind, &[value.as_bytes(), &[0]], "text");
    }

    /// A byte.
    pub fn u8(&mut self, kind: u16, value: u8) {
        self.bytes(kind, &[value]);
    }

    /// A 16-bit number in network order.
    pub fn be16(&mut self, kind: u16, value: u16) {
        self.bytes(kind, &value.to_be_bytes());
    }

    /// A 32-bit number in network order.
    pub fn be32(&mut self, kind: u16, value: u32) {
        self.bytes(kind, &value.to_be_bytes());
    }

    /// A 64-bit number in network order.
    pub fn be64(&mut self, kind: u16, value: u64) {
        self.bytes(kind, &value.to_be_bytes());
    }

    /// An attribute that holds the attributes that `inside` writes.
    pub fn nest(&mut self, kind: u16, inside: impl FnOnce(&mut Self)) {
        let at = self.buf.len();
        self.buf.extend_from_slice(&[0; 2]);
        self.buf.extend_from_slice(&(kind | NLA_F_NESTED).to_ne_bytes());
        inside(self);
        let len = self.buf.len() - at;
        match u16::try_from(len) {
            Ok(len) => self.buf[at..at + 2].copy_from_slice(&len.to_ne_bytes()),
            Err(_) => self.fail(EncodeError::AttributeTooLong { what: "nested attribute", len: len - 4 }),
        }
    }

    /// Attributes that were written before.
    pub(crate) fn attributes(&mut self, written: &[u8]) {
        self.buf.extend_from_slice(written);
    }

    /// Remembers an error that [`Writer::finish`] will return, unless there is an earlier one.
    pub fn fail(&mut self, error: EncodeError) {
        self.error.get_or_insert(error);
    }

    /// What was written.
    ///
    /// # Errors
    /// The first error met while writing.
    pub fn finish(self) -> Result<Vec<u8>, EncodeError> {
        match self.error {
            Some(error) => Err(error),
            None => Ok(self.buf),
        }
    }

    fn put(&mut self, kind: u16, parts: &[&[u8]], what: &'static str) {
        let value_len: usize = parts.iter().map(|p| p.len()).sum();
        let Some(len) = u16::try_from(value_len + 4).ok() else {
            return self.fail(EncodeError::AttributeTooLong { what, len: value_len });
        };
        self.buf.extend_from_slice(&len.to_ne_bytes());
        self.buf.extend_from_slice(&kind.to_ne_bytes());
        for part in parts {
            self.buf.extend_from_slice(part);
        }
        self.buf.resize(align(self.buf.len()), 0);
    }
}

/// The messages of a datagram. Ends after the first malformed one.
#[derive(Debug)]
pub struct Messages<'a> {
    rest: &'a [u8],
}

impl<'a> Messages<'a> {
    /// Reads `datagram`.
    #[must_use]
    pub fn new(datagram: &'a [u8]) -> Self {
        Self { rest: datagram }
    }
}

impl Iterator for Messages<'_> {
    type Item = Result<Message, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let Some((header, _)) = self.rest.split_first_chunk::<HEADER_LEN>() else {
            self.rest = &[];
            return Some(Err(Error::malformed("message shorter than its header")));
        };
        let u16_at = |at: usize| u16::from_ne_bytes([header[at], header[at + 1]]);
        let u32_at = |at: usize| u32::from_ne_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        let len = u32_at(0) as usize;
        let Some(body) = self.rest.get(HEADER_LEN..len) else {
            let have = self.rest.len();
            self.rest = &[];
            return Some(Err(Error::malformed(format!("message claims {len} bytes of {have}"))));
        };
        let message =
            Message { kind: u16_at(4), flags: u16_at(6), seq: u32_at(8), port: u32_at(12), body: body.to_vec() };
        self.rest = self.rest.get(align(len)..).unwrap_or_default();
        Some(Ok(message))
    }
}

/// One attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attr<'a> {
    /// Its type, flags removed.
    pub kind: u16,
    /// Its value, padding removed.
    pub value: &'a [u8],
}

impl<'a> Attr<'a> {
    /// The attributes inside.
    #[must_use]
    pub fn nested(self) -> Attrs<'a> {
        Attrs::new(self.value)
    }

    /// The value as text, up to the first zero byte; bytes that are not UTF-8 are replaced.
    #[must_use]
    pub fn text(self) -> String {
        let end = self.value.iter().position(|&b| b == 0).unwrap_or(self.value.len());
        String::from_utf8_lossy(&self.value[..end]).into_owned()
    }

    /// A byte.
    ///
    /// # Errors
    /// [`Error::Malformed`] when the value has another length. The same holds for the other number readers.
    pub fn u8(self) -> Result<u8, Error> {
        self.array::<1>().map(|[b]| b)
    }

    /// A 16-bit number in network order.
    ///
    /// # Errors
    /// As [`Attr::u8`].
    pub fn be16(self) -> Result<u16, Error> {
        self.array().map(u16::from_be_bytes)
    }

    /// A 32-bit number in network order.
    ///
    /// # Errors
    /// As [`Attr::u8`].
    pub fn be32(self) -> Result<u32, Error> {
        self.array().map(u32::from_be_bytes)
    }

    /// A 64-bit number in network order.
    ///
    /// # Errors
    /// As [`Attr::u8`].
    pub fn be64(self) -> Result<u64, Error> {
        self.array().map(u64::from_be_bytes)
    }

    /// A 32-bit number in host order.
    ///
    /// # Errors
    /// As [`Attr::u8`].
    pub fn u32_ne(self) -> Result<u32, Error> {
        self.array().map(u32::from_ne_bytes)
    }

    /// Exactly `N` bytes.
    ///
    /// # Errors
    /// As [`Attr::u8`].
    pub fn array<const N: usize>(self) -> Result<[u8; N], Error> {
        self.value.try_into().map_err(|_| {
            Error::malformed(format!("attribute {} has {} bytes instead of {N}", self.kind, self.value.len()))
        })
    }
}

/// Attributes, one after the other. Reading ends silently at the first that does not fit, as the kernel does.
#[derive(Clone, Copy, Debug)]
pub struct Attrs<'a> {
    bytes: &'a [u8],
}

impl<'a> Attrs<'a> {
    /// Reads `bytes`.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    /// The attributes of a netfilter message's body, after its `struct nfgenmsg`.
    #[must_use]
    pub fn netfilter(body: &'a [u8]) -> Self {
        Self { bytes: body.get(4..).unwrap_or_default() }
    }

    /// The first attribute of this type.
    #[must_use]
    pub fn get(self, kind: u16) -> Option<Attr<'a>> {
        self.into_iter().find(|a| a.kind == kind)
    }

    /// The first attribute of this type, which must be there.
    ///
    /// # Errors
    /// [`Error::Malformed`] naming `what` when it is absent.
    pub fn need(self, kind: u16, what: &'static str) -> Result<Attr<'a>, Error> {
        self.get(kind).ok_or_else(|| Error::malformed(format!("no {what}")))
    }
}

impl<'a> IntoIterator for Attrs<'a> {
    type Item = Attr<'a>;
    type IntoIter = AttrIter<'a>;

    fn into_iter(self) -> AttrIter<'a> {
        AttrIter { bytes: self.bytes, at: 0 }
    }
}

/// Iterator over attributes.
#[derive(Clone, Debug)]
pub struct AttrIter<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl AttrIter<'_> {
    /// Offset of the next attribute from the start.
    #[must_use]
    pub fn offset(&self) -> usize {
        self.at
    }
}

impl<'a> Iterator for AttrIter<'a> {
    type Item = Attr<'a>;

    fn next(&mut self) -> Option<Attr<'a>> {
        let rest = self.bytes.get(self.at..)?;
        let [l0, l1, k0, k1, ..] = *rest else { return None };
        let len = usize::from(u16::from_ne_bytes([l0, l1]));
        let value = rest.get(4..len)?;
        self.at += align(len);
        Some(Attr { kind: u16::from_ne_bytes([k0, k1]) & TYPE_MASK, value })
    }
}
