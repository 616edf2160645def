//! What a node must hold so that the kernel decides as the engine does, neutral of any kernel; and its lowering to an
//! nftables ruleset.
//!
//! ```text
//! Index + NodeFacts ──compile──▶ Plan ──lower──▶ ruleset::Table ──diff──▶ steps for the dataplane
//!                                 │
//!                                 └─ evaluate(packet): the plan in memory
//! ```
//!
//! A plan is a decision table. The address of the other end gives its *identity*, the identity its *class* (what the
//! rules of this profile can tell apart), protocol and port their *port class*, and class and port class together the
//! *path*: the rules that the packet passes and the one that decides. Tiers, order, Pass and Log are resolved while
//! the table is computed, so that one decision costs the same for ten policies and for ten thousand.

mod addresses;
mod atom;
mod change;
mod compiler;
mod identity;
pub mod nft;
mod number;
mod packet;
mod path;

mod plan;
mod portclass;
mod range;
mod table;
mod transition;
mod vocabulary;
mod wishes;

pub use compiler::Compiler;
pub use number::Numbers;
pub use packet::{Packet, PlanVerdict};
pub use plan::{
    AttachmentPoint, ClassId, Decider, Identity, IdentityId, LocalEndpoint, NodeFacts, OutsideClass, Path, PathId,
    Plan, PodInterface, PortClassId, Problem, Profile, ProfileId, RangeEntry, SetSource, SourceRange,
};
pub use transition::Transition;
