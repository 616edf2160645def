//! Who is not governed, and what is cut off.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tortie_analysis::backend::Backend;
use tortie_analysis::ingress::{Dead, ingresses};
use tortie_model::{Direction, Kind, LabelSelector, ObjectRef, Pod, Protocol, Traffic};
use tortie_policy::{Action, EndAction, Peers, Policy, Rule};

use crate::finding::Finding;
use crate::scene::{Scene, Written, keys, some};

const DNS: u16 = 53;

/// Addresses at which DNS is commonly found: that of kubeadm's Service, one of its pods' networks, the cache on a node.
const LIKELY_DNS: [&str; 3] = ["10.96.0.10", "10.244.0.10", "169.254.20.10"];

pub(crate) fn look(scene: &Scene<'_>, out: &mut Vec<Finding>) {
    for direction in Direction::BOTH {
        isolation(scene, direction, out);
        default_deny(scene, direction, out);
        defeated(scene, direction, out);
    }
    names(scene, out);
    entries(scene, out);
}

/// The workload of a pod, or the pod itself.
fn owner(pod: &Pod) -> ObjectRef {
    pod.owner.clone().unwrap_or_else(|| ObjectRef::namespaced(Kind::Pod, &pod.meta.namespace, &pod.meta.name))
}

fn isolation(scene: &Scene<'_>, direction: Direction, out: &mut Vec<Finding>) {
    let (id, text) = match direction {
        Direction::Ingress => ("pod-not-isolated-ingress", "no policy governs ingress: everybody may connect to it"),
        Direction::Egress => ("pod-not-isolated-egress", "no policy governs egress: it may connect to everybody"),
    };
    let mut told = BTreeSet::new();
    for pod in &scene.kinds {
        let store = &scene.snapshot.store;
        let own = ObjectRef::namespaced(Kind::Pod, &pod.meta.namespace, &pod.meta.name);
        // A workload that only its pods tell of stands nowhere, nor does the DNS that is only assumed.
        let Some(object) = [owner(pod), own].into_iter().find(|o| store.get(o).is_some()) else { continue };
        if scene.stack(pod, direction).is_empty() && told.insert(object.clone()) {
            out.push(scene.finding(id, &object, "", text));
        }
    }
}

/// Whether a policy governs every pod of its namespace, whatever its labels.
fn governs_all(written: &Written<'_>, direction: Direction) -> bool {
    written.text.pod_selector.is_everything() && written.policy.rules(direction).is_some()
}

fn default_deny(scene: &Scene<'_>, direction: Direction, out: &mut Vec<Finding>) {
    let id = match direction {
        Direction::Ingress => "namespace-without-default-deny-ingress",
        Direction::Egress => "namespace-without-default-deny-egress",
    };
    for namespace in &scene.objects.namespaces {
        let governs = |p: &Arc<Policy>| p.rules(direction).is_some() && p.subject.is_everybody_of(namespace);
        if scene.index.policies().any(governs) {
            continue;
        }
        let first = scene.policies.iter().find(|w| w.text.meta.namespace == *namespace.name());
        let own = ObjectRef::cluster(Kind::Namespace, namespace.name());
        let object = match (scene.snapshot.store.get(&own), first) {
            (Some(_), _) => own,
            (None, Some(written)) => written.object.clone(),
            (None, None) => continue,
        };
        let text =
            format!("a new pod of namespace {} is open for {direction} until a policy selects it", namespace.name());
        let kind = if direction == Direction::Ingress { "Ingress" } else { "Egress" };
        let help = format!("add a NetworkPolicy with `podSelector: {{}}` and `policyTypes: [{kind}]`, and no rules");
        out.push(scene.finding(id, &object, "", text).help(help));
    }
}

fn defeated(scene: &Scene<'_>, direction: Direction, out: &mut Vec<Finding>) {
    let all = |w: &&Written<'_>| governs_all(w, direction);
    let denies = |w: &&Written<'_>| w.policy.rules(direction).is_some_and(<[_]>::is_empty);
    let allows = |w: &&Written<'_>| {
        let open = |r: &Rule| r.peers == Peers::Any && r.ports == tortie_policy::Ports::Any;
        w.policy.rules(direction).is_some_and(|rules| rules.iter().any(open))
    };
    for deny in scene.policies.iter().filter(all).filter(denies) {
        let here = scene.policies.iter().filter(|w| w.text.meta.namespace == deny.text.meta.namespace);
        for allow in here.filter(all).filter(allows) {
            let text = format!("it denies all {direction} of the namespace, and {} allows all of it", allow.object);
            let finding = scene.finding("default-deny-defeated", &deny.object, "", text);
            out.push(finding.label(scene.place(&allow.object, ""), "this one wins"));
        }
    }
}

