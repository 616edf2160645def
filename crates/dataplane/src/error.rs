//! What can go wrong with a dataplane.

use tortie_netlink::Error;

/// Why a dataplane could not do what was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DataplaneError {
    /// The kernel cannot be spoken with.
    #[error("cannot open nf_tables: {0}")]
    Open(#[source] Error),
    /// Another process programs the table.
    #[error("table {table} belongs to another process that is still running; end it, or use another table name")]
    Owned {
        /// The table.
        table: String,
    },
    /// A transaction was refused. What was in force stays in force.
    #[error("cannot change table {table}: {source}")]
    Refused {
        /// The table.
        table: String,
        /// Why.
        source: Error,
    },
    /// The table could not be read.
    #[error("cannot read table {table}: {source}")]
    Unreadable {
        /// The table.
        table: String,
        /// Why.
        source: Error,
    },
    /// Others changed the ruleset again and again while this was being applied, or the kernel's answers kept being lost.
    #[error("gave up changing table {table} after {attempts} attempts: {last}")]
    Unsettled {
        /// The table.
        table: String,
        /// How often it was tried.
        attempts: usize,
        /// Why the last attempt failed.
        last: Error,
    },
}
