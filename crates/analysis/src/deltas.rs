//! What the objects of a cluster are to the engine.

use std::collections::BTreeMap;
use std::sync::Arc;

use tortie_manifest::ObjectSet;
use tortie_model::calico::{HostEndpoint, NetworkSet};
use tortie_model::{
    Endpoint, EndpointPort, EndpointSlice, Kind, Meta, Namespace, Node, ObjectRef, Pod, Service, TargetPort,
};
use tortie_policy::{
    Delta, Index, NamedPort, PodKey, Policy, Tier, calico_policy, calico_tier, cluster_policy, network_policy,
};

/// The objects of a cluster that matter to policy, by name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct World {
    /// Namespaces, with their service accounts.
    pub namespaces: BTreeMap<Arc<str>, Namespace>,
    /// Nodes.
    pub nodes: BTreeMap<Arc<str>, Node>,
    /// Pods.
    pub pods: BTreeMap<PodKey, Pod>,
    /// Tiers that are given.
    pub tiers: BTreeMap<Arc<str>, Tier>,
    /// Sets of addresses.
    pub sets: BTreeMap<ObjectRef, NetworkSet>,
    /// Interfaces of hosts.
    pub hosts: BTreeMap<Arc<str>, HostEndpoint>,
    /// What is behind Services.
    pub slices: BTreeMap<ObjectRef, EndpointSlice>,
    /// Policies of every API.
    pub policies: BTreeMap<ObjectRef, Policy>,
}

impl World {
    /// The world of some objects, as they are.
    #[must_use]
    pub fn of(objects: &ObjectSet) -> Self {
        let pods = objects.pods.iter().map(|p| (PodKey::of(p), p.clone())).collect();
        let nodes = objects.nodes.iter().map(|n| (n.meta.name.clone(), n.clone())).collect();
        Self::placed(objects, nodes, pods)
    }

    /// The world of some objects, with these nodes and pods.
    #[must_use]
    pub fn placed(objects: &ObjectSet, nodes: BTreeMap<Arc<str>, Node>, pods: BTreeMap<PodKey, Pod>) -> Self {
        let set = |set: &NetworkSet| {
            let kind = if set.meta.namespace.is_empty() { Kind::GlobalNetworkSet } else { Kind::NetworkSet };
            (reference(kind, &set.meta), set.clone())
        };
        let slices = slices(objects, &pods).map(|slice| (reference(Kind::EndpointSlice, &slice.meta), slice)).collect();
        Self {
            namespaces: objects.namespaces.iter().map(|n| (n.name().clone(), n.clone())).collect(),
            nodes,
            pods,
            tiers: objects.tiers.iter().map(|t| (t.meta.name.clone(), calico_tier(t))).collect(),
            sets: objects.network_sets.iter().map(set).collect(),
            hosts: objects.host_endpoints.iter().map(|h| (h.meta.name.clone(), h.clone())).collect(),
            slices,
            policies: policies(objects).map(|p| (p.object.clone(), p)).collect(),
        }
    }

    /// What changes for policy from another world to this one. Removals come first: an address may have a new owner.
    #[must_use]
    pub fn deltas_since(&self, old: &Self) -> Vec<Delta> {
        // Labels and readiness come and go; a pod with other addresses or containers, or elsewhere, is another one.
        let lasting = |p: &Pod| (p.meta.uid.clone(), p.ips.clone(), p.node.clone(), p.host_network, p.ports.clone());
        let pod_gone =
            |(key, pod): &(&PodKey, &Pod)| self.pods.get(*key).is_none_or(|new| lasting(new) != lasting(pod));
        let mut out: Vec<Delta> = gone(&old.policies, &self.policies).map(Delta::PolicyRemoved).collect();
        out.extend(
            old.pods
                .iter()
                .filter(pod_gone)
                .map(|(key, pod)| Delta::PodRemoved { key: key.clone(), uid: pod.meta.uid.clone() }),
        );
        out.extend(gone(&old.slices, &self.slices).map(Delta::EndpointSliceRemoved));
        out.extend(gone(&old.sets, &self.sets).map(Delta::NetworkSetRemoved));
        out.extend(gone(&old.hosts, &self.hosts).map(Delta::HostEndpointRemoved));
        out.extend(gone(&old.nodes, &self.nodes).map(Delta::NodeRemoved));
        out.extend(gone(&old.namespaces, &self.namespaces).map(Delta::NamespaceRemoved));
        out.extend(gone(&old.tiers, &self.tiers).map(Delta::TierRemoved));
        out.extend(come(&old.tiers, &self.tiers).map(Delta::Tier));
        out.extend(come(&old.nodes, &self.nodes).map(Delta::Node));
        out.extend(come(&old.namespaces, &self.namespaces).map(Delta::Namespace));
        out.extend(come(&old.sets, &self.sets).map(|set| Delta::NetworkSet(Box::new(set))));
        out.extend(come(&old.hosts, &self.hosts).map(|host| Delta::HostEndpoint(Box::new(host))));
        out.extend(come(&old.slices, &self.slices).map(|slice| Delta::EndpointSlice(Box::new(slice))));
        out.extend(come(&old.pods, &self.pods).map(|pod| Delta::Pod(Box::new(pod))));
        out.extend(come(&old.policies, &self.policies).map(|policy| Delta::Policy(Box::new(policy))));
        out
    }

