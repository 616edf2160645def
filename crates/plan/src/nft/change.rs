//! Changes of a table, as data.

use std::collections::BTreeMap;

use tortie_ruleset::{BaseChain, Chain, Element, MapSpec, Rule, Table};

/// Elements that change together.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Group {
    /// What goes.
    pub delete: Vec<Element>,
    /// What comes.
    pub add: Vec<Element>,
}

/// One change of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Declare a map.
    AddMap {
        /// Its name.
        map: String,
        /// Its declaration.
        spec: MapSpec,
    },
    /// Remove a map that no rule uses.
    DeleteMap {
        /// Its name.
        map: String,
    },
    /// Make a chain, without rules.
    AddChain {
        /// Its name.
        chain: String,
        /// How it is attached.
        base: Option<BaseChain>,
    },
    /// Remove a chain that nothing leads to.
    DeleteChain {
        /// Its name.
        chain: String,
    },
    /// Give a chain these rules, in place of those that it has.
    SetRules {
        /// Its name.
        chain: String,
        /// Whether it may have rules.
        replace: bool,
        /// The rules.
        rules: Vec<Rule>,
    },
    /// Change elements: group by group, each of which must be in one transaction.
    Elements {
        /// The map.
        map: String,
        /// Its declaration.
        spec: MapSpec,
        /// What changes.
        groups: Vec<Group>,
    },
}

/// Changes that go together. The next step begins when a step is in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing leads to what is added here: the changes, and the elements of one, may be spread over many transactions
    /// in their order.
    Extend(Vec<Change>),
    /// Elements change their meaning for packets: may be spread over transactions between two groups.
    Flip(Vec<Change>),
    /// Rules change: may be spread over transactions between two changes of rules, with the chains that they are made
    /// in.
    Switch(Vec<Change>),
    /// What is no longer in use goes, in any number of transactions, but not before the grace time has passed since the
    /// step before.
    Collect(Vec<Change>),
}

impl Step {
    /// Its changes.
    #[must_use]
    pub fn changes(&self) -> &[Change] {
        match self {
            Self::Extend(c) | Self::Flip(c) | Self::Switch(c) | Self::Collect(c) => c,
        }
    }
}

impl Change {
    /// Makes the change in memory. What is to be deleted and is not there is passed over; what is to be added and is
    /// there is replaced.
    pub fn apply(&self, table: &mut Table) {
        match self {
            Self::AddMap { map, spec } => {
                table.maps.entry(map.clone()).or_insert_with(|| (spec.clone(), Vec::new()));
            }
            Self::DeleteMap { map } => drop(table.maps.remove(map)),
            Self::AddChain { chain, base } => table.chains.entry(chain.clone()).or_default().base = *base,
            Self::DeleteChain { chain } => drop(table.chains.remove(chain)),
            Self::SetRules { chain, rules, .. } => {
                let home: &mut Chain = table.chains.entry(chain.clone()).or_default();
                home.rules.clone_from(rules);
            }
            Self::Elements { map, spec, groups } => {
                let (_, elements) = table.maps.entry(map.clone()).or_insert_with(|| (spec.clone(), Vec::new()));
                let key = |e: &Element| match e {
                    Element::Range { from, to, .. } => Some((from.clone(), to.clone())),
                    Element::CatchAll { .. } => None,
                };
                let mut by_key: BTreeMap<_, _> = elements.drain(..).map(|e| (key(&e), e)).collect();
                for group in groups {
                    for element in &group.delete {
                        by_key.remove(&key(element));
                    }
                    by_key.extend(group.add.iter().map(|e| (key(e), e.clone())));
                }
                elements.extend(by_key.into_values());
                elements.sort_unstable();
            }
        }
    }
}
