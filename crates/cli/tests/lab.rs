//! The lab as its user has it: up in the background, changed, asked, entered, ended.
#![cfg(target_os = "linux")]

#[path = "support/schema.rs"]
mod support;

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

const PODS: &str = "\
{apiVersion: v1, kind: Pod, metadata: {namespace: a, name: one}, spec: {nodeName: node-1, containers: [{name: c, image: i}]}}
---
{apiVersion: v1, kind: Pod, metadata: {namespace: b, name: two}, spec: {nodeName: node-2, containers: [{name: c, image: i}]}}
";
const CLOSED: &str = "\
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {namespace: b, name: closed}
spec: {podSelector: {}}
";
const STAGED: &str = "\
apiVersion: projectcalico.org/v3
kind: StagedNetworkPolicy
metadata: {namespace: b, name: no-udp}
spec:
  ingress:
  - {action: Deny, protocol: UDP}
  - {action: Allow}
";
/// Each is understood, and cannot be had: an address is taken, a ClusterIP is, a port is none.
const IMPOSSIBLE: [(&str, &str, &str); 3] = [
    (
        "address.yaml",
        "{apiVersion: v1, kind: Pod, metadata: {namespace: b, name: three}, spec: {containers: [{name: c, image: i}]}, status: {podIP: 192.168.64.12}}",
        "192.168.64.12",
    ),
    (
        "service.yaml",
        "{apiVersion: v1, kind: Service, metadata: {namespace: b, name: web}, spec: {clusterIP: 10.96.0.10, ports: [{port: 80}]}}",
        "Service/kube-system/kube-dns",
    ),
    (
        "policy.yaml",
        "{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {namespace: a, name: p}, spec: {podSelector: {}, ingress: [{ports: [{port: 99999}]}]}}",
        "must be between 1 and 65535",
    ),
];

/// A lab in the background, ended with the test.
struct Lab {
    name: String,
    folder: TempDir,
}

impl Lab {
    /// `None` where namespaces are refused and the caller said that this may be skipped.
    fn up(name: &str) -> Option<Self> {
        let lab =
            Self { name: format!("{name}-{}", std::process::id()), folder: tempfile::tempdir().expect("a folder") };
        lab.write("pods.yaml", PODS);
        lab.write("closed.yaml", CLOSED);
        let (code, _, err) = lab.tortie(&["lab", "up", "--detach", "-f", "pods.yaml"]);
        let may_skip = std::env::var("TORTIE_ALLOW_SKIP").is_ok_and(|v| v == "1");
        assert!(code == 0 || may_skip, "it does not come up: {err}");
        (code == 0).then_some(lab)
    }

    fn write(&self, file: &str, text: &str) {
        fs::write(self.folder.path().join(file), text).expect("written");
    }

    /// Exit code, standard output, standard error.
    fn tortie(&self, arguments: &[&str]) -> (i32, String, String) {
        // What follows `--` is not tortie's.
        let at = arguments.iter().position(|a| *a == "--").unwrap_or(arguments.len());
        let (own, command) = arguments.split_at(at);
        let arguments = [own, &["--name", &self.name], command].concat();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
        let Output { status, stdout, stderr } = tortie(self.folder.path(), &arguments);
        (status.code().expect("no signal"), text(stdout), text(stderr))
    }

    fn status(&self) -> Value {
        let (code, out, err) = self.tortie(&["lab", "status", "-o", "json"]);
        assert_eq!(code, 0, "{err}");
        let mut status: Value = serde_json::from_str(&out).expect("JSON");
        // A number that grows with each change that was tried.
        status["nodes"].as_array_mut().into_iter().flatten().for_each(|node| node["generation"] = Value::Null);
        status
    }

    /// What the kernel and the engine say of a probe, in both families.
    fn probe(&self, from: &str, to: &str, probe: &str) -> Vec<(String, String)> {
        let (code, out, err) = self.tortie(&["lab", "probe", from, to, probe, "-o", "json"]);
        assert_eq!(code, 0, "{out}{err}");
        let lines = out.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
        let text = |line: &Value, key: &str| line[key].as_str().unwrap_or_default().to_owned();
        lines.map(|line| (text(&line, "kernel"), text(&line, "engine"))).collect()
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        tortie(self.folder.path(), &["lab", "down", "--name", &self.name]);
    }
}

