//! Calico's policies.

use std::net::IpAddr;

use tortie_model::calico::{Class, Entity, Icmp, Policy, Rule, ServiceMatch};
use tortie_model::{Direction, Family, Pod, PortSpec, Protocol};

use super::labels::{Endpoint, Of, acts_as, endpoints_at, holds, of_pod};
use super::{pod_at, transport};
use crate::cluster::{Cluster, Flow};

/// The rules of a policy for a direction of a pod, when it governs it. What hosts are asked before tracking or NAT is
/// nothing to pods.
pub(crate) fn governs<'c>(
    cluster: &Cluster,
    policy: &'c Policy,
    pod: &Pod,
    direction: Direction,
) -> Option<&'c [Rule]> {
    let rules = match direction {
        Direction::Ingress => policy.ingress.as_ref()?,
        Direction::Egress => policy.egress.as_ref()?,
    };
    let endpoint = of_pod(cluster, pod);
    let selects = matches!(policy.class, Class::Normal | Class::Forward)
        && (policy.meta.namespace.is_empty() || policy.meta.namespace == pod.meta.namespace)
        && holds(&policy.selector, Of::Endpoint, &endpoint)
        && policy.namespaces.as_ref().is_none_or(|s| holds(s, Of::Namespace, &endpoint))
        && policy.service_accounts.as_ref().is_none_or(|s| holds(s, Of::Account, &endpoint));
    selects.then_some(rules)
}

/// Whether a rule matches: all that is written must hold.
pub(super) fn matches(cluster: &Cluster, policy: &Policy, rule: &Rule, direction: Direction, flow: Flow) -> bool {
    let protocol = flow.traffic.protocol;
    let [kind, code] = flow.traffic.detail.to_be_bytes();
    let is = |icmp: Icmp| {
        matches!(protocol.0, 1 | 58) && icmp.kind.is_none_or(|k| k == kind) && icmp.code.is_none_or(|c| c == code)
    };
    let transport = transport(protocol);
    rule.family.is_none_or(|family| (family == Family::V4) == flow.from.is_ipv4())
        && rule.protocol.is_none_or(|p| p == protocol)
        && rule.not_protocol.is_none_or(|p| p != protocol)
        && rule.icmp.is_none_or(is)
        && !rule.not_icmp.is_some_and(is)
        && entity_matches(cluster, policy, &rule.source, flow.from, transport.map(|p| (p, flow.source_port)))
        && entity_matches(cluster, policy, &rule.destination, flow.to, transport.map(|p| (p, flow.traffic.detail)))
        && service_matches(cluster, policy, rule, direction, flow)
}

/// One end of the packet: its address, and its port when the protocol has ports.
fn entity_matches(
    cluster: &Cluster,
    policy: &Policy,
    entity: &Entity,
    ip: IpAddr,
    port: Option<(Protocol, u16)>,
) -> bool {
    if !entity.nets.is_empty() && !entity.nets.iter().any(|net| net.contains(&ip)) {
        return false;
    }
    // A net of the other family holds no address of this one, and so excludes none.
    if entity.not_nets.iter().any(|net| net.contains(&ip)) {
        return false;
    }

    let here = endpoints_at(cluster, ip);
    let of_namespace = |endpoint: &Endpoint| match &entity.namespaces {
        Some(selector) => holds(selector, Of::Namespace, endpoint),
        None => policy.meta.namespace.is_empty() || policy.meta.namespace == endpoint.namespace,
    };
    let of_accounts = |endpoint: &Endpoint| {
        entity.service_accounts.as_ref().is_none_or(|accounts| {
            (accounts.names.is_empty() || acts_as(endpoint, &accounts.names))
                && accounts.selector.as_ref().is_none_or(|s| holds(s, Of::Account, endpoint))
        })
    };
    let by_selector = |endpoint: &Endpoint| entity.selector.as_ref().is_none_or(|s| holds(s, Of::Endpoint, endpoint));
    let excluded = |endpoint: &Endpoint| entity.not_selector.as_ref().is_some_and(|s| holds(s, Of::Endpoint, endpoint));

    // Service accounts of which neither names nor labels are written are not written.
    let accounts = entity.service_accounts.as_ref().is_some_and(|a| !a.names.is_empty() || a.selector.is_some());
    let selects = entity.selector.is_some() || entity.namespaces.is_some() || accounts;
    // As soon as anything is selected in a policy of a namespace, the end is limited to that namespace.
    let limited = !policy.meta.namespace.is_empty() && entity.not_selector.is_some();
    let positive = selects || limited;
    let member = |endpoint: &Endpoint| {
        !positive || of_namespace(endpoint) && of_accounts(endpoint) && by_selector(endpoint) && !excluded(endpoint)
    };
    // With nothing to be selected by, an address that no endpoint has is not excluded.
    let selected = if positive { here.iter().any(member) } else { !here.iter().any(excluded) };

    let is = |spec: &PortSpec| {
        port.is_some_and(|(protocol, number)| match spec {
            PortSpec::All => true,
            PortSpec::Range(first, last) => *first <= number && number <= *last,
            // "Resolves on the pod that owns the address": whatever else selects that address.
            PortSpec::Named(name) => pod_at(cluster, ip).is_some_and(|pod| {
                pod.ports.iter().any(|p| p.name.as_ref() == Some(name) && p.protocol == protocol && p.number == number)
            }),
        })
    };
    selected && (entity.ports.is_empty() || entity.ports.iter().any(is)) && !entity.not_ports.iter().any(is)
}

/// `services`: the destination of egress with its port, the source of ingress whatever its port.
fn service_matches(cluster: &Cluster, policy: &Policy, rule: &Rule, direction: Direction, flow: Flow) -> bool {
    let (service, ip) = match direction {
        Direction::Egress => (&rule.destination.service, flow.to),
        Direction::Ingress => (&rule.source.service, flow.from),
    };
    let Some(ServiceMatch { name, namespace }) = service else { return true };
    let namespace = namespace.as_ref().unwrap_or(&policy.meta.namespace);
    cluster.endpoint_slices.iter().any(|slice| {
        let of_service = slice.meta.namespace == *namespace && slice.service.as_ref() == Some(name);
        // Ready or not.
        let has_address = slice.endpoints.iter().any(|e| e.addresses.contains(&ip));
        let has_port = || {
            // A port without number contributes nothing.
            slice
                .ports
                .iter()
                .any(|p| transport(flow.traffic.protocol) == Some(p.protocol) && p.port == Some(flow.traffic.detail))
        };
        of_service && has_address && (direction == Direction::Ingress || has_port())
    })
}
