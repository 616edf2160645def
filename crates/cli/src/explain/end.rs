//! FROM and TO: who they are.

use std::net::IpAddr;
use std::sync::Arc;

use tortie_model::{Family, Kind, Node, ObjectRef, Pod, Service, canonical};
use tortie_policy::{PodKey, Side};

use tortie_analysis::snapshot::Snapshot;

/// One end of a flow.
#[derive(Clone, Debug)]
pub(crate) enum End {
    Pod(Arc<Pod>),
    Node(Arc<Node>),
    Address(IpAddr),
}

/// What a name stands for.
#[derive(Clone, Debug)]
pub(crate) enum Named {
    /// One end, or all pods of a workload.
    Ends(Vec<End>),
    /// Whatever is behind a Service.
    Service(Service),
}

/// A name that stands for nobody.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum EndError {
    #[error(
        "`{0}` names nobody: write namespace/name, namespace/Kind/name, name.namespace.svc, node/NAME or an address"
    )]
    Shape(String),
    #[error(
        "`{0}` makes no pods: write Deployment, StatefulSet, DaemonSet, ReplicaSet, ReplicationController, Job, CronJob or Service"
    )]
    Kind(String),
    #[error(
        "requests through `{0}` come from the pods of its controller: name one of those, or an address; what comes in by it, \
         `tortie connectivity --from {0}` tells"
    )]
    Entry(String),
    #[error("there is no {what} {name} in the input{}", did_you_mean(.nearest))]
    Missing { what: &'static str, name: String, nearest: Option<String> },
    #[error("`{0}` is a name outside the cluster, and policies know addresses alone: give one of its addresses")]
    Outside(String),
    #[error("both {0} and {1} have that name: write namespace/Kind/name")]
    Ambiguous(ObjectRef, ObjectRef),
    #[error("Pod {0} has finished: it has no address, and nothing is allowed or denied for it")]
    Finished(String),
    #[error("{0} runs no pods: it is scaled to 0, or all have finished")]
    NoPods(ObjectRef),
}

fn did_you_mean(nearest: &Option<String>) -> String {
    nearest.as_ref().map(|n| format!("; did you mean {n}?")).unwrap_or_default()
}

impl Named {
    /// Reads a name. `namespace` is that of names without one.
    pub(crate) fn read(snapshot: &Snapshot, text: &str, namespace: &str) -> Result<Self, EndError> {
        if let Ok(ip) = text.parse::<IpAddr>() {
            return Ok(Self::of_address(snapshot, canonical(ip)));
        }
        let parts: Vec<&str> = text.split('/').collect();
        if parts.iter().any(|p| p.is_empty()) {
            return Err(EndError::Shape(text.to_owned()));
        }
        match parts[..] {
            [name] => match of_dns(snapshot, name) {
                Some(named) => named,
                None => anybody(snapshot, namespace, name),
            },
            ["node", name] => match snapshot.index.node(name) {
                Some(node) => Ok(Self::Ends(vec![End::Node(node.clone())])),
                None => Err(missing(snapshot, "Node", text)),
            },
            [namespace, name] => anybody(snapshot, namespace, name),
            [namespace, "Pod", name] => pod(snapshot, namespace, name),
            [namespace, "Service", name] => match snapshot.service(namespace, name) {
                Some(service) => Ok(Self::Service(service.clone())),
                None => Err(missing(snapshot, "Service", text)),
            },
            [_, "Ingress" | "Gateway" | "HTTPRoute", _] => Err(EndError::Entry(text.to_owned())),
            [namespace, kind, name] => workload(snapshot, namespace, kind, name, text),
            _ => Err(EndError::Shape(text.to_owned())),
        }
    }

    /// An address is whoever has it: a Service by its ClusterIP, a pod, a node, or somebody outside.
    fn of_address(snapshot: &Snapshot, ip: IpAddr) -> Self {
        let has = |s: &&Service| s.cluster_ips.iter().any(|a| canonical(*a) == ip);
        match snapshot.objects.services.iter().find(has) {
            Some(service) => Self::Service(service.clone()),
            None => Self::Ends(vec![End::Address(ip)]),
        }
    }
}

/// Who is behind a name of the cluster's DNS; `None` for what is none.
fn of_dns(snapshot: &Snapshot, text: &str) -> Option<Result<Named, EndError>> {
    let name = text.trim_end_matches('.').to_ascii_lowercase();
    let inside = name.strip_suffix(".cluster.local").unwrap_or(&name);
    let service = |namespace: &str, name: &str| snapshot.service(namespace, name).cloned().map(Named::Service);
    let missing = || missing(snapshot, "Service", text);
    if let Some(of_service) = inside.strip_suffix(".svc") {
        return Some(match of_service.split('.').collect::<Vec<_>>()[..] {
            [name, namespace] => service(namespace, name).ok_or_else(missing),
            // A pod of a headless Service, as a StatefulSet's have names.
            [name, _, namespace] => pod(snapshot, namespace, name),
            _ => Err(missing()),
        });
    }
    if let Some((address, _)) = inside.strip_suffix(".pod").and_then(|n| n.split_once('.')) {
        let ip = address.replace('-', ".").parse::<IpAddr>().or_else(|_| address.replace('-', ":").parse());
        return Some(ip.map(|ip| Named::of_address(snapshot, canonical(ip))).map_err(|_| missing()));
    }
    if let Some((name, namespace)) = inside.split_once('.')
        && let Some(named) = service(namespace, name)
    {
        return Some(Ok(named));
    }
    // Pods may have dots in their names, too; what the cluster does not know is somewhere else.
    let has_namespace = |n: &str| snapshot.index.namespace(n).is_some();
    let last = inside.rsplit('.').next().unwrap_or(inside);
    let is_outside =
        inside.contains('.') && !has_namespace(last) && !snapshot.objects.pods.iter().any(|p| *p.meta.name == *inside);
    is_outside.then(|| Err(EndError::Outside(text.to_owned())))
}

