//! Changes of the text that mend a finding.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use tortie_manifest::{Place, SourceFile};
use tortie_model::ObjectRef;

use crate::finding::{Finding, Fix};
use crate::scene::Scene;

/// Lines of a text that an item of a block sequence takes up: from its dash to the line before what comes next.
struct Item<'t> {
    text: &'t str,
    /// From the begin of its first line to the end of its last one.
    lines: Range<usize>,
    /// The dash.
    dash: usize,
}

impl<'t> Item<'t> {
    /// The item whose value this is, when it is written as `- value` on lines of its own.
    fn at(place: &'t Place) -> Option<Self> {
        let text = place.file.text();
        let start = text[..place.span.start].rfind('\n').map_or(0, |at| at + 1);
        let before = &text[start..place.span.start];
        let dash = start + before.find('-').filter(|at| before[..*at].bytes().all(|b| b == b' '))?;
        if !before[dash - start + 1..].bytes().all(|b| b == b' ') {
            return None;
        }
        let indent = dash - start;
        let mut end = start;
        for (nth, line) in text[start..].split_inclusive('\n').enumerate() {
            let body = line.trim_end();
            let deep = body.len() - body.trim_start().len() > indent;
            if nth > 0 && !body.is_empty() && !deep {
                break;
            }
            if nth > 0 && body.trim_start().starts_with('#') {
                // A comment may belong to what follows.
                break;
            }
            if nth > 0 && body.is_empty() {
                break;
            }
            end += line.len();
        }
        (place.span.end <= end).then_some(Self { text, lines: start..end, dash })
    }

    fn indent(&self) -> usize {
        self.dash - self.lines.start
    }
}

fn item_place(scene: &Scene<'_>, object: &ObjectRef, pointer: &str) -> Option<Place> {
    let origin = scene.snapshot.store.origin(object)?;
    origin.is_written(pointer).then(|| origin.whole(pointer))
}

/// Leaves out an item of a list; not where it is the only one, for an empty list means something else.
pub(crate) fn remove_item(
    scene: &Scene<'_>,
    object: &ObjectRef,
    pointer: &str,
    title: &str,
    changes_verdicts: bool,
) -> Option<Fix> {
    let place = item_place(scene, object, pointer)?;
    let (list, number) = pointer.rsplit_once('/')?;
    let number: usize = number.parse().ok()?;
    let others = if number > 0 { number - 1 } else { 1 };
    item_place(scene, object, &format!("{list}/{others}"))?;
    let lines = Item::at(&place)?.lines;
    Some(Fix { title: title.to_owned(), changes_verdicts, file: place, edits: vec![(lines, String::new())] })
}

/// Makes one item of two that follow each other: the second loses its dash.
pub(crate) fn join_items(scene: &Scene<'_>, object: &ObjectRef, first: &str, second: &str) -> Option<Fix> {
    let (a, b) = (item_place(scene, object, first)?, item_place(scene, object, second)?);
    let (one, two) = (Item::at(&a)?, Item::at(&b)?);
    if one.lines.end != two.lines.start || one.indent() != two.indent() {
        return None;
    }
    // The keys of both must stand in one column.
    let column = |item: &Item<'_>, place: &Place| place.span.start - item.lines.start;
    if column(&one, &a) != column(&two, &b) || two.text.as_bytes().get(two.dash) != Some(&b'-') {
        return None;
    }
    let edits = vec![(two.dash..two.dash + 1, " ".to_owned())];
    Some(Fix { title: "make one peer of the two".to_owned(), changes_verdicts: true, file: a, edits })
}

/// A text that was mended.
#[derive(Clone, Debug)]
pub struct Fixed {
    /// As it was read.
    pub file: Arc<SourceFile>,
    /// As it would be.
    pub text: String,
    /// What was done.
    pub titles: Vec<String>,
}

/// Makes the changes of all findings that have one, in memory. Of those that overlap, the first is made.
#[must_use]
pub fn apply_fixes<'f>(findings: impl IntoIterator<Item = &'f Finding>) -> Vec<Fixed> {
    let mut files: BTreeMap<Arc<str>, (Arc<SourceFile>, Vec<&Fix>)> = BTreeMap::new();
    for fix in findings.into_iter().filter_map(|f| f.fix.as_ref()) {
        let file = &fix.file.file;
        files.entry(file.name().clone()).or_insert_with(|| (file.clone(), Vec::new())).1.push(fix);
    }
    let mut out = Vec::new();
    for (file, mut fixes) in files.into_values() {
        fixes.sort_by_key(|f| f.edits.first().map(|(range, _)| range.start));
        let (mut text, mut titles, mut at) = (String::new(), Vec::new(), 0);
        for fix in fixes {
            if fix.edits.first().is_none_or(|(range, _)| range.start < at) {
                continue;
            }
            for (range, new) in &fix.edits {
                text.push_str(&file.text()[at..range.start]);
                text.push_str(new);
                at = range.end;
            }
            titles.push(fix.title.clone());
        }
        text.push_str(&file.text()[at..]);
        out.push(Fixed { file, text, titles });
    }
    out
}
