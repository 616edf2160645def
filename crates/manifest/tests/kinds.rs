//! The kinds beside policies: pods from every workload, and the objects by which requests come in.

use tortie_manifest::{Diagnostic, Expansion, LoadOptions, Loaded, Memory, ObjectSet, load};
use tortie_model::{AllowedRoutes, Object, Pod, ServicePortRef};

fn read(text: &str) -> Loaded {
    load(&Memory::new([("f.yaml", text)]), &["f.yaml"], &LoadOptions::default())
}

fn causes(text: &str) -> Vec<String> {
    read(text).diagnostics.iter().map(Diagnostic::text).collect()
}

#[test]
fn every_workload_makes_pods() {
    let template =
        "template: {metadata: {labels: {app: a}}, spec: {containers: [{ports: [{name: http, containerPort: 80}]}]}}";
    let kinds = [
        ("apps/v1", "Deployment"),
        ("apps/v1", "StatefulSet"),
        ("apps/v1", "DaemonSet"),
        ("apps/v1", "ReplicaSet"),
        ("v1", "ReplicationController"),
        ("batch/v1", "Job"),
        ("batch/v1", "CronJob"),
    ];
    for (version, kind) in kinds {
        let spec = if kind == "CronJob" {
            format!("{{jobTemplate: {{spec: {{{template}}}}}}}")
        } else {
            format!("{{{template}}}")
        };
        let item = format!("metadata: {{name: one, namespace: shop}}\n  spec: {spec}\n");
        let loaded = read(&format!("apiVersion: {version}\nkind: {kind}List\nitems:\n- {item}"));
        assert!(loaded.diagnostics.is_empty(), "{kind}: {:?}", loaded.diagnostics);
        let set = ObjectSet::of(loaded.objects.iter().map(|o| &o.object), &Expansion::default());
        let pods: Vec<&Pod> = set.pods.iter().collect();
        assert_eq!(pods.len(), 1, "{kind}");
        assert_eq!(pods[0].owner.as_ref().map(ToString::to_string), Some(format!("{kind}/shop/one")));
        assert_eq!((pods[0].meta.labels.get("app"), pods[0].ports.len()), (Some("a"), 1), "{kind}");
    }
}

#[test]
fn a_gateway_and_its_routes_are_read_in_both_versions() {
    for version in ["v1", "v1beta1"] {
        let loaded = read(&format!(
            "apiVersion: gateway.networking.k8s.io/{version}
kind: Gateway
metadata: {{name: g}}
spec:
  gatewayClassName: c
  infrastructure: {{labels: {{a: b}}}}
  listeners:
  - {{name: a, port: 80, protocol: HTTP, allowedRoutes: {{namespaces: {{from: All}}, kinds: [{{kind: GRPCRoute}}]}}}}
  - {{name: b, port: 443, protocol: HTTPS, tls: {{mode: Terminate}}}}
---
apiVersion: gateway.networking.k8s.io/{version}
kind: HTTPRoute
metadata: {{name: r, namespace: shop}}
spec:
  parentRefs: [{{name: g, namespace: default, sectionName: b}}, {{kind: Unknown, name: x}}]
  rules:
  - backendRefs: [{{name: web, port: 80}}, {{name: other, namespace: else, port: 81, weight: 0}}, {{group: x.io, kind: Bucket, name: b}}]
"
        ));
        assert!(loaded.diagnostics.is_empty() && loaded.notes.is_empty(), "{:?}", loaded.diagnostics);
        let [Object::Gateway(gateway), Object::HttpRoute(route)] =
            [&loaded.objects[0].object, &loaded.objects[1].object]
        else {
            panic!("{:?}", loaded.objects);
        };
        let allowed: Vec<_> = gateway.listeners.iter().map(|l| (l.port, &l.allowed, l.admits_http)).collect();
        assert_eq!(allowed, [(80, &AllowedRoutes::All, false), (443, &AllowedRoutes::Same, true)]);
        let parents: Vec<_> = route.parents.iter().map(|p| p.object.as_ref().map(ToString::to_string)).collect();
        assert_eq!(parents, [Some("Gateway/default/g".to_owned()), None]);
        let backends: Vec<_> =
            route.backends.iter().map(|b| (&*b.backend.namespace, &*b.backend.service, b.weight)).collect();
        assert_eq!(backends, [("shop", "web", 1), ("else", "other", 0)]);
        assert_eq!(route.backends[1].backend.port, Some(ServicePortRef::Number(81)));
        let origin = &loaded.objects[1].origin;
        assert_eq!(origin.place(&route.backends[1].backend.pointer).line(), 17);
    }
}

