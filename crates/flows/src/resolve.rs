//! Whom a record means, among the pods of a cluster.
//!
//! Names come before addresses: an address is handed on, and manifests often have none. Pods that a workload will make
//! have other names than those that were recorded; they are found by the name of their workload.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use tortie_model::{Family, Kind, Labels, Meta, Namespace, ObjectRef, Phase, Pod, Service};
use tortie_policy::{Delta, Index, PodKey, Side};

use crate::record::{Endpoint, Who};

/// One end of a connection in a cluster.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum End {
    /// Pods, and what is at the top of them: a workload, or the one pod itself.
    Pods(ObjectRef, Vec<PodKey>),
    /// A node, at this address.
    Node(Arc<str>, Option<IpAddr>),
    /// An address of nobody in the cluster.
    Outside(IpAddr),
}

impl std::fmt::Display for End {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Pods(owner, _) if owner.kind == Kind::Pod => write!(f, "{}/{}", owner.namespace_str(), owner.name),
            Self::Pods(owner, _) => write!(f, "{}/{}/{}", owner.namespace_str(), owner.kind, owner.name),
            Self::Node(name, _) => write!(f, "node/{name}"),
            Self::Outside(ip) => write!(f, "{ip}"),
        }
    }
}

/// Why a record's end is nobody.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum Unresolved {
    /// No pod and no workload of that name is there.
    #[error("there is no pod or workload {0} in the manifests")]
    Unknown(String),
    /// No node of that name is there, or its address is not known.
    #[error("there is no node {0} with an address in the manifests")]
    Node(String),
    /// A Service: it was recorded before its address was translated.
    #[error("{0} is the address of Service {1}: what was recorded is from before its translation to a pod")]
    Service(IpAddr, String),
    /// Somebody of whom no address was recorded.
    #[error("the record has no address of {0}")]
    NoAddress(String),
}

/// The pods of a cluster by all that records call them.
pub struct Population {
    index: Index,
    services: HashMap<IpAddr, String>,
    by_owner: HashMap<ObjectRef, Vec<PodKey>>,
    /// Owners by namespace and name.
    owners: HashMap<(Arc<str>, Arc<str>), BTreeSet<ObjectRef>>,
    dns: Option<ObjectRef>,
}

/// Where the cluster's DNS runs, and what its pods are labelled; the same in every distribution that runs CoreDNS.
const DNS: (&str, &str, &str) = ("kube-system", "k8s-app", "kube-dns");

impl Population {
    /// The pods and Services of a cluster.
    #[must_use]
    pub fn new(index: &Index, services: &[Service]) -> Self {
        let mut index = index.clone();
        let clusters = services.iter().flat_map(|s| s.cluster_ips.iter().map(move |ip| (*ip, s)));
        let services = clusters.map(|(ip, s)| (ip, format!("{}/{}", s.meta.namespace, s.meta.name))).collect();
        let has_dns = index.pods_of(&DNS.0.into()).any(|p| p.meta.labels.get(DNS.1) == Some(DNS.2));
        let dns = (!has_dns).then(|| {
            let pod = dns_pod();
            let owner = owner(&pod);
            if index.namespace(DNS.0).is_none() {
                index.apply(Delta::Namespace(Namespace::new(DNS.0, &Labels::default())));
            }
            index.apply(Delta::Pod(Box::new(pod)));
            owner
        });
        let mut by_owner: HashMap<ObjectRef, Vec<PodKey>> = HashMap::new();
        let mut owners: HashMap<(Arc<str>, Arc<str>), BTreeSet<ObjectRef>> = HashMap::new();
        for pod in index.pods() {
            let owner = owner(pod);
            let key = (pod.meta.namespace.clone(), owner.name.clone());
            owners.entry(key).or_default().insert(owner.clone());
            by_owner.entry(owner).or_default().push(PodKey::of(pod));
        }
        Self { index, services, by_owner, owners, dns }
    }

    /// The cluster, with a pod of DNS where the manifests have none.
    #[must_use]
    pub const fn index(&self) -> &Index {
        &self.index
    }

    /// The pod that stands in for a DNS that the manifests do not have.
    #[must_use]
    pub const fn stand_in(&self) -> Option<&ObjectRef> {
        self.dns.as_ref()
    }

    /// Whether pods are the cluster's DNS.
    #[must_use]
    pub fn is_dns(&self, pod: &Pod) -> bool {
        *pod.meta.namespace == *DNS.0 && pod.meta.labels.get(DNS.1) == Some(DNS.2)
    }

