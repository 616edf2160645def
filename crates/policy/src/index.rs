//! The objects of a cluster, indexed for the questions that policy asks; fed by deltas.

mod ends;
mod govern;
mod policies;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use tortie_model::calico::{HostEndpoint, NetworkSet};
use tortie_model::{EndpointSlice, Kind, Namespace, Node, ObjectRef, Order, Pod, canonical};
use tortie_persistent::{Changed, Map};

use crate::references::{self, Sets};
use crate::rule::{Policy, Tier};

/// A pod by namespace and name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PodKey {
    /// Namespace.
    pub namespace: Arc<str>,
    /// Name.
    pub name: Arc<str>,
}

impl PodKey {
    /// The key of a pod.
    #[must_use]
    pub fn of(pod: &Pod) -> Self {
        Self { namespace: pod.meta.namespace.clone(), name: pod.meta.name.clone() }
    }

    /// A key from its parts.
    #[must_use]
    pub fn new(namespace: &str, name: &str) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }
}

impl std::fmt::Display for PodKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// One change of the cluster.
#[derive(Clone, Debug, PartialEq)]
pub enum Delta {
    /// A namespace is there, with these labels.
    Namespace(Namespace),
    /// A namespace is gone.
    NamespaceRemoved(Arc<str>),
    /// A pod is there, so.
    Pod(Box<Pod>),
    /// A pod is gone. A `uid` that is not that of the pod now known by the name is a late event and changes nothing.
    PodRemoved {
        /// Which.
        key: PodKey,
        /// Its `metadata.uid`; empty when not known.
        uid: Arc<str>,
    },
    /// A node is there, so.
    Node(Node),
    /// A node is gone.
    NodeRemoved(Arc<str>),
    /// A policy is there, so.
    Policy(Box<Policy>),
    /// A policy is gone.
    PolicyRemoved(ObjectRef),
    /// A tier is there, so.
    Tier(Tier),
    /// A tier is gone.
    TierRemoved(Arc<str>),
    /// A set of addresses is there, so.
    NetworkSet(Box<NetworkSet>),
    /// A set of addresses is gone.
    NetworkSetRemoved(ObjectRef),
    /// A host endpoint is there, so: whose addresses selectors find by its labels.
    HostEndpoint(Box<HostEndpoint>),
    /// A host endpoint is gone.
    HostEndpointRemoved(Arc<str>),
    /// A part of the addresses behind a Service is there, so.
    EndpointSlice(Box<EndpointSlice>),
    /// A part of the addresses behind a Service is gone.
    EndpointSliceRemoved(ObjectRef),
}

/// How policies are sorted within a tier.
type PolicyKey = (Order, Arc<str>);

/// The cluster as policies see it. Copies share what is the same, so that keeping one costs nothing, and what is new
/// since then is found by [`Index::news`].
#[derive(Clone, Debug)]
pub struct Index {
    namespaces: Map<Arc<str>, Arc<Namespace>>,
    /// Namespaces that only exist because an object names them.
    implied: BTreeSet<Arc<str>>,
    pods: Map<PodKey, Arc<Pod>>,
    owners: Map<IpAddr, PodKey>,
    nodes: Map<Arc<str>, Arc<Node>>,
    node_ips: Map<IpAddr, Arc<str>>,
    tiers: Map<Arc<str>, Tier>,
    sets: Sets,
    slices: Map<ObjectRef, Arc<EndpointSlice>>,
    policies: Map<ObjectRef, Arc<Policy>>,
    /// Policies that refer to other objects, as they were given: without the addresses of those.
    written: Map<ObjectRef, Arc<Policy>>,
    /// Policies whose subject is one namespace, by that namespace.
    by_namespace: Map<Arc<str>, Arc<BTreeMap<PolicyKey, Arc<Policy>>>>,
    /// All others.
    cluster_wide: Arc<BTreeMap<PolicyKey, Arc<Policy>>>,
}

impl Default for Index {
    fn default() -> Self {
        Self {
            namespaces: Map::new(),
            implied: BTreeSet::new(),
            pods: Map::new(),
            owners: Map::new(),
            nodes: Map::new(),
            node_ips: Map::new(),
            tiers: Tier::built_in().map(|tier| (tier.name.clone(), tier)).into(),
            sets: Sets::default(),
            slices: Map::new(),
            policies: Map::new(),
            written: Map::new(),
            by_namespace: Map::new(),
            cluster_wide: Arc::default(),
        }
    }
}

/// How one index differs from another, by what policies can see.
#[derive(Debug, Default)]
pub struct News<'a> {
    /// Namespaces.
    pub namespaces: Vec<Changed<'a, Arc<str>, Arc<Namespace>>>,
    /// Pods.
    pub pods: Vec<Changed<'a, PodKey, Arc<Pod>>>,
    /// Addresses and the pods that own them.
    pub owners: Vec<Changed<'a, IpAddr, PodKey>>,
    /// Policies.
    pub policies: Vec<Changed<'a, ObjectRef, Arc<Policy>>>,
    /// Whether a tier differs.
    pub tiers: bool,
}

