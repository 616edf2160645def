//! Pods, on the network of their node or on one of their own behind it.

use std::collections::BTreeMap;
use std::net::IpAddr;

use tortie_netlink::route::{Batch, Routes};

use super::{Host, Pod, Topology, detach, exists, missing};
use crate::address::{mac, pod_link};
use crate::answer::{self, Answers};
use crate::attachment::{self, Attachment, Kind, attach};
use crate::error::LabError;
use crate::netns::Netns;
use crate::pod::{Place, PodSpec};

impl Topology {
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
        self.owners.claim(by_node.values().flat_map(|specs| given(specs)).collect())?;
        let mut result = Ok(());
        for (node, specs) in by_node {
            if result.is_ok() {
                result = self.add_to_node(node, &specs);
            } else {
                self.owners.release(given(&specs).iter().flat_map(|(_, addresses)| addresses));
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
            let Some(taken) = node.pool.take(|a| self.owners.of(a).is_some()) else {
                failure = Some(LabError::NoAddress { node: node_name.to_owned(), pod: spec.place().to_string() });
                break;
            };
            self.owners.give(&spec.place(), &taken);
            taken_here.extend(&taken);
            addresses.push(taken);
        }
        let made = match failure {
            Some(e) => Err(e),
            None => self.make_pods(node_name, specs, addresses),
        };
        if made.is_err() {
            self.nodes.get_mut(node_name).expect("looked up by the caller").pool.release(&taken_here);
            self.owners.release(taken_here.iter().chain(specs.iter().flat_map(|s| &s.addresses)));
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
        self.owners.release(&pod.host.addresses);
        let node = self.nodes.get_mut(&pod.node).expect("a pod's node exists as long as the topology");
        node.pool.release(&pod.host.addresses);
        let node = &self.nodes[&pod.node];
        let mut batch = Batch::new();
        batch.delete_link(pod.host.index);
        let unlinked = node.router.netns.run(|| Routes::open()?.commit(batch))?;
        self.route_on_wire(node, pod.host.addresses.iter().copied(), false)?;
        Ok(unlinked?)
    }
}
