//! Identities, and which of them a rule's peers match.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use ipnet::IpNet;
use roaring::{MultiOps, RoaringBitmap};
use tortie_model::{LabelSelector, Operator, Requirement};
use tortie_policy::{EndpointSelector, Expression, Key, Labelled, NamedPort, NamespaceMatch, Peer};

use crate::number::Numbers;
use crate::plan::{Identity, IdentityId, SetSource};

/// What policies can know of a pod, besides its address: all that they could ask, or what they ask now. Labels are sorted
/// by key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct PodContent {
    pub(crate) namespace: Arc<str>,
    pub(crate) namespace_labels: Vec<(Arc<str>, Arc<str>)>,
    pub(crate) pod_labels: Vec<(Arc<str>, Arc<str>)>,
    /// Its service account, unless nobody asks for it.
    pub(crate) account: Option<Arc<str>>,
    pub(crate) account_labels: Vec<(Arc<str>, Arc<str>)>,
    pub(crate) names: Vec<NamedPort>,
}

/// What an identity stands for. Whether a rule matches it is a function of this alone.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Content {
    /// What policies can know of an address.
    Address {
        /// Of the pod that owns it.
        pod: Option<Arc<PodContent>>,
        /// Which of the blocks that policies name contain it, sorted.
        nets: Arc<[IpNet]>,
    },
    /// See [`SetSource::Changing`].
    Changing(IdentityId, IdentityId),
}

impl Content {
    /// Addresses outside all pods that lie in these blocks.
    pub(crate) const fn outside(nets: Arc<[IpNet]>) -> Self {
        Self::Address { pod: None, nets }
    }

    pub(crate) fn nets(&self) -> &[IpNet] {
        match self {
            Self::Address { nets, .. } => nets,
            Self::Changing(..) => &[],
        }
    }

    fn source(&self) -> SetSource {
        match self {
            Self::Address { pod: None, nets } => SetSource::Cidr(nets.clone()),
            Self::Address { pod: Some(pod), nets } if nets.is_empty() => SetSource::Selector(pod.terms()),
            Self::Address { pod: Some(pod), nets } => SetSource::SelectorInCidr(pod.terms(), nets.clone()),
            Self::Changing(from, to) => SetSource::Changing(*from, *to),
        }
    }
}

fn value<'a>(labels: &'a [(Arc<str>, Arc<str>)], key: &str) -> Option<&'a str> {
    let at = labels.binary_search_by(|(k, _)| (**k).cmp(key)).ok()?;
    Some(&labels[at].1)
}

impl Labelled for PodContent {
    fn value(&self, key: &Key) -> Option<&str> {
        match key {
            Key::Own(key) => value(&self.pod_labels, key),
            Key::Namespace(key) => value(&self.namespace_labels, key),
            Key::NamespaceName => Some(&self.namespace),
            Key::Account(key) => value(&self.account_labels, key),
            Key::AccountName => self.account.as_deref(),
            Key::Orchestrator => Some("k8s"),
        }
    }
}

impl PodContent {
    fn is_selected(&self, selector: &EndpointSelector) -> bool {
        let meets = |labels: &[(Arc<str>, Arc<str>)], wanted: &LabelSelector| {
            wanted.requirements().iter().all(|requirement| requirement.admits(value(labels, &requirement.key)))
        };
        let there = match &selector.namespaces {
            NamespaceMatch::Named(name) => *name == self.namespace,
            NamespaceMatch::Matching(wanted) => meets(&self.namespace_labels, wanted),
        };
        there
            && meets(&self.pod_labels, &selector.pods)
            && selector.expression.as_ref().is_none_or(|expression| expression.holds(self))
    }

    fn terms(&self) -> Arc<[Arc<str>]> {
        let mut terms = vec![format!("namespace={}", self.namespace)];
        terms.extend(self.namespace_labels.iter().map(|(k, v)| format!("namespace.{k}={v}")));
        terms.extend(self.pod_labels.iter().map(|(k, v)| format!("pod.{k}={v}")));
        terms.extend(self.account.iter().map(|name| format!("account={name}")));
        terms.extend(self.account_labels.iter().map(|(k, v)| format!("account.{k}={v}")));
        terms.extend(self.names.iter().map(|(n, p, number)| format!("port.{n}/{p}={number}")));
        terms.sort_unstable();
        terms.into_iter().map(Arc::from).collect()
    }
}

/// For a label key: who has it, and who has it with which value.
#[derive(Debug, Default)]
struct Postings(HashMap<Arc<str>, Posting>);

#[derive(Debug, Default)]
struct Posting {
    has: RoaringBitmap,
    values: HashMap<Arc<str>, RoaringBitmap>,
}

