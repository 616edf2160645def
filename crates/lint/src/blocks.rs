//! Blocks of addresses.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use tortie_model::{Direction, Family, IpBlock, ObjectRef, Pod, Protocol, Traffic, canonical};
use tortie_policy::{By, Side};

use crate::finding::Finding;
use crate::fix;
use crate::scene::{Half, Scene, keys, name, names, some};

/// Where clouds tell a machine who it is, credentials included.
const METADATA: [&str; 2] = ["169.254.169.254", "fd00:ec2::254"];

/// Addresses of one exception that are looked at.
const MOST_PARTS: usize = 64;

pub(crate) fn look(scene: &Scene<'_>, out: &mut Vec<Finding>) {
    for half in scene.halves() {
        for (r, p, block) in half.blocks() {
            let at = format!("{}/ipBlock", half.peer_pointer(r, p));
            one(scene, &half, &at, block, out);
            inside(scene, &half, r, p, block, out);
            cancelled(scene, &half, r, &at, block, out);
        }
        metadata(scene, &half, out);
        families(scene, &half, out);
    }
}

fn one(scene: &Scene<'_>, half: &Half<'_, '_>, at: &str, block: &IpBlock, out: &mut Vec<Finding>) {
    let object = half.object();
    let cidr = block.cidr();
    if !block.except().is_empty() && covers(block.except(), cidr) {
        let text = format!("the exceptions leave nothing of {cidr}");
        return out.push(scene.finding("block-excepted-whole", object, &format!("{at}/except"), text));
    }
    if cidr.prefix_len() == 0 && block.except().is_empty() {
        let text = match half.direction {
            Direction::Ingress => "everybody may come in, pods of other namespaces too",
            Direction::Egress => "everything may be reached, the cluster's own addresses too",
        };
        out.push(scene.finding("world-open", object, &format!("{at}/cidr"), text));
    }
    let index = &scene.index;
    let pods: Vec<_> =
        scene.kinds.iter().filter(|p| index.addresses(p).any(|ip| block.contains(ip))).cloned().collect();
    if !pods.is_empty() && cidr.prefix_len() > 0 {
        let text = format!("{} have addresses in {cidr}; not every network lets blocks match pods", some(&keys(&pods)));
        let help = "select pods by labels: their addresses change";
        out.push(scene.finding("block-covers-pods", object, &format!("{at}/cidr"), text).help(help));
    }
    services(scene, half, at, block, pods.is_empty(), out);
    if let Some(meant) = meant(cidr) {
        let text = format!("{cidr} is a part of the private range {meant}");
        out.push(
            scene
                .finding("private-range-typo", object, &format!("{at}/cidr"), text)
                .help(format!("did you mean {meant}?")),
        );
    }
}

fn services(scene: &Scene<'_>, half: &Half<'_, '_>, at: &str, block: &IpBlock, no_pods: bool, out: &mut Vec<Finding>) {
    if half.direction == Direction::Ingress || !no_pods || block.cidr().prefix_len() == 0 {
        return;
    }
    let hit = |s: &&tortie_model::Service| s.cluster_ips.iter().any(|ip| block.contains(canonical(*ip)));
    let Some(service) = scene.objects.services.iter().find(hit) else { return };
    let text = format!(
        "{} has the address of Service {}/{} in it: policies see packets after they were sent on to its pods",
        block.cidr(),
        service.meta.namespace,
        service.meta.name
    );
    let help = "allow the pods behind the Service by their labels";
    out.push(scene.finding("block-covers-services", half.object(), &format!("{at}/cidr"), text).help(help));
}

/// Whether blocks cover another one together.
fn covers(blocks: &[IpNet], whole: IpNet) -> bool {
    if blocks.iter().any(|b| b.contains(&whole)) {
        return true;
    }
    if !blocks.iter().any(|b| whole.contains(b)) || whole.prefix_len() == whole.max_prefix_len() {
        return false;
    }
    let halves = whole.subnets(whole.prefix_len() + 1);
    halves.is_ok_and(|mut halves| halves.all(|half| covers(blocks, half)))
}

/// The private range that a block was probably meant to be (RFC 1918).
fn meant(cidr: IpNet) -> Option<&'static str> {
    match cidr.to_string().as_str() {
        "172.16.0.0/16" => Some("172.16.0.0/12"),
        "192.168.0.0/24" => Some("192.168.0.0/16"),
        "10.0.0.0/16" | "10.0.0.0/24" => Some("10.0.0.0/8"),
        "fc00::/8" => Some("fc00::/7"),
        _ => None,
    }
}

fn inside(scene: &Scene<'_>, half: &Half<'_, '_>, rule: usize, peer: usize, block: &IpBlock, out: &mut Vec<Finding>) {
    let outer = half.blocks().find(|(r, p, other)| {
        *r == rule
            && *p != peer
            && other.cidr().contains(&block.cidr())
            && !other.except().iter().any(|e| e.contains(&block.cidr()) || block.cidr().contains(e))
            && (other.cidr() != block.cidr() || *p < peer)
    });
    let Some((_, p, other)) = outer else { return };
    let at = |n: usize| half.peer_pointer(rule, n);
    let text = format!("{} lies in {} and adds nothing", block.cidr(), other.cidr());
    let mut finding = scene.finding("block-inside-block", half.object(), &at(peer), text);
    finding.fix = fix::remove_item(scene, half.object(), &at(peer), "remove the block that adds nothing", false);
    out.push(finding.label(scene.place(half.object(), &at(p)), "this holds it"));
}

