//! Ports and protocols.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tortie_model::{Direction, Pod, PolicyPort, PortSpec, Protocol, TargetPort, Traffic};
use tortie_policy::Peers;

use crate::finding::Finding;
use crate::fix;
use crate::scene::{Half, Scene, keys, names, some};

/// Ports that nobody outside should reach, and what is behind them.
const DANGEROUS: [(u16, &str); 16] = [
    (22, "SSH"),
    (1433, "SQL Server"),
    (2375, "Docker"),
    (2376, "Docker"),
    (2379, "etcd"),
    (2380, "etcd"),
    (3306, "MySQL"),
    (3389, "RDP"),
    (5432, "PostgreSQL"),
    (6379, "Redis"),
    (6443, "the Kubernetes API"),
    (9200, "Elasticsearch"),
    (10250, "the kubelet"),
    (10255, "the kubelet"),
    (11211, "Memcached"),
    (27017, "MongoDB"),
];

const WIDE: u16 = 1000;

pub(crate) fn look(scene: &Scene<'_>, out: &mut Vec<Finding>) {
    for half in scene.halves() {
        for (r, rule) in half.rules.iter().enumerate() {
            let destinations = destinations(scene, &half, r);
            dns(scene, &half, r, &rule.ports, out);
            overlapping(scene, &half, r, &rule.ports, out);
            for (p, port) in rule.ports.iter().enumerate() {
                let at = format!("{}/ports/{p}", half.pointer(r));
                match &port.port {
                    PortSpec::Named(name) => named(scene, &half, r, &at, port, name, &destinations, out),
                    PortSpec::Range(from, to) => {
                        if to - from >= WIDE - 1 && *from < 32768 {
                            let text = format!("{} ports at once", u32::from(to - from) + 1);
                            out.push(scene.finding("wide-port-range", half.object(), &at, text));
                        }
                        if from == to {
                            number(scene, &half, &at, port, *from, &destinations, out);
                        }
                    }
                    PortSpec::All => {}
                }
            }
            dangerous(scene, &half, r, &destinations, out);
        }
    }
}

/// Pods at which packets of a rule arrive.
fn destinations(scene: &Scene<'_>, half: &Half<'_, '_>, rule: usize) -> Vec<Arc<Pod>> {
    match half.direction {
        Direction::Ingress => half.written.pods.clone(),
        Direction::Egress => scene.meant(&half.engine[rule].peers),
    }
}

fn dns(scene: &Scene<'_>, half: &Half<'_, '_>, rule: usize, ports: &[PolicyPort], out: &mut Vec<Finding>) {
    let covers = |p: &PolicyPort, protocol| {
        p.protocol == protocol
            && match p.port {
                PortSpec::All => true,
                PortSpec::Range(from, to) => (from..=to).contains(&53),
                PortSpec::Named(_) => false,
            }
    };
    let tcp = ports.iter().position(|p| p.protocol == Protocol::Tcp && p.port == PortSpec::Range(53, 53));
    let Some(tcp) = tcp else { return };
    let others = half.engine.iter().zip(half.rules).enumerate();
    let udp = others.filter(|(r, (e, _))| *r == rule || e.peers == half.engine[rule].peers || e.peers == Peers::Any);
    if udp.flat_map(|(_, (_, text))| &text.ports).any(|p| covers(p, Protocol::Udp)) {
        return;
    }
    let pointer = format!("{}/ports/{tcp}", half.pointer(rule));
    let why = if scene.is_written(half.object(), &format!("{pointer}/protocol")) { "" } else { " (the default)" };
    let text = format!("port 53 over TCP{why} only: names are asked for over UDP first");
    let help = "list port 53 twice, with `protocol: UDP` and with `protocol: TCP`";
    out.push(scene.finding("dns-without-udp", half.object(), &pointer, text).help(help));
}

fn overlapping(scene: &Scene<'_>, half: &Half<'_, '_>, rule: usize, ports: &[PolicyPort], out: &mut Vec<Finding>) {
    let within = |inner: &PolicyPort, outer: &PolicyPort| {
        inner.protocol == outer.protocol
            && match (&inner.port, &outer.port) {
                (_, PortSpec::All) => true,
                (PortSpec::Range(a, b), PortSpec::Range(c, d)) => c <= a && b <= d,
                (PortSpec::Named(a), PortSpec::Named(b)) => a == b,
                _ => false,
            }
    };
    for (p, port) in ports.iter().enumerate() {
        let other = |q: &usize| *q != p && within(port, &ports[*q]) && (*q < p || !within(&ports[*q], port));
        if let Some(q) = (0..ports.len()).find(other) {
            let at = |n: usize| format!("{}/ports/{n}", half.pointer(rule));
            let mut finding = scene.finding("overlapping-ports", half.object(), &at(p), "this is listed already");
            finding.fix = fix::remove_item(scene, half.object(), &at(p), "remove the port that is listed twice", false);
            out.push(finding.label(scene.place(half.object(), &at(q)), "here"));
        }
    }
}

