//! Front end for `policy.networking.k8s.io`: ClusterNetworkPolicy, AdminNetworkPolicy, BaselineAdminNetworkPolicy.

use std::sync::Arc;

use ipnet::IpNet;
use tortie_model::{
    ClusterAction, ClusterPeer, ClusterPolicy, ClusterPort, ClusterRule, ClusterTier, IpBlock, LabelSelector,
    ObjectRef, Order, Protocol,
};

use crate::expression::{Expression, Key};
use crate::rule::{
    ADMIN_TIER, Action, BASELINE_TIER, BlockSource, Detail, EndpointSelector, NamespaceMatch, Peer, Peers, Policy,
    PortMatch, Ports, Rule,
};

/// A cluster policy in the one rule form. It governs the directions for which it has rules: since its tier passes on
/// what it does not decide, the other makes no difference.
#[must_use]
pub fn cluster_policy(policy: &ClusterPolicy) -> Policy {
    let rules = |rules: &[ClusterRule]| -> Option<Vec<Rule>> {
        (!rules.is_empty()).then(|| rules.iter().enumerate().map(|(i, r)| rule(i, r)).collect())
    };
    let tier = match policy.tier {
        ClusterTier::Admin => ADMIN_TIER,
        ClusterTier::Baseline => BASELINE_TIER,
    };
    Policy {
        object: ObjectRef { kind: policy.kind, namespace: None, name: policy.meta.name.clone() },
        tier: tier.into(),
        order: policy.priority.map_or(Order::NONE, |priority| Order::new(f64::from(priority))),
        subject: subject(&policy.subject),
        ingress: rules(&policy.ingress),
        egress: rules(&policy.egress),
    }
}

/// A subject that cannot be understood is everybody: fail closed, since what its rules leave is passed on.
fn subject(subject: &ClusterPeer) -> EndpointSelector {
    match subject {
        ClusterPeer::Namespaces(namespaces) => pods(namespaces, &LabelSelector::everything()),
        ClusterPeer::Pods { namespaces, pods: selector } => pods(namespaces, selector),
        ClusterPeer::Networks(_) | ClusterPeer::Nodes(_) | ClusterPeer::DomainNames(_) | ClusterPeer::Unknown => {
            pods(&LabelSelector::everything(), &LabelSelector::everything())
        }
    }
}

fn pods(namespaces: &LabelSelector, pods: &LabelSelector) -> EndpointSelector {
    EndpointSelector::pods(NamespaceMatch::Matching(namespaces.clone()), pods.clone())
}

fn rule(written: usize, rule: &ClusterRule) -> Rule {
    let action = match rule.action {
        ClusterAction::Accept => Action::Allow,
        ClusterAction::Deny => Action::Deny,
        ClusterAction::Pass => Action::Pass,
    };
    let is_known_port = |port: &&ClusterPort| !matches!(port, ClusterPort::Unknown);
    let understood = rule.peers.iter().all(is_understood) && rule.ports.iter().flatten().all(|p| is_known_port(&p));
    if !understood && action != Action::Allow {
        // What it would deny, or pass on to what might deny, is not known: all of it is denied.
        return Rule::new(written, Action::Deny, Peers::Any, Ports::Any);
    }
    let ports = match &rule.ports {
        None => Ports::Any,
        Some(ports) => Ports::OneOf(ports.iter().filter(is_known_port).flat_map(port).collect()),
    };
    let peers = rule.peers.iter().filter(|p| is_understood(p)).map(peer).collect();
    Rule::new(written, action, Peers::OneOf(peers), ports)
}

/// Names are not looked up: nothing here knows what they stand for.
const fn is_understood(peer: &ClusterPeer) -> bool {
    !matches!(peer, ClusterPeer::DomainNames(_) | ClusterPeer::Unknown)
}

fn peer(peer: &ClusterPeer) -> Peer {
    match peer {
        // As Calico has it: what its network sets hold belongs to their namespace, and a selector that asks only for what
        // is not there means those of no namespace too.
        ClusterPeer::Namespaces(namespaces) => {
            let asked = match namespaces.is_everything() {
                true => Expression::Has(Key::NamespaceName),
                false => Expression::True,
            };
            let selector = pods(namespaces, &LabelSelector::everything());
            Peer::endpoints(EndpointSelector { expression: Some(Arc::new(asked)), ..selector })
        }
        ClusterPeer::Pods { namespaces, pods: selector } => Peer::endpoints(pods(namespaces, selector)),
        ClusterPeer::Networks(nets) => {
            let block = |net: &IpNet| IpBlock::new(*net, []);
            Peer { blocks: Some(nets.iter().map(block).collect()), ..Peer::default() }
        }
        ClusterPeer::Nodes(selector) => Peer { source: Some(BlockSource::Nodes(selector.clone())), ..Peer::default() },
        ClusterPeer::DomainNames(_) | ClusterPeer::Unknown => Peer { blocks: Some(Vec::new()), ..Peer::default() },
    }
}

fn port(port: &ClusterPort) -> Vec<PortMatch> {
    match port {
        ClusterPort::Range(protocol, from, to) => {
            vec![PortMatch { protocol: (*protocol).into(), detail: Detail::Range(*from, *to) }]
        }
        ClusterPort::Named(name) => {
            let of =
                |protocol: Protocol| PortMatch { protocol: protocol.into(), detail: Detail::EveryNamed(name.clone()) };
            Protocol::ALL.map(of).into()
        }
        ClusterPort::Unknown => Vec::new(),
    }
}
