//! The pods of a cluster in classes: pods of one class are the same to every policy.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use tortie_model::{ContainerPort, Family, Labels, ObjectRef, Pod};
use tortie_policy::{Index, Peers, PodKey, Side};

/// Pods that no policy can tell apart.
#[derive(Clone, Debug)]
pub(crate) struct Class {
    /// One of them.
    pub(crate) key: PodKey,
    /// The same.
    pub(crate) pod: Arc<Pod>,
    /// What policies know of it, in each family.
    sides: [Option<Side>; 2],
    /// Some of them, to be named.
    pub(crate) some: Vec<PodKey>,
    /// How many there are.
    pub(crate) size: u64,
}

/// All classes. Pods in their node's network are none: no policy selects them.
#[derive(Clone, Debug)]
pub struct Population {
    pub(crate) classes: Vec<Class>,
    of: HashMap<PodKey, usize>,
    within: HashMap<Arc<str>, Vec<usize>>,
}

/// Pods of a class that are named at most: with three of each end, one pair at least is another than the one asked about.
const NAMED: usize = 3;

type Likeness<'p> = (&'p Arc<str>, &'p Labels, &'p Arc<str>, &'p [ContainerPort], Option<&'p ObjectRef>, &'p [IpAddr]);

impl Class {
    /// A class of pods like this one, which counts none yet.
    fn like(index: &Index, pod: &Arc<Pod>) -> Self {
        let sides = Family::ALL.map(|family| index.pod_side(pod, Some(family)));
        Self { key: PodKey::of(pod), pod: pod.clone(), sides, some: Vec::new(), size: 0 }
    }

    /// What policies know of it, each time something else: without an address it is the same in both families.
    pub(crate) fn sides(&self) -> impl Iterator<Item = &Side> {
        let families = if self.pod.ips.is_empty() { 1 } else { self.sides.len() };
        self.sides[..families].iter().flatten()
    }

    fn count(&mut self, pod: PodKey) {
        self.size += 1;
        if self.some.len() < NAMED {
            self.some.push(pod);
        }
    }
}

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
            let (ports, owner) = (&pod.ports[..], pod.owner.as_ref());
            let likeness = (&pod.meta.namespace, &pod.meta.labels, &pod.service_account, ports, owner, ips);
            let class = *known.entry(likeness).or_insert_with(|| {
                classes.push(Class::like(index, shared));
                classes.len() - 1
            });
            classes[class].count(PodKey::of(pod));
            of.insert(PodKey::of(pod), class);
        }
        let mut within: HashMap<Arc<str>, Vec<usize>> = HashMap::new();
        for (class, one) in classes.iter().enumerate() {
            within.entry(one.pod.meta.namespace.clone()).or_default().push(class);
        }
        Self { classes, of, within }
    }

    /// The same with some pods in classes of their own, without those that were like them: a change touches them alone.
    pub(crate) fn apart(&self, index: &Index, pods: &BTreeSet<PodKey>) -> Cow<'_, Self> {
        let mut by_class: BTreeMap<usize, BTreeSet<&PodKey>> = BTreeMap::new();
        for pod in pods {
            if let Some(class) = self.class_of(pod) {
                by_class.entry(class).or_default().insert(pod);
            }
        }
        by_class.retain(|class, pods| (pods.len() as u64) < self.classes[*class].size);
        if by_class.is_empty() {
            return Cow::Borrowed(self);
        }
        let mut out = self.clone();
        for (class, pods) in by_class {
            let mut members: Vec<&PodKey> = self.of.iter().filter(|(_, c)| **c == class).map(|(pod, _)| pod).collect();
            members.sort_unstable();
            let (gone, left): (Vec<&PodKey>, Vec<&PodKey>) = members.into_iter().partition(|pod| pods.contains(pod));
            let number = out.classes.len();
            for (place, members) in [(class, left), (number, gone)] {
                let Some(first) = members.first().and_then(|pod| index.pod(pod)) else { continue };
                let mut made = Class::like(index, first);
                for pod in members {
                    made.count(pod.clone());
                    out.of.insert(pod.clone(), place);
                }
                if place == number {
                    out.within.entry(made.pod.meta.namespace.clone()).or_default().push(number);
                    out.classes.push(made);
                } else {
                    out.classes[place] = made;
                }
            }
        }
        Cow::Owned(out)
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
