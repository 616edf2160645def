//! How the ways into two clusters differ, and why: objects that lead elsewhere, policies that let in other requests, or
//! other pods.

use std::collections::BTreeSet;
use std::sync::Arc;

use tortie_manifest::ObjectSet;
use tortie_model::{Direction, Kind, Meta, ObjectRef};
use tortie_policy::Regions;

use crate::cause::{Cause, Fate, Turn, causes_in};
use crate::connectivity::{Connectivity, Decision};
use crate::difference::Change;
use crate::packets;
use crate::subject::Name;
use crate::waysin::{Approach, approaches, decisions};

/// The ways by which other requests come in.
pub(crate) fn changed_ways(clusters: [(&Connectivity, &ObjectSet); 2]) -> Vec<Change> {
    let ways = clusters.map(|(connectivity, objects)| approaches(connectivity, objects));
    let comparison = Comparison { clusters: clusters.map(|(c, _)| c), objects: clusters.map(|(_, o)| o) };
    let keys: BTreeSet<_> = ways.iter().flat_map(|ways| ways.keys()).collect();
    let change = |key: &(ObjectRef, Name)| comparison.change(key, ways.each_ref().map(|ways| ways.get(key)));
    keys.into_iter().filter_map(change).collect()
}

struct Comparison<'c> {
    clusters: [&'c Connectivity; 2],
    objects: [&'c ObjectSet; 2],
}

impl Comparison<'_> {
    fn change(&self, (entry, to): &(ObjectRef, Name), ways: [Option<&Approach>; 2]) -> Option<Change> {
        let [before, after] =
            ways.map(|way| way.map_or_else(|| Regions::uniform(false), |approach| approach.let_in.clone()));
        let opened = after.zip(&before, |has, had| *has && !*had);
        let closed = before.zip(&after, |had, has| *had && !*has);
        if !packets::any(&opened) && !packets::any(&closed) {
            return None;
        }
        let from = Name::Workload(entry.clone());
        let why = |turn, set: &Regions<bool>| match packets::any(set) {
            true => self.why((turn, set), [&from, to], ways),
            false => BTreeSet::new(),
        };
        let (opened_by, closed_by) = (why(Turn::Opened, &opened), why(Turn::Closed, &closed));
        let way = ways[1].or(ways[0]).map(|approach| approach.way);
        let [before, after, opened, closed] = [before, after, opened, closed].map(Arc::new);
        Some(Change { from, to: to.clone(), way, before, after, opened, closed, opened_by, closed_by })
    }

    /// Packets that were not sent this way in the cluster where they do not pass are turned by what leads there; of the
    /// others, policies decide.
    fn why(
        &self,
        (turn, set): (Turn, &Regions<bool>),
        names: [&Name; 2],
        ways: [Option<&Approach>; 2],
    ) -> BTreeSet<Cause> {
        let shut = match turn {
            Turn::Opened => ways[0],
            Turn::Closed => ways[1],
        };
        let sent = shut.map_or_else(|| Regions::uniform(false), |approach| approach.sent.clone());
        let judged = set.zip(&sent, |turned, sent| *turned && *sent);
        let mut out = BTreeSet::new();
        if let [Some(old), Some(new)] = ways {
            out.extend(self.judged_otherwise((turn, &judged), names, [old, new]));
        }
        if out.is_empty() || packets::any(&set.zip(&sent, |turned, sent| *turned && !*sent)) {
            out.extend(self.led_elsewhere(names[1], ways));
        }
        out
    }

    fn judged_otherwise(
        &self,
        turned: (Turn, &Regions<bool>),
        names: [&Name; 2],
        ways: [&Approach; 2],
    ) -> BTreeSet<Cause> {
        let of = |i: usize| -> Vec<Decision<'_>> {
            ways[i].ends.iter().flat_map(|end| decisions(self.clusters[i], ways[i].way, *end)).collect()
        };
        let (old, new) = (of(0), of(1));
        let pairs = old.iter().flat_map(|a| new.iter().map(move |b| [a, b]));
        pairs.flat_map(|pair| causes_in(Direction::Ingress, self.clusters, pair, turned, names)).collect()
    }

    /// What leads there that is not in both clusters alike; where everything is, other pods are behind it.
    fn led_elsewhere(&self, to: &Name, ways: [Option<&Approach>; 2]) -> BTreeSet<Cause> {
        let objects: BTreeSet<&ObjectRef> = ways.into_iter().flatten().flat_map(|approach| &approach.objects).collect();
        let turned = objects.into_iter().filter_map(|object| {
            let fate = fate(self.objects, object)?;
            Some(Cause::Object { object: object.clone(), fate })
        });
        let mut out: BTreeSet<Cause> = turned.collect();
        if out.is_empty() {
            out.insert(match self.clusters.map(|cluster| cluster.find(to).is_some()) {
                [false, _] => Cause::New(to.clone()),
                [_, false] => Cause::Gone(to.clone()),
                [true, true] => Cause::End(to.clone()),
            });
        }
        out
    }
}

/// What became of an object by which requests come in; nothing when both clusters have it alike, or neither.
fn fate([old, new]: [&ObjectSet; 2], object: &ObjectRef) -> Option<Fate> {
    match object.kind {
        Kind::Ingress => fate_in([&old.ingresses, &new.ingresses], object, |o| &o.meta, |a, b| a.routes == b.routes),
        Kind::Gateway => {
            fate_in([&old.gateways, &new.gateways], object, |o| &o.meta, |a, b| a.listeners == b.listeners)
        }
        Kind::HTTPRoute => fate_in(
            [&old.http_routes, &new.http_routes],
            object,
            |o| &o.meta,
            |a, b| (&a.parents, &a.hostnames, &a.backends) == (&b.parents, &b.hostnames, &b.backends),
        ),
        Kind::ReferenceGrant => fate_in(
            [&old.reference_grants, &new.reference_grants],
            object,
            |o| &o.meta,
            |a, b| (&a.from, &a.to) == (&b.from, &b.to),
        ),
        Kind::Service => fate_in(
            [&old.services, &new.services],
            object,
            |o| &o.meta,
            |a, b| {
                let leads = |s: &tortie_model::Service| (s.kind, s.publish_not_ready, s.external_ips.is_empty());
                a.selector == b.selector && a.ports == b.ports && leads(a) == leads(b)
            },
        ),
        Kind::EndpointSlice => fate_in(
            [&old.endpoint_slices, &new.endpoint_slices],
            object,
            |o| &o.meta,
            |a, b| (&a.service, &a.endpoints, &a.ports) == (&b.service, &b.endpoints, &b.ports),
        ),
        _ => None,
    }
}

fn fate_in<T>(
    lists: [&Vec<T>; 2],
    object: &ObjectRef,
    meta: fn(&T) -> &Meta,
    alike: fn(&T, &T) -> bool,
) -> Option<Fate> {
    let is = |one: &&T| *meta(one).namespace == *object.namespace_str() && meta(one).name == object.name;
    match lists.map(|list| list.iter().find(is)) {
        [None, None] => None,
        [None, Some(_)] => Some(Fate::Added),
        [Some(_), None] => Some(Fate::Removed),
        [Some(a), Some(b)] => (!alike(a, b)).then_some(Fate::Changed),
    }
}