    /// All that is at the top of pods.
    pub fn owners(&self) -> impl Iterator<Item = (&ObjectRef, &[PodKey])> {
        self.by_owner.iter().map(|(owner, pods)| (owner, pods.as_slice()))
    }

    /// Whom a record means.
    ///
    /// # Errors
    /// Why nobody.
    pub fn resolve(&self, end: &Endpoint) -> Result<End, Unresolved> {
        let named = match &end.who {
            None => None,
            Some(Who::Node(name)) => return self.node(name, end.address),
            Some(Who::Other(name)) => {
                return end.address.map_or_else(|| Err(Unresolved::NoAddress(name.clone())), |ip| self.at(ip));
            }
            Some(Who::Pod { namespace, name }) => self.pod(namespace, name),
            Some(Who::Pods { namespace, prefix }) => {
                let whole = prefix.trim_end_matches('-');
                self.pods(namespace, |n| n.starts_with(prefix)).or_else(|| self.made_by(namespace, whole))
            }
            Some(Who::Workload { namespace, kind, name }) => self.workload(namespace, kind.as_deref(), name),
        };
        if let Some(end) = named.or_else(|| self.named_dns(end)) {
            return Ok(end);
        }
        match (&end.who, end.address) {
            // A pod that is nobody in the manifests is nobody at its address, either, unless somebody has it there.
            (Some(_), Some(ip)) if self.index.owner(ip).is_some() => self.at(ip),
            (Some(_), _) => Err(Unresolved::Unknown(Endpoint { address: None, ..end.clone() }.to_string())),
            (None, Some(ip)) => self.at(ip),
            (None, None) => Err(Unresolved::NoAddress("anybody".to_owned())),
        }
    }

    /// Both ends of a flow, pod by pod and family by family, as policies see them. A pod is not asked about itself when
    /// its workload has others.
    #[must_use]
    pub fn sides(&self, from: &End, to: &End, family: Option<Family>) -> Vec<(Side, Side)> {
        let families = family.map_or_else(|| vec![Some(Family::V4), Some(Family::V6)], |f| vec![Some(f)]);
        let mut out = Vec::new();
        for family in families.into_iter().chain([None]) {
            if family.is_none() && !out.is_empty() {
                break;
            }
            for a in self.side(from, family) {
                out.extend(self.side(to, family).into_iter().map(|b| (a.clone(), b)));
            }
        }
        let same = |(a, b): &(Side, Side)| a.pod().zip(b.pod()).is_some_and(|(a, b)| PodKey::of(a) == PodKey::of(b));
        if !out.iter().all(same) {
            out.retain(|pair| !same(pair));
        }
        out
    }

    /// The pods of an end.
    pub(crate) fn pods_of<'p>(&'p self, end: &'p End) -> impl Iterator<Item = &'p Arc<Pod>> {
        let keys = match end {
            End::Pods(_, keys) => keys.as_slice(),
            End::Node(..) | End::Outside(_) => &[],
        };
        keys.iter().filter_map(|key| self.index.pod(key))
    }

    fn side(&self, end: &End, family: Option<Family>) -> Vec<Side> {
        let fits = |ip: &IpAddr| family.is_none_or(|f| Family::of(*ip) == f);
        match end {
            End::Pods(..) => self.pods_of(end).filter_map(|pod| self.index.pod_side(pod, family)).collect(),
            End::Node(_, Some(ip)) if fits(ip) => vec![self.index.address_side(*ip)],
            End::Node(_, Some(_)) => Vec::new(),
            End::Node(name, None) => {
                let node = self.index.node(name);
                Family::ALL
                    .into_iter()
                    .filter(|f| family.is_none_or(|wanted| wanted == *f))
                    .filter_map(|f| self.index.node_side(node?, f))
                    .collect()
            }
            End::Outside(ip) => Some(*ip).filter(fits).map(|ip| self.index.address_side(ip)).into_iter().collect(),
        }
    }

    fn node(&self, name: &str, address: Option<IpAddr>) -> Result<End, Unresolved> {
        let known = self.index.node(name).filter(|node| !node.addresses.is_empty());
        match (known, address) {
            (Some(node), _) => Ok(End::Node(node.meta.name.clone(), address)),
            (None, Some(ip)) => Ok(End::Node(name.into(), Some(ip))),
            (None, None) => Err(Unresolved::Node(name.to_owned())),
        }
    }

    fn at(&self, ip: IpAddr) -> Result<End, Unresolved> {
        if let Some(pod) = self.index.owner(ip) {
            return Ok(End::Pods(owner(pod), vec![PodKey::of(pod)]));
        }
        if let Some(service) = self.services.get(&ip) {
            return Err(Unresolved::Service(ip, service.clone()));
        }
        let side = self.index.address_side(ip);
        Ok(side.node().map_or(End::Outside(ip), |node| End::Node(node.meta.name.clone(), Some(ip))))
    }

