//! An nftables ruleset as data: the vocabulary that the plan lowers to, that `netlink` puts on the wire and decodes
//! again, and that `dataplane` compares and evaluates in memory.
//!
//! Only what tortie programs is here. Names and numbers follow `include/uapi/linux/netfilter/nf_tables.h`.
//! Nothing in this crate does I/O; it builds on every platform.

mod chain;
mod expr;
pub mod lift;
pub mod machine;
mod map;
pub mod parting;
mod text;

pub use chain::{BaseChain, Chain, ChainKind, Family, Hook, Policy, Rule, Table};
pub use expr::{CmpOp, CtKey, Expr, FibResult, MetaKey, NatKind, PayloadBase, Reg, Verdict};
pub use map::{Data, DataType, Element, KeyType, MapKind, MapSpec};
