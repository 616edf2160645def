//! What matches nothing, or something else than was meant.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use tortie_model::{LabelSelector, Labels, Namespace, ObjectRef, Operator, Pod, PolicyPeer};

use crate::finding::Finding;
use crate::scene::{Half, Scene, Written, keys, some};

pub(crate) fn look(scene: &Scene<'_>, out: &mut Vec<Finding>) {
    if !scene.has_pods() && scene.objects.finished.is_empty() {
        return;
    }
    let told = Told::of(out);
    for written in &scene.policies {
        subject(scene, &told, written, out);
    }
    for half in scene.halves() {
        for (r, p, peer) in half.peers() {
            // Two peers that were meant as one are told as one.
            let apart = matches!(peer, PolicyPeer::PodsHere(_))
                && told.has("peers-apart", half.object(), &format!("{}/", half.pointer(r)));
            let none = told.has("selector-contradiction", half.object(), &format!("{}/", half.peer_pointer(r, p)));
            if !apart && !none {
                self::peer(scene, &half, &half.peer_pointer(r, p), peer, out);
            }
        }
    }
}

/// What lints have said of selectors and peers before.
struct Told(HashMap<ObjectRef, Vec<(&'static str, String)>>);

impl Told {
    fn of(findings: &[Finding]) -> Self {
        let mut out: HashMap<ObjectRef, Vec<_>> = HashMap::new();
        for f in findings.iter().filter(|f| ["peers-apart", "selector-contradiction"].contains(&f.lint.id)) {
            if let Some(object) = f.object() {
                out.entry(object.clone()).or_default().push((f.lint.id, f.pointer.clone()));
            }
        }
        Self(out)
    }

    /// Whether a lint has spoken of something at or below a place in an object.
    fn has(&self, id: &str, object: &ObjectRef, pointer: &str) -> bool {
        self.0.get(object).is_some_and(|told| told.iter().any(|(i, p)| *i == id && p.starts_with(pointer)))
    }
}

fn in_namespace<'s>(pods: &'s [Pod], namespace: &str) -> impl Iterator<Item = &'s Pod> {
    pods.iter().filter(move |p| *p.meta.namespace == *namespace)
}

fn subject(scene: &Scene<'_>, told: &Told, written: &Written<'_>, out: &mut Vec<Finding>) {
    let (object, selector) = (&written.object, &written.text.pod_selector);
    let namespace = &written.text.meta.namespace;
    let objects = &scene.objects;
    let selected: Vec<&Pod> =
        in_namespace(&objects.pods, namespace).filter(|p| selector.matches(&p.meta.labels)).collect();
    let on_hosts: Vec<String> = selected.iter().filter(|p| p.host_network).map(|p| p.key()).collect();
    if !on_hosts.is_empty() {
        let text = format!("{} share their node's network: no policy governs them", some(&on_hosts));
        let help = "guard the node, or take `hostNetwork` from the pods";
        out.push(scene.finding("selects-host-network", object, "/spec/podSelector", text).help(help));
    }
    // What no object can match is told as that.
    if selected.is_empty() && !told.has("selector-contradiction", object, "/spec/podSelector") {
        let finished: Vec<String> = in_namespace(&objects.finished, namespace)
            .filter(|p| selector.matches(&p.meta.labels))
            .map(Pod::key)
            .collect();
        if !finished.is_empty() {
            let text = format!("only {}, and they have finished: finished pods have no address", some(&finished));
            out.push(scene.finding("selects-finished-pods", object, "/spec/podSelector", text));
        } else if in_namespace(&objects.pods, namespace).next().is_none() {
            let text = format!("namespace {namespace} has no pods in this input");
            let help = if &**namespace == "default" {
                "was `metadata.namespace` forgotten?"
            } else {
                "is the namespace spelt as its pods'?"
            };
            out.push(scene.finding("policy-in-empty-namespace", object, "", text).help(help));
        } else if let Some((text, help)) = nearly(selector, in_namespace(&objects.pods, namespace)) {
            out.push(scene.finding("near-miss-label", object, "/spec/podSelector", text).help(help));
        } else {
            let text = format!("no pod of namespace {namespace} is labelled {selector}: the policy does nothing");
            out.push(scene.finding("policy-selects-no-pod", object, "/spec/podSelector", text));
        }
    }
    siblings(scene, written, out);
    let here: Vec<&Labels> = in_namespace(&objects.pods, namespace).map(|p| &p.meta.labels).collect();
    negative(scene, object, "/spec/podSelector", selector, &here, "pods", out);
}

