//! What the engine found, in words.

use tortie_model::{Direction, Kind, Labels, Pod, Requirement};
use tortie_policy::{Detail, Half, NearMiss, PeerMiss, Peers, PortMiss, Rule, RuleRef, Shortcut, Side, UnmetTerm};

use super::end::End;

/// `from` or `to`: the list of peers in a rule of this direction.
pub(crate) const fn peer_field(rule: &RuleRef) -> &'static str {
    match rule.direction {
        Direction::Ingress => "from",
        Direction::Egress => "to",
    }
}

/// `ingress[0] of NetworkPolicy/prod/web`.
pub(crate) fn rule_name(rule: &RuleRef) -> String {
    format!("{}[{}] of {}", rule.direction, rule.index, rule.policy)
}

/// Where tortie decides as Calico does and not as the documentation of Kubernetes reads.
pub(crate) const STRICTER_TO_NODES: &str =
    "note: a pod's egress policy applies to nodes too, its own included; upstream's prose would spare its own";

/// Why policy is not asked.
pub(crate) const fn shortcut(shortcut: Shortcut, by_service: bool) -> &'static str {
    match shortcut {
        Shortcut::Loopback if by_service => "a pod reaches itself through a Service: no NetworkPolicy denies that",
        Shortcut::Loopback => "a pod always reaches itself at its own address: no policy is asked",
        Shortcut::LocalNode => "a node always reaches the pods that it runs, so that probes work: no policy is asked",
    }
}

/// Why nothing governs an end.
pub(crate) fn ungoverned(end: &End, side: &Side, direction: tortie_model::Direction) -> String {
    match (end, side.pod()) {
        (End::Pod(pod), _) if pod.host_network => {
            format!("{} lives in the network of its node: policies never select it", pod.key())
        }
        (End::Pod(pod), _) | (End::Address(_), Some(pod)) => {
            format!("no policy selects {} for {direction}", pod.key())
        }
        _ if side.node().is_some() => "policies do not select nodes".to_owned(),
        _ => "policies do not select what is outside the cluster".to_owned(),
    }
}

/// What separates the nearest rule from allowing the packet, a line each.
pub(crate) fn near_miss(half: &Half, miss: &NearMiss, peer: &Side) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some((at, why)) = &miss.peer {
        let field = match miss.rule.policy.kind.enforced() {
            // One end, whatever is asked of it.
            Kind::CalicoNetworkPolicy | Kind::GlobalNetworkPolicy => match miss.rule.direction {
                Direction::Ingress => "source".to_owned(),
                Direction::Egress => "destination".to_owned(),
            },
            _ => format!("{}[{at}]", peer_field(&miss.rule)),
        };
        lines.extend(peer_miss(&field, why, peer, rule(half, &miss.rule).and_then(|r| blocks(r, *at))));
    }
    lines.extend(miss.port.as_ref().map(port_miss));
    lines
}

/// The rule itself.
fn rule<'h>(half: &'h Half, rule: &RuleRef) -> Option<&'h Rule> {
    let policy = half.stack.policies().find(|p| p.object == rule.policy)?;
    policy.rules(rule.direction)?.get(rule.index)
}

fn blocks(rule: &Rule, at: usize) -> Option<String> {
    let Peers::OneOf(peers) = &rule.peers else { return None };
    let blocks = peers.get(at)?.blocks.as_ref()?;
    Some(blocks.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))
}

