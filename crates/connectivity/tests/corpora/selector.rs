//! Selectors as np-guard writes them: `[namespace with {team=y}]/[pod with {app=x,{Key:k,Operator:In,Values:[a b],}}]`.

use tortie_model::{LabelSelector, Operator, Requirement};
use tortie_policy::{EndpointSelector, NamespaceMatch};

/// The pods that a representative peer stands for.
pub(crate) fn representative(namespace: &str, pod: &str) -> EndpointSelector {
    let namespaces = match namespace {
        "[all namespaces]" => NamespaceMatch::Matching(LabelSelector::everything()),
        name => match labels(name, "[namespace with ") {
            Some(labels) => NamespaceMatch::Matching(labels),
            None => NamespaceMatch::Named(name.into()),
        },
    };
    let pods = labels(pod, "[pod with ").unwrap_or_default();
    assert!(pod == "[all pods]" || !pods.is_everything(), "{pod}");
    EndpointSelector::pods(namespaces, pods)
}

/// A selector as np-guard writes it where the label that holds a namespace's name is asked for: by the name.
pub(crate) fn by_name(selector: &EndpointSelector) -> EndpointSelector {
    let mut out = selector.clone();
    if let NamespaceMatch::Matching(labels) = &selector.namespaces
        && let [one] = labels.requirements()
        && *one.key == *"kubernetes.io/metadata.name"
        && one.operator == Operator::In
        && let [name] = &one.values[..]
    {
        out.namespaces = NamespaceMatch::Named(name.clone());
    }
    out
}

fn labels(text: &str, prefix: &str) -> Option<LabelSelector> {
    let inner = text.strip_prefix(prefix)?.strip_suffix(']')?.strip_prefix('{')?.strip_suffix('}')?;
    Some(LabelSelector::new(parts(inner).into_iter().map(requirement)))
}

/// What stands between commas that are in no braces.
fn parts(text: &str) -> Vec<&str> {
    let (mut depth, mut start, mut out) = (0, 0, Vec::new());
    for (at, letter) in text.char_indices() {
        match letter {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                out.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    out.push(&text[start..]);
    out
}

fn requirement(text: &str) -> Requirement {
    let Some(expression) = text.strip_prefix('{') else {
        let (key, value) = text.split_once('=').expect("key=value");
        return Requirement::new(key, Operator::In, [value]);
    };
    let field = |name: &str, end: &str| {
        let rest = expression.split_once(name).expect("a field").1;
        rest.split_once(end).expect("its end").0.to_owned()
    };
    let operator = match &*field("Operator:", ",") {
        "In" => Operator::In,
        "NotIn" => Operator::NotIn,
        "Exists" => Operator::Exists,
        "DoesNotExist" => Operator::DoesNotExist,
        other => panic!("operator {other}"),
    };
    let values = field("Values:[", "]");
    Requirement::new(&field("Key:", ","), operator, values.split_whitespace())
}
