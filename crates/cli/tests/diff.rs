//! `tortie diff` as its users call it: folders, revisions, recorded connections.

#[path = "support/program.rs"]
#[allow(dead_code)]
mod program;
#[path = "../../revision/tests/support/mod.rs"]
mod support;

use std::fs;
use std::path::Path;

use program::tortie;
use serde_json::Value;
use support::History;
use tempfile::TempDir;

const PODS: &str = "\
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: v1
kind: Namespace
metadata: {name: web}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: front, namespace: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: front}}
  template: {metadata: {labels: {app: front}}, spec: {containers: [{name: c, image: i}]}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: cart, namespace: shop}
spec:
  replicas: 2
  selector: {matchLabels: {app: cart}}
  template: {metadata: {labels: {app: cart}}, spec: {containers: [{name: c, image: i}]}}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db, namespace: shop}
spec:
  selector: {matchLabels: {app: db}}
  template: {metadata: {labels: {app: db}}, spec: {containers: [{name: c, image: i}]}}
";

/// A policy that lets these pods reach the database.
fn policy(from: &str) -> String {
    format!(
        "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{name: db, namespace: shop}}\nspec:\n  \
         podSelector: {{matchLabels: {{app: db}}}}\n  ingress:\n  - from: [{from}]\n    ports: [{{port: 5432}}]\n"
    )
}

const CART: &str = "{podSelector: {matchLabels: {app: cart}}}";
const ALL: &str = "{podSelector: {}}, {namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: web}}}";

/// A folder with `before/` and `after/`: the front loses the database.
fn shop() -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, from) in [("before", ALL), ("after", CART)] {
        fs::create_dir(folder.path().join(name)).expect("a folder");
        fs::write(folder.path().join(name).join("pods.yaml"), PODS).expect("a file");
        fs::write(folder.path().join(name).join("db.yaml"), policy(from)).expect("a file");
    }
    folder
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect()
}

#[test]
fn folders_are_compared_and_the_policy_is_named() {
    let shop = shop();
    let (code, out, said) = tortie(shop.path(), &["diff", "before", "after"]);
    let expected = "\
NetworkPolicy/shop/db changed: its ingress[0] allowed this
  before/db.yaml:7
  FROM        TO       CLOSED
  shop/db   │ shop/db  TCP 5432
  web/front │

closed for 2 pairs
";
    assert_eq!((code, out.as_str(), said.as_str()), (1, expected, ""));
    let (code, out, _) = tortie(shop.path(), &["diff", "after", "before"]);
    assert_eq!(code, 1);
    assert!(out.contains("db changed: its ingress[0] allows this now\n  before/db.yaml:7\n"), "{out}");
    let (code, out, _) = tortie(shop.path(), &["diff", "after", "after"]);
    assert_eq!((code, out.as_str()), (0, "Nothing is opened or closed.\n"));
}

#[test]
fn what_fails_can_be_chosen() {
    let shop = shop();
    for (fail_on, expected) in [("opened", 0), ("closed", 1), ("any", 1), ("none", 0)] {
        let (code, ..) = tortie(shop.path(), &["diff", "before", "after", "--fail-on", fail_on]);
        assert_eq!(code, expected, "{fail_on}");
    }
}

#[test]
fn programs_get_a_line_a_pair() {
    let shop = shop();
    let (_, out, _) = tortie(shop.path(), &["diff", "before", "after", "-o", "json"]);
    let lines = lines(&out);
    assert_eq!(lines.len(), 2, "{out}");
    let front = lines.iter().find(|line| line["src"] == "web/Deployment/front").expect("the front");
    assert_eq!(front["dst"], "shop/StatefulSet/db");
    assert_eq!(
        (&front["opened"], &front["closed"]),
        (&serde_json::json!({}), &serde_json::json!({"TCP": [[5432, 5432]]}))
    );
    let cause = serde_json::json!({
        "kind": "NetworkPolicy", "namespace": "shop", "name": "db", "fate": "changed", "direction": "ingress",
        "rule": 0, "revision": null, "file": "before/db.yaml", "line": 7,
    });
    assert_eq!(front["closed_by"], serde_json::json!([cause]));
}

