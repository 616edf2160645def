//! Lists of all connections.

use std::collections::BTreeSet;

use serde_json::Value;

use super::foreign;
use super::peers::{Peer, World, cut_at, expected};
use super::ports::only;
use crate::cluster::list;
use crate::corpus::{Answers, Finding};

/// Whether a workload is the one that a list is about.
fn is_in_focus(peer: &Peer, focus: &[Value]) -> bool {
    let Peer::Workload(name) = peer else { return false };
    let whole = name.split('[').next().unwrap_or(name);
    let bare = whole.split_once('/').map_or(whole, |(_, n)| n);
    focus.iter().filter_map(Value::as_str).any(|f| f == whole || f == bare)
}

/// One record of `npguard-connlist`.
pub(crate) fn connections(record: &Value) -> Finding {
    if let Some(class) = foreign(&record["files"]) {
        return Finding::OutOfScope(class);
    }
    let options = &record["options"];
    let focus = list(&options["focus_workloads"]);
    if focus.iter().any(|f| f == "ingress-controller") {
        return Finding::OutOfScope("rows of an ingress controller");
    }
    let direction = options["focus_direction"].as_str().unwrap_or_default();
    let world = match World::of(&record["files"]) {
        Ok(world) => world,
        Err(why) => return Finding::Differs(vec![why]),
    };
    let connections = &record["expected"]["connections"];
    let mut cuts = world.cuts();
    cut_at(&mut cuts, connections);
    let theirs = expected(connections, "allowed", &cuts);
    let mut ours = world.rows(&cuts, &|from, to| {
        focus.is_empty()
            || (direction != "egress" && is_in_focus(to, focus))
            || (direction != "ingress" && is_in_focus(from, focus))
    });
    if let Some((protocol, port)) = options["focus_conn"].as_str().and_then(|conn| conn.split_once('-')) {
        let port = port.parse().expect("PROTOCOL-PORT");
        ours.values_mut().for_each(|ports| only(ports, &protocol.to_uppercase(), port));
        ours.retain(|_, ports| !ports.is_empty());
    }
    let keys: BTreeSet<_> = theirs.keys().chain(ours.keys()).collect();
    let compared = keys.len();
    let differing = keys.into_iter().filter(|key| theirs.get(*key) != ours.get(*key));
    let lines = differing
        .map(|key| format!("{:?} -> {:?}: expected {:?}, ours {:?}", key.0, key.1, theirs.get(key), ours.get(key)));
    Finding::of(Answers { engine: compared, plan: 0, ..Answers::default() }, lines.collect())
}
