//! Policies that are staged, beside what is enforced.

use std::collections::HashMap;

use tortie_analysis::deltas;
use tortie_analysis::preview::{Change, Effect, Preview};
use tortie_model::ObjectRef;
use tortie_policy::Policy;

use crate::finding::Finding;
use crate::scene::Scene;

pub(crate) fn look(scene: &Scene<'_>, out: &mut Vec<Finding>) {
    let preview = Preview::of(scene.objects);
    if preview.is_empty() {
        return;
    }
    let enforced: HashMap<ObjectRef, Policy> =
        deltas::policies(scene.objects).map(|policy| (policy.object.clone(), policy)).collect();
    for change in &preview.changes {
        match change.effect {
            Effect::Missing => out.push(deletes_nothing(scene, change)),
            Effect::Replaced => out.extend(already(scene, change, &enforced)),
            Effect::Added | Effect::Deleted | Effect::Ignored => {}
        }
    }
}

fn deletes_nothing(scene: &Scene<'_>, change: &Change) -> Finding {
    let about = change.enforced();
    let text = format!("it would delete {about}, which is not in the input");
    let finding = scene.finding("staged-deletes-nothing", &change.staged, "/spec/stagedAction", text);
    let namesake = |policy: &&ObjectRef| policy.name == about.name && policy.namespace == about.namespace;
    // The same name of another API is what was meant, more often than not.
    let meant = scene.index.policies().map(|policy| &policy.object).find(namesake);
    match meant.and_then(|policy| Some((policy, policy.kind.staged()?))) {
        Some((policy, kind)) => finding
            .label(scene.place(policy, ""), "another kind has a policy of this name")
            .help(format!("{policy} is deleted by a {kind}")),
        None => finding.help("correct the name, or remove the staged policy"),
    }
}

fn already(scene: &Scene<'_>, change: &Change, enforced: &HashMap<ObjectRef, Policy>) -> Option<Finding> {
    let old = enforced.get(&change.enforced())?;
    let new = change.policy()?;
    if (Policy { object: old.object.clone(), ..new.clone() }) != *old {
        return None;
    }
    let text = format!("{} says the same, and is enforced", old.object);
    let finding = scene.finding("staged-already-enforced", &change.staged, "", text);
    Some(finding.label(scene.place(&old.object, ""), "this one").help("remove the staged policy"))
}