fn tortie(at: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tortie"))
        .args(arguments)
        .current_dir(at)
        .env("NO_COLOR", "1")
        .stdin(Stdio::null())
        .output()
        .expect("tortie runs")
}

fn both(answer: &str) -> Vec<(String, String)> {
    vec![(answer.to_owned(), answer.to_owned()); 2]
}

#[test]
fn policies_come_and_go_while_it_runs() {
    let Some(lab) = Lab::up("changes") else { return };
    let status = lab.status();
    let pods: Vec<_> =
        status["pods"].as_array().expect("pods").iter().filter(|p| p["namespace"] != "kube-system").collect();
    let named = |p: &Value| format!("{}/{} {}", p["namespace"], p["name"], p["node"]).replace('"', "");
    assert_eq!(pods.iter().map(|p| named(p)).collect::<Vec<_>>(), ["a/one node-1", "b/two node-2"]);
    assert!(pods.iter().all(|p| p["addresses"].as_array().is_some_and(|a| a.len() == 2)), "{status}");
    for probe in ["ping", "TCP/80", "UDP/80"] {
        assert_eq!(lab.probe("a/one", "b/two", probe), both("allow"));
    }
    let (code, out, _) = lab.tortie(&["lab", "apply", "-f", "closed.yaml"]);
    assert_eq!((code, out.as_str()), (0, "NetworkPolicy/b/closed created\n"));
    assert_eq!(lab.tortie(&["lab", "apply", "-f", "closed.yaml"]).1, "NetworkPolicy/b/closed unchanged\n");
    for probe in ["ping", "TCP/80", "UDP/80"] {
        assert_eq!(lab.probe("a/one", "b/two", probe), both("deny"));
    }
    let (_, out, _) = lab.tortie(&["lab", "probe", "a/one", "b/two"]);
    assert!(out.contains("NetworkPolicy/b/closed") && out.contains("closed.yaml:3"), "{out}");
    let (code, out, _) = lab.tortie(&["lab", "delete", "-f", "closed.yaml"]);
    assert_eq!((code, out.as_str()), (0, "NetworkPolicy/b/closed deleted\n"));
    assert_eq!(lab.probe("a/one", "b/two", "ping"), both("allow"));
    assert_eq!(lab.tortie(&["lab", "delete", "-f", "closed.yaml"]).0, 2, "there is none");
    assert_eq!(lab.status(), status);
}

