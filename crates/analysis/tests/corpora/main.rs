//! Public suites of policies and the answers that their own authors expect, put to engine and plan.
//!
//! The suites are not part of this repository: the folder that `TORTIE_CORPORA` names holds them, or `../shared/corpora`
//! beside the workspace. A record that differs stands in `conformance/exceptions.toml`, with the reason.

mod calico;
mod cluster;
mod corpus;
mod cyclonus;
mod felix;
mod flows;
mod forgiving;
mod npguard;

use std::collections::BTreeSet;
use std::io::Write as _;

use corpus::{Finding, Tally};
use serde_json::Value;
use tortie_testkit::{By, decided};

type Suite = (&'static str, fn(&Value) -> Finding);

const SUITES: [Suite; 13] = [
    ("calico-verdicts", calico::verdicts),
    ("calico-tier-sort", felix::order),
    ("calico-polprog", felix::program),
    ("k8s-e2e-netpol", flows::upstream),
    ("npapi-conformance-cnp", flows::cluster_policies),
    ("npapi-conformance-anp", flows::cluster_policies),
    ("cyclonus", cyclonus::step),
    ("recipes", flows::recipe),
    ("npguard-eval", flows::evaluation),
    ("npguard-connlist", npguard::connections),
    ("npguard-explain", npguard::explanation),
    ("npguard-diff", npguard::difference),
    ("npguard-invalid", npguard::invalid),
];

/// At most one record in a hundred may be excepted.
const MOST_EXCEPTED: usize = 100;

/// Past the test harness, which keeps the output of tests that pass to itself.
fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

#[test]
fn public_suites_agree_with_engine_and_plan() {
    let exceptions = corpus::exceptions();
    let tallies: Vec<Tally> = std::thread::scope(|scope| {
        let take = |(suite, judge): Suite| {
            let exceptions = &exceptions;
            scope.spawn(move || Tally::take(suite, exceptions, judge))
        };
        let running = SUITES.map(take);
        running.into_iter().map(|t| t.join().expect("a suite does not panic")).collect()
    });
    tallies.iter().for_each(|tally| say(&tally.to_string()));
    let wrong: Vec<_> = tallies.iter().flat_map(|t| &t.wrong).cloned().collect();
    assert!(wrong.is_empty(), "{} records differ:\n{}", wrong.len(), wrong.join("\n"));
    let stale: Vec<_> = tallies.iter().flat_map(|t| &t.stale).collect();
    assert!(stale.is_empty(), "exceptions for records that agree: {stale:?}");
    decided(By::Engine, tallies.iter().map(|t| t.answers.engine).sum());
    decided(By::Plan, tallies.iter().map(|t| t.answers.plan).sum());
    if tallies.iter().any(|t| t.missing.is_some()) {
        // What a suite that is not there would use of the exceptions is not known.
        return;
    }
    let by_class = tallies.iter().flat_map(|t| t.answers.deviations.keys());
    let by_class: BTreeSet<String> = by_class.map(|class| (*class).to_owned()).collect();
    let used: BTreeSet<_> = tallies.iter().flat_map(|t| &t.excepted).collect();
    let unlisted: Vec<_> = by_class.iter().filter(|class| !exceptions.contains_key(*class)).collect();
    assert!(unlisted.is_empty(), "deviations that conformance/exceptions.toml does not list: {unlisted:?}");
    // Those of the lints are held by the tests of their crate.
    let unknown: Vec<_> = exceptions
        .keys()
        .filter(|id| !used.contains(id) && !by_class.contains(*id) && !id.starts_with("lint/"))
        .collect();
    assert!(unknown.is_empty(), "exceptions for no record: {unknown:?}");
    let in_scope = used.len() + tallies.iter().map(|t| t.agree).sum::<usize>();
    assert!(used.len() * MOST_EXCEPTED <= in_scope, "{} of {in_scope} records are excepted", used.len());
}
