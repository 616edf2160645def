//! The smallest cluster that still shows a failure.

use tortie_model::calico::{Entity, Rule, Selector};
use tortie_model::{ClusterRule, Labels, PortSpec};

use crate::cluster::Cluster;

/// Takes away what a failure does not need: objects, then rules, then parts of them.
#[must_use]
pub fn smallest(cluster: &Cluster, fails: impl Fn(&Cluster) -> bool) -> Cluster {
    let mut smallest = cluster.clone();
    while let Some(less) = smaller(&smallest).into_iter().find(&fails) {
        smallest = less;
    }
    smallest
}

/// Clusters that hold a little less.
struct Smaller<'c> {
    cluster: &'c Cluster,
    found: Vec<Cluster>,
}

impl Smaller<'_> {
    /// The cluster after a change, when it is one.
    fn with(&mut self, change: impl FnOnce(&mut Cluster)) {
        let mut less = self.cluster.clone();
        change(&mut less);
        if less != *self.cluster {
            self.found.push(less);
        }
    }

    /// The cluster without each item of a list, in turn.
    fn without_one<T>(&mut self, list: impl Fn(&mut Cluster) -> &mut Vec<T>) {
        for i in 0..list(&mut self.cluster.clone()).len() {
            self.with(|c| drop(list(c).splice(i..=i, [])));
        }
    }
}

fn smaller(cluster: &Cluster) -> Vec<Cluster> {
    let mut out = Smaller { cluster, found: Vec::new() };
    out.without_one(|c| &mut c.calico);
    out.without_one(|c| &mut c.cluster_policies);
    out.without_one(|c| &mut c.policies);
    out.without_one(|c| &mut c.tiered);
    out.without_one(|c| &mut c.calico_tiers);
    out.without_one(|c| &mut c.tiers);
    out.without_one(|c| &mut c.network_sets);
    out.without_one(|c| &mut c.host_endpoints);
    out.without_one(|c| &mut c.endpoint_slices);
    out.without_one(|c| &mut c.pods);
    out.without_one(|c| &mut c.namespaces);
    out.without_one(|c| &mut c.nodes);
    for i in 0..cluster.pods.len() {
        out.with(|c| c.pods[i].meta.labels = Labels::default());
        out.with(|c| c.pods[i].ports.clear());
    }
    for i in 0..cluster.network_sets.len() {
        out.with(|c| c.network_sets[i].meta.labels = Labels::default());
        out.without_one(|c| &mut c.network_sets[i].nets);
    }
    for i in 0..cluster.host_endpoints.len() {
        out.with(|c| c.host_endpoints[i].meta.labels = Labels::default());
        out.without_one(|c| &mut c.host_endpoints[i].addresses);
    }
    for (i, policy) in cluster.policies.iter().enumerate() {
        out.with(|c| c.policies[i].ingress = None);
        out.with(|c| c.policies[i].egress = None);
        if policy.ingress.is_some() {
            out.without_one(|c| c.policies[i].ingress.as_mut().expect("it governs ingress"));
        }
        if policy.egress.is_some() {
            out.without_one(|c| c.policies[i].egress.as_mut().expect("it governs egress"));
        }
    }
    for i in 0..cluster.cluster_policies.len() {
        of_cluster_rules(&mut out, |c| &mut c.cluster_policies[i].ingress);
        of_cluster_rules(&mut out, |c| &mut c.cluster_policies[i].egress);
    }
    for (i, policy) in cluster.calico.iter().enumerate() {
        out.with(|c| c.calico[i].ingress = None);
        out.with(|c| c.calico[i].egress = None);
        out.with(|c| c.calico[i].selector = Selector::All);
        out.with(|c| c.calico[i].namespaces = None);
        out.with(|c| c.calico[i].service_accounts = None);
        if policy.ingress.is_some() {
            of_calico_rules(&mut out, |c| c.calico[i].ingress.as_mut().expect("it governs ingress"));
        }
        if policy.egress.is_some() {
            of_calico_rules(&mut out, |c| c.calico[i].egress.as_mut().expect("it governs egress"));
        }
    }
    out.found
}

fn of_cluster_rules(out: &mut Smaller<'_>, rules: impl Fn(&mut Cluster) -> &mut Vec<ClusterRule>) {
    out.without_one(&rules);
    for n in 0..rules(&mut out.cluster.clone()).len() {
        out.with(|c| rules(c)[n].ports = None);
        out.without_one(|c| &mut rules(c)[n].peers);
    }
}

fn of_calico_rules(out: &mut Smaller<'_>, rules: impl Fn(&mut Cluster) -> &mut Vec<Rule>) {
    out.without_one(&rules);
    for n in 0..rules(&mut out.cluster.clone()).len() {
        for part in PARTS {
            out.with(|c| part(&mut rules(c)[n]));
        }
        for end in ENDS {
            out.with(|c| *end(&mut rules(c)[n]) = Entity::default());
            for part in PARTS_OF_ENDS {
                out.with(|c| part(end(&mut rules(c)[n])));
            }
        }
    }
}

/// What a rule can do without.
const PARTS: [fn(&mut Rule); 5] = [
    |rule| rule.family = None,
    |rule| rule.not_protocol = None,
    |rule| rule.icmp = None,
    |rule| rule.not_icmp = None,
    |rule| {
        if !needs_protocol(rule) {
            rule.protocol = None;
        }
    },
];

/// Its ends.
const ENDS: [fn(&mut Rule) -> &mut Entity; 2] = [|rule| &mut rule.source, |rule| &mut rule.destination];

/// What one end of it can do without.
const PARTS_OF_ENDS: [fn(&mut Entity); 8] = [
    |end| end.nets.clear(),
    |end| end.not_nets.clear(),
    |end| end.selector = None,
    |end| end.not_selector = None,
    |end| end.namespaces = None,
    |end| end.service_accounts = None,
    |end| end.ports.clear(),
    |end| end.not_ports.clear(),
];

/// Whether a rule would not be valid without its protocol.
fn needs_protocol(rule: &Rule) -> bool {
    let ends = [&rule.source, &rule.destination];
    let mut ports = ends.into_iter().flat_map(|end| end.ports.iter().chain(&end.not_ports));
    rule.icmp.is_some() || ports.any(|port| !matches!(port, PortSpec::Named(_)))
}

#[cfg(test)]
mod tests {
    use tortie_model::calico::Action;

    use super::*;
    use crate::{Rng, random};

    #[test]
    fn nothing_is_left_that_a_failure_does_not_need() {
        let passes = |cluster: &Cluster| {
            let rules = cluster.calico.iter().flat_map(|p| p.ingress.iter().flatten());
            rules.filter(|rule| rule.action == Action::Pass && rule.icmp.is_some()).count()
        };
        let mut rng = Rng::new(1);
        let cluster = std::iter::repeat_with(|| random::three_apis(&mut rng)).find(|c| passes(c) > 0);
        let small = smallest(&cluster.expect("there is one"), |cluster| passes(cluster) > 0);
        let [policy] = &small.calico[..] else { panic!("one policy is enough:\n{small}") };
        let [rule] = &policy.ingress.as_ref().expect("it has a rule")[..] else { panic!("so is one rule:\n{small}") };
        assert_eq!((&rule.source, &rule.destination), (&Entity::default(), &Entity::default()));
        assert!(rule.icmp.is_some() && rule.protocol.is_some(), "a type of ICMP needs its protocol");
        assert_eq!(Cluster { calico: Vec::new(), ..small }, Cluster::default());
    }
}
