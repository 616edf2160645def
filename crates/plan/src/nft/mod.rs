//! The plan as an nftables table: a fixed program of chained lookups whose state is map elements.
//!
//! ```text
//! peer address  ─id─▶ identity ┐
//! own address ─prof─▶ profile  ┼─cls─▶ class ──────┐
//! protocol.port.profile ───────┴─prt─▶ port class ─┴─dec─▶ path ─act─▶ chain: counter, log, verdict
//! ```
//!
//! A packet costs the same for ten policies and for ten thousand, every packet is counted under the path that decided
//! it, and a change of policy is a change of elements. [`Lowering`] turns plans into tables, [`phases`] the way from one
//! table to another into [`steps`] that let no packet see a mixture.

mod change;
mod contents;
mod difference;
mod layout;
mod lowering;
mod meaning;
mod path;
mod phase;
mod pipeline;
pub mod prefix;
mod program;
mod shadow;
mod unfinished;

use tortie_model::Direction;

pub use change::{Change, Group, Step};
pub use difference::steps;
pub use lowering::{Lowering, Target};
pub use meaning::{Meaning, Term, meaning, question};
pub use phase::{Phase, phases};
pub use shadow::as_enforced;

use crate::PathId;

/// The bit of the connection mark by which revoked connections are known. Only tortie sets and reads it; kube-proxy
/// and the usual network plugins use other bits, and mostly of the packet mark, which this is not.
pub const REVOKED_BIT: u32 = 0x0400_0000;

/// What becomes of a denied packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Denial {
    /// It is dropped silently.
    #[default]
    Drop,
    /// TCP is answered with a reset, everything else with an ICMP "administratively prohibited".
    Reject,
}

/// Which of a node's tables a plan is lowered to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum Lane {
    /// The one that decides what becomes of packets.
    #[default]
    Enforcing,
    /// One that stands before it and says what it would do with them: every packet goes on. Only policy is asked there,
    /// and only of packets that open a connection.
    Shadow,
}

/// How a plan is lowered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Name of the table, of family inet.
    pub table: String,
    /// What the table is for.
    pub lane: Lane,
    /// Priority of the base chains; 0 is that of the usual filter chains.
    pub priority: i32,
    /// See [`REVOKED_BIT`].
    pub revoked_bit: u32,
    /// What becomes of a denied packet.
    pub deny: Denial,
    /// Whether the first packets of allowed connections are recorded as denied packets are. Costs a record for each, and
    /// one for each packet of a protocol that nobody answers.
    pub record_allowed: bool,
    /// NFLOG group for denied and logged packets.
    pub log_group: u16,
    /// Bytes of a packet in its log record: enough for its headers.
    pub snaplen: u32,
    /// Log records that the kernel gathers before it wakes the reader.
    pub threshold: u16,
    /// Ranges of up to so many ports are written out port by port; larger ones need a map of ranges.
    pub port_budget: u16,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            table: "tortie".to_owned(),
            lane: Lane::Enforcing,
            priority: 0,
            revoked_bit: REVOKED_BIT,
            deny: Denial::Drop,
            record_allowed: false,
            log_group: 100,
            snaplen: 128,
            threshold: 1,
            port_budget: 64,
        }
    }
}

impl Options {
    /// How a plan is lowered that is to be tried out on a node whose policies are lowered like this.
    #[must_use]
    pub fn shadow(&self) -> Self {
        let table = format!("{}-shadow", self.table);
        Self { table, lane: Lane::Shadow, priority: self.priority - 1, ..self.clone() }
    }
}

/// What a chain of a lowered table stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ChainMeaning {
    /// It carries out a path.
    Path(Direction, PathId),
    /// It drops for a fixed reason; in the shadow lane, it lets go on what policy is not asked about.
    Fixed(prefix::DropKind),
    /// It counts connections of this node to its own pods.
    FromNode,
}

/// What the counters of a chain count, if it has any.
#[must_use]
pub fn chain_meaning(name: &str) -> Option<ChainMeaning> {
    if name == "output" {
        return Some(ChainMeaning::FromNode);
    }
    if let Some(kind) = prefix::DropKind::ALL.into_iter().find(|k| k.as_str() == name) {
        return Some(ChainMeaning::Fixed(kind));
    }
    let (kind, rest) = name.split_once('_')?;
    let rest = matches!(kind, "allow" | "deny").then_some(rest)?;
    let direction = match rest.chars().next()? {
        'e' => Direction::Egress,
        'i' => Direction::Ingress,
        _ => return None,
    };
    let (path, _) = rest[1..].split_once('.')?;
    Some(ChainMeaning::Path(direction, PathId(path.parse().ok()?)))
}

#[cfg(test)]
mod tests;