fn peer_miss(field: &str, miss: &PeerMiss, peer: &Side, blocks: Option<String>) -> Vec<String> {
    let pod = peer.pod().map(|p| p.as_ref());
    let name =
        pod.map(Pod::key).or_else(|| peer.ip().map(|ip| ip.to_string())).unwrap_or_else(|| "the other end".into());
    let blocks = blocks.unwrap_or_default();
    match miss {
        PeerMiss::NoPeers => vec![format!("{field}: the rule lists nobody")],
        PeerMiss::NotAPod => vec![format!("{field} selects pods, and {name} is none")],
        PeerMiss::OtherNamespace { expected, found } => vec![format!(
            "{field} looks in namespace {expected} alone (a podSelector without namespaceSelector), and {name} is in {found}"
        )],
        PeerMiss::NamespaceLabels(requirements) => {
            let namespace = peer.namespace();
            let labels = namespace.map(|n| n.labels().clone()).unwrap_or_default();
            let which = namespace.map(|n| n.name().to_string()).unwrap_or_default();
            requirements.iter().map(|r| requirement(field, &format!("namespace {which}"), r, &labels)).collect()
        }
        PeerMiss::PodLabels(requirements) => {
            let labels = pod.map(|p| p.meta.labels.clone()).unwrap_or_default();
            requirements.iter().map(|r| requirement(field, &format!("pod {name}"), r, &labels)).collect()
        }
        PeerMiss::Expression(terms) => {
            let line = |term: &UnmetTerm| match &term.found {
                Some((key, Some(value))) => format!("{field} wants {}, and {name} has {key} {value:?}", term.asked),
                Some((key, None)) => format!("{field} wants {}, and {name} has no {key}", term.asked),
                None => format!("{field} wants {}, and {name} is not so", term.asked),
            };
            terms.iter().map(line).collect()
        }
        PeerMiss::NotEndpoints(excluded) => vec![format!("{field} leaves out {excluded}, and {name} is so")],
        PeerMiss::NotBlocks => vec![format!("{field} leaves out a block that {name}{} lies in", address(peer))],
        PeerMiss::Family(family) => vec![format!("{field} is about {family}, and {name}{} is not", address(peer))],
        PeerMiss::NamespaceAndPod(namespace, requirements) => {
            let mut lines = peer_miss(field, namespace, peer, None);
            lines.extend(peer_miss(field, &PeerMiss::PodLabels(requirements.clone()), peer, None));
            lines
        }
        PeerMiss::OutsideBlock => vec![format!("{field} is {blocks}, and {name}{} lies outside", address(peer))],
        PeerMiss::Excepted => vec![format!("{field} is {blocks}, and {name}{} is excepted", address(peer))],
        PeerMiss::NoAddress => {
            vec![format!("{field} is {blocks}, and no address of {name} is known (no status.podIPs in the input)")]
        }
    }
}

/// ` (10.0.0.1)` for a pod; nothing where the address is the name.
fn address(peer: &Side) -> String {
    peer.pod().and(peer.ip()).map(|ip| format!(" ({ip})")).unwrap_or_default()
}

fn requirement(field: &str, who: &str, wanted: &Requirement, labels: &Labels) -> String {
    let has = match labels.get(&wanted.key) {
        Some(value) => format!("has {}={value}", wanted.key),
        None => format!("has no label {}", wanted.key),
    };
    format!("{field} wants {wanted}, and {who} {has}")
}

fn port_miss(miss: &PortMiss) -> String {
    match miss {
        PortMiss::Protocol { packet, listed } => {
            let mut listed: Vec<String> = listed.iter().map(ToString::to_string).collect();
            listed.dedup();
            format!("ports lists {} alone, and the packet is {packet}", listed.join(", "))
        }
        PortMiss::Number { listed } => {
            let listed: Vec<String> = listed.iter().map(detail).collect();
            format!("ports lists {} for the protocol, not this one", listed.join(", "))
        }
        PortMiss::Excluded => "the packet is one of those that the rule leaves out".to_owned(),
        PortMiss::Source(port) => format!("the rule asks for other source ports than {port}"),
        PortMiss::Unnamed(name) => format!("ports lists `{name}`, and the destination declares no port of that name"),
    }
}

fn detail(detail: &Detail) -> String {
    match detail {
        Detail::All => "all".to_owned(),
        Detail::Range(a, b) if a == b => a.to_string(),
        Detail::Range(a, b) => format!("{a}-{b}"),
        Detail::Named(name) | Detail::EveryNamed(name) => format!("`{name}`"),
    }
}
