//! What says something else than it looks; mostly seen without any pod.

use tortie_analysis::traps::{TrapKind, traps};
use tortie_model::{Direction, LabelSelector, Operator, PolicyPeer, PortSpec};

use crate::finding::Finding;
use crate::fix;
use crate::scene::{Half, Scene};

/// Labels that controllers put on pods and that change with each rollout, or differ from pod to pod.
const VOLATILE: [&str; 7] = [
    "pod-template-hash",
    "controller-revision-hash",
    "pod-template-generation",
    "statefulset.kubernetes.io/pod-name",
    "apps.kubernetes.io/pod-index",
    "batch.kubernetes.io/controller-uid",
    "helm.sh/chart",
];

/// Where the ports begin that Linux gives to connections it opens.
const EPHEMERAL: u16 = 32768;

pub(crate) fn look(scene: &Scene<'_>, out: &mut Vec<Finding>) {
    of_traps(scene, out);
    for half in scene.halves() {
        rules(scene, &half, out);
        namespaces(scene, &half, out);
    }
    for written in &scene.policies {
        let object = &written.object;
        types(scene, written, out);
        selector(scene, object, "/spec/podSelector", &written.text.pod_selector, out);
    }
    for half in scene.halves() {
        for (r, p, peer) in half.peers() {
            let at = half.peer_pointer(r, p);
            match peer {
                PolicyPeer::PodsHere(pods) => selector(scene, half.object(), &format!("{at}/podSelector"), pods, out),
                PolicyPeer::Pods { namespaces, pods } => {
                    selector(scene, half.object(), &format!("{at}/namespaceSelector"), namespaces, out);
                    if let Some(pods) = pods {
                        selector(scene, half.object(), &format!("{at}/podSelector"), pods, out);
                    }
                }
                PolicyPeer::IpBlock(_) => {}
            }
        }
    }
}

/// The traps that the lab points out too.
fn of_traps(scene: &Scene<'_>, out: &mut Vec<Finding>) {
    for trap in traps(&scene.snapshot.store) {
        let id = match trap.kind {
            TrapKind::PeersApart => "peers-apart",
            TrapKind::MetricsWithDns => "metrics-with-dns",
        };
        let object = &trap.rule.policy;
        let rule = format!("/spec/{}/{}", trap.rule.direction, trap.rule.index);
        let item = format!("{rule}/{}", trap.item);
        let mut finding = scene.finding(id, object, &item, trap.finding.clone());
        finding.diagnostic.place = trap.place.clone();
        finding.fix = match trap.kind {
            TrapKind::PeersApart => trap
                .second
                .as_ref()
                .and_then(|second| fix::join_items(scene, object, &item, &format!("{rule}/{second}"))),
            TrapKind::MetricsWithDns => fix::remove_item(scene, object, &item, "close the metrics port", true),
        };
        let why = match trap.kind {
            TrapKind::PeersApart => "items of a list are OR-ed; to mean both at once, write",
            TrapKind::MetricsWithDns => "names are resolved on port 53, 9153 serves metrics; write",
        };
        finding.replaces = trap.second.map(|second| format!("{rule}/{second}"));
        out.push(finding.help(format!("{why}\n{}", trap.fix.trim_end())));
    }
}

fn rules(scene: &Scene<'_>, half: &Half<'_, '_>, out: &mut Vec<Finding>) {
    let who = match half.direction {
        Direction::Ingress => "from everybody, from outside the cluster too",
        Direction::Egress => "to everywhere, outside the cluster too",
    };
    let object = half.object();
    if half.rules.is_empty() {
        let text = format!("no rule for {}: it denies everything in this direction", half.direction);
        out.push(scene.finding("denies-everything", object, &format!("/spec/{}", half.direction), text));
    }
    for (r, rule) in half.rules.iter().enumerate() {
        let at = half.pointer(r);
        match (rule.peers.is_empty(), rule.ports.is_empty()) {
            (true, true) => {
                let id = match half.direction {
                    Direction::Ingress => "policy-allows-all-ingress",
                    Direction::Egress => "policy-allows-all-egress",
                };
                out.push(scene.finding(id, object, &at, format!("this allows all packets {who}")));
            }
            (true, false) => {
                let text = format!("without `{}` this allows its ports {who}", half.peers_field());
                let help = format!("name the peers in `{}`, or leave it when everybody is meant", half.peers_field());
                out.push(scene.finding("rule-without-peers", object, &at, text).help(help));
            }
            _ => {}
        }
        for (p, port) in rule.ports.iter().enumerate() {
            if let PortSpec::Range(from, to) = port.port
                && from >= EPHEMERAL
                && to.saturating_sub(from) >= 10_000
            {
                let text = format!("{from} to {to} are the ports of replies, and replies pass without a rule");
                let help = "policies are stateful: remove this, unless connections are opened to these ports";
                out.push(scene.finding("reply-ports", object, &format!("{at}/ports/{p}"), text).help(help));
            }
        }
    }
}