/// Policies are asked about packets before they are enforced, come or go as a change of what is there, and end with it.
#[test]
fn a_dry_run_says_what_a_change_would_do_and_does_nothing() {
    let Some(lab) = Lab::up("dry") else { return };
    let flows = |more: &[&str]| -> Vec<Value> {
        let (code, out, err) = lab.tortie(&[&["lab", "flows", "-o", "json"], more].concat());
        assert_eq!(code, 0, "{err}");
        out.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    };
    // Records are read by another thread than the one that answers.
    let changed = |traffic: &str| -> Vec<Value> {
        let until = std::time::Instant::now() + std::time::Duration::from_secs(20);
        loop {
            let found: Vec<_> = flows(&["--changed"]).into_iter().filter(|f| f["traffic"] == traffic).collect();
            if found.len() == 2 || std::time::Instant::now() > until {
                return found;
            }
        }
    };
    let would = |flow: &Value| {
        let said = &flow["dry_run"]["ingress"];
        let by = if said["decided_by"].is_null() { &said["isolating"][0] } else { &said["decided_by"] };
        format!("{} {} {}:{}", flow["verdict"], flow["dry_run"]["verdict"], by["file"], by["line"]).replace('"', "")
    };
    lab.write("open.yaml", &CLOSED.replace("{podSelector: {}}", "{podSelector: {}, ingress: [{ports: [{port: 80}]}]}"));
    let dry = |verb: &str, file: &str| lab.tortie(&["lab", verb, "-f", file, "--dry-run=packets"]);
    let (code, out, err) = dry("apply", "closed.yaml");
    assert_eq!((code, out.as_str()), (0, "NetworkPolicy/b/closed created (dry run)\n"), "{err}");
    assert_eq!(lab.status()["dry_run"]["changes"], serde_json::json!(["NetworkPolicy/b/closed created"]));
    assert_eq!(lab.probe("a/one", "b/two", "TCP/80"), both("allow"));
    let found = changed("TCP/80");
    assert_eq!(found.iter().map(would).collect::<Vec<_>>(), ["allow deny closed.yaml:3"; 2]);
    found.iter().for_each(|flow| support::assert_valid(&support::closed("lab-flows"), flow, "a flow"));
    let (_, out, _) = lab.tortie(&["lab", "flows"]);
    let words = out.split_whitespace().collect::<Vec<_>>().join(" ");
    let line = "dry run: would be denied: ingress: no rule of NetworkPolicy/b/closed (closed.yaml:3) allows it";
    assert!(words.contains(line), "{out}");
    let (_, out, _) = lab.tortie(&["lab", "status", "-o", "json"]);
    support::assert_valid(&support::closed("lab-status"), &serde_json::from_str(&out).expect("JSON"), "status");
    let (code, out, err) = lab.tortie(&["lab", "verify", "-o", "json"]);
    assert_eq!(code, 0, "{err}");
    assert_eq!(support::assert_lines_valid("lab-verify", &out), 2);
    assert_eq!(out.matches("\"dry_run\":{\"holds\":true").count(), 2, "{out}");

    // Once it is enforced it is a change no more; another one takes its place, and is one of what is there now.
    assert_eq!(lab.tortie(&["lab", "apply", "-f", "closed.yaml"]).0, 0);
    assert_eq!(lab.status().get("dry_run"), None);
    assert_eq!(dry("apply", "closed.yaml").1, "NetworkPolicy/b/closed unchanged (dry run)\n");
    assert_eq!(dry("apply", "open.yaml").1, "NetworkPolicy/b/closed configured (dry run)\n");
    assert_eq!(lab.probe("a/one", "b/two", "TCP/80"), both("deny"));
    assert_eq!(changed("TCP/80").iter().map(would).collect::<Vec<_>>(), ["deny allow open.yaml:4"; 2]);
    assert_eq!(dry("delete", "closed.yaml").1, "NetworkPolicy/b/closed deleted (dry run)\n");
    assert_eq!(lab.probe("a/one", "b/two", "TCP/81"), both("deny"));
    assert_eq!(changed("TCP/81").iter().map(would).collect::<Vec<_>>(), ["deny allow null:null"; 2]);

    // What is no policy is not tried out, and what was still is.
    lab.write("pod.yaml", &PODS.replace("one", "three"));
    let (code, _, err) = dry("apply", "pod.yaml");
    assert!(code == 2 && err.contains("Pod/a/three would be new"), "{err}");
    assert_eq!(lab.status()["dry_run"]["changes"], serde_json::json!(["NetworkPolicy/b/closed deleted"]));
    for wrong in [&["--dry-run=packets"][..], &["--dry-run=off", "-f", "closed.yaml"], &[]] {
        assert_eq!(lab.tortie(&[&["lab", "apply"], wrong].concat()).0, 2, "{wrong:?}");
    }
    assert_eq!(lab.tortie(&["lab", "apply", "--dry-run=off"]).0, 0);
    assert_eq!(lab.status().get("dry_run"), None);

    // A change that is none of policies any more ends with the one that makes it so, and says why.
    let one = PODS.lines().next().expect("a pod");
    lab.write("one.yaml", one);
    lab.write("label.yaml", &one.replace("name: one", "name: one, labels: {tier: web}"));
    let (code, _, err) = dry("apply", "label.yaml");
    assert_eq!(code, 0, "{err}");
    assert_eq!(lab.status()["dry_run"]["changes"], serde_json::json!(["Pod/a/one configured"]));
    let (code, _, err) = lab.tortie(&["lab", "delete", "-f", "one.yaml"]);
    let words = err.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(code == 0 && words.contains("the dry run has ended: Pod/a/one would be new"), "{err}");
    assert_eq!(lab.status().get("dry_run"), None);
    assert_eq!(lab.tortie(&["lab", "apply", "-f", "one.yaml"]).0, 0);

    // What is staged is tried out by itself.
    assert_eq!(lab.tortie(&["lab", "delete", "-f", "closed.yaml"]).0, 0);
    lab.write("staged.yaml", STAGED);
    let other = format!("{}-too", lab.name);
    let up = tortie(lab.folder.path(), &["lab", "up", "--detach", "-f", "staged.yaml", "--name", &other]);
    let said = String::from_utf8_lossy(&up.stderr).into_owned();
    tortie(lab.folder.path(), &["lab", "down", "--name", &other]);
    assert!(up.status.success() && said.contains("1 change is tried out on packets, not enforced"), "{said}");
    assert_eq!(lab.tortie(&["lab", "apply", "-f", "staged.yaml"]).1, "StagedNetworkPolicy/b/no-udp created\n");
    assert_eq!(lab.probe("a/one", "b/two", "UDP/53"), both("allow"));
    assert_eq!(changed("UDP/53").iter().map(would).collect::<Vec<_>>(), ["allow deny staged.yaml:6"; 2]);
    assert_eq!(lab.tortie(&["lab", "delete", "-f", "staged.yaml"]).0, 0);
    assert_eq!(lab.status().get("dry_run"), None);
}

