//! The laws of the house that a compiler does not check: licences, the direction of dependencies, and that offline
//! commands build without crates that only exist for Linux. Read from `cargo metadata`.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

/// Licences that may come in with a dependency.
const ALLOWED: &[&str] = &[
    "MIT",
    "MIT-0",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "Zlib",
    "Unicode-3.0",
    "0BSD",
    "CC0-1.0",
    "Unlicense",
    "BSL-1.0",
];

/// Who may use whom (right: what it may depend on), from the bottom up; ARCHITECTURE.md says why.
const MAY_USE: &[(&str, &[&str])] = &[
    ("tortie-model", &[]),
    ("tortie-persistent", &[]),
    ("tortie-ruleset", &["tortie-persistent"]),
    ("tortie-manifest", &["tortie-model"]),
    ("tortie-policy", &["tortie-model", "tortie-persistent"]),
    ("tortie-plan", &["tortie-model", "tortie-persistent", "tortie-policy", "tortie-ruleset"]),
    ("tortie-proof", &["tortie-model", "tortie-persistent", "tortie-policy", "tortie-ruleset", "tortie-plan"]),
    ("tortie-analysis", &["tortie-model", "tortie-manifest", "tortie-policy", "tortie-plan"]),
    ("tortie-connectivity", &["tortie-model", "tortie-manifest", "tortie-policy", "tortie-analysis"]),
    ("tortie-lint", &["tortie-model", "tortie-manifest", "tortie-policy", "tortie-analysis", "tortie-connectivity"]),
    ("tortie-convert", &["tortie-model", "tortie-manifest", "tortie-policy", "tortie-analysis", "tortie-connectivity"]),
    (
        "tortie-flows",
        &[
            "tortie-model",
            "tortie-manifest",
            "tortie-policy",
            "tortie-analysis",
            "tortie-connectivity",
            "tortie-convert",
        ],
    ),
    ("tortie-revision", &["tortie-manifest"]),
    ("tortie-netlink", &["tortie-model", "tortie-persistent", "tortie-ruleset"]),
    (
        "tortie-dataplane",
        &["tortie-model", "tortie-persistent", "tortie-policy", "tortie-ruleset", "tortie-plan", "tortie-netlink"],
    ),
    (
        "tortie-node",
        &[
            "tortie-model",
            "tortie-persistent",
            "tortie-policy",
            "tortie-ruleset",
            "tortie-plan",
            "tortie-proof",
            "tortie-netlink",
            "tortie-dataplane",
        ],
    ),
    (
        "tortie-lab",
        &[
            "tortie-model",
            "tortie-manifest",
            "tortie-policy",
            "tortie-ruleset",
            "tortie-plan",
            "tortie-proof",
            "tortie-netlink",
            "tortie-dataplane",
            "tortie-node",
            "tortie-analysis",
        ],
    ),
    (
        "tortie",
        &[
            "tortie-model",
            "tortie-manifest",
            "tortie-policy",
            "tortie-plan",
            "tortie-analysis",
            "tortie-connectivity",
            "tortie-lint",
            "tortie-convert",
            "tortie-flows",
            "tortie-revision",
            "tortie-lab",
        ],
    ),
    ("tortie-testkit", &["tortie-model", "tortie-manifest", "tortie-policy"]),
    (
        "tortie-ordeal",
        &[
            "tortie-model",
            "tortie-manifest",
            "tortie-analysis",
            "tortie-flows",
            "tortie-ruleset",
            "tortie-plan",
            "tortie-netlink",
        ],
    ),
];

/// Crates that must not be in the way of reviewing policies on other systems.
const LINUX_ONLY: &[&str] = &["tortie-netlink", "tortie-dataplane", "tortie-node", "tortie-lab", "netlink-sys"];

/// `cargo metadata`, without touching the network when everything is there already.
fn metadata(extra: &[&str]) -> Value {
    let run = |offline: bool| {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["metadata", "--format-version", "1", "--locked"]).args(extra);
        cargo.args(offline.then_some("--offline")).current_dir(env!("CARGO_MANIFEST_DIR"));
        cargo.output().expect("cargo runs")
    };
    let mut output = run(true);
    if !output.status.success() {
        output = run(false);
    }
    assert!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("cargo metadata prints JSON")
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().map_or(&[], Vec::as_slice)
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

/// Whether an SPDX expression can be met with allowed licences alone (`OR` binds weaker than `AND`).
fn acceptable(expression: &str) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let tokens: Vec<&str> = spaced.split_whitespace().collect();
    let mut at = 0;
    any_of(&tokens, &mut at) && at == tokens.len()
}