/// Pods of one workload on both sides of a selector.
fn siblings(scene: &Scene<'_>, written: &Written<'_>, out: &mut Vec<Finding>) {
    let selector = &written.text.pod_selector;
    let pods = || in_namespace(&scene.objects.pods, &written.text.meta.namespace);
    let (mut yes, mut no): (BTreeSet<&ObjectRef>, BTreeSet<&ObjectRef>) = Default::default();
    for pod in pods() {
        let Some(owner) = &pod.owner else { continue };
        if selector.matches(&pod.meta.labels) {
            yes.insert(owner)
        } else {
            no.insert(owner)
        };
    }
    for owner in yes.intersection(&no) {
        let left = pods().find(|p| p.owner.as_ref() == Some(owner) && !selector.matches(&p.meta.labels));
        let left = left.map(Pod::key).unwrap_or_default();
        let text = format!("it selects some pods of {owner} and not {left}, whose labels differ");
        out.push(scene.finding("siblings-differ", &written.object, "/spec/podSelector", text));
    }
}

fn peer(scene: &Scene<'_>, half: &Half<'_, '_>, at: &str, peer: &PolicyPeer, out: &mut Vec<Finding>) {
    let object = half.object();
    let objects = scene.objects;
    let own = &half.written.text.meta.namespace;
    let everything = LabelSelector::everything();
    let (namespaces, pods): (Vec<&Namespace>, &LabelSelector) = match peer {
        PolicyPeer::IpBlock(_) => return,
        PolicyPeer::PodsHere(pods) => (objects.namespaces.iter().filter(|n| n.name() == own).collect(), pods),
        PolicyPeer::Pods { namespaces, pods } => {
            let found: Vec<&Namespace> = objects.namespaces.iter().filter(|n| namespaces.matches(n.labels())).collect();
            let labels: Vec<&Labels> = scene.snapshot.objects.namespaces.iter().map(Namespace::labels).collect();
            negative(scene, object, &format!("{at}/namespaceSelector"), namespaces, &labels, "namespaces", out);
            if found.is_empty() {
                return out.push(unknown_namespace(scene, object, &format!("{at}/namespaceSelector"), namespaces));
            }
            (found, pods.as_ref().unwrap_or(&everything))
        }
    };
    let there = |p: &&Pod| namespaces.iter().any(|n| *n.name() == p.meta.namespace);
    let pointer = if scene.is_written(object, &format!("{at}/podSelector")) {
        format!("{at}/podSelector")
    } else {
        at.to_owned()
    };
    let candidates = || objects.pods.iter().filter(there);
    let labels: Vec<&Labels> = scene.snapshot.objects.pods.iter().filter(there).map(|p| &p.meta.labels).collect();
    negative(scene, object, &pointer, pods, &labels, "pods", out);
    let meant: Vec<&Pod> = candidates().filter(|p| pods.matches(&p.meta.labels)).collect();
    if !meant.is_empty() {
        if meant.iter().all(|p| p.host_network) {
            let names: Vec<String> = meant.iter().map(|p| p.key()).collect();
            let text = format!("{} share their node's network: their packets carry its address", some(&names));
            let help = "labels never match them; allow the nodes by `ipBlock`";
            out.push(scene.finding("host-network-peer", object, &pointer, text).help(help));
        }
        return;
    }
    if matches!(peer, PolicyPeer::PodsHere(_)) {
        let elsewhere: Vec<Arc<Pod>> =
            scene.kinds.iter().filter(|p| pods.matches(&p.meta.labels) && p.meta.namespace != *own).cloned().collect();
        if !elsewhere.is_empty() && !pods.is_everything() {
            let text =
                format!("it looks only in namespace {own}; pods labelled {pods} are {}", some(&keys(&elsewhere)));
            let help = format!(
                "add a namespaceSelector to the same item, such as `kubernetes.io/metadata.name: {}`",
                elsewhere[0].meta.namespace
            );
            return out.push(scene.finding("peer-in-own-namespace", object, &pointer, text).help(help));
        }
    }
    if let Some((text, help)) = nearly(pods, candidates()) {
        return out.push(scene.finding("near-miss-label", object, &pointer, text).help(help));
    }
    let names: Vec<String> = namespaces.iter().map(|n| n.name().to_string()).collect();
    let what = if pods.is_everything() { "it has none".to_owned() } else { format!("none is labelled {pods}") };
    let text = format!("no pod of {} is meant: {what}", some(&names));
    out.push(scene.finding("peer-selects-no-pod", object, &pointer, text));
}

