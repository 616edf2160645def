//! Elements of sets and maps.
//!
//! Three ways to hold them, by [`MapSpec`]: a hash holds single keys; a tree (`rbtree`) holds ends, so a range is an
//! element at its first key and an element flagged "interval end" one past its last, which is left out when the range
//! reaches the top of the space; `pipapo` holds a first and a last key per element. There, the last key is sent for
//! single keys too: the kernel does without, but `nft list ruleset` then prints garbage.

use tortie_ruleset::{Data, Element, MapSpec};

use super::{
    Counter, expression,
    map::{is_pipapo, is_tree},
    number::{LIST_ELEM, element as attr},
};
use crate::{
    EncodeError, Error,
    wire::{Attr, Attrs, Writer},
};

/// The key after `key`; `None` when there is none.
fn successor(key: &[u8]) -> Option<Vec<u8>> {
    let mut next = key.to_vec();
    for byte in next.iter_mut().rev() {
        let (sum, carry) = byte.overflowing_add(1);
        *byte = sum;
        if !carry {
            return Some(next);
        }
    }
    None
}

/// The key before `key`; `None` when there is none.
fn predecessor(key: &[u8]) -> Option<Vec<u8>> {
    let mut previous = key.to_vec();
    for byte in previous.iter_mut().rev() {
        let (difference, borrow) = byte.overflowing_sub(1);
        *byte = difference;
        if !borrow {
            return Some(previous);
        }
    }
    None
}

/// Writes one element: one or two attributes of the list. Deletion needs no data.
pub(crate) fn write(
    w: &mut Writer,
    map: &str,
    spec: &MapSpec,
    element: &Element,
    with_data: bool,
) -> Result<(), EncodeError> {
    let data = element.data().filter(|_| with_data);
    let Element::Range { from, to, .. } = element else {
        w.nest(LIST_ELEM, |w| {
            w.be32(attr::FLAGS, attr::F_CATCHALL);
            write_data(w, data);
        });
        return Ok(());
    };
    for key in [from, to] {
        if key.len() != spec.key_len() {
            return Err(EncodeError::KeyLength { map: map.to_owned(), got: key.len(), want: spec.key_len() });
        }
    }
    // The fields of a concatenation are compared one by one; for a single field, the bytes are.
    let ordered =
        if is_pipapo(spec) { fields(spec, from).zip(fields(spec, to)).all(|(f, t)| f <= t) } else { from <= to };
    let single = !is_tree(spec) && !is_pipapo(spec);
    if !ordered || (single && from != to) {
        return Err(EncodeError::Range { map: map.to_owned(), from: from.clone(), to: to.clone() });
    }
    w.nest(LIST_ELEM, |w| {
        expression::write_value(w, attr::KEY, from);
        if is_pipapo(spec) {
            expression::write_value(w, attr::KEY_END, to);
        }
        write_data(w, data);
    });
    if is_tree(spec)
        && let Some(end) = successor(to)
    {
        w.nest(LIST_ELEM, |w| {
            expression::write_value(w, attr::KEY, &end);
            w.be32(attr::FLAGS, attr::F_INTERVAL_END);
        });
    }
    Ok(())
}

fn write_data(w: &mut Writer, data: Option<&Data>) {
    if let Some(data) = data {
        expression::write_data(w, attr::DATA, data);
    }
}

fn fields<'a>(spec: &'a MapSpec, key: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
    let mut at = 0;
    spec.key.iter().map(move |field| {
        let value = key.get(at..at + field.len()).unwrap_or_default();
        at += field.padded_len();
        value
    })
}

/// One element as the kernel lists it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Raw {
    /// `None`: the catch-all.
    key: Option<Vec<u8>>,
    /// Ends sort before starts at the same key, so that adjacent ranges come apart.
    start: bool,
    key_end: Option<Vec<u8>>,
    data: Option<Data>,
    counter: Option<Counter>,
}

