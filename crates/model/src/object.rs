//! Names of objects.

use std::sync::Arc;

use crate::Labels;

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident $namespaced:literal $version:literal;)*) => {
        /// The kinds that tortie knows.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Kind { $($(#[$doc])* $name,)* }

        impl Kind {
            /// All kinds.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The name as in `kind:`.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)* }
            }

            /// Whether objects of the kind live in a namespace.
            #[must_use]
            pub const fn is_namespaced(self) -> bool {
                match self { $(Self::$name => $namespaced,)* }
            }

            /// The `apiVersion` that tortie reads.
            #[must_use]
            pub const fn api_version(self) -> &'static str {
                match self { $(Self::$name => $version,)* }
            }
        }
    };
}

kinds! {
    /// A namespace.
    Namespace false "v1";
    /// A node.
    Node false "v1";
    /// A pod.
    Pod true "v1";
    /// A service.
    Service true "v1";
    /// Source of pods, through ReplicaSets.
    Deployment true "apps/v1";
    /// Source of pods with stable names.
    StatefulSet true "apps/v1";
    /// One pod a node.
    DaemonSet true "apps/v1";
    /// Source of pods.
    ReplicaSet true "apps/v1";
    /// Source of pods that finish.
    Job true "batch/v1";
    /// Source of Jobs.
    CronJob true "batch/v1";
    /// `networking.k8s.io/v1` NetworkPolicy.
    NetworkPolicy true "networking.k8s.io/v1";
}

impl Kind {
    /// The kind of this API version and name.
    #[must_use]
    pub fn of(api_version: &str, kind: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|k| k.as_str() == kind && k.api_version() == api_version)
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Which object: shown as `Kind/namespace/name`, or `Kind/name` where there is no namespace.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectRef {
    /// Its kind.
    pub kind: Kind,
    /// Its namespace; `None` for kinds outside namespaces.
    pub namespace: Option<Arc<str>>,
    /// Its name.
    pub name: Arc<str>,
}

impl ObjectRef {
    /// An object in a namespace.
    #[must_use]
    pub fn namespaced(kind: Kind, namespace: &str, name: &str) -> Self {
        Self { kind, namespace: Some(namespace.into()), name: name.into() }
    }

    /// An object outside namespaces.
    #[must_use]
    pub fn cluster(kind: Kind, name: &str) -> Self {
        Self { kind, namespace: None, name: name.into() }
    }

    /// Its namespace, or the empty string.
    #[must_use]
    pub fn namespace_str(&self) -> &str {
        self.namespace.as_deref().unwrap_or_default()
    }
}

impl std::fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.namespace {
            Some(ns) => write!(f, "{}/{ns}/{}", self.kind, self.name),
            None => write!(f, "{}/{}", self.kind, self.name),
        }
    }
}

/// The metadata that policy and its explanation need.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Meta {
    /// Namespace; empty for kinds outside namespaces.
    pub namespace: Arc<str>,
    /// Name.
    pub name: Arc<str>,
    /// Labels.
    pub labels: Labels,
    /// `metadata.uid`; empty when read from a file.
    pub uid: Arc<str>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_found_by_version_and_name() {
        assert_eq!(Kind::of("networking.k8s.io/v1", "NetworkPolicy"), Some(Kind::NetworkPolicy));
        assert_eq!(Kind::of("projectcalico.org/v3", "NetworkPolicy"), None);
        assert_eq!(ObjectRef::namespaced(Kind::Pod, "a", "b").to_string(), "Pod/a/b");
    }
}
