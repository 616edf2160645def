//! Objects by which requests from outside reach Services: Ingress, and Gateways with their routes.

use std::sync::Arc;

use crate::{LabelSelector, Meta, ObjectRef};

/// A Service that another object sends to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceBackend {
    /// Where it stands in the object, as a JSON pointer: `/spec/rules/0/http/paths/1/backend`.
    pub pointer: Arc<str>,
    /// Namespace of the Service.
    pub namespace: Arc<str>,
    /// Name of the Service.
    pub service: Arc<str>,
    /// Which of its ports; `None` where none is written.
    pub port: Option<ServicePortRef>,
}

/// A port of a Service, as others refer to it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ServicePortRef {
    /// By number.
    Number(u16),
    /// By name.
    Name(Arc<str>),
}

impl std::fmt::Display for ServicePortRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Name(name) => name.fmt(f),
        }
    }
}

/// `networking.k8s.io/v1` Ingress.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ingress {
    /// Name, namespace, labels.
    pub meta: Meta,
    /// `spec.ingressClassName`.
    pub class: Option<Arc<str>>,
    /// What it does with requests, in the order of the text; the default backend comes last.
    pub routes: Vec<IngressRoute>,
}

/// One path of an Ingress, or its default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IngressRoute {
    /// Host of the request; empty for every host.
    pub host: Arc<str>,
    /// Path; empty for every path.
    pub path: Arc<str>,
    /// Where such requests go. Backends that are no Services are left out.
    pub backend: ServiceBackend,
}

/// `gateway.networking.k8s.io` Gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gateway {
    /// Name, namespace, labels.
    pub meta: Meta,
    /// `spec.gatewayClassName`.
    pub class: Arc<str>,
    /// Where it listens.
    pub listeners: Vec<Listener>,
}

/// One listener of a Gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Name.
    pub name: Arc<str>,
    /// Port.
    pub port: u16,
    /// `HTTP`, `HTTPS`, `TLS`, `TCP`, `UDP`, or one of an implementation's own.
    pub protocol: Arc<str>,
    /// Host name; empty for every one.
    pub hostname: Arc<str>,
    /// Routes of which namespaces may use it.
    pub allowed: AllowedRoutes,
    /// Whether `allowedRoutes.kinds` admits HTTPRoutes, or says nothing.
    pub admits_http: bool,
}

/// `allowedRoutes.namespaces` of a listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AllowedRoutes {
    /// Those of every namespace.
    All,
    /// Those of the Gateway's own namespace, which is also meant when nothing is written.
    Same,
    /// Those of the namespaces that match.
    Selected(LabelSelector),
    /// None.
    Nowhere,
}

/// `gateway.networking.k8s.io` HTTPRoute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpRoute {
    /// Name, namespace, labels.
    pub meta: Meta,
    /// The Gateways (or Services) that it belongs to.
    pub parents: Vec<RouteParent>,
    /// `spec.hostnames`; empty for those of the listener.
    pub hostnames: Vec<Arc<str>>,
    /// Where its rules send requests, copies by `requestMirror` included.
    pub backends: Vec<RouteBackend>,
}

/// One `parentRef`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteParent {
    /// Where it stands in the object, as a JSON pointer.
    pub pointer: Arc<str>,
    /// The Gateway or Service; `None` for any other kind.
    pub object: Option<ObjectRef>,
    /// Listener; empty for all of them.
    pub section: Arc<str>,
    /// Port of the listeners.
    pub port: Option<u16>,
}

/// One backend of a rule of a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteBackend {
    /// Index of the rule.
    pub rule: usize,
    /// The Service.
    pub backend: ServiceBackend,
    /// Share of the requests; a backend of weight 0 gets none.
    pub weight: u32,
    /// Gets copies, and answers nobody.
    pub mirror: bool,
}

/// `gateway.networking.k8s.io` ReferenceGrant, as far as it is about HTTPRoutes and Services.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReferenceGrant {
    /// Name, namespace, labels.
    pub meta: Meta,
    /// Namespaces whose HTTPRoutes may refer to Services of this one.
    pub from: Vec<Arc<str>>,
    /// To which Services; `None` for all of them.
    pub to: Vec<Option<Arc<str>>>,
}

impl ReferenceGrant {
    /// Whether HTTPRoutes of a namespace may lead to a Service of this one.
    #[must_use]
    pub fn admits(&self, from: &str, service: &str) -> bool {
        self.from.iter().any(|f| **f == *from) && self.to.iter().any(|t| t.as_deref().is_none_or(|t| t == service))
    }
}
