//! The tiers and policies that govern one endpoint in one direction, and their two evaluations: for one packet, and
//! for all packets at once.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::sync::Arc;

use tortie_model::{Direction, IpProtocol, ObjectRef, Pod, Protocol, Traffic};

use crate::regions::Regions;
use crate::rule::{Action, Detail, EndAction, Policy, PortMatch, Ports, Rule};
use crate::side::Side;

/// Whether a packet passes in a direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Verdict {
    /// It passes.
    Allow,
    /// It does not.
    Deny,
}

/// The place of a rule in a [`Stack`]: rules are numbered through in the order in which they are asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Position(pub u32);

/// What decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum By {
    /// A rule.
    Rule(Position),
    /// The end of a tier, by its place in [`Stack::tiers`].
    EndOfTier(usize),
    /// Nothing: no policy governs the endpoint in this direction, or every tier passed the packet on. The namespace's
    /// profile allows it.
    Profile,
}

/// The decision for a packet in one direction, and how it came about.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Outcome {
    /// The verdict.
    pub verdict: Verdict,
    /// What decided.
    pub by: By,
    /// Log and Pass rules that matched on the way, in order.
    pub passed: Vec<Position>,
}

/// A rule by the name of its policy: item `index` (from 0) of its `ingress` or `egress`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RuleRef {
    /// The policy.
    pub policy: ObjectRef,
    /// Which list.
    pub direction: Direction,
    /// Which item.
    pub index: usize,
}

/// A port name of a protocol with the number that it stands for.
pub type NamedPort = (Arc<str>, Protocol, u16);

/// The ports that names stand for on the destination of a packet.
#[derive(Clone, Copy, Debug)]
pub struct NamedPorts<'a>(Names<'a>);

#[derive(Clone, Copy, Debug)]
enum Names<'a> {
    Pod(Option<&'a Pod>),
    Table(&'a [NamedPort]),
}

impl<'a> NamedPorts<'a> {
    /// The destination is not a pod: no name means anything.
    pub const NONE: Self = Self(Names::Pod(None));

    /// The ports of a pod.
    #[must_use]
    pub const fn of(pod: Option<&'a Pod>) -> Self {
        Self(Names::Pod(pod))
    }

    /// Ports by name and protocol, each pair once.
    #[must_use]
    pub const fn table(ports: &'a [NamedPort]) -> Self {
        Self(Names::Table(ports))
    }

    /// The number for a name.
    #[must_use]
    pub fn get(self, name: &str, protocol: IpProtocol) -> Option<u16> {
        let protocol = protocol.transport()?;
        match self.0 {
            Names::Pod(pod) => pod?.named_port(name, protocol),
            Names::Table(ports) => ports.iter().find(|(n, p, _)| **n == *name && *p == protocol).map(|(_, _, n)| *n),
        }
    }
}

/// One tier with those of its policies that govern the endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TierStack {
    /// Name of the tier.
    pub name: Arc<str>,
    /// What its end does.
    pub end: EndAction,
    /// The policies, in order. Never empty: a tier none of whose policies governs the endpoint does not count.
    pub policies: Vec<Arc<Policy>>,
}

/// What governs one endpoint in one direction.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Stack {
    direction: Direction,
    tiers: Vec<TierStack>,
}

impl Stack {
    /// A stack of tiers in order; tiers without policies are left out.
    #[must_use]
    pub fn new(direction: Direction, tiers: impl IntoIterator<Item = TierStack>) -> Self {
        Self { direction, tiers: tiers.into_iter().filter(|t| !t.policies.is_empty()).collect() }
    }

    /// The direction.
    #[must_use]
    pub const fn direction(&self) -> Direction {
        self.direction
    }

    /// The tiers, in order.
    #[must_use]
    pub fn tiers(&self) -> &[TierStack] {
        &self.tiers
    }

