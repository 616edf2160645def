//! The examples have the findings that their pages list, and no others.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use tortie_analysis::snapshot::Snapshot;
use tortie_lint::{Finding, Level, apply_fixes, lint_all};
use tortie_manifest::{Disk, Expansion, LoadOptions, Loaded, load};
use tortie_model::Object;

const TRAPS: [&str; 2] = ["peers-apart", "metrics-with-dns"];

fn example(name: &str) -> Loaded {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples").join(name);
    load(&Disk, &[folder.to_str().expect("a path")], &LoadOptions::default())
}

fn findings(loaded: &Loaded) -> Vec<Finding> {
    assert!(loaded.diagnostics.is_empty(), "{:?}", loaded.diagnostics);
    lint_all(&Snapshot::new(loaded, &Expansion::default()))
        .into_iter()
        .filter(|f| f.lint.level > Level::Allow)
        .collect()
}

fn told(findings: &[Finding]) -> BTreeSet<(String, String)> {
    let object = |f: &Finding| f.object().map(ToString::to_string).unwrap_or_default();
    findings.iter().map(|f| (f.lint.id.to_owned(), object(f))).collect()
}

/// The rows of the table on the page of the hardened practical.
fn listed() -> BTreeSet<(String, String)> {
    let page = include_str!("../../../examples/three-namespaces-hardened/README.md");
    let rows = page.lines().filter_map(|l| l.strip_prefix("| `")?.split_once("` | "));
    rows.map(|(id, rest)| (id.to_owned(), rest.split(" |").next().unwrap_or_default().to_owned())).collect()
}

#[test]
fn the_hardened_practical_has_what_its_page_lists() {
    assert_eq!(told(&findings(&example("three-namespaces-hardened"))), listed());
}

/// The same three namespaces with the policies of Calico: nothing but the one thing that is left to find in all of them.
#[test]
fn the_practical_of_calico_has_no_mistake_of_its_own() {
    let found = findings(&example("three-namespaces-calico"));
    let grave: Vec<&Finding> = found.iter().filter(|f| f.lint.level >= Level::Warning).collect();
    let told: Vec<_> = grave.iter().map(|f| (f.lint.id, f.object().map(ToString::to_string))).collect();
    let dev = "CalicoNetworkPolicy/dev/allow-egress-to-prod".to_owned();
    assert_eq!(told, [("egress-without-dns", Some(dev))]);
    // Its one policy for three namespaces keeps their new pods closed, too.
    let open =
        found.iter().filter(|f| f.lint.id == "namespace-without-default-deny-egress").filter_map(Finding::object);
    let open: Vec<String> = open.map(ToString::to_string).collect();
    assert_eq!(open, ["Namespace/dev-tools"]);
}

#[test]
fn the_plain_practical_has_the_two_traps_besides() {
    let found = findings(&example("three-namespaces"));
    let (traps, others): (Vec<_>, Vec<_>) = found.into_iter().partition(|f| TRAPS.contains(&f.lint.id));
    assert_eq!(told(&others), listed());
    let count = |id| traps.iter().filter(|f| f.lint.id == id).count();
    assert_eq!(TRAPS.map(count), [5, 1]);
    // What --fix would write is the hardened practical.
    let fixed = apply_fixes(&traps);
    assert_eq!(fixed.len(), 3);
    for file in fixed {
        let name = Path::new(&**file.file.name()).file_name().expect("a name").to_owned();
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/three-namespaces-hardened");
        let hardened = std::fs::read_to_string(folder.join(name)).expect("a file of the same name");
        let objects = |text: &str| {
            let loaded = load(&tortie_manifest::Memory::new([("f", text)]), &["f"], &LoadOptions::default());
            let mut objects: Vec<Object> = loaded.objects.iter().map(|o| o.object.clone()).collect();
            for object in &mut objects {
                let Object::NetworkPolicy(policy) = object else { continue };
                let policy = Arc::make_mut(policy);
                // In which order ports are listed means nothing.
                policy.ingress.iter_mut().chain(&mut policy.egress).flatten().for_each(|rule| rule.ports.sort());
            }
            objects
        };
        assert_eq!(objects(&file.text), objects(&hardened), "{}", file.file.name());
    }
}
