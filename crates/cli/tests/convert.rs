//! `tortie convert`: what is written stands for what was read, and what cannot be is refused with a flow.

use std::path::Path;
use std::process::{Command, Output};

fn tortie(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tortie"))
        .args(arguments)
        .env("NO_COLOR", "1")
        .env("COLUMNS", "80")
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../.."))
        .output()
        .expect("tortie runs")
}

fn texts(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}

const EXAMPLE: &str = "examples/three-namespaces";

/// The example without its NetworkPolicies, and the same with those of another text.
fn folders(policies: &str) -> (tempfile::TempDir, tempfile::TempDir) {
    let [before, after] = [0, 1].map(|_| tempfile::tempdir().expect("a folder"));
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(EXAMPLE);
    for entry in std::fs::read_dir(here).expect("the example") {
        let path = entry.expect("a file").path();
        let text = std::fs::read_to_string(&path).expect("a text");
        if path.to_string_lossy().contains("case") || path.extension().is_none_or(|e| e != "yaml") {
            continue;
        }
        let name = path.file_name().expect("a name");
        std::fs::write(before.path().join(name), &text).expect("a file");
        let documents = text.split("\n---").filter(|d| !d.contains("kind: NetworkPolicy"));
        std::fs::write(after.path().join(name), documents.collect::<Vec<_>>().join("\n---")).expect("a file");
    }
    std::fs::write(after.path().join("converted.yaml"), policies).expect("a file");
    (before, after)
}

#[test]
fn the_example_is_the_same_in_calicos_api() {
    let output = tortie(&["convert", "--to", "calico", "-f", EXAMPLE]);
    let (yaml, said) = texts(&output);
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(said.contains("proven"), "{said}");
    assert!(yaml.contains("# From NetworkPolicy/") && yaml.contains(".yaml:"), "{yaml}");
    assert!(yaml.contains("apiVersion: projectcalico.org/v3"), "{yaml}");
    let (before, after) = folders(&yaml);
    let paths = [&before, &after].map(|f| f.path().to_str().expect("UTF-8").to_owned());
    let output = tortie(&["diff", &paths[0], &paths[1]]);
    assert_eq!(output.status.code(), Some(0), "{:?}", texts(&output));
    // And back again.
    let output = tortie(&["convert", "--to", "networkpolicy", "-f", &paths[1]]);
    let (yaml, said) = texts(&output);
    assert_eq!(output.status.code(), Some(0), "{said}");
    let (before, after) = folders(&yaml);
    let paths = [&before, &after].map(|f| f.path().to_str().expect("UTF-8").to_owned());
    assert_eq!(tortie(&["diff", &paths[0], &paths[1]]).status.code(), Some(0), "{yaml}");
}

#[test]
fn what_cannot_be_said_is_refused_with_a_flow_and_both_answers() {
    let output = tortie(&["convert", "--to", "clusternetworkpolicy", "-f", EXAMPLE]);
    let (yaml, said) = texts(&output);
    assert_eq!((output.status.code(), yaml.as_str()), (Some(1), ""), "{said}");
    for part in [" now, and would be ", "now decided by", "What cannot be said:", ".yaml:"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert!(said.lines().all(|line| line.chars().count() <= 80), "{said}");
}

#[test]
fn nothing_to_convert_is_no_success() {
    let output = tortie(&["convert", "--to", "networkpolicy", "-f", EXAMPLE]);
    assert_eq!(output.status.code(), Some(2));
    assert!(texts(&output).1.contains("only NetworkPolicies"), "{:?}", texts(&output));
}
