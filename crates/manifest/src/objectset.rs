//! What a cluster holds once its workloads have made their pods.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use tortie_model::{
    ClusterPolicy, ContainerPort, EndpointSlice, Gateway, HttpRoute, Ingress, Kind, Labels, Meta, Namespace,
    NetworkPolicy, Node, Object, ObjectRef, Phase, Pod, Protocol, ReferenceGrant, Service, ServiceAccount, ServicePort,
    TargetPort, Workload, calico,
};

use crate::diagnostic::Diagnostic;

/// How workloads become pods.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expansion {
    /// Most pods that one workload makes, DaemonSets aside.
    pub replicas: u32,
    /// Nodes for DaemonSets where no Node object is given; without any, a DaemonSet makes one pod.
    pub nodes: Vec<Arc<str>>,
}

impl Default for Expansion {
    fn default() -> Self {
        Self { replicas: 2, nodes: Vec::new() }
    }
}

/// The objects of a cluster, each kind sorted by namespace and name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ObjectSet {
    /// All namespaces that are defined or named.
    pub namespaces: Vec<Namespace>,
    /// Those of them that objects name but nobody defines, except the ones that every cluster has.
    pub implied_namespaces: Vec<Arc<str>>,
    /// Nodes that are given as objects.
    pub nodes: Vec<Node>,
    /// Pods that run or will: given as objects, or made by a workload. `owner` is the workload at the top.
    pub pods: Vec<Pod>,
    /// Pods that ended: they hold no address and no policy concerns them.
    pub finished: Vec<Pod>,
    /// Services.
    pub services: Vec<Service>,
    /// Policies.
    pub network_policies: Vec<Arc<NetworkPolicy>>,
    /// Workloads, those whose pods are given included.
    pub workloads: Vec<Workload>,
    /// Addresses behind Services, as a cluster tells them.
    pub endpoint_slices: Vec<EndpointSlice>,
    /// Ingresses.
    pub ingresses: Vec<Ingress>,
    /// Gateways.
    pub gateways: Vec<Gateway>,
    /// Routes of Gateways.
    pub http_routes: Vec<HttpRoute>,
    /// Leaves to refer across namespaces.
    pub reference_grants: Vec<ReferenceGrant>,
    /// Service accounts; the namespaces know them too.
    pub service_accounts: Vec<ServiceAccount>,
    /// NetworkPolicies and GlobalNetworkPolicies of Calico.
    pub calico_policies: Vec<Arc<calico::Policy>>,
    /// Policies to try out.
    pub staged: Vec<Arc<calico::Staged>>,
    /// Tiers that are given; others are there without.
    pub tiers: Vec<calico::Tier>,
    /// NetworkSets and GlobalNetworkSets.
    pub network_sets: Vec<calico::NetworkSet>,
    /// Profiles.
    pub profiles: Vec<calico::Profile>,
    /// Host endpoints.
    pub host_endpoints: Vec<calico::HostEndpoint>,
    /// Policies of the cluster's administrators.
    pub cluster_policies: Vec<Arc<ClusterPolicy>>,
}

/// The note that staged policies decide nothing.
pub const STAGED_NOTE: &str = "staged-policy";

/// Namespaces that every cluster has.
const ALWAYS: [&str; 4] = ["default", "kube-system", "kube-public", "kube-node-lease"];

