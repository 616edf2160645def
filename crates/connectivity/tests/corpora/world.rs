//! Who reaches whom in the files of a record, as np-guard tells it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, Ipv4Addr};

use serde_json::Value;
use tortie_analysis::deltas;
use tortie_connectivity::{Anybody, Connectivity, Name, all_pods, exposure, packets, ways_in};
use tortie_manifest::{Expansion, LoadOptions, Memory, ObjectSet, Origin, Place, Severity, load};
use tortie_model::{Direction, Family, Kind, Object, ObjectRef, Phase, Pod, Protocol};
use tortie_policy::{EndpointSelector, Regions};

use crate::{forgiving, list, selector};

/// Ports of each protocol, as sorted ranges from 1 on; protocols without any are left out.
pub(crate) type PortSets = BTreeMap<String, Vec<(u16, u16)>>;

/// A peer of a list.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Peer {
    Workload(String),
    /// A stretch of the world by its first address.
    World(Ipv4Addr),
    /// Pods that are not there.
    Pods(EndpointSelector),
    IngressController,
}

pub(crate) type Rows = BTreeMap<(Peer, Peer), PortSets>;

/// The cluster of a record.
pub(crate) struct World {
    pub(crate) connectivity: Connectivity,
    objects: ObjectSet,
}

impl World {
    pub(crate) fn of(files: &Value) -> Result<Self, String> {
        let text = |text: &Value| forgiving::text(text.as_str().unwrap_or_default());
        let texts: Vec<(String, String)> =
            files.as_object().into_iter().flatten().map(|(path, t)| (path.clone(), text(t))).collect();
        let paths: Vec<String> = texts.iter().map(|(path, _)| path.clone()).collect();
        let mut loaded = load(&Memory::new(texts), &paths, &LoadOptions::default());
        if let Some(error) = loaded.diagnostics.iter().find(|d| d.severity == Severity::Error) {
            return Err(format!("refused: {}", error.render(false)));
        }
        for one in &mut loaded.objects {
            if let Object::Pod(pod) = &mut one.object {
                pod.phase = Phase::Running;
            }
        }
        let mut objects = ObjectSet::of(loaded.objects.iter().map(|o| &o.object), &Expansion::default());
        let mut origins: HashMap<String, &Origin> = HashMap::new();
        for one in &loaded.objects {
            if let Object::Pod(pod) = &one.object {
                origins.insert(pod.key(), &one.origin);
            }
        }
        for pod in &mut objects.pods {
            let called = name(pod, origins.get(&pod.key()).copied());
            pod.owner = Some(ObjectRef::namespaced(Kind::Deployment, &pod.meta.namespace, &called));
            pod.ips.clear();
            pod.host_network = false;
        }
        let connectivity = Connectivity::of(&deltas::World::of(&objects).index());
        Ok(Self { connectivity, objects })
    }

    /// The rows of a list.
    pub(crate) fn theirs(&self, rows: &Value) -> Rows {
        Self::rows(rows, "allowed", &self.cuts(rows))
    }

    /// The rows of a list, with the ports of a column.
    pub(crate) fn rows(rows: &Value, column: &str, cuts: &BTreeSet<u32>) -> Rows {
        let mut out = Rows::new();
        for row in list(rows) {
            for from in peers(&row["src"], cuts) {
                for to in peers(&row["dst"], cuts) {
                    add(&mut out, (from.clone(), to), port_sets(&row[column]));
                }
            }
        }
        out
    }

    /// What all pairs at once say, a row a pair.
    pub(crate) fn ours(&self, rows: &Value, focus: &[&str], direction: &str) -> Rows {
        let cuts = self.cuts(rows);
        let mut out = Rows::new();
        let subjects = self.connectivity.subjects();
        let peers: Vec<Vec<Peer>> = subjects.iter().map(|s| Self::peers_of(&s.name, &cuts)).collect();
        let wanted = |from: &Peer, to: &Peer| {
            focus.is_empty()
                || (direction != "egress" && is_in_focus(to, focus))
                || (direction != "ingress" && is_in_focus(from, focus))
        };
        for i in 0..subjects.len() {
            for (j, set) in self.connectivity.row(i).iter().enumerate() {
                let among_strangers = [i, j].iter().all(|s| matches!(subjects[*s].name, Name::Outside(_)));
                if i == j || among_strangers {
                    continue;
                }
                let pairs = peers[i].iter().flat_map(|from| peers[j].iter().map(move |to| (from, to)));
                for (from, to) in pairs.filter(|(from, to)| wanted(from, to)) {
                    add(&mut out, (from.clone(), to.clone()), ports_of(set));
                }
            }
        }
        for way in ways_in(&self.connectivity, &self.objects) {
            let from = Peer::IngressController;
            if let [to] = &Self::peers_of(&way.to, &cuts)[..]
                && way.way.has_controller()
                && wanted(&from, to)
            {
                add(&mut out, (from, to.clone()), ports_of(&way.packets));
            }
        }
        out
    }

