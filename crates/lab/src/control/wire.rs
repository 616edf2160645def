//! What is said.

use std::net::IpAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::exec::EnterSpec;

/// A manifest as its owner sees it: the lab lives in another mount namespace and another folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceFile {
    /// Name for messages.
    pub path: String,
    /// Contents.
    pub text: String,
}

/// Manifests for a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Input {
    /// The texts.
    pub files: Vec<SourceFile>,
    /// Namespace of objects that say none.
    pub namespace: String,
}

/// What a lab can be asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Request {
    /// What it consists of.
    Status,
    /// Add or change objects.
    Apply(Input),
    /// Delete objects.
    Delete(Input),
    /// Try out on packets what adding or changing objects would do, in place of what is tried out.
    TryApply(Input),
    /// The same of deleting them.
    TryDelete(Input),
    /// Try nothing out any more but what objects stage.
    EndDryRun,
    /// Send packets, both families.
    Probe {
        /// Who sends.
        from: String,
        /// Who should answer.
        to: String,
        /// What is sent, as in cases.
        probe: String,
    },
    /// What went through and what did not, as far as it changed after a change.
    Flows {
        /// Number of the last change that is known already; 0 for all.
        since: u64,
    },
    /// What the kernels of all nodes do with every packet, against the engine.
    Verify,
    /// How to enter a pod or node.
    Enter {
        /// `ns/pod` or `node/NAME`.
        place: String,
    },
    /// End.
    Down,
}

/// What it answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reply {
    /// To [`Request::Status`].
    Status(Status),
    /// To [`Request::Apply`], [`Request::Delete`] and the dry runs of both: what changed, in words, and what is to be said
    /// of it.
    Changed {
        /// `NetworkPolicy/prod/web created`, a line each.
        lines: Vec<String>,
        /// Warnings and notes, rendered.
        notes: Vec<String>,
        /// What is tried out now, if anything is.
        #[serde(default)]
        dry_run: Option<DryRunStatus>,
        /// Why something is not tried out any more that was.
        #[serde(default)]
        ended: Option<String>,
    },
    /// To [`Request::Probe`], one for each family and pair.
    Probed(Vec<Probed>),
    /// To [`Request::Flows`].
    Flows(FlowReport),
    /// To [`Request::Verify`], one for each node.
    Verified(Vec<NodeVerified>),
    /// To [`Request::Enter`].
    Enter(EnterSpec),
    /// To [`Request::Down`].
    Done,
    /// It could not be done; nothing has changed.
    Failed(String),
}

/// What a lab consists of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Status {
    /// Name of the lab.
    pub name: String,
    /// Process that it lives in.
    pub pid: u32,
    /// Nodes.
    pub nodes: Vec<NodeStatus>,
    /// Pods.
    pub pods: Vec<PodStatus>,
    /// Services.
    pub services: Vec<ServiceStatus>,
    /// Policies, by reference.
    pub policies: Vec<String>,
    /// What is tried out and not enforced; nothing when nothing is.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub dry_run: Option<DryRunStatus>,
}

/// What is tried out on packets and not enforced.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DryRunStatus {
    /// `NetworkPolicy/prod/web created`, `configured` or `deleted`: each object that policies see, and that is another
    /// there.
    pub changes: Vec<String>,
    /// What stands against it, if anything.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub problems: Vec<String>,
}

/// A node of a lab.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NodeStatus {
    /// Name.
    pub name: String,
    /// Addresses.
    pub addresses: Vec<IpAddr>,
    /// Generation of the plan in force.
    pub generation: u64,
    /// What stands against enforcement, if anything.
    pub problems: Vec<String>,
    /// What it had to say and could not.
    #[serde(default)]
    pub lost: LostLine,
}

/// What a node had to say and could not, because more came at once than was read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LostLine {
    /// The node.
    pub node: String,
    /// Log records: denied packets, and what policies said of allowed ones.
    pub records: u64,
    /// How often opened connections could not be told; of how many, nobody knows.
    pub connections: u64,
}

/// A pod of a lab.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PodStatus {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// Node that it runs on.
    pub node: String,
    /// Addresses.
    pub addresses: Vec<IpAddr>,
    /// Labels, as `key=value`.
    pub labels: Vec<String>,
}

/// A Service of a lab.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ServiceStatus {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// ClusterIPs.
    pub addresses: Vec<IpAddr>,
    /// `ns/pod` behind it.
    pub backends: Vec<String>,
}

/// What became of one probe.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Probed {
    /// IP version.
    pub family: String,
    /// Who sent.
    pub from: String,
    /// Who should have answered.
    pub to: String,
    /// What was sent.
    pub probe: String,
    /// `allow`, `deny` or `lost`.
    pub kernel: String,
    /// What the engine says: `allow` or `deny`.
    pub engine: String,
    /// In words: who answered, or what dropped it and by which rule.
    pub detail: String,
    /// Milliseconds.
    pub ms: Option<f64>,
}