    fn pod(&self, namespace: &str, name: &str) -> Option<End> {
        let key = PodKey::new(namespace, name);
        if let Some(pod) = self.index.pod(&key) {
            return Some(End::Pods(owner(pod), vec![key]));
        }
        self.made_by(namespace, name)
    }

    fn pods(&self, namespace: &str, wanted: impl Fn(&str) -> bool) -> Option<End> {
        let namespace: Arc<str> = namespace.into();
        let found: Vec<&Arc<Pod>> = self.index.pods_of(&namespace).filter(|p| wanted(&p.meta.name)).collect();
        let first = owner(found.first()?);
        let all = found.iter().all(|pod| owner(pod) == first);
        all.then(|| End::Pods(first, found.iter().map(|pod| PodKey::of(pod)).collect()))
    }

    fn workload(&self, namespace: &str, kind: Option<&str>, name: &str) -> Option<End> {
        let all = self.owners.get(&(namespace.into(), name.into()))?;
        let is = |owner: &&ObjectRef| kind.is_none_or(|kind| owner.kind.as_str().eq_ignore_ascii_case(kind));
        // A recorder may know of a ReplicaSet what the manifests know of its Deployment.
        let owner = all.iter().find(is).or_else(|| all.iter().next())?;
        Some(End::Pods(owner.clone(), self.by_owner[owner].clone()))
    }

    /// The workload that makes pods of such names: its own name, and up to two parts that a controller has added.
    fn made_by(&self, namespace: &str, name: &str) -> Option<End> {
        let mut rest = name;
        for _ in 0..=2 {
            if let Some(end) = self.workload(namespace, None, rest).filter(is_of_controller) {
                return Some(end);
            }
            let (shorter, part) = rest.rsplit_once('-')?;
            if !is_generated(part) {
                return None;
            }
            rest = shorter;
        }
        None
    }

    /// The cluster's DNS, when a record names what is called so, and the manifests do not have it.
    fn named_dns(&self, end: &Endpoint) -> Option<End> {
        let dns = self.dns.as_ref()?;
        let (namespace, name) = match end.who.as_ref()? {
            Who::Pod { namespace, name } | Who::Workload { namespace, name, .. } => (namespace, name),
            Who::Pods { namespace, prefix } => (namespace, prefix),
            Who::Node(_) | Who::Other(_) => return None,
        };
        let is_dns = namespace == DNS.0 && ["coredns", "kube-dns"].iter().any(|known| name.starts_with(known));
        is_dns.then(|| End::Pods(dns.clone(), self.by_owner[dns].clone()))
    }
}

/// Whether a controller makes the pods of an end.
fn is_of_controller(end: &End) -> bool {
    matches!(end, End::Pods(owner, _) if owner.kind != Kind::Pod)
}

/// Whether a controller may have added this to a name: a number, or letters and digits that make no word.
fn is_generated(part: &str) -> bool {
    let digits = part.bytes().all(|b| b.is_ascii_digit());
    // `k8s.io/apimachinery/pkg/util/rand`: no vowels, and nothing that looks like one.
    let safe = |b: u8| b"bcdfghjklmnpqrstvwxz2456789".contains(&b);
    !part.is_empty() && (digits || (5..=10).contains(&part.len()) && part.bytes().all(safe))
}

/// What is at the top of a pod: the workload that made it, or the pod itself.
pub(crate) fn owner(pod: &Pod) -> ObjectRef {
    pod.owner.clone().unwrap_or_else(|| ObjectRef::namespaced(Kind::Pod, &pod.meta.namespace, &pod.meta.name))
}

fn dns_pod() -> Pod {
    let labels = [(DNS.1, DNS.2)].into_iter().collect();
    Pod {
        meta: Meta { namespace: DNS.0.into(), name: "coredns".into(), labels, uid: "".into() },
        owner: Some(ObjectRef::namespaced(Kind::Deployment, DNS.0, "coredns")),
        node: None,
        host_network: false,
        ips: Vec::new(),
        ports: Vec::new(),
        phase: Phase::Running,
        ready: true,
        service_account: "coredns".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_controllers_make_are_told_from_words() {
        for (part, expected) in
            [("0", true), ("x7k2p", true), ("6d5f9c8b4", true), ("front", false), ("api", false), ("", false)]
        {
            assert_eq!(is_generated(part), expected, "{part}");
        }
    }
}
