//! A cluster: the topology, with a node loop in each of its nodes, kept as it was staged.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use tortie_analysis::deltas::World;
use tortie_analysis::passage;
use tortie_analysis::staging::{DNS_NAME, DNS_NAMESPACE, Ground, Staged, StagedService};
use tortie_model::{Pod, TargetPort, Traffic, canonical};
use tortie_node::{Change, Counter, Node, NodeError, NodeOptions, Verified};
use tortie_plan::nft::ChainMeaning;
use tortie_plan::{NodeFacts, Path, PodInterface};
use tortie_policy::{Delta, Index, PodKey, Side};

use crate::Answers;
use crate::dns::{ServiceRecord, Zone};
use crate::error::LabError;
use crate::flows::Flows;
use crate::pod::{NodeSpec, OutsideSpec, Place, PodSpec};
use crate::probe::{FlowTuple, Prober};
use crate::sandbox::Sandbox;
use crate::service::{Backend, Service, ServicePort, Target};
use crate::topology::Topology;
use crate::witness::{Reader, SharedFlows, Witness, lock};

pub use crate::witness::{DropWatch, Lost};

/// How the names of all pod links begin.
const POD_LINKS: &str = "tor";

/// What can go wrong while a cluster is made or changed.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// A namespace, link or socket could not be had.
    #[error(transparent)]
    Lab(#[from] LabError),
    /// A node does not enforce what it should.
    #[error("node {name}: {source}")]
    Node {
        /// Its name.
        name: Arc<str>,
        /// Why.
        source: Box<NodeError>,
    },
    /// A change failed, and so did the way back.
    #[error("{change}; and what was there before could not be had again: {undo}")]
    Torn {
        /// Why the change failed.
        change: Box<ClusterError>,
        /// Why it could not be undone.
        undo: Box<ClusterError>,
    },
}

impl ClusterError {
    pub(crate) fn node(name: &Arc<str>) -> impl Fn(NodeError) -> Self {
        let name = name.clone();
        move |source| Self::Node { name: name.clone(), source: Box::new(source) }
    }
}

impl From<crate::netns::NetnsError> for ClusterError {
    fn from(e: crate::netns::NetnsError) -> Self {
        Self::Lab(e.into())
    }
}

/// A running cluster. It vanishes when it is dropped.
#[derive(Debug)]
pub struct Cluster {
    // Dropped in this order: readers before the sockets' namespaces.
    pub(crate) witness: Witness,
    pub(crate) prober: Prober,
    pub(crate) nodes: BTreeMap<Arc<str>, Node>,
    pub(crate) topology: Topology,
    options: NodeOptions,
    /// Where flows are kept, if they are.
    pub(crate) flows: Option<SharedFlows>,
    staged: Staged,
    pub(crate) index: Index,
    /// What is tried out.
    pub(crate) trial: Option<World>,
}

impl Cluster {
    /// A network on this ground, without nodes: they come with the first [`Cluster::sync`].
    ///
    /// # Errors
    /// What the kernel refused.
    pub fn boot(sandbox: &Sandbox, ground: &Ground) -> Result<Self, ClusterError> {
        Self::boot_with(sandbox, ground, NodeOptions::default())
    }

    /// A network whose nodes enforce with these options and record every connection, allowed or denied; see
    /// [`Cluster::flows`].
    ///
    /// # Errors
    /// What the kernel refused.
    pub fn boot_recording(sandbox: &Sandbox, ground: &Ground, mut options: NodeOptions) -> Result<Self, ClusterError> {
        options.lowering.record_allowed = true;
        Self::make(sandbox, ground, options, Some(SharedFlows::default()))
    }

    /// A network whose nodes enforce with these options.
    ///
    /// # Errors
    /// What the kernel refused.
    pub fn boot_with(sandbox: &Sandbox, ground: &Ground, options: NodeOptions) -> Result<Self, ClusterError> {
        Self::make(sandbox, ground, options, None)
    }

