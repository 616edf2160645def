//! Policies of Calico and of the cluster's administrators as NetworkPolicies.
//!
//! A NetworkPolicy only allows, and isolates what it selects. So rules that allow become rules of it, and what is denied
//! is what no rule allows. Policies of the whole cluster become one for each namespace that there is.

use tortie_model::{Direction, IpBlock, Meta, NetworkPolicy, PeerRule, PolicyPeer, PolicyPort, PortSpec};
use tortie_policy::{Action, Detail, EndAction, Peer, Peers, Policy, PortMatch, Ports, Rule};

use crate::Source;
use crate::api::Api;
use crate::draft::{Draft, Gap, Items, Model, NamesTaken};
use crate::terms::{self, Term};

pub(crate) fn drafts(source: &Source<'_>) -> (Vec<Draft>, Vec<Gap>) {
    let mut names = NamesTaken::of(source.policies.iter().filter(|p| Api::NetworkPolicy.has(p.object.kind)));
    let (mut out, mut gaps) = (Vec::new(), Vec::new());
    for policy in source.foreign(Api::NetworkPolicy) {
        let subjects = match terms::of(&policy.subject) {
            Ok(subjects) => subjects,
            Err(says) => {
                gaps.push(Gap::of_policy(policy, says));
                continue;
            }
        };
        let isolates = source.tier(policy).end == EndAction::Deny;
        let first = gaps.len();
        for namespace in source.index.namespaces() {
            for subject in subjects.iter().filter(|s| s.admits(namespace.labels())) {
                let mut items = Items::default();
                let mut rules = |direction| {
                    let written = policy.rules(direction).filter(|rules| isolates || rules.iter().any(decides))?;
                    let reader = Reader { policy, direction, namespace: namespace.name() };
                    Some(reader.rules(written, items.of(direction), &mut gaps))
                };
                let (ingress, egress) = (rules(Direction::Ingress), rules(Direction::Egress));
                if ingress.is_none() && egress.is_none() {
                    continue;
                }
                let model = NetworkPolicy {
                    meta: Meta {
                        namespace: namespace.name().clone(),
                        name: names.take(namespace.name(), &policy.object.name),
                        ..Meta::default()
                    },
                    pod_selector: subject.pods(),
                    ingress,
                    egress,
                };
                let from = policy.object.clone();
                out.push(Draft { model: Model::NetworkPolicy(model), from, part: None, items });
            }
        }
        // Each namespace finds the same.
        gaps[first..].sort();
        gaps.dedup();
    }
    (out, gaps)
}

/// Whether a rule of a tier that passes decides anything by itself.
const fn decides(rule: &Rule) -> bool {
    matches!(rule.action, Action::Allow | Action::Deny)
}

/// Reads the rules of one policy for one direction, in a namespace.
struct Reader<'a> {
    policy: &'a Policy,
    direction: Direction,
    namespace: &'a str,
}

