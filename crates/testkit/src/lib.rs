//! Builders, the reference evaluator, random clusters: for tests only.
//!
//! [`mod@reference`] decides from the texts of the APIs alone, as simply as can be, so that the engine, a plan and a
//! kernel can be held against it on [`random`] clusters and on every [`small`] one. A failing case is named by its seed
//! or number: the same one makes the same cluster.

pub mod build;
mod cluster;
pub mod corpora;
pub mod coverage;
mod decided;
pub mod manifests;
pub mod random;
pub mod reference;
mod rng;
mod show;
mod shrink;
pub mod small;

pub use cluster::{Cluster, Flow};
pub use decided::{By, decided};
pub use rng::Rng;
pub use shrink::smallest;