impl ObjectSet {
    /// The cluster of these objects. A workload whose own pods are among them makes none.
    #[must_use]
    pub fn of<'a>(objects: impl IntoIterator<Item = &'a Object>, expansion: &Expansion) -> Self {
        let mut set = Self::default();
        let mut pods = Vec::new();
        let mut workloads = BTreeMap::new();
        for object in objects {
            match object {
                Object::Namespace(n) => set.namespaces.push(n.clone()),
                Object::Node(n) => set.nodes.push(n.clone()),
                Object::Pod(p) => pods.push(p.clone()),
                Object::Service(s) => set.services.push(s.clone()),
                Object::NetworkPolicy(p) => set.network_policies.push(Arc::clone(p)),
                Object::EndpointSlice(o) => set.endpoint_slices.push(o.clone()),
                Object::Ingress(o) => set.ingresses.push(o.clone()),
                Object::Gateway(o) => set.gateways.push(o.clone()),
                Object::HttpRoute(o) => set.http_routes.push(o.clone()),
                Object::ReferenceGrant(o) => set.reference_grants.push(o.clone()),
                Object::ServiceAccount(o) => set.service_accounts.push(o.clone()),
                Object::CalicoPolicy(o) => set.calico_policies.push(Arc::clone(o)),
                Object::Staged(o) => set.staged.push(Arc::clone(o)),
                Object::Tier(o) => set.tiers.push(o.clone()),
                Object::NetworkSet(o) => set.network_sets.push(o.clone()),
                Object::Profile(o) => set.profiles.push(o.clone()),
                Object::HostEndpoint(o) => set.host_endpoints.push(o.clone()),
                Object::ClusterPolicy(o) => set.cluster_policies.push(Arc::clone(o)),
                Object::Workload(w) => {
                    workloads.insert(w.reference.clone(), w.clone());
                }
            }
        }
        let made = expand(&mut pods, &workloads, &set.nodes, expansion);
        pods.extend(made);
        (set.finished, set.pods) = pods.into_iter().partition(|p| p.phase.is_finished());
        set.workloads = workloads.into_values().collect();
        set.sort();
        set.imply_namespaces();
        set
    }

    fn sort(&mut self) {
        let key = |m: &Meta| (Arc::clone(&m.namespace), Arc::clone(&m.name));
        self.namespaces.sort_by_key(|n| Arc::clone(n.name()));
        self.nodes.sort_by_key(|n| key(&n.meta));
        self.pods.sort_by_key(|p| key(&p.meta));
        self.finished.sort_by_key(|p| key(&p.meta));
        self.services.sort_by_key(|s| key(&s.meta));
        self.network_policies.sort_by_key(|p| key(&p.meta));
        self.endpoint_slices.sort_by_key(|o| key(&o.meta));
        self.ingresses.sort_by_key(|o| key(&o.meta));
        self.gateways.sort_by_key(|o| key(&o.meta));
        self.http_routes.sort_by_key(|o| key(&o.meta));
        self.reference_grants.sort_by_key(|o| key(&o.meta));
        self.service_accounts.sort_by_key(|o| key(&o.meta));
        self.calico_policies.sort_by_key(|o| key(&o.meta));
        self.staged.sort_by_key(|o| key(o.meta()));
        self.tiers.sort_by_key(|o| key(&o.meta));
        self.network_sets.sort_by_key(|o| key(&o.meta));
        self.profiles.sort_by_key(|o| key(&o.meta));
        self.host_endpoints.sort_by_key(|o| key(&o.meta));
        self.cluster_policies.sort_by_key(|o| (o.kind, key(&o.meta)));
    }

    fn imply_namespaces(&mut self) {
        let defined: HashSet<&str> = self.namespaces.iter().map(|n| &**n.name()).collect();
        let named = (self.pods.iter().map(|p| &p.meta))
            .chain(self.services.iter().map(|s| &s.meta))
            .chain(self.network_policies.iter().map(|p| &p.meta))
            .chain(self.workloads.iter().map(|w| &w.meta))
            .chain(self.endpoint_slices.iter().map(|o| &o.meta))
            .chain(self.ingresses.iter().map(|o| &o.meta))
            .chain(self.gateways.iter().map(|o| &o.meta))
            .chain(self.http_routes.iter().map(|o| &o.meta))
            .chain(self.reference_grants.iter().map(|o| &o.meta))
            .chain(self.service_accounts.iter().map(|o| &o.meta))
            .chain(self.calico_policies.iter().map(|o| &o.meta))
            .chain(self.staged.iter().map(|o| o.meta()))
            .chain(self.network_sets.iter().map(|o| &o.meta));
        let named = named.map(|m| &m.namespace).filter(|n| !n.is_empty());
        let missing: BTreeSet<Arc<str>> = named.filter(|n| !defined.contains(&***n)).map(Arc::clone).collect();
        self.namespaces.extend(missing.iter().map(|n| Namespace::new(n, &Labels::default())));
        self.namespaces.sort_by_key(|n| Arc::clone(n.name()));
        self.tell_accounts();
        let noted = missing.into_iter().filter(|n| !ALWAYS.contains(&&**n));
        self.implied_namespaces.extend(noted);
    }

    /// Tells each namespace its service accounts.
    fn tell_accounts(&mut self) {
        let mut accounts: HashMap<&Arc<str>, BTreeMap<Arc<str>, Labels>> = HashMap::new();
        for account in &self.service_accounts {
            let here = accounts.entry(&account.meta.namespace).or_default();
            here.insert(account.meta.name.clone(), account.meta.labels.clone());
        }
        for namespace in &mut self.namespaces {
            if let Some(here) = accounts.remove(namespace.name()) {
                *namespace = namespace.with_accounts(Arc::new(here));
            }
        }
    }

    /// Adds the cluster's DNS where the objects bring none: Service `kube-dns` in `kube-system` at 10.96.0.10 and the
    /// pods `coredns-1` and `coredns-2` behind it, as kubeadm sets it up.
    pub fn add_cluster_dns(&mut self) {
        if self.services.iter().any(|s| &*s.meta.namespace == "kube-system" && &*s.meta.name == "kube-dns") {
            return;
        }
        let labels: Labels = [("k8s-app", "kube-dns")].into_iter().collect();
        let meta = |name: &str| Meta {
            namespace: "kube-system".into(),
            name: name.into(),
            labels: labels.clone(),
            uid: Arc::default(),
        };
        const PORTS: [(&str, Protocol, u16); 3] =
            [("dns", Protocol::Udp, 53), ("dns-tcp", Protocol::Tcp, 53), ("metrics", Protocol::Tcp, 9153)];
        let port = |(name, protocol, number): (&str, Protocol, u16)| ServicePort {
            name: name.into(),
            protocol,
            port: number,
            target: TargetPort::Number(number),
            node_port: None,
        };
        self.services.push(Service {
            meta: meta("kube-dns"),
            selector: Some(tortie_model::LabelSelector::match_labels([("k8s-app", "kube-dns")])),
            cluster_ips: vec![IpAddr::V4(Ipv4Addr::new(10, 96, 0, 10))],
            ports: PORTS.map(port).to_vec(),
            ..Service::default()
        });
        let selected = self
            .pods
            .iter()
            .any(|p| &*p.meta.namespace == "kube-system" && p.meta.labels.get("k8s-app") == Some("kube-dns"));
        if !selected {
            let port = |(name, protocol, number): (&str, Protocol, u16)| ContainerPort {
                name: Some(name.into()),
                protocol,
                number,
            };
            self.pods.extend(["coredns-1", "coredns-2"].map(|name| Pod {
                meta: meta(name),
                owner: Some(ObjectRef::namespaced(Kind::Deployment, "kube-system", "coredns")),
                node: None,
                host_network: false,
                ips: Vec::new(),
                ports: PORTS.map(port).to_vec(),
                phase: Phase::Running,
                ready: true,
                service_account: "coredns".into(),
            }));
        }
        self.sort();
        self.imply_namespaces();
    }

    /// What should be said about the set: namespaces that nobody defines, and what has no part in any answer.
    #[must_use]
    pub fn notes(&self) -> Vec<Diagnostic> {
        let mut out = self.implied_namespace_notes();
        let objects = |kind: Kind, metas: &mut dyn Iterator<Item = &Meta>| -> Vec<ObjectRef> {
            let namespace = |meta: &Meta| (!meta.namespace.is_empty()).then(|| Arc::clone(&meta.namespace));
            metas.map(|meta| ObjectRef { kind, namespace: namespace(meta), name: Arc::clone(&meta.name) }).collect()
        };
        out.extend(self.staged_note());
        let hosts = objects(Kind::HostEndpoint, &mut self.host_endpoints.iter().map(|h| &h.meta));
        out.extend(aside("host-endpoint", &hosts, "is about packets of a node itself, which are not decided yet"));
        let profiles = objects(Kind::Profile, &mut self.profiles.iter().map(|p| &p.meta));
        out.extend(aside("profile", &profiles, "is not asked: a pod has the profile of its namespace, which allows"));
        let policy = |p: &Arc<calico::Policy>| Object::CalicoPolicy(Arc::clone(p)).reference();
        let of_hosts = |p: &&Arc<calico::Policy>| matches!(p.class, calico::Class::PreDnat | calico::Class::DoNotTrack);
        let of_hosts: Vec<ObjectRef> = self.calico_policies.iter().filter(of_hosts).map(policy).collect();
        out.extend(aside(
            "host-policy",
            &of_hosts,
            "is for host endpoints alone, and no pod's packets are decided by it",
        ));
        let asks_http = |p: &&Arc<calico::Policy>| p.ingress.iter().chain(&p.egress).flatten().any(|rule| rule.http);
        let http: Vec<ObjectRef> = self.calico_policies.iter().filter(asks_http).map(policy).collect();
        out.extend(aside(
            "http-match",
            &http,
            "asks for HTTP requests, which no kernel sees: without that its rule holds",
        ));
        out
    }

    fn staged_note(&self) -> Option<Diagnostic> {
        const PREVIEW: &str = "`tortie diff --staged` says what that would change";
        let first = Object::Staged(Arc::clone(self.staged.first()?)).reference();
        let message = match self.staged.len() {
            1 => format!("{first} decides nothing until it is enforced; {PREVIEW}"),
            n => format!("{n} staged policies decide nothing until they are enforced; {PREVIEW}"),
        };
        Some(Diagnostic::note(STAGED_NOTE, message).about(first))
    }

    fn implied_namespace_notes(&self) -> Vec<Diagnostic> {
        const LABEL: &str = "kubernetes.io/metadata.name";
        let note = |message| Diagnostic::note("implied-namespace", message);
        match &self.implied_namespaces[..] {
            [] => Vec::new(),
            [name] => {
                let message = format!(
                    "namespace {name} is named but not defined: it is taken to exist, with no label but {LABEL}={name}"
                );
                vec![note(message).about(ObjectRef::cluster(Kind::Namespace, name))]
            }
            names => vec![note(format!(
                "namespaces {} are named but not defined: they are taken to exist, with no label but {LABEL}",
                names.join(", ")
            ))],
        }
    }
}

