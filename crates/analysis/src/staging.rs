//! What a cluster made of some objects consists of.
//!
//! A [`Stager`] remembers what it gave out: a pod keeps its node and its addresses, a Service its ClusterIP, however
//! the objects around them change.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use tortie_manifest::ObjectSet;
use tortie_model::{Meta, Namespace, Node, ObjectRef, Pod, Service, canonical};
use tortie_policy::{Delta, Index, PodKey, Policy, network_policy};

use crate::address::{self, DNS_SERVICE, Families, PodAddresses};

/// Namespace of the cluster DNS.
pub const DNS_NAMESPACE: &str = "kube-system";
/// Name of its Service.
pub const DNS_NAME: &str = "kube-dns";

/// A host beyond the cluster. It answers on every port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutsideHost {
    /// Name by which cases refer to it.
    pub name: String,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// Names that DNS knows it by.
    pub dns: Vec<String>,
}

/// The ground on which objects are placed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ground {
    /// Least number of nodes; more are made when objects name more.
    pub nodes: u16,
    /// Address families.
    pub families: Families,
    /// Hosts beyond the cluster.
    pub outside: Vec<OutsideHost>,
}

impl Default for Ground {
    fn default() -> Self {
        Self { nodes: 2, families: Families::Dual, outside: Vec::new() }
    }
}

/// A Service with its addresses and the pods behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StagedService {
    /// The object; `cluster_ips` are filled in, unless it is headless or an ExternalName.
    pub service: Service,
    /// Pods that it sends to.
    pub backends: Vec<PodKey>,
}

/// A cluster, complete: every pod has a node and addresses.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Staged {
    /// Nodes, with addresses and pod ranges, in order.
    pub nodes: Vec<Node>,
    /// Namespaces that are defined.
    pub namespaces: BTreeMap<Arc<str>, Namespace>,
    /// Pods that have not finished, by name.
    pub pods: BTreeMap<PodKey, Pod>,
    /// Services, by namespace and name.
    pub services: BTreeMap<PodKey, StagedService>,
    /// Policies in the one rule form.
    pub policies: BTreeMap<ObjectRef, Policy>,
    /// Hosts beyond the cluster.
    pub outside: Vec<OutsideHost>,
}

/// Objects that cannot be placed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StagingError {
    /// A node has no address left.
    #[error("{node} has no address left for Pod/{pod}: {room} pods fit on a node; give the cluster more nodes")]
    Full {
        /// The node.
        node: Arc<str>,
        /// The pod.
        pod: PodKey,
        /// How many fit.
        room: usize,
    },
    /// Two pods claim one address.
    #[error("Pod/{first} and Pod/{second} both have the address {ip} in their status; change or remove one")]
    Twice {
        /// The address.
        ip: IpAddr,
        /// The one that has it.
        first: PodKey,
        /// The other.
        second: PodKey,
    },
    /// Services have used the whole range.
    #[error("no ClusterIP is left for Service/{0}")]
    NoClusterIp(PodKey),
}

/// Gives out nodes and addresses.
#[derive(Clone, Debug)]
pub struct Stager {
    ground: Ground,
    pools: BTreeMap<Arc<str>, PodAddresses>,
    placed: BTreeMap<PodKey, Placed>,
    cluster_ips: BTreeMap<PodKey, u16>,
}

#[derive(Clone, Debug)]
struct Placed {
    uid: Arc<str>,
    node: Arc<str>,
    ips: Vec<IpAddr>,
    source: AddressSource,
}

/// Where a pod's addresses come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AddressSource {
    /// The node's pool, and to be given back to it.
    Pool,
    /// The pod's own status.
    Status,
    /// The node: the pod lives in its network.
    Node,
}

impl AddressSource {
    fn of(pod: &Pod, families: Families) -> Self {
        if pod.host_network {
            Self::Node
        } else if pod.ips.iter().any(|ip| families.have(canonical(*ip))) {
            Self::Status
        } else {
            Self::Pool
        }
    }
}

