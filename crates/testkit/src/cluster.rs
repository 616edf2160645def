//! A cluster as lists of objects.

use std::fmt;
use std::net::IpAddr;

use tortie_model::{
    ClusterPolicy, EndpointSlice, Kind, Meta, Namespace, NetworkPolicy, Node, ObjectRef, Pod, Traffic, calico,
};
use tortie_policy::{
    Asked, Delta, EPHEMERAL_PORT, Index, PodKey, Policy, Tier, calico_policy, calico_tier, cluster_policy,
    network_policy,
};

/// A cluster as lists of objects. Shown, it is what a failing test needs, close to how one would write it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Cluster {
    /// Namespaces.
    pub namespaces: Vec<Namespace>,
    /// Nodes.
    pub nodes: Vec<Node>,
    /// Pods; no two that run share an address.
    pub pods: Vec<Pod>,
    /// NetworkPolicies.
    pub policies: Vec<NetworkPolicy>,
    /// Calico's policies.
    pub calico: Vec<calico::Policy>,
    /// Calico's tiers, besides those that are always there.
    pub calico_tiers: Vec<calico::Tier>,
    /// Sets of addresses.
    pub network_sets: Vec<calico::NetworkSet>,
    /// Host endpoints.
    pub host_endpoints: Vec<calico::HostEndpoint>,
    /// Addresses behind Services.
    pub endpoint_slices: Vec<EndpointSlice>,
    /// Cluster policies.
    pub cluster_policies: Vec<ClusterPolicy>,
    /// Tiers in the engine's own form. The reference knows nothing of them.
    pub tiers: Vec<Tier>,
    /// Policies in the engine's own form, with tiers and every action. The reference knows nothing of them.
    pub tiered: Vec<Policy>,
}

impl Cluster {
    /// The changes that make the cluster from nothing.
    #[must_use]
    pub fn deltas(&self) -> Vec<Delta> {
        let mut out = Vec::new();
        out.extend(self.namespaces.iter().cloned().map(Delta::Namespace));
        out.extend(self.nodes.iter().cloned().map(Delta::Node));
        out.extend(self.pods.iter().cloned().map(|p| Delta::Pod(Box::new(p))));
        out.extend(self.network_sets.iter().cloned().map(|s| Delta::NetworkSet(Box::new(s))));
        out.extend(self.host_endpoints.iter().cloned().map(|h| Delta::HostEndpoint(Box::new(h))));
        out.extend(self.endpoint_slices.iter().cloned().map(|s| Delta::EndpointSlice(Box::new(s))));
        out.extend(self.calico_tiers.iter().map(calico_tier).chain(self.tiers.iter().cloned()).map(Delta::Tier));
        out.extend(self.policies.iter().map(|p| Delta::Policy(Box::new(network_policy(p)))));
        out.extend(self.calico.iter().filter_map(calico_policy).map(|p| Delta::Policy(Box::new(p))));
        out.extend(self.cluster_policies.iter().map(|p| Delta::Policy(Box::new(cluster_policy(p)))));
        out.extend(self.tiered.iter().cloned().map(|p| Delta::Policy(Box::new(p))));
        out
    }

    /// The changes that make another cluster of this one, with every order allowed.
    #[must_use]
    pub fn deltas_to(&self, next: &Self) -> Vec<Delta> {
        let mut out = Vec::new();
        let gone = |name: &Namespace| !next.namespaces.iter().any(|n| n.name() == name.name());
        out.extend(self.namespaces.iter().filter(|n| gone(n)).map(|n| Delta::NamespaceRemoved(n.name().clone())));
        let gone = |node: &Node| !next.nodes.iter().any(|n| n.meta.name == node.meta.name);
        out.extend(self.nodes.iter().filter(|n| gone(n)).map(|n| Delta::NodeRemoved(n.meta.name.clone())));
        let gone = |pod: &Pod| !next.pods.iter().any(|p| PodKey::of(p) == PodKey::of(pod));
        let removed = |p: &Pod| Delta::PodRemoved { key: PodKey::of(p), uid: p.meta.uid.clone() };
        out.extend(self.pods.iter().filter(|p| gone(p)).map(removed));
        let (old, new) = (self.deltas(), next.deltas());
        let removals = |deltas: &[Delta]| deltas.iter().filter_map(removal).collect::<Vec<_>>();
        let stays = removals(&new);
        out.extend(removals(&old).into_iter().filter(|removal| !stays.contains(removal)));
        out.extend(new.into_iter().filter(|delta| !old.contains(delta)));
        out
    }

    /// Whether it holds anything of the APIs besides NetworkPolicy.
    #[must_use]
    pub fn is_of_three_apis(&self) -> bool {
        !(self.calico.is_empty()
            && self.calico_tiers.is_empty()
            && self.network_sets.is_empty()
            && self.host_endpoints.is_empty()
            && self.endpoint_slices.is_empty()
            && self.cluster_policies.is_empty())
    }

    /// The engine's index of the cluster.
    #[must_use]
    pub fn index(&self) -> Index {
        Index::of(self.deltas())
    }
}

/// The change that takes back one that tells of a policy or of what policies refer to.
fn removal(delta: &Delta) -> Option<Delta> {
    Some(match delta {
        Delta::Policy(policy) => Delta::PolicyRemoved(policy.object.clone()),
        Delta::Tier(tier) => Delta::TierRemoved(tier.name.clone()),
        Delta::NetworkSet(set) => Delta::NetworkSetRemoved(set_name(&set.meta)),
        Delta::HostEndpoint(host) => Delta::HostEndpointRemoved(host.meta.name.clone()),
        Delta::EndpointSlice(slice) => {
            let Meta { namespace, name, .. } = &slice.meta;
            Delta::EndpointSliceRemoved(ObjectRef::namespaced(Kind::EndpointSlice, namespace, name))
        }
        _ => return None,
    })
}

fn set_name(meta: &Meta) -> ObjectRef {
    if meta.namespace.is_empty() {
        ObjectRef::cluster(Kind::GlobalNetworkSet, &meta.name)
    } else {
        ObjectRef::namespaced(Kind::NetworkSet, &meta.namespace, &meta.name)
    }
}

/// A packet that would open a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flow {
    /// Source.
    pub from: IpAddr,
    /// Destination, of the same family.
    pub to: IpAddr,
    /// Protocol and port.
    pub traffic: Traffic,
    /// Source port, for protocols that have ports.
    pub source_port: u16,
}

impl Flow {
    /// A packet from a port that a client would choose.
    #[must_use]
    pub const fn new(from: IpAddr, to: IpAddr, traffic: Traffic) -> Self {
        Self { from, to, traffic, source_port: EPHEMERAL_PORT }
    }

    /// The same as the engine is asked.
    #[must_use]
    pub const fn asked(self) -> Asked {
        Asked { traffic: self.traffic, source_port: self.source_port }
    }
}

impl fmt::Display for Flow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} -> {} {}", self.from, self.to, self.traffic)?;
        if self.source_port != EPHEMERAL_PORT {
            write!(f, " from port {}", self.source_port)?;
        }
        Ok(())
    }
}
