//! What a cluster made of some objects consists of.
//!
//! A [`Stager`] remembers what it gave out: a pod keeps its node and its addresses, a Service its ClusterIP, however
//! the objects around them change.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use tortie_manifest::ObjectSet;
use tortie_model::{Meta, Node, Pod, Service, canonical};
use tortie_policy::{Delta, Index, PodKey};

use crate::address::{self, DNS_SERVICE, Families, PodAddresses};
use crate::backend::{Backend, Backends};
use crate::deltas::World;

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

/// A Service with its addresses and what is behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StagedService {
    /// The object; `cluster_ips` are filled in, unless it is headless or an ExternalName.
    pub service: Service,
    /// Pods that it sends to.
    pub backends: Vec<PodKey>,
    /// Where each of its ports leads, in their order.
    pub ports: Vec<Vec<Target>>,
}

/// Where a port of a Service leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The pod; none for an address of nobody in the cluster, that EndpointSlices tell.
    pub pod: Option<PodKey>,
    /// The addresses.
    pub addresses: Vec<IpAddr>,
    /// The port of them.
    pub port: u16,
}

impl Target {
    fn of(backend: Backend<'_>) -> Self {
        match backend {
            Backend::Pod(pod, port) => {
                let addresses = pod.ips.iter().map(|ip| canonical(*ip)).collect();
                Self { pod: Some(PodKey::of(pod)), addresses, port }
            }
            Backend::Address(ip, port) => Self { pod: None, addresses: vec![canonical(ip)], port },
        }
    }
}

/// A cluster, complete: every pod has a node and addresses.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Staged {
    /// Nodes, with addresses and pod ranges, in order.
    pub nodes: Vec<Node>,
    /// What matters to policy: pods that have not finished, and the same nodes by name.
    pub world: World,
    /// Services, by namespace and name.
    pub services: BTreeMap<PodKey, StagedService>,
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
    /// Two of nodes, pods, Services and outside hosts claim one address.
    #[error("{first} and {second} both have the address {ip}; change or remove one")]
    Twice {
        /// The address.
        ip: IpAddr,
        /// The one that has it.
        first: String,
        /// The other.
        second: String,
    },
    /// A node is said to be elsewhere than where it was made.
    #[error("Node/{0} cannot change its addresses or pod ranges while the cluster runs; start another with them")]
    Moved(Arc<str>),
    /// Services have used the whole range.
    #[error("no ClusterIP is left for Service/{0}")]
    NoClusterIp(PodKey),
}

