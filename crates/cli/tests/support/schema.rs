//! Real output against the schemas in docs/schemas.

use jsonschema::Validator;
use serde_json::{Value, json};

/// The schema of this name.
pub(crate) fn schema(name: &str) -> Value {
    let path = format!("{}/../../docs/schemas/{name}.json", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// The same without room for fields that it does not name: users may get new ones, a schema must know them.
pub(crate) fn closed(name: &str) -> Validator {
    let mut schema = schema(name);
    close(&mut schema, true);
    jsonschema::validator_for(&schema).unwrap_or_else(|e| panic!("{name}: {e}"))
}

/// `is_whole`: whether it is all that is said of a value, or one of several things.
fn close(schema: &mut Value, is_whole: bool) {
    let Some(schema) = schema.as_object_mut() else { return };
    for (key, inner) in schema.iter_mut() {
        match (key.as_str(), inner) {
            ("properties", Value::Object(all)) => all.values_mut().for_each(|one| close(one, true)),
            ("$defs", Value::Object(all)) => all.values_mut().for_each(|one| close(one, false)),
            ("anyOf" | "oneOf" | "allOf", Value::Array(all)) => all.iter_mut().for_each(|one| close(one, false)),
            ("items" | "additionalProperties", one) => close(one, true),
            _ => {}
        }
    }
    if is_whole && ["$ref", "anyOf", "oneOf", "allOf", "properties"].iter().any(|key| schema.contains_key(*key)) {
        schema.insert("unevaluatedProperties".to_owned(), json!(false));
    }
}

/// Panics where a value is not as the schema says.
pub(crate) fn assert_valid(validator: &Validator, value: &Value, what: &str) {
    let errors: Vec<String> =
        validator.iter_errors(value).map(|error| format!("{error} at {}", error.instance_path())).collect();
    assert!(errors.is_empty(), "{what}: {value:#}\n{}", errors.join("\n"));
}

/// Every line of some output; says how many there are.
pub(crate) fn assert_lines_valid(name: &str, output: &str) -> usize {
    let validator = closed(name);
    for line in output.lines() {
        let value: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{name}: {e}: {line}"));
        assert_valid(&validator, &value, name);
    }
    output.lines().count()
}
