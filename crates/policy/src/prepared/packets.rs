//! Which rules may speak of a packet, by its protocol and destination port.

use std::collections::BTreeMap;

use tortie_model::{IpProtocol, Traffic};

use super::bits::{Bits, Rules};
use super::prefixes::{Prefixes, blocks_of};
use crate::rule::{Detail, Ports, Rule};

/// Rules by what they say of protocols and destination ports. What they say besides, and which port a name stands for,
/// is left to the rules.
#[derive(Clone, Debug)]
pub(super) struct Packets {
    /// Rules that speak of every protocol.
    every: Rules,
    protocols: Vec<(IpProtocol, Details)>,
}

/// Rules that speak of one protocol.
#[derive(Clone, Debug)]
struct Details {
    /// Of all of it, or of ports by name.
    all: Rules,
    ranges: Prefixes<u16>,
    lists: Vec<Rules>,
}

/// Rules that speak of one protocol, as they are found.
#[derive(Default)]
struct Found {
    all: Vec<u32>,
    ranges: Vec<(u8, u16, u32)>,
}

impl Packets {
    /// Of rules in order.
    pub(super) fn of(rules: &[&Rule]) -> Self {
        let mut every = Vec::new();
        let mut protocols: BTreeMap<IpProtocol, Found> = BTreeMap::new();
        for (n, rule) in (0..).zip(rules) {
            if rule.ports == Ports::Any {
                every.push(n);
            }
            for port in rule.ports.listed() {
                let Found { all, ranges } = protocols.entry(port.protocol).or_default();
                match &port.detail {
                    Detail::Range(from, to) => {
                        ranges.extend(blocks_of(&(*from..=*to)).map(|(length, first)| (length, first, n)));
                    }
                    Detail::All | Detail::Named(_) | Detail::EveryNamed(_) => all.push(n),
                }
            }
        }
        let kept = |some| Rules::new(rules.len(), some);
        let details = |Found { all, ranges }| {
            let (ranges, lists) = Prefixes::new(ranges);
            Details { all: kept(all), ranges, lists: lists.into_iter().map(kept).collect() }
        };
        Self { every: kept(every), protocols: protocols.into_iter().map(|(p, found)| (p, details(found))).collect() }
    }

    /// Adds the rules that may speak of a packet.
    pub(super) fn add(&self, traffic: Traffic, found: &mut Bits<'_>) {
        self.every.add_to(found);
        let Ok(at) = self.protocols.binary_search_by_key(&traffic.protocol, |(protocol, _)| *protocol) else { return };
        let details = &self.protocols[at].1;
        details.all.add_to(found);
        details.ranges.holding(traffic.detail).for_each(|list| details.lists[list].add_to(found));
    }
}
