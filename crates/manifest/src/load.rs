//! Files, folders and standard input to objects.

use crate::value::Value;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use tortie_model::{Kind, Object, ObjectRef};

use crate::classify::{Class, classify, meant};
use crate::decode;
use crate::diagnostic::Diagnostic;
use crate::document::{self, Document, Origin, SourceMap};
use crate::files::{self, Files};
use crate::skipped::{Foreign, Skipped, charts, is_of_chart};
use crate::source::{Place, SourceFile};
use crate::span::{DuplicateKey, push_token};
use crate::tab::without_flow_tabs;
use crate::validation::{Refusal, advice, items, member, text, validate, warnings};

/// How input is read.
#[derive(Debug, Clone)]
pub struct LoadOptions {
    /// The namespace of objects that name none.
    pub namespace: Arc<str>,
}

impl Default for LoadOptions {
    fn default() -> Self {
        Self { namespace: "default".into() }
    }
}

/// An object, and where it was read.
#[derive(Debug, Clone)]
pub struct LoadedObject {
    /// The object.
    pub object: Object,
    /// Where it was read.
    pub origin: Origin,
}

/// What was read.
#[derive(Debug, Clone, Default)]
pub struct Loaded {
    /// The objects that can be trusted, in the order of the input; of duplicates the last.
    pub objects: Vec<LoadedObject>,
    /// Errors and warnings, in the order of the input.
    pub diagnostics: Vec<Diagnostic>,
    /// What was left out and why.
    pub notes: Vec<Diagnostic>,
    /// Texts that were read.
    pub files: Vec<Arc<SourceFile>>,
    untrusted_policy: bool,
    untrusted_object: bool,
}

impl Loaded {
    /// Whether something that is or could be a policy could not be read: answers about reachability would be wrong.
    #[must_use]
    pub fn has_untrusted_policy(&self) -> bool {
        self.untrusted_policy
    }

    /// Whether anything at all that should be an object could not be read.
    #[must_use]
    pub fn has_untrusted_object(&self) -> bool {
        self.untrusted_policy || self.untrusted_object
    }

    /// Where each object was read.
    #[must_use]
    pub fn sources(&self) -> SourceMap {
        self.objects.iter().map(|o| (o.object.reference(), o.origin.clone())).collect()
    }

    /// Adds what was read later; of duplicates the last stays, with a warning that names both places.
    pub fn extend(&mut self, other: Self) {
        self.objects.extend(other.objects);
        self.diagnostics.extend(other.diagnostics);
        self.notes.extend(other.notes);
        self.files.extend(other.files);
        self.untrusted_policy |= other.untrusted_policy;
        self.untrusted_object |= other.untrusted_object;
        self.settle_duplicates();
    }

    fn settle_duplicates(&mut self) {
        let mut last: HashMap<ObjectRef, usize> = HashMap::with_capacity(self.objects.len());
        let mut dropped = HashSet::new();
        for (i, one) in self.objects.iter().enumerate() {
            let reference = one.object.reference();
            if let Some(earlier) = last.insert(reference.clone(), i) {
                dropped.insert(earlier);
                let message = format!("{reference} is defined twice; this definition, the last, counts");
                self.diagnostics.push(
                    Diagnostic::warning("duplicate-object", message)
                        .at(one.origin.key_place("/metadata/name"))
                        .label(
                            self.objects[earlier].origin.key_place("/metadata/name"),
                            "the definition without effect",
                        )
                        .about(reference),
                );
            }
        }
        if !dropped.is_empty() {
            let mut i = 0;
            self.objects.retain(|_| {
                i += 1;
                !dropped.contains(&(i - 1))
            });
        }
    }
}

/// Reads files, folders and `-` (standard input).
///
/// A folder gives all its `*.yaml`, `*.yml` and `*.json`, and those of the folders in it, in the order of their names;
/// hidden ones are left out. A document that cannot be read is reported, the others are read. Never fails as a whole: see
/// [`Loaded::has_untrusted_policy`].
#[must_use]
pub fn load<S: AsRef<str>>(files: &dyn Files, inputs: &[S], options: &LoadOptions) -> Loaded {
    let mut loader = Loader::new(options);
    for input in inputs {
        loader.input(files, input.as_ref());
    }
    loader.nothing_is_an_error(inputs);
    loader.finish()
}

