//! What two clusters do differently, and who did it.

use std::collections::BTreeSet;

use tortie_connectivity::{Cause, Change, Connectivity, Difference, Fate, Name, WayIn, ways_in};
use tortie_manifest::{Expansion, LoadOptions, Memory, ObjectSet, load};
use tortie_model::{Direction, Kind, ObjectRef, Pod, Protocol, Traffic};
use tortie_policy::Regions;
use tortie_testkit::{Cluster, Rng, build, random};

fn difference(before: &Cluster, after: &Cluster) -> Difference {
    Difference::between(&Connectivity::of(&before.index()), &Connectivity::of(&after.index()))
}

fn pod(name: &str) -> Name {
    Name::Workload(reference(Kind::Pod, name))
}

fn reference(kind: Kind, name: &str) -> ObjectRef {
    let (namespace, name) = name.split_once('/').expect("namespace/name");
    ObjectRef::namespaced(kind, namespace, name)
}

fn name_of(pod: &Pod) -> Name {
    Name::Workload(ObjectRef::namespaced(Kind::Pod, &pod.meta.namespace, &pod.meta.name))
}

/// Two pods of one namespace, of which policies speak by `app`.
fn shop() -> Cluster {
    Cluster {
        namespaces: vec![build::namespace("shop", &[]), build::namespace("ops", &[])],
        pods: vec![
            build::pod("shop/web", "n1", &[("app", "web")], &["10.0.0.1"]),
            build::pod("shop/db", "n1", &[("app", "db")], &["10.0.0.2"]),
        ],
        ..Cluster::default()
    }
}

fn with(mut cluster: Cluster, policy: tortie_model::NetworkPolicy) -> Cluster {
    cluster.policies.retain(|p| p.meta != policy.meta);
    cluster.policies.push(policy);
    cluster
}

/// Lets these pods of the namespace reach `app=db` on a port.
fn let_in(app: &str, port: u16) -> tortie_model::NetworkPolicy {
    let mut policy = build::policy("shop/db", &[("app", "db")]);
    policy.ingress = Some(vec![build::rule([build::pods_here(&[("app", app)])], [build::tcp(port)])]);
    policy
}

fn found<'d>(difference: &'d Difference, from: &Name, to: &Name) -> &'d Change {
    difference.changes.iter().find(|c| c.from == *from && c.to == *to).unwrap_or_else(|| panic!("{difference:#?}"))
}

fn cause(fate: Fate, rule: Option<usize>) -> BTreeSet<Cause> {
    let policy = reference(Kind::NetworkPolicy, "shop/db");
    [Cause::Policy { policy, fate, direction: Direction::Ingress, rule }].into()
}

const DB: fn(u16) -> Traffic = |port| Traffic::port(Protocol::Tcp, port);

#[test]
fn a_new_policy_closes_what_it_does_not_allow() {
    let difference = difference(&shop(), &with(shop(), let_in("web", 5432)));
    let change = found(&difference, &pod("shop/web"), &pod("shop/db"));
    assert!(change.closes() && !change.opens());
    assert!(change.closed.get(DB(80)) & !change.closed.get(DB(5432)));
    assert_eq!(change.closed_by, cause(Fate::Added, None));
    let pairs: Vec<String> = difference.changes.iter().map(|c| format!("{} -> {}", c.from, c.to)).collect();
    let everybody = ["shop/Pod/web", "0.0.0.0-255.255.255.255"].map(|from| format!("{from} -> shop/Pod/db"));
    assert_eq!(pairs, everybody, "an IPv4 pod is closed for both, and for nobody else");
}

#[test]
fn a_policy_that_goes_opens_what_it_denied() {
    let difference = difference(&with(shop(), let_in("web", 5432)), &shop());
    let change = found(&difference, &pod("shop/web"), &pod("shop/db"));
    assert_eq!((change.opens(), change.closes()), (true, false));
    assert_eq!(change.opened_by, cause(Fate::Removed, None));
}

#[test]
fn a_changed_rule_closes_one_port_and_opens_another() {
    let difference = difference(&with(shop(), let_in("web", 5432)), &with(shop(), let_in("web", 5433)));
    let [change] = &difference.changes[..] else { panic!("{difference:#?}") };
    assert!(*change.opened.get(DB(5433)) && !change.opened.get(DB(5432)));
    assert!(*change.closed.get(DB(5432)) && !change.closed.get(DB(5433)));
    assert_eq!(
        (&change.opened_by, &change.closed_by),
        (&cause(Fate::Changed, Some(0)), &cause(Fate::Changed, Some(0)))
    );
}

