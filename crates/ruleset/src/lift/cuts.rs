//! Where somebody tells packets apart: intervals of the values of each field, in the order of their bytes.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use tortie_persistent::Set;

use super::IpVersion;
use super::register::{Byte, Field, Look, Registers, bitwise};
use crate::{CmpOp, CtKey, Data, Element, Expr, MetaKey, PayloadBase, Rule, Table};

/// An interval of values, both ends included.
pub(super) type Interval = (u128, u128);

/// Packets of some protocols, with these ports or types.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Rect {
    pub(super) protocols: (u8, u8),
    pub(super) details: (u16, u16),
}

/// Where the sixteen bits are, in the transport header, that a port or an ICMP type is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Layout {
    /// Destination port.
    Port,
    /// ICMP type and code.
    Type,
    /// Nothing is known of the header.
    Opaque,
}

impl Layout {
    const ALL: [Self; 3] = [Self::Port, Self::Type, Self::Opaque];

    pub(super) const fn of(protocol: u8) -> Self {
        match protocol {
            6 | 17 | 132 => Self::Port,
            1 | 58 => Self::Type,
            _ => Self::Opaque,
        }
    }

    /// What a load from the transport header finds.
    pub(super) fn load(self, offset: u32, len: u32) -> Vec<Byte> {
        let byte = |at: u32| match (self, at) {
            (Self::Port, 0) => Byte::of(Field::SourcePort, 0),
            (Self::Port, 1) => Byte::of(Field::SourcePort, 1),
            (Self::Port, 2) | (Self::Type, 0) => Byte::of(Field::Detail, 0),
            (Self::Port, 3) | (Self::Type, 1) => Byte::of(Field::Detail, 1),
            _ => Byte::Unknown(0),
        };
        (offset..offset + len).map(byte).collect()
    }
}

/// What a load from the network header finds; `None` beyond its end.
pub(super) fn network(version: IpVersion, offset: u32, len: u32) -> Option<Vec<Byte>> {
    let byte = |at: u32| {
        let within = |from: u32| u8::try_from(at - from).unwrap_or(u8::MAX);
        Some(match (version, at) {
            (IpVersion::V4, 9) | (IpVersion::V6, 6) => Byte::of(Field::Protocol, 0),
            (IpVersion::V4, 12..16) => Byte::of(Field::Source, within(12)),
            (IpVersion::V4, 16..20) => Byte::of(Field::Destination, within(16)),
            (IpVersion::V6, 8..24) => Byte::of(Field::Source, within(8)),
            (IpVersion::V6, 24..40) => Byte::of(Field::Destination, within(24)),
            (IpVersion::V4, 0) => Byte::Unknown(0x45),
            (IpVersion::V6, 0) => Byte::Unknown(0x60),
            (IpVersion::V4, 1..20) | (IpVersion::V6, 1..40) => Byte::Unknown(0),
            _ => return None,
        })
    };
    (offset..offset + len).map(byte).collect()
}

/// A value as a number whose order is that of its bytes.
pub(super) fn number(bytes: &[u8]) -> u128 {
    bytes.iter().take(16).fold(0, |n, b| n << 8 | u128::from(*b))
}

/// The largest value of so many bits.
pub(super) const fn last(bits: u32) -> u128 {
    if bits >= 128 { u128::MAX } else { (1 << bits) - 1 }
}

/// Bits of a field.
pub(super) const fn width(field: Field, version: IpVersion) -> u32 {
    match field {
        Field::Source | Field::Destination => version.bits(),
        Field::Protocol => 8,
        Field::Detail | Field::SourcePort => 16,
        Field::Input | Field::Mark => 32,
        Field::InputName => 128,
    }
}

/// What an interval of addresses means. Addresses are told apart only by meanings, or a cluster of many pods would have
/// as many classes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Meaning {
    /// Itself.
    Interval(Interval),
    /// This, in the map of this name.
    Element(String, Option<Data>),
    /// This number, to whom the table is compared with.
    Other(u64),
}

/// Where packets are told apart: by a table, and by whom it is compared with.
#[derive(Clone, Debug, Default)]
pub struct Cuts {
    /// With the numbers of their meanings.
    pub(super) addresses: BTreeMap<IpVersion, BTreeSet<(Interval, usize)>>,
    meanings: HashMap<Meaning, usize>,
    pub(super) traffic: BTreeMap<(IpVersion, Layout), BTreeSet<Rect>>,
    /// Source ports at which something else begins.
    pub(super) sources: BTreeSet<u16>,
    pub(super) inputs: BTreeSet<Interval>,
    pub(super) names: BTreeSet<Interval>,
    /// Bits of the connection mark that are looked at.
    pub(super) marks: u32,
    /// Rules that look at an interface or a mark in a way that is not followed.
    pub(super) odd: BTreeSet<(String, usize)>,
}

