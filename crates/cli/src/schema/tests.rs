use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::{KNOWN, Known};

fn path(known: &Known) -> std::path::PathBuf {
    format!("{}/../../docs/schemas/{}.json", env!("CARGO_MANIFEST_DIR"), known.name).into()
}

fn written<T: JsonSchema>() -> Value {
    SchemaSettings::draft2020_12().for_serialize().into_generator().into_root_schema_for::<T>().into()
}

fn read<T: JsonSchema>() -> Value {
    SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<T>().into()
}

/// What the types say; nothing for the schema that people wrote, since nothing but code says what a case is, and, where
/// there are no labs, for those of labs.
fn derived(name: &str) -> Option<Value> {
    Some(match name {
        "config" => tortie_lint::Config::schema().into(),
        "explain-flow" => read::<crate::explain::batch::Flow>(),
        "check" => written::<crate::check::Line<'_>>(),
        "connectivity" => written::<crate::connectivity::machine::Line<'_>>(),
        "diff" => written::<crate::diff::json::Line<'_>>(),
        "diff-flows" => written::<crate::diff::breaks::Line>(),
        "explain" => written::<crate::explain::flow::Line>(),
        "explain-batch" => written::<crate::explain::batch::Line>(),
        "test" => written::<crate::test::Line<'_>>(),
        #[cfg(target_os = "linux")]
        "lab-status" => written::<tortie_lab::control::Status>(),
        #[cfg(target_os = "linux")]
        "lab-probe" => written::<tortie_lab::control::Probed>(),
        #[cfg(target_os = "linux")]
        "lab-flows" => written::<tortie_lab::control::FlowLine>(),
        #[cfg(target_os = "linux")]
        "lab-verify" => written::<tortie_lab::control::NodeVerified>(),
        "case" => return None,
        name if name.starts_with("lab-") && !cfg!(target_os = "linux") => return None,
        name => panic!("of {name}, no type is known"),
    })
}

/// Widths of numbers, and `ip`, are formats to schemars alone; validators that are strict refuse what they do not know.
fn without_own_formats(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            let is_own = |f: &str| f.starts_with("uint") || f.starts_with("int") || ["double", "ip"].contains(&f);
            if fields.get("format").and_then(Value::as_str).is_some_and(is_own) {
                fields.shift_remove("format");
            }
            fields.values_mut().for_each(without_own_formats);
        }
        Value::Array(items) => items.iter_mut().for_each(without_own_formats),
        _ => {}
    }
}

/// With a name of its own, and titled by what it is of rather than by a type of Rust.
fn named(known: &Known, schema: &Value) -> Value {
    let mut out = Map::new();
    out.insert("$schema".to_owned(), schema["$schema"].clone());
    let id = format!("{}/raw/main/docs/schemas/{}.json", env!("CARGO_PKG_REPOSITORY"), known.name);
    out.insert("$id".to_owned(), id.into());
    out.insert("title".to_owned(), known.of.into());
    let rest = schema.as_object().expect("a schema").iter().filter(|(key, _)| *key != "title" && *key != "$schema");
    out.extend(rest.map(|(key, value)| (key.clone(), value.clone())));
    out.into()
}

/// `TORTIE_BLESS=1 cargo test -p tortie --bin tortie schema` writes the files anew.
#[test]
fn files_say_what_types_say() {
    let bless = std::env::var_os("TORTIE_BLESS").is_some();
    for known in KNOWN {
        let Some(mut schema) = derived(known.name) else { continue };
        without_own_formats(&mut schema);
        let text = format!("{:#}\n", named(known, &schema));
        if bless {
            std::fs::write(path(known), &text).expect("docs can be written to");
            continue;
        }
        let file = std::fs::read_to_string(path(known)).unwrap_or_default();
        assert!(file == text, "docs/schemas/{}.json is not what the types say: TORTIE_BLESS=1 writes it", known.name);
    }
}

#[test]
fn every_schema_is_one() {
    let mut files = Vec::new();
    for known in KNOWN {
        let schema: Value = serde_json::from_str(known.text).unwrap_or_else(|e| panic!("{}: {e}", known.name));
        assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema", "{}", known.name);
        assert_eq!(schema["title"], known.of, "{}", known.name);
        if let Err(error) = jsonschema::meta::validate(&schema) {
            panic!("{}: {error} at {}", known.name, error.instance_path());
        }
        assert!(jsonschema::validator_for(&schema).is_ok_and(|v| !v.is_valid(&json!(0))), "{}", known.name);
        files.push(path(known).file_name().expect("a name").to_owned());
    }
    let there = std::fs::read_dir(path(&KNOWN[0]).parent().expect("a folder")).expect("docs/schemas");
    let mut there: Vec<_> = there.map(|entry| entry.expect("an entry").file_name()).collect();
    there.sort();
    files.sort();
    assert_eq!(files, there);
}
