//! Metadata.

use crate::value::Value;
use tortie_model::{Kind, Labels, Meta, ObjectRef};

use crate::validation::{items, member, text, texts};

pub(super) fn meta(kind: Kind, value: &Value<'_>, namespace: &str) -> Meta {
    let meta = member(value, "metadata").unwrap_or(&Value::Null);
    let own = text(meta, "namespace");
    let namespace = match kind.is_namespaced() {
        false => "",
        true if own.is_empty() => namespace,
        true => own,
    };
    Meta {
        namespace: namespace.into(),
        name: text(meta, "name").into(),
        labels: labels(meta),
        uid: text(meta, "uid").into(),
    }
}

/// The `labels` of metadata.
pub(super) fn labels(meta: &Value<'_>) -> Labels {
    texts(meta, "labels").collect()
}

/// The object that manages this one: the reference with `controller: true`, if tortie knows its kind.
pub(super) fn owner(value: &Value<'_>, namespace: &str) -> Option<ObjectRef> {
    let owners = items(member(value, "metadata")?, "ownerReferences");
    let manages = |o: &&Value<'_>| member(o, "controller").and_then(Value::as_bool) == Some(true);
    let owner = owners.iter().find(manages)?;
    let kind = Kind::of(text(owner, "apiVersion"), text(owner, "kind")).filter(|k| k.is_workload())?;
    Some(ObjectRef::namespaced(kind, namespace, text(owner, "name")))
}
