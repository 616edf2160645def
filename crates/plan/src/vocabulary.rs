//! What the policies of a cluster ask of a pod, and what they could ask: the only things by which identities may differ.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use tortie_model::{
    ContainerPort, Direction, Family, LABELS_OF_CONTROLLERS, LabelSelector, Labels, Namespace, ObjectRef, Pod,
    Protocol, canonical,
};
use tortie_persistent::Changed;
use tortie_policy::{
    Detail, EndpointSelector, Key, NamedPort, NamedPorts, NamespaceMatch, Policy, PortMatch, Rule, Stack,
};

use crate::identity::{Content, PodContent};

/// One thing that a policy asks for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Word {
    /// A label of namespaces.
    NamespaceKey(Arc<str>),
    /// A label of pods.
    PodKey(Arc<str>),
    /// The name of a service account.
    AccountName,
    /// A label of service accounts.
    AccountKey(Arc<str>),
    /// A port name of the other end: part of what that is.
    PeerName(Arc<str>, Protocol),
    /// A block of addresses.
    Net(IpNet),
}

impl Word {
    /// Whether what it asks for is something that a pod has.
    pub(crate) fn is_said_of(&self, pod: &Pod, namespace: &Namespace) -> bool {
        match self {
            Self::NamespaceKey(key) => namespace.labels().has(key),
            Self::PodKey(key) => pod.meta.labels.has(key),
            Self::AccountName => true,
            Self::AccountKey(key) => account(pod, namespace).is_some_and(|labels| labels.has(key)),
            Self::PeerName(name, protocol) => pod.named_port(name, *protocol).is_some(),
            Self::Net(net) => pod.ips.iter().any(|ip| net.contains(&canonical(*ip))),
        }
    }

    /// Whether the kind of a pod leaves it open unless it is asked for.
    pub(crate) fn is_of_controllers(&self) -> bool {
        matches!(self, Self::PodKey(key) if LABELS_OF_CONTROLLERS.contains(&&**key))
    }
}

/// The labels of a pod's service account.
fn account<'a>(pod: &Pod, namespace: &'a Namespace) -> Option<&'a Labels> {
    namespace.accounts().get(&pod.service_account)
}

/// A function of the cluster's policies. A new policy that asks for what others already ask for changes nothing here,
/// and so renumbers no pod.
#[derive(Debug, Default)]
pub(crate) struct Vocabulary {
    /// Every word, with the number of times that policies say it.
    counts: BTreeMap<Word, usize>,
    namespace_keys: BTreeSet<Arc<str>>,
    pod_keys: BTreeSet<Arc<str>>,
    account_keys: BTreeSet<Arc<str>>,
    account_name: bool,
    peer_names: BTreeSet<(Arc<str>, Protocol)>,
    /// Lengths of prefixes of blocks, with the number of blocks that have them.
    lengths: BTreeMap<(bool, u8), usize>,
    none: Arc<[IpNet]>,
}

