//! New policies as every other command would read them.

use tortie_analysis::deltas;
use tortie_manifest::{Expansion, LoadOptions, Memory, ObjectSet, load};
use tortie_policy::Policy;

use crate::draft::Written;

/// Reads policies back, in the rule form.
///
/// # Errors
/// What was refused, or not understood.
pub(crate) fn read(written: &[Written]) -> Result<Vec<Policy>, String> {
    if written.is_empty() {
        return Ok(Vec::new());
    }
    let file = |(i, one): (usize, &Written)| (format!("{i}.yaml"), one.document(None));
    let files: Vec<(String, String)> = written.iter().enumerate().map(file).collect();
    let paths: Vec<String> = files.iter().map(|(path, _)| path.clone()).collect();
    let loaded = load(&Memory::new(files), &paths, &LoadOptions::default());
    // That something is advised against is no reason to refuse it: its source is so, too.
    if loaded.has_untrusted_object() {
        let refused = loaded.diagnostics.iter().map(tortie_manifest::Diagnostic::text);
        return Err(refused.collect::<Vec<_>>().join("; "));
    }
    let objects = ObjectSet::of(loaded.objects.iter().map(|o| &o.object), &Expansion::default());
    let policies: Vec<Policy> = deltas::policies(&objects).collect();
    if policies.len() == written.len() { Ok(policies) } else { Err("some of the new policies are missing".to_owned()) }
}
