//! Ingress points: through which Ingress, Gateway or Service requests from outside reach which pods, on which ports.
//!
//! Whether policies let those requests in is not asked here. Requests through an Ingress or a Gateway come from whatever
//! pods its controller runs; those through a Service come from outside, or from a node that they passed.

use std::sync::Arc;

use tortie_manifest::ObjectSet;
use tortie_model::{
    AllowedRoutes, Gateway, HttpRoute, Kind, Listener, ObjectRef, RouteParent, Service, ServiceBackend, ServicePort,
    ServicePortRef, ServiceType,
};

use crate::backend::{Backend, Backends};

/// By which way requests come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Way {
    /// An Ingress, and its controller.
    Ingress,
    /// A Gateway.
    Gateway,
    /// The load balancer of a Service.
    LoadBalancer,
    /// A port of every node.
    NodePort,
    /// An address that a Service claims (`externalIPs`).
    ExternalIp,
}

impl Way {
    /// Whether the requests come from the pods of a controller.
    #[must_use]
    pub const fn has_controller(self) -> bool {
        matches!(self, Self::Ingress | Self::Gateway)
    }
}

/// Where an object says something: the object, and a JSON pointer into it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Saying {
    /// The object.
    pub object: ObjectRef,
    /// Where in it.
    pub pointer: Arc<str>,
}

/// One way to pods.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IngressPoint<'a> {
    /// By which way.
    pub way: Way,
    /// The Ingress, Gateway or Service at which requests enter. A Gateway need not be in the input.
    pub entry: ObjectRef,
    /// Where the Service is named.
    pub saying: Saying,
    /// Host names of the requests; none: every one.
    pub hosts: Vec<Arc<str>>,
    /// Path of the requests; empty: every one, or those that a route tells apart in other ways.
    pub path: Arc<str>,
    /// The Service that they go to.
    pub service: &'a Service,
    /// The port of it.
    pub port: &'a ServicePort,
    /// Where it leads; never empty.
    pub backends: Vec<Backend<'a>>,
}

/// Why a reference leads to no pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Dead {
    /// The Service is not in the input.
    NoService,
    /// The Service has no such port, or none is named.
    NoPort,
    /// Nothing is behind that port of the Service.
    NoBackend,
    /// The Service is in another namespace, where no ReferenceGrant admits the route.
    NoGrant,
    /// The Gateway is in the input, and none of its listeners takes the route.
    NoListener,
}

/// A reference that leads to no pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadEnd {
    /// Where it is.
    pub saying: Saying,
    /// What it names.
    pub target: ObjectRef,
    /// Why it leads nowhere.
    pub why: Dead,
}

/// All ways into a cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ingresses<'a> {
    /// Those that lead to pods or addresses.
    pub points: Vec<IngressPoint<'a>>,
    /// Those that lead nowhere.
    pub dead_ends: Vec<DeadEnd>,
}

/// Finds the ways into a cluster.
#[must_use]
pub fn ingresses(objects: &ObjectSet) -> Ingresses<'_> {
    let mut finder = Finder { objects, backends: Backends::new(objects), found: Ingresses::default() };
    finder.through_ingresses();
    finder.through_gateways();
    finder.through_services();
    finder.found
}

struct Finder<'a> {
    objects: &'a ObjectSet,
    backends: Backends<'a>,
    found: Ingresses<'a>,
}

/// A point but for the Service that it leads to.
struct Opening {
    way: Way,
    entry: ObjectRef,
    saying: Saying,
    hosts: Vec<Arc<str>>,
    path: Arc<str>,
}

impl<'a> Finder<'a> {
    fn through_ingresses(&mut self) {
        for ingress in &self.objects.ingresses {
            let entry = ObjectRef::namespaced(Kind::Ingress, &ingress.meta.namespace, &ingress.meta.name);
            for route in &ingress.routes {
                let saying = Saying { object: entry.clone(), pointer: Arc::clone(&route.backend.pointer) };
                let hosts = Some(&route.host).filter(|h| !h.is_empty()).into_iter().cloned().collect();
                let path = Arc::clone(&route.path);
                let opening = Opening { way: Way::Ingress, entry: entry.clone(), saying, hosts, path };
                self.follow(opening, &route.backend);
            }
        }
    }

    fn through_gateways(&mut self) {
        for route in &self.objects.http_routes {
            let reference = ObjectRef::namespaced(Kind::HTTPRoute, &route.meta.namespace, &route.meta.name);
            for parent in &route.parents {
                // Routes of a Service are for requests from inside.
                let Some(entry) = parent.object.as_ref().filter(|o| o.kind == Kind::Gateway) else { continue };
                if !self.is_taken(route, parent, entry) {
                    let saying = Saying { object: reference.clone(), pointer: Arc::clone(&parent.pointer) };
                    self.found.dead_ends.push(DeadEnd { saying, target: entry.clone(), why: Dead::NoListener });
                    continue;
                }
                for backend in route.backends.iter().filter(|b| b.weight > 0) {
                    let backend = &backend.backend;
                    let saying = Saying { object: reference.clone(), pointer: Arc::clone(&backend.pointer) };
                    if !self.is_granted(route, backend) {
                        let target = ObjectRef::namespaced(Kind::Service, &backend.namespace, &backend.service);
                        let dead = DeadEnd { saying, target, why: Dead::NoGrant };
                        if !self.found.dead_ends.contains(&dead) {
                            self.found.dead_ends.push(dead);
                        }
                        continue;
                    }
                    let hosts = route.hostnames.clone();
                    let (entry, path) = (entry.clone(), Arc::default());
                    self.follow(Opening { way: Way::Gateway, entry, saying, hosts, path }, backend);
                }
            }
        }
    }