impl Vocabulary {
    /// Takes changes of policies; returns the words that are asked for the first time now, or not any more.
    pub(crate) fn update(&mut self, policies: &[Changed<'_, ObjectRef, Arc<Policy>>]) -> BTreeSet<Word> {
        let mut turned = BTreeSet::new();
        let mut turn = |word: &Word| {
            if !turned.remove(word) {
                turned.insert(word.clone());
            }
        };
        for policy in policies.iter().filter_map(|c| c.new) {
            words(policy, &mut |word| {
                let count = self.counts.entry(word.clone()).or_default();
                *count += 1;
                if *count == 1 {
                    turn(&word);
                }
            });
        }
        for policy in policies.iter().filter_map(|c| c.old) {
            words(policy, &mut |word| {
                let Some(count) = self.counts.get_mut(&word) else { return };
                *count -= 1;
                if *count == 0 {
                    self.counts.remove(&word);
                    turn(&word);
                }
            });
        }
        for word in &turned {
            self.learn(word, self.counts.contains_key(word));
        }
        turned
    }

    fn learn(&mut self, word: &Word, is_asked: bool) {
        fn turn<T: Ord + Clone>(set: &mut BTreeSet<T>, member: &T, is_asked: bool) {
            if is_asked {
                set.insert(member.clone());
            } else {
                set.remove(member);
            }
        }
        match word {
            Word::NamespaceKey(key) => turn(&mut self.namespace_keys, key, is_asked),
            Word::PodKey(key) => turn(&mut self.pod_keys, key, is_asked),
            Word::AccountKey(key) => turn(&mut self.account_keys, key, is_asked),
            Word::AccountName => self.account_name = is_asked,
            Word::PeerName(name, protocol) => {
                turn(&mut self.peer_names, &(name.clone(), *protocol), is_asked);
            }
            Word::Net(net) => {
                let length = (Family::of_net(net) == Family::V4, net.prefix_len());
                let count = self.lengths.entry(length).or_default();
                if is_asked {
                    *count += 1;
                } else {
                    *count -= 1;
                }
                if *count == 0 {
                    self.lengths.remove(&length);
                }
            }
        }
    }

    /// What policies could ever ask of a pod, besides its address: no new policy changes it, unless it asks for what
    /// controllers write on single pods.
    pub(crate) fn kind(&self, pod: &Pod, namespace: &Namespace) -> Arc<PodContent> {
        let tells = |key: &str| !LABELS_OF_CONTROLLERS.contains(&key) || self.pod_keys.contains(key);
        let named = |port: &ContainerPort| Some((port.name.clone()?, port.protocol, port.number));
        let mut names: Vec<NamedPort> = pod.ports.iter().filter_map(named).collect();
        // Those of one name stay in the order of the pod.
        names.sort_by(|(a, p, _), (b, q, _)| (a, p).cmp(&(b, q)));
        Arc::new(PodContent {
            namespace: pod.meta.namespace.clone(),
            namespace_labels: project(namespace.labels(), |_| true),
            pod_labels: project(&pod.meta.labels, tells),
            account: Some(pod.service_account.clone()),
            account_labels: account(pod, namespace).map(|labels| project(labels, |_| true)).unwrap_or_default(),
            names,
        })
    }

    /// What policies ask of a pod now, besides its address.
    pub(crate) fn asked(&self, pod: &Pod, namespace: &Namespace) -> Arc<PodContent> {
        let account = account(pod, namespace).map(|labels| project(labels, |key| self.account_keys.contains(key)));
        Arc::new(PodContent {
            namespace: pod.meta.namespace.clone(),
            namespace_labels: project(namespace.labels(), |key| self.namespace_keys.contains(key)),
            pod_labels: project(&pod.meta.labels, |key| self.pod_keys.contains(key)),
            account: self.account_name.then(|| pod.service_account.clone()),
            account_labels: account.unwrap_or_default(),
            names: own_names(&self.peer_names, pod),
        })
    }

    /// What policies can know of an address of a pod.
    pub(crate) fn pod_address(&self, pod: Arc<PodContent>, ip: IpAddr) -> Content {
        Content::Address { pod: Some(pod), nets: self.nets(ip) }
    }

    /// All blocks that contain an address, sorted.
    fn nets(&self, ip: IpAddr) -> Arc<[IpNet]> {
        let lengths = self.lengths.range((ip.is_ipv4(), 0)..=(ip.is_ipv4(), u8::MAX));
        let nets = lengths.filter_map(|((_, length), _)| Some(IpNet::new(ip, *length).ok()?.trunc()));
        let mut nets: Vec<IpNet> = nets.filter(|net| self.counts.contains_key(&Word::Net(*net))).collect();
        if nets.is_empty() {
            return self.none.clone();
        }
        nets.sort_unstable();
        nets.into()
    }
}

/// All words of a policy, as often as it says them.
fn words(policy: &Policy, say: &mut dyn FnMut(Word)) {
    selector_words(&policy.subject, say);
    for direction in Direction::BOTH {
        for rule in policy.rules(direction).into_iter().flatten() {
            for peer in rule.peers.listed() {
                for selector in peer.endpoints.iter().chain(&peer.not_endpoints) {
                    selector_words(selector, say);
                }
            }
            rule_nets(rule).for_each(|net| say(Word::Net(net)));
            // What it says of the endpoint itself may hold for one family only.
            let families = rule.own.iter().flat_map(|_| Family::ALL);
            families.for_each(|family| say(Word::Net(family.whole())));
            for (name, protocol) in names(End::Peer, direction, rule) {
                say(Word::PeerName(name, protocol));
            }
        }
    }
}

fn selector_words(selector: &EndpointSelector, say: &mut dyn FnMut(Word)) {
    if let NamespaceMatch::Matching(namespaces) = &selector.namespaces {
        keys(namespaces).for_each(|key| say(Word::NamespaceKey(key)));
    }
    keys(&selector.pods).for_each(|key| say(Word::PodKey(key)));
    if let Some(expression) = &selector.expression {
        for key in expression.asked() {
            match key {
                Key::Own(key) => say(Word::PodKey(key.clone())),
                Key::Namespace(key) => say(Word::NamespaceKey(key.clone())),
                Key::Account(key) => say(Word::AccountKey(key.clone())),
                Key::AccountName => say(Word::AccountName),
                // Every identity has its namespace, and every pod its orchestrator.
                Key::NamespaceName | Key::Orchestrator => {}
            }
        }
    }
}

fn keys(selector: &LabelSelector) -> impl Iterator<Item = Arc<str>> {
    selector.requirements().iter().map(|r| r.key.clone())
}

fn project(labels: &Labels, tells: impl Fn(&str) -> bool) -> Vec<(Arc<str>, Arc<str>)> {
    // Labels are sorted; pods have few, clusters many keys.
    labels.shared().filter(|(key, _)| tells(key)).map(|(key, value)| (key.clone(), value.clone())).collect()
}

/// The blocks and exceptions that a rule names.
fn rule_nets(rule: &Rule) -> impl Iterator<Item = IpNet> {
    rule.peers.listed().iter().flat_map(|peer| peer.nets())
}

/// The blocks and exceptions that the rules of a stack name.
pub(crate) fn stack_nets(stack: &Stack) -> BTreeSet<IpNet> {
    stack.rules().flat_map(|(_, rule)| rule_nets(rule)).collect()
}

/// An end of a packet, as the policies of one endpoint see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The endpoint.
    Own,
    /// The other one.
    Peer,
}

