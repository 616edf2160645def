//! Tiers, orders, Pass and Log: what NetworkPolicy never uses, but the rule form must already mean.

use std::sync::Arc;

use tortie_model::{
    Direction, Family, IpProtocol, Kind, LabelSelector, Labels, Meta, ObjectRef, Phase, Pod, Protocol, Traffic,
};
use tortie_policy::{
    Action, By, Delta, Detail, EndAction, EndpointSelector, Index, NamespaceMatch, Order, Peers, PodKey, Policy,
    PortMatch, Ports, Position, Rule, Tier, Verdict,
};

fn pod(name: &str, ip: &str) -> Delta {
    Delta::Pod(Box::new(Pod {
        meta: Meta { namespace: "ns".into(), name: name.into(), labels: Labels::default(), uid: name.into() },
        owner: None,
        node: None,
        host_network: false,
        ips: vec![ip.parse().unwrap()],
        ports: vec![],
        phase: Phase::Running,
        ready: true,
        service_account: "default".into(),
    }))
}

fn rule(action: Action, ports: &[(u16, u16)]) -> Rule {
    let ports = match ports {
        [] => Ports::Any,
        some => Ports::OneOf(
            some.iter().map(|(a, b)| PortMatch { protocol: IpProtocol::TCP, detail: Detail::Range(*a, *b) }).collect(),
        ),
    };
    Rule::new(0, action, Peers::Any, ports)
}

fn policy(tier: &str, order: f64, name: &str, rules: Vec<Rule>) -> Delta {
    Delta::Policy(Box::new(Policy {
        object: ObjectRef::namespaced(Kind::NetworkPolicy, "ns", name),
        tier: tier.into(),
        order: Order::new(order),
        subject: EndpointSelector::pods(
            NamespaceMatch::Matching(LabelSelector::everything()),
            LabelSelector::everything(),
        ),
        ingress: Some(rules.into_iter().enumerate().map(|(written, rule)| Rule { written, ..rule }).collect()),
        egress: None,
    }))
}

fn tier(name: &str, order: f64, end: EndAction) -> Delta {
    Delta::Tier(Tier { name: name.into(), order: Order::new(order), end })
}

/// Ingress verdicts of TCP ports, from the flow side and from the region side, which must agree.
fn ask(index: &Index, port: u16) -> (Verdict, By, Vec<Position>) {
    let side = |name: &str| index.pod_side(index.pod(&PodKey::new("ns", name)).unwrap(), Some(Family::V4)).unwrap();
    let (a, b) = (side("a"), side("b"));
    let traffic = Traffic::port(Protocol::Tcp, port);
    let half = index.verdict(&a, &b, traffic).ingress;
    assert_eq!(index.pair(&a, &b).regions.get(traffic).1, half.outcome, "flow and region disagree on {traffic}");
    (half.outcome.verdict, half.outcome.by, half.outcome.passed)
}

#[test]
fn tiers_are_asked_in_order_and_pass_skips_the_rest_of_one() {
    let index = Index::of([
        pod("a", "10.0.0.1"),
        pod("b", "10.0.0.2"),
        tier("late", 2.0, EndAction::Deny),
        tier("early", 1.0, EndAction::Deny),
        policy("late", 0.0, "l", vec![rule(Action::Allow, &[(80, 90)])]),
        policy("early", 5.0, "e5", vec![rule(Action::Allow, &[(1, 100)])]),
        policy(
            "early",
            1.0,
            "e1",
            vec![rule(Action::Log, &[(80, 80)]), rule(Action::Pass, &[(80, 85)]), rule(Action::Deny, &[(86, 90)])],
        ),
    ]);
    // Positions: e1 is 0..=2, e5 is 3, l is 4.
    assert_eq!(ask(&index, 80), (Verdict::Allow, By::Rule(Position(4)), vec![Position(0), Position(1)]));
    assert_eq!(ask(&index, 85), (Verdict::Allow, By::Rule(Position(4)), vec![Position(1)]));
    assert_eq!(ask(&index, 86), (Verdict::Deny, By::Rule(Position(2)), vec![]));
    assert_eq!(ask(&index, 91), (Verdict::Allow, By::Rule(Position(3)), vec![]));
    assert_eq!(ask(&index, 101), (Verdict::Deny, By::EndOfTier(0), vec![]));
}

#[test]
fn a_tier_that_passes_at_its_end_leads_to_the_profile_which_allows() {
    let index = Index::of([
        pod("a", "10.0.0.1"),
        pod("b", "10.0.0.2"),
        tier("open", 1.0, EndAction::Pass),
        policy("open", 0.0, "p", vec![rule(Action::Deny, &[(22, 22)])]),
    ]);
    assert_eq!(ask(&index, 22).0, Verdict::Deny);
    assert_eq!(ask(&index, 23), (Verdict::Allow, By::Profile, vec![]));
}

#[test]
fn a_tier_that_nobody_defined_comes_last_and_denies() {
    let index = Index::of([
        pod("a", "10.0.0.1"),
        pod("b", "10.0.0.2"),
        tier("open", 1.0, EndAction::Pass),
        policy("open", 0.0, "p", vec![]),
        policy("missing", 0.0, "m", vec![rule(Action::Allow, &[(80, 80)])]),
    ]);
    assert_eq!(ask(&index, 80).0, Verdict::Allow);
    assert_eq!(ask(&index, 81), (Verdict::Deny, By::EndOfTier(1), vec![]));
}

#[test]
fn equal_orders_are_sorted_by_the_joined_name() {
    let index = Index::of([
        pod("b", "10.0.0.2"),
        policy("default", 7.0, "allow", vec![]),
        policy("default", 7.0, "allow-web", vec![]),
        policy("default", 7.0, "allow0", vec![]),
        policy("default", 7.0, "allow.x", vec![]),
    ]);
    let b = index.pod(&PodKey::new("ns", "b")).unwrap();
    let names: Vec<Arc<str>> = index.stack(b, Direction::Ingress).policies().map(|p| p.object.name.clone()).collect();
    assert_eq!(names.iter().map(|n| &**n).collect::<Vec<_>>(), ["allow-web", "allow.x", "allow", "allow0"]);
}

#[test]
fn overlapping_ranges_of_one_rule_stay_open_until_the_last_ends() {
    let index = Index::of([
        pod("a", "10.0.0.1"),
        pod("b", "10.0.0.2"),
        policy("default", 0.0, "p", vec![rule(Action::Allow, &[(10, 20), (15, 30), (65535, 65535)])]),
    ]);
    for (port, verdict) in [
        (9, Verdict::Deny),
        (10, Verdict::Allow),
        (25, Verdict::Allow),
        (30, Verdict::Allow),
        (31, Verdict::Deny),
        (65535, Verdict::Allow),
    ] {
        assert_eq!(ask(&index, port).0, verdict, "port {port}");
    }
}
