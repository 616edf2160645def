//! Laws of plans and their numbers.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use support::facts;
use tortie_model::{Direction, Labels, NetworkPolicy, Protocol, Traffic};
use tortie_plan::{AttachmentPoint, Compiler, Decider, Numbers, Packet, Plan, PlanVerdict, Problem, SetSource};
use tortie_policy::{Delta, EPHEMERAL_PORT, Index, PodKey};
use tortie_testkit::{Cluster, Rng, build, random};

/// Three namespaces on one node and another; `web` of each takes `db` of its own namespace and port 80 from all.
fn cluster() -> Cluster {
    let mut out = Cluster {
        nodes: vec![build::node("n1", &["192.168.0.1"]), build::node("n2", &["192.168.0.2"])],
        ..Cluster::default()
    };
    for (i, ns) in ["a", "b", "c"].into_iter().enumerate() {
        out.namespaces.push(build::namespace(ns, &[("team", ns)]));
        for (j, app) in ["web", "db"].into_iter().enumerate() {
            for node in [1, 2] {
                let name = format!("{ns}/{app}-{node}");
                let ip = format!("10.244.{node}.{}", 10 * i + j + 2);
                let mut pod = build::pod(&name, &format!("n{node}"), &[("app", app)], &[&ip]);
                pod.meta.uid = format!("{i}{j}{node}").into();
                out.pods.push(pod);
            }
        }
        out.policies.push(web(ns));
    }
    out
}

fn web(namespace: &str) -> NetworkPolicy {
    let mut out = build::policy(&format!("{namespace}/web"), &[("app", "web")]);
    out.ingress = Some(vec![
        build::rule([build::pods_here(&[("app", "db")])], []),
        build::rule([build::pods_of(&[], &[])], [build::tcp(80)]),
    ]);
    out
}

fn compile(compiler: &mut Compiler, cluster: &Cluster) -> Plan {
    compiler.compile(&cluster.index(), &facts(cluster))
}

#[test]
fn the_same_cluster_again_is_the_same_plan() {
    for seed in 0..60 {
        let mut rng = Rng::new(seed);
        let cluster = random::tiered_cluster(&mut rng);
        let mut compiler = Compiler::new();
        let first = compile(&mut compiler, &cluster);
        let again = compiler.advance(&cluster.index(), &facts(&cluster));
        assert_eq!([&again.withdrawn, &again.during, &again.after], [&first; 3], "seed {seed}\n{cluster}");
        assert_eq!(compile(&mut Compiler::new(), &cluster), first, "another compiler, seed {seed}");

        let mut deltas = cluster.deltas();
        for i in (1..deltas.len()).rev() {
            deltas.swap(i, rng.below(i + 1));
        }
        let plan = Compiler::new().compile(&Index::of(deltas), &facts(&cluster));
        assert_eq!(plan, first, "the order of events matters, seed {seed}\n{cluster}");
    }
}

/// What the numbers of plans meant so far.
#[derive(Default)]
struct Meanings(BTreeMap<String, String>);

impl Meanings {
    fn hold(&mut self, number: String, meaning: &dyn std::fmt::Debug, case: &str) {
        let meaning = format!("{meaning:?}");
        let held = self.0.entry(number.clone()).or_insert_with(|| meaning.clone());
        assert_eq!(*held, meaning, "{number} changes its meaning in {case}");
    }

    fn hold_all(&mut self, plan: &Plan, case: &str) {
        for (id, identity) in &plan.identities {
            self.hold(format!("identity {id}"), &identity.source, case);
        }
        for (id, path) in &plan.paths {
            self.hold(format!("path {id}"), path, case);
        }
        for (id, profile) in &plan.profiles {
            self.hold(format!("default of {id}"), &profile.default, case);
            for identity in plan.identities.keys() {
                self.hold(format!("class of {identity} in {id}"), &profile.class(*identity), case);
            }
            for (_, port) in profile.ports.iter() {
                let classes = profile.classes.values().copied().chain([tortie_plan::ClassId(0)]);
                for class in classes {
                    self.hold(format!("row {id} {port} {class}"), &profile.row(*port, class), case);
                }
            }
        }
    }
}

