//! `tortie check` as its users call it: formats, levels, what is allowed where it stands, and what is mended.

#[path = "support/program.rs"]
#[allow(dead_code)]
mod program;

use std::fs;
use std::path::Path;

use program::{Told, folder, tortie};
use serde_json::Value;

const TRAP: &str = "\
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {team: s}}
---
apiVersion: v1
kind: Namespace
metadata: {name: clients, labels: {team: c}}
---
apiVersion: v1
kind: Pod
metadata: {name: till, namespace: clients, labels: {app: till}}
---
apiVersion: v1
kind: Pod
metadata: {name: db, namespace: shop, labels: {app: db}}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: db
  namespace: shop
spec:
  podSelector: {}
  ingress:
  - from:
    - namespaceSelector:
        matchLabels: {team: c}
    - podSelector:          # who pays
        matchLabels: {app: till}
    ports:
    - port: 443
    - port: 443
";

fn check(here: &Path, arguments: &[&str]) -> Told {
    tortie(here, &[&["check"], arguments].concat())
}

/// Name and severity of what is found.
fn found(here: &Path, arguments: &[&str]) -> Vec<(String, String)> {
    let (_, out, err) = check(here, &[arguments, &["-o", "json"]].concat());
    let line = |l: &str| -> Value { serde_json::from_str(l).unwrap_or_else(|e| panic!("{e}: {l}\n{err}")) };
    let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
    out.lines().map(line).map(|v| (text(&v["id"]), text(&v["severity"]))).collect()
}

fn level(here: &Path, id: &str, arguments: &[&str]) -> Option<String> {
    found(here, arguments).into_iter().find(|(i, _)| i == id).map(|(_, severity)| severity)
}

#[test]
fn a_mistake_is_drawn_with_its_way_out_and_fails_when_asked_to() {
    let here = folder(&[("p.yaml", TRAP)]);
    let (code, out, err) = check(here.path(), &["-f", "p.yaml"]);
    assert!(code == 0 && out.contains("warning[peers-apart]") && out.contains("p.yaml:26:7"), "{out}{err}");
    assert!(out.contains("podSelector:            # no dash: both at once"), "{out}");
    assert!(err.contains("1 warning") && err.contains("--notes shows them") && !out.contains("note["), "{out}{err}");
    assert_eq!(check(here.path(), &["-f", "p.yaml", "--fail-on", "warning"]).0, 1);
    assert!(check(here.path(), &["-f", "p.yaml", "--notes"]).1.contains("note[overlapping-ports]"));
}

#[test]
fn levels_are_said_by_options_files_and_comments() {
    let allowed = TRAP.replace("  ingress:\n", "  # tortie: allow(peers-apart) they pay\n  ingress:\n");
    let at_rule = TRAP.replace("  - from:\n", "  # tortie: allow(peers-apart, overlaping-ports)\n  - from:\n");
    let config =
        "[lints]\npeers-apart = \"note\"\n[[override]]\npath = \"*strict*\"\nlints = { peers-apart = \"error\" }\n";
    let here = folder(&[("p.yaml", TRAP), ("allowed.yaml", &allowed), ("rule.yaml", &at_rule), ("strict.yaml", TRAP)]);
    let at = |file: &str, more: &[&str]| level(here.path(), "peers-apart", &[&["-f", file], more].concat());
    assert_eq!(at("p.yaml", &[]).as_deref(), Some("warning"));
    assert_eq!(at("p.yaml", &["--deny", "peers-apart"]).as_deref(), Some("error"));
    assert_eq!(at("p.yaml", &["--allow", "peers-apart"]), None);
    assert_eq!(at("allowed.yaml", &[]), None);
    assert_eq!(at("rule.yaml", &[]), None);
    assert_eq!(level(here.path(), "unknown-lint", &["-f", "rule.yaml"]).as_deref(), Some("error"));
    let (_, out, _) = check(here.path(), &["-f", "rule.yaml"]);
    assert!(out.contains("did you mean overlapping-ports?"), "{out}");
    fs::write(here.path().join("tortie.toml"), config).expect("a file");
    assert_eq!(at("p.yaml", &[]).as_deref(), Some("note"));
    assert_eq!(at("strict.yaml", &[]).as_deref(), Some("error"));
    assert_eq!(at("p.yaml", &["--warn", "peers-apart"]).as_deref(), Some("warning"), "options win");
    fs::write(here.path().join("tortie.toml"), "[lints]\npeer-apart = \"note\"\n").expect("a file");
    let (code, _, err) = check(here.path(), &["-f", "p.yaml"]);
    assert!(code == 2 && err.contains("tortie.toml") && err.contains("did you mean peers-apart?"), "{err}");
}

#[test]
fn programs_read_sarif_and_annotations() {
    let here = folder(&[("p.yaml", TRAP)]);
    let (code, out, _) = check(here.path(), &["-f", "p.yaml", "-o", "sarif"]);
    let sarif: Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!((code, &sarif["version"]), (0, &"2.1.0".into()));
    let results = sarif["runs"][0]["results"].as_array().expect("results");
    let trap = results.iter().find(|r| r["ruleId"] == "peers-apart").expect("the trap");
    let region = &trap["locations"][0]["physicalLocation"]["region"];
    assert_eq!(
        (&trap["level"], &region["startLine"], &region["startColumn"]),
        (&"warning".into(), &26.into(), &7.into())
    );
    let rule = &sarif["runs"][0]["tool"]["driver"]["rules"][trap["ruleIndex"].as_u64().expect("a number") as usize];
    assert_eq!(rule["id"], "peers-apart");
    let (_, out, _) = check(here.path(), &["-f", "p.yaml", "-o", "github"]);
    assert!(out.contains("::warning file=p.yaml,line=26,col=7,endLine=26,title=peers-apart::"), "{out}");
}

#[test]
fn what_is_safe_is_mended_and_comments_stay() {
    let here = folder(&[("p.yaml", TRAP)]);
    let (code, out, err) = check(here.path(), &["-f", "p.yaml", "--diff"]);
    assert!(code == 0 && out.contains("-    - podSelector:") && out.contains("+      podSelector:"), "{out}{err}");
    assert_eq!(fs::read_to_string(here.path().join("p.yaml")).expect("there"), TRAP, "--diff changes nothing");
    let (code, _, err) = check(here.path(), &["-f", "p.yaml", "--fix"]);
    assert!(code == 0 && err.contains("1 file mended"), "{err}");
    let mended = TRAP.replace("    - podSelector:  ", "      podSelector:  ").replacen("    - port: 443\n", "", 1);
    assert_eq!(fs::read_to_string(here.path().join("p.yaml")).expect("there"), mended);
    let (_, _, err) = check(here.path(), &["-f", "p.yaml", "--fix"]);
    assert!(err.contains("nothing that could be mended"), "{err}");
    let (code, _, err) = check(here.path(), &["-f", "-", "--fix"]);
    assert_eq!(code, 2, "{err}");
}

#[test]
fn the_catalogue_and_its_pages_are_shown() {
    let here = folder(&[]);
    let (code, out, _) = check(here.path(), &["--list"]);
    assert!(code == 0 && out.lines().count() >= 40, "{out}");
    assert!(out.lines().all(|l| l.chars().count() <= 120), "{out}");
    let (code, out, _) = check(here.path(), &["--explain", "one-sided"]);
    assert!(code == 0 && out.starts_with("# one-sided"), "{out}");
    let (code, _, err) = check(here.path(), &["--explain", "one-side"]);
    assert!(code == 2 && err.contains("did you mean one-sided?"), "{err}");
}
