//! `tortie convert`: what is written stands for what was read, and what cannot be is refused with a flow.

#[path = "support/program.rs"]
#[allow(dead_code)]
mod program;

use std::path::Path;

use program::{Told, tortie};

fn run(arguments: &[&str]) -> Told {
    tortie(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../.."), arguments)
}

const EXAMPLE: &str = "examples/three-namespaces";

/// The example without its NetworkPolicies, and the same with those of another text.
fn folders(policies: &str) -> (tempfile::TempDir, tempfile::TempDir) {
    let [before, after] = [0, 1].map(|_| tempfile::tempdir().expect("a folder"));
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(EXAMPLE);
    for entry in std::fs::read_dir(here).expect("the example") {
        let path = entry.expect("a file").path();
        let text = std::fs::read_to_string(&path).expect("a text");
        if path.to_string_lossy().contains("case") || path.extension().is_none_or(|e| e != "yaml") {
            continue;
        }
        let name = path.file_name().expect("a name");
        std::fs::write(before.path().join(name), &text).expect("a file");
        let documents = text.split("\n---").filter(|d| !d.contains("kind: NetworkPolicy"));
        std::fs::write(after.path().join(name), documents.collect::<Vec<_>>().join("\n---")).expect("a file");
    }
    std::fs::write(after.path().join("converted.yaml"), policies).expect("a file");
    (before, after)
}

#[test]
fn the_example_is_the_same_in_calicos_api() {
    let (code, yaml, said) = run(&["convert", "--to", "calico", "-f", EXAMPLE]);
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("proven"), "{said}");
    assert!(yaml.contains("# From NetworkPolicy/") && yaml.contains(".yaml:"), "{yaml}");
    assert!(yaml.contains("apiVersion: projectcalico.org/v3"), "{yaml}");
    let (before, after) = folders(&yaml);
    let paths = [&before, &after].map(|f| f.path().to_str().expect("UTF-8").to_owned());
    let (code, out, said) = run(&["diff", &paths[0], &paths[1]]);
    assert_eq!(code, 0, "{out}{said}");
    // And back again.
    let (code, yaml, said) = run(&["convert", "--to", "networkpolicy", "-f", &paths[1]]);
    assert_eq!(code, 0, "{said}");
    let (before, after) = folders(&yaml);
    let paths = [&before, &after].map(|f| f.path().to_str().expect("UTF-8").to_owned());
    assert_eq!(run(&["diff", &paths[0], &paths[1]]).0, 0, "{yaml}");
}

#[test]
fn what_cannot_be_said_is_refused_with_a_flow_and_both_answers() {
    let (code, yaml, said) = run(&["convert", "--to", "clusternetworkpolicy", "-f", EXAMPLE]);
    assert_eq!((code, yaml.as_str()), (1, ""), "{said}");
    for part in [" now, and would be ", "now decided by", "What cannot be said:", ".yaml:"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert!(said.lines().all(|line| line.chars().count() <= 80), "{said}");
}

#[test]
fn nothing_to_convert_is_no_success() {
    let (code, out, said) = run(&["convert", "--to", "networkpolicy", "-f", EXAMPLE]);
    assert_eq!((code, out.as_str()), (2, ""), "{said}");
    assert!(said.contains("only NetworkPolicies"), "{said}");
}

#[test]
fn what_the_engine_does_not_judge_is_not_converted() {
    let folder = tempfile::tempdir().expect("a folder");
    let policy = "apiVersion: policy.networking.k8s.io/v1alpha2\nkind: ClusterNetworkPolicy\nmetadata: {name: names}\n\
                  spec:\n  tier: Admin\n  priority: 1\n  subject: {namespaces: {}}\n  egress:\n  \
                  - {action: Accept, to: [{networks: [10.0.0.0/8]}]}\n  \
                  - {action: Accept, to: [{domainNames: [\"*.example.com\"]}]}\n";
    std::fs::write(folder.path().join("names.yaml"), policy).expect("a file");
    let (code, yaml, said) = tortie(folder.path(), &["convert", "--to", "calico", "-f", "names.yaml"]);
    assert_eq!((code, yaml.as_str()), (2, ""), "{said}");
    assert!(said.contains("egress[1] of ClusterNetworkPolicy/names: a peer that is no pod"), "{said}");
    assert!(said.contains("(names.yaml:10)"), "{said}");
}
