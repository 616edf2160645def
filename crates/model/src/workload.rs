//! Namespaces, nodes and pods.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use crate::labels::METADATA_NAME;
use crate::{ContainerPort, Labels, Meta, ObjectRef};

/// A namespace. Always carries `kubernetes.io/metadata.name`, as the API server sees to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Namespace {
    name: Arc<str>,
    labels: Labels,
    accounts: Arc<BTreeMap<Arc<str>, Labels>>,
}

impl Namespace {
    /// A namespace; its own name is set as label whatever `labels` says.
    #[must_use]
    pub fn new(name: &str, labels: &Labels) -> Self {
        Self { name: name.into(), labels: labels.with(METADATA_NAME, name), accounts: Arc::default() }
    }

    /// The same namespace with other labels, but for its own name.
    #[must_use]
    pub fn with_labels(&self, labels: &Labels) -> Self {
        Self { labels: labels.with(METADATA_NAME, &self.name), ..self.clone() }
    }

    /// The same namespace with these service accounts, by name: policies ask a pod for the labels of its own.
    #[must_use]
    pub fn with_accounts(&self, accounts: Arc<BTreeMap<Arc<str>, Labels>>) -> Self {
        Self { accounts, ..self.clone() }
    }

    /// Its service accounts with their labels; those that nobody defined have none.
    #[must_use]
    pub const fn accounts(&self) -> &Arc<BTreeMap<Arc<str>, Labels>> {
        &self.accounts
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Its labels.
    #[must_use]
    pub fn labels(&self) -> &Labels {
        &self.labels
    }
}

/// As whom the containers of pods act.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceAccount {
    /// Name, namespace, labels.
    pub meta: Meta,
}

/// A node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Name and labels.
    pub meta: Meta,
    /// `status.addresses` that are IP addresses.
    pub addresses: Vec<IpAddr>,
    /// `spec.podCIDRs`.
    pub pod_cidrs: Vec<ipnet::IpNet>,
}

/// How far a pod is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Not all containers run yet.
    Pending,
    /// Running.
    Running,
    /// All containers ended well: the address has been given back.
    Succeeded,
    /// All containers ended, one of them badly: the address has been given back.
    Failed,
}

impl Phase {
    /// Whether the pod has given its addresses back.
    #[must_use]
    pub const fn is_finished(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed)
    }
}

/// A pod, as far as policy and reachability need.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    /// Name, namespace, labels, uid.
    pub meta: Meta,
    /// The workload that made it, at the top (a Deployment rather than its ReplicaSet).
    pub owner: Option<ObjectRef>,
    /// `spec.nodeName`.
    pub node: Option<Arc<str>>,
    /// Shares its node's addresses: never selected by policies, never matched by pod selectors.
    pub host_network: bool,
    /// `status.podIPs` (or `podIP`), all of them.
    pub ips: Vec<IpAddr>,
    /// Ports of all containers, init sidecars included.
    pub ports: Vec<ContainerPort>,
    /// Phase; `Running` when a file says nothing.
    pub phase: Phase,
    /// Whether Services may send to it.
    pub ready: bool,
    /// `spec.serviceAccountName`, `default` when not written.
    pub service_account: Arc<str>,
}

impl Pod {
    /// The number of a named port for a protocol, as `FindPort` of Kubernetes: the first container port of that name.
    #[must_use]
    pub fn named_port(&self, name: &str, protocol: crate::Protocol) -> Option<u16> {
        self.ports.iter().find(|p| p.protocol == protocol && p.name.as_deref() == Some(name)).map(|p| p.number)
    }

    /// `namespace/name`.
    #[must_use]
    pub fn key(&self) -> String {
        format!("{}/{}", self.meta.namespace, self.meta.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_carries_its_name_even_when_the_label_lies() {
        let ns = Namespace::new("prod", &[(METADATA_NAME, "dev")].into_iter().collect());
        assert_eq!(ns.labels().get(METADATA_NAME), Some("prod"));
    }
}
