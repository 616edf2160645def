//! What a change of the files opens and closes.

use std::collections::BTreeSet;

use serde_json::Value;

use super::foreign;
use super::peers::{World, cut_at, expected};
use crate::corpus::{Answers, Finding};

/// One record of `npguard-diff`.
pub(crate) fn difference(record: &Value) -> Finding {
    let files = [&record["before_files"], &record["after_files"]];
    if let Some(class) = files.iter().find_map(|f| foreign(f)) {
        return Finding::OutOfScope(class);
    }
    let (before, after) = match (World::of(files[0]), World::of(files[1])) {
        (Ok(before), Ok(after)) => (before, after),
        (Err(why), _) | (_, Err(why)) => return Finding::Differs(vec![why]),
    };
    let mut cuts: BTreeSet<u32> = before.cuts().union(&after.cuts()).copied().collect();
    cut_at(&mut cuts, &record["expected"]);
    let theirs = ["before", "after"].map(|side| expected(&record["expected"], side, &cuts));
    let ours = [&before, &after].map(|world| world.rows(&cuts, &|_, _| true));
    let keys: BTreeSet<_> = ours.iter().chain(&theirs).flat_map(|rows| rows.keys()).collect();
    let mut lines = Vec::new();
    for key in &keys {
        let [before, after] = [ours[0].get(*key), ours[1].get(*key)];
        let changed = if before == after { [None, None] } else { [before, after] };
        let said = [theirs[0].get(*key), theirs[1].get(*key)];
        if changed != said {
            lines.push(format!("{:?} -> {:?}: expected {said:?}, ours {changed:?}", key.0, key.1));
        }
    }
    Finding::of(Answers { engine: keys.len(), plan: 0, ..Answers::default() }, lines)
}