#[test]
fn a_comment_can_be_found_again() {
    let shop = shop();
    let (code, out, _) = tortie(shop.path(), &["diff", "before", "after", "-o", "markdown"]);
    assert_eq!(code, 1);
    assert!(out.starts_with("<!-- tortie diff -->\n### Network policies: closed for 2 pairs\n"), "{out}");
    assert!(out.contains("| shop/db<br>web/front | shop/db | TCP 5432 |"), "{out}");
    assert!(out.contains("changed: its ingress\\[0\\] allowed this (`before/db.yaml:7`)"), "{out}");
    assert_eq!(out.matches("<details").count(), out.matches("</details>").count());
    let again = tortie(shop.path(), &["diff", "before", "after", "-o", "markdown"]).1;
    assert_eq!(out, again);
    let none = tortie(shop.path(), &["diff", "after", "after", "-o", "markdown"]).1;
    assert!(none.starts_with("<!-- tortie diff -->\n### Network policies: nothing is opened or closed\n"), "{none}");
}

/// A Service of a type for the database, and with it maybe an Ingress that sends there.
fn entry(kind: &str, ingress: bool) -> String {
    let service = format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: db, namespace: shop}}\nspec:\n  type: {kind}\n  \
         selector: {{app: db}}\n  ports: [{{port: 80, targetPort: 5432}}]\n"
    );
    let rest = "---\napiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: entry, namespace: shop}\n\
                spec: {defaultBackend: {service: {name: db, port: {number: 80}}}}\n";
    if ingress { service + rest } else { service }
}

#[test]
fn ways_into_the_cluster_are_compared() {
    const EVERY_POD: &str = "{namespaceSelector: {}}";
    let folder = tempfile::tempdir().expect("a folder");
    let side = |name: &str, from: &str, entry: &str| {
        fs::create_dir(folder.path().join(name)).expect("a folder");
        for (file, text) in [("pods.yaml", PODS), ("db.yaml", &policy(from)), ("entry.yaml", entry)] {
            fs::write(folder.path().join(name).join(file), text).expect("a file");
        }
    };
    side("inside", EVERY_POD, &entry("ClusterIP", false));
    side("entered", EVERY_POD, &entry("ClusterIP", true));
    side("kept", ALL, &entry("ClusterIP", true));
    side("world", "{ipBlock: {cidr: 0.0.0.0/0}}", &entry("ClusterIP", false));
    side("balanced", "{ipBlock: {cidr: 0.0.0.0/0}}", &entry("LoadBalancer", false));
    let diff = |arguments: &[&str]| tortie(folder.path(), &[&["diff"], arguments].concat());
    let (code, out, said) = diff(&["inside", "entered"]);
    let expected = "\
Ingress/shop/entry is new: requests come in through it
  entered/entry.yaml:11
  FROM                 TO       OPENED
  shop/Ingress/entry   shop/db  TCP 5432

opened for 1 pair
";
    assert_eq!((code, out.as_str(), said.as_str()), (1, expected, ""));
    assert_eq!(diff(&["inside", "entered", "--fail-on", "closed"]).0, 0);
    // Every pod may be one of the controller; those of two labels are not.
    let (_, out, _) = diff(&["entered", "kept"]);
    let expected = "\
NetworkPolicy/shop/db changed: its ingress[0] allowed this
  entered/db.yaml:7
  FROM                 TO       CLOSED
  shop/Ingress/entry   shop/db  TCP 5432

closed for 1 pair
";
    assert_eq!(out, expected);
    // The world may reach the pods in both; now it is led there.
    let (_, out, _) = diff(&["world", "balanced", "-o", "json"]);
    let opened = lines(&out);
    let [line] = &opened[..] else { panic!("{out}") };
    assert_eq!((&line["src"], &line["way"]), (&"shop/Service/db".into(), &"LoadBalancer".into()));
    let cause = serde_json::json!({
        "kind": "Service", "namespace": "shop", "name": "db", "fate": "changed", "revision": null,
        "file": "balanced/entry.yaml", "line": 3,
    });
    assert_eq!((&line["opened_by"], &line["closed_by"]), (&serde_json::json!([cause]), &serde_json::json!([])));
    let (_, out, _) = diff(&["balanced", "world", "-o", "markdown"]);
    assert!(out.contains("- Service/shop/db changed: requests came in through it (`world/entry.yaml:3`)"), "{out}");
    assert!(out.contains("| shop/Service/db | shop/db | TCP 5432 |"), "{out}");
}

