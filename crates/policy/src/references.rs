//! What policies say of other objects, settled: the addresses of network sets, host endpoints, Services and nodes.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use tortie_model::calico::{HostEndpoint, NetworkSet};
use tortie_model::{EndpointSlice, IpBlock, LabelSelector, Namespace, Nets, Node, ObjectRef, canonical};
use tortie_persistent::Map;

use crate::rule::{BlockSource, Detail, EndpointSelector, Peer, Peers, Policy, PortMatch, Ports, Rule};

/// The objects that policies may refer to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct World<'a> {
    pub(crate) nodes: &'a Map<Arc<str>, Arc<Node>>,
    pub(crate) sets: &'a Sets,
    pub(crate) slices: &'a Map<ObjectRef, Arc<EndpointSlice>>,
}

/// What of the world changed.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Changed<'a> {
    /// A network set, as it was or is.
    Set(&'a NetworkSet, Option<&'a Namespace>),
    /// The endpoints of a Service.
    Service { namespace: &'a str, name: &'a str },
    /// A node, as it was or is.
    Node(&'a Node),
}

impl Policy {
    fn rules_of_both(&self) -> impl Iterator<Item = &Rule> {
        self.ingress.iter().chain(&self.egress).flatten()
    }

    fn peers(&self) -> impl Iterator<Item = &Peer> {
        self.rules_of_both().flat_map(|rule| rule.peers.listed().iter().chain(&rule.own))
    }

    /// Whether it refers to other objects than pods and namespaces.
    pub(crate) fn refers(&self) -> bool {
        self.peers().any(|peer| peer.source.is_some() || selectors(peer).any(|s| s.expression.is_some()))
    }

    /// Whether a change may concern what it refers to.
    pub(crate) fn concerns(&self, changed: Changed<'_>) -> bool {
        self.peers().any(|peer| match (changed, &peer.source) {
            (Changed::Set(set, namespace), _) => selectors(peer).any(|s| s.selects_set(&set.meta.labels, namespace)),
            (Changed::Service { namespace, name }, Some(BlockSource::Service { namespace: ns, name: n, .. })) => {
                **ns == *namespace && **n == *name
            }
            (Changed::Node(node), Some(BlockSource::Nodes(selector))) => selector.matches(&node.meta.labels),
            _ => false,
        })
    }
}

/// What selectors see of a host endpoint: the addresses that are expected of it, in no namespace.
pub(crate) fn addresses_of(host: &HostEndpoint) -> NetworkSet {
    NetworkSet { meta: host.meta.clone(), nets: host.addresses.iter().map(|ip| IpNet::from(canonical(*ip))).collect() }
}

/// The network sets and host endpoints of a cluster, and what the selectors of its policies mean of them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sets {
    all: Map<ObjectRef, Arc<NetworkSet>>,
    /// By selector, with the number of times that policies have it.
    selected: Map<EndpointSelector, (usize, Nets)>,
}

impl Sets {
    pub(crate) const fn all(&self) -> &Map<ObjectRef, Arc<NetworkSet>> {
        &self.all
    }

    pub(crate) fn insert(&mut self, object: ObjectRef, set: Arc<NetworkSet>) -> Option<Arc<NetworkSet>> {
        self.all.insert(object, set)
    }

    pub(crate) fn remove(&mut self, object: &ObjectRef) -> Option<Arc<NetworkSet>> {
        self.all.remove(object)
    }

    /// The addresses that a selector of a policy means, besides those of pods.
    fn of(&self, selector: &EndpointSelector) -> Nets {
        self.selected.get(selector).map(|(_, nets)| nets.clone()).unwrap_or_default()
    }

    /// A policy is there: what its selectors mean is looked up once, however many rules have them.
    pub(crate) fn hold(&mut self, policy: &Policy, namespaces: &Map<Arc<str>, Arc<Namespace>>) {
        for selector in policy.peers().flat_map(selectors).filter(|s| s.expression.is_some()) {
            if let Some((users, _)) = self.selected.get_mut(selector) {
                *users += 1;
            } else {
                let nets = self.addresses(selector, namespaces);
                self.selected.insert(selector.clone(), (1, nets));
            }
        }
    }

    /// A policy is gone.
    pub(crate) fn release(&mut self, policy: &Policy) {
        for selector in policy.peers().flat_map(selectors).filter(|s| s.expression.is_some()) {
            let Some((users, _)) = self.selected.get_mut(selector) else { continue };
            *users -= 1;
            if *users == 0 {
                self.selected.remove(selector);
            }
        }
    }

    /// A set is another one now, or gone: what selectors mean that select it, as it was or is, is looked up again.
    pub(crate) fn changed(
        &mut self,
        set: &NetworkSet,
        namespace: Option<&Namespace>,
        namespaces: &Map<Arc<str>, Arc<Namespace>>,
    ) {
        let selects = |s: &&EndpointSelector| s.selects_set(&set.meta.labels, namespace);
        let concerned: Vec<EndpointSelector> = self.selected.keys().filter(selects).cloned().collect();
        for selector in concerned {
            let nets = self.addresses(&selector, namespaces);
            if let Some((_, known)) = self.selected.get_mut(&selector) {
                *known = nets;
            }
        }
    }