impl Stager {
    /// Nothing is placed yet.
    #[must_use]
    pub fn new(ground: Ground) -> Self {
        Self { ground, pools: BTreeMap::new(), placed: BTreeMap::new(), cluster_ips: BTreeMap::new() }
    }

    /// The ground.
    #[must_use]
    pub const fn ground(&self) -> &Ground {
        &self.ground
    }

    /// Places objects.
    ///
    /// # Errors
    /// When addresses run out or two pods claim the same one.
    pub fn stage(&mut self, objects: &ObjectSet) -> Result<Staged, StagingError> {
        let mut objects = objects.clone();
        objects.add_cluster_dns();
        let nodes = self.nodes(&objects);
        let pods = self.place(objects.pods, &nodes)?;
        let services = self.services(objects.services, &pods)?;
        let policies = objects.network_policies.iter().map(|np| network_policy(np));
        let policies = policies.map(|p| (p.object.clone(), p)).collect();
        Ok(Staged {
            nodes,
            namespaces: objects.namespaces.into_iter().map(|n| (n.name().clone(), n)).collect(),
            pods,
            services,
            policies,
            outside: self.ground.outside.clone(),
        })
    }

    /// The nodes: those that are defined, those that pods name, and `node-N` until there are enough.
    fn nodes(&mut self, objects: &ObjectSet) -> Vec<Node> {
        let mut names: Vec<Arc<str>> = objects.nodes.iter().map(|n| n.meta.name.clone()).collect();
        let named: BTreeSet<_> = objects.pods.iter().filter_map(|p| p.node.clone()).collect();
        names.extend(named.into_iter().filter(|n| !objects.nodes.iter().any(|o| o.meta.name == *n)));
        let mut next = 1;
        while names.len() < usize::from(self.ground.nodes.max(1)) {
            let name: Arc<str> = format!("node-{next}").into();
            next += 1;
            if !names.contains(&name) {
                names.push(name);
            }
        }
        let families = self.ground.families;
        let numbered = (1u16..).zip(names);
        numbered
            .map(|(number, name)| {
                let mut node = objects.nodes.iter().find(|n| n.meta.name == name).cloned().unwrap_or_else(|| Node {
                    meta: Meta { name: name.clone(), ..Meta::default() },
                    addresses: Vec::new(),
                    pod_cidrs: Vec::new(),
                });
                node.addresses.retain(|ip| families.have(*ip));
                for ip in address::node_addresses(number, families) {
                    if !node.addresses.iter().any(|a| a.is_ipv4() == ip.is_ipv4()) {
                        node.addresses.push(ip);
                    }
                }
                node.pod_cidrs.retain(|net| families.have(net.addr()));
                for net in address::pod_ranges(number, families) {
                    if !node.pod_cidrs.iter().any(|n| n.addr().is_ipv4() == net.addr().is_ipv4()) {
                        node.pod_cidrs.push(net);
                    }
                }
                self.pools.entry(name).or_insert_with(|| PodAddresses::new(node.pod_cidrs.clone()));
                node
            })
            .collect()
    }

