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
    with_both_selectors(&lines.collect::<Vec<_>>())
}

/// The selectors of pods of a cluster policy, both of which must be there; np-guard takes one that is not for one of all.
fn with_both_selectors(lines: &[String]) -> String {
    let column = |line: &str| line.len() - line.trim_start_matches([' ', '-']).len();
    let mut out = Vec::new();
    for (n, line) in lines.iter().enumerate() {
        out.push(line.clone());
        let name = line.trim_start_matches([' ', '-']).split('#').next().unwrap_or_default();
        if name.trim_end() != "pods:" {
            continue;
        }
        let inside = |l: &&String| l.trim().is_empty() || l.starts_with(&" ".repeat(column(line) + 1));
        let members: Vec<&String> = lines[n + 1..].iter().take_while(inside).collect();
        let Some(first) = members.iter().find(|l| !l.trim().is_empty()) else { continue };
        for selector in ["namespaceSelector", "podSelector"] {
            if !members.iter().any(|l| l.trim_start().starts_with(&format!("{selector}:"))) {
                out.push(format!("{}{selector}: {{}}", " ".repeat(column(first))));
            }
        }
    }
    out.join("\n")
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
