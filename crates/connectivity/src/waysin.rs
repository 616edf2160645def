//! What requests from outside reach through an Ingress, a Gateway or a Service, and are let in.
//!
//! Those through an Ingress or a Gateway come from the pods of its controller, of which nothing is known: they are let
//! in where every pod would be. Those through a Service come from outside.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use tortie_analysis::backend::Backend;
use tortie_analysis::ingress::{IngressPoint, Way, ingresses};
use tortie_manifest::ObjectSet;
use tortie_model::{Direction, Kind, ObjectRef};
use tortie_policy::{PodKey, Regions, Verdict};

use crate::connectivity::{Connectivity, Decision};
use crate::exposure::from_any_pod;
use crate::packets;
use crate::subject::{End, Name};

/// What comes in by one way to one workload.
#[derive(Clone, Debug)]
pub struct WayIn {
    /// By which way.
    pub way: Way,
    /// The Ingress, Gateway or Service at which requests enter.
    pub entry: ObjectRef,
    /// The workload that they reach.
    pub to: Name,
    /// What policies let in of what is sent there.
    pub packets: Arc<Regions<bool>>,
}

impl WayIn {
    /// The entry, called as workloads are.
    #[must_use]
    pub fn name(&self) -> Name {
        Name::Workload(self.entry.clone())
    }
}

/// The ways into a cluster to pods that policies let requests in to, by entry and workload.
#[must_use]
pub fn ways_in(connectivity: &Connectivity, objects: &ObjectSet) -> Vec<WayIn> {
    let all = approaches(connectivity, objects).into_iter().filter(|(_, approach)| packets::any(&approach.let_in));
    let way_in = |((entry, to), Approach { way, let_in, .. })| WayIn { way, entry, to, packets: Arc::new(let_in) };
    all.map(way_in).collect()
}

/// One way to one workload, whether policies let requests in or not.
pub(crate) struct Approach {
    /// By which way.
    pub(crate) way: Way,
    /// What is sent there.
    pub(crate) sent: Regions<bool>,
    /// What policies let in of it.
    pub(crate) let_in: Regions<bool>,
    /// The ends of the pods that are reached, as far as policies govern them.
    pub(crate) ends: BTreeSet<End>,
    /// The objects that lead there.
    pub(crate) objects: BTreeSet<ObjectRef>,
}

/// All ways to workloads, by entry and workload.
pub(crate) fn approaches(connectivity: &Connectivity, objects: &ObjectSet) -> BTreeMap<(ObjectRef, Name), Approach> {
    let points = ingresses(objects).points;
    let mut found: BTreeMap<(ObjectRef, Name), Approach> = BTreeMap::new();
    if points.is_empty() {
        return found;
    }
    let mut homes: HashMap<&PodKey, (usize, usize)> = HashMap::new();
    for (place, subject) in connectivity.subjects().iter().enumerate() {
        for (group, members) in subject.groups.iter().enumerate() {
            homes.extend(members.pods.iter().map(|pod| (pod, (place, group))));
        }
    }
    let mut sources = Sources { connectivity, known: HashMap::new() };
    for point in &points {
        let objects = leading(point, objects);
        // Pods of a group are let in alike.
        let mut done = HashSet::new();
        for backend in &point.backends {
            let Backend::Pod(pod, port) = backend else { continue };
            let Some((place, group)) = homes.get(&PodKey::of(pod)) else { continue };
            if !done.insert((place, group, port, pod.host_network)) {
                continue;
            }
            let subject = &connectivity.subjects()[*place];
            // Policies do not govern pods in the network of their node.
            let ends = if pod.host_network { &[][..] } else { &subject.groups[*group].ends };
            let sent = packets::only(point.port.protocol.into(), *port..=*port);
            let mut open = Regions::uniform(pod.host_network);
            for end in ends {
                open = open.zip(&sources.open(point.way, *end), |a, b| *a || *b);
            }
            let let_in = sent.zip(&open, |sent, open| *sent && *open);
            let approach = found.entry((point.entry.clone(), subject.name.clone())).or_insert_with(|| Approach {
                way: point.way,
                sent: Regions::uniform(false),
                let_in: Regions::uniform(false),
                ends: BTreeSet::new(),
                objects: BTreeSet::new(),
            });
            approach.sent = approach.sent.zip(&sent, |a, b| *a || *b);
            approach.let_in = approach.let_in.zip(&let_in, |a, b| *a || *b);
            approach.ends.extend(ends);
            approach.objects.extend(objects.iter().cloned());
        }
    }
    found
}

/// The objects that make a way lead where it does, as far as they can be in the input.
fn leading(point: &IngressPoint<'_>, objects: &ObjectSet) -> Vec<ObjectRef> {
    let service = &point.service.meta;
    let home = &service.namespace;
    let mut out = vec![
        point.entry.clone(),
        point.saying.object.clone(),
        ObjectRef::namespaced(Kind::Service, home, &service.name),
    ];
    if point.service.selector.is_none() {
        let slices = objects.endpoint_slices.iter();
        let own = slices.filter(|s| s.meta.namespace == *home && s.service.as_ref() == Some(&service.name));
        out.extend(own.map(|s| ObjectRef::namespaced(Kind::EndpointSlice, home, &s.meta.name)));
    }
    if point.saying.object.kind == Kind::HTTPRoute && point.saying.object.namespace.as_ref() != Some(home) {
        let grants = objects.reference_grants.iter().filter(|g| g.meta.namespace == *home);
        out.extend(grants.map(|g| ObjectRef::namespaced(Kind::ReferenceGrant, home, &g.meta.name)));
    }
    out
}

/// What governs an end where requests by a way reach it: one decision for each kind of sender.
pub(crate) fn decisions(connectivity: &Connectivity, way: Way, end: End) -> Vec<Decision<'_>> {
    if way.has_controller() {
        return vec![from_any_pod(connectivity, end.class)];
    }
    let strangers = connectivity.subjects().iter().filter(|s| matches!(s.name, Name::Outside(_)));
    let classes: BTreeSet<u32> =
        strangers.flat_map(|s| s.ends().map(|(_, e)| *e)).filter(|e| e.meets(&end)).map(|e| e.class).collect();
    let mut out: Vec<Decision<'_>> = Vec::new();
    for class in classes {
        let decision = connectivity.decision(class, end.class, Direction::Ingress);
        if !out.iter().any(|known| known.outcomes == decision.outcomes) {
            out.push(decision);
        }
    }
    out
}

/// What ends let in, by the way it comes.
struct Sources<'c> {
    connectivity: &'c Connectivity,
    known: HashMap<(bool, End), Arc<Regions<bool>>>,
}

impl Sources<'_> {
    fn open(&mut self, way: Way, end: End) -> Arc<Regions<bool>> {
        let open = || {
            let all = decisions(self.connectivity, way, end);
            let sum = all.iter().fold(Regions::uniform(false), |sum, decision| match &decision.outcomes {
                Some(outcomes) => sum.zip(outcomes, |some, o| *some || o.verdict == Verdict::Allow),
                None => Regions::uniform(true),
            });
            Arc::new(sum)
        };
        self.known.entry((way.has_controller(), end)).or_insert_with(open).clone()
    }
}
