//! Policies of namespaces, and of Calico, as ClusterNetworkPolicies.
//!
//! Rules keep their order, policies by their priorities; what the end of a tier denies, policies deny that come after all
//! of it. They are in tier Baseline, which is asked where NetworkPolicies were: after tier Admin, and before the
//! policies that are in Baseline already.

use std::collections::BTreeMap;
use std::sync::Arc;

use ipnet::IpNet;
use tortie_model::{
    ClusterAction, ClusterPeer, ClusterPolicy, ClusterPort, ClusterRule, ClusterTier, Direction, Kind, LabelSelector,
    Meta,
};
use tortie_policy::{
    ADMIN_TIER, Action, BASELINE_TIER, BlockSource, Detail, EndAction, Peer, Peers, Policy, PortMatch, Ports, Rule,
};

use crate::Source;
use crate::api::Api;
use crate::draft::{Draft, Gap, Items, Model, NamesTaken};
use crate::networkpolicy::beyond;
use crate::terms::{self, Term};

/// Most rules of a policy in a direction, peers of a rule, ports of a rule, blocks of a peer.
const MOST: usize = 25;
/// The last priority.
const LAST: u16 = 1000;

pub(crate) fn drafts(source: &Source<'_>) -> (Vec<Draft>, Vec<Gap>) {
    let mut maker = Maker {
        names: NamesTaken::of(source.policies.iter().filter(|p| Api::ClusterNetworkPolicy.has(p.object.kind))),
        out: Vec::new(),
        gaps: Vec::new(),
        priority: 0,
        actions: Vec::new(),
    };
    let foreign = source.foreign(Api::ClusterNetworkPolicy);
    let mut left = &foreign[..];
    while let Some(first) = left.first() {
        let of_tier = left.iter().take_while(|p| p.tier == first.tier).count();
        let (tier, rest) = left.split_at(of_tier);
        left = rest;
        let is_last = rest.iter().all(|p| *p.tier == *BASELINE_TIER);
        maker.tier(tier, source.tier(first).end, is_last);
    }
    (maker.out, maker.gaps)
}

struct Maker {
    names: NamesTaken,
    out: Vec<Draft>,
    gaps: Vec<Gap>,
    /// That of the policy made last.
    priority: u16,
    /// What rules of that priority do.
    actions: Vec<ClusterAction>,
}

/// The rules of a policy.
type Written = (ClusterRule, Option<usize>);

impl Maker {
    fn tier(&mut self, policies: &[&Policy], end: EndAction, is_last: bool) {
        let mut denied: BTreeMap<(LabelSelector, LabelSelector), (&Policy, [bool; 2])> = BTreeMap::new();
        for policy in policies {
            let subjects = match terms::of(&policy.subject) {
                Ok(subjects) => subjects,
                Err(says) => {
                    self.gaps.push(Gap::of_policy(policy, says));
                    continue;
                }
            };
            if end == EndAction::Deny && policy.rules(Direction::Ingress).is_some() {
                let says = "a ClusterNetworkPolicy denies nothing that comes from nodes or from outside the cluster";
                self.gaps.push(Gap::of_policy(policy, says));
            }
            let rules = Direction::BOTH.map(|direction| {
                let rules = policy.rules(direction).unwrap_or_default();
                self.rules(policy, direction, rules, is_last)
            });
            for subject in subjects {
                if end == EndAction::Deny {
                    let (_, directions) =
                        denied.entry((subject.namespaces(), subject.pods())).or_insert((*policy, [false; 2]));
                    for (governed, direction) in directions.iter_mut().zip(Direction::BOTH) {
                        *governed |= policy.rules(direction).is_some();
                    }
                }
                self.policy(policy, &subject, &rules, None);
            }
        }
        for ((namespaces, pods), (policy, directions)) in denied {
            let subject = Term { namespaces: namespaces.requirements().to_vec(), pods: pods.requirements().to_vec() };
            let deny = |direction| {
                let rule = ClusterRule {
                    name: Arc::default(),
                    action: ClusterAction::Deny,
                    peers: everybody(direction),
                    ports: None,
                };
                vec![(rule, None)]
            };
            let rules = [0, 1].map(|i| if directions[i] { deny(Direction::BOTH[i]) } else { Vec::new() });
            self.policy(policy, &subject, &rules, Some("denies what no rule allows"));
        }
    }

