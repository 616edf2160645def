//! Changes that could let a flow through in one direction.

use std::cell::OnceCell;
use std::rc::Rc;
use std::sync::Arc;

use tortie_manifest::patch::{TextEdit, Written};
use tortie_model::{Direction, Kind, Labels, Object, ObjectRef, Operator, Requirement};
use tortie_policy::{Half, NamedPorts, PeerMiss, Policy, RuleRef};

use super::opening::PolicyChange;
use super::peer::{own_labels, peer, port, selector};
use super::{Asked, Change};

/// A change that was placed in the text, and not yet tried.
#[derive(Clone, Debug)]
pub(crate) struct Candidate {
    pub(crate) change: Change,
    /// The object whose text changes.
    pub(crate) object: ObjectRef,
    pub(crate) edits: Vec<TextEdit>,
    /// A new file instead: name and text.
    pub(crate) file: Option<(String, String)>,
    /// The object as it is read where nothing else changes it.
    pub(crate) reread: OnceCell<Option<Reread>>,
}

/// An object as its changed text says.
#[derive(Clone, Debug)]
pub(crate) enum Reread {
    Policy(Rc<PolicyChange>),
    Other(Rc<Object>),
}

/// Rules of one sort, and policies, that are tried at most.
const TRIED: usize = 4;

impl Candidate {
    /// How many lines come.
    pub(crate) fn lines(&self) -> usize {
        let texts = self.edits.iter().map(|e| &e.text).chain(self.file.as_ref().map(|(_, text)| text));
        texts.map(|text| text.trim_matches('\n').lines().count().max(1)).sum()
    }

    fn edit(change: Change, object: &ObjectRef, edit: Option<TextEdit>) -> Option<Self> {
        Some(Self { change, object: object.clone(), edits: vec![edit?], file: None, reread: OnceCell::new() })
    }
}

/// `from` or `to`, as the peers of a direction are called.
const fn peers(direction: Direction) -> &'static str {
    match direction {
        Direction::Ingress => "from",
        Direction::Egress => "to",
    }
}

/// The candidates of a direction that the policies of a tier deny, those that change least first; a new policy comes
/// last.
pub(crate) fn candidates(flow: &Asked<'_>, half: &Half, policies: &[Arc<Policy>]) -> Vec<Candidate> {
    let direction = half.stack.direction();
    let (_, other) = flow.ends(direction);
    let names = NamedPorts::of(flow.to.pod().map(|p| &**p));
    let (mut ports, mut peered, mut ruled) = (Vec::new(), Vec::new(), Vec::new());
    for policy in policies.iter().filter(|p| p.object.kind == Kind::NetworkPolicy) {
        let object = &policy.object;
        let Some(origin) = flow.view.store.origin(object) else { continue };
        let peer = peer(flow.population, other, object.namespace_str());
        for (i, rule) in policy.rules(direction).unwrap_or_default().iter().enumerate() {
            let at = || RuleRef { policy: object.clone(), direction, index: i };
            let list = |name: &str| format!("/spec/{direction}/{i}/{name}");
            match (rule.peers.matches(other), rule.ports.matches(flow.traffic, names)) {
                (true, false) if ports.len() < TRIED => {
                    let edit = port(flow.traffic).and_then(|port| origin.append(&list("ports"), &port));
                    ports.extend(Candidate::edit(Change::Port(at()), object, edit));
                }
                (false, true) if peered.len() < TRIED => {
                    let edit = peer.as_ref().and_then(|peer| origin.append(&list(peers(direction)), peer));
                    peered.extend(Candidate::edit(Change::Peer(at()), object, edit));
                }
                _ => {}
            }
        }
        if ruled.len() < TRIED {
            let edit = rule(flow, direction, object.namespace_str());
            let edit = edit.and_then(|rule| origin.append(&format!("/spec/{direction}"), &rule));
            ruled.extend(Candidate::edit(Change::Rule(object.clone(), direction), object, edit));
        }
    }
    let labelled = label(flow, half);
    ports.into_iter().chain(peered).chain(labelled).chain(ruled).chain(policy(flow, direction)).collect()
}

/// A rule for the flow and nothing else.
fn rule(flow: &Asked<'_>, direction: Direction, namespace: &str) -> Option<Written> {
    let (_, other) = flow.ends(direction);
    let peer = peer(flow.population, other, namespace)?;
    let mut rule = vec![(peers(direction).to_owned(), Written::List(vec![peer]))];
    rule.extend(port(flow.traffic).map(|port| ("ports".to_owned(), Written::List(vec![port]))));
    Some(Written::Map(rule))
}

