//! Policies of Kubernetes as policies of Calico.
//!
//! A NetworkPolicy is a Calico NetworkPolicy of order 1000 in tier `default`; a cluster policy is a GlobalNetworkPolicy in
//! tier `kube-admin` or `kube-baseline`, where its priority is its order. Selectors of pods ask for
//! `projectcalico.org/orchestrator == "k8s"`, since those of Calico mean NetworkSets as well.

use std::collections::BTreeMap;
use std::sync::Arc;

use ipnet::IpNet;
use tortie_model::calico::{self, Comparison, Entity, Selector};
use tortie_model::{Direction, IpProtocol, LabelSelector, Meta, Operator, PortSpec, Requirement};
use tortie_policy::{
    ADMIN_TIER, Action, BASELINE_TIER, BlockSource, DEFAULT_TIER, Detail, EndpointSelector, NamespaceMatch, Peer,
    Peers, Policy, Ports, Rule,
};

use crate::Source;
use crate::api::Api;
use crate::draft::{Draft, Gap, Items, Model, NamesTaken};

/// Most ports that one rule may list.
const MOST_PORTS: usize = 50;
/// Most blocks that one rule may list.
const MOST_NETS: usize = 256;

pub(crate) fn drafts(source: &Source<'_>) -> (Vec<Draft>, Vec<Gap>) {
    let mut names = NamesTaken::of(source.policies.iter().filter(|p| Api::Calico.has(p.object.kind)));
    let (mut out, mut gaps) = (Vec::new(), Vec::new());
    for policy in source.foreign(Api::Calico) {
        if policy.ingress.is_none() && policy.egress.is_none() {
            // It governs nothing, which Calico has no word for.
            continue;
        }
        if ![DEFAULT_TIER, ADMIN_TIER, BASELINE_TIER].contains(&&*policy.tier) {
            gaps.push(Gap::of_policy(policy, "is of no API of Kubernetes"));
            continue;
        }
        out.push(draft(policy, &mut names, &mut gaps));
    }
    (out, gaps)
}

fn draft(policy: &Policy, names: &mut NamesTaken, gaps: &mut Vec<Gap>) -> Draft {
    let namespace = policy.object.namespace.clone().unwrap_or_default();
    // A name of Calico has one dot at most.
    let plain = policy.object.name.replace('.', "-");
    let wanted = if namespace.is_empty() { format!("{}.{plain}", policy.tier) } else { plain };
    let namespaces = match &policy.subject.namespaces {
        NamespaceMatch::Named(_) => None,
        NamespaceMatch::Matching(namespaces) => Some(of_labels(namespaces)),
    };
    let mut items = Items::default();
    let mut rules = |direction| {
        let rules = policy.rules(direction)?;
        let mut writer = Writer { policy, direction, rules: Vec::new(), items: items.of(direction), gaps };
        rules.iter().for_each(|rule| writer.rule(rule));
        Some(writer.rules)
    };
    let model = calico::Policy {
        tier: policy.tier.clone(),
        order: policy.order,
        selector: of_labels(&policy.subject.pods),
        namespaces,
        service_accounts: None,
        ingress: rules(Direction::Ingress),
        egress: rules(Direction::Egress),
        class: calico::Class::Normal,
        meta: Meta { name: names.take(&namespace, &wanted), namespace, ..Meta::default() },
    };
    Draft { model: Model::Calico(model), from: policy.object.clone(), part: None, items }
}

/// Writes the rules of a policy for one direction.
struct Writer<'a> {
    policy: &'a Policy,
    direction: Direction,
    rules: Vec<calico::Rule>,
    items: &'a mut Vec<Option<usize>>,
    gaps: &'a mut Vec<Gap>,
}

