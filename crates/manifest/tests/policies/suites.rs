//! What Calico's and Kubernetes' own suites hold to be valid is read whole, without a word.

use std::io::Write as _;

use serde_json::{Value, json};
use tortie_manifest::{Diagnostic, LoadOptions, Memory, load};
use tortie_model::Kind;
use tortie_testkit::corpora;

use crate::written;

fn records(suite: &str) -> Option<Vec<Value>> {
    match corpora::suite(suite) {
        Ok(text) => Some(text.lines().map(|line| serde_json::from_str(line).expect("a record is JSON")).collect()),
        Err(missing) => {
            // Past the test harness, which keeps the output of tests that pass to itself.
            let _ = writeln!(std::io::stderr(), "{missing}");
            None
        }
    }
}

/// Reads the objects of every record: how many there were, and those that are not as they were, or of which something
/// was said.
fn unread(records: impl Iterator<Item = (String, Vec<Value>)>) -> (usize, Vec<String>) {
    let (mut count, mut wrong) = (0, Vec::new());
    for (id, objects) in records {
        count += objects.len();
        let list = json!({ "apiVersion": "v1", "kind": "List", "items": objects }).to_string();
        let loaded = load(&Memory::new([("list.json", list)]), &["list.json"], &LoadOptions::default());
        let name = |kind: Option<Kind>, metadata: &Value| {
            format!("{kind:?} {}", metadata["name"].as_str().unwrap_or_default())
        };
        let mut theirs: Vec<_> = objects.iter().map(|o| name(kind(o), &o["metadata"])).collect();
        let of = |object: &tortie_model::Object| {
            let reference = object.reference();
            name(Some(reference.kind), &json!({ "name": &*reference.name }))
        };
        let mut ours: Vec<_> = loaded.objects.iter().map(|o| of(&o.object)).collect();
        theirs.sort();
        ours.sort();
        if theirs != ours || !loaded.diagnostics.is_empty() {
            let said: Vec<_> = loaded.diagnostics.iter().map(Diagnostic::text).collect();
            wrong.push(format!("{id}: {theirs:?}, ours {ours:?}: {said:?}"));
        }
    }
    (count, wrong)
}

fn kind(object: &Value) -> Option<Kind> {
    Kind::of(object["apiVersion"].as_str()?, object["kind"].as_str()?)
}

#[track_caller]
fn all_are_read(records: impl Iterator<Item = (String, Vec<Value>)>, at_least: usize) {
    let (count, wrong) = unread(records);
    assert!(count >= at_least, "{count} objects");
    let shown = wrong.iter().take(8).map(String::as_str).collect::<Vec<_>>().join("\n");
    assert!(wrong.is_empty(), "{} records:\n{shown}", wrong.len());
}

fn id(record: &Value) -> String {
    record["id"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn valid_objects_of_calico() {
    let Some(records) = records("calico-crd-validation") else { return };
    let valid = records.iter().filter(|r| r["valid"] == true);
    all_are_read(valid.map(|r| (id(r), vec![r["object"].clone()])), 10);
}

/// Its records are values of Go types: here those that are a whole object, or the `spec` of one.
#[test]
fn valid_values_of_calico() {
    let Some(records) = records("calico-validator") else { return };
    let whole = |record: &Value| {
        let kind = record["type"].as_str()?.trim_start_matches('*').strip_prefix("v3.")?;
        let mut object = written(kind.strip_suffix("Spec").unwrap_or(kind), &record["object"]);
        if !kind.ends_with("Spec") {
            let own = record["object"].as_object()?;
            object.as_object_mut()?.extend(own.clone());
        }
        self::kind(&object)?;
        Some((id(record), vec![object]))
    };
    all_are_read(records.iter().filter(|r| r["valid"] == true).filter_map(whole), 10);
}

#[test]
fn cluster_policies_that_an_api_server_accepted() {
    let Some(records) = records("cnp-api-texts") else { return };
    let accepted = records.iter().filter(|r| r["accepted"] == true);
    all_are_read(accepted.map(|r| (id(r), vec![r["object"].clone()])), 20);
}

fn objects(record: &Value) -> (String, Vec<Value>) {
    (id(record), record["objects"].as_array().expect("objects").clone())
}

#[test]
fn clusters_of_conformance_suites() {
    for suite in ["npapi-conformance-cnp", "npapi-conformance-anp"] {
        let Some(records) = records(suite) else { return };
        let accepted = |record: &Value| {
            let (id, mut objects) = objects(record);
            // The owners of its pods are written in short, as no API server would take them.
            for metadata in objects.iter_mut().filter_map(|object| object["metadata"].as_object_mut()) {
                metadata.remove("ownerReferences");
            }
            (id, objects)
        };
        all_are_read(records.iter().map(accepted), 500);
    }
}

#[test]
fn clusters_of_which_calico_gave_verdicts() {
    let Some(records) = records("calico-verdicts") else { return };
    all_are_read(records.iter().map(objects), 10_000);
}