/// The port names of an end that a rule names, with their protocols.
fn names(end: End, direction: Direction, rule: &Rule) -> impl Iterator<Item = (Arc<str>, Protocol)> {
    let (ports, not_ports) = match (end, direction) {
        (End::Own, Direction::Ingress) | (End::Peer, Direction::Egress) => (&rule.ports, &rule.not_ports),
        (End::Own, Direction::Egress) | (End::Peer, Direction::Ingress) => (&rule.source_ports, &rule.not_source_ports),
    };
    ports.listed().iter().chain(not_ports).filter_map(|p: &PortMatch| match &p.detail {
        Detail::Named(name) | Detail::EveryNamed(name) => Some((name.clone(), p.protocol.transport()?)),
        Detail::All | Detail::Range(..) => None,
    })
}

/// The port names of an end that the rules of a stack name.
pub(crate) fn stack_names(end: End, stack: &Stack) -> BTreeSet<(Arc<str>, Protocol)> {
    stack.rules().flat_map(|(_, rule)| names(end, stack.direction(), rule)).collect()
}

/// What those names stand for on a pod.
pub(crate) fn own_names(names: &BTreeSet<(Arc<str>, Protocol)>, pod: &Pod) -> Vec<NamedPort> {
    let numbers = |n: &Arc<str>, p: Protocol| NamedPorts::of(Some(pod)).all(n, p.into()).collect::<Vec<_>>();
    names.iter().flat_map(|(n, p)| numbers(n, *p).into_iter().map(|number| (n.clone(), *p, number))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_finds_its_blocks() {
        let nets = ["10.0.0.0/8", "10.1.0.0/16", "192.168.0.0/16", "0.0.0.0/0", "fd00::/8"];
        let nets = nets.map(|n| n.parse::<IpNet>().unwrap());
        let mut vocabulary = Vocabulary::default();
        for net in nets {
            vocabulary.counts.insert(Word::Net(net), 1);
            vocabulary.learn(&Word::Net(net), true);
        }
        for (address, n) in [("9.9.9.9", 1), ("10.0.0.1", 2), ("10.1.2.3", 3), ("::1", 0), ("fd00::1", 1)] {
            let ip: IpAddr = address.parse().unwrap();
            let found = vocabulary.nets(ip);
            assert_eq!(found.len(), n, "{address}");
            assert!(nets.iter().all(|net| net.contains(&ip) == found.contains(net)), "{address}");
            assert!(found.is_sorted());
        }
    }
}
