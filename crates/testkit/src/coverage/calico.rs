//! What Calico's policies exercise, and the tiers in which all policies stand.

use tortie_model::calico::{Action, Class, Comparison, Entity, Policy, Rule, Selector};
use tortie_model::{ClusterPolicy, ClusterTier, Direction, Family, IpProtocol, Kind, NetworkPolicy, PortSpec};

use super::Seen;
use crate::cluster::{Cluster, Flow};
use crate::reference::{By, Decision, pod_at};

/// What every run must have seen.
pub(super) const FEATURES: &[&str] = &[
    "allowed",
    "denied",
    "denied by egress",
    "denied by ingress",
    "packet: TCP",
    "packet: UDP",
    "packet: SCTP",
    "packet: ICMP",
    "packet: another protocol",
    "packet: from a port that servers have",
    "loopback",
    "from a pod's own node",
    "decided by a NetworkPolicy",
    "decided by a Calico NetworkPolicy",
    "decided by a GlobalNetworkPolicy",
    "decided by a ClusterNetworkPolicy",
    "decided by an AdminNetworkPolicy",
    "decided by a BaselineAdminNetworkPolicy",
    "decided by the end of a tier",
    "decided by the end of a tier that nobody defined",
    "decided by the profile after tiers",
    "noted or passed on before",
    "passed on twice or more",
    "tier that nobody defined",
    "tiers of one order",
    "tier without order",
    "tier of an order below zero",
    "policies of one tier and order",
    "policies of one name",
    "policies of two APIs, of one name, tier and order",
    "policy of a class that pods are not asked about",
    "pod with a label that is not its own to give",
    "address in a set of addresses",
    "address in a set of addresses and a pod's",
    "address in several sets of addresses",
    "address that is expected of a host",
    "address behind a Service",
    "Calico: policy of a namespace",
    "Calico: policy of the cluster",
    "Calico: policy without order",
    "Calico: policy of an order below zero",
    "Calico: policy for forwarded packets too",
    "Calico: direction without rules",
    "subject: by labels",
    "subject: by namespaces",
    "subject: by service accounts",
    "action: Allow",
    "action: Deny",
    "action: Log",
    "action: Pass",
    "rule: of a family",
    "rule: protocol by number",
    "rule: ICMP by name",
    "rule: notProtocol",
    "rule: icmp, any type",
    "rule: icmp, type",
    "rule: icmp, type and code",
    "rule: notICMP, type",
    "rule: notICMP, type and code",
    "peer: nets of IPv4",
    "peer: nets of IPv6",
    "peer: notNets of IPv4",
    "peer: notNets of IPv6",
    "peer: selector",
    "peer: notSelector alone",
    "peer: notSelector beside others",
    "peer: namespaceSelector",
    "peer: namespaceSelector all()",
    "peer: namespaceSelector global()",
    "peer: service accounts by name",
    "peer: service accounts by labels",
    "peer: Service of a namespace",
    "peer: Service here",
    "own end: nets",
    "own end: notNets",
    "own end: selector",
    "own end: notSelector",
    "own end: namespaceSelector",
    "own end: service accounts",
    "ports: one",
    "ports: a range",
    "ports: by name",
    "ports: by name, without protocol",
    "notPorts: by number",
    "notPorts: by name",
    "source ports: by number",
    "source ports: by name",
    "source notPorts: by number",
    "source notPorts: by name",
    "selector: has()",
    "selector: all()",
    "selector: ==",
    "selector: !=",
    "selector: contains",
    "selector: starts with",
    "selector: ends with",
    "selector: in",
    "selector: not in",
    "selector: !",
    "selector: &&",
    "selector: ||",
    "selector: of where an endpoint is",
    "selector: pcns.",
    "selector: pcsa.",
];

