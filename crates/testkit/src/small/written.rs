//! Small clusters with tiers as objects: which of the many ways to write one is drawn.

use std::sync::Arc;

use ipnet::IpNet;
use tortie_model::calico::{self, Action, Class, Comparison, Entity, Rule, Selector};
use tortie_model::{
    ClusterAction, ClusterPeer, ClusterPort, ClusterRule, ClusterTier, Direction, IpProtocol, Kind, LabelSelector,
    Meta, NetworkPolicy, Order, PeerRule, PortSpec, Protocol,
};

use super::tiers::{ClusterPolicy, Place, Pods, Policy, Second, Standing};
use super::{nodes, shuffle};
use crate::cluster::Cluster;
use crate::{Rng, build};

/// The only namespace.
const NAMESPACE: &str = "red";
/// The only label.
const LABEL: (&str, &str) = ("app", "x");
/// What rules with addresses match, of each family: all pods, and one address besides, which most of them leave out.
const BLOCKS: [(&str, &str); 2] = [("10.244.0.0/16", "10.244.99.0/24"), ("fd00:244::/32", "fd00:244:99::/64")];

/// Writes one cluster.
pub(super) struct Written {
    rng: Rng,
    pods: Pods,
}

/// A place among others: its order, and a name for those of the same order.
type Rank = (Order, &'static str);

impl Written {
    pub(super) const fn new(rng: Rng, pods: Pods) -> Self {
        Self { rng, pods }
    }

    pub(super) fn cluster(mut self, standing: Standing, first: &Policy, second: Second<'_>) -> Cluster {
        let mut out = Cluster {
            namespaces: vec![build::namespace(NAMESPACE, &[])],
            nodes: nodes(),
            pods: self.pods(),
            ..Cluster::default()
        };
        match (standing, second) {
            (Standing::OneTier { passes }, Second::Calico(second)) => {
                let tier = self.tier(&mut out, passes);
                for (place, policy) in self.in_order().into_iter().zip([first, second]) {
                    out.calico.push(self.calico(policy, tier, place));
                }
            }
            (Standing::OneTier { passes }, _) => {
                let tier = self.tier(&mut out, passes);
                let place = self.somewhere();
                out.calico.push(self.calico(first, tier, place));
            }
            (Standing::TwoTiers { pass }, Second::Calico(second)) => {
                // Order in one tier is nothing in another.
                let mut places = self.in_order();
                shuffle(&mut self.rng, &mut places);
                let tiers = self.in_order().into_iter().zip(pass);
                for (((of_tier, name), passes), (policy, place)) in tiers.zip([first, second].into_iter().zip(places)) {
                    out.calico_tiers.push(tier(name, of_tier, passes));
                    out.calico.push(self.calico(policy, name, place));
                }
            }
            (Standing::Beside(place), Second::Kubernetes(policy)) => {
                let policy = kubernetes(policy);
                let tier = ("default", Order::new(1e6));
                self.beside(&mut out, place, tier, Order::new(1000.0), first);
                out.policies.push(policy);
            }
            (Standing::Beside(place), Second::Cluster(policy)) => {
                let policy = self.of_cluster(policy);
                let tier = match policy.tier {
                    ClusterTier::Admin => ("kube-admin", Order::new(1e3)),
                    ClusterTier::Baseline => ("kube-baseline", Order::new(1e7)),
                };
                let order = policy.priority.map_or(Order::NONE, |n| Order::new(f64::from(n)));
                self.beside(&mut out, place, tier, order, first);
                out.cluster_policies.push(policy);
            }
            (standing, second) => unreachable!("{second:?} does not stand {standing:?}"),
        }
        shuffle(&mut self.rng, &mut out.calico);
        shuffle(&mut self.rng, &mut out.calico_tiers);
        out
    }

    /// Pods on one node or the other.
    fn pods(&mut self) -> Vec<tortie_model::Pod> {
        let mut labelled = [vec![true; self.pods.labelled], vec![false; self.pods.plain]].concat();
        shuffle(&mut self.rng, &mut labelled);
        let pods = (0..).zip(labelled).map(|(i, labelled)| {
            let node = 1 + self.rng.below(2);
            let ips = [format!("10.244.{node}.{}", i + 2), format!("fd00:244:{node}::{:x}", i + 2)];
            let labels: &[_] = if labelled { &[LABEL] } else { &[] };
            let mut pod = build::pod(&format!("{NAMESPACE}/p{i}"), &format!("n{node}"), labels, &[&ips[0], &ips[1]]);
            pod.meta.uid = format!("{}", i + 1).into();
            pod
        });
        pods.collect()
    }

    /// Two places, the first before the second: by order, or by name where the order is the same or none.
    fn in_order(&mut self) -> [Rank; 2] {
        let orders = match self.rng.below(5) {
            0 => return [(Order::NONE, "m"), (Order::NONE, "n")],
            1 => return [(Order::new(5.0), "m"), (Order::new(5.0), "n")],
            2 => [Order::new(2.5), Order::NONE],
            3 => [Order::new(-1.0), Order::new(0.0)],
            _ => [Order::new(1.0), Order::new(2e6)],
        };
        [(orders[0], "n"), (orders[1], "m")]
    }

    /// A place where no other is.
    fn somewhere(&mut self) -> Rank {
        let first = usize::from(self.rng.chance(50));
        self.in_order()[first]
    }

    /// A tier that is the only one: now and then one of those that are always there.
    fn tier(&mut self, out: &mut Cluster, passes: bool) -> &'static str {
        if self.rng.chance(30) {
            return match passes {
                true if self.rng.chance(50) => "kube-admin",
                true => "kube-baseline",
                false => "default",
            };
        }
        let (order, name) = self.somewhere();
        out.calico_tiers.push(tier(name, order, passes));
        name
    }

    /// A policy of Calico beside one of another API, which stands in a tier.
    fn beside(
        &mut self,
        out: &mut Cluster,
        place: Place,
        (name, order_of_tier): (&'static str, Order),
        other: Order,
        policy: &Policy,
    ) {
        let (in_tier, rank) = match place {
            Place::InFront => (name, self.next_to(other, true)),
            Place::Behind => (name, self.next_to(other, false)),
            Place::Before { passes } | Place::After { passes } => {
                let before = matches!(place, Place::Before { .. });
                let (order, name) = self.next_to(order_of_tier, before);
                out.calico_tiers.push(tier(name, order, passes));
                // Order in one tier is nothing in another.
                (name, self.somewhere())
            }
        };
        out.calico.push(self.calico(policy, in_tier, rank));
    }

    /// A place before or after what has this order, and a name between `a` and `z`.
    fn next_to(&mut self, order: Order, before: bool) -> Rank {
        let tied = self.rng.chance(40);
        match (before, order.get()) {
            (true, _) if tied => (order, "a"),
            (true, Some(n)) => (Order::new(n - 0.5), "z"),
            (true, None) => (Order::new(2e7), "z"),
            (false, Some(n)) if !tied => (*self.rng.pick(&[Order::new(n + 0.5), Order::NONE]), "a"),
            (false, _) => (order, "z"),
        }
    }

    fn calico(&mut self, policy: &Policy, tier: &str, (order, name): Rank) -> calico::Policy {
        let mut lists = [(Direction::Ingress, &policy.ingress), (Direction::Egress, &policy.egress)].into_iter();
        let mut next = || {
            let (direction, forms) = lists.next()?;
            Some(forms.as_ref()?.iter().map(|form| self.rule(*form, direction)).collect::<Vec<_>>())
        };
        let (ingress, egress) = (next(), next());
        // A selector of what is not selected is limited to the namespace of a policy that has one; no other is.
        let excludes = |rule: &Rule| [&rule.source, &rule.destination].iter().any(|end| end.not_selector.is_some());
        let global = [&ingress, &egress].into_iter().flatten().flatten().any(excludes) || self.rng.chance(50);
        calico::Policy {
            meta: Meta {
                namespace: if global { "".into() } else { NAMESPACE.into() },
                name: name.into(),
                ..Meta::default()
            },
            tier: tier.into(),
            order,
            selector: if policy.labelled { self.labelled() } else { self.everyone() },
            namespaces: None,
            service_accounts: None,
            ingress,
            egress,
            class: Class::Normal,
        }
    }

    /// A selector that selects every pod of the cluster.
    fn everyone(&mut self) -> Selector {
        match self.pods {
            Pods { plain: 0, .. } if self.rng.chance(50) => self.labelled(),
            Pods { labelled: 0, .. } if self.rng.chance(50) => Selector::Not(Box::new(self.labelled())),
            _ => Selector::All,
        }
    }

    fn labelled(&mut self) -> Selector {
        let (key, value): (Arc<str>, Arc<str>) = (LABEL.0.into(), LABEL.1.into());
        match self.rng.below(3) {
            0 => Selector::Has(key),
            1 => Selector::Compare(key, Comparison::Equal(value)),
            _ => Selector::Compare(key, Comparison::In(vec![value])),
        }
    }

    /// A rule of Calico: one of four actions, and one of five things to match.
    fn rule(&mut self, form: u8, direction: Direction) -> Rule {
        let (mut peer, mut port) = (Entity::default(), Entity::default());
        let http = vec![PortSpec::Range(80, 80)];
        match form / 4 {
            0 => {}
            1 => peer.selector = Some(self.labelled()),
            2 => (peer.not_selector, port.ports) = (Some(self.labelled()), http),
            3 => {
                peer.nets = BLOCKS.map(|(block, _)| net(block)).to_vec();
                peer.not_nets = BLOCKS.map(|(_, except)| net(except)).to_vec();
            }
            _ => port.not_ports = http,
        }
        let protocol = (!(port.ports.is_empty() && port.not_ports.is_empty())).then_some(IpProtocol::TCP);
        let (source, destination) = match direction {
            Direction::Ingress => (peer, port),
            Direction::Egress => (Entity::default(), Entity { ports: port.ports, not_ports: port.not_ports, ..peer }),
        };
        let action = [Action::Allow, Action::Deny, Action::Pass, Action::Log][usize::from(form % 4)];
        build::calico_rule(action, protocol, source, destination)
    }

    /// A ClusterNetworkPolicy, or one of those that came before it where they can say the same.
    fn of_cluster(&mut self, policy: &ClusterPolicy) -> tortie_model::ClusterPolicy {
        let pods = || ClusterPeer::Pods { namespaces: LabelSelector::default(), pods: build::selector(&[LABEL]) };
        let all = || ClusterPeer::Namespaces(LabelSelector::default());
        let action = [ClusterAction::Accept, ClusterAction::Deny, ClusterAction::Pass][usize::from(policy.form % 3)];
        let (peer, ports) = match policy.form / 3 {
            0 => (all(), None),
            1 => (pods(), None),
            2 => (all(), Some(vec![ClusterPort::Range(Protocol::Tcp, 80, 80)])),
            _ => (ClusterPeer::Networks(BLOCKS.map(|(block, _)| net(block)).to_vec()), None),
        };
        let rules = vec![ClusterRule { name: "".into(), action, peers: vec![peer], ports }];
        let (ingress, egress) = match policy.direction {
            Direction::Ingress => (rules, vec![]),
            Direction::Egress => (vec![], rules),
        };
        let (kind, name, priority) = match (policy.tier, action) {
            (ClusterTier::Admin, _) if self.rng.chance(30) => (Kind::AdminNetworkPolicy, "m", Some(5)),
            (ClusterTier::Baseline, ClusterAction::Accept | ClusterAction::Deny) if self.rng.chance(30) => {
                (Kind::BaselineAdminNetworkPolicy, "default", None)
            }
            _ => (Kind::ClusterNetworkPolicy, "m", Some(5)),
        };
        tortie_model::ClusterPolicy {
            kind,
            meta: Meta { name: name.into(), ..Meta::default() },
            tier: policy.tier,
            priority,
            subject: if policy.labelled { pods() } else { all() },
            ingress,
            egress,
        }
    }
}

fn tier(name: &str, order: Order, passes: bool) -> calico::Tier {
    calico::Tier { meta: Meta { name: name.into(), ..Meta::default() }, order, passes }
}

fn net(text: &str) -> IpNet {
    text.parse().expect("a CIDR")
}

fn kubernetes(policy: &Policy) -> NetworkPolicy {
    let rules = |forms: &Option<Vec<u8>>| forms.as_ref().map(|forms| forms.iter().map(kubernetes_rule).collect());
    let labels: &[_] = if policy.labelled { &[LABEL] } else { &[] };
    let (ingress, egress) = (rules(&policy.ingress), rules(&policy.egress));
    NetworkPolicy { ingress, egress, ..build::policy(&format!("{NAMESPACE}/m"), labels) }
}

fn kubernetes_rule(form: &u8) -> PeerRule {
    match form {
        0 => build::rule([], []),
        1 => build::rule([build::pods_here(&[LABEL])], []),
        2 => build::rule(BLOCKS.map(|(block, except)| build::block(block, &[except])), []),
        _ => build::rule([], [build::tcp(80)]),
    }
}

#[cfg(test)]
mod tests {
    use tortie_model::Traffic;

    use super::*;
    use crate::cluster::Flow;
    use crate::reference::{self, By};

    const PODS: Pods = Pods { labelled: 1, plain: 1 };

    fn ingress(labelled: bool, forms: &[u8]) -> Policy {
        Policy { labelled, ingress: Some(forms.to_vec()), egress: None }
    }

    /// Allow, Deny, Pass and nothing, of everything.
    fn answers() -> [Policy; 4] {
        [&[0][..], &[1], &[2], &[]].map(|forms| ingress(false, forms))
    }

    /// Whether the first pod hears the second, and whether the end of a tier decides, however it is written.
    fn heard(standing: Standing, first: &Policy, second: Second<'_>) -> (bool, bool) {
        let mut all = (0..60).map(|seed| {
            let cluster = Written::new(Rng::new(seed), PODS).cluster(standing, first, second);
            let flow = Flow::new(cluster.pods[1].ips[0], cluster.pods[0].ips[0], Traffic::port(Protocol::Tcp, 80));
            let decision = reference::explain(&cluster, flow).ingress;
            (decision.allowed, matches!(decision.by, By::EndOfTier(_)))
        });
        let one = all.next().expect("the first");
        assert!(all.all(|other| other == one), "{standing:?} {first:?} {second:?}");
        one
    }

    #[test]
    fn the_first_of_a_tier_is_asked_first() {
        let [allow, deny, pass, nothing] = answers();
        for passes in [false, true] {
            let standing = Standing::OneTier { passes };
            assert_eq!(heard(standing, &allow, Second::Calico(&deny)), (true, false));
            assert_eq!(heard(standing, &deny, Second::Calico(&allow)), (false, false));
            assert_eq!(heard(standing, &pass, Second::Calico(&deny)), (true, false));
            assert_eq!(heard(standing, &nothing, Second::Calico(&allow)), (true, false));
            assert_eq!(heard(standing, &nothing, Second::Nobody), (passes, !passes));
        }
    }

    #[test]
    fn the_first_tier_is_asked_first() {
        let [allow, deny, pass, nothing] = answers();
        for then in [false, true] {
            for passes in [false, true] {
                let standing = Standing::TwoTiers { pass: [passes, then] };
                assert_eq!(heard(standing, &allow, Second::Calico(&deny)), (true, false));
                assert_eq!(heard(standing, &deny, Second::Calico(&allow)), (false, false));
                assert_eq!(heard(standing, &pass, Second::Calico(&deny)), (false, false));
                assert_eq!(heard(standing, &pass, Second::Calico(&nothing)), (then, !then));
                assert_eq!(heard(standing, &nothing, Second::Calico(&allow)), (passes, !passes));
            }
        }
    }

    #[test]
    fn others_are_asked_before_or_after() {
        let [allow, deny, pass, nothing] = answers();
        // As a NetworkPolicy, and as a cluster policy: all are allowed.
        let kubernetes = ingress(false, &[0]);
        let cluster = |tier| ClusterPolicy { labelled: false, tier, direction: Direction::Ingress, form: 0 };
        let (admin, baseline) = (cluster(ClusterTier::Admin), cluster(ClusterTier::Baseline));
        for other in [Second::Kubernetes(&kubernetes), Second::Cluster(&admin), Second::Cluster(&baseline)] {
            let heard = |place, policy| heard(Standing::Beside(place), policy, other);
            let (before, after) = (|passes| Place::Before { passes }, |passes| Place::After { passes });
            for place in [Place::InFront, before(false), before(true)] {
                assert_eq!(heard(place, &deny), (false, false));
                assert_eq!(heard(place, &allow), (true, false));
            }
            for place in [Place::Behind, after(false), after(true)] {
                assert_eq!(heard(place, &deny), (true, false));
            }
            assert_eq!(heard(before(true), &nothing), (true, false));
            assert_eq!(heard(before(false), &nothing), (false, true));
            assert_eq!(heard(before(false), &pass), (true, false));
        }
    }

    /// Those that select every pod are written in many ways; so is everything else.
    #[test]
    fn one_number_of_many_ways_is_drawn() {
        let [allow, ..] = answers();
        let standing = Standing::OneTier { passes: false };
        let pods = Pods { labelled: 2, plain: 0 };
        let all = (0..60).map(|seed| {
            let cluster = Written::new(Rng::new(seed), pods).cluster(standing, &allow, Second::Nobody);
            let policy = &cluster.calico[0];
            format!("{} {} {:?} {}", policy.meta.namespace, policy.tier, policy.order, policy.selector)
        });
        assert!(all.collect::<std::collections::BTreeSet<_>>().len() > 20);
    }
}