/// Reads objects that stand inside another document, as cases have them: the items of the list at `pointer`.
pub(crate) fn load_inline(
    document: &Arc<Document>,
    list: &[Value<'_>],
    pointer: &str,
    options: &LoadOptions,
) -> Loaded {
    let mut loader = Loader::new(options);
    let duplicates = document.duplicates();
    for (i, value) in list.iter().enumerate() {
        loader.value(document, &format!("{pointer}/{i}"), value, &duplicates);
    }
    loader.finish()
}

/// What is said of input in which nothing is.
pub(crate) const NO_MANIFESTS: &str = "no-manifests";

struct Loader<'a> {
    options: &'a LoadOptions,
    loaded: Loaded,
    /// Kinds that are not read: how many, and where the first is.
    unread: BTreeMap<(String, String), (usize, Place)>,
    /// Numbers given to objects with `generateName`.
    generated: HashMap<String, u32>,
    skipped: Skipped,
}

fn is_manifest(name: &str) -> bool {
    [".yaml", ".yml", ".json"].iter().any(|s| name.ends_with(s))
}

impl<'a> Loader<'a> {
    fn new(options: &'a LoadOptions) -> Self {
        let (unread, generated, skipped) = (BTreeMap::new(), HashMap::new(), Skipped::default());
        Self { options, loaded: Loaded::default(), unread, generated, skipped }
    }

    fn report(&mut self, diagnostic: Diagnostic, untrusted: Untrusted) {
        match untrusted {
            Untrusted::Policy => self.loaded.untrusted_policy = true,
            Untrusted::Object => self.loaded.untrusted_object = true,
            Untrusted::Nothing => {}
        }
        self.loaded.diagnostics.push(diagnostic);
    }

    fn unreadable(&mut self, path: &str, error: &std::io::Error) {
        self.report(unreadable(path, error), Untrusted::Policy);
    }

    fn input(&mut self, files: &dyn Files, input: &str) {
        if input == "-" || !files.is_folder(input) {
            self.file(files, input, true);
            return;
        }
        match files::walk(files, input, &is_manifest) {
            Err(error) => self.unreadable(input, &error),
            Ok(paths) if paths.is_empty() => {
                let message = format!("{input} holds no manifests");
                let diagnostic = Diagnostic::error(NO_MANIFESTS, message)
                    .help("files that end in .yaml, .yml or .json are read, also in folders below it");
                self.report(diagnostic, Untrusted::Policy);
            }
            Ok(paths) => {
                let charts = charts(&paths);
                for path in paths {
                    if let Some(chart) = charts.iter().find(|c| is_of_chart(c, &path)) {
                        self.skipped.chart(chart);
                    } else if let Some(foreign) = Foreign::of_name(&path) {
                        self.skipped.file(foreign, &path);
                    } else {
                        self.file(files, &path, false);
                    }
                }
            }
        }
    }

    /// `explicit`: the user named this very file.
    fn file(&mut self, files: &dyn Files, path: &str, explicit: bool) {
        let bytes = match files.read(path) {
            Ok(bytes) => bytes,
            Err(error) => return self.unreadable(path, &error),
        };
        let name = if path == "-" { "<stdin>" } else { path };
        match decode_text(name, bytes) {
            Ok(file) => self.text(&Arc::new(file), explicit),
            Err(diagnostic) => self.report(*diagnostic, Untrusted::Policy),
        }
    }

