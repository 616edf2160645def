use super::*;

use tortie_manifest::{Expansion, LoadOptions, Memory, load};

fn objects(text: &str) -> ObjectSet {
    let loaded = load(&Memory::new([("f.yaml", text)]), &["f.yaml"], &LoadOptions::default());
    assert!(loaded.diagnostics.is_empty(), "{:?}", loaded.diagnostics);
    ObjectSet::of(loaded.objects.iter().map(|o| &o.object), &Expansion::default())
}

fn points(found: &Ingresses<'_>) -> Vec<String> {
    let backend = |b: &Backend<'_>| match b {
        Backend::Pod(pod, port) => format!("{}:{port}", pod.key()),
        Backend::Address(ip, port) => format!("{ip}:{port}"),
    };
    let point = |p: &IngressPoint<'_>| {
        let to = p.backends.iter().map(backend).collect::<Vec<_>>().join(" ");
        format!("{} {} {}{} -> {to}", p.entry, p.saying.pointer, p.hosts.join(","), p.path)
    };
    found.points.iter().map(point).collect()
}

fn dead(found: &Ingresses<'_>) -> Vec<String> {
    let end = |e: &DeadEnd| format!("{} {} {} {:?}", e.saying.object, e.saying.pointer, e.target, e.why);
    found.dead_ends.iter().map(end).collect()
}

const SHOP: &str = "
apiVersion: v1
kind: Pod
metadata: {name: web, namespace: shop, labels: {app: web}}
spec: {containers: [{ports: [{name: http, containerPort: 8080}, {name: dns, containerPort: 53, protocol: UDP}]}]}
---
apiVersion: v1
kind: Pod
metadata: {name: old, namespace: shop, labels: {app: web}}
spec: {containers: [{ports: [{containerPort: 8080}]}]}
---
apiVersion: v1
kind: Pod
metadata: {name: web, namespace: other, labels: {app: web}}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec:
  selector: {app: web}
  ports:
  - {name: http, port: 80, targetPort: http}
  - {name: admin, port: 81, targetPort: 9000}
---
";

#[test]
fn an_ingress_leads_through_ports_by_number_and_name() {
    let objects = objects(&format!(
        "{SHOP}
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {{name: front, namespace: shop, annotations: {{a: b}}}}
spec:
  tls: [{{hosts: [shop.example.com]}}]
  defaultBackend: {{service: {{name: web, port: {{name: admin}}}}}}
  rules:
  - host: shop.example.com
    http:
      paths:
      - {{path: /static, pathType: Prefix, backend: {{resource: {{kind: Bucket, name: b}}}}}}
      - {{path: /, pathType: Prefix, backend: {{service: {{name: web, port: {{number: 80}}}}}}}}
      - {{path: /x, pathType: Prefix, backend: {{service: {{name: none, port: {{number: 80}}}}}}}}
      - {{path: /y, pathType: Prefix, backend: {{service: {{name: web, port: {{number: 8080}}}}}}}}
"
    ));
    let found = ingresses(&objects);
    assert_eq!(
        points(&found),
        [
            "Ingress/shop/front /spec/rules/0/http/paths/1/backend shop.example.com/ -> shop/web:8080",
            "Ingress/shop/front /spec/defaultBackend  -> shop/old:9000 shop/web:9000",
        ]
    );
    assert_eq!(
        dead(&found),
        [
            "Ingress/shop/front /spec/rules/0/http/paths/2/backend Service/shop/none NoService",
            "Ingress/shop/front /spec/rules/0/http/paths/3/backend Service/shop/web NoPort",
        ]
    );
}

fn route(namespace: &str, parent: &str, backend: &str) -> String {
    format!(
        "apiVersion: gateway.networking.k8s.io/v1beta1
kind: HTTPRoute
metadata: {{name: r, namespace: {namespace}}}
spec:
  parentRefs: [{parent}]
  hostnames: [shop.example.com]
  rules: [{{matches: [{{path: {{value: /}}}}], backendRefs: [{backend}]}}]
---
"
    )
}

const GATEWAY: &str = "
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: gate, namespace: infra}
spec:
  gatewayClassName: any
  listeners:
  - {name: own, port: 80, protocol: HTTP}
  - name: shops
    port: 443
    protocol: HTTPS
    hostname: '*.example.com'
    allowedRoutes: {namespaces: {from: Selector, selector: {matchLabels: {shop: 'yes'}}}}
---
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {shop: 'yes'}}
---
";

#[test]
fn a_gateway_takes_the_routes_that_its_listeners_allow() {
    let to = "{name: web, port: 80}";
    let taken = |parent: &str| {
        let objects = objects(&format!("{SHOP}{GATEWAY}{}", route("shop", parent, to)));
        let found = ingresses(&objects);
        (points(&found), dead(&found))
    };
    let point = "Gateway/infra/gate /spec/rules/0/backendRefs/0 shop.example.com -> shop/web:8080".to_owned();
    assert_eq!(taken("{name: gate, namespace: infra}"), (vec![point.clone()], vec![]));
    assert_eq!(taken("{name: gate, namespace: infra, sectionName: shops, port: 443}"), (vec![point], vec![]));
    let none = |ends: &str| (Vec::<String>::new(), vec![format!("HTTPRoute/shop/r /spec/parentRefs/0 {ends}")]);
    let refused = "{name: gate, namespace: infra, sectionName: own}";
    assert_eq!(taken(refused), none("Gateway/infra/gate NoListener"));
    assert_eq!(taken("{name: gate, namespace: infra, port: 80}"), none("Gateway/infra/gate NoListener"));
    let elsewhere = "Gateway/shop/gate /spec/rules/0/backendRefs/0 shop.example.com -> shop/web:8080".to_owned();
    assert_eq!(taken("{name: gate}"), (vec![elsewhere], vec![]), "one that is not in the input");
    assert_eq!(taken("{group: '', kind: Service, name: web}"), (vec![], vec![]), "for requests from inside");
}

