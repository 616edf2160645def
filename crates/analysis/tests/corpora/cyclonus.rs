//! Cyclonus: nine pods, and a table of all pairs for each port, by direction and combined.

use serde_json::{Value, json};

use crate::cluster::{Cluster, list, objects, read, traffic};
use crate::corpus::{Answers, Finding};

fn manifests(record: &Value) -> Vec<Value> {
    let namespaces = record["namespaces"].as_object().into_iter().flatten().map(
        |(name, labels)| json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}),
    );
    let pods = list(&record["pods"]).iter().map(|pod| {
        let ports: Vec<_> = list(&pod["ports"])
            .iter()
            .map(|p| json!({"name": p["name"], "containerPort": p["port"], "protocol": p["protocol"]}))
            .collect();
        json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"namespace": pod["namespace"], "name": pod["name"], "labels": pod["labels"]},
            "spec": {"containers": [{"name": "c", "image": "i", "ports": ports}]},
            "status": {"podIP": pod["ip"], "podIPs": [{"ip": pod["ip"]}]},
        })
    });
    namespaces.chain(pods).chain(list(&record["policies"]).iter().cloned()).collect()
}

/// One step. The diagonal is left out: Cyclonus asks policy about it, and a pod always reaches itself.
pub(crate) fn step(record: &Value) -> Finding {
    let cluster = match objects(&read(&manifests(record))).and_then(|o| Cluster::with_addresses(&o)) {
        Ok(cluster) => cluster,
        Err(why) => return Finding::Differs(vec![why]),
    };
    let order: Vec<&str> = list(&record["order"]).iter().filter_map(Value::as_str).collect();
    let tables: Vec<(&str, &Value)> =
        record["expected"].as_object().into_iter().flatten().map(|(k, v)| (k.as_str(), v)).collect();
    let sent: Vec<_> = tables
        .iter()
        .map(|(key, _)| {
            let (protocol, port) = key.split_once('/').expect("a table is of PROTOCOL/PORT");
            traffic(protocol, &json!(port))
        })
        .collect();
    let mut differences = Vec::new();
    let mut answers = Answers::default();
    for (row, from) in order.iter().enumerate() {
        for (column, to) in order.iter().enumerate().filter(|(column, _)| *column != row) {
            let asked = || cluster.ask(&cluster.end(from)?, &cluster.end(to)?, &sent);
            let verdicts = match asked() {
                Ok(verdicts) => verdicts,
                Err(why) => {
                    differences.push(format!("{from} -> {to}: {why}"));
                    continue;
                }
            };
            for ((key, table), verdict) in tables.iter().zip(verdicts) {
                let ours = [
                    ("ingress", verdict.ingress.is_allowed()),
                    ("egress", verdict.egress.is_allowed()),
                    ("combined", verdict.is_allowed()),
                ];
                answers.plan += 1;
                for (half, ours) in ours {
                    answers.engine += 1;
                    let cell = table[half][row].as_str().and_then(|line| line.as_bytes().get(column));
                    if cell != Some(if ours { &b'.' } else { &b'X' }) {
                        differences.push(format!("{from} -> {to} {key} {half}: ours {ours}"));
                    }
                }
            }
        }
    }
    Finding::of(answers, differences)
}