fn any_of(tokens: &[&str], at: &mut usize) -> bool {
    let mut met = all_of(tokens, at);
    while tokens.get(*at) == Some(&"OR") {
        *at += 1;
        met |= all_of(tokens, at);
    }
    met
}

fn all_of(tokens: &[&str], at: &mut usize) -> bool {
    let mut met = one(tokens, at);
    while tokens.get(*at) == Some(&"AND") {
        *at += 1;
        met &= one(tokens, at);
    }
    met
}

fn one(tokens: &[&str], at: &mut usize) -> bool {
    let Some(first) = tokens.get(*at) else { return false };
    *at += 1;
    if *first == "(" {
        let met = any_of(tokens, at);
        *at += 1;
        return met;
    }
    let mut licence = (*first).to_owned();
    if tokens.get(*at) == Some(&"WITH") {
        licence = format!("{licence} WITH {}", tokens.get(*at + 1).unwrap_or(&""));
        *at += 2;
    }
    ALLOWED.contains(&licence.as_str())
}

#[test]
fn licence_expressions_are_read_as_spdx_means_them() {
    for (expression, ok) in [
        ("MIT", true),
        ("GPL-3.0-only", false),
        ("MIT OR GPL-3.0-only", true),
        ("MIT/Apache-2.0", true),
        ("MIT AND GPL-3.0-only", false),
        ("(MIT OR GPL-2.0-only) AND Unicode-3.0", true),
        ("Apache-2.0 WITH LLVM-exception OR MPL-2.0", true),
        ("MPL-2.0 OR GPL-2.0-only AND MIT", false),
        ("", false),
    ] {
        assert_eq!(acceptable(expression), ok, "{expression:?}");
    }
}

#[test]
fn dependencies_have_licences_that_we_may_ship() {
    let metadata = metadata(&[]);
    let bad: Vec<String> = list(&metadata, "packages")
        .iter()
        .filter(|p| !acceptable(text(p, "license")))
        .map(|p| format!("{} {}: licence {:?}", text(p, "name"), text(p, "version"), p["license"]))
        .collect();
    assert!(bad.is_empty(), "not on the allow-list of {}:\n{}", file!(), bad.join("\n"));
}

#[test]
fn no_crate_knows_one_above_it() {
    let metadata = metadata(&["--no-deps"]);
    let may_use: BTreeMap<_, _> = MAY_USE.iter().copied().collect();
    for package in list(&metadata, "packages") {
        let name = text(package, "name");
        let allowed = may_use.get(name).unwrap_or_else(|| panic!("{name} is missing in MAY_USE of {}", file!()));
        for dependency in list(package, "dependencies") {
            let used = text(dependency, "name");
            let ours = used == "tortie" || used.starts_with("tortie-");
            // Tests may look from below: they are no part of the crate.
            if ours && text(dependency, "kind") != "dev" {
                assert!(allowed.contains(&used), "{name} must not depend on {used}");
            }
            assert!(
                used != "tortie-testkit" || text(dependency, "kind") == "dev",
                "{name} uses tortie-testkit outside its tests"
            );
        }
    }
}

#[test]
fn offline_commands_build_without_linux_only_crates() {
    for platform in ["aarch64-apple-darwin", "x86_64-pc-windows-msvc"] {
        let metadata = metadata(&["--filter-platform", platform]);
        let names: BTreeMap<&str, &str> =
            list(&metadata, "packages").iter().map(|p| (text(p, "id"), text(p, "name"))).collect();
        let edges: BTreeMap<&str, Vec<&str>> = list(&metadata["resolve"], "nodes")
            .iter()
            .map(|n| {
                let shipped = |d: &&Value| list(d, "dep_kinds").iter().any(|k| text(k, "kind") != "dev");
                (text(n, "id"), list(n, "deps").iter().filter(shipped).map(|d| text(d, "pkg")).collect())
            })
            .collect();
        let root = names.iter().find(|(_, n)| **n == "tortie").map(|(id, _)| *id).expect("the tortie package");
        let (mut seen, mut todo) = (BTreeSet::new(), vec![root]);
        while let Some(id) = todo.pop() {
            if seen.insert(id) {
                todo.extend(edges.get(id).into_iter().flatten());
            }
        }
        for id in seen {
            assert!(!LINUX_ONLY.contains(&names[id]), "on {platform}, tortie would need {}", names[id]);
        }
    }
}
