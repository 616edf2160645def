//! Clusters as manifests: for what reads texts.

use serde_json::{Value, json};
use tortie_model::{
    Kind, LabelSelector, Labels, Meta, NetworkPolicy, Node, PeerRule, Phase, Pod, PolicyPeer, PolicyPort, PortSpec,
};

use crate::cluster::Cluster;

/// The namespaces, nodes, pods and NetworkPolicies of a cluster. A policy without a direction is left out: written down,
/// the API server would give it one.
#[must_use]
pub fn manifests(cluster: &Cluster) -> Vec<Value> {
    let namespaces = cluster.namespaces.iter().map(|n| {
        let metadata = json!({"name": &**n.name(), "labels": labels(n.labels())});
        object(Kind::Namespace, metadata, json!({}))
    });
    let governing = cluster.policies.iter().filter(|p| p.ingress.is_some() || p.egress.is_some());
    namespaces
        .chain(cluster.nodes.iter().map(node))
        .chain(cluster.pods.iter().map(pod))
        .chain(governing.map(policy))
        .collect()
}

/// Objects as one JSON list.
#[must_use]
pub fn list(objects: &[Value]) -> Value {
    json!({"apiVersion": "v1", "kind": "List", "items": objects})
}

fn object(kind: Kind, metadata: Value, rest: Value) -> Value {
    let mut object = json!({"apiVersion": kind.api_version(), "kind": kind.as_str(), "metadata": metadata});
    let (Value::Object(all), Value::Object(rest)) = (&mut object, rest) else { unreachable!("both are objects") };
    all.extend(rest);
    object
}

fn labels(labels: &Labels) -> Value {
    labels.iter().map(|(k, v)| (k.to_owned(), Value::from(v))).collect::<serde_json::Map<_, _>>().into()
}

fn metadata(meta: &Meta) -> Value {
    json!({"name": &*meta.name, "namespace": &*meta.namespace, "labels": labels(&meta.labels)})
}

fn node(node: &Node) -> Value {
    let addresses: Vec<Value> =
        node.addresses.iter().map(|a| json!({"type": "InternalIP", "address": a.to_string()})).collect();
    object(
        Kind::Node,
        json!({"name": &*node.meta.name, "labels": labels(&node.meta.labels)}),
        json!({"status": {"addresses": addresses}}),
    )
}

fn pod(pod: &Pod) -> Value {
    let port = |p: &tortie_model::ContainerPort| {
        let mut port = json!({"containerPort": p.number, "protocol": p.protocol.as_str()});
        if let Some(name) = &p.name {
            port["name"] = (&**name).into();
        }
        port
    };
    let ports: Vec<Value> = pod.ports.iter().map(port).collect();
    let ips: Vec<Value> = pod.ips.iter().map(|ip| json!({"ip": ip.to_string()})).collect();
    let phase = match pod.phase {
        Phase::Pending => "Pending",
        Phase::Running => "Running",
        Phase::Succeeded => "Succeeded",
        Phase::Failed => "Failed",
    };
    let mut spec = json!({});
    if let Some(node) = &pod.node {
        spec["nodeName"] = (&**node).into();
    }
    if pod.host_network {
        spec["hostNetwork"] = true.into();
    }
    spec["containers"] = json!([{"name": "c", "image": "example.org/c", "ports": ports}]);
    object(Kind::Pod, metadata(&pod.meta), json!({"spec": spec, "status": {"phase": phase, "podIPs": ips}}))
}

fn policy(policy: &NetworkPolicy) -> Value {
    let types: Vec<&str> = [(policy.ingress.is_some(), "Ingress"), (policy.egress.is_some(), "Egress")]
        .iter()
        .filter(|t| t.0)
        .map(|t| t.1)
        .collect();
    let mut spec = json!({"podSelector": selector(&policy.pod_selector), "policyTypes": types});
    for (name, peers, rules) in [("ingress", "from", &policy.ingress), ("egress", "to", &policy.egress)] {
        if let Some(rules) = rules {
            spec[name] = rules.iter().map(|r| rule(r, peers)).collect();
        }
    }
    object(Kind::NetworkPolicy, metadata(&policy.meta), json!({"spec": spec}))
}

fn rule(rule: &PeerRule, peers: &str) -> Value {
    let mut out = json!({});
    if !rule.peers.is_empty() {
        out[peers] = rule.peers.iter().map(peer).collect();
    }
    if !rule.ports.is_empty() {
        out["ports"] = rule.ports.iter().map(port).collect();
    }
    out
}

fn peer(peer: &PolicyPeer) -> Value {
    match peer {
        PolicyPeer::PodsHere(pods) => json!({"podSelector": selector(pods)}),
        PolicyPeer::Pods { namespaces, pods: None } => json!({"namespaceSelector": selector(namespaces)}),
        PolicyPeer::Pods { namespaces, pods: Some(pods) } => {
            json!({"namespaceSelector": selector(namespaces), "podSelector": selector(pods)})
        }
        PolicyPeer::IpBlock(block) => {
            let except: Vec<String> = block.except().iter().map(ToString::to_string).collect();
            json!({"ipBlock": {"cidr": block.cidr().to_string(), "except": except}})
        }
    }
}

fn port(port: &PolicyPort) -> Value {
    let protocol = port.protocol.as_str();
    match &port.port {
        PortSpec::All => json!({"protocol": protocol}),
        PortSpec::Range(from, to) => json!({"protocol": protocol, "port": from, "endPort": to}),
        PortSpec::Named(name) => json!({"protocol": protocol, "port": &**name}),
    }
}

fn selector(selector: &LabelSelector) -> Value {
    let expression = |r: &tortie_model::Requirement| {
        let values: Vec<&str> = r.values.iter().map(|v| &**v).collect();
        if values.is_empty() {
            json!({"key": &*r.key, "operator": r.operator.as_str()})
        } else {
            json!({"key": &*r.key, "operator": r.operator.as_str(), "values": values})
        }
    };
    match selector.requirements() {
        [] => json!({}),
        all => json!({"matchExpressions": all.iter().map(expression).collect::<Vec<_>>()}),
    }
}
