//! What commands write is what docs/schemas says, and what people write is what the schemas take.

#[path = "support/schema.rs"]
mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use support::{assert_lines_valid, assert_valid, closed, schema};
use tortie_manifest::LoadOptions;
use tortie_manifest::Memory;
use tortie_manifest::case::{Case, open};

/// Everything that lines can hold: outside ranges, ICMP, named ports, Services, openings to pods that are not there.
const SHOP: &str = "\
{apiVersion: v1, kind: Namespace, metadata: {name: shop, labels: {team: shop}}}
---
{apiVersion: v1, kind: Namespace, metadata: {name: web, labels: {team: web}}}
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
status: {podIPs: [{ip: 10.1.0.5}, {ip: 'fd00::5'}]}
---
apiVersion: v1
kind: Service
metadata: {name: db, namespace: shop}
spec: {selector: {app: db}, clusterIP: 10.96.0.77, ports: [{port: 3306, targetPort: sql}]}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: door, namespace: shop}
spec: {defaultBackend: {service: {name: db, port: {number: 3306}}}}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: db, namespace: shop}
spec:
  podSelector: {matchLabels: {app: db}}
  ingress:
  - from: [{namespaceSelector: {matchLabels: {team: web}}}]
    ports: [{port: sql}]
  - from: [{ipBlock: {cidr: 192.0.2.0/24, except: [192.0.2.128/25]}}]
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: jobs, namespace: web}
spec:
  podSelector: {matchLabels: {job: all}}
  policyTypes: [Egress]
  egress:
  - to: [{podSelector: {matchLabels: {job: sink}}}]
    ports: [{port: metrics}]
";

/// Flows in bulk, one of which cannot be answered.
const FLOWS: &str = r#"{"from":"web/front-1","to":"shop/db","proto":"TCP","port":5432,"sport":4000}
{"from":"192.0.2.1","to":"10.1.0.5","proto":"icmp","icmp":{"type":8,"code":0}}
{"from":"web/front-1","to":"shop/db","proto":6,"port":80,"toIP":"fd00::5"}
{"from":"web/nobody","to":"shop/db","proto":"TCP","port":1}
"#;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Standard output of a command that did its work.
fn tortie(at: &Path, arguments: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tortie"));
    let output = command.args(arguments).current_dir(at).stdin(Stdio::null()).output().expect("tortie runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!([Some(0), Some(1)].contains(&output.status.code()), "{arguments:?}: {said}");
    String::from_utf8(output.stdout).expect("text")
}

fn shop() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).expect("written");
    write("shop.yaml", SHOP);
    write("less.yaml", &SHOP.replace("[{port: sql}]", "[{port: 80}]").replace("name: jobs", "name: others"));
    write("new.yaml", &SHOP.replace("{app: front}", "{app: face}").replace("name: front", "name: face"));
    write("one-sided.yaml", &SHOP.replace("{job: all}", "{app: front}"));
    write("wrong.yaml", &SHOP.replacen("podSelector", "podSelecter", 1));
    write("flows.jsonl", FLOWS);
    folder
}

/// Lines of a command, each valid; says them, to be looked into.
fn lines(name: &str, at: &Path, arguments: &[&str]) -> String {
    let output = tortie(at, arguments);
    assert!(assert_lines_valid(name, &output) > 0, "{arguments:?} writes nothing");
    output
}

#[test]
fn check_writes_what_its_schema_says() {
    let shop = shop();
    lines("check", &root(), &["check", "-f", "examples/three-namespaces", "-o", "json"]);
    let found = lines("check", shop.path(), &["check", "-f", "one-sided.yaml", "-o", "json"]);
    assert!(found.contains("\"witness\":{"), "{found}");
    let refused = lines("check", shop.path(), &["check", "-f", "wrong.yaml", "-o", "json"]);
    assert!(!refused.contains("fixable"), "{refused}");
}

