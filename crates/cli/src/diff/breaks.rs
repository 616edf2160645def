//! Recorded connections that a change would turn, and what turns them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use schemars::JsonSchema;
use serde::Serialize;
use tortie_connectivity::packets;
use tortie_flows::{End, Judged, Turn, Turned};
use tortie_model::{Direction, ObjectRef};
use tortie_policy::{Half, Regions, RuleRef};

use super::sides::Side;
use crate::explain::json::VerdictLine;
use crate::recorded::count;
use crate::terminal::{ALLOW, DENY, FAINT, STRONG, styled, wrapped};

/// Both clusters; the one before only where it was given.
#[derive(Clone, Copy)]
pub(super) struct Clusters<'s> {
    pub(super) old: Option<&'s Side>,
    pub(super) new: &'s Side,
}

/// Connections of the same ends that turn for the same reason. Addresses outside are one end together.
struct Group<'t> {
    turn: Turn,
    from: String,
    to: String,
    why: Vec<Reason>,
    connections: u64,
    traffic: String,
    flows: Vec<&'t Turned>,
}

/// A sentence, and the place that it speaks of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Reason {
    words: String,
    places: Vec<String>,
}

/// What one end of a group is called: the addresses outside that are in it, the first of them by name.
fn called<'e>(ends: impl Iterator<Item = &'e End>) -> String {
    const MOST: usize = 3;
    let names: BTreeSet<&End> = ends.collect();
    let mut out: Vec<String> = names.iter().take(MOST).map(ToString::to_string).collect();
    if names.len() > MOST {
        out.push(format!("and {} more", names.len() - MOST));
    }
    out.join(", ")
}

fn groups<'t>(clusters: Clusters<'_>, judged: &'t Judged) -> Vec<Group<'t>> {
    // All of the outside is one end.
    let key = |end: &End| if matches!(end, End::Outside(_)) { String::new() } else { end.to_string() };
    let mut by: BTreeMap<(Turn, String, String, Vec<Reason>), Vec<&Turned>> = BTreeMap::new();
    for turned in &judged.turned {
        let key = (turned.turn, key(&turned.from), key(&turned.to), reasons(clusters, turned));
        by.entry(key).or_default().push(turned);
    }
    by.into_iter()
        .map(|((turn, _, _, why), flows)| {
            let all = flows.iter().fold(Regions::uniform(false), |all, turned| {
                let traffic = turned.flow.traffic;
                all.zip(&packets::only(traffic.protocol, traffic.detail..=traffic.detail), |a, b| *a || *b)
            });
            let connections = flows.iter().map(|turned| turned.count).sum();
            let from = called(flows.iter().map(|turned| &turned.from));
            let to = called(flows.iter().map(|turned| &turned.to));
            Group { turn, from, to, why, connections, traffic: packets::words(&all), flows }
        })
        .collect()
}

/// Why a connection turns: of what it would be denied by, every direction; of what it would be allowed by, those that
/// denied it before.
fn reasons(clusters: Clusters<'_>, turned: &Turned) -> Vec<Reason> {
    let mut out = Vec::new();
    for direction in Direction::BOTH {
        let after = turned.after.half(direction);
        let before = turned.before.as_ref().map(|verdict| verdict.half(direction));
        let matters = match turned.turn {
            Turn::Denied => !after.is_allowed(),
            Turn::Allowed => before.is_none_or(|half| !half.is_allowed()),
        };
        if !matters {
            continue;
        }
        if let (Some(half), Some(old)) = (before, clusters.old) {
            out.push(reason(old, half, "was"));
        }
        out.push(reason(clusters.new, after, "would be"));
    }
    out
}

/// What one cluster decides in one direction.
fn reason(side: &Side, half: &Half, verb: &str) -> Reason {
    let direction = half.stack.direction();
    let snapshot = &side.snapshot;
    let rule_place = |rule: &RuleRef| snapshot.place_of_rule(rule).map(|place| side.place(&place));
    let policy_place = |policy: &ObjectRef| snapshot.place_of(policy).map(|place| side.place(&place));
    let verdict = if half.is_allowed() { "allowed" } else { "denied" };
    if let Some(rule) = half.decided_by() {
        let words = format!("{direction} {verb} {verdict} by {}[{}] of {}", rule.direction, rule.index, rule.policy);
        return Reason { words, places: rule_place(&rule).into_iter().collect() };
    }
    let policies = half.isolating();
    if policies.is_empty() {
        return Reason { words: format!("{direction} {verb} {verdict}: no policy governs it"), places: Vec::new() };
    }
    let names: Vec<String> = policies.iter().map(ToString::to_string).collect();
    let words = format!("{direction} {verb} {verdict}: no rule of {} allows it", names.join(" or "));
    Reason { words, places: policies.iter().filter_map(policy_place).collect() }
}

