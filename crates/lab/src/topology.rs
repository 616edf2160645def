//! The wire, nodes, pods and outside hosts.
//!
//! Everything is routed, nothing bridged: the wire is a router to which nodes and outside hosts are attached, a node is
//! a router to which pods are attached. So a node needs one route (to the wire), a pod one (to its node), and adding a
//! pod costs the same however many nodes there are. No address is translated between them: policy sees real ones.
//!
//! A node has no blackhole route for the unused addresses of its pod ranges. Packets to them pass the forward hook,
//! where policy drops them and counts; without policy they end with their hop limit.

mod owners;
mod pods;
mod wire;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, RwLock};

use ipnet::IpNet;
use tortie_model::Protocol;
use tortie_netlink::Socket;
use tortie_netlink::route::{Batch, Routes};
use tortie_ruleset::Table;

use self::owners::Owners;
use crate::address::{Families, PodAddresses, wire_addresses};
use crate::attachment::{self, Attachment, FIRST_INDEX, Kind};
use crate::dns::Zone;
use crate::error::LabError;
use crate::netns::Netns;
use crate::pod::Place;
use crate::sandbox::{Sandbox, ipv6_available};
use crate::server::{OwnerId, Server, Speaks};
use crate::{answer, table};

/// A running network. Dropping it ends it.
#[derive(Debug)]
pub struct Topology {
    families: Families,
    wire: Router,
    nodes: BTreeMap<String, Node>,
    pods: BTreeMap<(String, String), Pod>,
    outside: BTreeMap<String, Host>,
    owners: Owners,
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
        let mut owners = Owners::new(families);
        owners.claim(vec![(Place::Outside("the wire".to_owned()), addresses.clone())])?;
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
        self.owners.of(address)
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
