//! What is said to change nothing is taken away, and who can talk to whom is asked again, on random clusters.

use tortie_analysis::snapshot::Snapshot;
use tortie_connectivity::{Connectivity, Difference};
use tortie_lint::lint_all;
use tortie_manifest::{Expansion, LoadOptions, Memory, load};
use tortie_model::{Direction, NetworkPolicy};
use tortie_testkit::{Cluster, Rng, manifests, random};

fn snapshot(cluster: &Cluster) -> Snapshot {
    let text = manifests::list(&manifests::manifests(cluster)).to_string();
    let loaded = load(&Memory::new([("cluster.json", text)]), &["cluster.json"], &LoadOptions::default());
    assert!(!loaded.has_untrusted_object(), "{:#?}", loaded.diagnostics);
    Snapshot::new(&loaded, &Expansion::default())
}

fn without(cluster: &Cluster, name: &str, namespace: &str, rule: Option<(Direction, usize)>) -> Cluster {
    let mut out = cluster.clone();
    let is = |p: &NetworkPolicy| *p.meta.name == *name && *p.meta.namespace == *namespace;
    match rule {
        None => out.policies.retain(|p| !is(p)),
        Some((direction, index)) => {
            let policy = out.policies.iter_mut().find(|p| is(p)).expect("the policy that was named");
            let rules = if direction == Direction::Ingress { &mut policy.ingress } else { &mut policy.egress };
            rules.as_mut().expect("it has rules").remove(index);
        }
    }
    out
}

#[test]
fn what_is_said_to_change_nothing_changes_nothing() {
    const CLUSTERS: u64 = 150;
    let (mut rules, mut policies) = (0, 0);
    for seed in 0..CLUSTERS {
        let cluster = random::cluster(&mut Rng::new(seed));
        let before = snapshot(&cluster);
        let known = Connectivity::of(&before.index);
        for finding in lint_all(&before) {
            let rule = match finding.lint.id {
                "policy-without-effect" => None,
                "redundant-rule" => {
                    let parts: Vec<&str> = finding.pointer.split('/').collect();
                    let [_, _, direction, index] = parts[..] else { panic!("{}", finding.pointer) };
                    let direction = if direction == "ingress" { Direction::Ingress } else { Direction::Egress };
                    Some((direction, index.parse().expect("a number")))
                }
                _ => continue,
            };
            *(if rule.is_some() { &mut rules } else { &mut policies }) += 1;
            let object = finding.object().expect("a finding has an object");
            let after = snapshot(&without(&cluster, &object.name, object.namespace_str(), rule));
            let difference = Difference::between(&known, &Connectivity::of(&after.index));
            let shown =
                || difference.changes.iter().take(3).map(|c| format!("{} -> {}", c.from, c.to)).collect::<Vec<_>>();
            assert!(
                difference.is_empty(),
                "seed {seed}: {} {object} {}: {:?}",
                finding.lint.id,
                finding.pointer,
                shown()
            );
        }
    }
    assert!(rules > 50 && policies > 5, "too little was found to say anything: {rules} rules, {policies} policies");
}
