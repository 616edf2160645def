//! Suites that ask for single flows: the truth tables of the Kubernetes end-to-end suite, the recipes, and the
//! evaluation tests of np-guard.

use serde_json::{Value, json};

use crate::cluster::{Cluster, list, objects, read, traffic};
use crate::corpus::{Answers, Finding};
use crate::forgiving;
use crate::npguard::port_sets;

/// One record of `k8s-e2e-netpol`: every pair of pods, one port.
pub(crate) fn upstream(record: &Value) -> Finding {
    let sent = &record["port"];
    let protocol = record["proto"].as_str().unwrap_or_default();
    let mut wanted = Vec::new();
    for (from, row) in record["expected"].as_object().into_iter().flatten() {
        let cells = row.as_object().into_iter().flatten();
        wanted.extend(cells.map(|(to, allowed)| (from.as_str(), to.as_str(), protocol, sent, allowed)));
    }
    judge(&record["objects"], &wanted)
}

/// One record of `recipes`.
pub(crate) fn recipe(record: &Value) -> Finding {
    let text = |v: &'_ Value, key: &str| -> String { v[key].as_str().unwrap_or_default().to_owned() };
    let flows: Vec<_> =
        list(&record["flows"]).iter().map(|f| (text(f, "src"), text(f, "dst"), text(f, "proto"), f)).collect();
    let wanted: Vec<_> =
        flows.iter().map(|(s, d, p, f)| (s.as_str(), d.as_str(), p.as_str(), &f["port"], &f["allowed"])).collect();
    judge(&record["objects"], &wanted)
}

/// One record of `npapi-conformance-cnp` or `-anp`. The pods in their node's network stand for nodes that the fixture does
/// not name: each is on one of its own.
pub(crate) fn cluster_policies(record: &Value) -> Finding {
    let mut given = list(&record["objects"]).to_vec();
    let mut nodes = Vec::new();
    for pod in given.iter_mut().filter(|o| o["spec"]["hostNetwork"] == true) {
        let name = format!("node-{}", nodes.len() + 1);
        let address = &pod["status"]["podIP"];
        nodes.push(json!({
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": name, "labels": {"kubernetes.io/os": "linux"}},
            "status": {"addresses": [{"type": "InternalIP", "address": address}]},
        }));
        pod["status"]["hostIP"] = address.clone();
        pod["spec"]["nodeName"] = json!(name);
    }
    given.extend(nodes);
    // Owners are written short; a pod with a template of its own needs no more.
    for pod in &mut given {
        if let Some(meta) = pod["metadata"].as_object_mut() {
            meta.remove("ownerReferences");
        }
    }
    let text = |v: &'_ Value, key: &str| -> String { v[key].as_str().unwrap_or_default().to_owned() };
    let flows: Vec<_> =
        list(&record["pokes"]).iter().map(|f| (text(f, "src"), text(f, "dst"), text(f, "proto"), f)).collect();
    let wanted: Vec<_> =
        flows.iter().map(|(s, d, p, f)| (s.as_str(), d.as_str(), p.as_str(), &f["port"], &f["allowed"])).collect();
    judge(&Value::Array(given), &wanted)
}

type Wanted<'a> = (&'a str, &'a str, &'a str, &'a Value, &'a Value);

fn judge(given: &Value, wanted: &[Wanted<'_>]) -> Finding {
    let cluster = match objects(&read(list(given))).and_then(|o| Cluster::with_addresses(&o)) {
        Ok(cluster) => cluster,
        Err(why) => return Finding::Differs(vec![why]),
    };
    let mut differences = Vec::new();
    for (from, to, protocol, port, allowed) in wanted {
        let ask = || -> Result<bool, String> {
            let sent = traffic(protocol, port);
            Ok(cluster.ask(&cluster.end(from)?, &cluster.end(to)?, &[sent])?[0].is_allowed())
        };
        match ask() {
            Ok(ours) if Some(ours) == allowed.as_bool() => {}
            Ok(ours) => differences.push(format!("{from} -> {to} {protocol}/{port}: expected {allowed}, ours {ours}")),
            Err(why) => differences.push(format!("{from} -> {to}: {why}")),
        }
    }
    Finding::of(Answers { engine: wanted.len(), plan: wanted.len(), ..Answers::default() }, differences)
}

/// One record of `npguard-eval`: one flow, and all ports between the two ends.
pub(crate) fn evaluation(record: &Value) -> Finding {
    let text = |key: &str| record[key].as_str().unwrap_or_default();
    let judge = || -> Result<Vec<String>, String> {
        let cluster = Cluster::without_addresses(&objects(&read(list(&forgiving::stored(&record["objects"]))))?);
        let (from, to) = (cluster.end(text("src"))?, cluster.end(text("dst"))?);
        let sent = traffic(text("proto"), &record["port"]);
        let ours = cluster.ask(&from, &to, &[sent])?[0].is_allowed();
        let mut differences = Vec::new();
        if Some(ours) != record["allowed"].as_bool() {
            differences.push(format!("{sent:?}: expected {}, ours {ours}", record["allowed"]));
        }
        let theirs = port_sets(&record["allowed_ports"]);
        let ours = crate::npguard::allowed(&cluster, &from, &to);
        if ours != theirs {
            differences.push(format!("expected {theirs:?}, ours {ours:?}"));
        }
        Ok(differences)
    };
    Finding::of(Answers { engine: 2, plan: 0, ..Answers::default() }, judge().unwrap_or_else(|why| vec![why]))
}
