//! `tortie test`: cases answered offline, with exit codes and reports for people and for machines.

use std::path::Path;
use std::process::{Command, Output};

fn test(arguments: &[&str]) -> (Output, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_tortie"))
        .arg("test")
        .args(arguments)
        .env("NO_COLOR", "1")
        .output()
        .expect("tortie runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    (output, text)
}

const CASE: &str = "\
tortie: v1
name: two pods
objects:
- {apiVersion: v1, kind: Pod, metadata: {namespace: shop, name: a}, spec: {containers: [{name: c, image: i}]}}
- {apiVersion: v1, kind: Pod, metadata: {namespace: shop, name: b}, spec: {containers: [{name: c, image: i}]}}
- apiVersion: networking.k8s.io/v1
  kind: NetworkPolicy
  metadata: {namespace: shop, name: closed}
  spec: {podSelector: {}, policyTypes: [Ingress]}
steps:
- name: closed
  expect:
  - probe: TCP/80
    deny: ['shop/a -> shop/b']
    allow: ['shop/b -> shop/a']
";

#[test]
fn the_examples_hold_offline() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    let (output, text) = test(&[examples.to_str().expect("UTF-8")]);
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(text.contains("4 cases: 4 ok") && text.contains("in memory"), "{text}");
}

#[test]
fn what_differs_is_told_with_its_line() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("two.case.yaml");
    std::fs::write(&path, CASE).expect("a file");
    let path = path.to_str().expect("UTF-8");
    let (output, text) = test(&[path]);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("FAIL  two pods: 2 of 4 probes differ"), "{text}");
    assert!(text.contains("two.case.yaml:15") && text.contains("shop/b -> shop/a"), "{text}");
    assert!(text.contains("NetworkPolicy/shop/closed"), "{text}");
    // Both families fail for one reason: it is told once, with the change that makes the case hold.
    for line in [
        "  ingress of shop/a: denied: the pod is selected by one policy, and no rule",
        "  the smallest change that allows it",
        "    one more policy for ingress: NetworkPolicy/shop/allow-a-from-b",
        "+++ allow-a-from-b.yaml",
    ] {
        assert_eq!(text.lines().filter(|l| *l == line).count(), 1, "{line}\n{text}");
    }

    let (output, junit) = test(&[path, "-o", "junit"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(junit.contains("<testsuites name=\"tortie\" tests=\"1\" failures=\"1\""), "{junit}");
    assert!(junit.contains("the smallest change that allows it") && !junit.contains('\x1b'), "{junit}");
    let (output, json) = test(&[path, "-o", "json"]);
    assert_eq!(output.status.code(), Some(1));
    let lines: Vec<serde_json::Value> =
        json.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect();
    assert_eq!(lines.len(), 4);
    assert!(lines.iter().all(|l| l["engine"] == "deny" && l["plan"] == "deny" && l["kernel"].is_null()), "{json}");
    // Who decides is told of each that failed, and the change of the first.
    let (failed, held): (Vec<_>, Vec<_>) = lines.iter().partition(|l| l["expected"] == "allow");
    assert_eq!((failed.len(), held.len()), (2, 2), "{json}");
    assert!(held.iter().all(|l| l.get("explanation").is_none() && l.get("expectation").is_none()), "{json}");
    for line in &failed {
        assert_eq!(line["expectation"]["line"], 15);
        let ingress = &line["explanation"]["ingress"];
        assert_eq!(ingress["isolating"], serde_json::json!(["NetworkPolicy/shop/closed"]));
    }
    let patches: Vec<_> = failed.iter().filter_map(|l| l["explanation"]["edit"]["patch"].as_str()).collect();
    assert!(matches!(patches[..], [patch] if patch.contains("+++ allow-a-from-b.yaml")), "{json}");
}

#[test]
fn the_change_of_an_object_in_a_case_is_made_in_the_case() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("two.case.yaml");
    // Among the objects of the case, and among those of a step.
    let rule = "spec: {podSelector: {}, ingress: [{ports: [{port: 81}]}]}";
    let whole = CASE.replace("spec: {podSelector: {}, policyTypes: [Ingress]}", rule);
    let (before, after) = whole.split_once("- apiVersion: networking").expect("a policy");
    let (policy, steps) = after.split_once("steps:\n- name: closed\n").expect("a step");
    let policy = format!("- apiVersion: networking{policy}").lines().map(|l| format!("  {l}\n")).collect::<String>();
    let stepped = format!("{before}steps:\n- name: closed\n  objects:\n{policy}{steps}");
    for text in [&whole, &stepped] {
        std::fs::write(&path, text).expect("a file");
        let (_, out) = test(&[path.to_str().expect("UTF-8")]);
        assert!(out.contains("  one more ingress rule in NetworkPolicy/shop/closed\n"), "{out}");
        let patched =
            "ingress: [{ports: [{port: 81}]}, {from: [{podSelector: {}}], ports: [{protocol: TCP, port: 80}]}]}";
        assert!(out.lines().any(|l| l.starts_with("+ ") && l.ends_with(patched)), "{out}");
    }
}

