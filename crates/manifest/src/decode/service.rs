//! Services.

use crate::value::Value;
use std::net::IpAddr;

use tortie_model::{LabelSelector, Meta, Service, ServicePort, TargetPort, canonical};

use super::networkpolicy;
use crate::validation::{items, member, text, texts};

pub(super) fn service(meta: Meta, value: &Value<'_>) -> Service {
    let spec = member(value, "spec").unwrap_or(&Value::Null);
    let written: Vec<&str> = if items(spec, "clusterIPs").is_empty() {
        vec![text(spec, "clusterIP")]
    } else {
        items(spec, "clusterIPs").iter().filter_map(Value::as_str).collect()
    };
    let selector: Vec<_> = texts(spec, "selector").collect();
    let external = text(spec, "type") == "ExternalName";
    Service {
        meta,
        selector: (!selector.is_empty()).then(|| LabelSelector::match_labels(selector)),
        cluster_ips: written.iter().filter_map(|ip| ip.parse::<IpAddr>().ok()).map(canonical).collect(),
        headless: written.contains(&"None"),
        external_name: external.then(|| text(spec, "externalName").into()),
        publish_not_ready: member(spec, "publishNotReadyAddresses").and_then(Value::as_bool).unwrap_or(false),
        ports: items(spec, "ports").iter().map(port).collect(),
    }
}

fn port(port: &Value<'_>) -> ServicePort {
    let number = |v: &Value<'_>| v.as_u64().and_then(|n| u16::try_from(n).ok());
    let own = member(port, "port").and_then(number).unwrap_or_default();
    let target = match member(port, "targetPort") {
        Some(Value::String(name)) => TargetPort::Name((**name).into()),
        other => TargetPort::Number(other.and_then(number).unwrap_or(own)),
    };
    ServicePort { name: text(port, "name").into(), protocol: networkpolicy::protocol(port), port: own, target }
}
