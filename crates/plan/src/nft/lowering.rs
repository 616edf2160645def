//! From plans to tables.

use std::collections::BTreeMap;
use std::sync::Arc;

use tortie_model::{Direction, Family};
use tortie_persistent::Map;
use tortie_ruleset::{Chain, Table};

use super::contents::{Values, Verdicts};
use super::layout::{Layout, Slot};
use super::{Options, path, program};
use crate::{Path, PathId, Plan, Transition};

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
    /// The values of that plan, or of one that holds nothing.
    values: Values,
    written: Written,
}

impl Lowering {
    /// Starts anew. With an `actual` table, whose numbers another process gave out, nothing of it is used again: maps
    /// and chains get other names beside the old ones, and the base chains are switched over.
    #[must_use]
    pub fn new(options: Options, actual: Option<&Table>) -> Self {
        Self::under(options, Layout::after(actual))
    }

    fn under(options: Options, layout: Layout) -> Self {
        Self { options, layout, current: None, values: Values::empty(), written: Written::default() }
    }

    /// Goes on from a table that holds just what `plan` is lowered to, as after a restart in which nothing changed;
    /// `None` when it holds something else.
    #[must_use]
    pub fn resume(options: Options, actual: &Table, plan: &Plan) -> Option<Self> {
        let mut new = Self::under(options, Layout::of(actual)?);
        new.values.follow(&Plan::empty(), plan, &new.options);
        let table = new.written.table(plan, &new.values, &new.layout, &new.options);
        new.current = Some(plan.clone());
        (table == *actual).then_some(new)
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
    /// the table in force holds. Costs what differs between the plans.
    pub fn advance(&mut self, transition: &Transition) -> Vec<Target> {
        self.go(&[(&transition.withdrawn, false), (&transition.during, false), (&transition.after, true)])
    }

    fn go(&mut self, plans: &[(&Plan, bool)]) -> Vec<Target> {
        let mut at = self.current.clone().unwrap_or_else(Plan::empty);
        let mut values: Vec<Values> = Vec::with_capacity(plans.len());
        for (plan, _) in plans {
            let mut next = values.last().unwrap_or(&self.values).clone();
            next.follow(&at, plan, &self.options);
            at = (*plan).clone();
            values.push(next);
        }
        let large = values.iter().any(Values::has_large_ranges);
        let mut layout = self.layout.fit(&needs(&self.values, &values), large);
        let mut targets: Vec<Target> = Vec::with_capacity(plans.len() + 1);
        let mut has_ranges = self.current.is_some();
        if let Some(plan) = self.current.take().filter(|_| layout != self.layout) {
            let table = self.written.table(&plan, &self.values, &layout, &self.options);
            targets.push(Target { table, after_grace: false });
            self.current = Some(plan);
        }
        for ((plan, after_grace), values) in plans.iter().zip(values) {
            if std::mem::replace(&mut has_ranges, true) {
                let differs = |f: &Family| self.values.ranges(*f) != values.ranges(*f);
                layout = layout.with_fresh_ranges(&Family::ALL.into_iter().filter(differs).collect::<Vec<_>>());
            }
            let table = self.written.table(plan, &values, &layout, &self.options);
            self.values = values;
            if targets.last().is_none_or(|t| t.table != table) {
                targets.push(Target { table, after_grace: *after_grace });
            }
        }
        self.layout = layout;
        self.current = plans.last().map(|(p, _)| (*p).clone());
        targets
    }
}

/// How many keys each map has in all of these at once: they may be in the kernel together.
fn needs(first: &Values, then: &[Values]) -> BTreeMap<Slot, usize> {
    let mut needs = first.sizes();
    let mut at = first;
    for next in then {
        for (slot, more) in at.growth(next) {
            *needs.entry(slot).or_default() += more;
        }
        at = next;
    }
    needs
}

/// What was written last, to be changed rather than written again.
#[derive(Clone, Debug, Default)]
struct Written {
    layout: Option<Layout>,
    /// What the program depends on, besides the layout.
    facts: Option<(Arc<str>, Vec<ipnet::IpNet>)>,
    /// Names of the program's chains.
    program: Vec<String>,
    paths: Map<PathId, Arc<Path>>,
    chains: Map<String, Arc<Chain>>,
    verdicts: BTreeMap<Direction, Verdicts>,
}

impl Written {
    fn table(&mut self, plan: &Plan, values: &Values, layout: &Layout, options: &Options) -> Table {
        self.write_chains(plan, layout, options);
        let verdicts: BTreeMap<Slot, _> = Direction::BOTH
            .into_iter()
            .flat_map(|direction| self.verdicts.entry(direction).or_default().follow(values, layout, direction))
            .collect();
        let maps = Slot::all().into_iter().map(|slot| {
            let (name, spec) = layout.map(slot);
            let elements = verdicts.get(&slot).cloned().unwrap_or_else(|| values.under(slot, layout));
            (name, (spec, elements))
        });
        Table {
            family: tortie_ruleset::Family::Inet,
            name: options.table.clone(),
            maps: maps.collect(),
            chains: self.chains.clone(),
        }
    }

    fn write_chains(&mut self, plan: &Plan, layout: &Layout, options: &Options) {
        let facts = (plan.interface_prefix.clone(), plan.pod_ranges.clone());
        let same_layout = self.layout.as_ref() == Some(layout);
        if !same_layout || self.facts.as_ref() != Some(&facts) {
            for name in std::mem::take(&mut self.program) {
                self.chains.remove(&name);
            }
            for (name, chain) in program::chains(plan, layout, options) {
                self.program.push(name.clone());
                self.chains.insert(name, Arc::new(chain));
            }
            // Chains of paths name maps of addresses.
            let own = |l: &Layout| Family::ALL.map(|f| l.name(Slot::Own(f)));
            if self.layout.as_ref().is_none_or(|before| own(before) != own(layout)) {
                for (id, path) in &std::mem::take(&mut self.paths) {
                    self.chains.remove(&path::chain_name(*id, path, layout));
                }
            }
            (self.layout, self.facts) = (Some(layout.clone()), Some(facts));
        }
        for path in self.paths.changes(&plan.paths) {
            if let Some(old) = path.old.filter(|_| path.new.is_none()) {
                self.chains.remove(&path::chain_name(*path.key, old, layout));
            }
            if let Some(new) = path.new {
                let chain = path::chain(*path.key, new, &plan.paths, layout, options);
                self.chains.insert(path::chain_name(*path.key, new, layout), Arc::new(chain));
            }
        }
        self.paths = plan.paths.clone();
    }
}
