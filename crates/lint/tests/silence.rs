//! What lints do not say, for it would be wrong or be said twice.

use tortie_analysis::snapshot::Snapshot;
use tortie_lint::lint_all;
use tortie_manifest::{Expansion, LoadOptions, Memory, load};

/// Two pods in a namespace, of which policies speak by `app`.
const SHOP: &str = r"
---
apiVersion: v1
kind: Pod
metadata: {name: web, namespace: shop, labels: {app: web}}
spec: {containers: [{name: web, image: web}]}
---
apiVersion: v1
kind: Pod
metadata: {name: db, namespace: shop, labels: {app: db}}
spec: {containers: [{name: db, image: db}]}
";

fn found(pods: &str, specs: &[&str]) -> Vec<&'static str> {
    let policy = |(n, spec): (usize, &&str)| {
        format!(
            "\n---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{name: np{n}, namespace: shop}}\n\
             spec: {spec}\n"
        )
    };
    let text = pods.to_owned() + &specs.iter().enumerate().map(policy).collect::<String>();
    let loaded = load(&Memory::new([("f.yaml", text)]), &["f.yaml"], &LoadOptions::default());
    assert!(loaded.diagnostics.is_empty(), "{:#?}", loaded.diagnostics);
    lint_all(&Snapshot::new(&loaded, &Expansion::default())).into_iter().map(|f| f.lint.id).collect()
}

fn says(specs: &[&str], id: &str) -> bool {
    found(SHOP, specs).contains(&id)
}

const DNS: &str = "to: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: kube-system}}, \
                   podSelector: {matchLabels: {k8s-app: kube-dns}}}]";

#[test]
fn every_cluster_has_dns() {
    let to_dns = format!("{{podSelector: {{}}, policyTypes: [Egress], egress: [{{{DNS}}}]}}");
    for id in ["unknown-namespace-label", "peer-selects-no-pod", "egress-without-dns"] {
        assert!(!says(&[&to_dns], id), "{id}");
    }
    let elsewhere = to_dns.replace("name: kube-system", "name: kube-sytem");
    assert!(says(&[&elsewhere], "unknown-namespace-label"));
    assert!(says(&[&to_dns.replace("kube-dns", "kube-ns")], "near-miss-label"));
}

#[test]
fn the_whole_world_and_the_cache_on_a_node_have_dns() {
    let to = |block: &str| {
        format!("{{podSelector: {{}}, policyTypes: [Egress], egress: [{{to: [{{ipBlock: {{cidr: {block}}}}}]}}]}}")
    };
    assert!(!says(&[&to("0.0.0.0/0")], "egress-without-dns"));
    assert!(!says(&[&to("169.254.20.10/32")], "egress-without-dns"));
    assert!(says(&[&to("192.0.2.0/24")], "egress-without-dns"));
}

#[test]
fn what_only_isolates_is_there_for_pods_to_come() {
    let deny = "{podSelector: {}, policyTypes: [Ingress]}";
    let let_in =
        "{podSelector: {matchExpressions: [{key: app, operator: Exists}]}, ingress: [{from: [{podSelector: {}}]}]}";
    assert!(!says(&[deny, let_in], "policy-without-effect"));
    let narrow =
        "{podSelector: {matchLabels: {app: db}}, ingress: [{from: [{podSelector: {matchLabels: {app: web}}}]}]}";
    assert!(says(&[narrow, let_in], "policy-without-effect"));
}

#[test]
fn a_policy_for_pods_that_the_input_does_not_have_may_matter() {
    let inside = "{podSelector: {}, policyTypes: [Egress], egress: [{to: [{podSelector: {}}]}]}";
    let to_dns = format!("{{podSelector: {{matchLabels: {{app: web}}}}, policyTypes: [Egress], egress: [{{{DNS}}}]}}");
    assert!(!says(&[inside, &to_dns], "policy-without-effect"));
}

#[test]
fn the_only_policy_of_a_pod_is_not_called_without_effect() {
    let all = "{podSelector: {matchLabels: {app: db}}, ingress: [{}]}";
    assert!(!says(&[all], "policy-without-effect"));
    assert!(says(&[all, "{podSelector: {}, ingress: [{}]}"], "policy-without-effect"));
}

#[test]
fn a_contradiction_is_told_once() {
    let never = "{matchLabels: {app: db}, matchExpressions: [{key: app, operator: NotIn, values: [db]}]}";
    let subject = found(SHOP, &[&format!("{{podSelector: {never}, ingress: [{{}}]}}")]);
    assert!(subject.contains(&"selector-contradiction") && !subject.contains(&"policy-selects-no-pod"), "{subject:?}");
    let peer = format!("{{podSelector: {{}}, ingress: [{{from: [{{podSelector: {never}}}]}}]}}");
    let peer = found(SHOP, &[&peer]);
    assert!(peer.contains(&"selector-contradiction") && !peer.contains(&"peer-selects-no-pod"), "{peer:?}");
}

#[test]
fn a_rule_that_matters_only_below_the_first_block_is_kept() {
    // The second rule has all pods and all of the upper half; everybody else is let in by the first alone.
    let both = "{podSelector: {}, ingress: [{ports: [{port: 80}]}, {from: [{podSelector: {}}, \
                {ipBlock: {cidr: '::/0'}}, {ipBlock: {cidr: 128.0.0.0/1}}], ports: [{port: 80}]}]}";
    let ids = found(SHOP, &[both]);
    assert_eq!(ids.iter().filter(|id| **id == "redundant-rule").count(), 1, "the second only: {ids:?}");
}

#[test]
fn an_exception_is_looked_at_where_other_blocks_begin() {
    let spec = |other: &str| {
        format!(
            "{{podSelector: {{}}, ingress: [{{from: [{{ipBlock: {{cidr: 0.0.0.0/0, except: [10.0.0.0/8]}}}}]}}, \
             {{from: [{{ipBlock: {{cidr: {other}}}}}]}}]}}"
        )
    };
    assert!(says(&[&spec("10.7.0.0/16")], "except-cancelled"));
    assert!(!says(&[&spec("11.7.0.0/16")], "except-cancelled"));
}

#[test]
fn policies_of_pods_on_their_nodes_network_alone_are_looked_at() {
    let pods = "apiVersion: v1\nkind: Pod\nmetadata: {name: a, namespace: shop, labels: {app: a}}\n\
                spec: {hostNetwork: true, containers: [{name: a, image: a}]}\n";
    assert!(found(pods, &["{podSelector: {}}"]).contains(&"selects-host-network"));
}

#[test]
fn without_pods_nothing_is_said_of_who_is_meant() {
    let ids = found("", &["{podSelector: {matchLabels: {app: db}}, ingress: [{from: [{podSelector: {}}]}]}"]);
    let of_pods = ["policy-selects-no-pod", "peer-selects-no-pod", "policy-in-empty-namespace", "redundant-rule"];
    assert!(!ids.iter().any(|id| of_pods.contains(id)), "{ids:?}");
}