#[test]
fn an_isolated_pod_gets_another_policy_that_has_no_part_in_what_was_removed() {
    let mut other = build::policy("shop/other", &[("app", "db")]);
    other.ingress = Some(vec![]);
    let before = with(shop(), let_in("web", 5432));
    let mut silent = let_in("web", 5432);
    silent.ingress = Some(vec![]);
    let difference = difference(&before, &with(with(shop(), silent), other));
    let [change] = &difference.changes[..] else { panic!("{difference:#?}") };
    assert_eq!(change.closed_by, cause(Fate::Changed, Some(0)));
}

#[test]
fn labels_are_to_blame_where_policies_stay() {
    let before = with(shop(), let_in("web", 5432));
    let mut after = before.clone();
    after.pods[0].meta.labels = build::labels(&[("app", "www")]);
    let change = difference(&before, &after);
    let [change] = &change.changes[..] else { panic!("{change:#?}") };
    assert_eq!(change.closed_by, [Cause::End(pod("shop/web"))].into());
    let mut after = before.clone();
    after.pods[1].meta.labels = build::labels(&[("app", "sql")]);
    let difference = difference(&before, &after);
    let change = found(&difference, &pod("shop/web"), &pod("shop/db"));
    assert_eq!(change.opened_by, [Cause::End(pod("shop/db"))].into());
}

#[test]
fn pods_that_come_and_go_bring_their_flows_and_take_them() {
    let mut after = shop();
    after.pods[0] = build::pod("shop/new", "n1", &[("app", "web")], &["10.0.0.1"]);
    let difference = difference(&shop(), &after);
    let opened = found(&difference, &pod("shop/new"), &pod("shop/db"));
    assert_eq!(opened.opened_by, [Cause::New(pod("shop/new"))].into());
    let closed = found(&difference, &pod("shop/web"), &pod("shop/db"));
    assert_eq!(closed.closed_by, [Cause::Gone(pod("shop/web"))].into());
}

/// A workload of which some pods are cut off has changed, though others of its pods still get through.
#[test]
fn what_some_pods_of_a_workload_lose_is_told() {
    let owned = |mut pod: Pod| {
        pod.owner = Some(reference(Kind::Deployment, "shop/web"));
        pod
    };
    let mut before = shop();
    before.pods[0] = owned(before.pods[0].clone());
    before.pods.push(owned(build::pod("shop/web-2", "n1", &[("app", "web"), ("canary", "yes")], &["10.0.0.3"])));
    let deny = |what: &[(&str, &str)]| {
        let mut policy = build::policy("shop/deny", what);
        policy.egress = Some(vec![]);
        policy
    };
    let before = with(before, deny(&[("canary", "no")]));
    let after = with(before.clone(), deny(&[("canary", "yes")]));
    let difference = difference(&before, &after);
    let web = Name::Workload(reference(Kind::Deployment, "shop/web"));
    let change = found(&difference, &web, &pod("shop/db"));
    assert!(change.closes() && !change.opens());
    assert_eq!(change.before, change.after, "some pod gets through as before");
}

#[test]
fn the_world_is_cut_at_the_edges_of_both() {
    let with_block = |block: &str| {
        let mut policy = let_in("web", 5432);
        policy.ingress = Some(vec![build::rule([build::block(block, &[])], [])]);
        with(shop(), policy)
    };
    let difference = difference(&with_block("203.0.0.0/16"), &with_block("203.0.113.0/24"));
    let closed: Vec<_> = difference.changes.iter().map(|c| (c.from.to_string(), c.closes(), c.opens())).collect();
    let rest = "203.0.0.0-203.0.112.255,203.0.114.0-203.0.255.255".to_owned();
    assert_eq!(closed, [(rest, true, false)]);
}

const CLUSTERS: u64 = 300;
const FLOWS: usize = 40;

