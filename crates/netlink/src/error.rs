//! What can go wrong between this process and the kernel.

use rustix::io::Errno;

/// An error of a netlink operation.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A system call on the socket failed.
    #[error("netlink socket: {operation}: {errno}")]
    Io {
        /// What was tried.
        operation: &'static str,
        /// Why it failed.
        errno: Errno,
    },
    /// The ruleset changed since the generation that the transaction was computed for (`ERESTART`). Nothing was
    /// applied: read the ruleset again and compute anew.
    #[error("the ruleset was changed by someone else meanwhile; read it again and retry")]
    Stale,
    /// The kernel dropped messages because the receive buffer was full (`ENOBUFS`). For a transaction the outcome is
    /// unknown: compare the generation. For a subscription, events were lost.
    #[error("the kernel dropped netlink messages because the receive buffer was full; read the state back")]
    Overrun,
    /// A request does not fit the send buffer. Split it, or raise `net.core.wmem_max`.
    #[error(
        "request of {len} bytes exceeds the {limit} bytes that the socket can send; split it or raise net.core.wmem_max"
    )]
    TooBig {
        /// Bytes of the request.
        len: usize,
        /// Most bytes that can be sent at once.
        limit: usize,
    },
    /// The kernel refused an operation.
    #[error("{operation}: {errno}{}{}", .message.as_deref().map(|m| format!(": {m}")).unwrap_or_default(),
        if *.more > 0 { format!(" (and {more} more)") } else { String::new() })]
    Kernel {
        /// Position of the refused operation in its transaction, from 0; `None` for a single request and when the
        /// kernel refused the transaction as a whole.
        index: Option<usize>,
        /// What was asked for, in words.
        operation: String,
        /// The reason.
        errno: Errno,
        /// The kernel's own words (extended acknowledgement), where it gave any.
        message: Option<String>,
        /// How many other operations of the transaction were refused as well.
        more: usize,
    },
    /// The table that was being dumped kept changing.
    #[error("{operation}: the kernel's state kept changing while it was being read; retry")]
    Interrupted {
        /// What was asked for, in words.
        operation: String,
    },
    /// The kernel sent something that does not follow the protocol, or this crate misreads it.
    #[error("malformed netlink data: {what}")]
    Malformed {
        /// What was wrong.
        what: String,
    },
    /// The operation cannot be expressed on the wire; nothing was sent.
    #[error(transparent)]
    Encode(#[from] EncodeError),
}

impl Error {
    /// The kernel's error number, where there is one.
    #[must_use]
    pub fn errno(&self) -> Option<Errno> {
        match self {
            Self::Io { errno, .. } | Self::Kernel { errno, .. } => Some(*errno),
            _ => None,
        }
    }

    pub(crate) fn io(operation: &'static str) -> impl Fn(Errno) -> Self {
        move |errno| {
            if errno == Errno::NOBUFS { Self::Overrun } else { Self::Io { operation, errno } }
        }
    }

    pub(crate) fn malformed(what: impl Into<String>) -> Self {
        Self::Malformed { what: what.into() }
    }
}

/// Why an operation cannot be put on the wire.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// An attribute holds at most 65,535 bytes, header included.
    #[error("{what} takes {len} bytes, more than a netlink attribute can hold (65,531)")]
    AttributeTooLong {
        /// Which attribute.
        what: &'static str,
        /// Its length in bytes.
        len: usize,
    },
    /// A text is longer than the kernel or `nft` accept.
    #[error("{what} {text:?} is longer than {limit} bytes")]
    TextTooLong {
        /// Which text.
        what: &'static str,
        /// The text.
        text: String,
        /// Most bytes.
        limit: usize,
    },
    /// A key has another length than its map declares.
    #[error("element of map {map}: key of {got} bytes where the map's keys have {want}")]
    KeyLength {
        /// The map.
        map: String,
        /// Length of the key.
        got: usize,
        /// Length that the map declares.
        want: usize,
    },
    /// A range in a map of exact keys, or a range that ends before it starts.
    #[error("element of map {map}: {from:02x?} to {to:02x?} is not a range that this map can hold")]
    Range {
        /// The map.
        map: String,
        /// First key.
        from: Vec<u8>,
        /// Last key.
        to: Vec<u8>,
    },
    /// An expression that was read back but has no encoding here.
    #[error("expression {name:?} can be read but not written")]
    UnknownExpression {
        /// The kernel's name for it.
        name: String,
    },
    /// The limit on the bytes of a transaction is too low even for one operation.
    #[error("{operation} takes {len} bytes, more than the {limit} bytes that a transaction may have")]
    Limit {
        /// What was asked for, in words.
        operation: String,
        /// Bytes that it takes, with the transaction's frame.
        len: usize,
        /// Most bytes of a transaction.
        limit: usize,
    },
}