impl Cuts {
    /// Where a table tells packets apart.
    #[must_use]
    pub fn of(table: &Table) -> Self {
        let mut cuts = Self::default();
        let mut seen = BTreeSet::new();
        for (chain, rules) in &table.chains {
            for (at, rule) in rules.rules.iter().enumerate() {
                for version in IpVersion::ALL {
                    for layout in Layout::ALL {
                        let scan = Scan { table, version, layout, cuts: &mut cuts, seen: &mut seen, odd: false };
                        if scan.rule(rule) {
                            cuts.odd.insert((chain.clone(), at));
                        }
                    }
                }
            }
        }
        cuts
    }

    /// Addresses from the first to the last, of one IP version.
    pub fn addresses(&mut self, from: std::net::IpAddr, to: std::net::IpAddr) {
        let (version, from) = IpVersion::split(from);
        let interval = (from, IpVersion::split(to).1);
        self.mean(version, interval, Meaning::Interval(interval));
    }

    /// An address that means the same as all others of this number.
    pub fn address(&mut self, ip: std::net::IpAddr, meaning: u64) {
        let (version, ip) = IpVersion::split(ip);
        self.mean(version, (ip, ip), Meaning::Other(meaning));
    }

    fn mean(&mut self, version: IpVersion, interval: Interval, meaning: Meaning) {
        let next = self.meanings.len();
        let number = *self.meanings.entry(meaning).or_insert(next);
        self.addresses.entry(version).or_default().insert((interval, number));
    }

    /// Packets of a protocol with these ports or types.
    pub fn traffic(&mut self, protocol: u8, details: std::ops::RangeInclusive<u16>) {
        for version in IpVersion::ALL {
            let rect = Rect { protocols: (protocol, protocol), details: (*details.start(), *details.end()) };
            self.traffic.entry((version, Layout::of(protocol))).or_default().insert(rect);
        }
    }

    /// A source port, which means something else than the one before it.
    pub fn source_port(&mut self, port: u16) {
        self.sources.insert(port);
    }

    /// Bits of the connection mark.
    pub const fn mark(&mut self, bits: u32) {
        self.marks |= bits;
    }
}

/// Follows one rule for packets of one IP version and one layout of the transport header.
struct Scan<'a, 's> {
    table: &'a Table,
    version: IpVersion,
    layout: Layout,
    cuts: &'s mut Cuts,
    seen: &'s mut BTreeSet<(&'a str, usize, Field, IpVersion, Layout)>,
    odd: bool,
}

