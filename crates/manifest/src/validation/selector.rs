//! Label selectors (`ValidateLabelSelector`).

use super::cause::go_json_string;
use super::{Cause, Path, items, label, name, text};
use crate::value::Value;

/// A `metav1.LabelSelector`.
pub(super) fn validate(selector: &Value<'_>, path: &Path<'_>, causes: &mut Vec<Cause>) {
    label::validate(selector, "matchLabels", path, causes);
    let list = path.child("matchExpressions");
    for (i, expression) in items(selector, "matchExpressions").iter().enumerate() {
        requirement(expression, &list.index(i), causes);
    }
}

fn requirement(expression: &Value<'_>, path: &Path<'_>, causes: &mut Vec<Cause>) {
    let values = items(expression, "values");
    let values_path = path.child("values");
    match text(expression, "operator") {
        "In" | "NotIn" if values.is_empty() => {
            causes.push(Cause::required(&values_path, "must be specified when `operator` is 'In' or 'NotIn'"));
        }
        "Exists" | "DoesNotExist" if !values.is_empty() => {
            let detail = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'";
            causes.push(Cause::forbidden(&values_path, detail));
        }
        "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
        other => {
            let path = path.child("operator");
            causes.push(Cause::invalid_raw(&path, go_json_string(other), "not a valid selector operator"));
        }
    }
    let key = text(expression, "key");
    let key_path = path.child("key");
    causes.extend(name::qualified(key).iter().map(|e| Cause::invalid(&key_path, key, e)));
    for (i, value) in values.iter().enumerate() {
        let value = value.as_str().unwrap_or_default();
        let path = values_path.index(i);
        causes.extend(name::label_value(value).iter().map(|e| Cause::invalid(&path, value, e)));
    }
}
