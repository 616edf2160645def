//! Policies that come with custom resources: what their definitions and their own validators refuse.

mod calico;
mod cluster;
mod entity;
mod rule;
mod structural;

pub(crate) use entity::numbers as port_numbers;

use super::{Cause, Refusal, metadata, schema};
use crate::span::DuplicateKey;
use crate::value::Value;
use structural::Object;

/// A kind that a custom resource definition brings.
pub(crate) struct Resource {
    kind: &'static str,
    namespaced: bool,
    name: metadata::NameRule,
    root: &'static Object,
    /// What the definition cannot say and its owner's validator does.
    further: fn(&Value<'_>, &mut Vec<Cause>),
}

/// The resource of this API version and kind.
pub(crate) fn resource(api_version: &str, kind: &str) -> Option<&'static Resource> {
    let resources: &[Resource] = match api_version {
        "projectcalico.org/v3" | "crd.projectcalico.org/v1" => calico::RESOURCES,
        "policy.networking.k8s.io/v1alpha2" => cluster::V1ALPHA2,
        "policy.networking.k8s.io/v1alpha1" => cluster::V1ALPHA1,
        _ => return None,
    };
    resources.iter().find(|r| r.kind == kind)
}

impl Resource {
    /// Checks an object as its API server would on creation.
    pub(crate) fn validate(&self, value: &Value<'_>, duplicates: &[DuplicateKey]) -> Result<(), Refusal> {
        let mut read = structural::read(self.root, value);
        schema::check_with(&schema::META_ONLY, value, std::mem::take(&mut read.unknown), duplicates)?;
        metadata::validate(value, self.name, self.namespaced, &mut read.causes);
        if read.blocked {
            let text = "null: some validation rules were not checked because the object was invalid; correct the existing errors to complete validation";
            read.causes.push(Cause { field: "<nil>".to_owned(), ..Cause::invalid_text(&super::Path::ROOT, text) });
        } else {
            structural::rules(self.root, value, &mut read.causes);
            (self.further)(value, &mut read.causes);
        }
        if read.causes.is_empty() { Ok(()) } else { Err(Refusal::Invalid(read.causes)) }
    }
}

fn nothing(_: &Value<'_>, _: &mut Vec<Cause>) {}
