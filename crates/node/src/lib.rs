//! One node's loop: changes of the cluster in; plan, kernel, revocation and denied packets out.
//!
//! Knows no YAML, no lab and no Kubernetes client: whoever has deltas can drive it. It holds no thread and reads no
//! clock; the caller says what time it is and calls again when a deadline has come.

mod connections;
mod denial;
mod history;
mod node;
mod revocation;

pub use connections::Swept;
pub use denial::{Cause, Denial, DenialReader};
pub use history::{History, Meaning};
pub use node::{Change, Node, NodeError, NodeOptions};
pub use revocation::{Remedy, Tracked, judge};
pub use tortie_dataplane::Counter;
