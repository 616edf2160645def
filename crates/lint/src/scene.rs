//! What lints look at: policies with whom they select, and pods by what policies can tell apart.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use tortie_analysis::deltas::World;
use tortie_analysis::snapshot::Snapshot;
use tortie_manifest::{Diagnostic, ObjectSet, Place, Severity};
use tortie_model::{
    Direction, Family, IpBlock, Kind, NetworkPolicy, ObjectRef, PeerRule, Pod, PolicyPeer, Traffic, canonical,
};
use tortie_policy::{EndAction, Index, NamedPorts, Names, Peers, Policy, Rule, Side, Stack};

use crate::catalogue::lint;
use crate::finding::{Finding, Witness};

/// A policy as it is written, as the engine has it, and the pods that it governs.
pub(crate) struct Written<'a> {
    pub(crate) text: &'a NetworkPolicy,
    pub(crate) policy: Arc<Policy>,
    pub(crate) object: ObjectRef,
    /// Pods with a network of their own.
    pub(crate) pods: Vec<Arc<Pod>>,
}

pub(crate) struct Scene<'a> {
    pub(crate) snapshot: &'a Snapshot,
    /// What is in the cluster: the input and, where it has pods and no DNS, the DNS that every cluster has.
    pub(crate) objects: &'a ObjectSet,
    pub(crate) index: Index,
    pub(crate) policies: Vec<Written<'a>>,
    /// Pods with a network of their own: of those that no policy can tell apart, the first.
    pub(crate) kinds: Vec<Arc<Pod>>,
    /// An address of each part of the outside that some block tells apart.
    pub(crate) outside: Vec<IpAddr>,
}

/// One direction of a policy.
pub(crate) struct Half<'s, 'a> {
    pub(crate) written: &'s Written<'a>,
    pub(crate) direction: Direction,
    pub(crate) rules: &'s [PeerRule],
    pub(crate) engine: &'s [Rule],
}

impl<'a> Scene<'a> {
    pub(crate) fn new(snapshot: &'a Snapshot, objects: &'a ObjectSet) -> Self {
        let index = World::of(objects).index();
        let written = snapshot.objects.network_policies.iter().filter_map(|text| {
            let object = ObjectRef::namespaced(Kind::NetworkPolicy, &text.meta.namespace, &text.meta.name);
            let policy = index.policy(&object)?.clone();
            let here = index.pods_of(&text.meta.namespace).filter(|p| !p.host_network);
            let pods = here.filter(|p| text.pod_selector.matches(&p.meta.labels)).cloned().collect();
            Some(Written { text, policy, object, pods })
        });
        let policies: Vec<Written<'a>> = written.collect();
        let blocks: Vec<IpBlock> = index.policies().flat_map(|p| engine_blocks(p)).collect();
        let mut kinds: HashMap<_, Arc<Pod>> = HashMap::new();
        for pod in index.pods().filter(|p| !p.host_network) {
            let within: Vec<bool> =
                index.addresses(pod).flat_map(|ip| blocks.iter().map(move |b| b.contains(ip))).collect();
            let key = (&pod.meta.namespace, &pod.meta.labels, &pod.service_account, &pod.ports, within);
            kinds.entry(key).or_insert_with(|| pod.clone());
        }
        let mut kinds: Vec<Arc<Pod>> = kinds.into_values().collect();
        kinds.sort_by_key(|p| p.key());
        let outside = outside(&index, &blocks);
        Self { snapshot, objects, index, policies, kinds, outside }
    }

    /// All directions of all policies.
    pub(crate) fn halves(&self) -> impl Iterator<Item = Half<'_, 'a>> {
        self.policies.iter().flat_map(|written| {
            let both = [(Direction::Ingress, &written.text.ingress), (Direction::Egress, &written.text.egress)];
            both.into_iter().filter_map(move |(direction, rules)| {
                let (rules, engine) = (rules.as_deref()?, written.policy.rules(direction)?);
                Some(Half { written, direction, rules, engine })
            })
        })
    }

    /// Whether the input has pods at all: without, nothing is said of who is selected.
    pub(crate) fn has_pods(&self) -> bool {
        !self.kinds.is_empty()
    }

    /// A pod as policies see it.
    pub(crate) fn side(&self, pod: &Arc<Pod>) -> Side {
        let index = &self.index;
        let with = |family| index.pod_side(pod, Some(family)).filter(|s| s.ip().is_some());
        let side = Family::ALL.into_iter().find_map(with).or_else(|| index.pod_side(pod, None));
        side.unwrap_or_else(|| index.address_side(IpAddr::from([0, 0, 0, 0])))
    }

