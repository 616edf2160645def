//! The pages of the lints under `docs/lints/`: their examples are played, so that what they say stays true.

use std::path::Path;
use std::sync::Arc;

use tortie_analysis::snapshot::Snapshot;
use tortie_lint::{Finding, LINTS, Level, Lint, lint_all};
use tortie_manifest::{Expansion, LoadOptions, Memory, load};
use tortie_model::{Protocol, Traffic};
use tortie_policy::{PodKey, Side};

/// The one example under a heading of a page.
fn example<'p>(lint: &Lint, page: &'p str, heading: &str) -> &'p str {
    let (_, below) = page.split_once(&format!("\n## {heading}\n")).unwrap_or_else(|| panic!("{}: {heading}", lint.id));
    let below = below.split_once("\n## ").map_or(below, |(section, _)| section);
    let (_, block) = below.split_once("```yaml\n").unwrap_or_else(|| panic!("{}: no YAML under {heading}", lint.id));
    let (block, rest) = block.split_once("```").expect("the block ends");
    assert!(!rest.contains("```"), "{}: one example under {heading}", lint.id);
    block
}

fn snapshot(lint: &Lint, text: &str) -> Snapshot {
    let loaded = load(&Memory::new([("example.yaml", text)]), &["example.yaml"], &LoadOptions::default());
    let said: Vec<String> = loaded.diagnostics.iter().map(|d| d.render(false)).collect();
    assert!(said.is_empty(), "{}: {}", lint.id, said.join("\n"));
    Snapshot::new(&loaded, &Expansion::default())
}

fn shown(findings: &[&Finding]) -> String {
    findings.iter().map(|f| format!("{}: {}\n", f.lint.id, f.diagnostic.render(false))).collect()
}

/// Findings that a reader would take for a mistake.
fn grave<'f>(findings: &'f [Finding], but: &str) -> Vec<&'f Finding> {
    findings.iter().filter(|f| f.lint.level >= Level::Warning && f.lint.id != but).collect()
}

fn side(snapshot: &Snapshot, name: &str) -> Side {
    let index = &snapshot.index;
    if let Ok(ip) = name.parse() {
        return index.address_side(ip);
    }
    let (namespace, name) = name.split_once('/').expect("namespace/pod");
    let pod: &Arc<_> = index.pod(&PodKey::new(namespace, name)).expect("a pod of the input");
    let with = |family| index.pod_side(pod, Some(family)).filter(|s| s.ip().is_some());
    let addressed = tortie_model::Family::ALL.into_iter().find_map(with);
    addressed.or_else(|| index.pod_side(pod, None)).expect("a pod has a side")
}

/// What a finding claims of a packet is what the engine says.
fn hold_witness(snapshot: &Snapshot, finding: &Finding) {
    let Some(witness) = &finding.witness else { return };
    let (protocol, port) = witness.traffic.split_once('/').expect("PROTOCOL/port");
    let protocol = Protocol::ALL.into_iter().find(|p| p.to_string() == protocol).expect("a protocol");
    let traffic = Traffic::port(protocol, port.parse().expect("a port"));
    let (from, to) = (side(snapshot, &witness.from), side(snapshot, &witness.to));
    let allowed = snapshot.index.verdict(&from, &to, traffic).is_allowed();
    assert_eq!(witness.allowed, allowed, "{}: {witness}", finding.lint.id);
    // Lints that warn of what passes show what passes, the others what does not.
    let passes = ["except-cancelled", "metadata-reachable", "dangerous-port-open"].contains(&finding.lint.id);
    assert_eq!(witness.allowed, passes, "{}: {witness}", finding.lint.id);
}

#[test]
fn a_page_begins_with_its_lint_and_what_it_finds() {
    for lint in LINTS {
        let mut lines = lint.page.lines();
        assert_eq!(lines.next(), Some(&*format!("# {}", lint.id)));
        assert_eq!(lines.next(), Some(""), "{}", lint.id);
        let summary = lines.next().unwrap_or_default();
        let capital = summary.chars().next().is_some_and(|c| c.is_uppercase() || c == '`');
        assert!(capital && summary.ends_with('.'), "{}: {summary}", lint.id);
        let long: Vec<&str> = lint.page.lines().filter(|l| l.chars().count() > 80).collect();
        assert!(long.is_empty(), "{}: pages are read on 80 columns: {long:#?}", lint.id);
    }
}

#[test]
fn a_bad_example_shows_its_lint_and_no_other_mistake() {
    let mut wrong = Vec::new();
    for lint in LINTS {
        let snapshot = snapshot(lint, example(lint, lint.page, "Bad"));
        let found = lint_all(&snapshot);
        let ids: Vec<&str> = found.iter().map(|f| f.lint.id).collect();
        if !ids.contains(&lint.id) {
            wrong.push(format!("{} is not found; {ids:?}", lint.id));
        }
        let others = grave(&found, lint.id);
        if !others.is_empty() {
            wrong.push(format!("{}: found besides\n{}", lint.id, shown(&others)));
        }
        for finding in &found {
            hold_witness(&snapshot, finding);
            let place = finding.diagnostic.place.as_ref();
            assert!(place.is_some_and(|p| p.line() > 0), "{} stands nowhere", finding.lint.id);
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_good_example_is_free_of_its_lint_and_of_mistakes() {
    for lint in LINTS {
        let snapshot = snapshot(lint, example(lint, lint.page, "Good"));
        let found = lint_all(&snapshot);
        let others: Vec<&Finding> =
            found.iter().filter(|f| f.lint.level >= Level::Warning || f.lint.id == lint.id).collect();
        assert!(others.is_empty(), "{}: found\n{}", lint.id, shown(&others));
        for finding in &found {
            hold_witness(&snapshot, finding);
        }
    }
}

/// Lints that claim something of packets show one.
#[test]
fn what_carries_a_witness_is_seen_in_an_example() {
    let with: Vec<&str> = LINTS
        .iter()
        .filter(|lint| {
            let found = lint_all(&snapshot(lint, example(lint, lint.page, "Bad")));
            found.iter().any(|f| f.lint.id == lint.id && f.witness.is_some())
        })
        .map(|lint| lint.id)
        .collect();
    assert_eq!(with, ["dangerous-port-open", "except-cancelled", "metadata-reachable", "tier-end-drop", "one-sided"]);
}

#[test]
fn the_index_lists_every_lint() {
    let row = |l: &Lint| format!("| [{0}]({0}.md) | {1} | {2} |\n", l.id, l.level.as_str(), l.summary);
    let rows: String = LINTS.iter().map(row).collect();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/lints");
    let index = std::fs::read_to_string(folder.join("README.md")).expect("docs/lints/README.md");
    let table = index.lines().filter(|l| l.starts_with("| [")).map(|l| format!("{l}\n")).collect::<String>();
    assert_eq!(table, rows);
    let mut pages: Vec<String> = std::fs::read_dir(&folder)
        .expect("docs/lints")
        .map(|e| e.expect("an entry").file_name().to_string_lossy().into_owned())
        .filter(|name| name != "README.md")
        .collect();
    let mut known: Vec<String> = LINTS.iter().map(|l| format!("{}.md", l.id)).collect();
    pages.sort();
    known.sort();
    assert_eq!(pages, known, "a page for every lint and none besides");
}
