//! Answers about a cluster without one.
//!
//! [`backend`] is what Services lead to.
//! [`deltas`] is what objects are to the engine.
//! [`edit`] finds the smallest change that lets a denied flow through.
//! [`ingress`] finds the ways by which requests from outside reach pods.
//! [`observation`] is what a probe was expected to say and what it said.
//! [`passage`] asks the plans of all nodes on the way.
//! [`preview`] is what a cluster would hold if all that is staged in it were enforced.
//! [`question`] turns a cell of a case into packets.
//! [`rehearsal`] plays a case without packets.
//! [`snapshot`] is the cluster of some manifests, as far as files tell.
//! [`staging`] says what a cluster made of some objects consists of: which pod runs where and has which address, what
//! is behind a Service, what DNS knows. The lab builds exactly that; offline commands reason about exactly that.
//! [`traps`] finds policies that let in more than their author surely meant.
//! [`view`] is a cluster together with the texts that it was read from.

pub mod address;
pub mod backend;
pub mod deltas;
pub mod edit;
pub mod ingress;
pub mod observation;
pub mod passage;
pub mod preview;
pub mod question;
pub mod rehearsal;
pub mod snapshot;
pub mod staging;
pub mod traps;
pub mod view;
