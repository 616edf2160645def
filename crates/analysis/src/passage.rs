//! What the plans of all nodes on a packet's way decide together, in memory.

use std::collections::BTreeMap;
use std::sync::Arc;

use tortie_plan::{AttachmentPoint, Compiler, NodeFacts, Packet, Plan, PodInterface};
use tortie_policy::{Asked, Index, PodKey, Side};

use crate::staging::Staged;

/// How the names of pod interfaces begin where no interface exists.
const IMAGINED: &str = "pod";

/// Whether the nodes on the way let a packet through: the one that the source runs on, then the one that the
/// destination runs on. `plan` gives the plan of a node by name; a node without one lets nothing of its pods through.
pub fn passes<'p>(plan: impl Fn(&str) -> Option<&'p Plan>, from: &Side, to: &Side, asked: impl Into<Asked>) -> bool {
    let Asked { traffic, source_port } = asked.into();
    let (Some(source), Some(destination)) = (from.ip(), to.ip()) else { return false };
    let home = |side: &Side| -> Option<Arc<str>> {
        let of_pod = side.pod().and_then(|p| p.node.clone());
        of_pod.or_else(|| side.node().map(|n| n.meta.name.clone()))
    };
    let (here, there) = (home(from), home(to));
    let at = |node: &str, point: AttachmentPoint, sends: bool| {
        let Some(plan) = plan(node) else { return false };
        let endpoint = from.pod().filter(|_| sends).and_then(|p| plan.endpoints.get(&PodKey::of(p)));
        if sends && from.pod().is_some() && endpoint.is_none() {
            return false;
        }
        let interface = endpoint.map(|e| e.interface.clone());
        plan.evaluate(&Packet { at: point, interface, source, destination, traffic, source_port }).is_allowed()
    };
    // At its own node, a packet is forwarded, or it is for the node itself.
    let leaves = match (&here, from.pod()) {
        (Some(node), Some(_)) => {
            let point = if to.node().is_some() && here == there {
                AttachmentPoint::ToThisNode
            } else {
                AttachmentPoint::Forward
            };
            at(node, point, true)
        }
        (Some(node), None) => at(node, AttachmentPoint::FromThisNode, false),
        (None, _) => true,
    };
    let arrives = match &there {
        Some(node) if here != there => {
            let point = if to.node().is_some() { AttachmentPoint::ToThisNode } else { AttachmentPoint::Forward };
            at(node, point, false)
        }
        _ => true,
    };
    leaves && arrives
}

/// The plans of all nodes of a cluster that exists nowhere.
#[derive(Debug, Default)]
pub struct Imagined {
    nodes: BTreeMap<Arc<str>, Compiler>,
}

impl Imagined {
    /// Brings all plans to a stage of the cluster.
    pub fn advance(&mut self, staged: &Staged, index: &Index) {
        for node in &staged.nodes {
            let here =
                staged.world.pods.iter().filter(|(_, p)| !p.host_network && p.node.as_ref() == Some(&node.meta.name));
            let interface = |(n, (key, _)): (u32, (&PodKey, _))| {
                (key.clone(), PodInterface { name: format!("{IMAGINED}{n}").into(), index: n })
            };
            let facts = NodeFacts {
                name: node.meta.name.clone(),
                interface_prefix: IMAGINED.into(),
                pod_ranges: node.pod_cidrs.clone(),
                interfaces: (1000..).zip(here).map(interface).collect(),
            };
            self.nodes.entry(node.meta.name.clone()).or_default().compile(index, &facts);
        }
    }

    /// Whether a packet gets through all nodes on its way.
    #[must_use]
    pub fn passes(&self, from: &Side, to: &Side, asked: impl Into<Asked>) -> bool {
        passes(|node| self.nodes.get(node).map(Compiler::current), from, to, asked)
    }
}
