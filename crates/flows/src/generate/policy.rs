//! Needs as NetworkPolicies: one for each party, and a rule for all peers that need the same ports.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ipnet::IpNet;
use tortie_model::{
    Direction, IpBlock, LabelSelector, Meta, NetworkPolicy, PeerRule, PolicyPeer, PolicyPort, PortSpec,
};

use super::Options;
use super::needs::{Needs, Peer, Port};
use super::party::{Parties, Party};

/// The label that every namespace has, with its name.
const METADATA_NAME: &str = "kubernetes.io/metadata.name";

/// The policies of some parties.
pub(crate) fn policies(parties: &Parties, governed: &[usize], needs: &Needs, options: Options) -> Vec<NetworkPolicy> {
    let mut taken: BTreeSet<(Arc<str>, String)> = BTreeSet::new();
    let mut out = Vec::with_capacity(governed.len());
    for i in governed {
        let party = &parties.all[*i];
        let name = names(party).find(|name| taken.insert((party.namespace.clone(), name.clone())));
        let name = name.expect("numbers do not end");
        let made = |direction| options.directions().any(|made| made == direction);
        let rules = |direction| made(direction).then(|| rules(parties, party, needs.of(*i, direction)));
        out.push(NetworkPolicy {
            meta: Meta { namespace: party.namespace.clone(), name: name.as_str().into(), ..Meta::default() },
            pod_selector: party.selector.clone(),
            ingress: rules(Direction::Ingress),
            egress: rules(Direction::Egress),
        });
    }
    out.sort_by(|a, b| (&a.meta.namespace, &a.meta.name).cmp(&(&b.meta.namespace, &b.meta.name)));
    out
}

/// Names for the policy of a party: its own, or, where others have them, the first with a number.
fn names(party: &Party) -> impl Iterator<Item = String> {
    let numbered = party.names.first().cloned().unwrap_or_default();
    party.names.iter().cloned().chain((2..).map(move |n: u32| format!("{numbered}-{n}")))
}

fn rules<'n>(parties: &Parties, own: &Party, needs: impl Iterator<Item = (Peer, &'n BTreeSet<Port>)>) -> Vec<PeerRule> {
    let mut by_ports: BTreeMap<&BTreeSet<Port>, Vec<Peer>> = BTreeMap::new();
    for (peer, ports) in needs {
        by_ports.entry(ports).or_default().push(peer);
    }
    let mut out: Vec<PeerRule> = by_ports
        .into_iter()
        .map(|(ports, peers)| PeerRule { peers: peers_of(parties, own, &peers), ports: ports_of(ports) })
        .collect();
    // Pods before addresses, and the fewest ports first.
    out.sort_by_key(|rule| (matches!(rule.peers.first(), Some(PolicyPeer::IpBlock(_))), rule.ports.clone()));
    out
}

fn peers_of(parties: &Parties, own: &Party, peers: &[Peer]) -> Vec<PolicyPeer> {
    let mut out = Vec::new();
    let mut addresses = Vec::new();
    for peer in peers {
        match peer {
            Peer::Party(i) => {
                let party = &parties.all[*i];
                out.push(if party.namespace == own.namespace {
                    PolicyPeer::PodsHere(party.selector.clone())
                } else {
                    PolicyPeer::Pods {
                        namespaces: namespace(&party.namespace),
                        pods: Some(party.selector.clone()).filter(|pods| !pods.is_everything()),
                    }
                });
            }
            Peer::Address(ip) => addresses.push(IpNet::from(*ip)),
        }
    }
    out.sort();
    out.dedup();
    // Neighbours that fill a block are that block; nothing else is in it.
    out.extend(IpNet::aggregate(&addresses).into_iter().map(|block| PolicyPeer::IpBlock(IpBlock::new(block, []))));
    out
}

/// What selects a namespace.
pub(super) fn namespace(name: &str) -> LabelSelector {
    LabelSelector::match_labels([(METADATA_NAME, name)])
}

/// Ports, runs of three and more as one.
fn ports_of(ports: &BTreeSet<Port>) -> Vec<PolicyPort> {
    let mut out: Vec<PolicyPort> = Vec::new();
    for (protocol, port) in ports {
        match out.last_mut() {
            Some(PolicyPort { protocol: last, port: PortSpec::Range(_, end) })
                if last == protocol && end.checked_add(1) == Some(*port) =>
            {
                *end = *port;
            }
            _ => out.push(PolicyPort { protocol: *protocol, port: PortSpec::Range(*port, *port) }),
        }
    }
    let split = |port: PolicyPort| match port.port {
        PortSpec::Range(a, b) if b == a.saturating_add(1) && a != b => {
            [a, b].map(|n| PolicyPort { protocol: port.protocol, port: PortSpec::Range(n, n) }).to_vec()
        }
        _ => vec![port],
    };
    out.into_iter().flat_map(split).collect()
}