    fn make(
        sandbox: &Sandbox,
        ground: &Ground,
        options: NodeOptions,
        flows: Option<SharedFlows>,
    ) -> Result<Self, ClusterError> {
        let mut topology = Topology::new(sandbox, ground.families)?;
        let outside: Vec<_> = ground
            .outside
            .iter()
            .map(|host| OutsideSpec { name: host.name.clone(), addresses: host.addresses.clone() })
            .collect();
        topology.add_outside(&outside)?;
        Ok(Self {
            witness: Witness::start(flows.clone())?,
            prober: Prober::start()?,
            nodes: BTreeMap::new(),
            topology,
            options,
            flows,
            staged: Staged::default(),
            index: Index::default(),
            trial: None,
        })
    }

    /// Makes the cluster what was staged, and returns when every node enforces it.
    ///
    /// What goes away is closed before it is taken down; what is new is closed until its policies are in force.
    ///
    /// # Errors
    /// What the kernel refused. Then the cluster is again what it was, unless that is refused as well.
    pub fn sync(&mut self, staged: Staged) -> Result<(), ClusterError> {
        let before = self.staged.clone();
        self.become_staged(staged).map_err(|change| match self.become_staged(before) {
            Ok(()) => change,
            Err(undo) => ClusterError::Torn { change: Box::new(change), undo: Box::new(undo) },
        })
    }

    fn become_staged(&mut self, staged: Staged) -> Result<(), ClusterError> {
        let deltas = staged.deltas_since(&self.staged);
        self.staged = staged;
        for delta in &deltas {
            self.index.apply(delta.clone());
        }
        if let Some(flows) = &self.flows {
            lock(flows).settle(homes(&self.staged));
        }
        let (gone, rest): (Vec<_>, Vec<_>) = deltas.into_iter().partition(|d| matches!(d, Delta::PodRemoved { .. }));
        self.remove_pods(&gone)?;
        self.remove_nodes()?;
        self.add_nodes()?;
        let attached = self.add_pods()?;
        for (name, node) in &mut self.nodes {
            let attached = attached.iter().filter(|(on, ..)| on == name);
            let change = Change {
                deltas: rest.clone(),
                attached: attached.map(|(_, pod, interface)| (pod.clone(), interface.clone())).collect(),
                detached: Vec::new(),
            };
            update(name, node, change)?;
        }
        self.publish()?;
        self.settle()
    }

    /// Waits until no node has anything left to do: removals after their grace time, and revocation.
    ///
    /// # Errors
    /// What a node could not do.
    pub fn settle(&mut self) -> Result<(), ClusterError> {
        for (name, node) in &mut self.nodes {
            while let Some(due) = node.tick(Instant::now()).map_err(ClusterError::node(name))? {
                // A deadline, not a guess: the grace time of removals.
                std::thread::sleep(due.saturating_duration_since(Instant::now()));
            }
        }
        Ok(())
    }

    fn add_nodes(&mut self) -> Result<(), ClusterError> {
        for node in &self.staged.nodes {
            let name = &node.meta.name;
            if self.nodes.contains_key(name) {
                continue;
            }
            self.topology.add_nodes(&[NodeSpec {
                name: name.to_string(),
                addresses: node.addresses.clone(),
                pod_ranges: node.pod_cidrs.clone(),
            }])?;
            let facts = NodeFacts {
                name: name.clone(),
                interface_prefix: POD_LINKS.into(),
                pod_ranges: node.pod_cidrs.clone(),
                interfaces: BTreeMap::new(),
            };
            let place = Place::Node(name.to_string());
            let netns = self.topology.endpoint(&place).expect("it was just made").netns;
            let opened = netns.run(|| Node::open(facts, self.options.clone()))?;
            let mut opened = opened.map_err(ClusterError::node(name))?;
            self.witness.watch(Reader::Records(opened.records().map_err(ClusterError::node(name))?))?;
            if self.flows.is_some() {
                let connections = netns.run(|| opened.opened())?.map_err(ClusterError::node(name))?;
                self.witness.watch(Reader::Opened(connections))?;
            }
            // A node that joins late learns what the others know.
            let known = Change { deltas: self.staged_deltas_for_late_node(), ..Change::default() };
            update(name, &mut opened, known)?;
            self.nodes.insert(name.clone(), opened);
        }
        Ok(())
    }

