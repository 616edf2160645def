//! `networking.k8s.io/v1` NetworkPolicy, decoded and defaulted.

use std::sync::Arc;

use crate::{IpBlock, LabelSelector, Meta, Protocol};

/// A NetworkPolicy after defaulting: a direction is `Some` exactly when `policyTypes` names it
/// (`pkg/apis/networking/v1/defaults.go`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkPolicy {
    /// Name, namespace, labels.
    pub meta: Meta,
    /// The pods of its namespace that it applies to.
    pub pod_selector: LabelSelector,
    /// Ingress rules; `Some([])` lets nothing in, `None` leaves the direction alone.
    pub ingress: Option<Vec<PeerRule>>,
    /// Egress rules; as `ingress`.
    pub egress: Option<Vec<PeerRule>>,
}

/// One item of `ingress` or `egress`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PeerRule {
    /// Peers, of which one must match; empty matches every peer, outside the cluster too.
    pub peers: Vec<PolicyPeer>,
    /// Ports, of which one must match; empty matches every protocol and port.
    pub ports: Vec<PolicyPort>,
}

/// One item of `from` or `to`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PolicyPeer {
    /// Pods of the policy's own namespace (`podSelector` alone).
    PodsHere(LabelSelector),
    /// Pods of the namespaces that match; all of them when `pods` is `None` or selects everything.
    Pods {
        /// `namespaceSelector`.
        namespaces: LabelSelector,
        /// `podSelector`, when given beside it.
        pods: Option<LabelSelector>,
    },
    /// Addresses.
    IpBlock(IpBlock),
}

/// One item of `ports`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PolicyPort {
    /// Protocol; TCP when not written.
    pub protocol: Protocol,
    /// Which ports of it.
    pub port: PortSpec,
}

/// Destination ports.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PortSpec {
    /// All ports of the protocol (`port` not written).
    All,
    /// `port` to `endPort`, both included; equal for a single port.
    Range(u16, u16),
    /// The port of that name on the destination pod.
    Named(Arc<str>),
}
