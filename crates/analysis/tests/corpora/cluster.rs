//! A cluster made of a record's objects, and the question that is put to everything that can answer it.

use serde_json::{Value, json};
use tortie_analysis::deltas::World;
use tortie_analysis::passage::Imagined;
use tortie_analysis::staging::{Ground, Staged, Stager};
use tortie_manifest::{Expansion, LoadOptions, Loaded, Memory, ObjectSet, Severity, load};
use tortie_model::{Family, Protocol, Traffic};
use tortie_policy::{Asked, FlowVerdict, Index, PodKey, Side};

/// A cluster as policies see it, with the plans of its nodes where its pods have addresses.
#[derive(Debug)]
pub(crate) struct Cluster {
    pub(crate) index: Index,
    plans: Option<Imagined>,
    pod_ranges: Vec<ipnet::IpNet>,
}

/// Reads objects as one list.
pub(crate) fn read(objects: &[Value]) -> Loaded {
    let list = json!({"apiVersion": "v1", "kind": "List", "items": objects});
    load(&Memory::new([("objects.json", list.to_string())]), &["objects.json"], &LoadOptions::default())
}

/// The objects of a record, all of which must be readable.
pub(crate) fn objects(loaded: &Loaded) -> Result<ObjectSet, String> {
    match loaded.diagnostics.iter().find(|d| d.severity == Severity::Error) {
        Some(error) => Err(format!("refused: {}", error.render(false))),
        None => Ok(ObjectSet::of(loaded.objects.iter().map(|o| &o.object), &Expansion::default())),
    }
}

impl Cluster {
    /// A cluster whose pods have addresses: those of their status, or some.
    pub(crate) fn with_addresses(objects: &ObjectSet) -> Result<Self, String> {
        let staged: Staged = Stager::new(Ground::default()).stage(objects).map_err(|e| e.to_string())?;
        let index = staged.index();
        let mut plans = Imagined::default();
        plans.advance(&staged, &index);
        let pod_ranges = staged.nodes.iter().flat_map(|n| n.pod_cidrs.iter().copied()).collect();
        Ok(Self { index, plans: Some(plans), pod_ranges })
    }

    /// A cluster in which no block of addresses means a pod, and every pod has a network of its own.
    pub(crate) fn without_addresses(objects: &ObjectSet) -> Self {
        let mut world = World::of(objects);
        for pod in world.pods.values_mut() {
            pod.ips.clear();
            pod.host_network = false;
        }
        Self { index: world.index(), plans: None, pod_ranges: Vec::new() }
    }

    /// An end by `namespace/name`, or by address.
    pub(crate) fn end(&self, name: &str) -> Result<Side, String> {
        match name.split_once('/') {
            Some((namespace, pod)) => {
                let pod = self.index.pod(&PodKey::new(namespace, pod)).ok_or_else(|| format!("no pod {name}"))?;
                self.index.pod_side(pod, Some(Family::V4)).ok_or_else(|| format!("{name} has no IPv4 address"))
            }
            None => name.parse().map(|ip| self.index.address_side(ip)).map_err(|_| format!("{name} is no address")),
        }
    }

    /// The answers of flow, region and plan to some packets between two ends; what they disagree in is an error.
    pub(crate) fn ask(&self, from: &Side, to: &Side, traffic: &[Traffic]) -> Result<Vec<FlowVerdict>, String> {
        let allowed = self.index.pair(from, to).allowed();
        traffic.iter().map(|traffic| self.ask_one(from, to, *traffic, *allowed.get(*traffic))).collect()
    }

    /// The answers of engine and plan to a packet from a port; what they disagree in is an error.
    pub(crate) fn ask_from(&self, from: &Side, to: &Side, asked: Asked) -> Result<FlowVerdict, String> {
        let verdict = self.index.verdict(from, to, asked);
        let flow = verdict.is_allowed();
        // An address that a node's pods could have, and none has, is closed before policy is asked.
        let is_closed = [from, to].iter().any(|side| {
            let nobody = side.pod().is_none() && side.node().is_none();
            nobody && side.ip().is_some_and(|ip| self.pod_ranges.iter().any(|range| range.contains(&ip)))
        });
        match &self.plans {
            Some(plans) if !is_closed && plans.passes(from, to, asked) != flow => {
                Err(format!("engine {flow}, plan {}", !flow))
            }
            _ => Ok(verdict),
        }
    }

    fn ask_one(&self, from: &Side, to: &Side, traffic: Traffic, region: bool) -> Result<FlowVerdict, String> {
        let verdict = self.index.verdict(from, to, traffic);
        let flow = verdict.is_allowed();
        if region != flow {
            return Err(format!("{traffic:?}: flow {flow}, region {region}"));
        }
        match &self.plans {
            Some(plans) if plans.passes(from, to, traffic) != flow => {
                Err(format!("{traffic:?}: engine {flow}, plan {}", !flow))
            }
            _ => Ok(verdict),
        }
    }
}

/// A protocol and a port, number or decimal text.
pub(crate) fn traffic(protocol: &str, port: &Value) -> Traffic {
    let protocol: Protocol = protocol.parse().expect("a record names a transport protocol");
    let number = port.as_u64().or_else(|| port.as_str()?.parse().ok()).and_then(|n| u16::try_from(n).ok());
    Traffic::port(protocol, number.expect("a record names a port by number"))
}

/// A list of a record.
pub(crate) fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}
