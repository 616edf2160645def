//! nf_tables: transactions, read-back, and news of changes.
//!
//! [`Op`] says what to change; [`Batch::pack`] writes operations into transactions that fit the socket and
//! [`Batch::commit`] applies one. [`read_table`] returns a whole table as [`tortie_ruleset::Table`] with handles and
//! counters. [`Monitor`] tells who changed the ruleset.
//!
//! Committing a table and reading it back yields an equal one, given that its elements are sorted. Only what
//! [`tortie_ruleset`] has words for can be written; the rest is read as [`tortie_ruleset::Expr::Unknown`].

mod batch;
pub mod decode;
mod describe;
mod element;
mod expression;
mod map;
mod monitor;
mod number;
mod operation;
mod read;

pub use batch::Batch;
pub use monitor::{Monitor, RulesetChanged};
pub use operation::{Op, Place, TableFlags, TableId};
pub use read::{
    Foreign, Generation, RuleState, TableInfo, TableState, generation, read_chain_names, read_elements, read_rules,
    read_table, read_tables,
};

/// Packets and bytes that a counter has seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Counter {
    /// Packets.
    pub packets: u64,
    /// Bytes, from the network header on.
    pub bytes: u64,
}