#[test]
fn a_new_file_has_to_be_named_in_the_case() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("two.case.yaml");
    std::fs::write(&path, CASE).expect("a file");
    let (_, text) = test(&[path.to_str().expect("UTF-8")]);
    assert!(text.contains("The case does not read allow-a-from-b.yaml yet: put it beside the case"), "{text}");
    assert!(text.contains("under `apply` of step `closed`"), "{text}");
}

#[test]
fn a_folder_of_nothing_is_said_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().to_str().expect("UTF-8");
    let (output, text) = test(&[path]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!((output.status.code(), text.as_str()), (Some(2), ""));
    assert_eq!(said.matches("error").count(), 1, "{said}");
    assert!(said.contains(&format!("{path} holds neither cases nor manifests")), "{said}");
}

#[test]
fn what_cannot_be_played_is_no_success() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("bad.case.yaml");
    std::fs::write(&path, CASE.replace("shop/b -> shop/a", "shop/b -> shop/nobody")).expect("a file");
    let (output, text) = test(&[path.to_str().expect("UTF-8")]);
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert_eq!(test(&["nowhere"]).0.status.code(), Some(2));
    let alone = folder.path().join("alone.yaml");
    std::fs::write(
        &alone,
        "{apiVersion: v1, kind: Pod, metadata: {name: a}, spec: {containers: [{name: c, image: i}]}}",
    )
    .expect("a file");
    let (output, text) = test(&[alone.to_str().expect("UTF-8")]);
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(text.contains("nothing to probe"), "{text}");
}

#[test]
fn a_case_that_cannot_be_played_keeps_no_other_from_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str, text: String| std::fs::write(folder.path().join(name), text).expect("a file");
    file("bad.case.yaml", CASE.replace("shop/b -> shop/a", "shop/b -> shop/nobody").replace("two pods", "a < b"));
    file("good.case.yaml", CASE.replace("    allow: ['shop/b -> shop/a']\n", ""));
    let path = folder.path().to_str().expect("UTF-8");
    let (output, text) = test(&[path]);
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(text.contains("nobody matches the right side") && text.contains("bad.case.yaml:15:"), "{text}");
    assert!(text.ends_with("2 cases: 1 ok, 1 not played; 2 probes, in memory\n"), "{text}");
    let (output, junit) = test(&[path, "-o", "junit"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(junit.contains("<testsuites name=\"tortie\" tests=\"2\" failures=\"0\" errors=\"1\""), "{junit}");
    assert!(junit.contains("<testsuite name=\"a &lt; b\""), "{junit}");
}

#[cfg(target_os = "linux")]
#[test]
fn with_packets_the_kernel_answers_as_well() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("two.case.yaml");
    std::fs::write(&path, CASE).expect("a file");
    let (output, json) = test(&["--lab", path.to_str().expect("UTF-8"), "-o", "json"]);
    if output.status.code() == Some(2) && std::env::var_os("TORTIE_ALLOW_SKIP").is_some_and(|v| v == "1") {
        return;
    }
    // Of two expectations one is wrong, in both families; the packets side with the engine.
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let lines: Vec<serde_json::Value> =
        json.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect();
    assert_eq!(lines.len(), 4);
    assert!(lines.iter().all(|l| l["engine"] == "deny" && l["kernel"] == "deny"), "{json}");
}

