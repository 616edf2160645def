//! Manifests that a command reads.

use tortie_manifest::{Diagnostic, Disk, Expansion, LoadOptions, Loaded, load};

use crate::arguments::Manifests;
use crate::failure::Failure;
use crate::terminal;
use tortie_analysis::snapshot::Snapshot;

/// Reads what `-f` names. Nothing is said yet.
pub(crate) fn read(manifests: &Manifests) -> Loaded {
    let options = LoadOptions { namespace: manifests.namespace.as_str().into() };
    load(&Disk, &manifests.files, &options)
}

/// Reads what `-f` names as a cluster that exists nowhere, and says what was found in it.
///
/// # Errors
/// When something that is or could be a policy cannot be trusted: every answer could be wrong.
pub(crate) fn cluster(manifests: &Manifests, replicas: u32) -> Result<Snapshot, Failure> {
    let loaded = read(manifests);
    // That cases lie among the manifests is no news here.
    let notes = loaded.notes.iter().filter(|n| n.id != "skipped-case");
    say_all(loaded.diagnostics.iter().chain(notes));
    if loaded.has_untrusted_policy() {
        return Err(Failure::Untrusted("a policy cannot be trusted as it is written, so no answer could be"));
    }
    let snapshot = Snapshot::new(&loaded, &Expansion { replicas, nodes: Vec::new() });
    say_all(&snapshot.objects.notes());
    Ok(snapshot)
}

/// Says findings, each drawn over its text.
pub(crate) fn say_all<'d>(diagnostics: impl IntoIterator<Item = &'d Diagnostic>) {
    for diagnostic in diagnostics {
        terminal::say(diagnostic.render(true));
    }
}
