//! All ends of flows in a cluster, put together by what policies ask of them, and those that a policy means.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use roaring::RoaringBitmap;
use tortie_model::{Family, LabelSelector, ObjectRef, Pod, canonical};
use tortie_policy::{EndpointSelector, Index, NamedPort, NamespaceMatch, Peer, Peers, PodKey, Side};

use crate::addresses::{Addresses, address};
use crate::partition::small;
use crate::subject::{End, Families, Group, Name, Subject, together};
use crate::vocabulary::{Label, Vocabulary};

/// Everything by which ends may differ. Two ends of one kind are alike for every policy.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Kind {
    /// Of a pod with a network of its own: its namespace, labels that are looked at, ports whose names are used.
    pod: Option<(u32, Vec<Label>, u32)>,
    /// Its service account, where some rule asks for it.
    account: Option<Arc<str>>,
    /// The piece of the address space that its address lies in.
    piece: Option<u32>,
}

/// The ends of a cluster by kind, and who they belong to.
#[derive(Debug)]
pub(crate) struct Census<'p> {
    vocabulary: Vocabulary<'p>,
    index: &'p Index,
    namespaces: Vec<Arc<str>>,
    numbers: HashMap<Kind, u32>,
    kinds: Vec<Kind>,
    /// An end of each kind.
    sides: Vec<Side>,
    /// Named ports of pods, by number; the first are none.
    ports: Vec<Vec<NamedPort>>,
    port_numbers: HashMap<Vec<NamedPort>, u32>,
    /// Kinds of pods: all, by namespace, by label.
    pods: Vec<u32>,
    in_namespace: Vec<Vec<u32>>,
    labelled: HashMap<Label, Vec<u32>>,
    /// Kinds that have an address, by the piece that it lies in.
    in_piece: BTreeMap<u32, Vec<u32>>,
    selected_namespaces: HashMap<&'p LabelSelector, Arc<[u32]>>,
    /// Who the ends belong to. The classes of their ends are kinds.
    pub(crate) subjects: Vec<Subject>,
}

impl<'p> Census<'p> {
    /// Takes the census of a cluster.
    pub(crate) fn of(index: &'p Index) -> Self {
        let mut census = Self {
            vocabulary: Vocabulary::of(index),
            index,
            namespaces: index.namespaces().map(|n| n.name().clone()).collect(),
            numbers: HashMap::new(),
            kinds: Vec::new(),
            sides: Vec::new(),
            ports: vec![Vec::new()],
            port_numbers: [(Vec::new(), 0)].into(),
            pods: Vec::new(),
            in_namespace: Vec::new(),
            labelled: HashMap::new(),
            in_piece: BTreeMap::new(),
            selected_namespaces: HashMap::new(),
            subjects: Vec::new(),
        };
        census.in_namespace = vec![Vec::new(); census.namespaces.len()];
        census.count_pods();
        census.count_nodes();
        census.count_the_world();
        census
    }

    /// How many kinds there are.
    pub(crate) fn len(&self) -> usize {
        self.kinds.len()
    }

    /// An end of a kind.
    pub(crate) fn side(&self, kind: u32) -> &Side {
        &self.sides[kind as usize]
    }

    /// The named ports of a kind, by number, and whether it is of pods.
    pub(crate) fn ports_of(&self, kind: u32) -> Option<u32> {
        self.kinds[kind as usize].pod.as_ref().map(|(_, _, ports)| *ports)
    }

    /// Named ports by number.
    pub(crate) fn into_parts(self) -> (Vec<Subject>, Vec<Vec<NamedPort>>) {
        (self.subjects, self.ports)
    }

    /// Named ports by number.
    pub(crate) fn ports(&self) -> &[Vec<NamedPort>] {
        &self.ports
    }

    fn kind(&mut self, kind: Kind, side: impl FnOnce() -> Side) -> u32 {
        if let Some(number) = self.numbers.get(&kind) {
            return *number;
        }
        let number = small(self.kinds.len());
        if let Some((namespace, labels, _)) = &kind.pod {
            self.pods.push(number);
            self.in_namespace[*namespace as usize].push(number);
            for label in labels {
                self.labelled.entry(*label).or_default().push(number);
            }
        }
        if let Some(piece) = kind.piece {
            self.in_piece.entry(piece).or_default().push(number);
        }
        self.sides.push(side());
        self.kinds.push(kind.clone());
        self.numbers.insert(kind, number);
        number
    }

