//! The loop itself.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use tortie_dataplane::{Counter, Dataplane, DataplaneError, Difference, Nftables, NftablesOptions, Protection};
use tortie_netlink::conntrack::OpenedListener;
use tortie_netlink::nflog::{LogListener, LogOptions};
use tortie_netlink::{Buffers, Tap};
use tortie_plan::nft::{ChainMeaning, Lowering, Options, Phase, phases};
use tortie_plan::{Compiler, NodeFacts, Plan, PodInterface};
use tortie_policy::{Delta, Index, PodKey};
use tortie_proof::{Blamer, Claim, prove};
use tortie_ruleset::{Family, Table};

use crate::concern::Concerned;
use crate::connections::{Connections, Swept};
use crate::history::History;
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

fn netlink(operation: &'static str) -> impl Fn(tortie_netlink::Error) -> NodeError {
    move |source| NodeError::Netlink { operation, source }
}

/// What is left to do for a plan that is in force.
#[derive(Debug)]
enum Todo {
    /// Go on with the way to the new plan.
    Phase(Box<Phase>),
    /// Judge these connections.
    Sweep(Concerned),
}

/// A node.
#[derive(Debug)]
pub struct Node {
    options: NodeOptions,
    facts: NodeFacts,
    index: Index,
    compiler: Compiler,
    lowering: Lowering,
    /// Whether a plan is in force.
    enforces: bool,
    dataplane: Nftables,
    /// What the kernel holds, as far as this node put it there.
    held: Table,
    connections: Connections,
    listener: Option<LogListener>,
    history: Arc<RwLock<History>>,
    todo: VecDeque<(Instant, Todo)>,
    /// Connections that a change concerns, and that have no look planned yet.
    owed: Concerned,
    /// What was begun was refused: the kernel holds something between two plans.
    astray: bool,
    /// Changes were taken for which there is no plan yet.
    behind: bool,
    swept: Swept,
    /// What others had changed and was put right, in words.
    mended: Vec<String>,
}

impl Node {
    /// A node in the network namespace of the calling thread. Its pods are closed until the first [`Node::update`].
    ///
    /// # Errors
    /// When the kernel lacks what is needed, or refuses it.
    pub fn open(facts: NodeFacts, options: NodeOptions) -> Result<Self, NodeError> {
        let mut dataplane =
            Nftables::open(NftablesOptions { table: options.lowering.table.clone(), ..options.dataplane.clone() })?;
        let connections =
            Connections::open(options.lowering.revoked_bit).map_err(netlink("open connection tracking"))?;
        let group = options.lowering.log_group;
        let listener =
            LogListener::bind(group, options.records).map_err(|source| NodeError::Listen { group, source })?;
        let actual = dataplane.read()?;
        Ok(Self {
            history: Arc::new(RwLock::new(History::new(options.generations))),
            lowering: Lowering::new(options.lowering.clone(), actual.as_ref()),
            held: actual.unwrap_or_else(|| no_table(&options.lowering.table)),
            options,
            facts,
            index: Index::default(),
            compiler: Compiler::new(),
            enforces: false,
            dataplane,
            connections,
            listener: Some(listener),
            todo: VecDeque::new(),
            owed: Concerned::NOBODY,
            astray: false,
            behind: false,
            swept: Swept::default(),
            mended: Vec::new(),
        })
    }

    /// Lets what is said to nf_tables from now on go through `tap`.
    pub fn set_tap(&mut self, tap: Box<dyn Tap>) {
        self.dataplane.set_tap(tap);
    }

    /// The records of this node: denied packets, and allowed ones that policy or options ask to be logged. They can be had
    /// once.
    ///
    /// # Errors
    /// [`NodeError::Watched`] the second time.
    pub fn records(&mut self) -> Result<RecordReader, NodeError> {
        let listener = self.listener.take().ok_or(NodeError::Watched)?;
        Ok(RecordReader::new(self.facts.name.clone(), listener, self.history.clone()))
    }