fn namespaces(scene: &Scene<'_>, half: &Half<'_, '_>, out: &mut Vec<Finding>) {
    for (r, p, peer) in half.peers() {
        let PolicyPeer::Pods { namespaces, pods } = peer else { continue };
        if !namespaces.is_everything() {
            continue;
        }
        let pointer = format!("{}/namespaceSelector", half.peer_pointer(r, p));
        let text = match pods.as_ref().filter(|s| !s.is_everything()) {
            Some(pods) => format!("pods labelled {pods} of every namespace, whoever may make them"),
            None => "every pod of every namespace".to_owned(),
        };
        let help = "to mean the policy's own namespace leave `namespaceSelector` out; to mean some, select them by \
                    `kubernetes.io/metadata.name`";
        out.push(scene.finding("every-namespace", half.object(), &pointer, text).help(help));
    }
}

fn types(scene: &Scene<'_>, written: &crate::scene::Written<'_>, out: &mut Vec<Finding>) {
    let object = &written.object;
    let has = |pointer: &str| scene.is_written(object, pointer);
    for (direction, rules, id) in [
        (Direction::Ingress, &written.text.ingress, "rules-without-policytype-ingress"),
        (Direction::Egress, &written.text.egress, "rules-without-policytype-egress"),
    ] {
        let name = if direction == Direction::Ingress { "Ingress" } else { "Egress" };
        let rule = format!("/spec/{direction}/0");
        if rules.is_none() && has(&rule) {
            let text = format!("these rules are dead: policyTypes does not name {name}");
            let finding = scene.finding(id, object, &format!("/spec/{direction}"), text);
            let finding = finding.label(scene.place(object, "/spec/policyTypes"), "only these count");
            out.push(finding.help(format!("add {name} to policyTypes, or remove the rules")));
        }
    }
    if written.text.egress.is_none() && has("/spec/egress") && !has("/spec/egress/0") && !has("/spec/policyTypes") {
        let text = "without policyTypes an empty list does not isolate: egress stays open";
        let help = "write `policyTypes: [Ingress, Egress]`, or [Egress] to leave ingress alone";
        out.push(scene.finding("empty-egress-isolates-nothing", object, "/spec/egress", text).help(help));
    }
    let lets_in = written.text.ingress.as_ref().is_some_and(|rules| !rules.is_empty());
    if written.text.egress.as_ref().is_some_and(Vec::is_empty) && lets_in && !has("/spec/egress") {
        let text = "policyTypes names Egress and no rule is written for it: nothing gets out, not even DNS queries";
        let help = "remove Egress from policyTypes; when it is meant, write `egress: []` so that it shows";
        out.push(scene.finding("egress-denied-by-type", object, "/spec/policyTypes", text).help(help));
    }
}

fn selector(
    scene: &Scene<'_>,
    object: &tortie_model::ObjectRef,
    pointer: &str,
    selector: &LabelSelector,
    out: &mut Vec<Finding>,
) {
    let requirements = selector.requirements();
    for (i, a) in requirements.iter().enumerate() {
        if VOLATILE.contains(&&*a.key) {
            let text = format!("`{}` changes with every rollout, and then this matches nothing", a.key);
            let help = "select by a label that the author of the pods gives them";
            out.push(scene.finding("volatile-label", object, pointer, text).help(help));
        }
        let same = requirements[i + 1..].iter().filter(|b| b.key == a.key);
        for b in same {
            // A value that both admit can only be one that is listed, or any other, or none.
            let other = "\u{0}";
            let candidates = a.values.iter().chain(&b.values).map(|v| Some(&**v)).chain([Some(other), None]);
            if !candidates.into_iter().any(|v| a.admits(v) && b.admits(v)) {
                let text = format!("no object can meet both `{a}` and `{b}`");
                out.push(scene.finding("selector-contradiction", object, pointer, text));
            }
        }
        if a.operator == Operator::In && a.values.is_empty() {
            let text = format!("no value of `{}` is listed: nothing matches", a.key);
            out.push(scene.finding("selector-contradiction", object, pointer, text));
        }
    }
}
