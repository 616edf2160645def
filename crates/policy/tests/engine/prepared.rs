//! A stack that was made ready for many packets decides as one that is asked rule by rule.

use ipnet::IpNet;
use tortie_model::{Direction, IpBlock, IpProtocol, Kind, ObjectRef, Order, Protocol, Traffic};
use tortie_policy::{
    Action, By, Delta, Detail, EndpointSelector, Expression, Index, Names, Peer, Peers, Policy, PortMatch, Ports,
    Profiles, Rule, Side, Verdict,
};
use tortie_testkit::{Rng, build, random};

const CLUSTERS: u64 = 150;
const FLOWS: usize = 5;

fn names<'a>(direction: Direction, own: &'a Side, peer: &'a Side) -> Names<'a> {
    let [own, peer] = [own, peer].map(|side| side.pod().map(|pod| &**pod));
    match direction {
        Direction::Egress => Names::between(own, peer),
        Direction::Ingress => Names::between(peer, own),
    }
}

/// Every other end is found by the same rules, and every packet is decided by the same one, after the same.
#[test]
fn it_decides_as_rule_by_rule() {
    let (mut by_rule, mut passed, mut by_end, mut stacks) = (0, 0, 0, 0);
    for seed in 0..random::clusters(CLUSTERS) {
        let mut rng = Rng::new(seed);
        let cluster = random::three_apis(&mut rng);
        let index = cluster.index();
        let flows: Vec<_> = (0..FLOWS).map(|_| random::detailed_flow(&mut rng, &cluster)).collect();
        let mut peers: Vec<Side> = index.pods().filter_map(|pod| index.pod_side(pod, None)).collect();
        peers.extend(flows.iter().flat_map(|flow| [flow.from, flow.to]).map(|ip| index.address_side(ip)));
        for pod in index.pods().filter(|pod| !pod.host_network) {
            let Some(own) = index.pod_side(pod, None) else { continue };
            for direction in Direction::BOTH {
                let prepared = index.stack(pod, direction).prepare();
                stacks += usize::from(!prepared.stack().is_empty());
                for peer in &peers {
                    let case = || format!("seed {seed}: {direction} of {}, {:?}\n{cluster}", pod.meta.name, peer.ip());
                    assert_eq!(prepared.matched(peer), prepared.stack().matched(peer), "{}", case());
                    let names = names(direction, &own, peer);
                    for flow in &flows {
                        let outcome = prepared.decide(peer, flow.asked(), names);
                        let expected = prepared.stack().decide(peer, flow.asked(), names);
                        assert_eq!(outcome, expected, "{:?} in {}", flow.asked(), case());
                        by_rule += usize::from(matches!(outcome.by, By::Rule(_)));
                        by_end += usize::from(matches!(outcome.by, By::EndOfTier(_)));
                        passed += usize::from(!outcome.passed.is_empty());
                    }
                }
            }
        }
    }
    let seen = [stacks, by_rule, by_end, passed];
    assert!(seen.iter().all(|n| *n > 1_000), "stacks, and outcomes by rules, by ends, after others: {seen:?}");
}

/// So do the profiles of a cluster, whatever was asked before.
#[test]
fn profiles_decide_as_the_index_does() {
    let mut outcomes = [0; 2];
    for seed in 0..random::clusters(CLUSTERS) {
        let mut rng = Rng::new(seed);
        let cluster = random::three_apis(&mut rng);
        let index = cluster.index();
        let mut profiles = Profiles::new(&index);
        for _ in 0..FLOWS * 5 {
            let flow = random::detailed_flow(&mut rng, &cluster);
            let (from, to) = (index.address_side(flow.from), index.address_side(flow.to));
            let verdict = index.verdict(&from, &to, flow.asked());
            let case = || format!("seed {seed}: {flow}\n{cluster}");
            let expected = [verdict.egress.outcome.clone(), verdict.ingress.outcome.clone()];
            assert_eq!(profiles.decide(&from, &to, flow.asked()), expected, "{}", case());
            assert_eq!(profiles.allow(&from, &to, flow.asked()), verdict.is_allowed(), "{}", case());
            outcomes[usize::from(verdict.is_allowed())] += 1;
        }
    }
    assert!(outcomes.iter().all(|n| *n > 500), "denied, and allowed: {outcomes:?}");
}

