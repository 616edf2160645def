//! How fast manifests are read: from text to objects with places, as every command does it.
//!
//! `cargo bench -p tortie-manifest --bench load [-- workloads=2000 pods=20000 policies=5000 rounds=5]`

use std::hint::black_box;
use std::time::Instant;

use tortie_manifest::{LoadOptions, Memory, load};

struct Sizes {
    workloads: usize,
    pods: usize,
    policies: usize,
    rounds: usize,
}

impl Sizes {
    fn from_args() -> Result<Self, String> {
        let mut sizes = Self { workloads: 2_000, pods: 20_000, policies: 5_000, rounds: 5 };
        for word in std::env::args().skip(1).filter(|w| w != "--bench") {
            let (name, value) = word.split_once('=').ok_or_else(|| format!("{word}: not of the form name=value"))?;
            let number = value.parse().map_err(|e| format!("{word}: {e}"))?;
            match name {
                "workloads" => sizes.workloads = number,
                "pods" => sizes.pods = number,
                "policies" => sizes.policies = number,
                "rounds" => sizes.rounds = number,
                _ => return Err(format!("{name}: unknown")),
            }
        }
        Ok(sizes)
    }
}

/// As people write it: comments, resources, probes.
fn deployment(n: usize) -> String {
    format!(
        "# Serves the pages of shop {n}.
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web-{n}
  namespace: ns-{}
  labels:
    app.kubernetes.io/name: web-{n}
    app.kubernetes.io/part-of: shop
spec:
  replicas: 3
  selector:
    matchLabels:
      app.kubernetes.io/name: web-{n}
  template:
    metadata:
      labels:
        app.kubernetes.io/name: web-{n}
        app.kubernetes.io/part-of: shop
    spec:
      containers:
      - name: web
        image: registry.example.com/shop/web:1.{n}.0
        ports:
        - name: http
          containerPort: 8080
          protocol: TCP
        env:
        - name: DATABASE_URL
          value: \"postgres://db.ns-{}.svc:5432/shop?sslmode=require\"
        resources:
          requests: {{cpu: 100m, memory: 128Mi}}
          limits: {{memory: 256Mi}}
        readinessProbe:
          httpGet:
            path: /healthz
            port: http
          periodSeconds: 5
",
        n % 100,
        n % 100
    )
}

fn policy(n: usize) -> String {
    format!(
        "apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: web-{n}
  namespace: ns-{}
spec:
  podSelector:
    matchLabels:
      app.kubernetes.io/name: web-{n}
  policyTypes:
  - Ingress
  - Egress
  ingress:
  - from:
    - namespaceSelector:
        matchLabels:
          kubernetes.io/metadata.name: ns-{}
      podSelector:
        matchExpressions:
        - {{key: tier, operator: In, values: [front, edge]}}
    - ipBlock:
        cidr: 10.{}.0.0/16
        except:
        - 10.{}.1.0/24
    ports:
    - protocol: TCP
      port: http
  egress:
  - to: # the names of the cluster
    - namespaceSelector:
        matchLabels:
          kubernetes.io/metadata.name: kube-system
    ports:
    - protocol: UDP
      port: 53
",
        n % 100,
        n % 97,
        n % 256,
        n % 256
    )
}