    /// Everything that older nodes know already; a node made together with the others gets it a second time, which
    /// changes nothing.
    fn staged_deltas_for_late_node(&self) -> Vec<Delta> {
        self.staged.deltas_since(&Staged::default())
    }

    fn remove_pods(&mut self, gone: &[Delta]) -> Result<(), ClusterError> {
        if gone.is_empty() {
            return Ok(());
        }
        let keys: Vec<PodKey> = gone
            .iter()
            .filter_map(|d| match d {
                Delta::PodRemoved { key, .. } => Some(key.clone()),
                _ => None,
            })
            .collect();
        for (name, node) in &mut self.nodes {
            let change = Change { deltas: gone.to_vec(), attached: Vec::new(), detached: keys.clone() };
            update(name, node, change)?;
        }
        for key in &keys {
            // It was never made when a change failed that brought it.
            if self.topology.endpoint(&Place::pod(&key.namespace, &key.name)).is_some() {
                self.topology.remove_pod(&key.namespace, &key.name)?;
            }
        }
        Ok(())
    }

    /// Nodes of a change that failed; others stay as long as the cluster.
    fn remove_nodes(&mut self) -> Result<(), ClusterError> {
        let staged = &self.staged.nodes;
        self.nodes.retain(|name, _| staged.iter().any(|n| n.meta.name == *name));
        let gone = |place: &Place| matches!(place, Place::Node(name) if !self.nodes.contains_key(name.as_str()));
        let gone: Vec<Place> = self.topology.places().filter(gone).collect();
        for place in gone {
            if let Place::Node(name) = place {
                self.topology.remove_node(&name)?;
            }
        }
        Ok(())
    }

    /// Makes the pods that are not there yet; returns the links of those on a network of their own, by node.
    fn add_pods(&mut self) -> Result<Vec<(Arc<str>, PodKey, PodInterface)>, ClusterError> {
        let place = |key: &PodKey| Place::pod(&key.namespace, &key.name);
        let new: Vec<(PodKey, Pod)> = self
            .staged
            .world
            .pods
            .iter()
            .filter(|(key, _)| self.topology.endpoint(&place(key)).is_none())
            .map(|(key, pod)| (key.clone(), pod.clone()))
            .collect();
        let specs: Vec<PodSpec> = new.iter().map(|(_, pod)| pod_spec(pod)).collect();
        self.topology.add_pods(&specs)?;
        let mut attached = Vec::new();
        for (key, pod) in new {
            let endpoint = self.topology.endpoint(&place(&key)).expect("it was just made");
            if let (Some((name, index)), Some(node)) = (endpoint.link, pod.node) {
                attached.push((node, key, PodInterface { name: name.into(), index }));
            }
        }
        Ok(attached)
    }

    /// Tells Services and DNS what is there.
    fn publish(&mut self) -> Result<(), ClusterError> {
        let services: Vec<Service> = self.staged.services.values().map(|s| self.service(s)).collect();
        self.topology.set_services(&services)?;
        *self.topology.zone().write().unwrap_or_else(std::sync::PoisonError::into_inner) = self.zone();
        Ok(())
    }

