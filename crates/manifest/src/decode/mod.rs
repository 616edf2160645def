//! From JSON values that passed validation to the model. Nothing here can fail: what is missing has its default.

mod calico;
mod calicoentity;
mod clusterpolicy;
mod entry;
mod meta;
mod networkpolicy;
mod pod;
mod service;
mod workload;

use crate::value::Value;
use std::sync::Arc;

use tortie_model::{Kind, Object};

/// The object of a kind; `namespace` is where it lives when it does not say so itself, and `name` replaces the name.
pub(crate) fn object(kind: Kind, value: &Value<'_>, namespace: &str, name: Option<&str>) -> Object {
    let mut meta = meta::meta(kind, value, namespace);
    if let Some(name) = name {
        meta.name = name.into();
    }
    match kind {
        Kind::Namespace => Object::Namespace(tortie_model::Namespace::new(&meta.name, &meta.labels)),
        Kind::Node => Object::Node(pod::node(meta, value)),
        Kind::Pod => Object::Pod(pod::pod(meta, value)),
        Kind::Service => Object::Service(service::service(meta, value)),
        Kind::NetworkPolicy => Object::NetworkPolicy(Arc::new(networkpolicy::policy(meta, value))),
        Kind::EndpointSlice => Object::EndpointSlice(service::endpoint_slice(meta, value)),
        Kind::Ingress => Object::Ingress(entry::ingress(meta, value)),
        Kind::Gateway => Object::Gateway(entry::gateway(meta, value)),
        Kind::HTTPRoute => Object::HttpRoute(entry::http_route(meta, value)),
        Kind::ReferenceGrant => Object::ReferenceGrant(entry::reference_grant(meta, value)),
        Kind::ServiceAccount => Object::ServiceAccount(tortie_model::ServiceAccount { meta }),
        Kind::CalicoNetworkPolicy | Kind::GlobalNetworkPolicy => {
            Object::CalicoPolicy(Arc::new(calico::policy(meta, value)))
        }
        Kind::StagedNetworkPolicy | Kind::StagedGlobalNetworkPolicy | Kind::StagedKubernetesNetworkPolicy => {
            Object::Staged(Arc::new(calico::staged(kind, meta, value)))
        }
        Kind::Tier => Object::Tier(calicoentity::tier(meta, value)),
        Kind::NetworkSet | Kind::GlobalNetworkSet => Object::NetworkSet(calicoentity::network_set(meta, value)),
        Kind::Profile => Object::Profile(calicoentity::profile(meta, value)),
        Kind::HostEndpoint => Object::HostEndpoint(calicoentity::host_endpoint(meta, value)),
        Kind::ClusterNetworkPolicy | Kind::AdminNetworkPolicy | Kind::BaselineAdminNetworkPolicy => {
            Object::ClusterPolicy(Arc::new(clusterpolicy::policy(kind, meta, value)))
        }
        Kind::Deployment
        | Kind::StatefulSet
        | Kind::DaemonSet
        | Kind::ReplicaSet
        | Kind::ReplicationController
        | Kind::Job
        | Kind::CronJob => Object::Workload(workload::workload(kind, meta, value)),
    }
}
