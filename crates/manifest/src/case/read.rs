//! The document of a case, field by field.

use crate::value::Value;
use std::net::IpAddr;
use std::sync::Arc;

use tortie_model::{Family, ObjectRef};

use super::{ClusterSpec, Expectation, LabelChange, Line, OutsideHost, Pattern, Probe, Unnamed, Verdict, Via};
use crate::diagnostic::Diagnostic;
use crate::document::Origin;
use crate::source::Place;
use crate::span::push_token;
use crate::store::distance;

/// Where a value stands in the document, as a JSON pointer.
fn below(pointer: &str, token: &str) -> String {
    let mut out = pointer.to_owned();
    push_token(&mut out, token);
    out
}

/// A file that a case names.
#[derive(Debug, Clone)]
pub(super) struct Input {
    pub(super) path: String,
    /// Only these of its objects; all when empty.
    pub(super) only: Vec<(ObjectRef, Place)>,
    pub(super) place: Place,
}

/// A case before its files are read.
#[derive(Debug)]
pub(super) struct Text {
    pub(super) name: Option<String>,
    pub(super) about: Option<String>,
    pub(super) cluster: ClusterSpec,
    pub(super) manifests: Vec<Input>,
    pub(super) steps: Vec<StepText>,
}

/// A step before its files are read.
#[derive(Debug)]
pub(super) struct StepText {
    pub(super) name: String,
    pub(super) apply: Vec<Input>,
    pub(super) delete: Vec<(ObjectRef, Place)>,
    pub(super) label: Vec<LabelChange>,
    pub(super) expect: Vec<Expectation>,
    pub(super) place: Place,
    /// Where its `objects` are.
    pub(super) pointer: String,
}

/// Reads fields and gathers what is wrong with them.
pub(super) struct Reader<'a> {
    pub(super) origin: &'a Origin,
    pub(super) diagnostics: Vec<Diagnostic>,
}

const MAX_NODES: u64 = 64;
const MAX_REPLICAS: u64 = 1000;