/// What it writes for programs is what docs/schemas says.
#[test]
fn a_lab_writes_what_its_schemas_say() {
    let Some(lab) = Lab::up("schemas") else { return };
    let (code, _, err) = lab.tortie(&["lab", "apply", "-f", "closed.yaml"]);
    assert_eq!(code, 0, "{err}");
    let json = |arguments: &[&str]| {
        let (code, out, err) = lab.tortie(&[arguments, &["-o", "json"]].concat());
        assert_eq!(code, 0, "{arguments:?}: {err}");
        out
    };
    let status = serde_json::from_str(&json(&["lab", "status"])).expect("JSON");
    support::assert_valid(&support::closed("lab-status"), &status, "status");
    assert!(status["pods"].as_array().is_some_and(|pods| pods.len() >= 2), "{status:#}");
    let probes = [json(&["lab", "probe", "a/one", "b/two"]), json(&["lab", "probe", "b/two", "a/one"])].concat();
    assert_eq!(support::assert_lines_valid("lab-probe", &probes), 4);
    let flows = json(&["lab", "flows"]);
    assert!(support::assert_lines_valid("lab-flows", &flows) >= 4, "{flows}");
    assert!(flows.contains("\"isolating\":[{"), "{flows}");
    assert_eq!(support::assert_lines_valid("lab-verify", &json(&["lab", "verify"])), 2);
}

#[test]
fn what_cannot_be_had_changes_nothing() {
    let Some(lab) = Lab::up("impossible") else { return };
    let before = lab.status();
    for (file, text, said) in IMPOSSIBLE {
        // What comes before and after it would be fine by itself.
        lab.write(file, &format!("{CLOSED}---\n{text}\n---\n{PODS}"));
        let (code, out, err) = lab.tortie(&["lab", "apply", "-f", file]);
        assert_eq!((code, out.as_str()), (2, ""), "{err}");
        assert!(err.contains(said), "{err}");
        assert_eq!(lab.status(), before, "{file}");
        assert_eq!(lab.probe("a/one", "b/two", "TCP/80"), both("allow"), "{file}");
    }
    // A node that comes late moves nobody.
    lab.write("late.yaml", &PODS.replace("two", "late").replace("node-2", "another"));
    assert_eq!(lab.tortie(&["lab", "apply", "-f", "late.yaml"]).0, 0);
    for (from, to) in [("a/one", "b/late"), ("b/late", "b/two"), ("a/one", "b/two")] {
        assert_eq!(lab.probe(from, to, "TCP/80"), both("allow"));
    }
}

#[test]
fn programs_run_in_its_pods_and_nodes() {
    let Some(lab) = Lab::up("entered") else { return };
    let shell = |place: &str, script: &str| lab.tortie(&["lab", "exec", place, "--", "/bin/sh", "-c", script]);
    let (code, out, err) = shell("b/two", "read line < /etc/resolv.conf; echo $line; exit 7");
    assert_eq!((code, out.as_str()), (7, "search b.svc.cluster.local svc.cluster.local cluster.local\n"), "{err}");
    let addresses = "while read a; do echo $a; done < /proc/net/fib_trie";
    let has = |place: &str, ip: &str| shell(place, addresses).1.lines().any(|l| l.ends_with(&format!("-- {ip}")));
    let status = lab.status();
    let ip_of = |list: &str, name: &str| -> String {
        let found = status[list].as_array().into_iter().flatten().find(|o| o["name"] == name);
        found.and_then(|o| o["addresses"][0].as_str()).expect("an address").to_owned()
    };
    let (one, node) = (ip_of("pods", "one"), ip_of("nodes", "node-1"));
    assert!(has("a/one", &one) && !has("b/two", &one));
    assert!(has("node/node-1", &node) && !has("node/node-2", &node));
    for place in ["a/nobody", "node/nowhere", "*/*"] {
        let (code, _, err) = shell(place, "true");
        assert!(code == 2 && err.starts_with("error: "), "{place}: {err}");
    }
}

