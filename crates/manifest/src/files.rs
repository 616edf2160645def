//! Where texts come from: the disk, or examples compiled into a program.

use std::collections::BTreeMap;
use std::io;

/// One entry of a folder.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// Its name, without the folder.
    pub name: String,
    /// Whether it is a folder.
    pub is_folder: bool,
}

/// Read access to files and folders. Paths use `/`.
pub trait Files {
    /// The bytes of a file.
    ///
    /// # Errors
    /// As the system says: missing, not readable, a folder, too big.
    fn read(&self, path: &str) -> io::Result<Vec<u8>>;

    /// The entries of a folder, sorted by name.
    ///
    /// # Errors
    /// As the system says: missing, not readable, not a folder.
    fn list(&self, path: &str) -> io::Result<Vec<Entry>>;

    /// Whether a path is a folder; a missing path is none.
    fn is_folder(&self, path: &str) -> bool;
}

/// The files of this machine; `-` is standard input.
#[derive(Debug, Clone, Copy, Default)]
pub struct Disk;

/// No manifest is larger: an endless file (`/dev/zero`, a pipe that nobody closes) ends here.
const LIMIT: u64 = 256 << 20;

fn read_all(reader: impl io::Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    io::Read::read_to_end(&mut reader.take(LIMIT + 1), &mut bytes)?;
    if bytes.len() as u64 > LIMIT {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "larger than 256 MiB"));
    }
    Ok(bytes)
}

impl Files for Disk {
    fn read(&self, path: &str) -> io::Result<Vec<u8>> {
        if path == "-" {
            return read_all(io::stdin().lock());
        }
        read_all(std::fs::File::open(path)?)
    }

    fn list(&self, path: &str) -> io::Result<Vec<Entry>> {
        let mut entries = Vec::new();
        for entry in std::fs::read_dir(if path.is_empty() { "." } else { path })? {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            let kind = entry.file_type()?;
            // A link to a file counts as the file (mounted ConfigMaps); a link to a folder is not followed, since it
            // could lead back here.
            if kind.is_symlink() && std::fs::metadata(entry.path()).is_ok_and(|m| m.is_dir()) {
                continue;
            }
            entries.push(Entry { name, is_folder: kind.is_dir() });
        }
        entries.sort_unstable();
        Ok(entries)
    }

    fn is_folder(&self, path: &str) -> bool {
        std::fs::metadata(if path.is_empty() { "." } else { path }).is_ok_and(|m| m.is_dir())
    }
}

/// Files in memory: examples compiled in, and tests.
#[derive(Debug, Clone, Default)]
pub struct Memory(BTreeMap<String, Vec<u8>>);

impl Memory {
    /// Files by path.
    #[must_use]
    pub fn new<P: Into<String>, B: Into<Vec<u8>>>(files: impl IntoIterator<Item = (P, B)>) -> Self {
        Self(files.into_iter().map(|(p, b)| (p.into(), b.into())).collect())
    }

    /// All paths, sorted.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    fn under(path: &str) -> String {
        match normal(path) {
            p if p.is_empty() => p,
            p => p + "/",
        }
    }
}

impl Files for Memory {
    fn read(&self, path: &str) -> io::Result<Vec<u8>> {
        let missing = || io::Error::new(io::ErrorKind::NotFound, "no such file");
        self.0.get(&normal(path)).cloned().ok_or_else(missing)
    }

    fn list(&self, path: &str) -> io::Result<Vec<Entry>> {
        let prefix = Self::under(path);
        let mut entries = Vec::new();
        for rest in self.0.keys().filter_map(|p| p.strip_prefix(&prefix)) {
            let (name, is_folder) = rest.split_once('/').map_or((rest, false), |(n, _)| (n, true));
            entries.push(Entry { name: name.to_owned(), is_folder });
        }
        entries.sort_unstable();
        entries.dedup();
        if entries.is_empty() {
            return Err(io::Error::new(io::ErrorKind::NotFound, "no such folder"));
        }
        Ok(entries)
    }

    fn is_folder(&self, path: &str) -> bool {
        let prefix = Self::under(path);
        self.0.keys().any(|p| p.starts_with(&prefix))
    }
}

/// A path without `.`, and without `..` as far as it can be taken back.
fn normal(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|p| *p != "..") => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    let root = if path.starts_with('/') { "/" } else { "" };
    format!("{root}{}", parts.join("/"))
}

/// `path` seen from the folder of `file`; an absolute path stays.
pub(crate) fn beside(file: &str, path: &str) -> String {
    if path.starts_with('/') {
        return path.to_owned();
    }
    let folder = file.rsplit_once('/').map_or("", |(folder, _)| folder);
    let joined = if folder.is_empty() && !file.starts_with('/') { path.to_owned() } else { format!("{folder}/{path}") };
    normal(&joined)
}

pub(crate) fn join(folder: &str, name: &str) -> String {
    match folder {
        "" | "." => name.to_owned(),
        folder => format!("{}/{name}", folder.trim_end_matches('/')),
    }
}

