//! The wire, nodes, pods and outside hosts.
//!
//! Everything is routed, nothing bridged: the wire is a router to which nodes and outside hosts are attached, a node is
//! a router to which pods are attached. So a node needs one route (to the wire), a pod one (to its node), and adding a
//! pod costs the same however many nodes there are. No address is translated between them: policy sees real ones.
//!
//! A node has no blackhole route for the unused addresses of its pod ranges. Packets to them pass the forward hook,
//! where policy drops them and counts; without policy they end with their hop limit.

use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
    sync::{Arc, RwLock},
};

use ipnet::IpNet;
use tortie_model::Protocol;
use tortie_netlink::{
    Socket,
    route::{Batch, Route, Routes},
};
use tortie_ruleset::Table;

use crate::{
    address::{Families, PodAddresses, mac, pod_link, wire_addresses, wire_link},
    answer::{self, Answers},
    attachment::{self, Attachment, FIRST_INDEX, Kind, attach, range_route},
    dns::Zone,
    error::LabError,
    netns::Netns,
    pod::{NodeSpec, OutsideSpec, Place, PodSpec},
    sandbox::{Sandbox, ipv6_available},
    server::{Listener, OwnerId, Server, Speaks},
    table,
};

/// Ports that every node answers on besides those of its pods: ssh, http, https, a metrics exporter, the API server
/// and the kubelet. Others with [`Topology::listen`].
const NODE_PORTS: [u16; 6] = [22, 80, 443, 6443, 9100, 10250];

/// A running network. Dropping it ends it.
#[derive(Debug)]
pub struct Topology {
    families: Families,
    wire: Router,
    nodes: BTreeMap<String, Node>,
    pods: BTreeMap<(String, String), Pod>,
    outside: BTreeMap<String, Host>,
    owners: HashMap<IpAddr, Place>,
    zone: Arc<RwLock<Zone>>,
    server: Server,
}

/// A namespace that others are attached to.
#[derive(Debug)]
struct Router {
    netns: Netns,
    addresses: Vec<IpAddr>,
    next_index: u32,
}

#[derive(Debug)]
struct Node {
    router: Router,
    /// Index of its link on the wire.
    index: u32,
    ranges: Vec<IpNet>,
    pool: PodAddresses,
    owner: OwnerId,
    /// Changes the rules of its namespace.
    rules: Socket,
}

#[derive(Debug)]
struct Pod {
    node: String,
    host: Host,
    host_network: bool,
}

#[derive(Debug)]
struct Host {
    netns: Netns,
    addresses: Vec<IpAddr>,
    /// Name of the router's end of its link; empty in its node's network.
    link: String,
    index: u32,
    mac: [u8; 6],
    owner: OwnerId,
}

/// Where packets can be sent from and to.
#[derive(Clone, Copy, Debug)]
pub struct Endpoint<'a> {
    /// Its namespace; for a pod in its node's network, the node's.
    pub netns: &'a Netns,
    /// Its addresses, the preferred one of a family first.
    pub addresses: &'a [IpAddr],
    /// For a pod, the node that it runs on.
    pub node: Option<&'a str>,
    /// For a pod in a namespace of its own, the name and the index of the link by which its node reaches it.
    pub link: Option<(&'a str, u32)>,
}

impl Router {
    fn take_index(&mut self) -> u32 {
        let index = self.next_index;
        self.next_index += 1;
        index
    }
}

impl Host {
    fn attachment(&self) -> Attachment<'_> {
        Attachment {
            link: &self.link,
            index: self.index,
            mac: self.mac,
            inside: &self.netns,
            addresses: &self.addresses,
            behind: &[],
        }
    }
}

