//! All packets at once: a sweep over the ends of the rules' port ranges, which keeps the rules that are open at each
//! place.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use tortie_model::IpProtocol;

use crate::ports::Names;
use crate::regions::Regions;
use crate::rule::{EndAction, Ports, Rule};
use crate::stack::{Outcome, Position, Stack};
use crate::walk::walk;

/// Decides all packets from a port, given the rules whose peers match (sorted).
pub(crate) fn resolve(stack: &Stack, source_port: u16, matched: &[Position], names: Names<'_>) -> Regions<Outcome> {
    let rules = Numbered::new(stack);
    let mut sweep = Sweep::default();
    for position in matched {
        let rule = rules.get(*position);
        if !rule.not_ports.is_empty() || rule.asks_source_port() {
            let packets = rule.packets(source_port, names);
            if packets.rest {
                sweep.always.insert(*position);
            }
            for (protocol, ranges) in packets.listed {
                sweep.listed(*position, protocol, packets.rest);
                ranges.into_iter().for_each(|range| sweep.add(*position, protocol, range));
            }
            continue;
        }
        match &rule.ports {
            Ports::Any => drop(sweep.always.insert(*position)),
            Ports::OneOf(ports) => {
                for (protocol, range) in ports.iter().flat_map(|p| p.ranges(names.destination)) {
                    sweep.add(*position, protocol, range);
                }
            }
        }
    }
    let walk = |open: &BTreeSet<Position>| rules.walk(open);
    let rest = walk(&sweep.always);
    let protocols: Vec<_> =
        sweep.axes.iter().map(|(p, axis)| (*p, sweep_axis(*p, axis, &sweep.always, walk))).collect();
    Regions::new(protocols, rest)
}

/// Rules by position, and where each tier ends.
pub(crate) struct Numbered<'a> {
    rules: Vec<&'a Rule>,
    /// For each tier: the position after its last rule, and what its end does.
    ends: Vec<(Position, EndAction)>,
}

impl<'a> Numbered<'a> {
    pub(crate) fn new(stack: &'a Stack) -> Self {
        Self { rules: stack.rules().map(|(_, rule)| rule).collect(), ends: stack.ends().collect() }
    }

    pub(crate) fn get(&self, position: Position) -> &'a Rule {
        self.rules[position.0 as usize]
    }

    /// What the rules that match a packet decide together.
    fn walk(&self, open: &BTreeSet<Position>) -> Outcome {
        walk(self.ends.iter().copied(), |from, end| {
            let next = *open.range(from..end).next()?;
            Some((next, self.get(next).action))
        })
    }
}

/// What happens at one place of the axis: rules that begin to match there, and rules that no longer do.
#[derive(Default)]
struct Event {
    opens: Vec<Position>,
    closes: Vec<Position>,
}

/// The details of one protocol.
#[derive(Default)]
struct Axis {
    /// By place. Places go one past the last detail.
    events: BTreeMap<u32, Event>,
    /// Rules that speak of other protocols whatever their details, and of this one by ranges.
    by_range: BTreeSet<Position>,
}

#[derive(Default)]
struct Sweep {
    /// Rules that speak of all protocols that they do not list.
    always: BTreeSet<Position>,
    axes: BTreeMap<IpProtocol, Axis>,
}

impl Sweep {
    fn listed(&mut self, position: Position, protocol: IpProtocol, and_others: bool) {
        let axis = self.axes.entry(protocol).or_default();
        if and_others {
            axis.by_range.insert(position);
        }
    }

    fn add(&mut self, position: Position, protocol: IpProtocol, range: RangeInclusive<u16>) {
        let events = &mut self.axes.entry(protocol).or_default().events;
        events.entry(u32::from(*range.start())).or_default().opens.push(position);
        events.entry(u32::from(*range.end()) + 1).or_default().closes.push(position);
    }
}

fn sweep_axis(
    protocol: IpProtocol,
    axis: &Axis,
    always: &BTreeSet<Position>,
    walk: impl Fn(&BTreeSet<Position>) -> Outcome,
) -> Vec<(RangeInclusive<u16>, Outcome)> {
    let last = u32::from(*protocol.details().end());
    let mut open: BTreeSet<Position> = always.difference(&axis.by_range).copied().collect();
    // A rule may list overlapping ranges: it stays open until the last of them closes.
    let mut times: BTreeMap<Position, usize> = BTreeMap::new();
    let mut out = Vec::new();
    let mut start = 0;
    let mut emit = |from: u32, to: u32, open: &BTreeSet<Position>| {
        let detail = |n: u32| u16::try_from(n).expect("details are 16 bits");
        out.push((detail(from)..=detail(to), walk(open)));
    };
    for (place, event) in &axis.events {
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
