//! Policies of Calico and of administrators, and what they speak of: what each field becomes, and what is taken where it
//! is not written.

mod calico;
mod cluster;
mod entity;
mod set;
mod suites;

use serde_json::{Value, json};
use tortie_manifest::{LoadOptions, Loaded, Memory, load};
use tortie_model::Object;

fn loaded(object: &Value) -> Loaded {
    load(&Memory::new([("object.json", object.to_string())]), &["object.json"], &LoadOptions::default())
}

/// The object, which is read without a word.
#[track_caller]
fn read(object: &Value) -> Object {
    let mut loaded = loaded(object);
    assert!(loaded.diagnostics.is_empty() && loaded.notes.is_empty(), "{object}: {:?}", loaded.diagnostics);
    assert_eq!(loaded.objects.len(), 1, "{object}");
    loaded.objects.remove(0).object
}

/// An object of Calico in the version that its users write.
fn written(kind: &str, spec: &Value) -> Value {
    json!({ "apiVersion": "projectcalico.org/v3", "kind": kind, "metadata": { "name": "p" }, "spec": spec })
}
