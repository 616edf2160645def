//! Sources of pods: what a Deployment, StatefulSet, DaemonSet, ReplicaSet, ReplicationController, Job or CronJob would
//! run.

use std::sync::Arc;

use crate::{ContainerPort, Labels, Meta, ObjectRef};

/// A workload object: a source of pods.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workload {
    /// Which workload; its kind is one of those for which [`crate::Kind::is_workload`] holds.
    pub reference: ObjectRef,
    /// Name, namespace and its own labels (not those of its pods).
    pub meta: Meta,
    /// The object that manages this one (`ownerReferences` with `controller: true`): a Deployment for its ReplicaSets.
    pub owner: Option<ObjectRef>,
    /// Pods wanted: `replicas`, or `parallelism` bounded by `completions` for a Job; 1 when not written. Without meaning
    /// for a DaemonSet.
    pub replicas: u32,
    /// What each pod is made of.
    pub template: PodTemplate,
}

/// The part of a pod template that policy and reachability need.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct PodTemplate {
    /// Labels of the pods.
    pub labels: Labels,
    /// `spec.nodeName`.
    pub node: Option<Arc<str>>,
    /// `spec.hostNetwork`.
    pub host_network: bool,
    /// Ports of all containers, init sidecars included.
    pub ports: Vec<ContainerPort>,
    /// `spec.serviceAccountName`, `default` when not written.
    pub service_account: Arc<str>,
}