/// An exception that the same pods may reach (or be reached from) by another rule.
fn cancelled(scene: &Scene<'_>, half: &Half<'_, '_>, rule: usize, at: &str, block: &IpBlock, out: &mut Vec<Finding>) {
    let index = &scene.index;
    // The first address of the exception, and of each part of it that blocks tell apart.
    let parts = block.except().iter().enumerate().flat_map(|(e, except)| {
        let within = scene.outside.iter().filter(|ip| except.contains(*ip)).take(MOST_PARTS);
        let parts: BTreeSet<IpAddr> = within.copied().chain([except.network()]).collect();
        parts.into_iter().map(move |ip| (e, except, ip))
    });
    let parts: Vec<(usize, &IpNet, Side)> = parts.map(|(e, except, ip)| (e, except, index.address_side(ip))).collect();
    let known = |pod: &&Arc<Pod>| scene.kinds.binary_search_by_key(&pod.key(), |kind| kind.key()).is_ok();
    let pods = half.written.pods.iter().filter(|_| !parts.is_empty()).filter(known);
    for pod in pods {
        let own = scene.side(pod);
        let stack = scene.stack(pod, half.direction);
        for (e, except, excepted) in &parts {
            let (from, to): (&Side, &Side) =
                if half.direction == Direction::Egress { (&own, excepted) } else { (excepted, &own) };
            // What the rule would allow there without the exception, and another rule does allow.
            let opened = stack.rules().find_map(|(position, other)| {
                let same = std::ptr::eq(other, &raw const half.engine[rule]);
                if same || !other.peers.matches(excepted) {
                    return None;
                }
                let found = stack.rule_ref(position)?;
                let pair = index.pair(from, to);
                pair.regions
                    .protocols()
                    .find_map(|(protocol, ranges)| {
                        ranges.iter().find_map(|(range, outcomes)| {
                            let outcome = if half.direction == Direction::Egress { &outcomes.0 } else { &outcomes.1 };
                            let traffic = Traffic { protocol, detail: (*range.start()).max(1) };
                            let here = half.engine[rule].ports.matches(traffic, names(to));
                            (outcome.by == By::Rule(position) && here && range.contains(&traffic.detail))
                                .then_some((found.clone(), traffic))
                        })
                    })
                    .or_else(|| {
                        let traffic = Traffic::port(Protocol::Tcp, 80);
                        let pair = pair.regions.get(traffic);
                        let outcome = if half.direction == Direction::Egress { &pair.0 } else { &pair.1 };
                        (outcome.by == By::Rule(position) && half.engine[rule].ports.matches(traffic, names(to)))
                            .then_some((found.clone(), traffic))
                    })
            });
            let Some((other, traffic)) = opened else { continue };
            let witness = scene.witness(from, to, traffic);
            if !witness.allowed {
                continue;
            }
            let text = format!(
                "{except} is excepted here, and {} allows {}: rules are united, none takes away",
                other.policy,
                name(excepted)
            );
            let finding = scene.finding("except-cancelled", half.object(), &format!("{at}/except/{e}"), text);
            let place = scene.snapshot.place_of_rule(&other);
            return out.push(finding.label(place, "by this rule").shown_by(witness));
        }
    }
}

fn metadata(scene: &Scene<'_>, half: &Half<'_, '_>, out: &mut Vec<Finding>) {
    if half.direction == Direction::Ingress {
        return;
    }
    let index = &scene.index;
    for (r, p, block) in half.blocks() {
        let hit = METADATA.map(|a| a.parse::<IpAddr>().expect("an address")).into_iter().find(|ip| block.contains(*ip));
        let Some(ip) = hit else { continue };
        let to = index.address_side(ip);
        let traffic = Traffic::port(Protocol::Tcp, 80);
        let shown =
            half.written.pods.iter().map(|pod| scene.witness(&scene.side(pod), &to, traffic)).find(|w| w.allowed);
        let open = half.engine[r].ports.matches(traffic, names(&to));
        if !open || (scene.has_pods() && shown.is_none()) {
            continue;
        }
        let text = format!("{} holds {ip}, where clouds give a node's credentials to whoever asks", block.cidr());
        let mut finding = scene.finding(
            "metadata-reachable",
            half.object(),
            &format!("{}/ipBlock/cidr", half.peer_pointer(r, p)),
            text,
        );
        finding.witness = shown;
        out.push(finding.help(format!("except {ip}/{}", if ip.is_ipv4() { 32 } else { 128 })));
    }
}

fn families(scene: &Scene<'_>, half: &Half<'_, '_>, out: &mut Vec<Finding>) {
    let index = &scene.index;
    let has = |family: Family| scene.kinds.iter().any(|p| index.addresses(p).any(|ip| Family::of(ip) == family));
    if !(has(Family::V4) && has(Family::V6)) {
        return;
    }
    let object: &ObjectRef = half.object();
    for (r, rule) in half.rules.iter().enumerate() {
        let of: Vec<Family> =
            half.blocks().filter(|(n, ..)| *n == r).map(|(_, _, b)| Family::of_net(&b.cidr())).collect();
        let Some(first) = of.first().filter(|f| of.iter().all(|o| o == *f)) else { continue };
        if of.len() == rule.peers.len() {
            let other = if *first == Family::V4 { Family::V6 } else { Family::V4 };
            let text = format!("only {} is allowed, and the cluster speaks {} as well", first.as_str(), other.as_str());
            out.push(scene.finding("one-family", object, &format!("{}/{}", half.pointer(r), half.peers_field()), text));
        }
    }
}
