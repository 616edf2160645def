//! The contents of the maps, and the chains of the paths.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use tortie_model::{Direction, Family, IpProtocol};
use tortie_policy::Verdict as Decision;
use tortie_ruleset::{Chain, Data, Element, Rule, Verdict};

use super::layout::{Layout, Slot, Stage};
use super::pipeline::Pipeline;
use super::prefix::{DropKind, PathKind, Prefix};
use super::{Denial, Options, program};
use crate::{Decider, IdentityId, OutsideClass, Path, PathId, Plan, Profile, ProfileId};

/// Result of `dec` where a profile has no row: its default. Paths are numbered from 1.
const NO_ROW: u32 = 0;
/// Class of addresses of no pod, in profiles that have rules with blocks. Above all numbers that a plan gives out.
const RANGED: u32 = u32::MAX;
/// Result of `dec` for that class: go to the second stage.
const TO_RANGES: u32 = u32::MAX;
/// Identity, in the second stage, of addresses in no range that a policy names.
const NO_RANGE: u32 = u32::MAX;

/// Longest comment of a rule.
const COMMENT: usize = 127;

/// Contents of all maps, sorted, by what the maps are for.
pub(crate) type Contents = BTreeMap<Slot, Vec<Element>>;

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

/// Writes elements down under their slots.
struct Writer<'a> {
    plan: &'a Plan,
    out: Contents,
    budget: u16,
    large_ranges: bool,
}

impl Writer<'_> {
    fn add(&mut self, slot: Slot, element: Element) {
        self.out.entry(slot).or_default().push(element);
    }

    fn entry(&mut self, slot: Slot, key: Vec<u8>, value: u32) {
        self.add(slot, Element::entry(key, pair(value)));
    }

    fn otherwise(&mut self, slot: Slot, value: u32) {
        self.add(slot, Element::CatchAll { data: Some(pair(value)) });
    }

    fn endpoints(&mut self) {
        for endpoint in self.plan.endpoints.values() {
            let index = endpoint.interface.index.to_ne_bytes();
            for address in &endpoint.addresses {
                let family = Family::of(*address);
                let own = octets(*address);
                let bound = [&index[..], &own].concat();
                self.add(Slot::Legit(family), Element::key(bound.clone()));
                self.add(Slot::Local(family), Element::key(own.clone()));
                for other in endpoint.addresses.iter().filter(|a| Family::of(**a) == family) {
                    self.add(Slot::Own(family), Element::key([own.clone(), octets(*other)].concat()));
                }
                if endpoint.egress != ProfileId(0) {
                    self.entry(Slot::Egress(family), bound, endpoint.egress.0);
                }
                if endpoint.ingress != ProfileId(0) {
                    self.entry(Slot::Ingress(family), own, endpoint.ingress.0);
                }
            }
        }
    }

    fn identities(&mut self) {
        for (address, identity) in &self.plan.addresses {
            self.entry(Slot::Identity(Family::of(*address)), octets(*address), identity.0);
        }
        for range in &self.plan.ranges {
            let (from, to) = (octets(range.from), octets(range.to));
            let data = Some(pair(range.identity.0));
            self.add(Slot::Range(Family::of(range.from)), Element::Range { from, to, data });
        }
        for family in Family::ALL {
            self.otherwise(Slot::Identity(family), 0);
            self.otherwise(Slot::Range(family), NO_RANGE);
        }
    }

    fn classes(&mut self, id: ProfileId, profile: &Profile) {
        for (identity, class) in profile.classes.iter().filter(|(i, c)| i.0 != 0 && c.0 != 0) {
            self.entry(Slot::Class, two(identity.0, id.0), class.0);
        }
        match profile.outside {
            OutsideClass::One(class) if class.0 == 0 => {}
            OutsideClass::One(class) => self.entry(Slot::Class, two(0, id.0), class.0),
            OutsideClass::ByRange => {
                self.entry(Slot::Class, two(0, id.0), RANGED);
                let classes: BTreeSet<u32> =
                    profile.ports.iter().map(|(_, class)| class.0).filter(|c| *c != 0).collect();
                for port_class in classes {
                    self.entry(Slot::Decision, two(port_class, RANGED), TO_RANGES);
                }
                if let Some(class) = profile.classes.get(&IdentityId(0)).filter(|c| c.0 != 0) {
                    self.entry(Slot::Class, two(NO_RANGE, id.0), class.0);
                }
            }
        }
    }

    fn ports(&mut self, id: ProfileId, profile: &Profile) {
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
            // Without ports, and the ICMP of the other family, whose header the program does not read.
            if protocol.transport().is_none()
                && let Some((_, class)) = ranges.first().filter(|(_, c)| c.0 != 0)
            {
                let key = [&[number, 0, 0, 0][..], &id.0.to_ne_bytes()].concat();
                self.entry(Slot::Protocol, key, class.0);
            }
            if protocol.transport().is_some() || protocol.is_icmp() {
                for (range, class) in ranges.iter().filter(|(_, c)| c.0 != 0) {
                    self.details(id, number, *range.start(), *range.end(), class.0);
                }
            }
        }
    }

    fn details(&mut self, id: ProfileId, protocol: u8, from: u16, to: u16, class: u32) {
        let id = id.0.to_ne_bytes();
        if to - from < self.budget {
            for detail in from..=to {
                let key = [&[protocol, 0, 0, 0][..], &detail.to_be_bytes(), &[0, 0], &id].concat();
                self.entry(Slot::Port, key, class);
            }
        } else {
            self.large_ranges = true;
        }
        let end = |detail: u16| [&detail.to_be_bytes()[..], &[0, 0], &[protocol, 0, 0, 0], &id].concat();
        let element = Element::Range { from: end(from), to: end(to), data: Some(pair(class)) };
        self.add(Slot::PortRange, element);
    }

    fn decisions(&mut self, profile: &Profile) {
        for ((port, class), path) in &profile.rows {
            self.entry(Slot::Decision, two(port.0, class.0), path.0);
        }
    }
}

