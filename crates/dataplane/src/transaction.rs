//! Steps as transactions of at most so many bytes.

use tortie_netlink::EncodeError;
use tortie_netlink::nft::{Batch, Op, Place, TableId};
use tortie_plan::nft::{Change, Group, Step};

/// The transactions of a step, in order, each of at most `limit` bytes.
///
/// # Errors
/// When what must be in one transaction does not fit.
pub(crate) fn transactions(table: &TableId, step: &Step, limit: usize) -> Result<Vec<Batch>, EncodeError> {
    match step {
        Step::Extend(changes) | Step::Collect(changes) => {
            let ops: Vec<Op> = changes.iter().flat_map(|c| loose(table, c)).collect();
            Batch::pack(&ops, limit)
        }
        Step::Flip(changes) => {
            let units: Vec<Unit<'_>> = changes
                .iter()
                .flat_map(|change| match change {
                    Change::Elements { groups, .. } => {
                        groups.iter().map(|group| Unit { change, group: Some(group) }).collect()
                    }
                    _ => vec![Unit { change, group: None }],
                })
                .collect();
            let mut out = Vec::new();
            split(&units, &|units| united(table, units), limit, &mut out)?;
            Ok(out)
        }
        Step::Switch(changes) => {
            // A chain that is made is made with its rules.
            let mut units: Vec<Vec<&Change>> = Vec::new();
            for change in changes {
                match (change, units.last_mut()) {
                    (Change::SetRules { chain, .. }, Some(unit)) if matches!(&unit[..], [Change::AddChain { chain: made, .. }] if made == chain) =>
                    {
                        unit.push(change);
                    }
                    _ => units.push(vec![change]),
                }
            }
            let ops = |units: &[Vec<&Change>]| units.iter().flatten().flat_map(|c| loose(table, c)).collect();
            let mut out = Vec::new();
            split(&units, &ops, limit, &mut out)?;
            Ok(out)
        }
    }
}

/// Puts units into as few transactions as halving finds; one unit is never divided.
fn split<U>(units: &[U], ops: &dyn Fn(&[U]) -> Vec<Op>, limit: usize, out: &mut Vec<Batch>) -> Result<(), EncodeError> {
    if units.is_empty() {
        return Ok(());
    }
    let list = ops(units);
    let batch = Batch::of(&list)?;
    if batch.len() <= limit {
        out.push(batch);
        return Ok(());
    }
    if units.len() == 1 {
        let operation = "change elements or rules that must change together".to_owned();
        return Err(EncodeError::Limit { operation, len: batch.len(), limit });
    }
    let (first, second) = units.split_at(units.len() / 2);
    split(first, ops, limit, out)?;
    split(second, ops, limit, out)
}

/// A group of elements, or another change.
struct Unit<'a> {
    change: &'a Change,
    group: Option<&'a Group>,
}

/// Groups of the same map become one deletion and one addition.
fn united(table: &TableId, units: &[Unit<'_>]) -> Vec<Op> {
    let mut out = Vec::new();
    let mut rest = units;
    while let [first, ..] = rest {
        let same = rest.iter().take_while(|u| std::ptr::eq(u.change, first.change)).count();
        let (mine, others) = rest.split_at(same);
        rest = others;
        match first.change {
            Change::Elements { map, spec, .. } => {
                let groups: Vec<&Group> = mine.iter().filter_map(|u| u.group).collect();
                let elements = |of: fn(&Group) -> &[_]| groups.iter().flat_map(|g| of(g)).cloned().collect::<Vec<_>>();
                let (gone, come) = (elements(|g| &g.delete), elements(|g| &g.add));
                let (table, map, spec) = (table.clone(), map.clone(), spec.clone());
                if !gone.is_empty() {
                    let (table, map, spec) = (table.clone(), map.clone(), spec.clone());
                    out.push(Op::DeleteElements { table, map, spec, elements: gone });
                }
                if !come.is_empty() {
                    out.push(Op::AddElements { table, map, spec, elements: come });
                }
            }
            other => out.extend(loose(table, other)),
        }
    }
    out
}

/// The operations of one change.
fn loose(table: &TableId, change: &Change) -> Vec<Op> {
    let table = table.clone();
    match change {
        Change::AddMap { map, spec } => vec![Op::AddMap { table, map: map.clone(), spec: spec.clone() }],
        Change::DeleteMap { map } => vec![Op::DeleteMap { table, map: map.clone() }],
        Change::AddChain { chain, base } => vec![Op::AddChain { table, chain: chain.clone(), base: *base }],
        Change::DeleteChain { chain } => vec![Op::DeleteChain { table, chain: chain.clone() }],
        Change::SetRules { chain, replace, rules } => {
            let clear = replace.then(|| Op::FlushChain { table: table.clone(), chain: chain.clone() });
            let add = rules.iter().map(|rule| Op::AddRule {
                table: table.clone(),
                chain: chain.clone(),
                place: Place::End,
                rule: rule.clone(),
            });
            clear.into_iter().chain(add).collect()
        }
        Change::Elements { groups, .. } => {
            let units: Vec<Unit<'_>> = groups.iter().map(|group| Unit { change, group: Some(group) }).collect();
            united(&table, &units)
        }
    }
}
