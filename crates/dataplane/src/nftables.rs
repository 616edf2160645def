//! The kernel's nf_tables.

use std::collections::BTreeMap;

use tortie_netlink::nft::{
    Batch, Foreign, Op, TableFlags, TableId, TableState, generation, read_rules, read_table, read_tables,
};
use tortie_netlink::{Buffers, Error, Protocol, Socket, Tap};
use tortie_plan::nft::{ChainMeaning, Change, Phase, Step, chain_meaning, steps};
use tortie_ruleset::{Family, Table};

use crate::claim::Claim;
use crate::difference::{Difference, between, differences, on_the_way, without_foreign_elements};
use crate::transaction::transactions;
use crate::{Applied, Counter, Dataplane, DataplaneError, Protection};

/// How often a phase is begun again when others change the ruleset, and how often one transaction is sent again.
const ATTEMPTS: usize = 16;

/// Most tables that are remembered of phases that failed.
const PUT: usize = 4;

/// How the kernel is spoken with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NftablesOptions {
    /// Name of the table, of family inet.
    pub table: String,
    /// Most bytes of a transaction; what the socket takes, if that is less.
    pub batch_limit: usize,
    /// Whether to own the table where the kernel lets it persist without its owner.
    pub own: bool,
    /// Sizes of the socket's buffers.
    pub buffers: Buffers,
}

impl Default for NftablesOptions {
    fn default() -> Self {
        Self { table: "tortie".to_owned(), batch_limit: usize::MAX, own: true, buffers: Buffers::default() }
    }
}

/// The table of one network namespace.
#[derive(Debug)]
pub struct Nftables {
    socket: Socket,
    id: TableId,
    limit: usize,
    own: bool,
    protection: Protection,
    /// What this process put there: one table, or after an error all those that it may be on the way between.
    put: Vec<Table>,
    /// What it may have put there in between.
    passing: Vec<Table>,
    /// Whether the kernel holds that, as far as is known; if not, it is read before anything is changed.
    sure: bool,
    /// Generation of the ruleset after the last transaction of ours.
    generation: u32,
    _claim: Claim,
}

impl Nftables {
    /// Opens the table in the network namespace of the calling thread: makes it where there is none, takes it over
    /// where another process left it.
    ///
    /// # Errors
    /// When the kernel lacks nf_tables, or another process programs the table.
    pub fn open(options: NftablesOptions) -> Result<Self, DataplaneError> {
        let mut socket = Socket::open_with(Protocol::Netfilter, options.buffers).map_err(DataplaneError::Open)?;
        // First to be told what is wrong where it is not another process.
        generation(&mut socket).map_err(DataplaneError::Open)?;
        let claim = Claim::new(&options.table)?;
        let limit = options.batch_limit.min(socket.send_limit());
        let mut new = Self {
            socket,
            id: TableId::new(Family::Inet, &options.table),
            limit,
            own: options.own,
            protection: Protection::Plain,
            put: Vec::new(),
            passing: Vec::new(),
            sure: true,
            generation: 0,
            _claim: claim,
        };
        new.make()?;
        let found = new.reload()?.0.table;
        new.put.push(found);
        Ok(new)
    }

    /// Takes away the table that another process left, if there is one and that process is gone.
    ///
    /// # Errors
    /// As [`Nftables::open`] and [`Nftables::remove`].
    pub fn forget(options: NftablesOptions) -> Result<(), DataplaneError> {
        let id = TableId::new(Family::Inet, &options.table);
        let mut socket = Socket::open_with(Protocol::Netfilter, options.buffers).map_err(DataplaneError::Open)?;
        let tables = read_tables(&mut socket).map_err(DataplaneError::Open)?;
        if tables.iter().any(|there| there.table == id) { Self::open(options)?.remove() } else { Ok(()) }
    }

