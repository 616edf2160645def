//! What is kept and changed from one cluster to the next equals what is computed from nothing, up to the numbers: the
//! index, the plan, the table.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use support::facts;
use tortie_model::{Direction, Namespace, ObjectRef};
use tortie_plan::nft::{Lowering, Options, phases};
use tortie_plan::{Compiler, IdentityId, OutsideClass, Path, Plan, PodInterface, Profile, ProfileId, SetSource};
use tortie_policy::{Delta, PodKey, Regions, network_policy};
use tortie_ruleset::{Family, Table};
use tortie_testkit::{Cluster, Rng, random};

/// The events between two clusters: what goes first, so that an address is free when its next owner comes.
fn events(old: &Cluster, new: &Cluster) -> Vec<Delta> {
    fn keyed<T, K: Ord>(list: &[T], key: impl Fn(&T) -> K) -> BTreeMap<K, &T> {
        list.iter().map(|item| (key(item), item)).collect()
    }
    let mut out = Vec::new();
    let (a, b) = (keyed(&old.pods, PodKey::of), keyed(&new.pods, PodKey::of));
    for (key, pod) in a.iter().filter(|(key, _)| !b.contains_key(*key)) {
        out.push(Delta::PodRemoved { key: key.clone(), uid: pod.meta.uid.clone() });
    }
    let policy = |p: &tortie_policy::Policy| p.object.clone();
    let all =
        |c: &Cluster| -> Vec<_> { c.policies.iter().map(network_policy).chain(c.tiered.iter().cloned()).collect() };
    let (before, after) = (all(old), all(new));
    let (c, d) = (keyed(&before, policy), keyed(&after, policy));
    let gone = c.keys().filter(|key: &&ObjectRef| !d.contains_key(*key));
    out.extend(gone.map(|key| Delta::PolicyRemoved(key.clone())));
    let gone = old.tiers.iter().filter(|tier| new.tiers.iter().all(|t| t.name != tier.name));
    out.extend(gone.map(|tier| Delta::TierRemoved(tier.name.clone())));
    out.extend(new.tiers.iter().filter(|tier| !old.tiers.contains(tier)).cloned().map(Delta::Tier));
    let name = |ns: &Namespace| ns.name().clone();
    let (e, f) = (keyed(&old.namespaces, name), keyed(&new.namespaces, name));
    out.extend(e.keys().filter(|name| !f.contains_key(*name)).map(|name| Delta::NamespaceRemoved(name.clone())));
    out.extend(f.into_values().filter(|ns| e.get(ns.name()) != Some(ns)).cloned().map(Delta::Namespace));
    out.extend(b.into_iter().filter(|(k, pod)| a.get(k) != Some(pod)).map(|(_, p)| Delta::Pod(Box::new(p.clone()))));
    out.extend(d.into_iter().filter(|(k, p)| c.get(k) != Some(p)).map(|(_, p)| Delta::Policy(Box::new(p.clone()))));
    out
}

/// A plan without its numbers.
#[derive(Debug, PartialEq)]
struct Meaning {
    addresses: BTreeMap<IpAddr, SetSource>,
    ranges: Vec<(IpAddr, IpAddr, SetSource)>,
    identities: Vec<SetSource>,
    endpoints: BTreeMap<PodKey, (Arc<str>, PodInterface, Vec<IpAddr>)>,
    /// For every profile that an endpoint has: what it decides, for whom.
    profiles: BTreeMap<(PodKey, Direction), Option<Decisions>>,
    /// How many profiles there are.
    count: usize,
    paths: Vec<String>,
}

#[derive(Debug, PartialEq)]
struct Decisions {
    outside: bool,
    by_identity: Vec<(SetSource, Regions<Path>)>,
    by_nobody: Regions<Path>,
}

