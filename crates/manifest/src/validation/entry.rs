//! Ingress and the Gateway API: the parts that tortie reads.

use super::plain::RANGE;
use super::schema::{INT32, LABELS, Shape, Struct, TEXT, TEXTS};
use super::shapes::{KIND, META, SELECTOR, VERSION};
use super::{Cause, Path, items, member, name, text};
use crate::value::Value;

pub(super) static INGRESS: Struct = Struct {
    name: "Ingress",
    go_type: "v1.Ingress",
    fields: &[VERSION, KIND, ("metadata", META), ("spec", Shape::Struct(&INGRESS_SPEC))],
};

static INGRESS_SPEC: Struct = Struct {
    name: "IngressSpec",
    go_type: "v1.IngressSpec",
    fields: &[
        ("ingressClassName", TEXT),
        ("defaultBackend", INGRESS_BACKEND),
        ("rules", Shape::List("[]v1.IngressRule", &Shape::Struct(&INGRESS_RULE))),
    ],
};

static INGRESS_RULE: Struct = Struct {
    name: "IngressRule",
    go_type: "v1.IngressRule",
    fields: &[("host", TEXT), ("http", Shape::Struct(&INGRESS_HTTP))],
};

static INGRESS_HTTP: Struct = Struct {
    name: "HTTPIngressRuleValue",
    go_type: "v1.HTTPIngressRuleValue",
    fields: &[("paths", Shape::List("[]v1.HTTPIngressPath", &Shape::Struct(&INGRESS_PATH)))],
};

static INGRESS_PATH: Struct = Struct {
    name: "HTTPIngressPath",
    go_type: "v1.HTTPIngressPath",
    fields: &[("path", TEXT), ("pathType", Shape::Text("v1.PathType")), ("backend", INGRESS_BACKEND)],
};

const INGRESS_BACKEND: Shape = Shape::Struct(&BACKEND);

static BACKEND: Struct = Struct {
    name: "IngressBackend",
    go_type: "v1.IngressBackend",
    fields: &[("service", Shape::Struct(&BACKEND_SERVICE)), ("resource", Shape::Any)],
};

static BACKEND_SERVICE: Struct = Struct {
    name: "IngressServiceBackend",
    go_type: "v1.IngressServiceBackend",
    fields: &[("name", TEXT), ("port", Shape::Struct(&BACKEND_PORT))],
};

static BACKEND_PORT: Struct = Struct {
    name: "ServiceBackendPort",
    go_type: "v1.ServiceBackendPort",
    fields: &[("name", TEXT), ("number", INT32)],
};

pub(super) static GATEWAY: Struct = Struct {
    name: "Gateway",
    go_type: "v1.Gateway",
    fields: &[VERSION, KIND, ("metadata", META), ("spec", Shape::Struct(&GATEWAY_SPEC))],
};

static GATEWAY_SPEC: Struct = Struct {
    name: "GatewaySpec",
    go_type: "v1.GatewaySpec",
    fields: &[
        ("gatewayClassName", Shape::Text("v1.ObjectName")),
        ("listeners", Shape::List("[]v1.Listener", &Shape::Struct(&LISTENER))),
    ],
};

static LISTENER: Struct = Struct {
    name: "Listener",
    go_type: "v1.Listener",
    fields: &[
        ("name", Shape::Text("v1.SectionName")),
        ("hostname", Shape::Text("v1.Hostname")),
        ("port", INT32),
        ("protocol", Shape::Text("v1.ProtocolType")),
        ("allowedRoutes", Shape::Struct(&ALLOWED_ROUTES)),
    ],
};

static ALLOWED_ROUTES: Struct = Struct {
    name: "AllowedRoutes",
    go_type: "v1.AllowedRoutes",
    fields: &[
        ("namespaces", Shape::Struct(&ROUTE_NAMESPACES)),
        ("kinds", Shape::List("[]v1.RouteGroupKind", &Shape::Struct(&GROUP_KIND))),
    ],
};

static ROUTE_NAMESPACES: Struct = Struct {
    name: "RouteNamespaces",
    go_type: "v1.RouteNamespaces",
    fields: &[("from", Shape::Text("v1.FromNamespaces")), ("selector", SELECTOR)],
};

static GROUP_KIND: Struct =
    Struct { name: "RouteGroupKind", go_type: "v1.RouteGroupKind", fields: &[("group", TEXT), ("kind", TEXT)] };

pub(super) static HTTP_ROUTE: Struct = Struct {
    name: "HTTPRoute",
    go_type: "v1.HTTPRoute",
    fields: &[VERSION, KIND, ("metadata", META), ("spec", Shape::Struct(&HTTP_ROUTE_SPEC))],
};

static HTTP_ROUTE_SPEC: Struct = Struct {
    name: "HTTPRouteSpec",
    go_type: "v1.HTTPRouteSpec",
    fields: &[
        ("parentRefs", Shape::List("[]v1.ParentReference", &Shape::Struct(&PARENT_REFERENCE))),
        ("hostnames", TEXTS),
        ("rules", Shape::List("[]v1.HTTPRouteRule", &Shape::Struct(&HTTP_ROUTE_RULE))),
    ],
};

static PARENT_REFERENCE: Struct = Struct {
    name: "ParentReference",
    go_type: "v1.ParentReference",
    fields: &[
        ("group", TEXT),
        ("kind", TEXT),
        ("namespace", TEXT),
        ("name", TEXT),
        ("sectionName", TEXT),
        ("port", INT32),
    ],
};

static HTTP_ROUTE_RULE: Struct = Struct {
    name: "HTTPRouteRule",
    go_type: "v1.HTTPRouteRule",
    fields: &[
        ("filters", FILTERS),
        ("backendRefs", Shape::List("[]v1.HTTPBackendRef", &Shape::Struct(&BACKEND_REFERENCE))),
    ],
};

