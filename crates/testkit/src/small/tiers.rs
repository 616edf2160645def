//! Tiers: one or two of Calico's policies, in one tier or in two, or one of them and one of another API, which stands in
//! the same tier, in one before or in one after.
//!
//! Rules have an order here, and so have policies in a tier, and tiers. What makes the order, numbers or names, is drawn;
//! so is all that says the same in other words: see `written`. A selector that selects the same pods of a cluster as
//! another does is the same selector. Without a policy of Calico, a cluster is none of these.

use tortie_model::{ClusterTier, Direction, Family, Traffic};

use super::written::Written;
use super::{PODS, RULES, Space, to_ports};
use crate::Rng;
use crate::cluster::Cluster;

/// Forms of Calico's rules: four actions, and what they match.
const FORMS: u8 = 4 * 5;
/// Forms of rules of NetworkPolicies.
const KUBERNETES_FORMS: u8 = 4;
/// Forms of rules of cluster policies: three actions, and what they match. The last are for egress alone.
const CLUSTER_FORMS: [(Direction, u8); 2] = [(Direction::Ingress, 3 * 3), (Direction::Egress, 3 * 4)];

/// How many pods have the label, and how many have not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pods {
    pub(super) labelled: usize,
    pub(super) plain: usize,
}

/// A policy without its name and place.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Policy {
    /// Whether it selects labelled pods alone.
    pub(super) labelled: bool,
    /// Forms of its ingress rules, in order, when it governs ingress.
    pub(super) ingress: Option<Vec<u8>>,
    /// The same for egress; one of the two at least.
    pub(super) egress: Option<Vec<u8>>,
}

/// A cluster policy with one rule.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ClusterPolicy {
    /// Whether it selects labelled pods alone.
    pub(super) labelled: bool,
    pub(super) tier: ClusterTier,
    pub(super) direction: Direction,
    /// The form of its rule.
    pub(super) form: u8,
}

/// Where policies stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// In one tier, one or two, the first in front.
    OneTier {
        /// Whether packets go on where it ends.
        passes: bool,
    },
    /// In two tiers.
    TwoTiers {
        /// Whether packets go on where they end.
        pass: [bool; 2],
    },
    /// Beside a policy of another API.
    Beside(Place),
}

/// Where a policy of Calico stands as seen from one of another API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// In the same tier, in front of it.
    InFront,
    /// In the same tier, behind it.
    Behind,
    /// In a tier before.
    Before {
        /// Whether packets go on where that ends.
        passes: bool,
    },
    /// In a tier after.
    After {
        /// Whether packets go on where that ends.
        passes: bool,
    },
}

const PLACES: [Place; 6] = [
    Place::InFront,
    Place::Behind,
    Place::Before { passes: false },
    Place::Before { passes: true },
    Place::After { passes: false },
    Place::After { passes: true },
];

/// The policy besides the first.
#[derive(Clone, Copy, Debug)]
pub(super) enum Second<'s> {
    Nobody,
    Calico(&'s Policy),
    Kubernetes(&'s Policy),
    Cluster(&'s ClusterPolicy),
}

/// From which list the second is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum List {
    Nobody,
    /// With so many rules.
    Calico(usize),
    Kubernetes(usize),
    Cluster,
}

/// Clusters that differ by their rules and by whom their policies select.
#[derive(Clone, Copy, Debug)]
struct Shape {
    pods: Pods,
    standing: Standing,
    /// Rules of the first policy.
    first: usize,
    second: List,
}

/// All small clusters with tiers.
#[derive(Clone, Debug)]
pub struct Tiers {
    /// Policies of Calico by the number of their rules. In each list, those for every pod are the first half.
    calico: Vec<Vec<Policy>>,
    kubernetes: Vec<Vec<Policy>>,
    cluster: Vec<ClusterPolicy>,
    /// With the number after the last cluster of each.
    shapes: Vec<(Shape, u64)>,
}

impl Default for Tiers {
    fn default() -> Self {
        Self::new()
    }
}

impl Tiers {
    /// Lists what clusters are made of.
    #[must_use]
    pub fn new() -> Self {
        let lists = |forms, most| (0..=most).map(|rules| policies(forms, rules)).collect();
        let mut space = Self {
            calico: lists(FORMS, RULES),
            kubernetes: lists(KUBERNETES_FORMS, RULES - 1),
            cluster: cluster_policies(),
            shapes: Vec::new(),
        };
        let mut end = 0;
        for shape in shapes() {
            end += (space.firsts(&shape) * space.seconds(&shape)) as u64;
            space.shapes.push((shape, end));
        }
        space
    }

    /// How many first policies a shape may have.
    fn firsts(&self, shape: &Shape) -> usize {
        shape.pods.tells_apart(self.calico[shape.first].len())
    }

    fn seconds(&self, shape: &Shape) -> usize {
        match shape.second {
            List::Nobody => 1,
            List::Calico(rules) => shape.pods.tells_apart(self.calico[rules].len()),
            List::Kubernetes(rules) => shape.pods.tells_apart(self.kubernetes[rules].len()),
            List::Cluster => shape.pods.tells_apart(self.cluster.len()),
        }
    }
}

impl Space for Tiers {
    fn name(&self) -> &'static str {
        "tiers"
    }

    fn size(&self) -> u64 {
        self.shapes.last().map_or(0, |(_, end)| *end)
    }

    #[expect(clippy::cast_possible_truncation, reason = "an offset into lists in memory")]
    fn cluster(&self, number: u64) -> Cluster {
        let at = self.shapes.partition_point(|(_, end)| *end <= number);
        let start = at.checked_sub(1).map_or(0, |before| self.shapes[before].1);
        let (shape, offset) = (&self.shapes[at].0, (number - start) as usize);
        let (first, second) = (offset / self.seconds(shape), offset % self.seconds(shape));
        let second = match shape.second {
            List::Nobody => Second::Nobody,
            List::Calico(rules) => Second::Calico(&self.calico[rules][second]),
            List::Kubernetes(rules) => Second::Kubernetes(&self.kubernetes[rules][second]),
            List::Cluster => Second::Cluster(&self.cluster[second]),
        };
        Written::new(Rng::new(number), shape.pods).cluster(shape.standing, &self.calico[shape.first][first], second)
    }

    fn traffic(&self, family: Family) -> Vec<Traffic> {
        to_ports(&[80, 81], family)
    }
}