/// What does not depend on the layout.
#[derive(Clone, Debug)]
pub(crate) struct Values {
    /// Contents of all maps but those that hold verdicts.
    pub(crate) contents: Contents,
    /// Whether some profile has ranges of ports that are not written out port by port.
    pub(crate) large_ranges: bool,
    /// For each direction, profile and path that the profile leads to: the element of the verdict map.
    acts: BTreeSet<Act>,
    /// Directions in which some profile asks for the range of a peer.
    by_range: BTreeSet<Direction>,
}

/// A path as a profile leads to it; 0 for its default.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Act {
    direction: Direction,
    path: u32,
    profile: ProfileId,
}

/// Computes what does not depend on the layout.
pub(crate) fn values(plan: &Plan, options: &Options) -> Values {
    let out = Slot::all().into_iter().map(|slot| (slot, Vec::new())).collect();
    let mut writer = Writer { plan, out, budget: options.port_budget, large_ranges: false };
    writer.endpoints();
    writer.identities();
    for (id, profile) in &plan.profiles {
        writer.classes(*id, profile);
        writer.ports(*id, profile);
        writer.decisions(profile);
    }
    writer.otherwise(Slot::Class, 0);
    writer.otherwise(Slot::Protocol, 0);
    writer.otherwise(Slot::Decision, NO_ROW);
    writer.entry(Slot::Decision, two(0, RANGED), TO_RANGES);
    let Writer { out: mut contents, large_ranges, .. } = writer;
    for elements in contents.values_mut() {
        elements.sort_unstable();
        elements.dedup();
    }
    let mut acts = BTreeSet::new();
    let mut by_range = BTreeSet::new();
    for (id, profile) in &plan.profiles {
        let direction = profile.stack.direction();
        let paths = profile.rows.values().map(|path| path.0).chain([NO_ROW]);
        acts.extend(paths.map(|path| Act { direction, path, profile: *id }));
        if profile.outside == OutsideClass::ByRange {
            by_range.insert(direction);
            acts.insert(Act { direction, path: TO_RANGES, profile: *id });
        }
    }
    Values { contents, large_ranges, acts, by_range }
}

impl Values {
    /// The keys of a map, to know how many it holds beside those of another plan.
    pub(crate) fn keys(&self, slot: Slot) -> BTreeSet<Vec<u8>> {
        if let Slot::Act(direction, _) = slot {
            return self.acts.iter().filter(|a| a.direction == direction).map(|a| two(a.path, a.profile.0)).collect();
        }
        let keys = self.contents.get(&slot).into_iter().flatten().filter_map(|e| match e {
            Element::Range { from, .. } => Some(from.clone()),
            Element::CatchAll { .. } => None,
        });
        keys.collect()
    }

    /// The ranges of addresses of each family.
    pub(crate) fn ranges(&self) -> BTreeMap<Family, Vec<Element>> {
        Family::ALL.into_iter().filter_map(|f| Some((f, self.contents.get(&Slot::Range(f))?.clone()))).collect()
    }

    /// The contents under a layout: with verdicts, and with what a port leads to that the exact map does not know.
    pub(crate) fn under(mut self, plan: &Plan, layout: &Layout) -> Contents {
        let contents = &mut self.contents;
        let goto = |chain: String| Some(Data::Verdict(Verdict::Goto(chain)));
        for direction in Direction::BOTH {
            for stage in [Stage::Pod, Stage::Range] {
                let data = goto(DropKind::Bad.as_str().to_owned());
                contents.entry(Slot::Act(direction, stage)).or_default().push(Element::CatchAll { data });
            }
        }
        for act in &self.acts {
            let key = two(act.path, act.profile.0);
            let chain = match act.path {
                TO_RANGES => program::by_range(layout, act.direction),
                NO_ROW => chain_of(plan, layout, act.direction, plan.profiles[&act.profile].default),
                path => chain_of(plan, layout, act.direction, PathId(path)),
            };
            let element = Element::Range { from: key.clone(), to: key, data: goto(chain) };
            // The second stage leads nowhere else, or the kernel would refuse the loop. It has elements for all
            // profiles, because an endpoint's profile may have changed since the first stage.
            if act.path != TO_RANGES && self.by_range.contains(&act.direction) {
                contents.entry(Slot::Act(act.direction, Stage::Range)).or_default().push(element.clone());
            }
            contents.entry(Slot::Act(act.direction, Stage::Pod)).or_default().push(element);
        }
        let other_ports = Element::CatchAll { data: Some(pair(0)) };
        if layout.port_ranges() {
            contents.entry(Slot::PortRange).or_default().push(other_ports);
        } else {
            contents.insert(Slot::PortRange, vec![other_ports.clone()]);
            contents.entry(Slot::Port).or_default().push(other_ports);
        }
        for elements in contents.values_mut() {
            elements.sort_unstable();
        }
        self.contents
    }
}

