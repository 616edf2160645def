//! Calico's policies, with their defaults (`api/pkg/defaults/networkpolicy.go`).

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use tortie_model::calico::{
    Action, Class, Entity, Icmp, Policy, Rule, Selector, ServiceAccounts, ServiceMatch, Staged, StagedAction,
    StagedPolicy,
};
use tortie_model::{Family, IpProtocol, Kind, Meta, Order, PortSpec};

use super::networkpolicy;
use crate::validation::{items, member, port_numbers, sloppy_cidr, text};
use crate::value::Value;

pub(super) fn policy(meta: Meta, value: &Value<'_>) -> Policy {
    let spec = member(value, "spec").unwrap_or(&Value::Null);
    let (ingress, egress) = (rules(spec, "ingress"), rules(spec, "egress"));
    let types = items(spec, "types");
    let names = |name: &str| types.iter().any(|t| t.as_str() == Some(name));
    // Without types: those of which there are rules, and ingress when there are none.
    let (has_ingress, has_egress) = match (types.is_empty(), ingress.is_empty(), egress.is_empty()) {
        (false, ..) => (names("Ingress"), names("Egress")),
        (true, no_ingress, no_egress) => (!no_ingress || no_egress, !no_egress),
    };
    let flag = |field: &str| member(spec, field).and_then(Value::as_bool).unwrap_or(false);
    Policy {
        meta,
        tier: match text(spec, "tier") {
            "" => "default".into(),
            tier => tier.into(),
        },
        order: order(spec).unwrap_or(Order::NONE),
        selector: selector(spec, "selector").unwrap_or(Selector::All),
        namespaces: selector(spec, "namespaceSelector"),
        service_accounts: selector(spec, "serviceAccountSelector"),
        ingress: has_ingress.then_some(ingress),
        egress: has_egress.then_some(egress),
        class: match (flag("doNotTrack"), flag("preDNAT"), flag("applyOnForward")) {
            (true, ..) => Class::DoNotTrack,
            (_, true, _) => Class::PreDnat,
            (_, _, true) => Class::Forward,
            _ => Class::Normal,
        },
    }
}

/// A policy to try out, of one of the three kinds.
pub(super) fn staged(kind: Kind, meta: Meta, value: &Value<'_>) -> Staged {
    let spec = member(value, "spec").unwrap_or(&Value::Null);
    let action = match text(spec, "stagedAction") {
        "Delete" => StagedAction::Delete,
        "Learn" => StagedAction::Learn,
        "Ignore" => StagedAction::Ignore,
        _ => StagedAction::Set,
    };
    let policy = if kind == Kind::StagedKubernetesNetworkPolicy {
        StagedPolicy::Kubernetes(networkpolicy::policy(meta, value))
    } else {
        StagedPolicy::Calico(policy(meta, value))
    };
    Staged { action, policy }
}

/// `order`, when it is written.
pub(super) fn order(spec: &Value<'_>) -> Option<Order> {
    member(spec, "order").and_then(Value::as_f64).map(Order::new)
}

pub(super) fn rules(spec: &Value<'_>, direction: &str) -> Vec<Rule> {
    items(spec, direction).iter().map(rule).collect()
}

fn rule(rule: &Value<'_>) -> Rule {
    let version = member(rule, "ipVersion").and_then(Value::as_u64);
    // A name says which IP version it is of, a number does not.
    let implied = match member(rule, "protocol").and_then(Value::as_str) {
        Some(name) if name.eq_ignore_ascii_case("ICMP") => Some(Family::V4),
        Some(name) if name.eq_ignore_ascii_case("ICMPv6") => Some(Family::V6),
        _ => None,
    };
    Rule {
        action: match text(rule, "action") {
            "Allow" => Action::Allow,
            "Log" => Action::Log,
            "Pass" => Action::Pass,
            _ => Action::Deny,
        },
        family: match version {
            Some(4) => Some(Family::V4),
            Some(6) => Some(Family::V6),
            _ => implied,
        },
        protocol: protocol(rule, "protocol"),
        not_protocol: protocol(rule, "notProtocol"),
        icmp: icmp(rule, "icmp"),
        not_icmp: icmp(rule, "notICMP"),
        source: entity(rule, "source"),
        destination: entity(rule, "destination"),
        http: member(rule, "http").is_some(),
    }
}

