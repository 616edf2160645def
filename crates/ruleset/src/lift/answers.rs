//! What comparisons and lookups of a table say, for all packets at once.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::net::IpAddr;
use std::ops::Range;
use std::rc::Rc;

use tortie_persistent::Set;

use super::cube::{Axis, Part};
use super::cuts::{fields, whole};
use super::register::{Byte, Field};
use super::set::ClassSet;
use super::space::Space;
use crate::machine::Storage;
use crate::{CmpOp, Data, Element, MapSpec, Table};

/// The data of the element that is hit, if one is; elements of plain sets have none.
pub(super) type Found<'a> = Option<Option<&'a Data>>;
/// Packets by what is said of them. No two parts have a packet in common.
pub(super) type Parts<R> = Rc<Vec<(Part, R)>>;

/// Lookups that were made, by map and key.
type Lookups<'a> = HashMap<(&'a str, Vec<Byte>), Parts<Found<'a>>>;
/// Comparisons that were made.
type Comparisons = HashMap<(CmpOp, Vec<u8>, Vec<Byte>), Parts<bool>>;

/// The maps of a table, and what was asked of them.
#[derive(Debug)]
pub(super) struct Answers<'a> {
    space: &'a Space,
    maps: BTreeMap<&'a str, (&'a MapSpec, &'a Set<Element>, Storage<'a>)>,
    lookups: RefCell<Lookups<'a>>,
    comparisons: RefCell<Comparisons>,
}

impl<'a> Answers<'a> {
    pub(super) fn new(table: &'a Table, space: &'a Space) -> Self {
        let ready = |(name, (spec, elements)): (&'a String, &'a (MapSpec, Set<Element>))| {
            (name.as_str(), (spec, elements, Storage::new(spec, elements)))
        };
        let maps = table.maps.iter().map(ready).collect();
        Self { space, maps, lookups: RefCell::default(), comparisons: RefCell::default() }
    }

    /// A map of the table, by the table's own copy of its name.
    pub(super) fn map(&self, name: &str) -> Option<(&'a str, &'a MapSpec)> {
        self.maps.get_key_value(name).map(|(name, (spec, ..))| (*name, *spec))
    }

    /// Whether a comparison holds.
    pub(super) fn compare(&self, op: CmpOp, value: &[Byte], data: &[u8]) -> Parts<bool> {
        let mut known = self.comparisons.borrow_mut();
        let parts = known.entry((op, data.to_vec(), value.to_vec()));
        parts.or_insert_with(|| Rc::new(self.split(value, &|_, _| true, &|value| op.holds(value, data)))).clone()
    }

    /// The element that a key hits.
    pub(super) fn lookup(&self, map: &'a str, key: &[Byte]) -> Parts<Found<'a>> {
        if let Some(known) = self.lookups.borrow().get(&(map, key.to_vec())) {
            return known.clone();
        }
        let (spec, elements, storage) = &self.maps[map];
        let fixed = |bytes: &[Byte]| -> Option<Vec<u8>> {
            bytes.iter().map(|b| if let Byte::Const(v) = b { Some(*v) } else { None }).collect()
        };
        // Elements that differ in what is known already cannot be hit.
        let known: Vec<_> = fields(spec).filter_map(|f| Some((f.clone(), fixed(&key[f])?))).collect();
        let possible = |e: &&'a Element| match e {
            Element::Range { from, to, .. } => {
                known.iter().all(|(f, v)| from[f.clone()] <= v[..] && v[..] <= to[f.clone()])
            }
            Element::CatchAll { .. } => true,
        };
        let fields: Vec<_> = fields(spec).collect();
        let few: Vec<&Element> = elements.iter().filter(possible).collect();
        let storage = if few.len() == elements.len() { None } else { Some(Storage::of(spec, few.iter().copied())) }
            .map_or_else(|| Ok(storage), Err);
        let get = |value: &[u8]| match &storage {
            Ok(all) => all.get(value).map(Element::data),
            Err(few) => few.get(value).map(Element::data),
        };
        // Most sources of a pair are in no pair.
        let leads = |axis: Axis, class: usize| {
            let on_axis = |f: &&Range<usize>| {
                whole(&key[(*f).clone()], self.space.version).is_some_and(|field| Axis::of(field) == Some(axis))
            };
            let Some(place) = fields.iter().find(on_axis) else { return true };
            let value: Vec<u8> = key[place.clone()].iter().map(|b| self.value(*b, [class; 3])).collect();
            few.iter().any(|e| match e {
                Element::Range { from, to, .. } => from[place.clone()] <= value[..] && value[..] <= to[place.clone()],
                // What it answers, it answers whatever the other axes are.
                Element::CatchAll { .. } => false,
            })
        };
        let parts = Rc::new(self.split(key, &leads, &get));
        self.lookups.borrow_mut().insert((map, key.to_vec()), parts.clone());
        parts
    }