/// Pods that may reach something and cannot ask for its name.
fn names(scene: &Scene<'_>, out: &mut Vec<Finding>) {
    let index = &scene.index;
    let serves = LabelSelector::match_labels([("k8s-app", "kube-dns")]);
    let dns: Vec<&Arc<Pod>> =
        index.pods().filter(|p| &*p.meta.namespace == "kube-system" && serves.matches(&p.meta.labels)).collect();
    let addressless = dns.iter().all(|p| p.ips.is_empty());
    let mut told: BTreeMap<(ObjectRef, String), Vec<Arc<Pod>>> = BTreeMap::new();
    for pod in &scene.kinds {
        let stack = scene.stack(pod, Direction::Egress);
        let from = scene.side(pod);
        // A rule of which the pod's own end does not hold has no peers left.
        let leads_out = |action| matches!(action, Action::Allow | Action::Pass);
        let opens = |r: &Rule| leads_out(r.action) && r.peers != Peers::OneOf(Vec::new());
        let passed_on = stack.tiers().iter().all(|t| t.end == EndAction::Pass);
        let reaches_any = passed_on || stack.rules().any(|(_, rule)| opens(rule));
        if stack.is_empty() || !reaches_any {
            continue;
        }
        let asks = |protocol| {
            let traffic = Traffic::port(protocol, DNS);
            // A cache on the node, or servers whose addresses the input does not have.
            let likely = LIKELY_DNS.iter().filter_map(|ip| ip.parse().ok()).map(|ip| index.address_side(ip));
            if addressless && likely.into_iter().any(|to| index.verdict(&from, &to, traffic).egress.is_allowed()) {
                return true;
            }
            dns.iter().any(|d| index.verdict(&from, &scene.side(d), traffic).egress.is_allowed())
        };
        let missing: Vec<Protocol> = [Protocol::Udp, Protocol::Tcp].into_iter().filter(|p| !asks(*p)).collect();
        // Where UDP was forgotten beside TCP, the rule was told of already.
        let forgotten =
            |f: &Finding| f.lint.id == "dns-without-udp" && stack.policies().any(|p| Some(&p.object) == f.object());
        // Over UDP names are asked for first; where only TCP is missing, long answers fail.
        if missing.is_empty() || missing == [Protocol::Udp] && out.iter().any(forgotten) {
            continue;
        }
        let first = stack.policies().next().map(|p| p.object.clone());
        let missing = missing.iter().map(|p| format!("{p}/{DNS}")).collect::<Vec<_>>().join(" and ");
        told.entry((first.unwrap_or_else(|| owner(pod)), missing)).or_default().push(pod.clone());
    }
    for ((policy, missing), pods) in told {
        let who = some(&keys(&pods));
        let text = format!("{who} may reach others, but not DNS on {missing}: names are not resolved");
        let help = "allow egress to pods `k8s-app: kube-dns` of kube-system, port 53, UDP and TCP";
        out.push(scene.finding("egress-without-dns", &policy, "/spec/egress", text).help(help));
    }
}

/// Entries from outside that lead nowhere, or to pods that let in nobody who could come by them.
fn entries(scene: &Scene<'_>, out: &mut Vec<Finding>) {
    let index = &scene.index;
    let found = ingresses(scene.objects);
    for end in &found.dead_ends {
        let why = match end.why {
            Dead::NoService | Dead::NoGrant if !scene.has_pods() => continue,
            Dead::NoService => "is not in this input",
            Dead::NoPort => "has no such port",
            Dead::NoBackend if !scene.has_pods() => continue,
            Dead::NoBackend => "has no pod behind it",
            Dead::NoGrant => "is in another namespace, and no ReferenceGrant admits this",
            Dead::NoListener => "has no listener that takes this route",
        };
        let text = format!("{} {why}: requests lead nowhere", end.target);
        out.push(scene.finding("entry-leads-nowhere", &end.saying.object, &end.saying.pointer, text));
    }
    let mut told = BTreeSet::new();
    for point in &found.points {
        let pods = point
            .backends
            .iter()
            .filter_map(|b| if let Backend::Pod(pod, port) = b { Some((*pod, *port)) } else { None });
        for (pod, port) in pods {
            let Some(pod) = index.pod(&tortie_policy::PodKey::new(&pod.meta.namespace, &pod.meta.name)) else {
                continue;
            };
            let to = scene.side(pod);
            let traffic = Traffic::port(point.port.protocol, port);
            let outside = scene.outside.iter().map(|ip| index.address_side(*ip));
            let nodes =
                index.nodes().filter_map(|n| tortie_model::Family::ALL.into_iter().find_map(|f| index.node_side(n, f)));
            let inside = scene.kinds.iter().filter(|p| p.key() != pod.key()).map(|p| scene.side(p));
            let mut who = outside.chain(nodes).chain(inside);
            let stack = scene.stack(pod, Direction::Ingress);
            if stack.is_empty() || who.any(|from| index.verdict(&from, &to, traffic).ingress.is_allowed()) {
                continue;
            }
            let Some(policy) = stack.policies().next() else { continue };
            if !told.insert((point.entry.clone(), owner(pod))) {
                continue;
            }
            let text = format!("{} leads to {} on {port}, and policies let nobody in there", point.entry, owner(pod));
            let finding = scene.finding("ingress-cut-off", &point.saying.object, &point.saying.pointer, text);
            let place = scene.snapshot.place_of(&policy.object);
            out.push(
                finding
                    .label(place, "this isolates the pods")
                    .help("allow the ingress controller, or the outside, on that port"),
            );
        }
    }
}