    fn addresses(&self, selector: &EndpointSelector, namespaces: &Map<Arc<str>, Arc<Namespace>>) -> Nets {
        let selected = self.all.values().filter(|set| {
            let namespace = namespaces.get(&set.meta.namespace);
            selector.selects_set(&set.meta.labels, namespace.map(|ns| &**ns))
        });
        selected.flat_map(|set| set.nets.iter().copied()).collect()
    }
}

fn selectors(peer: &Peer) -> impl Iterator<Item = &EndpointSelector> {
    peer.endpoints.iter().chain(&peer.not_endpoints)
}

impl World<'_> {
    /// A policy with the addresses of what it refers to.
    pub(crate) fn settle(&self, policy: &Policy) -> Policy {
        let rules = |rules: &Option<Vec<Rule>>| {
            rules.as_ref().map(|rules| rules.iter().flat_map(|rule| self.rule(rule)).collect())
        };
        let (ingress, egress) = (rules(&policy.ingress), rules(&policy.egress));
        Policy { ingress, egress, ..policy.clone() }
    }

    fn rule(&self, rule: &Rule) -> Vec<Rule> {
        let own = rule.own.as_ref().map(|own| self.peer(own));
        // A Service with its ports is as many rules as it has endpoints that differ in theirs.
        if let Peers::OneOf(peers) = &rule.peers
            && let [peer] = &peers[..]
            && let Some(BlockSource::Service { namespace, name, with_ports: true }) = &peer.source
        {
            let several = self.by_ports(namespace, name).into_iter().map(|(ports, addresses)| Rule {
                own: own.clone(),
                peers: Peers::OneOf(vec![Peer { blocks: Some(blocks(addresses)), ..self.peer(peer) }]),
                ports: narrowed(&rule.ports, ports),
                ..rule.clone()
            });
            return several.collect();
        }
        let peers = match &rule.peers {
            Peers::Any => Peers::Any,
            Peers::OneOf(peers) => Peers::OneOf(peers.iter().map(|p| self.peer(p)).collect()),
        };
        vec![Rule { own, peers, ..rule.clone() }]
    }

    fn peer(&self, peer: &Peer) -> Peer {
        let mut peer = peer.clone();
        if let Some(selector) = &peer.endpoints {
            peer.sets = self.sets.of(selector);
        }
        if let Some(selector) = &peer.not_endpoints {
            let excluded = self.sets.of(selector);
            if !excluded.is_empty() {
                peer.not_blocks = peer.not_blocks.blocks().iter().chain(excluded.blocks()).copied().collect();
            }
        }
        match &peer.source {
            None => {}
            Some(BlockSource::Nodes(selector)) => peer.blocks = Some(blocks(self.addresses_of_nodes(selector))),
            Some(BlockSource::Service { namespace, name, .. }) => {
                let slices = self.slices_of(namespace, name);
                let endpoints = slices.flat_map(|slice| &slice.endpoints);
                peer.blocks = Some(blocks(endpoints.flat_map(|e| e.addresses.iter().copied())));
            }
        }
        peer
    }

    fn addresses_of_nodes(&self, selector: &LabelSelector) -> impl Iterator<Item = IpAddr> {
        let selected = self.nodes.values().filter(|node| selector.matches(&node.meta.labels));
        selected.flat_map(|node| node.addresses.iter().copied())
    }

    fn slices_of(&self, namespace: &str, name: &str) -> impl Iterator<Item = &EndpointSlice> {
        let of = move |slice: &&Arc<EndpointSlice>| {
            *slice.meta.namespace == *namespace && slice.service.as_deref() == Some(name)
        };
        self.slices.values().filter(of).map(|slice| &**slice)
    }

    /// The endpoints of a Service by their ports, whether they are ready or not. A port without a number is none.
    fn by_ports(&self, namespace: &str, name: &str) -> BTreeMap<Vec<PortMatch>, Vec<IpAddr>> {
        let mut ports: BTreeMap<IpAddr, Vec<PortMatch>> = BTreeMap::new();
        for slice in self.slices_of(namespace, name) {
            let numbered = slice.ports.iter().filter_map(|p| Some((p.protocol, p.port?)));
            let listed: Vec<PortMatch> = numbered
                .map(|(protocol, n)| PortMatch { protocol: protocol.into(), detail: Detail::Range(n, n) })
                .collect();
            for address in slice.endpoints.iter().flat_map(|e| &e.addresses) {
                ports.entry(canonical(*address)).or_default().extend(listed.iter().cloned());
            }
        }
        let mut out: BTreeMap<Vec<PortMatch>, Vec<IpAddr>> = BTreeMap::new();
        for (address, mut ports) in ports {
            ports.sort_unstable();
            ports.dedup();
            out.entry(ports).or_default().push(address);
        }
        out
    }
}

fn blocks(addresses: impl IntoIterator<Item = IpAddr>) -> Vec<IpBlock> {
    let mut nets: Vec<IpNet> = addresses.into_iter().map(|ip| IpNet::from(canonical(ip))).collect();
    nets.sort_unstable();
    nets.dedup();
    nets.into_iter().map(|net| IpBlock::new(net, [])).collect()
}

/// Ports of a Service that the protocol of a rule leaves.
fn narrowed(written: &Ports, ports: Vec<PortMatch>) -> Ports {
    Ports::OneOf(match written {
        Ports::Any => ports,
        Ports::OneOf(list) => ports
            .into_iter()
            .filter(|p| list.iter().any(|w| w.protocol == p.protocol && w.detail == Detail::All))
            .collect(),
    })
}
