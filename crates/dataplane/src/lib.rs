//! Applies a lowered plan and reads it back.
//!
//! ```text
//! plan::nft::phases ──▶ Phase ──apply──▶ Dataplane ──┬─ Nftables: the kernel, in transactions that fit the socket
//!                                            │       └─ Memory: a table that packets can be sent through
//!                                            └─ counters, verify
//! ```
//!
//! A phase is applied without waits; the caller owns the clock, and lets the grace time pass before the next phase
//! that asks for it. Applying a phase again after an error is right: what is there is read back, and only what is
//! missing is done.

mod claim;
mod difference;
mod error;
mod memory;
mod nftables;
mod transaction;

use std::collections::BTreeMap;

use tortie_plan::nft::{ChainMeaning, Phase};
use tortie_ruleset::Table;

pub use difference::{Difference, differences};
pub use error::DataplaneError;
pub use memory::Memory;
pub use nftables::{Nftables, NftablesOptions};
pub use tortie_netlink::nft::Counter;

/// What keeps others from changing the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protection {
    /// Others cannot change it, and it stays when this process ends.
    Owned,
    /// Others with the right to change rulesets can change it: the kernel cannot protect a table that is to outlive its
    /// process (that came with Linux 6.9), or protection was not asked for. Changes are found by [`Dataplane::verify`].
    Plain,
}

impl std::fmt::Display for Protection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Owned => "others cannot change the table, and it outlives this process",
            Self::Plain => "other programs can change the table; changes are noticed, not prevented",
        })
    }
}

/// What happened while a phase was applied.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// Transactions that were committed.
    pub transactions: usize,
    /// What somebody else had changed meanwhile; it was put right.
    pub repaired: Vec<Difference>,
}

/// Something that holds a lowered table and enforces it.
pub trait Dataplane {
    /// What it holds now; `None` when there is no table.
    ///
    /// # Errors
    /// When it cannot be read.
    fn read(&mut self) -> Result<Option<Table>, DataplaneError>;

    /// Carries out a phase. When this returns an error, what is held lies between the phase before and this one, and
    /// the phase can be applied again.
    ///
    /// # Errors
    /// When the kernel refuses, or others keep changing the ruleset.
    fn apply(&mut self, phase: &Phase) -> Result<Applied, DataplaneError>;

    /// Packets and bytes by what they were counted for, summed over rules.
    ///
    /// # Errors
    /// When they cannot be read.
    fn counters(&mut self) -> Result<BTreeMap<ChainMeaning, Counter>, DataplaneError>;

    /// How what is held differs from `expected`; empty when it does not.
    ///
    /// # Errors
    /// When it cannot be read.
    fn verify(&mut self, expected: &Table) -> Result<Vec<Difference>, DataplaneError>;

    /// What keeps others from changing it.
    fn protection(&self) -> Protection;
}
