//! What staged policies would change, as users ask for it.

#[path = "support/program.rs"]
mod program;
#[path = "support/schema.rs"]
mod schema;

use program::{folder, tortie};
use serde_json::{Value, json};
use tempfile::TempDir;

const PODS: &str = "\
{apiVersion: v1, kind: Namespace, metadata: {name: shop}}
---
{apiVersion: v1, kind: Pod, metadata: {name: cart, namespace: shop, labels: {app: cart}}, status: {podIP: 10.1.0.1}}
---
{apiVersion: v1, kind: Pod, metadata: {name: web, namespace: shop, labels: {app: web}}, status: {podIP: 10.1.0.2}}
---
{apiVersion: v1, kind: Pod, metadata: {name: db, namespace: shop, labels: {app: db}}, status: {podIP: 10.1.0.3}}
";

const ENFORCED: &str = "\
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: db, namespace: shop}
spec:
  podSelector: {matchLabels: {app: db}}
  ingress:
  - from: [{podSelector: {}}]
    ports: [{port: 5432}]
---
apiVersion: projectcalico.org/v3
kind: NetworkPolicy
metadata: {name: web, namespace: shop}
spec:
  selector: app == 'web'
  ingress:
  - {action: Allow, source: {selector: app == 'cart'}}
";

/// One of each: a policy in place of another, one that is new, a deletion, one that is of nothing, and one left out.
const STAGED: &str = "\
apiVersion: projectcalico.org/v3
kind: StagedKubernetesNetworkPolicy
metadata: {name: db, namespace: shop}
spec:
  podSelector: {matchLabels: {app: db}}
  ingress:
  - from: [{podSelector: {matchLabels: {app: cart}}}]
    ports: [{port: 5432}]
---
apiVersion: projectcalico.org/v3
kind: StagedNetworkPolicy
metadata: {name: web, namespace: shop}
spec: {stagedAction: Delete}
---
apiVersion: projectcalico.org/v3
kind: StagedGlobalNetworkPolicy
metadata: {name: no-telnet}
spec:
  order: 1
  types: [Egress]
  egress:
  - {action: Deny, protocol: TCP, destination: {ports: [23]}}
  - {action: Allow}
---
apiVersion: projectcalico.org/v3
kind: StagedNetworkPolicy
metadata: {name: gone, namespace: shop}
spec: {stagedAction: Delete}
---
apiVersion: projectcalico.org/v3
kind: StagedNetworkPolicy
metadata: {name: turned-down, namespace: shop}
spec: {stagedAction: Ignore, types: [Ingress, Egress]}
";

fn shop() -> TempDir {
    folder(&[("pods.yaml", PODS), ("policies.yaml", ENFORCED), ("staged.yaml", STAGED)])
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect()
}

#[test]
fn a_difference_names_the_staged_policy_and_what_it_is_about() {
    let shop = shop();
    let (code, out, said) = tortie(shop.path(), &["diff", "--staged", "-f", "."]);
    let expected = "\
StagedKubernetesNetworkPolicy/shop/db replaces NetworkPolicy/shop/db, whose
  ingress[0] allowed this
  staged.yaml:3
  policies.yaml:7
  FROM       TO       CLOSED
  shop/web   shop/db  TCP 5432

StagedGlobalNetworkPolicy/no-telnet is staged: its egress[0] denies this
  staged.yaml:22
  FROM        TO         CLOSED
  shop/cart   shop/web   TCP 23
              0.0.0.0/0

  shop/db   │ shop/cart  TCP 23
  shop/web  │ 0.0.0.0/0

StagedNetworkPolicy/shop/web deletes CalicoNetworkPolicy/shop/web: it governed
  ingress, and no rule allowed this
  staged.yaml:12
  policies.yaml:12
  FROM        TO        OPENED
  shop/db     shop/web  everything but TCP 23
  0.0.0.0/0   shop/web  everything

closed for 7 pairs, opened for 2 pairs
";
    assert_eq!((code, out.as_str()), (1, expected), "{said}");
    let notes: Vec<&str> = said.lines().filter(|line| line.starts_with("note")).collect();
    assert_eq!(
        notes,
        [
            "note[staged-missing]: StagedNetworkPolicy/shop/gone would delete CalicoNetworkPolicy/shop/gone, which is not there",
            "note[staged-ignored]: StagedNetworkPolicy/shop/turned-down says Ignore: it is left out of the preview",
        ]
    );
    let (_, out, _) = tortie(shop.path(), &["diff", "--staged", "-f", ".", "-o", "markdown"]);
    assert!(out.contains("`the working tree` → `the working tree with all that is staged`\n"), "{out}");
    assert!(out.contains("- StagedNetworkPolicy/shop/web deletes CalicoNetworkPolicy/shop/web: it"), "{out}");
    assert!(out.contains("(`staged.yaml:12`, `policies.yaml:12`)"), "{out}");
}

