//! What is told of pods that are not there holds for every one that comes.

use std::sync::Arc;

use tortie_connectivity::{Anybody, Connectivity, Name, Opening, all_pods, exposure, packets};
use tortie_model::{
    ClusterAction, ClusterPeer, ClusterPolicy, ClusterPort, ClusterRule, ClusterTier, Direction, Kind, LabelSelector,
    Labels, Meta, ObjectRef, Pod, Protocol, Traffic,
};
use tortie_policy::{Delta, EndpointSelector, Index, Names, NamespaceMatch, Verdict, cluster_policy};
use tortie_testkit::{Cluster, Rng, build, random};

const CLUSTERS: u64 = 300;
const NEWCOMERS: usize = 40;
const LABELS: [(&str, [&str; 3]); 3] =
    [("app", ["web", "db", "new"]), ("tier", ["front", "back", "new"]), ("env", ["x", "y", "new"])];

fn newcomer(rng: &mut Rng, number: usize) -> Pod {
    let mut labels = Labels::default();
    for (key, values) in LABELS {
        if rng.chance(65) {
            labels = labels.with(key, rng.pick::<&str>(&values));
        }
    }
    let namespace = *rng.pick(&["red", "blue", "green", "new"]);
    Pod {
        meta: Meta { namespace: namespace.into(), name: format!("new-{number}").into(), labels, uid: "".into() },
        ..build::pod("x/x", "n1", &[], &[])
    }
}

/// Whether every packet of an opening passes where its policies are asked about a pod that has come.
fn holds(index: &Index, opening: &Opening, pod: &Arc<Pod>) -> bool {
    let (Anybody::Subject(Name::Workload(who)), Anybody::Pods(_)) = (&opening.who, &opening.whom) else { return true };
    let key = tortie_policy::PodKey::new(who.namespace_str(), &who.name);
    let own = index.pod(&key).expect("the pod whose policies were asked");
    let stack = index.stack(own, opening.direction);
    let names = match opening.direction {
        Direction::Egress => Names::between(Some(own), Some(pod)),
        Direction::Ingress => Names::between(Some(pod), Some(own)),
    };
    let side = index.pod_side(pod, None).expect("a pod without addresses");
    let passes = stack.regions(&side, names);
    let lost = passes.zip(&opening.packets, |outcome, told| *told && outcome.verdict == Verdict::Deny);
    !packets::any(&lost)
}

#[test]
fn what_is_told_of_newcomers_is_true_of_each() {
    let mut met = 0;
    for seed in 0..CLUSTERS {
        let mut rng = Rng::new(seed);
        let cluster = random::tiered_cluster(&mut rng);
        let index = cluster.index();
        let openings = exposure(&Connectivity::of(&index));
        for number in 0..NEWCOMERS {
            let pod = newcomer(&mut rng, number);
            let mut with = index.clone();
            with.apply(Delta::Pod(Box::new(pod.clone())));
            let pod = with.pod(&tortie_policy::PodKey::of(&pod)).expect("it has come").clone();
            let namespace = with.namespace(&pod.meta.namespace).expect("its namespace");
            for opening in &openings {
                let Anybody::Pods(whom) = &opening.whom else { continue };
                if whom.selects(&pod, namespace) {
                    met += usize::from(*whom != all_pods());
                    assert!(holds(&with, opening, &pod), "seed {seed}: {opening:?}\n{pod:?}\n{cluster}");
                }
            }
        }
    }
    assert!(met > 1_000, "{met} newcomers were met");
}

fn pods(namespace: Option<&str>, labels: &[(&str, &str)]) -> Anybody {
    let namespaces = match namespace {
        Some(name) => NamespaceMatch::Named(name.into()),
        None => NamespaceMatch::Matching(build::selector(&[])),
    };
    Anybody::Pods(EndpointSelector::pods(namespaces, build::selector(labels)))
}

