//! What the policies of a cluster ask of an end: the only things by which two ends may differ.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use tortie_model::{Direction, Family, LabelSelector, Pod, Protocol};
use tortie_policy::{Detail, EndpointSelector, Index, NamedPort, Peers, Policy, Ports, Rule};

use crate::addresses::Pieces;
use crate::partition::small;

/// A label as policies see it: its key, and its value where some selector lists it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Label {
    key: u32,
    value: u32,
}

/// A value that no selector lists. A selector cannot tell two of them apart.
const UNLISTED: u32 = 0;

/// A key that some selector looks at.
#[derive(Debug)]
struct Key<'p> {
    number: u32,
    values: HashMap<&'p str, u32>,
}

/// All that the policies of a cluster ask for.
#[derive(Debug)]
pub(crate) struct Vocabulary<'p> {
    keys: HashMap<&'p str, Key<'p>>,
    /// Port names with their protocols.
    names: HashMap<(&'p str, Protocol), u32>,
    pieces: [Pieces; 2],
}

/// Rules of a policy in both directions.
pub(crate) fn rules(policy: &Policy) -> impl Iterator<Item = &Rule> {
    Direction::BOTH.into_iter().filter_map(|d| policy.rules(d)).flatten()
}

impl<'p> Vocabulary<'p> {
    /// What the policies of an index ask for.
    pub(crate) fn of(index: &'p Index) -> Self {
        let mut labels: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        let mut names = BTreeSet::new();
        let mut blocks: BTreeSet<IpNet> = BTreeSet::new();
        let mut look = |selector: &'p EndpointSelector| {
            for requirement in selector.pods.requirements() {
                labels.entry(&requirement.key).or_default().extend(requirement.values.iter().map(|v| &**v));
            }
        };
        for policy in index.policies() {
            look(&policy.subject);
            for rule in rules(policy) {
                if let Peers::OneOf(peers) = &rule.peers {
                    peers.iter().filter_map(|p| p.endpoints.as_ref()).for_each(&mut look);
                    for block in peers.iter().filter_map(|p| p.blocks.as_ref()).flatten() {
                        blocks.insert(block.cidr());
                        blocks.extend(block.except());
                    }
                }
                if let Ports::OneOf(ports) = &rule.ports {
                    names.extend(ports.iter().filter_map(|port| match &port.detail {
                        Detail::Named(name) => Some((&**name, port.protocol.transport()?)),
                        Detail::All | Detail::Range(..) => None,
                    }));
                }
            }
        }
        let numbered = |values: BTreeSet<&'p str>| values.into_iter().zip(UNLISTED + 1..).collect();
        let keys = labels.into_iter().zip(0..);
        let keys = keys.map(|((key, values), number)| (key, Key { number, values: numbered(values) })).collect();
        let names = names.into_iter().zip(0..).collect();
        Self { keys, names, pieces: Family::ALL.map(|family| Pieces::cut(family, &blocks)) }
    }

    /// The labels of a pod that some selector looks at, in order.
    pub(crate) fn labels(&self, pod: &Pod) -> Vec<Label> {
        let label = |(key, value): (&str, &str)| {
            let key = self.keys.get(key)?;
            Some(Label { key: key.number, value: key.values.get(value).copied().unwrap_or(UNLISTED) })
        };
        pod.meta.labels.iter().filter_map(label).collect()
    }

    /// For the requirement of a selector that wants one of some values: the labels that it wants.
    pub(crate) fn wanted<'a>(&'a self, selector: &'a LabelSelector) -> impl Iterator<Item = Vec<Label>> + 'a {
        let listing = selector.requirements().iter().filter(|r| r.operator == tortie_model::Operator::In);
        listing.filter_map(|requirement| {
            let key = self.keys.get(&*requirement.key)?;
            let label = |value: &Arc<str>| Some(Label { key: key.number, value: *key.values.get(&**value)? });
            Some(requirement.values.iter().filter_map(label).collect())
        })
    }

    /// The ports of a pod whose names some rule uses.
    pub(crate) fn named_ports(&self, pod: &Pod) -> Vec<NamedPort> {
        if self.names.is_empty() {
            return Vec::new();
        }
        let used = |(name, protocol): (Arc<str>, Protocol)| {
            let used = self.names.contains_key(&(&*name, protocol));
            used.then(|| pod.named_port(&name, protocol)).flatten().map(|number| (name, protocol, number))
        };
        let listed = pod.ports.iter().filter_map(|p| Some((p.name.clone()?, p.protocol)));
        let mut out: Vec<_> = listed.filter_map(used).collect();
        out.sort_unstable();
        out.dedup();
        out
    }

    /// The pieces into which blocks cut a family.
    pub(crate) const fn pieces(&self, family: Family) -> &Pieces {
        match family {
            Family::V4 => &self.pieces[0],
            Family::V6 => &self.pieces[1],
        }
    }

    /// The piece that an address lies in, numbered through both families.
    pub(crate) fn piece(&self, ip: IpAddr) -> u32 {
        let family = Family::of(ip);
        let before = if family == Family::V4 { 0 } else { self.pieces[0].len() };
        small(before + self.pieces(family).of(ip))
    }
}
