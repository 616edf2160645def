//! The kernel's nf_tables.

use std::collections::BTreeMap;

use tortie_netlink::nft::{
    Batch, Op, TableFlags, TableId, TableState, generation, read_rules, read_table, read_tables,
};
use tortie_netlink::{Buffers, Error, Protocol, Socket};
use tortie_plan::nft::{ChainMeaning, Phase, Step, chain_meaning, steps};
use tortie_ruleset::{Family, Table};

use crate::difference::{Difference, between, differences};
use crate::transaction::transactions;
use crate::{Applied, Counter, Dataplane, DataplaneError, Protection};

/// How often a phase is begun again when others change the ruleset, and how often one transaction is sent again.
const ATTEMPTS: usize = 16;

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
    /// What the kernel holds; `None` after an error, until it is read again.
    held: Option<Table>,
    /// Generation of the ruleset after the last transaction of ours.
    generation: u32,
}

impl Nftables {
    /// Opens the table in the network namespace of the calling thread: makes it where there is none, takes it over
    /// where another process left it.
    ///
    /// # Errors
    /// When the kernel lacks nf_tables, or another process owns the table.
    pub fn open(options: NftablesOptions) -> Result<Self, DataplaneError> {
        let socket = Socket::open_with(Protocol::Netfilter, options.buffers).map_err(DataplaneError::Open)?;
        let limit = options.batch_limit.min(socket.send_limit());
        let mut new = Self {
            socket,
            id: TableId::new(Family::Inet, &options.table),
            limit,
            own: options.own,
            protection: Protection::Plain,
            held: None,
            generation: 0,
        };
        new.make()?;
        new.reload()?;
        Ok(new)
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

    /// Reads what the kernel holds, and makes the table where it is gone. Returns what is foreign.
    fn reload(&mut self) -> Result<Vec<Difference>, DataplaneError> {
        for _ in 0..ATTEMPTS {
            let Some(state) = self.state()? else {
                self.make()?;
                continue;
            };
            self.generation = state.generation;
            self.held = Some(state.table);
            return Ok(state.foreign.into_iter().map(Difference::Foreign).collect());
        }
        Err(DataplaneError::Unsettled { table: self.id.to_string(), attempts: ATTEMPTS })
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
        let mut applied = Applied::default();
        let before = self.held.take();
        let mut way = before.as_ref().map(|_| phase.steps.clone());
        for _ in 0..ATTEMPTS {
            let todo = match way.take() {
                Some(todo) => todo,
                // What is there is not known: look, and do what is missing.
                None => {
                    applied.repaired.extend(self.reload()?);
                    let actual = self.held.take().unwrap_or_else(|| empty(&phase.table));
                    if let Some(before) = &before {
                        applied.repaired.extend(between(before, &phase.table, &actual));
                    }
                    steps(&actual, &phase.table)
                }
            };
            match self.run(&todo, &mut applied) {
                Ok(()) => {
                    self.held = Some(phase.table.clone());
                    return Ok(applied);
                }
                Err(Error::Stale | Error::Overrun) => {}
                // Refused because something is not as it was left: then there is a difference, and it is put right.
                Err(error @ Error::Kernel { .. }) => {
                    let found = applied.repaired.len();
                    applied.repaired.extend(self.reload()?);
                    let (Some(before), Some(actual)) = (&before, self.held.take()) else {
                        return Err(self.refused(error));
                    };
                    applied.repaired.extend(between(before, &phase.table, &actual));
                    if applied.repaired.len() == found {
                        return Err(self.refused(error));
                    }
                    way = Some(steps(&actual, &phase.table));
                }
                Err(error) => return Err(self.refused(error)),
            }
        }
        Err(DataplaneError::Unsettled { table: self.id.to_string(), attempts: ATTEMPTS })
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
            self.held = None;
            return Ok(vec![Difference::NoTable]);
        };
        let mut out: Vec<Difference> = state.foreign.into_iter().map(Difference::Foreign).collect();
        out.extend(differences(expected, &state.table));
        if !out.is_empty() {
            // The next phase starts from what is there.
            self.held = None;
        }
        Ok(out)
    }

    fn protection(&self) -> Protection {
        self.protection
    }
}

fn empty(like: &Table) -> Table {
    Table { family: like.family, name: like.name.clone(), maps: BTreeMap::new(), chains: BTreeMap::new() }
}
