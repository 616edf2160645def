//! What cluster policies exercise.

use tortie_model::{ClusterAction, ClusterPeer, ClusterPolicy, ClusterPort, ClusterRule, ClusterTier};

use super::Seen;

/// What every run must have seen.
pub(super) const FEATURES: &[&str] = &[
    "cluster policy: Admin",
    "cluster policy: Baseline",
    "cluster policy: without priority",
    "cluster policy: for namespaces",
    "cluster policy: for pods",
    "cluster rule: Accept",
    "cluster rule: Deny",
    "cluster rule: Pass",
    "cluster rule: several peers",
    "cluster rule: every packet",
    "cluster rule: Accept of what is not known",
    "cluster rule: Deny or Pass of what is not known",
    "cluster peer: namespaces",
    "cluster peer: pods",
    "cluster peer: networks",
    "cluster peer: nodes",
    "cluster peer: domain names",
    "cluster peer: of a later version",
    "cluster ports: one",
    "cluster ports: a range",
    "cluster ports: by name",
    "cluster ports: of a later version",
];

impl Seen {
    pub(super) fn cluster_policy(&mut self, policy: &ClusterPolicy, rules: &[ClusterRule]) {
        let admin = policy.tier == ClusterTier::Admin;
        self.0.insert(if admin { "cluster policy: Admin" } else { "cluster policy: Baseline" });
        self.if_so(policy.priority.is_none(), "cluster policy: without priority");
        let namespaces = matches!(policy.subject, ClusterPeer::Namespaces(_));
        self.0.insert(if namespaces { "cluster policy: for namespaces" } else { "cluster policy: for pods" });
        for rule in rules {
            self.cluster_rule(rule);
        }
    }

    fn cluster_rule(&mut self, rule: &ClusterRule) {
        self.0.insert(match rule.action {
            ClusterAction::Accept => "cluster rule: Accept",
            ClusterAction::Deny => "cluster rule: Deny",
            ClusterAction::Pass => "cluster rule: Pass",
        });
        self.if_so(rule.peers.len() > 1, "cluster rule: several peers");
        self.if_so(rule.ports.is_none(), "cluster rule: every packet");
        let strange = rule.peers.iter().any(|p| matches!(p, ClusterPeer::DomainNames(_) | ClusterPeer::Unknown))
            || rule.ports.iter().flatten().any(|p| matches!(p, ClusterPort::Unknown));
        let accepts = rule.action == ClusterAction::Accept;
        self.if_so(strange && accepts, "cluster rule: Accept of what is not known");
        self.if_so(strange && !accepts, "cluster rule: Deny or Pass of what is not known");
        for peer in &rule.peers {
            self.0.insert(match peer {
                ClusterPeer::Namespaces(_) => "cluster peer: namespaces",
                ClusterPeer::Pods { .. } => "cluster peer: pods",
                ClusterPeer::Networks(_) => "cluster peer: networks",
                ClusterPeer::Nodes(_) => "cluster peer: nodes",
                ClusterPeer::DomainNames(_) => "cluster peer: domain names",
                ClusterPeer::Unknown => "cluster peer: of a later version",
            });
        }
        for port in rule.ports.iter().flatten() {
            self.0.insert(match port {
                ClusterPort::Range(_, first, last) if first == last => "cluster ports: one",
                ClusterPort::Range(..) => "cluster ports: a range",
                ClusterPort::Named(_) => "cluster ports: by name",
                ClusterPort::Unknown => "cluster ports: of a later version",
            });
        }
    }
}
