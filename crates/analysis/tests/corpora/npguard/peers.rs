//! Who reaches whom in the files of a record: workloads, and stretches of the world.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, Ipv4Addr};
use std::ops::RangeInclusive;

use serde_json::Value;
use tortie_manifest::{LoadOptions, Loaded, Memory, ObjectSet, Origin, Place, load};
use tortie_model::{Direction, Object, Phase, Pod};
use tortie_policy::{RuleRef, Side};

use super::ports::{PortSets, allowed, union};
use crate::cluster::{Cluster, list, objects};
use crate::forgiving;

/// A peer of a list: a workload, or a stretch of the world by its first address.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Peer {
    Workload(String),
    World(Ipv4Addr),
}

/// Who reaches whom on what.
pub(super) type Rows = BTreeMap<(Peer, Peer), PortSets>;

/// The peer of a list that stands for whatever an Ingress or Route lets in.
const INGRESS_CONTROLLER: &str = "{ingress-controller}";

/// Reads the files of a record.
pub(super) fn read(files: &Value) -> Loaded {
    let text = |text: &Value| forgiving::text(text.as_str().unwrap_or_default());
    let texts: Vec<(String, String)> =
        files.as_object().into_iter().flatten().map(|(path, t)| (path.clone(), text(t))).collect();
    let paths: Vec<String> = texts.iter().map(|(path, _)| path.clone()).collect();
    load(&Memory::new(texts), &paths, &LoadOptions::default())
}

/// The cluster of a record.
pub(super) struct World {
    pub(super) cluster: Cluster,
    pods: Vec<(String, Side)>,
    set: ObjectSet,
}

impl World {
    /// The cluster that some files describe.
    pub(super) fn of(files: &Value) -> Result<Self, String> {
        let mut loaded = read(files);
        for one in &mut loaded.objects {
            if let Object::Pod(pod) = &mut one.object {
                pod.phase = Phase::Running;
            }
        }
        let set = objects(&loaded)?;
        let cluster = Cluster::without_addresses(&set);
        let mut origins: HashMap<String, &Origin> = HashMap::new();
        for one in &loaded.objects {
            if let Object::Pod(pod) = &one.object {
                origins.insert(pod.key(), &one.origin);
            }
        }
        let named =
            set.pods.iter().map(|pod| Ok((name(pod, origins.get(&pod.key()).copied()), cluster.end(&pod.key())?)));
        let pods = named.collect::<Result<_, String>>()?;
        Ok(Self { cluster, pods, set })
    }

    /// The ends that a peer stands for.
    pub(super) fn sides(&self, peer: &Peer) -> Vec<Side> {
        match peer {
            Peer::Workload(name) => self.pods.iter().filter(|(n, _)| n == name).map(|(_, side)| side.clone()).collect(),
            Peer::World(ip) => vec![self.cluster.index.address_side(IpAddr::V4(*ip))],
        }
    }

    /// Kind and name of the cluster policy that a rule is of, and the name of the rule.
    pub(super) fn rule_of_cluster_policy(&self, rule: &RuleRef) -> Option<(String, String, String)> {
        let policy = &rule.policy;
        let written = self.set.cluster_policies.iter().find(|p| p.kind == policy.kind && p.meta.name == policy.name)?;
        let rules = match rule.direction {
            Direction::Ingress => &written.ingress,
            Direction::Egress => &written.egress,
        };
        let name = &rules[rule.index].name;
        Some((policy.kind.written().to_owned(), policy.name.to_string(), name.to_string()))
    }

    /// The first addresses of the stretches of the world at whose edges some policy changes its mind.
    pub(super) fn cuts(&self) -> BTreeSet<u32> {
        let mut cuts = BTreeSet::from([0]);
        let policies = self.cluster.index.policies();
        let rules = policies.flat_map(|p| p.ingress.iter().chain(&p.egress).flatten());
        for net in rules.flat_map(|r| r.peers.listed()).flat_map(|peer| peer.nets()) {
            if let (IpAddr::V4(first), IpAddr::V4(last)) = (net.network(), net.broadcast()) {
                cut(&mut cuts, &(first.to_bits()..=last.to_bits()));
            }
        }
        cuts
    }

