//! What a stack tells of itself.

use tortie_model::{ContainerPort, Direction, IpProtocol, Protocol, Traffic};
use tortie_policy::{EndAction, NamedPort, NamedPorts, Names, Position, Scope, Tier};
use tortie_testkit::{Cluster, Rng, build, random};

/// The ports that names stand for, as a table.
fn table(ports: &[ContainerPort]) -> Vec<NamedPort> {
    ports.iter().filter_map(|p| Some((p.name.clone()?, p.protocol, p.number))).collect()
}

#[test]
fn a_name_is_looked_up_with_its_protocol() {
    let pod = {
        let mut pod = build::pod("ns/web", "n1", &[], &[]);
        pod.ports = vec![
            build::container_port("admin", Protocol::Tcp, 9000),
            build::container_port("http", Protocol::Udp, 81),
            build::container_port("http", Protocol::Tcp, 80),
            build::container_port("http", Protocol::Tcp, 8080),
        ];
        pod
    };
    let table = table(&pod.ports);
    for names in [NamedPorts::of(Some(&pod)), NamedPorts::table(&table)] {
        let all = |name, protocol| names.all(name, protocol).collect::<Vec<_>>();
        assert_eq!(all("http", IpProtocol::TCP), [80, 8080], "in the order of the pod");
        assert_eq!(all("http", IpProtocol::UDP), [81]);
        assert_eq!(all("admin", IpProtocol::TCP), [9000]);
        assert_eq!(all("admin", IpProtocol::UDP), [0; 0]);
        assert_eq!(all("http", IpProtocol::ICMP), [0; 0]);
        assert_eq!(all("metrics", IpProtocol::TCP), [0; 0]);
    }
    assert_eq!(NamedPorts::NONE.all("http", IpProtocol::TCP).next(), None);
}

/// Rules are numbered through, by tier, policy and place; after the last there is none.
#[test]
fn positions_name_rules() {
    let mut cluster = Cluster { pods: vec![build::pod("ns/web", "n1", &[], &["10.0.0.1"])], ..Cluster::default() };
    cluster.tiers = vec![Tier { name: "first".into(), order: tortie_policy::Order::new(1.0), end: EndAction::Pass }];
    for (name, rules) in [("ns/a", 2), ("ns/b", 0), ("ns/c", 1)] {
        let mut policy = build::policy(name, &[]);
        policy.ingress = Some((0..rules).map(|_| build::rule([], [])).collect());
        cluster.policies.push(policy);
    }
    let mut early = tortie_policy::network_policy(&cluster.policies[0]);
    (early.tier, early.object.name) = ("first".into(), "early".into());
    cluster.tiered = vec![early];
    let stack = cluster.index().stack(&cluster.pods[0], Direction::Ingress);
    let tiers: Vec<_> = stack.tiers().iter().map(|t| (&*t.name, t.end, t.policies.len())).collect();
    assert_eq!(tiers, [("first", EndAction::Pass, 1), ("default", EndAction::Deny, 3)]);
    let name = |n| stack.rule_ref(Position(n)).map(|r| (r.policy.name.to_string(), r.index));
    let expected = [("early", 0), ("early", 1), ("a", 0), ("a", 1), ("c", 0)].map(|(p, i)| Some((p.to_owned(), i)));
    assert_eq!((0..5).map(name).collect::<Vec<_>>(), expected);
    assert_eq!(name(5), None);
    assert_eq!(stack.rules().map(|(p, _)| p.0).collect::<Vec<_>>(), [0, 1, 2, 3, 4]);

    // The rule that decides is named so; an end that decides is no rule.
    cluster.tiered.clear();
    cluster.policies[0].ingress.as_mut().unwrap()[0].ports = vec![build::tcp(80)];
    cluster.policies[0].ingress.as_mut().unwrap()[1].ports = vec![build::tcp(81)];
    cluster.policies.truncate(2);
    let index = cluster.index();
    let (from, to) = (index.address_side(build::ip("203.0.113.1")), index.address_side(build::ip("10.0.0.1")));
    let decided_by = |port| {
        let half = index.verdict(&from, &to, Traffic::port(Protocol::Tcp, port)).ingress;
        half.decided_by().map(|rule| (rule.policy.name.to_string(), rule.direction, rule.index))
    };
    assert_eq!(decided_by(81), Some(("a".to_owned(), Direction::Ingress, 1)));
    assert_eq!(decided_by(82), None);
}

/// What a plan is computed from: the matched rules and a table of names are enough to decide all packets.
#[test]
fn matched_rules_and_a_table_of_names_decide_as_the_peer_and_the_pod_do() {
    for seed in 0..150 {
        let mut rng = Rng::new(seed);
        let cluster = random::tiered_cluster(&mut rng);
        let index = cluster.index();
        for pod in index.pods() {
            let flow = random::flow(&mut rng, &cluster);
            let (peer, stack) = (index.address_side(flow.from), index.stack(pod, Direction::Ingress));
            let matched = stack.matched(&peer);
            let of_rules: Vec<_> = stack.rules().filter(|(_, r)| r.peers.matches(&peer)).map(|(p, _)| p).collect();
            assert_eq!(matched, of_rules);
            let by_pod = stack.regions(&peer, Names::between(None, Some(pod)));
            let by_table = stack.resolve(
                &matched,
                Names { source: NamedPorts::NONE, destination: NamedPorts::table(&table(&pod.ports)) },
            );
            assert_eq!(by_pod, by_table, "seed {seed}: {} from {}\n{cluster}", pod.key(), flow.from);
            // Protocols that are listed are those that differ somewhere from the rest.
            for (protocol, ranges) in by_pod.protocols() {
                assert!(ranges.iter().any(|(_, outcome)| outcome != by_pod.rest()), "{protocol} need not be listed");
                let same: Vec<_> = ranges.iter().map(|(r, o)| (r.clone(), o)).collect();
                assert_eq!(by_pod.ranges(protocol), same);
            }
            let rest = by_pod.iter().filter(|(scope, _)| *scope == Scope::Rest).map(|(_, o)| o).collect::<Vec<_>>();
            assert_eq!(rest, [by_pod.rest()]);
        }
    }
}
