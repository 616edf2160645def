//! Services, and the addresses behind them.

use crate::value::Value;
use std::net::IpAddr;

use tortie_model::{
    Endpoint, EndpointPort, EndpointSlice, LabelSelector, Meta, Service, ServicePort, ServiceType, TargetPort,
    canonical,
};

use super::networkpolicy;
use crate::validation::{items, member, sloppy_cidr, text, texts};

pub(super) fn service(meta: Meta, value: &Value<'_>) -> Service {
    let spec = member(value, "spec").unwrap_or(&Value::Null);
    let written: Vec<&str> = if items(spec, "clusterIPs").is_empty() {
        vec![text(spec, "clusterIP")]
    } else {
        items(spec, "clusterIPs").iter().filter_map(Value::as_str).collect()
    };
    let selector: Vec<_> = texts(spec, "selector").collect();
    let kind = match text(spec, "type") {
        "NodePort" => ServiceType::NodePort,
        "LoadBalancer" => ServiceType::LoadBalancer,
        "ExternalName" => ServiceType::ExternalName,
        _ => ServiceType::ClusterIp,
    };
    let external = kind == ServiceType::ExternalName;
    let balancer = member(value, "status").and_then(|s| member(s, "loadBalancer"));
    let balancer = balancer.map(|b| items(b, "ingress")).unwrap_or_default().iter().map(|i| text(i, "ip"));
    let addresses = items(spec, "externalIPs").iter().filter_map(Value::as_str).chain(balancer);
    Service {
        meta,
        kind,
        selector: (!selector.is_empty()).then(|| LabelSelector::match_labels(selector)),
        cluster_ips: written.iter().filter_map(|ip| ip.parse::<IpAddr>().ok()).map(canonical).collect(),
        headless: written.contains(&"None"),
        external_name: external.then(|| text(spec, "externalName").into()),
        publish_not_ready: member(spec, "publishNotReadyAddresses").and_then(Value::as_bool).unwrap_or(false),
        external_ips: addresses.filter_map(|ip| ip.parse::<IpAddr>().ok()).map(canonical).collect(),
        source_ranges: items(spec, "loadBalancerSourceRanges")
            .iter()
            .filter_map(|r| sloppy_cidr(r.as_str()?.trim()).map(|c| c.network()))
            .collect(),
        keeps_source: text(spec, "externalTrafficPolicy") == "Local",
        ports: items(spec, "ports").iter().map(port).collect(),
    }
}

pub(super) fn endpoint_slice(meta: Meta, value: &Value<'_>) -> EndpointSlice {
    let endpoint = |endpoint: &Value<'_>| {
        let conditions = member(endpoint, "conditions").unwrap_or(&Value::Null);
        let target = member(endpoint, "targetRef").filter(|t| text(t, "kind") == "Pod");
        let addresses = items(endpoint, "addresses").iter().filter_map(|a| a.as_str()?.parse::<IpAddr>().ok());
        Endpoint {
            addresses: addresses.map(canonical).collect(),
            ready: member(conditions, "ready").and_then(Value::as_bool).unwrap_or(true),
            pod: target.map(|t| text(t, "name")).filter(|n| !n.is_empty()).map(Into::into),
        }
    };
    let port = |port: &Value<'_>| EndpointPort {
        name: text(port, "name").into(),
        protocol: networkpolicy::protocol(port),
        port: member(port, "port").and_then(number),
    };
    EndpointSlice {
        service: meta.labels.get("kubernetes.io/service-name").map(Into::into),
        meta,
        endpoints: items(value, "endpoints").iter().map(endpoint).collect(),
        ports: items(value, "ports").iter().map(port).collect(),
    }
}

fn number(value: &Value<'_>) -> Option<u16> {
    value.as_u64().and_then(|n| u16::try_from(n).ok())
}

fn port(port: &Value<'_>) -> ServicePort {
    let own = member(port, "port").and_then(number).unwrap_or_default();
    let target = match member(port, "targetPort") {
        Some(Value::String(name)) => TargetPort::Name((**name).into()),
        other => TargetPort::Number(other.and_then(number).unwrap_or(own)),
    };
    ServicePort {
        name: text(port, "name").into(),
        protocol: networkpolicy::protocol(port),
        port: own,
        target,
        node_port: member(port, "nodePort").and_then(number).filter(|n| *n > 0),
    }
}
