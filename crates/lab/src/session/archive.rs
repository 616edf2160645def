//! Where policies were read that may be gone or changed by now.

use std::collections::{BTreeMap, VecDeque};
use std::time::SystemTime;

use tortie_manifest::{Origin, Place, Store};
use tortie_model::ObjectRef;
use tortie_policy::RuleRef;

use crate::control::PolicyPlace;

/// Versions of one object that are kept.
const VERSIONS: usize = 16;

/// The last versions of every policy.
#[derive(Debug, Default)]
pub(crate) struct Archive(BTreeMap<ObjectRef, VecDeque<(SystemTime, Origin)>>);

impl Archive {
    /// Files what is in force from now on.
    pub(crate) fn file(&mut self, store: &Store, policies: impl IntoIterator<Item = ObjectRef>) {
        let now = SystemTime::now();
        for policy in policies {
            let Some(origin) = store.origin(&policy) else { continue };
            let versions = self.0.entry(policy).or_default();
            let place = |o: &Origin| {
                let place = o.place("");
                (place.file.name().to_string(), place.span)
            };
            if versions.back().is_none_or(|(_, last)| place(last) != place(origin)) {
                versions.push_back((now, origin.clone()));
            }
            if versions.len() > VERSIONS {
                versions.pop_front();
            }
        }
    }

    fn origin(&self, policy: &ObjectRef, at: SystemTime) -> Option<&Origin> {
        let versions = self.0.get(policy)?;
        let then = versions.iter().rev().find(|(since, _)| *since <= at);
        then.or_else(|| versions.front()).map(|(_, origin)| origin)
    }

    /// The place of a rule, as it was then.
    pub(crate) fn rule(&self, rule: &RuleRef, at: SystemTime) -> PolicyPlace {
        let origin = self.origin(&rule.policy, at);
        let place = origin.map(|o| o.place(&format!("/spec/{}/{}", rule.direction, rule.index)));
        policy_place(&rule.policy, Some(rule.index), place.as_ref())
    }

    /// The place of a policy, as it was then.
    pub(crate) fn policy(&self, policy: &ObjectRef, at: SystemTime) -> PolicyPlace {
        let place = self.origin(policy, at).map(|o| o.key_place("/metadata/name"));
        policy_place(policy, None, place.as_ref())
    }
}

fn policy_place(policy: &ObjectRef, rule: Option<usize>, place: Option<&Place>) -> PolicyPlace {
    PolicyPlace {
        kind: policy.kind.to_string(),
        namespace: policy.namespace.as_ref().map(ToString::to_string),
        name: policy.name.to_string(),
        rule,
        file: place.map(|p| p.file.name().to_string()),
        line: place.map(Place::line),
    }
}