impl Writer<'_> {
    fn rule(&mut self, rule: &Rule) {
        let peers = match &rule.peers {
            Peers::Any => vec![Entity::default()],
            Peers::OneOf(peers) => self.peers(rule, peers),
        };
        for peer in peers {
            for (protocol, ports) in packets(&rule.ports) {
                let mut own = Entity::default();
                let mut peer = peer.clone();
                match self.direction {
                    Direction::Ingress => own.ports = ports,
                    Direction::Egress => peer.ports = ports,
                }
                let (source, destination) = match self.direction {
                    Direction::Ingress => (peer, own),
                    Direction::Egress => (own, peer),
                };
                self.rules.push(calico::Rule {
                    action: action(rule.action),
                    family: None,
                    protocol,
                    not_protocol: None,
                    icmp: None,
                    not_icmp: None,
                    http: false,
                    source,
                    destination,
                });
                self.items.push(Some(rule.written));
            }
        }
    }

    /// Other ends, each of which is a rule. Blocks from which nothing is missing are one for each family.
    fn peers(&mut self, rule: &Rule, peers: &[Peer]) -> Vec<Entity> {
        let mut out = Vec::new();
        let mut whole: BTreeMap<tortie_model::Family, Vec<IpNet>> = BTreeMap::new();
        for peer in peers {
            if let Some(BlockSource::Nodes(_)) = &peer.source {
                let says = "a policy of Calico does not select nodes";
                self.gaps.push(Gap::of_rule(self.policy, self.direction, rule, says));
                continue;
            }
            if let Some(endpoints) = &peer.endpoints {
                out.push(self.pods(endpoints));
            }
            for block in peer.blocks.iter().flatten() {
                if block.except().is_empty() {
                    whole.entry(block.family()).or_default().push(block.cidr());
                    continue;
                }
                let inside = |e: &&IpNet| block.cidr().contains(*e);
                let not_nets: Vec<IpNet> = block.except().iter().filter(inside).copied().collect();
                out.push(Entity { nets: vec![block.cidr()], not_nets, ..Entity::default() });
            }
        }
        for mut nets in whole.into_values() {
            nets.sort();
            nets.dedup();
            out.extend(nets.chunks(MOST_NETS).map(|nets| Entity { nets: nets.to_vec(), ..Entity::default() }));
        }
        out
    }

    fn pods(&self, selector: &EndpointSelector) -> Entity {
        // Only peers that are namespaces as a whole mean what NetworkSets hold, too.
        if let (NamespaceMatch::Matching(namespaces), Some(_)) = (&selector.namespaces, &selector.expression) {
            return Entity { namespaces: Some(of_labels(namespaces)), ..Entity::default() };
        }
        let is_pod = Selector::Compare(ORCHESTRATOR.into(), Comparison::Equal("k8s".into()));
        let pods = Some(and(std::iter::once(is_pod).chain(selector.pods.requirements().iter().map(of_requirement))));
        let namespaces = match &selector.namespaces {
            NamespaceMatch::Named(name) if Some(name) == self.policy.object.namespace.as_ref() => None,
            NamespaceMatch::Named(name) => {
                Some(Selector::Compare("projectcalico.org/name".into(), Comparison::Equal(name.clone())))
            }
            NamespaceMatch::Matching(namespaces) => Some(of_labels(namespaces)),
        };
        Entity { namespaces, selector: pods, ..Entity::default() }
    }
}

const ORCHESTRATOR: &str = "projectcalico.org/orchestrator";

fn of_labels(selector: &LabelSelector) -> Selector {
    and(selector.requirements().iter().map(of_requirement))
}

fn and(terms: impl IntoIterator<Item = Selector>) -> Selector {
    let mut terms: Vec<Selector> = terms.into_iter().collect();
    match terms.len() {
        0 => Selector::All,
        1 => terms.remove(0),
        _ => Selector::And(terms),
    }
}

fn of_requirement(requirement: &Requirement) -> Selector {
    let key = requirement.key.clone();
    let values = || requirement.values.clone();
    match (requirement.operator, &requirement.values[..]) {
        (Operator::In, [one]) => Selector::Compare(key, Comparison::Equal(one.clone())),
        (Operator::NotIn, [one]) => Selector::Compare(key, Comparison::NotEqual(one.clone())),
        (Operator::In, _) => Selector::Compare(key, Comparison::In(values())),
        (Operator::NotIn, _) => Selector::Compare(key, Comparison::NotIn(values())),
        (Operator::Exists, _) => Selector::Has(key),
        (Operator::DoesNotExist, _) => Selector::Not(Box::new(Selector::Has(key))),
    }
}

/// Protocols with their ports, each of which is a rule; all of them where no port is listed.
fn packets(ports: &Ports) -> Vec<(Option<IpProtocol>, Vec<PortSpec>)> {
    let Ports::OneOf(ports) = ports else { return vec![(None, Vec::new())] };
    let mut by_protocol: BTreeMap<IpProtocol, Option<Vec<PortSpec>>> = BTreeMap::new();
    for port in ports {
        let listed = by_protocol.entry(port.protocol).or_insert_with(|| Some(Vec::new()));
        let spec = match &port.detail {
            Detail::All | Detail::Range(0, u16::MAX) => {
                *listed = None;
                continue;
            }
            Detail::Range(first, last) => PortSpec::Range(*first, *last),
            Detail::Named(name) | Detail::EveryNamed(name) => PortSpec::Named(Arc::clone(name)),
        };
        if let Some(listed) = listed.as_mut().filter(|l| !l.contains(&spec)) {
            listed.push(spec);
        }
    }
    let rules = |(protocol, listed): (IpProtocol, Option<Vec<PortSpec>>)| match listed {
        None => vec![(Some(protocol), Vec::new())],
        Some(ports) => ports.chunks(MOST_PORTS).map(|ports| (Some(protocol), ports.to_vec())).collect(),
    };
    by_protocol.into_iter().flat_map(rules).collect()
}

const fn action(action: Action) -> calico::Action {
    match action {
        Action::Allow => calico::Action::Allow,
        Action::Deny => calico::Action::Deny,
        Action::Log => calico::Action::Log,
        Action::Pass => calico::Action::Pass,
    }
}
