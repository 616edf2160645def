//! What was opened and closed, put together by who did it.

use std::collections::{BTreeMap, BTreeSet};

use tortie_connectivity::{Cause, Difference, Member, Name, packets};

use crate::connectivity::names::Names;

/// Which way connections went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Turn {
    Opened,
    Closed,
}

impl Turn {
    /// Closed first: that is what breaks.
    pub(super) const BOTH: [Self; 2] = [Self::Closed, Self::Opened];

    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Opened => "opened",
            Self::Closed => "closed",
        }
    }
}

/// What the same causes did.
pub(super) struct Group {
    pub(super) turn: Turn,
    pub(super) causes: BTreeSet<Cause>,
    /// How many pairs of subjects.
    pub(super) pairs: usize,
    pub(super) rows: Vec<Row>,
}

/// Who sends, who is reached, and on what.
pub(super) struct Row {
    pub(super) from: Vec<Member>,
    pub(super) to: Vec<Member>,
    pub(super) packets: String,
}

impl Row {
    /// Both ends and the packets, in few words.
    pub(super) fn words(&self, names: &Names) -> [Vec<String>; 3] {
        [names.members(&self.from), names.members(&self.to), vec![self.packets.clone()]]
    }
}

/// All that was opened or closed, by who did it.
pub(super) fn groups(difference: &Difference) -> Vec<Group> {
    let mut out = Vec::new();
    for turn in Turn::BOTH {
        let mut by_causes: BTreeMap<BTreeSet<Cause>, Vec<(&Name, &Name, String)>> = BTreeMap::new();
        for change in &difference.changes {
            let (set, causes) = match turn {
                Turn::Opened => (&change.opened, &change.opened_by),
                Turn::Closed => (&change.closed, &change.closed_by),
            };
            if packets::any(set) {
                let pair = (&change.from, &change.to, packets::words(set));
                by_causes.entry(kind(causes)).or_default().push(pair);
            }
        }
        let absent: BTreeSet<Cause> = difference.changes.iter().flat_map(|c| absent(turn, c)).collect();
        for (causes, pairs) in by_causes {
            // The empty set stands for ends that came or went.
            let causes = if causes.is_empty() { absent.clone() } else { causes };
            out.push(Group { turn, causes, pairs: pairs.len(), rows: rows(&pairs) });
        }
    }
    out
}

/// Causes that stand for themselves; none for ends that came or went, of which each pair has its own.
fn kind(causes: &BTreeSet<Cause>) -> BTreeSet<Cause> {
    causes.iter().filter(|cause| !matches!(cause, Cause::New(_) | Cause::Gone(_))).cloned().collect()
}

fn absent(turn: Turn, change: &tortie_connectivity::Change) -> impl Iterator<Item = Cause> {
    let causes = match turn {
        Turn::Opened => &change.opened_by,
        Turn::Closed => &change.closed_by,
    };
    causes.iter().filter(|cause| matches!(cause, Cause::New(_) | Cause::Gone(_))).cloned()
}

/// Who is reached by one sender, by the packets that they are reached with.
type Reached<'d> = BTreeMap<&'d str, Vec<&'d Name>>;

/// Pairs in few lines: receivers of the same packets together, and senders who send the same to the same.
fn rows(pairs: &[(&Name, &Name, String)]) -> Vec<Row> {
    let mut by_sender: BTreeMap<&Name, Reached<'_>> = BTreeMap::new();
    for (from, to, words) in pairs {
        by_sender.entry(from).or_default().entry(words).or_default().push(to);
    }
    let mut senders: Vec<(Vec<&Name>, Reached<'_>)> = Vec::new();
    for (from, reached) in by_sender {
        match senders.iter_mut().find(|(_, known)| *known == reached) {
            Some((together, _)) => together.push(from),
            None => senders.push((vec![from], reached)),
        }
    }
    let members = |names: &[&Name]| -> Vec<Member> {
        names.iter().map(|name| Member { name: (*name).clone(), pods: (1, 1) }).collect()
    };
    let each = senders.iter().flat_map(|(from, reached)| {
        let row = |(words, to): (&&str, &Vec<&Name>)| Row {
            from: members(from),
            to: members(to),
            packets: (*words).to_owned(),
        };
        reached.iter().map(row).collect::<Vec<_>>()
    });
    each.collect()
}