impl Topology {
    /// An empty network in the sandbox: a wire and a server.
    ///
    /// # Errors
    /// [`LabError::NoIpv6`], or what the kernel refused.
    pub fn new(_sandbox: &Sandbox, families: Families) -> Result<Self, LabError> {
        if families.have_v6() && !ipv6_available() {
            return Err(LabError::NoIpv6);
        }
        // The sandbox's own namespace stays as it is: a second topology must not find links of the first.
        let netns = Netns::create(1, |_| attachment::prepare(Kind::Router))?.swap_remove(0);
        let addresses = wire_addresses(families);
        netns.run(|| {
            let mut batch = Batch::new();
            for address in &addresses {
                batch.add_address(1, *address, if address.is_ipv4() { 32 } else { 128 });
            }
            Routes::open()?.commit(batch)
        })??;
        let zone = Arc::new(RwLock::new(Zone::default()));
        let owners = addresses.iter().map(|a| (*a, Place::Outside("the wire".to_owned()))).collect();
        Ok(Self {
            families,
            wire: Router { netns, addresses, next_index: FIRST_INDEX },
            nodes: BTreeMap::new(),
            pods: BTreeMap::new(),
            outside: BTreeMap::new(),
            owners,
            server: Server::start(Arc::clone(&zone))?,
            zone,
        })
    }

    /// The families it was made with.
    #[must_use]
    pub fn families(&self) -> Families {
        self.families
    }

    /// What its DNS pods answer from, to be changed in place.
    #[must_use]
    pub fn zone(&self) -> &Arc<RwLock<Zone>> {
        &self.zone
    }

    /// Makes nodes.
    ///
    /// # Errors
    /// [`LabError`]; then none of them exists.
    pub fn add_nodes(&mut self, specs: &[NodeSpec]) -> Result<(), LabError> {
        for spec in specs {
            let place = Place::Node(spec.name.clone());
            if self.nodes.contains_key(&spec.name) {
                return Err(exists(&place));
            }
        }
        let claims = specs.iter().map(|s| (Place::Node(s.name.clone()), s.addresses.clone()));
        self.claim(claims.collect())?;
        let made = self.make_nodes(specs);
        if made.is_err() {
            self.unclaim(specs.iter().flat_map(|s| &s.addresses));
        }
        made
    }

    fn make_nodes(&mut self, specs: &[NodeSpec]) -> Result<(), LabError> {
        let namespaces = Netns::create(specs.len(), |_| attachment::prepare(Kind::Router))?;
        let links: Vec<String> = specs.iter().map(|s| wire_link(&format!("node/{}", s.name))).collect();
        let indices: Vec<u32> = specs.iter().map(|_| self.wire.take_index()).collect();
        let attachments: Vec<Attachment<'_>> = specs
            .iter()
            .enumerate()
            .map(|(n, spec)| Attachment {
                link: &links[n],
                index: indices[n],
                mac: mac(&["node", &spec.name]),
                inside: &namespaces[n],
                addresses: &spec.addresses,
                behind: &spec.pod_ranges,
            })
            .collect();
        let listeners = self.attach_to_wire(&attachments, |n| {
            let spec = &specs[n];
            let ports = NODE_PORTS.iter().flat_map(|p| [(Protocol::Tcp, *p), (Protocol::Udp, *p)]);
            let name = Place::Node(spec.name.clone()).to_string();
            answer::open(&name, &spec.addresses, &Answers::On(ports.collect()), false)
        })?;
        for (((spec, netns), index), listeners) in specs.iter().zip(namespaces).zip(indices).zip(listeners) {
            let owner = self.server.add(&Place::Node(spec.name.clone()).to_string(), listeners)?;
            let rules = netns.run(|| Socket::open(tortie_netlink::Protocol::Netfilter))??;
            self.nodes.insert(
                spec.name.clone(),
                Node {
                    router: Router { netns, addresses: spec.addresses.clone(), next_index: FIRST_INDEX },
                    index,
                    ranges: spec.pod_ranges.clone(),
                    pool: PodAddresses::new(spec.pod_ranges.clone()),
                    owner,
                    rules,
                },
            );
        }
        Ok(())
    }

