//! What hangs on the wire: nodes, and hosts outside the cluster.

use std::net::IpAddr;

use ipnet::IpNet;
use tortie_model::Protocol;
use tortie_netlink::Socket;
use tortie_netlink::route::{Batch, Route, Routes};

use super::{Host, Node, Router, Topology, detach, exists, missing};
use crate::address::{PodAddresses, mac, wire_link};
use crate::answer::{self, Answers};
use crate::attachment::{self, Attachment, FIRST_INDEX, Kind, attach, range_route};
use crate::error::LabError;
use crate::netns::Netns;
use crate::pod::{NodeSpec, OutsideSpec, Place};
use crate::server::Listener;

/// Ports that every node answers on besides those of its pods: ssh, http, https, a metrics exporter, the API server
/// and the kubelet. Others with [`Topology::listen`].
const NODE_PORTS: [u16; 6] = [22, 80, 443, 6443, 9100, 10250];

impl Topology {
    /// Makes nodes.
    ///
    /// # Errors
    /// [`LabError`]; then none of them exists.
    pub fn add_nodes(&mut self, specs: &[NodeSpec]) -> Result<(), LabError> {
        if let Some(known) = specs.iter().find(|spec| self.nodes.contains_key(&spec.name)) {
            return Err(exists(&Place::Node(known.name.clone())));
        }
        let claims = specs.iter().map(|s| (Place::Node(s.name.clone()), s.addresses.clone()));
        self.claiming(claims.collect(), |lab| lab.make_nodes(specs))
    }

    /// Makes something with addresses that nobody else may have; they are free again when that fails.
    fn claiming(
        &mut self,
        claims: Vec<(Place, Vec<IpAddr>)>,
        make: impl FnOnce(&mut Self) -> Result<(), LabError>,
    ) -> Result<(), LabError> {
        let addresses: Vec<IpAddr> = claims.iter().flat_map(|(_, addresses)| addresses).copied().collect();
        self.owners.claim(claims)?;
        make(self).inspect_err(|_| self.owners.release(&addresses))
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
        if let Some(known) = specs.iter().find(|spec| self.outside.contains_key(&spec.name)) {
            return Err(exists(&Place::Outside(known.name.clone())));
        }
        let claims = specs.iter().map(|s| (Place::Outside(s.name.clone()), s.addresses.clone()));
        self.claiming(claims.collect(), |lab| lab.make_outside(specs))
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

    /// Ends a node that has no pods.
    ///
    /// # Errors
    /// [`LabError::Missing`], or what the kernel refused; the node is gone all the same.
    pub fn remove_node(&mut self, name: &str) -> Result<(), LabError> {
        let node = self.nodes.remove(name).ok_or_else(|| missing(&Place::Node(name.to_owned())))?;
        debug_assert!(self.pods.values().all(|p| p.node != name), "its pods go first");
        self.server.remove(node.owner);
        self.owners.release(&node.router.addresses);
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
        self.owners.release(&host.addresses);
        let mut batch = Batch::new();
        batch.delete_link(host.index);
        Ok(self.wire.netns.run(|| Routes::open()?.commit(batch))??)
    }

    /// Tells the wire, or makes it forget, which node has those addresses that are in no range of it.
    pub(super) fn route_on_wire(
        &self,
        node: &Node,
        addresses: impl Iterator<Item = IpAddr>,
        add: bool,
    ) -> Result<(), LabError> {
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
}