/// Flows that changed, in the order of their last changes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct FlowReport {
    /// The flows; one that was both allowed and denied is there twice.
    pub flows: Vec<FlowLine>,
    /// Number of the last change.
    pub changed: u64,
    /// Flows that were forgotten because there were too many.
    pub forgotten: u64,
    /// What nodes could not tell since the start; those that lost nothing are left out.
    #[serde(default)]
    pub lost: Vec<LostLine>,
}

/// Connections of the same ends, port and fate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FlowLine {
    /// When the first was seen, in seconds since 1970.
    pub first: f64,
    /// When the last was seen.
    pub last: f64,
    /// `ns/pod`, `node/NAME`, the name of an outside host, or an address.
    pub from: String,
    /// As `from`.
    pub to: String,
    /// IP version.
    pub family: String,
    /// `TCP/8888`, `ICMP type 8 code 0`, and so on: as the destination sees it.
    pub traffic: String,
    /// `allow` or `deny`.
    pub verdict: String,
    /// Connections that were allowed, or packets that were dropped.
    pub count: u64,
    /// The node that dropped them.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub node: Option<String>,
    /// What policy said at the source; nothing where it was not asked.
    pub egress: Option<Decision>,
    /// What policy said at the destination.
    pub ingress: Option<Decision>,
    /// Why they were dropped, when it was not by policy.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub cause: Option<String>,
    /// What would become of the last of them by what is tried out; nothing when nothing was.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub dry_run: Option<DryRunFlow>,
}

/// What would become of a connection by what is tried out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DryRunFlow {
    /// `allow` or `deny`.
    pub verdict: String,
    /// Whether that is another verdict than the one that is enforced.
    pub changed: bool,
    /// What policy would say at the source; nothing where it would not be asked.
    pub egress: Option<Decision>,
    /// What policy would say at the destination.
    pub ingress: Option<Decision>,
    /// The packet never got to the node of its destination: what is said of that end is the engine's word, not the
    /// kernel's.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub predicted: bool,
}

/// What policy decided in one direction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Decision {
    /// The generation of the node's plan that brought the decision; 0 where it is predicted.
    pub generation: u64,
    /// The deciding rule; nothing when no rule matched.
    pub decided_by: Option<PolicyPlace>,
    /// When no rule matched: the policies that isolate the endpoint.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub isolating: Vec<PolicyPlace>,
}

/// A policy or one of its rules, with its place in the files at that time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PolicyPlace {
    /// Kind of the policy.
    pub kind: String,
    /// Its namespace; nothing for policies outside namespaces.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
    /// The rule: item of `ingress` or `egress`, from 0.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub rule: Option<usize>,
    /// The file that held it.
    pub file: Option<String>,
    /// Line in it, from 1.
    pub line: Option<usize>,
}

/// What was found of a node's table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct NodeVerified {
    /// The node.
    pub node: String,
    /// Whether every packet has the fate that the engine says, by just what was put there.
    pub holds: bool,
    /// Its pods that have a link.
    pub endpoints: usize,
    /// Regions of packets that were compared: together all packets, unless there are witnesses.
    pub regions: usize,
    /// Milliseconds, the reading included.
    pub ms: f64,
    /// Packets that the kernel judges otherwise; the search ends with the eighth.
    pub witnesses: Vec<WitnessLine>,
    /// Rules that look at what policy does not know: while there are any, nothing is proven.
    pub unfollowed: Vec<String>,
    /// How the table differs from what was put there, whether or not packets meet the difference.
    pub differences: Vec<String>,
    /// What others had changed and was put right since this was last asked.
    pub mended: Vec<String>,
    /// The same of what is tried out there; nothing when nothing is.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub dry_run: Option<DryRunVerified>,
}

/// What was found of the table of a dry run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DryRunVerified {
    /// Whether it says of every packet what the engine says of the policies that are tried out.
    pub holds: bool,
    /// Regions of packets that were compared.
    pub regions: usize,
    /// What was found, in words.
    pub findings: Vec<String>,
}

/// A packet that the kernel judges otherwise than the engine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WitnessLine {
    /// `ns/pod`, `node/NAME`, the name of an outside host, or an address.
    pub from: String,
    /// As `from`.
    pub to: String,
    /// IP version.
    pub family: String,
    /// Protocol and port.
    pub traffic: String,
    /// `a new packet at forward from eth0`.
    pub packet: String,
    /// What should become of it: `allow` or `deny`.
    pub engine: String,
    /// Why, in words.
    pub why: String,
    /// What becomes of it: `allow`, `deny`, or `none` where the table cannot judge it.
    pub kernel: String,
    /// The rule that decides; nothing at the end of a base chain.
    pub decided_at: Option<String>,
    /// What in the table is to blame; nothing where the table is what was put there.
    pub blame: Vec<BlameLine>,
}

/// One thing in a table that is otherwise than it should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BlameLine {
    /// What is otherwise, in words.
    pub text: String,
    /// The policies that are missed because of it: the deciding rule, or all that isolate the endpoint.
    pub policies: Vec<PolicyPlace>,
}