    /// Whether no policy governs the endpoint in this direction.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tiers.is_empty()
    }

    /// The policies in the order in which they are asked.
    pub fn policies(&self) -> impl Iterator<Item = &Arc<Policy>> {
        self.tiers.iter().flat_map(|t| &t.policies)
    }

    /// The rules of a policy of this stack.
    fn rules_of<'a>(&self, policy: &'a Policy) -> &'a [Rule] {
        policy.rules(self.direction).expect("a stack holds only policies that govern its direction")
    }

    /// All rules with their positions, in order.
    pub fn rules(&self) -> impl Iterator<Item = (Position, &Rule)> {
        let rules = self.policies().flat_map(|p| self.rules_of(p));
        rules.enumerate().map(|(i, r)| (Position(u32::try_from(i).expect("fewer than 2^32 rules")), r))
    }

    /// The rule at a position, by name.
    #[must_use]
    pub fn rule_ref(&self, position: Position) -> Option<RuleRef> {
        let mut left = position.0 as usize;
        for policy in self.policies() {
            let n = self.rules_of(policy).len();
            if left < n {
                return Some(RuleRef { policy: policy.object.clone(), direction: self.direction, index: left });
            }
            left -= n;
        }
        None
    }

    /// Decides one packet, walking the rules in order.
    ///
    /// `peer` is the other end; `names` are the named ports of the packet's destination.
    #[must_use]
    pub fn decide(&self, peer: &Side, traffic: Traffic, names: NamedPorts<'_>) -> Outcome {
        let mut passed = Vec::new();
        let mut position = 0;
        for (t, tier) in self.tiers.iter().enumerate() {
            let mut rules = tier.policies.iter().flat_map(|p| self.rules_of(p));
            let passed_on = loop {
                let Some(rule) = rules.next() else {
                    break tier.end == EndAction::Pass;
                };
                let here = Position(position);
                position += 1;
                if !(rule.ports.matches(traffic, names) && rule.peers.matches(peer)) {
                    continue;
                }
                match rule.action {
                    Action::Allow => {
                        return Outcome { verdict: Verdict::Allow, by: By::Rule(here), passed };
                    }
                    Action::Deny => {
                        return Outcome { verdict: Verdict::Deny, by: By::Rule(here), passed };
                    }
                    Action::Log => passed.push(here),
                    Action::Pass => {
                        passed.push(here);
                        position += u32::try_from(rules.count()).expect("fewer than 2^32 rules");
                        break true;
                    }
                }
            };
            if !passed_on {
                return Outcome { verdict: Verdict::Deny, by: By::EndOfTier(t), passed };
            }
        }
        Outcome { verdict: Verdict::Allow, by: By::Profile, passed }
    }

    /// The positions of the rules whose peers match the other end, in order: all that [`Stack::resolve`] needs to
    /// know of it.
    #[must_use]
    pub fn matched(&self, peer: &Side) -> Vec<Position> {
        self.rules().filter(|(_, r)| r.peers.matches(peer)).map(|(p, _)| p).collect()
    }

    /// Decides all packets at once, given the rules whose peers match (sorted): a sweep over the ends of their port
    /// ranges, which keeps the rules that are open at each place.
    #[must_use]
    pub fn resolve(&self, matched: &[Position], names: NamedPorts<'_>) -> Regions<Outcome> {
        let rules = Numbered::new(self);
        let mut sweep = Sweep::default();
        for position in matched {
            match &rules.get(*position).ports {
                Ports::Any => sweep.always.push(*position),
                Ports::OneOf(ports) => {
                    for (protocol, range) in ports.iter().filter_map(|p| p.range(names)) {
                        sweep.add(*position, protocol, range);
                    }
                }
            }
        }
        let walk = |open: &BTreeSet<Position>| rules.walk(open);
        let always: BTreeSet<_> = sweep.always.iter().copied().collect();
        let rest = walk(&always);
        let protocols: Vec<_> =
            sweep.events.iter().map(|(p, events)| (*p, sweep_protocol(*p, events, &always, walk))).collect();
        Regions::new(protocols, rest)
    }

    /// Decides all packets from or to another end at once.
    #[must_use]
    pub fn regions(&self, peer: &Side, names: NamedPorts<'_>) -> Regions<Outcome> {
        self.resolve(&self.matched(peer), names)
    }
}

/// Rules by position, and where each tier ends.
struct Numbered<'a> {
    rules: Vec<&'a Rule>,
    /// For each tier: the position after its last rule, and what its end does.
    ends: Vec<(u32, EndAction)>,
}

impl<'a> Numbered<'a> {
    fn new(stack: &'a Stack) -> Self {
        let mut rules = Vec::new();
        let mut ends = Vec::with_capacity(stack.tiers.len());
        for tier in &stack.tiers {
            rules.extend(tier.policies.iter().flat_map(|p| stack.rules_of(p)));
            ends.push((u32::try_from(rules.len()).expect("fewer than 2^32 rules"), tier.end));
        }
        Self { rules, ends }
    }