    /// The index of this world alone.
    #[must_use]
    pub fn index(&self) -> Index {
        Index::of(self.deltas_since(&Self::default()))
    }
}

/// Keys that are not there any more.
fn gone<K: Ord + Clone, V>(old: &BTreeMap<K, V>, new: &BTreeMap<K, V>) -> impl Iterator<Item = K> {
    old.keys().filter(|key| !new.contains_key(*key)).cloned()
}

/// Values that are new or others than before.
fn come<K: Ord, V: PartialEq + Clone>(old: &BTreeMap<K, V>, new: &BTreeMap<K, V>) -> impl Iterator<Item = V> {
    new.iter().filter(|(key, value)| old.get(*key) != Some(*value)).map(|(_, value)| value.clone())
}

fn reference(kind: Kind, meta: &Meta) -> ObjectRef {
    ObjectRef { kind, namespace: kind.is_namespaced().then(|| meta.namespace.clone()), name: meta.name.clone() }
}

/// The policies of every API, in the one rule form. Those that are never asked about packets of pods are left out.
pub fn policies(objects: &ObjectSet) -> impl Iterator<Item = Policy> {
    let kubernetes = objects.network_policies.iter().map(|p| network_policy(p));
    let calico = objects.calico_policies.iter().filter_map(|p| calico_policy(p));
    let cluster = objects.cluster_policies.iter().map(|p| cluster_policy(p));
    kubernetes.chain(calico).chain(cluster)
}

/// What is behind Services: what slices tell, and for Services of which none tells, what their selectors select, as
/// the cluster's own controller would tell it.
fn slices(objects: &ObjectSet, pods: &BTreeMap<PodKey, Pod>) -> impl Iterator<Item = EndpointSlice> {
    let told = |service: &Service| {
        objects
            .endpoint_slices
            .iter()
            .any(|s| s.meta.namespace == service.meta.namespace && s.service.as_ref() == Some(&service.meta.name))
    };
    let untold = objects.services.iter().filter(move |service| !told(service));
    objects.endpoint_slices.iter().cloned().chain(untold.flat_map(|service| selected(service, pods)))
}

/// One slice for the pods of a Service whose target ports have the same numbers.
fn selected(service: &Service, pods: &BTreeMap<PodKey, Pod>) -> Vec<EndpointSlice> {
    let Some(selector) = &service.selector else { return Vec::new() };
    let mut by_ports: BTreeMap<Vec<NamedPort>, Vec<Endpoint>> = BTreeMap::new();
    let first = PodKey { namespace: service.meta.namespace.clone(), name: "".into() };
    let here = pods.range(first..).take_while(|(key, _)| key.namespace == service.meta.namespace);
    for (_, pod) in here.filter(|(_, pod)| selector.matches(&pod.meta.labels) && !pod.phase.is_finished()) {
        let number = |target: &TargetPort, protocol| match target {
            TargetPort::Number(number) => Some(*number),
            TargetPort::Name(name) => pod.named_port(name, protocol),
        };
        let ports =
            service.ports.iter().filter_map(|p| Some((p.name.clone(), p.protocol, number(&p.target, p.protocol)?)));
        by_ports.entry(ports.collect()).or_default().push(Endpoint {
            addresses: pod.ips.clone(),
            ready: pod.ready,
            pod: Some(pod.meta.name.clone()),
        });
    }
    let slice = |(n, (ports, endpoints)): (usize, (Vec<_>, Vec<Endpoint>))| EndpointSlice {
        meta: Meta { name: format!("{}-{n}", service.meta.name).into(), ..service.meta.clone() },
        service: Some(service.meta.name.clone()),
        endpoints,
        ports: ports
            .into_iter()
            .map(|(name, protocol, port)| EndpointPort { name, protocol, port: Some(port) })
            .collect(),
    };
    by_ports.into_iter().enumerate().map(slice).collect()
}
