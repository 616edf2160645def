//! Kinds that are no policies: the parts that tortie reads, by the API server's rules.

use crate::value::Value;
use tortie_model::Kind;

use super::{Cause, Path, entry, items, label, member, metadata, name, text};

pub(super) const RANGE: &str = "must be between 1 and 65535, inclusive";

/// Metadata, labels, ports and addresses of an object.
pub(super) fn validate(kind: Kind, value: &Value<'_>, causes: &mut Vec<Cause>) {
    let rule: metadata::NameRule = match kind {
        Kind::Namespace => name::label,
        Kind::Service => name::dns_1035_label,
        _ => name::subdomain,
    };
    metadata::validate(value, rule, kind.is_namespaced(), causes);
    let root = Path::ROOT;
    let path = root.child("spec");
    let spec = member(value, "spec").unwrap_or(&Value::Null);
    match kind {
        Kind::Namespace | Kind::NetworkPolicy | Kind::ReferenceGrant | Kind::ServiceAccount => {}
        // Judged by the definitions of their resources.
        Kind::CalicoNetworkPolicy
        | Kind::GlobalNetworkPolicy
        | Kind::StagedNetworkPolicy
        | Kind::StagedGlobalNetworkPolicy
        | Kind::StagedKubernetesNetworkPolicy
        | Kind::Tier
        | Kind::NetworkSet
        | Kind::GlobalNetworkSet
        | Kind::Profile
        | Kind::HostEndpoint
        | Kind::ClusterNetworkPolicy
        | Kind::AdminNetworkPolicy
        | Kind::BaselineAdminNetworkPolicy => {}
        Kind::EndpointSlice => endpoint_slice(value, causes),
        Kind::Ingress => entry::ingress(spec, &path, causes),
        Kind::Gateway => entry::gateway(spec, &path, causes),
        Kind::HTTPRoute => entry::http_route(spec, &path, causes),
        Kind::Node => node(value, causes),
        Kind::Pod => {
            pod_spec(spec, &path, causes);
            pod_status(value, causes);
        }
        Kind::Service => service(spec, &path, causes),
        Kind::CronJob => {
            let job = path.child("jobTemplate");
            let job = job.child("spec");
            let value = member(spec, "jobTemplate").and_then(|j| member(j, "spec")).unwrap_or(&Value::Null);
            template(value, &job, causes);
        }
        Kind::Deployment
        | Kind::StatefulSet
        | Kind::DaemonSet
        | Kind::ReplicaSet
        | Kind::ReplicationController
        | Kind::Job => {
            for field in ["replicas", "parallelism", "completions"] {
                if let Some(n) = member(spec, field).and_then(Value::as_i64).filter(|n| *n < 0) {
                    let path = path.child(field);
                    causes.push(Cause::invalid_raw(&path, n, "must be greater than or equal to 0"));
                }
            }
            template(spec, &path, causes);
        }
    }
}

fn template(spec: &Value<'_>, path: &Path<'_>, causes: &mut Vec<Cause>) {
    let path = path.child("template");
    let Some(template) = member(spec, "template") else {
        causes.push(Cause::required(&path, ""));
        return;
    };
    if let Some(meta) = member(template, "metadata") {
        label::validate(meta, "labels", &path.child("metadata"), causes);
    }
    if let Some(spec) = member(template, "spec") {
        pod_spec(spec, &path.child("spec"), causes);
    }
}

fn pod_spec(spec: &Value<'_>, path: &Path<'_>, causes: &mut Vec<Cause>) {
    for list in ["initContainers", "containers"] {
        let containers = path.child(list);
        for (i, container) in items(spec, list).iter().enumerate() {
            let container_path = containers.index(i);
            let ports = container_path.child("ports");
            for (i, port) in items(container, "ports").iter().enumerate() {
                container_port(port, &ports.index(i), causes);
            }
        }
    }
}

fn container_port(port: &Value<'_>, path: &Path<'_>, causes: &mut Vec<Cause>) {
    let own = text(port, "name");
    if !own.is_empty() {
        let path = path.child("name");
        causes.extend(name::port(own).iter().map(|e| Cause::invalid(&path, own, e)));
    }
    let number_path = path.child("containerPort");
    match member(port, "containerPort").and_then(Value::as_i64).unwrap_or(0) {
        0 => causes.push(Cause::required(&number_path, "")),
        n if !(1..=65535).contains(&n) => causes.push(Cause::invalid_raw(&number_path, n, RANGE)),
        _ => {}
    }
    protocol(port, path, causes);
}

