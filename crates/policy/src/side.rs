//! One end of a flow, as policies see it.

use std::net::IpAddr;
use std::sync::Arc;

use tortie_model::{Family, Labels, Namespace, Nets, Node, Pod};

use crate::expression::{Expression, Key, PodLabels, SetLabels};
use crate::rule::{EndpointSelector, NamespaceMatch, Peer, Peers};

/// One end of a flow: what policies can know of it.
#[derive(Clone, Debug)]
pub struct Side {
    /// The pod that it is, with its namespace. Never a pod in its node's network: to policies such a pod is its node.
    pub(crate) pod: Option<(Arc<Pod>, Arc<Namespace>)>,
    /// The node that it is.
    pub(crate) node: Option<Arc<Node>>,
    /// The address that the packet carries; a pod of which no address is known matches no block.
    pub(crate) ip: Option<IpAddr>,
}

impl Side {
    /// The pod, when it is one with a network of its own.
    #[must_use]
    pub fn pod(&self) -> Option<&Arc<Pod>> {
        self.pod.as_ref().map(|(p, _)| p)
    }

    /// The namespace of the pod.
    #[must_use]
    pub fn namespace(&self) -> Option<&Arc<Namespace>> {
        self.pod.as_ref().map(|(_, n)| n)
    }

    /// The node, when it is one.
    #[must_use]
    pub fn node(&self) -> Option<&Arc<Node>> {
        self.node.as_ref()
    }

    /// The address.
    #[must_use]
    pub fn ip(&self) -> Option<IpAddr> {
        self.ip
    }

    /// Whether both are the same pod.
    #[must_use]
    pub fn is_same_pod(&self, other: &Self) -> bool {
        match (self.pod(), other.pod()) {
            (Some(a), Some(b)) => a.meta.namespace == b.meta.namespace && a.meta.name == b.meta.name,
            _ => false,
        }
    }
}

impl EndpointSelector {
    /// Whether it selects a pod.
    #[must_use]
    pub fn selects(&self, pod: &Pod, namespace: &Namespace) -> bool {
        let there = match &self.namespaces {
            NamespaceMatch::Named(name) => *name == pod.meta.namespace,
            NamespaceMatch::Matching(selector) => selector.matches(namespace.labels()),
        };
        there
            && self.pods.matches(&pod.meta.labels)
            && self.expression.as_ref().is_none_or(|e| e.holds(&PodLabels { pod, namespace }))
    }

    /// Whether it selects every pod that a namespace could have: of a pod itself it asks nothing.
    #[must_use]
    pub fn is_everybody_of(&self, namespace: &Namespace) -> bool {
        let there = match &self.namespaces {
            NamespaceMatch::Named(name) => name == namespace.name(),
            NamespaceMatch::Matching(selector) => selector.matches(namespace.labels()),
        };
        let of_namespace = |key: &&Key| matches!(key, Key::Namespace(_) | Key::NamespaceName);
        let nobody = SetLabels { labels: &Labels::default(), namespace: Some(namespace) };
        let holds = |e: &Arc<Expression>| e.asked().iter().all(of_namespace) && e.holds(&nobody);
        there && self.pods.is_everything() && self.expression.as_ref().is_none_or(holds)
    }

    /// Whether it selects a set of addresses. Only expressions do.
    #[must_use]
    pub fn selects_set(&self, labels: &Labels, namespace: Option<&Namespace>) -> bool {
        let Some(expression) = &self.expression else { return false };
        let there = match &self.namespaces {
            NamespaceMatch::Named(name) => namespace.is_some_and(|ns| ns.name() == name),
            NamespaceMatch::Matching(selector) => {
                // What is in no namespace has no label of one.
                namespace.map_or_else(|| selector.matches(&Labels::default()), |ns| selector.matches(ns.labels()))
            }
        };
        there && expression.holds(&SetLabels { labels, namespace })
    }
}

impl Peer {
    /// Whether this end is meant.
    #[must_use]
    pub fn matches(&self, side: &Side) -> bool {
        let within = |nets: &Nets| side.ip.is_some_and(|ip| nets.contains(ip));
        let is_pod_of = |selector: &EndpointSelector| {
            side.pod.as_ref().is_some_and(|(pod, namespace)| selector.selects(pod, namespace))
        };
        self.family.is_none_or(|family| side.ip.is_none_or(|ip| Family::of(ip) == family))
            && self.endpoints.as_ref().is_none_or(|selector| is_pod_of(selector) || within(&self.sets))
            && self.blocks.as_ref().is_none_or(|blocks| side.ip.is_some_and(|ip| blocks.iter().any(|b| b.contains(ip))))
            && !self.not_endpoints.as_ref().is_some_and(is_pod_of)
            && !within(&self.not_blocks)
    }
}

impl Peers {
    /// Whether this end is meant.
    #[must_use]
    pub fn matches(&self, side: &Side) -> bool {
        match self {
            Self::Any => true,
            Self::OneOf(peers) => peers.iter().any(|p| p.matches(side)),
        }
    }
}