    /// Takes the table away: what stood in it stands no more. Whoever wants it to stay just drops this.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn remove(&mut self) -> Result<(), DataplaneError> {
        let mut last = Error::Stale;
        for _ in 0..ATTEMPTS {
            let delete = Batch::of(&[Op::DeleteTable { table: self.id.clone() }]).map_err(Error::from);
            match delete.and_then(|batch| batch.commit(&mut self.socket, None)) {
                Ok(()) => return Ok(()),
                // Its answer was lost, or somebody else was faster.
                Err(error @ (Error::Stale | Error::Overrun)) => last = error,
                Err(error) => return if self.state()?.is_none() { Ok(()) } else { Err(self.refused(error)) },
            }
        }
        Err(self.unsettled(last))
    }

    /// Most bytes of a transaction.
    #[must_use]
    pub const fn limit(&self) -> usize {
        self.limit
    }

    /// The generation of the ruleset after the last transaction of this table.
    #[must_use]
    pub const fn generation(&self) -> u32 {
        self.generation
    }

    /// The port of the socket by which the kernel names the author of a change.
    #[must_use]
    pub fn port(&self) -> u32 {
        self.socket.port()
    }

    /// Lets everything from now on go through `tap`.
    pub fn set_tap(&mut self, tap: Box<dyn Tap>) {
        self.socket.set_tap(tap);
    }

    /// Makes the table, or takes it over. Both flags or none: a table with an owner that does not persist would go
    /// with its owner, and leave everything open. The flags of a table that is there stay: the kernel refuses others.
    fn make(&mut self) -> Result<(), DataplaneError> {
        let table = self.id.to_string();
        let there = match read_tables(&mut self.socket) {
            Ok(tables) => tables.into_iter().find(|t| t.table == self.id),
            Err(source) => return Err(DataplaneError::Unreadable { table, source }),
        };
        if there.as_ref().is_some_and(|t| t.owner.is_some_and(|port| port != self.socket.port())) {
            return Err(DataplaneError::Owned { table });
        }
        let mut add = |flags| {
            Batch::of(&[Op::AddTable { table: self.id.clone(), flags }])
                .map_err(Error::from)
                .and_then(|batch| batch.commit(&mut self.socket, None))
        };
        if self.own && add(TableFlags::OWNED).is_ok() {
            self.protection = Protection::Owned;
            return Ok(());
        }
        self.protection = Protection::Plain;
        if there.is_some() { Ok(()) } else { add(TableFlags::NONE).map_err(|error| self.refused(error)) }
    }

    fn refused(&self, source: Error) -> DataplaneError {
        DataplaneError::Refused { table: self.id.to_string(), source }
    }

    fn state(&mut self) -> Result<Option<TableState>, DataplaneError> {
        let unreadable = |source| DataplaneError::Unreadable { table: self.id.to_string(), source };
        read_table(&mut self.socket, &self.id).map_err(unreadable)
    }

    fn unsettled(&self, last: Error) -> DataplaneError {
        DataplaneError::Unsettled { table: self.id.to_string(), attempts: ATTEMPTS, last }
    }

    /// Reads what the kernel holds, and makes the table where it is gone; tells whether it was.
    fn reload(&mut self) -> Result<(TableState, bool), DataplaneError> {
        let mut gone = false;
        for _ in 0..ATTEMPTS {
            if let Some(state) = self.state()? {
                self.generation = state.generation;
                return Ok((state, gone));
            }
            gone = true;
            self.make()?;
        }
        Err(self.unsettled(Error::Stale))
    }

    /// Looks what is there: the steps from it to the end of a phase. What others did is added to `repaired`.
    fn look(&mut self, phase: &Phase, repaired: &mut Vec<Difference>) -> Result<Vec<Step>, DataplaneError> {
        let (TableState { table: actual, foreign, .. }, gone) = self.reload()?;
        let target = &phase.table;
        let (lasting, brought) = on_the_way(self.put.last().unwrap_or(target), &phase.steps);
        let states: Vec<&Table> = self.put.iter().chain([&lasting, target]).collect();
        let passing: Vec<Table> = self.passing.iter().cloned().chain(brought).collect();
        let others = match gone {
            true => vec![Difference::NoTable],
            false => foreign.iter().map(foreign_difference).chain(between(&states, &passing, &actual)).collect(),
        };
        for difference in others {
            if !repaired.contains(&difference) {
                repaired.push(difference);
            }
        }
        // Elements that others added go first: they may take the room of what is to come.
        let rid = without_foreign_elements(states.iter().copied().chain(&passing), &actual);
        let mut way = steps(&actual, &rid);
        way.extend(steps(&rid, target));
        if !foreign.is_empty() {
            way.push(Step::Collect(foreign.iter().flat_map(removal).collect()));
        }
        Ok(way)
    }

    fn run(&mut self, steps: &[Step], applied: &mut Applied) -> Result<(), Error> {
        for step in steps {
            for batch in transactions(&self.id, step, self.limit)? {
                self.commit(&batch)?;
                applied.transactions += 1;
            }
        }
        Ok(())
    }

    fn go(&mut self, phase: &Phase) -> Result<Applied, DataplaneError> {
        let mut applied = Applied::default();
        let mut way = self.sure.then(|| phase.steps.clone());
        let mut last = Error::Stale;
        for _ in 0..ATTEMPTS {
            let todo = match way.take() {
                Some(todo) => todo,
                // What is there is not known: look, and do what is missing.
                None => self.look(phase, &mut applied.repaired)?,
            };
            match self.run(&todo, &mut applied) {
                Ok(()) => return Ok(applied),
                Err(error @ (Error::Stale | Error::Overrun)) => last = error,
                // Refused because something is not as it was left: then there is a difference, and it is put right.
                Err(error @ Error::Kernel { .. }) => {
                    let found = applied.repaired.len();
                    way = Some(self.look(phase, &mut applied.repaired)?);
                    if applied.repaired.len() == found {
                        return Err(self.refused(error));
                    }
                }
                Err(error) => return Err(self.refused(error)),
            }
        }
        Err(self.unsettled(last))
    }

    /// Sends one transaction. A table of our own cannot have changed: only the generation is looked up again.
    fn commit(&mut self, batch: &Batch) -> Result<(), Error> {
        let mut last = Error::Stale;
        for _ in 0..ATTEMPTS {
            match batch.commit(&mut self.socket, Some(self.generation)) {
                Ok(()) => {
                    self.generation = self.generation.wrapping_add(1);
                    return Ok(());
                }
                Err(Error::Stale) if self.protection == Protection::Owned => {
                    self.generation = generation(&mut self.socket)?.id;
                }
                // The answer was lost. Nobody else can have made the next generation, or the kernel would have
                // refused ours as stale; but somebody else may have made those after it.
                Err(Error::Overrun) => {
                    let now = generation(&mut self.socket)?.id;
                    if now == self.generation.wrapping_add(1) {
                        self.generation = now;
                        return Ok(());
                    }
                    if now != self.generation {
                        return Err(Error::Overrun);
                    }
                    last = Error::Overrun;
                }
                Err(error) => return Err(error),
            }
        }
        Err(last)
    }
}

