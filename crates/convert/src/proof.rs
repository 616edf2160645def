//! The proof: both clusters decide every packet between every two ends alike.
//!
//! Regions of all pairs are compared as `tortie diff` does it: exact for all packets, and for all addresses outside. That
//! takes clients' ports for granted; where rules ask from which port a packet comes, pairs are compared again for each
//! range of ports that rules tell apart.

use std::collections::BTreeSet;

use tortie_connectivity::{Change, Connectivity, Difference, Name, packets};
use tortie_model::{Direction, Family, IpProtocol, ObjectRef, Traffic};
use tortie_policy::{
    Asked, Delta, EPHEMERAL_PORT, FlowVerdict, Index, Names, PodKey, Policy, Regions, Scope, Side, Verdict,
};

use crate::api::Api;
use crate::{Source, strangers};

/// A flow that the new policies decide otherwise.
#[derive(Clone, Debug)]
pub struct Witness {
    /// Who sends.
    pub from: Side,
    /// Who is reached.
    pub to: Side,
    /// The packet.
    pub asked: Asked,
    /// What becomes of it now.
    pub before: FlowVerdict,
    /// What would become of it.
    pub after: FlowVerdict,
    /// All packets between the two that are decided otherwise, in words.
    pub packets: String,
}

impl Witness {
    /// Whether an end is a pod that is not in the cluster, but could come.
    #[must_use]
    pub fn is_of_strangers(&self) -> bool {
        [&self.from, &self.to].into_iter().any(is_stranger)
    }

    /// The direction in which the answers part.
    #[must_use]
    pub fn direction(&self) -> Direction {
        let part = |d: &Direction| self.before.half(*d).is_allowed() != self.after.half(*d).is_allowed();
        Direction::BOTH.into_iter().find(part).unwrap_or(Direction::Egress)
    }

    fn find(clusters: [&Index; 2], from: &Side, to: &Side, asked: Asked, packets: String) -> Option<Box<Self>> {
        let [before, after] = clusters.map(|index| index.verdict(from, to, asked));
        let differs = before.is_allowed() != after.is_allowed();
        differs.then(|| Box::new(Self { from: from.clone(), to: to.clone(), asked, before, after, packets }))
    }
}

impl std::fmt::Display for Witness {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let word = |verdict: &FlowVerdict| if verdict.is_allowed() { "allowed" } else { "denied" };
        write!(f, "{} -> {} {}", name(&self.from), name(&self.to), self.asked.traffic)?;
        if self.asked.source_port != EPHEMERAL_PORT {
            write!(f, " from port {}", self.asked.source_port)?;
        }
        write!(f, " is {} now, and would be {}", word(&self.before), word(&self.after))
    }
}

fn is_stranger(side: &Side) -> bool {
    side.pod().is_some_and(|pod| strangers::is_one(pod))
}

/// An end in words; a pod that is not there by its labels.
fn name(side: &Side) -> String {
    match (side.pod(), side.node(), side.ip()) {
        (Some(pod), ..) if strangers::is_one(pod) => {
            let labels: Vec<String> = pod.meta.labels.iter().map(|(k, v)| format!("{k}={v}")).collect();
            let labels = if labels.is_empty() { "without labels".to_owned() } else { labels.join(",") };
            format!("any pod {labels} in {}", pod.meta.namespace)
        }
        (Some(pod), ..) => pod.key(),
        (None, Some(node), _) => format!("node/{}", node.meta.name),
        (None, None, Some(ip)) => ip.to_string(),
        (None, None, None) => "an end without an address".to_owned(),
    }
}

/// Why policies are not proven.
pub(crate) enum Disproof {
    /// A flow that is decided otherwise.
    Witness(Box<Witness>),
    /// Something is decided otherwise between two, in words, and no flow of theirs shows it.
    Unwitnessed(String),
}

impl From<Box<Witness>> for Disproof {
    fn from(witness: Box<Witness>) -> Self {
        Self::Witness(witness)
    }
}

