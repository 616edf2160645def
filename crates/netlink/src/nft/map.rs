//! Declarations of sets and maps.

use tortie_ruleset::{DataType, Expr, Family, KeyType, MapKind, MapSpec};

use super::{expression, number::set};
use crate::{
    EncodeError, Error,
    wire::{Attr, Attrs, Writer},
};

/// Width of one type in the number of a concatenated type (`TYPE_BITS` of libnftables).
const TYPE_BITS: u32 = 6;

const KEY_TYPES: [KeyType; 8] = [
    KeyType::Ipv4,
    KeyType::Ipv6,
    KeyType::Proto,
    KeyType::Port,
    KeyType::Mark,
    KeyType::IfIndex,
    KeyType::IfName,
    KeyType::CtState,
];

/// Number by which `nft` knows a key: that of its only type, or those of all fields, six bits each.
fn key_type(key: &[KeyType]) -> u32 {
    key.iter().fold(0, |number, field| number << TYPE_BITS | field.nft_type())
}

/// The fields packed in a number; `None` when one is not of ours.
fn read_key_type(mut number: u32) -> Option<Vec<KeyType>> {
    let mut key = Vec::new();
    while number != 0 {
        let one = number & ((1 << TYPE_BITS) - 1);
        key.push(KEY_TYPES.into_iter().find(|t| t.nft_type() == one)?);
        number >>= TYPE_BITS;
    }
    key.reverse();
    Some(key)
}

/// Whether the kernel keeps this map in a tree of interval ends (rbtree), where a range is a start and an end element.
pub(crate) fn is_tree(spec: &MapSpec) -> bool {
    spec.kind == MapKind::Interval && !spec.is_concat()
}

/// Whether the kernel keeps this map in `pipapo`, where an element has a first and a last key.
pub(crate) fn is_pipapo(spec: &MapSpec) -> bool {
    spec.kind == MapKind::Interval && spec.is_concat()
}

/// Whether the kernel keeps this map in a hash table that it resizes (`nft_rhash`) rather than in one of fixed size.
pub(crate) fn is_resized(spec: &MapSpec) -> bool {
    spec.kind == MapKind::Hash && (spec.size.is_none() || spec.timeout)
}

fn length(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}

/// Writes the body of `NFT_MSG_NEWSET` after the table.
pub(crate) fn write(w: &mut Writer, name: &str, spec: &MapSpec) {
    let mut flags = 0;
    if spec.kind == MapKind::Interval {
        flags |= set::F_INTERVAL;
    }
    if is_pipapo(spec) {
        flags |= set::F_CONCAT;
    }
    if spec.data.is_some() {
        flags |= set::F_MAP;
    }
    if spec.timeout {
        flags |= set::F_TIMEOUT;
    }
    if spec.key.is_empty() {
        w.fail(EncodeError::KeyLength { map: name.to_owned(), got: 0, want: 1 });
    }
    w.text(set::NAME, name);
    w.be32(set::FLAGS, flags);
    w.be32(set::KEY_TYPE, key_type(&spec.key));
    w.be32(set::KEY_LEN, length(spec.key_len()));
    match spec.data {
        Some(DataType::Verdict) => {
            w.be32(set::DATA_TYPE, set::DATA_VERDICT);
            w.be32(set::DATA_LEN, 0);
        }
        Some(DataType::Value { len, nft_type }) => {
            w.be32(set::DATA_TYPE, nft_type);
            w.be32(set::DATA_LEN, len);
        }
        None => {}
    }
    // Required, but only sets without a name are looked up by it.
    w.be32(set::ID, 1);
    if spec.size.is_some() || is_pipapo(spec) {
        w.nest(set::DESC, |w| {
            if let Some(size) = spec.size {
                w.be32(set::DESC_SIZE, size);
            }
            if is_pipapo(spec) {
                w.nest(set::DESC_CONCAT, |w| {
                    for field in &spec.key {
                        w.nest(super::number::LIST_ELEM, |w| {
                            w.be32(set::FIELD_LEN, length(field.len()));
                        });
                    }
                });
            }
        });
    }
    if spec.counter {
        expression::write(w, set::EXPR, Family::Inet, &Expr::Counter);
    }
}

/// Reads a declaration; `None` in place of the specification when the set is of a kind that tortie never makes.
pub(crate) fn read(attrs: Attrs<'_>) -> Result<(String, Option<MapSpec>), Error> {
    let name = attrs.need(set::NAME, "name of a set")?.text();
    let number = |kind| attrs.get(kind).map_or(Ok(0), Attr::be32);
    let flags = number(set::FLAGS)?;
    let data = if flags & set::F_MAP == 0 {
        None
    } else if number(set::DATA_TYPE)? == set::DATA_VERDICT {
        Some(DataType::Verdict)
    } else {
        Some(DataType::Value { len: number(set::DATA_LEN)?, nft_type: number(set::DATA_TYPE)? })
    };
    let size = match attrs.get(set::DESC).and_then(|d| d.nested().get(set::DESC_SIZE)) {
        Some(size) => Some(size.be32()?),
        None => None,
    };
    let expressions: Vec<String> = match (attrs.get(set::EXPR), attrs.get(set::EXPRESSIONS)) {
        (Some(one), _) => vec![one],
        (None, Some(list)) => list.nested().into_iter().collect(),
        (None, None) => Vec::new(),
    }
    .into_iter()
    .filter_map(|e| e.nested().get(expression::NAME).map(Attr::text))
    .collect();
    let known_flags = set::F_INTERVAL | set::F_MAP | set::F_TIMEOUT | set::F_CONCAT | F_EXPR;
    let Some(key) = read_key_type(number(set::KEY_TYPE)?).filter(|key| !key.is_empty()) else {
        return Ok((name, None));
    };
    let spec = MapSpec {
        key,
        data,
        kind: if flags & set::F_INTERVAL == 0 { MapKind::Hash } else { MapKind::Interval },
        size,
        counter: !expressions.is_empty(),
        timeout: flags & set::F_TIMEOUT != 0,
    };
    let ours = flags & !known_flags == 0
        && expressions.iter().all(|e| e == "counter")
        && number(set::KEY_LEN)? == length(spec.key_len());
    Ok((name, ours.then_some(spec)))
}

/// `NFT_SET_EXPR`.
const F_EXPR: u32 = 0x100;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn concatenated_types_are_packed_six_bits_each() {
        let key = [KeyType::Ipv4, KeyType::Proto, KeyType::Port];
        assert_eq!(key_type(&key), 7 << 12 | 12 << 6 | 13);
        assert_eq!(read_key_type(key_type(&key)).as_deref(), Some(&key[..]));
        assert_eq!(read_key_type(63), None);
    }
}