impl Seen {
    pub(super) fn decision(&mut self, decision: &Decision) {
        match &decision.by {
            By::Rule((object, _)) => self.if_so(true, by_kind(object.kind)),
            By::EndOfTier(tier) => {
                self.0.insert("decided by the end of a tier");
                self.if_so(&**tier == "missing", "decided by the end of a tier that nobody defined");
            }
            By::Profile => self.if_so(!decision.passed.is_empty(), "decided by the profile after tiers"),
        }
        self.if_so(!decision.passed.is_empty(), "noted or passed on before");
        self.if_so(decision.passed.len() > 1, "passed on twice or more");
    }

    /// Tiers, and what else policies refer to.
    pub(super) fn world(&mut self, cluster: &Cluster, flow: Flow) {
        let tiers = &cluster.calico_tiers;
        let ties = tiers.iter().enumerate().any(|(i, a)| {
            [Some(1e3), Some(1e6), Some(1e7)].contains(&a.order.get())
                || tiers[..i].iter().any(|b| a.order.get() == b.order.get())
        });
        self.if_so(ties, "tiers of one order");
        self.if_so(tiers.iter().any(|t| t.order.get().is_none()), "tier without order");
        self.if_so(
            tiers.iter().any(|t| t.order.get() < Some(0.0) && t.order.get().is_some()),
            "tier of an order below zero",
        );
        let calico = &cluster.calico;
        self.if_so(calico.iter().any(|p| &*p.tier == "missing"), "tier that nobody defined");
        let pairs = || calico.iter().enumerate().flat_map(|(i, a)| calico[..i].iter().map(move |b| (a, b)));
        let tie = pairs().any(|(a, b)| a.tier == b.tier && a.order.get() == b.order.get());
        self.if_so(tie, "policies of one tier and order");
        self.if_so(pairs().any(|(a, b)| a.meta.name == b.meta.name), "policies of one name");
        let (named, clustered) = (&cluster.policies, &cluster.cluster_policies);
        let twins = calico.iter().any(|p| {
            let of = |tier: &str, order| &*p.tier == tier && p.order.get() == order;
            let k8s = |n: &NetworkPolicy| n.meta == p.meta && of("default", Some(1000.0));
            let priority = |n: &ClusterPolicy| n.priority.map(f64::from);
            let tier = |n: &ClusterPolicy| if n.tier == ClusterTier::Admin { "kube-admin" } else { "kube-baseline" };
            let cluster = |n: &ClusterPolicy| n.meta.name == p.meta.name && of(tier(n), priority(n));
            named.iter().any(k8s) || p.meta.namespace.is_empty() && clustered.iter().any(cluster)
        });
        self.if_so(twins, "policies of two APIs, of one name, tier and order");
        let unasked = calico.iter().any(|p| matches!(p.class, Class::PreDnat | Class::DoNotTrack));
        self.if_so(unasked, "policy of a class that pods are not asked about");
        let stolen = |k: &str| k.starts_with("pcns.") || k.starts_with("pcsa.");
        let thief = cluster.pods.iter().any(|p| p.meta.labels.iter().any(|(k, _)| stolen(k)));
        self.if_so(thief, "pod with a label that is not its own to give");
        for ip in [flow.from, flow.to] {
            let sets = cluster.network_sets.iter().filter(|s| s.nets.iter().any(|n| n.contains(&ip))).count();
            self.if_so(sets > 0, "address in a set of addresses");
            self.if_so(sets > 0 && pod_at(cluster, ip).is_some(), "address in a set of addresses and a pod's");
            self.if_so(sets > 1, "address in several sets of addresses");
            let expected = cluster.host_endpoints.iter().any(|host| host.addresses.contains(&ip));
            self.if_so(expected, "address that is expected of a host");
            let mut endpoints = cluster.endpoint_slices.iter().flat_map(|s| &s.endpoints);
            self.if_so(endpoints.any(|e| e.addresses.contains(&ip)), "address behind a Service");
        }
        let ports = flow.traffic.protocol.transport().is_some();
        self.if_so(ports && flow.source_port != tortie_policy::EPHEMERAL_PORT, "packet: from a port that servers have");
    }