/// Compares the cluster with one in which all policies that are of another API make room for new ones. The pods whose
/// packets to themselves are decided otherwise.
///
/// # Errors
/// Something that is decided otherwise.
pub(crate) fn prove(source: &Source<'_>, to: Api, policies: Vec<Policy>) -> Result<Vec<PodKey>, Disproof> {
    let mut before = source.index.clone();
    let is_global = |p: &Policy| !to.has(p.object.kind) && p.object.namespace.is_none();
    let new_namespaces = to != Api::NetworkPolicy || !source.policies.iter().any(is_global);
    let both = source.policies.iter().chain(&policies);
    for delta in strangers::deltas(&before, both, new_namespaces) {
        before.apply(delta);
    }
    let mut after = before.clone();
    let replaced = source.policies.iter().filter(|p| !to.has(p.object.kind));
    for policy in replaced {
        after.apply(Delta::PolicyRemoved(policy.object.clone()));
    }
    let asks_source = source.policies.iter().any(asks_source_port);
    for policy in policies {
        after.apply(Delta::Policy(Box::new(policy)));
    }
    let clusters = [&before, &after];
    let [old, new] = clusters.map(Connectivity::of);
    let difference = Difference::between(&old, &new);
    // What a reader knows says more than pods that could come.
    let mut changes: Vec<&Change> = difference.changes.iter().collect();
    changes.sort_by_key(|change| [&change.from, &change.to].into_iter().any(|name| is_name_of_stranger(&before, name)));
    if let Some(witness) = changes.iter().find_map(|change| of_change(clusters, change)) {
        return Err(witness.into());
    }
    if let Some(Change { from, to, .. }) = changes.first() {
        return Err(Disproof::Unwitnessed(format!("packets from {from} to {to}")));
    }
    if asks_source && let Some(witness) = by_source_port(clusters) {
        return Err(witness.into());
    }
    Ok(to_themselves(clusters))
}

fn asks_source_port(policy: &Policy) -> bool {
    policy.ingress.iter().chain(&policy.egress).flatten().any(tortie_policy::Rule::asks_source_port)
}

/// A flow that shows a change.
fn of_change(clusters: [&Index; 2], change: &Change) -> Option<Box<Witness>> {
    let differs = change.opened.zip(&change.closed, |a, b| *a || *b);
    for from in ends(clusters[0], &change.from) {
        for to in ends(clusters[0], &change.to) {
            for traffic in traffics(&differs) {
                let asked = Asked { traffic, source_port: EPHEMERAL_PORT };
                let found = Witness::find(clusters, &from, &to, asked, packets::words(&differs));
                if found.is_some() {
                    return found;
                }
            }
        }
    }
    None
}

/// A packet of each part of a set.
fn traffics(set: &Regions<bool>) -> Vec<Traffic> {
    let listed: BTreeSet<IpProtocol> = set.protocols().map(|(protocol, _)| protocol).collect();
    // Where all protocols are meant, one with ports says most.
    let rest = [IpProtocol::TCP, IpProtocol::UDP].into_iter().chain((0..=u8::MAX).map(IpProtocol));
    let of = |(scope, _): (Scope, &bool)| match scope {
        Scope::Range(protocol, range) => Some(Traffic { protocol, detail: *range.start() }),
        Scope::Rest => {
            let protocol = rest.clone().find(|p| !listed.contains(p))?;
            let detail = if protocol.transport().is_some() { 80 } else { *protocol.details().start() };
            Some(Traffic { protocol, detail })
        }
    };
    set.iter().filter(|(_, differs)| **differs).filter_map(of).collect()
}

fn is_of(pod: &tortie_model::Pod, workload: &ObjectRef) -> bool {
    match &pod.owner {
        Some(owner) => owner == workload,
        None => {
            workload.kind == tortie_model::Kind::Pod
                && workload.name == pod.meta.name
                && workload.namespace_str() == &*pod.meta.namespace
        }
    }
}