    /// A pod as policies see it, once for each family that it has an address of.
    pub(crate) fn sides(&self, pod: &Arc<Pod>) -> Vec<Side> {
        let index = &self.index;
        let with = |family| index.pod_side(pod, Some(family)).filter(|s| s.ip().is_some());
        let addressed: Vec<Side> = Family::ALL.into_iter().filter_map(with).collect();
        if addressed.is_empty() { vec![self.side(pod)] } else { addressed }
    }

    /// All ends of packets that there are: pods, those of their kinds that stand for others; nodes; and outside addresses.
    pub(crate) fn ends(&self) -> Vec<Side> {
        let index = &self.index;
        let nodes = index.nodes().flat_map(|n| Family::ALL.into_iter().filter_map(move |f| index.node_side(n, f)));
        let outside = self.outside.iter().map(|ip| index.address_side(*ip));
        self.kinds.iter().flat_map(|p| self.sides(p)).chain(nodes).chain(outside).collect()
    }

    /// What the end of a tier does; a tier that nobody defines denies.
    pub(crate) fn end_of(&self, tier: &str) -> EndAction {
        self.index.tier(tier).map_or(EndAction::Deny, |tier| tier.end)
    }

    /// What governs a pod.
    pub(crate) fn stack(&self, pod: &Pod, direction: Direction) -> Stack {
        self.index.stack(pod, direction)
    }

    /// Pods that a peer means, those of their kinds that stand for others.
    pub(crate) fn meant(&self, peers: &Peers) -> Vec<Arc<Pod>> {
        self.kinds.iter().filter(|pod| peers.matches(&self.side(pod))).cloned().collect()
    }

    /// What the engine says of a packet.
    pub(crate) fn witness(&self, from: &Side, to: &Side, traffic: Traffic) -> Witness {
        let allowed = self.index.verdict(from, to, traffic).is_allowed();
        Witness { from: name(from), to: name(to), traffic: traffic_text(traffic), allowed }
    }

    /// A finding at a value of an object.
    pub(crate) fn finding(&self, id: &str, object: &ObjectRef, pointer: &str, message: impl Into<String>) -> Finding {
        let lint = lint(id).unwrap_or_else(|| panic!("{id} is not in the catalogue"));
        let severity = lint.level.severity().unwrap_or(Severity::Note);
        let mut diagnostic = Diagnostic::new(severity, lint.id, message).about(object.clone());
        diagnostic.field = field(pointer);
        diagnostic.place = self.place(object, pointer);
        Finding { lint, diagnostic, pointer: pointer.to_owned(), witness: None, fix: None, replaces: None }
    }

    pub(crate) fn place(&self, object: &ObjectRef, pointer: &str) -> Option<Place> {
        let origin = self.snapshot.store.origin(object)?;
        Some(if pointer.is_empty() { origin.key_place("/metadata/name") } else { origin.key_place(pointer) })
    }

    /// Whether a member is written.
    pub(crate) fn is_written(&self, object: &ObjectRef, pointer: &str) -> bool {
        self.snapshot.store.origin(object).is_some_and(|o| o.is_written(pointer))
    }
}

impl Half<'_, '_> {
    pub(crate) fn object(&self) -> &ObjectRef {
        &self.written.object
    }

    pub(crate) fn pointer(&self, rule: usize) -> String {
        format!("/spec/{}/{rule}", self.direction)
    }

    /// `from` or `to`.
    pub(crate) const fn peers_field(&self) -> &'static str {
        match self.direction {
            Direction::Ingress => "from",
            Direction::Egress => "to",
        }
    }

    pub(crate) fn peer_pointer(&self, rule: usize, peer: usize) -> String {
        format!("{}/{}/{peer}", self.pointer(rule), self.peers_field())
    }

    /// All peers, with the numbers of their rule and their own.
    pub(crate) fn peers(&self) -> impl Iterator<Item = (usize, usize, &PolicyPeer)> {
        self.rules
            .iter()
            .enumerate()
            .flat_map(|(r, rule)| rule.peers.iter().enumerate().map(move |(p, peer)| (r, p, peer)))
    }

    pub(crate) fn blocks(&self) -> impl Iterator<Item = (usize, usize, &IpBlock)> {
        self.peers().filter_map(|(r, p, peer)| match peer {
            PolicyPeer::IpBlock(block) => Some((r, p, block)),
            _ => None,
        })
    }
}