    /// What the engine says: a workload reaches what any of its pods reaches.
    pub(super) fn rows(&self, cuts: &BTreeSet<u32>, wanted: &dyn Fn(&Peer, &Peer) -> bool) -> Rows {
        let pods: Vec<(Peer, &Side)> = self.pods.iter().map(|(n, side)| (Peer::Workload(n.clone()), side)).collect();
        let stretches: Vec<(Ipv4Addr, Side)> = cuts
            .iter()
            .map(|bits| Ipv4Addr::from_bits(*bits))
            .map(|ip| (ip, self.cluster.index.address_side(IpAddr::V4(ip))))
            .collect();
        let world: Vec<(Peer, &Side)> = stretches.iter().map(|(ip, side)| (Peer::World(*ip), side)).collect();
        let mut rows = Rows::new();
        let mut add = |from: &(Peer, &Side), to: &(Peer, &Side)| {
            if from.0 == to.0 || !wanted(&from.0, &to.0) {
                return;
            }
            let ports = allowed(&self.cluster, from.1, to.1);
            if !ports.is_empty() {
                let row = rows.entry((from.0.clone(), to.0.clone())).or_default();
                *row = union(std::mem::take(row), &ports);
            }
        };
        for pod in &pods {
            pods.iter().for_each(|other| add(pod, other));
            for stretch in &world {
                add(pod, stretch);
                add(stretch, pod);
            }
        }
        rows
    }
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

/// Cuts the world at both edges of a range.
fn cut(cuts: &mut BTreeSet<u32>, range: &RangeInclusive<u32>) {
    cuts.insert(*range.start());
    cuts.extend(range.end().checked_add(1));
}

/// `A-B`, as addresses.
fn stretch(name: &str) -> Option<RangeInclusive<u32>> {
    let (first, last) = name.split_once('-')?;
    let number = |s: &str| s.parse::<Ipv4Addr>().ok().map(Ipv4Addr::to_bits);
    Some(number(first)?..=number(last)?)
}

/// Cuts the world where rows of a record do.
pub(super) fn cut_at(cuts: &mut BTreeSet<u32>, rows: &Value) {
    let names = list(rows).iter().flat_map(|row| [&row["src"], &row["dst"]]).filter_map(Value::as_str);
    names.filter_map(stretch).for_each(|range| cut(cuts, &range));
}

/// The peers of a name: one workload, or all stretches of a part of the world.
pub(super) fn peers(name: &str, cuts: &BTreeSet<u32>) -> Vec<Peer> {
    match stretch(name) {
        Some(range) => cuts.range(range).copied().map(Ipv4Addr::from_bits).map(Peer::World).collect(),
        None => vec![Peer::Workload(name.to_owned())],
    }
}

/// The pairs that a row of a record speaks of: none where Ingress and Route objects are meant.
pub(super) fn pairs(row: &Value, cuts: &BTreeSet<u32>) -> Vec<(Peer, Peer)> {
    let (from, to) = (row["src"].as_str().unwrap_or_default(), row["dst"].as_str().unwrap_or_default());
    if from == INGRESS_CONTROLLER {
        return Vec::new();
    }
    let to = peers(to, cuts);
    peers(from, cuts).into_iter().flat_map(|from| to.iter().map(move |to| (from.clone(), to.clone()))).collect()
}

/// The rows of a record; the ports of each are the member of that name.
pub(super) fn expected(rows: &Value, ports: &str, cuts: &BTreeSet<u32>) -> Rows {
    let mut out = Rows::new();
    for row in list(rows) {
        let ports = super::port_sets(&row[ports]);
        for pair in pairs(row, cuts) {
            let row = out.entry(pair).or_default();
            *row = union(std::mem::take(row), &ports);
        }
    }
    out.retain(|_, ports| !ports.is_empty());
    out
}
