//! Expectations that are wrong must fail, each in its own cells and nowhere else.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value;
use tortie_analysis::observation::{Answer, Observation, StepReport};
use tortie_analysis::rehearsal::Rehearsal;
use tortie_manifest::Memory;
use tortie_manifest::case::{Case, Endpoint, Endpoints, Expectation, Line, Pattern, Unnamed, Verdict};

use crate::example::Example;
use crate::seen::{self, case, failing, observations, play, some};
use crate::{Result, World, yaml};

type Resolved = tortie_manifest::case::Cell;

/// Every cell of the practicals, one after the other.
pub(crate) fn each_cell(world: &World) -> Result {
    for example in [&world.plain, &world.hardened, &world.calico] {
        let reports = example.reports(world)?;
        let mut by_step: BTreeMap<&str, Vec<&Observation>> = BTreeMap::new();
        for o in observations(reports) {
            by_step.entry(&o.step).or_default().push(o);
        }
        let case = example.case()?;
        let (mut store, mut inverted) = (case.store(), 0);
        for step in &case.steps {
            step.change(&mut store).map_err(|d| d.text())?;
            let mut objects = store.state();
            objects.add_cluster_dns();
            let endpoints = Endpoints::of(&objects, &case.cluster);
            let mut seen: BTreeMap<(String, String, String), Vec<&Observation>> = BTreeMap::new();
            for o in by_step.get(step.name.as_str()).ok_or("a step was not played")? {
                seen.entry((o.from.clone(), o.to.clone(), o.probe.clone())).or_default().push(o);
            }
            for expectation in &step.expect {
                inverted += invert_each(expectation, &endpoints, &step.name, &seen)?;
            }
        }
        println!("{}: {inverted} cells inverted", case.name);
        if inverted < 2_500 {
            return Err(format!("only {inverted} cells of {}", case.name).into());
        }
    }
    Ok(())
}

/// Writes the expectation as one line a pair, moves each line to the other list in turn, and judges what was seen.
fn invert_each(
    expectation: &Expectation,
    endpoints: &Endpoints,
    step: &str,
    seen: &BTreeMap<(String, String, String), Vec<&Observation>>,
) -> Result<usize> {
    let resolve = |e: &Expectation| e.resolve(endpoints).map_err(|d| some("not resolved", &[format!("{d:?}")]));
    let cells = resolve(expectation)?;
    let mut inverted = 0;
    for probe in &expectation.probes {
        let of: Vec<&Resolved> = cells.iter().filter(|c| c.probe == *probe).collect();
        for at in 0..of.len() {
            let mut wrong = Expectation {
                probes: vec![probe.clone()],
                default: Unnamed::Unchecked,
                allow: Vec::new(),
                deny: Vec::new(),
                ..expectation.clone()
            };
            // The one cell, and one neighbour that stays as it is.
            for n in [at, (at + 1) % of.len()].into_iter().collect::<BTreeSet<_>>() {
                let line = exact(of[n])?;
                match (of[n].expected, n == at) {
                    (Verdict::Allow, false) | (Verdict::Deny, true) => wrong.allow.push(line),
                    (Verdict::Deny, false) | (Verdict::Allow, true) => wrong.deny.push(line),
                }
            }
            let name = |c: &Resolved| {
                let to = c.to.as_ref().map_or_else(|| c.probe.to_string(), ToString::to_string);
                (c.from.to_string(), to, c.probe.to_string())
            };
            for resolved in resolve(&wrong)? {
                let (key, is_inverted) = (name(&resolved), name(&resolved) == name(of[at]));
                let expected = match resolved.expected {
                    Verdict::Allow => Answer::Allow,
                    Verdict::Deny => Answer::Deny,
                };
                let observed = seen.get(&key).ok_or_else(|| format!("{key:?} was not seen"))?;
                for o in observed {
                    let judged = Observation { expected: Some(expected), ..(*o).clone() };
                    if judged.holds() == is_inverted || judged.step != step {
                        return Err(format!("inverted: {is_inverted}, {}", seen::line(&judged)).into());
                    }
                }
            }
            inverted += 1;
        }
    }
    Ok(inverted)
}