/// Many pods that all fail alike in two steps, and one that fails for another reason.
fn crowd() -> String {
    let pod = |name: &str, labels: &str| {
        format!(
            "- {{apiVersion: v1, kind: Pod, metadata: {{namespace: shop, name: {name}, labels: {{{labels}}}}}, \
             spec: {{containers: [{{name: c, image: i}}]}}}}\n"
        )
    };
    let pods: String = (0..30).map(|n| pod(&format!("p{n}"), "role: crowd")).collect();
    let policy = "- apiVersion: networking.k8s.io/v1\n  kind: NetworkPolicy\n  metadata: {namespace: shop, name: db}\n  \
                  spec:\n    podSelector: {matchLabels: {role: db}}\n    ingress:\n    - from:\n      - podSelector: \
                  {matchLabels: {role: web}}\n";
    let expect = "  expect:\n  - probe: TCP/80\n    allow: ['shop/p* -> shop/db']\n    deny: ['shop/web -> shop/db']\n";
    format!(
        "tortie: v1\nname: 'crowd #1'\nobjects:\n{pods}{}{}{policy}steps:\n- name: first\n{expect}- name: second\n  \
         label: [{{object: Pod/shop/web, set: {{seen: 'yes'}}}}]\n{expect}- name: nothing to complain about\n  \
         delete: [NetworkPolicy/shop/db]\n  expect:\n  - probe: TCP/80\n    allow: ['shop/p* -> shop/db']\n",
        pod("db", "role: db"),
        pod("web", "role: web")
    )
}

#[test]
fn what_fails_for_one_reason_is_explained_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("crowd.case.yaml");
    std::fs::write(&path, crowd()).expect("a file");
    let (output, text) = test(&[path.to_str().expect("UTF-8")]);
    assert_eq!(output.status.code(), Some(1), "{text}");
    let count = |what: &str| text.matches(what).count();
    assert_eq!(count("the nearest rule is ingress[0] of NetworkPolicy/shop/db"), 1, "{text}");
    assert_eq!(count("the smallest change that allows it"), 1, "{text}");
    assert_eq!(count("... and 25 other pairs, for the same reason"), 2, "{text}");
    assert_eq!(count("ingress of shop/db: allowed by ingress[0] of NetworkPolicy/shop/db"), 1, "{text}");
    assert_eq!(count("for the reason that is told after step `first`"), 2, "{text}");
    assert!(text.lines().count() < 120, "{text}");
}

/// A test point as a consumer of TAP version 14 sees it.
struct Point {
    ok: bool,
    description: String,
    diagnostics: Option<String>,
}

/// Reads TAP version 14, as strictly as this program writes it.
fn tap(text: &str) -> Vec<Point> {
    let mut lines = text.lines().peekable();
    assert_eq!(lines.next(), Some("TAP version 14"));
    let plan = lines.next().and_then(|l| l.strip_prefix("1..")).expect("a plan").parse::<usize>().expect("a number");
    let mut points: Vec<Point> = Vec::new();
    while let Some(line) = lines.next() {
        let (ok, rest) = match line.strip_prefix("not ") {
            Some(rest) => (false, rest),
            None => (true, line),
        };
        let (number, description) = rest.strip_prefix("ok ").and_then(|l| l.split_once(" - ")).expect(line);
        assert_eq!(number.parse(), Ok(points.len() + 1), "{line}");
        let mut description = description.to_owned();
        for (at, _) in description.clone().match_indices('#') {
            assert!(description[..at].ends_with('\\'), "a directive: {line}");
        }
        description = description.replace("\\#", "#").replace("\\\\", "\\");
        let diagnostics = lines.next_if_eq(&"  ---").map(|_| {
            let block = lines.by_ref().take_while(|l| *l != "  ...");
            let inside = |l: &str| match l {
                "" => "\n".to_owned(),
                l => format!("{}\n", l.strip_prefix("  ").expect("it belongs to the block")),
            };
            block.map(inside).collect::<String>()
        });
        points.push(Point { ok, description, diagnostics });
    }
    assert_eq!(points.len(), plan);
    points
}

#[test]
fn tap_has_a_test_a_step_with_the_explanation_of_what_failed() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("crowd.case.yaml");
    std::fs::write(&path, crowd()).expect("a file");
    let path = path.to_str().expect("UTF-8");
    let (output, text) = test(&[path, "-o", "tap"]);
    assert_eq!(output.status.code(), Some(1), "{text}");
    let points = tap(&text);
    let told: Vec<(bool, &str)> = points.iter().map(|p| (p.ok, p.description.as_str())).collect();
    let expected =
        [(false, "crowd #1: first"), (false, "crowd #1: second"), (true, "crowd #1: nothing to complain about")];
    assert_eq!(told, expected, "{text}");
    let block = points[0].diagnostics.as_deref().expect("what failed");
    assert!(block.contains("message: \"62 of 62 probes differ\"\n"), "{block}");
    let place = format!("file: \"{path}\"\nline: ");
    assert!(block.contains(&place) && block.contains("\nexplanation: |2\n  "), "{block}");
    assert!(block.contains("the smallest change that allows it"), "{block}");
    assert!(points[2].diagnostics.is_none());
}
