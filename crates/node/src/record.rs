//! Records of packets: denied ones with what denied them, and allowed ones with what allowed them.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use tortie_model::Direction;
use tortie_netlink::nflog::{LogEvent, LogListener};
use tortie_netlink::{Error, PacketTuple};
use tortie_plan::PathId;
use tortie_plan::nft::Lane;
use tortie_plan::nft::prefix::{DropKind, PathKind, Prefix};
use tortie_policy::Verdict;

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

/// A packet that policy let pass in one direction: by a Log rule, or because allowed connections are recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Passage {
    /// The node.
    pub node: Arc<str>,
    /// The packet.
    pub tuple: PacketTuple,
    /// At which end. The other end has its own say.
    pub direction: Direction,
    /// The number in the log record.
    pub path: PathId,
    /// What the number means; `None` when the generations that knew it are forgotten.
    pub meaning: Option<Meaning>,
    /// When the packet came in, if it did.
    pub time: Option<SystemTime>,
}

/// What a plan that is tried out says of a packet in one direction. The packet went on, to what the plan in force says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trial {
    /// The node.
    pub node: Arc<str>,
    /// The packet.
    pub tuple: PacketTuple,
    /// At which end.
    pub direction: Direction,
    /// What would become of it there.
    pub verdict: Verdict,
    /// The number in the log record: another plan's than that of the plan in force.
    pub path: PathId,
    /// What the number means; `None` when the generations that knew it are forgotten.
    pub meaning: Option<Meaning>,
    /// When the packet came in, if it did.
    pub time: Option<SystemTime>,
}

/// What a node says of a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// It was dropped.
    Denied(Denial),
    /// Policy of one direction let it pass.
    Passed(Passage),
    /// What would become of it. Comes before what the plan in force says of the same packet at that end.
    Tried(Trial),
}

/// Reads the records of one node.
#[derive(Debug)]
pub struct RecordReader {
    node: Arc<str>,
    listener: LogListener,
    /// Of the plans in force, and of those that are tried out.
    histories: [Arc<RwLock<History>>; 2],
}

impl RecordReader {
    pub(crate) const fn new(node: Arc<str>, listener: LogListener, histories: [Arc<RwLock<History>>; 2]) -> Self {
        Self { node, listener, histories }
    }

    /// The records that have arrived; does not wait for more. Those that are none of ours are left out.
    ///
    /// # Errors
    /// What the socket says.
    pub fn read(&mut self) -> Result<Vec<Record>, Error> {
        let events = self.listener.next(Duration::ZERO)?;
        Ok(events.iter().filter_map(|event| self.record(event)).collect())
    }

    /// The node.
    #[must_use]
    pub const fn node(&self) -> &Arc<str> {
        &self.node
    }

    /// Records that the kernel could not deliver since the start.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.listener.lost()
    }

    fn record(&self, event: &LogEvent) -> Option<Record> {
        let (node, tuple, time) = (self.node.clone(), event.tuple()?, event.time);
        let [enforced, tried] = &self.histories;
        let meaning = |history: &RwLock<History>, path| {
            let history = history.read().unwrap_or_else(PoisonError::into_inner);
            history.meaning(path).cloned()
        };
        let cause = match event.prefix.parse::<Prefix>().ok()? {
            Prefix::Path { lane: Lane::Shadow, kind, direction, path } => {
                let verdict = if kind == PathKind::Deny { Verdict::Deny } else { Verdict::Allow };
                let meaning = meaning(tried, path);
                return Some(Record::Tried(Trial { node, tuple, direction, verdict, path, meaning, time }));
            }
            Prefix::Path { kind: PathKind::Deny, direction, path, .. } => {
                Cause::Policy { direction, path, meaning: meaning(enforced, path) }
            }
            Prefix::Path { kind: PathKind::Log | PathKind::Allow, direction, path, .. } => {
                let meaning = meaning(enforced, path);
                return Some(Record::Passed(Passage { node, tuple, direction, path, meaning, time }));
            }
            Prefix::Fixed(kind) => match kind {
                DropKind::Revoked => Cause::Revoked,
                DropKind::Spoofed => Cause::Spoofed,
                DropKind::Unprogrammed => Cause::Unprogrammed,
                DropKind::Invalid => Cause::Invalid,
                DropKind::Bad => Cause::Inconsistent,
            },
        };
        Some(Record::Denied(Denial { node, tuple, cause, time }))
    }
}

impl AsFd for RecordReader {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.listener.socket().as_fd()
    }
}
