//! `tortie connectivity` as its users call it.

#[path = "support/program.rs"]
#[allow(dead_code)]
mod program;

use std::fs;
use std::path::Path;
use std::process::Command;

use program::{Told, tortie};
use serde_json::Value;
use tempfile::TempDir;

const SHOP: &str = "\
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
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: db, namespace: shop}
spec:
  podSelector: {matchLabels: {app: db}}
  policyTypes: [Ingress, Egress]
  ingress:
  - from: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: web}}}]
    ports: [{port: sql}]
  - from: [{ipBlock: {cidr: 192.0.2.0/24, except: [192.0.2.128/25]}}]
";

fn folder(text: &str) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("shop.yaml"), text).expect("a file");
    folder
}

fn connectivity(at: &Path, arguments: &[&str]) -> Told {
    tortie(at, &[&["connectivity", "-f", "."], arguments].concat())
}

/// The data of a run that did its work.
fn data(at: &Path, arguments: &[&str]) -> String {
    let (code, out, said) = connectivity(at, arguments);
    assert_eq!(code, 0, "{said}");
    assert!(out.lines().all(|l| l.chars().count() <= 80) || arguments.contains(&"-o"), "{out}");
    out
}

#[test]
fn a_table_puts_equals_together() {
    let expected = "\
FROM           TO         ALLOWED
web/front    │ web/front  everything
outside      │

web/front      shop/db    TCP 5432
               outside    everything
192.0.2.0/25   shop/db    everything

No policy governs ingress: web/front
No policy governs egress: web/front
";
    assert_eq!(data(folder(SHOP).path(), &[]), expected);
}

#[test]
fn a_choice_shows_no_more_than_what_was_chosen() {
    let folder = folder(SHOP);
    let expected = "\
FROM           TO       ALLOWED
web/front      shop/db  TCP 5432
192.0.2.0/25   shop/db  everything
";
    for choice in [["--to", "shop"], ["--to", "sh*/pod/d*"], ["--workload", "shop/db"]] {
        assert_eq!(data(folder.path(), &choice), expected, "{choice:?}");
    }
    let from = data(folder.path(), &["--from", "192.0.2.3", "--to", "*/*"]);
    assert!(from.contains("192.0.2.0/25   */*      everything") && !from.contains("TCP"), "{from}");
    let (code, _, said) = connectivity(folder.path(), &["--to", "shop/dbb"]);
    assert!(code == 2 && said.contains("did you mean shop/db?"), "{said}");
    let (code, _, said) = connectivity(folder.path(), &["--to", "a//b"]);
    assert!(code == 2 && said.contains("`a//b` names nobody"), "{said}");
}

#[test]
fn a_matrix_fits() {
    let expected = "  \
  from \\ to                        1 2 3 4
1 shop/db                          - · · ·
2 web/front                        a ✓ ✓ ✓
3 0.0.0.0/0 except 192.0.2.0/25 +1 · ✓    \n4 192.0.2.0/25                     ✓ ✓    \n
a  TCP 5432
✓ everything   · nothing   - itself
";
    assert_eq!(data(folder(SHOP).path(), &["-o", "matrix"]), expected.replacen("    from", "  from", 1));
    // Sixty workloads that all differ.
    let pod = |n: usize| {
        format!(
            "---\napiVersion: v1\nkind: Pod\nmetadata: {{name: a-pod-{n}, namespace: many, labels: {{n: '{n}'}}}}\nspec: \
             {{containers: [{{name: c, image: i}}]}}\n---\napiVersion: networking.k8s.io/v1\nkind: \
             NetworkPolicy\nmetadata: {{name: p{n}, namespace: many}}\nspec: {{podSelector: {{matchLabels: {{n: \
             '{n}'}}}}, ingress: [{{from: [{{podSelector: {{matchLabels: {{n: '{}'}}}}}}], ports: [{{port: {}}}]}}]}}\n",
            n + 1,
            1000 + n
        )
    };
    let many = folder(&(0..60).map(pod).collect::<String>());
    for output in ["table", "matrix"] {
        let shown = data(many.path(), &["-o", output]);
        assert!(shown.lines().all(|l| l.chars().count() <= 80), "{shown}");
        assert!(shown.contains("TCP 1058"), "{shown}");
    }
}