impl Reader<'_> {
    fn rules(&self, rules: &[Rule], items: &mut Vec<Option<usize>>, gaps: &mut Vec<Gap>) -> Vec<PeerRule> {
        let mut out = Vec::new();
        for rule in rules {
            // What comes after a rule for everything is never asked, and denying everything is what isolation does.
            let is_for_all = is_for_all(rule);
            match (self.rule(rule, gaps), rule.action) {
                (_, Action::Deny) if is_for_all => break,
                (read, Action::Allow) => {
                    if let Some(read) = read {
                        out.push(read);
                        items.push(Some(rule.written));
                    }
                }
                (_, action) => {
                    let says = match action {
                        Action::Log => "a NetworkPolicy has no rule that logs",
                        Action::Pass => "a NetworkPolicy has no rule that passes a packet on",
                        Action::Allow | Action::Deny => "a NetworkPolicy has no rule that denies",
                    };
                    gaps.push(Gap::of_rule(self.policy, self.direction, rule, says));
                }
            }
        }
        out
    }

    fn rule(&self, rule: &Rule, gaps: &mut Vec<Gap>) -> Option<PeerRule> {
        if rule.action != Action::Allow {
            return None;
        }
        let mut gap = |says: String| gaps.push(Gap::of_rule(self.policy, self.direction, rule, says));
        if let Some(says) = beyond(rule) {
            gap(says.to_owned());
            return None;
        }
        let peers = match &rule.peers {
            Peers::Any => Vec::new(),
            Peers::OneOf(listed) => {
                let mut peers = Vec::new();
                for one in listed {
                    match self.peer(one) {
                        Ok(more) => peers.extend(more),
                        Err(says) => gap(says),
                    }
                }
                if peers.is_empty() {
                    return None;
                }
                // All alternatives say the same where a selector was already plain.
                peers.dedup();
                peers
            }
        };
        let ports = match &rule.ports {
            Ports::Any => Vec::new(),
            Ports::OneOf(listed) => {
                let mut ports = Vec::new();
                for one in listed {
                    match port(one) {
                        Ok(port) => ports.push(port),
                        Err(says) => gap(says),
                    }
                }
                if ports.is_empty() {
                    return None;
                }
                ports
            }
        };
        Some(PeerRule { peers, ports })
    }

    fn peer(&self, peer: &Peer) -> Result<Vec<PolicyPeer>, String> {
        if peer.source.is_some() {
            return Err("a NetworkPolicy selects neither nodes nor Services".to_owned());
        }
        if peer.not_endpoints.is_some() {
            return Err("a NetworkPolicy does not mean all but some pods".to_owned());
        }
        let blocks = || {
            let all = peer.blocks.clone().unwrap_or_else(|| match peer.family {
                Some(family) => vec![IpBlock::new(family.whole(), [])],
                None => crate::nets::everywhere().map(|net| IpBlock::new(net, [])).into(),
            });
            let all = all.into_iter().filter(|b| peer.family.is_none_or(|family| b.family() == family));
            all.filter_map(|block| {
                if peer.not_blocks.blocks().iter().any(|not| not.contains(&block.cidr())) {
                    return None;
                }
                let not = peer.not_blocks.blocks().iter().filter(|not| block.cidr().contains(*not));
                let except = block.except().iter().chain(not).copied().collect::<Vec<_>>();
                Some(PolicyPeer::IpBlock(IpBlock::new(block.cidr(), except)))
            })
            .collect::<Vec<_>>()
        };
        let asks_addresses = peer.blocks.is_some() || !peer.not_blocks.is_empty() || peer.family.is_some();
        match &peer.endpoints {
            None => Ok(blocks()),
            Some(_) if asks_addresses => {
                Err("a NetworkPolicy does not ask for labels and addresses at once".to_owned())
            }
            Some(endpoints) => Ok(terms::of(endpoints)?.iter().map(|term| self.pods(term)).collect()),
        }
    }

    fn pods(&self, term: &Term) -> PolicyPeer {
        if term.only().is_some_and(|name| **name == *self.namespace) {
            return PolicyPeer::PodsHere(term.pods());
        }
        PolicyPeer::Pods { namespaces: term.namespaces(), pods: Some(term.pods()).filter(|pods| !pods.is_everything()) }
    }
}

/// Whether a rule speaks of every packet: of everybody, or of all pods and all addresses.
fn is_for_all(rule: &Rule) -> bool {
    let whole = |peers: &[Peer]| {
        let blocks: Vec<_> = peers.iter().flat_map(|p| p.blocks.iter().flatten()).collect();
        crate::nets::everywhere().iter().all(|net| blocks.iter().any(|b| b.cidr() == *net && b.except().is_empty()))
    };
    let everybody = match &rule.peers {
        Peers::Any => true,
        Peers::OneOf(peers) => whole(peers) || peers.iter().any(Peer::is_anybody),
    };
    everybody && rule.ports == Ports::Any && beyond(rule).is_none()
}

/// What a rule asks that no rule of Kubernetes' APIs can ask.
pub(crate) fn beyond(rule: &Rule) -> Option<&'static str> {
    if rule.own.is_some() {
        Some("it asks something of the pod that the policy governs")
    } else if !rule.not_ports.is_empty() {
        Some("it leaves out protocols, ports or messages")
    } else if rule.asks_source_port() {
        Some("it asks for source ports")
    } else {
        None
    }
}

fn port(port: &PortMatch) -> Result<PolicyPort, String> {
    let Some(protocol) = port.protocol.transport() else {
        return Err(format!("{} cannot be named without ports", port.protocol));
    };
    let spec = match &port.detail {
        Detail::All | Detail::Range(0, u16::MAX) => PortSpec::All,
        Detail::Range(0, 0) => return Err("port 0 cannot be named".to_owned()),
        Detail::Range(first, last) => PortSpec::Range((*first).max(1), *last),
        Detail::Named(name) | Detail::EveryNamed(name) => PortSpec::Named(name.clone()),
    };
    Ok(PolicyPort { protocol, port: spec })
}
