//! Maps of labels (`ValidateLabels`).

use super::{Cause, Path, name, texts};
use crate::value::Value;

/// Keys and values of the map of labels that `value` holds under `member`.
pub(super) fn validate(value: &Value<'_>, member: &str, parent: &Path<'_>, causes: &mut Vec<Cause>) {
    let path = parent.child(member);
    for (key, label) in texts(value, member) {
        causes.extend(name::qualified(key).iter().map(|e| Cause::invalid(&path, key, e).at_name(key)));
        causes.extend(name::label_value(label).iter().map(|e| Cause::invalid(&path, label, e).at_member(key)));
    }
}
