//! What a document is, by its `apiVersion` and `kind`.

use crate::value::Value;
use tortie_model::Kind;

use crate::store::distance;
use crate::validation::{member, text};

/// What a document turns out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Class {
    /// An object that tortie reads; `guessed` says which of `apiVersion` and `kind` was missing.
    Object(Kind, Option<&'static str>),
    /// A list of objects: what its items are when they do not say so themselves.
    List {
        /// `apiVersion` of the items.
        api_version: String,
        /// `kind` of the items; empty for `v1` List.
        kind: String,
    },
    /// A policy of an API that tortie does not evaluate.
    UnreadPolicy {
        /// Its `apiVersion`.
        api_version: String,
        /// Its `kind`.
        kind: String,
    },
    /// An object that the API server would not know: kind and version do not go together.
    Unregistered {
        /// The API server's text.
        message: String,
    },
    /// An object that has no part in network policy.
    Other {
        /// Its kind.
        kind: String,
        /// Its API version.
        api_version: String,
    },
    /// A kustomization: names resources, is none.
    Kustomization,
    /// A case, to be played.
    Case,
    /// A mapping that is no Kubernetes object at all.
    Foreign,
    /// Nothing that could be an object; the text says why.
    Malformed {
        /// The field at fault, or the empty text.
        field: &'static str,
        /// What is wrong with it.
        message: String,
    },
}

/// Groups whose objects are network policies or parts of them, with the kinds; no kinds: all of them.
const POLICY_GROUPS: &[(&str, &[&str])] = &[
    ("projectcalico.org", CALICO),
    ("crd.projectcalico.org", CALICO),
    ("policy.networking.k8s.io", &[]),
    ("cilium.io", &["CiliumNetworkPolicy", "CiliumClusterwideNetworkPolicy", "CiliumCIDRGroup"]),
    ("crd.antrea.io", &["NetworkPolicy", "ClusterNetworkPolicy", "Tier", "ClusterGroup", "Group"]),
];

const NETWORKING: &str = "networking.k8s.io";

const CALICO: &[&str] = &[
    "NetworkPolicy",
    "GlobalNetworkPolicy",
    "StagedNetworkPolicy",
    "StagedGlobalNetworkPolicy",
    "StagedKubernetesNetworkPolicy",
    "Tier",
    "NetworkSet",
    "GlobalNetworkSet",
    "HostEndpoint",
    "Profile",
];

/// What a document is.
pub(crate) fn classify(value: &Value<'_>) -> Class {
    let Value::Object(map) = value else {
        let message = format!("a document must be a mapping with apiVersion and kind, not {}", what(value));
        return Class::Malformed { field: "", message };
    };
    for field in ["apiVersion", "kind"] {
        if map.get(field).is_some_and(|v| !v.is_string() && !v.is_null()) {
            let message = format!("must be text, not {}", what(map.get(field).unwrap_or(&Value::Null)));
            return Class::Malformed { field, message };
        }
    }
    let (api_version, kind) = (text(value, "apiVersion"), text(value, "kind"));
    if map.contains_key("tortie") {
        return Class::Case;
    }
    let group = api_version.split_once('/').map_or("", |(group, _)| group);
    if group == "kustomize.config.k8s.io" || (kind == "Kustomization" && api_version.is_empty()) {
        return Class::Kustomization;
    }
    match (api_version, kind) {
        ("", "") if member(value, "metadata").is_some() && looks_like_policy(value) => {
            return Class::Malformed { field: "apiVersion", message: "not set".into() };
        }
        ("", "") => return Class::Foreign,
        // The API server takes the kind from the address of the request; a policy must not be lost over it.
        ("", "NetworkPolicy") => return Class::Object(Kind::NetworkPolicy, Some("apiVersion")),
        ("networking.k8s.io/v1", "") if looks_like_policy(value) => {
            return Class::Object(Kind::NetworkPolicy, Some("kind"));
        }
        ("", _) => return Class::Malformed { field: "apiVersion", message: "not set".into() },
        (_, "") => return Class::Malformed { field: "kind", message: "not set".into() },
        _ => {}
    }
    if let Some(kind) = Kind::of(api_version, kind) {
        return Class::Object(kind, None);
    }
    if let Some(item) = kind.strip_suffix("List")
        && member(value, "items").is_none_or(Value::is_array)
        && (item.is_empty() || map.contains_key("items"))
    {
        let api_version = if item.is_empty() { "" } else { api_version };
        return Class::List { api_version: api_version.to_owned(), kind: item.to_owned() };
    }
    let unregistered =
        || Class::Unregistered { message: format!("no kind \"{kind}\" is registered for version \"{api_version}\"") };
    // What is written almost like something that is read would be missed in silence.
    let of_ours = alike(group, NETWORKING) || (!group.is_empty() && NETWORKING.starts_with(group));
    // What no API server serves any more, and is no policy.
    let former = kind == "Ingress" && ["extensions/v1beta1", "networking.k8s.io/v1beta1"].contains(&api_version);
    if (kind == "NetworkPolicy" && of_ours) || (is_builtin(group) && meant(kind).is_some() && !former) {
        return unregistered();
    }
    let known_policy =
        POLICY_GROUPS.iter().any(|(g, kinds)| *g == group && (kinds.is_empty() || kinds.contains(&kind)));
    if known_policy || (!is_builtin(group) && kind.ends_with("NetworkPolicy")) {
        return Class::UnreadPolicy { api_version: api_version.to_owned(), kind: kind.to_owned() };
    }
    let of_networking = group == NETWORKING && !["Ingress", "IngressClass", "IPAddress", "ServiceCIDR"].contains(&kind);
    if of_networking {
        return unregistered();
    }
    Class::Other { kind: kind.to_owned(), api_version: api_version.to_owned() }
}