#[test]
fn json_is_a_line_a_pair() {
    let out = data(folder(SHOP).path(), &["-o", "json"]);
    let rows: Vec<Value> = out.lines().map(|l| serde_json::from_str(l).expect("JSON")).collect();
    assert_eq!(
        out.lines().next().expect("a row"),
        r#"{"src":"web/Deployment/front","dst":"shop/Pod/db","allowed":{"TCP":[[5432,5432]]}}"#
    );
    let row = |src: &str, dst: &str| rows.iter().find(|r| r["src"] == src && r["dst"] == dst).cloned();
    let everything = row("192.0.2.0-192.0.2.127", "shop/Pod/db").expect("the block gets in");
    assert_eq!(everything["allowed"]["UDP"], serde_json::json!([[0, 65535]]));
    assert_eq!(everything["others"], serde_json::json!({"*": true}));
    assert!(row("192.0.2.128-255.255.255.255", "shop/Pod/db").is_none());
    assert!(row("shop/Pod/db", "shop/Pod/db").is_none(), "a pod with itself");
    assert!(row("web/Deployment/front", "web/Deployment/front").is_some(), "pods of one workload");
    let by_class = data(folder(SHOP).path(), &["-o", "json", "--by", "class", "--to", "shop"]);
    let first: Value = serde_json::from_str(by_class.lines().next().expect("a row")).expect("JSON");
    assert_eq!(first["src"], serde_json::json!(["web/Deployment/front"]));
}

#[test]
fn spreadsheets_and_graphs_say_the_same() {
    let folder = folder(SHOP);
    let csv = data(folder.path(), &["-o", "csv", "--to", "shop"]);
    assert_eq!(
        csv,
        "src,dst,protocol,ports\nweb/Deployment/front,shop/Pod/db,TCP,5432\n192.0.2.0-192.0.2.127,shop/Pod/db,any,all\n"
    );
    let dot = data(folder.path(), &["-o", "dot", "--to", "shop"]);
    assert!(
        dot.starts_with("digraph") && dot.contains("subgraph cluster_") && dot.contains("[label=\"TCP 5432\"]"),
        "{dot}"
    );
    let mermaid = data(folder.path(), &["-o", "mermaid", "--to", "shop"]);
    assert!(mermaid.starts_with("flowchart LR\n") && mermaid.contains("-->|\"TCP 5432\"|"), "{mermaid}");
    let svg = data(folder.path(), &["-o", "svg"]);
    assert!(svg.starts_with("<svg") && svg.ends_with("</svg>\n"), "{svg}");
    assert!(svg.contains("<title>web/front → shop/db: TCP 5432</title>"), "{svg}");
}

/// Two pods of one workload that a policy tells apart.
const CANARY: &str = "\
---
apiVersion: v1
kind: Pod
metadata:
  name: web-1
  namespace: shop
  labels: {app: web}
  ownerReferences: [{apiVersion: apps/v1, kind: StatefulSet, name: web, uid: u, controller: true}]
spec: {containers: [{name: c, image: i}]}
---
apiVersion: v1
kind: Pod
metadata:
  name: web-2
  namespace: shop
  labels: {app: web, canary: 'yes'}
  ownerReferences: [{apiVersion: apps/v1, kind: StatefulSet, name: web, uid: u, controller: true}]
spec: {containers: [{name: c, image: i}]}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: canary, namespace: shop}
spec: {podSelector: {matchLabels: {canary: 'yes'}}, policyTypes: [Egress]}
";