/// What is said of objects that have no part in an answer.
fn aside(id: &'static str, objects: &[ObjectRef], what: &str) -> Option<Diagnostic> {
    match objects {
        [] => None,
        [only] => Some(Diagnostic::note(id, format!("{only} {what}")).about(only.clone())),
        [first, rest @ ..] => Some(Diagnostic::note(id, format!("{first} {what}; {} more alike", rest.len()))),
    }
}

/// The owner of a pod and its owners, up to the top.
fn chain(pod: &Pod, workloads: &BTreeMap<ObjectRef, Workload>) -> Vec<ObjectRef> {
    let mut chain: Vec<ObjectRef> = Vec::new();
    let mut next = pod.owner.clone();
    // A cycle of owners would be refused by nobody: four steps are more than Kubernetes has.
    while let Some(owner) = next.take().filter(|_| chain.len() < 4) {
        next = match workloads.get(&owner) {
            Some(w) => w.owner.clone(),
            None => inferred_owner(&owner, pod, workloads),
        };
        chain.push(owner);
    }
    chain
}

/// Who owns a ReplicaSet or Job that is not given: its name tells, as controllers make it from the owner's.
fn inferred_owner(owner: &ObjectRef, pod: &Pod, workloads: &BTreeMap<ObjectRef, Workload>) -> Option<ObjectRef> {
    let (kind, name) = match owner.kind {
        Kind::ReplicaSet => {
            let hash = pod.meta.labels.get("pod-template-hash")?;
            (Kind::Deployment, owner.name.strip_suffix(hash)?.strip_suffix('-')?)
        }
        Kind::Job => {
            let (name, number) = owner.name.rsplit_once('-')?;
            let known = ObjectRef::namespaced(Kind::CronJob, owner.namespace_str(), name);
            (number.bytes().all(|b| b.is_ascii_digit()) && workloads.contains_key(&known))
                .then_some((Kind::CronJob, name))?
        }
        _ => return None,
    };
    Some(ObjectRef::namespaced(kind, owner.namespace_str(), name))
}

