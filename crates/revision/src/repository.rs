//! A repository, and what its revisions are called.

use std::path::{Path, PathBuf};

use gix::sec::trust::Mapping;

use crate::error::RevisionError;
use crate::tree::Tree;

/// A git repository on the disk.
pub struct Repository {
    inner: gix::Repository,
    /// The working tree, without links in its path; none in a bare repository.
    root: Option<PathBuf>,
}

/// Said where commits that somebody asks for may be missing.
const SHALLOW: &str = "; this is a shallow clone, which does not have all commits: `git fetch --unshallow` gets them \
                       (`fetch-depth: 0` in actions/checkout)";

impl Repository {
    /// The repository that a path lies in. The path itself need not exist, as long as a folder above it does.
    ///
    /// # Errors
    /// When there is none, or it cannot be read.
    pub fn around(path: &Path) -> Result<Self, RevisionError> {
        let folder = existing(path);
        // Nothing but the repository is asked: an answer must not depend on who runs tortie.
        let options = || gix::open::Options::isolated();
        let trust = Mapping { full: options(), reduced: options() };
        let inner = match gix::ThreadSafeRepository::discover_opts(
            &folder,
            gix::discover::upwards::Options::default(),
            trust,
        ) {
            Ok(found) => found.to_thread_local(),
            Err(error) if !folder.ancestors().any(|f| f.join(".git").exists()) => {
                let _ = error;
                return Err(RevisionError::NoRepository(path.to_owned()));
            }
            Err(error) => return Err(RevisionError::Unreadable(path.to_owned(), error.to_string())),
        };
        let root = inner.workdir().map(|root| std::fs::canonicalize(root).unwrap_or_else(|_| root.to_owned()));
        Ok(Self { inner, root })
    }

    /// The files of a revision: a branch, a tag, a commit, `HEAD~2`, and what else git takes for one commit.
    ///
    /// # Errors
    /// When it names no commit.
    pub fn tree(&self, revision: &str) -> Result<Tree, RevisionError> {
        let commit = self.commit(revision)?;
        self.tree_of(commit, revision.to_owned())
    }

    /// The files of the two ends of a range: `A..B` is from A to B, `A...B` from where B left A to B. An end that is not
    /// written is HEAD. `None` for what is no range.
    ///
    /// # Errors
    /// When an end names no commit, or they have none in common.
    pub fn range(&self, text: &str) -> Result<Option<[Tree; 2]>, RevisionError> {
        let Some((old, new)) = text.split_once("..") else { return Ok(None) };
        let (from_fork, new) = new.strip_prefix('.').map_or((false, new), |rest| (true, rest));
        let [old, new] = [old, new].map(|end| if end.is_empty() { "HEAD" } else { end });
        let after = self.tree(new)?;
        if !from_fork {
            return Ok(Some([self.tree(old)?, after]));
        }
        let ends = [self.commit(old)?, self.commit(new)?];
        let unrelated = || RevisionError::Unrelated(old.to_owned(), new.to_owned(), self.shallow().to_owned());
        let fork = self.inner.merge_base(ends[0], ends[1]).ok().flatten().ok_or_else(unrelated)?;
        // A commit has no better name here than its own.
        let name = fork.shorten_or_id().to_string();
        Ok(Some([self.tree_of(fork.detach(), name)?, after]))
    }

    fn commit(&self, revision: &str) -> Result<gix::ObjectId, RevisionError> {
        let found = self.inner.rev_parse_single(revision);
        let id =
            found.map_err(|_| RevisionError::Unknown { revision: revision.to_owned(), hint: self.hint(revision) })?;
        let object = id.object().map_err(|error| self.unreadable(&error))?;
        let commit = object.peel_to_commit().map_err(|_| RevisionError::NoCommit(revision.to_owned()))?;
        Ok(commit.id)
    }

    fn tree_of(&self, commit: gix::ObjectId, name: String) -> Result<Tree, RevisionError> {
        let tree = self.inner.find_commit(commit).and_then(|commit| commit.tree_id().map(gix::Id::detach));
        let tree = tree.map_err(|error| self.unreadable(&error))?;
        Ok(Tree::new(self.inner.clone(), tree, self.root.clone(), name))
    }

    fn unreadable(&self, error: &dyn std::fmt::Display) -> RevisionError {
        RevisionError::Unreadable(self.inner.path().to_owned(), error.to_string())
    }

    fn shallow(&self) -> &'static str {
        if self.inner.is_shallow().unwrap_or(false) { SHALLOW } else { "" }
    }

    /// What may have been meant.
    fn hint(&self, revision: &str) -> String {
        let base = revision.split(['~', '^', '@', ':']).next().unwrap_or_default();
        let names = self.names();
        if names.iter().any(|name| name == base) {
            return self.shallow().to_owned();
        }
        let near = |name: &String| {
            // A branch that only a remote has is close to its name without that of the remote.
            let end = name.split_once('/').map_or(name.as_str(), |(_, end)| end);
            strsim::jaro_winkler(name, base).max(strsim::jaro_winkler(end, base))
        };
        let best = names.iter().max_by(|a, b| near(a).total_cmp(&near(b))).filter(|name| near(name) > 0.8);
        match best {
            Some(name) => format!("; did you mean `{name}{}`?", &revision[base.len()..]),
            None => self.shallow().to_owned(),
        }
    }

    /// The names of all branches and tags.
    fn names(&self) -> Vec<String> {
        let Ok(references) = self.inner.references() else { return Vec::new() };
        let Ok(all) = references.all() else { return Vec::new() };
        let mut names: Vec<String> = all.flatten().map(|r| r.name().shorten().to_string()).collect();
        names.push("HEAD".to_owned());
        names
    }
}

/// The nearest folder above a path that exists, or the path itself, when it is a folder.
fn existing(path: &Path) -> PathBuf {
    let whole = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    whole.ancestors().find(|p| p.is_dir()).map_or(whole.clone(), Path::to_owned)
}
