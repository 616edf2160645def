//! The rule that came nearest to allowing a denied packet, and what in it did not match.

use tortie_model::{Family, IpProtocol, Nets, Requirement, Traffic};

use crate::expression::{Expression, Labelled, PodLabels};
use crate::ports::{Asked, NamedPorts, Names};
use crate::rule::{Action, Detail, EndpointSelector, NamespaceMatch, Peer, Peers, PortMatch, Ports, Rule};
use crate::side::Side;
use crate::stack::{By, RuleRef, Stack};

/// Why a peer of a rule is not the other end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PeerMiss {
    /// The rule lists no peer that could match.
    NoPeers,
    /// The peer selects pods, the other end is none.
    NotAPod,
    /// The peer looks in one namespace only, and the other end is in another.
    OtherNamespace {
        /// Where it looks.
        expected: String,
        /// Where the other end is.
        found: String,
    },
    /// Labels of the other end's namespace do not match.
    NamespaceLabels(Vec<Requirement>),
    /// Labels of the pod do not match.
    PodLabels(Vec<Requirement>),
    /// Terms of the expression that do not hold of the endpoint; all of them would have to.
    Expression(Vec<UnmetTerm>),
    /// What is excluded by an expression (or several) is meant.
    NotEndpoints(String),
    /// The address lies in a block that is excluded.
    NotBlocks,
    /// The address is of another family.
    Family(Family),
    /// Both do not match.
    NamespaceAndPod(Box<PeerMiss>, Vec<Requirement>),
    /// The address lies in none of the blocks.
    OutsideBlock,
    /// The address lies in a block, but in one of its exceptions.
    Excepted,
    /// Nothing is known of the other end's address.
    NoAddress,
}

/// A term of an expression that does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnmetTerm {
    /// The term, as a selector of endpoints would write it.
    pub asked: String,
    /// Where it asks for one key: the key, and the endpoint's value.
    pub found: Option<(String, Option<String>)>,
}

/// Why a port of a rule is not the packet's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PortMiss {
    /// The rule lists ports, none of this protocol.
    Protocol {
        /// The packet's.
        packet: IpProtocol,
        /// The rule's, in its order.
        listed: Vec<IpProtocol>,
    },
    /// The protocol is right, the port is not.
    Number {
        /// What the rule lists for the protocol.
        listed: Vec<Detail>,
    },
    /// The rule names a port that the destination does not have.
    Unnamed(String),
    /// The packet is one of those that the rule leaves out.
    Excluded,
    /// The rule asks for other source ports.
    Source(u16),
}

/// A rule that would have allowed the packet, but for what is named here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NearMiss {
    /// The rule.
    pub rule: RuleRef,
    /// Which of its peers came nearest (its place in the list), and why it is not the other end.
    pub peer: Option<(usize, PeerMiss)>,
    /// Why the ports do not match.
    pub port: Option<PortMiss>,
}

impl NearMiss {
    /// The nearest of the allow rules of a stack that are asked before what denied. `None` when there is none.
    pub(crate) fn find(stack: &Stack, by: By, peer: &Side, asked: Asked, names: Names<'_>) -> Option<Self> {
        let mut best: Option<(u32, Self)> = None;
        let end = stack.position_of(by);
        let asked_before = stack.rules().take_while(|(position, _)| *position < end);
        for (position, rule) in asked_before.filter(|(_, r)| r.action == Action::Allow) {
            let peer_miss = nearest_peer(&rule.peers, peer);
            let port_miss = packet_miss(rule, asked, names);
            let distance =
                peer_miss.as_ref().map_or(0, |(_, m)| m.distance()) + port_miss.as_ref().map_or(0, PortMiss::distance);
            if distance > 0 && best.as_ref().is_none_or(|(d, _)| distance < *d) {
                let rule = stack.rule_ref(position)?;
                best = Some((distance, Self { rule, peer: peer_miss, port: port_miss }));
            }
        }
        best.map(|(_, miss)| miss)
    }
}

impl PeerMiss {
    /// How far off: an edit of one label counts 2, of one block 3, another kind of peer 6.
    fn distance(&self) -> u32 {
        let labels = |r: &[Requirement]| 2 * u32::from(u16::try_from(r.len()).unwrap_or(u16::MAX));
        match self {
            Self::NoPeers | Self::NotAPod => 6,
            Self::OtherNamespace { .. } => 3,
            Self::NamespaceLabels(r) | Self::PodLabels(r) => labels(r),
            Self::NamespaceAndPod(ns, pod) => ns.distance() + labels(pod),
            Self::Expression(terms) => 2 * u32::from(u16::try_from(terms.len()).unwrap_or(u16::MAX)) + 1,
            Self::OutsideBlock | Self::NoAddress => 5,
            Self::Excepted | Self::NotEndpoints(_) | Self::NotBlocks => 3,
            Self::Family(_) => 6,
        }
    }
}

impl PortMiss {
    const fn distance(&self) -> u32 {
        match self {
            Self::Number { .. } | Self::Unnamed(_) | Self::Excluded => 2,
            Self::Protocol { .. } | Self::Source(_) => 3,
        }
    }
}

