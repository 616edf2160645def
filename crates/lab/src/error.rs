//! What can go wrong in a lab.

use std::{io, net::IpAddr};

use crate::netns::NetnsError;

/// An error of the lab itself, not of what is tried in it.
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    /// A namespace could not be made or entered.
    #[error(transparent)]
    Netns(#[from] NetnsError),
    /// The kernel refused a link, an address, a route or a rule.
    #[error(transparent)]
    Netlink(#[from] tortie_netlink::Error),
    /// A kernel setting could not be written.
    #[error("cannot set net.{}: {source}; in a container, start it with --security-opt systempaths=unconfined", .name.replace('/', "."))]
    Sysctl {
        /// Path below `/proc/sys/net`.
        name: String,
        /// Why.
        source: io::Error,
    },
    /// A socket could not be made or bound.
    #[error("{operation}: {source}")]
    Socket {
        /// What was tried, and for whom.
        operation: String,
        /// Why.
        source: io::Error,
    },
    /// A file of the sandbox could not be written.
    #[error("cannot write {path}: {source}")]
    File {
        /// Its path.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// IPv6 was asked for where the kernel has none.
    #[error("this kernel has no IPv6; set `families: [IPv4]`")]
    NoIpv6,
    /// There is nothing of this name.
    #[error("{kind} {name} does not exist")]
    Missing {
        /// Node, pod or outside host.
        kind: &'static str,
        /// Its name.
        name: String,
    },
    /// There is already one of this name.
    #[error("{kind} {name} exists already")]
    Exists {
        /// Node, pod or outside host.
        kind: &'static str,
        /// Its name.
        name: String,
    },
    /// An address can belong to one thing only.
    #[error("{name} cannot have address {address}: {owner} has it")]
    AddressTaken {
        /// Who wants it.
        name: String,
        /// The address.
        address: IpAddr,
        /// Who has it.
        owner: String,
    },
    /// An address of a family that the cluster does not have.
    #[error("{name} cannot have address {address}: the cluster does not have its family")]
    Family {
        /// Who wants it.
        name: String,
        /// The address.
        address: IpAddr,
    },
    /// A node's pod ranges are used up.
    #[error("node {node} has no free pod address for {pod}")]
    NoAddress {
        /// The node.
        node: String,
        /// The pod.
        pod: String,
    },
    /// The server's or a prober's thread could not be started.
    #[error("cannot start a thread: {0}")]
    Thread(io::Error),
}
