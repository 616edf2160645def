//! What the real kube-apiserver said to mutated objects, and what we say to the same.
//!
//! The answers are not part of this repository: the folder that `TORTIE_CORPORA` names holds them, or `../shared/corpora`
//! beside the workspace.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::PathBuf;

use serde_json::Value;
use tortie_manifest::{Diagnostic, LoadOptions, Loaded, Memory, Severity, load};

fn records(name: &str) -> Option<Vec<Value>> {
    let folder = std::env::var_os("TORTIE_CORPORA")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/corpora"), PathBuf::from);
    let path = folder.join(name);
    let Ok(text) = std::fs::read_to_string(&path) else {
        // Past the test harness, which keeps the output of tests that pass to itself.
        let _ =
            writeln!(std::io::stderr(), "skipped: {} is not there (TORTIE_CORPORA names its folder)", path.display());
        return None;
    };
    Some(text.lines().map(|line| serde_json::from_str(line).expect("a record is JSON")).collect())
}

fn read(object: &Value) -> Loaded {
    load(&Memory::new([("object.json", object.to_string())]), &["object.json"], &LoadOptions::default())
}

fn errors(loaded: &Loaded) -> Vec<&Diagnostic> {
    loaded.diagnostics.iter().filter(|d| d.severity == Severity::Error).collect()
}

#[test]
fn network_policies_are_accepted_and_refused_as_upstream_does() {
    let Some(records) = records("k8s-np-validation.jsonl") else { return };
    for record in records {
        let loaded = read(&record["object"]);
        assert_eq!(
            Some(errors(&loaded).is_empty()),
            record["valid"].as_bool(),
            "{}: {:?}",
            record["id"],
            loaded.diagnostics
        );
    }
}

#[test]
fn refusals_have_the_fields_and_texts_of_the_api_server() {
    let Some(records) = records("k8s-api-texts.jsonl") else { return };
    let mut wrong = Vec::new();
    for record in &records {
        let loaded = read(&record["object"]);
        let errors = errors(&loaded);
        let accepted = record["accepted"].as_bool().expect("accepted");
        if accepted != errors.is_empty() || accepted != (loaded.objects.len() == 1) {
            wrong.push(format!("{}: accepted {accepted}, ours {errors:?}", record["id"]));
            continue;
        }
        let theirs = record["message"].as_str().unwrap_or_default();
        match record["code"].as_u64() {
            Some(422) => {
                let of = |c: &Value, f: &str| c[f].as_str().unwrap_or_default().to_owned();
                let causes = record["causes"].as_array().expect("causes");
                let expected: BTreeSet<_> = causes.iter().map(|c| (of(c, "field"), of(c, "message"))).collect();
                let ours: BTreeSet<_> = errors.iter().map(|d| (d.field.clone(), d.message.clone())).collect();
                if expected != ours {
                    wrong.push(format!("{}: expected {expected:#?}, ours {ours:#?}", record["id"]));
                }
            }
            Some(400) => {
                let strict = "strict decoding error: ";
                let text = theirs.split_once(": ").map_or(theirs, |(_, text)| text);
                let is_text = text.starts_with(strict) || text.starts_with("json: cannot unmarshal");
                // An old version is refused as such before its fields are looked at.
                let old = record["object"]["apiVersion"] != "networking.k8s.io/v1";
                if is_text && !old && errors.iter().all(|d| d.message != text) {
                    wrong.push(format!("{}: expected {text}, ours {errors:?}", record["id"]));
                }
            }
            _ => {}
        }
        let expected = record["warnings"].as_array().map_or(0, Vec::len);
        let ours =
            loaded.diagnostics.iter().filter(|d| d.severity == Severity::Warning && d.id != "missing-kind").count();
        if expected != ours {
            wrong.push(format!("{}: warnings {}, ours {:?}", record["id"], record["warnings"], loaded.diagnostics));
        }
    }
    assert!(wrong.is_empty(), "{} of {} differ:\n{}", wrong.len(), records.len(), wrong.join("\n"));
}