#[test]
fn a_number_keeps_its_meaning_for_ever() {
    for seed in 0..40 {
        let mut rng = Rng::new(seed);
        let mut cluster = if rng.chance(50) { random::cluster(&mut rng) } else { random::tiered_cluster(&mut rng) };
        let mut compiler = Compiler::new();
        let mut meanings = Meanings::default();
        for step in 0..8 {
            let transition = compiler.advance(&cluster.index(), &facts(&cluster));
            let case = format!("seed {seed} step {step}\n{cluster}");
            for plan in [&transition.withdrawn, &transition.during, &transition.after] {
                meanings.hold_all(plan, &case);
            }
            cluster = random::changed(&mut rng, &cluster);
        }
    }
}

#[test]
fn a_compiler_that_follows_another_gives_out_other_numbers() {
    let first = compile(&mut Compiler::new(), &cluster());
    let mut second = Compiler::new().after(Numbers {
        generation: 7,
        identity: 100,
        class: 100,
        port_class: 100,
        profile: 100,
        path: 100,
    });
    let next = compile(&mut second, &cluster());
    assert_eq!(next.generation, 8);
    assert!(next.identities.keys().all(|id| id.0 > 100 && !first.identities.contains_key(id)));
    assert!(next.profiles.keys().all(|id| id.0 > 100) && next.paths.keys().all(|id| id.0 > 100));
    let given = second.numbers();
    assert_eq!(next.identities.keys().max().map(|id| id.0), Some(given.identity), "{given:?}");
    assert_eq!(next.paths.keys().max().map(|id| id.0), Some(given.path), "{given:?}");
}

#[test]
fn a_policy_elsewhere_changes_nothing_here() {
    let mut cluster = cluster();
    cluster.policies.retain(|p| &*p.meta.namespace != "c");
    let mut compiler = Compiler::new();
    let before = compile(&mut compiler, &cluster);
    // Of known keys, in another namespace.
    cluster.policies.push(web("c"));
    let transition = compiler.advance(&cluster.index(), &facts(&cluster));
    let after = &transition.after;
    assert_eq!(transition.during.addresses, before.addresses);
    assert_eq!(after.addresses, before.addresses);
    assert_eq!(after.identities, before.identities);
    assert_eq!(after.profiles.len(), before.profiles.len() + 1);
    for (id, profile) in &before.profiles {
        assert_eq!(after.profiles.get(id), Some(profile), "profile {id}");
    }
    for (key, endpoint) in before.endpoints.iter().filter(|(k, _)| &*k.name != "web-1" || &*k.namespace != "c") {
        assert_eq!(after.endpoints.get(key), Some(endpoint), "{key}");
    }
}

/// Nobody asked for these labels until now.
#[test]
fn a_new_selector_renumbers_no_pod() {
    let mut before = cluster();
    for (i, pod) in before.pods.iter_mut().enumerate() {
        let labels = pod.meta.labels.with("zone", if i % 2 == 0 { "east" } else { "west" });
        pod.meta.labels = labels.with("pod-template-hash", &i.to_string());
    }
    let peers = [
        ("zone", build::pods_here(&[("zone", "east")]), true),
        ("team", build::pods_of(&[("team", "b")], &[]), true),
        // What only controllers write, and nobody asks for, is not looked at: it would part all pods.
        ("hash", build::pods_here(&[("pod-template-hash", "1")]), false),
    ];
    for (name, peer, stays) in peers {
        let mut after = before.clone();
        let mut policy = build::policy("a/asks", &[]);
        policy.ingress = Some(vec![build::rule([peer], [])]);
        after.policies.push(policy);
        let mut compiler = Compiler::new();
        let addresses = compile(&mut compiler, &before).addresses;
        assert_eq!(compile(&mut compiler, &after).addresses == addresses, stays, "{name}");
        // Where there is no room for kinds that nobody asks for, pods are parted when somebody does.
        let mut compiler = Compiler::new().with_kinds(0);
        let addresses = compile(&mut compiler, &before).addresses;
        let parted = compile(&mut compiler, &after).addresses;
        assert!(parted != addresses, "{name}");
        let again = compile(&mut compiler, &before).addresses;
        let distinct = |of: &tortie_persistent::Map<std::net::IpAddr, _>| of.values().collect::<BTreeSet<_>>().len();
        assert_eq!(distinct(&again), distinct(&addresses), "{name}");
    }
}

