//! Denied packets, with the policy that denied them.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use tortie_model::Direction;
use tortie_netlink::nflog::{LogEvent, LogListener};
use tortie_netlink::{Error, PacketTuple};
use tortie_plan::PathId;
use tortie_plan::nft::prefix::{DropKind, Prefix};

use crate::history::{History, Meaning};

/// Why a packet was dropped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Policy denies it.
    Policy {
        /// At which end.
        direction: Direction,
        /// The number in the log record.
        path: PathId,
        /// What the number means; `None` when the generations that knew it are forgotten.
        meaning: Option<Meaning>,
    },
    /// Its connection was allowed when it was opened, and is not any more.
    Revoked,
    /// It came from a pod, with a source address that is not the pod's.
    Spoofed,
    /// It is from or to an address of this node's pod ranges that no programmed pod has.
    Unprogrammed,
    /// Connection tracking cannot make sense of it.
    Invalid,
    /// The tables contradict each other: a bug of tortie.
    Inconsistent,
}

/// A packet that this node dropped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    /// The node.
    pub node: Arc<str>,
    /// The packet.
    pub tuple: PacketTuple,
    /// Why.
    pub cause: Cause,
    /// When it came in, if it did.
    pub time: Option<SystemTime>,
}

/// Reads the denied packets of one node.
#[derive(Debug)]
pub struct DenialReader {
    node: Arc<str>,
    listener: LogListener,
    history: Arc<RwLock<History>>,
}

impl DenialReader {
    pub(crate) const fn new(node: Arc<str>, listener: LogListener, history: Arc<RwLock<History>>) -> Self {
        Self { node, listener, history }
    }

    /// The denials that have arrived; does not wait for more. Records that are none of ours are left out.
    ///
    /// # Errors
    /// What the socket says.
    pub fn read(&mut self) -> Result<Vec<Denial>, Error> {
        let events = self.listener.next(Duration::ZERO)?;
        Ok(events.iter().filter_map(|event| self.denial(event)).collect())
    }

    /// Records that the kernel could not deliver since the start.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.listener.lost()
    }

    fn denial(&self, event: &LogEvent) -> Option<Denial> {
        let cause = match event.prefix.parse::<Prefix>().ok()? {
            Prefix::Path { direction, path, .. } => {
                let history = self.history.read().unwrap_or_else(PoisonError::into_inner);
                Cause::Policy { direction, path, meaning: history.meaning(path).cloned() }
            }
            Prefix::Fixed(kind) => match kind {
                DropKind::Revoked => Cause::Revoked,
                DropKind::Spoofed => Cause::Spoofed,
                DropKind::Unprogrammed => Cause::Unprogrammed,
                DropKind::Invalid => Cause::Invalid,
                DropKind::Bad => Cause::Inconsistent,
            },
        };
        Some(Denial { node: self.node.clone(), tuple: event.tuple()?, cause, time: event.time })
    }
}

impl AsFd for DenialReader {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.listener.socket().as_fd()
    }
}
