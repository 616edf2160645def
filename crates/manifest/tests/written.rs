//! Random NetworkPolicies, written as users write them, with everything left out that has a default: they are read as
//! they were meant.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use tortie_manifest::{LoadOptions, Memory, load};
use tortie_model::{LabelSelector, NetworkPolicy, Object, Operator, PeerRule, PolicyPeer, PortSpec, Protocol};
use tortie_testkit::{Rng, random};

const CLUSTERS: u64 = 400;

/// How often which way of writing was taken.
#[derive(Default)]
struct Ways(BTreeMap<&'static str, usize>);

impl Ways {
    fn note(&mut self, way: &'static str) {
        *self.0.entry(way).or_default() += 1;
    }
}

fn selector(rng: &mut Rng, selector: &LabelSelector) -> Value {
    let (mut labels, mut expressions) = (Map::new(), Vec::new());
    for requirement in selector.requirements() {
        let (key, values) = (&*requirement.key, requirement.values.iter().map(|v| &**v).collect::<Vec<_>>());
        match (requirement.operator, &values[..]) {
            (Operator::In, [value]) if rng.chance(70) && !labels.contains_key(key) => {
                labels.insert(key.to_owned(), json!(value));
            }
            (operator, []) => expressions.push(json!({ "key": key, "operator": operator.as_str() })),
            (operator, values) => {
                expressions.push(json!({ "key": key, "operator": operator.as_str(), "values": values }));
            }
        }
    }
    let mut out = Map::new();
    if !labels.is_empty() {
        out.insert("matchLabels".into(), labels.into());
    }
    if !expressions.is_empty() {
        out.insert("matchExpressions".into(), expressions.into());
    }
    out.into()
}

fn rules(rng: &mut Rng, rules: &[PeerRule], peers: &str) -> Value {
    let peer = |rng: &mut Rng, peer: &PolicyPeer| match peer {
        PolicyPeer::PodsHere(pods) => json!({ "podSelector": selector(rng, pods) }),
        PolicyPeer::Pods { namespaces, pods: None } => json!({ "namespaceSelector": selector(rng, namespaces) }),
        PolicyPeer::Pods { namespaces, pods: Some(pods) } => {
            json!({ "namespaceSelector": selector(rng, namespaces), "podSelector": selector(rng, pods) })
        }
        PolicyPeer::IpBlock(block) if block.except().is_empty() => json!({ "ipBlock": { "cidr": block.cidr() } }),
        PolicyPeer::IpBlock(block) => json!({ "ipBlock": { "cidr": block.cidr(), "except": block.except() } }),
    };
    let mut out = Vec::new();
    for rule in rules {
        let mut written = Map::new();
        let from: Vec<Value> = rule.peers.iter().map(|p| peer(rng, p)).collect();
        // An empty list and none are the same.
        if !from.is_empty() || rng.chance(30) {
            written.insert(peers.into(), from.into());
        }
        let ports: Vec<Value> = rule
            .ports
            .iter()
            .map(|port| {
                let mut written = Map::new();
                if port.protocol != Protocol::Tcp || rng.chance(50) {
                    written.insert("protocol".into(), json!(port.protocol.as_str()));
                }
                match &port.port {
                    PortSpec::All => {}
                    PortSpec::Named(name) => drop(written.insert("port".into(), json!(name))),
                    PortSpec::Range(first, last) => {
                        written.insert("port".into(), json!(first));
                        if first != last || rng.chance(20) {
                            written.insert("endPort".into(), json!(last));
                        }
                    }
                }
                written.into()
            })
            .collect();
        if !ports.is_empty() || rng.chance(30) {
            written.insert("ports".into(), ports.into());
        }
        out.push(written.into());
    }
    Value::Array(out)
}

fn written(rng: &mut Rng, policy: &NetworkPolicy, ways: &mut Ways) -> Value {
    let mut spec = Map::new();
    let everything = policy.pod_selector.is_everything();
    if !everything || rng.chance(70) {
        spec.insert("podSelector".into(), selector(rng, &policy.pod_selector));
    }
    for (field, peers, list) in [("ingress", "from", &policy.ingress), ("egress", "to", &policy.egress)] {
        let list = list.as_ref().filter(|list| !list.is_empty() || rng.chance(50));
        spec.extend(list.map(|list| (field.to_owned(), rules(rng, list, peers))));
    }
    // "Ingress" always, "Egress" when there are egress rules.
    let egress_rules = policy.egress.as_ref().is_some_and(|rules| !rules.is_empty());
    let defaulted = (policy.ingress.is_some(), policy.egress.is_some()) == (true, egress_rules);
    if defaulted && rng.chance(70) {
        ways.note(if egress_rules { "no policyTypes, both meant" } else { "no policyTypes, ingress meant" });
        if rng.chance(30) {
            spec.insert("policyTypes".into(), json!([]));
        }
    } else {
        let mut types = Vec::new();
        types.extend(policy.ingress.is_some().then_some("Ingress"));
        types.extend(policy.egress.is_some().then_some("Egress"));
        if rng.chance(30) {
            types.reverse();
        }
        // Rules for a direction that is not among them mean nothing.
        let meant = (policy.ingress.is_some(), policy.egress.is_some());
        if meant == (false, true) && rng.chance(30) {
            ways.note("ingress rules that policyTypes leaves out");
            spec.insert("ingress".into(), json!([{}]));
        }
        if meant == (true, false) && rng.chance(30) {
            ways.note("egress rules that policyTypes leaves out");
            spec.insert("egress".into(), json!([{ "ports": [{ "port": 80 }] }]));
        }
        ways.note(match meant {
            (true, true) => "policyTypes: both",
            (true, false) => "policyTypes: Ingress",
            _ => "policyTypes: Egress",
        });
        spec.insert("policyTypes".into(), json!(types));
    }
    json!({
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": { "namespace": policy.meta.namespace, "name": policy.meta.name },
        "spec": spec,
    })
}

#[test]
fn a_policy_is_read_as_it_was_meant() {
    let (mut ways, mut policies) = (Ways::default(), 0);
    for seed in 0..CLUSTERS {
        let mut rng = Rng::new(seed);
        // A policy without any direction cannot be written: its types would default.
        let meant = random::cluster(&mut rng).policies.into_iter();
        let meant: Vec<_> = meant.filter(|p| p.ingress.is_some() || p.egress.is_some()).collect();
        let items: Vec<_> = meant.iter().map(|p| written(&mut rng, p, &mut ways)).collect();
        let text = json!({ "apiVersion": "v1", "kind": "List", "items": items }).to_string();
        let files = Memory::new([("policies.yaml", text.clone().into_bytes())]);
        let loaded = load(&files, &["policies.yaml"], &LoadOptions::default());
        let mut read: BTreeMap<_, _> = BTreeMap::new();
        for object in &loaded.objects {
            let Object::NetworkPolicy(policy) = &object.object else { panic!("{object:?}") };
            read.insert((policy.meta.namespace.clone(), policy.meta.name.clone()), policy.clone());
        }
        assert_eq!(read.len(), meant.len(), "seed {seed}: {:?}\n{text}", loaded.diagnostics);
        for policy in &meant {
            let read = &read[&(policy.meta.namespace.clone(), policy.meta.name.clone())];
            assert_eq!(
                (&read.pod_selector, &read.ingress, &read.egress),
                (&policy.pod_selector, &policy.ingress, &policy.egress),
                "seed {seed}: {text}"
            );
        }
        policies += meant.len();
    }
    println!("{policies} policies: {:?}", ways.0);
    assert_eq!(ways.0.len(), 7, "{:?}", ways.0);
    assert!(ways.0.values().all(|n| n * 100 >= policies), "some ways are rarer than 1 in 100: {:?}", ways.0);
}
