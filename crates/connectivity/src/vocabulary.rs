//! What the policies of a cluster ask of an end: the only things by which two ends may differ.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use tortie_model::{Direction, Family, LabelSelector, Pod, Protocol};
use tortie_policy::{Detail, EndpointSelector, Index, Key as Asked, NamedPort, NamedPorts, Policy, PortMatch, Rule};

use crate::addresses::Pieces;
use crate::partition::small;

/// A label as policies see it: its key, and its value where some selector lists it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Label {
    key: u32,
    value: u32,
}

/// A value that no selector lists. A selector cannot tell two of them apart; an expression may, and so all values are
/// listed of the keys that expressions look at.
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
    /// Whether some rule asks for service accounts.
    accounts: bool,
    pieces: [Pieces; 2],
}

/// The name that a rule uses for a port.
fn name(port: &PortMatch) -> Option<(&str, Protocol)> {
    match &port.detail {
        Detail::Named(name) | Detail::EveryNamed(name) => Some((&**name, port.protocol.transport()?)),
        Detail::All | Detail::Range(..) => None,
    }
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
        let mut open: BTreeSet<&str> = BTreeSet::new();
        let mut accounts = false;
        let mut look = |selector: &'p EndpointSelector| {
            for key in selector.expression.iter().flat_map(|e| e.asked()) {
                match key {
                    Asked::Own(key) => drop(open.insert(key)),
                    Asked::Account(_) | Asked::AccountName => accounts = true,
                    // A kind is of one namespace.
                    Asked::Namespace(_) | Asked::NamespaceName | Asked::Orchestrator => {}
                }
            }
            for requirement in selector.pods.requirements() {
                labels.entry(&requirement.key).or_default().extend(requirement.values.iter().map(|v| &**v));
            }
        };
        for policy in index.policies() {
            look(&policy.subject);
            for rule in rules(policy) {
                for peer in rule.peers.listed().iter().chain(&rule.own) {
                    peer.endpoints.iter().chain(&peer.not_endpoints).for_each(&mut look);
                    blocks.extend(peer.nets());
                }
                let ports = rule.ports.listed().iter().chain(&rule.not_ports);
                let source_ports = rule.source_ports.listed().iter().chain(&rule.not_source_ports);
                names.extend(ports.chain(source_ports).filter_map(name));
            }
        }
        for key in &open {
            labels.entry(key).or_default().extend(index.pods().filter_map(|pod| pod.meta.labels.get(key)));
        }
        let numbered = |values: BTreeSet<&'p str>| values.into_iter().zip(UNLISTED + 1..).collect();
        let keys = labels.into_iter().zip(0..);
        let keys = keys.map(|((key, values), number)| (key, Key { number, values: numbered(values) })).collect();
        let names = names.into_iter().zip(0..).collect();
        Self { keys, names, accounts, pieces: Family::ALL.map(|family| Pieces::cut(family, &blocks)) }
    }

    /// The labels of a pod that some selector looks at, in order.
    pub(crate) fn labels(&self, pod: &Pod) -> Vec<Label> {
        let label = |(key, value): (&str, &str)| {
            let key = self.keys.get(key)?;
            Some(Label { key: key.number, value: key.values.get(value).copied().unwrap_or(UNLISTED) })
        };
        pod.meta.labels.iter().filter_map(label).collect()
    }

    /// The service account of a pod, when some rule asks for it.
    pub(crate) fn account(&self, pod: &Pod) -> Option<Arc<str>> {
        self.accounts.then(|| pod.service_account.clone())
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
            let numbers = NamedPorts::of(Some(pod)).all(&name, protocol.into()).collect::<Vec<_>>();
            used.then(|| numbers.into_iter().map(move |number| (name.clone(), protocol, number)))
        };
        let listed: BTreeSet<_> = pod.ports.iter().filter_map(|p| Some((p.name.clone()?, p.protocol))).collect();
        listed.into_iter().filter_map(used).flatten().collect()
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