impl Index {
    /// The index of these changes, in order.
    #[must_use]
    pub fn of(deltas: impl IntoIterator<Item = Delta>) -> Self {
        let mut index = Self::default();
        for delta in deltas {
            index.apply(delta);
        }
        index
    }

    /// Takes a change; tells whether anything is different now.
    pub fn apply(&mut self, delta: Delta) -> bool {
        match delta {
            Delta::Namespace(ns) => {
                let name = ns.name().clone();
                self.implied.remove(&name);
                let old = self.namespaces.insert(name.clone(), Arc::new(ns));
                let changed = old.as_ref() != self.namespaces.get(&name);
                if changed {
                    self.namespace_of_sets_changed(&name, old.as_deref());
                }
                changed
            }
            Delta::NamespaceRemoved(name) => self.remove_namespace(&name),
            Delta::Pod(pod) => self.put_pod(*pod),
            Delta::PodRemoved { key, uid } => {
                let late = |pod: &Arc<Pod>| !uid.is_empty() && !pod.meta.uid.is_empty() && pod.meta.uid != uid;
                if self.pods.get(&key).is_none_or(late) {
                    return false;
                }
                self.take_pod(&key);
                self.forget_implied(&key.namespace);
                true
            }
            Delta::Node(node) => {
                let name = node.meta.name.clone();
                if self.nodes.get(&name).is_some_and(|n| **n == node) {
                    return false;
                }
                self.take_node(&name);
                self.node_ips.extend(node.addresses.iter().map(|ip| (canonical(*ip), name.clone())));
                let node = Arc::new(node);
                self.nodes.insert(name, node.clone());
                self.follow(references::Changed::Node(&node));
                true
            }
            Delta::NodeRemoved(name) => self.take_node(&name),
            Delta::Policy(policy) => self.put_policy(Arc::from(policy)),
            Delta::PolicyRemoved(object) => {
                self.forget_written(&object);
                self.take_policy(&object)
            }
            Delta::Tier(tier) => {
                let changed = self.tiers.get(&tier.name) != Some(&tier);
                self.tiers.insert(tier.name.clone(), tier);
                changed
            }
            Delta::TierRemoved(name) => {
                // Those that are there without being written come back as they are then.
                let built_in = Tier::built_in().into_iter().find(|tier| tier.name == name);
                match built_in {
                    Some(tier) => self.apply(Delta::Tier(tier)),
                    None => self.tiers.remove(&name).is_some(),
                }
            }
            Delta::NetworkSet(set) => {
                let kind = if set.meta.namespace.is_empty() { Kind::GlobalNetworkSet } else { Kind::NetworkSet };
                let namespace = kind.is_namespaced().then(|| set.meta.namespace.clone());
                self.put_set(ObjectRef { kind, namespace, name: set.meta.name.clone() }, Arc::from(set))
            }
            Delta::NetworkSetRemoved(object) => self.take_set(&object),
            Delta::HostEndpoint(host) => {
                let object = ObjectRef::cluster(Kind::HostEndpoint, &host.meta.name);
                self.put_set(object, Arc::new(references::addresses_of(&host)))
            }
            Delta::HostEndpointRemoved(name) => self.take_set(&ObjectRef::cluster(Kind::HostEndpoint, &name)),
            Delta::EndpointSlice(slice) => self.put_slice(Arc::from(slice)),
            Delta::EndpointSliceRemoved(object) => {
                let gone = self.slices.remove(&object);
                gone.iter().for_each(|slice| self.slice_changed(slice));
                gone.is_some()
            }
        }
    }

    /// What is different in `new`. Costs what happened since, when `new` is a later state of a copy of this index.
    #[must_use]
    pub fn news<'a>(&'a self, new: &'a Self) -> News<'a> {
        News {
            namespaces: self.namespaces.changes(&new.namespaces),
            pods: self.pods.changes(&new.pods),
            owners: self.owners.changes(&new.owners),
            policies: self.policies.changes(&new.policies),
            tiers: self.tiers != new.tiers,
        }
    }

    fn remove_namespace(&mut self, name: &Arc<str>) -> bool {
        let old = self.namespaces.remove(name);
        let known = old.is_some() && !self.implied.remove(name);
        if self.is_named(name) {
            self.imply_namespace(name);
        }
        self.namespace_of_sets_changed(name, old.as_deref());
        known
    }

    /// Whether an object is in a namespace.
    fn is_named(&self, namespace: &Arc<str>) -> bool {
        self.has_pods(namespace) || self.sets.all().values().any(|set| set.meta.namespace == *namespace)
    }

    fn has_pods(&self, namespace: &Arc<str>) -> bool {
        let first = PodKey { namespace: namespace.clone(), name: "".into() };
        self.pods.range_from(&first).next().is_some_and(|(key, _)| key.namespace == *namespace)
    }