    /// The connections that are opened through this node, from now on. To be called in its network namespace.
    ///
    /// # Errors
    /// When the kernel does not tell of them.
    pub fn opened(&self) -> Result<OpenedReader, NodeError> {
        let listener = OpenedListener::open(Buffers::default()).map_err(netlink("listen to opened connections"))?;
        Ok(OpenedReader::new(self.facts.name.clone(), listener))
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
        // A number is free for another meaning only when its last use is gone: finish what was begun. Where that
        // cannot be, these changes may be the cure.
        let finished = self.finish();
        self.astray |= finished.is_err() && matches!(self.todo.front(), Some((_, Todo::Phase(_))));
        ended(Stage::Finish);
        for delta in change.deltas {
            let of_node = matches!(delta, Delta::Node(_) | Delta::NodeRemoved(_));
            if self.index.apply(delta) && of_node {
                self.owed = Concerned::All;
            }
        }
        for pod in &change.detached {
            self.facts.interfaces.remove(pod);
        }
        self.facts.interfaces.extend(change.attached);
        ended(Stage::Index);
        self.behind = true;
        self.advance(now, ended)
    }

    /// Does what has come due; tells when to call again, or that nothing is left.
    ///
    /// # Errors
    /// As [`Node::update`].
    pub fn tick(&mut self, now: Instant) -> Result<Option<Instant>, NodeError> {
        if self.behind {
            self.advance(now, &mut |_| {})?;
        }
        self.go_on(now)?;
        Ok(self.todo.front().map(|(at, _)| *at))
    }

    /// Plans what the cluster is now, and does what cannot wait.
    fn advance(&mut self, now: Instant, ended: &mut dyn FnMut(Stage)) -> Result<(), NodeError> {
        let before = self.plan().clone();
        let transition = self.compiler.advance(&self.index, &self.facts);
        ended(Stage::Compile);
        if self.options.revoke {
            let whose = if self.enforces { Concerned::between(&before, &transition.after) } else { Concerned::All };
            self.owed = std::mem::replace(&mut self.owed, Concerned::NOBODY).and(whose);
        }
        ended(Stage::Concern);
        {
            let mut history = self.history.write().unwrap_or_else(PoisonError::into_inner);
            for plan in [&transition.withdrawn, &transition.during, &transition.after] {
                history.record(plan);
            }
        }
        ended(Stage::Record);
        if self.astray {
            // What is there is a mixture of two plans, safe as it stands: the new plan is made beside it, as after
            // another process.
            let actual = self.dataplane.read()?;
            self.lowering = Lowering::new(self.options.lowering.clone(), actual.as_ref());
            self.held = actual.unwrap_or_else(|| no_table(&self.options.lowering.table));
        }
        let targets = if self.enforces && !self.astray {
            self.lowering.advance(&transition)
        } else {
            self.lowering.start(&transition.after)
        };
        ended(Stage::Lower);
        (self.enforces, self.astray, self.behind) = (true, false, false);
        self.forget_the_way();
        let (waiting, at_once): (Vec<Phase>, _) =
            phases(&self.held, &targets).into_iter().partition(|phase| phase.after_grace);
        ended(Stage::Difference);
        let whose = std::mem::replace(&mut self.owed, Concerned::NOBODY);
        self.todo.extend(at_once.into_iter().map(|phase| (now, Todo::Phase(Box::new(phase)))));
        if !whose.is_nobody() {
            self.todo.push_back((now, Todo::Sweep(whose.clone())));
        }
        let mut due = now;
        for phase in waiting {
            due += self.options.grace;
            self.todo.push_back((due, Todo::Phase(Box::new(phase))));
        }
        if !whose.is_nobody() {
            // A packet that was decided before the flip may have opened a connection after this first look.
            self.todo.push_back((due.max(now + self.options.grace), Todo::Sweep(whose)));
        }
        while self.todo.front().is_some_and(|(at, todo)| *at <= now && matches!(todo, Todo::Phase(_))) {
            self.carry_out_next()?;
        }
        ended(Stage::Commit);
        self.go_on(now)?;
        ended(Stage::Sweep);
        Ok(())
    }

    /// Leaves out what was to be done; connections that were to be looked at still are.
    fn forget_the_way(&mut self) {
        for (_, todo) in std::mem::take(&mut self.todo) {
            if let Todo::Sweep(whose) = todo {
                self.owed = std::mem::replace(&mut self.owed, Concerned::NOBODY).and(whose);
            }
        }
    }

    /// Does what has come due. What fails stays, with all that comes after it.
    fn go_on(&mut self, now: Instant) -> Result<(), NodeError> {
        while self.todo.front().is_some_and(|(at, _)| *at <= now) {
            self.carry_out_next()?;
        }
        Ok(())
    }

