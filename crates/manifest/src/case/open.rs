//! From a path to cases, with everything that they name.

use crate::value::Value;
use std::sync::Arc;

use tortie_model::ObjectRef;

use super::read::{Input, Reader, Text};
use super::{Case, ClusterSpec, Step};
use crate::classify::{Class, classify};
use crate::diagnostic::Diagnostic;
use crate::document::{self, Document, Origin};
use crate::files::{self, Entry, Files, beside, glob};
use crate::load::{LoadOptions, Loaded, LoadedObject, NO_MANIFESTS, decode_text, load, load_inline, unreadable};
use crate::source::{Place, SourceFile};
use crate::store::distance;

/// What a path holds.
#[derive(Debug, Clone, Default)]
pub struct Cases {
    /// The cases, in the order of their names; also those that cannot be played ([`Case::is_playable`]).
    pub cases: Vec<Case>,
    /// What keeps the path from being read, or a case from being one.
    pub diagnostics: Vec<Diagnostic>,
}

/// Reads the cases at a path: a case file; or a folder, with every `*.case.yaml` in it and in the folders below, or, when
/// there is none, its manifests as one case whose only step changes nothing. A manifest file is as good as such a folder.
#[must_use]
pub fn open(files: &dyn Files, path: &str, options: &LoadOptions) -> Cases {
    let mut cases = Cases::default();
    if !files.is_folder(path) {
        open_file(files, path, options, &mut cases);
        return cases;
    }
    match files::walk(files, path, &|name| name.ends_with(".case.yaml")) {
        Ok(found) if found.is_empty() => {
            let case = manifests_alone(files, path, options);
            match &case.diagnostics[..] {
                [only] if only.id == NO_MANIFESTS => cases.diagnostics.push(
                    Diagnostic::error(NO_MANIFESTS, format!("{path} holds neither cases nor manifests"))
                        .help("cases are files that end in .case.yaml, manifests end in .yaml, .yml or .json"),
                ),
                _ => cases.cases.push(case),
            }
        }
        Ok(found) => found.iter().for_each(|path| open_file(files, path, options, &mut cases)),
        Err(error) => {
            cases.diagnostics.push(unreadable(path, &error));
        }
    }
    cases
}

/// A case of nothing but manifests.
fn manifests_alone(files: &dyn Files, path: &str, options: &LoadOptions) -> Case {
    let base = load(files, &[path], options);
    let name = match path.trim_end_matches('/') {
        "-" => "standard input",
        trimmed => trimmed.rsplit('/').next().unwrap_or(trimmed),
    };
    Case {
        name: name.to_owned(),
        about: None,
        path: path.into(),
        cluster: ClusterSpec::default(),
        diagnostics: base.diagnostics.iter().chain(&base.notes).cloned().collect(),
        base,
        steps: vec![empty_step()],
    }
}

fn empty_step() -> Step {
    Step {
        name: "as applied".to_owned(),
        apply: Vec::new(),
        delete: Vec::new(),
        label: Vec::new(),
        expect: Vec::new(),
        place: None,
    }
}

/// Files of which one was read already: standard input can be read but once.
struct Already<'f> {
    files: &'f dyn Files,
    path: &'f str,
    bytes: Vec<u8>,
}

impl Files for Already<'_> {
    fn read(&self, path: &str) -> std::io::Result<Vec<u8>> {
        if path == self.path { Ok(self.bytes.clone()) } else { self.files.read(path) }
    }

    fn list(&self, path: &str) -> std::io::Result<Vec<Entry>> {
        self.files.list(path)
    }

    fn is_folder(&self, path: &str) -> bool {
        self.files.is_folder(path)
    }
}

fn open_file(files: &dyn Files, path: &str, options: &LoadOptions, cases: &mut Cases) {
    let read = files.read(path).map_err(|error| Box::new(unreadable(path, &error)));
    let bytes = read.as_ref().cloned().unwrap_or_default();
    let file = match read.and_then(|bytes| decode_text(path, bytes)) {
        Ok(file) => Arc::new(file),
        Err(error) => return cases.diagnostics.push(*error),
    };
    let (format, documents) = document::documents(&file);
    let is_case = |v: &Value<'_>| classify(v) == Class::Case;
    let any_case = documents.iter().any(|d| matches!(&d.value, Ok(Some(p)) if is_case(&p.value)));
    if !any_case && !path.ends_with(".case.yaml") {
        return cases.cases.push(manifests_alone(&Already { files, path, bytes }, path, options));
    }
    let before = cases.cases.len() + cases.diagnostics.len();
    for one in documents {
        let document = Document::new(&file, one.range, format);
        match one.value {
            Ok(None) => {}
            Ok(Some(parsed)) => {
                let origin = Origin::new(&document, "");
                if !is_case(&parsed.value) {
                    let error = Diagnostic::error("case-field", "no case: it does not begin with `tortie: v1`")
                        .at(origin.place(""));
                    cases.diagnostics.push(error);
                    continue;
                }
                let mut case = read_case(files, &file, &document, &origin, &parsed.value, options);
                for twice in if parsed.has_duplicates { document.duplicates() } else { Vec::new() } {
                    let place = |span: &std::ops::Range<usize>| Place { file: Arc::clone(&file), span: span.clone() };
                    let error = Diagnostic::error("yaml-syntax", format!("`{}` stands twice", twice.key))
                        .at(place(&twice.second))
                        .label(place(&twice.first), "first here");
                    case.diagnostics.push(error);
                }
                cases.cases.push(case);
            }
            Err(error) => {
                let place = Place { file: Arc::clone(&file), span: error.span };
                cases.diagnostics.push(Diagnostic::error("yaml-syntax", error.message).at(place));
            }
        }
    }
    if cases.cases.len() + cases.diagnostics.len() == before {
        let place = Place { file: Arc::clone(&file), span: 0..0 };
        cases.diagnostics.push(Diagnostic::error("case-field", "the file holds no case").at(place));
    }
}

