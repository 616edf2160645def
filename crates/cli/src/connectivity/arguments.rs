//! Arguments of `tortie connectivity`.

use clap::{Args, ValueEnum};

use crate::arguments::Manifests;

/// Say who can talk to whom, and on what
///
/// All pairs of workloads and nodes, and the world outside, cut into the ranges that policies tell apart. Addresses are
/// those that the files have: a pod without `status.podIPs` matches no ipBlock. What a pod says to itself is left out.
///
/// What comes in by an Ingress, a Gateway with its routes, or a Service of type LoadBalancer or NodePort stands beside them
/// as sent by that object. An Ingress and a Gateway send as the pods of their controller do, of which nothing is known;
/// what comes in by a Service is sent from outside.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tortie connectivity -f examples/three-namespaces
  tortie connectivity -f . --to 'shop/*' -o matrix
  tortie connectivity -f . --workload shop/Deployment/cart --workload outside
  tortie connectivity -f . --exposure
  kubectl kustomize overlays/prod | tortie connectivity -f - -o svg > prod.svg
  tortie connectivity -f . -o json | jq -r 'select(.dst == \"db/StatefulSet/postgres\") | .src'

A choice is a namespace, namespace/name, namespace/Kind/name, node/NAME, an address, a block, or `outside`; `*` stands for \
any letters.")]
pub(crate) struct Connectivity {
    #[command(flatten)]
    pub(crate) manifests: Manifests,
    /// Only what these send; may be given several times
    #[arg(long, value_name = "WHO")]
    pub(crate) from: Vec<String>,
    /// Only what these are sent
    #[arg(long, value_name = "WHO")]
    pub(crate) to: Vec<String>,
    /// Only what these send or are sent
    #[arg(long, value_name = "WHO")]
    pub(crate) workload: Vec<String>,
    /// Whether workloads are whole, or pods that policies tell apart stand by themselves
    #[arg(long, value_enum, value_name = "WHAT", default_value_t)]
    pub(crate) by: By,
    /// Besides, what policies leave open to pods that are not there: all pods that their selectors speak of, and any pod.
    /// Asked are the policies of the one end, also those that select no pod of the input
    #[arg(long)]
    pub(crate) exposure: bool,
    /// How the answer is written
    #[arg(short = 'o', long, value_enum, value_name = "FORMAT", default_value_t, hide_default_value = true)]
    pub(crate) output: Format,
}

/// What stands by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum By {
    /// A workload, whatever becomes of its pods: what some of them can do.
    #[default]
    Workload,
    /// Pods that are equal to policies, of one workload or of several.
    Class,
}

/// How connectivity is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people: who behaves alike together.
    #[default]
    Table,
    /// For people: senders down, receivers across.
    Matrix,
    /// For programs: JSON, one line a pair that has any packets.
    Json,
    /// For spreadsheets: a line a pair and protocol.
    Csv,
    /// For Graphviz.
    Dot,
    /// For Markdown that draws.
    Mermaid,
    /// A picture, to be put into a document.
    Svg,
}
