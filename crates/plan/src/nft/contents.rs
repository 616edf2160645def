//! The contents of the maps.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::sync::Arc;

use tortie_model::{Direction, Family, IpProtocol};
use tortie_persistent::{Map, Set};
use tortie_ruleset::{Data, Element, Verdict};

use super::layout::{Layout, Slot, Stage};
use super::prefix::DropKind;
use super::{Options, path, program};
use crate::{
    ClassId, IdentityId, LocalEndpoint, OutsideClass, PathId, Plan, PortClassId, Profile, ProfileId, RangeEntry,
};

/// Result of `dec` where a profile has no row: its default. Paths are numbered from 1.
pub(super) const NO_ROW: u32 = 0;
/// Class of addresses of no pod, in profiles that have rules with blocks. Above all numbers that a plan gives out.
pub(super) const RANGED: u32 = u32::MAX;
/// Result of `dec` for that class: go to the second stage.
pub(super) const TO_RANGES: u32 = u32::MAX;
/// Identity, in the second stage, of addresses in no range that a policy names.
pub(super) const NO_RANGE: u32 = u32::MAX;

/// Contents of maps, by what the maps are for.
pub(crate) type Contents = BTreeMap<Slot, Set<Element>>;

fn octets(ip: IpAddr) -> Vec<u8> {
    match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    }
}

fn pair(value: u32) -> Data {
    Data::Value([0u32.to_ne_bytes(), value.to_ne_bytes()].concat())
}

fn two(first: u32, second: u32) -> Vec<u8> {
    [first.to_ne_bytes(), second.to_ne_bytes()].concat()
}

fn entry(key: Vec<u8>, value: u32) -> Element {
    Element::entry(key, pair(value))
}

fn otherwise(value: u32) -> Element {
    Element::CatchAll { data: Some(pair(value)) }
}

/// Writes elements down, or strikes them out.
struct Edit<'a> {
    contents: &'a mut Contents,
    inserts: bool,
}

impl<'a> Edit<'a> {
    const fn inserting(contents: &'a mut Contents) -> Self {
        Self { contents, inserts: true }
    }

    const fn removing(contents: &'a mut Contents) -> Self {
        Self { contents, inserts: false }
    }

    fn put(&mut self, slot: Slot, element: Element) {
        let elements = self.contents.entry(slot).or_default();
        if self.inserts {
            elements.insert(element);
        } else {
            elements.remove(&element);
        }
    }
}

fn endpoint_elements(endpoint: &LocalEndpoint, edit: &mut Edit<'_>) {
    let index = endpoint.interface.index.to_ne_bytes();
    for address in &endpoint.addresses {
        let family = Family::of(*address);
        let own = octets(*address);
        let bound = [&index[..], &own].concat();
        edit.put(Slot::Legit(family), Element::key(bound.clone()));
        edit.put(Slot::Local(family), Element::key(own.clone()));
        for other in endpoint.addresses.iter().filter(|a| Family::of(**a) == family) {
            edit.put(Slot::Own(family), Element::key([own.clone(), octets(*other)].concat()));
        }
        if endpoint.egress != ProfileId(0) {
            edit.put(Slot::Egress(family), entry(bound, endpoint.egress.0));
        }
        if endpoint.ingress != ProfileId(0) {
            edit.put(Slot::Ingress(family), entry(own, endpoint.ingress.0));
        }
    }
}

fn address_element(address: IpAddr, identity: IdentityId, edit: &mut Edit<'_>) {
    edit.put(Slot::Identity(Family::of(address)), entry(octets(address), identity.0));
}

fn range_elements(ranges: &[RangeEntry], edit: &mut Edit<'_>) {
    for range in ranges {
        let (from, to) = (octets(range.from), octets(range.to));
        let data = Some(pair(range.identity.0));
        edit.put(Slot::Range(Family::of(range.from)), Element::Range { from, to, data });
    }
}