/// A pod as an API server gives it out, with what it keeps beside the specification.
fn pod(n: usize) -> String {
    let (ns, node) = (n % 100, n % 500);
    let ip = format!("10.{}.{}.{}", 64 + n / 65536, n / 256 % 256, n % 256);
    format!(
        r#"{{"apiVersion":"v1","kind":"Pod","metadata":{{"name":"web-{n}-6d4b75cb6d-x7k2p","generateName":"web-{n}-6d4b75cb6d-","namespace":"ns-{ns}","uid":"0f0c1f0e-7d43-4f3e-9d5c-{n:012}","resourceVersion":"{n}","creationTimestamp":"2026-01-02T03:04:05Z","labels":{{"app.kubernetes.io/name":"web-{n}","app.kubernetes.io/part-of":"shop","pod-template-hash":"6d4b75cb6d"}},"annotations":{{"checksum/config":"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"}},"ownerReferences":[{{"apiVersion":"apps/v1","kind":"ReplicaSet","name":"web-{n}-6d4b75cb6d","uid":"5b6c2f9e-7d43-4f3e-9d5c-{n:012}","controller":true,"blockOwnerDeletion":true}}]}},"spec":{{"nodeName":"node-{node}","serviceAccountName":"default","restartPolicy":"Always","containers":[{{"name":"web","image":"registry.example.com/shop/web:1.0.0","ports":[{{"name":"http","containerPort":8080,"protocol":"TCP"}}],"env":[{{"name":"DATABASE_URL","value":"postgres://db.ns-{ns}.svc:5432/shop?sslmode=require"}}],"resources":{{"requests":{{"cpu":"100m","memory":"128Mi"}}}},"volumeMounts":[{{"name":"token","readOnly":true,"mountPath":"/var/run/secrets/kubernetes.io/serviceaccount"}}],"imagePullPolicy":"IfNotPresent"}}],"tolerations":[{{"key":"node.kubernetes.io/not-ready","operator":"Exists","effect":"NoExecute","tolerationSeconds":300}}]}},"status":{{"phase":"Running","podIP":"{ip}","podIPs":[{{"ip":"{ip}"}}],"conditions":[{{"type":"Ready","status":"True","lastTransitionTime":"2026-01-02T03:04:15Z"}}],"containerStatuses":[{{"name":"web","state":{{"running":{{"startedAt":"2026-01-02T03:04:10Z"}}}},"ready":true,"restartCount":0,"image":"registry.example.com/shop/web:1.0.0"}}]}}}}"#
    )
}

/// Seconds of processor time that this process has used, where the system tells: on a shared machine the clock measures
/// the neighbours.
fn processor() -> Option<f64> {
    let told = std::fs::read_to_string("/proc/self/schedstat").ok()?;
    told.split(' ').next()?.parse::<f64>().ok().map(|ns| ns / 1e9)
}

/// The best of some rounds, as megabytes a second.
fn measure(what: &str, files: Vec<(String, String)>, rounds: usize) {
    let bytes: usize = files.iter().map(|(_, text)| text.len()).sum();
    let count = files.len();
    let memory = Memory::new(files);
    let (mut best, mut used) = (f64::MAX, f64::MAX);
    let mut objects = 0;
    for _ in 0..rounds {
        let (started, before) = (Instant::now(), processor());
        let loaded = load(&memory, &["all"], &LoadOptions::default());
        best = best.min(started.elapsed().as_secs_f64());
        used = processor().zip(before).map_or(used, |(now, before)| used.min(now - before));
        assert!(loaded.diagnostics.is_empty(), "{:?}", loaded.diagnostics.first());
        objects = black_box(loaded).objects.len();
    }
    let megabytes = bytes as f64 / 1e6;
    println!(
        "| {what} | {count} | {objects} | {megabytes:.1} MB | {:.0} MB/s | {:.0} MB/s |",
        megabytes / best,
        megabytes / used
    );
}

fn main() -> Result<(), String> {
    let Sizes { workloads, pods, policies, rounds } = Sizes::from_args()?;
    let written: Vec<String> = (0..workloads).map(deployment).chain((0..policies).map(policy)).collect();
    let single = written.iter().enumerate().map(|(i, text)| (format!("all/{i:06}.yaml"), text.clone())).collect();
    let list = |pods: Vec<String>| format!(r#"{{"apiVersion":"v1","kind":"List","items":[{}]}}"#, pods.join(","));
    println!(
        "| what | files | objects | size | by the clock | by processor time |\n| --- | --- | --- | --- | --- | --- |"
    );
    measure("YAML, a file an object", single, rounds);
    measure("YAML, one file", vec![("all/all.yaml".to_owned(), written.join("---\n"))], rounds);
    measure(
        "JSON, a list as kubectl prints it",
        vec![("all/all.json".to_owned(), list((0..pods).map(pod).collect()))],
        rounds,
    );
    Ok(())
}
