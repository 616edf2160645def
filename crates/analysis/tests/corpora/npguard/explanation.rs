//! Explanations: verdicts, and which policies and rules are made responsible. The prose is theirs.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use tortie_model::{Direction, Kind, Traffic};
use tortie_policy::{FlowVerdict, Half, RuleRef};

use super::foreign;
use super::peers::{Peer, World, cut_at, pairs};
use super::ports::{ends, port_sets};
use crate::cluster::list;
use crate::corpus::{Answers, Finding};

/// A rule of a cluster policy: kind and name of the policy, name of the rule.
type Named = (String, String, String);

/// What is said of one direction.
#[derive(Debug, Default)]
struct Said {
    allowed: bool,
    /// No rule decides, and no NetworkPolicy governs the end.
    by_default: bool,
    /// Rules of cluster policies that leave it to what comes after them.
    passing: BTreeSet<Named>,
    /// Rules of cluster policies that decide.
    deciding: BTreeSet<Named>,
    /// Rules that allow, by policy and number from 1.
    rules: BTreeSet<(String, usize)>,
    /// Policies that select the end and do not allow.
    isolating: BTreeSet<String>,
}

/// Reads the reasons of an entry. `None` when they speak of Ingress and Route objects.
fn reasons(lines: &Value) -> Option<BTreeMap<Direction, Said>> {
    let mut out: BTreeMap<Direction, Said> = BTreeMap::new();
    let mut current = None;
    for line in list(lines).iter().filter_map(|l| l[1].as_str()) {
        let header = [("Egress (", Direction::Egress), ("Ingress (", Direction::Ingress)];
        if let Some((_, direction)) = header.iter().find(|(start, _)| line.starts_with(start)) {
            let by_default = line.contains("due to the system default");
            out.insert(*direction, Said { allowed: line.contains("(Allowed)"), by_default, ..Said::default() });
            current = Some(*direction);
            continue;
        }
        let line = line.trim_start_matches("- ");
        if let Some((rule, passes)) = of_cluster_policy(line) {
            let said = out.get_mut(&current.expect("a direction comes first")).expect("it was entered");
            if passes { &mut said.passing } else { &mut said.deciding }.insert(rule);
            continue;
        }
        let Some(rest) = line.strip_prefix("NetworkPolicy '") else {
            if line.contains(" ingress ") {
                return None;
            }
            if let Some(said) = current.and_then(|d| out.get_mut(&d)) {
                said.by_default |= line.starts_with("the system default");
            }
            continue;
        };
        let (policy, rest) = rest.split_once('\'').expect("a policy's name ends");
        let said = out.get_mut(&current.expect("a direction comes first")).expect("it was entered");
        match rest.split_once("allows connections by ") {
            Some((_, rules)) => {
                let numbers = rules.split(|c: char| !c.is_ascii_digit()).filter_map(|n| n.parse().ok());
                said.rules.extend(numbers.map(|n| (policy.to_owned(), n)));
            }
            None => {
                said.isolating.insert(policy.to_owned());
            }
        }
    }
    Some(out)
}

/// The rule that a line makes responsible, and whether it passes packets on.
fn of_cluster_policy(line: &str) -> Option<(Named, bool)> {
    let (kind, rest) = line.split_once(" '")?;
    let (policy, rest) = rest.split_once("' ")?;
    let is_one = ["AdminNetworkPolicy", "BaselineAdminNetworkPolicy", "ClusterNetworkPolicy"].contains(&kind);
    let (verb, rest) = rest.split_once(" connections by ")?;
    let (_, rule) = rest.split_once(" rule ")?;
    is_one.then(|| ((kind.to_owned(), policy.to_owned(), rule.to_owned()), verb == "passes"))
}

