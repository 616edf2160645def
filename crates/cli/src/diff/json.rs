//! A difference for programs: a line a pair.

use std::io::{self, Write};

use serde_json::{Value, json};
use tortie_connectivity::{Cause, Change, Difference, Name};

use super::cause::Sides;
use super::group::Turn;
use crate::connectivity::machine::set;

/// Writes a line for each pair that differs; for a part of the world, one for each of its ranges.
pub(super) fn write(sides: Sides<'_>, difference: &Difference, out: &mut impl Write) -> io::Result<()> {
    for change in &difference.changes {
        for from in names(&change.from) {
            for to in names(&change.to) {
                writeln!(out, "{}", line(sides, change, &from, &to))?;
            }
        }
    }
    out.flush()
}

fn line(sides: Sides<'_>, change: &Change, from: &str, to: &str) -> Value {
    let causes = |turn, causes: &std::collections::BTreeSet<Cause>| -> Vec<Value> {
        causes.iter().map(|cause| sides.json(turn, cause)).collect()
    };
    json!({
        "src": from,
        "dst": to,
        "opened": set(&change.opened),
        "closed": set(&change.closed),
        "before": set(&change.before),
        "after": set(&change.after),
        "opened_by": causes(Turn::Opened, &change.opened_by),
        "closed_by": causes(Turn::Closed, &change.closed_by),
    })
}

fn names(name: &Name) -> Vec<String> {
    match name {
        Name::Outside(addresses) => addresses.ranges().map(|(first, last)| format!("{first}-{last}")).collect(),
        Name::Workload(_) | Name::Node(_) => vec![name.to_string()],
    }
}