    fn place(&mut self, pods: Vec<Pod>, nodes: &[Node]) -> Result<BTreeMap<PodKey, Pod>, StagingError> {
        let families = self.ground.families;
        let wanted: Vec<Pod> = pods.into_iter().filter(|p| !p.phase.is_finished()).collect();
        self.release(&wanted, nodes);
        let mut owner: BTreeMap<IpAddr, PodKey> = BTreeMap::new();
        for pod in wanted.iter().filter(|p| !p.host_network) {
            for ip in pod.ips.iter().map(|ip| canonical(*ip)).filter(|ip| families.have(*ip)) {
                if let Some(first) = owner.insert(ip, PodKey::of(pod)) {
                    return Err(StagingError::Twice { ip, first, second: PodKey::of(pod) });
                }
            }
        }
        let mut out: BTreeMap<PodKey, Pod> = BTreeMap::new();
        for mut pod in wanted {
            let key = PodKey::of(&pod);
            let placed = match self.placed.get(&key) {
                Some(placed) => placed.clone(),
                None => {
                    let node = pod.node.clone().unwrap_or_else(|| least_loaded(&pod, nodes, out.values()));
                    let home = nodes.iter().find(|n| n.meta.name == node).expect("every named node was made");
                    let own: Vec<IpAddr> =
                        pod.ips.iter().map(|ip| canonical(*ip)).filter(|ip| families.have(*ip)).collect();
                    let source = AddressSource::of(&pod, families);
                    let ips = match source {
                        AddressSource::Node => home.addresses.clone(),
                        AddressSource::Status => own,
                        AddressSource::Pool => {
                            let pool = self.pools.get_mut(&node).expect("every node has a pool");
                            let full =
                                StagingError::Full { node: node.clone(), pod: key.clone(), room: pool.capacity() };
                            pool.take(|ip| owner.contains_key(&ip)).ok_or(full)?
                        }
                    };
                    Placed { uid: pod.meta.uid.clone(), node, ips, source }
                }
            };
            pod.node = Some(placed.node.clone());
            pod.ips.clone_from(&placed.ips);
            self.placed.insert(key.clone(), placed);
            out.insert(key, pod);
        }
        Ok(out)
    }

    /// Gives back what pods had that are gone, or that are others of the same name, or that say now where they are.
    fn release(&mut self, wanted: &[Pod], nodes: &[Node]) {
        let wanted: BTreeMap<PodKey, &Pod> = wanted.iter().map(|p| (PodKey::of(p), p)).collect();
        let families = self.ground.families;
        let stays = |key: &PodKey, placed: &Placed| {
            wanted.get(key).is_some_and(|pod| {
                pod.meta.uid == placed.uid
                    && nodes.iter().any(|n| n.meta.name == placed.node)
                    && pod.node.as_ref().is_none_or(|n| *n == placed.node)
                    && AddressSource::of(pod, families) == placed.source
                    && (placed.source != AddressSource::Status || pod.ips == placed.ips)
            })
        };
        let gone: Vec<PodKey> = self.placed.iter().filter(|(k, p)| !stays(k, p)).map(|(k, _)| k.clone()).collect();
        for key in gone {
            let placed = self.placed.remove(&key).expect("it was just listed");
            if let Some(pool) = self.pools.get_mut(&placed.node).filter(|_| placed.source == AddressSource::Pool) {
                pool.release(&placed.ips);
            }
        }
    }

    fn services(
        &mut self,
        services: Vec<Service>,
        pods: &BTreeMap<PodKey, Pod>,
    ) -> Result<BTreeMap<PodKey, StagedService>, StagingError> {
        let key_of = |s: &Service| PodKey { namespace: s.meta.namespace.clone(), name: s.meta.name.clone() };
        let keys: BTreeSet<PodKey> = services.iter().map(key_of).collect();
        self.cluster_ips.retain(|key, _| keys.contains(key));
        let families = self.ground.families;
        let claimed: BTreeSet<IpAddr> = services.iter().flat_map(|s| s.cluster_ips.iter().copied()).collect();
        let mut out = BTreeMap::new();
        for mut service in services {
            let key = key_of(&service);
            service.cluster_ips.retain(|ip| families.have(*ip));
            let backends = service.selector.as_ref().map_or_else(Vec::new, |selector| {
                let mine =
                    pods.iter().filter(|(k, p)| k.namespace == key.namespace && selector.matches(&p.meta.labels));
                let ready = mine.filter(|(_, p)| p.ready || service.publish_not_ready);
                ready.map(|(k, _)| k.clone()).collect()
            });
            let is_dns = &*key.namespace == DNS_NAMESPACE && &*key.name == DNS_NAME;
            if service.headless || service.external_name.is_some() {
                service.cluster_ips.clear();
            } else if service.cluster_ips.is_empty() {
                service.cluster_ips = self.cluster_ip(&key, is_dns, &claimed)?;
            } else if is_dns {
                // Resolvers ask it in every family.
                for ip in address::service_addresses(DNS_SERVICE, families) {
                    if !service.cluster_ips.iter().any(|i| i.is_ipv4() == ip.is_ipv4()) {
                        service.cluster_ips.push(ip);
                    }
                }
            }
            out.insert(key, StagedService { service, backends });
        }
        Ok(out)
    }

