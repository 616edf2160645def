//! What requests from outside reach through an Ingress, a Gateway or a Service, and are let in.
//!
//! Those through an Ingress or a Gateway come from the pods of its controller, of which nothing is known: they are let
//! in where every pod would be. Those through a Service come from outside.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use tortie_analysis::backend::Backend;
use tortie_analysis::ingress::{Way, ingresses};
use tortie_manifest::ObjectSet;
use tortie_model::{Direction, ObjectRef, Pod};
use tortie_policy::{PodKey, Regions};

use crate::Connectivity;
use crate::exposure::{Openings, all_pods, of_class};
use crate::packets;
use crate::subject::Name;

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
    let points = ingresses(objects).points;
    if points.is_empty() {
        return Vec::new();
    }
    let mut homes: HashMap<&PodKey, (usize, usize)> = HashMap::new();
    for (place, subject) in connectivity.subjects().iter().enumerate() {
        for (group, members) in subject.groups.iter().enumerate() {
            homes.extend(members.pods.iter().map(|pod| (pod, (place, group))));
        }
    }
    let mut sources = Sources { connectivity, from_pods: HashMap::new(), from_outside: HashMap::new() };
    let mut found: BTreeMap<(ObjectRef, Name), (Way, Regions<bool>)> = BTreeMap::new();
    for point in &points {
        for backend in &point.backends {
            let Backend::Pod(pod, port) = backend else { continue };
            let Some((place, group)) = homes.get(&PodKey::of(pod)) else { continue };
            let open = sources.open(point.way, (*place, *group), pod);
            let asked = packets::only(point.port.protocol.into(), *port..=*port);
            let set = asked.zip(&open, |asked, open| *asked && *open);
            if packets::any(&set) {
                let to = connectivity.subjects()[*place].name.clone();
                let (_, sum) =
                    found.entry((point.entry.clone(), to)).or_insert_with(|| (point.way, Regions::uniform(false)));
                *sum = sum.zip(&set, |a, b| *a || *b);
            }
        }
    }
    let way_in = |((entry, to), (way, set))| WayIn { way, entry, to, packets: Arc::new(set) };
    found.into_iter().map(way_in).collect()
}

/// What groups of pods let in, by where it comes from.
struct Sources<'c> {
    connectivity: &'c Connectivity,
    from_pods: HashMap<u32, Arc<Regions<bool>>>,
    from_outside: HashMap<(usize, usize), Arc<Regions<bool>>>,
}

impl Sources<'_> {
    fn open(&mut self, way: Way, (place, group): (usize, usize), pod: &Pod) -> Arc<Regions<bool>> {
        if pod.host_network {
            return Arc::new(Regions::uniform(true));
        }
        if !way.has_controller() {
            return self.open_to_the_world(place, group);
        }
        let ends = &self.connectivity.subjects()[place].groups[group].ends;
        let mut all = Regions::uniform(false);
        for end in ends {
            let connectivity = self.connectivity;
            let set = self.from_pods.entry(end.class).or_insert_with(|| {
                let openings: Openings = of_class(connectivity, end.class, Direction::Ingress);
                openings.get(&all_pods()).cloned().unwrap_or_default().set()
            });
            all = all.zip(set, |a, b| *a || *b);
        }
        Arc::new(all)
    }

    fn open_to_the_world(&mut self, place: usize, group: usize) -> Arc<Regions<bool>> {
        let connectivity = self.connectivity;
        let sum = self.from_outside.entry((place, group)).or_insert_with(|| {
            let strangers =
                connectivity.subjects().iter().enumerate().filter(|(_, s)| matches!(s.name, Name::Outside(_)));
            let sets = strangers.filter_map(|(i, _)| connectivity.between_groups((i, None), (place, Some(group))));
            let all = sets.fold(Regions::uniform(false), |all, (some, _)| all.zip(&some, |a, b| *a || *b));
            Arc::new(all)
        });
        sum.clone()
    }
}