impl<'a> Scan<'a, '_> {
    /// Whether the rule looks at an interface or a mark oddly.
    fn rule(mut self, rule: &'a Rule) -> bool {
        let mut registers = Registers::new();
        for expr in &rule.exprs {
            match expr {
                Expr::Meta { key, dreg } => registers.store(*dreg, &meta(*key)),
                Expr::Ct { key, dreg } => registers.store(*dreg, &connection(*key)),
                Expr::Payload { base, offset, len, dreg } => {
                    let loaded = match base {
                        PayloadBase::Network => network(self.version, *offset, *len),
                        PayloadBase::Transport => Some(self.layout.load(*offset, *len)),
                        PayloadBase::Link => None,
                    };
                    let Some(loaded) = loaded else { break };
                    registers.store(*dreg, &loaded);
                }
                Expr::Bitwise { sreg, dreg, mask, xor } => {
                    let Ok(value) = registers.load(*sreg, mask.len()) else { break };
                    let value = bitwise(value, mask, xor);
                    registers.store(*dreg, &value);
                }
                Expr::Immediate { dreg, data } => registers.store(*dreg, &vec![Byte::Const(0); data.len()]),
                Expr::Cmp { sreg, op, data } => {
                    let Ok(value) = registers.load(*sreg, data.len()) else { break };
                    let value = value.to_vec();
                    self.compared(&value, *op, data);
                }
                Expr::Lookup { map, sreg, dreg, .. } => {
                    let Some((spec, elements)) = self.table.maps.get(map) else { break };
                    let Ok(key) = registers.load(*sreg, spec.key_len()) else { break };
                    let key = key.to_vec();
                    self.looked_up(map, &key, elements);
                    if let (Some(dreg), Some(crate::DataType::Value { len, .. })) = (dreg, spec.data) {
                        registers.store(*dreg, &vec![Byte::Const(0); len as usize]);
                    }
                }
                _ => {}
            }
        }
        self.odd
    }

    fn compared(&mut self, value: &[Byte], op: CmpOp, data: &[u8]) {
        if value.iter().any(|b| b.depends_on() == Some(Field::Mark)) {
            return self.marked(value);
        }
        match Look::at(value) {
            Look::Nothing => {}
            Look::Start { field, bits } => {
                let width = width(field, self.version);
                let length = u32::try_from(data.len() * 8).unwrap_or(u32::MAX).min(128);
                if bits > width || bits > length {
                    return self.strange(value);
                }
                let start = if bits == 0 { 0 } else { number(data) >> (length - bits) };
                let below = width - bits;
                let from = if below >= 128 { 0 } else { start << below };
                self.interval(field, (from, from | last(below)), None);
                if !matches!(op, CmpOp::Eq | CmpOp::Neq) && from > 0 {
                    self.interval(field, (0, from - 1), None);
                }
            }
            Look::Odd => self.strange(value),
        }
    }

    /// Up to a few bits of the mark, all their combinations are tried.
    fn marked(&mut self, value: &[Byte]) {
        for (place, byte) in value.iter().enumerate() {
            match *byte {
                Byte::Of { field: Field::Mark, at, mask, .. } if usize::from(at) == place && at < 4 => {
                    let mut bits = [0; 4];
                    bits[usize::from(at)] = mask;
                    self.cuts.marks |= u32::from_ne_bytes(bits);
                }
                Byte::Const(_) => {}
                _ => self.odd = true,
            }
        }
    }

    fn looked_up(&mut self, map: &'a str, key: &[Byte], elements: &'a Set<Element>) {
        let Some((spec, _)) = self.table.maps.get(map) else { return };
        let protocol = fields(spec).position(|f| whole(&key[f], self.version) == Some(Field::Protocol));
        for (at, place) in fields(spec).enumerate() {
            let Some(field) = whole(&key[place.clone()], self.version) else {
                self.strange(&key[place]);
                continue;
            };
            if !self.seen.insert((map, at, field, self.version, self.layout)) {
                continue;
            }
            let by = protocol.and_then(|p| fields(spec).nth(p));
            let address = matches!(field, Field::Source | Field::Destination);
            let alone = address && spec.key.len() == 1 && disjoint(elements);
            for element in elements {
                let Element::Range { from, to, .. } = element else { continue };
                let ends =
                    |f: &std::ops::Range<usize>| Some((number(from.get(f.clone())?), number(to.get(f.clone())?)));
                let Some(interval) = ends(&place) else { continue };
                if alone {
                    let meaning = Meaning::Element(map.to_owned(), element.data().cloned());
                    self.cuts.mean(self.version, interval, meaning);
                } else {
                    self.interval(field, interval, by.as_ref().and_then(ends));
                }
            }
        }
    }

    fn strange(&mut self, bytes: &[Byte]) {
        let fixed = |b: &Byte| matches!(b.depends_on(), Some(Field::Input | Field::InputName | Field::Mark));
        self.odd |= bytes.iter().any(fixed);
    }

    #[expect(clippy::cast_possible_truncation, reason = "fields are as wide as their type")]
    fn interval(&mut self, field: Field, (from, to): Interval, protocol: Option<Interval>) {
        if from > to {
            return;
        }
        let mut rect = |protocols, details| {
            self.cuts.traffic.entry((self.version, self.layout)).or_default().insert(Rect { protocols, details });
        };
        match field {
            Field::Source | Field::Destination => {
                self.cuts.mean(self.version, (from, to), Meaning::Interval((from, to)));
            }
            Field::Input => drop(self.cuts.inputs.insert((from, to))),
            Field::InputName => drop(self.cuts.names.insert((from, to))),
            Field::Protocol => rect((from as u8, to as u8), (0, u16::MAX)),
            Field::Detail => {
                let (first, last) = protocol.unwrap_or((0, 255));
                rect((first as u8, last as u8), (from as u16, to as u16));
            }
            Field::SourcePort => {
                self.cuts.sources.insert(from as u16);
                self.cuts.sources.extend((to as u16).checked_add(1));
            }
            Field::Mark => self.odd = true,
        }
    }
}