/// The kind that a text stands for, as it is or misspelt.
pub(crate) fn meant(text: &str) -> Option<Kind> {
    Kind::named(text).or_else(|| Kind::ALL.iter().copied().find(|k| alike(text, k.as_str())))
}

/// Whether one text is a misspelling of the other: in another case, or up to two edits away.
pub(crate) fn alike(written: &str, meant: &str) -> bool {
    let (a, b) = (written.to_lowercase(), meant.to_lowercase());
    a == b || distance(&a, &b) <= (b.len() / 3).min(2)
}

/// Groups of Kubernetes itself.
fn is_builtin(group: &str) -> bool {
    ["", "apps", "batch", "extensions", "policy", "autoscaling"].contains(&group) || group == NETWORKING
}

fn looks_like_policy(value: &Value<'_>) -> bool {
    let spec = member(value, "spec");
    let has = |field: &str| spec.is_some_and(|s| s.get(field).is_some());
    has("podSelector") || has("policyTypes") || has("ingress") || has("egress")
}

fn what(value: &Value<'_>) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a mapping",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn of(api_version: &str, kind: &str) -> Class {
        classify(&json!({ "apiVersion": api_version, "kind": kind, "items": [], "spec": { "podSelector": {} } }).into())
    }

    #[test]
    fn documents_are_told_apart() {
        assert_eq!(of("v1", "Pod"), Class::Object(Kind::Pod, None));
        assert_eq!(of("", "NetworkPolicy"), Class::Object(Kind::NetworkPolicy, Some("apiVersion")));
        assert_eq!(of("networking.k8s.io/v1", ""), Class::Object(Kind::NetworkPolicy, Some("kind")));
        for (version, kind, read) in [
            ("projectcalico.org/v3", "GlobalNetworkPolicy", Kind::GlobalNetworkPolicy),
            ("crd.projectcalico.org/v1", "NetworkPolicy", Kind::CalicoNetworkPolicy),
            ("policy.networking.k8s.io/v1alpha2", "ClusterNetworkPolicy", Kind::ClusterNetworkPolicy),
        ] {
            assert_eq!(of(version, kind), Class::Object(read, None));
        }
        assert!(matches!(of("v1", "List"), Class::List { .. }));
        assert!(matches!(of("v1", "PodList"), Class::List { kind, .. } if kind == "Pod"));
        for (version, kind) in [
            ("projectcalico.org/v4", "GlobalNetworkPolicy"),
            ("policy.networking.k8s.io/v1beta1", "ClusterNetworkPolicy"),
            ("cilium.io/v2", "CiliumNetworkPolicy"),
            ("k8s.example.com/v1", "SomeNetworkPolicy"),
        ] {
            assert!(matches!(of(version, kind), Class::UnreadPolicy { .. }), "{version} {kind}");
        }
        for (version, kind) in [
            ("networking.k8s.io/v2", "NetworkPolicy"),
            ("v1", "NetworkPolicy"),
            ("extensions/v1beta1", "NetworkPolicy"),
            ("networking.k8s.io/v1", "Pod"),
            ("networking.k8s.io/v1", "NetworkPolicies"),
            ("apps/v1beta1", "Deployment"),
            ("networking.k8s/v1", "NetworkPolicy"),
            ("networking.k8s.io/v1", "networkpolicy"),
            ("v1", "Pood"),
            ("apps/v1", "Deployments"),
        ] {
            assert!(matches!(of(version, kind), Class::Unregistered { .. }), "{version} {kind}");
        }
        assert!(matches!(of("serving.knative.dev/v1", "Service"), Class::Other { .. }));
        assert_eq!(of("networking.k8s.io/v1", "Ingress"), Class::Object(Kind::Ingress, None));
        assert_eq!(of("gateway.networking.k8s.io/v1beta1", "Gateway"), Class::Object(Kind::Gateway, None));
        for (version, kind) in [
            ("networking.k8s.io/v1beta1", "Ingress"),
            ("extensions/v1beta1", "Ingress"),
            ("networking.k8s.io/v1", "IngressClass"),
            ("networking.istio.io/v1", "Gateway"),
            ("gateway.networking.k8s.io/v1alpha2", "TCPRoute"),
        ] {
            assert!(matches!(of(version, kind), Class::Other { .. }), "{version} {kind}");
        }
        assert!(matches!(of("projectcalico.org/v3", "IPPool"), Class::Other { .. }));
        for kind in ["Secret", "Event", "PodTemplate", "Endpoints", "ConfigMap", "Node"] {
            assert!(!matches!(of("v1", kind), Class::Unregistered { .. }), "{kind}");
        }
        let spec = json!({ "metadata": { "name": "p" }, "spec": { "podSelector": {} } }).into();
        assert!(matches!(classify(&spec), Class::Malformed { field: "apiVersion", .. }), "a policy must not be lost");
        assert!(matches!(of("v1", ""), Class::Malformed { field: "kind", .. }));
        assert_eq!(of("", ""), Class::Foreign);
    }
}
