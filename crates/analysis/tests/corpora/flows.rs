//! Suites that ask for single flows: the truth tables of the Kubernetes end-to-end suite, the recipes, and the
//! evaluation tests of np-guard.

use serde_json::Value;

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
