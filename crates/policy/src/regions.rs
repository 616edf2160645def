//! Answers for all packets at once: a value for every protocol and every port or ICMP type.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use tortie_model::{IpProtocol, Traffic};

/// A function from [`Traffic`] to `T`, as disjoint ranges.
///
/// Canonical: every listed protocol is covered completely by sorted ranges, adjacent ranges differ, and no protocol
/// is listed whose value is that of `rest` throughout. Equal functions are therefore equal values.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Regions<T> {
    protocols: BTreeMap<IpProtocol, Vec<(RangeInclusive<u16>, T)>>,
    rest: T,
}

/// Which packets an item of [`Regions::iter`] speaks of.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// Details of one protocol.
    Range(IpProtocol, RangeInclusive<u16>),
    /// All protocols that no other item names.
    Rest,
}

impl<T: Clone + Eq> Regions<T> {
    /// The same value everywhere.
    #[must_use]
    pub const fn uniform(value: T) -> Self {
        Self { protocols: BTreeMap::new(), rest: value }
    }

    /// Builds from the values of some protocols, given as their ranges in order, and the value of all others.
    ///
    /// # Panics
    /// When the ranges of a protocol leave a gap, overlap or are out of order.
    #[must_use]
    pub fn new(protocols: impl IntoIterator<Item = (IpProtocol, Vec<(RangeInclusive<u16>, T)>)>, rest: T) -> Self {
        let mut out = BTreeMap::new();
        for (protocol, ranges) in protocols {
            let mut next = Some(*protocol.details().start());
            let mut merged: Vec<(RangeInclusive<u16>, T)> = Vec::with_capacity(ranges.len());
            for (range, value) in ranges {
                assert_eq!(Some(*range.start()), next, "ranges of {protocol} leave a gap or overlap");
                next = range.end().checked_add(1);
                match merged.last_mut() {
                    Some((last, v)) if *v == value => *last = *last.start()..=*range.end(),
                    _ => merged.push((range, value)),
                }
            }
            let covered = merged.last().map(|(r, _)| *r.end());
            assert_eq!(covered, Some(*protocol.details().end()), "ranges of {protocol} do not reach its end");
            if !matches!(merged.as_slice(), [(_, only)] if *only == rest) {
                out.insert(protocol, merged);
            }
        }
        Self { protocols: out, rest }
    }

    /// The value for one packet.
    #[must_use]
    pub fn get(&self, traffic: Traffic) -> &T {
        let Some(ranges) = self.protocols.get(&traffic.protocol) else {
            return &self.rest;
        };
        let at = ranges.partition_point(|(r, _)| *r.end() < traffic.detail);
        &ranges[at.min(ranges.len() - 1)].1
    }

    /// The value of all protocols that are not listed.
    #[must_use]
    pub const fn rest(&self) -> &T {
        &self.rest
    }

    /// The protocols whose value is not that of `rest` throughout, with their ranges.
    pub fn protocols(&self) -> impl Iterator<Item = (IpProtocol, &[(RangeInclusive<u16>, T)])> {
        self.protocols.iter().map(|(p, r)| (*p, r.as_slice()))
    }

    /// The ranges of one protocol, listed or not.
    #[must_use]
    pub fn ranges(&self, protocol: IpProtocol) -> Vec<(RangeInclusive<u16>, &T)> {
        match self.protocols.get(&protocol) {
            Some(ranges) => ranges.iter().map(|(r, v)| (r.clone(), v)).collect(),
            None => vec![(protocol.details(), &self.rest)],
        }
    }

    /// All regions with their values, `rest` last.
    pub fn iter(&self) -> impl Iterator<Item = (Scope, &T)> {
        self.protocols
            .iter()
            .flat_map(|(p, ranges)| ranges.iter().map(|(r, v)| (Scope::Range(*p, r.clone()), v)))
            .chain([(Scope::Rest, &self.rest)])
    }

    /// Applies a function to every value.
    #[must_use]
    pub fn map<U: Clone + Eq>(&self, mut f: impl FnMut(&T) -> U) -> Regions<U> {
        let rest = f(&self.rest);
        Regions::new(
            self.protocols.iter().map(|(p, ranges)| (*p, ranges.iter().map(|(r, v)| (r.clone(), f(v))).collect())),
            rest,
        )
    }

