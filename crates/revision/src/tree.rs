//! The files of one commit.

use std::io;
use std::path::{Component, Path, PathBuf};

use gix::objs::tree::EntryKind;
use tortie_manifest::{Entry, Files};

/// The files of a revision, by the paths that they would have in the working tree.
///
/// Links to files are followed within the revision; links to folders, and other repositories that hang in it, are passed
/// over.
pub struct Tree {
    repository: gix::Repository,
    id: gix::ObjectId,
    /// The working tree, without links in its path.
    root: Option<PathBuf>,
    name: String,
}

/// What is at a path.
enum Found {
    Folder(gix::ObjectId),
    File(gix::ObjectId),
}

/// More links than these lead nowhere.
const MOST_LINKS: usize = 16;

impl Tree {
    pub(crate) const fn new(
        repository: gix::Repository,
        id: gix::ObjectId,
        root: Option<PathBuf>,
        name: String,
    ) -> Self {
        Self { repository, id, root, name }
    }

    /// The revision, as it was asked for.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether the revision has a file or a folder at a path.
    #[must_use]
    pub fn has(&self, path: &str) -> bool {
        self.find(path).is_ok()
    }

    /// What is at a path of the working tree.
    fn find(&self, path: &str) -> io::Result<Found> {
        let mut within = self.within(Path::new(path))?;
        for _ in 0..MOST_LINKS {
            if within.as_os_str().is_empty() {
                return Ok(Found::Folder(self.id));
            }
            let root = self.repository.find_tree(self.id).map_err(io::Error::other)?;
            let entry = root.lookup_entry_by_path(&within).map_err(io::Error::other)?;
            let entry = entry.ok_or_else(|| self.missing())?;
            match entry.mode().kind() {
                EntryKind::Tree => return Ok(Found::Folder(entry.object_id())),
                EntryKind::Blob | EntryKind::BlobExecutable => return Ok(Found::File(entry.object_id())),
                EntryKind::Commit => return Err(self.missing()),
                EntryKind::Link => {
                    let target = self.blob(entry.object_id())?;
                    let target = String::from_utf8(target).map_err(|_| self.missing())?;
                    let beside = within.parent().unwrap_or(Path::new("")).join(target);
                    within = normal(&beside).ok_or_else(|| self.missing())?;
                }
            }
        }
        Err(io::Error::other("a link that leads to itself"))
    }

    /// A path from the root of the repository on.
    fn within(&self, path: &Path) -> io::Result<PathBuf> {
        let Some(root) = &self.root else { return normal(path).ok_or_else(|| self.missing()) };
        let whole = std::path::absolute(path)?;
        // The path may be gone from the disk; of what is there, links are followed, as those of the root were.
        let there = whole.ancestors().find(|p| p.exists()).unwrap_or(Path::new(""));
        let rest = whole.strip_prefix(there).unwrap_or(&whole);
        let real = std::fs::canonicalize(there)?;
        let normal = normal(&real.join(rest)).ok_or_else(|| self.missing())?;
        normal.strip_prefix(root).map(Path::to_owned).map_err(|_| self.missing())
    }

    fn blob(&self, id: gix::ObjectId) -> io::Result<Vec<u8>> {
        let mut blob = self.repository.find_blob(id).map_err(io::Error::other)?;
        Ok(blob.take_data())
    }

    fn missing(&self) -> io::Error {
        io::Error::new(io::ErrorKind::NotFound, format!("not in {}", self.name))
    }
}

impl Files for Tree {
    fn read(&self, path: &str) -> io::Result<Vec<u8>> {
        match self.find(path)? {
            Found::File(id) => self.blob(id),
            Found::Folder(_) => Err(io::Error::new(io::ErrorKind::IsADirectory, "a folder")),
        }
    }

    fn list(&self, path: &str) -> io::Result<Vec<Entry>> {
        let Found::Folder(id) = self.find(path)? else {
            return Err(io::Error::new(io::ErrorKind::NotADirectory, "no folder"));
        };
        let folder = self.repository.find_tree(id).map_err(io::Error::other)?;
        let mut entries = Vec::new();
        for entry in folder.iter() {
            let entry = entry.map_err(io::Error::other)?;
            let Ok(name) = std::str::from_utf8(entry.filename()) else { continue };
            let is_folder = match entry.mode().kind() {
                EntryKind::Tree => true,
                EntryKind::Blob | EntryKind::BlobExecutable => false,
                EntryKind::Link if self.is_folder(&Path::new(path).join(name).to_string_lossy()) => continue,
                EntryKind::Link => false,
                EntryKind::Commit => continue,
            };
            entries.push(Entry { name: name.to_owned(), is_folder });
        }
        entries.sort_unstable();
        Ok(entries)
    }

    fn is_folder(&self, path: &str) -> bool {
        matches!(self.find(path), Ok(Found::Folder(_)))
    }
}

/// A path without `.` and `..`; none when it leaves where it starts.
fn normal(path: &Path) -> Option<PathBuf> {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                if !out.pop() {
                    return None;
                }
            }
            Component::Normal(_) | Component::RootDir | Component::Prefix(_) => out.push(part),
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_leaves_the_repository_is_none() {
        for (path, expected) in [("a/./b/../c", Some("a/c")), ("", Some("")), ("a/../..", None), ("..", None)] {
            assert_eq!(normal(Path::new(path)).as_deref(), expected.map(Path::new), "{path}");
        }
    }
}