    fn text(&mut self, file: &Arc<SourceFile>, explicit: bool) {
        self.loaded.files.push(Arc::clone(file));
        let (format, documents) = document::documents(file);
        let template = file.text().contains("{{") && documents.iter().any(|d| d.value.is_err());
        if template && !explicit {
            self.skipped.file(Foreign::Template, file.name());
            return;
        }
        let mut foreign = 0;
        let total = documents.len();
        for one in documents {
            let document = Document::new(file, one.range, format);
            match one.value {
                Ok(None) => {}
                Ok(Some(parsed)) => {
                    if !explicit && classify(&parsed.value) == Class::Foreign {
                        foreign += 1;
                        continue;
                    }
                    let duplicates = if parsed.has_duplicates { document.duplicates() } else { Vec::new() };
                    self.value(&document, "", &parsed.value, &duplicates);
                }
                Err(error) => {
                    let id = if format == document::Format::Json { "json-syntax" } else { "yaml-syntax" };
                    let place = Place { file: Arc::clone(file), span: error.span };
                    let mut diagnostic = Diagnostic::error(id, error.message).at(place);
                    if template {
                        let help = "this looks like a Helm template: render it with `helm template` first";
                        diagnostic = diagnostic.help(help);
                    }
                    self.report(diagnostic, Untrusted::Policy);
                }
            }
        }
        if foreign > 0 {
            let what = if foreign == total { "it holds".to_owned() } else { format!("{foreign} of its documents are") };
            let message = format!("{} is not read: {what} no Kubernetes objects", file.name());
            self.loaded.notes.push(Diagnostic::note("skipped-file", message));
        }
    }

    fn value(&mut self, document: &Arc<Document>, pointer: &str, value: &Value<'_>, duplicates: &[DuplicateKey]) {
        let origin = Origin::new(document, pointer);
        match classify(value) {
            Class::Object(kind, guessed) => {
                if let Some(field) = guessed {
                    let message = format!("missing; read as {} {kind}, which kubectl would refuse", kind.api_version());
                    let diagnostic = Diagnostic::warning("missing-kind", message)
                        .field(field)
                        .at(origin.place("/metadata/name"))
                        .help(format!(
                            "write `{field}: {}`",
                            if field == "kind" { kind.written() } else { kind.api_version() }
                        ));
                    self.report(diagnostic, Untrusted::Nothing);
                }
                self.object(kind, value, origin, pointer, duplicates);
            }
            Class::List { api_version, kind } => {
                for (i, item) in items(value, "items").iter().enumerate() {
                    let mut pointer = pointer.to_owned();
                    push_token(&mut pointer, "items");
                    push_token(&mut pointer, &i.to_string());
                    let mut typed;
                    let mut item = item;
                    // The items of a PodList need not say that they are pods.
                    if !kind.is_empty() && item.is_object() && member(item, "kind").is_none() {
                        typed = item.clone();
                        if let Value::Object(map) = &mut typed {
                            map.set("kind".into(), Value::String(kind.clone().into()));
                            if member(item, "apiVersion").is_none() {
                                map.set("apiVersion".into(), Value::String(api_version.clone().into()));
                            }
                        }
                        item = &typed;
                    }
                    self.value(document, &pointer, item, duplicates);
                }
            }
            Class::UnreadPolicy { api_version, kind } => {
                let what = format!("{api_version} {kind}");
                let name = text(member(value, "metadata").unwrap_or(&Value::Null), "name");
                let message =
                    format!("{what} \"{name}\" is a policy of an API that this version of tortie does not read");
                let diagnostic = Diagnostic::error("unread-policy", message)
                    .at(origin.place("/kind"))
                    .help("without it every answer about reachability would be wrong: leave it out of the input only if that is meant");
                self.report(diagnostic, Untrusted::Policy);
            }
            Class::Unregistered { message } => {
                let written = text(value, "kind");
                let kind = meant(written);
                let misspelt = kind.is_some_and(|k| k.written() != written);
                let field = if misspelt { "kind" } else { "apiVersion" };
                let place = origin.place(&format!("/{field}"));
                let diagnostic = Diagnostic::error("unknown-version", message).at(place).field(field);
                let diagnostic = match kind {
                    Some(kind) if misspelt => diagnostic.help(format!("did you mean `kind: {kind}`?")),
                    Some(kind) => diagnostic.help(format!("{kind} is `apiVersion: {}`", kind.api_version())),
                    None => diagnostic,
                };
                self.report(diagnostic, Untrusted::Policy);
            }
            Class::Other { kind, api_version } => {
                let counted = self.unread.entry((kind, api_version)).or_insert_with(|| (0, origin.place("/kind")));
                counted.0 += 1;
            }
            Class::Kustomization => {
                self.skipped.file(Foreign::Kustomization, document.file().name());
            }
            Class::Case => {
                let message = format!("{} is a case, not a manifest", document.file().name());
                let help = "play it with packets: `tortie lab run`";
                self.loaded.notes.push(Diagnostic::note("skipped-file", message).help(help));
            }
            Class::Foreign => {
                let mut diagnostic =
                    Diagnostic::error("no-object", "no Kubernetes object: it has neither apiVersion nor kind")
                        .at(origin.place(""));
                if let Some(foreign) = Foreign::of_name(document.file().name()) {
                    diagnostic = diagnostic.help(foreign.way_out());
                }
                self.report(diagnostic, Untrusted::Policy);
            }
            Class::Malformed { field, message } => {
                let at = if field.is_empty() { String::new() } else { format!("/{field}") };
                let diagnostic = Diagnostic::error("no-object", message).field(field).at(origin.place(&at));
                self.report(diagnostic, Untrusted::Policy);
            }
        }
    }

