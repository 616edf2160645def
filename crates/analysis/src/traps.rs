//! Policies that let in more than their author surely meant.

use std::collections::BTreeSet;

use tortie_manifest::{ObjectSet, Place, Store};
use tortie_model::{
    Direction, Kind, LabelSelector, Namespace, NetworkPolicy, ObjectRef, Operator, PeerRule, Pod, PolicyPeer,
    PolicyPort, PortSpec, Protocol, Requirement,
};
use tortie_policy::RuleRef;

/// The port that CoreDNS serves its metrics on (`prometheus :9153` of kubeadm's Corefile).
const COREDNS_METRICS: u16 = 9153;
const DNS: u16 = 53;

/// What kind of trap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TrapKind {
    /// A namespaceSelector and a podSelector are two peers, where one with both was meant.
    PeersApart,
    /// The metrics port is opened together with DNS.
    MetricsWithDns,
}

impl TrapKind {
    /// In one line.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::PeersApart => "one dash too many: two peers where one was meant",
            Self::MetricsWithDns => "more than DNS: the metrics port is not needed for resolving names",
        }
    }

    /// Why it is one.
    #[must_use]
    pub const fn explanation(self) -> &'static str {
        match self {
            Self::PeersApart => {
                "Items of `from` and `to` are OR-ed. A namespaceSelector alone means every pod of\n\
                 these namespaces; a podSelector alone looks only in the policy's own namespace.\n\
                 Both in one item (no dash before the second) mean the pods in these namespaces\n\
                 that carry the labels."
            }
            Self::MetricsWithDns => "Names are resolved on port 53, UDP and TCP. 9153 serves the metrics of CoreDNS.",
        }
    }
}

/// A rule that is a trap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trap {
    /// Which kind.
    pub kind: TrapKind,
    /// The rule.
    pub rule: RuleRef,
    /// The item of the rule at that place, such as `from/0`; and for peers the second of the two.
    pub item: String,
    /// The second of two peers that are apart.
    pub second: Option<String>,
    /// Where it is written: for peers the first of the two, for ports the port.
    pub place: Option<Place>,
    /// Pods that it reaches beyond what was meant, as `namespace/name`, sorted.
    pub beyond: Vec<String>,
    /// What it does, in a sentence.
    pub finding: String,
    /// What was probably meant, as YAML: the `from`, `to` or `ports` of the rule.
    pub fix: String,
}

/// The traps in the policies of a store, by kind, then by policy.
#[must_use]
pub fn traps(store: &Store) -> Vec<Trap> {
    let mut objects = store.state();
    objects.add_cluster_dns();
    let mut found = Vec::new();
    for policy in &objects.network_policies {
        let object = ObjectRef::namespaced(Kind::NetworkPolicy, &policy.meta.namespace, &policy.meta.name);
        for (direction, rules) in [(Direction::Ingress, &policy.ingress), (Direction::Egress, &policy.egress)] {
            for (index, rule) in rules.iter().flatten().enumerate() {
                let look = Look {
                    objects: &objects,
                    store,
                    policy,
                    rule,
                    name: RuleRef { policy: object.clone(), direction, index },
                };
                found.extend(look.peers_apart());
                found.extend(look.metrics_with_dns());
            }
        }
    }
    found.sort_by_key(|t| t.kind);
    found
}

struct Look<'a> {
    objects: &'a ObjectSet,
    store: &'a Store,
    policy: &'a NetworkPolicy,
    rule: &'a PeerRule,
    name: RuleRef,
}