#[test]
fn what_an_api_server_refuses_of_an_ingress_is_said() {
    let of = |backend: &str| {
        causes(&format!(
            "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {{name: i}}\nspec:\n  rules: [{{http: {{paths: [{{backend: {backend}}}]}}}}]\n"
        ))
    };
    let at = "spec.rules[0].http.paths[0].backend";
    assert_eq!(of("{service: {name: a, port: {number: 80}}}"), Vec::<String>::new());
    assert_eq!(of("{service: {name: a, port: {name: http}}}"), Vec::<String>::new());
    assert_eq!(of("{resource: {kind: K, name: n}}"), Vec::<String>::new());
    assert_eq!(of("{service: {name: a}}"), [format!("{at}: Required value: port name or number is required")]);
    assert_eq!(of("{service: {port: {number: 80}}}"), [format!("{at}.service.name: Required value")]);
    assert_eq!(
        of("{service: {name: a, port: {number: 99999}}}"),
        [format!("{at}.service.port.number: Invalid value: 99999: must be between 1 and 65535, inclusive")]
    );
    assert_eq!(
        of("{serviceName: a, servicePort: 80}"),
        [format!("{at}.service.name: Required value")],
        "as before Kubernetes 1.19"
    );
}

#[test]
fn what_is_wrong_with_a_route_or_slice_is_said() {
    let route = |spec: &str| {
        causes(&format!(
            "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {{name: r}}\nspec: {spec}\n"
        ))
    };
    assert_eq!(route("{parentRefs: [{kind: Gateway}]}"), ["spec.parentRefs[0].name: Required value"]);
    assert_eq!(
        route("{rules: [{backendRefs: [{name: a, port: 0}]}]}"),
        ["spec.rules[0].backendRefs[0].port: Invalid value: 0: must be between 1 and 65535, inclusive"]
    );
    assert!(route("{rules: [{backendRefs: {name: a}}]}")[0].contains("HTTPRouteRule.spec.rules.backendRefs"));
    let slice = |rest: &str| {
        causes(&format!("apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {{name: s}}\n{rest}\n"))
    };
    assert_eq!(slice("addressType: FQDN\nendpoints: [{addresses: [db.example.com]}]"), Vec::<String>::new());
    assert!(
        slice("addressType: IPv4\nendpoints: [{addresses: [x]}]")[0].starts_with("endpoints[0].addresses[0]: Invalid")
    );
}

/// What is read and has no part in an answer is said.
#[test]
fn what_decides_nothing_is_told() {
    let text = "\
apiVersion: projectcalico.org/v3
kind: StagedNetworkPolicy
metadata: {name: s, namespace: default}
spec: {selector: all()}
---
apiVersion: projectcalico.org/v3
kind: HostEndpoint
metadata: {name: h}
spec: {node: node-1, interfaceName: '*'}
---
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: early}
spec: {preDNAT: true, applyOnForward: true, ingress: [{action: Deny}]}
---
apiVersion: projectcalico.org/v3
kind: NetworkPolicy
metadata: {name: web, namespace: default}
spec: {ingress: [{action: Allow, http: {methods: [GET]}}]}
";
    let loaded = load(&Memory::new([("f.yaml", text)]), &["f.yaml"], &LoadOptions::default());
    assert!(loaded.diagnostics.is_empty(), "{:?}", loaded.diagnostics);
    let set = tortie_manifest::ObjectSet::of(loaded.objects.iter().map(|o| &o.object), &Expansion::default());
    let notes = set.notes();
    let told: Vec<(&str, String)> =
        notes.iter().map(|n| (&*n.id, n.object.as_ref().map(ToString::to_string).unwrap_or_default())).collect();
    assert_eq!(
        told,
        [
            ("staged-policy", "StagedNetworkPolicy/default/s".to_owned()),
            ("host-endpoint", "HostEndpoint/h".to_owned()),
            ("host-policy", "GlobalNetworkPolicy/early".to_owned()),
            ("http-match", "CalicoNetworkPolicy/default/web".to_owned()),
        ]
    );
}