    fn object(&mut self, kind: Kind, value: &Value<'_>, origin: Origin, pointer: &str, duplicates: &[DuplicateKey]) {
        let own: Vec<DuplicateKey> = duplicates.iter().filter_map(|d| d.below(pointer)).collect();
        let meta = member(value, "metadata").unwrap_or(&Value::Null);
        let generated = text(meta, "name").is_empty().then(|| text(meta, "generateName")).filter(|g| !g.is_empty());
        let name = generated.map(|prefix| {
            let count = self.generated.entry(format!("{kind}/{}/{prefix}", text(meta, "namespace"))).or_default();
            *count += 1;
            format!("{prefix}{count}")
        });
        let refusal = match validate(kind, value, &own) {
            Ok(()) => {
                let object = decode::object(kind, value, &self.options.namespace, name.as_deref());
                for cause in warnings(kind, value) {
                    let warning = Diagnostic::warning("api-warning", cause.message)
                        .field(cause.field)
                        .at(origin.place(&cause.pointer))
                        .about(object.reference());
                    self.report(warning, Untrusted::Nothing);
                }
                self.loaded.objects.push(LoadedObject { object, origin });
                return;
            }
            Err(refusal) => refusal,
        };
        let untrusted =
            if kind == Kind::NetworkPolicy || kind.is_custom() { Untrusted::Policy } else { Untrusted::Object };
        let written = |field: &str| Some(text(meta, field)).filter(|t| !t.is_empty());
        let reference = name.as_deref().or(written("name")).map(|name| {
            if kind.is_namespaced() {
                ObjectRef::namespaced(kind, written("namespace").unwrap_or(&self.options.namespace), name)
            } else {
                ObjectRef::cluster(kind, name)
            }
        });
        for mut diagnostic in diagnostics(refusal, &origin, &own) {
            diagnostic.object.clone_from(&reference);
            self.report(diagnostic, untrusted);
        }
    }

    fn finish(mut self) -> Loaded {
        for ((kind, api_version), (count, place)) in std::mem::take(&mut self.unread) {
            let objects = if count == 1 { "1 object has".to_owned() } else { format!("{count} objects have") };
            let message = format!("{kind} ({api_version}) is not read: {objects} no part in network policy");
            self.loaded.notes.push(Diagnostic::note("unknown-kind", message).at(place));
        }
        self.loaded.notes.extend(std::mem::take(&mut self.skipped).notes());
        self.loaded.settle_duplicates();
        self.loaded
    }

