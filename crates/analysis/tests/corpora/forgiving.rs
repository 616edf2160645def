//! What np-guard reads and the API server would refuse, written so that it would not: none of it decides a packet.

use serde_json::Value;

/// Text of a file, and what stands there instead.
const WRITTEN: [(&str, &str); 4] = [
    // Policies had a status once, and tools of that time wrote it out.
    ("\nstatus: {}\n", "\n"),
    // Names are compared with nothing.
    ("  name: use_", "  name: use-"),
    // Field names were once read whatever their case.
    ("          containerport: ", "          containerPort: "),
    // An owner that is only named: np-guard takes it for a Pod.
    (
        "ownerReferences:\n    - name: ",
        "ownerReferences:\n    - apiVersion: v1\n      kind: Pod\n      uid: u\n      name: ",
    ),
];

/// A file as the API server would take it.
pub(crate) fn text(text: &str) -> String {
    let written = WRITTEN.iter().fold(text.to_owned(), |text, (theirs, ours)| text.replace(theirs, ours));
    let is_name = |line: &str| line.trim_start().starts_with("name: use-");
    let lines = written.split('\n').map(|line| if is_name(line) { line.replace('_', "-") } else { line.to_owned() });
    lines.collect::<Vec<_>>().join("\n")
}

/// Objects as they could be stored: blocks of policies from before host bits were refused mean the masked ones.
pub(crate) fn stored(value: &Value) -> Value {
    match value {
        Value::Array(items) => items.iter().map(stored).collect(),
        Value::Object(map) => {
            let member = |(key, value): (&String, &Value)| match (key.as_str(), value.as_str()) {
                ("cidr", Some(cidr)) => (key.clone(), masked(cidr).into()),
                _ => (key.clone(), stored(value)),
            };
            Value::Object(map.iter().map(member).collect())
        }
        other => other.clone(),
    }
}

fn masked(cidr: &str) -> String {
    cidr.parse::<ipnet::IpNet>().map_or_else(|_| cidr.to_owned(), |net| net.trunc().to_string())
}
