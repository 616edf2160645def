//! Arguments of `tortie lab`.
// Elsewhere only `run` is there, which predicts.
#![cfg_attr(not(target_os = "linux"), allow(dead_code))]

use std::ffi::OsString;

use clap::{Args, Subcommand, ValueEnum};

use crate::arguments::Format;

/// Name that a lab has unless told otherwise.
const NAME: &str = "tortie";

/// A cluster made of network namespaces, with the kernel's own enforcement: real packets, no root, no images
#[derive(Debug, Args)]
pub(crate) struct Lab {
    #[command(subcommand)]
    pub(crate) command: LabCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum LabCommand {
    Run(Run),
    #[cfg(target_os = "linux")]
    Up(Up),
    #[cfg(target_os = "linux")]
    Status(Status),
    #[cfg(target_os = "linux")]
    Apply(Apply),
    #[cfg(target_os = "linux")]
    Delete(Delete),
    #[cfg(target_os = "linux")]
    Probe(Probe),
    #[cfg(target_os = "linux")]
    Flows(Flows),
    #[cfg(target_os = "linux")]
    Verify(Verify),
    #[cfg(target_os = "linux")]
    Exec(Exec),
    #[cfg(target_os = "linux")]
    Down(Down),
}

/// Play a practical: apply its files step by step, send real packets, show who reaches whom
///
/// PATH is a case file, or a folder: every `*.case.yaml` in it, or, when there is none, its manifests applied at once.
/// Exits with 1 when anything differs from what is expected or predicted, with 2 when no packets could be sent.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tortie lab run                                the practical that is built in
  tortie lab run k8s/                           your own manifests
  tortie lab run practicals/three-namespaces-hardened -o json")]
pub(crate) struct Run {
    /// A case, a folder of cases or manifests, or `-` for standard input; without it, the built-in practical
    #[arg(value_name = "PATH")]
    pub(crate) path: Option<String>,
    /// The same as PATH, as the other commands have it
    #[arg(short = 'f', long, value_name = "PATH", conflicts_with = "path")]
    pub(crate) filename: Option<String>,
    /// Namespace of objects that say none
    #[arg(short = 'n', long, value_name = "NAMESPACE", default_value = "default")]
    pub(crate) namespace: String,
    /// Most pods that one workload makes; what the case says, or 2
    #[arg(long, value_name = "N")]
    pub(crate) replicas: Option<u32>,
    /// How results are written: matrices for people, or a line of JSON a probe
    #[arg(short = 'o', long, value_enum, value_name = "FORMAT", default_value_t, hide_default_value = true)]
    pub(crate) output: Format,
}

/// Which lab.
#[derive(Debug, Args)]
pub(crate) struct Which {
    /// Name of the lab
    #[arg(long, value_name = "LAB", default_value = NAME)]
    pub(crate) name: String,
}

/// Start a cluster to play with; it lives until Ctrl-C, or with --detach until `tortie lab down`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tortie lab up -f practicals/three-namespaces/Creating-ns-pods-labels.yaml --detach
  tortie lab up --nodes 3 --name mine -f k8s/")]
pub(crate) struct Up {
    /// File or folder with manifests, or `-` for standard input; may be given several times
    #[arg(short = 'f', long = "filename", value_name = "PATH")]
    pub(crate) files: Vec<String>,
    /// Namespace of objects that say none
    #[arg(short = 'n', long, value_name = "NAMESPACE", default_value = "default")]
    pub(crate) namespace: String,
    /// Least number of nodes
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub(crate) nodes: u32,
    /// Most pods that one workload makes
    #[arg(long, value_name = "N", default_value_t = 2)]
    pub(crate) replicas: u32,
    #[command(flatten)]
    pub(crate) which: Which,
    /// Let other programs change the tables of its nodes: to break them by hand, and see `tortie lab verify` find it
    #[arg(long)]
    pub(crate) unprotected: bool,
    /// Go on in the background
    #[arg(long)]
    pub(crate) detach: bool,
    /// This is the process in the background.
    #[arg(long, hide = true)]
    pub(crate) in_background: bool,
}

/// Show nodes, pods with their addresses, Services and policies
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  tortie lab status -o json")]
pub(crate) struct Status {
    #[command(flatten)]
    pub(crate) which: Which,
    /// How it is written
    #[arg(short = 'o', long, value_enum, value_name = "FORMAT", default_value_t, hide_default_value = true)]
    pub(crate) output: Format,
}

/// Add or change objects; what changed is enforced when this returns
///
/// With --dry-run=packets nothing changes: the policies are asked about every packet before those that are enforced, and
/// `tortie lab flows` says which connections would have another verdict, by which rule of which file.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tortie lab apply -f practicals/three-namespaces/block-all-traffic-namespace.yaml
  tortie lab apply -f new.yaml --dry-run=packets    what it would do
  tortie lab flows --changed
  tortie lab apply --dry-run=off                    try nothing out any more")]
pub(crate) struct Apply {
    #[command(flatten)]
    pub(crate) files: Files,
}

/// Delete objects
///
/// With --dry-run=packets they stay, and `tortie lab flows` says what would become of connections without them.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tortie lab delete -f practicals/three-namespaces/block-all-traffic-namespace.yaml
  tortie lab delete -f old.yaml --dry-run=packets")]
pub(crate) struct Delete {
    #[command(flatten)]
    pub(crate) files: Files,
}

/// Files for a lab.
#[derive(Debug, Args)]
pub(crate) struct Files {
    /// File or folder with manifests, or `-` for standard input; may be given several times
    #[arg(short = 'f', long = "filename", value_name = "PATH", required_unless_present = "dry_run")]
    pub(crate) files: Vec<String>,
    /// Namespace of objects that say none
    #[arg(short = 'n', long, value_name = "NAMESPACE", default_value = "default")]
    pub(crate) namespace: String,
    /// `packets`: do not enforce the change, try it out on packets, in place of what is tried out; `off`: try nothing out
    #[arg(long, value_enum, value_name = "WHAT", hide_possible_values = true)]
    pub(crate) dry_run: Option<DryRun>,
    #[command(flatten)]
    pub(crate) which: Which,
}

/// What is tried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum DryRun {
    /// The change, on packets.
    Packets,
    /// Nothing any more.
    Off,
}