    /// The rows of an exposure: to and from pods that are not there, and the world.
    pub(crate) fn their_exposure(&self, rows: &Value) -> Rows {
        let cuts = self.cuts_of_exposure(rows);
        let mut out = Rows::new();
        for row in list(rows) {
            let workload = Peer::Workload(row["workload"].as_str().unwrap_or_default().to_owned());
            let peer = &row["peer"];
            let text = |key: &str| peer[key].as_str().unwrap_or_default();
            let others = match text("type") {
                "ip" => peers(&peer["range"], &cuts),
                "entire-cluster" => vec![Peer::Pods(all_pods())],
                _ => vec![Peer::Pods(selector::representative(text("namespace"), text("pod")))],
            };
            for other in others {
                add(&mut out, ordered(&row["direction"], workload.clone(), other), port_sets(&row["allowed"]));
            }
        }
        out
    }

    pub(crate) fn our_exposure(&self, rows: &Value, focus: &[&str], direction: &str) -> Rows {
        let cuts = self.cuts_of_exposure(rows);
        let theirs = self.their_exposure(rows);
        let mut out = Rows::new();
        let wanted = |peer: &Peer, its: Direction| {
            (focus.is_empty() || is_in_focus(peer, focus)) && (direction.is_empty() || direction == its.as_str())
        };
        for opening in exposure(&self.connectivity) {
            let (Anybody::Subject(who), Anybody::Pods(whom)) = (&opening.who, &opening.whom) else { continue };
            let [who] = &Self::peers_of(who, &cuts)[..] else { continue };
            let its = Value::String(opening.direction.to_string());
            let pair = ordered(&its, who.clone(), Peer::Pods(selector::by_name(whom)));
            // A label that is asked for in an expression makes a row, whether a pod has it or not; in matchLabels, it
            // makes one only where no pod has it. Both are the same to us.
            if wanted(who, opening.direction) && (!opening.is_told || theirs.contains_key(&pair)) {
                add(&mut out, pair, ports_of(&opening.packets));
            }
        }
        for ((from, to), sets) in self.rows_of_the_world(&cuts) {
            let its = if matches!(from, Peer::World(_)) { Direction::Ingress } else { Direction::Egress };
            let workload = if its == Direction::Ingress { &to } else { &from };
            if wanted(workload, its) {
                add(&mut out, (from.clone(), to.clone()), sets);
            }
        }
        out
    }

    fn rows_of_the_world(&self, cuts: &BTreeSet<u32>) -> Rows {
        let mut out = Rows::new();
        let subjects = self.connectivity.subjects();
        for (i, from) in subjects.iter().enumerate() {
            for (j, to) in subjects.iter().enumerate() {
                if matches!(from.name, Name::Outside(_)) == matches!(to.name, Name::Outside(_)) {
                    continue;
                }
                let sets = ports_of(&self.connectivity.allowed(i, j));
                for a in Self::peers_of(&from.name, cuts) {
                    for b in Self::peers_of(&to.name, cuts) {
                        add(&mut out, (a.clone(), b), sets.clone());
                    }
                }
            }
        }
        out
    }

    pub(crate) fn peers_of(name: &Name, cuts: &BTreeSet<u32>) -> Vec<Peer> {
        match name {
            Name::Workload(object) => vec![Peer::Workload(object.name.to_string())],
            Name::Outside(addresses) if addresses.family() == Family::V4 => {
                let ips = cuts.iter().map(|bits| Ipv4Addr::from_bits(*bits));
                ips.filter(|ip| addresses.contains(IpAddr::V4(*ip))).map(Peer::World).collect()
            }
            _ => Vec::new(),
        }
    }

    /// The first addresses of the stretches of the world that either side tells apart.
    pub(crate) fn cuts(&self, rows: &Value) -> BTreeSet<u32> {
        self.cut(list(rows).iter().flat_map(|row| [&row["src"], &row["dst"]]))
    }

    fn cuts_of_exposure(&self, rows: &Value) -> BTreeSet<u32> {
        self.cut(list(rows).iter().map(|row| &row["peer"]["range"]))
    }