fn unknown_namespace(scene: &Scene<'_>, object: &ObjectRef, pointer: &str, selector: &LabelSelector) -> Finding {
    let objects = &scene.objects;
    let text = format!("no namespace of this input is labelled {selector}");
    let finding = scene.finding("unknown-namespace-label", object, pointer, text);
    let named = selector.requirements().iter().filter(|r| r.operator == Operator::In).find_map(|r| {
        let is = |n: &&Namespace| r.values.iter().any(|v| v == n.name());
        Some((r, objects.namespaces.iter().find(is)?))
    });
    match named {
        Some((r, namespace)) if &*r.key != "kubernetes.io/metadata.name" => finding.help(format!(
            "namespace {} has no label `{}`; its name is in `kubernetes.io/metadata.name`",
            namespace.name(),
            r.key
        )),
        _ => {
            let labels = objects.namespaces.iter().map(Namespace::labels);
            match nearly_labels(selector, labels) {
                Some((key, value, near)) => finding.help(format!("did you mean `{key}: {near}` for `{value}`?")),
                None => finding,
            }
        }
    }
}

/// Labels that would do if one value were spelt a little otherwise, or if it stood under another key.
fn nearly<'p>(selector: &LabelSelector, pods: impl Iterator<Item = &'p Pod>) -> Option<(String, String)> {
    let pods: Vec<&Pod> = pods.collect();
    let (key, value, near) = nearly_labels(selector, pods.iter().map(|p| &p.meta.labels))?;
    let has = |p: &&&Pod| p.meta.labels.iter().any(|(_, v)| v == near);
    let names: Vec<String> = pods.iter().filter(has).map(|p| p.key()).collect();
    Some((
        format!("nothing is labelled `{key}: {value}`; {} nearly are", some(&names)),
        format!("did you mean `{key}: {near}`?"),
    ))
}

fn nearly_labels<'l>(
    selector: &LabelSelector,
    labels: impl Iterator<Item = &'l Labels>,
) -> Option<(String, String, String)> {
    let labels: Vec<&Labels> = labels.collect();
    let mut found = Vec::new();
    for (i, r) in selector.requirements().iter().enumerate() {
        let (Operator::In, [value]) = (r.operator, &r.values[..]) else { continue };
        let others = |l: &Labels| selector.requirements().iter().enumerate().all(|(j, o)| j == i || o.matches(l));
        for l in labels.iter().filter(|l| others(l)) {
            let there = l.get(&r.key).map(|v| (r.key.to_string(), v));
            let known = ["app", "app.kubernetes.io/name", "k8s-app", "name"];
            let cousin = || {
                let alike = known.contains(&&*r.key);
                let other = l.iter().find(|(k, v)| alike && known.contains(k) && *v == &**value);
                other.map(|(k, v)| (k.to_owned(), v))
            };
            if let Some((key, v)) = there.filter(|(_, v)| *v != &**value).or_else(cousin) {
                let distance = strsim::damerau_levenshtein(v, value);
                if distance <= 2 && distance * 2 < value.len().max(v.len()) {
                    found.push((distance, key, value.to_string(), v.to_owned()));
                }
            }
        }
    }
    found.into_iter().min().map(|(_, key, value, near)| (key, value, near))
}

fn negative(
    scene: &Scene<'_>,
    object: &ObjectRef,
    pointer: &str,
    selector: &LabelSelector,
    labels: &[&Labels],
    what: &str,
    out: &mut Vec<Finding>,
) {
    for r in selector.requirements().iter().filter(|r| r.operator == Operator::NotIn) {
        let matching = labels.iter().filter(|l| selector.matches(l));
        let without = matching.filter(|l| !l.has(&r.key)).count();
        if without > 0 {
            let text = format!("`{r}` is met by {without} {what} that have no label `{}` at all", r.key);
            let help = format!("to mean only those that have it, add {{key: {}, operator: Exists}}", r.key);
            out.push(scene.finding("negative-matches-unlabelled", object, pointer, text).help(help));
        }
    }
}