fn read_case(
    files: &dyn Files,
    file: &SourceFile,
    document: &Arc<Document>,
    origin: &Origin,
    value: &Value<'_>,
    options: &LoadOptions,
) -> Case {
    let mut reader = Reader { origin, diagnostics: Vec::new() };
    let Text { name, about, cluster, manifests, steps } = reader.case(value);
    let mut opener = Opener { files, path: file.name(), options, diagnostics: reader.diagnostics };
    let mut base = Loaded::default();
    for input in &manifests {
        let loaded = opener.input(input);
        base.extend(loaded);
    }
    base.extend(opener.inline(document, value, ""));
    opener.diagnostics.extend(base.diagnostics.iter().chain(&base.notes).cloned());
    let mut read: Vec<Step> = Vec::new();
    for step in steps {
        let mut apply = Vec::new();
        for input in &step.apply {
            let loaded = opener.input(input);
            opener.diagnostics.extend(loaded.diagnostics.iter().chain(&loaded.notes).cloned());
            apply.extend(opener.only(loaded, input));
        }
        let inline = value.pointer(&step.pointer).map(|v| opener.inline(document, v, &step.pointer));
        if let Some(loaded) = inline {
            opener.diagnostics.extend(loaded.diagnostics.iter().cloned());
            apply.extend(loaded.objects);
        }
        read.push(Step {
            name: step.name,
            apply,
            delete: step.delete,
            label: step.label,
            expect: step.expect,
            place: Some(step.place),
        });
    }
    if read.is_empty() {
        read.push(empty_step());
    }
    let stem = file.name().rsplit('/').next().unwrap_or_default().trim_end_matches(".yaml").trim_end_matches(".case");
    Case {
        name: name.unwrap_or_else(|| stem.to_owned()),
        about,
        path: Arc::clone(file.name()),
        cluster,
        base,
        steps: read,
        diagnostics: opener.diagnostics,
    }
}

struct Opener<'a> {
    files: &'a dyn Files,
    path: &'a str,
    options: &'a LoadOptions,
    diagnostics: Vec<Diagnostic>,
}

impl Opener<'_> {
    /// Reads a file, folder or pattern, seen from the case.
    fn input(&mut self, input: &Input) -> Loaded {
        let pattern = beside(self.path, &input.path);
        let paths = glob(self.files, &pattern);
        let missing = |p: &String| !self.files.is_folder(p) && self.files.read(p).is_err();
        if paths.is_empty() || paths.iter().any(missing) {
            let message = format!("no file matches {pattern}");
            let error = Diagnostic::error("unreadable", message)
                .at(input.place.clone())
                .help("paths are relative to the file that names them");
            self.diagnostics.push(error);
            return Loaded::default();
        }
        load(self.files, &paths, self.options)
    }

    fn inline(&mut self, document: &Arc<Document>, value: &Value<'_>, pointer: &str) -> Loaded {
        match value.get("objects") {
            None | Some(Value::Null) => Loaded::default(),
            Some(Value::Array(list)) => load_inline(document, list, &format!("{pointer}/objects"), self.options),
            Some(_) => {
                let origin = Origin::new(document, &format!("{pointer}/objects"));
                self.diagnostics
                    .push(Diagnostic::error("case-field", "must be a list of objects").at(origin.place("")));
                Loaded::default()
            }
        }
    }

    /// Those objects of a file that a step asks for.
    fn only(&mut self, loaded: Loaded, input: &Input) -> Vec<LoadedObject> {
        if input.only.is_empty() {
            return loaded.objects;
        }
        let mut found = Vec::new();
        for (reference, place) in &input.only {
            match loaded.objects.iter().find(|o| o.object.reference() == *reference) {
                Some(one) => found.push(one.clone()),
                None => {
                    let error = Diagnostic::error("case-object", format!("{} holds no {reference}", input.path))
                        .at(place.clone())
                        .about(reference.clone());
                    let text = reference.to_string();
                    let references = loaded.objects.iter().map(|o| o.object.reference());
                    let near = references.map(|r: ObjectRef| (distance(&r.to_string(), &text), r.to_string())).min();
                    self.diagnostics.push(match near {
                        Some((_, near)) => error.help(format!("did you mean {near}?")),
                        None => error,
                    });
                }
            }
        }
        found
    }
}
