//! Whatever bytes come in: an answer comes out, and every message can be drawn.

use proptest::prelude::*;
use tortie_manifest::case::{self, Endpoints};
use tortie_manifest::{Expansion, LoadOptions, Memory, ObjectSet, load};

const TEXTS: [&str; 4] = [
    include_str!("../../../examples/three-namespaces/three-namespaces.case.yaml"),
    include_str!("../../../examples/three-namespaces/allow-prod-to-qa-tcp-8888.yaml"),
    "{\"apiVersion\": \"v1\", \"kind\": \"List\", \"items\": [{\"apiVersion\": \"networking.k8s.io/v1\", \"kind\": \"NetworkPolicy\", \"metadata\": {\"name\": \"p\"}, \"spec\": {\"ingress\": [{\"from\": [{\"ipBlock\": {\"cidr\": \"10.0.0.0/8\", \"except\": [\"10.1.0.0/16\"]}}], \"ports\": [{\"port\": 80, \"endPort\": 90}]}]}}]}",
    "apiVersion: v1\nkind: Pod\nmetadata: &m {name: a, labels: {<<: {b: c}}}\nspec: {containers: [{ports: [{containerPort: 80, name: http}]}]}\n---\napiVersion: v1\nkind: Service\nmetadata: *m\nspec: {clusterIP: None, ports: [{port: 80, targetPort: http}]}\n---\napiVersion: batch/v1\nkind: CronJob\nmetadata: {name: c}\nspec: {jobTemplate: {spec: {parallelism: 2, template: {}}}}\n---\napiVersion: v1\nkind: Node\nmetadata: {name: n}\nstatus: {addresses: [{type: InternalIP, address: 10.0.0.1}]}\n",
];

/// Reads the bytes as manifests and as a case, and shows everything that is said about them.
fn digest(name: &str, bytes: Vec<u8>) {
    let files = Memory::new([(name, bytes)]);
    let loaded = load(&files, &[name], &LoadOptions::default());
    let set = ObjectSet::of(loaded.objects.iter().map(|o| &o.object), &Expansion::default());
    for diagnostic in loaded.diagnostics.iter().chain(&loaded.notes).chain(&set.notes()) {
        assert!(!diagnostic.render(false).is_empty());
        serde_json::from_str::<serde_json::Value>(&diagnostic.to_json()).expect("a line of JSON");
    }
    for object in &loaded.objects {
        assert!(object.origin.place("/spec/ingress/0/from/1").line() > 0);
        assert!(object.origin.whole("/metadata").column() > 0);
    }
    for case in case::open(&files, name, &LoadOptions::default()).cases {
        let mut store = case.store();
        for step in &case.steps {
            let _ = step.change(&mut store);
            let endpoints = Endpoints::of(&store.state(), &case.cluster);
            for expectation in &step.expect {
                if let Err(errors) = expectation.resolve(&endpoints) {
                    errors.iter().for_each(|d| assert!(!d.render(true).is_empty()));
                }
            }
        }
    }
}

fn mutate(text: &str, edits: &[(usize, u8, String)]) -> Vec<u8> {
    let mut bytes = text.as_bytes().to_vec();
    for (at, what, with) in edits {
        let at = at % (bytes.len() + 1);
        match what % 4 {
            0 => {
                bytes.splice(at..at, with.bytes());
            }
            1 => bytes.truncate(at),
            2 => {
                let end = (at + with.len() + 1).min(bytes.len());
                bytes.splice(at..end, with.bytes());
            }
            _ => {
                let end = (at + 40).min(bytes.len());
                let copy = bytes[at..end].to_vec();
                bytes.splice(at..at, copy);
            }
        }
    }
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_bytes_are_answered(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        digest("f.yaml", bytes);
    }

    #[test]
    fn random_text_of_yaml_signs_is_answered(text in "[-:{}\\[\\]&*!|>'\"%@`,#? \n\tabk<~0-9éß\u{feff}\u{2028}]{0,120}") {
        digest("f.yaml", text.into_bytes());
    }

    #[test]
    fn mutated_manifests_are_answered(
        which in 0..TEXTS.len(),
        edits in prop::collection::vec((any::<usize>(), any::<u8>(), "(null|\\[\\]|\\{\\}|-1|\"\"|y|é|[-:{}&*a1 \n\"',]{0,4})"), 1..4),
    ) {
        for name in ["f.yaml", "f.json", "f.case.yaml"] {
            digest(name, mutate(TEXTS[which], &edits));
        }
    }
}
