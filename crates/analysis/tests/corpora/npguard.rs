//! The suites of np-guard's analyzer, with its conventions: peers are workloads, pairs of one workload with itself are
//! left out, no block of addresses means a pod, finished pods count, and the world is cut at every block.

mod bad_input;
mod connections;
mod difference;
mod explanation;
mod peers;
mod ports;

pub(crate) use bad_input::invalid;
pub(crate) use connections::connections;
pub(crate) use difference::difference;
pub(crate) use explanation::explanation;
pub(crate) use ports::{allowed, port_sets};

use serde_json::Value;

/// Kinds whose records are not for this harness, with the class that they belong to.
const FOREIGN: [(&str, &str); 6] = [
    ("MultiNetworkPolicy", "secondary networks"),
    ("UserDefinedNetwork", "secondary networks"),
    ("ClusterUserDefinedNetwork", "secondary networks"),
    ("NetworkAttachmentDefinition", "secondary networks"),
    ("VirtualMachine", "virtual machines"),
    ("VirtualMachineInstance", "virtual machines"),
];

/// The class of a record that holds objects of another suite's.
fn foreign(files: &Value) -> Option<&'static str> {
    let texts: Vec<&str> = files.as_object()?.values().filter_map(Value::as_str).collect();
    let holds = |kind: &str| {
        let says = |line: &str| {
            let line = line.trim().trim_start_matches("- ").replace(['"', ','], "");
            line.strip_prefix("kind:").is_some_and(|k| k.trim() == kind)
        };
        texts.iter().any(|t| t.lines().any(says))
    };
    FOREIGN.iter().find(|(kind, _)| holds(kind)).map(|(_, class)| *class)
}