impl Reader<'_> {
    fn place(&self, pointer: &str) -> Place {
        self.origin.place(pointer)
    }

    fn wrong(&mut self, pointer: &str, message: impl Into<String>) {
        let field = crate::span::field_of_pointer(pointer);
        let diagnostic = Diagnostic::error("case-field", message).field(field).at(self.place(pointer));
        self.diagnostics.push(diagnostic);
    }

    /// Reports fields that are not `known`.
    fn fields(&mut self, value: &Value<'_>, pointer: &str, known: &[&str]) -> bool {
        let Some(map) = value.as_object() else {
            self.wrong(pointer, format!("must be a mapping with {}", known.join(", ")));
            return false;
        };
        for key in map.keys().filter(|k| !known.contains(k)) {
            let at = below(pointer, key);
            let field = crate::span::field_of_pointer(&at);
            let near = known.iter().map(|k| (distance(k, key), *k)).min().filter(|(d, _)| *d <= 3);
            let help = match near {
                Some((_, near)) => format!("did you mean `{near}`?"),
                None => format!("known here: {}", known.join(", ")),
            };
            let diagnostic = Diagnostic::error("case-field", format!("unknown field \"{field}\""))
                .field(field)
                .at(self.origin.key_place(&at))
                .help(help);
            self.diagnostics.push(diagnostic);
        }
        true
    }

    fn text(&mut self, value: &Value<'_>, pointer: &str) -> Option<String> {
        match value {
            Value::String(text) => Some(text.to_string()),
            Value::Null => None,
            _ => {
                self.wrong(pointer, "YAML takes this for something else than text: quote it");
                None
            }
        }
    }

    fn member_text(&mut self, value: &Value<'_>, pointer: &str, name: &str) -> Option<String> {
        let member = value.get(name)?;
        self.text(member, &below(pointer, name))
    }

    fn number(
        &mut self,
        value: &Value<'_>,
        pointer: &str,
        name: &str,
        range: std::ops::RangeInclusive<u64>,
    ) -> Option<u32> {
        let member = value.get(name)?;
        let found = member.as_u64().filter(|n| range.contains(n)).and_then(|n| u32::try_from(n).ok());
        if found.is_none() {
            self.wrong(&below(pointer, name), format!("must be a number from {} to {}", range.start(), range.end()));
        }
        found
    }

    /// The items of a list, with the pointer of each; one value stands for a list of one where `single`.
    fn list<'v, 'a>(
        &mut self,
        value: &'v Value<'a>,
        pointer: &str,
        name: &str,
        single: bool,
    ) -> Vec<(&'v Value<'a>, String)> {
        let at = below(pointer, name);
        match value.get(name) {
            None | Some(Value::Null) => Vec::new(),
            Some(Value::Array(items)) => {
                items.iter().enumerate().map(|(i, v)| (v, below(&at, &i.to_string()))).collect()
            }
            Some(one) if single => vec![(one, at)],
            Some(_) => {
                self.wrong(&at, "must be a list");
                Vec::new()
            }
        }
    }

    fn texts(&mut self, value: &Value<'_>, pointer: &str, name: &str, single: bool) -> Vec<(String, Place)> {
        let items = self.list(value, pointer, name, single);
        let mut found = Vec::new();
        for (item, at) in items {
            match self.text(item, &at) {
                Some(text) => found.push((text, self.place(&at))),
                None if item.is_null() => self.wrong(&at, "must be text"),
                None => {}
            }
        }
        found
    }

    fn references(&mut self, value: &Value<'_>, pointer: &str, name: &str) -> Vec<(ObjectRef, Place)> {
        let mut found = Vec::new();
        for (text, place) in self.texts(value, pointer, name, true) {
            match text.parse() {
                Ok(reference) => found.push((reference, place)),
                Err(error) => {
                    let error: tortie_model::ObjectRefError = error;
                    self.diagnostics.push(Diagnostic::error("case-object", error.to_string()).at(place));
                }
            }
        }
        found
    }

    pub(super) fn case(&mut self, value: &Value<'_>) -> Text {
        self.fields(value, "", &["tortie", "name", "about", "cluster", "manifests", "objects", "steps"]);
        if value.get("tortie").and_then(Value::as_str) != Some("v1") {
            self.wrong("/tortie", "this version of tortie reads cases of version `v1`");
        }
        let cluster = value.get("cluster").filter(|v| !v.is_null()).map(|v| self.cluster(v)).unwrap_or_default();
        let mut steps = Vec::new();
        for (i, (step, at)) in self.list(value, "", "steps", false).into_iter().enumerate() {
            let read = self.step(step, &at, i);
            steps.extend(read);
        }
        Text {
            name: self.member_text(value, "", "name"),
            about: self.member_text(value, "", "about"),
            cluster,
            manifests: self.inputs(value, "", "manifests", false),
            steps,
        }
    }

    fn cluster(&mut self, value: &Value<'_>) -> ClusterSpec {
        let mut cluster = ClusterSpec::default();
        let at = "/cluster";
        if !self.fields(value, at, &["nodes", "families", "replicas", "outside"]) {
            return cluster;
        }
        cluster.nodes = self.number(value, at, "nodes", 1..=MAX_NODES).unwrap_or(cluster.nodes);
        cluster.replicas = self.number(value, at, "replicas", 0..=MAX_REPLICAS).unwrap_or(cluster.replicas);
        let mut families = Vec::new();
        for (text, place) in self.texts(value, at, "families", true) {
            match Family::ALL.into_iter().find(|f| f.as_str() == text) {
                Some(family) if !families.contains(&family) => families.push(family),
                Some(_) => {}
                None => {
                    let message = format!("`{text}` is no address family: IPv4 or IPv6");
                    self.diagnostics.push(Diagnostic::error("case-field", message).at(place));
                }
            }
        }
        if !families.is_empty() {
            cluster.families = families;
        }
        for (host, at) in self.list(value, at, "outside", false) {
            let read = self.outside(host, &at);
            cluster.outside.extend(read);
        }
        cluster
    }

    fn outside(&mut self, value: &Value<'_>, at: &str) -> Option<OutsideHost> {
        if !self.fields(value, at, &["name", "addresses", "dns"]) {
            return None;
        }
        let name = self.member_text(value, at, "name").unwrap_or_default();
        if !matches!(Pattern::parse(&name), Ok(Pattern::Outside(_))) || name.contains('*') {
            self.wrong(&below(at, "name"), "a host beyond the cluster needs a name of letters, digits, `-` and `.`");
            return None;
        }
        let mut addresses = Vec::new();
        for (text, place) in self.texts(value, at, "addresses", true) {
            match text.parse::<IpAddr>() {
                Ok(ip) => addresses.push(ip),
                Err(_) => {
                    let message = format!("`{text}` is no address");
                    self.diagnostics.push(Diagnostic::error("case-field", message).at(place));
                }
            }
        }
        if addresses.is_empty() {
            self.wrong(at, "a host beyond the cluster needs `addresses`");
        }
        let dns = self.texts(value, at, "dns", true).into_iter().map(|(name, _)| name.into()).collect();
        Some(OutsideHost { name: name.into(), addresses, dns })
    }

    fn inputs(&mut self, value: &Value<'_>, pointer: &str, name: &str, selecting: bool) -> Vec<Input> {
        let mut inputs = Vec::new();
        for (item, at) in self.list(value, pointer, name, true) {
            let place = self.place(&at);
            match item {
                Value::String(path) if !path.is_empty() => {
                    inputs.push(Input { path: path.to_string(), only: Vec::new(), place });
                }
                Value::Object(_) if selecting => {
                    self.fields(item, &at, &["file", "only"]);
                    let only = self.references(item, &at, "only");
                    match self.member_text(item, &at, "file").filter(|p| !p.is_empty()) {
                        Some(path) => inputs.push(Input { path, only, place: self.place(&below(&at, "file")) }),
                        None => self.wrong(&at, "needs `file`"),
                    }
                }
                _ if selecting => self.wrong(&at, "must be a path, or {file: PATH, only: [Kind/namespace/name]}"),
                _ => self.wrong(&at, "must be a path"),
            }
        }
        inputs
    }

    fn step(&mut self, value: &Value<'_>, at: &str, index: usize) -> Option<StepText> {
        if !self.fields(value, at, &["name", "apply", "objects", "delete", "label", "expect"]) {
            return None;
        }
        let mut label = Vec::new();
        for (change, at) in self.list(value, at, "label", true) {
            let read = self.label(change, &at);
            label.extend(read);
        }
        let mut expect = Vec::new();
        for (one, at) in self.list(value, at, "expect", true) {
            let read = self.expectation(one, &at);
            expect.extend(read);
        }
        Some(StepText {
            name: self.member_text(value, at, "name").unwrap_or_else(|| format!("step {}", index + 1)),
            apply: self.inputs(value, at, "apply", true),
            delete: self.references(value, at, "delete"),
            label,
            expect,
            place: self.place(&below(at, "name")),
            pointer: at.to_owned(),
        })
    }

    fn label(&mut self, value: &Value<'_>, at: &str) -> Option<LabelChange> {
        if !self.fields(value, at, &["object", "set", "remove"]) {
            return None;
        }
        let object = self.references(value, at, "object").into_iter().next();
        let mut set = Vec::new();
        let set_at = below(at, "set");
        match value.get("set") {
            None | Some(Value::Null) => {}
            Some(Value::Object(map)) => {
                for (key, label) in map.iter() {
                    let read = self.text(label, &below(&set_at, key));
                    set.extend(read.map(|text| (key.to_owned(), text)));
                }
            }
            Some(_) => self.wrong(&set_at, "must be a mapping of labels"),
        }
        let remove: Vec<String> = self.texts(value, at, "remove", true).into_iter().map(|(key, _)| key).collect();
        if object.is_none() && value.get("object").is_none() {
            self.wrong(at, "needs `object`: Kind/namespace/name");
        } else if set.is_empty() && remove.is_empty() {
            self.wrong(at, "needs `set` or `remove`");
        }
        let (object, place) = object?;
        Some(LabelChange { object, set, remove, place })
    }

    fn expectation(&mut self, value: &Value<'_>, at: &str) -> Option<Expectation> {
        if !self.fields(value, at, &["probe", "via", "default", "allow", "deny"]) {
            return None;
        }
        let mut probes = Vec::new();
        for (text, place) in self.texts(value, at, "probe", true) {
            match Probe::parse(&text) {
                Ok(found) => probes.extend(found),
                Err(error) => self.diagnostics.push(Diagnostic::error("case-probe", error.to_string()).at(place)),
            }
        }
        let names = probes.iter().filter(|p| matches!(p, Probe::Dns(_))).count();
        if names > 0 && names < probes.len() {
            self.wrong(&below(at, "probe"), "names and packets need expectations of their own: their lines differ");
            return None;
        }
        let is_empty = |name: &str| match value.get(name) {
            None | Some(Value::Null) => true,
            Some(Value::Array(items)) => items.is_empty(),
            Some(_) => false,
        };
        if is_empty("probe") {
            self.wrong(at, "needs `probe`: what is tried");
        }
        let via = match self.member_text(value, at, "via").as_deref() {
            None | Some("pod") => Via::Pod,
            Some("service") if names > 0 => {
                self.wrong(&below(at, "via"), "names are not resolved through a Service of your choice");
                Via::Pod
            }
            Some("service") => Via::Service,
            Some(_) => {
                self.wrong(&below(at, "via"), "must be `pod` or `service`");
                Via::Pod
            }
        };
        let default = match self.member_text(value, at, "default").as_deref() {
            None | Some("unchecked") => Unnamed::Unchecked,
            Some("allow") => Unnamed::Must(Verdict::Allow),
            Some("deny") => Unnamed::Must(Verdict::Deny),
            Some(_) => {
                self.wrong(&below(at, "default"), "must be `allow`, `deny` or `unchecked`");
                Unnamed::Unchecked
            }
        };
        let allow = self.lines(value, at, "allow", names > 0);
        let deny = self.lines(value, at, "deny", names > 0);
        if is_empty("allow") && is_empty("deny") && default == Unnamed::Unchecked {
            self.wrong(at, "expects nothing: it needs `default`, `allow` or `deny`");
        }
        if probes.is_empty() {
            return None;
        }
        Some(Expectation { probes, via, default, allow, deny, place: self.place(at) })
    }

    fn lines(&mut self, value: &Value<'_>, at: &str, name: &str, names: bool) -> Vec<Line> {
        let mut lines = Vec::new();
        for (text, place) in self.texts(value, at, name, true) {
            match line(&text, &place, names) {
                Ok(line) => lines.push(line),
                Err(message) => self.diagnostics.push(Diagnostic::error("case-line", message).at(place)),
            }
        }
        lines
    }
}

/// `from -> to  # why`; for names `from  # why`.
fn line(text: &str, place: &Place, names: bool) -> Result<Line, String> {
    let (pair, why) = match text.find('#') {
        Some(i) => (&text[..i], Some(text[i + 1..].trim())),
        None => (text, None),
    };
    let why = why.filter(|w| !w.is_empty()).map(Arc::from);
    let pattern = |text: &str| Pattern::parse(text.trim()).map_err(|e| e.to_string());
    let (from, to) = match (pair.split_once("->"), names) {
        (Some((from, to)), false) => (pattern(from)?, Some(pattern(to)?)),
        (None, true) => (pattern(pair)?, None),
        (Some(_), true) => return Err(format!("`{}`: for names, say who asks, without an arrow", pair.trim())),
        (None, false) => return Err(format!("`{}`: write who sends and who is reached: from -> to", pair.trim())),
    };
    if let Pattern::Address(ip) = from {
        return Err(format!("{ip} cannot be told to send: a pod, a node or a host from `outside` can"));
    }
    Ok(Line { from, to, why, place: place.clone() })
}
