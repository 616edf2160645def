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
const FOREIGN: [(&str, &str); 6] = [
    ("MultiNetworkPolicy", "secondary networks"),
    ("UserDefinedNetwork", "secondary networks"),
    ("ClusterUserDefinedNetwork", "secondary networks"),
    ("NetworkAttachmentDefinition", "secondary networks"),
    ("VirtualMachine", "virtual machines"),
    ("VirtualMachineInstance", "virtual machines"),
];

/// A route of OpenShift, whose rows of an ingress controller are left out: tortie does not read it.
const ROUTE: &str = "Route";

/// Which rows of a record are meant.
type Rows = fn(&Peer, &Peer) -> bool;

/// Rows that are not followed, by record; why, `conformance/exceptions.toml` says.
const NOT_FOLLOWED: [(&str, Rows); 7] = [
    ("npguard/k8s_ingress_test_new#exposure", |from, to| {
        *from == Peer::IngressController && is_workload(to, "default/unicorn[Deployment]")
    }),
    ("npguard/exposure_test_with_different_rules_2_with_matching_pod#exposure", |from, to| {
        let asks_for_app = |pods: &EndpointSelector| {
            pods.pods.requirements().iter().any(|r| r.operator == tortie_model::Operator::In && *r.key == *"app")
        };
        matches!(from, Peer::Pods(pods) if asks_for_app(pods)) && is_workload(to, "hello-world/workload-a[Deployment]")
    }),
    ("npguard/exposure_test_with_anp_9#exposure", to_the_entire_cluster),
    ("npguard/exposure_test_with_anp_10_with_real_pod#exposure", to_the_entire_cluster),
    ("npguard/exposure_test_with_anp_13#exposure", |from, to| {
        is_workload(from, "hello-world/workload-a[Deployment]") && matches!(to, Peer::Pods(_))
    }),
    ("npguard/anp_demo_udp-52#exposure", |from, to| {
        let everybody = |peer: &Peer| *peer == Peer::Pods(tortie_connectivity::all_pods());
        let [gryffindor, hufflepuff, slytherin] = [
            "gryffindor/harry-potter[StatefulSet]",
            "hufflepuff/cedric-diggory[StatefulSet]",
            "slytherin/draco-malfoy[StatefulSet]",
        ];
        is_workload(from, gryffindor) && everybody(to)
            || everybody(from) && (is_workload(to, hufflepuff) || is_workload(to, slytherin))
    }),
    ("npguard/exposure_test_with_anp_14#exposure", |from, to| {
        let closed = |peer| is_workload(peer, "hello-world/workload-b[Deployment]");
        let is_world = |peer: &Peer| matches!(peer, Peer::World(_));
        closed(from) && is_world(to) || is_world(from) && closed(to)
    }),
];

fn to_the_entire_cluster(from: &Peer, to: &Peer) -> bool {
    is_workload(from, "hello-world/workload-a[Deployment]") && *to == Peer::Pods(tortie_connectivity::all_pods())
}

fn is_workload(peer: &Peer, name: &str) -> bool {
    matches!(peer, Peer::Workload(workload) if workload == name)
}