/// A repository in which `main` has no policy for the cart, and `topic` closes the database for the front.
fn repository() -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let history = History::new(folder.path());
    let old = policy(ALL);
    let new = policy(CART);
    let first = history.commit("main", &[], &[("readme", "x")]);
    let second = history.commit("main", &[first], &[("k8s/pods.yaml", PODS), ("k8s/db.yaml", &old)]);
    history.commit("topic", &[second], &[("k8s/pods.yaml", PODS), ("k8s/db.yaml", &new)]);
    history.commit("main", &[second], &[("k8s/pods.yaml", PODS)]);
    fs::create_dir(folder.path().join("k8s")).expect("a folder");
    fs::write(folder.path().join("k8s/pods.yaml"), PODS).expect("a file");
    fs::write(folder.path().join("k8s/db.yaml"), &new).expect("a file");
    folder
}

#[test]
fn revisions_are_compared_without_git() {
    let folder = repository();
    let run = |arguments: &[&str]| tortie(folder.path(), &[&["diff"], arguments].concat());
    // `main` dropped the policy after `topic` left it.
    let (code, out, said) = run(&["main", "topic", "-f", "k8s"]);
    assert_eq!(code, 1, "{said}");
    assert!(
        out.contains(
            "NetworkPolicy/shop/db is new: it governs ingress, and no rule allows this\n  topic:k8s/db.yaml:3"
        ),
        "{out}"
    );
    for same in [&["main...topic", "-f", "k8s/"][..], &["main~1", "topic", "-f", "k8s/db.yaml", "-f", "k8s/pods.yaml"]]
    {
        let (code, out, said) = run(same);
        assert_eq!(code, 1, "{said}");
        assert!(out.ends_with("closed for 2 pairs\n") && out.contains(":k8s/db.yaml:7\n"), "{same:?}: {out}");
    }
    // The working tree is as `topic`, and can be asked for from below.
    let (code, out, said) = run(&["topic", "-f", "k8s"]);
    assert_eq!((code, out.as_str()), (0, "Nothing is opened or closed.\n"), "{said}");
    let (code, out, said) = tortie(&folder.path().join("k8s"), &["diff", "main~1", "-f", "."]);
    assert!(code == 1 && out.ends_with("closed for 2 pairs\n"), "{out}{said}");
    let (_, out, _) = run(&["main~1", "topic", "-f", "k8s", "-o", "json"]);
    assert_eq!(lines(&out)[0]["closed_by"][0]["revision"], "main~1");
}

#[test]
fn a_path_that_a_revision_does_not_have_is_empty_there() {
    let folder = repository();
    let (code, out, said) = tortie(folder.path(), &["diff", "main~2", "main", "-f", "k8s"]);
    assert_eq!(code, 1);
    assert!(said.contains("note: k8s is not in main~2: nothing is there"), "{said}");
    assert!(out.contains("web/Deployment/front is new\n"), "{out}");
    let (code, _, said) = tortie(folder.path(), &["diff", "main~2", "main", "-f", "nowhere"]);
    assert!(code == 2 && said.contains("nowhere is neither in main~2 nor in main"), "{said}");
    let (code, _, said) = tortie(folder.path(), &["diff", "main~2", "main~2", "-f", "readme"]);
    assert_eq!(code, 2, "{said}");
}

