//! Repositories for tests, made without git.

use std::path::Path;

use gix::objs::tree::EntryKind;

/// A repository whose history is written by tests.
pub(crate) struct History {
    repository: gix::Repository,
}

impl History {
    /// A new repository in a folder, on branch `main`.
    pub(crate) fn new(folder: &Path) -> Self {
        gix::init(folder).expect("a repository");
        // Not as somebody's configuration has it.
        std::fs::write(folder.join(".git/HEAD"), "ref: refs/heads/main\n").expect("a branch");
        let repository = gix::open_opts(folder, gix::open::Options::isolated()).expect("a repository");
        Self { repository }
    }

    /// A commit with just these files, on a branch. A file that begins with `->` is a link.
    pub(crate) fn commit(&self, branch: &str, parents: &[gix::ObjectId], files: &[(&str, &str)]) -> gix::ObjectId {
        let mut editor = self.repository.edit_tree(self.repository.empty_tree().id).expect("an empty tree");
        for (path, text) in files {
            let (kind, text) = match text.strip_prefix("->") {
                Some(target) => (EntryKind::Link, target),
                None => (EntryKind::Blob, *text),
            };
            let blob = self.repository.write_blob(text).expect("a blob");
            editor.upsert(*path, kind, blob).expect("an entry");
        }
        let tree = editor.write().expect("a tree").detach();
        let who = gix::actor::SignatureRef { name: "A".into(), email: "a@example.com".into(), time: "0 +0000" };
        let reference = format!("refs/heads/{branch}");
        let parents = parents.iter().copied();
        self.repository.commit_as(who, who, reference, "change", tree, parents).expect("a commit").detach()
    }
}
