//! The APIs that policies are written in.

use tortie_model::Kind;

/// An API of policies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Api {
    /// `networking.k8s.io` NetworkPolicy.
    #[default]
    NetworkPolicy,
    /// `projectcalico.org` NetworkPolicy and GlobalNetworkPolicy.
    Calico,
    /// `policy.networking.k8s.io` ClusterNetworkPolicy.
    ClusterNetworkPolicy,
}

impl Api {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::NetworkPolicy, Self::Calico, Self::ClusterNetworkPolicy];

    /// Whether policies of a kind are written in it.
    #[must_use]
    pub const fn has(self, kind: Kind) -> bool {
        match self {
            Self::NetworkPolicy => matches!(kind, Kind::NetworkPolicy),
            Self::Calico => matches!(kind, Kind::CalicoNetworkPolicy | Kind::GlobalNetworkPolicy),
            Self::ClusterNetworkPolicy => matches!(kind, Kind::ClusterNetworkPolicy),
        }
    }

    /// One of its policies, in a sentence.
    #[must_use]
    pub const fn one(self) -> &'static str {
        match self {
            Self::NetworkPolicy => "a NetworkPolicy",
            Self::Calico => "a policy of Calico",
            Self::ClusterNetworkPolicy => "a ClusterNetworkPolicy",
        }
    }
}
