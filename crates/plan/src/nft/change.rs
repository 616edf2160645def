//! Changes of a table, as data.

use std::sync::Arc;

use tortie_persistent::Set;
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
                table.maps.entry(map.clone()).or_insert_with(|| (spec.clone(), Set::new()));
            }
            Self::DeleteMap { map } => drop(table.maps.remove(map)),
            Self::AddChain { chain, base } => change_chain(table, chain, |c| c.base = *base),
            Self::DeleteChain { chain } => drop(table.chains.remove(chain)),
            Self::SetRules { chain, rules, .. } => change_chain(table, chain, |c| c.rules.clone_from(rules)),
            Self::Elements { map, spec, groups } => {
                let (_, elements) = table.maps.entry(map.clone()).or_insert_with(|| (spec.clone(), Set::new()));
                for group in groups {
                    for element in &group.delete {
                        remove_key(elements, element);
                    }
                    for element in &group.add {
                        remove_key(elements, element);
                        elements.insert(element.clone());
                    }
                }
            }
        }
    }
}

fn change_chain(table: &mut Table, name: &str, change: impl FnOnce(&mut Chain)) {
    let mut chain = table.chains.get(name).cloned().unwrap_or_default();
    change(Arc::make_mut(&mut chain));
    table.chains.insert(name.to_owned(), chain);
}

/// Removes the element with the key of another, whatever its data.
fn remove_key(elements: &mut Set<Element>, like: &Element) {
    if elements.remove(like) {
        return;
    }
    let bare = match like {
        Element::Range { from, to, .. } => Element::Range { from: from.clone(), to: to.clone(), data: None },
        Element::CatchAll { .. } => Element::CatchAll { data: None },
    };
    let same_key = |found: &&Element| match (found, like) {
        (Element::Range { from: a, to: b, .. }, Element::Range { from: c, to: d, .. }) => (a, b) == (c, d),
        (found, like) => matches!((found, like), (Element::CatchAll { .. }, Element::CatchAll { .. })),
    };
    // Elements are sorted by their keys first, and those without data come before those with.
    let found = elements.range_from(&bare).next().filter(same_key).cloned();
    if let Some(found) = found {
        elements.remove(&found);
    }
}
