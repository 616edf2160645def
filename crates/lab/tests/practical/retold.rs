//! The same practical told in other words or another form.

use std::collections::BTreeMap;

use serde_json::Value;
use tortie_analysis::observation::{Observation, StepReport};
use tortie_manifest::Memory;
use tortie_testkit::Rng;

use crate::example::Example;
use crate::seen::{case, line, observations, play, some};
use crate::{Result, World, yaml};

/// Words of the practical, and what takes their place: namespaces, pods, label keys, label values, ports.
const WORDS: [(&str, &str); 20] = [
    ("prod", "sales"),
    ("prod1", "sales-a"),
    ("prod2", "sales-b"),
    ("dev", "kitchen"),
    ("dev1", "kitchen-a"),
    ("dev2", "kitchen-b"),
    ("qa", "a"),
    ("qa1", "zz"),
    ("qa2", "q.q"),
    ("ns", "crew"),
    ("nsp", "example.com/house"),
    ("run", "ns"),
    ("trouble1", "worry-1"),
    ("trouble2", "joy-1"),
    ("tools", "of-others"),
    ("stranger", "passer-by"),
    ("metrics", "gauges"),
    ("8888", "9443"),
    ("80", "31999"),
    ("internet", "beyond"),
];

/// Replaces whole words, so that `dev-tools` changes in both halves and `production` not at all.
fn reworded(text: &str, words: &BTreeMap<&str, &str>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let word = rest.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(rest.len());
        let len = if word == 0 { first.len_utf8() } else { word };
        let (piece, after) = rest.split_at(len);
        out.push_str(words.get(piece).unwrap_or(&piece));
        rest = after;
    }
    out
}

/// All that was seen, sorted, with the policies that decided; with the places of their rules where they did not move.
fn told(reports: &[StepReport], places: bool, words: &BTreeMap<&str, &str>) -> Vec<String> {
    let decided = |o: &Observation| {
        let both = [&o.decided_by.egress, &o.decided_by.ingress].map(|d| {
            let place = |d: &tortie_analysis::observation::DecidedBy| match (places, &d.file, d.line) {
                (true, Some(file), Some(line)) => format!("{file}:{line}"),
                _ => String::new(),
            };
            let text = |d: &tortie_analysis::observation::DecidedBy| {
                format!("{} {:?} {} {} {}", d.kind, d.namespace, d.name, d.rule, place(d))
            };
            d.as_ref().map_or_else(|| "-".to_owned(), text)
        });
        both.join(" | ")
    };
    let why = |o: &Observation| o.why.clone().unwrap_or_default();
    let mut lines: Vec<String> =
        observations(reports).map(|o| reworded(&format!("{} {} {}", line(o), decided(o), why(o)), words)).collect();
    lines.sort_unstable();
    lines
}

fn same(world: &World, example: &Example, files: &Memory, places: bool, words: &BTreeMap<&str, &str>) -> Result {
    let before = told(example.reports(world)?, places, words);
    let after = told(&play(&world.sandbox, case(files, "")?)?, places, &BTreeMap::new());
    if before.len() != after.len() {
        return Err(format!("{} observations instead of {}", after.len(), before.len()).into());
    }
    let differing: Vec<String> = before
        .iter()
        .zip(&after)
        .filter(|(b, a)| b != a)
        .flat_map(|(b, a)| [format!("before: {b}"), format!("after:  {a}")])
        .collect();
    if differing.is_empty() { Ok(()) } else { Err(some("not the same", &differing)) }
}

pub(crate) fn renamed(world: &World) -> Result {
    let words: BTreeMap<&str, &str> = WORDS.into();
    let all: String = world.plain.texts().values().map(String::as_str).collect();
    let pieces: std::collections::BTreeSet<&str> = all.split(|c: char| !c.is_ascii_alphanumeric()).collect();
    if let Some((word, _)) = WORDS.iter().find(|(word, _)| !pieces.contains(word)) {
        return Err(format!("the practical does not say `{word}`").into());
    }
    let texts = world.plain.texts().iter().map(|(f, t)| (reworded(f, &words), reworded(t, &words)));
    same(world, &world.plain, &Memory::new(texts), true, &words)
}

/// One file with all manifests in any order; the steps pick their objects out of it.
pub(crate) fn shuffled(world: &World) -> Result {
    let example = &world.plain;
    let mut documents: Vec<&str> = Vec::new();
    let mut references: BTreeMap<&str, Vec<Value>> = BTreeMap::new();
    for (file, text) in example.texts().iter().filter(|(f, _)| **f != example.case_file()) {
        documents.extend(text.split("\n---\n"));
        for object in yaml::documents(text)? {
            let part = |pointer| object.pointer(pointer).and_then(Value::as_str);
            let names = [part("/kind"), part("/metadata/namespace"), part("/metadata/name")];
            let reference = names.into_iter().flatten().collect::<Vec<_>>().join("/");
            references.entry(file).or_default().push(reference.into());
        }
    }
    let seed = 20_261;
    println!("seed {seed}");
    let mut rng = Rng::new(seed);
    for n in (1..documents.len()).rev() {
        documents.swap(n, rng.below(n + 1));
    }
    let mut whole = yaml::documents(&example.texts()[&example.case_file()])?.swap_remove(0);
    let from_all = |file: &str| -> Value {
        let mut only = references[file].clone();
        only.reverse();
        serde_json::json!({"file": "all.yaml", "only": only})
    };
    let base = whole["manifests"].take();
    let base = base.as_array().into_iter().flatten().filter_map(Value::as_str).map(from_all).collect::<Vec<_>>();
    for (n, step) in whole["steps"].as_array_mut().ok_or("no steps")?.iter_mut().enumerate() {
        let apply: Vec<Value> = step["apply"].as_array().cloned().unwrap_or_default();
        let apply = apply.into_iter().map(|one| match one.as_str() {
            Some(file) => from_all(file),
            None => serde_json::json!({"file": "all.yaml", "only": one["only"]}),
        });
        let first = if n == 0 { base.clone() } else { Vec::new() };
        step["apply"] = first.into_iter().chain(apply).collect();
    }
    whole["manifests"] = Value::Array(Vec::new());
    let files = [("all.yaml".to_owned(), documents.join("\n---\n")), (example.case_file(), whole.to_string())];
    same(world, example, &Memory::new(files), false, &BTreeMap::new())
}

/// Every file as JSON: manifests as one value, a stream of values or a List, whatever comes first.
pub(crate) fn json(world: &World) -> Result {
    let example = &world.hardened;
    let mut files = Vec::new();
    for (file, text) in example.texts() {
        let mut documents = yaml::documents(text)?;
        if *file == example.case_file() {
            let text = serde_json::to_string(&documents.swap_remove(0))?;
            files.push((file.clone(), text.replace(".yaml\"", ".json\"")));
            continue;
        }
        let text = match documents.len() {
            1 => documents[0].to_string(),
            2 => documents.iter().map(|d| format!("{d:#}\n")).collect(),
            _ => serde_json::json!({"apiVersion": "v1", "kind": "List", "items": documents}).to_string(),
        };
        files.push((file.replace(".yaml", ".json"), text));
    }
    same(world, example, &Memory::new(files), false, &BTreeMap::new())
}