impl Postings {
    fn insert(&mut self, labels: &[(Arc<str>, Arc<str>)], id: u32) {
        for (key, value) in labels {
            let posting = self.0.entry(key.clone()).or_default();
            posting.has.insert(id);
            posting.values.entry(value.clone()).or_default().insert(id);
        }
    }

    fn remove(&mut self, labels: &[(Arc<str>, Arc<str>)], id: u32) {
        for (key, value) in labels {
            let Some(posting) = self.0.get_mut(key) else { continue };
            posting.has.remove(id);
            if let Some(ids) = posting.values.get_mut(value) {
                ids.remove(id);
                if ids.is_empty() {
                    posting.values.remove(value);
                }
            }
            if posting.has.is_empty() {
                self.0.remove(key);
            }
        }
    }

    /// Those of `among` that meet a requirement.
    fn meeting(&self, requirement: &Requirement, among: &RoaringBitmap) -> RoaringBitmap {
        let posting = self.0.get(&requirement.key);
        let listed = || -> RoaringBitmap {
            let Some(posting) = posting else { return RoaringBitmap::new() };
            requirement.values.iter().filter_map(|v| posting.values.get(v)).union()
        };
        match requirement.operator {
            Operator::In => among & listed(),
            Operator::NotIn => among - listed(),
            Operator::Exists => posting.map_or_else(RoaringBitmap::new, |p| among & &p.has),
            Operator::DoesNotExist => posting.map_or_else(|| among.clone(), |p| among - &p.has),
        }
    }

    fn has(&self, key: &str) -> RoaringBitmap {
        self.0.get(key).map_or_else(RoaringBitmap::new, |posting| posting.has.clone())
    }

    /// Those whose value of a key is admitted.
    fn admitted(&self, key: &str, admits: impl Fn(&str) -> bool) -> RoaringBitmap {
        let values = self.0.get(key).into_iter().flat_map(|posting| &posting.values);
        values.filter(|(value, _)| admits(value)).map(|(_, ids)| ids).union()
    }

    fn selected(&self, selector: &LabelSelector, among: RoaringBitmap) -> RoaringBitmap {
        selector.requirements().iter().fold(among, |among, r| self.meeting(r, &among))
    }
}

/// The identities of a node, by number and by what policies ask for.
#[derive(Debug, Default)]
pub(crate) struct Identities {
    numbers: HashMap<Content, IdentityId>,
    contents: BTreeMap<IdentityId, Content>,
    /// The contents of pods, and how many identities have each.
    kinds: HashMap<Arc<PodContent>, usize>,
    /// All that have a content of addresses.
    all: RoaringBitmap,
    pods: RoaringBitmap,
    namespaces: HashMap<Arc<str>, RoaringBitmap>,
    namespace_labels: Postings,
    pod_labels: Postings,
    accounts: HashMap<Arc<str>, RoaringBitmap>,
    account_labels: Postings,
    nets: HashMap<IpNet, RoaringBitmap>,
    /// Given out since the last call of [`Identities::take_made`].
    made: Vec<IdentityId>,
    /// Those of them that have a content of addresses, since the last call of [`Identities::settle`].
    fresh: RoaringBitmap,
}

impl Identities {
    /// The number of a content, given out now when it is new. Addresses of no pod in no block have number 0.
    pub(crate) fn intern(&mut self, content: Content, numbers: &mut Numbers) -> IdentityId {
        if matches!(&content, Content::Address { pod: None, nets } if nets.is_empty()) {
            return IdentityId(0);
        }
        if let Some(id) = self.numbers.get(&content) {
            return *id;
        }
        let id = numbers.identity();
        if let Content::Address { pod, nets } = &content {
            self.all.insert(id.0);
            self.fresh.insert(id.0);
            for net in nets.iter() {
                self.nets.entry(*net).or_default().insert(id.0);
            }
            if let Some(pod) = pod {
                *self.kinds.entry(pod.clone()).or_default() += 1;
                self.pods.insert(id.0);
                self.namespaces.entry(pod.namespace.clone()).or_default().insert(id.0);
                self.namespace_labels.insert(&pod.namespace_labels, id.0);
                self.pod_labels.insert(&pod.pod_labels, id.0);
                self.account_labels.insert(&pod.account_labels, id.0);
                if let Some(account) = &pod.account {
                    self.accounts.entry(account.clone()).or_default().insert(id.0);
                }
            }
        }
        self.numbers.insert(content.clone(), id);
        self.contents.insert(id, content);
        self.made.push(id);
        id
    }

    /// Whether there are pods with this content, or fewer contents of pods than `room`.
    pub(crate) fn has_room_for(&self, pod: &Arc<PodContent>, room: usize) -> bool {
        self.kinds.len() < room || self.kinds.contains_key(pod)
    }

    /// What was made since the last call.
    pub(crate) fn take_made(&mut self) -> Vec<IdentityId> {
        std::mem::take(&mut self.made)
    }

