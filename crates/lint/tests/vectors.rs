//! What other tools that look at policies expect to be found, held against the lints.
//!
//! The vectors are not part of this repository: the folder that `TORTIE_CORPORA` names holds them, or
//! `../shared/corpora` beside the workspace. A record that differs stands in `conformance/exceptions.toml`.

use std::io::Write as _;
use std::path::Path;

use serde_json::Value;
use tortie_analysis::snapshot::Snapshot;
use tortie_lint::{Finding, lint_all};
use tortie_manifest::{Expansion, LoadOptions, Memory, load};
use tortie_testkit::corpora;

/// Past the test harness, which keeps the output of tests that pass to itself.
fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Whether a finding is what others call by the name of a check. Ours tell apart why a selector matches nothing.
fn is(finding: &Finding, check: &str) -> bool {
    let of_subject = finding.pointer.starts_with("/spec/podSelector");
    match finding.lint.id {
        "near-miss-label" if of_subject => check == "policy-selects-no-pod",
        "policy-in-empty-namespace" | "selects-finished-pods" => check == "policy-selects-no-pod",
        "near-miss-label" | "peer-in-own-namespace" | "unknown-namespace-label" | "host-network-peer" => {
            check == "peer-selects-no-pod"
        }
        id => id == check,
    }
}

/// `Kind/name`.
fn subject(finding: &Finding) -> String {
    finding.object().map(|o| format!("{}/{}", o.kind, o.name)).unwrap_or_default()
}

/// How many facts of a record hold, and those that do not.
fn judge(record: &Value) -> (usize, Vec<String>) {
    let files = record["files"].as_object().expect("a record has files");
    let texts: Vec<(String, String)> =
        files.iter().map(|(path, text)| (path.clone(), text.as_str().expect("a text").to_owned())).collect();
    let paths: Vec<&String> = files.keys().collect();
    let loaded = load(&Memory::new(texts), &paths, &LoadOptions::default());
    let findings = lint_all(&Snapshot::new(&loaded, &Expansion::default()));
    let facts = record["facts"].as_array().expect("a record has facts");
    let mut wrong = Vec::new();
    for fact in facts {
        let check = fact["check"].as_str().expect("a fact names its check");
        let about = fact["subject"].as_str();
        let expected = fact["expected"].as_bool().expect("a fact is true or false");
        let fits = |f: &&Finding| is(f, check) && about.is_none_or(|a| subject(f) == a);
        if findings.iter().any(|f| fits(&f)) != expected {
            let said: Vec<String> = findings.iter().map(|f| format!("{} on {}", f.lint.id, subject(f))).collect();
            let read: Vec<String> = loaded.diagnostics.iter().map(|d| d.message.to_string()).collect();
            wrong.push(format!("{check} {about:?} should be {expected}; found {said:?}, read {read:?}"));
        }
    }
    (facts.len() - wrong.len(), wrong)
}

/// Records whose expectation is not followed.
fn excepted() -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../conformance/exceptions.toml");
    let text = std::fs::read_to_string(path).expect("conformance/exceptions.toml is part of the repository");
    let read: toml::Table = toml::from_str(&text).expect("it is valid");
    let list = read.get("exception").and_then(|e| e.as_array()).cloned().unwrap_or_default();
    let records = list.iter().filter_map(|e| e.get("record")?.as_str());
    records.filter(|r| r.starts_with("lint/")).map(str::to_owned).collect()
}

#[test]
fn other_tools_find_the_same() {
    let text = match corpora::suite("lint-vectors") {
        Ok(text) => text,
        Err(skipped) => return say(&skipped),
    };
    let excepted = excepted();
    let (mut records, mut agree, mut differ, mut used) = (0, 0, Vec::new(), 0);
    for line in text.lines() {
        let record: Value = serde_json::from_str(line).expect("a record is JSON");
        let id = record["id"].as_str().expect("a record has an id");
        let (right, wrong) = judge(&record);
        records += 1;
        agree += right;
        let known = excepted.iter().any(|e| e == id);
        assert!(!(known && wrong.is_empty()), "{id} is excepted and agrees");
        used += usize::from(known);
        if !known {
            differ.extend(wrong.into_iter().map(|w| format!("{id}: {w}")));
        }
    }
    say(&format!("lint-vectors: {records} records, {agree} facts agree, {used} excepted, {} differ", differ.len()));
    assert!(differ.is_empty(), "{}", differ.join("\n"));
    assert!(agree > 0, "the suite asks nothing");
    assert_eq!(used, excepted.len(), "exceptions for no record: {excepted:?}");
}
