//! Who a flow is from and to: pods, addresses and nodes as its ends.

use std::net::IpAddr;
use std::sync::Arc;

use tortie_model::{Family, Node, Pod, canonical};

use super::Index;
use crate::side::Side;

impl Index {
    /// The pod that owns an address now.
    #[must_use]
    pub fn owner(&self, ip: IpAddr) -> Option<&Arc<Pod>> {
        self.pods.get(self.owners.get(&canonical(ip))?)
    }

    /// The addresses that a pod owns now; none for a pod in its node's network.
    pub fn addresses<'a>(&'a self, pod: &'a Pod) -> impl Iterator<Item = IpAddr> + 'a {
        pod.ips.iter().map(|ip| canonical(*ip)).filter(|ip| {
            self.owners.get(ip).is_some_and(|k| k.name == pod.meta.name && k.namespace == pod.meta.namespace)
        })
    }

    /// A pod as one end of a flow, with its address of a family (or, without one, with its first address).
    ///
    /// A pod in its node's network is its node; `None` when the pod has addresses but none of that family.
    #[must_use]
    pub fn pod_side(&self, pod: &Arc<Pod>, family: Option<Family>) -> Option<Side> {
        let fits = |ip: &IpAddr| family.is_none_or(|f| Family::of(*ip) == f);
        if pod.host_network {
            let ip = pod.ips.iter().map(|ip| canonical(*ip)).find(fits);
            let node = pod.node.as_ref().and_then(|n| self.nodes.get(n));
            let ip = ip.or_else(|| node?.addresses.iter().map(|ip| canonical(*ip)).find(fits));
            return (ip.is_some() || family.is_none()).then(|| Side { pod: None, node: node.cloned(), ip });
        }
        let ip = self.addresses(pod).find(fits);
        if ip.is_none() && !pod.ips.is_empty() {
            return None;
        }
        Some(self.pod_side_at(pod, ip))
    }

    pub(super) fn pod_side_at(&self, pod: &Arc<Pod>, ip: Option<IpAddr>) -> Side {
        let namespace = self.namespaces.get(&pod.meta.namespace).expect("every pod's namespace is known or implied");
        Side { pod: Some((pod.clone(), namespace.clone())), node: None, ip }
    }

    /// An address as one end of a flow: the pod that owns it, the node that has it, or somebody outside.
    #[must_use]
    pub fn address_side(&self, ip: IpAddr) -> Side {
        let ip = canonical(ip);
        match self.owner(ip) {
            Some(pod) => self.pod_side_at(pod, Some(ip)),
            None => {
                Side { pod: None, node: self.node_ips.get(&ip).and_then(|n| self.nodes.get(n)).cloned(), ip: Some(ip) }
            }
        }
    }

    /// A node as one end of a flow, with its address of a family.
    #[must_use]
    pub fn node_side(&self, node: &Arc<Node>, family: Family) -> Option<Side> {
        let ip = node.addresses.iter().map(|ip| canonical(*ip)).find(|ip| Family::of(*ip) == family)?;
        Some(Side { pod: None, node: Some(node.clone()), ip: Some(ip) })
    }
}