/// What the engine decides otherwise is told, and what is told the engine decides otherwise.
#[test]
fn flows_that_turned_are_those_of_the_engine() {
    let mut turned = 0;
    for seed in 0..CLUSTERS {
        let mut rng = Rng::new(seed);
        let before = random::tiered_cluster(&mut rng);
        let after = random::changed(&mut rng, &before);
        let difference = difference(&before, &after);
        let (old, new) = (before.index(), after.index());
        for _ in 0..FLOWS {
            let flow = random::flow(&mut rng, &before);
            let sides = [&old, &new].map(|index| (index.address_side(flow.from), index.address_side(flow.to)));
            let name = |side: &tortie_policy::Side| side.pod().map(|p| name_of(p));
            let names = sides.clone().map(|(from, to)| (name(&from), name(&to)));
            let (Some(from), Some(to)) = &names[0] else { continue };
            if names[0] != names[1] || from == to {
                continue;
            }
            let [was, is] = [(&old, &sides[0]), (&new, &sides[1])]
                .map(|(index, (from, to))| *index.pair(from, to).allowed().get(flow.traffic));
            let change = difference.changes.iter().find(|c| c.from == *from && c.to == *to);
            let opened = change.is_some_and(|c| *c.opened.get(flow.traffic));
            let closed = change.is_some_and(|c| *c.closed.get(flow.traffic));
            let case = || format!("seed {seed}: {flow}\nbefore:\n{before}\nafter:\n{after}");
            assert!(opened || was || !is, "opened, and not told: {}", case());
            assert!(closed || !was || is, "closed, and not told: {}", case());
            turned += usize::from(was != is);
            // The other family may have turned where this one did not.
            let one_family = |side: &tortie_policy::Side| side.pod().is_some_and(|p| p.ips.len() == 1);
            if sides.iter().any(|(from, to)| one_family(from) || one_family(to)) {
                assert_eq!((opened, closed), (!was && is, was && !is), "{}", case());
            }
        }
    }
    assert!(turned > 100, "{turned} flows turned");
}

/// With nothing but the blamed policies changed, everything that was opened passes, and what was closed does not.
#[test]
fn those_to_blame_did_it() {
    let (mut opened, mut closed) = (0, 0);
    for seed in 0..CLUSTERS {
        let mut rng = Rng::new(seed);
        let before = random::cluster(&mut rng);
        let mut after = before.clone();
        after.policies = random::changed(&mut rng, &before).policies;
        for change in difference(&before, &after).changes {
            let case = || format!("seed {seed}: {} -> {}\nbefore:\n{before}\nafter:\n{after}", change.from, change.to);
            if change.opens() {
                opened += 1;
                let turned = blamed(&before, &after, &change.opened_by);
                assert!(turned.policies != before.policies, "{:?} {}", change.opened_by, case());
                assert!(holds(&turned, &change), "{:?} {}", change.opened_by, case());
            }
            if change.closes() {
                closed += 1;
                let back = blamed(&after, &before, &change.closed_by);
                let change = Change { opened: change.closed.clone(), ..change.clone() };
                assert!(holds(&back, &change), "{:?} {}", change.closed_by, case());
            }
        }
    }
    assert!(opened > 300 && closed > 300, "{opened} opened, {closed} closed");
}

/// A cluster with the blamed policies as they are in another.
fn blamed(cluster: &Cluster, other: &Cluster, causes: &BTreeSet<Cause>) -> Cluster {
    let mut out = cluster.clone();
    for cause in causes {
        let Cause::Policy { policy, .. } = cause else { panic!("policies alone were changed: {cause:?}") };
        let is_it = |p: &&tortie_model::NetworkPolicy| {
            *p.meta.namespace == *policy.namespace_str() && p.meta.name == policy.name
        };
        out.policies.retain(|p| !is_it(&p));
        out.policies.extend(other.policies.iter().find(is_it).cloned());
    }
    out
}

/// Whether what a change opened passes in a cluster, as far as its subjects are whole there.
fn holds(cluster: &Cluster, change: &Change) -> bool {
    let connectivity = Connectivity::of(&cluster.index());
    let place = |name: &Name| match name {
        Name::Outside(addresses) => {
            let first = addresses.first();
            let subjects = connectivity.subjects().iter();
            subjects.clone().position(|s| matches!(&s.name, Name::Outside(a) if a.contains(first)))
        }
        name => connectivity.find(name),
    };
    let (Some(from), Some(to)) = (place(&change.from), place(&change.to)) else { return true };
    let allowed = connectivity.allowed(from, to);
    allowed.zip(&change.opened, |passes, wanted| *passes || !*wanted).iter().all(|(_, ok)| *ok)
}

