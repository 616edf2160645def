//! Front end for `projectcalico.org/v3` NetworkPolicy, GlobalNetworkPolicy and Tier.
//!
//! What Calico does by rewriting the texts of selectors (`updateprocessors/rules.go`) is done on their trees here, so
//! that nothing inside a quoted value is ever rewritten.

use std::sync::Arc;

use tortie_model::calico::{self, Entity, Icmp};
use tortie_model::{Direction, IpBlock, IpProtocol, Kind, Nets, ObjectRef, PortSpec, Protocol};

use crate::expression::{Expression, Key};
use crate::rule::{
    Action, BlockSource, Detail, EndAction, EndpointSelector, Peer, Peers, Policy, PortMatch, Ports, Rule, Tier,
};

/// A tier in the one rule form.
#[must_use]
pub fn calico_tier(tier: &calico::Tier) -> Tier {
    let end = if tier.passes { EndAction::Pass } else { EndAction::Deny };
    Tier { name: tier.meta.name.clone(), order: tier.order, end }
}

/// A Calico policy in the one rule form; `None` for those that are never asked about packets of pods (`preDNAT`,
/// `doNotTrack`).
#[must_use]
pub fn calico_policy(policy: &calico::Policy) -> Option<Policy> {
    match policy.class {
        calico::Class::Normal | calico::Class::Forward => {}
        calico::Class::PreDnat | calico::Class::DoNotTrack => return None,
    }
    let namespace = Some(&policy.meta.namespace).filter(|ns| !ns.is_empty());
    let kind = if namespace.is_some() { Kind::CalicoNetworkPolicy } else { Kind::GlobalNetworkPolicy };
    let rules = |direction, rules: &Option<Vec<calico::Rule>>| {
        let of = |(written, rule)| Reader { namespace, direction }.rule(written, rule);
        rules.as_ref().map(|rules| rules.iter().enumerate().map(of).collect())
    };
    let subject = Expression::all(
        [Expression::of(&policy.selector)]
            .into_iter()
            .chain(policy.namespaces.as_ref().map(Expression::of_namespace))
            .chain(policy.service_accounts.as_ref().map(Expression::of_account)),
    );
    Some(Policy {
        object: ObjectRef { kind, namespace: namespace.cloned(), name: policy.meta.name.clone() },
        tier: policy.tier.clone(),
        order: policy.order,
        subject: EndpointSelector::expression(namespace, subject),
        ingress: rules(Direction::Ingress, &policy.ingress),
        egress: rules(Direction::Egress, &policy.egress),
    })
}

/// Reads the rules of one policy for one direction.
#[derive(Clone, Copy)]
struct Reader<'a> {
    namespace: Option<&'a Arc<str>>,
    direction: Direction,
}