/// Whether no key is in two of these elements.
fn disjoint(elements: &Set<Element>) -> bool {
    let ranges = elements.iter().filter_map(|e| match e {
        Element::Range { from, to, .. } => Some((from, to)),
        Element::CatchAll { .. } => None,
    });
    let mut last: Option<&Vec<u8>> = None;
    for (from, to) in ranges {
        if last.is_some_and(|last| last >= from) || from > to {
            return false;
        }
        last = Some(to);
    }
    true
}

/// The field that some bytes are, whole and as it is.
pub(super) fn whole(bytes: &[Byte], version: IpVersion) -> Option<Field> {
    match Look::at(bytes) {
        Look::Start { field, bits } if bits == width(field, version) && bytes.len() * 8 == bits as usize => Some(field),
        _ => None,
    }
}

/// Where the fields of a key are.
pub(super) fn fields(spec: &crate::MapSpec) -> impl Iterator<Item = std::ops::Range<usize>> + '_ {
    let mut at = 0;
    spec.key.iter().map(move |field| {
        let from = at;
        at += field.padded_len();
        from..from + field.len()
    })
}

fn meta(key: MetaKey) -> Vec<Byte> {
    match key {
        MetaKey::NfProto => vec![Byte::Const(0)],
        MetaKey::L4Proto => Byte::field(Field::Protocol, 1),
        MetaKey::Iif => Byte::field(Field::Input, 4),
        MetaKey::IifName => Byte::field(Field::InputName, 16),
        MetaKey::Mark | MetaKey::Oif => vec![Byte::Unknown(0); 4],
        MetaKey::OifName => vec![Byte::Unknown(0); 16],
    }
}

