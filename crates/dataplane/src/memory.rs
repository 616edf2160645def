//! A dataplane without a kernel.

use std::collections::BTreeMap;

use tortie_persistent::Map;
use tortie_plan::nft::{ChainMeaning, Phase, Step, chain_meaning};
use tortie_ruleset::machine::{Fault, Machine, Packet, Run};
use tortie_ruleset::{Family, Hook, Table};

use crate::difference::{Difference, differences};
use crate::{Applied, Counter, Dataplane, DataplaneError, Protection};

/// A table in memory, through which packets can be sent.
#[derive(Clone, Debug)]
pub struct Memory {
    table: Table,
    counters: BTreeMap<ChainMeaning, Counter>,
}

impl Memory {
    /// An empty table of family inet.
    #[must_use]
    pub fn new(name: &str) -> Self {
        let table = Table { family: Family::Inet, name: name.to_owned(), maps: BTreeMap::new(), chains: Map::new() };
        Self { table, counters: BTreeMap::new() }
    }

    /// The table that is held.
    #[must_use]
    pub const fn table(&self) -> &Table {
        &self.table
    }

    /// Sends a packet through a hook, and counts it.
    ///
    /// # Errors
    /// When the table asks for something that a kernel would have refused.
    pub fn send(&mut self, hook: Hook, packet: &Packet) -> Result<Run, Fault> {
        let run = Machine::new(&self.table).run(hook, packet)?;
        for (chain, _) in &run.counted {
            if let Some(meaning) = chain_meaning(chain) {
                let counter = self.counters.entry(meaning).or_default();
                counter.packets += 1;
                counter.bytes += (packet.network.len() + packet.transport.len()) as u64;
            }
        }
        Ok(run)
    }
}

impl Dataplane for Memory {
    fn read(&mut self) -> Result<Option<Table>, DataplaneError> {
        Ok(Some(self.table.clone()))
    }

    fn apply(&mut self, phase: &Phase) -> Result<Applied, DataplaneError> {
        phase.steps.iter().flat_map(Step::changes).for_each(|change| change.apply(&mut self.table));
        Ok(Applied { transactions: phase.steps.len(), repaired: Vec::new() })
    }

    fn counters(&mut self) -> Result<BTreeMap<ChainMeaning, Counter>, DataplaneError> {
        Ok(self.counters.clone())
    }

    fn verify(&mut self, expected: &Table) -> Result<Vec<Difference>, DataplaneError> {
        Ok(differences(expected, &self.table))
    }

    fn protection(&self) -> Protection {
        Protection::Owned
    }
}