    /// Makes hosts outside the cluster. Each answers on every port.
    ///
    /// # Errors
    /// [`LabError`]; then none of them exists.
    pub fn add_outside(&mut self, specs: &[OutsideSpec]) -> Result<(), LabError> {
        for spec in specs {
            if self.outside.contains_key(&spec.name) {
                return Err(exists(&Place::Outside(spec.name.clone())));
            }
        }
        let claims = specs.iter().map(|s| (Place::Outside(s.name.clone()), s.addresses.clone()));
        self.claim(claims.collect())?;
        let made = self.make_outside(specs);
        if made.is_err() {
            self.unclaim(specs.iter().flat_map(|s| &s.addresses));
        }
        made
    }

    fn make_outside(&mut self, specs: &[OutsideSpec]) -> Result<(), LabError> {
        let namespaces = Netns::create(specs.len(), |_| attachment::prepare(Kind::Host))?;
        let links: Vec<String> = specs.iter().map(|s| wire_link(&s.name)).collect();
        let indices: Vec<u32> = specs.iter().map(|_| self.wire.take_index()).collect();
        let attachments: Vec<Attachment<'_>> = specs
            .iter()
            .enumerate()
            .map(|(n, spec)| Attachment {
                link: &links[n],
                index: indices[n],
                mac: mac(&["outside", &spec.name]),
                inside: &namespaces[n],
                addresses: &spec.addresses,
                behind: &[],
            })
            .collect();
        let listeners = self.attach_to_wire(&attachments, |n| {
            answer::open(&specs[n].name, &specs[n].addresses, &Answers::Everywhere, false)
        })?;
        drop(attachments);
        let made = specs.iter().zip(namespaces).zip(links).zip(indices).zip(listeners);
        for ((((spec, netns), link), index), listeners) in made {
            let owner = self.server.add(&spec.name, listeners)?;
            let host = Host {
                netns,
                addresses: spec.addresses.clone(),
                link,
                index,
                mac: mac(&["outside", &spec.name]),
                owner,
            };
            self.outside.insert(spec.name.clone(), host);
        }
        Ok(())
    }