/// A database that lets monitoring in from anywhere, and what is labelled web here; a policy for a cache that is not
/// there.
fn shop() -> Cluster {
    let mut db = build::policy("shop/db", &[("app", "db")]);
    db.ingress = Some(vec![
        build::rule([build::pods_of(&[], &[("role", "monitoring")])], [build::tcp(9100)]),
        build::rule([build::pods_here(&[("app", "web")])], [build::tcp(5432)]),
    ]);
    let mut cache = build::policy("shop/cache", &[("app", "cache")]);
    cache.ingress = Some(vec![build::rule([build::pods_here(&[])], [build::tcp_named("redis")])]);
    Cluster {
        pods: vec![
            build::pod("shop/db", "n1", &[("app", "db")], &[]),
            build::pod("shop/web", "n1", &[("app", "web")], &[]),
        ],
        policies: vec![db, cache],
        ..Cluster::default()
    }
}

#[test]
fn doors_are_told_with_whom_they_are_open_to() {
    let openings = exposure(&Connectivity::of(&shop().index()));
    let db = Anybody::Subject(Name::Workload(ObjectRef::namespaced(Kind::Pod, "shop", "db")));
    let find = |who: &Anybody, whom: &Anybody, direction| {
        openings.iter().find(|o| o.who == *who && o.whom == *whom && o.direction == direction)
    };
    let port = |opening: &Opening, port| *opening.packets.get(Traffic::port(Protocol::Tcp, port));
    let monitoring = find(&db, &pods(None, &[("role", "monitoring")]), Direction::Ingress).expect("monitoring");
    assert!(port(monitoring, 9100) && !port(monitoring, 5432) && !monitoring.is_told);
    let web = find(&db, &pods(Some("shop"), &[("app", "web")]), Direction::Ingress).expect("web");
    assert!(web.is_told, "shop/web is one of those");
    let all = Anybody::Pods(all_pods());
    assert!(find(&db, &all, Direction::Ingress).is_none(), "it is isolated");
    assert!(port(find(&db, &all, Direction::Egress).expect("its egress is open"), 1));
    let cache = pods(Some("shop"), &[("app", "cache")]);
    let named = find(&cache, &pods(Some("shop"), &[]), Direction::Ingress).expect("pods of the shop");
    assert!(!packets::any(&named.packets) && named.named.iter().any(|(_, name)| **name == *"redis"));
    let web = Anybody::Subject(Name::Workload(ObjectRef::namespaced(Kind::Pod, "shop", "web")));
    assert!(find(&cache, &web, Direction::Ingress).is_some(), "pods that are there, too");
}

/// What a namespaces peer says besides is about sets of addresses: it narrows no pods down.
#[test]
fn a_peer_of_all_namespaces_opens_to_all_pods() {
    let mut index = Cluster { policies: Vec::new(), ..shop() }.index();
    let rule = |action, ports| ClusterRule {
        name: "".into(),
        action,
        peers: vec![ClusterPeer::Namespaces(LabelSelector::everything())],
        ports,
    };
    let policy = ClusterPolicy {
        kind: Kind::ClusterNetworkPolicy,
        meta: Meta { namespace: "".into(), name: "gate".into(), labels: Labels::default(), uid: "".into() },
        tier: ClusterTier::Admin,
        priority: Some(1),
        subject: ClusterPeer::Namespaces(LabelSelector::everything()),
        ingress: vec![
            rule(ClusterAction::Accept, Some(vec![ClusterPort::Range(Protocol::Tcp, 80, 80)])),
            rule(ClusterAction::Deny, None),
        ],
        egress: Vec::new(),
    };
    index.apply(Delta::Policy(Box::new(cluster_policy(&policy))));
    let openings = exposure(&Connectivity::of(&index));
    let db = Anybody::Subject(Name::Workload(ObjectRef::namespaced(Kind::Pod, "shop", "db")));
    let told: Vec<_> = openings.iter().filter(|o| o.who == db && o.direction == Direction::Ingress).collect();
    let [opening] = &told[..] else { panic!("{told:?}") };
    assert_eq!(opening.whom, Anybody::Pods(all_pods()));
    let passes = |port| *opening.packets.get(Traffic::port(Protocol::Tcp, port));
    assert!(passes(80) && !passes(81));
}
