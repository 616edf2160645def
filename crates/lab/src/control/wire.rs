//! What is said.

use std::net::IpAddr;

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
    /// Send packets, both families.
    Probe {
        /// Who sends.
        from: String,
        /// Who should answer.
        to: String,
        /// What is sent, as in cases.
        probe: String,
    },
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
    /// To [`Request::Apply`] and [`Request::Delete`]: what changed, in words, and what is to be said of it.
    Changed {
        /// `NetworkPolicy/prod/web created`, a line each.
        lines: Vec<String>,
        /// Warnings and notes, rendered.
        notes: Vec<String>,
    },
    /// To [`Request::Probe`], one for each family and pair.
    Probed(Vec<Probed>),
    /// To [`Request::Enter`].
    Enter(EnterSpec),
    /// To [`Request::Down`].
    Done,
    /// It could not be done; nothing has changed.
    Failed(String),
}

/// What a lab consists of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
}

/// A node of a lab.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeStatus {
    /// Name.
    pub name: String,
    /// Addresses.
    pub addresses: Vec<IpAddr>,
    /// Generation of the plan in force.
    pub generation: u64,
    /// What stands against enforcement, if anything.
    pub problems: Vec<String>,
}

/// A pod of a lab.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
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
