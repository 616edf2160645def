//! A node: what it enforces, what is tried out on it, and what it records.

use std::collections::BTreeMap;
use std::sync::{Arc, RwLock};
use std::time::{Duration, Instant};

use tortie_dataplane::{Counter, DataplaneError, Nftables, NftablesOptions, Protection};
use tortie_netlink::conntrack::OpenedListener;
use tortie_netlink::nflog::{LogListener, LogOptions};
use tortie_netlink::{Buffers, Tap};
use tortie_plan::nft::{ChainMeaning, Options};
use tortie_plan::{NodeFacts, Numbers, Plan, PodInterface};
use tortie_policy::{Delta, Index, PodKey};

use crate::connections::Swept;
use crate::history::History;
use crate::keeper::{Keeper, of_table};
use crate::opened::OpenedReader;
use crate::record::RecordReader;
use crate::verified::Verified;

/// How a node enforces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeOptions {
    /// How plans are lowered.
    pub lowering: Options,
    /// Time between a flip and the removal of what nothing leads to any more: longer than a packet can be between two
    /// lookups.
    pub grace: Duration,
    /// Whether connections that a change forbids are cut.
    pub revoke: bool,
    /// Generations whose drops can be explained.
    pub generations: usize,
    /// How the kernel is spoken with. The name of the table is that of `lowering`.
    pub dataplane: NftablesOptions,
    /// How records are listened to. A buffer that is too small for what comes at once loses records.
    pub records: LogOptions,
}

impl Default for NodeOptions {
    fn default() -> Self {
        Self {
            lowering: Options::default(),
            grace: Duration::from_millis(20),
            revoke: true,
            generations: 64,
            dataplane: NftablesOptions::default(),
            records: LogOptions { threshold: 1, ..LogOptions::default() },
        }
    }
}

/// What is new for a node.
#[derive(Clone, Debug, Default)]
pub struct Change {
    /// Changes of the cluster.
    pub deltas: Vec<Delta>,
    /// Pods of this node whose links are there now.
    pub attached: Vec<(PodKey, PodInterface)>,
    /// Pods of this node whose links are about to go.
    pub detached: Vec<PodKey>,
}

/// What an update consists of, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// What an earlier update left to do.
    Finish,
    /// The objects are known.
    Index,
    /// The plans are made.
    Compile,
    /// What their numbers mean is taken down.
    Record,
    /// The plans are tables.
    Lower,
    /// How the tables differ is known.
    Difference,
    /// Which open connections it concerns is known.
    Concern,
    /// The kernel has acknowledged: the new policies are in force.
    Commit,
    /// Open connections are judged.
    Sweep,
}

impl std::fmt::Display for Stage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Finish => "finish",
            Self::Index => "index",
            Self::Compile => "compile",
            Self::Record => "record",
            Self::Lower => "lower",
            Self::Difference => "difference",
            Self::Concern => "concern",
            Self::Commit => "commit",
            Self::Sweep => "sweep",
        })
    }
}

/// What a node could not do.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The kernel refused, or cannot be spoken with.
    #[error("{operation}: {source}")]
    Netlink {
        /// What was tried.
        operation: &'static str,
        /// Why not.
        source: tortie_netlink::Error,
    },
    /// The plan could not be put in force, or not be read back.
    #[error(transparent)]
    Dataplane(#[from] DataplaneError),
    /// Records cannot be listened to.
    #[error("cannot listen to records: {source}; if another program listens to group {group}, choose another")]
    Listen {
        /// The group.
        group: u16,
        /// Why not.
        source: tortie_netlink::Error,
    },
    /// Records are read already.
    #[error("somebody reads the records of this node already")]
    Watched,
}

pub(crate) fn netlink(operation: &'static str) -> impl Fn(tortie_netlink::Error) -> NodeError {
    move |source| NodeError::Netlink { operation, source }
}

/// A node.
#[derive(Debug)]
pub struct Node {
    options: NodeOptions,
    keeper: Keeper,
    shadow: Option<Keeper>,
    /// What the numbers in the records of the shadow lane mean. They go on when another lane is made.
    tried: Arc<RwLock<History>>,
    numbers: Numbers,
    /// Why the shadow lane is gone, if nobody has taken it away.
    failure: Option<NodeError>,
    history: Arc<RwLock<History>>,
    listener: Option<LogListener>,
}

