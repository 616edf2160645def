//! The program as its users call it: arguments, exit codes, what goes to standard output and what is said.

#[path = "support/program.rs"]
#[allow(dead_code)]
mod program;

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use program::{fed, folder, tortie};
use serde_json::Value;

const POLICIES: &str = "\
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {team: shop}}
---
apiVersion: v1
kind: Namespace
metadata: {name: web, labels: {team: web}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: front, namespace: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: front}}
  template: {metadata: {labels: {app: front}}, spec: {containers: [{name: c, image: i}]}}
---
apiVersion: v1
kind: Pod
metadata: {name: db, namespace: shop, labels: {app: db}}
spec: {containers: [{name: c, image: i, ports: [{name: sql, containerPort: 5432}]}]}
status: {podIP: 10.1.0.5, podIPs: [{ip: 10.1.0.5}, {ip: 'fd00::5'}]}
---
apiVersion: v1
kind: Service
metadata: {name: db, namespace: shop}
spec: {selector: {app: db}, clusterIP: 10.96.0.77, ports: [{port: 3306, targetPort: sql}]}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: db
  namespace: shop
spec:
  podSelector: {matchLabels: {app: db}}
  ingress:
  - from:
    - namespaceSelector: {matchLabels: {team: web}}
    ports:
    - port: sql
  - from:
    - ipBlock: {cidr: 192.0.2.0/24, except: [192.0.2.128/25]}
";

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|e| panic!("{e}: {text}"))
}

#[test]
fn alone_it_names_three_commands_that_exist() {
    let here = folder(&[]);
    let (code, out, _) = tortie(here.path(), &[]);
    let commands: Vec<&str> = out.lines().filter_map(|l| l.strip_prefix("  tortie ")).collect();
    assert_eq!((code, commands.len()), (0, 3), "{out}");
    assert!(!out.contains('\x1b'), "no colour where it is no terminal");
    for command in commands {
        let words: Vec<&str> = command.split(' ').take_while(|w| w.chars().all(|c| c.is_ascii_lowercase())).collect();
        let known = if words[0] == "lab" { &words[..2] } else { &words[..1] };
        let (code, help, _) = tortie(here.path(), &[known, &["--help"]].concat());
        assert!(code == 0 && help.contains("Example"), "{command}: {help}");
    }
}

#[test]
fn arguments_that_make_no_sense_exit_with_2() {
    let here = folder(&[("p.yaml", POLICIES)]);
    let cases: [(&[&str], &str); 10] = [
        (&["explain", "-f", "p.yaml", "web/front-1"], "TO"),
        (&["explain", "-f", "p.yaml", "web/front-1", "shop/db", "70000"], "70000"),
        (&["explain", "-f", "p.yaml", "web/front-9", "shop/db", "80"], "did you mean web/front-1?"),
        (&["explain", "-f", "p.yaml", "db", "shop/db", "80"], "did you mean shop/db?"),
        (&["explain", "-f", "p.yaml", "web/front-1", "shop/db", "http"], "no TCP port named `http`"),
        (&["explain", "-f", "p.yaml", "web/front-1", "shop/Service/db", "80"], "it has 3306/TCP"),
        (&["explain", "-f", "missing.yaml", "a/b", "c/d"], "missing.yaml"),
        (&["explain", "-f", "-", "--batch", "-"], "standard input"),
        (&["check", "-f", "missing.yaml"], "missing.yaml"),
        (&["nonsense"], "nonsense"),
    ];
    for (arguments, said) in cases {
        let (code, out, err) = tortie(here.path(), arguments);
        assert_eq!(code, 2, "{arguments:?}: {err}");
        assert!(out.is_empty() && err.contains(said), "{arguments:?}: {out}{err}");
    }
}