/// More rules than there are bits without an allocation, in several tiers' worth of policies; the last of them decides.
fn big(rules: usize) -> (Index, Side, Side) {
    let selector =
        |text: String| EndpointSelector::expression(None, Expression::of(&text.parse().expect("a selector")));
    let port = |n: usize| PortMatch {
        protocol: IpProtocol::TCP,
        detail: Detail::Range(
            u16::try_from(1 + n % 60_000).expect("a port"),
            u16::try_from(1 + n % 60_000).expect("a port"),
        ),
    };
    let rule = |n: usize| {
        let peer = match n % 3 {
            0 => Peer::endpoints(selector(format!("app == 'a-{}'", n % 500))),
            1 => Peer::endpoints(selector(format!("app == 'a-{}' || has(role-{})", n % 70, n % 90))),
            _ => {
                let block: IpNet = format!("10.{}.{}.0/24", n / 256 % 256, n % 256).parse().expect("a block");
                Peer { blocks: Some(vec![IpBlock::new(block, [])]), ..Peer::default() }
            }
        };
        Rule::new(n, Action::Allow, Peers::OneOf(vec![peer]), Ports::OneOf(vec![port(n)]))
    };
    let mut ingress: Vec<Rule> = (0..rules - 1).map(rule).collect();
    let last = Peers::OneOf(vec![Peer::endpoints(selector("app == 'last'".to_owned()))]);
    ingress.push(Rule::new(rules - 1, Action::Allow, last, Ports::Any));
    let policy = Policy {
        object: ObjectRef::cluster(Kind::GlobalNetworkPolicy, "many"),
        tier: tortie_policy::DEFAULT_TIER.into(),
        order: Order::new(1.0),
        subject: EndpointSelector::expression(None, Expression::True),
        ingress: Some(ingress),
        egress: None,
    };
    let pods = [
        build::pod("ns/own", "node", &[], &["10.0.0.1"]),
        build::pod("ns/last", "node", &[("app", "last"), ("role-7", "")], &["10.9.0.1"]),
    ];
    let pods = pods.into_iter().map(|pod| Delta::Pod(Box::new(pod)));
    let index = Index::of(pods.chain([Delta::Policy(Box::new(policy))]));
    let [own, peer] = ["10.0.0.1", "10.9.0.1"].map(|ip| index.address_side(build::ip(ip)));
    (index, own, peer)
}

#[test]
fn nothing_is_allocated_for_a_packet() {
    let (index, own, peer) = big(20_000);
    let prepared = index.stack(own.pod().expect("a pod"), Direction::Ingress).prepare();
    for port in [1, 80, 61_000] {
        let asked = Traffic::port(Protocol::Tcp, port);
        let mut outcome = None;
        let counted = allocation_counter::measure(|| outcome = Some(prepared.decide(&peer, asked, Names::NONE)));
        assert_eq!(counted.count_total, 0, "port {port}");
        assert_eq!(outcome, Some(prepared.stack().decide(&peer, asked, Names::NONE)), "port {port}");
        assert_eq!(outcome.map(|o| o.verdict), Some(Verdict::Allow));
    }
}

#[test]
fn there_may_be_any_number_of_rules() {
    let (index, own, peer) = big(33_000);
    let prepared = index.stack(own.pod().expect("a pod"), Direction::Ingress).prepare();
    assert_eq!(prepared.matched(&peer), prepared.stack().matched(&peer));
    for port in [8, 80, 32_999, 61_000] {
        let asked = Traffic::port(Protocol::Tcp, port);
        assert_eq!(
            prepared.decide(&peer, asked, Names::NONE),
            prepared.stack().decide(&peer, asked, Names::NONE),
            "port {port}"
        );
    }
}
