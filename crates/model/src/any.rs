//! One object of any kind.

use std::sync::Arc;

use crate::calico;
use crate::{
    ClusterPolicy, EndpointSlice, Gateway, HttpRoute, Ingress, Kind, Labels, Meta, Namespace, NetworkPolicy, Node,
    ObjectRef, Pod, ReferenceGrant, Service, ServiceAccount, Workload,
};

/// An object of one of the kinds that tortie reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Object {
    /// A namespace.
    Namespace(Namespace),
    /// A node.
    Node(Node),
    /// A pod.
    Pod(Pod),
    /// A service.
    Service(Service),
    /// A source of pods.
    Workload(Workload),
    /// A network policy.
    NetworkPolicy(Arc<NetworkPolicy>),
    /// Addresses behind a Service.
    EndpointSlice(EndpointSlice),
    /// An Ingress.
    Ingress(Ingress),
    /// A Gateway.
    Gateway(Gateway),
    /// A route of Gateways.
    HttpRoute(HttpRoute),
    /// Leave to refer across namespaces.
    ReferenceGrant(ReferenceGrant),
    /// A service account.
    ServiceAccount(ServiceAccount),
    /// A NetworkPolicy or GlobalNetworkPolicy of Calico.
    CalicoPolicy(Arc<calico::Policy>),
    /// A policy to try out.
    Staged(Arc<calico::Staged>),
    /// A tier.
    Tier(calico::Tier),
    /// A NetworkSet or GlobalNetworkSet.
    NetworkSet(calico::NetworkSet),
    /// A profile.
    Profile(calico::Profile),
    /// A host endpoint.
    HostEndpoint(calico::HostEndpoint),
    /// A policy of the cluster's administrators.
    ClusterPolicy(Arc<ClusterPolicy>),
}

impl Object {
    /// Its kind.
    #[must_use]
    pub fn kind(&self) -> Kind {
        let scoped = |meta: &Meta, here, global| if meta.namespace.is_empty() { global } else { here };
        match self {
            Self::Namespace(_) => Kind::Namespace,
            Self::Node(_) => Kind::Node,
            Self::Pod(_) => Kind::Pod,
            Self::Service(_) => Kind::Service,
            Self::Workload(w) => w.reference.kind,
            Self::NetworkPolicy(_) => Kind::NetworkPolicy,
            Self::EndpointSlice(_) => Kind::EndpointSlice,
            Self::Ingress(_) => Kind::Ingress,
            Self::Gateway(_) => Kind::Gateway,
            Self::HttpRoute(_) => Kind::HTTPRoute,
            Self::ReferenceGrant(_) => Kind::ReferenceGrant,
            Self::ServiceAccount(_) => Kind::ServiceAccount,
            Self::CalicoPolicy(p) => scoped(&p.meta, Kind::CalicoNetworkPolicy, Kind::GlobalNetworkPolicy),
            Self::Staged(s) => match &s.policy {
                calico::StagedPolicy::Calico(p) => {
                    scoped(&p.meta, Kind::StagedNetworkPolicy, Kind::StagedGlobalNetworkPolicy)
                }
                calico::StagedPolicy::Kubernetes(_) => Kind::StagedKubernetesNetworkPolicy,
            },
            Self::Tier(_) => Kind::Tier,
            Self::NetworkSet(s) => scoped(&s.meta, Kind::NetworkSet, Kind::GlobalNetworkSet),
            Self::Profile(_) => Kind::Profile,
            Self::HostEndpoint(_) => Kind::HostEndpoint,
            Self::ClusterPolicy(p) => p.kind,
        }
    }

    /// Which object it is.
    #[must_use]
    pub fn reference(&self) -> ObjectRef {
        let kind = self.kind();
        let (namespace, name) = match self {
            Self::Namespace(n) => (None, n.name()),
            Self::Workload(w) => return w.reference.clone(),
            _ => {
                let meta = self.meta().expect("namespaces and workloads are told above");
                (kind.is_namespaced().then_some(&meta.namespace), &meta.name)
            }
        };
        ObjectRef { kind, namespace: namespace.cloned(), name: name.clone() }
    }

    /// Its metadata; `None` for a namespace, which holds its own.
    #[must_use]
    pub fn meta(&self) -> Option<&Meta> {
        Some(match self {
            Self::Namespace(_) => return None,
            Self::Node(o) => &o.meta,
            Self::Pod(o) => &o.meta,
            Self::Service(o) => &o.meta,
            Self::Workload(o) => &o.meta,
            Self::NetworkPolicy(o) => &o.meta,
            Self::EndpointSlice(o) => &o.meta,
            Self::Ingress(o) => &o.meta,
            Self::Gateway(o) => &o.meta,
            Self::HttpRoute(o) => &o.meta,
            Self::ReferenceGrant(o) => &o.meta,
            Self::ServiceAccount(o) => &o.meta,
            Self::CalicoPolicy(o) => &o.meta,
            Self::Staged(o) => o.meta(),
            Self::Tier(o) => &o.meta,
            Self::NetworkSet(o) => &o.meta,
            Self::Profile(o) => &o.meta,
            Self::HostEndpoint(o) => &o.meta,
            Self::ClusterPolicy(o) => &o.meta,
        })
    }

    fn meta_mut(&mut self) -> Option<&mut Meta> {
        Some(match self {
            Self::Namespace(_) => return None,
            Self::Node(o) => &mut o.meta,
            Self::Pod(o) => &mut o.meta,
            Self::Service(o) => &mut o.meta,
            Self::Workload(o) => &mut o.meta,
            Self::NetworkPolicy(o) => &mut Arc::make_mut(o).meta,
            Self::EndpointSlice(o) => &mut o.meta,
            Self::Ingress(o) => &mut o.meta,
            Self::Gateway(o) => &mut o.meta,
            Self::HttpRoute(o) => &mut o.meta,
            Self::ReferenceGrant(o) => &mut o.meta,
            Self::ServiceAccount(o) => &mut o.meta,
            Self::CalicoPolicy(o) => &mut Arc::make_mut(o).meta,
            Self::Staged(o) => Arc::make_mut(o).meta_mut(),
            Self::Tier(o) => &mut o.meta,
            Self::NetworkSet(o) => &mut o.meta,
            Self::Profile(o) => &mut o.meta,
            Self::HostEndpoint(o) => &mut o.meta,
            Self::ClusterPolicy(o) => &mut Arc::make_mut(o).meta,
        })
    }

    /// Its labels (a workload's own, not those of its pods).
    #[must_use]
    pub fn labels(&self) -> &Labels {
        match self {
            Self::Namespace(n) => n.labels(),
            _ => &self.meta().expect("only a namespace holds its own").labels,
        }
    }

    /// The same object with other labels.
    #[must_use]
    pub fn with_labels(mut self, labels: Labels) -> Self {
        if let Self::Namespace(n) = &mut self {
            *n = n.with_labels(&labels);
        } else if let Some(meta) = self.meta_mut() {
            meta.labels = labels;
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relabelled_namespace_keeps_its_name_label() {
        let ns =
            Object::Namespace(Namespace::new("qa", &Labels::default())).with_labels([("a", "b")].into_iter().collect());
        assert_eq!(ns.labels().get("kubernetes.io/metadata.name"), Some("qa"));
        assert_eq!(ns.reference().to_string(), "Namespace/qa");
    }
}