fn connection(key: CtKey) -> Vec<Byte> {
    match key {
        CtKey::State => vec![Byte::Const(0); 4],
        CtKey::Direction => vec![Byte::Const(0)],
        CtKey::Mark => Byte::field(Field::Mark, 4),
        CtKey::Status => vec![Byte::Unknown(0); 4],
        CtKey::Labels => vec![Byte::Unknown(0); 16],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Chain, Family, KeyType, MapKind, MapSpec, Reg};

    const R0: Reg = Reg::new(0);

    /// A table of one rule and one map, `m`.
    fn cuts(exprs: Vec<Expr>, key: &[KeyType], elements: Vec<Element>) -> Cuts {
        let key = key.to_vec();
        let spec = MapSpec { key, data: None, kind: MapKind::Interval, size: None, counter: false, timeout: false };
        let chain = Chain { base: None, rules: vec![Rule { exprs, comment: None }] };
        Cuts::of(&Table {
            family: Family::Inet,
            name: "t".into(),
            maps: [("m".to_owned(), (spec, elements.into()))].into(),
            chains: [("c".to_owned(), chain.into())].into_iter().collect(),
        })
    }

    fn addresses(cuts: &Cuts, version: IpVersion) -> Vec<Interval> {
        cuts.addresses.get(&version).into_iter().flatten().map(|(interval, _)| *interval).collect()
    }

    fn source(len: u32) -> Expr {
        Expr::Payload { base: PayloadBase::Network, offset: 12, len, dreg: R0 }
    }

    fn cmp(op: CmpOp, data: &[u8]) -> Expr {
        Expr::Cmp { sreg: R0, op, data: data.to_vec() }
    }

    fn lookup(sreg: Reg) -> Expr {
        Expr::Lookup { map: "m".into(), sreg, dreg: None, verdict: false, invert: false }
    }

    #[test]
    fn headers_are_taken_apart_by_version() {
        let field = |version, offset| network(version, offset, 1).map(|b| b[0].depends_on());
        for (version, protocol, source, destination, end) in
            [(IpVersion::V4, 9, 12, 16, 20), (IpVersion::V6, 6, 8, 24, 40)]
        {
            assert_eq!(field(version, protocol), Some(Some(Field::Protocol)));
            assert_eq!(field(version, source), Some(Some(Field::Source)));
            assert_eq!(field(version, destination - 1), Some(Some(Field::Source)));
            assert_eq!(field(version, destination), Some(Some(Field::Destination)));
            assert_eq!(field(version, end - 1), Some(Some(Field::Destination)));
            assert_eq!(field(version, 1), Some(None));
            assert_eq!(network(version, end - 1, 2), None, "beyond the end");
        }
        let detail = Byte::of(Field::Detail, 0);
        assert_eq!((Layout::Port.load(2, 1), Layout::Type.load(0, 1)), (vec![detail], vec![detail]));
        assert_eq!([1, 58, 47].map(Layout::of), [Layout::Type, Layout::Type, Layout::Opaque]);
    }

    #[test]
    fn a_comparison_cuts_where_it_changes() {
        let block = 10 << 24;
        let equal = cuts(vec![source(1), cmp(CmpOp::Eq, &[10])], &[KeyType::Ipv4], vec![]);
        assert_eq!(addresses(&equal, IpVersion::V4), [(block, block | 0xff_ffff)]);
        let below = cuts(vec![source(4), cmp(CmpOp::Lt, &[10, 0, 0, 0])], &[KeyType::Ipv4], vec![]);
        assert_eq!(addresses(&below, IpVersion::V4), [(0, block - 1), (block, block)]);
        let mask = Expr::Bitwise { sreg: R0, dreg: R0, mask: vec![255, 128, 0, 0], xor: vec![0; 4] };
        let masked = cuts(vec![source(4), mask, cmp(CmpOp::Eq, &[10, 128, 0, 0])], &[KeyType::Ipv4], vec![]);
        assert_eq!(addresses(&masked, IpVersion::V4), [(block | 0x80_0000, block | 0xff_ffff)]);
        assert!(equal.odd.is_empty() && below.odd.is_empty() && masked.odd.is_empty());
    }

    #[test]
    fn elements_cut_and_those_that_mean_the_same_do_it_together() {
        let entry = |n: u8, data: u8| Element::entry(vec![10, 0, 0, n], Data::Value(vec![data]));
        let same = cuts(vec![source(4), lookup(R0)], &[KeyType::Ipv4], vec![entry(1, 7), entry(2, 7), entry(3, 8)]);
        let numbers: Vec<usize> = same.addresses[&IpVersion::V4].iter().map(|(_, number)| *number).collect();
        assert_eq!((numbers[0] == numbers[1], numbers[0] == numbers[2]), (true, false), "{numbers:?}");
        // Where a key is in two elements, what it means is not what one of them says.
        let range = Element::Range { from: vec![10, 0, 0, 0], to: vec![10, 0, 0, 9], data: None };
        let over = cuts(vec![source(4), lookup(R0)], &[KeyType::Ipv4], vec![entry(1, 7), range]);
        let numbers: BTreeSet<usize> = over.addresses[&IpVersion::V4].iter().map(|(_, number)| *number).collect();
        assert_eq!(numbers.len(), 2);
    }

    #[test]
    fn a_port_of_a_key_is_cut_for_the_protocols_of_its_element() {
        let key = |protocol: u8, port: u16| [&[protocol, 0, 0, 0][..], &port.to_be_bytes(), &[0, 0]].concat();
        let exprs = vec![
            Expr::Meta { key: MetaKey::L4Proto, dreg: R0 },
            Expr::Payload { base: PayloadBase::Transport, offset: 2, len: 2, dreg: Reg::new(1) },
            lookup(R0),
        ];
        let cuts = cuts(exprs, &[KeyType::Proto, KeyType::Port], vec![Element::key(key(6, 80))]);
        let ports = &cuts.traffic[&(IpVersion::V6, Layout::Port)];
        assert!(ports.contains(&Rect { protocols: (6, 6), details: (80, 80) }), "{ports:?}");
        assert!(ports.iter().all(|r| r.details.0 != 80 || r.protocols == (6, 6)), "{ports:?}");
    }

    #[test]
    fn marks_are_followed_bit_by_bit_and_only_where_they_lie() {
        let mark = Expr::Ct { key: CtKey::Mark, dreg: R0 };
        let mask = |mask: u32| Expr::Bitwise { sreg: R0, dreg: R0, mask: mask.to_ne_bytes().into(), xor: vec![0; 4] };
        let looked = cuts(vec![mark.clone(), mask(0x30), cmp(CmpOp::Eq, &[0; 4])], &[KeyType::Ipv4], vec![]);
        assert_eq!((looked.marks, looked.odd.len()), (0x30, 0));
        assert_eq!(super::super::marks(&looked), (vec![0, 0x10, 0x20, 0x30], true));
        let many = cuts(vec![mark.clone(), cmp(CmpOp::Eq, &[0; 4])], &[KeyType::Ipv4], vec![]);
        let (some, all) = super::super::marks(&many);
        assert!(!all && some.len() == 34, "nobody tries four thousand million marks: {some:?}");
        let as_key = cuts(vec![mark, lookup(R0)], &[KeyType::Mark], vec![Element::key(vec![0; 4])]);
        assert_eq!(as_key.odd.into_iter().collect::<Vec<_>>(), [("c".to_owned(), 0)]);
    }
}