fn class_element(id: ProfileId, identity: IdentityId, class: ClassId, edit: &mut Edit<'_>) {
    if identity.0 != 0 && class.0 != 0 {
        edit.put(Slot::Class, entry(two(identity.0, id.0), class.0));
    }
}

fn row_element((port, class): (PortClassId, ClassId), path: PathId, edit: &mut Edit<'_>) {
    edit.put(Slot::Decision, entry(two(port.0, class.0), path.0));
}

/// What becomes of addresses of no pod.
fn outside_elements(id: ProfileId, profile: &Profile, edit: &mut Edit<'_>) {
    match profile.outside {
        OutsideClass::One(class) if class.0 == 0 => {}
        OutsideClass::One(class) => edit.put(Slot::Class, entry(two(0, id.0), class.0)),
        OutsideClass::ByRange => {
            edit.put(Slot::Class, entry(two(0, id.0), RANGED));
            let classes: BTreeSet<u32> = profile.ports.iter().map(|(_, class)| class.0).filter(|c| *c != 0).collect();
            for port_class in classes {
                edit.put(Slot::Decision, entry(two(port_class, RANGED), TO_RANGES));
            }
            if let Some(class) = profile.classes.get(&IdentityId(0)).filter(|c| c.0 != 0) {
                edit.put(Slot::Class, entry(two(NO_RANGE, id.0), class.0));
            }
        }
    }
}

fn port_elements(id: ProfileId, profile: &Profile, budget: u16, edit: &mut Edit<'_>) {
    let listed: BTreeMap<IpProtocol, _> = profile.ports.protocols().collect();
    let rest = profile.ports.rest();
    for number in 0..=u8::MAX {
        let protocol = IpProtocol(number);
        let all = [(protocol.details(), *rest)];
        let ranges: &[_] = match listed.get(&protocol) {
            Some(ranges) => ranges,
            None if rest.0 == 0 => continue,
            None => &all,
        };
        let has_detail = protocol.transport().is_some() || protocol.is_icmp();
        if !has_detail && let Some((_, class)) = ranges.first().filter(|(_, c)| c.0 != 0) {
            let key = [&[number, 0, 0, 0][..], &id.0.to_ne_bytes()].concat();
            edit.put(Slot::Protocol, entry(key, class.0));
        }
        if has_detail {
            for (range, class) in ranges.iter().filter(|(_, c)| c.0 != 0) {
                let id = id.0.to_ne_bytes();
                if !is_large(range, budget) {
                    for detail in range.clone() {
                        let key = [&[number, 0, 0, 0][..], &detail.to_be_bytes(), &[0, 0], &id].concat();
                        edit.put(Slot::Port, entry(key, class.0));
                    }
                }
                let end = |detail: &u16| [&detail.to_be_bytes()[..], &[0, 0], &[number, 0, 0, 0], &id].concat();
                let data = Some(pair(class.0));
                edit.put(Slot::PortRange, Element::Range { from: end(range.start()), to: end(range.end()), data });
            }
        }
    }
}

/// Whether a range of ports is not written out port by port.
fn is_large(range: &RangeInclusive<u16>, budget: u16) -> bool {
    range.end() - range.start() >= budget
}

fn has_large_ranges(profile: &Profile, budget: u16) -> bool {
    // A protocol that no rule names has no ranges, but all details in one.
    let looked_at = |p: &IpProtocol| p.transport().is_some() || p.is_icmp();
    let all = [IpProtocol::TCP, IpProtocol::UDP, IpProtocol::SCTP, IpProtocol::ICMP, IpProtocol::ICMPV6];
    all.iter().filter(|p| looked_at(p)).any(|protocol| {
        profile.ports.ranges(*protocol).iter().any(|(range, class)| class.0 != 0 && is_large(range, budget))
    })
}

/// A path as a profile leads to it: an element of a verdict map.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Act {
    /// 0 for the profile's default.
    path: u32,
    profile: ProfileId,
    /// The path, and what its chain does; `None` when the plan does not explain it.
    leads_to: Option<(PathId, path::Act)>,
}