#[test]
fn one_that_says_what_is_enforced_already_is_not_blamed() {
    let db = ENFORCED.split("---\n").next().expect("the first policy");
    let same = db
        .replace("networking.k8s.io/v1", "projectcalico.org/v3")
        .replace("NetworkPolicy", "StagedKubernetesNetworkPolicy");
    let block = "\
apiVersion: projectcalico.org/v3
kind: StagedGlobalNetworkPolicy
metadata: {name: block}
spec: {order: 1, selector: app == 'db', ingress: [{action: Deny, source: {selector: app == 'web'}}]}
";
    let shop = folder(&[("pods.yaml", PODS), ("policies.yaml", db), ("same.yaml", &same), ("block.yaml", block)]);
    let (code, out, said) = tortie(shop.path(), &["diff", "--staged", "-f", "."]);
    let expected = "\
StagedGlobalNetworkPolicy/block is staged: its ingress[0] denies this
  block.yaml:4
  FROM       TO       CLOSED
  shop/web   shop/db  TCP 5432

closed for 1 pair
";
    assert_eq!((code, out.as_str()), (1, expected), "{said}");
}

#[test]
fn a_rule_that_passed_packets_on_is_told_as_what_it_was() {
    let policy = |kind: &str, action: &str| {
        format!(
            "apiVersion: projectcalico.org/v3\nkind: {kind}\nmetadata: {{name: p}}\n\
             spec: {{selector: app == 'cart', types: [Egress], egress: [{{action: {action}}}]}}\n"
        )
    };
    let (old, new) = (policy("GlobalNetworkPolicy", "Pass"), policy("StagedGlobalNetworkPolicy", "Log"));
    let shop = folder(&[("pods.yaml", PODS), ("old.yaml", &old), ("new.yaml", &new)]);
    let (_, out, said) = tortie(shop.path(), &["diff", "--staged", "-f", "."]);
    let expected = "\
StagedGlobalNetworkPolicy/p replaces GlobalNetworkPolicy/p, whose egress[0]
  passed this on
  new.yaml:3
  old.yaml:4
";
    assert!(out.starts_with(expected), "{out}{said}");
}

#[test]
fn programs_get_the_staged_policy_with_its_place() {
    let shop = shop();
    let (_, out, _) = tortie(shop.path(), &["diff", "--staged", "-f", ".", "-o", "json"]);
    schema::assert_lines_valid("diff", &out);
    let lines = lines(&out);
    let of = |src: &str, dst: &str| lines.iter().find(|l| l["src"] == src && l["dst"] == dst).expect("it differs");
    let policy = |kind: &str, name: &str, fate: &str, rule: Value, file: &str, line: usize, staged: Value| {
        json!([{
            "kind": kind, "namespace": "shop", "name": name, "fate": fate, "direction": "ingress", "rule": rule,
            "revision": null, "file": file, "line": line, "staged": staged,
        }])
    };
    let staged = |kind: &str, effect: &str, line: usize| json!({"kind": kind, "effect": effect, "file": "staged.yaml", "line": line});
    let by = staged("StagedKubernetesNetworkPolicy", "replaces", 3);
    assert_eq!(
        of("shop/Pod/web", "shop/Pod/db")["closed_by"],
        policy("NetworkPolicy", "db", "changed", json!(0), "policies.yaml", 7, by)
    );
    let by = staged("StagedNetworkPolicy", "deletes", 12);
    assert_eq!(
        of("shop/Pod/db", "shop/Pod/web")["opened_by"],
        policy("CalicoNetworkPolicy", "web", "removed", Value::Null, "policies.yaml", 12, by)
    );
    let by = &of("shop/Pod/cart", "shop/Pod/web")["closed_by"][0];
    assert_eq!((&by["kind"], &by["fate"]), (&"StagedGlobalNetworkPolicy".into(), &"added".into()));
    assert_eq!(by["staged"], staged("StagedGlobalNetworkPolicy", "adds", 17));
}

#[test]
fn exit_codes_are_those_of_a_difference() {
    let shop = shop();
    for (fail_on, expected) in [("opened", 1), ("closed", 1), ("none", 0)] {
        let (code, ..) = tortie(shop.path(), &["diff", "--staged", "-f", ".", "--fail-on", fail_on]);
        assert_eq!(code, expected, "{fail_on}");
    }
    let (code, out, said) = tortie(shop.path(), &["diff", "--staged", "-f", "pods.yaml", "-f", "policies.yaml"]);
    let expected = (0, "Nothing is opened or closed.\n", "note: nothing is staged in the working tree\n");
    assert_eq!((code, out.as_str(), said.as_str()), expected);
    let (code, _, said) = tortie(shop.path(), &["diff", "--staged"]);
    assert!(code == 2 && said.contains("say which manifests, as in -f k8s/"), "{said}");
    // Of two clusters, it is the new one in which what is staged is done.
    let at = shop.path();
    let (code, out, said) = tortie(at, &["diff", "pods.yaml", ".", "--staged"]);
    assert_eq!(code, 1, "{said}");
    assert!(
        out.contains("StagedKubernetesNetworkPolicy/shop/db is staged") || out.contains("/shop/db replaces"),
        "{out}"
    );
    assert!(!out.contains("CalicoNetworkPolicy/shop/web"), "it is neither before nor after: {out}");
}