/// Puts the top workload into each pod, and gives the pods that workloads make.
fn expand(
    pods: &mut [Pod],
    workloads: &BTreeMap<ObjectRef, Workload>,
    nodes: &[Node],
    expansion: &Expansion,
) -> Vec<Pod> {
    let mut has_pods = HashSet::new();
    for pod in pods.iter_mut() {
        let chain = chain(pod, workloads);
        if let Some(top) = chain.last() {
            pod.owner = Some(top.clone());
        }
        has_pods.extend(chain);
    }
    let mut taken: HashSet<(Arc<str>, String)> =
        pods.iter().map(|p| (Arc::clone(&p.meta.namespace), p.meta.name.to_string())).collect();
    let mut tops: HashMap<&ObjectRef, ObjectRef> = HashMap::new();
    let mut made = Vec::new();
    for (reference, workload) in workloads {
        let owner = workload.owner.as_ref();
        if has_pods.contains(reference) || owner.is_some_and(|o| workloads.contains_key(o)) {
            continue;
        }
        let top = tops.entry(reference).or_insert_with(|| owner.unwrap_or(reference).clone()).clone();
        for (suffix, node) in suffixes(workload, nodes, expansion) {
            let name = &reference.name;
            let mut own = format!("{name}-{suffix}");
            if taken.contains(&(Arc::clone(&workload.meta.namespace), own.clone())) {
                own = format!("{name}-{}-{suffix}", reference.kind.as_str().to_lowercase());
            }
            taken.insert((Arc::clone(&workload.meta.namespace), own.clone()));
            made.push(pod_of(workload, own, node, top.clone()));
        }
    }
    made
}

