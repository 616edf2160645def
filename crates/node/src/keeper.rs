//! Keeps one table what a cluster asks for: plan, kernel, and connections that are forbidden since.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Instant;

use tortie_dataplane::{Counter, Dataplane, Difference, Nftables, NftablesOptions, Protection};
use tortie_netlink::Tap;
use tortie_plan::nft::{ChainMeaning, Lane, Lowering, Phase, as_enforced, phases};
use tortie_plan::{Compiler, NodeFacts, Numbers, Plan};
use tortie_policy::{Delta, Index};
use tortie_proof::{Blamer, Claim, prove};
use tortie_ruleset::{Family, Table};

use crate::concern::Concerned;
use crate::connections::{Connections, Swept};
use crate::history::History;
use crate::node::{Change, NodeError, NodeOptions, Stage, netlink};
use crate::verified::Verified;

/// What is left to do for a plan that is in force.
#[derive(Debug)]
enum Todo {
    /// Go on with the way to the new plan.
    Phase(Box<Phase>),
    /// Judge these connections.
    Sweep(Concerned),
}

/// The loop of one table: the one that enforces, or the one in which other policies are tried out.
#[derive(Debug)]
pub(crate) struct Keeper {
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
    /// `None` where no connection is cut.
    connections: Option<Connections>,
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

impl Keeper {
    /// In the network namespace of the calling thread. Numbers are given out after `numbers`; what they mean is taken
    /// down in `history`.
    pub(crate) fn open(
        facts: NodeFacts,
        options: NodeOptions,
        history: Arc<RwLock<History>>,
        numbers: Numbers,
    ) -> Result<Self, NodeError> {
        let mut dataplane = Nftables::open(of_table(&options))?;
        let connections = options.revoke.then(|| Connections::open(options.lowering.revoked_bit)).transpose();
        let connections = connections.map_err(netlink("open connection tracking"))?;
        let actual = dataplane.read()?;
        Ok(Self {
            lowering: Lowering::new(options.lowering.clone(), actual.as_ref()),
            held: actual.unwrap_or_else(|| no_table(&options.lowering.table)),
            options,
            facts,
            index: Index::default(),
            compiler: Compiler::new().after(numbers),
            enforces: false,
            dataplane,
            connections,
            history,
            todo: VecDeque::new(),
            owed: Concerned::NOBODY,
            astray: false,
            behind: false,
            swept: Swept::default(),
            mended: Vec::new(),
        })
    }

    /// Takes the table away.
    pub(crate) fn remove(&mut self) -> Result<(), NodeError> {
        Ok(self.dataplane.remove()?)
    }

    /// Lets what is said to nf_tables from now on go through `tap`.
    pub(crate) fn set_tap(&mut self, tap: Box<dyn Tap>) {
        self.dataplane.set_tap(tap);
    }

    /// Takes changes and puts them in force; tells of each stage when it has ended.
    pub(crate) fn update_watched(
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

    /// Takes another cluster, and what the node is now.
    pub(crate) fn become_cluster(&mut self, index: &Index, facts: &NodeFacts, now: Instant) -> Result<(), NodeError> {
        (self.index, self.facts) = (index.clone(), facts.clone());
        self.update_watched(Change::default(), now, &mut |_| {})
    }

    /// Does what has come due; tells when to call again, or that nothing is left.
    pub(crate) fn tick(&mut self, now: Instant) -> Result<Option<Instant>, NodeError> {
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
        if self.connections.is_some() {
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
        if let Some(connections) = &mut self.connections {
            let swept = connections.sweep(whose, &self.index, &self.facts);
            self.swept = swept.map_err(netlink("judge tracked connections"))?;
        }
        Ok(())
    }

    /// Applies a phase; where others had a hand in the table, takes down what they did.
    fn put(&mut self, phase: &Phase) -> Result<(), NodeError> {
        let repaired = self.dataplane.apply(phase)?.repaired;
        self.mended.extend(repaired.iter().map(ToString::to_string));
        Ok(())
    }

    /// Reads back what the kernel holds, and puts right what others have changed. What they did is told, as by
    /// [`Keeper::mended`]; connections that were opened meanwhile are judged.
    pub(crate) fn mend(&mut self) -> Result<Vec<String>, NodeError> {
        let differences = self.dataplane.verify(&self.held)?;
        if !differences.is_empty() {
            let again = Phase { after_grace: false, steps: Vec::new(), table: self.held.clone() };
            self.dataplane.apply(&again)?;
            self.mended.extend(differences.iter().map(ToString::to_string));
        }
        if !self.mended.is_empty() {
            self.sweep(&Concerned::All)?;
        }
        Ok(self.mended())
    }

    /// What others had changed and was put right since this was last asked, in words.
    pub(crate) fn mended(&mut self) -> Vec<String> {
        std::mem::take(&mut self.mended)
    }

    /// The plan in force.
    pub(crate) const fn plan(&self) -> &Plan {
        self.compiler.current()
    }

    /// The cluster as this node knows it.
    pub(crate) const fn index(&self) -> &Index {
        &self.index
    }

    /// The node.
    pub(crate) const fn facts(&self) -> &NodeFacts {
        &self.facts
    }

    /// The last numbers given out.
    pub(crate) const fn numbers(&self) -> Numbers {
        self.compiler.numbers()
    }

    /// What the last look at open connections did.
    pub(crate) const fn swept(&self) -> Swept {
        self.swept
    }

    /// Reads back what the kernel holds, compares what it does with every packet with what the engine says, and looks
    /// for differences from what was put there. To be called when [`Keeper::tick`] has nothing left to do.
    pub(crate) fn prove(&mut self) -> Result<Verified, NodeError> {
        let differences = self.dataplane.verify(&self.held)?;
        // Without a table every packet is a witness; that there is none says it all.
        let Some(table) = self.dataplane.read()?.filter(|_| !differences.contains(&Difference::NoTable)) else {
            return Ok(Verified { proof: None, differences: vec![Difference::NoTable] });
        };
        let plan = self.plan();
        let revoked_bit = self.options.lowering.revoked_bit;
        let lane = self.options.lowering.lane;
        let claim = Claim { lane, index: &self.index, facts: &self.facts, problems: &plan.problems, revoked_bit };
        let mut proof = prove(&table, &claim);
        if !proof.witnesses.is_empty() {
            let [held, found] = [&self.held, &table].map(|table| match lane {
                Lane::Enforcing => table.clone(),
                Lane::Shadow => as_enforced(table),
            });
            proof.blame(&Blamer::new(&held, &found, plan, &self.index));
        }
        Ok(Verified { proof: Some(proof), differences })
    }

    /// Packets and bytes by what they were counted for, since the rules that count them are there.
    pub(crate) fn counters(&mut self) -> Result<BTreeMap<ChainMeaning, Counter>, NodeError> {
        Ok(self.dataplane.counters()?)
    }

    /// What keeps others from changing the table.
    pub(crate) fn protection(&self) -> Protection {
        self.dataplane.protection()
    }
}

/// How the kernel is spoken with of the table that plans are lowered to.
pub(crate) fn of_table(options: &NodeOptions) -> NftablesOptions {
    NftablesOptions { table: options.lowering.table.clone(), ..options.dataplane.clone() }
}

fn no_table(name: &str) -> Table {
    Table { family: Family::Inet, name: name.to_owned(), maps: BTreeMap::new(), chains: [].into() }
}
