//! Texts that people write.

use tortie_manifest::case;
use tortie_manifest::{Diagnostic, Expansion, LoadOptions, Loaded, LoadedObject, Memory, Place, Store, load};

/// Longer texts say nothing new, and take their time.
const MOST: usize = 64 << 10;

/// Manifests, as YAML and as JSON: read, validated, expanded to what would run.
pub(crate) fn manifests(bytes: &[u8]) {
    if bytes.len() > MOST {
        return;
    }
    for path in ["m.yaml", "m.json"] {
        let read = || load(&Memory::new([(path, bytes)]), &[path], &LoadOptions::default());
        let loaded = read();
        check(&loaded);
        let again = read();
        assert_eq!(loaded.diagnostics, again.diagnostics, "it depends on something else than the text");
        let objects = |l: &Loaded| l.objects.iter().map(|o| o.object.clone()).collect::<Vec<_>>();
        assert_eq!(objects(&loaded), objects(&again), "it depends on something else than the text");
        let mut store = Store::new(Expansion { replicas: 2, ..Expansion::default() });
        store.apply(&loaded.objects);
        assert!(store.objects().count() <= loaded.objects.len());
        // What was accepted is something to the engine.
        let _ = tortie_analysis::deltas::World::of(&store.state()).index();
    }
}

/// A case file beside a manifest: read, with all that it names.
pub(crate) fn cases(bytes: &[u8]) {
    if bytes.len() > MOST {
        return;
    }
    let manifest = "apiVersion: v1\nkind: Pod\nmetadata: {name: a, namespace: x}\n";
    let files = Memory::new([("t.case.yaml", bytes), ("m.yaml", manifest.as_bytes())]);
    let cases = case::open(&files, "t.case.yaml", &LoadOptions::default());
    cases.diagnostics.iter().for_each(told);
    for case in &cases.cases {
        case.diagnostics.iter().for_each(told);
        check(&case.base);
        let mut store = case.store();
        for step in &case.steps {
            step.apply.iter().for_each(placed);
            if let Err(diagnostic) = step.change(&mut store) {
                told(&diagnostic);
            }
            let endpoints = case::Endpoints::of(&store.state(), &case.cluster);
            for expectation in &step.expect {
                match expectation.resolve(&endpoints) {
                    Ok(cells) => assert!(cells.iter().all(|c| !c.from.to_string().is_empty())),
                    Err(found) => found.iter().for_each(told),
                }
            }
        }
    }
}

fn check(loaded: &Loaded) {
    loaded.diagnostics.iter().chain(&loaded.notes).for_each(told);
    loaded.objects.iter().for_each(placed);
}

fn placed(LoadedObject { origin, .. }: &LoadedObject) {
    for pointer in ["", "/metadata/name", "/spec", "/spec/ingress/0/from/0/ipBlock/cidr", "/nowhere/7"] {
        [origin.place(pointer), origin.key_place(pointer), origin.whole(pointer)].iter().for_each(inside);
    }
}

/// A message can be shown to a person and to a program, and points into the text.
fn told(diagnostic: &Diagnostic) {
    diagnostic.place.iter().for_each(inside);
    diagnostic.labels.iter().for_each(|(place, _)| inside(place));
    assert!(!diagnostic.text().is_empty());
    assert!(!diagnostic.render(false).is_empty() && !diagnostic.render(true).is_empty());
    let json: Result<serde_json::Value, _> = serde_json::from_str(&diagnostic.to_json());
    assert!(json.is_ok_and(|j| j.is_object()), "{}", diagnostic.to_json());
}

fn inside(place: &Place) {
    let (text, span) = (place.file.text(), place.span.clone());
    assert!(text.get(span.clone()).is_some(), "{span:?} is no part of a text of {} bytes", text.len());
    let (line, column) = (place.line(), place.column());
    let written = text.split('\n').nth(line - 1).unwrap_or_else(|| panic!("there is no line {line}"));
    assert!(column <= written.chars().count() + 1, "line {line} has no column {column}");
}
