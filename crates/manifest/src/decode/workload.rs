//! Sources of pods.

use crate::value::Value;
use tortie_model::{Kind, Meta, ObjectRef, Workload};

use super::{meta, pod};
use crate::validation::member;

pub(super) fn workload(kind: Kind, meta: Meta, value: &Value<'_>) -> Workload {
    let mut spec = member(value, "spec").unwrap_or(&Value::Null);
    if kind == Kind::CronJob {
        spec = member(spec, "jobTemplate").and_then(|t| member(t, "spec")).unwrap_or(&Value::Null);
    }
    let count = |field: &str| member(spec, field).and_then(Value::as_u64).and_then(|n| u32::try_from(n).ok());
    let replicas = match kind {
        Kind::Job | Kind::CronJob if member(spec, "suspend").and_then(Value::as_bool) == Some(true) => 0,
        Kind::Job | Kind::CronJob => count("parallelism").unwrap_or(1).min(count("completions").unwrap_or(u32::MAX)),
        _ => count("replicas").unwrap_or(1),
    };
    Workload {
        reference: ObjectRef::namespaced(kind, &meta.namespace, &meta.name),
        owner: meta::owner(value, &meta.namespace),
        meta,
        replicas,
        template: member(spec, "template").map(pod::template).unwrap_or_default(),
    }
}