fn is_name_of_stranger(index: &Index, name: &Name) -> bool {
    matches!(name, Name::Workload(workload)
        if index.pods().any(|pod| strangers::is_one(pod) && is_of(pod, workload)))
}

/// The ends that a subject has.
fn ends(index: &Index, name: &Name) -> Vec<Side> {
    match name {
        Name::Workload(workload) => {
            let pods = index.pods().filter(|pod| is_of(pod, workload));
            pods.flat_map(|pod| sides_of(index, pod)).collect()
        }
        Name::Node(node) => {
            let node = index.node(node);
            node.into_iter().flat_map(|n| Family::ALL.iter().filter_map(|f| index.node_side(n, *f))).collect()
        }
        Name::Outside(addresses) => addresses.ranges().map(|(first, _)| index.address_side(first)).collect(),
    }
}

fn sides_of<'i>(index: &'i Index, pod: &'i std::sync::Arc<tortie_model::Pod>) -> impl Iterator<Item = Side> + 'i {
    Family::ALL.iter().filter_map(|family| index.pod_side(pod, Some(*family)))
}

/// A flow from another port than clients have.
fn by_source_port(clusters: [&Index; 2]) -> Option<Box<Witness>> {
    let index = clusters[0];
    let old = Connectivity::of(index);
    let everybody: Vec<Side> = old.subjects().iter().flat_map(|subject| ends(index, &subject.name)).collect();
    for from in &everybody {
        for to in everybody.iter().filter(|to| from.pod().is_some() || to.pod().is_some()) {
            let names = Names::between(from.pod().map(|p| &**p), to.pod().map(|p| &**p));
            for direction in Direction::BOTH {
                let (own, peer) = match direction {
                    Direction::Egress => (from, to),
                    Direction::Ingress => (to, from),
                };
                let Some(pod) = own.pod() else { continue };
                let stacks = clusters.map(|index| index.stack(pod, direction));
                let matched = [0, 1].map(|i| stacks[i].matched(peer));
                let starts = (0..2).flat_map(|i| stacks[i].source_ranges(&matched[i], names));
                for source_port in starts.map(|range| *range.start()).collect::<BTreeSet<u16>>() {
                    let [a, b] = [0, 1].map(|i| {
                        let regions = stacks[i].resolve_from(source_port, &matched[i], names);
                        regions.map(|outcome| outcome.verdict == Verdict::Allow)
                    });
                    let differs = a.zip(&b, |a, b| a != b);
                    for traffic in traffics(&differs) {
                        let asked = Asked { traffic, source_port };
                        let found = Witness::find(clusters, from, to, asked, packets::words(&differs));
                        if found.is_some() {
                            return found;
                        }
                    }
                }
            }
        }
    }
    None
}

/// Pods of the cluster whose packets to themselves by way of a Service are decided otherwise.
fn to_themselves(clusters: [&Index; 2]) -> Vec<PodKey> {
    let pods = clusters[0].pods().filter(|pod| !pod.host_network && !strangers::is_one(pod));
    let differs = |pod: &&std::sync::Arc<tortie_model::Pod>| {
        sides_of(clusters[0], pod).any(|side| {
            let names = Names::between(Some(pod), Some(pod));
            let asked = clusters.iter().flat_map(|index| Direction::BOTH.map(|d| (index, d))).flat_map(|(index, d)| {
                let regions = index.stack(pod, d).regions(&side, names);
                regions
                    .iter()
                    .filter_map(|(scope, _)| match scope {
                        Scope::Range(protocol, range) => Some(Traffic { protocol, detail: *range.start() }),
                        Scope::Rest => None,
                    })
                    .chain([Traffic::port(tortie_model::Protocol::Tcp, 80)])
                    .collect::<Vec<_>>()
            });
            asked.collect::<BTreeSet<_>>().into_iter().any(|traffic| {
                let [a, b] = clusters.map(|index| index.hairpin(&side, traffic));
                (a[0] && a[1]) != (b[0] && b[1])
            })
        })
    };
    pods.filter(differs).map(|pod| PodKey::of(pod)).collect()
}