/// What does not depend on the layout. Consecutive values share what is the same.
#[derive(Clone, Debug)]
pub(crate) struct Values {
    /// Contents of all maps but those that hold verdicts.
    contents: Contents,
    /// By direction.
    acts: BTreeMap<Direction, Set<Act>>,
    /// How many rows of a profile name a path.
    rows: Map<(ProfileId, PathId), usize>,
    /// Profiles with ranges of ports that are not written out port by port.
    large: Set<ProfileId>,
    /// Profiles that ask for the range of a peer, by direction.
    by_range: BTreeMap<Direction, Set<ProfileId>>,
}

impl Values {
    /// The values of a plan that holds nothing.
    pub(crate) fn empty() -> Self {
        let mut contents: Contents = Slot::all().into_iter().map(|slot| (slot, Set::new())).collect();
        let mut edit = Edit::inserting(&mut contents);
        for family in Family::ALL {
            edit.put(Slot::Identity(family), otherwise(0));
            edit.put(Slot::Range(family), otherwise(NO_RANGE));
        }
        edit.put(Slot::Class, otherwise(0));
        edit.put(Slot::Protocol, otherwise(0));
        edit.put(Slot::Decision, otherwise(NO_ROW));
        edit.put(Slot::Decision, entry(two(0, RANGED), TO_RANGES));
        Self {
            contents,
            acts: Direction::BOTH.map(|d| (d, Set::new())).into(),
            rows: Map::new(),
            large: Set::new(),
            by_range: Direction::BOTH.map(|d| (d, Set::new())).into(),
        }
    }

    /// Goes from one plan to the next: costs what differs. What goes is removed before what comes is added, because
    /// both may have the same key.
    pub(crate) fn follow(&mut self, old: &Plan, new: &Plan, options: &Options) {
        let endpoints = old.endpoints.changes(&new.endpoints);
        let addresses = old.addresses.changes(&new.addresses);
        let ranges = !Arc::ptr_eq(&old.ranges, &new.ranges) && old.ranges != new.ranges;
        let profiles = old.profiles.changes(&new.profiles);
        let contents = &mut self.contents;
        let mut remove = Edit::removing(contents);
        endpoints.iter().filter_map(|c| c.old).for_each(|e| endpoint_elements(e, &mut remove));
        for address in &addresses {
            address.old.iter().for_each(|id| address_element(*address.key, **id, &mut remove));
        }
        if ranges {
            range_elements(&old.ranges, &mut remove);
        }
        let mut insert = Edit::inserting(contents);
        endpoints.iter().filter_map(|c| c.new).for_each(|e| endpoint_elements(e, &mut insert));
        for address in &addresses {
            address.new.iter().for_each(|id| address_element(*address.key, **id, &mut insert));
        }
        if ranges {
            range_elements(&new.ranges, &mut insert);
        }
        for profile in profiles {
            self.change_profile(
                *profile.key,
                profile.old.map(|p| (&**p, old)),
                profile.new.map(|p| (&**p, new)),
                options,
            );
        }
    }