    /// Combines two functions packet by packet.
    #[must_use]
    pub fn zip<U: Clone + Eq, V: Clone + Eq>(&self, other: &Regions<U>, mut f: impl FnMut(&T, &U) -> V) -> Regions<V> {
        let listed: std::collections::BTreeSet<_> =
            self.protocols.keys().chain(other.protocols.keys()).copied().collect();
        let mut protocols = Vec::with_capacity(listed.len());
        for protocol in listed {
            let (a, b) = (self.ranges(protocol), other.ranges(protocol));
            let (mut i, mut j) = (0, 0);
            let mut start = *protocol.details().start();
            let mut out = Vec::with_capacity(a.len().max(b.len()));
            // Both cover the protocol, and so end together.
            while let (Some((ra, va)), Some((rb, vb))) = (a.get(i), b.get(j)) {
                let end = *ra.end().min(rb.end());
                out.push((start..=end, f(va, vb)));
                i += usize::from(*ra.end() == end);
                j += usize::from(*rb.end() == end);
                start = end.saturating_add(1);
            }
            protocols.push((protocol, out));
        }
        Regions::new(protocols, f(&self.rest, &other.rest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tortie_model::Protocol;

    fn tcp(ranges: &[(u16, u16, char)], rest: char) -> Regions<char> {
        Regions::new([(IpProtocol::TCP, ranges.iter().map(|(a, b, v)| (*a..=*b, *v)).collect())], rest)
    }

    #[test]
    fn equal_functions_are_equal_values() {
        assert_eq!(tcp(&[(0, 9, 'a'), (10, 65535, 'a')], 'a'), Regions::uniform('a'));
        assert_eq!(
            tcp(&[(0, 9, 'a'), (10, 20, 'a'), (21, 65535, 'b')], 'a'),
            tcp(&[(0, 20, 'a'), (21, 65535, 'b')], 'a')
        );
    }

    #[test]
    fn zip_cuts_at_the_ends_of_both() {
        let a = tcp(&[(0, 79, '-'), (80, 90, 'a'), (91, 65535, '-')], '-');
        let b = Regions::new([(IpProtocol::UDP, vec![(0..=0, 'u'), (1..=65535, '.')])], '.');
        let z = a.zip(&b, |x, y| format!("{x}{y}"));
        assert_eq!(z.get(Traffic::port(Protocol::Tcp, 85)), "a.");
        assert_eq!(z.get(Traffic::port(Protocol::Tcp, 91)), "-.");
        assert_eq!(z.get(Traffic::port(Protocol::Udp, 0)), "-u");
        assert_eq!(z.get(Traffic::other(47)), "-.");
        assert_eq!(z.iter().count(), 3 + 2 + 1);
    }

    #[test]
    fn only_protocols_that_differ_from_the_rest_are_listed() {
        let icmp = vec![(0..=7, 'a'), (8..=u16::MAX, 'b')];
        let r = Regions::new([(IpProtocol::ICMP, icmp.clone()), (IpProtocol(47), vec![(0..=0, 'g')])], '-');
        let listed: Vec<_> = r.protocols().map(|(p, ranges)| (p, ranges.to_vec())).collect();
        assert_eq!(listed, [(IpProtocol::ICMP, icmp), (IpProtocol(47), vec![(0..=0, 'g')])]);
        assert_eq!(r.ranges(IpProtocol(47)), [(0..=0, &'g')]);
        assert_eq!(r.ranges(IpProtocol::TCP), [(0..=u16::MAX, &'-')]);
        // A detail that its protocol does not have counts as the last that it has.
        assert_eq!(r.get(Traffic { protocol: IpProtocol(47), detail: 5 }), &'g');
        assert_eq!(r.rest(), &'-');
    }

    #[test]
    #[should_panic(expected = "gap")]
    fn gaps_are_refused() {
        let _ = tcp(&[(0, 9, 'a'), (11, 65535, 'b')], 'a');
    }
}
