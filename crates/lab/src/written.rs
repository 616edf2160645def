//! Where it is written what decided.

use tortie_manifest::Store;
use tortie_plan::Path;

/// The places, `file:line`, of the rule that decides a path; of all policies that isolate, where none does. What comes
/// from no file has none.
pub(crate) fn written(store: &Store, path: &Path) -> Vec<String> {
    let places: Vec<_> = match path.rule() {
        Some(rule) => {
            let pointer = format!("/spec/{}/{}", rule.direction, rule.index);
            store.origin(&rule.policy).map(|o| o.place(&pointer)).into_iter().collect()
        }
        None => path.isolating.iter().filter_map(|p| Some(store.origin(p)?.key_place("/metadata/name"))).collect(),
    };
    places.iter().map(|place| format!("{}:{}", place.file.name(), place.line())).collect()
}
