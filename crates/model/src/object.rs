//! Names of objects.

use std::sync::Arc;

use crate::Labels;

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident $(= $written:literal)? $namespaced:literal $version:literal $(| $other:literal)*;)*) => {
        /// The kinds that tortie knows.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Kind { $($(#[$doc])* $name,)* }

        impl Kind {
            /// All kinds.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The name that no other kind has: that of `kind:`, but for kinds that two APIs call alike.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)* }
            }

            /// What stands in `kind:`.
            #[must_use]
            pub fn written(self) -> &'static str {
                match self { $(Self::$name => [$($written,)? stringify!($name)][0],)* }
            }

            /// Whether objects of the kind live in a namespace.
            #[must_use]
            pub const fn is_namespaced(self) -> bool {
                match self { $(Self::$name => $namespaced,)* }
            }

            /// The `apiVersion` to write.
            #[must_use]
            pub const fn api_version(self) -> &'static str {
                match self { $(Self::$name => $version,)* }
            }

            /// Every `apiVersion` that tortie reads it in.
            #[must_use]
            pub const fn api_versions(self) -> &'static [&'static str] {
                match self { $(Self::$name => &[$version $(, $other)*],)* }
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
    /// Source of pods, from before there were ReplicaSets.
    ReplicationController true "v1";
    /// Source of pods that finish.
    Job true "batch/v1";
    /// Source of Jobs.
    CronJob true "batch/v1";
    /// `networking.k8s.io/v1` NetworkPolicy.
    NetworkPolicy true "networking.k8s.io/v1";
    /// The addresses behind a Service.
    EndpointSlice true "discovery.k8s.io/v1";
    /// Requests from outside the cluster, and the Services that they go to.
    Ingress true "networking.k8s.io/v1";
    /// Where requests enter, of the Gateway API.
    Gateway true "gateway.networking.k8s.io/v1" | "gateway.networking.k8s.io/v1beta1";
    /// What a Gateway does with HTTP requests.
    HTTPRoute true "gateway.networking.k8s.io/v1" | "gateway.networking.k8s.io/v1beta1";
    /// Leave for routes of other namespaces to lead to Services of this one.
    ReferenceGrant true "gateway.networking.k8s.io/v1beta1" | "gateway.networking.k8s.io/v1";
    /// As whom the containers of a pod act.
    ServiceAccount true "v1";
    /// Calico's NetworkPolicy, which it calls as Kubernetes calls its own.
    CalicoNetworkPolicy = "NetworkPolicy" true "projectcalico.org/v3" | "crd.projectcalico.org/v1";
    /// Calico's policy outside namespaces.
    GlobalNetworkPolicy false "projectcalico.org/v3" | "crd.projectcalico.org/v1";
    /// A Calico NetworkPolicy to try out.
    StagedNetworkPolicy true "projectcalico.org/v3" | "crd.projectcalico.org/v1";
    /// A Calico GlobalNetworkPolicy to try out.
    StagedGlobalNetworkPolicy false "projectcalico.org/v3" | "crd.projectcalico.org/v1";
    /// A Kubernetes NetworkPolicy to try out.
    StagedKubernetesNetworkPolicy true "projectcalico.org/v3" | "crd.projectcalico.org/v1";
    /// An order among policies, of Calico.
    Tier false "projectcalico.org/v3" | "crd.projectcalico.org/v1";
    /// Addresses with labels, of Calico.
    NetworkSet true "projectcalico.org/v3" | "crd.projectcalico.org/v1";
    /// The same outside namespaces.
    GlobalNetworkSet false "projectcalico.org/v3" | "crd.projectcalico.org/v1";
    /// What Calico decides when no policy does.
    Profile false "projectcalico.org/v3" | "crd.projectcalico.org/v1";
    /// An interface of a node, as Calico's policies see it.
    HostEndpoint false "projectcalico.org/v3" | "crd.projectcalico.org/v1";
    /// Policy of the cluster's administrators.
    ClusterNetworkPolicy false "policy.networking.k8s.io/v1alpha2";
    /// What became ClusterNetworkPolicy of tier Admin.
    AdminNetworkPolicy false "policy.networking.k8s.io/v1alpha1";
    /// What became ClusterNetworkPolicy of tier Baseline.
    BaselineAdminNetworkPolicy false "policy.networking.k8s.io/v1alpha1";
}

impl Kind {
    /// Whether it is a source of pods.
    #[must_use]
    pub const fn is_workload(self) -> bool {
        matches!(
            self,
            Self::Deployment
                | Self::StatefulSet
                | Self::DaemonSet
                | Self::ReplicaSet
                | Self::ReplicationController
                | Self::Job
                | Self::CronJob
        )
    }