/// Send packets and say what became of them, and which rule dropped them
///
/// FROM and TO are `namespace/pod` (with `*`), `namespace/Kind/name`, `node/NAME`, `internet`, an address, or, for TO, a
/// Service as `namespace/name`. Exits with 1 when packets and engine disagree, or a packet is lost.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tortie lab probe prod/prod1 qa/qa1 TCP/8888
  tortie lab probe 'dev/*' 'prod/*' ping
  tortie lab probe prod/prod1 - dns:www.example.com")]
pub(crate) struct Probe {
    /// Who sends
    #[arg(value_name = "FROM")]
    pub(crate) from: String,
    /// Who should answer; `-` for names to be resolved
    #[arg(value_name = "TO", allow_hyphen_values = true)]
    pub(crate) to: String,
    /// `ping`, `TCP/80`, `UDP/53`, `TCP/http` (a port's name) or `dns:NAME`
    #[arg(value_name = "PROBE", default_value = "ping")]
    pub(crate) probe: String,
    #[command(flatten)]
    pub(crate) which: Which,
    /// How it is written
    #[arg(short = 'o', long, value_enum, value_name = "FORMAT", default_value_t, hide_default_value = true)]
    pub(crate) output: Format,
}

/// Show who tried to reach whom, what was allowed and denied, and by which rule of which file
///
/// Connections of the same ends and port are one flow. What went on before is shown first; the last 10,000 flows are
/// kept. Allowed flows count connections, denied ones packets.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tortie lab flows
  tortie lab flows --follow --denied
  tortie lab flows --changed                        what a dry run would change
  tortie lab flows -o json")]
pub(crate) struct Flows {
    #[command(flatten)]
    pub(crate) which: Which,
    /// Go on showing flows as they happen, until Ctrl-C
    #[arg(long)]
    pub(crate) follow: bool,
    /// Only what was dropped
    #[arg(long)]
    pub(crate) denied: bool,
    /// Only what would have another verdict by what is tried out (`tortie lab apply --dry-run=packets`)
    #[arg(long)]
    pub(crate) changed: bool,
    /// How it is written: paragraphs for people, or a line of JSON a flow
    #[arg(short = 'o', long, value_enum, value_name = "FORMAT", default_value_t, hide_default_value = true)]
    pub(crate) output: Format,
}

/// Prove that every node's kernel judges every packet as the engine does, or show packets that it does not
///
/// The table of each node is read back, taken apart, and compared with the policies for all packets: all hooks, links,
/// addresses, protocols and ports, new, open, revoked and invalid connections. A difference is shown as a packet, with
/// what in the table is to blame. Exits with 1 when there is any.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tortie lab verify
  tortie lab verify -o json
  tortie lab up -f k8s/ --detach --unprotected    then change a node's table, and see it found")]
pub(crate) struct Verify {
    #[command(flatten)]
    pub(crate) which: Which,
    /// How it is written: paragraphs for people, or a line of JSON a node
    #[arg(short = 'o', long, value_enum, value_name = "FORMAT", default_value_t, hide_default_value = true)]
    pub(crate) output: Format,
}

/// Run a program of this machine in the network of a pod or node, as its root
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tortie lab exec prod/prod1 -- sh
  tortie lab exec node/node-1 -- ip route")]
pub(crate) struct Exec {
    /// `namespace/pod`, `node/NAME`, or the name of an outside host
    #[arg(value_name = "PLACE")]
    pub(crate) place: String,
    #[command(flatten)]
    pub(crate) which: Which,
    /// The program and its arguments
    #[arg(value_name = "CMD", last = true, required = true)]
    pub(crate) command: Vec<OsString>,
}

/// End a lab; nothing of it is left behind
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  tortie lab down")]
pub(crate) struct Down {
    #[command(flatten)]
    pub(crate) which: Which,
}
