//! One object of any kind.

use std::sync::Arc;

use crate::{
    EndpointSlice, Gateway, HttpRoute, Ingress, Kind, Labels, Meta, Namespace, NetworkPolicy, Node, ObjectRef, Pod,
    ReferenceGrant, Service, Workload,
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
}

impl Object {
    /// Its kind.
    #[must_use]
    pub const fn kind(&self) -> Kind {
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
        }
    }

    /// Which object it is.
    #[must_use]
    pub fn reference(&self) -> ObjectRef {
        let of = |meta: &Meta| ObjectRef {
            kind: self.kind(),
            namespace: Some(Arc::clone(&meta.namespace)),
            name: Arc::clone(&meta.name),
        };
        match self {
            Self::Namespace(n) => ObjectRef { kind: Kind::Namespace, namespace: None, name: Arc::clone(n.name()) },
            Self::Node(n) => ObjectRef { kind: Kind::Node, namespace: None, name: Arc::clone(&n.meta.name) },
            Self::Pod(p) => of(&p.meta),
            Self::Service(s) => of(&s.meta),
            Self::NetworkPolicy(p) => of(&p.meta),
            Self::EndpointSlice(o) => of(&o.meta),
            Self::Ingress(o) => of(&o.meta),
            Self::Gateway(o) => of(&o.meta),
            Self::HttpRoute(o) => of(&o.meta),
            Self::ReferenceGrant(o) => of(&o.meta),
            Self::Workload(w) => w.reference.clone(),
        }
    }

    /// Its labels (a workload's own, not those of its pods).
    #[must_use]
    pub fn labels(&self) -> &Labels {
        match self {
            Self::Namespace(n) => n.labels(),
            Self::Node(n) => &n.meta.labels,
            Self::Pod(p) => &p.meta.labels,
            Self::Service(s) => &s.meta.labels,
            Self::NetworkPolicy(p) => &p.meta.labels,
            Self::EndpointSlice(o) => &o.meta.labels,
            Self::Ingress(o) => &o.meta.labels,
            Self::Gateway(o) => &o.meta.labels,
            Self::HttpRoute(o) => &o.meta.labels,
            Self::ReferenceGrant(o) => &o.meta.labels,
            Self::Workload(w) => &w.meta.labels,
        }
    }

    /// The same object with other labels.
    #[must_use]
    pub fn with_labels(mut self, labels: Labels) -> Self {
        match &mut self {
            Self::Namespace(n) => *n = Namespace::new(n.name(), &labels),
            Self::Node(n) => n.meta.labels = labels,
            Self::Pod(p) => p.meta.labels = labels,
            Self::Service(s) => s.meta.labels = labels,
            Self::NetworkPolicy(p) => Arc::make_mut(p).meta.labels = labels,
            Self::EndpointSlice(o) => o.meta.labels = labels,
            Self::Ingress(o) => o.meta.labels = labels,
            Self::Gateway(o) => o.meta.labels = labels,
            Self::HttpRoute(o) => o.meta.labels = labels,
            Self::ReferenceGrant(o) => o.meta.labels = labels,
            Self::Workload(w) => w.meta.labels = labels,
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