#[test]
fn what_cannot_be_compared_is_told() {
    let folder = repository();
    let plain = shop();
    let run = |at: &TempDir, arguments: &[&str]| {
        let (code, out, said) = tortie(at.path(), &[&["diff"], arguments].concat());
        assert_eq!((code, out.as_str()), (2, ""), "{arguments:?}: {said}");
        said
    };
    let said = run(&folder, &["mian", "-f", "k8s"]);
    assert!(said.contains("there is no revision `mian`; did you mean `main`?"), "{said}");
    let said = run(&folder, &["main", "topic"]);
    assert!(said.contains("say which manifests, as in -f k8s/"), "{said}");
    let said = run(&folder, &["main..nope", "-f", "k8s"]);
    assert!(said.contains("there is no revision `nope`"), "{said}");
    let said = run(&plain, &["main", "HEAD", "-f", "before"]);
    assert!(said.contains("is in no git repository"), "{said}");
    let said = run(&plain, &["before", "after/none"]);
    assert!(said.contains("after/none is neither a file nor a folder"), "{said}");
    let said = run(&plain, &["before", "after", "-f", "before"]);
    assert!(said.contains("need no -f"), "{said}");
    let said = run(&plain, &["before"]);
    assert!(said.contains("to be compared with something"), "{said}");
    run(&plain, &[]);
    fs::write(plain.path().join("after/db.yaml"), "kind: NetworkPolicy\n").expect("a file");
    let said = run(&plain, &["before", "after"]);
    assert!(said.contains("a policy cannot be trusted"), "{said}");
}

const FLOWS: &str = r#"{"flow":{"verdict":"FORWARDED","IP":{"source":"10.0.0.1","destination":"10.0.0.2"},"l4":{"TCP":{"source_port":4000,"destination_port":5432}},"source":{"namespace":"web","pod_name":"front-7c5d8b4f6-x7k2p"},"destination":{"namespace":"shop","pod_name":"db-0"},"is_reply":false,"traffic_direction":"EGRESS"}}
{"from":"shop/cart-7c5d8b4f6-x7k2p","to":"shop/db-0","proto":"TCP","port":5432}
{"from":"198.51.100.7","to":"shop/db-0","traffic":"TCP/5432","verdict":"deny","count":3}
{"from":"shop/cart","to":"mon/prometheus-0","proto":"TCP","port":9090}
what
"#;

#[test]
fn recorded_connections_that_would_break_are_told_with_the_policy() {
    let shop = shop();
    fs::write(shop.path().join("flows"), FLOWS).expect("a file");
    let (code, out, said) = tortie(shop.path(), &["diff", "-f", "after", "--flows", "flows"]);
    let expected = "\
web/Deployment/front -> shop/StatefulSet/db TCP 5432
  1 connection would be denied
    ingress would be denied: no rule of NetworkPolicy/shop/db allows it
      after/db.yaml:3

1 of 3 recorded flows would be denied
";
    assert_eq!((code, out.as_str()), (1, expected), "{said}");
    assert!(said.contains("warning: flows:5 is not read: in no known format"), "{said}");
    assert!(said.contains("1 recorded flow left out: there is no pod or workload mon/prometheus-0"), "{said}");
    // Between both, the rule that allowed it is told, too.
    let (code, out, _) = tortie(shop.path(), &["diff", "before", "after", "--flows", "flows"]);
    assert_eq!(code, 1);
    assert!(
        out.contains("    ingress was allowed by ingress[0] of NetworkPolicy/shop/db\n      before/db.yaml:7\n"),
        "{out}"
    );
    let (code, out, _) = tortie(shop.path(), &["diff", "after", "before", "--flows", "flows", "--fail-on", "closed"]);
    assert!(code == 0 && out.contains("1 connection would be allowed"), "{out}");
    let (_, out, _) = tortie(shop.path(), &["diff", "-f", "after", "--flows", "flows", "-o", "json"]);
    let line = &lines(&out)[0];
    assert_eq!((&line["change"], &line["count"], &line["line"]), (&"denied".into(), &1.into(), &1.into()));
    assert_eq!(line["after"]["ingress"]["isolating"], serde_json::json!(["NetworkPolicy/shop/db"]));
    let (_, out, _) = tortie(shop.path(), &["diff", "-f", "after", "--flows", "flows", "-o", "markdown"]);
    assert!(
        out.starts_with("<!-- tortie diff flows -->\n### What breaks: 1 of 3 recorded flows would be denied\n"),
        "{out}"
    );
    fs::write(shop.path().join("none"), "\n").expect("a file");
    let (code, _, said) = tortie(shop.path(), &["diff", "-f", "after", "--flows", "none"]);
    assert!(code == 2 && said.contains("there are no connections in none"), "{said}");
}

