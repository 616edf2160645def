//! A connection that a change does not concern is judged as before.

use tortie_model::{Traffic, canonical};
use tortie_node::{Concerned, Tracked, judge};
use tortie_plan::{Compiler, NodeFacts, PodInterface};
use tortie_policy::PodKey;
use tortie_testkit::{Cluster, Rng, random};

/// What node `n1` knows of itself: all its pods have links.
fn facts(cluster: &Cluster) -> NodeFacts {
    let pods = cluster.pods.iter().filter(|p| p.node.as_deref() == Some("n1") && !p.host_network);
    let interfaces = pods.filter(|p| !p.phase.is_finished()).zip(10..).map(|(pod, index)| {
        let name = format!("tt{}", pod.meta.name).into();
        (PodKey::of(pod), PodInterface { name, index })
    });
    NodeFacts {
        name: "n1".into(),
        interface_prefix: "tt".into(),
        pod_ranges: ["10.244.1.0/24", "fd00:244:1::/64"].map(|r| r.parse().unwrap()).into(),
        interfaces: interfaces.collect(),
    }
}

#[test]
fn what_a_change_does_not_concern_is_judged_as_before() {
    let (mut concerned, mut spared, mut differ) = (0, 0, 0);
    for seed in 0..300 {
        let mut rng = Rng::new(seed);
        let mut old = if rng.chance(50) { random::cluster(&mut rng) } else { random::tiered_cluster(&mut rng) };
        let mut compiler = Compiler::new();
        compiler.compile(&old.index(), &facts(&old));
        for step in 0..4 {
            let new = random::changed(&mut rng, &old);
            let before = compiler.current().clone();
            let after = compiler.compile(&new.index(), &facts(&new));
            let whose = Concerned::between(&before, &after);
            let indices = [old.index(), new.index()];
            let facts = [facts(&old), facts(&new)];
            for _ in 0..60 {
                let cluster = if rng.chance(50) { &old } else { &new };
                let flow = random::flow(&mut rng, cluster);
                let (source, destination) = (canonical(flow.from), canonical(flow.to));
                let traffic: Traffic = flow.traffic;
                let tracked = Tracked { source, destination, traffic, marked: rng.chance(50) };
                let [was, is] = [0, 1].map(|i| judge(&indices[i], &facts[i], tracked));
                if whose.contains([source, destination]) {
                    concerned += 1;
                    differ += usize::from(was != is);
                } else {
                    spared += 1;
                    assert_eq!(was, is, "{flow} is not among {whose:?}, seed {seed} step {step}\n{old}---\n{new}");
                }
            }
            old = new;
        }
    }
    println!("{concerned} concerned, {differ} of them judged otherwise; {spared} not");
    assert!(spared > concerned, "{concerned} and {spared}: most are left alone");
    assert!(differ * 20 > concerned, "{differ} of {concerned}: few that are looked at need it");
}

#[test]
fn sets_of_connections_unite() {
    let [a, b] = ["10.0.0.1", "10.0.0.2"].map(|ip| ip.parse().unwrap());
    let of = |ip| Concerned::Of([ip].into());
    assert!(Concerned::NOBODY.is_nobody() && !of(a).is_nobody() && !Concerned::All.is_nobody());
    assert_eq!(Concerned::NOBODY.and(of(a)).and(of(b)), Concerned::Of([a, b].into()));
    assert_eq!(of(a).and(Concerned::All), Concerned::All);
    assert!(of(a).contains([b, a]) && of(a).contains([a, b]) && !of(a).contains([b, b]));
    assert!(of(a).contains(["::ffff:10.0.0.1".parse().unwrap(), b]), "an IPv4 address in IPv6 clothes");
}
