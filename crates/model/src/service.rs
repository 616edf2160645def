//! Services.

use std::net::IpAddr;
use std::sync::Arc;

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
}

/// A Service, as far as reaching pods through it needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Name, namespace, labels.
    pub meta: Meta,
    /// `spec.selector`; `None` when the Service has none (its endpoints come from elsewhere).
    pub selector: Option<LabelSelector>,
    /// `spec.clusterIPs` as written; empty when still to be assigned.
    pub cluster_ips: Vec<IpAddr>,
    /// `clusterIP: None`.
    pub headless: bool,
    /// `type: ExternalName`: the name that DNS answers with.
    pub external_name: Option<Arc<str>>,
    /// Endpoints that are not ready count too.
    pub publish_not_ready: bool,
    /// Ports.
    pub ports: Vec<ServicePort>,
}
