//! NetworkPolicies: up to two of them, and two rules.
//!
//! What differs only by a name is one cluster: pods of a kind, the two namespaces, policies and the rules of a direction
//! have no order.

use std::collections::HashMap;

use tortie_model::{Family, NetworkPolicy, PeerRule, Pod, PolicyPeer, PolicyPort, PortSpec, Protocol, Traffic};

use super::{PODS, RULES, Space, nodes, shuffle, to_ports};
use crate::cluster::Cluster;
use crate::{Rng, build};

/// Kinds of pods: see [`pod`].
const KINDS: u8 = 8;
/// Forms of rules: see [`rule`].
const FORMS: u8 = 15;

/// Pods by kind, sorted.
type Pods = Vec<u8>;
/// Policies, sorted.
type Policies = Vec<Policy>;

/// A policy without its name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Policy {
    /// Its namespace, 0 or 1.
    home: u8,
    /// Whether it selects labelled pods alone.
    labelled: bool,
    /// Forms of its ingress rules, sorted, when it governs ingress.
    ingress: Option<Vec<u8>>,
    /// The same for egress; one of the two at least.
    egress: Option<Vec<u8>>,
}

/// All small clusters with NetworkPolicies.
#[derive(Clone, Debug)]
pub struct NetworkPolicies {
    pods: Vec<Pods>,
    policies: Vec<Policies>,
    /// Policies that are not the mirror image of earlier ones: with pods that are their own mirror image.
    unmirrored: Vec<usize>,
    /// The number after the last cluster with these pods (by place in `pods`).
    ends: Vec<(usize, u64)>,
}

impl Default for NetworkPolicies {
    fn default() -> Self {
        Self::new()
    }
}

impl NetworkPolicies {
    /// Lists what clusters are made of.
    #[must_use]
    pub fn new() -> Self {
        let pods: Vec<Pods> = (0..=PODS).flat_map(|n| choices(KINDS, n)).collect();
        let policies = policies();
        let unmirrored = not_mirrored(&policies, |p| p.iter().map(Policy::mirrored).collect());
        let mut space = Self { unmirrored, ends: Vec::new(), pods, policies };
        let mut end = 0;
        for at in not_mirrored(&space.pods, |pods| pods.iter().map(|kind| kind ^ 1).collect()) {
            end += space.policies_beside(at).0 as u64;
            space.ends.push((at, end));
        }
        space
    }

    /// How many lists of policies go with pods, and whether mirror images are left out.
    fn policies_beside(&self, pods: usize) -> (usize, bool) {
        let mut mirrored: Pods = self.pods[pods].iter().map(|kind| kind ^ 1).collect();
        mirrored.sort_unstable();
        let own_image = mirrored == self.pods[pods];
        (if own_image { self.unmirrored.len() } else { self.policies.len() }, own_image)
    }
}

impl Space for NetworkPolicies {
    fn name(&self) -> &'static str {
        "networkpolicies"
    }

    fn size(&self) -> u64 {
        self.ends.last().map_or(0, |(_, end)| *end)
    }

    #[expect(clippy::cast_possible_truncation, reason = "an offset into a list in memory")]
    fn cluster(&self, number: u64) -> Cluster {
        let at = self.ends.partition_point(|(_, end)| *end <= number);
        let start = at.checked_sub(1).map_or(0, |before| self.ends[before].1);
        let (pods, offset) = (self.ends[at].0, (number - start) as usize);
        let policies = if self.policies_beside(pods).1 { self.unmirrored[offset] } else { offset };
        cluster(&mut Rng::new(number), &self.pods[pods], &self.policies[policies])
    }

    fn traffic(&self, family: Family) -> Vec<Traffic> {
        to_ports(&[80, 81, 82], family)
    }
}

impl Policy {
    /// The same in the other namespace.
    fn mirrored(&self) -> Self {
        Self { home: self.home ^ 1, ..self.clone() }
    }

    fn rules(&self) -> usize {
        [&self.ingress, &self.egress].into_iter().flatten().map(Vec::len).sum()
    }
}