/// The labels that the nearest rule misses on the other end, where adding them is enough.
fn label(flow: &Asked<'_>, half: &Half) -> Option<Candidate> {
    let (_, other) = flow.ends(half.stack.direction());
    let near = half.nearest.as_ref().filter(|miss| miss.port.is_none())?;
    let pod = other.pod()?;
    let store = flow.view.store;
    let (object, at, had, wanted): (ObjectRef, _, &Labels, _) = match &near.peer.as_ref()?.1 {
        PeerMiss::PodLabels(wanted) => {
            let made_by = pod.owner.as_ref().filter(|owner| store.origin(owner).is_some());
            let itself = ObjectRef::namespaced(Kind::Pod, &pod.meta.namespace, &pod.meta.name);
            let object = made_by.cloned().unwrap_or(itself);
            let at = match object.kind {
                Kind::Pod => "/metadata/labels",
                Kind::CronJob => "/spec/jobTemplate/spec/template/metadata/labels",
                _ => "/spec/template/metadata/labels",
            };
            (object, at, &pod.meta.labels, wanted)
        }
        PeerMiss::NamespaceLabels(wanted) => {
            let object = ObjectRef::cluster(Kind::Namespace, &pod.meta.namespace);
            (object, "/metadata/labels", other.namespace()?.labels(), wanted)
        }
        _ => return None,
    };
    let labels: Vec<(String, String)> = wanted.iter().map(|r| missing(r, had)).collect::<Option<_>>()?;
    let origin = store.origin(&object)?;
    let put = |(key, value): &(String, String)| {
        let key = key.replace('~', "~0").replace('/', "~1");
        origin.put(&format!("{at}/{key}"), &Written::Text(value.clone()))
    };
    // Several that come about with what holds them would be written twice.
    let edits: Vec<TextEdit> = labels.iter().map(put).collect::<Option<_>>()?;
    Some(Candidate {
        change: Change::Label { object: object.clone(), labels },
        object,
        edits,
        file: None,
        reread: OnceCell::new(),
    })
}

/// The label that would meet a requirement. `None` where one would have to change or go: others rely on it.
fn missing(wanted: &Requirement, had: &Labels) -> Option<(String, String)> {
    if had.has(&wanted.key) {
        return None;
    }
    let value = match wanted.operator {
        Operator::In => wanted.values.first()?.to_string(),
        Operator::Exists => "true".to_owned(),
        Operator::NotIn | Operator::DoesNotExist => return None,
    };
    Some((wanted.key.to_string(), value))
}

/// A policy of its own for the flow, in a file of its own.
pub(crate) fn policy(flow: &Asked<'_>, direction: Direction) -> Option<Candidate> {
    let (own, other) = flow.ends(direction);
    let (index, pod) = (flow.view.index, own.pod()?);
    let namespace = &*pod.meta.namespace;
    let called = |side: &tortie_policy::Side| match (side.pod(), side.node()) {
        (Some(pod), _) => pod.owner.as_ref().map_or_else(|| pod.meta.name.to_string(), |o| o.name.to_string()),
        (None, Some(node)) => node.meta.name.to_string(),
        (None, None) => side.ip().map(|ip| ip.to_string()).unwrap_or_default(),
    };
    let word = if direction == Direction::Ingress { "from" } else { "to" };
    let name = name(&format!("{}-{word}-{}", called(own), called(other)));
    let free = |name: &String| index.policy(&ObjectRef::namespaced(Kind::NetworkPolicy, namespace, name)).is_none();
    let name = std::iter::once(name.clone()).chain((2..).map(|n| format!("{name}-{n}"))).find(free)?;
    let kind = if direction == Direction::Ingress { "Ingress" } else { "Egress" };
    let text = |t: &str| Written::Text(t.to_owned());
    let spec = Written::Map(vec![
        ("podSelector".to_owned(), selector(&own_labels(flow.population, pod))),
        ("policyTypes".to_owned(), Written::List(vec![text(kind)])),
        (direction.to_string(), Written::List(vec![rule(flow, direction, namespace)?])),
    ]);
    let document = Written::Map(vec![
        ("apiVersion".to_owned(), text(Kind::NetworkPolicy.api_version())),
        ("kind".to_owned(), text(Kind::NetworkPolicy.as_str())),
        ("metadata".to_owned(), Written::texts([("name", name.as_str()), ("namespace", namespace)])),
        ("spec".to_owned(), spec),
    ]);
    let object = ObjectRef::namespaced(Kind::NetworkPolicy, namespace, &name);
    let file = Some((format!("{name}.yaml"), document.yaml(0, 0)));
    Some(Candidate {
        change: Change::Policy(object.clone(), direction),
        object,
        edits: Vec::new(),
        file,
        reread: OnceCell::new(),
    })
}

/// A name that the API server takes.
fn name(wish: &str) -> String {
    let fit = |c: char| if c.is_ascii_alphanumeric() || c == '-' { c.to_ascii_lowercase() } else { '-' };
    let name: String = format!("allow-{wish}").chars().map(fit).take(60).collect();
    name.trim_end_matches('-').to_owned()
}
