//! Where objects go: their names, their places, and the set that they are in.

use serde_json::json;
use tortie_manifest::{Expansion, LoadOptions, Memory, ObjectSet, load};
use tortie_model::{Kind, ObjectRef};

const ALL: &str = "\
apiVersion: projectcalico.org/v3
kind: NetworkPolicy
metadata: {name: a, namespace: shop, labels: {app: web}}
spec:
  ingress:
  - action: Allow
  - action: Deny
---
{apiVersion: projectcalico.org/v3, kind: GlobalNetworkPolicy, metadata: {name: a}}
---
{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: a, namespace: shop}, spec: {podSelector: {}}}
---
{apiVersion: projectcalico.org/v3, kind: StagedNetworkPolicy, metadata: {name: a, namespace: trial}}
---
{apiVersion: projectcalico.org/v3, kind: StagedGlobalNetworkPolicy, metadata: {name: a}}
---
{apiVersion: projectcalico.org/v3, kind: StagedKubernetesNetworkPolicy, metadata: {name: a}, spec: {podSelector: {}}}
---
{apiVersion: projectcalico.org/v3, kind: Tier, metadata: {name: a}}
---
{apiVersion: projectcalico.org/v3, kind: NetworkSet, metadata: {name: a, namespace: shop}}
---
{apiVersion: projectcalico.org/v3, kind: GlobalNetworkSet, metadata: {name: a}}
---
{apiVersion: projectcalico.org/v3, kind: Profile, metadata: {name: a}}
---
{apiVersion: projectcalico.org/v3, kind: HostEndpoint, metadata: {name: a}, spec: {node: one, interfaceName: '*'}}
---
apiVersion: policy.networking.k8s.io/v1alpha2
kind: ClusterNetworkPolicy
metadata: {name: a}
spec: {tier: Admin, priority: 1, subject: {namespaces: {}}}
---
apiVersion: policy.networking.k8s.io/v1alpha1
kind: AdminNetworkPolicy
metadata: {name: a}
spec: {priority: 1, subject: {namespaces: {}}}
---
apiVersion: policy.networking.k8s.io/v1alpha1
kind: BaselineAdminNetworkPolicy
metadata: {name: default}
spec: {subject: {namespaces: {}}}
---
{apiVersion: v1, kind: ServiceAccount, metadata: {name: a, namespace: shop, labels: {role: web}}}
";

const NAMES: [&str; 15] = [
    "CalicoNetworkPolicy/shop/a",
    "GlobalNetworkPolicy/a",
    "NetworkPolicy/shop/a",
    "StagedNetworkPolicy/trial/a",
    "StagedGlobalNetworkPolicy/a",
    "StagedKubernetesNetworkPolicy/default/a",
    "Tier/a",
    "NetworkSet/shop/a",
    "GlobalNetworkSet/a",
    "Profile/a",
    "HostEndpoint/a",
    "ClusterNetworkPolicy/a",
    "AdminNetworkPolicy/a",
    "BaselineAdminNetworkPolicy/default",
    "ServiceAccount/shop/a",
];

#[test]
fn every_object_has_a_name_of_its_own_a_place_and_a_list() {
    let loaded = load(&Memory::new([("f.yaml", ALL)]), &["f.yaml"], &LoadOptions::default());
    assert!(loaded.diagnostics.is_empty() && loaded.notes.is_empty(), "{:?}", loaded.diagnostics);
    let names: Vec<_> = loaded.objects.iter().map(|o| o.object.reference().to_string()).collect();
    assert_eq!(names, NAMES);
    for (name, object) in NAMES.iter().zip(&loaded.objects) {
        assert_eq!(name.parse(), Ok(object.object.reference()), "{name}");
    }
    let [policy, others @ ..] = &loaded.objects[..] else { panic!("there are objects") };
    assert_eq!(policy.object.labels().get("app"), Some("web"));
    let line = |pointer: &str| policy.origin.place(pointer).line();
    assert_eq!((line("/spec/ingress/0"), line("/spec/ingress/1/action")), (6, 7));
    assert_eq!(others[0].origin.place("/metadata/name").line(), 9);

    let set = ObjectSet::of(loaded.objects.iter().map(|o| &o.object), &Expansion::default());
    let counts = [
        set.network_policies.len(),
        set.calico_policies.len(),
        set.staged.len(),
        set.tiers.len(),
        set.network_sets.len(),
        set.profiles.len(),
        set.host_endpoints.len(),
        set.cluster_policies.len(),
        set.service_accounts.len(),
    ];
    assert_eq!(counts, [1, 2, 3, 1, 2, 1, 1, 3, 1]);
    let implied: Vec<_> = set.implied_namespaces.iter().map(|n| &**n).collect();
    assert_eq!(implied, ["shop", "trial"]);
}

/// Calico's kind of that name is another one, and a namespace has both.
#[test]
fn two_kinds_are_called_network_policy() {
    assert_eq!(Kind::of("projectcalico.org/v3", "NetworkPolicy"), Some(Kind::CalicoNetworkPolicy));
    assert_eq!(Kind::of("networking.k8s.io/v1", "NetworkPolicy"), Some(Kind::NetworkPolicy));
    assert_eq!(Kind::CalicoNetworkPolicy.written(), "NetworkPolicy");
    assert!("GlobalNetworkPolicy/shop/a".parse::<ObjectRef>().is_err(), "it is in no namespace");
}

#[test]
fn namespaces_know_their_service_accounts_even_those_that_are_only_named() {
    let account = |namespace: &str, name: &str, role: &str| {
        let metadata = json!({ "name": name, "namespace": namespace, "labels": { "role": role } });
        json!({ "apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata })
    };
    let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "given" } });
    let items = [account("given", "a", "one"), account("given", "b", "two"), account("named", "a", "three"), namespace];
    let list = json!({ "apiVersion": "v1", "kind": "List", "items": items }).to_string();
    let loaded = load(&Memory::new([("f.json", list)]), &["f.json"], &LoadOptions::default());
    assert!(loaded.diagnostics.is_empty(), "{:?}", loaded.diagnostics);
    let set = ObjectSet::of(loaded.objects.iter().map(|o| &o.object), &Expansion::default());
    let told: Vec<_> = (set.namespaces.iter())
        .flat_map(|n| n.accounts().iter().map(|(name, labels)| (&**n.name(), &**name, labels.get("role"))))
        .collect();
    assert_eq!(told, [("given", "a", Some("one")), ("given", "b", Some("two")), ("named", "a", Some("three"))]);
}

#[test]
fn nobody_reads_the_policies_of_other_projects() {
    for (version, kind) in [
        ("cilium.io/v2", "CiliumNetworkPolicy"),
        ("crd.antrea.io/v1beta1", "ClusterNetworkPolicy"),
        ("policy.networking.k8s.io/v1", "ClusterNetworkPolicy"),
        ("policy.networking.k8s.io/v1alpha2", "AdminNetworkPolicy"),
        ("projectcalico.org/v4", "GlobalNetworkPolicy"),
    ] {
        let object = json!({ "apiVersion": version, "kind": kind, "metadata": { "name": "p" }, "spec": {} });
        let loaded = crate::loaded(&object);
        assert!(loaded.objects.is_empty() && loaded.has_untrusted_policy(), "{version} {kind}: {loaded:?}");
        let said = (loaded.diagnostics.iter().chain(&loaded.notes)).any(|d| d.message.contains(kind));
        assert!(said, "{version} {kind}: {loaded:?}");
    }
}