    fn service(&self, staged: &StagedService) -> Service {
        let StagedService { service, backends, ports } = staged;
        Service {
            namespace: service.meta.namespace.to_string(),
            name: service.meta.name.to_string(),
            addresses: service.cluster_ips.clone(),
            ports: service
                .ports
                .iter()
                .zip(ports)
                .map(|(p, leads)| ServicePort {
                    protocol: p.protocol,
                    port: p.port,
                    target: match &p.target {
                        _ if service.selector.is_none() => {
                            let ends = leads.iter().flat_map(|to| to.addresses.iter().map(|ip| (*ip, to.port)));
                            Target::Told(ends.collect())
                        }
                        TargetPort::Number(n) => Target::Number(*n),
                        TargetPort::Name(name) => Target::Name(name.to_string()),
                    },
                })
                .collect(),
            backends: backends
                .iter()
                .filter_map(|key| self.staged.world.pods.get(key))
                .map(|pod| Backend {
                    name: pod.key(),
                    addresses: pod.ips.iter().map(|ip| canonical(*ip)).collect(),
                    ports: pod
                        .ports
                        .iter()
                        .filter_map(|p| Some(((p.name.as_ref()?.to_string(), p.protocol), p.number)))
                        .collect(),
                })
                .collect(),
        }
    }

    fn zone(&self) -> Zone {
        let mut zone = Zone::default();
        let namespaces: BTreeSet<_> = self.index.namespaces().map(|n| n.name().to_string()).collect();
        zone.namespaces = namespaces.into_iter().collect();
        for (key, staged) in &self.staged.services {
            let service = &staged.service;
            let pods = || staged.backends.iter().filter_map(|key| self.staged.world.pods.get(key));
            let record = match &service.external_name {
                Some(name) => ServiceRecord::External(name.to_string()),
                None if service.headless => {
                    let of = |pod: &Pod| -> Vec<_> {
                        pod.ips.iter().map(|ip| (Some(pod.meta.name.to_string()), canonical(*ip))).collect()
                    };
                    let strangers = staged.ports.iter().flatten().filter(|target| target.pod.is_none());
                    let strangers: BTreeSet<_> = strangers.flat_map(|t| &t.addresses).map(|ip| (None, *ip)).collect();
                    ServiceRecord::Headless(pods().flat_map(of).chain(strangers).collect())
                }
                None => ServiceRecord::Cluster(service.cluster_ips.clone()),
            };
            zone.services.insert((key.namespace.to_string(), key.name.to_string()), record);
        }
        for host in &self.staged.outside {
            for name in &host.dns {
                zone.outside.insert(name.trim_end_matches('.').to_lowercase(), host.addresses.clone());
            }
        }
        zone
    }

    /// What the cluster consists of now.
    #[must_use]
    pub const fn staged(&self) -> &Staged {
        &self.staged
    }

    /// The cluster as policies see it.
    #[must_use]
    pub const fn index(&self) -> &Index {
        &self.index
    }

    /// The network, for faults and for entering pods.
    #[must_use]
    pub const fn topology(&self) -> &Topology {
        &self.topology
    }

    /// The node loops, by node.
    pub fn nodes(&self) -> impl Iterator<Item = (&Arc<str>, &Node)> {
        self.nodes.iter()
    }

