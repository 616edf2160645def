//! nf_tables: transactions, read-back, and news of changes.
//!
//! [`Op`] says what to change; [`Batch::pack`] writes operations into transactions that fit the socket and
//! [`Batch::commit`] applies one. [`read_table`] returns a whole table as [`tortie_ruleset::Table`] with handles and
//! counters. [`Monitor`] tells who changed the ruleset.
//!
//! Committing a table and reading it back yields an equal one, given that its elements are sorted. Only what
//! [`tortie_ruleset`] has words for can be written; the rest is read as [`tortie_ruleset::Expr::Unknown`].

mod batch;
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
    Generation, RuleState, TableInfo, TableState, generation, read_chain_names, read_elements, read_rules, read_table,
    read_tables,
};

/// Packets and bytes that a counter has seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Counter {
    /// Packets.
    pub packets: u64,
    /// Bytes, from the network header on.
    pub bytes: u64,
}

/// Every reader of this module, for tests that feed them nonsense.
#[cfg(test)]
pub(crate) fn read_anything(attrs: crate::wire::Attrs<'_>, family: tortie_ruleset::Family) {
    let _ = expression::read(attrs, family);
    let _ = expression::read_data(attrs);
    let element = element::read(attrs);
    if let Ok((_, Some(spec))) = map::read(attrs) {
        element::assemble(&spec, element.into_iter().flatten().collect());
    }
    for attr in attrs {
        let _ = expression::read(attr.nested(), family);
        let _ = element::read(attr.nested());
    }
    let _ = read::read_rule(&TableId::new(family, "t"), attrs);
}

/// The words for a message, for tests that feed it nonsense.
#[cfg(test)]
pub(crate) fn describe_anything(message: &[u8], offset: Option<usize>) -> String {
    describe::describe(message, offset)
}