impl Dataplane for Nftables {
    fn read(&mut self) -> Result<Option<Table>, DataplaneError> {
        Ok(self.state()?.map(|state| state.table))
    }

    fn apply(&mut self, phase: &Phase) -> Result<Applied, DataplaneError> {
        let applied = self.go(phase);
        if applied.is_ok() {
            self.put.clear();
            self.passing.clear();
        } else {
            // Now the kernel may hold some of this phase too. What it held before earlier errors is in the phases that
            // came after them.
            let (lasting, brought) = on_the_way(self.put.last().unwrap_or(&phase.table), &phase.steps);
            self.passing.extend(brought);
            self.put.push(lasting);
            self.put.drain(..self.put.len().saturating_sub(PUT));
        }
        self.put.push(phase.table.clone());
        self.sure = applied.is_ok();
        applied
    }

    fn counters(&mut self) -> Result<BTreeMap<ChainMeaning, Counter>, DataplaneError> {
        let unreadable = |source| DataplaneError::Unreadable { table: self.id.to_string(), source };
        let mut out: BTreeMap<ChainMeaning, Counter> = BTreeMap::new();
        for (chain, _, state) in read_rules(&mut self.socket, &self.id).map_err(unreadable)? {
            let (Some(meaning), Some(counter)) = (chain_meaning(&chain), state.counter) else { continue };
            let sum = out.entry(meaning).or_default();
            sum.packets += counter.packets;
            sum.bytes += counter.bytes;
        }
        Ok(out)
    }

    fn verify(&mut self, expected: &Table) -> Result<Vec<Difference>, DataplaneError> {
        let Some(state) = self.state()? else {
            self.sure = false;
            return Ok(vec![Difference::NoTable]);
        };
        let mut out: Vec<Difference> = state.foreign.iter().map(foreign_difference).collect();
        out.extend(differences(expected, &state.table));
        if !out.is_empty() {
            // The next phase starts from what is there.
            self.sure = false;
        }
        Ok(out)
    }

    fn protection(&self) -> Protection {
        self.protection
    }
}

fn foreign_difference(foreign: &Foreign) -> Difference {
    let (Foreign::Chain(name) | Foreign::Map(name)) = foreign;
    Difference::Foreign(name.clone())
}

fn removal(foreign: &Foreign) -> Vec<Change> {
    match foreign {
        Foreign::Map(map) => vec![Change::DeleteMap { map: map.clone() }],
        Foreign::Chain(chain) => vec![
            Change::SetRules { chain: chain.clone(), replace: true, rules: Vec::new() },
            Change::DeleteChain { chain: chain.clone() },
        ],
    }
}