impl Node {
    /// A node in the network namespace of the calling thread. Its pods are closed until the first [`Node::update`].
    ///
    /// # Errors
    /// When the kernel lacks what is needed, or refuses it.
    pub fn open(facts: NodeFacts, options: NodeOptions) -> Result<Self, NodeError> {
        let [history, tried] = [(); 2].map(|()| Arc::new(RwLock::new(History::new(options.generations))));
        let keeper = Keeper::open(facts, options.clone(), history.clone(), Numbers::default())?;
        let group = options.lowering.log_group;
        let listener =
            LogListener::bind(group, options.records).map_err(|source| NodeError::Listen { group, source })?;
        // What was tried out when an earlier process ended. It disturbs nobody where it cannot be taken away.
        let failure = Nftables::forget(of_table(&shadow(&options))).err().map(NodeError::from);
        let (shadow, numbers) = (None, Numbers::default());
        Ok(Self { options, keeper, shadow, tried, numbers, failure, history, listener: Some(listener) })
    }

    /// Lets what is said to nf_tables of the enforcing table from now on go through `tap`.
    pub fn set_tap(&mut self, tap: Box<dyn Tap>) {
        self.keeper.set_tap(tap);
    }

    /// The same of the table in which policies are tried out; nothing where there is none.
    pub fn set_shadow_tap(&mut self, tap: Box<dyn Tap>) {
        if let Some(shadow) = &mut self.shadow {
            shadow.set_tap(tap);
        }
    }

    /// The records of this node: denied packets, and allowed ones that policy or options ask to be logged. They can be had
    /// once.
    ///
    /// # Errors
    /// [`NodeError::Watched`] the second time.
    pub fn records(&mut self) -> Result<RecordReader, NodeError> {
        let listener = self.listener.take().ok_or(NodeError::Watched)?;
        let histories = [self.history.clone(), self.tried.clone()];
        Ok(RecordReader::new(self.keeper.facts().name.clone(), listener, histories))
    }

    /// The connections that are opened through this node, from now on. To be called in its network namespace.
    ///
    /// # Errors
    /// When the kernel does not tell of them.
    pub fn opened(&self) -> Result<OpenedReader, NodeError> {
        let listener = OpenedListener::open(Buffers::default()).map_err(netlink("listen to opened connections"))?;
        Ok(OpenedReader::new(self.keeper.facts().name.clone(), listener))
    }

    /// Takes changes and puts them in force. What is forbidden is forbidden when this returns; removals and a last look
    /// at open connections follow by [`Node::tick`].
    ///
    /// # Errors
    /// When the kernel refuses: then it holds the old plan, or one on the way to the new one, and never an open one.
    /// The changes are not forgotten: the next [`Node::tick`] or update goes on.
    pub fn update(&mut self, change: Change, now: Instant) -> Result<(), NodeError> {
        self.update_watched(change, now, &mut |_| {})
    }

    /// As [`Node::update`], and tells of each stage when it has ended.
    ///
    /// # Errors
    /// As [`Node::update`].
    pub fn update_watched(
        &mut self,
        change: Change,
        now: Instant,
        ended: &mut dyn FnMut(Stage),
    ) -> Result<(), NodeError> {
        self.keeper.update_watched(change, now, ended)
    }

    /// Does what has come due; tells when to call again, or that nothing is left.
    ///
    /// # Errors
    /// As [`Node::update`].
    pub fn tick(&mut self, now: Instant) -> Result<Option<Instant>, NodeError> {
        let due = self.keeper.tick(now)?;
        let also = match self.shadow.as_mut().map(|shadow| shadow.tick(now)) {
            Some(Ok(also)) => also,
            Some(Err(error)) => {
                self.give_up(error);
                None
            }
            None => None,
        };
        Ok([due, also].into_iter().flatten().min())
    }