    fn cluster_ip(
        &mut self,
        key: &PodKey,
        is_dns: bool,
        claimed: &BTreeSet<IpAddr>,
    ) -> Result<Vec<IpAddr>, StagingError> {
        let families = self.ground.families;
        let used: BTreeSet<u16> = self.cluster_ips.values().copied().collect();
        let free = |host: &u16| {
            *host != DNS_SERVICE
                && !used.contains(host)
                && !address::service_addresses(*host, families).iter().any(|ip| claimed.contains(ip))
        };
        let host = match self.cluster_ips.get(key) {
            Some(host) => *host,
            None if is_dns => DNS_SERVICE,
            None => (20..u16::MAX).find(free).ok_or_else(|| StagingError::NoClusterIp(key.clone()))?,
        };
        self.cluster_ips.insert(key.clone(), host);
        Ok(address::service_addresses(host, families))
    }
}

/// The node with the fewest pods of the same origin, then the fewest pods, then the first.
fn least_loaded<'a>(pod: &Pod, nodes: &[Node], placed: impl Iterator<Item = &'a Pod> + Clone) -> Arc<str> {
    let load = |node: &Node| {
        let here = placed.clone().filter(|p| p.node.as_ref() == Some(&node.meta.name));
        let kin = here.clone().filter(|p| p.meta.namespace == pod.meta.namespace && p.owner == pod.owner);
        (kin.count(), here.count())
    };
    nodes.iter().min_by_key(|n| load(n)).expect("there is at least one node").meta.name.clone()
}

impl Staged {
    /// What changes for policy from another stage of the cluster to this one. Removals come first: an address may
    /// have a new owner.
    #[must_use]
    pub fn deltas_since(&self, old: &Self) -> Vec<Delta> {
        let mut out = Vec::new();
        let pod_gone = |(key, pod): &(&PodKey, &Pod)| {
            self.pods.get(*key).is_none_or(|new| new.meta.uid != pod.meta.uid || new.ips != pod.ips)
        };
        out.extend(old.policies.keys().filter(|o| !self.policies.contains_key(o)).cloned().map(Delta::PolicyRemoved));
        out.extend(
            old.pods
                .iter()
                .filter(pod_gone)
                .map(|(key, pod)| Delta::PodRemoved { key: key.clone(), uid: pod.meta.uid.clone() }),
        );
        let nodes =
            |staged: &Self| -> BTreeSet<Arc<str>> { staged.nodes.iter().map(|n| n.meta.name.clone()).collect() };
        out.extend(nodes(old).difference(&nodes(self)).cloned().map(Delta::NodeRemoved));
        out.extend(
            old.namespaces.keys().filter(|n| !self.namespaces.contains_key(*n)).cloned().map(Delta::NamespaceRemoved),
        );
        out.extend(self.nodes.iter().filter(|n| !old.nodes.contains(n)).cloned().map(Delta::Node));
        let changed = |(name, ns): &(&Arc<str>, &Namespace)| old.namespaces.get(*name) != Some(*ns);
        out.extend(self.namespaces.iter().filter(changed).map(|(_, ns)| Delta::Namespace(ns.clone())));
        let changed = |(key, pod): &(&PodKey, &Pod)| old.pods.get(*key) != Some(*pod);
        out.extend(self.pods.iter().filter(changed).map(|(_, pod)| Delta::Pod(Box::new(pod.clone()))));
        let changed = |(object, policy): &(&ObjectRef, &Policy)| old.policies.get(*object) != Some(*policy);
        out.extend(self.policies.iter().filter(changed).map(|(_, p)| Delta::Policy(Box::new(p.clone()))));
        out
    }

