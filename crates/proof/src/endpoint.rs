//! What the engine says of the pods of this node.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

use ipnet::IpNet;
use tortie_model::{ContainerPort, Direction, Labels, Pod};
use tortie_plan::{PodInterface, Problem};
use tortie_policy::{Asked, Names, Outcome, Peer, Policy, Position, Prepared, Regions, Side, Stack, Verdict};
use tortie_ruleset::lift::Cuts;
use tortie_ruleset::machine::Interface;

use crate::Claim;

/// A pod of this node whose link is there.
#[derive(Debug)]
pub(crate) struct Endpoint {
    pub(crate) pod: Arc<Pod>,
    pub(crate) interface: PodInterface,
    pub(crate) addresses: Vec<IpAddr>,
    stacks: [Stack; 2],
    /// Whether its table did not fit, in the order of [`Direction::BOTH`].
    closed: [bool; 2],
}

/// All of them.
#[derive(Debug)]
pub(crate) struct Endpoints {
    pub(crate) all: Vec<Endpoint>,
    by_address: HashMap<IpAddr, usize>,
}

impl Endpoints {
    pub(crate) fn of(claim: &Claim<'_>) -> Self {
        let mut all = Vec::new();
        for (key, interface) in &claim.facts.interfaces {
            let here = |p: &&Arc<Pod>| p.node.as_ref() == Some(&claim.facts.name) && !p.host_network;
            let Some(pod) = claim.index.pod(key).filter(here) else { continue };
            let closed = |at: Direction| {
                claim.problems.iter().any(|p| match p {
                    Problem::TooManyRows { direction, endpoints, .. } => *direction == at && endpoints.contains(key),
                })
            };
            all.push(Endpoint {
                pod: pod.clone(),
                interface: interface.clone(),
                addresses: claim.index.addresses(pod).collect(),
                stacks: Direction::BOTH.map(|d| claim.index.stack(pod, d)),
                closed: Direction::BOTH.map(closed),
            });
        }
        let by_address = all.iter().enumerate().flat_map(|(n, e)| e.addresses.iter().map(move |ip| (*ip, n))).collect();
        Self { all, by_address }
    }

    /// The pod of this node that has an address.
    pub(crate) fn at(&self, ip: IpAddr) -> Option<usize> {
        self.by_address.get(&ip).copied()
    }

    /// Whether the table of a pod did not fit in a direction.
    pub(crate) fn is_closed(&self, endpoint: usize, direction: Direction) -> bool {
        let at = Direction::BOTH.iter().position(|d| *d == direction);
        at.is_some_and(|at| self.all[endpoint].closed[at])
    }

    /// The nodes' ends of their links.
    pub(crate) fn interfaces(&self) -> impl Iterator<Item = Interface> + '_ {
        self.all.iter().map(|e| Interface { name: e.interface.name.to_string(), index: e.interface.index })
    }

    /// Cuts where addresses begin to mean something else to the engine.
    pub(crate) fn cut_addresses(&self, claim: &Claim<'_>, cuts: &mut Cuts) {
        let pods = claim.index.pods().flat_map(|p| claim.index.addresses(p));
        let nodes = claim.index.nodes().flat_map(|n| n.addresses.iter().map(|ip| tortie_model::canonical(*ip)));
        let mut known: HashMap<Traits, u64> = HashMap::new();
        for ip in pods.chain(nodes) {
            if self.at(ip).is_some() {
                cuts.addresses(ip, ip);
                continue;
            }
            let next = known.len() as u64;
            let traits = Traits::of(&claim.index.address_side(ip));
            cuts.address(ip, *known.entry(traits).or_insert(next));
        }
        let mut nets: BTreeSet<IpNet> = claim.facts.pod_ranges.iter().map(IpNet::trunc).collect();
        for stack in self.all.iter().flat_map(|e| &e.stacks) {
            for (_, rule) in stack.rules() {
                nets.extend(rule.peers.listed().iter().flat_map(Peer::nets));
            }
        }
        nets.iter().for_each(|net| cuts.addresses(net.network(), net.broadcast()));
        cuts.mark(claim.revoked_bit);
    }

    /// What the engine says of each endpoint with each of these addresses, for all packets.
    pub(crate) fn halves(&self, claim: &Claim<'_>, peers: &[IpAddr]) -> Halves {
        let mut halves = Halves { answers: Vec::new(), rows: BTreeMap::new() };
        let mut known: HashMap<Said, usize> = HashMap::new();
        let mut profiles: HashMap<(Direction, Vec<usize>), (usize, Rc<Prepared>)> = HashMap::new();
        for (n, endpoint) in self.all.iter().enumerate() {
            for (at, direction) in Direction::BOTH.into_iter().enumerate() {
                let stack = &endpoint.stacks[at];
                let policies = stack.policies().map(|p: &Arc<Policy>| Arc::as_ptr(p).addr()).collect();
                let next = profiles.len();
                let profile = profiles.entry((direction, policies));
                let (profile, prepared) = profile.or_insert_with(|| (next, Rc::new(stack.clone().prepare()))).clone();
                let mut answer = |peer: &IpAddr| {
                    let side = claim.index.address_side(*peer);
                    if stack.is_empty() {
                        return Half::Ungoverned;
                    }
                    let itself = self.at(*peer) == Some(n);
                    if endpoint.closed[at] {
                        let spared = itself && stack.policies().all(|p| p.object.is_network_policy());
                        return if spared { Half::Whole } else { Half::Closed };
                    }
                    let ends = match direction {
                        Direction::Ingress => [side.pod(), Some(&endpoint.pod)],
                        Direction::Egress => [Some(&endpoint.pod), side.pod()],
                    };
                    let ports = ends.map(|end| end.map_or_else(Vec::new, |pod| pod.ports.clone()));
                    let matched = prepared.matched(&side);
                    let key = Said { profile, ports, matched, itself };
                    let next = halves.answers.len();
                    let id = *known.entry(key).or_insert_with_key(|key| {
                        let [source, destination] = ends.map(|end| end.map(|pod| &**pod));
                        halves.answers.push(Answer::of(stack, key, Names::between(source, destination)));
                        next
                    });
                    Half::Decided(id)
                };
                let row = peers.iter().map(&mut answer).collect();
                halves.rows.insert((n, direction), row);
            }
        }
        halves
    }
}