    /// Egress and ingress.
    fn policy(&mut self, policy: &Policy, subject: &Term, rules: &[Vec<Written>; 2], part: Option<&'static str>) {
        let [egress, ingress] = rules;
        let mut actions: Vec<ClusterAction> = egress.iter().chain(ingress).map(|(rule, _)| rule.action).collect();
        actions.sort();
        actions.dedup();
        // Among policies that all do the same, the order makes no difference.
        let is_admin = *policy.tier == *ADMIN_TIER;
        if !(self.out.is_empty() || is_admin || (actions.len() == 1 && actions == self.actions)) {
            self.priority = (self.priority + 1).min(LAST);
        }
        let pieces = egress.len().div_ceil(MOST).max(ingress.len().div_ceil(MOST));
        for piece in 0..pieces {
            if piece > 0 && actions.len() > 1 && !is_admin {
                self.priority = (self.priority + 1).min(LAST);
            }
            let piece = |rules: &[Written]| -> (Vec<ClusterRule>, Vec<Option<usize>>) {
                rules.chunks(MOST).nth(piece).unwrap_or_default().iter().cloned().unzip()
            };
            let ((ingress, of_ingress), (egress, of_egress)) = (piece(ingress), piece(egress));
            let own = policy.order.get().filter(|_| is_admin);
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "priorities are 0 to 1000")]
            let priority = own.map_or(self.priority, |order| order.clamp(0.0, f64::from(LAST)) as u16);
            let model = ClusterPolicy {
                kind: Kind::ClusterNetworkPolicy,
                meta: Meta { name: self.name(policy, part.is_some()), ..Meta::default() },
                tier: if is_admin { ClusterTier::Admin } else { ClusterTier::Baseline },
                priority: Some(priority),
                subject: peer_of(subject, false),
                ingress,
                egress,
            };
            let items = Items { ingress: of_ingress, egress: of_egress };
            self.out.push(Draft { model: Model::Cluster(model), from: policy.object.clone(), part, items });
        }
        self.actions = actions;
    }

    fn name(&mut self, policy: &Policy, denies: bool) -> Arc<str> {
        let namespace = policy.object.namespace.as_ref().map_or_else(String::new, |ns| format!("{ns}-"));
        let rest = if denies { "-rest" } else { "" };
        self.names.take(&Arc::default(), &format!("{namespace}{}{rest}", policy.object.name))
    }

    fn rules(&mut self, policy: &Policy, direction: Direction, rules: &[Rule], is_last: bool) -> Vec<Written> {
        let mut out = Vec::new();
        for rule in rules {
            let mut gap = |says: String| self.gaps.push(Gap::of_rule(policy, direction, rule, says));
            let action = match rule.action {
                Action::Allow => ClusterAction::Accept,
                Action::Deny => ClusterAction::Deny,
                Action::Pass if is_last => ClusterAction::Pass,
                Action::Pass => {
                    gap("policies of several tiers are in one, which it would leave".to_owned());
                    continue;
                }
                Action::Log => {
                    gap("a ClusterNetworkPolicy has no rule that logs".to_owned());
                    continue;
                }
            };
            if let Some(says) = beyond(rule) {
                gap(says.to_owned());
                continue;
            }
            let peers = match &rule.peers {
                Peers::Any => {
                    if direction == Direction::Ingress {
                        gap(NOT_FROM_OUTSIDE.to_owned());
                    }
                    everybody(direction)
                }
                Peers::OneOf(listed) => {
                    let mut peers = Vec::new();
                    for one in listed {
                        match peer(one, direction) {
                            Ok(more) => peers.extend(more),
                            Err(says) => gap(says),
                        }
                    }
                    peers
                }
            };
            let ports = match &rule.ports {
                Ports::Any => None,
                Ports::OneOf(listed) => {
                    let mut ports: Vec<ClusterPort> = Vec::new();
                    for one in listed {
                        match port(one) {
                            Ok(port) if ports.contains(&port) => {}
                            Ok(port) => ports.push(port),
                            Err(says) => gap(says),
                        }
                    }
                    Some(ports)
                }
            };
            out.extend(split(action, &peers, ports.as_deref()).into_iter().map(|made| (made, Some(rule.written))));
        }
        out
    }
}

const NOT_FROM_OUTSIDE: &str = "a ClusterNetworkPolicy does not speak of what comes from addresses";

/// Everybody of whom a rule can speak.
fn everybody(direction: Direction) -> Vec<ClusterPeer> {
    let everything = LabelSelector::everything;
    let pods = ClusterPeer::Pods { namespaces: everything(), pods: everything() };
    match direction {
        Direction::Ingress => vec![pods],
        Direction::Egress => vec![pods, ClusterPeer::Networks(crate::nets::everywhere().into())],
    }
}