    /// The index of this stage alone.
    #[must_use]
    pub fn index(&self) -> Index {
        Index::of(self.deltas_since(&Self::default()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tortie_model::{Labels, Phase};

    fn pod(name: &str) -> Pod {
        Pod {
            meta: Meta { namespace: "web".into(), name: name.into(), labels: Labels::default(), uid: Arc::default() },
            owner: None,
            node: None,
            host_network: false,
            ips: Vec::new(),
            ports: Vec::new(),
            phase: Phase::Running,
            ready: true,
            service_account: "default".into(),
        }
    }

    fn ips(staged: &Staged, name: &str) -> Vec<String> {
        staged.pods[&PodKey::new("web", name)].ips.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn pods_are_spread_and_keep_what_they_have() {
        let mut stager = Stager::new(Ground::default());
        let mut objects = ObjectSet { pods: vec![pod("a"), pod("b"), pod("c")], ..ObjectSet::default() };
        let first = stager.stage(&objects).unwrap();
        let nodes: BTreeSet<_> = first.pods.values().filter_map(|p| p.node.clone()).collect();
        assert_eq!(nodes.len(), 2);
        assert_ne!(first.pods[&PodKey::new("web", "a")].node, first.pods[&PodKey::new("web", "b")].node);
        assert_eq!(ips(&first, "a").len(), 2, "both families");
        objects.pods.remove(0);
        objects.pods.push(pod("d"));
        let second = stager.stage(&objects).unwrap();
        assert_eq!(ips(&first, "b"), ips(&second, "b"));
        assert_ne!(ips(&first, "a"), ips(&second, "d"), "an address is reused as late as possible");
    }

    #[test]
    fn the_cluster_dns_is_there_at_the_tenth_address() {
        let staged = Stager::new(Ground::default()).stage(&ObjectSet::default()).unwrap();
        let dns = &staged.services[&PodKey::new(DNS_NAMESPACE, DNS_NAME)];
        assert_eq!(dns.service.cluster_ips[0].to_string(), "10.96.0.10");
        assert_eq!(dns.backends.len(), 2);
    }

    #[test]
    fn two_pods_cannot_have_one_address() {
        let at = |name: &str| Pod { ips: vec!["10.9.9.9".parse().unwrap()], ..pod(name) };
        let objects = ObjectSet { pods: vec![at("a"), at("b")], ..ObjectSet::default() };
        let error = Stager::new(Ground::default()).stage(&objects).unwrap_err();
        assert!(matches!(error, StagingError::Twice { .. }), "{error}");
    }

    #[test]
    fn deltas_lead_from_one_stage_to_the_next() {
        let mut stager = Stager::new(Ground::default());
        let first = stager.stage(&ObjectSet { pods: vec![pod("a"), pod("b")], ..ObjectSet::default() }).unwrap();
        let relabelled = Pod { meta: Meta { labels: [("x", "y")].into_iter().collect(), ..pod("b").meta }, ..pod("b") };
        let second = stager.stage(&ObjectSet { pods: vec![relabelled, pod("c")], ..ObjectSet::default() }).unwrap();
        let mut index = first.index();
        for delta in second.deltas_since(&first) {
            index.apply(delta);
        }
        let names = |index: &Index| -> Vec<_> {
            index.pods().map(|p| (p.key(), p.meta.labels.clone(), p.ips.clone())).collect()
        };
        assert_eq!(names(&index), names(&second.index()));
        assert!(second.deltas_since(&second).is_empty());
    }
}
