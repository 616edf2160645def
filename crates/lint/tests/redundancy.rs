//! What is said to change nothing is taken away, and who can talk to whom is asked again, on random clusters.

use serde_json::{Value, json};
use tortie_analysis::snapshot::Snapshot;
use tortie_connectivity::{Connectivity, Difference};
use tortie_lint::lint_all;
use tortie_manifest::{Expansion, LoadOptions, Memory, load};
use tortie_model::{
    Direction, LabelSelector, Labels, NetworkPolicy, Operator, PeerRule, Phase, Pod, PolicyPeer, PolicyPort, PortSpec,
};
use tortie_testkit::{Cluster, Rng, random};

fn labels(labels: &Labels) -> Value {
    labels.iter().map(|(k, v)| (k.to_owned(), json!(v))).collect()
}

fn selector(selector: &LabelSelector) -> Value {
    let one = |r: &tortie_model::Requirement| {
        let values: Vec<&str> = r.values.iter().map(|v| &**v).collect();
        match r.operator {
            Operator::In => json!({"key": &*r.key, "operator": "In", "values": values}),
            Operator::NotIn => json!({"key": &*r.key, "operator": "NotIn", "values": values}),
            Operator::Exists => json!({"key": &*r.key, "operator": "Exists"}),
            Operator::DoesNotExist => json!({"key": &*r.key, "operator": "DoesNotExist"}),
        }
    };
    json!({"matchExpressions": selector.requirements().iter().map(one).collect::<Vec<_>>()})
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
    let protocol = port.protocol.to_string();
    match &port.port {
        PortSpec::All => json!({"protocol": protocol}),
        PortSpec::Range(from, to) => json!({"protocol": protocol, "port": from, "endPort": to}),
        PortSpec::Named(name) => json!({"protocol": protocol, "port": &**name}),
    }
}

fn rules(rules: &[PeerRule], peers: &str) -> Value {
    let one = |rule: &PeerRule| {
        json!({
            peers: rule.peers.iter().map(peer).collect::<Vec<_>>(),
            "ports": rule.ports.iter().map(port).collect::<Vec<_>>(),
        })
    };
    rules.iter().map(one).collect()
}

fn policy(policy: &NetworkPolicy) -> Value {
    let mut spec = json!({"podSelector": selector(&policy.pod_selector), "policyTypes": []});
    let types = |spec: &mut Value, name: &str| spec["policyTypes"].as_array_mut().expect("a list").push(json!(name));
    if let Some(ingress) = &policy.ingress {
        types(&mut spec, "Ingress");
        spec["ingress"] = rules(ingress, "from");
    }
    if let Some(egress) = &policy.egress {
        types(&mut spec, "Egress");
        spec["egress"] = rules(egress, "to");
    }
    json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
        "metadata": {"namespace": &*policy.meta.namespace, "name": &*policy.meta.name}, "spec": spec,
    })
}

fn pod(pod: &Pod) -> Value {
    let ports: Vec<Value> = pod
        .ports
        .iter()
        .map(|p| {
            let mut port = json!({"containerPort": p.number, "protocol": p.protocol.to_string()});
            if let Some(name) = &p.name {
                port["name"] = json!(&**name);
            }
            port
        })
        .collect();
    let phase = match pod.phase {
        Phase::Pending => "Pending",
        Phase::Succeeded => "Succeeded",
        _ => "Running",
    };
    let ips: Vec<Value> = pod.ips.iter().map(|ip| json!({"ip": ip.to_string()})).collect();
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"namespace": &*pod.meta.namespace, "name": &*pod.meta.name, "labels": labels(&pod.meta.labels)},
        "spec": {
            "nodeName": pod.node.as_deref(), "hostNetwork": pod.host_network,
            "containers": [{"name": "main", "image": "example.org/main", "ports": ports}],
        },
        "status": {"phase": phase, "podIPs": ips},
    })
}

/// A cluster as manifests.
fn manifests(cluster: &Cluster) -> Value {
    let namespace = |n: &tortie_model::Namespace| json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": &**n.name(), "labels": labels(n.labels())}});
    let node = |n: &tortie_model::Node| {
        let addresses: Vec<Value> =
            n.addresses.iter().map(|ip| json!({"type": "InternalIP", "address": ip.to_string()})).collect();
        json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": &*n.meta.name}, "status": {"addresses": addresses}})
    };
    let items: Vec<Value> = (cluster.namespaces.iter().map(namespace))
        .chain(cluster.nodes.iter().map(node))
        .chain(cluster.pods.iter().map(pod))
        .chain(cluster.policies.iter().map(policy))
        .collect();
    json!({"apiVersion": "v1", "kind": "List", "items": items})
}

fn snapshot(cluster: &Cluster) -> Snapshot {
    let text = manifests(cluster).to_string();
    let loaded = load(&Memory::new([("cluster.json", text)]), &["cluster.json"], &LoadOptions::default());
    assert!(!loaded.has_untrusted_object(), "{:#?}", loaded.diagnostics);
    Snapshot::new(&loaded, &Expansion::default())
}

fn without(cluster: &Cluster, name: &str, namespace: &str, rule: Option<(Direction, usize)>) -> Cluster {
    let mut out = cluster.clone();
    let is = |p: &NetworkPolicy| *p.meta.name == *name && *p.meta.namespace == *namespace;
    match rule {
        None => out.policies.retain(|p| !is(p)),
        Some((direction, index)) => {
            let policy = out.policies.iter_mut().find(|p| is(p)).expect("the policy that was named");
            let rules = if direction == Direction::Ingress { &mut policy.ingress } else { &mut policy.egress };
            rules.as_mut().expect("it has rules").remove(index);
        }
    }
    out
}

#[test]
fn what_is_said_to_change_nothing_changes_nothing() {
    const CLUSTERS: u64 = 150;
    let (mut rules, mut policies) = (0, 0);
    for seed in 0..CLUSTERS {
        let mut cluster = random::cluster(&mut Rng::new(seed));
        // Where no direction is named the API server fills one in.
        cluster.policies.retain(|p| p.ingress.is_some() || p.egress.is_some());
        let before = snapshot(&cluster);
        let known = Connectivity::of(&before.index);
        for finding in lint_all(&before) {
            let rule = match finding.lint.id {
                "policy-without-effect" => None,
                "redundant-rule" => {
                    let parts: Vec<&str> = finding.pointer.split('/').collect();
                    let [_, _, direction, index] = parts[..] else { panic!("{}", finding.pointer) };
                    let direction = if direction == "ingress" { Direction::Ingress } else { Direction::Egress };
                    Some((direction, index.parse().expect("a number")))
                }
                _ => continue,
            };
            *(if rule.is_some() { &mut rules } else { &mut policies }) += 1;
            let object = finding.object().expect("a finding has an object");
            let after = snapshot(&without(&cluster, &object.name, object.namespace_str(), rule));
            let difference = Difference::between(&known, &Connectivity::of(&after.index));
            let shown =
                || difference.changes.iter().take(3).map(|c| format!("{} -> {}", c.from, c.to)).collect::<Vec<_>>();
            assert!(
                difference.is_empty(),
                "seed {seed}: {} {object} {}: {:?}",
                finding.lint.id,
                finding.pointer,
                shown()
            );
        }
    }
    assert!(rules > 50 && policies > 5, "too little was found to say anything: {rules} rules, {policies} policies");
}
