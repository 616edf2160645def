//! A cluster made of network namespaces.
//!
//! Three layers, each usable alone:
//!
//! - [`sandbox`]: the process enters a user, network and mount namespace of its own, in which it may do what root may do,
//!   and nothing outside changes. Everything is held by descriptors of this process: it vanishes with it, even by
//!   `kill -9`.
//! - [`topology`]: a wire, nodes, pods and hosts outside the cluster; addresses, routes, and servers that answer with
//!   their own name.
//! - what runs on it: [`service`] (ClusterIPs by destination NAT), [`dns`] (cluster names), [`probe`] (packets whose fate
//!   is told apart), [`exec`] (the caller's own programs inside a pod).
//!
//! ```text
//!                      wire (the sandbox's own namespace, a router)
//!          ┌────────────────┬───────────────┬──────────────┐
//!        node-1           node-2         internet         ...      eth0 inside, routed veth outside
//!      ┌───┴───┐         ┌───┴───┐
//!     pod     pod       pod     pod                                eth0 inside, `tor…` in the node
//! ```

pub mod address;
mod answer;
mod attachment;
pub mod cluster;
pub mod control;
pub mod dns;
mod error;
pub mod exec;
pub mod flows;
pub mod netns;
mod observe;
pub mod player;
pub mod pod;
pub mod probe;
mod raw;
pub mod resolver;
pub mod sandbox;
pub mod sctp;
mod server;
pub mod service;
pub mod session;
mod sockopt;
mod table;
pub mod topology;
mod trial;
mod witness;
mod written;

pub use answer::{ANSWER_TABLE, Answers, CATCH_ALL_PORT, redirect_table};
pub use cluster::{Cluster, ClusterError};
pub use error::LabError;
pub use observe::Sighting;
pub use pod::{NodeSpec, OutsideSpec, Place, PodSpec};
pub use sandbox::Sandbox;
pub use server::HELLO;
pub use topology::{Endpoint, Topology};
/// What the kernel can do, found out by trying.
pub use tortie_netlink::probe as features;
