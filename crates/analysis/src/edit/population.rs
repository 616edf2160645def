//! The pods of a cluster in classes: pods of one class are the same to every policy.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use tortie_model::{ContainerPort, Family, Labels, ObjectRef, Pod};
use tortie_policy::{Index, Peers, PodKey, Side};

/// Pods that no policy can tell apart.
#[derive(Debug)]
pub(crate) struct Class {
    /// One of them.
    pub(crate) key: PodKey,
    /// The same.
    pub(crate) pod: Arc<Pod>,
    /// What policies know of it, in each family.
    pub(crate) sides: [Option<Side>; 2],
    /// Some of them, to be named.
    pub(crate) some: Vec<PodKey>,
    /// How many there are.
    pub(crate) size: u64,
}

/// All classes. Pods in their node's network are none: no policy selects them.
#[derive(Debug)]
pub struct Population {
    pub(crate) classes: Vec<Class>,
    of: HashMap<PodKey, usize>,
    within: HashMap<Arc<str>, Vec<usize>>,
}

/// Pods of a class that are named at most: with three of each end, one pair at least is another than the one asked about.
const NAMED: usize = 3;

type Likeness<'p> = (&'p Arc<str>, &'p Labels, &'p [ContainerPort], Option<&'p ObjectRef>, &'p [IpAddr]);

impl Population {
    /// The pods of a cluster, sorted into classes.
    #[must_use]
    pub fn new(index: &Index) -> Self {
        let by_address = blocks_hold_pods(index);
        let mut classes: Vec<Class> = Vec::new();
        let mut known: HashMap<Likeness<'_>, usize> = HashMap::new();
        let mut of = HashMap::new();
        for shared in index.pods().filter(|p| !p.host_network) {
            let pod: &Pod = shared;
            // Of addresses it matters which families there are, and more only where blocks hold pods.
            let families =
                usize::from(pod.ips.iter().any(IpAddr::is_ipv4)) + 2 * usize::from(pod.ips.iter().any(IpAddr::is_ipv6));
            let ips: &[IpAddr] = if by_address { &pod.ips } else { FAMILIES[families] };
            let likeness = (&pod.meta.namespace, &pod.meta.labels, &pod.ports[..], pod.owner.as_ref(), ips);
            let class = *known.entry(likeness).or_insert_with(|| {
                let sides = Family::ALL.map(|family| index.pod_side(shared, Some(family)));
                classes.push(Class { key: PodKey::of(pod), pod: shared.clone(), sides, some: Vec::new(), size: 0 });
                classes.len() - 1
            });
            classes[class].size += 1;
            if classes[class].some.len() < NAMED {
                classes[class].some.push(PodKey::of(pod));
            }
            of.insert(PodKey::of(pod), class);
        }
        let mut within: HashMap<Arc<str>, Vec<usize>> = HashMap::new();
        for (class, one) in classes.iter().enumerate() {
            within.entry(one.pod.meta.namespace.clone()).or_default().push(class);
        }
        Self { classes, of, within }
    }

    /// The classes of a namespace.
    pub(crate) fn within(&self, namespace: &str) -> &[usize] {
        self.within.get(namespace).map(Vec::as_slice).unwrap_or_default()
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