    pub(super) fn calico(&mut self, policy: &Policy, direction: Direction, rules: &[Rule]) {
        let here = !policy.meta.namespace.is_empty();
        self.0.insert(if here { "Calico: policy of a namespace" } else { "Calico: policy of the cluster" });
        match policy.order.get() {
            None => self.if_so(true, "Calico: policy without order"),
            Some(order) => self.if_so(order < 0.0, "Calico: policy of an order below zero"),
        }
        self.if_so(policy.class == Class::Forward, "Calico: policy for forwarded packets too");
        self.if_so(rules.is_empty(), "Calico: direction without rules");
        self.if_so(policy.selector != Selector::All, "subject: by labels");
        self.if_so(policy.namespaces.is_some(), "subject: by namespaces");
        self.if_so(policy.service_accounts.is_some(), "subject: by service accounts");
        self.expression(&policy.selector);
        policy.namespaces.iter().chain(&policy.service_accounts).for_each(|s| self.expression(s));
        for rule in rules {
            self.calico_rule(rule, direction, here);
        }
    }

    fn calico_rule(&mut self, rule: &Rule, direction: Direction, here: bool) {
        self.0.insert(match rule.action {
            Action::Allow => "action: Allow",
            Action::Deny => "action: Deny",
            Action::Log => "action: Log",
            Action::Pass => "action: Pass",
        });
        let icmp = rule.protocol.is_some_and(IpProtocol::is_icmp);
        self.if_so(rule.family.is_some() && !icmp, "rule: of a family");
        self.if_so(icmp && rule.family.is_some(), "rule: ICMP by name");
        self.if_so(icmp && rule.family.is_none() || rule.protocol == Some(IpProtocol(47)), "rule: protocol by number");
        self.if_so(rule.not_protocol.is_some(), "rule: notProtocol");
        if let Some(icmp) = rule.icmp {
            self.0.insert(match (icmp.kind, icmp.code) {
                (None, _) => "rule: icmp, any type",
                (_, None) => "rule: icmp, type",
                _ => "rule: icmp, type and code",
            });
        }
        if let Some(icmp) = rule.not_icmp {
            self.0.insert(if icmp.code.is_none() { "rule: notICMP, type" } else { "rule: notICMP, type and code" });
        }
        let (own, peer) = match direction {
            Direction::Ingress => (&rule.destination, &rule.source),
            Direction::Egress => (&rule.source, &rule.destination),
        };
        self.own_end(own);
        self.peer_end(peer, here);
        self.ports_of(rule);
        for end in [own, peer] {
            end.selector.iter().chain(&end.not_selector).chain(&end.namespaces).for_each(|s| self.expression(s));
        }
    }

    fn own_end(&mut self, own: &Entity) {
        self.if_so(!own.nets.is_empty(), "own end: nets");
        self.if_so(!own.not_nets.is_empty(), "own end: notNets");
        self.if_so(own.selector.is_some(), "own end: selector");
        self.if_so(own.not_selector.is_some(), "own end: notSelector");
        self.if_so(own.namespaces.is_some(), "own end: namespaceSelector");
        self.if_so(own.service_accounts.is_some(), "own end: service accounts");
    }

    fn peer_end(&mut self, peer: &Entity, here: bool) {
        let of = |nets: &[ipnet::IpNet], family| nets.iter().any(|n| Family::of_net(n) == family);
        self.if_so(of(&peer.nets, Family::V4), "peer: nets of IPv4");
        self.if_so(of(&peer.nets, Family::V6), "peer: nets of IPv6");
        self.if_so(of(&peer.not_nets, Family::V4), "peer: notNets of IPv4");
        self.if_so(of(&peer.not_nets, Family::V6), "peer: notNets of IPv6");
        self.if_so(peer.selector.is_some(), "peer: selector");
        let beside = peer.selector.is_some() || peer.namespaces.is_some() || peer.service_accounts.is_some();
        let not = if beside { "peer: notSelector beside others" } else { "peer: notSelector alone" };
        self.if_so(peer.not_selector.is_some(), not);
        if let Some(namespaces) = &peer.namespaces {
            self.0.insert(match namespaces {
                Selector::All => "peer: namespaceSelector all()",
                Selector::Global => "peer: namespaceSelector global()",
                _ => "peer: namespaceSelector",
            });
        }
        let accounts = peer.service_accounts.as_ref();
        self.if_so(accounts.is_some_and(|a| !a.names.is_empty()), "peer: service accounts by name");
        self.if_so(accounts.is_some_and(|a| a.selector.is_some()), "peer: service accounts by labels");
        if let Some(service) = &peer.service {
            let written = service.namespace.is_some();
            self.if_so(written, "peer: Service of a namespace");
            self.if_so(!written && here, "peer: Service here");
        }
    }