    fn count_pods(&mut self) {
        let index = self.index;
        let mut nodes = Homes::new(index);
        let mut places: HashMap<ObjectRef, usize> = HashMap::new();
        let mut groups: HashMap<(usize, Vec<End>), usize> = HashMap::new();
        let mut namespace = 0;
        for pod in index.pods() {
            // Pods come by namespace, and so do namespaces.
            while self.namespaces[namespace] != pod.meta.namespace {
                namespace += 1;
            }
            let ends = if pod.host_network { self.ends_at_node(pod) } else { self.ends_of_pod(pod, small(namespace)) };
            if ends.is_empty() {
                continue;
            }
            let own = || ObjectRef::namespaced(tortie_model::Kind::Pod, &pod.meta.namespace, &pod.meta.name);
            let subjects = &mut self.subjects;
            let place = *places.entry(pod.owner.clone().unwrap_or_else(own)).or_insert_with_key(|name| {
                subjects.push(Subject::new(Name::Workload(name.clone())));
                subjects.len() - 1
            });
            let subject = &mut self.subjects[place];
            nodes.note(subject, pod, &ends);
            let group = *groups.entry((place, ends)).or_insert_with_key(|(_, ends)| {
                subject.groups.push(Group { pods: Vec::new(), ends: ends.clone() });
                subject.groups.len() - 1
            });
            subject.groups[group].pods.push(PodKey::of(pod));
        }
        self.subjects.sort_by(|a, b| a.name.cmp(&b.name));
    }

    fn ends_of_pod(&mut self, pod: &Arc<Pod>, namespace: u32) -> Vec<End> {
        let ports = self.vocabulary.named_ports(pod);
        let ports = match self.port_numbers.get(&ports) {
            Some(number) => *number,
            None => {
                let number = small(self.ports.len());
                self.ports.push(ports.clone());
                self.port_numbers.insert(ports, number);
                number
            }
        };
        let account = self.vocabulary.account(pod);
        let mut kind = Kind { pod: Some((namespace, self.vocabulary.labels(pod), ports)), account, piece: None };
        let index = self.index;
        if pod.ips.is_empty() {
            let side = || index.pod_side(pod, None).expect("a pod without addresses is an end");
            return vec![End { class: self.kind(kind, side), families: Families::BOTH }];
        }
        let mut ends = Vec::new();
        for ip in index.addresses(pod) {
            kind.piece = Some(self.vocabulary.piece(ip));
            let class = self.kind(kind.clone(), || index.address_side(ip));
            ends.push(End { class, families: Families::of(Family::of(ip)) });
        }
        together(ends)
    }

    /// A pod in the network of its node is its node.
    fn ends_at_node(&mut self, pod: &Arc<Pod>) -> Vec<End> {
        let index = self.index;
        let sides = Family::ALL.map(|family| (Families::of(family), index.pod_side(pod, Some(family))));
        let known = sides.iter().any(|(_, side)| side.is_some());
        let unknown = (Families::BOTH, index.pod_side(pod, None).filter(|_| !known));
        let mut ends = Vec::new();
        for (families, side) in sides.into_iter().chain([unknown]) {
            ends.extend(side.map(|side| End { class: self.somebody(side), families }));
        }
        together(ends)
    }

    /// The kind of an end that is no pod to policies.
    fn somebody(&mut self, side: Side) -> u32 {
        let piece = side.ip().map(|ip| self.vocabulary.piece(ip));
        self.kind(Kind { pod: None, account: None, piece }, || side)
    }

    fn count_nodes(&mut self) {
        for (number, node) in self.index.nodes().enumerate() {
            let mut subject = Subject::new(Name::Node(node.meta.name.clone()));
            let mut ends = Vec::new();
            for ip in node.addresses.iter().map(|ip| canonical(*ip)) {
                let families = Families::of(Family::of(ip));
                let side = self.index.address_side(ip);
                subject.is_node.push((small(number), families));
                ends.push(End { class: self.somebody(side), families });
            }
            if !ends.is_empty() {
                subject.groups.push(Group { pods: Vec::new(), ends: together(ends) });
                self.subjects.push(subject);
            }
        }
    }

    /// A subject for each piece of the address space in which there are addresses of nobody.
    fn count_the_world(&mut self) {
        for family in Family::ALL {
            for piece in 0..self.vocabulary.pieces(family).len() {
                let (first, last) = self.vocabulary.pieces(family).range(piece);
                let Some(ip) = self.stranger(family, first, last) else { continue };
                let class = self.somebody(self.index.address_side(ip));
                let mut subject = Subject::new(Name::Outside(Addresses::new(family, [(first, last)])));
                let ends = vec![End { class, families: Families::of(family) }];
                subject.groups.push(Group { pods: Vec::new(), ends });
                self.subjects.push(subject);
            }
        }
    }

    /// The first address of a range that neither a pod nor a node has.
    fn stranger(&self, family: Family, first: u128, last: u128) -> Option<IpAddr> {
        let is_stranger = |ip: &IpAddr| {
            let side = self.index.address_side(*ip);
            side.pod().is_none() && side.node().is_none()
        };
        (first..=last).map(|n| address(family, n)).find(is_stranger)
    }

