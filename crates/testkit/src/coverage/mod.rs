//! How often random cases exercise what.

mod calico;
mod clusterpolicy;
mod networkpolicy;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use tortie_model::Direction;

use crate::cluster::{Cluster, Flow};
use crate::reference::{Decisions, Halves, calico_rules, cluster_rules, governing, pod_at};

/// Counts, out of a number of cases. What a policy says counts where it is asked: when it governs an end of the flow.
#[derive(Clone, Debug, Default)]
pub struct Coverage {
    cases: usize,
    three_apis: bool,
    counts: BTreeMap<&'static str, usize>,
}

impl Coverage {
    /// The coverage of clusters with policies of all three APIs: of what NetworkPolicy does not know.
    #[must_use]
    pub fn of_three_apis() -> Self {
        Self { three_apis: true, ..Self::default() }
    }

    /// Counts one case of NetworkPolicies.
    pub fn count(&mut self, cluster: &Cluster, flow: Flow, halves: Halves) {
        let mut seen = Seen::default();
        seen.flow(cluster, flow);
        seen.verdict(halves);
        seen.objects(cluster);
        let (from, to) = (pod_at(cluster, flow.from), pod_at(cluster, flow.to));
        for (pod, direction) in [(from, Direction::Egress), (to, Direction::Ingress)] {
            let Some(pod) = pod else { continue };
            let policies: Vec<_> = governing(cluster, pod, direction).collect();
            seen.if_so(policies.is_empty(), "end that no policy governs");
            seen.if_so(policies.len() > 1, "end that several policies govern");
            for (policy, rules) in policies {
                seen.policy(policy, direction, rules);
            }
        }
        self.add(seen);
    }

    /// Counts one case of three APIs.
    pub fn count_decisions(&mut self, cluster: &Cluster, flow: Flow, decisions: &Decisions) {
        let mut seen = Seen::default();
        seen.flow(cluster, flow);
        seen.verdict(decisions.halves());
        seen.decision(&decisions.egress);
        seen.decision(&decisions.ingress);
        seen.world(cluster, flow);
        let (from, to) = (pod_at(cluster, flow.from), pod_at(cluster, flow.to));
        for (pod, direction) in [(from, Direction::Egress), (to, Direction::Ingress)] {
            let Some(pod) = pod else { continue };
            for policy in &cluster.calico {
                if let Some(rules) = calico_rules(cluster, policy, pod, direction) {
                    seen.calico(policy, direction, rules);
                }
            }
            for policy in &cluster.cluster_policies {
                if let Some(rules) = cluster_rules(cluster, policy, pod, direction) {
                    seen.cluster_policy(policy, rules);
                }
            }
        }
        self.add(seen);
    }

    fn add(&mut self, seen: Seen) {
        self.cases += 1;
        for feature in seen.0 {
            *self.counts.entry(feature).or_default() += 1;
        }
    }

    /// Features seen in fewer than `percent` of 100 cases.
    #[must_use]
    pub fn rarer_than(&self, percent: usize) -> Vec<&'static str> {
        let all: BTreeSet<&'static str> = if self.three_apis {
            calico::FEATURES.iter().chain(clusterpolicy::FEATURES).copied().collect()
        } else {
            networkpolicy::FEATURES.iter().chain(self.counts.keys()).copied().collect()
        };
        let rare = |f: &&'static str| self.counts.get(*f).copied().unwrap_or(0) * 100 < percent * self.cases;
        all.into_iter().filter(rare).collect()
    }

    /// Prints what was seen, and holds that no feature is rarer than 1 in 100 cases, and no verdict than 20.
    ///
    /// # Panics
    /// When one is.
    pub fn print_and_hold(&self) {
        println!("{self}");
        assert_eq!(self.rarer_than(1), Vec::<&str>::new(), "random cases leave something out:\n{self}");
        for verdict in ["allowed", "denied"] {
            let n = self.counts.get(verdict).copied().unwrap_or(0);
            assert!(n * 100 >= 20 * self.cases, "too few {verdict}:\n{self}");
        }
    }
}

impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} cases", self.cases)?;
        for (feature, n) in &self.counts {
            writeln!(f, "{:>6.1} %  {feature}", *n as f64 * 100.0 / self.cases as f64)?;
        }
        Ok(())
    }
}

#[derive(Default)]
struct Seen(BTreeSet<&'static str>);

impl Seen {
    fn if_so(&mut self, so: bool, feature: &'static str) {
        self.0.extend(so.then_some(feature));
    }
}
