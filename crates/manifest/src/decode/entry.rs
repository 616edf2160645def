//! Ingress, and the Gateway API.

use std::sync::Arc;

use tortie_model::{
    AllowedRoutes, Gateway, HttpRoute, Ingress, IngressRoute, Kind, Listener, Meta, ObjectRef, ReferenceGrant,
    RouteBackend, RouteParent, ServiceBackend, ServicePortRef,
};

use super::networkpolicy::selector;
use crate::validation::{items, member, text};
use crate::value::Value;

fn port_number(value: &Value<'_>, field: &str) -> Option<u16> {
    member(value, field).and_then(Value::as_u64).and_then(|n| u16::try_from(n).ok()).filter(|n| *n > 0)
}

/// A text member, where it is written and not empty.
fn written(value: &Value<'_>, field: &str) -> Option<Arc<str>> {
    Some(text(value, field)).filter(|t| !t.is_empty()).map(Into::into)
}

pub(super) fn ingress(meta: Meta, value: &Value<'_>) -> Ingress {
    let spec = member(value, "spec").unwrap_or(&Value::Null);
    let mut routes = Vec::new();
    let mut route = |host: &str, path: &str, backend: Option<&Value<'_>>, pointer: String| {
        let Some(service) = backend.and_then(|b| member(b, "service")) else { return };
        let port = member(service, "port").unwrap_or(&Value::Null);
        let port = written(port, "name")
            .map(ServicePortRef::Name)
            .or_else(|| port_number(port, "number").map(ServicePortRef::Number));
        let backend = ServiceBackend {
            pointer: pointer.into(),
            namespace: Arc::clone(&meta.namespace),
            service: text(service, "name").into(),
            port,
        };
        routes.push(IngressRoute { host: host.into(), path: path.into(), backend });
    };
    for (i, rule) in items(spec, "rules").iter().enumerate() {
        let paths = member(rule, "http").map(|http| items(http, "paths")).unwrap_or_default();
        for (j, path) in paths.iter().enumerate() {
            let pointer = format!("/spec/rules/{i}/http/paths/{j}/backend");
            route(text(rule, "host"), text(path, "path"), member(path, "backend"), pointer);
        }
    }
    route("", "", member(spec, "defaultBackend"), "/spec/defaultBackend".to_owned());
    Ingress { class: written(spec, "ingressClassName"), meta, routes }
}

pub(super) fn gateway(meta: Meta, value: &Value<'_>) -> Gateway {
    let spec = member(value, "spec").unwrap_or(&Value::Null);
    Gateway {
        meta,
        class: text(spec, "gatewayClassName").into(),
        listeners: items(spec, "listeners").iter().map(listener).collect(),
    }
}

fn listener(listener: &Value<'_>) -> Listener {
    let routes = member(listener, "allowedRoutes").unwrap_or(&Value::Null);
    let namespaces = member(routes, "namespaces").unwrap_or(&Value::Null);
    let allowed = match text(namespaces, "from") {
        "All" => AllowedRoutes::All,
        // A selector that is missing selects nothing.
        "Selector" => member(namespaces, "selector")
            .map_or(AllowedRoutes::Nowhere, |labels| AllowedRoutes::Selected(selector(labels))),
        "None" => AllowedRoutes::Nowhere,
        _ => AllowedRoutes::Same,
    };
    let kinds = items(routes, "kinds");
    Listener {
        name: text(listener, "name").into(),
        port: port_number(listener, "port").unwrap_or_default(),
        protocol: text(listener, "protocol").into(),
        hostname: text(listener, "hostname").into(),
        allowed,
        admits_http: kinds.is_empty() || kinds.iter().any(|k| text(k, "kind") == "HTTPRoute"),
    }
}