#[expect(clippy::too_many_arguments, reason = "one port and where it stands")]
fn named(
    scene: &Scene<'_>,
    half: &Half<'_, '_>,
    rule: usize,
    at: &str,
    port: &PolicyPort,
    name: &str,
    destinations: &[Arc<Pod>],
    out: &mut Vec<Finding>,
) {
    let object = half.object();
    let peers = &half.rules[rule].peers;
    let blocks = |p: &tortie_model::PolicyPeer| matches!(p, tortie_model::PolicyPeer::IpBlock(_));
    if half.direction == Direction::Egress && !peers.is_empty() && peers.iter().all(blocks) {
        let text = format!("`{name}` is looked up on the pod that is reached, and these peers are addresses");
        return out.push(scene.finding("named-port-to-address", object, at, text).help("write the number"));
    }
    if destinations.is_empty() {
        return;
    }
    let numbers: BTreeSet<u16> = destinations.iter().filter_map(|p| p.named_port(name, port.protocol)).collect();
    if numbers.len() > 1 {
        let list = numbers.iter().map(u16::to_string).collect::<Vec<_>>().join(", ");
        let text = format!("`{name}` is {list}, depending on the pod");
        out.push(scene.finding("named-port-ambiguous", object, at, text));
    }
    if !numbers.is_empty() {
        return;
    }
    let other = Protocol::ALL.into_iter().find(|o| destinations.iter().any(|p| p.named_port(name, *o).is_some()));
    if let Some(other) = other {
        let text = format!("`{name}` is a port of {other}, and {} is asked for: nothing matches", port.protocol);
        let help = format!("write `protocol: {other}`");
        return out.push(scene.finding("named-port-protocol", object, at, text).help(help));
    }
    let known: BTreeSet<&str> = destinations.iter().flat_map(|p| &p.ports).filter_map(|p| p.name.as_deref()).collect();
    let text = format!("{} have no port named `{name}`: nothing matches", some(&keys(destinations)));
    let finding = scene.finding("named-port-missing", object, at, text);
    out.push(match known.iter().min_by_key(|k| strsim::damerau_levenshtein(k, name)) {
        Some(near) => finding.help(format!(
            "their ports are {}; did you mean {near}?",
            known.iter().copied().collect::<Vec<_>>().join(", ")
        )),
        None => finding.help("name the port in the containers, or write its number"),
    });
}

fn number(
    scene: &Scene<'_>,
    half: &Half<'_, '_>,
    at: &str,
    port: &PolicyPort,
    number: u16,
    destinations: &[Arc<Pod>],
    out: &mut Vec<Finding>,
) {
    let declares = |pod: &Arc<Pod>| pod.ports.iter().any(|p| p.protocol == port.protocol && p.number == number);
    let declared: Vec<&Arc<Pod>> = destinations.iter().filter(|p| !p.ports.is_empty()).collect();
    if declared.is_empty() || destinations.iter().any(declares) {
        return;
    }
    for service in &scene.objects.services {
        let behind = |p: &&Arc<Pod>| {
            p.meta.namespace == service.meta.namespace
                && service.selector.as_ref().is_some_and(|s| s.matches(&p.meta.labels))
        };
        let Some(pod) = destinations.iter().find(behind) else { continue };
        let Some(wrong) = service.ports.iter().find(|p| p.port == number && p.protocol == port.protocol) else {
            continue;
        };
        let target = match &wrong.target {
            TargetPort::Number(n) if *n != number => n.to_string(),
            TargetPort::Name(name) if pod.named_port(name, port.protocol) != Some(number) => name.to_string(),
            _ => continue,
        };
        let text = format!(
            "{number} is the port of Service {}/{}; its pods listen on {target}, and policies see packets there",
            service.meta.namespace, service.meta.name
        );
        let help = format!("write `port: {target}`");
        return out.push(scene.finding("service-port", half.object(), at, text).help(help));
    }
    let text = format!("{} declare other ports than {number}", some(&keys(destinations)));
    out.push(scene.finding("port-not-declared", half.object(), at, text));
}

/// Ingress rules that let the outside reach what it should not.
fn dangerous(scene: &Scene<'_>, half: &Half<'_, '_>, rule: usize, destinations: &[Arc<Pod>], out: &mut Vec<Finding>) {
    let engine = &half.engine[rule];
    if half.direction != Direction::Ingress || half.rules[rule].ports.is_empty() {
        return;
    }
    let index = &scene.index;
    let Some(from) = scene.outside.iter().map(|ip| index.address_side(*ip)).find(|s| engine.peers.matches(s)) else {
        return;
    };
    let mut found: BTreeMap<u16, &str> = BTreeMap::new();
    let mut shown = None;
    for pod in destinations {
        let to = scene.side(pod);
        for (port, what) in DANGEROUS {
            let traffic = Traffic::port(Protocol::Tcp, port);
            if engine.ports.matches(traffic, names(&to)) {
                found.insert(port, what);
                let witness = scene.witness(&from, &to, traffic);
                shown = shown.or(Some(witness).filter(|w| w.allowed));
            }
        }
    }
    let Some(witness) = shown else { return };
    let list = found.iter().map(|(port, what)| format!("{port} ({what})")).collect::<Vec<_>>().join(", ");
    let text = format!("opens {list} of {} to {}", some(&keys(destinations)), witness.from);
    let pointer = format!("{}/ports", half.pointer(rule));
    out.push(scene.finding("dangerous-port-open", half.object(), &pointer, text).shown_by(witness));
}
