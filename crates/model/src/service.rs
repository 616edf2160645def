//! Services, and the addresses behind them.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use crate::{LabelSelector, Meta, Protocol};

/// Which port of the backend a Service port leads to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum TargetPort {
    /// A number.
    Number(u16),
    /// The name of a container port, resolved on each pod.
    Name(Arc<str>),
}

/// One port of a Service.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ServicePort {
    /// Name; empty when the Service has one port only.
    pub name: Arc<str>,
    /// Protocol.
    pub protocol: Protocol,
    /// Port of the Service's address.
    pub port: u16,
    /// Port of the backend; the same number when not written.
    pub target: TargetPort,
    /// `nodePort` as written; without it a cluster gives one out where the type asks for it.
    pub node_port: Option<u16>,
}

/// `spec.type` of a Service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ServiceType {
    /// Reached from inside the cluster.
    #[default]
    ClusterIp,
    /// Reached through a port of every node as well.
    NodePort,
    /// Reached through a load balancer as well.
    LoadBalancer,
    /// A name for something elsewhere.
    ExternalName,
}

impl ServiceType {
    /// As Kubernetes writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ClusterIp => "ClusterIP",
            Self::NodePort => "NodePort",
            Self::LoadBalancer => "LoadBalancer",
            Self::ExternalName => "ExternalName",
        }
    }
}

/// A Service, as far as reaching pods through it needs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Service {
    /// Name, namespace, labels.
    pub meta: Meta,
    /// `spec.selector`; `None` when the Service has none (its endpoints come from elsewhere).
    pub selector: Option<LabelSelector>,
    /// `spec.type`.
    pub kind: ServiceType,
    /// `spec.clusterIPs` as written; empty when still to be assigned.
    pub cluster_ips: Vec<IpAddr>,
    /// `clusterIP: None`.
    pub headless: bool,
    /// `type: ExternalName`: the name that DNS answers with.
    pub external_name: Option<Arc<str>>,
    /// Endpoints that are not ready count too.
    pub publish_not_ready: bool,
    /// `spec.externalIPs`, and the addresses of its load balancer as far as its status has them.
    pub external_ips: Vec<IpAddr>,
    /// `spec.loadBalancerSourceRanges`; empty for everybody.
    pub source_ranges: Vec<IpNet>,
    /// `externalTrafficPolicy: Local`: requests from outside keep their source address.
    pub keeps_source: bool,
    /// Ports.
    pub ports: Vec<ServicePort>,
}

/// A part of the addresses behind a Service, as `discovery.k8s.io/v1` EndpointSlice tells them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointSlice {
    /// Name, namespace, labels.
    pub meta: Meta,
    /// The Service, by the label `kubernetes.io/service-name`.
    pub service: Option<Arc<str>>,
    /// Addresses.
    pub endpoints: Vec<Endpoint>,
    /// Ports of each of them.
    pub ports: Vec<EndpointPort>,
}

/// One endpoint of an [`EndpointSlice`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Addresses that lead to the same place; names (`addressType: FQDN`) are left out.
    pub addresses: Vec<IpAddr>,
    /// `conditions.ready`; ready when it does not say.
    pub ready: bool,
    /// The pod of its namespace that it stands for.
    pub pod: Option<Arc<str>>,
}

/// One port of an [`EndpointSlice`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointPort {
    /// The name of the Service's port; empty when it has one only.
    pub name: Arc<str>,
    /// Protocol.
    pub protocol: Protocol,
    /// Number; `None` for every port.
    pub port: Option<u16>,
}