    /// Tries out what this node would enforce in another cluster: its plan is put in a table of its own, in front of
    /// the one that enforces. Each packet that opens a connection is recorded with what would become of it, and goes on. What is
    /// enforced does not change. To be called in the node's network namespace, and again when either cluster has
    /// changed.
    ///
    /// # Errors
    /// When the kernel refuses: then nothing is tried out any more.
    pub fn try_out(&mut self, index: &Index, now: Instant) -> Result<(), NodeError> {
        self.failure = None;
        let facts = self.keeper.facts().clone();
        let mut shadow = match self.shadow.take() {
            Some(shadow) => shadow,
            None => Keeper::open(facts.clone(), shadow(&self.options), self.tried.clone(), self.numbers)?,
        };
        let done = shadow.become_cluster(index, &facts, now);
        self.shadow = Some(shadow);
        done.inspect_err(|_| drop(self.end_trial()))
    }

    /// Takes away what is tried out, with its table.
    ///
    /// # Errors
    /// When the kernel refuses; it is still there then, and ends no packet.
    pub fn end_trial(&mut self) -> Result<(), NodeError> {
        let Some(shadow) = &mut self.shadow else { return Ok(()) };
        self.numbers = shadow.numbers();
        shadow.remove()?;
        self.shadow = None;
        Ok(())
    }

    /// What is enforced matters more than what is tried out.
    fn give_up(&mut self, error: NodeError) {
        // A table that cannot be taken away either stays as it is, and ends no packet.
        let _ = self.end_trial();
        self.failure = Some(error);
    }

    /// Why nothing is tried out any more although nobody has ended it.
    pub const fn trial_failure(&mut self) -> Option<NodeError> {
        self.failure.take()
    }

    /// The plan that is tried out.
    #[must_use]
    pub fn tried_out(&self) -> Option<&Plan> {
        self.shadow.as_ref().map(Keeper::plan)
    }

    /// As [`Node::prove`], of what is tried out.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn prove_trial(&mut self) -> Result<Option<Verified>, NodeError> {
        self.shadow.as_mut().map(Keeper::prove).transpose()
    }

    /// Reads back what the kernel holds, and puts right what others have changed. What they did is told, as by
    /// [`Node::mended`]; connections that were opened meanwhile are judged.
    ///
    /// # Errors
    /// As [`Node::update`].
    pub fn mend(&mut self) -> Result<Vec<String>, NodeError> {
        let mended = self.keeper.mend()?;
        if let Some(Err(error)) = self.shadow.as_mut().map(Keeper::mend) {
            self.give_up(error);
        }
        Ok(mended)
    }

    /// What others had changed and was put right since this was last asked, in words.
    pub fn mended(&mut self) -> Vec<String> {
        self.keeper.mended()
    }

    /// The plan in force.
    #[must_use]
    pub const fn plan(&self) -> &Plan {
        self.keeper.plan()
    }

    /// The cluster as this node knows it.
    #[must_use]
    pub const fn index(&self) -> &Index {
        self.keeper.index()
    }

    /// What the last look at open connections did.
    #[must_use]
    pub const fn swept(&self) -> Swept {
        self.keeper.swept()
    }

    /// What stands against enforcing all policies as they are written, in words.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        self.plan().problems.iter().map(ToString::to_string).collect()
    }

    /// As [`Node::prove`]: every finding in words, packets first; empty when all is well.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn verify(&mut self) -> Result<Vec<String>, NodeError> {
        Ok(self.prove()?.findings())
    }

    /// Reads back what the kernel holds, compares what it does with every packet with what the engine says, and looks
    /// for differences from what was put there. To be called when [`Node::tick`] has nothing left to do.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn prove(&mut self) -> Result<Verified, NodeError> {
        self.keeper.prove()
    }

    /// Packets and bytes by what they were counted for, since the rules that count them are there.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn counters(&mut self) -> Result<BTreeMap<ChainMeaning, Counter>, NodeError> {
        self.keeper.counters()
    }

    /// What keeps others from changing the table.
    #[must_use]
    pub fn protection(&self) -> Protection {
        self.keeper.protection()
    }
}

/// Nothing is cut because of what is tried out.
fn shadow(options: &NodeOptions) -> NodeOptions {
    NodeOptions { lowering: options.lowering.shadow(), revoke: false, ..options.clone() }
}