    fn ports_of(&mut self, rule: &Rule) {
        let (source, destination) = (&rule.source, &rule.destination);
        for port in &destination.ports {
            self.0.insert(match port {
                PortSpec::Named(_) if rule.protocol.is_none() => "ports: by name, without protocol",
                PortSpec::Named(_) => "ports: by name",
                PortSpec::Range(first, last) if first == last => "ports: one",
                PortSpec::Range(..) | PortSpec::All => "ports: a range",
            });
        }
        let by = |ports: &[PortSpec]| ports.iter().any(|p| matches!(p, PortSpec::Named(_)));
        let number = |ports: &[PortSpec]| ports.iter().any(|p| !matches!(p, PortSpec::Named(_)));
        self.if_so(number(&destination.not_ports), "notPorts: by number");
        self.if_so(by(&destination.not_ports), "notPorts: by name");
        self.if_so(number(&source.ports), "source ports: by number");
        self.if_so(by(&source.ports), "source ports: by name");
        self.if_so(number(&source.not_ports), "source notPorts: by number");
        self.if_so(by(&source.not_ports), "source notPorts: by name");
    }

    fn expression(&mut self, selector: &Selector) {
        let key = match selector {
            Selector::Has(key) | Selector::Compare(key, _) => &**key,
            _ => "",
        };
        self.if_so(key.starts_with("pcns."), "selector: pcns.");
        self.if_so(key.starts_with("pcsa."), "selector: pcsa.");
        self.if_so(key.starts_with("projectcalico.org/"), "selector: of where an endpoint is");
        match selector {
            Selector::All => self.if_so(true, "selector: all()"),
            Selector::Global => {}
            Selector::Has(_) => self.if_so(true, "selector: has()"),
            Selector::Compare(_, comparison) => self.if_so(
                true,
                match comparison {
                    Comparison::Equal(_) => "selector: ==",
                    Comparison::NotEqual(_) => "selector: !=",
                    Comparison::Contains(_) => "selector: contains",
                    Comparison::StartsWith(_) => "selector: starts with",
                    Comparison::EndsWith(_) => "selector: ends with",
                    Comparison::In(_) => "selector: in",
                    Comparison::NotIn(_) => "selector: not in",
                },
            ),
            Selector::Not(term) => {
                self.0.insert("selector: !");
                self.expression(term);
            }
            Selector::And(terms) => {
                self.0.insert("selector: &&");
                terms.iter().for_each(|t| self.expression(t));
            }
            Selector::Or(terms) => {
                self.0.insert("selector: ||");
                terms.iter().for_each(|t| self.expression(t));
            }
        }
    }
}

fn by_kind(kind: Kind) -> &'static str {
    match kind {
        Kind::NetworkPolicy => "decided by a NetworkPolicy",
        Kind::CalicoNetworkPolicy => "decided by a Calico NetworkPolicy",
        Kind::GlobalNetworkPolicy => "decided by a GlobalNetworkPolicy",
        Kind::ClusterNetworkPolicy => "decided by a ClusterNetworkPolicy",
        Kind::AdminNetworkPolicy => "decided by an AdminNetworkPolicy",
        Kind::BaselineAdminNetworkPolicy => "decided by a BaselineAdminNetworkPolicy",
        other => panic!("{other} is no policy"),
    }
}
