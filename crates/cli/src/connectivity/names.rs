//! What parties are called, in few words.

use std::collections::{BTreeMap, BTreeSet};

use tortie_connectivity::{Addresses, Connectivity, Member, Name, View};
use tortie_model::{Family, Kind, ObjectRef, Operator};
use tortie_policy::{EndpointSelector, NamespaceMatch};

/// The label that every namespace has, with its name.
const METADATA_NAME: &str = "kubernetes.io/metadata.name";

/// More blocks than this are counted.
const MOST_BLOCKS: usize = 8;

/// Who there is, so that all of them can be told in one word.
pub(crate) struct Names {
    namespaces: BTreeMap<String, usize>,
    nodes: usize,
    /// Workloads of a namespace that have their names from others of another kind.
    twins: BTreeSet<(String, String)>,
}

/// A subject as the other commands call it, and people write it.
pub(crate) fn name(name: &Name) -> String {
    match name {
        Name::Workload(o) if o.kind == Kind::Pod => format!("{}/{}", o.namespace_str(), o.name),
        Name::Outside(addresses) => addresses.words(),
        Name::Workload(_) | Name::Node(_) => name.to_string(),
    }
}

/// Whether an object is a pod or makes pods; an Ingress or a Gateway is not.
fn is_of_pods(object: &ObjectRef) -> bool {
    object.kind == Kind::Pod || object.kind.is_workload()
}

/// Pods that are not there.
pub(super) fn pods(selector: &EndpointSelector) -> String {
    let labels = if selector.pods.is_everything() { String::new() } else { format!(" with {}", selector.pods) };
    let place = match &selector.namespaces {
        NamespaceMatch::Named(name) => format!(" in {name}"),
        NamespaceMatch::Matching(labels) if labels.is_everything() => String::new(),
        NamespaceMatch::Matching(labels) => match labels.requirements() {
            [only] if *only.key == *METADATA_NAME && only.operator == Operator::In => {
                format!(" in {}", only.values.join(" or "))
            }
            _ => format!(" in namespaces with {labels}"),
        },
    };
    let asked = selector.expression.as_ref().map(|e| format!(" where {e}")).unwrap_or_default();
    format!("any pod{labels}{place}{asked}")
}

/// A part of the world: its blocks, or, when they are many, how many.
fn world_words(addresses: &Addresses) -> String {
    let words = addresses.words();
    if words.matches(", ").count() < MOST_BLOCKS {
        return words;
    }
    let ranges = addresses.ranges();
    let (first, last) = (addresses.first(), ranges.last().map_or_else(|| addresses.first(), |(_, last)| last));
    format!("{} ranges from {first} to {last}", addresses.ranges().len())
}

impl Names {
    pub(super) fn of(connectivity: &Connectivity) -> Self {
        Self::of_all([connectivity])
    }

    /// Names for what is in several clusters, or in one of them.
    pub(crate) fn of_all<'c>(clusters: impl IntoIterator<Item = &'c Connectivity>) -> Self {
        let mut names = Self { namespaces: BTreeMap::new(), nodes: 0, twins: BTreeSet::new() };
        let mut seen = BTreeSet::new();
        let all: BTreeSet<&Name> = clusters.into_iter().flat_map(Connectivity::subjects).map(|s| &s.name).collect();
        for subject in all {
            match subject {
                Name::Workload(object) => {
                    let name = (object.namespace_str().to_owned(), object.name.to_string());
                    if !seen.insert(name.clone()) {
                        names.twins.insert(name);
                    }
                    *names.namespaces.entry(object.namespace_str().to_owned()).or_default() += 1;
                }
                Name::Node(_) => names.nodes += 1,
                Name::Outside(_) => {}
            }
        }
        names
    }

    /// A member of a party, with its kind where there is another of its name; some pods of a workload say how many they
    /// are.
    fn member(&self, member: &Member) -> String {
        let (some, all) = member.pods;
        let name = match &member.name {
            Name::Workload(o) if !self.twins.contains(&(o.namespace_str().to_owned(), o.name.to_string())) => {
                format!("{}/{}", o.namespace_str(), o.name)
            }
            whole => name(whole),
        };
        if some < all { format!("{name} ({some} of {all} pods)") } else { name }
    }

    /// Some parties of a view: workloads, where all of a namespace are meant its name, then nodes, then the world.
    pub(super) fn parties(&self, view: &View, parties: &[usize]) -> Vec<String> {
        self.members(parties.iter().flat_map(|p| &view.parties[*p].members))
    }

    pub(crate) fn members<'m>(&self, members: impl IntoIterator<Item = &'m Member>) -> Vec<String> {
        let mut out = Vec::new();
        let mut workloads: BTreeMap<&str, Vec<&Member>> = BTreeMap::new();
        let mut nodes = Vec::new();
        let mut world: BTreeMap<Family, Addresses> = BTreeMap::new();
        for member in members {
            match &member.name {
                Name::Workload(object) if !is_of_pods(object) => out.push(name(&member.name)),
                Name::Workload(object) => workloads.entry(object.namespace_str()).or_default().push(member),
                Name::Node(name) => nodes.push(name.to_string()),
                Name::Outside(addresses) => {
                    let all = world.remove(&addresses.family());
                    world.insert(addresses.family(), all.map_or_else(|| addresses.clone(), |a| a.union(addresses)));
                }
            }
        }
        let whole = |(namespace, members): (&&str, &Vec<&Member>)| {
            let distinct: BTreeSet<_> = members.iter().filter(|m| m.pods.0 == m.pods.1).map(|m| &m.name).collect();
            self.namespaces.get(*namespace).is_some_and(|all| *all == distinct.len())
        };
        if workloads.len() > 1 && workloads.len() == self.namespaces.len() && workloads.iter().all(whole) {
            out.push("*/*".to_owned());
        } else {
            for (namespace, mut members) in workloads {
                if members.len() > 1 && whole((&namespace, &members)) {
                    out.push(format!("{namespace}/*"));
                    continue;
                }
                members.sort_by(|a, b| a.name.cmp(&b.name));
                out.extend(members.into_iter().map(|m| self.member(m)));
            }
        }
        if nodes.len() > 1 && nodes.len() == self.nodes {
            out.push("node/*".to_owned());
        } else {
            nodes.sort_unstable();
            out.extend(nodes.iter().map(|n| format!("node/{n}")));
        }
        if world.len() == 2 && world.iter().all(|(family, a)| *a == Addresses::all(*family)) {
            out.push("outside".to_owned());
        } else {
            out.extend(world.values().map(world_words));
        }
        out
    }
}