#[test]
fn two_labs_do_not_know_each_other_and_a_name_is_taken_once() {
    let (Some(one), Some(two)) = (Lab::up("first"), Lab::up("second")) else { return };
    let again = one.tortie(&["lab", "up", "--detach"]);
    assert!(again.0 == 2 && again.2.contains("is running already"), "{}", again.2);
    assert_eq!(one.tortie(&["lab", "apply", "-f", "closed.yaml"]).0, 0);
    assert_eq!(one.probe("a/one", "b/two", "TCP/80"), both("deny"));
    assert_eq!(two.probe("a/one", "b/two", "TCP/80"), both("allow"));
    assert_eq!(one.tortie(&["lab", "down"]).0, 0);
    let gone = one.tortie(&["lab", "status"]);
    assert!(gone.0 == 2 && gone.2.contains("no lab"), "{}", gone.2);
    assert_eq!(two.probe("a/one", "b/two", "TCP/80"), both("allow"));
}

#[test]
fn a_killed_lab_frees_its_name() {
    let Some(lab) = Lab::up("killed") else { return };
    let pid = lab.status()["pid"].to_string();
    // The shell's own `kill`, as no other program is needed here.
    let kill = Command::new("/bin/sh").args(["-c", &format!("kill -9 {pid}")]).status().expect("a shell");
    assert!(kill.success());
    // Its last thread may end a moment after the kill.
    let until = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while lab.tortie(&["lab", "status"]).0 != 2 {
        assert!(std::time::Instant::now() < until, "it still answers");
    }
    assert_eq!(lab.tortie(&["lab", "up", "--detach", "-f", "pods.yaml"]).0, 0);
    assert_eq!(lab.probe("a/one", "b/two", "ping"), both("allow"));
}

#[test]
fn a_wrong_expectation_exits_with_1_and_names_its_cell_alone() {
    let Some(_) = Lab::up("expectations") else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let pods = PODS.replace("---\n", "").lines().map(|l| format!("- {l}\n")).collect::<String>();
    let policy = "- {apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {namespace: b, name: closed}, spec: {podSelector: {}}}\n";
    let expect =
        "steps:\n- name: closed\n  expect:\n  - {probe: ping, deny: ['a/one -> b/two'], allow: ['b/two -> a/one']}\n";
    let right = format!("tortie: v1\nname: c\nobjects:\n{pods}{policy}{expect}");
    for (text, code, differ) in [
        (right.clone(), 0, vec![]),
        (
            right.replace("deny: ['a/one -> b/two'], allow: ['", "allow: ['a/one -> b/two', '"),
            1,
            vec!["a/one -> b/two"],
        ),
        (
            right.replace("deny:", "x:").replace("allow:", "deny:").replace("x:", "allow:"),
            1,
            vec!["a/one -> b/two", "b/two -> a/one"],
        ),
    ] {
        fs::write(folder.path().join("c.case.yaml"), text).expect("written");
        let output = tortie(folder.path(), &["lab", "run", "."]);
        let out = String::from_utf8_lossy(&output.stdout);
        let named: Vec<&str> = out.lines().filter_map(|l| l.strip_prefix("differs ")?.split("  ").next()).collect();
        assert_eq!((output.status.code(), named), (Some(code), differ), "{out}");
        let isolated = "ingress is isolated by NetworkPolicy/b/closed (c.case.yaml:6), and no rule";
        assert_eq!(out.contains(isolated), code == 1, "{out}");
        let output = tortie(folder.path(), &["lab", "run", ".", "-o", "json"]);
        assert_eq!(output.status.code(), Some(code));
        let lines = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(lines.lines().count(), 4, "a line a probe and family: {lines}");
        for line in lines.lines().map(|l| serde_json::from_str::<Value>(l).expect("JSON")) {
            assert_eq!(line["explanation"]["allowed"].is_boolean(), line["expected"] != line["engine"], "{line}");
            let keys = [
                "case",
                "step",
                "family",
                "from",
                "to",
                "probe",
                "via",
                "expected",
                "engine",
                "plan",
                "kernel",
                "decided_by",
                "ms",
            ];
            assert!(keys.iter().all(|k| line.get(k).is_some()), "{line}");
            assert!(line["engine"] == line["kernel"] && line["engine"] == line["plan"], "{line}");
        }
    }
}