static BACKEND_REFERENCE: Struct = Struct {
    name: "HTTPBackendRef",
    go_type: "v1.HTTPBackendRef",
    fields: &[
        ("group", TEXT),
        ("kind", TEXT),
        ("namespace", TEXT),
        ("name", TEXT),
        ("port", INT32),
        ("weight", INT32),
        ("filters", FILTERS),
    ],
};

const FILTERS: Shape = Shape::List("[]v1.HTTPRouteFilter", &Shape::Struct(&FILTER));

static FILTER: Struct = Struct {
    name: "HTTPRouteFilter",
    go_type: "v1.HTTPRouteFilter",
    fields: &[("requestMirror", Shape::Struct(&MIRROR))],
};

static MIRROR: Struct = Struct {
    name: "HTTPRequestMirrorFilter",
    go_type: "v1.HTTPRequestMirrorFilter",
    fields: &[("backendRef", Shape::Struct(&MIRROR_TARGET))],
};

static MIRROR_TARGET: Struct = Struct {
    name: "BackendObjectReference",
    go_type: "v1.BackendObjectReference",
    fields: &[("group", TEXT), ("kind", TEXT), ("namespace", TEXT), ("name", TEXT), ("port", INT32)],
};

pub(super) static REFERENCE_GRANT: Struct = Struct {
    name: "ReferenceGrant",
    go_type: "v1beta1.ReferenceGrant",
    fields: &[VERSION, KIND, ("metadata", META), ("spec", Shape::Struct(&GRANT_SPEC))],
};

static GRANT_SPEC: Struct = Struct {
    name: "ReferenceGrantSpec",
    go_type: "v1beta1.ReferenceGrantSpec",
    fields: &[
        ("from", Shape::List("[]v1beta1.ReferenceGrantFrom", &LABELS)),
        ("to", Shape::List("[]v1beta1.ReferenceGrantTo", &LABELS)),
    ],
};

/// The backends of an Ingress.
pub(super) fn ingress(spec: &Value<'_>, path: &Path<'_>, causes: &mut Vec<Cause>) {
    if let Some(default) = member(spec, "defaultBackend") {
        backend(default, &path.child("defaultBackend"), causes);
    }
    let rules = path.child("rules");
    for (i, rule) in items(spec, "rules").iter().enumerate() {
        let rule_path = rules.index(i);
        let Some(http) = member(rule, "http") else { continue };
        let http_path = rule_path.child("http");
        let paths = http_path.child("paths");
        for (i, one) in items(http, "paths").iter().enumerate() {
            let path = paths.index(i);
            backend(member(one, "backend").unwrap_or(&Value::Null), &path.child("backend"), causes);
        }
    }
}

fn backend(backend: &Value<'_>, path: &Path<'_>, causes: &mut Vec<Cause>) {
    let resource = member(backend, "resource").is_some();
    let Some(service) = member(backend, "service") else {
        if !resource {
            causes.push(Cause::required(&path.child("service").child("name"), ""));
        }
        return;
    };
    if resource {
        causes.push(Cause::invalid(path, "", "cannot set both resource and service backends"));
        return;
    }
    let service_path = path.child("service");
    if text(service, "name").is_empty() {
        causes.push(Cause::required(&service_path.child("name"), ""));
    }
    let port = member(service, "port").unwrap_or(&Value::Null);
    let port_path = service_path.child("port");
    let named = text(port, "name");
    match member(port, "number").and_then(Value::as_i64).filter(|n| *n != 0) {
        Some(_) if !named.is_empty() => {
            causes.push(Cause::invalid(path, "", "cannot set both port name & port number"));
        }
        None if named.is_empty() => causes.push(Cause::required(path, "port name or number is required")),
        None => {
            let path = port_path.child("name");
            causes.extend(name::port(named).iter().map(|e| Cause::invalid(&path, named, e)));
        }
        Some(number) => in_range(number, &port_path.child("number"), causes),
    }
}

fn in_range(port: i64, path: &Path<'_>, causes: &mut Vec<Cause>) {
    if !(1..=65535).contains(&port) {
        causes.push(Cause::invalid_raw(path, port, RANGE));
    }
}

/// The listeners of a Gateway.
pub(super) fn gateway(spec: &Value<'_>, path: &Path<'_>, causes: &mut Vec<Cause>) {
    let listeners = path.child("listeners");
    for (i, listener) in items(spec, "listeners").iter().enumerate() {
        let path = listeners.index(i);
        match member(listener, "port").and_then(Value::as_i64) {
            Some(port) => in_range(port, &path.child("port"), causes),
            None => causes.push(Cause::required(&path.child("port"), "")),
        }
    }
}

/// The parents and backends of an HTTPRoute.
pub(super) fn http_route(spec: &Value<'_>, path: &Path<'_>, causes: &mut Vec<Cause>) {
    references(items(spec, "parentRefs"), &path.child("parentRefs"), causes);
    let rules = path.child("rules");
    for (i, rule) in items(spec, "rules").iter().enumerate() {
        let path = rules.index(i);
        references(items(rule, "backendRefs"), &path.child("backendRefs"), causes);
    }
}

fn references(list: &[Value<'_>], path: &Path<'_>, causes: &mut Vec<Cause>) {
    for (i, reference) in list.iter().enumerate() {
        let path = path.index(i);
        if text(reference, "name").is_empty() {
            causes.push(Cause::required(&path.child("name"), ""));
        }
        if let Some(port) = member(reference, "port").and_then(Value::as_i64) {
            in_range(port, &path.child("port"), causes);
        }
    }
}
