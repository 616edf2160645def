//! Random clusters as texts.

use serde_json::Value;
use tortie_manifest::patch::Written;
use tortie_testkit::{Cluster, manifests};

/// A cluster as one text: a JSON list, or YAML documents.
pub(crate) fn text(cluster: &Cluster, json: bool) -> String {
    let objects = manifests::manifests(cluster);
    if json {
        return serde_json::to_string_pretty(&manifests::list(&objects)).expect("plain data");
    }
    objects.iter().map(|o| written(o).yaml(0, 0)).collect::<Vec<_>>().join("---\n")
}

fn written(value: &Value) -> Written {
    match value {
        Value::String(text) => Written::Text(text.clone()),
        Value::Array(items) => Written::List(items.iter().map(written).collect()),
        Value::Object(map) => Written::Map(map.iter().map(|(k, v)| (k.clone(), written(v))).collect()),
        Value::Number(n) => Written::Number(n.as_u64().expect("no other numbers here")),
        Value::Bool(value) => Written::Bool(*value),
        Value::Null => panic!("nothing here is null"),
    }
}
