//! What a change opens and closes, as np-guard tells it: a row for each pair that differs, with what passed before and
//! what passes after.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use tortie_connectivity::Difference;

use crate::foreign;
use crate::world::{Peer, PortSets, World};

/// Before and after, by pair.
type Changes = BTreeMap<(Peer, Peer), [PortSets; 2]>;

/// How many rows were compared, and what differs; or the class that a record belongs to, when it is for no harness.
pub(crate) fn judge(record: &Value) -> Result<(usize, Vec<String>), &'static str> {
    let files = [&record["before_files"], &record["after_files"]];
    if let Some(class) = files.iter().find_map(|files| foreign(files)) {
        return Err(class);
    }
    let (before, after) = match (World::of(files[0]), World::of(files[1])) {
        (Ok(before), Ok(after)) => (before, after),
        (Err(why), _) | (_, Err(why)) => return Ok((0, vec![why])),
    };
    let rows = &record["expected"];
    let cuts: BTreeSet<u32> = before.cuts(rows).union(&after.cuts(rows)).copied().collect();
    let theirs = theirs(rows, &cuts);
    let ours = ours(&before, &after, &cuts);
    let keys: BTreeSet<_> = theirs.keys().chain(ours.keys()).collect();
    let compared = keys.len();
    let differing = keys.into_iter().filter(|key| theirs.get(*key) != ours.get(*key));
    let lines = differing.map(|key| format!("{key:?}: expected {:?}, ours {:?}", theirs.get(key), ours.get(key)));
    Ok((compared, lines.collect()))
}

fn theirs(rows: &Value, cuts: &BTreeSet<u32>) -> Changes {
    let mut out = Changes::new();
    let [before, after] = ["before", "after"].map(|side| World::rows(rows, side, cuts));
    for pair in before.keys().chain(after.keys()) {
        // What comes in by an Ingress is no matter of a difference of pairs.
        if pair.0 == Peer::IngressController {
            continue;
        }
        let of = |rows: &crate::world::Rows| rows.get(pair).cloned().unwrap_or_default();
        out.insert(pair.clone(), [of(&before), of(&after)]);
    }
    out
}

fn ours(before: &World, after: &World, cuts: &BTreeSet<u32>) -> Changes {
    let mut out = Changes::new();
    for change in Difference::between(&before.connectivity, &after.connectivity).changes {
        // A pair of a workload with itself is none of theirs.
        if change.from == change.to {
            continue;
        }
        let sets = [&change.before, &change.after].map(|set| crate::world::ports_of(set));
        // Protocols other than theirs may differ alone.
        if sets[0] == sets[1] {
            continue;
        }
        for from in World::peers_of(&change.from, cuts) {
            for to in World::peers_of(&change.to, cuts) {
                out.insert((from.clone(), to), sets.clone());
            }
        }
    }
    out
}