    /// What the kernels of the nodes hold other than they should, or held and was put right since this was last asked, by
    /// node and in words; empty when all is well.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn verify(&mut self) -> Result<Vec<(Arc<str>, String)>, ClusterError> {
        self.verify_located(|_| None)
    }

    /// As [`Cluster::verify`], with the places of policies that packets miss.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn verify_located(
        &mut self,
        place: impl Fn(&Path) -> Option<String>,
    ) -> Result<Vec<(Arc<str>, String)>, ClusterError> {
        let mut out = Vec::new();
        for name in self.node_names() {
            let (mut verified, mended) = self.prove(&name)?;
            verified.locate(&place);
            let mended = mended.into_iter().map(|d| format!("{d}; it was put right"));
            let mut trial = self.prove_trial(&name)?.unwrap_or_default();
            trial.locate(&place);
            let tried = trial.findings().into_iter().map(|finding| format!("what is tried out: {finding}"));
            out.extend(mended.chain(verified.findings()).chain(tried).map(|finding| (name.clone(), finding)));
        }
        Ok(out)
    }

    /// What the kernel of a node does with every packet, against the engine; and what others had changed there and was
    /// put right since this was last asked.
    ///
    /// # Errors
    /// When it cannot be read.
    ///
    /// # Panics
    /// When there is no such node.
    pub fn prove(&mut self, node: &Arc<str>) -> Result<(Verified, Vec<String>), ClusterError> {
        let running = self.nodes.get_mut(node).expect("a node of this cluster");
        let mended = running.mended();
        Ok((running.prove().map_err(ClusterError::node(node))?, mended))
    }

    /// The nodes.
    #[must_use]
    pub fn node_names(&self) -> Vec<Arc<str>> {
        self.nodes.keys().cloned().collect()
    }

    /// Packets that a node has counted, by what they were counted for; empty for a node that is not there.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn counters(&mut self, node: &str) -> Result<BTreeMap<ChainMeaning, Counter>, ClusterError> {
        match self.nodes.get_key_value(node).map(|(name, _)| name.clone()) {
            Some(name) => {
                let node = self.nodes.get_mut(&name).expect("it was just found");
                node.counters().map_err(ClusterError::node(&name))
            }
            None => Ok(BTreeMap::new()),
        }
    }

    /// Tells of every drop of a flow, from now on: for packets that are sent by other means than questions.
    #[must_use]
    pub fn watch_drops(&self, flow: FlowTuple) -> DropWatch {
        self.witness.tell(flow)
    }

    /// Looks at the flows; `None` when they are not recorded.
    pub fn flows<T>(&self, look: impl FnOnce(&Flows) -> T) -> Option<T> {
        self.flows.as_ref().map(|flows| look(&lock(flows)))
    }

    /// What nodes had to say and could not, because more came at once than their buffers hold; nodes that lost nothing
    /// are left out. A loss shows with the next record of that node.
    #[must_use]
    pub fn lost(&self) -> BTreeMap<Arc<str>, Lost> {
        self.witness.lost()
    }

    /// Whether the plans in force let a packet through, evaluated in memory.
    #[must_use]
    pub fn plan_passes(&self, from: &Side, to: &Side, traffic: Traffic) -> bool {
        passage::passes(|node| self.nodes.get(node).map(Node::plan), from, to, traffic)
    }

    /// The addresses of the cluster DNS.
    #[must_use]
    pub fn dns_addresses(&self) -> Vec<std::net::IpAddr> {
        let service = self.staged.services.get(&PodKey::new(DNS_NAMESPACE, DNS_NAME));
        service.map_or_else(Vec::new, |s| s.service.cluster_ips.clone())
    }
}

/// The node of every address of pods and nodes.
fn homes(staged: &Staged) -> impl Iterator<Item = (std::net::IpAddr, Arc<str>)> {
    let nodes = staged.nodes.iter().flat_map(|n| n.addresses.iter().map(|ip| (*ip, n.meta.name.clone())));
    let pods = staged.world.pods.values().filter_map(|p| Some((p, p.node.clone()?)));
    nodes.chain(pods.flat_map(|(p, node)| p.ips.iter().map(move |ip| (canonical(*ip), node.clone()))))
}

fn update(name: &Arc<str>, node: &mut Node, change: Change) -> Result<(), ClusterError> {
    node.update(change, Instant::now()).map_err(ClusterError::node(name))
}

fn pod_spec(pod: &Pod) -> PodSpec {
    let is_dns = &*pod.meta.namespace == DNS_NAMESPACE && pod.meta.labels.get("k8s-app") == Some("kube-dns");
    let declared: Vec<_> = pod.ports.iter().map(|p| (p.protocol, p.number)).collect();
    PodSpec {
        namespace: pod.meta.namespace.to_string(),
        name: pod.meta.name.to_string(),
        node: pod.node.as_deref().unwrap_or_default().to_owned(),
        addresses: pod.ips.iter().map(|ip| canonical(*ip)).collect(),
        // The cluster DNS is there to be used, and to be knocked at on any port like every other tool pod.
        answers: if declared.is_empty() || is_dns {
            Answers::Everywhere
        } else {
            Answers::On(declared.into_iter().collect())
        },
        host_network: pod.host_network,
        dns: is_dns,
    }
}