impl Meaning {
    fn of(plan: &Plan) -> Self {
        let source = |id: IdentityId| plan.identities[&id].source.clone();
        let sorted = |mut list: Vec<SetSource>| {
            list.sort();
            list
        };
        let profiles = plan.endpoints.iter().flat_map(|(key, endpoint)| {
            let both = [(Direction::Egress, endpoint.egress), (Direction::Ingress, endpoint.ingress)];
            both.map(|(direction, id)| {
                let decisions = (id != ProfileId(0)).then(|| Decisions::of(plan, &plan.profiles[&id]));
                ((key.clone(), direction), decisions)
            })
        });
        let mut paths: Vec<String> = plan.paths.values().map(|path| format!("{path:?}")).collect();
        paths.sort();
        Self {
            addresses: plan.addresses.iter().map(|(ip, id)| (*ip, source(*id))).collect(),
            ranges: plan.ranges.iter().map(|r| (r.from, r.to, source(r.identity))).collect(),
            identities: sorted(plan.identities.keys().map(|id| source(*id)).collect()),
            endpoints: plan
                .endpoints
                .iter()
                .map(|(key, e)| (key.clone(), (e.uid.clone(), e.interface.clone(), e.addresses.clone())))
                .collect(),
            profiles: profiles.collect(),
            count: plan.profiles.len(),
            paths,
        }
    }
}

impl Decisions {
    fn of(plan: &Plan, profile: &Profile) -> Self {
        let column = |id: Option<IdentityId>| {
            let class = id.map_or(tortie_plan::ClassId(0), |id| profile.class(id));
            profile.ports.map(|port| (*plan.paths[&profile.row(*port, class)]).clone())
        };
        let mut by_identity: Vec<_> =
            plan.identities.iter().map(|(id, identity)| (identity.source.clone(), column(Some(*id)))).collect();
        by_identity.sort_by(|a, b| a.0.cmp(&b.0));
        Self { outside: profile.outside == OutsideClass::ByRange, by_identity, by_nobody: column(None) }
    }
}

fn empty() -> Table {
    let name = Options::default().table;
    Table { family: Family::Inet, name, maps: BTreeMap::new(), chains: [].into() }
}

#[test]
fn what_is_kept_equals_what_is_made_anew() {
    let mut changed = 0;
    for seed in 0..60 {
        let mut rng = Rng::new(seed);
        let mut cluster = if rng.chance(50) { random::cluster(&mut rng) } else { random::tiered_cluster(&mut rng) };
        let mut index = cluster.index();
        let options = Options { port_budget: *rng.pick(&[1, 64]), ..Options::default() };
        // Sometimes so few elements that profiles are closed and opened again; then their sizes, which depend on what
        // was before, decide.
        let small = rng.chance(20);
        // Pods are told apart by all that policies could ask, or by what they ask.
        let anew = || if seed % 2 == 0 { Compiler::new() } else { Compiler::new().with_kinds(0) };
        let mut compiler = if small { anew().with_limit(12) } else { anew() };
        let mut lowering = Lowering::new(options.clone(), None);
        let mut held = empty();
        for step in 0..8 {
            let case = format!("seed {seed} step {step}\n{cluster}");
            let fresh = cluster.index();
            let news = index.news(&fresh);
            let same = news.namespaces.is_empty() && news.pods.is_empty() && news.owners.is_empty();
            assert!(same && news.policies.is_empty() && !news.tiers, "{news:?} in {case}");

            let transition = compiler.advance(&index, &facts(&cluster));
            for plan in [&transition.withdrawn, &transition.during, &transition.after] {
                support::check(plan);
            }
            let plan = &transition.after;
            if !small {
                let anew = anew().compile(&fresh, &facts(&cluster));
                assert_eq!(Meaning::of(plan), Meaning::of(&anew), "{case}");
            }

            let targets = if step == 0 { lowering.start(plan) } else { lowering.advance(&transition) };
            for target in &targets {
                let names: BTreeSet<_> = target.table.chains.keys().collect();
                assert_eq!(names.len(), target.table.chains.len());
            }
            let phases = phases(&held, &targets);
            changed += phases.len();
            held = phases.last().map_or(held, |phase| phase.table.clone());
            assert_eq!(targets.last().map_or(&held, |target| &target.table), &held, "{case}");
            assert!(Lowering::resume(options.clone(), &held, plan).is_some(), "not the table of the plan: {case}");

            let next = random::changed(&mut rng, &cluster);
            for event in events(&cluster, &next) {
                index.apply(event);
            }
            cluster = next;
        }
    }
    assert!(changed > 400, "few changes: {changed}");
}