/// What a comment is found by.
const MARK: &str = "<!-- tortie diff flows -->";

/// For people: who loses what, and to which policy.
pub(super) fn text(clusters: Clusters<'_>, judged: &Judged, width: usize) -> String {
    let mut out = String::new();
    for group in groups(clusters, judged) {
        let verdict = match group.turn {
            Turn::Denied => styled(DENY, "would be denied"),
            Turn::Allowed => styled(ALLOW, "would be allowed"),
        };
        let title = format!("{} -> {}  {}", group.from, group.to, group.traffic);
        let title = wrapped(&title, "  ", width);
        let _ = writeln!(out, "{}", styled(STRONG, title.trim_start()));
        let _ = writeln!(out, "  {} {verdict}", count(group.connections, "connection"));
        for reason in &group.why {
            let _ = writeln!(out, "{}", wrapped(&reason.words, "    ", width));
            for place in &reason.places {
                let _ = writeln!(out, "      {}", styled(FAINT, place));
            }
        }
        out.push('\n');
    }
    out + &summary(judged) + "\n"
}

/// `2 of 8 recorded flows would be denied`.
fn summary(judged: &Judged) -> String {
    let of = |turn: Turn| judged.turned.iter().filter(|t| t.turn == turn).count();
    let all = count((judged.turned.len() + judged.same) as u64, "recorded flow");
    match (of(Turn::Denied), of(Turn::Allowed)) {
        (0, 0) => format!("none of {all} would be denied or allowed otherwise"),
        (denied, 0) => format!("{denied} of {all} would be denied"),
        (0, allowed) => format!("{allowed} of {all} would be allowed"),
        (denied, allowed) => format!("of {all}, {denied} would be denied and {allowed} would be allowed"),
    }
}

/// A recorded flow that turns.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Line {
    /// Who sent.
    from: String,
    /// Who was sent it.
    to: String,
    /// `TCP/5432`, `ICMP type 8 code 0`, and so on.
    traffic: String,
    /// Connections that were recorded.
    count: u64,
    /// The line of the recording that was the first.
    line: usize,
    /// What it turns to.
    change: ChangeLine,
    /// What OLD says; null where it was not given.
    before: Option<VerdictLine>,
    /// What NEW says.
    after: VerdictLine,
}

/// What a recorded flow turns to.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum ChangeLine {
    Denied,
    Allowed,
}

/// For programs: a line a flow.
pub(super) fn json(clusters: Clusters<'_>, judged: &Judged, out: &mut impl std::io::Write) -> std::io::Result<()> {
    for turned in &judged.turned {
        let before = turned.before.as_ref().zip(clusters.old);
        let line = Line {
            from: turned.from.to_string(),
            to: turned.to.to_string(),
            traffic: turned.flow.traffic.to_string(),
            count: turned.count,
            line: turned.line,
            change: match turned.turn {
                Turn::Denied => ChangeLine::Denied,
                Turn::Allowed => ChangeLine::Allowed,
            },
            before: before.map(|(verdict, side)| VerdictLine::of((&side.snapshot).into(), verdict)),
            after: VerdictLine::of((&clusters.new.snapshot).into(), &turned.after),
        };
        serde_json::to_writer(&mut *out, &line)?;
        writeln!(out)?;
    }
    out.flush()
}

/// For a comment at a pull request.
pub(super) fn markdown(clusters: Clusters<'_>, judged: &Judged) -> String {
    use super::markdown::{code, escaped};
    let mut out = format!("{}\n### What breaks: {}\n", MARK, summary(judged));
    for turn in [Turn::Denied, Turn::Allowed] {
        let all: Vec<Group<'_>> = groups(clusters, judged).into_iter().filter(|group| group.turn == turn).collect();
        if all.is_empty() {
            continue;
        }
        let title = match turn {
            Turn::Denied => "🔴 Would be denied",
            Turn::Allowed => "🟢 Would be allowed",
        };
        let flows = all.iter().map(|group| group.flows.len() as u64).sum();
        let _ = writeln!(out, "\n<details open>\n<summary><b>{title}</b>: {}</summary>\n", count(flows, "flow"));
        out.push_str("| From | To | Packets | Connections | Why |\n| --- | --- | --- | --- | --- |\n");
        for group in all {
            let why = |reason: &Reason| {
                let places: Vec<String> = reason.places.iter().map(|place| code(place)).collect();
                format!("{} {}", escaped(&reason.words), places.join(", "))
            };
            let why: Vec<String> = group.why.iter().map(why).collect();
            let (from, to, traffic) = (escaped(&group.from), escaped(&group.to), escaped(&group.traffic));
            let _ = writeln!(out, "| {from} | {to} | {traffic} | {} | {} |", group.connections, why.join("<br>"));
        }
        out.push_str("\n</details>\n");
    }
    out
}