/// A shop that is entered through a Service and maybe an Ingress, in all ways that these words make.
fn entered() -> Vec<(String, Connectivity, ObjectSet)> {
    let mut out = Vec::new();
    let policies = [
        "",
        "ingress: [{from: [{namespaceSelector: {}}], ports: [{port: 8080}]}]",
        "ingress: [{from: [{ipBlock: {cidr: 0.0.0.0/0}}], ports: [{port: 8080}, {port: 9090}]}]",
        "policyTypes: [Ingress]",
    ];
    for policy in policies {
        for (kind, target, app) in [
            ("ClusterIP", 8080, "web"),
            ("NodePort", 8080, "web"),
            ("LoadBalancer", 9090, "web"),
            ("NodePort", 8080, "other"),
        ] {
            for ingress in [true, false] {
                let mut text = format!(
                    "apiVersion: v1\nkind: Pod\nmetadata: {{name: web, namespace: shop, labels: {{app: {app}}}}}\n\
                     ---\napiVersion: v1\nkind: Service\nmetadata: {{name: web, namespace: shop}}\n\
                     spec: {{type: {kind}, selector: {{app: web}}, ports: [{{port: 80, targetPort: {target}}}]}}\n"
                );
                if ingress {
                    text += "---\napiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: entry, namespace: shop}\n\
                             spec: {defaultBackend: {service: {name: web, port: {number: 80}}}}\n";
                }
                if !policy.is_empty() {
                    text += &format!(
                        "---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\n\
                         metadata: {{name: web, namespace: shop}}\nspec: {{podSelector: {{}}, {policy}}}\n"
                    );
                }
                let loaded = load(&Memory::new([("f.yaml", text.as_str())]), &["f.yaml"], &LoadOptions::default());
                assert!(!loaded.has_untrusted_object(), "{:?}\n{text}", loaded.diagnostics);
                let objects = ObjectSet::of(loaded.objects.iter().map(|one| &one.object), &Expansion::default());
                let connectivity = Connectivity::of(&tortie_analysis::deltas::World::of(&objects).index());
                out.push((text, connectivity, objects));
            }
        }
    }
    out
}

#[test]
fn ways_differ_by_what_comes_in_by_them_and_never_without_a_cause() {
    let all = entered();
    let ways: Vec<_> = all.iter().map(|(_, connectivity, objects)| ways_in(connectivity, objects)).collect();
    let mut met = [0; 3];
    for (i, (old, a, objects)) in all.iter().enumerate() {
        for (j, (new, b, others)) in all.iter().enumerate() {
            let difference = Difference::between(a, b).with_ways((a, objects), (b, others));
            let text = || format!("{old}\n=====\n{new}\n{difference:#?}");
            let changes: Vec<&Change> = difference.changes.iter().filter(|change| change.way.is_some()).collect();
            for entry in [(Kind::Service, "web"), (Kind::Ingress, "entry")] {
                let entry = Name::Workload(ObjectRef::namespaced(entry.0, "shop", entry.1));
                let set = |ways: &[WayIn]| {
                    let way = ways.iter().find(|way| way.name() == entry);
                    way.map_or_else(|| Regions::uniform(false), |way| (*way.packets).clone())
                };
                let (before, after) = (set(&ways[i]), set(&ways[j]));
                let change = changes.iter().find(|change| change.from == entry);
                let (opened, closed) = change.map_or((Regions::uniform(false), Regions::uniform(false)), |change| {
                    ((*change.opened).clone(), (*change.closed).clone())
                });
                assert_eq!(opened, after.zip(&before, |has, had| *has && !*had), "{}", text());
                assert_eq!(closed, before.zip(&after, |had, has| *had && !*has), "{}", text());
            }
            for change in changes {
                assert_eq!(change.opens(), !change.opened_by.is_empty(), "{}", text());
                assert_eq!(change.closes(), !change.closed_by.is_empty(), "{}", text());
                for cause in change.opened_by.iter().chain(&change.closed_by) {
                    let is_of = |word: &str| (old.contains(word), new.contains(word));
                    match cause {
                        Cause::Policy { .. } => {
                            met[0] += 1;
                            let of = |text: &str| text.split("kind: NetworkPolicy").nth(1).map(str::to_owned);
                            assert_ne!(of(old), of(new), "{}", text());
                        }
                        Cause::Object { object, fate } => {
                            met[1] += 1;
                            if object.kind == Kind::Ingress {
                                assert_eq!(is_of("kind: Ingress"), (*fate == Fate::Removed, *fate == Fate::Added));
                            }
                        }
                        _ => {
                            met[2] += 1;
                            assert_ne!(is_of("labels: {app: web}").0, is_of("labels: {app: web}").1, "{}", text());
                        }
                    }
                }
            }
        }
    }
    assert!(met.iter().all(|n| *n > 20), "{met:?}");
}
