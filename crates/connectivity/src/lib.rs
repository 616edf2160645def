//! Who can talk to whom, on what: all pairs of workloads, nodes and outside ranges at once, and how two clusters differ
//! in it.
//!
//! ```text
//! Index ─▶ Census ─────────────▶ classes ─────────────────▶ halves ───────────────▶ pairs
//!          ends by kind: what    kinds that the same        a stack, put to all     egress and ingress,
//!          policies ask of them  policies select and mean   classes by matched rule each pair of sets once
//! ```
//!
//! Ten thousand pods of one kind, or whose labels nobody asks for, are one end; what a policy says of an end is asked
//! once for all of them. Verdicts are those of the engine: which ends a selector or a block means, what a stack resolves
//! to. Nothing is decided here.

mod addresses;
mod arriving;
mod blocks;
mod cause;
mod census;
mod connectivity;
mod difference;
mod exposure;
mod half;
pub mod packets;
mod partition;
mod pattern;
mod pool;
mod subject;
mod view;
mod vocabulary;
mod waychange;
mod waysin;

pub use addresses::Addresses;
pub use cause::{Cause, Fate};
pub use connectivity::{Connectivity, Decision};
pub use difference::{Change, Difference};
pub use exposure::{Anybody, Opening, all_pods, exposure};
pub use pattern::{Pattern, PatternError};
pub use subject::{Families, Group, Name, Subject};
pub use view::{By, Cell, Entry, Member, Party, Selection, View};
pub use waysin::{WayIn, ways_in};