/// `n` out of the first `kinds` numbers, sorted; with repetition.
fn choices(kinds: u8, n: usize) -> Vec<Vec<u8>> {
    let mut out = vec![Vec::new()];
    for _ in 0..n {
        let more = |chosen: Vec<u8>| {
            let from = chosen.last().copied().unwrap_or(0);
            (from..kinds).map(move |kind| [&chosen[..], &[kind]].concat())
        };
        out = out.into_iter().flat_map(more).collect();
    }
    out
}

/// All lists of up to two policies, each list once.
fn policies() -> Vec<Policies> {
    let different = |rules: &Vec<u8>| rules.windows(2).all(|w| w[0] != w[1]);
    let lists: Vec<Option<Vec<u8>>> =
        (0..=RULES).flat_map(|n| choices(FORMS, n)).filter(different).map(Some).chain([None]).collect();
    let mut single = Vec::new();
    for home in [0, 1] {
        for labelled in [false, true] {
            for ingress in &lists {
                for egress in &lists {
                    let policy = Policy { home, labelled, ingress: ingress.clone(), egress: egress.clone() };
                    if policy.rules() <= RULES && (ingress.is_some() || egress.is_some()) {
                        single.push(policy);
                    }
                }
            }
        }
    }
    let mut out = vec![Vec::new()];
    out.extend(single.iter().map(|p| vec![p.clone()]));
    single.sort();
    for (i, first) in single.iter().enumerate() {
        let second = single[i..].iter().filter(|second| first.rules() + second.rules() <= RULES);
        out.extend(second.map(|second| vec![first.clone(), second.clone()]));
    }
    out
}

/// The places of those that do not come after their mirror image.
fn not_mirrored<T: Ord + std::hash::Hash>(all: &[Vec<T>], mirror: impl Fn(&Vec<T>) -> Vec<T>) -> Vec<usize> {
    let places: HashMap<&Vec<T>, usize> = all.iter().enumerate().map(|(i, item)| (item, i)).collect();
    let is_first = |i: &usize| {
        let mut image = mirror(&all[*i]);
        image.sort_unstable();
        *i <= places[&image]
    };
    (0..all.len()).filter(is_first).collect()
}

fn cluster(rng: &mut Rng, pods: &[u8], policies: &[Policy]) -> Cluster {
    let namespaces = if rng.chance(50) { ["red", "blue"] } else { ["blue", "red"] };
    let mut kinds = pods.to_vec();
    shuffle(rng, &mut kinds);
    let mut policies = policies.to_vec();
    shuffle(rng, &mut policies);
    Cluster {
        namespaces: namespaces.iter().map(|name| build::namespace(name, &[("team", name)])).collect(),
        nodes: nodes(),
        pods: (0..).zip(kinds).map(|(i, kind)| pod(i, kind, namespaces)).collect(),
        policies: (0..).zip(&policies).map(|(i, p)| policy(rng, i, p, namespaces)).collect(),
        ..Cluster::default()
    }
}

/// A pod: of one namespace or the other; on node `n1` or on `n2`; with a label or not. Its port `http` is 80 or 82, or
/// it has none, by node and label.
fn pod(i: u8, kind: u8, namespaces: [&str; 2]) -> Pod {
    let (labelled, node) = (kind & 2 != 0, 1 + (kind >> 2));
    let ips = [format!("10.244.{node}.{}", i + 2), format!("fd00:244:{node}::{:x}", i + 2)];
    let labels: &[_] = if labelled { &[("app", "x")] } else { &[] };
    let name = format!("{}/p{i}", namespaces[usize::from(kind & 1)]);
    let mut out = build::pod(&name, &format!("n{node}"), labels, &[&ips[0], &ips[1]]);
    out.meta.uid = format!("{}", i + 1).into();
    let http = match (node, labelled) {
        (1, true) | (2, false) => Some(80),
        (1, false) => Some(82),
        _ => None,
    };
    out.ports = http.map(|number| build::container_port("http", Protocol::Tcp, number)).into_iter().collect();
    out
}

