//! Pods that the labels of their namespace do not tell apart, and the selectors that mean just them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use tortie_model::{Kind, LABELS_OF_CONTROLLERS, LabelSelector, Labels, ObjectRef, Operator, Pod, Requirement};
use tortie_policy::PodKey;

use super::By;
use crate::resolve::{Population, owner};

/// Labels that say what something is, the best of them first.
const TELLING: [&str; 9] = [
    "app.kubernetes.io/name",
    "app.kubernetes.io/instance",
    "app.kubernetes.io/component",
    "app",
    "k8s-app",
    "name",
    "component",
    "tier",
    "role",
];

/// Labels that change with a release.
const PASSING: [&str; 6] =
    ["version", "app.kubernetes.io/version", "helm.sh/chart", "chart", "app.kubernetes.io/managed-by", "heritage"];

/// Pods that policies govern together.
#[derive(Debug)]
pub(crate) struct Party {
    /// Namespace.
    pub(crate) namespace: Arc<str>,
    /// The workloads that they are of; more than one where those have the same labels.
    pub(crate) owners: BTreeSet<ObjectRef>,
    /// Names for its policy, those that say most first.
    pub(crate) names: Vec<String>,
    /// The pods.
    pub(crate) pods: Vec<PodKey>,
    /// Selects just them in their namespace.
    pub(crate) selector: LabelSelector,
    /// Whether they are the cluster's DNS.
    pub(crate) is_dns: bool,
}

/// All pods of a cluster that policies can govern.
#[derive(Debug)]
pub(crate) struct Parties {
    pub(crate) all: Vec<Party>,
    places: HashMap<PodKey, usize>,
}

impl Parties {
    pub(crate) fn of(population: &Population, by: By) -> Self {
        let mut groups: BTreeMap<(Arc<str>, Labels), Vec<&Arc<Pod>>> = BTreeMap::new();
        // A pod in the network of its node is no end of its own to policies.
        for pod in population.index().pods().filter(|pod| !pod.host_network) {
            let labels = match by {
                By::Workload => lasting(&pod.meta.labels),
                By::Namespace => Labels::default(),
            };
            groups.entry((pod.meta.namespace.clone(), labels)).or_default().push(pod);
        }
        let mut by_namespace: BTreeMap<&str, Vec<&Labels>> = BTreeMap::new();
        for (namespace, labels) in groups.keys() {
            by_namespace.entry(namespace).or_default().push(labels);
        }
        let party = |((namespace, labels), pods): (&(Arc<str>, Labels), &Vec<&Arc<Pod>>)| {
            let owners: BTreeSet<ObjectRef> = pods.iter().map(|pod| owner(pod)).collect();
            let mut are_dns = pods.iter().map(|pod| population.is_dns(pod));
            let (names, is_dns) = match by {
                By::Workload => (names(&owners), are_dns.all(|is| is)),
                By::Namespace => (vec![namespace.to_string()], are_dns.any(|is| is)),
            };
            Party {
                namespace: namespace.clone(),
                owners,
                names,
                pods: pods.iter().map(|pod| PodKey::of(pod)).collect(),
                selector: selector(labels, &by_namespace[&**namespace]),
                is_dns,
            }
        };
        let all: Vec<Party> = groups.iter().map(party).collect();
        let places = all.iter().enumerate().flat_map(|(i, party)| party.pods.iter().map(move |pod| (pod.clone(), i)));
        Self { places: places.collect(), all }
    }

    /// The party that a pod is of.
    pub(crate) fn find(&self, pod: &Pod) -> Option<usize> {
        self.places.get(&PodKey::of(pod)).copied()
    }
}

/// Names for the policy of workloads: that of the first, or, where another has it, with its kind.
fn names(owners: &BTreeSet<ObjectRef>) -> Vec<String> {
    let first = owners.first().expect("a party has pods");
    let kind = if first.kind == Kind::Pod { "pod".to_owned() } else { first.kind.as_str().to_ascii_lowercase() };
    vec![first.name.to_string(), format!("{}-{kind}", first.name)]
}