fn protocol(port: &Value<'_>, path: &Path<'_>, causes: &mut Vec<Cause>) {
    let protocol = text(port, "protocol");
    if !protocol.is_empty() && !["TCP", "UDP", "SCTP"].contains(&protocol) {
        causes.push(Cause::not_supported(&path.child("protocol"), protocol, &["SCTP", "TCP", "UDP"]));
    }
}

const ADDRESS: &str = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";

fn address(value: &str, path: &Path<'_>, causes: &mut Vec<Cause>) {
    if value.parse::<std::net::IpAddr>().is_err() {
        causes.push(Cause::invalid(path, value, ADDRESS));
    }
}

fn pod_status(pod: &Value<'_>, causes: &mut Vec<Cause>) {
    let root = Path::ROOT;
    let path = root.child("status");
    let Some(status) = member(pod, "status") else { return };
    let ip = text(status, "podIP");
    if !ip.is_empty() {
        address(ip, &path.child("podIP"), causes);
    }
    let list = path.child("podIPs");
    for (i, ip) in items(status, "podIPs").iter().enumerate() {
        address(text(ip, "ip"), &list.index(i).child("ip"), causes);
    }
}

fn node(node: &Value<'_>, causes: &mut Vec<Cause>) {
    let root = Path::ROOT;
    let path = root.child("spec");
    let spec = member(node, "spec").unwrap_or(&Value::Null);
    let block = |text: &str, path: &Path<'_>, causes: &mut Vec<Cause>| {
        if text.parse::<ipnet::IpNet>().is_err() {
            let detail = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";
            causes.push(Cause::invalid(path, text, detail));
        }
    };
    let one = text(spec, "podCIDR");
    if !one.is_empty() {
        block(one, &path.child("podCIDR"), causes);
    }
    let list = path.child("podCIDRs");
    for (i, cidr) in items(spec, "podCIDRs").iter().enumerate() {
        block(cidr.as_str().unwrap_or_default(), &list.index(i), causes);
    }
}

fn endpoint_slice(slice: &Value<'_>, causes: &mut Vec<Cause>) {
    let root = Path::ROOT;
    // `FQDN` is deprecated, and nothing sends to names.
    let names = text(slice, "addressType") == "FQDN";
    let endpoints = root.child("endpoints");
    for (i, endpoint) in items(slice, "endpoints").iter().enumerate().filter(|_| !names) {
        let path = endpoints.index(i);
        let list = path.child("addresses");
        for (i, ip) in items(endpoint, "addresses").iter().enumerate() {
            address(ip.as_str().unwrap_or_default(), &list.index(i), causes);
        }
    }
    let ports = root.child("ports");
    for (i, port) in items(slice, "ports").iter().enumerate() {
        let path = ports.index(i);
        if let Some(n) = member(port, "port").and_then(Value::as_i64).filter(|n| !(1..=65535).contains(n)) {
            causes.push(Cause::invalid_raw(&path.child("port"), n, RANGE));
        }
        protocol(port, &path, causes);
    }
}

fn service(spec: &Value<'_>, path: &Path<'_>, causes: &mut Vec<Cause>) {
    label::validate(spec, "selector", path, causes);
    let ip = text(spec, "clusterIP");
    if !ip.is_empty() && ip != "None" {
        address(ip, &path.child("clusterIP"), causes);
    }
    let list = path.child("clusterIPs");
    for (i, ip) in items(spec, "clusterIPs").iter().enumerate() {
        let ip = ip.as_str().unwrap_or_default();
        if ip != "None" {
            address(ip, &list.index(i), causes);
        }
    }
    let ports = path.child("ports");
    for (i, port) in items(spec, "ports").iter().enumerate() {
        let path = ports.index(i);
        let number = member(port, "port").and_then(Value::as_i64).unwrap_or(0);
        if !(1..=65535).contains(&number) {
            causes.push(Cause::invalid_raw(&path.child("port"), number, RANGE));
        }
        let target = path.child("targetPort");
        match member(port, "targetPort") {
            Some(Value::String(text)) => {
                causes.extend(name::port(text).iter().map(|e| Cause::invalid(&target, text, e)));
            }
            Some(n) => {
                let n = n.as_i64().unwrap_or(0);
                if !(1..=65535).contains(&n) {
                    causes.push(Cause::invalid_raw(&target, n, RANGE));
                }
            }
            None => {}
        }
        protocol(port, &path, causes);
    }
}
