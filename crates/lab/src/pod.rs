//! Pods, nodes and outside hosts as the lab is told of them.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::{
    address::{Families, node_addresses, pod_ranges},
    answer::Answers,
};

/// Something with a network namespace.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Place {
    /// A pod.
    Pod {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// A node.
    Node(String),
    /// A host outside the cluster.
    Outside(String),
}

impl Place {
    /// A pod.
    #[must_use]
    pub fn pod(namespace: &str, name: &str) -> Self {
        Self::Pod { namespace: namespace.to_owned(), name: name.to_owned() }
    }

    pub(crate) const fn kind(&self) -> &'static str {
        match self {
            Self::Pod { .. } => "pod",
            Self::Node(_) => "node",
            Self::Outside(_) => "outside host",
        }
    }
}

/// The name by which it answers: `namespace/pod`, `node/NAME`, or the outside host's name.
impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Pod { namespace, name } => write!(f, "{namespace}/{name}"),
            Self::Node(name) => write!(f, "node/{name}"),
            Self::Outside(name) => f.write_str(name),
        }
    }
}

/// A node to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeSpec {
    /// Its name.
    pub name: String,
    /// Its addresses, at most one a family.
    pub addresses: Vec<IpAddr>,
    /// Ranges that its pods get addresses from, at most one a family.
    pub pod_ranges: Vec<IpNet>,
}

impl NodeSpec {
    /// Node `number` (from 1) with the lab's own addresses.
    #[must_use]
    pub fn numbered(name: &str, number: u16, families: Families) -> Self {
        Self {
            name: name.to_owned(),
            addresses: node_addresses(number, families),
            pod_ranges: pod_ranges(number, families),
        }
    }
}

/// A pod to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodSpec {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The node that it runs on.
    pub node: String,
    /// Its addresses, whatever they are; empty: from the node's ranges.
    pub addresses: Vec<IpAddr>,
    /// What it answers on. A pod in its node's network answers on declared ports alone.
    pub answers: Answers,
    /// It has no network namespace of its own but its node's.
    pub host_network: bool,
    /// Its port 53 answers from the cluster's zone.
    pub dns: bool,
}

impl PodSpec {
    /// A tool pod: addresses from its node, answering on every port.
    #[must_use]
    pub fn tool(namespace: &str, name: &str, node: &str) -> Self {
        Self {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            node: node.to_owned(),
            addresses: Vec::new(),
            answers: Answers::Everywhere,
            host_network: false,
            dns: false,
        }
    }

    /// What it is in the topology.
    #[must_use]
    pub fn place(&self) -> Place {
        Place::pod(&self.namespace, &self.name)
    }
}

/// A host outside the cluster, answering on every port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutsideSpec {
    /// Its name.
    pub name: String,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
}