#[test]
fn connectivity_writes_what_its_schema_says() {
    let shop = shop();
    lines("connectivity", &root(), &["connectivity", "-f", "examples/three-namespaces", "-o", "json"]);
    let all = ["connectivity", "-f", "shop.yaml", "-o", "json"];
    let pairs = lines("connectivity", shop.path(), &[&all[..], &["--exposure"]].concat());
    for part in ["\"others\":", "\"named\":", "\"exposure\":"] {
        assert!(pairs.contains(part), "{part}: {pairs}");
    }
    let classes = lines("connectivity", shop.path(), &[&all[..], &["--by", "class"]].concat());
    assert!(classes.contains("\"src\":["), "{classes}");
}

#[test]
fn diff_writes_what_its_schemas_say() {
    let shop = shop();
    let hardened = ["diff", "examples/three-namespaces", "examples/three-namespaces-hardened", "-o", "json"];
    lines("diff", &root(), &hardened);
    let policies = lines("diff", shop.path(), &["diff", "shop.yaml", "less.yaml", "-o", "json"]);
    assert!(policies.contains("\"fate\":\"changed\""), "{policies}");
    let ends = lines("diff", shop.path(), &["diff", "shop.yaml", "new.yaml", "-o", "json"]);
    assert!(ends.contains("\"what\":\"added\""), "{ends}");
    let flows = ["--flows", "flows.jsonl", "-o", "json"];
    let before = lines("diff-flows", shop.path(), &[&["diff", "shop.yaml", "less.yaml"], &flows[..]].concat());
    assert!(before.contains("\"before\":{"), "{before}");
    let alone = lines("diff-flows", shop.path(), &[&["diff", "-f", "less.yaml"], &flows[..]].concat());
    assert!(alone.contains("\"before\":null"), "{alone}");
}

#[test]
fn explain_writes_and_reads_what_its_schemas_say() {
    let shop = shop();
    let explain =
        |rest: &[&str]| lines("explain", shop.path(), &[&["explain", "-f", "shop.yaml", "-o", "json"], rest].concat());
    let denied = explain(&["web/front-1", "shop/db", "80"]);
    assert!(denied.contains("\"nearest\":{") && denied.contains("\"edit\":{"), "{denied}");
    let all = explain(&["web/front-1", "shop/db"]);
    assert!(all.contains("\"regions\":["), "{all}");
    assert!(explain(&["shop/db", "shop/db", "80"]).contains("\"loopback\""));
    assert!(explain(&["web/Deployment/front", "shop/Service/db", "3306"]).contains("\"via\":\"service\""));
    let answers = lines("explain-batch", shop.path(), &["explain", "-f", "shop.yaml", "--batch", "flows.jsonl"]);
    assert_eq!(answers.matches("\"error\"").count(), 1, "{answers}");
    assert_eq!(assert_lines_valid("explain-flow", FLOWS), 4);
    let misspelt = json!({"from": "a/b", "to": "c/d", "prot": "TCP"});
    assert!(!jsonschema::is_valid(&schema("explain-flow"), &misspelt), "unknown fields are refused");
}

#[test]
fn test_writes_what_its_schema_says() {
    let probes = lines("test", &root(), &["test", "examples/three-namespaces", "-o", "json"]);
    assert!(probes.contains("\"decided_by\":{\"egress\":{"), "{probes}");
    // With 2 the engine's answers alone, where namespaces are refused.
    let mut run = Command::new(env!("CARGO_BIN_EXE_tortie"));
    let run = run.args(["lab", "run", "-o", "json"]).output().expect("tortie runs");
    assert!(assert_lines_valid("test", &String::from_utf8_lossy(&run.stdout)) > 100, "{run:?}");
}

/// A schema that takes everything would be of no use: a field too much or of another type is refused.
#[test]
fn closed_schemas_notice_what_is_not_in_them() {
    for name in ["check", "connectivity", "diff", "explain", "test", "lab-status"] {
        assert!(!closed(name).is_valid(&json!({"surprise": 1})), "{name}");
    }
    let pair = json!({"src": "a", "dst": "b", "allowed": {"TCP": [[80, 80]]}});
    let validator = closed("connectivity");
    assert_valid(&validator, &pair, "a pair");
    for (pointer, wrong) in [("/src", json!(1)), ("/allowed/TCP", json!("80")), ("/allowed", json!({"tcp": []}))] {
        let mut pair = pair.clone();
        *pair.pointer_mut(pointer).expect("there") = wrong;
        assert!(!validator.is_valid(&pair), "{pair}");
    }
}