/// A line that means this cell and no other.
fn exact(cell: &Resolved) -> Result<Line> {
    let pattern = |e: &Endpoint| Pattern::parse(&e.to_string()).map_err(|e| e.to_string());
    let to = cell.to.as_ref().map(pattern).transpose()?;
    Ok(Line { from: pattern(&cell.from)?, to, why: None, place: cell.place.clone() })
}

/// Played lines of a practical, at least.
const PLAYED: usize = 12;

/// Lines of a practical, moved to the other list in the file, and played.
pub(crate) fn each_line(world: &World, example: &Example) -> Result {
    let lines = moved_lines(example)?;
    let mut played = 0;
    for (step, files) in lines.iter().step_by(lines.len().div_ceil(PLAYED + 2)) {
        played += usize::from(replay(world, example, *step, files)?);
    }
    println!("{}: {played} of {} lines inverted and played", example.case_file(), lines.len());
    if played < PLAYED { Err(format!("only {played} lines were played").into()) } else { Ok(()) }
}

/// Every line of the case moved from one list to the other: the number of its step, and the files that say so.
fn moved_lines(example: &Example) -> Result<Vec<(usize, Memory)>> {
    let file = example.case_file();
    let whole = yaml::documents(&example.texts()[&file])?.swap_remove(0);
    let mut out = Vec::new();
    let steps = whole["steps"].as_array().ok_or("no steps")?;
    for (n, step) in steps.iter().enumerate() {
        for (e, expectation) in step["expect"].as_array().into_iter().flatten().enumerate() {
            for (list, other) in [("allow", "deny"), ("deny", "allow")] {
                let lines = expectation.get(list).and_then(Value::as_array).map_or(0, Vec::len);
                for line in 0..lines {
                    let mut wrong = whole.clone();
                    let expectation = &mut wrong["steps"][n]["expect"][e];
                    let moved = expectation[list].as_array_mut().ok_or("no list")?.remove(line);
                    match expectation[other].as_array_mut() {
                        Some(list) => list.push(moved),
                        None => expectation[other] = Value::Array(vec![moved]),
                    }
                    let mut texts = example.texts().clone();
                    texts.insert(file.clone(), serde_json::to_string_pretty(&wrong)?);
                    out.push((n, Memory::new(texts)));
                }
            }
        }
    }
    Ok(out)
}

/// Plays the case up to the step of the moved line, and expects that what the line names fails, and nothing else. False
/// when moving the line changes no expectation: others say the same.
fn replay(world: &World, example: &Example, step: usize, files: &Memory) -> Result<bool> {
    let up_to = |mut case: Case| {
        case.steps.truncate(step + 1);
        case.steps[..step].iter_mut().for_each(|s| s.expect.clear());
        case
    };
    let (right, wrong) = (up_to(example.case()?), up_to(case(files, "")?));
    let (before, after) = (expected(right)?, expected(wrong.clone())?);
    let changed: BTreeSet<seen::Cell> = before
        .iter()
        .filter(|(cell, answer)| after.get(*cell).is_some_and(|a| a != *answer))
        .map(|(c, _)| c.clone())
        .collect();
    if changed.is_empty() {
        return Ok(false);
    }
    let reports: Vec<StepReport> = play(&world.sandbox, wrong)?;
    let failed = failing(&reports);
    if failed != changed {
        let differing: Vec<String> = failed.symmetric_difference(&changed).map(|c| format!("{c:?}")).collect();
        return Err(some(&format!("{} cells failed, {} were inverted", failed.len(), changed.len()), &differing));
    }
    if observations(&reports).count() <= failed.len() {
        return Err("no cell was left alone".into());
    }
    Ok(true)
}

/// What a case expects, cell by cell, by its own words.
fn expected(case: Case) -> Result<BTreeMap<seen::Cell, Answer>> {
    let mut rehearsal = Rehearsal::new(Arc::new(case));
    let mut out = BTreeMap::new();
    while let Some(scene) = rehearsal.next_scene()? {
        for asked in &scene.asked {
            let o = asked.observed("", &scene.step, Answer::Allow, None, None);
            out.insert(seen::cell(&o), asked.expected.ok_or("a cell without an expectation")?);
        }
    }
    Ok(out)
}