/// The labels that a workload gives to its pods.
fn lasting(labels: &Labels) -> Labels {
    let passing = |labels: Labels, key: &&str| if labels.has(key) { labels.without(key) } else { labels };
    LABELS_OF_CONTROLLERS.iter().fold(labels.clone(), passing)
}

/// A selector that means pods with these labels and no others of the namespace: as few labels as that takes, those that
/// say most first.
fn selector(labels: &Labels, namespace: &[&Labels]) -> LabelSelector {
    let others: Vec<&Labels> = namespace.iter().copied().filter(|other| *other != labels).collect();
    let mut own: Vec<(&str, &str)> = labels.iter().collect();
    own.sort_by_key(|(key, _)| (rank(key), *key));
    // What has all these labels and more cannot be told apart by them.
    let has_all = |other: &Labels| own.iter().all(|(key, value)| other.get(key) == Some(value));
    let (supersets, apart): (Vec<&Labels>, Vec<&Labels>) = others.into_iter().partition(|other| has_all(other));
    let is_enough = |chosen: &[(&str, &str)]| {
        apart.iter().all(|other| chosen.iter().any(|(key, value)| other.get(key) != Some(value)))
    };
    let chosen = few(&own, is_enough);
    let mut requirements: Vec<Requirement> =
        chosen.iter().map(|(key, value)| Requirement::new(key, Operator::In, [*value])).collect();
    let mut left = supersets;
    while !left.is_empty() {
        let mut absent: BTreeMap<&str, usize> = BTreeMap::new();
        for key in left.iter().flat_map(|other| other.iter().map(|(key, _)| key)).filter(|key| !labels.has(key)) {
            *absent.entry(key).or_default() += 1;
        }
        let best = absent.into_iter().max_by_key(|(key, n)| (*n, std::cmp::Reverse(rank(key))));
        let Some((key, _)) = best.map(|(key, n)| (key.to_owned(), n)) else { break };
        left.retain(|other| !other.has(&key));
        requirements.push(Requirement::new(&key, Operator::DoesNotExist, Vec::<&str>::new()));
    }
    LabelSelector::new(requirements)
}

/// The most telling label, with one or two others where it is not enough, or all.
fn few<'l>(own: &[(&'l str, &'l str)], is_enough: impl Fn(&[(&str, &str)]) -> bool) -> Vec<(&'l str, &'l str)> {
    let Some((first, rest)) = own.split_first() else { return Vec::new() };
    let alone = std::iter::once(vec![*first]);
    let one = rest.iter().map(|a| vec![*first, *a]);
    let two = (0..rest.len()).flat_map(|i| (i + 1..rest.len()).map(move |j| vec![*first, rest[i], rest[j]]));
    alone.chain(one).chain(two).find(|chosen| is_enough(chosen)).unwrap_or_else(|| own.to_vec())
}

fn rank(key: &str) -> usize {
    let place = TELLING.iter().position(|known| *known == key);
    place.unwrap_or(if PASSING.contains(&key) { TELLING.len() + 1 } else { TELLING.len() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        pairs.iter().copied().collect()
    }

    #[test]
    fn a_selector_takes_the_telling_labels_and_as_few_as_do() {
        let cart = labels(&[("app", "cart"), ("team", "a"), ("version", "7"), ("zone", "z")]);
        let bill = labels(&[("app", "bill"), ("team", "a"), ("version", "7")]);
        let old_cart = labels(&[("app", "cart"), ("team", "b"), ("version", "6")]);
        let everything = [&cart, &bill];
        assert_eq!(selector(&cart, &everything).to_string(), "app=cart");
        let everything = [&cart, &bill, &old_cart];
        assert_eq!(selector(&cart, &everything), LabelSelector::match_labels([("app", "cart"), ("team", "a")]));
    }

    #[test]
    fn what_has_more_labels_is_kept_out() {
        let plain = labels(&[("app", "web")]);
        let canary = labels(&[("app", "web"), ("canary", "yes")]);
        let bare = labels(&[]);
        let all = [&plain, &canary, &bare];
        for own in all {
            let selector = selector(own, &all);
            let selected: Vec<&&Labels> = all.iter().filter(|other| selector.matches(other)).collect();
            assert_eq!(selected, [&own], "{selector}");
        }
    }
}