impl Look<'_> {
    fn pointer(&self) -> String {
        format!("/spec/{}/{}", self.name.direction, self.name.index)
    }

    fn peer_field(&self) -> &'static str {
        match self.name.direction {
            Direction::Ingress => "from",
            Direction::Egress => "to",
        }
    }

    fn place(&self, below: &str) -> Option<Place> {
        self.store.origin(&self.name.policy).map(|o| o.place(&format!("{}{below}", self.pointer())))
    }

    fn namespace(&self, pod: &Pod) -> Option<&Namespace> {
        self.objects.namespaces.iter().find(|n| *n.name() == pod.meta.namespace)
    }

    /// Pods with a network of their own whose namespace a selector selects.
    fn pods_in(&self, namespaces: &LabelSelector) -> Vec<&Pod> {
        let there = |p: &&Pod| !p.host_network && self.namespace(p).is_some_and(|n| namespaces.matches(n.labels()));
        self.objects.pods.iter().filter(there).collect()
    }

    /// Two peers that only make sense together: the pods that the second selects are nowhere in the policy's own
    /// namespace, where it looks, but in the namespaces of the first.
    fn peers_apart(&self) -> Option<Trap> {
        let (first, namespaces, second, pods) = self.rule.peers.iter().enumerate().find_map(|(i, peer)| {
            let PolicyPeer::Pods { namespaces, pods: None } = peer else { return None };
            let in_these = self.pods_in(namespaces);
            self.rule.peers.iter().enumerate().find_map(|(j, other)| {
                let PolicyPeer::PodsHere(pods) = other else { return None };
                let selects = |p: &&Pod| pods.matches(&p.meta.labels);
                let mut here = self.objects.pods.iter().filter(|p| p.meta.namespace == self.policy.meta.namespace);
                let useless = !pods.is_everything() && !here.any(|p| selects(&p));
                (useless && in_these.iter().any(selects)).then_some((i, namespaces, j, pods))
            })
        })?;
        let beyond: Vec<String> =
            self.pods_in(namespaces).into_iter().filter(|p| !pods.matches(&p.meta.labels)).map(Pod::key).collect();
        let verb = match self.name.direction {
            Direction::Ingress => "lets in",
            Direction::Egress => "reaches",
        };
        let field = self.peer_field();
        let who = if beyond.is_empty() {
            format!("{verb} every pod that will ever be in namespaces {namespaces}")
        } else {
            format!("{verb} every pod of namespaces {namespaces}, also {}", list(&beyond))
        };
        let finding = format!("{who}; {field}[{second}] ({pods}) matches no pod of {}", self.policy.meta.namespace);
        let mut fix = format!("{field}:\n- namespaceSelector:\n{}", selector_yaml(namespaces, 4));
        fix.push_str(&format!("  podSelector:            # no dash: both at once\n{}", selector_yaml(pods, 4)));
        let place = self.place(&format!("/{field}/{first}"));
        let (item, second) = (format!("{field}/{first}"), Some(format!("{field}/{second}")));
        let rule = self.name.clone();
        Some(Trap { kind: TrapKind::PeersApart, rule, item, second, place, beyond, finding, fix })
    }

    /// Port 53 and a metrics port in one rule, towards pods that serve DNS (or towards any).
    fn metrics_with_dns(&self) -> Option<Trap> {
        let dns = |p: &PolicyPort| p.port == PortSpec::Range(DNS, DNS) && p.protocol != Protocol::Sctp;
        let metrics = |p: &PolicyPort| {
            p.protocol == Protocol::Tcp
                && match &p.port {
                    PortSpec::Range(first, last) => first == last && *first == COREDNS_METRICS,
                    PortSpec::Named(name) => &**name == "metrics",
                    PortSpec::All => false,
                }
        };
        let at = self.rule.ports.iter().position(metrics).filter(|_| self.rule.ports.iter().any(dns))?;
        let reached: BTreeSet<String> = match self.name.direction {
            Direction::Egress => self.peers().into_iter().map(Pod::key).collect(),
            Direction::Ingress => self.subjects().into_iter().map(Pod::key).collect(),
        };
        let beyond: Vec<String> = reached.into_iter().collect();
        let port = port_text(&self.rule.ports[at]);
        let of = if beyond.is_empty() { String::new() } else { format!(" of {}", list(&beyond)) };
        let finding = format!("opens {port}{of} together with 53");
        let kept = self.rule.ports.iter().enumerate().filter(|(i, _)| *i != at).map(|(_, p)| port_yaml(p));
        let fix = format!("ports:\n{}", kept.collect::<String>());
        let place = self.place(&format!("/ports/{at}"));
        let (item, rule) = (format!("ports/{at}"), self.name.clone());
        Some(Trap { kind: TrapKind::MetricsWithDns, rule, item, second: None, place, beyond, finding, fix })
    }

    fn subjects(&self) -> Vec<&Pod> {
        let mine = |p: &&Pod| p.meta.namespace == self.policy.meta.namespace;
        self.objects.pods.iter().filter(mine).filter(|p| self.policy.pod_selector.matches(&p.meta.labels)).collect()
    }

    fn peers(&self) -> Vec<&Pod> {
        let meant = |pod: &Pod| {
            let matches = |peer: &PolicyPeer| match peer {
                PolicyPeer::PodsHere(pods) => {
                    pod.meta.namespace == self.policy.meta.namespace && pods.matches(&pod.meta.labels)
                }
                PolicyPeer::Pods { namespaces, pods } => {
                    self.namespace(pod).is_some_and(|n| namespaces.matches(n.labels()))
                        && pods.as_ref().is_none_or(|s| s.matches(&pod.meta.labels))
                }
                PolicyPeer::IpBlock(block) => pod.ips.iter().any(|ip| block.contains(*ip)),
            };
            self.rule.peers.iter().any(matches)
        };
        self.objects.pods.iter().filter(|p| !p.host_network && meant(p)).collect()
    }
}