/// What distinguishes the names of a workload's pods, and the node where one is set.
fn suffixes(workload: &Workload, nodes: &[Node], expansion: &Expansion) -> Vec<(String, Option<Arc<str>>)> {
    if workload.reference.kind == Kind::DaemonSet {
        let names: Vec<Arc<str>> = if nodes.is_empty() {
            expansion.nodes.clone()
        } else {
            nodes.iter().map(|n| Arc::clone(&n.meta.name)).collect()
        };
        if names.is_empty() {
            return vec![("1".to_owned(), None)];
        }
        return names.into_iter().map(|n| (n.to_string(), Some(n))).collect();
    }
    let count = workload.replicas.min(expansion.replicas);
    // A StatefulSet counts from 0, as it does in a cluster; the others have random names there.
    let first = u32::from(workload.reference.kind != Kind::StatefulSet);
    (first..first + count).map(|i| (i.to_string(), None)).collect()
}

fn pod_of(workload: &Workload, name: String, node: Option<Arc<str>>, owner: ObjectRef) -> Pod {
    let template = &workload.template;
    Pod {
        meta: Meta {
            namespace: Arc::clone(&workload.meta.namespace),
            name: name.into(),
            labels: template.labels.clone(),
            uid: Arc::default(),
        },
        owner: Some(owner),
        node: template.node.clone().or(node),
        host_network: template.host_network,
        ips: Vec::new(),
        ports: template.ports.clone(),
        phase: Phase::Running,
        ready: true,
        service_account: Arc::clone(&template.service_account),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{LoadOptions, Memory, load};

    fn set(text: &str) -> ObjectSet {
        let loaded = load(&Memory::new([("f.yaml", text)]), &["f.yaml"], &LoadOptions::default());
        assert!(loaded.diagnostics.is_empty(), "{:?}", loaded.diagnostics);
        ObjectSet::of(loaded.objects.iter().map(|o| &o.object), &Expansion::default())
    }

    fn pods(set: &ObjectSet) -> Vec<String> {
        let owner = |p: &Pod| p.owner.as_ref().map_or("-".to_owned(), ToString::to_string);
        set.pods.iter().map(|p| format!("{} {}", p.key(), owner(p))).collect()
    }

    fn workload(kind: &str, version: &str, name: &str, rest: &str) -> String {
        format!(
            "---\napiVersion: {version}\nkind: {kind}\nmetadata:\n  name: {name}\n{rest}  template: {{metadata: {{labels: {{app: {name}}}}}}}\n"
        )
    }

    #[test]
    fn workloads_make_pods_with_names_like_in_a_cluster() {
        let text = workload("Deployment", "apps/v1", "web", "spec:\n  replicas: 9\n")
            + &workload("StatefulSet", "apps/v1", "db", "spec:\n  replicas: 2\n")
            + &workload("ReplicaSet", "apps/v1", "none", "spec:\n  replicas: 0\n")
            + &workload("Job", "batch/v1", "once", "spec:\n")
            + &workload("DaemonSet", "apps/v1", "log", "spec:\n")
            + "---\napiVersion: v1\nkind: Node\nmetadata: {name: n1}\n---\napiVersion: v1\nkind: Node\nmetadata: {name: n2}\n";
        assert_eq!(
            pods(&set(&text)),
            [
                "default/db-0 StatefulSet/default/db",
                "default/db-1 StatefulSet/default/db",
                "default/log-n1 DaemonSet/default/log",
                "default/log-n2 DaemonSet/default/log",
                "default/once-1 Job/default/once",
                "default/web-1 Deployment/default/web",
                "default/web-2 Deployment/default/web",
            ]
        );
    }

    #[test]
    fn a_workload_whose_pods_are_there_makes_none() {
        let owner = |kind: &str, version: &str, name: &str| {
            format!(
                "  ownerReferences: [{{apiVersion: {version}, kind: {kind}, name: {name}, uid: u, controller: true}}]\n"
            )
        };
        let pod = |name: &str, labels: &str, owner: &str| {
            format!("---\napiVersion: v1\nkind: Pod\nmetadata:\n  name: {name}\n  labels: {labels}\n{owner}")
        };
        let deployment = workload("Deployment", "apps/v1", "web", "spec:\n");
        let rs = workload("ReplicaSet", "apps/v1", "web-5d", &(owner("Deployment", "apps/v1", "web") + "spec:\n"));
        let through = pod("web-5d-x", "{}", &owner("ReplicaSet", "apps/v1", "web-5d"));
        assert_eq!(pods(&set(&(deployment.clone() + &rs + &through))), ["default/web-5d-x Deployment/default/web"]);
        let hashed = pod("web-5d-x", "{pod-template-hash: 5d}", &owner("ReplicaSet", "apps/v1", "web-5d"));
        assert_eq!(pods(&set(&(deployment.clone() + &hashed))), ["default/web-5d-x Deployment/default/web"]);
        assert_eq!(pods(&set(&(deployment + &rs))), ["default/web-1 Deployment/default/web"]);
        let cron = "---\napiVersion: batch/v1\nkind: CronJob\nmetadata: {name: c}\nspec: {jobTemplate: {spec: {template: {}}}}\n";
        let done = pod("c-28-x", "{}", &owner("Job", "batch/v1", "c-28")) + "status: {phase: Succeeded}\n";
        let finished = set(&(cron.to_owned() + &done));
        assert_eq!((finished.pods.len(), finished.finished.len()), (0, 1));
        assert_eq!(pods(&set(cron)), ["default/c-1 CronJob/default/c"]);
    }

    #[test]
    fn names_that_are_taken_are_not_taken_twice() {
        let text = workload("Deployment", "apps/v1", "web", "spec:\n  replicas: 2\n")
            + &workload("StatefulSet", "apps/v1", "web", "spec:\n  replicas: 2\n");
        let names: Vec<_> = set(&text).pods.iter().map(|p| p.meta.name.to_string()).collect();
        assert_eq!(names, ["web-0", "web-1", "web-2", "web-statefulset-1"]);
    }

    #[test]
    fn namespaces_that_are_only_named_exist() {
        let set = set(
            "apiVersion: v1\nkind: Pod\nmetadata: {name: a, namespace: shop}\n---\napiVersion: v1\nkind: Pod\nmetadata: {name: a}\n",
        );
        assert_eq!(set.namespaces.len(), 2);
        assert_eq!(set.namespaces[1].labels().get("kubernetes.io/metadata.name"), Some("shop"));
        assert_eq!(set.notes().len(), 1);
    }

    #[test]
    fn the_dns_of_the_cluster_is_there_once() {
        let mut one = set("apiVersion: v1\nkind: Pod\nmetadata: {name: a}\n");
        one.add_cluster_dns();
        let before = one.clone();
        one.add_cluster_dns();
        assert_eq!(one, before);
        assert_eq!(
            one.pods.iter().map(Pod::key).collect::<Vec<_>>(),
            ["default/a", "kube-system/coredns-1", "kube-system/coredns-2"]
        );
        assert!(one.namespaces.iter().any(|n| &**n.name() == "kube-system"));
    }
}