impl Pods {
    /// How many of a list of policies select different pods: all, or the half that selects every pod.
    const fn tells_apart(self, policies: usize) -> usize {
        if self.labelled > 0 && self.plain > 0 { policies } else { policies / 2 }
    }
}

fn shapes() -> Vec<Shape> {
    let counts = 0..=RULES;
    let two = || counts.clone().flat_map(|first| (0..=RULES - first).map(move |second| (first, second)));
    let mut written: Vec<(Standing, usize, List)> = Vec::new();
    for passes in [false, true] {
        let standing = Standing::OneTier { passes };
        written.extend(counts.clone().map(|first| (standing, first, List::Nobody)));
        written.extend(two().map(|(first, second)| (standing, first, List::Calico(second))));
        for then in [false, true] {
            let standing = Standing::TwoTiers { pass: [passes, then] };
            written.extend(two().map(|(first, second)| (standing, first, List::Calico(second))));
        }
    }
    for standing in PLACES.map(Standing::Beside) {
        let kubernetes = two().filter(|(_, second)| *second < RULES);
        written.extend(kubernetes.map(|(first, second)| (standing, first, List::Kubernetes(second))));
        written.extend((0..RULES).map(|first| (standing, first, List::Cluster)));
    }
    let sizes = (1..=PODS).flat_map(|n| (0..=n).map(move |labelled| Pods { labelled, plain: n - labelled }));
    sizes
        .flat_map(|pods| written.iter().map(move |&(standing, first, second)| Shape { pods, standing, first, second }))
        .collect()
}

/// All policies with so many rules of so many forms.
fn policies(forms: u8, rules: usize) -> Vec<Policy> {
    let lists = |n| {
        (0..n).fold(vec![Vec::new()], |lists: Vec<Vec<u8>>, _| {
            lists.iter().flat_map(|list| (0..forms).map(|form| [&list[..], &[form]].concat())).collect()
        })
    };
    let governed = |n| lists(n).into_iter().map(Some);
    let mut out = Vec::new();
    for labelled in [false, true] {
        let mut add = |ingress, egress| out.push(Policy { labelled, ingress, egress });
        governed(rules).for_each(|list| add(list, None));
        governed(rules).for_each(|list| add(None, list));
        for n in 0..=rules {
            for ingress in governed(n) {
                governed(rules - n).for_each(|egress| add(ingress.clone(), egress));
            }
        }
    }
    out
}

fn cluster_policies() -> Vec<ClusterPolicy> {
    let mut out = Vec::new();
    for labelled in [false, true] {
        for tier in [ClusterTier::Admin, ClusterTier::Baseline] {
            for (direction, forms) in CLUSTER_FORMS {
                out.extend((0..forms).map(|form| ClusterPolicy { labelled, tier, direction, form }));
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// With `f` forms: lists of 0, 1, 2 rules in one direction; alone, or with an empty list or a rule in the other.
    #[test]
    fn the_alphabet_is_used_up() {
        let space = Tiers::new();
        let counts = |f: usize| [2 * 3, 2 * 4 * f, 2 * (4 * f * f + f * f)];
        let (calico, kubernetes) = (counts(20), counts(4));
        assert_eq!(space.calico.iter().map(Vec::len).collect::<Vec<_>>(), calico);
        assert_eq!(space.kubernetes.iter().map(Vec::len).collect::<Vec<_>>(), kubernetes[..2]);
        assert_eq!(space.cluster.len(), 2 * 2 * (9 + 12));
        let all = |share: usize| {
            let [none, one, two] = calico.map(|n| n / share);
            let pairs = none * none + 2 * none * one + 2 * none * two + one * one;
            let beside = (none + one + two) * kubernetes[0] + (none + one) * (kubernetes[1] + space.cluster.len());
            2 * (none + one + two) + (2 + 4) * pairs + 6 * beside / share
        };
        // Of nine kinds of pods, three tell labels apart.
        assert_eq!(space.size(), (3 * all(1) + 6 * all(2)) as u64);
        for list in &space.calico {
            assert_eq!(list.iter().collect::<BTreeSet<_>>().len(), list.len(), "each once");
            assert!(list[..list.len() / 2].iter().all(|p| !p.labelled));
        }
    }

    #[test]
    fn each_number_is_a_cluster() {
        let space = Tiers::new();
        for (shape, end) in &space.shapes {
            let cluster = space.cluster(end - 1);
            assert_eq!(cluster.pods.len(), shape.pods.labelled + shape.pods.plain);
            let policies = 1 + usize::from(shape.second != List::Nobody);
            assert_eq!(cluster.calico.len() + cluster.policies.len() + cluster.cluster_policies.len(), policies);
            assert_eq!(cluster, space.cluster(end - 1));
        }
    }
}