    /// Whether a Gateway takes a route. One that is not in the input is believed to.
    fn is_taken(&self, route: &HttpRoute, parent: &RouteParent, gateway: &ObjectRef) -> bool {
        let is = |g: &&Gateway| *g.meta.namespace == *gateway.namespace_str() && g.meta.name == gateway.name;
        let Some(gateway) = self.objects.gateways.iter().find(is) else { return true };
        gateway.listeners.iter().any(|listener| {
            (parent.section.is_empty() || parent.section == listener.name)
                && parent.port.is_none_or(|port| port == listener.port)
                && listener.admits_http
                && !matches!(&*listener.protocol, "TCP" | "UDP")
                && self.admits(listener, gateway, &route.meta.namespace)
                && have_a_host_in_common(&listener.hostname, &route.hostnames)
        })
    }

    fn admits(&self, listener: &Listener, gateway: &Gateway, namespace: &Arc<str>) -> bool {
        match &listener.allowed {
            AllowedRoutes::All => true,
            AllowedRoutes::Same => gateway.meta.namespace == *namespace,
            AllowedRoutes::Selected(selector) => {
                let its = self.objects.namespaces.iter().find(|n| n.name() == namespace);
                its.is_some_and(|n| selector.matches(n.labels()))
            }
            AllowedRoutes::Nowhere => false,
        }
    }

    fn is_granted(&self, route: &HttpRoute, backend: &ServiceBackend) -> bool {
        backend.namespace == route.meta.namespace
            || self.objects.reference_grants.iter().any(|grant| {
                grant.meta.namespace == backend.namespace && grant.admits(&route.meta.namespace, &backend.service)
            })
    }

    fn through_services(&mut self) {
        for service in &self.objects.services {
            let way = match service.kind {
                ServiceType::LoadBalancer => Way::LoadBalancer,
                ServiceType::NodePort => Way::NodePort,
                ServiceType::ClusterIp if !service.external_ips.is_empty() => Way::ExternalIp,
                ServiceType::ClusterIp | ServiceType::ExternalName => continue,
            };
            let entry = ObjectRef::namespaced(Kind::Service, &service.meta.namespace, &service.meta.name);
            for (i, port) in service.ports.iter().enumerate() {
                let saying = Saying { object: entry.clone(), pointer: format!("/spec/ports/{i}").into() };
                let (hosts, path) = (Vec::new(), Arc::default());
                self.lead(Opening { way, entry: entry.clone(), saying, hosts, path }, service, port);
            }
        }
    }

    fn follow(&mut self, opening: Opening, to: &ServiceBackend) {
        let target = ObjectRef::namespaced(Kind::Service, &to.namespace, &to.service);
        let services = &self.objects.services;
        let is = |s: &Service| s.meta.namespace.cmp(&to.namespace).then_with(|| s.meta.name.cmp(&to.service));
        let Ok(at) = services.binary_search_by(is) else {
            return self.end(opening.saying, target, Dead::NoService);
        };
        let service = &services[at];
        match to.port.as_ref().and_then(|port| tcp_port(service, port)) {
            Some(port) => self.lead(opening, service, port),
            None => self.end(opening.saying, target, Dead::NoPort),
        }
    }

    fn lead(&mut self, opening: Opening, service: &'a Service, port: &'a ServicePort) {
        let backends = self.backends.of(service, port);
        if backends.is_empty() && service.external_name.is_none() {
            let target = ObjectRef::namespaced(Kind::Service, &service.meta.namespace, &service.meta.name);
            return self.end(opening.saying, target, Dead::NoBackend);
        }
        if backends.is_empty() {
            return;
        }
        let Opening { way, entry, saying, hosts, path } = opening;
        self.found.points.push(IngressPoint { way, entry, saying, hosts, path, service, port, backends });
    }

    fn end(&mut self, saying: Saying, target: ObjectRef, why: Dead) {
        let end = DeadEnd { saying, target, why };
        // A route with two parents is followed twice.
        if !self.found.dead_ends.contains(&end) {
            self.found.dead_ends.push(end);
        }
    }
}

/// Requests of the web are TCP: of two ports with one number, that one is meant.
fn tcp_port<'s>(service: &'s Service, port: &ServicePortRef) -> Option<&'s ServicePort> {
    let meant = |own: &&ServicePort| match port {
        ServicePortRef::Number(number) => own.port == *number && own.protocol == tortie_model::Protocol::Tcp,
        ServicePortRef::Name(name) => own.name == *name,
    };
    service.ports.iter().find(meant)
}

/// Whether a listener and a route share a host name; neither asks for one when it has none.
fn have_a_host_in_common(listener: &str, route: &[Arc<str>]) -> bool {
    listener.is_empty() || route.is_empty() || route.iter().any(|host| overlap(listener, host))
}

/// `*.a.b` stands for every name that ends so, with something before it.
fn overlap(a: &str, b: &str) -> bool {
    let covers = |wild: &str, name: &str| {
        let Some(suffix) = wild.strip_prefix('*') else { return false };
        name.strip_suffix(suffix).is_some_and(|head| !head.is_empty())
    };
    a.eq_ignore_ascii_case(b) || covers(a, b) || covers(b, a)
}

#[cfg(test)]
mod tests;