#[test]
fn one_more_pod_of_a_known_kind_is_one_more_address() {
    let mut cluster = cluster();
    let mut compiler = Compiler::new();
    let before = compile(&mut compiler, &cluster);
    let mut pod = build::pod("a/db-3", "n2", &[("app", "db"), ("pod-template-hash", "x")], &["10.244.2.99"]);
    pod.meta.uid = "new".into();
    cluster.pods.push(pod);
    let transition = compiler.advance(&cluster.index(), &facts(&cluster));
    let mut expected = before;
    let like = expected.addresses[&build::ip("10.244.2.3")];
    expected.addresses.insert(build::ip("10.244.2.99"), like);
    expected.generation += 1;
    assert_eq!([&transition.during, &transition.after], [&expected; 2]);
}

#[test]
fn a_pod_that_is_gone_is_closed_before_anything_else() {
    let mut cluster = cluster();
    let mut compiler = Compiler::new();
    compile(&mut compiler, &cluster);
    let gone: Vec<_> = ["web-1", "db-2"].map(|n| PodKey::new("a", n)).into();
    cluster.pods.retain(|p| !gone.contains(&PodKey::of(p)));
    // A new pod has the address of the one on this node already.
    let mut heir = build::pod("b/heir", "n1", &[("app", "db")], &["10.244.1.2"]);
    heir.meta.uid = "heir".into();
    cluster.pods.push(heir);
    let transition = compiler.advance(&cluster.index(), &facts(&cluster));
    for ip in ["10.244.1.2", "10.244.2.3"].map(build::ip) {
        assert!(!transition.withdrawn.addresses.contains_key(&ip) && transition.withdrawn.endpoint(ip).is_none());
    }
    let packet = Packet {
        at: AttachmentPoint::Forward,
        interface: None,
        source: build::ip("192.0.2.1"),
        destination: build::ip("10.244.1.2"),
        traffic: Traffic::port(Protocol::Tcp, 80),
        source_port: EPHEMERAL_PORT,
    };
    assert!(matches!(transition.withdrawn.evaluate(&packet), PlanVerdict::Unprogrammed(_)));
    assert!(transition.during.evaluate(&packet).is_allowed());
}

#[test]
fn an_endpoint_that_is_another_now_is_closed_before_anything_else() {
    let mut cluster = cluster();
    let pod =
        |cluster: &Cluster, name: &str| cluster.pods.iter().position(|p| PodKey::of(p).to_string() == name).unwrap();
    let (a, c) = (pod(&cluster, "a/web-1"), pod(&cluster, "c/web-1"));
    cluster.pods[c].ips.push(build::ip("10.244.1.99"));
    let mut facts = facts(&cluster);
    let mut compiler = Compiler::new();
    let before = compiler.compile(&cluster.index(), &facts);

    // Made anew under the same name and link; a new link; an address less.
    cluster.pods[a].meta.uid = "another".into();
    facts.interfaces.get_mut(&PodKey::new("b", "web-1")).unwrap().index += 1000;
    let (kept, lost) = (cluster.pods[c].ips[0], cluster.pods[c].ips.pop());
    let transition = compiler.advance(&cluster.index(), &facts);
    let left = |name: &str| transition.withdrawn.endpoints.get(&PodKey::new(name, "web-1"));
    assert_eq!((left("a"), left("b")), (None, None));
    assert_eq!((left("c").map(|e| &e.addresses[..]), lost), (Some(&[kept][..]), Some(build::ip("10.244.1.99"))));
    let stays = PodKey::new("a", "db-1");
    assert!(Arc::ptr_eq(&transition.withdrawn.endpoints[&stays], &before.endpoints[&stays]), "others are let alone");
    assert_eq!(transition.after.endpoints.len(), before.endpoints.len());
}

