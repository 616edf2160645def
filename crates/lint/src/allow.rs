//! Comments that allow what a lint finds: `# tortie: allow(peers-apart) because`.
//!
//! Such a comment speaks of the line that it ends, or of the next line that is not a comment; and of everything that is
//! written below it there: on a rule of the rule, at the head of an object of the object.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tortie_analysis::snapshot::Snapshot;
use tortie_manifest::{Diagnostic, Place, SourceFile};

use crate::catalogue::{lint, nearest};
use crate::finding::Finding;

const MARK: &str = "tortie: allow(";

/// One name in one comment.
#[derive(Debug)]
struct Allow {
    id: String,
    place: Place,
    /// The line that it speaks of, from 1.
    line: usize,
    used: bool,
}

/// All such comments of some files.
#[derive(Debug, Default)]
pub struct Allows {
    files: BTreeMap<Arc<str>, Vec<Allow>>,
}

impl Allows {
    /// Reads the comments.
    #[must_use]
    pub fn of<'f>(files: impl IntoIterator<Item = &'f Arc<SourceFile>>) -> Self {
        let mut out = Self::default();
        for file in files {
            let found = in_file(file);
            if !found.is_empty() {
                out.files.insert(file.name().clone(), found);
            }
        }
        out
    }

    /// Whether a finding is allowed where it stands.
    pub fn allows(&mut self, snapshot: &Snapshot, finding: &Finding) -> bool {
        let Some((object, place)) = finding.object().zip(finding.diagnostic.place.as_ref()) else { return false };
        let Some(allows) = self.files.get_mut(place.file.name()) else { return false };
        let Some(origin) = snapshot.store.origin(object) else { return false };
        let mut lines: BTreeSet<usize> = BTreeSet::from([place.line(), origin.whole("").line()]);
        let mut pointer = finding.pointer.as_str();
        while let Some((above, _)) = pointer.rsplit_once('/') {
            lines.insert(origin.whole(pointer).line());
            pointer = above;
        }
        let mut allowed = false;
        for allow in allows.iter_mut().filter(|a| a.id == finding.lint.id && lines.contains(&a.line)) {
            allow.used = true;
            allowed = true;
        }
        allowed
    }

    /// What is wrong with the comments themselves: names that no lint has, and such as allow nothing.
    #[must_use]
    pub fn complaints(&self) -> Vec<Diagnostic> {
        let all = self.files.values().flatten();
        let complaint = |a: &Allow| {
            if lint(&a.id).is_none() {
                let text = format!("no lint is called `{}`", a.id);
                let out = Diagnostic::error("unknown-lint", text).at(a.place.clone());
                return Some(match nearest(&a.id) {
                    Some(near) => out.help(format!("did you mean {near}?")),
                    None => out.help("tortie check --list names them all"),
                });
            }
            let text = format!("nothing here is found by {}: this allows nothing", a.id);
            (!a.used).then(|| Diagnostic::note("unused-allow", text).at(a.place.clone()))
        };
        all.filter_map(complaint).collect()
    }
}

fn in_file(file: &Arc<SourceFile>) -> Vec<Allow> {
    let mut out = Vec::new();
    if !file.text().contains(MARK) {
        return out;
    }
    let lines: Vec<&str> = file.text().split_inclusive('\n').collect();
    let mut start = 0;
    for (n, line) in lines.iter().enumerate() {
        let begin = start;
        start += line.len();
        let Some(hash) = line.find('#') else { continue };
        let Some(at) = line[hash..].find(MARK).map(|at| hash + at + MARK.len()) else { continue };
        let Some(end) = line[at..].find(')').map(|end| at + end) else { continue };
        let alone = line[..hash].trim().is_empty();
        let comment = |l: &str| l.trim_start().starts_with('#') || l.trim().is_empty() || l.trim() == "---";
        let target = if alone { (n + 1..lines.len()).find(|m| !comment(lines[*m])) } else { Some(n) };
        let Some(target) = target else { continue };
        let mut from = at;
        for id in line[at..end].split(',') {
            let skip = id.len() - id.trim_start().len();
            let span = begin + from + skip..begin + from + skip + id.trim().len();
            from += id.len() + 1;
            let place = Place { file: Arc::clone(file), span };
            out.push(Allow { id: id.trim().to_owned(), place, line: target + 1, used: false });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comment_speaks_of_its_line_or_of_the_next() {
        let text = "# tortie: allow(a, b) because\n# more\nx: 1\ny: 2 # tortie: allow(c)\n#tortie: allow(unended\n";
        let found = in_file(&Arc::new(SourceFile::new("f", text.into())));
        let read: Vec<_> = found.iter().map(|a| (a.id.as_str(), a.line, &text[a.place.span.clone()])).collect();
        assert_eq!(read, [("a", 3, "a"), ("b", 3, "b"), ("c", 4, "c")]);
    }
}