/// Up to four names.
fn list(names: &[String]) -> String {
    const MOST: usize = 4;
    let more = names.len().saturating_sub(MOST);
    let shown = names.iter().take(MOST).cloned().collect::<Vec<_>>().join(", ");
    if more == 0 { shown } else { format!("{shown} and {more} more") }
}

fn port_text(port: &PolicyPort) -> String {
    match &port.port {
        PortSpec::All => format!("all {}", port.protocol),
        PortSpec::Range(first, last) if first == last => format!("{}/{first}", port.protocol),
        PortSpec::Range(first, last) => format!("{}/{first}-{last}", port.protocol),
        PortSpec::Named(name) => format!("{}/{name}", port.protocol),
    }
}

fn port_yaml(port: &PolicyPort) -> String {
    let number = match &port.port {
        PortSpec::All => String::new(),
        PortSpec::Range(first, last) if first == last => format!("  port: {first}\n"),
        PortSpec::Range(first, last) => format!("  port: {first}\n  endPort: {last}\n"),
        PortSpec::Named(name) => format!("  port: {name}\n"),
    };
    format!("- protocol: {}\n{number}", port.protocol)
}

/// The inside of a selector; `matchLabels` where it can be said so.
fn selector_yaml(selector: &LabelSelector, indent: usize) -> String {
    let plain = |r: &&Requirement| r.operator == Operator::In && r.values.len() == 1;
    let (labels, others): (Vec<_>, Vec<_>) = selector.requirements().iter().partition(plain);
    let pad = " ".repeat(indent);
    let mut out = String::new();
    if !labels.is_empty() {
        out.push_str(&format!("{pad}matchLabels:\n"));
        for r in labels {
            out.push_str(&format!("{pad}  {}: {}\n", r.key, quoted(&r.values[0])));
        }
    }
    if !others.is_empty() {
        out.push_str(&format!("{pad}matchExpressions:\n"));
        for r in others {
            let values: Vec<String> = r.values.iter().map(|v| quoted(v)).collect();
            let values = if values.is_empty() { String::new() } else { format!(", values: [{}]", values.join(", ")) };
            out.push_str(&format!("{pad}- {{key: {}, operator: {}{values}}}\n", r.key, r.operator.as_str()));
        }
    }
    if out.is_empty() { format!("{pad}{{}}\n") } else { out }
}

