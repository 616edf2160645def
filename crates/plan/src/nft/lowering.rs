//! From plans to tables.

use std::collections::BTreeMap;

use tortie_model::Family;
use tortie_ruleset::Table;

use super::contents::{self, Values};
use super::layout::{Layout, Slot};
use super::{Options, program};
use crate::{Plan, Transition};

/// A table on the way from one plan to the next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The table.
    pub table: Table,
    /// Packets that were under way when the table before was reached must be through before the way goes on.
    pub after_grace: bool,
}

/// Lowers the plans of one node, one after the other; holds names and sizes of the maps that they share.
#[derive(Clone, Debug)]
pub struct Lowering {
    options: Options,
    layout: Layout,
    /// The plan in force: when a map grows, its contents move before anything changes.
    current: Option<Plan>,
}

impl Lowering {
    /// Starts anew. With an `actual` table, whose numbers another process gave out, nothing of it is used again: maps
    /// and chains get other names beside the old ones, and the base chains are switched over.
    #[must_use]
    pub fn new(options: Options, actual: Option<&Table>) -> Self {
        Self { options, layout: Layout::after(actual), current: None }
    }

    /// Goes on from a table that holds just what `plan` is lowered to, as after a restart in which nothing changed;
    /// `None` when it holds something else.
    #[must_use]
    pub fn resume(options: Options, actual: &Table, plan: &Plan) -> Option<Self> {
        let layout = Layout::of(actual)?;
        let table = lower(plan, &layout, &options, contents::values(plan, &options));
        (table == *actual).then(|| Self { options, layout, current: Some(plan.clone()) })
    }

    /// How plans are lowered.
    #[must_use]
    pub const fn options(&self) -> &Options {
        &self.options
    }

    /// The tables to go through to reach one plan where none is in force.
    pub fn start(&mut self, plan: &Plan) -> Vec<Target> {
        self.go(&[(plan, false)])
    }

    /// The tables to go through, one after the other, from the plan in force to `transition.after`; see
    /// [`super::phases`] for how to go from one to the next. One more comes first when a map must grow: it holds what
    /// the table in force holds.
    pub fn advance(&mut self, transition: &Transition) -> Vec<Target> {
        self.go(&[(&transition.withdrawn, false), (&transition.during, false), (&transition.after, true)])
    }

    fn go(&mut self, plans: &[(&Plan, bool)]) -> Vec<Target> {
        let before = self.current.as_ref().map(|p| contents::values(p, &self.options));
        let values: Vec<Values> = plans.iter().map(|(p, _)| contents::values(p, &self.options)).collect();
        let mut layout = self.layout.fit(&needs(before.iter().chain(&values)), values.iter().any(|v| v.large_ranges));
        let mut targets: Vec<Target> = Vec::with_capacity(plans.len() + 1);
        let mut ranges = before.as_ref().map(Values::ranges);
        if let (Some(plan), Some(values)) = (&self.current, before)
            && layout != self.layout
        {
            targets.push(Target { table: lower(plan, &layout, &self.options, values), after_grace: false });
        }
        for ((plan, after_grace), values) in plans.iter().zip(values) {
            let new = values.ranges();
            if let Some(old) = &ranges {
                let differs = |f: &Family| old.get(f) != new.get(f);
                layout = layout.with_fresh_ranges(&Family::ALL.into_iter().filter(differs).collect::<Vec<_>>());
            }
            ranges = Some(new);
            let table = lower(plan, &layout, &self.options, values);
            if targets.last().is_none_or(|t| t.table != table) {
                targets.push(Target { table, after_grace: *after_grace });
            }
        }
        self.layout = layout;
        self.current = plans.last().map(|(p, _)| (*p).clone());
        targets
    }
}

/// How many keys each map has in all of these: they may be in the kernel at once.
fn needs<'a>(values: impl Iterator<Item = &'a Values> + Clone) -> BTreeMap<Slot, usize> {
    let count = |slot: Slot| {
        let mut keys = values.clone().map(|v| v.keys(slot));
        let mut all = keys.next().unwrap_or_default();
        for more in keys {
            all.extend(more);
        }
        all.len()
    };
    Slot::all().into_iter().map(|slot| (slot, count(slot))).collect()
}

fn lower(plan: &Plan, layout: &Layout, options: &Options, values: Values) -> Table {
    let maps = values.under(plan, layout).into_iter().map(|(slot, elements)| {
        let (name, spec) = layout.map(slot);
        (name, (spec, elements))
    });
    let chains = program::chains(plan, layout, options).into_iter().chain(contents::path_chains(plan, layout, options));
    Table {
        family: tortie_ruleset::Family::Inet,
        name: options.table.clone(),
        maps: maps.collect(),
        chains: chains.collect(),
    }
}