impl Reader<'_> {
    fn rule(self, written: usize, rule: &calico::Rule) -> Rule {
        let (own, peer) = match self.direction {
            Direction::Ingress => (&rule.destination, &rule.source),
            Direction::Egress => (&rule.source, &rule.destination),
        };
        let own = Some(self.entity(own, true)).filter(|own| !own.is_anybody());
        let peer = Peer { family: rule.family, ..self.entity(peer, false) };
        let peers = if peer.is_anybody() { Peers::Any } else { Peers::OneOf(vec![peer]) };
        let mut not_ports = listed(rule.protocol, &rule.destination.not_ports);
        not_ports.extend(rule.not_protocol.map(|protocol| PortMatch { protocol, detail: Detail::All }));
        not_ports.extend(rule.not_icmp.into_iter().flat_map(|icmp| messages(rule.protocol, icmp)));
        Rule {
            own,
            not_ports,
            source_ports: if rule.source.ports.is_empty() {
                Ports::Any
            } else {
                Ports::OneOf(listed(rule.protocol, &rule.source.ports))
            },
            not_source_ports: listed(rule.protocol, &rule.source.not_ports),
            ..Rule::new(written, action(rule.action), peers, packets(rule))
        }
    }

    /// What must hold of an end. `own`: it is the endpoint itself, where a Service cannot be meant.
    fn entity(self, entity: &Entity, own: bool) -> Peer {
        // One that names nobody and selects by nothing says nothing.
        let accounts = entity.service_accounts.as_ref().filter(|a| !a.names.is_empty() || a.selector.is_some());
        let named = entity.selector.is_some() || entity.not_selector.is_some() || accounts.is_some();
        // As soon as something is selected, a policy of a namespace speaks of what is in it.
        let place = match (&entity.namespaces, self.namespace) {
            (Some(selector), _) => Some(Expression::of_namespace(selector)),
            (None, Some(namespace)) if named => Some(Expression::in_namespace(namespace)),
            (None, _) => None,
        };
        let account = accounts.map(|accounts| {
            let names = (!accounts.names.is_empty()).then(|| {
                let mut names = accounts.names.clone();
                names.sort_unstable();
                names.dedup();
                Expression::Compare(Key::AccountName, calico::Comparison::In(names))
            });
            Expression::all(accounts.selector.as_ref().map(Expression::of_account_of_rule).into_iter().chain(names))
        });
        let selector = entity.selector.as_ref().map(Expression::of);
        let excluded = entity.not_selector.as_ref().map(Expression::of);
        let (endpoints, not_endpoints) = if place.is_none() && account.is_none() && selector.is_none() {
            // Also true of addresses that are no endpoint's.
            (None, excluded)
        } else {
            let excluded = excluded.map(|e| Expression::Not(Box::new(e)));
            (Some(Expression::all([place, account, selector, excluded].into_iter().flatten())), None)
        };
        let everywhere = |expression| EndpointSelector::expression(None, expression);
        let block = |net: &ipnet::IpNet| IpBlock::new(*net, []);
        Peer {
            endpoints: endpoints.map(everywhere),
            sets: Nets::default(),
            blocks: (!entity.nets.is_empty()).then(|| entity.nets.iter().map(block).collect()),
            not_endpoints: not_endpoints.map(everywhere),
            not_blocks: entity.not_nets.iter().copied().collect(),
            family: None,
            source: entity.service.as_ref().filter(|_| !own).map(|service| BlockSource::Service {
                // The documentation of `ServiceMatch.namespace`: that of the policy when it is not written.
                namespace: service.namespace.clone().or_else(|| self.namespace.cloned()).unwrap_or_default(),
                name: service.name.clone(),
                with_ports: self.direction == Direction::Egress,
            }),
        }
    }
}

const fn action(action: calico::Action) -> Action {
    match action {
        calico::Action::Allow => Action::Allow,
        calico::Action::Deny => Action::Deny,
        calico::Action::Log => Action::Log,
        calico::Action::Pass => Action::Pass,
    }
}

/// Protocol, messages and destination ports.
fn packets(rule: &calico::Rule) -> Ports {
    if !rule.destination.ports.is_empty() {
        return Ports::OneOf(listed(rule.protocol, &rule.destination.ports));
    }
    match (rule.protocol, rule.icmp) {
        (protocol, Some(icmp)) => Ports::OneOf(messages(protocol, icmp).collect()),
        (Some(protocol), None) => Ports::OneOf(vec![PortMatch { protocol, detail: Detail::All }]),
        (None, None) => Ports::Any,
    }
}

/// Messages of the ICMP that a rule names, or of both.
fn messages(protocol: Option<IpProtocol>, icmp: Icmp) -> impl Iterator<Item = PortMatch> {
    let detail = match (icmp.kind, icmp.code) {
        (None, _) => Detail::All,
        (Some(kind), Some(code)) => {
            let message = u16::from_be_bytes([kind, code]);
            Detail::Range(message, message)
        }
        (Some(kind), None) => Detail::Range(u16::from_be_bytes([kind, 0]), u16::from_be_bytes([kind, u8::MAX])),
    };
    let both = [IpProtocol::ICMP, IpProtocol::ICMPV6];
    let meant = both.into_iter().filter(move |p| protocol.is_none_or(|protocol| protocol == *p));
    meant.map(move |protocol| PortMatch { protocol, detail: detail.clone() })
}

/// Ports of the protocol of a rule; without one they are names, which stand for ports of every protocol.
fn listed(protocol: Option<IpProtocol>, ports: &[PortSpec]) -> Vec<PortMatch> {
    let protocols = protocol.map_or_else(|| Protocol::ALL.map(IpProtocol::from).to_vec(), |p| vec![p]);
    let detail = |port: &PortSpec| match port {
        PortSpec::All => Detail::All,
        PortSpec::Range(from, to) => Detail::Range(*from, *to),
        PortSpec::Named(name) => Detail::EveryNamed(name.clone()),
    };
    let of = |port| protocols.iter().map(move |protocol| PortMatch { protocol: *protocol, detail: detail(port) });
    ports.iter().flat_map(of).collect()
}
