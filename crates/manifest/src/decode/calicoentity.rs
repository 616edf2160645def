//! What Calico's policies stand in and speak of.

use std::net::IpAddr;

use tortie_model::calico::{HostEndpoint, NetworkSet, Profile, Tier};
use tortie_model::{ContainerPort, Meta, Order, canonical};

use super::{calico, networkpolicy};
use crate::validation::{items, member, text, texts};
use crate::value::Value;

/// Where a tier stands that says nothing (`libcalico-go/lib/resources/tier.go`).
const TIER_ORDER: f64 = 1_000_000.0;

pub(super) fn tier(meta: Meta, value: &Value<'_>) -> Tier {
    let spec = member(value, "spec").unwrap_or(&Value::Null);
    Tier {
        meta,
        order: calico::order(spec).unwrap_or(Order::new(TIER_ORDER)),
        passes: text(spec, "defaultAction") == "Pass",
    }
}

pub(super) fn network_set(meta: Meta, value: &Value<'_>) -> NetworkSet {
    let spec = member(value, "spec").unwrap_or(&Value::Null);
    NetworkSet { meta, nets: calico::nets(spec, "nets") }
}

pub(super) fn profile(meta: Meta, value: &Value<'_>) -> Profile {
    let spec = member(value, "spec").unwrap_or(&Value::Null);
    Profile {
        meta,
        ingress: calico::rules(spec, "ingress"),
        egress: calico::rules(spec, "egress"),
        labels_to_apply: texts(spec, "labelsToApply").collect(),
    }
}

pub(super) fn host_endpoint(meta: Meta, value: &Value<'_>) -> HostEndpoint {
    let spec = member(value, "spec").unwrap_or(&Value::Null);
    let addresses = items(spec, "expectedIPs").iter().filter_map(|ip| ip.as_str()?.parse::<IpAddr>().ok());
    let port = |port: &Value<'_>| ContainerPort {
        name: Some(text(port, "name").into()),
        protocol: networkpolicy::protocol(port),
        number: member(port, "port").and_then(Value::as_u64).and_then(|n| u16::try_from(n).ok()).unwrap_or_default(),
    };
    HostEndpoint {
        meta,
        node: text(spec, "node").into(),
        interface: text(spec, "interfaceName").into(),
        addresses: addresses.map(canonical).collect(),
        profiles: items(spec, "profiles").iter().filter_map(|p| Some(p.as_str()?.into())).collect(),
        ports: items(spec, "ports").iter().map(port).collect(),
    }
}