    fn attach_to_wire(
        &self,
        attachments: &[Attachment<'_>],
        inside: impl Fn(usize) -> Result<Vec<Listener>, LabError> + Send,
    ) -> Result<Vec<Vec<Listener>>, LabError> {
        attach(&self.wire.netns, &self.wire.addresses, attachments, inside)
            .inspect_err(|_| detach(&self.wire.netns, attachments.iter().map(|a| a.index)))
    }

    /// Makes pods, many at a time for little more than one.
    ///
    /// # Errors
    /// [`LabError`]; those on other nodes than the one that failed may exist then.
    pub fn add_pods(&mut self, specs: &[PodSpec]) -> Result<(), LabError> {
        let mut by_node: BTreeMap<&str, Vec<&PodSpec>> = BTreeMap::new();
        for spec in specs {
            let missing = || missing(&Place::Node(spec.node.clone()));
            self.nodes.get(&spec.node).ok_or_else(missing)?;
            if self.pods.contains_key(&(spec.namespace.clone(), spec.name.clone())) {
                return Err(exists(&spec.place()));
            }
            by_node.entry(&spec.node).or_default().push(spec);
        }
        // All given addresses first: those that are taken from the nodes' ranges go around them.
        let given = |specs: &[&PodSpec]| -> Vec<(Place, Vec<IpAddr>)> {
            let own = specs.iter().filter(|s| !s.host_network);
            own.map(|s| (s.place(), s.addresses.clone())).collect()
        };
        self.claim(by_node.values().flat_map(|specs| given(specs)).collect())?;
        let mut result = Ok(());
        for (node, specs) in by_node {
            if result.is_ok() {
                result = self.add_to_node(node, &specs);
            } else {
                self.unclaim(given(&specs).iter().flat_map(|(_, addresses)| addresses));
            }
        }
        result
    }

    fn add_to_node(&mut self, node: &str, specs: &[&PodSpec]) -> Result<(), LabError> {
        let (hosted, own): (Vec<&PodSpec>, Vec<&PodSpec>) = specs.iter().copied().partition(|s| s.host_network);
        self.add_own(node, &own)?;
        for spec in hosted {
            self.add_hosted(node, spec)?;
        }
        Ok(())
    }

    /// A pod in its node's network.
    fn add_hosted(&mut self, node_name: &str, spec: &PodSpec) -> Result<(), LabError> {
        let node = &self.nodes[node_name];
        let name = spec.place().to_string();
        let (netns, addresses) = (node.router.netns.clone(), node.router.addresses.clone());
        let listeners = match &spec.answers {
            Answers::Everywhere => Vec::new(),
            on @ Answers::On(_) => netns.run(|| answer::open(&name, &addresses, on, spec.dns))??,
        };
        let owner = self.server.add(&name, listeners)?;
        let host = Host { netns, addresses, link: String::new(), index: 0, mac: [0; 6], owner };
        let pod = Pod { node: node_name.to_owned(), host, host_network: true };
        self.pods.insert((spec.namespace.clone(), spec.name.clone()), pod);
        Ok(())
    }

    /// Pods in namespaces of their own. The addresses given to them are theirs already.
    fn add_own(&mut self, node_name: &str, specs: &[&PodSpec]) -> Result<(), LabError> {
        let mut taken_here: Vec<IpAddr> = Vec::new();
        let mut addresses: Vec<Vec<IpAddr>> = Vec::new();
        let mut failure = None;
        for spec in specs {
            if !spec.addresses.is_empty() {
                addresses.push(spec.addresses.clone());
                continue;
            }
            let node = self.nodes.get_mut(node_name).expect("looked up by the caller");
            let Some(taken) = node.pool.take(|a| self.owners.contains_key(&a)) else {
                failure = Some(LabError::NoAddress { node: node_name.to_owned(), pod: spec.place().to_string() });
                break;
            };
            self.owners.extend(taken.iter().map(|a| (*a, spec.place())));
            taken_here.extend(&taken);
            addresses.push(taken);
        }
        let made = match failure {
            Some(e) => Err(e),
            None => self.make_pods(node_name, specs, addresses),
        };
        if made.is_err() {
            self.nodes.get_mut(node_name).expect("looked up by the caller").pool.release(&taken_here);
            self.unclaim(taken_here.iter().chain(specs.iter().flat_map(|s| &s.addresses)));
        }
        made
    }

    fn make_pods(&mut self, node_name: &str, specs: &[&PodSpec], addresses: Vec<Vec<IpAddr>>) -> Result<(), LabError> {
        let namespaces = Netns::create(specs.len(), |_| attachment::prepare(Kind::Host))?;
        let node = self.nodes.get_mut(node_name).expect("looked up by the caller");
        let mut hosts: Vec<Host> = Vec::new();
        for ((spec, netns), addresses) in specs.iter().zip(namespaces).zip(addresses) {
            hosts.push(Host {
                netns,
                addresses,
                link: pod_link(&spec.namespace, &spec.name),
                index: node.router.take_index(),
                mac: mac(&["pod", &spec.namespace, &spec.name]),
                owner: self.server.add(&spec.place().to_string(), Vec::new())?,
            });
        }
        let node = &self.nodes[node_name];
        let attachments: Vec<Attachment<'_>> = hosts.iter().map(Host::attachment).collect();
        let attached = attach(&node.router.netns, &node.router.addresses, &attachments, |n| {
            answer::open(&specs[n].place().to_string(), &hosts[n].addresses, &specs[n].answers, specs[n].dns)
        });
        let routed = attached.and_then(|listeners| {
            for (host, listeners) in hosts.iter().zip(listeners) {
                self.server.extend(host.owner, listeners)?;
            }
            let foreign = hosts.iter().flat_map(|h| &h.addresses).copied();
            self.route_on_wire(node, foreign, true)
        });
        if let Err(e) = routed {
            detach(&node.router.netns, hosts.iter().map(|h| h.index));
            for host in &hosts {
                self.server.remove(host.owner);
            }
            return Err(e);
        }
        for (spec, host) in specs.iter().zip(hosts) {
            let pod = Pod { node: node_name.to_owned(), host, host_network: false };
            self.pods.insert((spec.namespace.clone(), spec.name.clone()), pod);
        }
        Ok(())
    }

    /// Tells the wire, or makes it forget, which node has those addresses that are in no range of it.
    fn route_on_wire(&self, node: &Node, addresses: impl Iterator<Item = IpAddr>, add: bool) -> Result<(), LabError> {
        let mut batch = Batch::new();
        for address in addresses.filter(|a| !node.ranges.iter().any(|r| r.contains(a))) {
            let same_family = |a: &&IpAddr| a.is_ipv4() == address.is_ipv4();
            let Some(gateway) = node.router.addresses.iter().find(same_family) else { continue };
            let route: Route = range_route(IpNet::from(address), *gateway, node.index);
            if add {
                batch.replace_route(&route);
            } else {
                batch.delete_route(&route);
            }
        }
        if !batch.is_empty() {
            self.wire.netns.run(|| Routes::open()?.commit(batch))??;
        }
        Ok(())
    }

    /// Ends a pod. Its addresses are free at once.
    ///
    /// # Errors
    /// [`LabError::Missing`], or what the kernel refused; the pod is gone all the same.
    pub fn remove_pod(&mut self, namespace: &str, name: &str) -> Result<(), LabError> {
        let key = (namespace.to_owned(), name.to_owned());
        let pod = self.pods.remove(&key).ok_or_else(|| missing(&Place::pod(namespace, name)))?;
        self.server.remove(pod.host.owner);
        if pod.host_network {
            return Ok(());
        }
        self.unclaim(&pod.host.addresses);
        let node = self.nodes.get_mut(&pod.node).expect("a pod's node exists as long as the topology");
        node.pool.release(&pod.host.addresses);
        let node = &self.nodes[&pod.node];
        let mut batch = Batch::new();
        batch.delete_link(pod.host.index);
        let unlinked = node.router.netns.run(|| Routes::open()?.commit(batch))?;
        self.route_on_wire(node, pod.host.addresses.iter().copied(), false)?;
        Ok(unlinked?)
    }

    /// Ends a node that has no pods.
    ///
    /// # Errors
    /// [`LabError::Missing`], or what the kernel refused; the node is gone all the same.
    pub fn remove_node(&mut self, name: &str) -> Result<(), LabError> {
        let node = self.nodes.remove(name).ok_or_else(|| missing(&Place::Node(name.to_owned())))?;
        debug_assert!(self.pods.values().all(|p| p.node != name), "its pods go first");
        self.server.remove(node.owner);
        self.unclaim(&node.router.addresses);
        let mut batch = Batch::new();
        batch.delete_link(node.index);
        Ok(self.wire.netns.run(|| Routes::open()?.commit(batch))??)
    }

    /// Ends an outside host.
    ///
    /// # Errors
    /// [`LabError::Missing`], or what the kernel refused; the host is gone all the same.
    pub fn remove_outside(&mut self, name: &str) -> Result<(), LabError> {
        let host = self.outside.remove(name).ok_or_else(|| missing(&Place::Outside(name.to_owned())))?;
        self.server.remove(host.owner);
        self.unclaim(&host.addresses);
        let mut batch = Batch::new();
        batch.delete_link(host.index);
        Ok(self.wire.netns.run(|| Routes::open()?.commit(batch))??)
    }

    /// Takes the link of a pod down, or up again: a fault for tests.
    ///
    /// # Errors
    /// [`LabError::Missing`] for a pod without a link of its own, or what the kernel refused.
    pub fn set_pod_link(&self, namespace: &str, name: &str, up: bool) -> Result<(), LabError> {
        let key = (namespace.to_owned(), name.to_owned());
        let pod = self.pods.get(&key).filter(|p| !p.host_network);
        let pod = pod.ok_or_else(|| missing(&Place::pod(namespace, name)))?;
        let router = &self.nodes[&pod.node].router;
        attachment::set_link(&router.netns, &router.addresses, &pod.host.attachment(), up)
    }

    /// Answers on one more port with the name of `place`. Nothing happens where something answers already.
    ///
    /// # Errors
    /// [`LabError::Missing`], or what the kernel refused.
    pub fn listen(&self, place: &Place, protocol: Protocol, port: u16) -> Result<(), LabError> {
        let endpoint = self.endpoint(place).ok_or_else(|| missing(place))?;
        let owner = match place {
            Place::Pod { namespace, name } => self.pods[&(namespace.clone(), name.clone())].host.owner,
            Place::Node(name) => self.nodes[name].owner,
            Place::Outside(name) => self.outside[name].owner,
        };
        let opened = endpoint
            .netns
            .run(|| answer::listener(&place.to_string(), endpoint.addresses, protocol, port, Speaks::Name))?;
        match opened {
            Ok(listeners) => self.server.extend(owner, listeners),
            Err(LabError::Socket { source, .. }) if source.kind() == std::io::ErrorKind::AddrInUse => Ok(()),
            Err(e) => Err(e),
        }
    }

    /// Puts a table in the place of the one of its name on every node.
    pub(crate) fn replace_table_on_nodes(&mut self, table: &Table) -> Result<(), LabError> {
        self.nodes.values_mut().try_for_each(|node| table::replace(&mut node.rules, table))
    }

    /// Where packets of `place` come from and go to; `None` when there is no such place.
    #[must_use]
    pub fn endpoint(&self, place: &Place) -> Option<Endpoint<'_>> {
        let (netns, addresses, node, link) = match place {
            Place::Pod { namespace, name } => {
                let pod = self.pods.get(&(namespace.clone(), name.clone()))?;
                let link = (!pod.host_network).then_some((pod.host.link.as_str(), pod.host.index));
                (&pod.host.netns, &pod.host.addresses, Some(pod.node.as_str()), link)
            }
            Place::Node(name) => {
                let router = &self.nodes.get(name)?.router;
                (&router.netns, &router.addresses, None, None)
            }
            Place::Outside(name) => {
                let host = self.outside.get(name)?;
                (&host.netns, &host.addresses, None, None)
            }
        };
        Some(Endpoint { netns, addresses, node, link })
    }