    /// Identities that stand for addresses and that not every table has looked at.
    pub(crate) const fn fresh(&self) -> &RoaringBitmap {
        &self.fresh
    }

    /// Every table has looked at all of them.
    pub(crate) fn settle(&mut self) {
        self.fresh.clear();
    }

    /// Forgets identities.
    pub(crate) fn forget(&mut self, gone: impl IntoIterator<Item = IdentityId>) {
        for id in gone {
            let Some(content) = self.contents.remove(&id) else { continue };
            self.numbers.remove(&content);
            let Content::Address { pod, nets } = content else { continue };
            self.all.remove(id.0);
            self.fresh.remove(id.0);
            for net in nets.iter() {
                remove_from(&mut self.nets, net, id.0);
            }
            if let Some(pod) = pod {
                if let Some(count) = self.kinds.get_mut(&pod) {
                    *count -= 1;
                    if *count == 0 {
                        self.kinds.remove(&pod);
                    }
                }
                self.pods.remove(id.0);
                remove_from(&mut self.namespaces, &pod.namespace, id.0);
                self.namespace_labels.remove(&pod.namespace_labels, id.0);
                self.pod_labels.remove(&pod.pod_labels, id.0);
                self.account_labels.remove(&pod.account_labels, id.0);
                if let Some(account) = &pod.account {
                    remove_from(&mut self.accounts, account, id.0);
                }
            }
        }
    }

    /// All identities that stand for addresses.
    pub(crate) const fn all(&self) -> &RoaringBitmap {
        &self.all
    }

    pub(crate) fn content(&self, id: IdentityId) -> Option<&Content> {
        self.contents.get(&id)
    }

    /// The port names that an identity's pods have.
    pub(crate) fn names(&self, id: IdentityId) -> &[NamedPort] {
        match self.contents.get(&id) {
            Some(Content::Address { pod: Some(pod), .. }) => &pod.names,
            _ => &[],
        }
    }

    /// As the plan says it.
    pub(crate) fn describe(&self, id: IdentityId) -> Option<Identity> {
        Some(Identity { source: self.contents.get(&id)?.source() })
    }

    /// Whether a peer means an identity: what [`Identities::matching`] says of all, for one.
    pub(crate) fn is_meant(&self, peer: &Peer, id: IdentityId) -> bool {
        let Some(Content::Address { pod, nets }) = self.contents.get(&id) else { return false };
        means(peer, pod.as_deref(), nets)
    }

    /// The identities that a peer means, but for number 0, which is asked by [`is_outside_meant`].
    pub(crate) fn matching(&self, peer: &Peer) -> RoaringBitmap {
        let mut out = peer.endpoints.as_ref().map_or_else(
            || self.all.clone(),
            |selector| self.selected(selector) | self.within(peer.sets.blocks().iter()),
        );
        if let Some(blocks) = &peer.blocks {
            out &= blocks.iter().fold(RoaringBitmap::new(), |found, block| {
                let Some(inside) = self.nets.get(&block.cidr()) else { return found };
                found | (inside - self.within(block.except().iter()))
            });
        }
        if let Some(family) = peer.family {
            out &= self.within([family.whole()].iter());
        }
        if let Some(selector) = &peer.not_endpoints {
            out -= self.selected(selector);
        }
        out - self.within(peer.not_blocks.blocks().iter())
    }

    /// The identities in one of these blocks, which are blocks that policies name.
    fn within<'a>(&self, nets: impl Iterator<Item = &'a IpNet>) -> RoaringBitmap {
        nets.filter_map(|net| self.nets.get(net)).union()
    }

    fn selected(&self, selector: &EndpointSelector) -> RoaringBitmap {
        let there = match &selector.namespaces {
            NamespaceMatch::Named(name) => self.namespaces.get(name).cloned().unwrap_or_default(),
            NamespaceMatch::Matching(labels) => self.namespace_labels.selected(labels, self.pods.clone()),
        };
        let pods = self.pod_labels.selected(&selector.pods, there);
        match &selector.expression {
            Some(expression) => pods & self.holding(expression),
            None => pods,
        }
    }

    /// The pods of which an expression holds.
    fn holding(&self, expression: &Expression) -> RoaringBitmap {
        match expression {
            Expression::True => self.pods.clone(),
            Expression::Has(key) => self.having(key),
            Expression::Compare(key, comparison) => {
                let found = self.admitted(key, |value| comparison.admits(Some(value)));
                if comparison.admits(None) { found | (&self.pods - self.having(key)) } else { found }
            }
            Expression::Not(term) => &self.pods - self.holding(term),
            Expression::And(terms) => terms.iter().fold(self.pods.clone(), |all, term| all & self.holding(term)),
            Expression::Or(terms) => terms.iter().map(|term| self.holding(term)).union(),
        }
    }

    fn having(&self, key: &Key) -> RoaringBitmap {
        match key {
            Key::Own(key) => self.pod_labels.has(key),
            Key::Namespace(key) => self.namespace_labels.has(key),
            Key::Account(key) => self.account_labels.has(key),
            Key::AccountName => self.accounts.values().union(),
            Key::NamespaceName | Key::Orchestrator => self.pods.clone(),
        }
    }

    fn admitted(&self, key: &Key, admits: impl Fn(&str) -> bool) -> RoaringBitmap {
        let named = |names: &HashMap<Arc<str>, RoaringBitmap>| -> RoaringBitmap {
            names.iter().filter(|(name, _)| admits(name)).map(|(_, ids)| ids).union()
        };
        match key {
            Key::Own(key) => self.pod_labels.admitted(key, admits),
            Key::Namespace(key) => self.namespace_labels.admitted(key, admits),
            Key::Account(key) => self.account_labels.admitted(key, admits),
            Key::AccountName => named(&self.accounts),
            Key::NamespaceName => named(&self.namespaces),
            Key::Orchestrator if admits("k8s") => self.pods.clone(),
            Key::Orchestrator => RoaringBitmap::new(),
        }
    }
}