/// Whether a name matches a pattern of `*` (any characters) and `?` (one).
pub(crate) fn wildcard(pattern: &str, name: &str) -> bool {
    let (p, n): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    let (mut i, mut j) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while j < n.len() {
        match p.get(i) {
            Some('*') => {
                star = Some((i, j));
                i += 1;
            }
            Some(c) if *c == '?' || *c == n[j] => {
                i += 1;
                j += 1;
            }
            _ => match star {
                Some((s, at)) => {
                    i = s + 1;
                    j = at + 1;
                    star = Some((s, at + 1));
                }
                None => return false,
            },
        }
    }
    p[i..].iter().all(|c| *c == '*')
}

/// The paths that a pattern stands for: `*` and `?` within one part of the path, `**` for any number of folders. A path
/// without them is itself, whether it exists or not.
pub(crate) fn glob(files: &dyn Files, pattern: &str) -> Vec<String> {
    if !pattern.contains(['*', '?']) {
        return vec![pattern.to_owned()];
    }
    let root = if pattern.starts_with('/') { "/" } else { "" };
    let mut found = vec![root.to_owned()];
    let parts: Vec<&str> = pattern.split('/').filter(|p| !p.is_empty()).collect();
    for (i, part) in parts.iter().enumerate() {
        let last = i + 1 == parts.len();
        let mut next = Vec::new();
        for folder in found {
            if !part.contains(['*', '?']) {
                next.push(join(&folder, part));
            } else if *part == "**" {
                next.extend(folders_below(files, &folder));
            } else {
                let entries = files.list(&folder).unwrap_or_default();
                let fits = |e: &Entry| (last || e.is_folder) && !e.name.starts_with('.') && wildcard(part, &e.name);
                next.extend(entries.iter().filter(|e| fits(e)).map(|e| join(&folder, &e.name)));
            }
        }
        found = next;
    }
    let exists = |p: &String| files.is_folder(p) || files.read(p).is_ok();
    let check = parts.last().is_some_and(|p| !p.contains(['*', '?']));
    found.into_iter().filter(|p| !check || exists(p)).collect()
}

fn folders_below(files: &dyn Files, folder: &str) -> Vec<String> {
    let mut found = vec![folder.to_owned()];
    for entry in files.list(folder).unwrap_or_default() {
        if entry.is_folder && !entry.name.starts_with('.') {
            found.extend(folders_below(files, &join(folder, &entry.name)));
        }
    }
    found
}

/// All files below a folder, sorted, hidden ones left out, whose name `wanted` takes.
pub(crate) fn walk(files: &dyn Files, folder: &str, wanted: &dyn Fn(&str) -> bool) -> io::Result<Vec<String>> {
    let mut found = Vec::new();
    for entry in files.list(folder)? {
        if entry.name.starts_with('.') {
            continue;
        }
        let path = join(folder, &entry.name);
        if entry.is_folder {
            found.extend(walk(files, &path, wanted)?);
        } else if wanted(&entry.name) {
            found.push(path);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards() {
        assert!(wildcard("*", ""));
        assert!(wildcard("a*c", "abbc"));
        assert!(wildcard("*-*", "web-1"));
        assert!(!wildcard("a?c", "ac"));
        assert!(wildcard("**", "x"));
        assert!(!wildcard("", "x"));
    }

    #[test]
    fn a_folder_that_leads_back_to_itself_ends() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().to_str().unwrap();
        std::fs::write(folder.path().join("a.yaml"), "").unwrap();
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink(folder.path(), folder.path().join("again")).unwrap();
            std::os::unix::fs::symlink(folder.path().join("a.yaml"), folder.path().join("b.yaml")).unwrap();
        }
        let found = walk(&Disk, path, &|n| n.ends_with(".yaml")).unwrap();
        let names: Vec<_> = found.iter().map(|p| p.strip_prefix(path).unwrap()).collect();
        assert_eq!(names, if cfg!(unix) { vec!["/a.yaml", "/b.yaml"] } else { vec!["/a.yaml"] });
        assert!(Disk.read(path).is_err() && Disk.list(&found[0]).is_err() && !Disk.is_folder(&found[0]));
    }

    #[test]
    fn globs_and_walks_over_memory() {
        let files = Memory::new(["a/x.yaml", "a/b/y.yaml", "a/.hidden.yaml", "a/z.txt", "c.yaml"].map(|p| (p, "")));
        assert_eq!(glob(&files, "a/*.yaml"), ["a/x.yaml"]);
        assert_eq!(glob(&files, "a/**/*.yaml"), ["a/x.yaml", "a/b/y.yaml"]);
        assert_eq!(glob(&files, "*/b/y.yaml"), ["a/b/y.yaml"]);
        assert_eq!(glob(&files, "nothing.yaml"), ["nothing.yaml"]);
        assert_eq!(walk(&files, "a", &|n| n.ends_with(".yaml")).unwrap(), ["a/b/y.yaml", "a/x.yaml"]);
        assert_eq!(beside("x/case.yaml", "../base/"), "base");
        assert_eq!(beside("case.yaml", "p.yaml"), "p.yaml");
        assert_eq!(beside("/x/case.yaml", "p.yaml"), "/x/p.yaml");
    }
}
