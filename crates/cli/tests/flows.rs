//! `lab flows`: who was denied by which line of which file, told by a lab in the background.
#![cfg(target_os = "linux")]

use std::process::{Command, Output};

use serde_json::Value;

fn tortie(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tortie")).args(arguments).env("NO_COLOR", "1").output().expect("tortie runs")
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A lab in the background, ended with the test.
struct Lab(String);

impl Lab {
    fn ask(&self, arguments: &[&str]) -> Output {
        tortie(&[&["lab"], arguments, &["--name", &self.0]].concat())
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.ask(&["down"]);
    }
}

const OBJECTS: &str = "\
apiVersion: v1
kind: Pod
metadata: {name: web, namespace: shop, labels: {app: web}}
spec: {containers: [{name: c, image: i}]}
---
apiVersion: v1
kind: Pod
metadata: {name: db, namespace: shop, labels: {app: db}}
spec: {containers: [{name: c, image: i}]}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: db, namespace: shop}
spec:
  podSelector: {matchLabels: {app: db}}
  ingress:
  - from: [{podSelector: {matchLabels: {app: web}}}]
    ports: [{port: 5432}]
";

#[test]
fn flows_name_the_line_that_decided_them() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("shop.yaml");
    std::fs::write(&file, OBJECTS).expect("a file");
    let file = file.to_str().expect("UTF-8");
    let lab = Lab(format!("flows-{}", std::process::id()));
    let up = lab.ask(&["up", "--detach", "-f", file]);
    if !up.status.success() {
        let may_skip = std::env::var("TORTIE_ALLOW_SKIP").is_ok_and(|v| v == "1");
        assert!(may_skip, "namespaces are refused here: {}", String::from_utf8_lossy(&up.stderr));
        return;
    }
    for port in ["TCP/5432", "TCP/5433"] {
        assert!(lab.ask(&["probe", "shop/web", "shop/db", port]).status.success(), "{port}");
    }
    // The records are read by another thread of the lab.
    let find = |flows: &[Value], traffic: &str| {
        flows.iter().find(|f| f["traffic"] == traffic && f["family"] == "IPv4").cloned().unwrap_or_default()
    };
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    let (allowed, denied) = loop {
        let flows = lab.ask(&["flows", "-o", "json"]);
        let flows: Vec<Value> =
            out(&flows).lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect();
        let (allowed, denied) = (find(&flows, "TCP/5432"), find(&flows, "TCP/5433"));
        if !allowed["ingress"].is_null() && !denied.is_null() || std::time::Instant::now() > deadline {
            break (allowed, denied);
        }
    };
    let said =
        |flow: &Value| (flow["verdict"].clone(), flow["from"].clone(), flow["to"].clone(), flow["count"].clone());
    assert_eq!(said(&allowed), ("allow".into(), "shop/web".into(), "shop/db".into(), 1.into()));
    let by = &allowed["ingress"]["decided_by"];
    assert_eq!((&by["name"], &by["rule"], &by["line"]), (&"db".into(), &0.into(), &17.into()), "{allowed}");
    assert_eq!(by["file"], file);
    assert_eq!(allowed["egress"], Value::Null, "no policy governs it");
    assert_eq!(said(&denied).0, "deny", "{denied}");
    assert_eq!(denied["ingress"]["decided_by"], Value::Null);
    let isolating = &denied["ingress"]["isolating"][0];
    assert_eq!((&isolating["name"], &isolating["line"]), (&"db".into(), &13.into()), "{denied}");

    let text = out(&lab.ask(&["flows", "--denied"]));
    assert!(text.contains("shop/web -> shop/db TCP/5433"), "{text}");
    assert!(!text.contains("TCP/5432"), "{text}");
}
