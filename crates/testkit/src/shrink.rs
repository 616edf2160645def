//! The smallest cluster that still shows a failure.

use tortie_model::calico::{Entity, Rule};
use tortie_model::{Labels, PortSpec};

use crate::cluster::Cluster;

/// Takes away what a failure does not need: objects, then rules, then parts of rules.
#[must_use]
pub fn smallest(cluster: &Cluster, fails: impl Fn(&Cluster) -> bool) -> Cluster {
    let mut smallest = cluster.clone();
    loop {
        let Some(smaller) = smaller(&smallest).into_iter().find(&fails) else { return smallest };
        smallest = smaller;
    }
}

/// Clusters that hold a little less.
fn smaller(cluster: &Cluster) -> Vec<Cluster> {
    let mut out = Vec::new();
    macro_rules! without_one {
        ($($list:ident),*) => {$(
            for i in 0..cluster.$list.len() {
                let mut less = cluster.clone();
                less.$list.remove(i);
                out.push(less);
            }
        )*};
    }
    without_one!(calico, cluster_policies, policies, tiered, calico_tiers, tiers, network_sets, endpoint_slices);
    without_one!(pods, namespaces, nodes);
    let mut try_with = |change: &mut dyn FnMut(&mut Cluster)| {
        let mut less = cluster.clone();
        change(&mut less);
        if less != *cluster {
            out.push(less);
        }
    };
    for i in 0..cluster.pods.len() {
        try_with(&mut |c| c.pods[i].meta.labels = Labels::default());
        try_with(&mut |c| c.pods[i].ports.clear());
    }
    for i in 0..cluster.network_sets.len() {
        try_with(&mut |c| c.network_sets[i].meta.labels = Labels::default());
        for n in 0..cluster.network_sets[i].nets.len() {
            try_with(&mut |c| {
                c.network_sets[i].nets.remove(n);
            });
        }
    }
    for (i, policy) in cluster.policies.iter().enumerate() {
        try_with(&mut |c| c.policies[i].ingress = None);
        try_with(&mut |c| c.policies[i].egress = None);
        for n in 0..policy.ingress.iter().flatten().count() {
            try_with(&mut |c| drop(c.policies[i].ingress.as_mut().expect("it has rules").remove(n)));
        }
        for n in 0..policy.egress.iter().flatten().count() {
            try_with(&mut |c| drop(c.policies[i].egress.as_mut().expect("it has rules").remove(n)));
        }
    }
    for (i, policy) in cluster.cluster_policies.iter().enumerate() {
        for n in 0..policy.ingress.len() {
            try_with(&mut |c| drop(c.cluster_policies[i].ingress.remove(n)));
            try_with(&mut |c| c.cluster_policies[i].ingress[n].ports = None);
            for p in 1..policy.ingress[n].peers.len() {
                try_with(&mut |c| drop(c.cluster_policies[i].ingress[n].peers.remove(p)));
                try_with(&mut |c| drop(c.cluster_policies[i].ingress[n].peers.remove(0)));
            }
        }
        for n in 0..policy.egress.len() {
            try_with(&mut |c| drop(c.cluster_policies[i].egress.remove(n)));
            try_with(&mut |c| c.cluster_policies[i].egress[n].ports = None);
            for p in 1..policy.egress[n].peers.len() {
                try_with(&mut |c| drop(c.cluster_policies[i].egress[n].peers.remove(p)));
                try_with(&mut |c| drop(c.cluster_policies[i].egress[n].peers.remove(0)));
            }
        }
    }
    for (i, policy) in cluster.calico.iter().enumerate() {
        try_with(&mut |c| c.calico[i].ingress = None);
        try_with(&mut |c| c.calico[i].egress = None);
        try_with(&mut |c| c.calico[i].selector = tortie_model::calico::Selector::All);
        try_with(&mut |c| c.calico[i].namespaces = None);
        try_with(&mut |c| c.calico[i].service_accounts = None);
        for n in 0..policy.ingress.iter().flatten().count() {
            try_with(&mut |c| drop(c.calico[i].ingress.as_mut().expect("it has rules").remove(n)));
            for part in PARTS {
                try_with(&mut |c| part(&mut c.calico[i].ingress.as_mut().expect("it has rules")[n]));
            }
        }
        for n in 0..policy.egress.iter().flatten().count() {
            try_with(&mut |c| drop(c.calico[i].egress.as_mut().expect("it has rules").remove(n)));
            for part in PARTS {
                try_with(&mut |c| part(&mut c.calico[i].egress.as_mut().expect("it has rules")[n]));
            }
        }
    }
    out
}

/// What a rule can do without.
const PARTS: [fn(&mut Rule); 22] = [
    |rule| rule.source = Entity::default(),
    |rule| rule.destination = Entity::default(),
    |rule| rule.family = None,
    |rule| rule.not_protocol = None,
    |rule| rule.icmp = None,
    |rule| rule.not_icmp = None,
    |rule| {
        if !numbered(rule) {
            rule.protocol = None;
        }
    },
    |rule| rule.source.nets.clear(),
    |rule| rule.destination.nets.clear(),
    |rule| rule.source.not_nets.clear(),
    |rule| rule.destination.not_nets.clear(),
    |rule| rule.source.selector = None,
    |rule| rule.destination.selector = None,
    |rule| rule.source.not_selector = None,
    |rule| rule.destination.not_selector = None,
    |rule| rule.source.namespaces = None,
    |rule| rule.destination.namespaces = None,
    |rule| rule.source.ports.clear(),
    |rule| rule.destination.ports.clear(),
    |rule| rule.source.not_ports.clear(),
    |rule| rule.destination.not_ports.clear(),
    |rule| {
        rule.source.service_accounts = None;
        rule.destination.service_accounts = None;
    },
];

/// Whether a rule names ports by number, for which it needs a protocol.
fn numbered(rule: &Rule) -> bool {
    let ends = [&rule.source, &rule.destination];
    ends.iter().flat_map(|e| e.ports.iter().chain(&e.not_ports)).any(|p| !matches!(p, PortSpec::Named(_)))
        || rule.icmp.is_some()
}