/// Whether a peer means addresses of no pod in no block that a policy names.
pub(crate) fn is_outside_meant(peer: &Peer) -> bool {
    means(peer, None, &[])
}

/// Whether a peer means an address with this content.
fn means(peer: &Peer, pod: Option<&PodContent>, nets: &[IpNet]) -> bool {
    let has = |net: &IpNet| nets.contains(net);
    let is_pod_of = |selector: &EndpointSelector| pod.is_some_and(|pod| pod.is_selected(selector));
    peer.endpoints.as_ref().is_none_or(|selector| is_pod_of(selector) || peer.sets.blocks().iter().any(has))
        && peer
            .blocks
            .as_ref()
            .is_none_or(|blocks| blocks.iter().any(|block| has(&block.cidr()) && !block.except().iter().any(has)))
        && peer.family.is_none_or(|family| has(&family.whole()))
        && !peer.not_endpoints.as_ref().is_some_and(is_pod_of)
        && !peer.not_blocks.blocks().iter().any(has)
}

fn remove_from<K: std::hash::Hash + Eq>(sets: &mut HashMap<K, RoaringBitmap>, key: &K, id: u32) {
    if let Some(set) = sets.get_mut(key) {
        set.remove(id);
        if set.is_empty() {
            sets.remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tortie_model::IpBlock;

    fn pod(app: &str) -> Arc<PodContent> {
        let labels = |key: &str, value: &str| vec![(key.into(), value.into())];
        let (namespace_labels, pod_labels) = (labels("team", "x"), labels("app", app));
        Arc::new(PodContent {
            namespace: "a".into(),
            namespace_labels,
            pod_labels,
            account: Some("reader".into()),
            account_labels: labels("role", "ro"),
            names: Vec::new(),
        })
    }

    fn nets<const N: usize>(nets: [&str; N]) -> Arc<[IpNet]> {
        nets.map(|net| net.parse().unwrap()).into()
    }

    #[test]
    fn what_is_forgotten_leaves_nothing_behind() {
        let (mut identities, mut numbers) = (Identities::default(), Numbers::default());
        let contents = [
            Content::Address { pod: Some(pod("web")), nets: nets(["10.0.0.0/8"]) },
            Content::Address { pod: Some(pod("db")), nets: nets([]) },
            Content::outside(nets(["10.0.0.0/8", "10.1.0.0/16"])),
            Content::Changing(IdentityId(1), IdentityId(2)),
        ];
        let ids = contents.map(|content| identities.intern(content, &mut numbers));
        assert_eq!(identities.take_made(), ids);
        identities.forget(ids);
        assert_eq!(format!("{identities:?}"), format!("{:?}", Identities::default()));
    }

    #[test]
    fn blocks_of_one_peer_add_up() {
        let (mut identities, mut numbers) = (Identities::default(), Numbers::default());
        let in_both = identities.intern(Content::outside(nets(["10.0.0.0/8", "10.1.0.0/16"])), &mut numbers);
        let in_one = identities.intern(Content::outside(nets(["10.0.0.0/8"])), &mut numbers);
        let block = |cidr: &str| IpBlock::new(cidr.parse().unwrap(), []);
        let blocks = Some(vec![block("10.0.0.0/8"), block("10.1.0.0/16")]);
        let peer = Peer { blocks, ..Peer::default() };
        assert_eq!(identities.matching(&peer), RoaringBitmap::from([in_both.0, in_one.0]));
        assert!(identities.is_meant(&peer, in_both) && identities.is_meant(&peer, in_one));
    }
}