/// Reads one element; `None` when its data have no word here.
pub(crate) fn read(attrs: Attrs<'_>) -> Result<Option<Raw>, Error> {
    let flags = attrs.get(attr::FLAGS).map_or(Ok(0), Attr::be32)?;
    let value = |kind| -> Result<Option<Vec<u8>>, Error> {
        match attrs.get(kind) {
            Some(key) => Ok(Some(key.nested().need(super::number::data::VALUE, "value of a key")?.value.to_vec())),
            None => Ok(None),
        }
    };
    let data = match attrs.get(attr::DATA) {
        Some(data) => match expression::read_data(data.nested())? {
            Some(data) => Some(data),
            None => return Ok(None),
        },
        None => None,
    };
    let key = value(attr::KEY)?;
    if key.is_none() && flags & attr::F_CATCHALL == 0 {
        return Err(Error::malformed("element without a key"));
    }
    let expressions: Vec<Attr<'_>> = match (attrs.get(attr::EXPR), attrs.get(attr::EXPRESSIONS)) {
        (Some(one), _) => vec![one],
        (None, Some(list)) => list.nested().into_iter().collect(),
        (None, None) => Vec::new(),
    };
    let mut counter = None;
    for one in expressions {
        counter = counter.or(expression::read(one.nested(), tortie_ruleset::Family::Inet)?.1);
    }
    Ok(Some(Raw { key, start: flags & attr::F_INTERVAL_END == 0, key_end: value(attr::KEY_END)?, data, counter }))
}

/// Puts the ends of ranges together, sorts by key, and gives each element its counter.
pub(crate) fn assemble(spec: &MapSpec, mut raw: Vec<Raw>) -> Vec<(Element, Option<Counter>)> {
    raw.sort();
    let mut out = Vec::with_capacity(raw.len());
    let mut open: Option<(Vec<u8>, Option<Data>, Option<Counter>)> = None;
    for one in raw {
        let Some(key) = one.key else {
            out.push((Element::CatchAll { data: one.data }, one.counter));
            continue;
        };
        if !is_tree(spec) {
            let to = one.key_end.unwrap_or_else(|| key.clone());
            out.push((Element::Range { from: key, to, data: one.data }, one.counter));
            continue;
        }
        // A start closes the range before it as well: that is how the kernel's lookup sees it.
        if let (Some((from, data, counter)), Some(to)) = (open.take(), predecessor(&key)) {
            out.push((Element::Range { from, to, data }, counter));
        }
        if one.start {
            open = Some((key, one.data, one.counter));
        }
    }
    if let Some((from, data, counter)) = open {
        let to = vec![0xff; from.len()];
        out.push((Element::Range { from, to, data }, counter));
    }
    out.sort_by(|a, b| a.0.cmp(&b.0));
    out
}

#[cfg(test)]
mod tests {
    use tortie_ruleset::{KeyType, MapKind};

    use super::*;

    fn tree() -> MapSpec {
        MapSpec {
            key: vec![KeyType::Port],
            data: None,
            kind: MapKind::Interval,
            size: None,
            counter: false,
            timeout: false,
        }
    }

    fn range(from: u16, to: u16) -> Element {
        Element::Range { from: from.to_be_bytes().to_vec(), to: to.to_be_bytes().to_vec(), data: None }
    }

    fn through_the_wire(spec: &MapSpec, elements: &[Element]) -> Vec<Element> {
        let mut w = Writer::new();
        for e in elements {
            write(&mut w, "m", spec, e, true).unwrap();
        }
        let bytes = w.finish().unwrap();
        let raw = Attrs::new(&bytes).into_iter().rev_raw();
        assemble(spec, raw).into_iter().map(|(e, _)| e).collect()
    }

    trait RevRaw {
        fn rev_raw(self) -> Vec<Raw>;
    }

    impl<'a, I: Iterator<Item = Attr<'a>>> RevRaw for I {
        /// Backwards, as some kernels list them.
        fn rev_raw(self) -> Vec<Raw> {
            let mut all: Vec<Raw> = self.map(|a| read(a.nested()).unwrap().unwrap()).collect();
            all.reverse();
            all
        }
    }

    #[test]
    fn ranges_come_back_from_their_ends() {
        let elements = [
            range(0, 0),
            range(1, 9),
            range(10, 10),
            range(20, 30),
            range(40, u16::MAX),
            Element::CatchAll { data: None },
        ];
        assert_eq!(through_the_wire(&tree(), &elements), elements);
        assert_eq!(through_the_wire(&tree(), &[range(0, u16::MAX)]), [range(0, u16::MAX)]);
    }

    #[test]
    fn wrong_keys_and_ranges_are_refused() {
        let mut w = Writer::new();
        let hash = MapSpec { kind: MapKind::Hash, ..tree() };
        let refused = |w: &mut Writer, spec: &MapSpec, e: &Element| write(w, "m", spec, e, true).unwrap_err();
        assert!(matches!(
            refused(&mut w, &tree(), &Element::key(vec![1])),
            EncodeError::KeyLength { got: 1, want: 2, .. }
        ));
        assert!(matches!(refused(&mut w, &hash, &range(1, 2)), EncodeError::Range { .. }));
        assert!(matches!(refused(&mut w, &tree(), &range(2, 1)), EncodeError::Range { .. }));
    }
}
