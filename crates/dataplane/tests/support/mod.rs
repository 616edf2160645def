//! A random cluster as a node sees it, and its packets.

use tortie_model::canonical;
use tortie_plan::{NodeFacts, Plan, PodInterface};
use tortie_policy::{Index, PodKey};
use tortie_ruleset::Hook;
use tortie_ruleset::machine::{Interface, Packet};
use tortie_testkit::{Cluster, Flow};

/// What node `n1` knows of itself: all its pods have links.
pub(crate) fn facts(cluster: &Cluster) -> NodeFacts {
    let pods = cluster.pods.iter().filter(|p| p.node.as_deref() == Some("n1") && !p.host_network);
    let interfaces = pods.filter(|p| !p.phase.is_finished()).map(|p| {
        let serial = u64::from_str_radix(&p.meta.uid, 16).unwrap_or(0);
        let index = u32::try_from(serial & 0x7fff_ffff).unwrap();
        (PodKey::of(p), PodInterface { name: format!("tt{}", p.meta.name).into(), index })
    });
    NodeFacts {
        name: "n1".into(),
        interface_prefix: "tt".into(),
        pod_ranges: ["10.244.1.0/24", "fd00:244:1::/64"].map(|r| r.parse().unwrap()).into(),
        interfaces: interfaces.collect(),
    }
}

/// The packet of a flow as it arrives at this node.
pub(crate) fn wire(index: &Index, plan: &Plan, flow: Flow) -> (Hook, Packet) {
    let (from, to) = (canonical(flow.from), canonical(flow.to));
    let [high, low] = flow.traffic.detail.to_be_bytes();
    let transport = match flow.traffic.protocol {
        p if p.transport().is_some() => vec![0xff, 0xfe, high, low, 0, 0, 0, 0],
        p if p.is_icmp() => vec![high, low, 0, 0],
        _ => vec![1, 2, 3, 4, 5, 6, 7, 8],
    };
    let mut packet = Packet::new(from, to, flow.traffic.protocol.0, transport);
    let interface = index.owner(from).and_then(|pod| plan.endpoints.get(&PodKey::of(pod))).map(|e| &e.interface);
    packet.input = Some(match interface {
        Some(pod) => Interface { name: pod.name.to_string(), index: pod.index },
        None => Interface { name: "eth0".to_owned(), index: 2 },
    });
    let to_this_node = index.address_side(to).node().is_some_and(|n| &*n.meta.name == "n1");
    (if to_this_node { Hook::Input } else { Hook::Forward }, packet)
}
