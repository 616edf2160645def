//! Calico's policies, with every field.

use std::sync::Arc;

use tortie_model::calico::{
    Action, Class, Comparison, Entity, Icmp, Policy, Rule, Selector, ServiceAccounts, ServiceMatch,
};
use tortie_model::{Direction, Family, IpProtocol, Meta, Order, PortSpec};

use super::apis::{ACCOUNTS, ROLE, SERVICES, TIERS, keys, net};
use super::{NAMESPACES, PORT_NAMES, PORTS};
use crate::Rng;

/// Names that only a comparison of the joined string sorts as Calico does.
pub(super) const NAMES: [&str; 4] = ["allow", "allow-web", "allow.x", "allow0"];
/// Priorities of cluster policies.
pub(super) const PRIORITIES: [u16; 3] = [0, 5, 1000];

/// A NetworkPolicy or GlobalNetworkPolicy of Calico.
pub(super) fn policy(rng: &mut Rng) -> Policy {
    let namespace: Arc<str> = if rng.chance(45) { "".into() } else { (*rng.pick(&NAMESPACES)).into() };
    let global = namespace.is_empty();
    let rules = |rng: &mut Rng, direction| rng.several(0, 5, |rng| rule(rng, &namespace, direction));
    let ingress = rng.maybe(70, |rng| rules(rng, Direction::Ingress));
    let egress = rng.maybe(if ingress.is_none() { 100 } else { 50 }, |rng| rules(rng, Direction::Egress));
    let tier = match rng.below(100) {
        0..35 => "default",
        35..50 => "kube-admin",
        50..60 => "kube-baseline",
        _ => *rng.pick(&TIERS),
    };
    Policy {
        tier: tier.into(),
        // Often that of the policies of another API in the same tier.
        order: match tier {
            "default" if rng.chance(30) => Order::new(1000.0),
            "kube-admin" | "kube-baseline" if rng.chance(60) => Order::new(f64::from(*rng.pick(&PRIORITIES))),
            _ => order(rng),
        },
        selector: if rng.chance(60) { Selector::All } else { selector(rng) },
        namespaces: if global { rng.maybe(25, of_namespace) } else { None },
        service_accounts: rng.maybe(12, of_account),
        ingress,
        egress,
        class: match rng.below(100) {
            0..2 if global => Class::DoNotTrack,
            2..4 if global => Class::PreDnat,
            4..8 if global => Class::Forward,
            _ => Class::Normal,
        },
        meta: Meta { namespace, name: (*rng.pick(&NAMES)).into(), ..Meta::default() },
    }
}

fn order(rng: &mut Rng) -> Order {
    match rng.below(100) {
        0..25 => Order::NONE,
        25..40 => Order::new(1000.0),
        _ => Order::new(*rng.pick(&[-1.5, 0.0, 5.0, 5.0, 999.5, 1001.0])),
    }
}

fn rule(rng: &mut Rng, namespace: &str, direction: Direction) -> Rule {
    let protocol = rng.maybe(42, |rng| match rng.below(100) {
        0..45 => IpProtocol::TCP,
        45..65 => IpProtocol::UDP,
        65..75 => IpProtocol::SCTP,
        75..85 => IpProtocol::ICMP,
        85..92 => IpProtocol::ICMPV6,
        _ => IpProtocol(47),
    });
    let by_name = protocol.is_some_and(IpProtocol::is_icmp) && rng.chance(50);
    let family = match protocol {
        Some(IpProtocol::ICMP) if by_name => Some(Family::V4),
        Some(IpProtocol::ICMPV6) if by_name => Some(Family::V6),
        _ => rng.maybe(10, |rng| *rng.pick(&Family::ALL)),
    };
    // Ports need a protocol that has some; without any protocol, names alone may be written.
    let ports = match protocol {
        None => Some(false),
        Some(protocol) => protocol.transport().map(|_| true),
    };
    let (peer, own) = (peer(rng, namespace), own(rng));
    let (mut source, mut destination) = match direction {
        Direction::Ingress => (peer, own),
        Direction::Egress => (own, peer),
    };
    if let Some(numbers) = ports {
        let often = if numbers { [10, 9, 50, 15] } else { [4, 4, 15, 8] };
        let mut some = |percent| if rng.chance(percent) { self::ports(rng, numbers) } else { vec![] };
        (source.ports, source.not_ports) = (some(often[0]), some(often[1]));
        if destination.service.is_none() {
            (destination.ports, destination.not_ports) = (some(often[2]), some(often[3]));
        }
    }
    Rule {
        action: *rng.pick(&[Action::Allow, Action::Allow, Action::Deny, Action::Pass, Action::Log]),
        family,
        protocol,
        not_protocol: rng.maybe(8, |rng| *rng.pick(&[IpProtocol::TCP, IpProtocol::UDP, IpProtocol::ICMP])),
        icmp: if protocol.is_some_and(IpProtocol::is_icmp) { rng.maybe(60, icmp) } else { None },
        not_icmp: rng.maybe(8, |rng| Icmp { kind: Some(8), ..icmp(rng) }),
        source,
        destination,
        http: false,
    }
}

fn icmp(rng: &mut Rng) -> Icmp {
    let kind = *rng.pick(&[8, 8, 3, 128]);
    match rng.below(10) {
        0 => Icmp { kind: None, code: None },
        1..6 => Icmp { kind: Some(kind), code: None },
        _ => Icmp { kind: Some(kind), code: Some(*rng.pick(&[0, 1])) },
    }
}

