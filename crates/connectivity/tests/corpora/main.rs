//! The public suite of connection lists, put to all pairs at once, with its rows of exposure and of ingress controllers.
//!
//! The suite is no part of this repository; see `tortie_testkit::corpora`. Its conventions are np-guard's: a workload is
//! called after the owner that its pods name first, pairs of one workload with itself are left out, no block of
//! addresses means a pod, hostNetwork means nothing, finished pods count, protocols are TCP, UDP and SCTP from port 1.

mod difference;
#[path = "../../../analysis/tests/corpora/forgiving.rs"]
#[allow(dead_code)]
mod forgiving;
mod selector;
mod world;

use std::collections::BTreeMap;
use std::io::Write as _;

use serde_json::Value;
use tortie_policy::EndpointSelector;
use tortie_testkit::{By, corpora, decided};
use world::{Peer, World};

/// Kinds whose records are not for this harness, with the class that they belong to.
const FOREIGN: [(&str, &str); 9] = [
    ("MultiNetworkPolicy", "secondary networks"),
    ("UserDefinedNetwork", "secondary networks"),
    ("ClusterUserDefinedNetwork", "secondary networks"),
    ("NetworkAttachmentDefinition", "secondary networks"),
    ("VirtualMachine", "virtual machines"),
    ("VirtualMachineInstance", "virtual machines"),
    ("AdminNetworkPolicy", "AdminNetworkPolicy"),
    ("BaselineAdminNetworkPolicy", "AdminNetworkPolicy"),
    ("ClusterNetworkPolicy", "ClusterNetworkPolicy"),
];

/// A route of OpenShift, whose rows of an ingress controller are left out: tortie does not read it.
const ROUTE: &str = "Route";

/// Rows that are not followed, by record, and whether they are of an ingress controller.
///
/// np-guard takes the number that an Ingress names for the port of a Service or for a target port of it. Kubernetes knows
/// the first alone (`ServiceBackendPort.number`: "the numerical port number on the Service"): that one leads nowhere.
///
/// Whoever is labelled app=x has a label app. np-guard tells so of the pod that has it, and not of those that may come.
const NOT_FOLLOWED: [(&str, bool, &str); 2] = [
    ("npguard/k8s_ingress_test_new#exposure", true, "default/unicorn[Deployment]"),
    (
        "npguard/exposure_test_with_different_rules_2_with_matching_pod#exposure",
        false,
        "hello-world/workload-a[Deployment]",
    ),
];

fn foreign(files: &Value) -> Option<&'static str> {
    FOREIGN.iter().find(|(kind, _)| holds(files, kind)).map(|(_, class)| *class)
}

