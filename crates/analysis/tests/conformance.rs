//! Every case under `conformance/`, answered by engine and plan in memory. The lab's tests play the same with packets.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tortie_analysis::observation::Observation;
use tortie_analysis::passage::Imagined;
use tortie_analysis::rehearsal::Rehearsal;
use tortie_manifest::case::{Case, open};
use tortie_manifest::{Disk, LoadOptions};
use tortie_testkit::{By, decided};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../conformance")
}

fn cases() -> Vec<Case> {
    let found = open(&Disk, folder().to_str().expect("UTF-8"), &LoadOptions::default());
    assert!(found.diagnostics.is_empty(), "{:?}", found.diagnostics);
    for case in &found.cases {
        let said: Vec<String> = case.diagnostics.iter().map(|d| d.render(false)).collect();
        assert!(case.is_playable(), "{}: {}", case.path, said.join("\n"));
    }
    found.cases
}

fn wrong(case: &Case, step: &str, o: &Observation) -> Option<String> {
    let Observation { from, to, probe, via, expected, engine, plan, .. } = o;
    let (path, family) = (&case.path, o.family.as_str());
    let line = || {
        format!(
            "{path} `{step}` {family} {from} -> {to} {probe} via {via}: expected {expected:?}, engine {engine}, plan {plan}"
        )
    };
    (*expected != Some(*engine) || plan != engine).then(line)
}

/// What a case makes engine and plan say: how many answers, and those that differ.
fn answers(case: &Arc<Case>) -> (usize, Vec<String>) {
    let mut rehearsal = Rehearsal::new(case.clone());
    let mut plans = Imagined::default();
    let (mut asked, mut differing) = (0, Vec::new());
    while let Some(scene) = rehearsal.next_scene().unwrap_or_else(|e| panic!("{}: {e:?}", case.path)) {
        plans.advance(&scene.staged, &scene.index);
        for one in &scene.asked {
            let plan = one.answer_of(&scene.index, |from, to, traffic| plans.passes(from, to, traffic));
            differing.extend(wrong(case, &scene.step, &one.observed(&case.name, &scene.step, plan, None, None)));
            asked += 1;
        }
    }
    (asked, differing)
}

#[test]
fn every_case_holds_in_engine_and_plan() {
    let cases: Vec<Arc<Case>> = cases().into_iter().map(Arc::new).collect();
    let (mut sum, mut differing) = (0, Vec::new());
    for case in &cases {
        let (asked, wrong) = answers(case);
        assert!(asked > 0, "{} asks nothing", case.path);
        sum += asked;
        differing.extend(wrong);
    }
    let shown = differing.iter().take(20).cloned().collect::<Vec<_>>().join("\n");
    assert!(differing.is_empty(), "{} answers differ:\n{shown}", differing.len());
    println!("{} cases, {sum} answers", cases.len());
    decided(By::Engine, sum);
    decided(By::Plan, sum);
}