#[test]
fn schemas_are_printed_by_name() {
    let here = tempfile::tempdir().expect("a folder");
    let list = tortie(here.path(), &["schema"]);
    let names: Vec<&str> = list.lines().filter_map(|line| line.split(' ').next()).collect();
    assert!(names.len() >= 14 && names.contains(&"case"), "{list}");
    for name in names {
        let printed: Value = serde_json::from_str(&tortie(here.path(), &["schema", name])).expect(name);
        assert_eq!(printed, schema(name));
    }
}

/// All `*.case.yaml` below a folder.
fn cases(folder: &Path, out: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder").flatten() {
        if entry.path().is_dir() {
            cases(&entry.path(), out);
        } else if entry.path().to_string_lossy().ends_with(".case.yaml") {
            out.push(entry.path());
        }
    }
}

fn yaml(text: &str) -> Vec<Value> {
    serde_saphyr::from_multiple(text).unwrap_or_else(|e| panic!("{e}: {text}"))
}

#[test]
fn every_case_of_ours_is_one_to_the_schema() {
    let validator = jsonschema::validator_for(&schema("case")).expect("a schema");
    let mut files = Vec::new();
    ["examples", "conformance"].iter().for_each(|folder| cases(&root().join(folder), &mut files));
    assert!(files.len() > 20, "{files:?}");
    for file in files {
        for case in yaml(&fs::read_to_string(&file).expect("a case")) {
            assert_valid(&validator, &case, &file.display().to_string());
        }
    }
}

fn read(text: &str) -> Case {
    let pods = "{apiVersion: v1, kind: Pod, metadata: {name: a, namespace: x}}\n";
    let files = Memory::new([("d/t.case.yaml", text), ("d/pods.yaml", pods)]);
    let mut read = open(&files, "d/t.case.yaml", &LoadOptions::default());
    assert_eq!((read.cases.len(), read.diagnostics.len()), (1, 0), "{text}: {:?}", read.diagnostics);
    read.cases.remove(0)
}

#[test]
fn cases_that_are_refused_are_refused_by_the_schema_too() {
    let validator = jsonschema::validator_for(&schema("case")).expect("a schema");
    let good = "tortie: v1\nname: one\nabout: a\nmanifests: pods.yaml\nobjects: []\ncluster: {nodes: 1, replicas: 0, \
                families: IPv4, outside: [{name: o, addresses: 192.0.2.1, dns: [a.b]}]}\nsteps:\n- name: s\n  apply: \
                [pods.yaml, {file: pods.yaml, only: Pod/x/a}]\n  delete: [Namespace/y]\n  objects: []\n  label: \
                {object: Pod/x/a, set: {k: v}, remove: [w]}\n  expect: {probe: [ping, TCP/80-90], via: pod, default: \
                deny, allow: ['x/* -> o  # why'], deny: []}\n";
    assert!(read(good).is_playable(), "{:?}", read(good).diagnostics);
    assert_valid(&validator, &yaml(good)[0], good);
    for (right, wrong) in [
        ("tortie: v1", "tortie: v2"),
        ("name: one", "naem: one"),
        ("about: a", "about: 1"),
        ("manifests: pods.yaml", "manifests: [1]"),
        ("objects: []\ncluster", "objects: {}\ncluster"),
        ("nodes: 1", "nodes: 0"),
        ("nodes: 1", "nodes: many"),
        ("replicas: 0", "replicas: 1001"),
        ("replicas: 0", "replica: 0"),
        ("IPv4", "IPv5"),
        ("{name: o,", "{name: 'o*',"),
        ("addresses: 192.0.2.1", "addresses: []"),
        ("addresses: 192.0.2.1", "addresses: nowhere"),
        ("dns: [a.b]", "dsn: [a.b]"),
        ("{file: pods.yaml, only", "{fiel: pods.yaml, only"),
        ("only: Pod/x/a", "onyl: Pod/x/a"),
        ("delete: [Namespace/y]", "delete: [y]"),
        ("{object: Pod/x/a, set", "{set"),
        ("set: {k: v}, remove: [w]", ""),
        ("set: {k: v}", "set: [k]"),
        ("set: {k: v}", "sets: {k: v}"),
        ("probe: [ping, TCP/80-90]", "probe: [pong]"),
        ("probe: [ping, TCP/80-90]", "probe: tcp/80"),
        ("probe: [ping, TCP/80-90], ", ""),
        ("probe: [ping, TCP/80-90]", "probe:"),
        ("probe: [ping, TCP/80-90]", "probe: []"),
        ("via: pod", "via: node"),
        ("default: deny", "default: no"),
        ("default: deny, allow: ['x/* -> o  # why']", "allow: []"),
        ("deny: []", "dney: []"),
    ] {
        let text = good.replacen(right, wrong, 1);
        assert_ne!(text, good, "{right} is not there");
        assert!(!read(&text).is_playable(), "{wrong}: the reader takes it");
        assert!(!validator.is_valid(&yaml(&text)[0]), "{wrong}: the schema takes it");
    }
}