#[test]
fn a_route_into_another_namespace_needs_a_grant() {
    let to = "{name: web, namespace: shop, port: 80}, {name: web, namespace: shop, port: 81, weight: 0}";
    let ground = format!("{SHOP}{}", route("edge", "{name: gate}", to));
    let found = objects(&ground);
    let found = ingresses(&found);
    assert_eq!(dead(&found), ["HTTPRoute/edge/r /spec/rules/0/backendRefs/0 Service/shop/web NoGrant"]);
    for (from, name, granted) in
        [("edge", "", true), ("edge", ", name: web", true), ("edge", ", name: x", false), ("x", "", false)]
    {
        let grant = format!(
            "apiVersion: gateway.networking.k8s.io/v1beta1
kind: ReferenceGrant
metadata: {{name: g, namespace: shop}}
spec:
  from: [{{group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: {from}}}]
  to: [{{group: '', kind: Service{name}}}]
"
        );
        let objects = objects(&format!("{ground}{grant}"));
        assert_eq!(ingresses(&objects).points.len(), usize::from(granted), "{from} {name}");
    }
}

#[test]
fn copies_of_requests_reach_pods_too() {
    let rules =
        "{name: web, port: 80, filters: [{type: RequestMirror, requestMirror: {backendRef: {name: web, port: 81}}}]}";
    let objects = objects(&format!("{SHOP}{}", route("shop", "{name: gate}", rules)));
    let pointers: Vec<_> = ingresses(&objects).points.iter().map(|p| p.saying.pointer.to_string()).collect();
    let copy = "/spec/rules/0/backendRefs/0/filters/0/requestMirror/backendRef";
    assert_eq!(pointers, ["/spec/rules/0/backendRefs/0", copy]);
}

#[test]
fn services_are_reached_from_outside_by_their_type() {
    let service = |name: &str, spec: &str| {
        format!("apiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: shop}}\nspec: {{{spec}}}\n---\n")
    };
    let ports = "ports: [{port: 80, targetPort: 8080}], selector: {app: web}";
    let objects = objects(
        &(SHOP.to_owned()
            + &service("balanced", &format!("type: LoadBalancer, loadBalancerSourceRanges: [192.0.2.0/24], {ports}"))
            + &service("empty", "type: NodePort, ports: [{port: 80}], selector: {app: none}")
            + &service("named", "type: ExternalName, externalName: example.com")
            + &service("node", &format!("type: NodePort, externalTrafficPolicy: Local, {ports}"))
            + &service("owned", &format!("externalIPs: [203.0.113.7], {ports}"))),
    );
    let found = ingresses(&objects);
    let ways: Vec<_> = found.points.iter().map(|p| (&*p.entry.name, p.way, p.service.keeps_source)).collect();
    assert_eq!(
        ways,
        [("balanced", Way::LoadBalancer, false), ("node", Way::NodePort, true), ("owned", Way::ExternalIp, false)]
    );
    assert_eq!(found.points[0].service.source_ranges, ["192.0.2.0/24".parse().unwrap()]);
    assert_eq!(dead(&found), ["Service/shop/empty /spec/ports/0 Service/shop/empty NoBackend"]);
}

#[test]
fn slices_tell_what_is_behind_a_service_without_a_selector() {
    let objects = objects(
        "apiVersion: v1
kind: Pod
metadata: {name: a, namespace: shop}
status: {podIPs: [{ip: 10.0.0.1}]}
---
apiVersion: v1
kind: Service
metadata: {name: db, namespace: shop}
spec: {type: LoadBalancer, ports: [{name: sql, port: 5432}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSliceList
items:
- metadata: {name: db-1, namespace: shop, labels: {kubernetes.io/service-name: db}}
  addressType: IPv4
  ports: [{name: sql, port: 6432, protocol: TCP}, {name: other, port: 1}]
  endpoints:
  - {addresses: [10.0.0.1]}
  - {addresses: [198.51.100.4], conditions: {ready: true}}
  - {addresses: [198.51.100.5], conditions: {ready: false}}
  - {addresses: [10.9.9.9], targetRef: {kind: Pod, name: a}}
- metadata: {name: db-2, namespace: elsewhere, labels: {kubernetes.io/service-name: db}}
  addressType: IPv4
  ports: [{name: sql, port: 6432}]
  endpoints: [{addresses: [198.51.100.6]}]
",
    );
    let found = ingresses(&objects);
    assert_eq!(points(&found), ["Service/shop/db /spec/ports/0  -> shop/a:6432 198.51.100.4:6432"]);
}

#[test]
fn host_names_overlap_with_their_wildcards() {
    for (a, b, both) in [
        ("shop.example.com", "SHOP.example.com", true),
        ("*.example.com", "shop.example.com", true),
        ("*.example.com", "a.shop.example.com", true),
        ("*.example.com", "example.com", false),
        ("*.example.com", "*.shop.example.com", true),
        ("a.example.com", "b.example.com", false),
    ] {
        assert_eq!((overlap(a, b), overlap(b, a)), (both, both), "{a} {b}");
    }
}