#[test]
fn an_explanation_says_what_is_and_what_would_be() {
    let shop = shop();
    let ask = |arguments: &[&str]| {
        let mut all = vec!["explain", "-f", ".", "--staged"];
        all.extend(arguments);
        tortie(shop.path(), &all)
    };
    let (code, out, _) = ask(&["shop/web", "shop/db", "5432"]);
    let (now, then) = out.split_once("\nOnce all that is staged is enforced:\n\n").expect("both");
    assert!(code == 0 && now.starts_with("ALLOWED  shop/web -> shop/db  TCP/5432"), "{out}");
    assert!(now.contains("by ingress[0] of NetworkPolicy/shop/db\n    policies.yaml:7\n"), "{out}");
    assert!(then.starts_with("DENIED  shop/web -> shop/db  TCP/5432"), "{out}");
    assert!(then.contains("      StagedKubernetesNetworkPolicy/shop/db  staged.yaml:3\n"), "{out}");
    let (_, out, _) = ask(&["10.1.0.9", "shop/db", "80"]);
    assert!(out.contains("DENIED") && out.contains("Once all"), "another policy would deny it: {out}");
    let (_, out, _) = ask(&["192.0.2.1", "shop/cart", "80"]);
    assert!(out.ends_with("\nThe same once all that is staged is enforced.\n"), "{out}");

    let (_, out, _) = ask(&["shop/web", "shop/db", "5432", "-o", "json"]);
    schema::assert_lines_valid("explain", &out);
    let line = &lines(&out)[0];
    assert_eq!((&line["allowed"], &line["staged"]["allowed"]), (&true.into(), &false.into()));
    let isolating = json!(["StagedKubernetesNetworkPolicy/shop/db"]);
    assert_eq!(line["staged"]["ingress"]["isolating"], isolating);
    let (_, out, _) = ask(&["shop/web", "shop/db", "-o", "json"]);
    schema::assert_lines_valid("explain", &out);
    assert!(lines(&out)[0]["staged"]["regions"].is_array(), "{out}");
    let (code, ..) = ask(&["--batch", "-"]);
    assert_eq!(code, 2, "in bulk there is no room for two answers");
}

#[test]
fn whoever_does_not_ask_is_told_once_that_staged_policies_decide_nothing() {
    let shop = shop();
    let expected = "note[staged-policy]: 5 staged policies decide nothing until they are enforced; \
                    `tortie diff --staged` says what that would change\n";
    for arguments in [&["explain", "-f", ".", "shop/web", "shop/db", "5432"][..], &["connectivity", "-f", "."]] {
        let (code, out, said) = tortie(shop.path(), arguments);
        assert_eq!((code, said.as_str()), (0, expected), "{out}");
        assert!(!out.contains("Staged"), "{out}");
    }
    let (code, out, said) = tortie(shop.path(), &["test", "."]);
    let expected = "note: the staged policies of 1 case decide nothing; `tortie diff --staged` says what enforcing them \
                    would change\n";
    assert_eq!((code, said.as_str()), (0, expected), "{out}");
}

#[test]
fn recorded_connections_that_staged_policies_would_deny_are_found() {
    let shop = shop();
    let flows = r#"{"from":"shop/web","to":"shop/db","proto":"TCP","port":5432,"allowed":true}
{"from":"shop/cart","to":"shop/db","proto":"TCP","port":5432,"allowed":true}
{"from":"shop/cart","to":"shop/db","proto":"TCP","port":80,"allowed":true}
"#;
    std::fs::write(shop.path().join("flows"), flows).expect("a file");
    let (code, out, said) = tortie(shop.path(), &["diff", "--staged", "-f", ".", "--flows", "flows"]);
    let expected = "\
shop/web -> shop/db TCP 5432
  1 connection would be denied
    ingress was allowed by ingress[0] of NetworkPolicy/shop/db
      policies.yaml:7
    ingress would be denied: no rule of StagedKubernetesNetworkPolicy/shop/db
    allows it
      staged.yaml:3

1 of 3 recorded flows would be denied
";
    assert_eq!((code, out.as_str()), (1, expected), "{said}");
    let odd = "note: of 1 recorded flow, the record and the manifests say opposite things; the manifests are not what was \
               enforced, or not all of it\n";
    assert!(said.ends_with(odd), "{said}");
}