    fn cut<'v>(&self, names: impl Iterator<Item = &'v Value>) -> BTreeSet<u32> {
        let mut cuts = BTreeSet::from([0]);
        for (first, last) in names.filter_map(|name| stretch(name.as_str()?)) {
            cuts.insert(first);
            cuts.extend(last.checked_add(1));
        }
        for subject in self.connectivity.subjects() {
            if let Name::Outside(addresses) = &subject.name {
                let v4 = |ip: IpAddr| if let IpAddr::V4(ip) = ip { Some(ip.to_bits()) } else { None };
                cuts.extend(addresses.ranges().filter_map(|(first, _)| v4(first)));
            }
        }
        cuts
    }
}

fn add(rows: &mut Rows, pair: (Peer, Peer), sets: PortSets) {
    if sets.is_empty() {
        return;
    }
    let row = rows.entry(pair).or_default();
    for (protocol, ranges) in sets {
        let all = row.entry(protocol).or_default();
        all.extend(ranges);
        all.sort_unstable();
        let mut merged: Vec<(u16, u16)> = Vec::new();
        for (start, end) in all.drain(..) {
            match merged.last_mut() {
                Some(last) if u32::from(start) <= u32::from(last.1) + 1 => last.1 = last.1.max(end),
                _ => merged.push((start, end)),
            }
        }
        *all = merged;
    }
}

/// A workload and a peer as sender and receiver.
fn ordered(direction: &Value, workload: Peer, other: Peer) -> (Peer, Peer) {
    if direction == "egress" { (workload, other) } else { (other, workload) }
}

/// Whether a workload is one that a list is about.
fn is_in_focus(peer: &Peer, focus: &[&str]) -> bool {
    match peer {
        Peer::Workload(name) => {
            let whole = name.split('[').next().unwrap_or(name);
            let bare = whole.split_once('/').map_or(whole, |(_, n)| n);
            focus.iter().any(|f| *f == whole || *f == bare)
        }
        Peer::IngressController => focus.contains(&"ingress-controller"),
        Peer::World(_) | Peer::Pods(_) => false,
    }
}

/// `A-B`, as numbers.
fn stretch(name: &str) -> Option<(u32, u32)> {
    let (first, last) = name.split_once('-')?;
    let number = |s: &str| s.parse::<Ipv4Addr>().ok().map(Ipv4Addr::to_bits);
    Some((number(first)?, number(last)?))
}

/// The peers of a name: one workload, or all stretches of a part of the world.
fn peers(name: &Value, cuts: &BTreeSet<u32>) -> Vec<Peer> {
    let name = name.as_str().unwrap_or_default();
    match stretch(name) {
        Some((first, last)) => cuts.range(first..=last).copied().map(Ipv4Addr::from_bits).map(Peer::World).collect(),
        None if name == "{ingress-controller}" => vec![Peer::IngressController],
        None => vec![Peer::Workload(name.to_owned())],
    }
}

/// `{PROTO: [[lo, hi], ..]}`; there is no port 0.
fn port_sets(value: &Value) -> PortSets {
    let port = |v: &Value| v.as_u64().and_then(|n| u16::try_from(n).ok()).expect("a port");
    let ranges = |v: &Value| list(v).iter().map(|r| (port(&r[0]).max(1), port(&r[1]))).collect();
    value.as_object().into_iter().flatten().map(|(protocol, v)| (protocol.clone(), ranges(v))).collect()
}

pub(crate) fn ports_of(set: &Regions<bool>) -> PortSets {
    let mut out = PortSets::new();
    for protocol in Protocol::ALL {
        let ranges = packets::ranges(set, protocol.into());
        let ranges: Vec<_> =
            ranges.iter().map(|r| ((*r.start()).max(1), *r.end())).filter(|(first, last)| first <= last).collect();
        if !ranges.is_empty() {
            out.insert(protocol.to_string(), ranges);
        }
    }
    out
}

/// How np-guard calls a pod: by the owner that it names first, whatever that is, unless it is a node.
fn name(pod: &Pod, origin: Option<&Origin>) -> String {
    let written = |place: Place| place.file.text()[place.span].trim_matches(['"', '\'']).to_owned();
    let of_owner = |field: &str| {
        let pointer = format!("/metadata/ownerReferences/0/{field}");
        let origin = origin.filter(|o| written(o.key_place(&pointer)) == field)?;
        Some(written(origin.place(&pointer)))
    };
    let namespace = &pod.meta.namespace;
    match (of_owner("name").zip(of_owner("kind")), &pod.owner) {
        (Some((name, kind)), _) if kind != "Node" => format!("{namespace}/{name}[{kind}]"),
        (None, Some(owner)) if origin.is_none() => format!("{namespace}/{}[{}]", owner.name, owner.kind),
        _ => format!("{namespace}/{}[Pod]", pod.meta.name),
    }
}
