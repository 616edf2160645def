//! A change of texts, to be shown or applied.

use std::collections::BTreeMap;
use std::sync::Arc;

use tortie_manifest::SourceFile;
use tortie_manifest::patch::{TextEdit, apply};

/// Changes of files, and new files.
#[derive(Clone, Debug, Default)]
pub struct Patch {
    edits: Vec<TextEdit>,
    new: Vec<(String, String)>,
}

impl Patch {
    pub(super) fn new<'e>(
        edits: impl Iterator<Item = &'e TextEdit>,
        new: impl Iterator<Item = &'e (String, String)>,
    ) -> Self {
        Self { edits: edits.cloned().collect(), new: new.cloned().collect() }
    }

    /// New files: their names and texts.
    #[must_use]
    pub fn new_files(&self) -> &[(String, String)] {
        &self.new
    }

    /// The files that change, each with its text before and after.
    #[must_use]
    pub fn changed(&self) -> Vec<(Arc<SourceFile>, String)> {
        let mut files: BTreeMap<&str, Vec<&TextEdit>> = BTreeMap::new();
        for edit in &self.edits {
            files.entry(edit.file.name()).or_default().push(edit);
        }
        let change = |edits: Vec<&TextEdit>| {
            let file = Arc::clone(&edits[0].file);
            let text = apply(file.text(), edits)?;
            Some((file, text))
        };
        files.into_values().filter_map(change).collect()
    }

    /// Where each change begins: file and line.
    pub fn places(&self) -> impl Iterator<Item = (&str, usize)> {
        self.edits.iter().map(|e| (&**e.file.name(), e.file.position(e.range.start).0))
    }

    /// As a unified diff, for people and for `patch -p0`.
    #[must_use]
    pub fn diff(&self) -> String {
        let mut out = String::new();
        let mut show = |old: &str, new: &str, from: &str, to: &str| {
            let diff = similar::TextDiff::from_lines(old, new);
            out.push_str(&diff.unified_diff().context_radius(3).header(from, to).to_string());
        };
        for (file, text) in self.changed() {
            show(file.text(), &text, file.name(), file.name());
        }
        for (name, text) in &self.new {
            show("", text, "/dev/null", name);
        }
        out
    }
}
