//! Object metadata (`ValidateObjectMeta`), on creation.

use super::cause::{go_json_string, go_json_strings};
use super::{Cause, Path, items, label, member, name, text, texts};
use crate::value::Value;

/// Limit of all annotations together, in bytes (`TotalAnnotationSizeLimitB`).
const ANNOTATIONS: usize = 256 << 10;

/// A rule for names: what is wrong with one.
pub(super) type NameRule = fn(&str) -> Vec<String>;

/// The metadata of `object`, whose name follows `rule`. A namespace that is not written is filled in by the request.
pub(super) fn validate(object: &Value<'_>, rule: NameRule, namespaced: bool, causes: &mut Vec<Cause>) {
    let root = Path::ROOT;
    let path = root.child("metadata");
    let meta = member(object, "metadata").unwrap_or(&Value::Null);
    let generate = text(meta, "generateName");
    if !generate.is_empty() {
        let path = path.child("generateName");
        let masked = name::mask_trailing_dash(generate);
        causes.extend(rule(&masked).iter().map(|e| Cause::invalid(&path, generate, e)));
    }
    let own = text(meta, "name");
    if !own.is_empty() {
        let path = path.child("name");
        causes.extend(rule(own).iter().map(|e| Cause::invalid(&path, own, e)));
    } else if generate.is_empty() {
        causes.push(Cause::required(&path.child("name"), "name or generateName is required"));
    }
    let namespace = text(meta, "namespace");
    if namespaced && !namespace.is_empty() {
        let path = path.child("namespace");
        causes.extend(name::label(namespace).iter().map(|e| Cause::invalid(&path, namespace, e)));
    } else if !namespaced && !namespace.is_empty() {
        causes.push(Cause::forbidden(&path.child("namespace"), "not allowed on this type"));
    }
    label::validate(meta, "labels", &path, causes);
    annotations(meta, &path, causes);
    owners(meta, &path, causes);
    finalizers(meta, &path, causes);
}

/// The `annotations` of metadata.
pub(super) fn annotations(meta: &Value<'_>, path: &Path<'_>, causes: &mut Vec<Cause>) {
    let path = path.child("annotations");
    let mut size = 0;
    for (key, value) in texts(meta, "annotations") {
        size += key.len() + value.len();
        let lower = key.to_lowercase();
        causes.extend(name::qualified(&lower).iter().map(|e| Cause::invalid(&path, key, e).at_name(key)));
    }
    if size > ANNOTATIONS {
        causes.push(Cause::too_long(&path, ANNOTATIONS));
    }
}

fn owners(meta: &Value<'_>, path: &Path<'_>, causes: &mut Vec<Cause>) {
    let path = path.child("ownerReferences");
    let owners = items(meta, "ownerReferences");
    let mut controller: Option<String> = None;
    for owner in owners {
        let (version, kind, own, uid) =
            (text(owner, "apiVersion"), text(owner, "kind"), text(owner, "name"), text(owner, "uid"));
        // schema.ParseGroupVersion: more than one slash is no version at all.
        if version.is_empty() || version.matches('/').count() > 1 || version.ends_with('/') {
            causes.push(Cause::invalid(&path.child("apiVersion"), version, "version must not be empty"));
        }
        for (field, value) in [("kind", kind), ("name", own)] {
            if value.is_empty() {
                causes.push(Cause::invalid(&path.child(field), value, "must not be empty"));
            }
        }
        if uid.is_empty() {
            causes.push(Cause::invalid_raw(&path.child("uid"), go_json_string(uid), "must not be empty"));
        }
        if version == "v1" && kind == "Event" {
            let detail = "/v1, Kind=Event is disallowed from being an owner";
            causes.push(Cause::invalid_raw(&path, owner_json(owner), detail));
        }
        if member(owner, "controller").and_then(Value::as_bool) == Some(true) {
            let this = format!("{kind}/{own}");
            if let Some(first) = &controller {
                let list = owners.iter().map(owner_json).collect::<Vec<_>>().join(",");
                let detail = format!(
                    "Only one reference can have Controller set to true. Found \"true\" in references for {first} and {this}"
                );
                causes.push(Cause::invalid_raw(&path, format!("[{list}]"), &detail));
            } else {
                controller = Some(this);
            }
        }
    }
}

/// An owner reference as Go's `json.Marshal` writes it: members in the order of the struct.
fn owner_json(owner: &Value<'_>) -> String {
    let mut out = String::from("{");
    for (i, field) in ["apiVersion", "kind", "name", "uid"].into_iter().enumerate() {
        let comma = if i > 0 { "," } else { "" };
        out.push_str(&format!("{comma}\"{field}\":{}", go_json_string(text(owner, field))));
    }
    for field in ["controller", "blockOwnerDeletion"] {
        if let Some(flag) = member(owner, field).and_then(Value::as_bool) {
            out.push_str(&format!(",\"{field}\":{flag}"));
        }
    }
    out + "}"
}

fn finalizers(meta: &Value<'_>, path: &Path<'_>, causes: &mut Vec<Cause>) {
    let path = path.child("finalizers");
    let list: Vec<&str> = items(meta, "finalizers").iter().map(|f| f.as_str().unwrap_or_default()).collect();
    for (i, finalizer) in list.iter().enumerate() {
        let errors = name::qualified(finalizer);
        causes.extend(errors.iter().map(|e| Cause::invalid(&path, finalizer, e).at_member(&i.to_string())));
    }
    if list.contains(&"orphan") && list.contains(&"foregroundDeletion") {
        let detail = "finalizer orphan and foregroundDeletion cannot be both set";
        causes.push(Cause::invalid_raw(&path, go_json_strings(list.iter().copied()), detail));
    }
    for (i, finalizer) in list.iter().enumerate() {
        if !finalizer.contains('/') && !["kubernetes", "orphan", "foregroundDeletion"].contains(finalizer) {
            let detail = "name is neither a standard finalizer name nor is it fully qualified";
            causes.push(Cause::invalid(&path.index(i), finalizer, detail));
        }
    }
}