    /// All pods of a namespace.
    pub fn pods_of<'a>(&'a self, namespace: &'a Arc<str>) -> impl Iterator<Item = &'a Arc<Pod>> {
        let first = PodKey { namespace: namespace.clone(), name: "".into() };
        let from_there = self.pods.range_from(&first);
        from_there.take_while(move |(key, _)| key.namespace == *namespace).map(|(_, pod)| pod)
    }

    /// Addresses of pods within a block.
    pub fn owned_within(&self, block: IpNet) -> impl Iterator<Item = IpAddr> {
        let from_there = self.owners.range_from(&block.network());
        from_there.map(|(ip, _)| *ip).take_while(move |ip| block.contains(ip))
    }

    fn imply_namespace(&mut self, name: &Arc<str>) {
        if !self.namespaces.contains_key(name) {
            self.namespaces.insert(name.clone(), Arc::new(Namespace::new(name, &tortie_model::Labels::default())));
            self.implied.insert(name.clone());
        }
    }

    fn forget_implied(&mut self, name: &Arc<str>) {
        if self.implied.contains(name) && !self.is_named(name) {
            self.implied.remove(name);
            self.namespaces.remove(name);
        }
    }

    /// A pod that finished has given its addresses back: it is no endpoint any more.
    fn put_pod(&mut self, pod: Pod) -> bool {
        let key = PodKey::of(&pod);
        if pod.phase.is_finished() {
            let known = self.take_pod(&key).is_some();
            self.forget_implied(&key.namespace);
            return known;
        }
        if self.pods.get(&key).is_some_and(|p| **p == pod) {
            return false;
        }
        self.imply_namespace(&key.namespace);
        let old = self.pods.get(&key).filter(|old| old.meta.uid == pod.meta.uid).cloned();
        let had =
            |ip: IpAddr| old.as_ref().is_some_and(|o| !o.host_network && o.ips.iter().any(|i| canonical(*i) == ip));
        // Addresses whose last owner is somebody else stay with that owner unless they are news from this pod:
        // an update of a pod whose address was handed on must not take it back.
        let lost: BTreeSet<IpAddr> = pod
            .ips
            .iter()
            .map(|ip| canonical(*ip))
            .filter(|ip| had(*ip) && self.owners.get(ip).is_some_and(|owner| *owner != key))
            .collect();
        self.take_pod(&key);
        if !pod.host_network {
            for ip in pod.ips.iter().map(|ip| canonical(*ip)).filter(|ip| !lost.contains(ip)) {
                self.owners.insert(ip, key.clone());
            }
        }
        self.pods.insert(key, Arc::new(pod));
        true
    }

    fn take_pod(&mut self, key: &PodKey) -> Option<Arc<Pod>> {
        let pod = self.pods.remove(key)?;
        for ip in pod.ips.iter().map(|ip| canonical(*ip)) {
            if self.owners.get(&ip) == Some(key) {
                self.owners.remove(&ip);
            }
        }
        Some(pod)
    }

    fn take_node(&mut self, name: &Arc<str>) -> bool {
        let Some(node) = self.nodes.remove(name) else { return false };
        for ip in node.addresses.iter().map(|ip| canonical(*ip)) {
            if self.node_ips.get(&ip) == Some(name) {
                self.node_ips.remove(&ip);
            }
        }
        self.follow(references::Changed::Node(&node));
        true
    }

    /// All pods that are endpoints or live in their node's network, by name.
    pub fn pods(&self) -> impl Iterator<Item = &Arc<Pod>> {
        self.pods.values()
    }

    /// A pod.
    #[must_use]
    pub fn pod(&self, key: &PodKey) -> Option<&Arc<Pod>> {
        self.pods.get(key)
    }

    /// All namespaces, those that only pods name included.
    pub fn namespaces(&self) -> impl Iterator<Item = &Arc<Namespace>> {
        self.namespaces.values()
    }

    /// A namespace.
    #[must_use]
    pub fn namespace(&self, name: &str) -> Option<&Arc<Namespace>> {
        self.namespaces.get(name)
    }

    /// All nodes.
    pub fn nodes(&self) -> impl Iterator<Item = &Arc<Node>> {
        self.nodes.values()
    }

    /// A node.
    #[must_use]
    pub fn node(&self, name: &str) -> Option<&Arc<Node>> {
        self.nodes.get(name)
    }

    /// A tier, given or built in.
    #[must_use]
    pub fn tier(&self, name: &str) -> Option<&Tier> {
        self.tiers.get(name)
    }

    /// All policies, by name.
    pub fn policies(&self) -> impl Iterator<Item = &Arc<Policy>> {
        self.policies.values()
    }

    /// A policy.
    #[must_use]
    pub fn policy(&self, object: &ObjectRef) -> Option<&Arc<Policy>> {
        self.policies.get(object)
    }
}