fn protocol(rule: &Value<'_>, field: &str) -> Option<IpProtocol> {
    let value = member(rule, field)?;
    let number = |n: u64| u8::try_from(n).ok().map(IpProtocol);
    let Some(text) = value.as_str() else { return number(value.as_u64()?) };
    match text.to_ascii_uppercase().as_str() {
        "TCP" => Some(IpProtocol::TCP),
        "UDP" => Some(IpProtocol::UDP),
        "ICMP" => Some(IpProtocol::ICMP),
        "ICMPV6" => Some(IpProtocol::ICMPV6),
        "SCTP" => Some(IpProtocol::SCTP),
        "UDPLITE" => Some(IpProtocol(136)),
        other => number(other.parse().ok()?),
    }
}

fn icmp(rule: &Value<'_>, field: &str) -> Option<Icmp> {
    let value = member(rule, field)?;
    let number = |field: &str| member(value, field).and_then(Value::as_u64).and_then(|n| u8::try_from(n).ok());
    Some(Icmp { kind: number("type"), code: number("code") })
}

fn entity(rule: &Value<'_>, field: &str) -> Entity {
    let Some(value) = member(rule, field) else { return Entity::default() };
    Entity {
        nets: nets(value, "nets"),
        not_nets: nets(value, "notNets"),
        selector: selector(value, "selector"),
        not_selector: selector(value, "notSelector"),
        namespaces: selector(value, "namespaceSelector"),
        ports: ports(value, "ports"),
        not_ports: ports(value, "notPorts"),
        service: member(value, "services").map(|service| ServiceMatch {
            name: text(service, "name").into(),
            namespace: Some(text(service, "namespace")).filter(|ns| !ns.is_empty()).map(Arc::from),
        }),
        service_accounts: member(value, "serviceAccounts").map(|accounts| ServiceAccounts {
            names: items(accounts, "names").iter().filter_map(|n| Some(n.as_str()?.into())).collect(),
            selector: selector(accounts, "selector"),
        }),
    }
}

/// A selector; the empty text is none.
fn selector(holder: &Value<'_>, field: &str) -> Option<Selector> {
    let text = text(holder, field);
    let parsed = || text.parse().expect("validation has read this selector");
    (!text.trim().is_empty()).then(parsed)
}

/// Addresses and blocks; an address is the block of itself, and IPv4 in the form of IPv6 is IPv4, as no packet tells them
/// apart.
pub(super) fn nets(holder: &Value<'_>, field: &str) -> Vec<IpNet> {
    items(holder, field).iter().filter_map(|net| self::net(net.as_str()?)).collect()
}

fn net(text: &str) -> Option<IpNet> {
    let net = text.parse::<IpAddr>().map(IpNet::from).ok().or_else(|| sloppy_cidr(text).map(|cidr| cidr.network()))?;
    let mapped = |net: Ipv6Net| Ipv4Net::new(net.addr().to_ipv4_mapped()?, net.prefix_len().checked_sub(96)?).ok();
    match net {
        IpNet::V6(v6) => Some(mapped(v6).map_or(net, IpNet::V4)),
        IpNet::V4(_) => Some(net),
    }
}

fn ports(holder: &Value<'_>, field: &str) -> Vec<PortSpec> {
    let port = |port: &Value<'_>| {
        let number = |n: u64| u16::try_from(n).unwrap_or_default();
        match port.as_str() {
            Some(text) => match port_numbers(text) {
                Some((first, last)) => PortSpec::Range(number(first), number(last)),
                None => PortSpec::Named(text.into()),
            },
            None => {
                let n = number(port.as_u64().unwrap_or_default());
                PortSpec::Range(n, n)
            }
        }
    };
    items(holder, field).iter().map(port).collect()
}
