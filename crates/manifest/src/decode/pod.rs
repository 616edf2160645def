//! Pods, their templates, and nodes.

use crate::value::Value;
use std::net::IpAddr;

use tortie_model::{ContainerPort, Meta, Node, Phase, Pod, PodTemplate, canonical};

use super::{meta, networkpolicy};
use crate::validation::{items, member, text};

pub(super) fn pod(meta: Meta, value: &Value<'_>) -> Pod {
    let spec = template(value);
    let status = member(value, "status").unwrap_or(&Value::Null);
    let mut ips: Vec<IpAddr> = items(status, "podIPs").iter().filter_map(|i| text(i, "ip").parse().ok()).collect();
    if ips.is_empty() {
        ips.extend(text(status, "podIP").parse::<IpAddr>());
    }
    let phase = match text(status, "phase") {
        "Pending" => Phase::Pending,
        "Succeeded" => Phase::Succeeded,
        "Failed" => Phase::Failed,
        _ => Phase::Running,
    };
    let ready = items(status, "conditions").iter().find(|c| text(c, "type") == "Ready");
    Pod {
        owner: meta::owner(value, &meta.namespace),
        meta,
        node: spec.node,
        host_network: spec.host_network,
        ips: ips.into_iter().map(canonical).collect(),
        ports: spec.ports,
        phase,
        // A file that says nothing means a pod that works.
        ready: ready.is_none_or(|c| text(c, "status") == "True"),
        service_account: spec.service_account,
    }
}

/// The `metadata` and `spec` of a pod or of a pod template.
pub(super) fn template(value: &Value<'_>) -> PodTemplate {
    let spec = member(value, "spec").unwrap_or(&Value::Null);
    let account = [text(spec, "serviceAccountName"), text(spec, "serviceAccount"), "default"];
    // An init container that restarts always is a sidecar: it runs as long as the pod.
    let sidecars = items(spec, "initContainers").iter().filter(|c| text(c, "restartPolicy") == "Always");
    let ports = sidecars.chain(items(spec, "containers")).flat_map(|c| items(c, "ports")).map(container_port);
    PodTemplate {
        labels: member(value, "metadata").map(meta::labels).unwrap_or_default(),
        node: Some(text(spec, "nodeName")).filter(|n| !n.is_empty()).map(Into::into),
        host_network: member(spec, "hostNetwork").and_then(Value::as_bool).unwrap_or(false),
        ports: ports.collect(),
        service_account: account.into_iter().find(|a| !a.is_empty()).unwrap_or_default().into(),
    }
}

fn container_port(port: &Value<'_>) -> ContainerPort {
    let number = member(port, "containerPort").and_then(Value::as_u64).and_then(|n| u16::try_from(n).ok());
    ContainerPort {
        name: Some(text(port, "name")).filter(|n| !n.is_empty()).map(Into::into),
        protocol: networkpolicy::protocol(port),
        number: number.unwrap_or_default(),
    }
}

pub(super) fn node(meta: Meta, value: &Value<'_>) -> Node {
    let spec = member(value, "spec").unwrap_or(&Value::Null);
    let status = member(value, "status").unwrap_or(&Value::Null);
    let mut pod_cidrs: Vec<ipnet::IpNet> =
        items(spec, "podCIDRs").iter().filter_map(|c| c.as_str()?.parse().ok()).collect();
    if pod_cidrs.is_empty() {
        pod_cidrs.extend(text(spec, "podCIDR").parse::<ipnet::IpNet>());
    }
    // Host names stand in the same list.
    let addresses = items(status, "addresses").iter().filter_map(|a| text(a, "address").parse().ok());
    Node { meta, addresses: addresses.map(canonical).collect(), pod_cidrs }
}
