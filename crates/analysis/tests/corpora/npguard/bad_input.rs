//! Bad input: what is fatal there is an error here.

use serde_json::Value;
use tortie_manifest::Severity;

use super::foreign;
use super::peers::read;
use crate::corpus::{Answers, Finding};

/// What np-guard itself cannot do, or says of its own options; the API has nothing against it.
const CONVENTIONS: [(&str, &str); 5] = [
    ("NotSupportedPodResources", "limits of np-guard"),
    ("ConvertNamedPort", "limits of np-guard"),
    // Two policies of one priority are in the order of their names here, and a lint tells.
    ("PriorityErrExplain", "limits of np-guard"),
    // One object twice: the last counts here, with a warning, as when both are applied.
    ("BANPAlreadyExists", "limits of np-guard"),
    ("WorkloadDoesNotExist", "options of np-guard"),
];

/// One record of `npguard-invalid`.
pub(crate) fn invalid(record: &Value) -> Finding {
    if let Some(class) = foreign(&record["files"]) {
        return Finding::OutOfScope(class);
    }
    if record["multiple_networks"].as_bool() == Some(true) {
        return Finding::OutOfScope("secondary networks");
    }
    let symbol = record["error_symbol"].as_str().unwrap_or_default();
    if let Some((_, class)) = CONVENTIONS.iter().find(|(part, _)| symbol.contains(part)) {
        return Finding::OutOfScope(class);
    }
    let loaded = read(&record["files"]);
    let errors = loaded.diagnostics.iter().filter(|d| d.severity == Severity::Error).count();
    // What is left out with a warning there, an object that is no policy, is an error here that keeps nothing else from
    // being read.
    let agrees = match record["severity"].as_str() {
        Some("fatal") => errors > 0,
        _ => !loaded.has_untrusted_policy(),
    };
    if agrees {
        return Finding::Agrees(Answers::default());
    }
    let said: Vec<_> = loaded.diagnostics.iter().map(|d| d.render(false)).collect();
    Finding::Differs(vec![format!("{} {symbol}, ours {said:?}", record["severity"])])
}