#[test]
fn generated_policies_break_nothing_that_was_recorded() {
    let shop = shop();
    let at = shop.path();
    fs::write(at.join("flows"), FLOWS).expect("a file");
    let (code, out, said) = tortie(at, &["generate", "--flows", "flows", "-f", "before/pods.yaml", "-o", "made"]);
    assert_eq!((code, out.as_str()), (1, ""), "prometheus is not there: {said}");
    assert!(said.contains("3 policies for 2 recorded flows; proven"), "{said}");
    let text = fs::read_to_string(at.join("made/shop-db.yaml")).expect("a policy");
    let expected = "\
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: db
  namespace: shop
spec:
  podSelector: {matchLabels: {app: db}}
  policyTypes: [Ingress, Egress]
  ingress:
  - from:
    - podSelector: {matchLabels: {app: cart}}
    - namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: web}}
      podSelector: {matchLabels: {app: front}}
    ports:
    - {protocol: TCP, port: 5432}
  egress: []
";
    assert_eq!(text, expected);
    let (code, out, said) = tortie(at, &["diff", "-f", "before/pods.yaml", "-f", "made", "--flows", "flows"]);
    assert!(code == 0 && out.starts_with("none of 3 recorded flows"), "{out}{said}");
    let (code, _, said) = tortie(at, &["generate", "--flows", "flows", "-f", "before/pods.yaml", "-o", "made"]);
    assert!(code == 2 && said.contains("is there already; --force replaces it"), "{said}");
    let (code, out, said) = tortie(at, &["generate", "--flows", "flows", "-f", "before", "--format", "hubble"]);
    assert!(code == 0 && out.matches("kind: NetworkPolicy").count() == 2, "{out}{said}");
    assert!(said.contains("NetworkPolicy/shop/db"), "what is there already adds to them: {said}");
}