    fn value(&self, byte: Byte, [source, destination, traffic]: [usize; 3]) -> u8 {
        let octet = |class: usize, at: u8| match self.space.addresses()[class] {
            IpAddr::V4(ip) => ip.octets().get(usize::from(at)).copied().unwrap_or(0),
            IpAddr::V6(ip) => ip.octets().get(usize::from(at)).copied().unwrap_or(0),
        };
        match byte {
            Byte::Const(value) | Byte::Unknown(value) => value,
            Byte::Unset => 0,
            Byte::Of { field, at, mask, xor } => {
                let whole = match field {
                    Field::Source => octet(source, at),
                    Field::Destination => octet(destination, at),
                    Field::Protocol => self.space.traffic()[traffic].protocol,
                    Field::Detail => self.space.traffic()[traffic].detail.to_be_bytes()[usize::from(at.min(1))],
                    Field::SourcePort => {
                        self.space.traffic()[traffic].source_port.to_be_bytes()[usize::from(at.min(1))]
                    }
                    Field::Input | Field::InputName | Field::Mark => 0,
                };
                whole & mask ^ xor
            }
        }
    }

    /// A function of some bytes. Where a class does not lead anywhere on its axis, the function must be the same
    /// whatever the other axes are.
    fn split<R: Clone + Eq + Hash>(
        &self,
        bytes: &[Byte],
        leads: &dyn Fn(Axis, usize) -> bool,
        f: &dyn Fn(&[u8]) -> R,
    ) -> Vec<(Part, R)> {
        let len = |axis| match axis {
            Axis::Source | Axis::Destination => self.space.addresses().len(),
            Axis::Traffic => self.space.traffic().len(),
        };
        let at = |classes: [usize; 3]| f(&bytes.iter().map(|b| self.value(*b, classes)).collect::<Vec<_>>());
        let looks = |axis: &Axis| bytes.iter().any(|b| b.depends_on().and_then(Axis::of) == Some(*axis));
        let mut asked: Vec<Axis> = Axis::ALL.into_iter().filter(looks).collect();
        let Some(last) = asked.pop() else { return vec![(Part::default(), at([0; 3]))] };
        let mut out = Vec::new();
        // Class by class on all axes but the last, on which those of one answer stay together.
        let mut singles = vec![(Part::default(), [0; 3])];
        for axis in asked {
            let idle = ClassSet::of(len(axis), |class| !leads(axis, class));
            let mut more = Vec::new();
            for (part, classes) in singles {
                let with = |class| {
                    let mut classes = classes;
                    classes[axis as usize] = class;
                    classes
                };
                if let Some(class) = idle.first() {
                    out.push((part.clone().with(axis, idle.clone()), at(with(class))));
                }
                for class in (0..len(axis)).filter(|class| !idle.contains(*class)) {
                    let one = ClassSet::of(len(axis), |c| c == class);
                    more.push((part.clone().with(axis, one), with(class)));
                }
            }
            singles = more;
        }
        for (part, mut classes) in singles {
            let mut groups: HashMap<R, Vec<usize>> = HashMap::new();
            for class in 0..len(last) {
                classes[last as usize] = class;
                groups.entry(at(classes)).or_default().push(class);
            }
            out.extend(groups.into_iter().map(|(answer, members)| {
                let set = ClassSet::of(len(last), |class| members.binary_search(&class).is_ok());
                (part.clone().with(last, set), answer)
            }));
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lift::{Cuts, IpVersion};
    use crate::{Family, KeyType, MapKind, MapSpec};

    /// Classes of the packets of a part, each with whether it is in it.
    fn within(part: &Part, [source, destination, traffic]: [usize; 3]) -> bool {
        let has = |set: &Option<ClassSet>, class| set.as_ref().is_none_or(|set: &ClassSet| set.contains(class));
        has(&part.source, source) && has(&part.destination, destination) && has(&part.traffic, traffic)
    }

    fn table(elements: Vec<Element>) -> Table {
        let key = vec![KeyType::Ipv4, KeyType::Ipv4, KeyType::Proto];
        let spec = MapSpec { key, data: None, kind: MapKind::Hash, size: None, counter: false, timeout: false };
        let maps = [("m".to_owned(), (spec, elements.into()))].into();
        Table { family: Family::Inet, name: "t".into(), maps, chains: [].into() }
    }

    fn key(source: u8, destination: u8, protocol: u8) -> Vec<u8> {
        [&[10, 0, 0, source][..], &[10, 0, 0, destination], &[protocol, 0, 0, 0]].concat()
    }

    #[test]
    fn a_lookup_has_one_answer_for_every_packet_and_it_is_that_of_the_map() {
        let range = Element::Range { from: key(4, 0, 6), to: key(5, 9, 17), data: None };
        let some = vec![Element::key(key(1, 2, 6)), Element::key(key(3, 1, 17)), range];
        let rest = [some.clone(), vec![Element::CatchAll { data: None }]].concat();
        for table in [table(some), table(rest)] {
            let mut cuts = Cuts::default();
            (0..12).map(|n| IpAddr::from([10, 0, 0, n])).for_each(|ip| cuts.addresses(ip, ip));
            [6, 17].into_iter().for_each(|protocol| cuts.traffic(protocol, 0..=u16::MAX));
            let space = Space::new(IpVersion::V4, &cuts);
            let answers = Answers::new(&table, &space);
            let fields = [Byte::field(Field::Source, 4), Byte::field(Field::Destination, 4)].concat();
            let key = [fields, Byte::field(Field::Protocol, 1), vec![Byte::Const(0); 3]].concat();
            let (map, spec) = answers.map("m").expect("it is there");
            let parts = answers.lookup(map, &key);
            let storage = Storage::new(spec, &table.maps["m"].1);
            let n = space.addresses().len();
            let all = (0..n * n * space.traffic().len()).map(|i| [i % n, i / n % n, i / n / n]);
            let mut hits = 0;
            for classes in all {
                let of: Vec<bool> =
                    parts.iter().filter(|(p, _)| within(p, classes)).map(|(_, found)| found.is_some()).collect();
                let value: Vec<u8> = key.iter().map(|b| answers.value(*b, classes)).collect();
                assert_eq!(of, [storage.get(&value).is_some()], "{classes:?}");
                hits += usize::from(of[0]);
            }
            assert!(hits > 0);
            assert!(Rc::ptr_eq(&parts, &answers.lookup(map, &key)), "asked once");
        }
    }

    #[test]
    fn what_is_known_of_a_key_leaves_few_elements() {
        let table = table(vec![Element::key(key(1, 2, 6)), Element::key(key(3, 2, 6))]);
        let space = Space::new(IpVersion::V4, &Cuts::default());
        let answers = Answers::new(&table, &space);
        let fixed = |source: u8| key(source, 2, 6).into_iter().map(Byte::Const).collect::<Vec<_>>();
        let found = |source| answers.lookup("m", &fixed(source)).iter().map(|(_, f)| f.is_some()).collect::<Vec<_>>();
        assert_eq!((found(1), found(2), found(3)), (vec![true], vec![false], vec![true]));
    }
}