/// The paths that profiles lead to, by direction.
fn paths_by_direction(plan: &Plan) -> BTreeSet<(Direction, PathId)> {
    let of = |p: &Profile| {
        let direction = p.stack.direction();
        p.rows.values().chain([&p.default]).map(move |path| (direction, *path)).collect::<Vec<_>>()
    };
    plan.profiles.values().flat_map(of).collect()
}

/// The chain that carries out a path: a path that the plan does not explain is dropped.
fn chain_of(plan: &Plan, layout: &Layout, direction: Direction, path: PathId) -> String {
    match plan.paths.get(&path) {
        Some(p) => layout.path(direction, path, p.verdict == Decision::Deny),
        None => DropKind::Bad.as_str().to_owned(),
    }
}

/// The chains that carry out the paths.
pub(crate) fn path_chains(plan: &Plan, layout: &Layout, options: &Options) -> Vec<(String, Chain)> {
    let known = paths_by_direction(plan).into_iter().filter_map(|(d, id)| Some((d, id, plan.paths.get(&id)?)));
    let chain = |(direction, id, path): (Direction, PathId, &Path)| {
        let denies = path.verdict == Decision::Deny;
        let rules =
            if denies { deny(direction, id, path, layout, options) } else { allow(direction, id, path, options) };
        (layout.path(direction, id, denies), Chain { base: None, rules })
    };
    known.map(chain).collect()
}

/// Counts and lets pass. Egress returns to the caller, which goes on with ingress.
fn allow(direction: Direction, id: PathId, path: &Path, options: &Options) -> Vec<Rule> {
    let counted = Pipeline::new().counter();
    let kind = match (path.logged.is_empty(), options.record_allowed) {
        (false, _) => Some(PathKind::Log),
        (true, true) => Some(PathKind::Allow),
        (true, false) => None,
    };
    let logged = match kind {
        Some(kind) => log(counted, Prefix::Path { kind, direction, path: id }, options),
        None => counted,
    };
    let rule = match direction {
        Direction::Egress => logged.end(None),
        Direction::Ingress => logged.then(Verdict::Accept),
    };
    vec![Rule { comment: Some(comment(path)), ..rule }]
}

fn deny(direction: Direction, id: PathId, path: &Path, layout: &Layout, options: &Options) -> Vec<Rule> {
    let mut rules = Vec::new();
    if path.spares_hairpin {
        // Returning passes the egress half on to ingress, and falls off the end of ingress.
        rules.extend(Family::ALL.map(|f| Pipeline::new().family(f).hairpin(layout, f).then(Verdict::Return)));
    }
    let prefix = Prefix::Path { kind: PathKind::Deny, direction, path: id };
    let recorded = log(Pipeline::new().counter(), prefix, options);
    let comment = Some(comment(path));
    match options.deny {
        Denial::Drop => rules.push(Rule { comment, ..recorded.then(Verdict::Drop) }),
        Denial::Reject => {
            rules.push(recorded.end(comment));
            rules.push(Pipeline::new().protocol(IpProtocol::TCP).reject(true).end(None));
            rules.push(Pipeline::new().reject(false).end(None));
        }
    }
    rules
}

fn log(pipeline: Pipeline, prefix: Prefix, options: &Options) -> Pipeline {
    pipeline.log(options.log_group, prefix.to_string(), options.snaplen, options.threshold)
}

/// What `nft list ruleset` shows beside the rule.
fn comment(path: &Path) -> String {
    let mut text = match (&path.by, &path.isolating[..]) {
        (Decider::Rule(rule), _) => format!("{} {}[{}]", rule.policy, rule.direction, rule.index),
        (Decider::Profile, _) => "no policy decides".to_owned(),
        (Decider::TooBig, _) => "too many decisions for one pod: closed".to_owned(),
        (Decider::EndOfTier(tier), []) => format!("end of tier {tier}"),
        (Decider::EndOfTier(_), [only]) => format!("no rule of {only}"),
        (Decider::EndOfTier(_), [first, rest @ ..]) => format!("no rule of {first} and {} more", rest.len()),
    };
    let cut = (0..=COMMENT.min(text.len())).rev().find(|n| text.is_char_boundary(*n)).unwrap_or_default();
    text.truncate(cut);
    text
}