#[test]
fn policies_are_generated_in_each_api_and_for_whole_namespaces() {
    let shop = shop();
    let at = shop.path();
    let flows = FLOWS.lines().take(3).collect::<Vec<_>>().join("\n");
    fs::write(at.join("flows"), flows).expect("a file");
    let generate =
        |more: &[&str]| tortie(at, &[&["generate", "--flows", "flows", "-f", "before/pods.yaml"], more].concat());
    let (code, out, said) = generate(&["--by", "namespace"]);
    assert!(code == 0 && said.contains("2 policies for 2 recorded flows; proven"), "{out}{said}");
    let rule = "  - from:\n    - podSelector: {}\n    - namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: web}}\n    \
                ports:\n    - {protocol: TCP, port: 5432}\n";
    assert!(out.contains("  podSelector: {}\n") && out.contains(rule), "{out}");
    let (code, out, said) = generate(&["--api", "calico", "-o", "calico"]);
    assert!(code == 0 && said.contains("3 policies for 2 recorded flows; proven"), "{out}{said}");
    let text = fs::read_to_string(at.join("calico/shop-db.yaml")).expect("a policy");
    assert!(text.starts_with("apiVersion: projectcalico.org/v3\n") && !text.contains('#'), "{text}");
    // The same clusters, whoever is asked.
    generate(&["-o", "kubernetes"]);
    for folder in ["calico", "kubernetes"] {
        fs::copy(at.join("before/pods.yaml"), at.join(folder).join("pods.yaml")).expect("a copy");
    }
    assert_eq!(tortie(at, &["diff", "calico", "kubernetes"]).1, "Nothing is opened or closed.\n");
    let (code, out, said) = generate(&["--api", "clusternetworkpolicy"]);
    assert_eq!((code, out.as_str()), (2, ""), "{said}");
    assert!(said.contains("a ClusterNetworkPolicy denies nothing that comes from nodes or from outside"), "{said}");
    let (code, out, said) = generate(&["--api", "clusternetworkpolicy", "--direction", "egress", "-o", "cluster"]);
    assert_eq!(code, 0, "{out}{said}");
    generate(&["--direction", "egress", "-o", "out"]);
    for folder in ["cluster", "out"] {
        fs::copy(at.join("before/pods.yaml"), at.join(folder).join("pods.yaml")).expect("a copy");
    }
    assert_eq!(tortie(at, &["diff", "cluster", "out"]).1, "Nothing is opened or closed.\n");
}

/// The examples of `--help`, run as they stand there.
#[test]
fn help_shows_what_works() {
    let folder = repository();
    let at = folder.path();
    for name in ["before", "after"] {
        fs::create_dir(at.join(name)).expect("a folder");
        fs::write(at.join(name).join("pods.yaml"), PODS).expect("a file");
    }
    let main = fs::read(at.join(".git/refs/heads/main")).expect("a branch");
    fs::create_dir_all(at.join(".git/refs/remotes/origin")).expect("a folder");
    fs::write(at.join(".git/refs/remotes/origin/main"), main).expect("a branch");
    fs::write(at.join("recorded.jsonl"), FLOWS).expect("a file");
    let pod = "{apiVersion: v1, kind: Pod, metadata: {name: a, namespace: b}, spec: {containers: [{name: c, image: i}]}, \
               status: {podIP: 10.1.0.1}}";
    fs::write(at.join("cluster.yaml"), pod).expect("a file");
    let connection = "tcp 6 9 ESTABLISHED src=10.1.0.1 dst=192.0.2.1 sport=4000 dport=443 src=192.0.2.1 dst=10.1.0.1 \
                      sport=443 dport=4000 [ASSURED] use=1\n";
    fs::write(at.join("conntrack.txt"), connection).expect("a file");
    let mut runs = 0;
    for command in ["diff", "generate"] {
        let (_, help, _) = tortie(at, &[command, "--help"]);
        for line in help.lines().filter_map(|line| line.trim().strip_prefix("tortie ")) {
            // What an example is good for stands behind it.
            let line = line.split("  ").next().expect("a command");
            let arguments: Vec<&str> = line.split_whitespace().collect();
            let (code, out, said) = tortie(at, &arguments);
            assert!(code < 2 && !out.is_empty(), "{line}: {out}{said}");
            runs += 1;
        }
    }
    assert_eq!(runs, 11);
}

#[test]
fn the_practical_in_calicos_api_connects_whom_the_hardened_one_does() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    let diff = |new: &str| tortie(&examples, &["diff", "three-namespaces-hardened", new]);
    let (code, out, said) = diff("three-namespaces-calico");
    assert_eq!((code, out.as_str()), (0, "Nothing is opened or closed.\n"), "{said}");
    assert_eq!(diff("three-namespaces").0, 1, "the other one has its traps");
}