/// A text as it would be on a terminal of any width.
fn in_one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn a_flow_is_explained_with_rule_and_line() {
    let here = folder(&[("p.yaml", POLICIES)]);
    let (code, out, err) = tortie(here.path(), &["explain", "-f", "p.yaml", "web/front-1", "shop/db", "5432"]);
    assert_eq!(code, 0, "{err}");
    assert!(out.starts_with("ALLOWED  web/front-1 -> shop/db  TCP/5432  IPv4 and IPv6\n"), "{out}");
    assert!(out.contains("by ingress[0] of NetworkPolicy/shop/db\n    p.yaml:36\n"), "{out}");
    assert!(out.contains("| - from:"), "{out}");
    let (_, out, _) = tortie(here.path(), &["explain", "-f", "p.yaml", "web/front-1", "shop/db", "80"]);
    assert!(out.starts_with("DENIED"), "{out}");
    assert!(out.contains("the nearest rule is ingress[0]") && out.contains("ports lists `sql`"), "{out}");
    let (_, out, _) = tortie(here.path(), &["explain", "-f", "p.yaml", "192.0.2.200", "shop/db", "80"]);
    assert!(in_one_line(&out).contains("192.0.2.200 is excepted"), "{out}");
    let (_, out, _) = tortie(here.path(), &["explain", "-f", "p.yaml", "shop/db", "shop/db", "80"]);
    assert!(out.starts_with("ALLOWED") && out.contains("a pod always reaches itself"), "{out}");
}

#[test]
fn workloads_services_and_everything_at_once() {
    let here = folder(&[("p.yaml", POLICIES)]);
    let at = here.path();
    let (_, out, _) = tortie(at, &["explain", "-f", "p.yaml", "web/Deployment/front", "shop/Service/db", "3306"]);
    assert!(out.starts_with("ALLOWED  web/front-1 -> shop/db  TCP/sql  behind Service shop/db"), "{out}");
    assert!(out.contains("decided alike, by the same rules:\n    web/front-2 -> shop/db"), "{out}");
    let (_, by_address, _) = tortie(at, &["explain", "-f", "p.yaml", "web/Deployment/front", "10.96.0.77", "3306"]);
    assert_eq!(by_address, out);
    let (_, out, _) = tortie(at, &["explain", "-f", "p.yaml", "web/front-1", "shop/db"]);
    assert!(out.contains("ALLOWED  TCP 5432\n") && out.contains("DENIED   everything else\n"), "{out}");
    let (_, out, _) = tortie(at, &["explain", "-f", "p.yaml", "shop/db", "web/front-1"]);
    assert!(out.contains("ALLOWED  everything\n"), "{out}");
}

#[test]
fn an_address_is_told_with_its_owner() {
    let here = folder(&[("p.yaml", POLICIES)]);
    let at = here.path();
    let (_, out, _) = tortie(at, &["explain", "-f", "p.yaml", "10.1.0.5", "192.0.2.1", "80"]);
    assert!(out.starts_with("ALLOWED  10.1.0.5 (shop/db) -> 192.0.2.1  TCP/80"), "{out}");
    assert!(out.contains("no policy selects shop/db for egress"), "{out}");
    assert!(in_one_line(&out).contains("policies do not select what is outside the cluster"), "{out}");
    let (_, out, _) = tortie(at, &["explain", "-f", "p.yaml", "192.0.2.1", "10.1.0.5"]);
    assert!(out.contains("ingress of 10.1.0.5 (shop/db): allowed by"), "{out}");
}

#[test]
fn namespaces_that_nobody_defines_share_one_note() {
    let pods: String =
        ["a", "b"].map(|n| format!("---\napiVersion: v1\nkind: Pod\nmetadata: {{name: p, namespace: {n}}}\n")).concat();
    let here = folder(&[("p.yaml", &pods)]);
    let (_, _, err) = tortie(here.path(), &["explain", "-f", "p.yaml", "a/p", "b/p", "80"]);
    assert_eq!(err.matches("implied-namespace").count(), 1, "{err}");
    assert!(err.contains("namespaces a, b are named but not defined"), "{err}");
    let (_, _, err) = tortie(here.path(), &["lab", "run", "p.yaml"]);
    assert!(err.contains("namespaces a, b are named but not defined"), "{err}");
}