fn nearest_peer(peers: &Peers, side: &Side) -> Option<(usize, PeerMiss)> {
    let Peers::OneOf(list) = peers else { return None };
    let mut nearest: Option<(usize, PeerMiss)> = None;
    for (i, peer) in list.iter().enumerate() {
        let miss = peer_miss(peer, side)?;
        if nearest.as_ref().is_none_or(|(_, m)| miss.distance() < m.distance()) {
            nearest = Some((i, miss));
        }
    }
    Some(nearest.unwrap_or((0, PeerMiss::NoPeers)))
}

/// Why a peer does not match; `None` when it does.
fn peer_miss(peer: &Peer, side: &Side) -> Option<PeerMiss> {
    let within = |nets: &Nets| side.ip().is_some_and(|ip| nets.contains(ip));
    if let Some(family) = peer.family.filter(|f| side.ip().is_some_and(|ip| Family::of(ip) != *f)) {
        return Some(PeerMiss::Family(family));
    }
    if let Some(selector) = peer.endpoints.as_ref().filter(|_| !within(&peer.sets))
        && let Some(miss) = selector_miss(selector, side)
    {
        return Some(miss);
    }
    if let Some(selector) = &peer.not_endpoints
        && selector_miss(selector, side).is_none()
    {
        return Some(PeerMiss::NotEndpoints(shown(selector)));
    }
    if within(&peer.not_blocks) {
        return Some(PeerMiss::NotBlocks);
    }
    let blocks = peer.blocks.as_ref()?;
    let Some(ip) = side.ip() else {
        return Some(PeerMiss::NoAddress);
    };
    if blocks.iter().any(|b| b.contains(ip)) {
        None
    } else if blocks.iter().any(|b| b.cidr().contains(&ip)) {
        Some(PeerMiss::Excepted)
    } else {
        Some(PeerMiss::OutsideBlock)
    }
}

fn shown(selector: &EndpointSelector) -> String {
    selector.expression.as_ref().map_or_else(|| selector.pods.to_string(), |e| e.to_string())
}

fn selector_miss(selector: &EndpointSelector, side: &Side) -> Option<PeerMiss> {
    let (Some(pod), Some(namespace)) = (side.pod(), side.namespace()) else {
        return Some(PeerMiss::NotAPod);
    };
    let failed = |requirements: &[Requirement], labels| -> Vec<Requirement> {
        requirements.iter().filter(|r| !r.matches(labels)).cloned().collect()
    };
    let place = match &selector.namespaces {
        NamespaceMatch::Named(name) => (*name != pod.meta.namespace)
            .then(|| PeerMiss::OtherNamespace { expected: name.to_string(), found: pod.meta.namespace.to_string() }),
        NamespaceMatch::Matching(s) => {
            Some(failed(s.requirements(), namespace.labels())).filter(|f| !f.is_empty()).map(PeerMiss::NamespaceLabels)
        }
    };
    let labels = failed(selector.pods.requirements(), &pod.meta.labels);
    let holds = |e: &Expression| e.holds(&PodLabels { pod, namespace });
    match (place, labels.is_empty()) {
        (None, true) => {
            let expression = selector.expression.as_ref().filter(|e| !holds(e))?;
            let terms = match &**expression {
                Expression::And(terms) => terms.iter().collect(),
                other => vec![other],
            };
            let unmet = |term: &Expression| UnmetTerm {
                asked: term.to_string(),
                found: match term {
                    Expression::Has(key) | Expression::Compare(key, _) => {
                        let value = PodLabels { pod, namespace }.value(key).map(str::to_owned);
                        Some((key.to_string(), value))
                    }
                    _ => None,
                },
            };
            Some(PeerMiss::Expression(terms.into_iter().filter(|term| !holds(term)).map(unmet).collect()))
        }
        (None, false) => Some(PeerMiss::PodLabels(labels)),
        (Some(place), true) => Some(place),
        (Some(place), false) => Some(PeerMiss::NamespaceAndPod(Box::new(place), labels)),
    }
}

fn packet_miss(rule: &Rule, asked: Asked, names: Names<'_>) -> Option<PortMiss> {
    if rule.admits(asked, names) {
        return None;
    }
    let excluded = |list: &[PortMatch]| list.iter().any(|p| p.matches(asked.traffic, names.destination));
    let miss = port_miss(&rule.ports, asked.traffic, names.destination);
    Some(match miss {
        Some(miss) => miss,
        None if excluded(&rule.not_ports) => PortMiss::Excluded,
        None => PortMiss::Source(asked.source_port),
    })
}

fn port_miss(ports: &Ports, traffic: Traffic, names: NamedPorts<'_>) -> Option<PortMiss> {
    let Ports::OneOf(list) = ports else { return None };
    if ports.matches(traffic, names) {
        return None;
    }
    let same: Vec<&PortMatch> = list.iter().filter(|p| p.protocol == traffic.protocol).collect();
    if same.is_empty() {
        let mut listed: Vec<_> = list.iter().map(|p| p.protocol).collect();
        listed.dedup();
        return Some(PortMiss::Protocol { packet: traffic.protocol, listed });
    }
    let numbers: Vec<_> = same.iter().filter(|p| p.ranges(names).next().is_some()).map(|p| p.detail.clone()).collect();
    let name = same.iter().find_map(|p| match &p.detail {
        Detail::Named(name) | Detail::EveryNamed(name) => Some(name.to_string()),
        Detail::All | Detail::Range(..) => None,
    });
    match name {
        Some(name) if numbers.is_empty() => Some(PortMiss::Unnamed(name)),
        _ => Some(PortMiss::Number { listed: numbers }),
    }
}