/// Pods of other nodes, and of the node's own network, get no policies here, even if they had a link.
#[test]
fn endpoints_are_the_pods_of_this_node() {
    let mut cluster = cluster();
    let own = PodKey::of(&cluster.pods[0]);
    let mut facts = facts(&cluster);
    let link = facts.interfaces[&own].clone();
    let host = cluster.pods.iter().position(|p| PodKey::of(p) == PodKey::new("b", "db-1")).unwrap();
    cluster.pods[host].host_network = true;
    facts.interfaces.insert(PodKey::new("a", "web-2"), link);
    let mut compiler = Compiler::new();
    let plan = compiler.compile(&cluster.index(), &facts);
    assert_eq!(plan.endpoints.len(), 5);
    assert!(!plan.endpoints.contains_key(&PodKey::new("a", "web-2")));
    assert!(!plan.endpoints.contains_key(&PodKey::new("b", "db-1")));

    facts.name = "n2".into();
    let plan = compiler.compile(&cluster.index(), &facts);
    assert_eq!(plan.endpoints.keys().collect::<Vec<_>>(), [&PodKey::new("a", "web-2")], "it is another node");
}

/// It is taken from the first by news of the second alone.
#[test]
fn an_address_is_the_last_claimants() {
    let mut cluster = cluster();
    let (shared, first) = (build::ip("10.244.1.2"), PodKey::new("a", "web-1"));
    let mut index = cluster.index();
    let mut compiler = Compiler::new();
    let plan = compiler.compile(&index, &facts(&cluster));
    assert_eq!(plan.endpoints[&first].addresses, [shared]);

    let second = cluster.pods.iter_mut().find(|p| PodKey::of(p) == PodKey::new("b", "db-1")).unwrap();
    second.ips.push(shared);
    index.apply(Delta::Pod(Box::new(second.clone())));
    let transition = compiler.advance(&index, &facts(&cluster));
    assert_eq!(transition.withdrawn.endpoint(shared), None);
    assert_eq!(transition.after.endpoint(shared).map(|e| &e.interface.name[..]), Some("ttdb-1"));
    assert!(transition.after.endpoints[&first].addresses.is_empty());
}

#[test]
fn whom_a_policy_selects_does_not_matter_to_what_it_decides() {
    let mut cluster = cluster();
    let mut compiler = Compiler::new();
    let before = compile(&mut compiler, &cluster);
    let web = PodKey::new("a", "web-1");
    let profile = before.endpoints[&web].ingress;
    // All of its namespace now.
    cluster.policies[0].pod_selector = build::selector(&[]);
    let index = cluster.index();
    let after = compiler.compile(&index, &facts(&cluster));
    assert_eq!(after.endpoints[&web].ingress, profile);
    assert_eq!(after.endpoints[&PodKey::new("a", "db-1")].ingress, profile);
    assert_eq!(*after.profiles[&profile].stack, index.stack(index.pod(&web).unwrap(), Direction::Ingress));
    assert!(after.profiles[&profile].stack != before.profiles[&profile].stack, "the policy as it is now is shown");
    let other = after.endpoints[&PodKey::new("b", "web-1")].ingress;
    assert_ne!(other, profile, "another policy that says the same is another");
}