/// Whether some object is of a kind.
fn holds(files: &Value, kind: &str) -> bool {
    let texts = files.as_object().into_iter().flatten().map(|(_, text)| text).filter_map(Value::as_str);
    let says = |line: &str| {
        let line = line.trim().trim_start_matches("- ").replace(['"', ','], "");
        line.strip_prefix("kind:").is_some_and(|k| k.trim() == kind)
    };
    texts.flat_map(str::lines).any(says)
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// How many rows were compared, and what differs.
fn judge(record: &Value) -> (usize, Vec<String>) {
    let world = match World::of(&record["files"]) {
        Ok(world) => world,
        Err(why) => return (0, vec![why]),
    };
    let options = &record["options"];
    let focus: Vec<&str> = list(&options["focus_workloads"]).iter().filter_map(Value::as_str).collect();
    let direction = options["focus_direction"].as_str().unwrap_or_default();
    let mut pairs = vec![(
        world.theirs(&record["expected"]["connections"]),
        world.ours(&record["expected"]["connections"], &focus, direction),
    )];
    if options["exposure"] == true {
        let exposure = &record["expected"]["exposure"];
        pairs.push((world.their_exposure(exposure), world.our_exposure(exposure, &focus, direction)));
    }
    let (mut rows, mut lines) = (0, Vec::new());
    let has_routes = holds(&record["files"], ROUTE);
    let left_out = |(from, to): &(Peer, Peer)| {
        let of_controller = *from == Peer::IngressController;
        let is_asked = |pods: &EndpointSelector| {
            pods.pods.requirements().iter().any(|r| r.operator == tortie_model::Operator::In && *r.key == *"app")
        };
        let of_pods = matches!(from, Peer::Pods(pods) if is_asked(pods));
        let known = |(id, controller, name): &(&str, bool, &str)| {
            let from = if *controller { of_controller } else { of_pods };
            record["id"] == *id && from && *to == Peer::Workload((*name).to_owned())
        };
        of_controller && has_routes || NOT_FOLLOWED.iter().any(known)
    };
    for (mut theirs, mut ours) in pairs {
        theirs.retain(|pair, _| !left_out(pair));
        ours.retain(|pair, _| !left_out(pair));
        let keys: std::collections::BTreeSet<_> = theirs.keys().chain(ours.keys()).collect();
        rows += keys.len();
        let differing = keys.into_iter().filter(|key| theirs.get(*key) != ours.get(*key));
        lines.extend(differing.map(|key| format!("{key:?}: expected {:?}, ours {:?}", theirs.get(key), ours.get(key))));
    }
    (rows, lines)
}

#[test]
fn connection_lists_agree() {
    // Past the test harness, which keeps the output of tests that pass to itself.
    let say = |line: String| {
        let _ = writeln!(std::io::stderr(), "{line}");
    };
    let text = match corpora::suite("npguard-connlist") {
        Ok(text) => text,
        Err(missing) => return say(missing),
    };
    let (mut agree, mut rows, mut wrong) = (0, 0, Vec::new());
    let mut classes: BTreeMap<&str, usize> = BTreeMap::new();
    for line in text.lines() {
        let record: Value = serde_json::from_str(line).expect("a record is JSON");
        if let Some(class) = foreign(&record["files"]) {
            *classes.entry(class).or_default() += 1;
            continue;
        }
        let (compared, lines) = judge(&record);
        rows += compared;
        if lines.is_empty() {
            agree += 1;
        } else {
            let shown: String = lines.iter().take(8).map(|l| format!("\n    {l}")).collect();
            wrong.push(format!("{}: {} differences{shown}", record["id"], lines.len()));
        }
    }
    let out: Vec<String> = classes.iter().map(|(class, n)| format!("; {n} {class}")).collect();
    say(format!(
        "npguard-connlist, all pairs at once: {agree} agree ({rows} rows), {} differ{}",
        wrong.len(),
        out.concat()
    ));
    decided(By::Engine, rows);
    assert!(wrong.is_empty(), "{} records differ:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn differences_agree() {
    let say = |line: String| {
        let _ = writeln!(std::io::stderr(), "{line}");
    };
    let text = match corpora::suite("npguard-diff") {
        Ok(text) => text,
        Err(missing) => return say(missing),
    };
    let (mut agree, mut rows, mut wrong) = (0, 0, Vec::new());
    let mut classes: BTreeMap<&str, usize> = BTreeMap::new();
    for line in text.lines() {
        let record: Value = serde_json::from_str(line).expect("a record is JSON");
        match difference::judge(&record) {
            Err(class) => *classes.entry(class).or_default() += 1,
            Ok((compared, lines)) if lines.is_empty() => {
                rows += compared;
                agree += 1;
            }
            Ok((_, lines)) => {
                let shown: String = lines.iter().take(8).map(|l| format!("\n    {l}")).collect();
                wrong.push(format!("{}: {} differences{shown}", record["id"], lines.len()));
            }
        }
    }
    let out: Vec<String> = classes.iter().map(|(class, n)| format!("; {n} {class}")).collect();
    say(format!(
        "npguard-diff, by what was opened and closed: {agree} agree ({rows} rows), {} differ{}",
        wrong.len(),
        out.concat()
    ));
    decided(By::Engine, rows);
    assert!(wrong.is_empty(), "{} records differ:\n{}", wrong.len(), wrong.join("\n"));
}