#[test]
fn what_holds_for_some_pods_only_is_marked() {
    let folder = folder(&format!("{SHOP}{CANARY}"));
    let table = data(folder.path(), &["--from", "shop/web", "--to", "web"]);
    assert!(table.contains("everything *") && table.contains("see --by class"), "{table}");
    let json = data(folder.path(), &["--from", "shop/web", "--to", "web", "-o", "json"]);
    assert!(json.contains(r#""partly":true"#), "{json}");
    let classes = data(folder.path(), &["--from", "shop/web", "--to", "web", "--by", "class"]);
    assert!(classes.contains("shop/web (1 of 2 pods)") && !classes.contains('*'), "{classes}");
}

#[test]
fn nobody_to_talk_is_said() {
    let policy = SHOP.split("---\n").last().expect("a policy");
    let (code, out, said) = connectivity(folder(policy).path(), &[]);
    assert!(code == 2 && out.is_empty() && said.contains("nobody to talk"), "{said}");
}

/// The examples of `--help`, run as they stand there.
#[test]
fn help_shows_what_works() {
    let folder = folder(SHOP);
    let output =
        Command::new(env!("CARGO_BIN_EXE_tortie")).args(["connectivity", "--help"]).output().expect("tortie runs");
    let help = String::from_utf8(output.stdout).expect("text");
    let mut runs = 0;
    for line in help.lines().filter_map(|l| l.trim().strip_prefix("tortie connectivity -f . ")) {
        let line = line.split(['|', '>']).next().expect("a command").replace('\'', "");
        let arguments: Vec<&str> = line.split_whitespace().filter(|w| !w.contains("cart")).collect();
        let arguments: Vec<&str> =
            if arguments.first() == Some(&"--workload") { arguments[1..].to_vec() } else { arguments };
        data(
            folder.path(),
            &[&arguments[..], &["-o", "table"][..usize::from(!arguments.contains(&"-o")) * 2]].concat(),
        );
        runs += 1;
    }
    assert!(runs >= 3, "{help}");
}

/// An Ingress that sends to the database, which lets every pod of the cluster in on its port.
const INGRESS: &str = "\
---
apiVersion: v1
kind: Service
metadata: {name: db, namespace: shop}
spec: {selector: {app: db}, ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: entry, namespace: shop}
spec: {defaultBackend: {service: {name: db, port: {number: 80}}}}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: open, namespace: shop}
spec:
  podSelector: {matchLabels: {app: db}}
  ingress: [{from: [{namespaceSelector: {}}], ports: [{port: 8080}, {port: 9090}]}]
";

#[test]
fn an_ingress_is_a_sender() {
    let folder = folder(&format!("{SHOP}{INGRESS}"));
    let table = data(folder.path(), &["--from", "shop/Ingress/entry"]);
    let expected = "\
FROM                 TO       ALLOWED
shop/Ingress/entry   shop/db  TCP 8080
";
    assert_eq!(table, expected);
    let json = data(folder.path(), &["--from", "shop/ingress/*", "-o", "json"]);
    assert_eq!(json, "{\"src\":\"shop/Ingress/entry\",\"dst\":\"shop/Pod/db\",\"allowed\":{\"TCP\":[[8080,8080]]}}\n");
    for output in ["matrix", "mermaid", "dot", "svg"] {
        let drawn = data(folder.path(), &["-o", output]);
        assert!(drawn.contains("Ingress/entry"), "{drawn}");
    }
}

#[test]
fn a_service_is_a_way_in_where_the_world_may_come() {
    let inside = SHOP.replace("  - from: [{ipBlock: {cidr: 192.0.2.0/24, except: [192.0.2.128/25]}}]\n", "");
    assert_ne!(inside, SHOP);
    let at = |kind: &str, shop: &str| {
        let entry = INGRESS.replace("spec: {selector", &format!("spec: {{type: {kind}, selector"));
        data(folder(&format!("{shop}{entry}")).path(), &["--to", "shop/db"])
    };
    assert!(at("NodePort", SHOP).contains("shop/Service/db"), "{}", at("NodePort", SHOP));
    assert!(!at("ClusterIP", SHOP).contains("shop/Service/db"), "nobody comes to it from outside");
    assert!(!at("LoadBalancer", &inside).contains("shop/Service/db"), "the world is kept out");
}

#[test]
fn policies_without_pods_are_told_with_exposure() {
    let policy = SHOP.split("---\n").last().expect("a policy");
    let folder = folder(policy);
    let table = data(folder.path(), &["--exposure"]);
    let expected = "\
Open to pods that are not there
By the policies of one end alone; those of a pod that may come are not known.

FROM             TO                           ALLOWED
192.0.2.0/25     any pod with app=db in shop  everything
any pod in web   any pod with app=db in shop  TCP `sql`
";
    assert_eq!(table, expected);
    let json = data(folder.path(), &["--exposure", "-o", "json"]);
    let rows: Vec<Value> = json.lines().map(|l| serde_json::from_str(l).expect("JSON")).collect();
    let web = rows.iter().find(|r| r["src"] == "any pod in web").expect("a row");
    assert_eq!(web["exposure"]["dst"], serde_json::json!({"namespace": "shop", "namespaces": null, "pods": "app=db"}));
    assert_eq!(web["exposure"]["named"], serde_json::json!([{"protocol": "TCP", "name": "sql"}]));
    let csv = data(folder.path(), &["--exposure", "-o", "csv"]);
    assert!(csv.contains("any pod in web,any pod with app=db in shop,TCP,sql\n"), "{csv}");
    let (code, _, said) = connectivity(folder.path(), &["--exposure", "-o", "svg"]);
    assert!(code == 2 && said.contains("--exposure is written as"), "{said}");
}

#[test]
fn exposure_tells_of_doors_beside_the_pairs() {
    let table = data(folder(SHOP).path(), &["--exposure"]);
    let below = table.split("Open to pods that are not there").nth(1).expect("a second table");
    assert!(table.contains("TCP 5432") && below.contains("any pod     web/front  everything"), "{table}");
}