    fn get(&self, position: Position) -> &'a Rule {
        self.rules[position.0 as usize]
    }

    /// What the rules that match a packet decide together.
    fn walk(&self, open: &BTreeSet<Position>) -> Outcome {
        let mut passed = Vec::new();
        let mut from = 0;
        for (t, (end, at_end)) in self.ends.iter().enumerate() {
            let mut passed_on = *at_end == EndAction::Pass;
            for position in open.range(Position(from)..Position(*end)) {
                match self.get(*position).action {
                    Action::Allow => {
                        return Outcome { verdict: Verdict::Allow, by: By::Rule(*position), passed };
                    }
                    Action::Deny => {
                        return Outcome { verdict: Verdict::Deny, by: By::Rule(*position), passed };
                    }
                    Action::Log => passed.push(*position),
                    Action::Pass => {
                        passed.push(*position);
                        passed_on = true;
                        break;
                    }
                }
            }
            if !passed_on {
                return Outcome { verdict: Verdict::Deny, by: By::EndOfTier(t), passed };
            }
            from = *end;
        }
        Outcome { verdict: Verdict::Allow, by: By::Profile, passed }
    }
}

/// What happens at one place of the axis: rules that begin to match there, and rules that no longer do.
#[derive(Default)]
struct Event {
    opens: Vec<Position>,
    closes: Vec<Position>,
}

#[derive(Default)]
struct Sweep {
    always: Vec<Position>,
    /// By protocol and place. Places go one past the last detail.
    events: BTreeMap<IpProtocol, BTreeMap<u32, Event>>,
}

impl Sweep {
    fn add(&mut self, position: Position, protocol: IpProtocol, range: RangeInclusive<u16>) {
        let events = self.events.entry(protocol).or_default();
        events.entry(u32::from(*range.start())).or_default().opens.push(position);
        events.entry(u32::from(*range.end()) + 1).or_default().closes.push(position);
    }
}

fn sweep_protocol(
    protocol: IpProtocol,
    events: &BTreeMap<u32, Event>,
    always: &BTreeSet<Position>,
    walk: impl Fn(&BTreeSet<Position>) -> Outcome,
) -> Vec<(RangeInclusive<u16>, Outcome)> {
    let last = u32::from(*protocol.details().end());
    let mut open = always.clone();
    // A rule may list overlapping ranges: it stays open until the last of them closes.
    let mut times: BTreeMap<Position, usize> = BTreeMap::new();
    let mut out = Vec::new();
    let mut start = 0;
    let mut emit = |from: u32, to: u32, open: &BTreeSet<Position>| {
        let detail = |n: u32| u16::try_from(n).expect("details are 16 bits");
        out.push((detail(from)..=detail(to), walk(open)));
    };
    for (place, event) in events {
        if *place > last {
            break;
        }
        if *place > start {
            emit(start, *place - 1, &open);
            start = *place;
        }
        for p in &event.opens {
            *times.entry(*p).or_default() += 1;
            open.insert(*p);
        }
        for p in &event.closes {
            let n = times.get_mut(p).expect("a rule closes after it opened");
            *n -= 1;
            if *n == 0 {
                open.remove(p);
            }
        }
    }
    emit(start, last, &open);
    out
}

impl PortMatch {
    /// The packets that it matches, as a range of details of its protocol; `None` for a name that the destination
    /// does not have.
    #[must_use]
    pub fn range(&self, names: NamedPorts<'_>) -> Option<(IpProtocol, RangeInclusive<u16>)> {
        let range = match &self.detail {
            Detail::All => self.protocol.details(),
            Detail::Range(from, to) => *from..=*to,
            Detail::Named(name) => {
                let n = names.get(name, self.protocol)?;
                n..=n
            }
        };
        (!range.is_empty()).then_some((self.protocol, range))
    }

    /// Whether a packet matches.
    #[must_use]
    pub fn matches(&self, traffic: Traffic, names: NamedPorts<'_>) -> bool {
        self.range(names).is_some_and(|(p, r)| p == traffic.protocol && r.contains(&traffic.detail))
    }
}

impl Ports {
    /// Whether a packet matches.
    #[must_use]
    pub fn matches(&self, traffic: Traffic, names: NamedPorts<'_>) -> bool {
        match self {
            Self::Any => true,
            Self::OneOf(ports) => ports.iter().any(|p| p.matches(traffic, names)),
        }
    }
}