/// What a half says otherwise. `called` names the rules of cluster policies.
fn otherwise(half: &Half, said: &Said, called: &dyn Fn(&RuleRef) -> Option<Named>) -> Option<String> {
    let name = |o: &tortie_model::ObjectRef| format!("{}/{}", o.namespace_str(), o.name);
    let isolating = half.isolating();
    let isolating = isolating.iter().filter(|o| o.kind == Kind::NetworkPolicy);
    let isolating: BTreeSet<String> = isolating.map(name).collect();
    let decided = half.decided_by();
    let rule = decided.as_ref().map(|r| (name(&r.policy), r.index + 1));
    let passed = half.outcome.passed.iter().filter_map(|position| half.stack.rule_ref(*position));
    let passing: BTreeSet<Named> = passed.filter_map(|r| called(&r)).collect();
    let deciding: BTreeSet<Named> = decided.iter().filter_map(called).collect();
    let agrees = half.is_allowed() == said.allowed
        && passing == said.passing
        && deciding == said.deciding
        && if said.by_default {
            isolating.is_empty() && rule.is_none()
        } else if !deciding.is_empty() {
            true
        } else if said.allowed {
            rule.as_ref().is_some_and(|r| said.rules.contains(r))
        } else {
            isolating == said.isolating
        };
    let ours = || {
        let allowed = half.is_allowed();
        format!("allowed {allowed}, by {rule:?} {deciding:?} of {isolating:?} after {passing:?}, expected {said:?}")
    };
    (!agrees).then(ours)
}

/// One record of `npguard-explain`.
pub(crate) fn explanation(record: &Value) -> Finding {
    if let Some(class) = foreign(&record["files"]) {
        return Finding::OutOfScope(class);
    }
    let world = match World::of(&record["files"]) {
        Ok(world) => world,
        Err(why) => return Finding::Differs(vec![why]),
    };
    let called = |rule: &RuleRef| world.rule_of_cluster_policy(rule);
    let expected = &record["expected"];
    let mut cuts = world.cuts();
    cut_at(&mut cuts, &expected["pairs"]);
    cut_at(&mut cuts, &expected["default_allowed"]);
    let mut compared = 0;
    let mut lines = Vec::new();
    let mut each = |pair: &(Peer, Peer), sent: &[Traffic], judge: &dyn Fn(&FlowVerdict) -> Vec<String>| {
        let (from, to) = (world.sides(&pair.0), world.sides(&pair.1));
        if from.is_empty() || to.is_empty() {
            lines.push(format!("{pair:?}: not there"));
        }
        let flows = from.iter().flat_map(|from| to.iter().map(move |to| (from, to)));
        for (from, to) in flows {
            for traffic in sent {
                compared += 1;
                let found = judge(&world.cluster.index.verdict(from, to, *traffic));
                lines.extend(found.iter().map(|f| format!("{pair:?} {traffic:?}: {f}")));
            }
        }
    };
    for row in list(&expected["default_allowed"]) {
        let everything =
            ends(&port_sets(&serde_json::json!({"TCP": [[1, 65535]], "UDP": [[1, 65535]], "SCTP": [[1, 65535]]})));
        for pair in pairs(row, &cuts) {
            each(&pair, &everything, &|verdict| {
                let said = Said { allowed: true, by_default: true, ..Said::default() };
                [&verdict.egress, &verdict.ingress]
                    .into_iter()
                    .filter_map(|half| otherwise(half, &said, &called))
                    .collect()
            });
        }
    }
    for row in list(&expected["pairs"]) {
        for entry in list(&row["entries"]) {
            let Some(said) = reasons(&entry["reasons"]) else { continue };
            let sent = ends(&port_sets(&entry["ports"]));
            for pair in pairs(row, &cuts) {
                each(&pair, &sent, &|verdict| {
                    let mut found: Vec<String> = said
                        .iter()
                        .filter_map(|(direction, said)| otherwise(verdict.half(*direction), said, &called))
                        .collect();
                    if verdict.is_allowed() != (entry["verdict"] == "allowed") {
                        found.push(format!("expected {}", entry["verdict"]));
                    }
                    found
                });
            }
        }
    }
    Finding::of(Answers { engine: compared, plan: 0, ..Answers::default() }, lines)
}