/// A label's value that YAML could take for something else than text is quoted.
fn quoted(value: &str) -> String {
    let text = value.bytes().any(|b| b.is_ascii_alphabetic())
        && !matches!(
            value.to_ascii_lowercase().as_str(),
            "true" | "false" | "yes" | "no" | "on" | "off" | "null" | "y" | "n"
        )
        && !value.starts_with(|c: char| c.is_ascii_digit());
    if text { value.to_owned() } else { format!("\"{value}\"") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tortie_manifest::{Expansion, LoadOptions, Memory, load};

    /// Two namespaces, a pod that is meant, one that is not, and a policy with these peers and ports.
    fn look(policy: &str) -> Vec<Trap> {
        let text = format!(
            "apiVersion: v1\nkind: Namespace\nmetadata: {{name: shop, labels: {{team: s}}}}\n---\n\
             apiVersion: v1\nkind: Namespace\nmetadata: {{name: clients, labels: {{team: c}}}}\n---\n\
             apiVersion: v1\nkind: Pod\nmetadata: {{name: till, namespace: clients, labels: {{app: till}}}}\n---\n\
             apiVersion: v1\nkind: Pod\nmetadata: {{name: odd, namespace: clients}}\n---\n\
             apiVersion: v1\nkind: Pod\nmetadata: {{name: db, namespace: shop, labels: {{app: db}}}}\n---\n\
             apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{name: p, namespace: shop}}\nspec:\n{policy}"
        );
        let loaded = load(&Memory::new([("f.yaml", text)]), &["f.yaml"], &LoadOptions::default());
        assert!(loaded.diagnostics.is_empty(), "{:?}", loaded.diagnostics);
        let mut store = Store::new(Expansion::default());
        store.apply(&loaded.objects);
        traps(&store)
    }

    const NS: &str = "namespaceSelector: {matchLabels: {team: c}}";

    #[test]
    fn peers_that_are_apart_are_found_with_whom_they_let_in() {
        let found = look(&format!(
            "  podSelector: {{}}\n  ingress:\n  - from:\n    - {NS}\n    - podSelector: {{matchLabels: {{app: till}}}}\n"
        ));
        let [trap] = &found[..] else { panic!("{found:?}") };
        assert_eq!((trap.kind, &trap.beyond[..]), (TrapKind::PeersApart, &["clients/odd".to_owned()][..]));
        assert_eq!(trap.place.as_ref().map(Place::line), Some(28));
        assert!(trap.finding.contains("clients/odd"), "{}", trap.finding);
        assert_eq!(
            trap.fix,
            "from:\n- namespaceSelector:\n    matchLabels:\n      team: c\n  podSelector:            # no dash: both at once\n    matchLabels:\n      app: till\n"
        );
    }

    #[test]
    fn peers_that_are_meant_apart_are_no_trap() {
        for peers in [
            // One item with both.
            format!("    - {NS}\n      podSelector: {{matchLabels: {{app: till}}}}\n"),
            // The second peer finds pods where it looks.
            format!("    - {NS}\n    - podSelector: {{matchLabels: {{app: db}}}}\n"),
            // The second peer finds pods nowhere: perhaps they are still to come.
            format!("    - {NS}\n    - podSelector: {{matchLabels: {{app: later}}}}\n"),
            format!("    - {NS}\n    - podSelector: {{}}\n"),
        ] {
            let found = look(&format!("  podSelector: {{}}\n  ingress:\n  - from:\n{peers}"));
            assert!(found.is_empty(), "{peers}: {found:?}");
        }
    }

    #[test]
    fn the_metrics_port_beside_dns_is_found() {
        let rule = |ports: &str| {
            look(&format!(
                "  podSelector: {{}}\n  policyTypes: [Egress]\n  egress:\n  - to:\n    - namespaceSelector: {{matchLabels: {{kubernetes.io/metadata.name: kube-system}}}}\n    ports: [{ports}]\n"
            ))
        };
        let found = rule("{port: 53, protocol: UDP}, {port: 9153}");
        let [trap] = &found[..] else { panic!("{found:?}") };
        assert_eq!(trap.beyond, ["kube-system/coredns-1", "kube-system/coredns-2"]);
        assert_eq!(trap.fix, "ports:\n- protocol: UDP\n  port: 53\n");
        assert!(rule("{port: 53, protocol: UDP}, {port: 8080}").is_empty());
        assert!(rule("{port: 9153}").is_empty());
    }
}