/// Records that hold what the API server refuses (`conformance/exceptions.toml`).
const REFUSED: [&str; 1] = ["npguard/anp_test_named_ports_multiple_peers"];

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
    if let Some((protocol, port)) = options["focus_conn"].as_str().and_then(|conn| conn.split_once('-')) {
        let port: u16 = port.parse().expect("PROTOCOL-PORT");
        for ours in pairs.iter_mut().flat_map(|(_, ours)| ours.values_mut()) {
            ours.retain(|name, ranges| {
                let is_in = ranges.iter().any(|(first, last)| (*first..=*last).contains(&port));
                *ranges = vec![(port, port)];
                *name == protocol.to_uppercase() && is_in
            });
        }
        pairs.iter_mut().for_each(|(_, ours)| ours.retain(|_, ports| !ports.is_empty()));
    }
    let has_routes = holds(&record["files"], ROUTE);
    let not_followed = NOT_FOLLOWED.iter().find(|(id, _)| record["id"] == *id);
    let left_out = |(from, to): &(Peer, Peer)| {
        *from == Peer::IngressController && has_routes || not_followed.is_some_and(|(_, rows)| rows(from, to))
    };
    let mut needed = false;
    for (mut theirs, mut ours) in pairs {
        let differs = |pair: &(Peer, Peer)| theirs.get(pair) != ours.get(pair);
        needed |= theirs.keys().chain(ours.keys()).any(|pair| left_out(pair) && differs(pair));
        theirs.retain(|pair, _| !left_out(pair));
        ours.retain(|pair, _| !left_out(pair));
        let keys: std::collections::BTreeSet<_> = theirs.keys().chain(ours.keys()).collect();
        rows += keys.len();
        let differing = keys.into_iter().filter(|key| theirs.get(*key) != ours.get(*key));
        lines.extend(differing.map(|key| format!("{key:?}: expected {:?}, ours {:?}", theirs.get(key), ours.get(key))));
    }
    if not_followed.is_some() && !needed {
        lines.push("every row of it agrees: it need not be among those that are not followed".to_owned());
    }
    (rows, lines)
}

/// What became of a record.
enum Outcome {
    /// It belongs to a class that is not put to this engine.
    Class(&'static str),
    /// So many rows were compared, and these differ.
    Compared(usize, Vec<String>),
}

/// Puts every record of a suite to a judge; `how` says what is compared.
fn play(suite: &str, how: &str, judge: impl Fn(&Value) -> Outcome) {
    // Past the test harness, which keeps the output of tests that pass to itself.
    let say = |line: String| {
        let _ = writeln!(std::io::stderr(), "{line}");
    };
    let text = match corpora::suite(suite) {
        Ok(text) => text,
        Err(missing) => return say(missing),
    };
    let (mut agree, mut rows, mut wrong) = (0, 0, Vec::new());
    let mut classes: BTreeMap<&str, usize> = BTreeMap::new();
    for line in text.lines() {
        let record: Value = serde_json::from_str(line).expect("a record is JSON");
        match judge(&record) {
            Outcome::Class(class) => *classes.entry(class).or_default() += 1,
            Outcome::Compared(compared, lines) => {
                rows += compared;
                if lines.is_empty() {
                    agree += 1;
                } else {
                    let shown: String = lines.iter().take(8).map(|l| format!("\n    {l}")).collect();
                    wrong.push(format!("{}: {} differences{shown}", record["id"], lines.len()));
                }
            }
        }
    }
    let out: Vec<String> = classes.iter().map(|(class, n)| format!("; {n} {class}")).collect();
    say(format!("{suite}, {how}: {agree} agree ({rows} rows), {} differ{}", wrong.len(), out.concat()));
    decided(By::Engine, rows);
    assert!(wrong.is_empty(), "{} records differ:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn connection_lists_agree() {
    play("npguard-connlist", "all pairs at once", |record| {
        if let Some(class) = foreign(&record["files"]) {
            return Outcome::Class(class);
        }
        if REFUSED.iter().any(|id| record["id"] == *id) {
            assert!(World::of(&record["files"]).is_err(), "{} is not refused", record["id"]);
            return Outcome::Class("refused input");
        }
        let (compared, lines) = judge(record);
        Outcome::Compared(compared, lines)
    });
}

#[test]
fn differences_agree() {
    play("npguard-diff", "by what was opened and closed", |record| match difference::judge(record) {
        Err(class) => Outcome::Class(class),
        Ok((compared, lines)) => Outcome::Compared(compared, lines),
    });
}

/// What is not followed has its reason written down.
#[test]
fn what_is_not_followed_has_a_reason() {
    let reasons = include_str!("../../../../conformance/exceptions.toml");
    for id in NOT_FOLLOWED.iter().map(|(id, _)| id).chain(&REFUSED) {
        let entry = ["", "rows = \"exposure\"\n"].map(|rows| format!("record = \"{id}\"\n{rows}class = "));
        assert!(entry.iter().any(|entry| reasons.contains(entry)), "{id} is in no exception");
    }
}