/// A pod, or else a workload, or else a Service of this name.
fn anybody(snapshot: &Snapshot, namespace: &str, name: &str) -> Result<Named, EndError> {
    let unknown = match pod(snapshot, namespace, name) {
        Err(error @ EndError::Missing { .. }) => error,
        known => return known,
    };
    let is_meant = |r: &&ObjectRef| r.namespace_str() == namespace && *r.name == *name;
    let mut workloads = snapshot.objects.workloads.iter().map(|w| &w.reference).filter(is_meant);
    match (workloads.next(), workloads.next(), snapshot.service(namespace, name)) {
        (Some(one), None, _) => workload(snapshot, namespace, one.kind.as_str(), name, name),
        (Some(one), Some(other), _) => Err(EndError::Ambiguous(one.clone(), other.clone())),
        (None, _, Some(service)) => Ok(Named::Service(service.clone())),
        (None, _, None) => Err(unknown),
    }
}

fn pod(snapshot: &Snapshot, namespace: &str, name: &str) -> Result<Named, EndError> {
    match snapshot.index.pod(&PodKey::new(namespace, name)) {
        Some(pod) => Ok(Named::Ends(vec![End::Pod(pod.clone())])),
        None if snapshot.has_finished(namespace, name) => Err(EndError::Finished(format!("{namespace}/{name}"))),
        None => Err(missing(snapshot, "Pod", &format!("{namespace}/{name}"))),
    }
}

fn workload(snapshot: &Snapshot, namespace: &str, kind: &str, name: &str, text: &str) -> Result<Named, EndError> {
    let kind = Kind::named(kind).filter(|k| k.is_workload()).ok_or_else(|| EndError::Kind(kind.to_owned()))?;
    let reference = ObjectRef::namespaced(kind, namespace, name);
    let pods = snapshot.pods_of(&reference);
    if pods.is_empty() {
        let known = snapshot.store.get(&reference).is_some();
        return Err(if known { EndError::NoPods(reference) } else { missing(snapshot, kind.as_str(), text) });
    }
    let indexed = pods.into_iter().filter_map(|p| snapshot.index.pod(&PodKey::of(p)));
    Ok(Named::Ends(indexed.cloned().map(End::Pod).collect()))
}

fn missing(snapshot: &Snapshot, what: &'static str, name: &str) -> EndError {
    let last = name.rsplit('/').next().unwrap_or(name);
    let near = |other: String| {
        // Somebody of the same name elsewhere is nearer than any misspelling.
        let same = other.rsplit('/').next() == Some(last);
        (if same { 0 } else { strsim::damerau_levenshtein(name, &other) }, other.len(), other)
    };
    let nearest = snapshot.names().map(near).min().filter(|(d, ..)| *d <= name.len() / 3 + 1).map(|(.., n)| n);
    EndError::Missing { what, name: name.to_owned(), nearest }
}

impl End {
    /// Whose side it is.
    pub(crate) fn of(side: &Side) -> Self {
        let address = || Self::Address(side.ip().expect("what is neither pod nor node is an address"));
        match (side.pod(), side.node()) {
            (Some(pod), _) => Self::Pod(pod.clone()),
            (None, Some(node)) => Self::Node(node.clone()),
            (None, None) => address(),
        }
    }

    /// As it is written on the command line.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Pod(pod) => pod.key(),
            Self::Node(node) => format!("node/{}", node.meta.name),
            Self::Address(ip) => ip.to_string(),
        }
    }

    /// The families of which it has an address, IPv4 first. Empty when no address of it is known.
    pub(crate) fn families(&self, snapshot: &Snapshot) -> Vec<Family> {
        let side = |family: &Family| self.side(snapshot, Some(*family)).is_some_and(|s| s.ip().is_some());
        Family::ALL.into_iter().filter(side).collect()
    }

    /// What policies know of it. A pod of which no address is known has a side in every family, without an address.
    pub(crate) fn side(&self, snapshot: &Snapshot, family: Option<Family>) -> Option<Side> {
        match self {
            Self::Pod(pod) => snapshot.index.pod_side(pod, family),
            Self::Node(node) => {
                let of = |family| snapshot.index.node_side(node, family);
                family.map_or_else(|| Family::ALL.into_iter().find_map(of), of)
            }
            Self::Address(ip) => family.is_none_or(|f| f == Family::of(*ip)).then(|| snapshot.index.address_side(*ip)),
        }
    }
}

/// The families in which two ends can speak: those that both have, or that one has when of the other no address is
/// known. `[None]` when of neither an address is known; empty when they have no family in common.
pub(crate) fn common_families(snapshot: &Snapshot, from: &End, to: &End) -> Vec<Option<Family>> {
    let (a, b) = (from.families(snapshot), to.families(snapshot));
    match (a.is_empty(), b.is_empty()) {
        (true, true) => vec![None],
        (true, false) => b.into_iter().map(Some).collect(),
        (false, true) => a.into_iter().map(Some).collect(),
        (false, false) => a.into_iter().filter(|f| b.contains(f)).map(Some).collect(),
    }
}