    /// Input that holds nothing at all is a mistake (an empty pipe, the wrong folder), not a cluster without policies.
    fn nothing_is_an_error<S: AsRef<str>>(&mut self, inputs: &[S]) {
        let found = &self.loaded;
        if inputs.is_empty() || !(found.objects.is_empty() && found.diagnostics.is_empty() && self.unread.is_empty()) {
            return;
        }
        let shown =
            |input: &S| if input.as_ref() == "-" { "standard input".to_owned() } else { input.as_ref().to_owned() };
        let names = inputs.iter().map(shown).collect::<Vec<_>>().join(", ");
        let diagnostic = Diagnostic::error(NO_MANIFESTS, format!("nothing to read: no objects in {names}"));
        self.report(diagnostic, Untrusted::Policy);
    }
}

#[derive(Clone, Copy)]
enum Untrusted {
    Policy,
    Object,
    Nothing,
}

fn diagnostics(refusal: Refusal, origin: &Origin, duplicates: &[DuplicateKey]) -> Vec<Diagnostic> {
    match refusal {
        Refusal::Decoding(cause) => {
            let place = origin.place(&cause.pointer);
            let help = advice::wrong_type(&cause.message, written(&place));
            vec![Diagnostic { help, ..Diagnostic::error("api-decoding", cause.message).field(cause.field).at(place) }]
        }
        Refusal::Strict { message, fields, advice } => {
            let mut diagnostic = Diagnostic { help: advice, ..Diagnostic::error("api-strict-decoding", message) };
            for (i, cause) in fields.iter().enumerate() {
                if i == 0 {
                    diagnostic = diagnostic.field(cause.field.clone()).at(origin.key_place(&cause.pointer));
                } else {
                    diagnostic = diagnostic.label(origin.key_place(&cause.pointer), cause.message.clone());
                }
            }
            for twice in duplicates {
                let place = Place { file: Arc::clone(origin.file()), span: twice.first.clone() };
                diagnostic = diagnostic.label(place, "first here");
            }
            vec![diagnostic]
        }
        Refusal::Invalid(causes) => causes
            .into_iter()
            .map(|c| {
                let place = if c.on_name { origin.key_place(&c.pointer) } else { origin.place(&c.pointer) };
                let help = advice::invalid_value(&c.message, written(&place));
                Diagnostic { help, ..Diagnostic::error("api-validation", c.message).field(c.field).at(place) }
            })
            .collect(),
    }
}

/// That a path cannot be read, and why, without the number that the system has for it.
pub(crate) fn unreadable(path: &str, error: &std::io::Error) -> Diagnostic {
    let text = error.to_string();
    let why = text.split(" (os error").next().unwrap_or_default();
    let path = if path == "-" { "standard input" } else { path };
    Diagnostic::error("unreadable", format!("cannot read {path}: {why}"))
}

fn written(place: &Place) -> &str {
    place.file.text().get(place.span.clone()).unwrap_or_default()
}

pub(crate) fn decode_text(name: &str, bytes: Vec<u8>) -> Result<SourceFile, Box<Diagnostic>> {
    let utf16 = bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]);
    let text = String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let bytes = error.into_bytes();
        let head = String::from_utf8_lossy(&bytes[..valid]).into_owned();
        let what = if utf16 { "the text is UTF-16" } else { "the text is not UTF-8" };
        // The excerpt ends where the text can no longer be read.
        let file = Arc::new(SourceFile::new(name, head));
        let place = Place { file, span: valid..valid };
        let was = if utf16 { "UTF-16" } else { "LATIN1" };
        let path = if name == "<stdin>" { "" } else { name };
        let help = format!("save it as UTF-8, as with `iconv -f {was} -t UTF-8 {path}").trim_end().to_owned() + "`";
        Box::new(Diagnostic::error("encoding", what).at(place).help(help))
    })?;
    let text = match text.strip_prefix('\u{feff}') {
        Some(rest) => rest.to_owned(),
        None => text,
    };
    Ok(SourceFile::new(name, without_flow_tabs(text)))
}

#[cfg(test)]
mod tests;