/// All that policies can know of an end that is no pod of this node, besides its address.
#[derive(PartialEq, Eq, Hash)]
enum Traits {
    Pod { namespace: Arc<str>, labels: Labels, ports: Vec<ContainerPort>, service_account: Arc<str> },
    Node(Arc<str>),
    Neither,
}

impl Traits {
    fn of(side: &Side) -> Self {
        match (side.pod(), side.node()) {
            (Some(pod), _) => Self::Pod {
                namespace: pod.meta.namespace.clone(),
                labels: pod.meta.labels.clone(),
                ports: pod.ports.clone(),
                service_account: pod.service_account.clone(),
            },
            (None, Some(node)) => Self::Node(node.meta.name.clone()),
            (None, None) => Self::Neither,
        }
    }
}

/// What an answer is a function of.
#[derive(PartialEq, Eq, Hash)]
struct Said {
    /// What governs the endpoint, by number.
    profile: usize,
    ports: [Vec<ContainerPort>; 2],
    matched: Vec<Position>,
    /// Whether the peer is the endpoint.
    itself: bool,
}

/// The packets that the policies of an endpoint let pass, from or to a peer.
#[derive(Debug)]
pub(crate) struct Answer {
    /// By the last of the source ports for which it holds, in order.
    by_source: Vec<(u16, Regions<bool>)>,
}

impl Answer {
    fn of(stack: &Stack, said: &Said, names: Names<'_>) -> Self {
        let spared = |outcome: &Outcome| said.itself && stack.spares_itself(outcome);
        let passes = |range: std::ops::RangeInclusive<u16>| {
            let regions = stack.resolve_from(*range.start(), &said.matched, names);
            (*range.end(), regions.map(|outcome| outcome.verdict == Verdict::Allow || spared(outcome)))
        };
        Self { by_source: stack.source_ranges(&said.matched, names).into_iter().map(passes).collect() }
    }

    pub(crate) fn passes(&self, asked: Asked) -> bool {
        let at = self.by_source.partition_point(|(last, _)| *last < asked.source_port);
        self.by_source.get(at).is_some_and(|(_, regions)| *regions.get(asked.traffic))
    }
}

/// What is said of an endpoint in a direction with a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Half {
    /// No policy governs it: everything passes.
    Ungoverned,
    /// It speaks to itself, and its NetworkPolicies cannot forbid that: everything passes that has its header.
    Whole,
    /// Its table did not fit: nothing passes.
    Closed,
    /// The packets that pass, by number.
    Decided(usize),
}

/// What the engine says of every endpoint.
#[derive(Debug)]
pub(crate) struct Halves {
    pub(crate) answers: Vec<Answer>,
    /// By endpoint and direction, for each class of addresses.
    pub(crate) rows: BTreeMap<(usize, Direction), Vec<Half>>,
}

impl Halves {
    /// Cuts where the engine tells ports apart, and where discovery begins and ends.
    pub(crate) fn cut_traffic(&self, cuts: &mut Cuts) {
        for (last, regions) in self.answers.iter().flat_map(|answer| &answer.by_source) {
            for (protocol, ranges) in regions.protocols() {
                ranges.iter().for_each(|(range, _)| cuts.traffic(protocol.0, range.clone()));
            }
            last.checked_add(1).into_iter().for_each(|port| cuts.source_port(port));
        }
        cuts.traffic(58, 130 << 8..=137 << 8 | 0xff);
        cuts.traffic(58, 143 << 8..=143 << 8 | 0xff);
    }
}
