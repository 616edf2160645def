//! Who sends and who is reached.

use std::net::IpAddr;
use std::sync::Arc;

use tortie_model::{Kind, ObjectRef};

use crate::files::wildcard;

/// One end of a probe.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Endpoint {
    /// A pod.
    Pod {
        /// Its namespace.
        namespace: Arc<str>,
        /// Its name.
        name: Arc<str>,
    },
    /// A node.
    Node(Arc<str>),
    /// A host beyond the cluster.
    Outside(Arc<str>),
    /// A Service, by its ClusterIP.
    Service {
        /// Its namespace.
        namespace: Arc<str>,
        /// Its name.
        name: Arc<str>,
    },
    /// An address, whoever has it.
    Address(IpAddr),
}

/// As in a case: `ns/pod`, `node/NAME`, the name of a host, `ns/service`, an address.
impl std::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Pod { namespace, name } | Self::Service { namespace, name } => write!(f, "{namespace}/{name}"),
            Self::Node(name) => write!(f, "node/{name}"),
            Self::Outside(name) => f.write_str(name),
            Self::Address(ip) => ip.fmt(f),
        }
    }
}

/// Which endpoints a line means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pattern {
    /// `ns/pod`, with `*` anywhere; `*` alone is every pod.
    Pods {
        /// Namespace, with `*`.
        namespace: String,
        /// Name, with `*`.
        name: String,
    },
    /// `ns/Kind/name`: all pods of a workload.
    Workload(ObjectRef),
    /// `node/NAME`, with `*`.
    Node(String),
    /// The name of a host beyond the cluster, with `*`.
    Outside(String),
    /// An address.
    Address(IpAddr),
}

/// Text that names no endpoint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// None of the forms.
    #[error("`{0}` names nobody: write ns/pod, ns/Kind/name, node/NAME, an outside host's name, or an address")]
    Shape(String),
    /// A kind that has no pods.
    #[error("`{0}` has no pods: Deployment, StatefulSet, DaemonSet, ReplicaSet, Job or CronJob")]
    Kind(String),
}

impl Pattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// When it has none of the forms.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        if text == "*" {
            return Ok(Self::Pods { namespace: "*".into(), name: "*".into() });
        }
        if let Ok(ip) = text.parse() {
            return Ok(Self::Address(ip));
        }
        let shape = || PatternError::Shape(text.to_owned());
        let parts: Vec<&str> = text.split('/').collect();
        let clean = |p: &&str| {
            !p.is_empty() && p.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_' | '*'))
        };
        if !parts.iter().all(clean) {
            return Err(shape());
        }
        match parts[..] {
            [name] => Ok(Self::Outside(name.to_owned())),
            ["node", name] => Ok(Self::Node(name.to_owned())),
            [namespace, name] => Ok(Self::Pods { namespace: namespace.to_owned(), name: name.to_owned() }),
            [namespace, kind, name] => {
                let of_pods = Kind::named(kind).filter(|k| k.is_workload());
                let kind = of_pods.ok_or_else(|| PatternError::Kind(kind.to_owned()))?;
                Ok(Self::Workload(ObjectRef::namespaced(kind, namespace, name)))
            }
            _ => Err(shape()),
        }
    }

    /// Whether it names one endpoint and nothing else: without `*`, and no workload.
    #[must_use]
    pub fn is_exact(&self) -> bool {
        match self {
            Self::Pods { namespace, name } => !namespace.contains('*') && !name.contains('*'),
            Self::Workload(_) => false,
            Self::Node(name) | Self::Outside(name) => !name.contains('*'),
            Self::Address(_) => true,
        }
    }

    /// Whether an endpoint is meant; `owner` is the workload of a pod.
    #[must_use]
    pub fn matches(&self, endpoint: &Endpoint, owner: Option<&ObjectRef>) -> bool {
        match (self, endpoint) {
            (
                Self::Pods { namespace, name },
                Endpoint::Pod { namespace: ns, name: own } | Endpoint::Service { namespace: ns, name: own },
            ) => wildcard(namespace, ns) && wildcard(name, own),
            (Self::Workload(workload), Endpoint::Pod { .. }) => owner == Some(workload),
            (Self::Node(name), Endpoint::Node(own)) | (Self::Outside(name), Endpoint::Outside(own)) => {
                wildcard(name, own)
            }
            (Self::Address(ip), Endpoint::Address(own)) => ip == own,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_tell_their_forms_apart() {
        assert!(matches!(Pattern::parse("prod/*"), Ok(Pattern::Pods { .. })));
        assert!(matches!(Pattern::parse("prod/Deployment/web"), Ok(Pattern::Workload(_))));
        assert!(matches!(Pattern::parse("node/n1"), Ok(Pattern::Node(_))));
        assert!(matches!(Pattern::parse("internet"), Ok(Pattern::Outside(_))));
        assert!(matches!(Pattern::parse("2001:db8::1"), Ok(Pattern::Address(_))));
        for text in ["", "a/b/c/d", "a/", "prod/Service/web", "a b", "prod//x"] {
            assert!(Pattern::parse(text).is_err(), "{text}");
        }
        assert!(!Pattern::parse("p/x*").unwrap().is_exact());
        assert!(!Pattern::parse("p/Job/x").unwrap().is_exact());
        assert!(Pattern::parse("p/x").unwrap().is_exact());
    }
}