/// Rules for the same, none of which lists too much. Addresses have no named ports.
fn split(action: ClusterAction, peers: &[ClusterPeer], ports: Option<&[ClusterPort]>) -> Vec<ClusterRule> {
    let rule = |peers: &[ClusterPeer], ports: Option<&[ClusterPort]>| ClusterRule {
        name: Arc::default(),
        action,
        peers: peers.to_vec(),
        ports: ports.map(<[_]>::to_vec),
    };
    let is_pods = |p: &ClusterPeer| matches!(p, ClusterPeer::Namespaces(_) | ClusterPeer::Pods { .. });
    let Some(ports) = ports else { return peers.chunks(MOST).map(|peers| rule(peers, None)).collect() };
    let numbered: Vec<ClusterPort> = ports.iter().filter(|p| matches!(p, ClusterPort::Range(..))).cloned().collect();
    let mut out = Vec::new();
    let mut add = |peers: &[ClusterPeer], ports: &[ClusterPort]| {
        for peers in peers.chunks(MOST) {
            out.extend(ports.chunks(MOST).map(|ports| rule(peers, Some(ports))));
        }
    };
    if numbered.len() == ports.len() {
        add(peers, ports);
    } else {
        let (pods, others): (Vec<_>, Vec<_>) = peers.iter().cloned().partition(is_pods);
        add(&pods, ports);
        add(&others, &numbered);
    }
    out
}

fn peer(peer: &Peer, direction: Direction) -> Result<Vec<ClusterPeer>, String> {
    if let (Some(BlockSource::Nodes(nodes)), Direction::Egress) = (&peer.source, direction) {
        return Ok(vec![ClusterPeer::Nodes(nodes.clone())]);
    }
    if peer.source.is_some() {
        return Err("a ClusterNetworkPolicy does not select Services".to_owned());
    }
    if peer.not_endpoints.is_some() {
        return Err("a ClusterNetworkPolicy does not mean all but some pods".to_owned());
    }
    let asks_addresses = peer.blocks.is_some() || !peer.not_blocks.is_empty() || peer.family.is_some();
    match &peer.endpoints {
        Some(_) if asks_addresses => {
            Err("a ClusterNetworkPolicy does not ask for labels and addresses at once".to_owned())
        }
        Some(endpoints) => {
            let means_sets = endpoints.expression.is_some();
            Ok(terms::of(endpoints)?.iter().map(|term| peer_of(term, means_sets)).collect())
        }
        None if direction == Direction::Ingress => Err(NOT_FROM_OUTSIDE.to_owned()),
        None => Ok(networks(peer)),
    }
}

/// Pods; of namespaces as a whole, what NetworkSets hold belongs to them where the source means that, too.
fn peer_of(term: &Term, means_sets: bool) -> ClusterPeer {
    if means_sets && term.pods.is_empty() {
        return ClusterPeer::Namespaces(term.namespaces());
    }
    ClusterPeer::Pods { namespaces: term.namespaces(), pods: term.pods() }
}

fn networks(peer: &Peer) -> Vec<ClusterPeer> {
    let whole = || crate::nets::everywhere().map(|net| tortie_model::IpBlock::new(net, [])).into();
    let blocks = peer.blocks.clone().unwrap_or_else(whole);
    let blocks = blocks.iter().filter(|b| peer.family.is_none_or(|family| b.family() == family));
    let left = blocks.flat_map(|block| {
        let except: Vec<IpNet> = block.except().iter().chain(peer.not_blocks.blocks()).copied().collect();
        crate::nets::without(block.cidr(), &except)
    });
    let mut left = IpNet::aggregate(&left.collect());
    left.sort();
    left.chunks(MOST).map(|nets| ClusterPeer::Networks(nets.to_vec())).collect()
}

fn port(port: &PortMatch) -> Result<ClusterPort, String> {
    let Some(protocol) = port.protocol.transport() else {
        return Err(format!("{} cannot be named without ports", port.protocol));
    };
    match &port.detail {
        Detail::Range(0, 0) => Err("port 0 cannot be named".to_owned()),
        // Port 0 is none to the API: whether it is missed, the proof tells.
        Detail::All => Ok(ClusterPort::Range(protocol, 1, u16::MAX)),
        Detail::Range(first, last) => Ok(ClusterPort::Range(protocol, (*first).max(1), *last)),
        Detail::Named(name) | Detail::EveryNamed(name) => Ok(ClusterPort::Named(name.clone())),
    }
}