#[test]
fn where_there_is_nothing_to_probe_silence_is_no_success() {
    let policy = POLICIES.split("---\n").last().expect("the policy");
    let pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\n";
    let here = folder(&[("policy.yaml", policy), ("pod.yaml", pod), ("nothing.yaml", "# nothing\n")]);
    for (path, said) in [("policy.yaml", "there are no pods"), ("pod.yaml", "one pod"), ("nothing.yaml", "no objects")]
    {
        let (code, out, err) = tortie(here.path(), &["lab", "run", path]);
        assert!(code == 2 && err.contains(said), "{path}: {code} {err}");
        assert!(!out.contains("agree") && !out.contains("PREDICTED"), "{path}: {out}");
    }
    let (code, _, err) = fed(here.path(), &["check", "-f", "-"], "");
    assert!(code == 2 && err.contains("standard input") && !err.contains("nothing to complain"), "{err}");
}

#[test]
fn a_run_reads_what_the_other_commands_read() {
    let here = folder(&[("p.yaml", POLICIES)]);
    let lines = |arguments: &[&str], input: &str| {
        let (code, out, err) = fed(here.path(), &[&["lab", "run", "-o", "json"], arguments].concat(), input);
        // With 2 the engine's answers alone, where namespaces are refused.
        assert!([0, 2].contains(&code) && out.contains("\"from\":\"web/front-1\""), "{arguments:?}: {err}");
        out.lines().count()
    };
    let count = lines(&["p.yaml"], "");
    assert_eq!((lines(&["-"], POLICIES), lines(&["-f", "p.yaml"], "")), (count, count));
}

#[test]
fn explain_as_json() {
    let here = folder(&[("p.yaml", POLICIES)]);
    let (code, out, _) =
        tortie(here.path(), &["explain", "-f", "p.yaml", "web/front-1", "shop/db", "5432", "-o", "json"]);
    let lines: Vec<Value> = out.lines().map(json).collect();
    assert_eq!((code, lines.len()), (0, 2), "one line a family");
    assert_eq!((&lines[0]["family"], &lines[1]["family"]), (&"IPv4".into(), &"IPv6".into()));
    assert_eq!(lines[0]["allowed"], true);
    assert_eq!(lines[0]["ingress"]["isolating"], serde_json::json!(["NetworkPolicy/shop/db"]));
    let decided = serde_json::json!({"kind": "NetworkPolicy", "namespace": "shop", "name": "db", "rule": 0, "file": "p.yaml", "line": 36});
    assert_eq!(lines[0]["ingress"]["decided_by"], decided);
    assert_eq!(lines[0]["egress"]["decided_by"], Value::Null);
}