fn policy(rng: &mut Rng, i: u8, policy: &Policy, namespaces: [&str; 2]) -> NetworkPolicy {
    let (here, there) = (namespaces[usize::from(policy.home)], namespaces[usize::from(policy.home ^ 1)]);
    let labels: &[_] = if policy.labelled { &[("app", "x")] } else { &[] };
    let mut rules = |forms: &Option<Vec<u8>>| {
        forms.as_ref().map(|forms| {
            let mut rules: Vec<_> = forms.iter().map(|form| rule(*form, there)).collect();
            shuffle(rng, &mut rules);
            rules
        })
    };
    let (ingress, egress) = (rules(&policy.ingress), rules(&policy.egress));
    NetworkPolicy { ingress, egress, ..build::policy(&format!("{here}/np{i}"), labels) }
}

/// A rule of a form: peers of one of five forms, ports of one of three.
fn rule(form: u8, other_namespace: &str) -> PeerRule {
    let peers: Vec<PolicyPeer> = match form % 5 {
        0 => vec![],
        1 => vec![build::pods_here(&[("app", "x")])],
        2 => vec![PolicyPeer::Pods { namespaces: build::selector(&[("team", other_namespace)]), pods: None }],
        3 => vec![build::pods_of(&[], &[("app", "x")])],
        // The same in both families: all but the pods of node `n2`.
        _ => {
            vec![build::block("10.244.0.0/16", &["10.244.2.0/24"]), build::block("fd00:244::/32", &["fd00:244:2::/64"])]
        }
    };
    let ports: Vec<PolicyPort> = match form / 5 {
        0 => vec![],
        1 => vec![PolicyPort { protocol: Protocol::Tcp, port: PortSpec::Range(80, 81) }],
        _ => vec![build::tcp_named("http")],
    };
    build::rule(peers, ports)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pods without order or repetition mark: C(8+n-1, n) for each n.
    #[test]
    fn the_alphabet_is_used_up() {
        let space = NetworkPolicies::new();
        assert_eq!(space.pods.len(), 1 + 8 + 36 + 120);
        let lists = [1, 15, 15 * 14 / 2];
        // Policies with 0, 1 and 2 rules: one direction or the other, or both with the rules dealt out.
        let with = [
            4 * (2 * lists[0] + 1),
            4 * (2 * lists[1] + 2 * lists[1]),
            4 * (2 * lists[2] + 2 * lists[2] + lists[1] * lists[1]),
        ];
        let pairs = with[0] * (with[0] + 1) / 2 + with[0] * (with[1] + with[2]) + with[1] * (with[1] + 1) / 2;
        assert_eq!(space.policies.len(), 1 + with.iter().sum::<usize>() + pairs);
        // Half of all, and half of those that are their own mirror image.
        let own = |n: usize, images: usize| n.midpoint(images);
        let policy_images = space.policies.iter().filter(|p| mirror(p) == **p).count();
        let pod_images = space.pods.iter().filter(|p| is_own_image(p)).count();
        let all = own(space.pods.len() * space.policies.len(), pod_images * policy_images);
        assert_eq!(space.size(), all as u64);
        assert_eq!(own(space.policies.len(), policy_images), space.unmirrored.len());
    }

    fn mirror(policies: &[Policy]) -> Policies {
        let mut out: Policies = policies.iter().map(Policy::mirrored).collect();
        out.sort();
        out
    }

    fn is_own_image(pods: &[u8]) -> bool {
        let mut image: Pods = pods.iter().map(|kind| kind ^ 1).collect();
        image.sort_unstable();
        image == pods
    }

    #[test]
    fn the_first_and_the_last_have_a_number() {
        let space = NetworkPolicies::new();
        assert_eq!(space.cluster(0).pods.len() + space.cluster(0).policies.len(), 0);
        let last = space.cluster(space.size() - 1);
        assert_eq!((last.pods.len(), last.policies.len()), (3, 2));
        assert_eq!(space.cluster(12_345), space.cluster(12_345));
    }
}