    /// Goes the whole way to the plan in force; looks at connections are left to what comes next.
    fn finish(&mut self) -> Result<(), NodeError> {
        while let Some((at, todo)) = self.todo.pop_front() {
            match todo {
                Todo::Sweep(whose) => {
                    self.owed = std::mem::replace(&mut self.owed, Concerned::NOBODY).and(whose);
                }
                phase => {
                    self.todo.push_front((at, phase));
                    self.carry_out_next()?;
                }
            }
        }
        Ok(())
    }

    fn carry_out_next(&mut self) -> Result<(), NodeError> {
        match self.todo.pop_front() {
            Some((at, Todo::Phase(phase))) => match self.put(&phase) {
                Ok(()) => self.held = phase.table,
                Err(error) => {
                    self.todo.push_front((at, Todo::Phase(phase)));
                    return Err(error);
                }
            },
            Some((at, Todo::Sweep(whose))) => {
                if let Err(error) = self.sweep(&whose) {
                    self.todo.push_front((at, Todo::Sweep(whose)));
                    return Err(error);
                }
            }
            None => {}
        }
        Ok(())
    }

    fn sweep(&mut self, whose: &Concerned) -> Result<(), NodeError> {
        let swept = self.connections.sweep(whose, &self.index, &self.facts);
        self.swept = swept.map_err(netlink("judge tracked connections"))?;
        Ok(())
    }

    /// Applies a phase; where others had a hand in the table, takes down what they did.
    fn put(&mut self, phase: &Phase) -> Result<(), NodeError> {
        let repaired = self.dataplane.apply(phase)?.repaired;
        self.mended.extend(repaired.iter().map(ToString::to_string));
        Ok(())
    }

    /// Reads back what the kernel holds, and puts right what others have changed. What they did is told, as by
    /// [`Node::mended`]; connections that were opened meanwhile are judged.
    ///
    /// # Errors
    /// As [`Node::update`].
    pub fn mend(&mut self) -> Result<Vec<String>, NodeError> {
        let differences = self.dataplane.verify(&self.held)?;
        if !differences.is_empty() {
            let again = Phase { after_grace: false, steps: Vec::new(), table: self.held.clone() };
            self.dataplane.apply(&again)?;
            self.mended.extend(differences.iter().map(ToString::to_string));
        }
        if !self.mended.is_empty() && self.options.revoke {
            self.sweep(&Concerned::All)?;
        }
        Ok(self.mended())
    }

    /// What others had changed and was put right since this was last asked, in words.
    pub fn mended(&mut self) -> Vec<String> {
        std::mem::take(&mut self.mended)
    }

    /// The plan in force.
    #[must_use]
    pub const fn plan(&self) -> &Plan {
        self.compiler.current()
    }

    /// The cluster as this node knows it.
    #[must_use]
    pub const fn index(&self) -> &Index {
        &self.index
    }

    /// What the last look at open connections did.
    #[must_use]
    pub const fn swept(&self) -> Swept {
        self.swept
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
        let differences = self.dataplane.verify(&self.held)?;
        // Without a table every packet is a witness; that there is none says it all.
        let Some(table) = self.dataplane.read()?.filter(|_| !differences.contains(&Difference::NoTable)) else {
            return Ok(Verified { proof: None, differences: vec![Difference::NoTable] });
        };
        let plan = self.plan();
        let revoked_bit = self.options.lowering.revoked_bit;
        let claim = Claim { index: &self.index, facts: &self.facts, problems: &plan.problems, revoked_bit };
        let mut proof = prove(&table, &claim);
        if !proof.witnesses.is_empty() {
            proof.blame(&Blamer::new(&self.held, &table, plan, &self.index));
        }
        Ok(Verified { proof: Some(proof), differences })
    }

    /// Packets and bytes by what they were counted for, since the rules that count them are there.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn counters(&mut self) -> Result<BTreeMap<ChainMeaning, Counter>, NodeError> {
        Ok(self.dataplane.counters()?)
    }

    /// What keeps others from changing the table.
    #[must_use]
    pub fn protection(&self) -> Protection {
        self.dataplane.protection()
    }
}

fn no_table(name: &str) -> Table {
    Table { family: Family::Inet, name: name.to_owned(), maps: BTreeMap::new(), chains: [].into() }
}