/// Gives out nodes and addresses.
#[derive(Clone, Debug)]
pub struct Stager {
    ground: Ground,
    /// In the order in which they were made. A node stays for as long as the cluster runs.
    nodes: Vec<Node>,
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
        Self {
            ground,
            nodes: Vec::new(),
            pools: BTreeMap::new(),
            placed: BTreeMap::new(),
            cluster_ips: BTreeMap::new(),
        }
    }

    /// The ground.
    #[must_use]
    pub const fn ground(&self) -> &Ground {
        &self.ground
    }

    /// Places objects.
    ///
    /// # Errors
    /// When addresses run out, two claim the same one, or a node would have to change its own. What was given out so
    /// far is not given back: stage on with a clone of the stager as it was.
    pub fn stage(&mut self, objects: &ObjectSet) -> Result<Staged, StagingError> {
        let mut objects = objects.clone();
        objects.add_cluster_dns();
        let nodes = self.nodes(&objects)?;
        let pods = self.place(std::mem::take(&mut objects.pods), &nodes)?;
        let named = nodes.iter().map(|n| (n.meta.name.clone(), n.clone())).collect();
        let world = World::placed(&objects, named, pods);
        objects.pods = world.pods.values().cloned().collect();
        let services = self.services(&objects)?;
        let staged = Staged { nodes, world, services, outside: self.ground.outside.clone() };
        staged.distinct(self.ground.families)?;
        Ok(staged)
    }

    /// The nodes: those that were there before, those that are defined, those that pods name, and `node-N` until there
    /// are enough.
    fn nodes(&mut self, objects: &ObjectSet) -> Result<Vec<Node>, StagingError> {
        let defined = objects.nodes.iter().map(|n| n.meta.name.clone());
        let named: BTreeSet<_> = objects.pods.iter().filter_map(|p| p.node.clone()).collect();
        for name in defined.chain(named) {
            self.make_node(&name, objects);
        }
        let mut next = 1;
        while self.nodes.len() < usize::from(self.ground.nodes.max(1)) {
            self.make_node(&format!("node-{next}").into(), objects);
            next += 1;
        }
        for node in &mut self.nodes {
            let Some(defined) = objects.nodes.iter().find(|n| n.meta.name == node.meta.name) else { continue };
            let families = self.ground.families;
            let moved = defined.addresses.iter().any(|ip| families.have(*ip) && !node.addresses.contains(ip))
                || defined.pod_cidrs.iter().any(|net| families.have(net.addr()) && !node.pod_cidrs.contains(net));
            if moved {
                return Err(StagingError::Moved(node.meta.name.clone()));
            }
            node.meta.clone_from(&defined.meta);
        }
        Ok(self.nodes.clone())
    }

    /// A node of this name, unless there is one, with what the objects say of it and the next number's addresses.
    fn make_node(&mut self, name: &Arc<str>, objects: &ObjectSet) {
        if self.nodes.iter().any(|n| n.meta.name == *name) {
            return;
        }
        let families = self.ground.families;
        let number = u16::try_from(self.nodes.len() + 1).unwrap_or(u16::MAX);
        let mut node = objects.nodes.iter().find(|n| n.meta.name == *name).cloned().unwrap_or_else(|| Node {
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
        self.pools.insert(name.clone(), PodAddresses::new(node.pod_cidrs.clone()));
        self.nodes.push(node);
    }

    fn place(&mut self, pods: Vec<Pod>, nodes: &[Node]) -> Result<BTreeMap<PodKey, Pod>, StagingError> {
        let families = self.ground.families;
        let wanted: Vec<Pod> = pods.into_iter().filter(|p| !p.phase.is_finished()).collect();
        self.release(&wanted, nodes);
        let mut owner: BTreeMap<IpAddr, PodKey> = BTreeMap::new();
        for pod in wanted.iter().filter(|p| !p.host_network) {
            for ip in pod.ips.iter().map(|ip| canonical(*ip)).filter(|ip| families.have(*ip)) {
                if let Some(first) = owner.insert(ip, PodKey::of(pod)) {
                    let [first, second] = [first, PodKey::of(pod)].map(|key| format!("Pod/{key}"));
                    return Err(StagingError::Twice { ip, first, second });
                }
            }
        }
        let mut out: BTreeMap<PodKey, Pod> = BTreeMap::new();
        for mut pod in wanted {
            let key = PodKey::of(&pod);
            let placed = match self.placed.get(&key) {
                Some(placed) => placed.clone(),
                None => {
                    let node = pod.node.clone().or_else(|| home_of(&pod, nodes));
                    let node = node.unwrap_or_else(|| least_loaded(&pod, nodes, out.values()));
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

    /// The Services, with what is behind them: pods have their addresses by now.
    fn services(&mut self, objects: &ObjectSet) -> Result<BTreeMap<PodKey, StagedService>, StagingError> {
        let (services, behind) = (&objects.services, Backends::new(objects));
        let key_of = |s: &Service| PodKey { namespace: s.meta.namespace.clone(), name: s.meta.name.clone() };
        let keys: BTreeSet<PodKey> = services.iter().map(key_of).collect();
        self.cluster_ips.retain(|key, _| keys.contains(key));
        let families = self.ground.families;
        let claimed: BTreeSet<IpAddr> = services.iter().flat_map(|s| s.cluster_ips.iter().copied()).collect();
        let mut out = BTreeMap::new();
        for mut service in services.iter().cloned() {
            let key = key_of(&service);
            service.cluster_ips.retain(|ip| families.have(*ip));
            let backends = behind.pods(&service).into_iter().map(PodKey::of).collect();
            let leads = |port| behind.of(&service, port).into_iter().map(Target::of).collect();
            let ports = service.ports.iter().map(leads).collect();
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
            out.insert(key, StagedService { service, backends, ports });
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

/// The node in whose range an address of the pod is: anywhere else that node would take the address for nobody's.
fn home_of(pod: &Pod, nodes: &[Node]) -> Option<Arc<str>> {
    let has = |node: &&Node| node.pod_cidrs.iter().any(|range| pod.ips.iter().any(|ip| range.contains(ip)));
    nodes.iter().find(has).map(|node| node.meta.name.clone())
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
    /// Fails when an address belongs to two. Pods in their node's network share the node's.
    fn distinct(&self, families: Families) -> Result<(), StagingError> {
        let mut owners: BTreeMap<IpAddr, String> = BTreeMap::new();
        let mut claim = |name: String, ips: &[IpAddr]| {
            for ip in ips.iter().map(|ip| canonical(*ip)) {
                if let Some(first) = owners.insert(ip, name.clone()) {
                    return Err(StagingError::Twice { ip, first, second: name.clone() });
                }
            }
            Ok(())
        };
        claim("the router between nodes".to_owned(), &address::wire_addresses(families))?;
        for node in &self.nodes {
            claim(format!("Node/{}", node.meta.name), &node.addresses)?;
        }
        for host in &self.outside {
            claim(host.name.clone(), &host.addresses)?;
        }
        for (key, pod) in self.world.pods.iter().filter(|(_, p)| !p.host_network) {
            claim(format!("Pod/{key}"), &pod.ips)?;
        }
        for (key, staged) in &self.services {
            claim(format!("Service/{key}"), &staged.service.cluster_ips)?;
        }
        Ok(())
    }

    /// What changes for policy from another stage of the cluster to this one.
    #[must_use]
    pub fn deltas_since(&self, old: &Self) -> Vec<Delta> {
        self.world.deltas_since(&old.world)
    }

    /// The index of this stage alone.
    #[must_use]
    pub fn index(&self) -> Index {
        self.world.index()
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
        staged.world.pods[&PodKey::new("web", name)].ips.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn pods_are_spread_and_keep_what_they_have() {
        let mut stager = Stager::new(Ground::default());
        let mut objects = ObjectSet { pods: vec![pod("a"), pod("b"), pod("c")], ..ObjectSet::default() };
        let first = stager.stage(&objects).unwrap();
        let nodes: BTreeSet<_> = first.world.pods.values().filter_map(|p| p.node.clone()).collect();
        assert_eq!(nodes.len(), 2);
        assert_ne!(first.world.pods[&PodKey::new("web", "a")].node, first.world.pods[&PodKey::new("web", "b")].node);
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
    fn a_pod_with_an_address_lives_on_the_node_whose_range_it_is_of() {
        let node = |name: &str, range: &str| Node {
            meta: Meta { namespace: "".into(), name: name.into(), labels: Labels::default(), uid: Arc::default() },
            addresses: Vec::new(),
            pod_cidrs: vec![range.parse().unwrap()],
        };
        let at = |name: &str, ip: &str| Pod { ips: vec![ip.parse().unwrap()], ..pod(name) };
        let pods = vec![at("a", "10.1.2.7"), at("b", "10.1.2.8"), at("c", "10.1.1.7")];
        let nodes = vec![node("n1", "10.1.1.0/24"), node("n2", "10.1.2.0/24")];
        let staged = Stager::new(Ground::default()).stage(&ObjectSet { pods, nodes, ..ObjectSet::default() }).unwrap();
        let homes: Vec<_> = ["a", "b", "c"].map(|n| staged.world.pods[&PodKey::new("web", n)].node.clone()).to_vec();
        assert_eq!(homes, [Some("n2".into()), Some("n2".into()), Some("n1".into())]);
    }

    #[test]
    fn two_pods_cannot_have_one_address() {
        let at = |name: &str| Pod { ips: vec!["10.9.9.9".parse().unwrap()], ..pod(name) };
        let objects = ObjectSet { pods: vec![at("a"), at("b")], ..ObjectSet::default() };
        let error = Stager::new(Ground::default()).stage(&objects).unwrap_err();
        assert!(matches!(error, StagingError::Twice { .. }), "{error}");
    }

    #[test]
    fn an_address_that_is_given_out_cannot_be_claimed() {
        let mut stager = Stager::new(Ground::default());
        let first = stager.stage(&ObjectSet { pods: vec![pod("a")], ..ObjectSet::default() }).unwrap();
        let taken = first.world.pods[&PodKey::new("web", "a")].ips.clone();
        let addresses = [
            (taken[0], "Pod/web/a and Pod/web/b"),
            (first.nodes[0].addresses[1], "Node/node-1 and Pod/web/b"),
            ("10.96.0.10".parse().unwrap(), "Pod/web/b and Service/kube-system/kube-dns"),
        ];
        for (ip, both) in addresses {
            let objects = ObjectSet { pods: vec![pod("a"), Pod { ips: vec![ip], ..pod("b") }], ..ObjectSet::default() };
            let error = stager.clone().stage(&objects).unwrap_err().to_string();
            assert!(error.contains(both) && error.contains(&ip.to_string()), "{error}");
        }
    }

    #[test]
    fn nodes_stay_where_they_are_when_others_come() {
        let mut stager = Stager::new(Ground::default());
        let first = stager.stage(&ObjectSet::default()).unwrap();
        let on = |node: &str, name: &str| Pod { node: Some(node.into()), ..pod(name) };
        let objects = ObjectSet { pods: vec![on("another", "a"), on("node-2", "b")], ..ObjectSet::default() };
        let second = stager.stage(&objects).unwrap();
        assert_eq!(second.nodes[..2], first.nodes[..]);
        assert_eq!(second.nodes.len(), 3);
        let third = stager.stage(&ObjectSet::default()).unwrap();
        assert_eq!(third.nodes, second.nodes);
        let moved = Node { addresses: vec!["192.0.2.1".parse().unwrap()], ..first.nodes[1].clone() };
        let error = stager.stage(&ObjectSet { nodes: vec![moved], ..ObjectSet::default() }).unwrap_err();
        assert!(matches!(error, StagingError::Moved(_)), "{error}");
    }

    #[test]
    fn a_pod_that_is_elsewhere_or_has_other_containers_is_another_one() {
        let at = |node: &str| Pod { ips: vec!["10.9.9.9".parse().unwrap()], node: Some(node.into()), ..pod("a") };
        let port = tortie_model::ContainerPort { name: None, protocol: tortie_model::Protocol::Tcp, number: 80 };
        let mut stager = Stager::new(Ground::default());
        let mut stage = |pod: Pod| stager.stage(&ObjectSet { pods: vec![pod], ..ObjectSet::default() }).unwrap();
        let first = stage(at("node-1"));
        for other in [at("node-2"), Pod { ports: vec![port], ..at("node-1") }] {
            let removed = stage(other).deltas_since(&first).into_iter().any(|d| matches!(d, Delta::PodRemoved { .. }));
            assert!(removed);
        }
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
