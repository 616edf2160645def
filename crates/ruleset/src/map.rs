//! Sets and maps.

use std::cmp::Ordering;

use crate::Verdict;

/// The type of one field of a key. Only `nft list ruleset` cares for the name; the kernel cares for the length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum KeyType {
    /// IPv4 address, 4 bytes.
    Ipv4,
    /// IPv6 address, 16 bytes.
    Ipv6,
    /// Transport protocol number, 1 byte.
    Proto,
    /// Port, 2 bytes, network order.
    Port,
    /// Packet mark or any number of ours, 4 bytes, host order.
    Mark,
    /// Interface index, 4 bytes, host order.
    IfIndex,
    /// Interface name, 16 bytes, padded with zeros.
    IfName,
    /// Connection state bits, 4 bytes, host order.
    CtState,
}

impl KeyType {
    /// Length of a value, in bytes, without padding.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "no type has empty values")]
    pub const fn len(self) -> usize {
        match self {
            Self::Proto => 1,
            Self::Port => 2,
            Self::Ipv4 | Self::Mark | Self::IfIndex | Self::CtState => 4,
            Self::Ipv6 | Self::IfName => 16,
        }
    }

    /// Length in a concatenation, where every field is padded to registers of four bytes.
    #[must_use]
    pub const fn padded_len(self) -> usize {
        self.len().next_multiple_of(4)
    }

    /// The number by which nft knows the type (`enum datatypes` of libnftables, stored in `NFTA_SET_KEY_TYPE`).
    #[must_use]
    pub const fn nft_type(self) -> u32 {
        match self {
            Self::Ipv4 => 7,
            Self::Ipv6 => 8,
            Self::Proto => 12,
            Self::Port => 13,
            Self::Mark => 19,
            Self::IfIndex => 20,
            Self::CtState => 26,
            Self::IfName => 41,
        }
    }
}

/// What a map's elements hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DataType {
    /// A value of this key type (`Concat` data are given by [`MapSpec::data`] fields).
    Verdict,
    /// Raw bytes of this length in registers, typed for the printer by `nft_type`.
    Value {
        /// Bytes.
        len: u32,
        /// Number by which nft knows the type.
        nft_type: u32,
    },
}

/// How the kernel stores the elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MapKind {
    /// Exact keys. With a `size` the kernel uses a hash table of fixed size (`nft_hash`), which is faster.
    Hash,
    /// Ranges: a tree for one field, `pipapo` for a concatenation (put the most selective field first).
    Interval,
}

/// The declaration of a set (no data) or a map.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MapSpec {
    /// Fields of the key.
    pub key: Vec<KeyType>,
    /// Data; `None` for a plain set.
    pub data: Option<DataType>,
    /// Storage.
    pub kind: MapKind,
    /// Most elements that it can hold. Leave it out of interval maps of one field: kernels before 6.15 count both ends
    /// of a range there, and it makes nothing faster.
    pub size: Option<u32>,
    /// Every element carries a counter.
    pub counter: bool,
    /// Elements may carry a timeout.
    pub timeout: bool,
}

impl MapSpec {
    /// Length of a whole key on the wire, in bytes.
    #[must_use]
    pub fn key_len(&self) -> usize {
        match self.key.as_slice() {
            [one] => one.len(),
            many => many.iter().map(|t| t.padded_len()).sum(),
        }
    }

    /// Whether the key is a concatenation.
    #[must_use]
    pub fn is_concat(&self) -> bool {
        self.key.len() > 1
    }
}

/// What an element maps to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Data {
    /// Bytes as they are put in registers.
    Value(Vec<u8>),
    /// A verdict.
    Verdict(Verdict),
}

/// One element: a key, or an inclusive range of keys, and its data.
///
/// Keys are bytes as on the wire: addresses and ports in network order, numbers in host order, every field of a
/// concatenation padded to four bytes.
///
/// Elements are sorted by their keys, the last field first, and as numbers in host order: those that come together
/// usually share the last field, and have a higher number there than all that came before.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Element {
    /// Keys `from` to `to`, both included; one key when they are equal.
    Range {
        /// First key.
        from: Vec<u8>,
        /// Last key.
        to: Vec<u8>,
        /// What it maps to; `None` in a plain set.
        data: Option<Data>,
    },
    /// What every other key maps to (`NFT_SET_ELEM_CATCHALL`).
    CatchAll {
        /// What it maps to.
        data: Option<Data>,
    },
}

impl Ord for Element {
    fn cmp(&self, other: &Self) -> Ordering {
        self.cmp_key(other).then_with(|| self.data().cmp(&other.data()))
    }
}

impl PartialOrd for Element {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The order of keys: see [`Element`].
fn by_last_field(a: &[u8], b: &[u8]) -> Ordering {
    fn fields(key: &[u8]) -> impl Iterator<Item = u32> {
        key.rchunks(4).map(|field| {
            let mut number = [0; 4];
            number[..field.len()].copy_from_slice(field);
            u32::from_ne_bytes(number)
        })
    }
    a.len().cmp(&b.len()).then_with(|| fields(a).cmp(fields(b)))
}

impl Element {
    /// One key of a plain set.
    #[must_use]
    pub fn key(key: Vec<u8>) -> Self {
        Self::Range { to: key.clone(), from: key, data: None }
    }

    /// One key of a map.
    #[must_use]
    pub fn entry(key: Vec<u8>, data: Data) -> Self {
        Self::Range { to: key.clone(), from: key, data: Some(data) }
    }

    /// The order of two elements by their keys alone.
    #[must_use]
    pub fn cmp_key(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Range { from: a, to: b, .. }, Self::Range { from: c, to: d, .. }) => {
                by_last_field(a, c).then_with(|| by_last_field(b, d))
            }
            (Self::Range { .. }, Self::CatchAll { .. }) => Ordering::Less,
            (Self::CatchAll { .. }, Self::Range { .. }) => Ordering::Greater,
            (Self::CatchAll { .. }, Self::CatchAll { .. }) => Ordering::Equal,
        }
    }

    /// Its data.
    #[must_use]
    pub fn data(&self) -> Option<&Data> {
        match self {
            Self::Range { data, .. } | Self::CatchAll { data } => data.as_ref(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_sorted_by_their_last_field_first() {
        let key = |first: u32, last: u32| [first.to_ne_bytes(), last.to_ne_bytes()].concat();
        let data = |n: u8| Some(Data::Value(vec![n]));
        let range = |from: Vec<u8>, to: Vec<u8>, data| Element::Range { from, to, data };
        let sorted = [
            range(key(7, 1), key(7, 1), None),
            range(key(7, 1), key(7, 1), data(1)),
            range(key(7, 1), key(7, 1), data(2)),
            range(key(7, 1), key(7, 300), data(0)),
            range(key(300, 1), key(300, 1), data(0)),
            range(key(1, 2), key(1, 2), data(0)),
            range(key(1, 300), key(1, 300), data(0)),
            Element::CatchAll { data: data(0) },
        ];
        assert!(sorted.is_sorted());
        for (i, a) in sorted.iter().enumerate() {
            for (j, b) in sorted.iter().enumerate() {
                assert_eq!(a.cmp(b), i.cmp(&j), "{a:?} and {b:?}");
                assert_eq!(a.cmp_key(b).is_eq(), i == j || (i < 3 && j < 3), "{a:?} and {b:?}");
            }
        }
    }
}
