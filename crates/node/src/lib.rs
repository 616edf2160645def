//! One node's loop: changes of the cluster in; plan, kernel, revocation and records of packets out.
//!
//! Knows no YAML, no lab and no Kubernetes client: whoever has deltas can drive it. It holds no thread and reads no
//! clock; the caller says what time it is and calls again when a deadline has come.

mod concern;
mod connections;
mod history;
mod keeper;
mod node;
mod opened;
mod record;
mod revocation;
mod verified;

pub use concern::Concerned;
pub use connections::Swept;
pub use history::{History, Meaning};
pub use node::{Change, Node, NodeError, NodeOptions, Stage};
pub use opened::{Opened, OpenedReader};
pub use record::{Cause, Denial, Passage, Record, RecordReader, Trial};
pub use revocation::{Remedy, Tracked, judge};
pub use tortie_dataplane::{Counter, Difference};
pub use tortie_netlink::nflog::LogOptions;
pub use tortie_proof::{Blame, Extent, Proof, Witness};
pub use verified::Verified;