impl Finding {
    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.diagnostic.help = Some(help.into());
        self
    }

    pub(crate) fn shown_by(mut self, witness: Witness) -> Self {
        self.witness = Some(witness);
        self
    }

    pub(crate) fn label(mut self, place: Option<Place>, text: impl Into<String>) -> Self {
        self.diagnostic.labels.extend(place.map(|p| (p, text.into())));
        self
    }
}

/// An address that nobody in the input has, of each part of the world that some block tells apart.
fn outside(index: &Index, blocks: &[IpBlock]) -> Vec<IpAddr> {
    let first = ["0.0.0.0", "203.0.113.77", "::", "2001:db8:77::77"];
    let mut begins: Vec<IpAddr> = first.map(|a| a.parse().expect("an address")).into();
    for net in blocks.iter().flat_map(|b| b.except().iter().copied().chain([b.cidr()])) {
        begins.extend([Some(net.network()), next(net.broadcast())].into_iter().flatten());
    }
    begins.sort_unstable();
    begins.dedup();
    let free = |(i, begin): (usize, &IpAddr)| {
        let end = begins.get(i + 1);
        let part = std::iter::successors(Some(*begin), |ip| next(*ip)).take_while(|ip| end.is_none_or(|end| ip < end));
        part.take_while(|ip| ip.is_ipv4() == begin.is_ipv4()).find(|ip| index.owner(*ip).is_none())
    };
    begins.iter().enumerate().filter_map(free).collect()
}

/// The address after one.
fn next(ip: IpAddr) -> Option<IpAddr> {
    match ip {
        IpAddr::V4(ip) => ip.to_bits().checked_add(1).map(|n| Ipv4Addr::from_bits(n).into()),
        IpAddr::V6(ip) => ip.to_bits().checked_add(1).map(|n| Ipv6Addr::from_bits(n).into()),
    }
}

/// The blocks that an engine policy names.
fn engine_blocks(policy: &Policy) -> impl Iterator<Item = IpBlock> + '_ {
    let rules = policy.ingress.iter().chain(&policy.egress).flatten();
    let peers = rules.flat_map(|rule| rule.peers.listed().iter().chain(&rule.own));
    peers.flat_map(|peer| {
        let sets = peer.sets.blocks().iter().chain(peer.not_blocks.blocks()).map(|net| IpBlock::new(*net, []));
        peer.blocks.iter().flatten().cloned().chain(sets).collect::<Vec<_>>()
    })
}

/// Named ports on the destination of a packet.
pub(crate) fn names<'s>(destination: &'s Side) -> NamedPorts<'s> {
    NamedPorts::of(destination.pod().map(|p| &**p))
}

/// The ports that names stand for at both ends of a packet that an endpoint sends or gets.
pub(crate) fn both_names<'s>(direction: Direction, own: &'s Side, peer: &'s Side) -> Names<'s> {
    let (from, to) = match direction {
        Direction::Egress => (own, peer),
        Direction::Ingress => (peer, own),
    };
    Names { source: names(from), destination: names(to) }
}

/// `namespace/pod`, or the address.
pub(crate) fn name(side: &Side) -> String {
    match (side.pod(), side.ip()) {
        (Some(pod), _) => pod.key(),
        (None, Some(ip)) => canonical(ip).to_string(),
        (None, None) => "somebody".to_owned(),
    }
}

fn traffic_text(traffic: Traffic) -> String {
    match traffic.protocol.transport() {
        Some(protocol) => format!("{protocol}/{}", traffic.detail),
        None => traffic.to_string(),
    }
}

/// `spec.ingress[0].from[1]`, as the API server writes fields.
fn field(pointer: &str) -> String {
    let mut out = String::new();
    for part in pointer.split('/').skip(1) {
        if part.bytes().all(|b| b.is_ascii_digit()) && !part.is_empty() {
            out.push_str(&format!("[{part}]"));
        } else {
            if !out.is_empty() {
                out.push('.');
            }
            out.push_str(part);
        }
    }
    out
}

/// Up to three names, and how many more.
pub(crate) fn some(names: &[String]) -> String {
    const MOST: usize = 3;
    let shown = names.iter().take(MOST).cloned().collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(MOST) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

pub(crate) fn keys(pods: &[Arc<Pod>]) -> Vec<String> {
    pods.iter().map(|p| p.key()).collect()
}