#[test]
fn what_is_too_big_is_closed_alone_and_says_so() {
    let mut cluster = cluster();
    // In namespace a: every client its own port.
    let policy = cluster.policies.iter_mut().find(|p| &*p.meta.namespace == "a").unwrap();
    let rules = (0..12).map(|i| {
        let label = format!("client-{i}");
        build::rule([build::pods_of(&[], &[("app", &label)])], [build::tcp(1000 + i)])
    });
    policy.ingress = Some(rules.collect());
    for i in 0..12 {
        let (name, app, ip) = (format!("b/c{i}"), format!("client-{i}"), format!("10.244.2.{}", 100 + i));
        let mut pod = build::pod(&name, "n2", &[("app", &app)], &[&ip]);
        pod.meta.uid = name.clone().into();
        cluster.pods.push(pod);
    }
    let packet = |to: &str, port| Packet {
        at: AttachmentPoint::Forward,
        interface: None,
        source: build::ip("10.244.2.100"),
        destination: build::ip(to),
        traffic: Traffic::port(Protocol::Tcp, port),
        source_port: EPHEMERAL_PORT,
    };
    // For each client a row and a class: 22 are as many as eleven need.
    let mut compiler = Compiler::new().with_limit(22);
    let plan = compile(&mut compiler, &cluster);
    let [Problem::TooManyRows { direction: Direction::Ingress, endpoints, limit: 22, profile }] = &plan.problems[..]
    else {
        panic!("{:?}", plan.problems);
    };
    assert_eq!(endpoints, &[PodKey::new("a", "web-1")]);
    assert!(plan.problems[0].to_string().contains("ingress of a/web-1"), "{}", plan.problems[0]);
    let closed = &plan.profiles[profile];
    assert!(closed.rows.is_empty() && plan.paths[&closed.default].by == Decider::TooBig);
    assert!(!plan.evaluate(&packet("10.244.1.2", 1000)).is_allowed(), "closed");
    let itself = Packet { source: build::ip("10.244.1.2"), ..packet("10.244.1.2", 1000) };
    let interface = Some(plan.endpoints[&PodKey::new("a", "web-1")].interface.clone());
    assert!(plan.evaluate(&Packet { interface, ..itself }).is_allowed(), "a pod does not block itself");
    assert!(plan.evaluate(&packet("10.244.1.12", 80)).is_allowed(), "the neighbours are not");

    // One client less: it fits, and what the closed profile's number means has not changed.
    cluster.pods.pop();
    let transition = compiler.advance(&cluster.index(), &facts(&cluster));
    assert_eq!(transition.during.profiles.get(profile), Some(closed));
    assert!(transition.after.problems.is_empty() && !transition.after.profiles.contains_key(profile));
    assert!(transition.after.evaluate(&packet("10.244.1.2", 1000)).is_allowed());
    assert!(!transition.after.evaluate(&packet("10.244.1.2", 1001)).is_allowed());
}

/// A table of which only a part was ever written down is whole when it may be used again.
#[test]
fn what_fits_again_decides_for_all() {
    const CLIENTS: u16 = 4;
    let mut cluster = cluster();
    cluster.policies.truncate(1);
    // For every set of clients a port of its own: 15 rows for two clients, more than 20 for three.
    let rules = (1_u16..1 << CLIENTS).map(|set| {
        let peers = (0..CLIENTS).filter(|i| set & 1 << i != 0);
        let peers = peers.map(|i| build::pods_of(&[], &[("app", &format!("client-{i}"))]));
        build::rule(peers, [build::tcp(1000 + set)])
    });
    cluster.policies[0].ingress = Some(rules.collect());
    let ip = |i: u16| format!("10.244.2.{}", 100 + i);
    for i in 0..CLIENTS {
        let name = format!("b/c{i}");
        let mut pod = build::pod(&name, "n2", &[("app", &format!("client-{i}"))], &[&ip(i)]);
        pod.meta.uid = name.clone().into();
        cluster.pods.push(pod);
    }
    for first_stays in [true, false] {
        let mut compiler = Compiler::new().with_limit(20);
        assert_eq!(compile(&mut compiler, &cluster).problems.len(), 1);
        let mut fewer = cluster.clone();
        let stays = if first_stays { 0..2 } else { 2..CLIENTS };
        let names: Vec<String> = stays.clone().map(|i| format!("c{i}")).collect();
        fewer.pods.retain(|p| !p.meta.name.starts_with('c') || names.iter().any(|n| **n == *p.meta.name));
        let transition = compiler.advance(&fewer.index(), &facts(&fewer));
        for plan in [&transition.during, &transition.after] {
            assert!(plan.problems.is_empty());
            for (i, set) in stays.clone().flat_map(|i| (1_u16..1 << CLIENTS).map(move |set| (i, set))) {
                let packet = Packet {
                    at: AttachmentPoint::Forward,
                    interface: None,
                    source: build::ip(&ip(i)),
                    destination: build::ip("10.244.1.2"),
                    traffic: Traffic::port(Protocol::Tcp, 1000 + set),
                    source_port: EPHEMERAL_PORT,
                };
                assert_eq!(plan.evaluate(&packet).is_allowed(), set & 1 << i != 0, "client {i}, set {set:04b}");
            }
        }
    }
}

