//! Arguments of `tortie generate`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use tortie_model::Direction;

use crate::arguments::Manifests;
use crate::convert::arguments::Api;

/// Write the least policies that allow recorded connections
///
/// One policy for each workload that has a part in a connection, for both directions; or for each namespace, with --by. Before they are written, the engine
/// proves of them that all recorded connections get through, and that nothing does that none of them needs: for every
/// pod, node and address, and every protocol and port. Exits with 1 when some connection could not be covered; why is
/// said.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tortie generate --flows recorded.jsonl -f k8s/
  hubble observe -o json --last 10000 | tortie generate --flows - -f k8s/ -o policies/
  tortie generate --flows conntrack.txt --format conntrack -f cluster.yaml --all
  tortie generate --flows recorded.jsonl -f k8s/ --by namespace --api calico
  tortie generate --flows recorded.jsonl -f k8s/ --direction egress

Pods are found by the names of their workloads, or by the addresses that the manifests have. A connection to the cluster's \
DNS is recognised by name even when the manifests do not have it, and allowed over UDP and TCP.")]
pub(crate) struct Generate {
    #[command(flatten)]
    pub(crate) manifests: Manifests,
    /// Recorded connections, or `-` for standard input
    #[arg(long, value_name = "FILE")]
    pub(crate) flows: String,
    /// How connections were recorded; it is seen from each line unless it is said
    #[arg(long, value_enum, value_name = "FORMAT")]
    pub(crate) format: Option<crate::recorded::Format>,
    /// A folder, in which each policy gets a file; without it, all go to standard output
    #[arg(short = 'o', long, value_name = "DIR")]
    pub(crate) output: Option<PathBuf>,
    /// Replace files that are there
    #[arg(long, requires = "output")]
    pub(crate) force: bool,
    /// Whom a policy, and a peer in it, stands for
    #[arg(long, value_enum, value_name = "WHOM", default_value_t)]
    pub(crate) by: By,
    /// The API to write policies in
    #[arg(long, value_enum, value_name = "API", default_value_t = Api::NetworkPolicy)]
    pub(crate) api: Api,
    /// For which connections of a workload; ClusterNetworkPolicies can be the least for egress alone
    #[arg(long, value_enum, value_name = "DIRECTION", default_value_t)]
    pub(crate) direction: Directions,
    /// Also deny everything to workloads of which no connection was recorded
    #[arg(long)]
    pub(crate) all: bool,
}

/// For which direction policies are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Directions {
    /// Both
    #[default]
    Both,
    /// What comes to pods
    Ingress,
    /// What goes out from them
    Egress,
}

impl Directions {
    /// The only one, if there is one.
    pub(crate) const fn only(self) -> Option<Direction> {
        match self {
            Self::Both => None,
            Self::Ingress => Some(Direction::Ingress),
            Self::Egress => Some(Direction::Egress),
        }
    }
}

/// Whom a policy stands for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum By {
    /// The pods of a workload
    #[default]
    Workload,
    /// All pods of a namespace
    Namespace,
}

impl From<By> for tortie_flows::By {
    fn from(by: By) -> Self {
        match by {
            By::Workload => Self::Workload,
            By::Namespace => Self::Namespace,
        }
    }
}
