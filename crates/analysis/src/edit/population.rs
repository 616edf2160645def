//! The pods of a cluster in classes: pods of one class are the same to every policy.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use tortie_model::{ContainerPort, Labels, ObjectRef, Pod};
use tortie_policy::{Index, Peers, PodKey};

/// Pods that no policy can tell apart.
#[derive(Debug)]
pub(crate) struct Class {
    /// One of them.
    pub(crate) key: PodKey,
    /// How many there are.
    pub(crate) size: u64,
}

/// All classes. Pods in their node's network are none: no policy selects them.
#[derive(Debug)]
pub(crate) struct Population {
    pub(crate) classes: Vec<Class>,
    of: HashMap<PodKey, usize>,
}

type Likeness<'p> = (&'p Arc<str>, &'p Labels, &'p [ContainerPort], Option<&'p ObjectRef>, &'p [IpAddr]);

impl Population {
    pub(crate) fn new(index: &Index) -> Self {
        let by_address = blocks_hold_pods(index);
        let mut classes: Vec<Class> = Vec::new();
        let mut known: HashMap<Likeness<'_>, usize> = HashMap::new();
        let mut of = HashMap::new();
        for pod in index.pods().filter(|p| !p.host_network) {
            let pod: &Pod = pod;
            // Of addresses it matters which families there are, and more only where blocks hold pods.
            let families =
                usize::from(pod.ips.iter().any(IpAddr::is_ipv4)) + 2 * usize::from(pod.ips.iter().any(IpAddr::is_ipv6));
            let ips: &[IpAddr] = if by_address { &pod.ips } else { FAMILIES[families] };
            let likeness = (&pod.meta.namespace, &pod.meta.labels, &pod.ports[..], pod.owner.as_ref(), ips);
            let class = *known.entry(likeness).or_insert_with(|| {
                classes.push(Class { key: PodKey::of(pod), size: 0 });
                classes.len() - 1
            });
            classes[class].size += 1;
            of.insert(PodKey::of(pod), class);
        }
        Self { classes, of }
    }

    pub(crate) fn class_of(&self, key: &PodKey) -> Option<usize> {
        self.of.get(key).copied()
    }
}

const V4: IpAddr = IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED);
const V6: IpAddr = IpAddr::V6(std::net::Ipv6Addr::UNSPECIFIED);

/// Stand-ins for addresses of which only the families matter.
const FAMILIES: [&[IpAddr]; 4] = [&[], &[V4], &[V6], &[V4, V6]];

/// Whether a block of some policy holds the address of a pod.
fn blocks_hold_pods(index: &Index) -> bool {
    let rules = index.policies().flat_map(|p| p.ingress.iter().chain(&p.egress).flatten());
    let peers = rules.filter_map(|r| match &r.peers {
        Peers::Any => None,
        Peers::OneOf(peers) => Some(peers),
    });
    let mut blocks = peers.flatten().filter_map(|p| p.blocks.as_ref()).flatten();
    blocks.any(|block| index.owned_within(block.cidr()).next().is_some())
}