    /// All places: nodes, pods, outside hosts, each kind in the order of names.
    pub fn places(&self) -> impl Iterator<Item = Place> + '_ {
        let nodes = self.nodes.keys().map(|n| Place::Node(n.clone()));
        let pods = self.pods.keys().map(|(namespace, name)| Place::pod(namespace, name));
        nodes.chain(pods).chain(self.outside.keys().map(|n| Place::Outside(n.clone())))
    }

    /// Who has an address. Pods in their node's network share the node's.
    #[must_use]
    pub fn owner(&self, address: IpAddr) -> Option<&Place> {
        self.owners.get(&address)
    }

    /// Makes addresses belong to places, all or none.
    fn claim(&mut self, claims: Vec<(Place, Vec<IpAddr>)>) -> Result<(), LabError> {
        let mut claimed: Vec<IpAddr> = Vec::new();
        for (place, addresses) in claims {
            for address in addresses {
                let refused = if !self.families.have(address) {
                    Some(LabError::Family { name: place.to_string(), address })
                } else {
                    self.owners.get(&address).map(|owner| LabError::AddressTaken {
                        name: place.to_string(),
                        address,
                        owner: owner.to_string(),
                    })
                };
                if let Some(e) = refused {
                    self.unclaim(&claimed);
                    return Err(e);
                }
                self.owners.insert(address, place.clone());
                claimed.push(address);
            }
        }
        Ok(())
    }

    fn unclaim<'a>(&mut self, addresses: impl IntoIterator<Item = &'a IpAddr>) {
        for address in addresses {
            self.owners.remove(address);
        }
    }
}

/// Undoes a failed attachment: links that were not made are not missed.
fn detach(router: &Netns, indices: impl Iterator<Item = u32>) {
    let mut batch = Batch::new();
    for index in indices {
        batch.delete_link(index);
    }
    let _ = router.run(|| Routes::open().and_then(|mut r| r.commit(batch)));
}

fn missing(place: &Place) -> LabError {
    LabError::Missing { kind: place.kind(), name: place.to_string() }
}

fn exists(place: &Place) -> LabError {
    LabError::Exists { kind: place.kind(), name: place.to_string() }
}