    fn change_profile(
        &mut self,
        id: ProfileId,
        old: Option<(&Profile, &Plan)>,
        new: Option<(&Profile, &Plan)>,
        options: &Options,
    ) {
        let budget = options.port_budget;
        let frame = |p: &Profile| (p.outside, p.classes.get(&IdentityId(0)).copied());
        let same_frame = old.zip(new).is_some_and(|((a, _), (b, _))| frame(a) == frame(b) && a.ports == b.ports);
        let (no_classes, no_rows) = (Map::new(), Map::new());
        let classes = |p: Option<(&'_ Profile, _)>| p.map_or_else(|| no_classes.clone(), |(p, _)| p.classes.clone());
        let rows = |p: Option<(&'_ Profile, _)>| p.map_or_else(|| no_rows.clone(), |(p, _)| p.rows.clone());
        let (old_classes, new_classes) = (classes(old), classes(new));
        let (old_rows, new_rows) = (rows(old), rows(new));
        let (classes, rows) = (old_classes.changes(&new_classes), old_rows.changes(&new_rows));

        let contents = &mut self.contents;
        let mut remove = Edit::removing(contents);
        for class in &classes {
            class.old.iter().for_each(|c| class_element(id, *class.key, **c, &mut remove));
        }
        for row in &rows {
            row.old.iter().for_each(|path| row_element(*row.key, **path, &mut remove));
        }
        if let Some((old, _)) = old.filter(|_| !same_frame) {
            outside_elements(id, old, &mut remove);
            port_elements(id, old, budget, &mut remove);
        }
        let mut insert = Edit::inserting(contents);
        for class in &classes {
            class.new.iter().for_each(|c| class_element(id, *class.key, **c, &mut insert));
        }
        for row in &rows {
            row.new.iter().for_each(|path| row_element(*row.key, **path, &mut insert));
        }
        if let Some((new, _)) = new.filter(|_| !same_frame) {
            outside_elements(id, new, &mut insert);
            port_elements(id, new, budget, &mut insert);
        }

        let Some(direction) = new.or(old).map(|(p, _)| p.stack.direction()) else { return };
        let acts = self.acts.entry(direction).or_default();
        let act = |number: u32, (profile, plan): (&Profile, &Plan)| {
            let target = if number == NO_ROW { profile.default } else { PathId(number) };
            let known = plan.paths.get(&target).filter(|_| number != TO_RANGES);
            Act { path: number, profile: id, leads_to: known.map(|p| (target, path::Act::of(p))) }
        };
        for (path, plan) in rows.iter().filter_map(|row| row.old.zip(old)) {
            let count = self.rows.get(&(id, *path)).copied().unwrap_or_default();
            if count > 1 {
                self.rows.insert((id, *path), count - 1);
            } else {
                self.rows.remove(&(id, *path));
                acts.remove(&act(path.0, plan));
            }
        }
        for (path, plan) in rows.iter().filter_map(|row| row.new.zip(new)) {
            let count = self.rows.get(&(id, *path)).copied().unwrap_or_default();
            self.rows.insert((id, *path), count + 1);
            if count == 0 {
                acts.insert(act(path.0, plan));
            }
        }
        let by_range = self.by_range.entry(direction).or_default();
        if let Some(old) = old {
            acts.remove(&act(NO_ROW, old));
            acts.remove(&act(TO_RANGES, old));
            self.large.remove(&id);
            by_range.remove(&id);
        }
        if let Some(new) = new {
            acts.insert(act(NO_ROW, new));
            if new.0.outside == OutsideClass::ByRange {
                acts.insert(act(TO_RANGES, new));
                by_range.insert(id);
            }
            if has_large_ranges(new.0, budget) {
                self.large.insert(id);
            }
        }
    }

    /// Whether some profile has ranges of ports that are not written out port by port.
    pub(crate) fn has_large_ranges(&self) -> bool {
        !self.large.is_empty()
    }

    /// How many keys each map has.
    pub(crate) fn sizes(&self) -> BTreeMap<Slot, usize> {
        let size = |slot| match slot {
            Slot::Act(direction, _) => self.acts.get(&direction).map_or(0, Set::len),
            _ => self.contents.get(&slot).map_or(0, Set::len),
        };
        Slot::all().into_iter().map(|slot| (slot, size(slot))).collect()
    }

    /// How many keys each map that has a size gets in `new` that it does not have here.
    pub(crate) fn growth(&self, new: &Self) -> BTreeMap<Slot, usize> {
        fn key(element: &Element) -> Option<&[u8]> {
            match element {
                Element::Range { from, .. } => Some(from),
                Element::CatchAll { .. } => None,
            }
        }
        let mut out: BTreeMap<Slot, usize> = BTreeMap::new();
        for (slot, elements) in self.contents.iter().filter(|(slot, _)| !slot.is_interval()) {
            let (gone, come) = new.contents.get(slot).map(|after| elements.changes(after)).unwrap_or_default();
            let gone: BTreeSet<_> = if come.is_empty() { BTreeSet::new() } else { gone.into_iter().map(key).collect() };
            out.insert(*slot, come.into_iter().filter(|e| !gone.contains(&key(e))).count());
        }
        for (direction, acts) in &self.acts {
            let come = new.acts.get(direction).map_or(0, |after| acts.changes(after).1.len());
            for stage in [Stage::Pod, Stage::Range] {
                out.insert(Slot::Act(*direction, stage), come);
            }
        }
        out
    }

    /// The ranges of addresses of a family.
    pub(crate) fn ranges(&self, family: Family) -> Option<&Set<Element>> {
        self.contents.get(&Slot::Range(family))
    }

    /// The contents of a map that holds no verdicts, under a layout: with what a port leads to that the exact map does
    /// not know.
    pub(crate) fn under(&self, slot: Slot, layout: &Layout) -> Set<Element> {
        let mut elements = self.contents.get(&slot).cloned().unwrap_or_default();
        match slot {
            Slot::PortRange if !layout.port_ranges() => elements = vec![otherwise(0)].into(),
            Slot::PortRange => drop(elements.insert(otherwise(0))),
            Slot::Port if !layout.port_ranges() => drop(elements.insert(otherwise(0))),
            _ => {}
        }
        elements
    }
}

/// The contents of the verdict maps of one direction: they name chains, and so depend on the layout.
#[derive(Clone, Debug, Default)]
pub(crate) struct Verdicts {
    acts: Set<Act>,
    /// Whether the second stage decides for some profile, and the chain by which it is reached.
    ranges: Option<(bool, String)>,
    stages: [Set<Element>; 2],
}

impl Verdicts {
    /// Goes on to these values and this layout: costs what differs, unless the second stage has another chain.
    pub(crate) fn follow(
        &mut self,
        values: &Values,
        layout: &Layout,
        direction: Direction,
    ) -> [(Slot, Set<Element>); 2] {
        let acts = values.acts.get(&direction).cloned().unwrap_or_default();
        let has_ranges = values.by_range.get(&direction).is_some_and(|profiles| !profiles.is_empty());
        let ranges = Some((has_ranges, program::by_range(layout, direction)));
        if ranges != self.ranges {
            let bad = || Element::CatchAll { data: goto(DropKind::Bad.as_str().to_owned()) };
            let empty = || Set::from(vec![bad()]);
            *self = Self { acts: Set::new(), ranges, stages: [empty(), empty()] };
        }
        let (gone, come) = self.acts.changes(&acts);
        let [pod, range] = &mut self.stages;
        for act in gone {
            let element = act.element(layout, direction);
            pod.remove(&element);
            range.remove(&element);
        }
        for act in come {
            let element = act.element(layout, direction);
            // The second stage leads nowhere else, or the kernel would refuse the loop. It has elements for all
            // profiles, because an endpoint's profile may have changed since the first stage.
            if act.path != TO_RANGES && has_ranges {
                range.insert(element.clone());
            }
            pod.insert(element);
        }
        self.acts = acts;
        [(Slot::Act(direction, Stage::Pod), pod.clone()), (Slot::Act(direction, Stage::Range), range.clone())]
    }
}

const fn goto(chain: String) -> Option<Data> {
    Some(Data::Verdict(Verdict::Goto(chain)))
}

impl Act {
    fn element(&self, layout: &Layout, direction: Direction) -> Element {
        let key = two(self.path, self.profile.0);
        let chain = match (self.path, self.leads_to) {
            (TO_RANGES, _) => program::by_range(layout, direction),
            (_, Some((path, act))) => layout.path(direction, path, act),
            // A path that the plan does not explain is dropped.
            (_, None) => DropKind::Bad.as_str().to_owned(),
        };
        Element::Range { from: key.clone(), to: key, data: goto(chain) }
    }
}
