//! `policy.networking.k8s.io`: ClusterNetworkPolicy, and what came before it.

use std::sync::Arc;

use ipnet::IpNet;

use crate::{Kind, LabelSelector, Meta, Protocol};

/// A ClusterNetworkPolicy (v1alpha2), AdminNetworkPolicy or BaselineAdminNetworkPolicy (v1alpha1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterPolicy {
    /// Which of the three kinds.
    pub kind: Kind,
    /// Name and labels.
    pub meta: Meta,
    /// Before or after the policies of namespaces.
    pub tier: ClusterTier,
    /// Lower first; `None` for a BaselineAdminNetworkPolicy, which has none.
    pub priority: Option<u16>,
    /// The pods that it governs.
    pub subject: ClusterPeer,
    /// Rules for packets to them, in order.
    pub ingress: Vec<ClusterRule>,
    /// Rules for packets from them, in order.
    pub egress: Vec<ClusterRule>,
}

/// Where cluster policies stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ClusterTier {
    /// Before the policies of namespaces.
    Admin,
    /// After them.
    Baseline,
}

/// What a rule of a cluster policy does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ClusterAction {
    /// `Accept`, formerly `Allow`.
    Accept,
    /// `Deny`.
    Deny,
    /// `Pass`: leaves the packet to the next tier.
    Pass,
}

/// A rule of a cluster policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterRule {
    /// Its name; empty when it has none.
    pub name: Arc<str>,
    /// What it does.
    pub action: ClusterAction,
    /// `from` or `to`: one of them must match.
    pub peers: Vec<ClusterPeer>,
    /// `protocols`, formerly `ports`: one of them must match; `None` for every packet.
    pub ports: Option<Vec<ClusterPort>>,
}

/// A subject, or one item of `from` or `to`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClusterPeer {
    /// All pods of namespaces.
    Namespaces(LabelSelector),
    /// Some pods of namespaces.
    Pods {
        /// `namespaceSelector`.
        namespaces: LabelSelector,
        /// `podSelector`.
        pods: LabelSelector,
    },
    /// Addresses, of pods too.
    Networks(Vec<IpNet>),
    /// Addresses of nodes.
    Nodes(LabelSelector),
    /// What names stand for.
    DomainNames(Vec<Arc<str>>),
    /// A peer of a later version of the API: a rule that accepts matches nobody by it, every other rule everybody.
    Unknown,
}

/// One item of `protocols`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClusterPort {
    /// Ports of a protocol, both ends included.
    Range(Protocol, u16, u16),
    /// The destination pod's port of that name, of any protocol.
    Named(Arc<str>),
    /// An item of a later version of the API: as [`ClusterPeer::Unknown`].
    Unknown,
}