/// The reader says which fields it knows; the schema must know the same.
#[test]
fn the_schema_of_cases_knows_every_field() {
    let schema = schema("case");
    let known = |text: &str| -> Vec<String> {
        let case = read(text);
        let help = case.diagnostics.iter().find_map(|d| d.help.as_deref()?.strip_prefix("known here: "));
        let help = help.unwrap_or_else(|| panic!("{text}: {:?}", case.diagnostics));
        let mut fields: Vec<String> = help.split(", ").map(ToOwned::to_owned).collect();
        fields.sort();
        fields
    };
    for (text, pointer) in [
        ("tortie: v1\nunheard-of: 1\n", ""),
        ("tortie: v1\ncluster: {unheard-of: 1}\n", "/$defs/cluster"),
        ("tortie: v1\ncluster: {outside: [{unheard-of: 1}]}\n", "/$defs/outside"),
        ("tortie: v1\nsteps: [{unheard-of: 1}]\n", "/$defs/step"),
        ("tortie: v1\nsteps: [{apply: [{unheard-of: 1}]}]\n", "/$defs/input/anyOf/1"),
        ("tortie: v1\nsteps: [{label: [{unheard-of: 1}]}]\n", "/$defs/label"),
        ("tortie: v1\nsteps: [{expect: [{unheard-of: 1}]}]\n", "/$defs/expectation"),
    ] {
        let properties = schema.pointer(&format!("{pointer}/properties")).expect(pointer);
        let mut fields: Vec<String> = properties.as_object().expect("fields").keys().cloned().collect();
        fields.sort();
        assert_eq!(fields, known(text), "{pointer}");
    }
}

#[test]
fn the_schema_of_levels_takes_what_is_read() {
    let validator = jsonschema::validator_for(&schema("config")).expect("a schema");
    for (text, taken) in [
        ("[lints]\none-sided = \"error\"\n", true),
        ("[lints]\none-sided = \"deny\"\n", true),
        ("[[override]]\npath = \"legacy/*\"\nlints = { every-namespace = \"allow\" }\n", true),
        ("", true),
        ("[lints]\none-side = \"error\"\n", false),
        ("[lints]\none-sided = \"loud\"\n", false),
        ("[[override]]\npath = \"legacy/*\"\n", false),
        ("[[override]]\npaths = \"legacy/*\"\nlints = {}\n", false),
        ("[lint]\n", false),
    ] {
        let here = tempfile::tempdir().expect("a folder");
        fs::write(here.path().join("tortie.toml"), text).expect("written");
        fs::write(here.path().join("p.yaml"), "{apiVersion: v1, kind: Namespace, metadata: {name: web}}")
            .expect("written");
        let mut check = Command::new(env!("CARGO_BIN_EXE_tortie"));
        let check = check.args(["check", "-f", "p.yaml"]).current_dir(here.path()).output().expect("tortie runs");
        assert_eq!(check.status.success(), taken, "{text}: {check:?}");
        let value: Value = toml::from_str(text).expect("TOML");
        assert_eq!(validator.is_valid(&value), taken, "{text}");
    }
}