    /// The kinds of pods that a selector selects.
    pub(crate) fn selected(&mut self, selector: &'p EndpointSelector) -> RoaringBitmap {
        let selects = |side: &Side| side.pod().zip(side.namespace()).is_some_and(|(p, n)| selector.selects(p, n));
        let candidates = self.candidates(selector);
        candidates.into_iter().filter(|kind| selects(&self.sides[*kind as usize])).collect()
    }

    /// The kinds that the peers of a rule mean.
    pub(crate) fn meant(&mut self, peers: &'p Peers) -> RoaringBitmap {
        let mut out = RoaringBitmap::new();
        match peers {
            Peers::Any => {
                out.insert_range(0..small(self.kinds.len()));
            }
            Peers::OneOf(peers) => {
                for peer in peers {
                    out |= self.meant_by(peer);
                }
            }
        }
        out
    }

    /// The kinds that a peer means, or of which it holds when it speaks of the endpoint itself.
    pub(crate) fn meant_by(&mut self, peer: &'p Peer) -> RoaringBitmap {
        let candidates = self.candidates_of(peer);
        candidates.into_iter().filter(|kind| peer.matches(&self.sides[*kind as usize])).collect()
    }

    /// The kinds whose address is of a family.
    pub(crate) fn of_family(&self, family: Family) -> RoaringBitmap {
        let is = |side: &Side| side.ip().is_some_and(|ip| Family::of(ip) == family);
        (0..small(self.kinds.len())).filter(|kind| is(&self.sides[*kind as usize])).collect()
    }

    /// Kinds among which all are that a peer means. Whether it does, is for the engine to say.
    fn candidates_of(&mut self, peer: &'p Peer) -> Vec<u32> {
        match (&peer.endpoints, &peer.blocks) {
            (Some(selector), _) if peer.sets.is_empty() => self.candidates(selector),
            (Some(_), _) | (None, None) => (0..small(self.kinds.len())).collect(),
            (None, Some(blocks)) => {
                let mut out = Vec::new();
                for block in blocks {
                    let pieces =
                        self.vocabulary.piece(block.cidr().network())..=self.vocabulary.piece(block.cidr().broadcast());
                    out.extend(self.in_piece.range(pieces).flat_map(|(_, kinds)| kinds));
                }
                out
            }
        }
    }

    /// Kinds of pods among which all are that a selector selects: as few as one of its criteria allows.
    fn candidates(&mut self, selector: &'p EndpointSelector) -> Vec<u32> {
        let empty: &[u32] = &[];
        let labelled = |label: &Label| self.labelled.get(label).map_or(empty, Vec::as_slice);
        let size = |labels: &Vec<Label>| labels.iter().map(|l| labelled(l).len()).sum::<usize>();
        let by_label = self.vocabulary.wanted(&selector.pods).map(|labels| (size(&labels), labels)).min();
        if let Some((size, labels)) = &by_label
            && *size <= self.namespaces.len()
        {
            return labels.iter().flat_map(labelled).copied().collect();
        }
        let namespaces = match &selector.namespaces {
            NamespaceMatch::Named(name) => {
                self.namespaces.binary_search(name).map_or_else(|_| Arc::default(), |n| Arc::from([small(n)]))
            }
            NamespaceMatch::Matching(labels) if labels.is_everything() => {
                return match by_label {
                    Some((_, labels)) => labels.iter().flat_map(labelled).copied().collect(),
                    None => self.pods.clone(),
                };
            }
            NamespaceMatch::Matching(labels) => {
                let index = self.index;
                let all = || index.namespaces().enumerate().filter(|(_, n)| labels.matches(n.labels()));
                let found = self.selected_namespaces.entry(labels);
                found.or_insert_with(|| all().map(|(n, _)| small(n)).collect()).clone()
            }
        };
        let there = || namespaces.iter().map(|n| &self.in_namespace[*n as usize]);
        let labelled = |label: &Label| self.labelled.get(label).map_or(empty, Vec::as_slice);
        match by_label {
            Some((size, labels)) if size <= there().map(Vec::len).sum() => {
                labels.iter().flat_map(labelled).copied().collect()
            }
            _ => there().flatten().copied().collect(),
        }
    }
}

/// Nodes by number, for whom it matters which pods run on them.
struct Homes {
    numbers: HashMap<Arc<str>, u32>,
}

impl Homes {
    fn new(index: &Index) -> Self {
        Self { numbers: index.nodes().map(|n| n.meta.name.clone()).zip(0..).collect() }
    }

    /// Notes where a pod of a subject runs, or which node it is.
    fn note(&mut self, subject: &mut Subject, pod: &Pod, ends: &[End]) {
        let Some(number) = pod.node.as_ref().and_then(|n| self.numbers.get(n)) else { return };
        let families = ends.iter().fold(Families::default(), |all, end| all.or(end.families));
        let list = if pod.host_network { &mut subject.is_node } else { &mut subject.runs_on };
        if !list.contains(&(*number, families)) {
            list.push((*number, families));
        }
    }
}
