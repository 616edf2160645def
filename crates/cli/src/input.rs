//! Manifests that a command reads.

use tortie_manifest::{Diagnostic, Disk, Expansion, LoadOptions, Loaded, STAGED_NOTE, load};

use crate::arguments::Manifests;
use crate::failure::Failure;
use crate::progress::during;
use crate::terminal;
use tortie_analysis::preview::Preview;
use tortie_analysis::snapshot::Snapshot;

/// What is told of it while it goes on.
pub(crate) const READING: &str = "reading manifests";

/// Reads what `-f` names. Nothing is said yet.
pub(crate) fn read(manifests: &Manifests) -> Loaded {
    let options = LoadOptions { namespace: manifests.namespace.as_str().into() };
    during(READING, || load(&Disk, &manifests.files, &options))
}

/// Reads what `-f` names as a cluster that exists nowhere, and says what was found in it.
///
/// # Errors
/// When something that is or could be a policy cannot be trusted: every answer could be wrong.
pub(crate) fn cluster(manifests: &Manifests, replicas: u32) -> Result<Snapshot, Failure> {
    let loaded = read(manifests);
    say_all(news(&loaded));
    let snapshot = trusted(&loaded, replicas)?;
    say_all(&snapshot.objects.notes());
    Ok(snapshot)
}

/// The same, and the cluster in which all that is staged in it was done.
///
/// # Errors
/// As [`cluster`].
pub(crate) fn staged(manifests: &Manifests, replicas: u32) -> Result<(Snapshot, Snapshot), Failure> {
    let loaded = read(manifests);
    say_all(news(&loaded));
    let snapshot = trusted(&loaded, replicas)?;
    say_all(snapshot.objects.notes().iter().filter(|note| note.id != STAGED_NOTE));
    let preview = preview(&snapshot, "the manifests");
    let previewed = snapshot.previewed(&preview);
    Ok((snapshot, previewed))
}

/// What is staged in a cluster, which is called so; says what of it does nothing.
pub(crate) fn preview(snapshot: &Snapshot, called: &str) -> Preview {
    let preview = snapshot.preview();
    if preview.is_empty() {
        terminal::say(format_args!("note: nothing is staged in {called}"));
    }
    say_all(&preview.notes(&snapshot.store));
    preview
}

/// What is to be said of what was read. That cases lie among the manifests is no news to these commands.
pub(crate) fn news(loaded: &Loaded) -> impl Iterator<Item = &Diagnostic> {
    loaded.diagnostics.iter().chain(loaded.notes.iter().filter(|n| n.id != "skipped-case"))
}

/// Findings that say that there was nothing to read.
pub(crate) const UNREAD: [&str; 2] = ["unreadable", "no-manifests"];

/// The cluster of what was read. Nothing is said yet.
///
/// # Errors
/// When something that is or could be a policy cannot be trusted.
pub(crate) fn trusted(loaded: &Loaded, replicas: u32) -> Result<Snapshot, Failure> {
    if loaded.diagnostics.iter().any(|d| UNREAD.contains(&d.id.as_ref())) {
        return Err(Failure::Untrusted("what could not be read could be a policy, so no answer could be trusted"));
    }
    if loaded.has_untrusted_policy() {
        return Err(Failure::Untrusted("a policy cannot be trusted as it is written, so no answer could be"));
    }
    Ok(during("putting policies in order", || Snapshot::new(loaded, &Expansion { replicas, nodes: Vec::new() })))
}

/// Says findings, each drawn over its text.
pub(crate) fn say_all<'d>(diagnostics: impl IntoIterator<Item = &'d Diagnostic>) {
    for diagnostic in diagnostics {
        terminal::say(diagnostic.render(true));
    }
}