#[test]
fn spoofed_and_unprogrammed_packets_never_reach_policy() {
    let mut cluster = cluster();
    cluster.policies.clear();
    let plan = compile(&mut Compiler::new(), &cluster);
    let interface = |ip: &str| plan.endpoint(build::ip(ip)).map(|e| e.interface.clone());
    let packet = |from: &str, by: Option<&str>, to: &str| Packet {
        at: AttachmentPoint::Forward,
        interface: by.and_then(interface),
        source: build::ip(from),
        destination: build::ip(to),
        traffic: Traffic::port(Protocol::Tcp, 80),
        source_port: EPHEMERAL_PORT,
    };
    let decide = |from, by, to| plan.evaluate(&packet(from, by, to));
    assert!(decide("10.244.1.2", Some("10.244.1.2"), "10.244.2.2").is_allowed());
    assert_eq!(decide("10.244.1.3", Some("10.244.1.2"), "10.244.2.2"), PlanVerdict::Spoofed);
    assert_eq!(decide("8.8.8.8", Some("10.244.1.2"), "10.244.2.2"), PlanVerdict::Spoofed);
    let nobody = build::ip("10.244.1.200");
    assert_eq!(decide("8.8.8.8", None, "10.244.1.200"), PlanVerdict::Unprogrammed(nobody));
    assert_eq!(decide("10.244.1.200", None, "8.8.8.8"), PlanVerdict::Unprogrammed(nobody));
    // The gateway of the pods' network has an address in their range.
    let to_gateway =
        Packet { at: AttachmentPoint::ToThisNode, ..packet("10.244.1.2", Some("10.244.1.2"), "10.244.1.1") };
    assert!(plan.evaluate(&to_gateway).is_allowed());
}

#[test]
fn a_pod_does_not_block_itself() {
    let mut cluster = cluster();
    let mut closed = build::policy("a/closed", &[]);
    (closed.ingress, closed.egress) = (Some(vec![]), Some(vec![]));
    cluster.policies = vec![closed];
    let plan = compile(&mut Compiler::new(), &cluster);
    let ip = build::ip("10.244.1.2");
    let endpoint = plan.endpoint(ip).unwrap();
    let mut packet = Packet {
        at: AttachmentPoint::Forward,
        interface: Some(endpoint.interface.clone()),
        source: ip,
        destination: ip,
        traffic: Traffic::port(Protocol::Tcp, 80),
        source_port: EPHEMERAL_PORT,
    };
    assert!(matches!(plan.evaluate(&packet), PlanVerdict::Decided { allowed: true, hairpin: true, .. }));
    packet.destination = build::ip("10.244.1.3");
    assert!(matches!(plan.evaluate(&packet), PlanVerdict::Decided { allowed: false, hairpin: false, .. }));
}

#[test]
fn identities_say_what_they_stand_for() {
    let mut cluster = cluster();
    cluster.pods[0].meta.labels = cluster.pods[0].meta.labels.with("nobody-asks", "x");
    let mut block = build::policy("a/block", &[]);
    block.egress = Some(vec![build::rule([build::block("10.244.2.0/24", &[])], [build::tcp_named("http")])]);
    cluster.policies.push(block);
    cluster.pods[1].ports = vec![build::container_port("http", Protocol::Tcp, 8080)];
    let plan = compile(&mut Compiler::new(), &cluster);
    let terms = |ip: &str| match &plan.identities[&plan.addresses[&build::ip(ip)]].source {
        SetSource::Selector(terms) => (terms.join(" "), None),
        SetSource::SelectorInCidr(terms, nets) => (terms.join(" "), Some(nets.len())),
        other => panic!("{other:?}"),
    };
    let kind = "account=default namespace.kubernetes.io/metadata.name=a namespace.team=a namespace=a pod.app=web";
    assert_eq!(terms("10.244.1.2"), (format!("{kind} pod.nobody-asks=x"), None));
    assert_eq!(terms("10.244.2.2"), (format!("{kind} port.http/TCP=8080"), Some(1)));
    assert_eq!(plan.ranges.len(), 1);
    assert!(matches!(plan.identities[&plan.ranges[0].identity].source, SetSource::Cidr(_)));
    assert!(cluster.pods[0].meta.labels != Labels::default());
}
