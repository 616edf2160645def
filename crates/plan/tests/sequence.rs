//! A compiler that has followed many changes gives plans that decide as a new one's, for all packets; so does the table
//! that its plans were lowered to, step after step. Numbers differ, and so may what is kept without need.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use support::facts;
use support::judges::Court;
use tortie_model::{Direction, Family, IpProtocol, Traffic};
use tortie_plan::nft::{Lowering, Options};
use tortie_plan::{Compiler, Decider, Path, Plan, ProfileId};
use tortie_policy::{Index, PodKey, Regions, Scope};
use tortie_testkit::{Cluster, Rng, build, random};

const SEQUENCES: u64 = 40;
const STEPS: usize = 6;

/// What a plan decides for a pod of this node: by direction and peer, for all packets. `None`: no policy governs it.
type Decisions = BTreeMap<(PodKey, Direction, IpAddr), Option<Regions<Path>>>;

fn next(ip: IpAddr) -> Option<IpAddr> {
    match ip {
        IpAddr::V4(v4) => v4.to_bits().checked_add(1).map(|n| std::net::Ipv4Addr::from_bits(n).into()),
        IpAddr::V6(v6) => v6.to_bits().checked_add(1).map(|n| std::net::Ipv6Addr::from_bits(n).into()),
    }
}

/// An address of everything that these plans tell apart: all pods, both ends of all ranges, and what follows them.
fn peers(plans: [&Plan; 2]) -> BTreeSet<IpAddr> {
    let nobody = ["0.0.0.0", "255.255.255.255", "::", "ffff::", "192.168.0.1", "fd00:192::2"].map(build::ip);
    let mut out: BTreeSet<IpAddr> = nobody.into();
    for plan in plans {
        out.extend(plan.addresses.keys());
        out.extend(plan.ranges.iter().flat_map(|r| [Some(r.from), Some(r.to), next(r.to)]).flatten());
    }
    out
}

fn decisions(plan: &Plan, peers: &BTreeSet<IpAddr>) -> Decisions {
    let mut out = BTreeMap::new();
    for (key, endpoint) in &plan.endpoints {
        for (direction, id) in [(Direction::Egress, endpoint.egress), (Direction::Ingress, endpoint.ingress)] {
            for peer in peers {
                let regions = (id != ProfileId(0)).then(|| {
                    let profile = &plan.profiles[&id];
                    let class = plan.class(profile, *peer);
                    profile.ports.map(|port| Path::clone(&plan.paths[&profile.row(*port, class)]))
                });
                out.insert((key.clone(), direction, *peer), regions);
            }
        }
    }
    out
}

/// One packet of everything that these decisions tell apart.
fn packets(decisions: &Decisions) -> BTreeSet<Traffic> {
    let scopes = decisions.values().flatten().flat_map(|regions| regions.iter().map(|(scope, _)| scope));
    let packets = scopes.flat_map(|scope| match scope {
        Scope::Range(protocol, range) => vec![(protocol, *range.start()), (protocol, *range.end())],
        Scope::Rest => vec![],
    });
    let some = [Traffic::other(47), Traffic::echo_request(Family::V4), Traffic::echo_request(Family::V6)];
    packets.map(|(protocol, detail)| Traffic { protocol, detail }).chain(some).collect()
}

/// Applies the changes from one cluster to the next to an index, in any order.
fn follow(index: &mut Index, rng: &mut Rng, from: &Cluster, to: &Cluster) {
    let mut deltas = from.deltas_to(to);
    for i in (1..deltas.len()).rev() {
        deltas.swap(i, rng.below(i + 1));
    }
    for delta in deltas {
        index.apply(delta);
    }
}

#[test]
fn a_plan_that_was_changed_decides_as_a_new_one() {
    let (mut compared, mut asked, mut governed) = (0, 0, 0);
    for seed in 0..SEQUENCES {
        let mut rng = Rng::new(seed);
        let mut cluster = if rng.chance(50) { random::cluster(&mut rng) } else { random::tiered_cluster(&mut rng) };
        // Now and then profiles are too big: they are closed in both, and opened again in both.
        let limit = *rng.pick(&[1 << 17, 1 << 17, 12]);
        let mut compiler = Compiler::new().with_limit(limit);
        let mut lowering = Lowering::new(Options::default(), None);
        let mut index = cluster.index();
        for step in 0..STEPS {
            let facts = facts(&cluster);
            let transition = compiler.advance(&index, &facts);
            let targets = if step == 0 { lowering.start(&transition.after) } else { lowering.advance(&transition) };
            let plan = transition.after;
            let fresh = Compiler::new().with_limit(limit).compile(&cluster.index(), &facts);
            let case = format!("seed {seed} step {step}\n{cluster}");
            support::check(&plan);

            let peers = peers([&plan, &fresh]);
            let (found, expected) = (decisions(&plan, &peers), decisions(&fresh, &peers));
            assert_eq!(found.len(), expected.len(), "other endpoints in {case}");
            for (key, regions) in &expected {
                assert_eq!(found.get(key), Some(regions), "{key:?} in {case}");
            }
            let known = |plan: &Plan| {
                let closed = plan.endpoints.values().map(|e| (e.uid.clone(), e.interface.clone(), e.addresses.clone()));
                (closed.collect::<Vec<_>>(), plan.addresses.keys().copied().collect::<Vec<_>>(), plan.problems.len())
            };
            assert_eq!(known(&plan), known(&fresh), "{case}");
            compared += expected.len();
            governed += expected.values().flatten().count();

            // Closed profiles deny what the engine allows: the judges would not agree.
            let by_engine = plan.paths.values().all(|p| p.by != Decider::TooBig);
            if by_engine && let Some(target) = targets.last() {
                let packets = packets(&expected);
                let court = Court { index: index.clone(), plan, table: target.table.clone() };
                let judges = court.judges(&cluster);
                let nobody = [build::ip("192.168.0.2"), build::ip("2001:db8::1")];
                let ends: Vec<_> = court.plan.addresses.keys().chain(&nobody).copied().collect();
                for from in &ends {
                    let family = Family::of(*from);
                    for to in ends.iter().filter(|to| Family::of(**to) == family) {
                        let mut some = packets.clone();
                        // The ICMP of the other family is no packet that anybody sends.
                        some.retain(|t| {
                            rng.chance(40) && !(t.protocol.is_icmp() && t.protocol != IpProtocol::icmp(family))
                        });
                        let some: Vec<_> = some.into_iter().collect();
                        asked += judges.ask(*from, *to, &some, &|| case.clone()).len();
                    }
                }
            }
            let next = random::changed(&mut rng, &cluster);
            follow(&mut index, &mut rng, &cluster, &next);
            cluster = next;
        }
    }
    println!("{compared} tables of decisions, {governed} of them by policies; {asked} packets");
    assert!(governed > 5_000 && asked > 20_000, "{governed} and {asked} prove little");
}
