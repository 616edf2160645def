//! The objects as users write them, decoded and valid: Kubernetes workloads, namespaces, services and policies, with
//! labels, selectors, ports and addresses as types that cannot hold a wrong value.
//!
//! What may be written down and what is refused is `manifest`'s business (API-server validation over the raw
//! document); what is here has passed it. No I/O, no async, no Kubernetes client.

mod any;
pub mod calico;
mod cluster;
mod entry;
mod labels;
mod net;
mod nets;
mod object;
mod order;
mod policy;
mod port;
mod selector;
mod service;
mod template;
mod workload;

pub use any::Object;
pub use cluster::{ClusterAction, ClusterPeer, ClusterPolicy, ClusterPort, ClusterRule, ClusterTier};
pub use entry::{
    AllowedRoutes, Gateway, HttpRoute, Ingress, IngressRoute, Listener, ReferenceGrant, RouteBackend, RouteParent,
    ServiceBackend, ServicePortRef,
};
pub use labels::{LABELS_OF_CONTROLLERS, Labels};
pub use net::{Family, IpBlock, canonical};
pub use nets::Nets;
pub use object::{Kind, Meta, ObjectRef, ObjectRefError};
pub use order::Order;
pub use policy::{NetworkPolicy, PeerRule, PolicyPeer, PolicyPort, PortSpec};
pub use port::{ContainerPort, Direction, IpProtocol, Protocol, Traffic};
pub use selector::{LabelSelector, Operator, Requirement};
pub use service::{Endpoint, EndpointPort, EndpointSlice, Service, ServicePort, ServiceType, TargetPort};
pub use template::{PodTemplate, Workload};
pub use workload::{Namespace, Node, Phase, Pod, ServiceAccount};