fn ports(rng: &mut Rng, numbers: bool) -> Vec<PortSpec> {
    rng.several(1, 3, |rng| {
        if !numbers || rng.chance(30) {
            return PortSpec::Named((*rng.pick(&PORT_NAMES)).into());
        }
        let (a, b) = (*rng.pick(&PORTS), *rng.pick(&PORTS));
        if rng.chance(60) { PortSpec::Range(a, a) } else { PortSpec::Range(a.min(b), a.max(b)) }
    })
}

/// The end that is not the endpoint's own.
fn peer(rng: &mut Rng, namespace: &str) -> Entity {
    if rng.chance(12) {
        let elsewhere = *rng.pick(&NAMESPACES);
        let own = !namespace.is_empty() && rng.chance(50);
        let service = ServiceMatch {
            name: (*rng.pick(&SERVICES)).into(),
            namespace: if own { None } else { Some(elsewhere.into()) },
        };
        return Entity { service: Some(service), ..Entity::default() };
    }
    if rng.chance(18) { Entity::default() } else { entity(rng) }
}

/// The endpoint's own end, of which rules seldom speak.
fn own(rng: &mut Rng) -> Entity {
    if rng.chance(22) { entity(rng) } else { Entity::default() }
}

/// At least one criterion, most often one alone.
fn entity(rng: &mut Rng) -> Entity {
    let mut out = Entity::default();
    for _ in 0..1 + usize::from(rng.chance(30)) {
        match rng.below(100) {
            0..22 => out.nets = rng.several(1, 3, net),
            22..32 => out.not_nets = rng.several(1, 2, net),
            32..55 => out.selector = Some(selector(rng)),
            55..68 => out.not_selector = Some(selector(rng)),
            68..86 => out.namespaces = Some(if rng.chance(15) { Selector::Global } else { of_namespace(rng) }),
            _ => {
                out.service_accounts = Some(ServiceAccounts {
                    names: if rng.chance(60) { rng.several(1, 2, |r| (*r.pick(&ACCOUNTS)).into()) } else { vec![] },
                    selector: rng.maybe(50, of_account),
                });
            }
        }
    }
    out
}

/// A selector of labels of endpoints, those among them that tell where they are.
pub(super) fn selector(rng: &mut Rng) -> Selector {
    let mut known: Vec<(&str, Vec<&str>)> = keys().map(|(k, v)| (k, v.to_vec())).collect();
    if rng.chance(30) {
        known = vec![
            ("projectcalico.org/namespace", NAMESPACES.to_vec()),
            ("projectcalico.org/orchestrator", vec!["k8s"]),
            ("projectcalico.org/serviceaccount", ACCOUNTS.to_vec()),
            ("pcns.env", vec!["x", "y"]),
            ("pcns.projectcalico.org/name", NAMESPACES.to_vec()),
            ("pcsa.role", ROLE.1.to_vec()),
        ];
    }
    expression(rng, &known, 2)
}

/// A selector of labels of namespaces.
fn of_namespace(rng: &mut Rng) -> Selector {
    if rng.chance(15) {
        return Selector::All;
    }
    let mut known: Vec<(&str, Vec<&str>)> = keys().map(|(k, v)| (k, v.to_vec())).collect();
    if rng.chance(40) {
        // The last is none that a namespace has.
        let names = ["projectcalico.org/name", "kubernetes.io/metadata.name", "projectcalico.org/namespace"];
        known = names.map(|key| (key, NAMESPACES.to_vec())).to_vec();
    }
    expression(rng, &known, 1)
}

/// A selector of labels of service accounts.
fn of_account(rng: &mut Rng) -> Selector {
    let known = [(ROLE.0, ROLE.1.to_vec()), ("projectcalico.org/name", ACCOUNTS.to_vec())];
    if rng.chance(10) { Selector::All } else { expression(rng, &known, 1) }
}

fn expression(rng: &mut Rng, known: &[(&str, Vec<&str>)], depth: usize) -> Selector {
    if depth > 0 && rng.chance(25) {
        let terms = rng.several(2, 3, |rng| expression(rng, known, depth - 1));
        return if rng.chance(50) { Selector::And(terms) } else { Selector::Or(terms) };
    }
    if rng.chance(15) {
        return Selector::Not(Box::new(expression(rng, known, depth.saturating_sub(1))));
    }
    let (key, values) = rng.pick(known);
    let value: &str = rng.pick::<&str>(values);
    let part = |rng: &mut Rng| -> Arc<str> {
        let at = rng.below(value.len() + 1);
        (if rng.chance(50) { &value[..at] } else { &value[at..] }).into()
    };
    let mut several: Vec<Arc<str>> = rng.several(0, 3, |rng| (*rng.pick::<&str>(values)).into());
    several.sort_unstable();
    several.dedup();
    let comparison = match rng.below(100) {
        0..12 => return Selector::Has((*key).into()),
        12..15 if depth > 0 => return Selector::All,
        12..45 => Comparison::Equal(value.into()),
        45..57 => Comparison::NotEqual(value.into()),
        57..65 => Comparison::Contains(part(rng)),
        65..73 => Comparison::StartsWith(part(rng)),
        73..81 => Comparison::EndsWith(part(rng)),
        81..92 => Comparison::In(several),
        _ => Comparison::NotIn(several),
    };
    Selector::Compare((*key).into(), comparison)
}