#[test]
fn flows_in_bulk_from_any_port() {
    let asks = "apiVersion: projectcalico.org/v3\nkind: NetworkPolicy\nmetadata: {namespace: shop, name: from-low}\n\
        spec: {selector: app == 'db', ingress: [{action: Allow, protocol: TCP, source: {ports: ['1:1023']}}]}\n";
    let here = folder(&[("p.yaml", POLICIES), ("q.yaml", asks)]);
    let line = |sport: &str| format!(r#"{{"from":"web/front-1","to":"shop/db","proto":"TCP","port":80{sport}}}"#);
    let flows = [line(""), line(r#","sport":1023"#), line(r#","sport":1024"#)].join("\n");
    let (code, out, err) = fed(here.path(), &["explain", "-f", ".", "--batch", "-"], &flows);
    let allowed: Vec<_> = out.lines().map(|line| json(line)["allowed"].as_bool()).collect();
    assert_eq!((code, allowed), (0, vec![Some(false), Some(true), Some(false)]), "{out}{err}");
}

#[test]
fn flows_in_bulk() {
    let here = folder(&[("p.yaml", POLICIES)]);
    let flows = [
        (r#"{"from":"web/front-1","to":"shop/db","proto":"TCP","port":5432}"#, Some(true)),
        (r#"{"from":"web/front-1","to":"shop/db","proto":6,"port":80,"sport":4000}"#, Some(false)),
        (r#"{"from":"192.0.2.1","to":"10.1.0.5","proto":"icmp","icmp":{"type":8,"code":0}}"#, Some(true)),
        (r#"{"from":"192.0.2.200","to":"shop/db","proto":"udp","port":9}"#, Some(false)),
        (r#"{"from":"web/front-2","to":"shop/db","proto":"TCP","port":5432,"toIP":"fd00::5"}"#, Some(true)),
        (r#"{"from":"web/front-2","to":"shop/db","proto":"TCP","port":5432,"toIP":"fd00::6"}"#, None),
        (r#"{"from":"web/nobody","to":"shop/db","proto":"TCP","port":1}"#, None),
        (r#"{"from":"web/front-1","to":"shop/db","proto":"TCP"}"#, None),
        (r#"{"from":"web/front-1","to":"shop/db","proto":"TCP","prot":1}"#, None),
        ("not json", None),
        (r#"{"from":"192.0.2.1","to":"shop/db","proto":"TCP","port":1,"toIP":"fd00::5"}"#, None),
        (r#"{"from":"shop/db","to":"shop/db","proto":"TCP","port":1,"fromIP":"10.1.0.5","toIP":"fd00::5"}"#, None),
        (r#"{"from":"web/front-1","to":"shop/db","proto":"TCP","port":70000}"#, None),
        (r#"{"from":"shop/db","to":"2001:db8::1","proto":47}"#, Some(true)),
    ];
    let input: String = flows.iter().map(|(line, _)| format!("{line}\n")).collect();
    let (code, out, err) = fed(here.path(), &["explain", "-f", "p.yaml", "--batch", "-"], &input);
    assert_eq!((code, out.lines().count()), (0, flows.len()), "{err}");
    for ((flow, expected), line) in flows.iter().zip(out.lines()) {
        let answer = json(line);
        assert_eq!(answer.get("allowed").and_then(Value::as_bool), *expected, "{flow}: {line}");
        assert_eq!(answer.get("error").is_some(), expected.is_none(), "{flow}: {line}");
    }
    let same = fed(here.path(), &["explain", "-f", "p.yaml", "--batch", "-", "-o", "json"], &input);
    assert_eq!((same.0, &same.1), (0, &out), "it is JSON anyway");
    assert_eq!(
        out.lines().next(),
        Some(
            r#"{"allowed":true,"egress":{"allowed":true,"isolating":[],"decided_by":null},"ingress":{"allowed":true,"isolating":["NetworkPolicy/shop/db"],"decided_by":{"kind":"NetworkPolicy","namespace":"shop","name":"db","rule":0,"file":"p.yaml","line":36}}}"#
        )
    );
}

#[test]
fn findings_are_data_and_set_the_exit_code() {
    let misspelt = POLICIES.replace("podSelector: {matchLabels", "podSelecter: {matchLabels");
    let here = folder(&[("good.yaml", POLICIES), ("bad.yaml", &misspelt)]);
    let (code, out, err) = tortie(here.path(), &["check", "-f", "good.yaml"]);
    assert_eq!((code, out.as_str()), (0, ""), "{err}");
    let (code, out, _) = tortie(here.path(), &["check", "-f", "bad.yaml", "-o", "json"]);
    let finding = json(out.lines().next().expect("a finding"));
    assert_eq!((code, &finding["severity"], &finding["line"]), (1, &"error".into(), &34.into()), "{out}");
    assert!(finding["message"].as_str().is_some_and(|m| m.contains("spec.podSelecter")), "{out}");
    let (code, out, _) = tortie(here.path(), &["check", "-f", "bad.yaml"]);
    assert!(code == 1 && out.contains("bad.yaml:34"), "{out}");
    let (code, _, err) = tortie(here.path(), &["explain", "-f", "bad.yaml", "web/front-1", "shop/db"]);
    assert!(code == 2 && err.contains("cannot be trusted"), "a policy that cannot be read: no answer; {err}");
}

#[test]
fn standard_input_is_read_and_an_empty_folder_is_no_answer() {
    let here = folder(&[]);
    let (code, out, err) = fed(here.path(), &["check", "-f", "-"], POLICIES);
    assert_eq!((code, out.as_str()), (0, ""), "{err}");
    let (code, _, err) = tortie(here.path(), &["check", "-f", "."]);
    assert!(code == 2 && err.contains("no manifests"), "{err}");
    let (code, _, err) = tortie(here.path(), &["explain", "-f", ".", "a/b", "c/d"]);
    assert!(code == 2 && err.contains("no manifests"), "{err}");
    assert!(!err.contains("as it is written"), "nothing is written there: {err}");
}

#[test]
fn examples_are_written_once() {
    let here = folder(&[]);
    let (code, out, err) = tortie(here.path(), &["examples", "mine"]);
    assert_eq!((code, out.lines().next()), (0, Some("mine/three-apis")), "{err}");
    let (code, _, err) = tortie(here.path(), &["check", "-f", "mine"]);
    assert_eq!(code, 0, "{err}");
    let changed = here.path().join("mine/three-namespaces/README.md");
    fs::write(&changed, "mine").expect("written");
    let (code, _, err) = tortie(here.path(), &["examples", "mine"]);
    assert!(code == 2 && err.contains("exists already"), "{err}");
    assert_eq!(fs::read_to_string(&changed).expect("there"), "mine");
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    let here = folder(&[("p.yaml", POLICIES)]);
    let flow = "{\"from\":\"web/front-1\",\"to\":\"shop/db\",\"proto\":\"TCP\",\"port\":80}\n";
    fs::write(here.path().join("flows"), flow.repeat(20_000)).expect("written");
    let mut child = Command::new(env!("CARGO_BIN_EXE_tortie"))
        .args(["explain", "-f", "p.yaml", "--batch", "flows"])
        .current_dir(here.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("tortie starts");
    let mut first = String::new();
    BufReader::with_capacity(64, child.stdout.take().expect("piped")).read_line(&mut first).expect("a line");
    assert!(first.starts_with("{\"allowed\""), "{first}");
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

#[test]
fn a_denied_flow_comes_with_the_smallest_change_that_allows_it() {
    let here = folder(&[("p.yaml", POLICIES)]);
    let (code, out, _) = tortie(here.path(), &["explain", "-f", "p.yaml", "shop/db", "shop/db", "80"]);
    assert!(code == 0 && !out.contains("smallest change"), "what is allowed needs none: {out}");
    let (_, out, _) = tortie(here.path(), &["explain", "-f", "p.yaml", "web/front-1", "shop/db", "80"]);
    // The peers of the rule are those of the flow: a port is all that is missing, and both pods get it.
    for line in [
        "    one more port in ingress[0] of NetworkPolicy/shop/db",
        "      p.yaml:40",
        "    it opens another pair of pods too, such as web/front-2 -> shop/db  TCP 80",
        "+++ p.yaml",
        "     - port: sql",
        "+    - protocol: TCP",
        "+      port: 80",
    ] {
        assert!(out.lines().any(|l| l == line), "{line}\n{out}");
    }
    let (_, out, _) = tortie(here.path(), &["explain", "-f", "p.yaml", "192.0.2.200", "shop/db", "80", "-o", "json"]);
    let edit = &json(&out)["edit"];
    assert_eq!(edit["changes"][0]["kind"], "rule", "{edit:#}");
    assert_eq!(edit["opens"]["pairs"], 0);
    assert!(edit["patch"].as_str().is_some_and(|p| p.contains("+        cidr: 192.0.2.200/32")), "{edit:#}");
}

#[test]
fn ends_go_by_the_names_that_people_use() {
    let here = folder(&[("p.yaml", POLICIES)]);
    let first = |from: &str, to: &str, port: &str| {
        let (code, out, said) = tortie(here.path(), &["explain", "-f", "p.yaml", "-n", "web", from, to, port]);
        (code, out.lines().next().unwrap_or_default().to_owned() + said.lines().last().unwrap_or_default())
    };
    for to in ["shop/Service/db", "db.shop", "db.shop.svc", "DB.shop.svc.cluster.local.", "10.96.0.77"] {
        let (code, line) = first("front", to, "3306");
        assert!(code == 0 && line.contains("front-1 -> shop/db  TCP/sql  behind Service shop/db"), "{to}: {line}");
    }
    for (from, to) in [("front-1", "shop/db"), ("front-1", "10-1-0-5.shop.pod.cluster.local")] {
        assert!(first(from, to, "5432").1.starts_with("ALLOWED"), "{from} {to}");
    }
    assert!(first("db.shop", "front-1", "80").1.starts_with("ALLOWED  shop/db -> web/front-1"));
    let (code, line) = first("front", "www.example.com", "443");
    assert!(code == 2 && line.contains("give one of its addresses"), "{line}");
    let (code, line) = first("front", "none.shop.svc", "443");
    assert!(code == 2 && line.contains("no Service"), "{line}");
}

const TOLD: &str = "\
apiVersion: v1
kind: Pod
metadata: {name: web, namespace: shop, labels: {app: web}}
spec: {containers: [{name: c, image: i}]}
status: {podIP: 10.1.0.7}
---
apiVersion: v1
kind: Service
metadata: {name: told, namespace: shop}
spec: {ports: [{port: 80, targetPort: 81}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: told-1, namespace: shop, labels: {kubernetes.io/service-name: told}}
addressType: IPv4
ports: [{port: 8080, protocol: TCP}]
endpoints: [{addresses: [10.1.0.7]}, {addresses: [192.0.2.9]}]
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: web-that-has-a-name-of-many-letters-and-stands-in-the-way, namespace: shop}
spec: {podSelector: {matchLabels: {app: web}}, ingress: [{ports: [{port: 8080}]}]}
";

#[test]
fn behind_a_service_without_selector_are_the_ports_of_its_slices() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("told.yaml"), TOLD).expect("a file");
    let explain = |arguments: &[&str]| tortie(folder.path(), &[&["explain", "-f", "told.yaml"], arguments].concat());
    let (code, out, said) = explain(&["192.0.2.1", "shop/Service/told", "80"]);
    assert!(
        code == 0 && out.contains("ALLOWED  192.0.2.1 -> shop/web  TCP/8080  behind Service shop/told"),
        "{out}{said}"
    );
    assert!(out.contains("192.0.2.1 -> 192.0.2.9  TCP/8080"), "{out}");
    let (code, _, said) = explain(&["192.0.2.1", "shop/Service/told", "81"]);
    assert!(code == 2 && said.contains("has no port TCP/81; it has 80/TCP"), "{said}");
    let (code, _, said) = explain(&["shop/Ingress/entry", "shop/web", "80"]);
    assert!(code == 2 && said.contains("come from the pods of its controller"), "{said}");
}

#[test]
fn explanations_fit_a_terminal() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("told.yaml"), TOLD).expect("a file");
    let (_, out, _) = tortie(folder.path(), &["explain", "-f", "told.yaml", "192.0.2.1", "shop/web", "80"]);
    let is_quoted = |line: &str| line.contains(" | ") || line.starts_with(['+', '-', ' ', '@']) && line.contains(": ");
    for line in out.lines().take_while(|line| !line.starts_with("---")).filter(|line| !is_quoted(line)) {
        assert!(line.chars().count() <= 80 || !line.trim().contains(' '), "{line}");
    }
    assert!(out.contains("no rule\n    allows it\n"), "{out}");
}
