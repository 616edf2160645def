//! Arguments of `tortie convert`.

use clap::{Args, ValueEnum};

use crate::arguments::Manifests;

/// Write policies in another API, proven equal, or say which flow cannot be said in it
///
/// Policies of all other APIs in the manifests are converted together. Before anything is written, the engine proves that
/// the new policies decide everything as the old ones do: for every two ends, every protocol and port, every address
/// outside, and for pods that are not there but that selectors would tell apart. Otherwise nothing is written; the flow
/// that would be decided otherwise is named with both answers, and what the other API cannot say. Exits with 1 then.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tortie convert --to calico -f examples/three-namespaces
  tortie convert --to networkpolicy -f calico/ > networkpolicies.yaml
  kubectl get networkpolicies,namespaces,pods -A -o yaml | \\
    tortie convert --to clusternetworkpolicy -f -

Tiers, NetworkSets and other objects that policies refer to are not converted: they stay.")]
pub(crate) struct Convert {
    /// The API to write policies in
    #[arg(long, value_enum, value_name = "API")]
    pub(crate) to: Api,
    #[command(flatten)]
    pub(crate) manifests: Manifests,
}

/// An API of policies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Api {
    /// NetworkPolicy and GlobalNetworkPolicy of Calico
    Calico,
    /// NetworkPolicy of Kubernetes
    #[value(name = "networkpolicy")]
    NetworkPolicy,
    /// ClusterNetworkPolicy of the cluster's administrators
    #[value(name = "clusternetworkpolicy")]
    ClusterNetworkPolicy,
}

impl From<Api> for tortie_convert::Api {
    fn from(api: Api) -> Self {
        match api {
            Api::Calico => Self::Calico,
            Api::NetworkPolicy => Self::NetworkPolicy,
            Api::ClusterNetworkPolicy => Self::ClusterNetworkPolicy,
        }
    }
}