    /// The kind of this name, whatever its API version.
    #[must_use]
    pub fn named(kind: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|k| k.as_str() == kind)
    }

    /// The kind of this API version and `kind:`.
    #[must_use]
    pub fn of(api_version: &str, kind: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|k| k.written() == kind && k.api_versions().contains(&api_version))
    }

    /// Whether a custom resource definition brings it: policies, and what they stand in and speak of.
    #[must_use]
    pub fn is_custom(self) -> bool {
        let group = |group: &str| self.api_version().split_once('/').is_some_and(|(g, _)| g == group);
        group("projectcalico.org") || group("policy.networking.k8s.io")
    }

    /// Whether its objects are policies that are enforced.
    #[must_use]
    pub const fn is_policy(self) -> bool {
        matches!(
            self,
            Self::NetworkPolicy
                | Self::CalicoNetworkPolicy
                | Self::GlobalNetworkPolicy
                | Self::ClusterNetworkPolicy
                | Self::AdminNetworkPolicy
                | Self::BaselineAdminNetworkPolicy
        )
    }

    /// What a staged policy is once it is enforced; every other kind is what it is.
    #[must_use]
    pub const fn enforced(self) -> Self {
        match self {
            Self::StagedNetworkPolicy => Self::CalicoNetworkPolicy,
            Self::StagedGlobalNetworkPolicy => Self::GlobalNetworkPolicy,
            Self::StagedKubernetesNetworkPolicy => Self::NetworkPolicy,
            other => other,
        }
    }

    /// As what a policy is staged; `None` for kinds that nothing stages.
    #[must_use]
    pub fn staged(self) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| *kind != self && kind.enforced() == self)
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

    /// Whether it is a NetworkPolicy of Kubernetes, or is staged to be one.
    #[must_use]
    pub fn is_network_policy(&self) -> bool {
        self.kind.enforced() == Kind::NetworkPolicy
    }

    /// The policy that a staged one is about; every other object is itself.
    #[must_use]
    pub fn enforced(&self) -> Self {
        Self { kind: self.kind.enforced(), ..self.clone() }
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

/// Text that names no object.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ObjectRefError {
    /// Not of the form `Kind/namespace/name` or `Kind/name`.
    #[error("`{0}` names no object: write Kind/namespace/name, or Kind/name")]
    Shape(String),
    /// A kind that tortie does not know.
    #[error("`{0}` is not a kind that tortie knows: {known}", known = known_kinds())]
    Kind(String),
    /// A namespace was given for a kind outside namespaces.
    #[error("a {0} is in no namespace: write {0}/name")]
    Scope(Kind),
}

fn known_kinds() -> String {
    Kind::ALL.iter().map(|k| k.as_str()).collect::<Vec<_>>().join(", ")
}

/// `Kind/namespace/name`, or `Kind/name` (in namespace `default` for kinds that live in one).
impl std::str::FromStr for ObjectRef {
    type Err = ObjectRefError;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let parts: Vec<&str> = s.split('/').collect();
        let (kind, namespace, name) = match parts[..] {
            [kind, name] if !name.is_empty() => (kind, None, name),
            [kind, ns, name] if !ns.is_empty() && !name.is_empty() => (kind, Some(ns), name),
            _ => return Err(ObjectRefError::Shape(s.to_owned())),
        };
        let kind = Kind::named(kind).ok_or_else(|| ObjectRefError::Kind(kind.to_owned()))?;
        match (kind.is_namespaced(), namespace) {
            (true, ns) => Ok(Self::namespaced(kind, ns.unwrap_or("default"), name)),
            (false, None) => Ok(Self::cluster(kind, name)),
            (false, Some(_)) => Err(ObjectRefError::Scope(kind)),
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
    fn staged_kinds_are_about_others() {
        let pairs: Vec<_> = Kind::ALL.iter().filter_map(|k| Some((k.as_str(), k.staged()?.as_str()))).collect();
        assert_eq!(
            pairs,
            [
                ("NetworkPolicy", "StagedKubernetesNetworkPolicy"),
                ("CalicoNetworkPolicy", "StagedNetworkPolicy"),
                ("GlobalNetworkPolicy", "StagedGlobalNetworkPolicy"),
            ]
        );
        let staged = ObjectRef::namespaced(Kind::StagedKubernetesNetworkPolicy, "shop", "db");
        assert_eq!(staged.enforced(), ObjectRef::namespaced(Kind::NetworkPolicy, "shop", "db"));
        assert!(staged.is_network_policy());
    }

    #[test]
    fn kinds_are_found_by_version_and_name() {
        assert_eq!(Kind::of("networking.k8s.io/v1", "NetworkPolicy"), Some(Kind::NetworkPolicy));
        assert_eq!(Kind::of("projectcalico.org/v3", "NetworkPolicy"), Some(Kind::CalicoNetworkPolicy));
        assert_eq!(Kind::of("projectcalico.org/v3", "CalicoNetworkPolicy"), None);
        assert_eq!(Kind::CalicoNetworkPolicy.written(), "NetworkPolicy");
        assert_eq!(Kind::of("gateway.networking.k8s.io/v1beta1", "HTTPRoute"), Some(Kind::HTTPRoute));
        assert_eq!(ObjectRef::namespaced(Kind::Pod, "a", "b").to_string(), "Pod/a/b");
    }

    #[test]
    fn references_are_read_as_they_are_shown() {
        for text in ["Pod/a/b", "Namespace/qa", "NetworkPolicy/default/x"] {
            assert_eq!(text.parse::<ObjectRef>().unwrap().to_string(), text);
        }
        assert_eq!("Pod/x".parse::<ObjectRef>().unwrap().to_string(), "Pod/default/x");
        assert!(matches!("Namespace/a/b".parse::<ObjectRef>(), Err(ObjectRefError::Scope(_))));
        assert!(matches!("Pods/a".parse::<ObjectRef>(), Err(ObjectRefError::Kind(_))));
        assert!(matches!("Pod//a".parse::<ObjectRef>(), Err(ObjectRefError::Shape(_))));
    }
}