pub(super) fn http_route(meta: Meta, value: &Value<'_>) -> HttpRoute {
    let spec = member(value, "spec").unwrap_or(&Value::Null);
    let parents = items(spec, "parentRefs").iter().enumerate();
    let parents = parents.map(|(i, p)| parent(p, format!("/spec/parentRefs/{i}"), &meta.namespace)).collect();
    let mut backends = Vec::new();
    for (i, rule) in items(spec, "rules").iter().enumerate() {
        let at = format!("/spec/rules/{i}");
        for (j, item) in items(rule, "backendRefs").iter().enumerate() {
            let at = format!("{at}/backendRefs/{j}");
            backends.extend(backend(item, at.clone(), i, false, &meta.namespace));
            backends.extend(mirrors(item, &at, i, &meta.namespace));
        }
        backends.extend(mirrors(rule, &at, i, &meta.namespace));
    }
    let hostnames = items(spec, "hostnames").iter().filter_map(Value::as_str).map(Into::into).collect();
    HttpRoute { hostnames, parents, backends, meta }
}

/// A parent is a Gateway when it does not say what it is.
fn parent(parent: &Value<'_>, pointer: String, here: &Arc<str>) -> RouteParent {
    let group = member(parent, "group").and_then(Value::as_str).unwrap_or("gateway.networking.k8s.io");
    let kind = match (group, member(parent, "kind").and_then(Value::as_str).unwrap_or("Gateway")) {
        ("gateway.networking.k8s.io", "Gateway") => Some(Kind::Gateway),
        ("" | "core", "Service") => Some(Kind::Service),
        _ => None,
    };
    let namespace = written(parent, "namespace").unwrap_or_else(|| Arc::clone(here));
    let object = kind.map(|kind| ObjectRef { kind, namespace: Some(namespace), name: text(parent, "name").into() });
    RouteParent {
        pointer: pointer.into(),
        object,
        section: text(parent, "sectionName").into(),
        port: port_number(parent, "port"),
    }
}

/// A backend is a Service when it does not say what it is; of what is something else nothing is known.
fn backend(item: &Value<'_>, at: String, rule: usize, mirror: bool, here: &Arc<str>) -> Option<RouteBackend> {
    let kind = member(item, "kind").and_then(Value::as_str).unwrap_or("Service");
    if !matches!(text(item, "group"), "" | "core") || kind != "Service" {
        return None;
    }
    let weight = member(item, "weight").and_then(Value::as_u64).and_then(|w| u32::try_from(w).ok());
    let backend = ServiceBackend {
        pointer: at.into(),
        namespace: written(item, "namespace").unwrap_or_else(|| Arc::clone(here)),
        service: text(item, "name").into(),
        port: port_number(item, "port").map(ServicePortRef::Number),
    };
    Some(RouteBackend { rule, backend, weight: weight.unwrap_or(1), mirror })
}

fn mirrors(holder: &Value<'_>, at: &str, rule: usize, here: &Arc<str>) -> Vec<RouteBackend> {
    let mirror = |(i, filter): (usize, &Value<'_>)| {
        let target = member(member(filter, "requestMirror")?, "backendRef")?;
        backend(target, format!("{at}/filters/{i}/requestMirror/backendRef"), rule, true, here)
    };
    items(holder, "filters").iter().enumerate().filter_map(mirror).collect()
}

pub(super) fn reference_grant(meta: Meta, value: &Value<'_>) -> ReferenceGrant {
    let spec = member(value, "spec").unwrap_or(&Value::Null);
    let is_route = |f: &&Value<'_>| text(f, "group") == "gateway.networking.k8s.io" && text(f, "kind") == "HTTPRoute";
    let is_service = |t: &&Value<'_>| matches!(text(t, "group"), "" | "core") && text(t, "kind") == "Service";
    let from = items(spec, "from").iter().filter(is_route).map(|f| text(f, "namespace").into()).collect();
    let to = items(spec, "to").iter().filter(is_service).map(|t| written(t, "name")).collect();
    ReferenceGrant { meta, from, to }
}
