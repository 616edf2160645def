//! Transitions, one element at a time: whatever a packet sees of them, the old or the new policies decide.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::rc::Rc;

use support::facts;
use tortie_model::{Direction, Family, Protocol, Traffic};
use tortie_plan::{
    ClassId, Compiler, IdentityId, OutsideClass, Path, PathId, Plan, PortClassId, ProfileId, RangeEntry, SetSource,
    Transition,
};
use tortie_policy::{Index, Names, Regions, Verdict};
use tortie_testkit::{Cluster, Flow, Rng, build, random};

const CLUSTERS: u64 = 300;
const PACKETS: usize = 60;

/// What a kernel holds of a plan, element by element.
#[derive(Clone, Debug, PartialEq)]
struct Held {
    endpoints: Rc<BTreeMap<(IpAddr, Direction), ProfileId>>,
    addresses: Rc<BTreeMap<IpAddr, IdentityId>>,
    ranges: Rc<Vec<RangeEntry>>,
    outside: Rc<BTreeMap<ProfileId, OutsideClass>>,
    classes: Rc<BTreeMap<(ProfileId, IdentityId), ClassId>>,
    ports: Rc<BTreeMap<ProfileId, Regions<PortClassId>>>,
    rows: Rc<BTreeMap<(PortClassId, ClassId), PathId>>,
    defaults: Rc<BTreeMap<ProfileId, PathId>>,
    paths: Rc<BTreeMap<PathId, Path>>,
}

impl Held {
    fn of(plan: &Plan) -> Self {
        let profiles = || plan.profiles.iter();
        let endpoints = plan.endpoints.values().flat_map(|e| {
            let both = [(Direction::Egress, e.egress), (Direction::Ingress, e.ingress)];
            e.addresses.iter().flat_map(move |ip| both.map(|(direction, profile)| ((*ip, direction), profile)))
        });
        Self {
            endpoints: Rc::new(endpoints.collect()),
            addresses: Rc::new(plan.addresses.iter().map(|(ip, id)| (*ip, *id)).collect()),
            ranges: Rc::new(plan.ranges.to_vec()),
            outside: Rc::new(profiles().map(|(id, p)| (*id, p.outside)).collect()),
            classes: Rc::new(profiles().flat_map(|(id, p)| p.classes.iter().map(|(i, c)| ((*id, *i), *c))).collect()),
            ports: Rc::new(profiles().map(|(id, p)| (*id, p.ports.clone())).collect()),
            rows: Rc::new(profiles().flat_map(|(_, p)| p.rows.iter().map(|(key, path)| (*key, *path))).collect()),
            defaults: Rc::new(profiles().map(|(id, p)| (*id, p.default)).collect()),
            paths: Rc::new(plan.paths.iter().map(|(id, path)| (*id, (**path).clone())).collect()),
        }
    }
}

/// Everything that was held, one element after the other, since a grace time.
struct Film {
    frames: Vec<Held>,
    /// First frames after a grace time.
    graces: Vec<usize>,
}

impl Film {
    fn now(&self) -> Held {
        self.frames.last().unwrap().clone()
    }

    fn grace(&mut self) {
        self.graces.push(self.frames.len() - 1);
    }

    /// Changes single elements of a map, in any order.
    fn play<K: Ord + Clone, V: Clone + PartialEq>(
        &mut self,
        rng: &mut Rng,
        map: impl Fn(&mut Held) -> &mut Rc<BTreeMap<K, V>>,
        target: &BTreeMap<K, V>,
        kinds: (bool, bool, bool),
        case: &str,
    ) {
        let mut now = self.now();
        let (add, change, remove) = kinds;
        let held = map(&mut now).clone();
        let mut keys: Vec<K> = held.keys().chain(target.keys()).cloned().collect::<BTreeSet<_>>().into_iter().collect();
        for i in (1..keys.len()).rev() {
            keys.swap(i, rng.below(i + 1));
        }
        for key in keys {
            match (held.get(&key), target.get(&key)) {
                (None, Some(value)) if add => {
                    Rc::make_mut(map(&mut now)).insert(key, value.clone());
                }
                (Some(old), Some(value)) if old != value => {
                    assert!(change, "a number changes its meaning in {case}");
                    Rc::make_mut(map(&mut now)).insert(key, value.clone());
                }
                (Some(_), None) if remove => {
                    Rc::make_mut(map(&mut now)).remove(&key);
                }
                _ => continue,
            }
            self.frames.push(now.clone());
        }
    }

    fn ranges(&mut self, target: &Held) {
        let mut now = self.now();
        now.ranges.clone_from(&target.ranges);
        self.frames.push(now);
    }

    /// The phases of [`Transition`].
    fn of(from: &Plan, transition: &Transition, rng: &mut Rng, case: &str) -> Self {
        const ADD: (bool, bool, bool) = (true, false, false);
        const REMOVE: (bool, bool, bool) = (false, false, true);
        const FLIP: (bool, bool, bool) = (true, true, true);
        let mut film = Self { frames: vec![Held::of(from)], graces: Vec::new() };
        let withdrawn = Held::of(&transition.withdrawn);
        film.play(rng, |h| &mut h.addresses, &withdrawn.addresses, REMOVE, case);
        film.play(rng, |h| &mut h.endpoints, &withdrawn.endpoints, REMOVE, case);
        assert_eq!(film.now(), withdrawn, "withdrawing only removes, in {case}");

        let during = Held::of(&transition.during);
        film.play(rng, |h| &mut h.paths, &during.paths, ADD, case);
        film.play(rng, |h| &mut h.rows, &during.rows, ADD, case);
        film.play(rng, |h| &mut h.defaults, &during.defaults, ADD, case);
        film.play(rng, |h| &mut h.outside, &during.outside, ADD, case);
        film.play(rng, |h| &mut h.ports, &during.ports, FLIP, case);
        film.play(rng, |h| &mut h.classes, &during.classes, ADD, case);
        film.ranges(&during);
        film.play(rng, |h| &mut h.addresses, &during.addresses, FLIP, case);
        film.play(rng, |h| &mut h.endpoints, &during.endpoints, FLIP, case);
        assert_eq!(film.now(), during, "`during` holds all that was held, in {case}");
        film.grace();

        let after = Held::of(&transition.after);
        film.ranges(&after);
        film.play(rng, |h| &mut h.addresses, &after.addresses, FLIP, case);
        film.grace();
        film.play(rng, |h| &mut h.classes, &after.classes, REMOVE, case);
        film.play(rng, |h| &mut h.ports, &after.ports, REMOVE, case);
        film.play(rng, |h| &mut h.outside, &after.outside, REMOVE, case);
        film.play(rng, |h| &mut h.defaults, &after.defaults, REMOVE, case);
        film.play(rng, |h| &mut h.rows, &after.rows, REMOVE, case);
        film.play(rng, |h| &mut h.paths, &after.paths, REMOVE, case);
        assert_eq!(film.now(), after, "`after` adds nothing that `during` does not hold, in {case}");
        film
    }

    /// Decides a packet whose lookups happen at places in the film: any, in order, with no grace time between two of
    /// them; `at_once`: all at the same place. `None`: the endpoint is not programmed.
    fn decide(
        &self,
        rng: &mut Rng,
        at_once: bool,
        direction: Direction,
        own: IpAddr,
        peer: IpAddr,
        traffic: Traffic,
    ) -> Option<bool> {
        let segment = rng.below(self.graces.len() + 1);
        let from = if segment == 0 { 0 } else { self.graces[segment - 1] };
        let to = self.graces.get(segment).copied().unwrap_or(self.frames.len() - 1);
        let mut places: Vec<usize> = (0..8).map(|_| from + rng.below(to - from + 1)).collect();
        if at_once || rng.chance(30) {
            let place = places[0];
            places.fill(place);
        }
        places.sort_unstable();
        self.decide_at(&places, direction, own, peer, traffic)
    }

    /// Decides a packet whose eight lookups happen at these places.
    fn decide_at(
        &self,
        places: &[usize],
        direction: Direction,
        own: IpAddr,
        peer: IpAddr,
        traffic: Traffic,
    ) -> Option<bool> {
        let mut places = places.iter().map(|i| &self.frames[*i]);
        let mut next = || places.next().unwrap();

        let profile = *next().endpoints.get(&(own, direction))?;
        if profile == ProfileId(0) {
            return Some(true);
        }
        let identity = next().addresses.get(&peer).copied();
        let class = match identity {
            Some(identity) => next().classes.get(&(profile, identity)).copied(),
            None => match next().outside[&profile] {
                OutsideClass::One(class) => Some(class),
                OutsideClass::ByRange => {
                    let ranges = &next().ranges;
                    let range = ranges.iter().find(|r| r.from <= peer && peer <= r.to);
                    range.and_then(|r| next().classes.get(&(profile, r.identity)).copied())
                }
            },
        };
        let port = *next().ports[&profile].get(traffic);
        let row = next().rows.get(&(port, class.unwrap_or(ClassId(0)))).copied();
        let last = next();
        let path = row.unwrap_or_else(|| last.defaults[&profile]);
        Some(last.paths[&path].verdict == Verdict::Allow)
    }
}

/// Whether the engine lets a packet pass at an endpoint: an endpoint of one index, and the peer as in another.
fn engine(at: &Index, peers: &Index, direction: Direction, own: IpAddr, peer: IpAddr, traffic: Traffic) -> bool {
    let (own, peer) = (at.address_side(own), peers.address_side(peer));
    let Some(pod) = own.pod() else { return true };
    let [source, destination] = if direction == Direction::Ingress { [&peer, &own] } else { [&own, &peer] };
    let names = Names::between(source.pod().map(|p| &**p), destination.pod().map(|p| &**p));
    at.stack(pod, direction).decide(&peer, traffic, names).verdict == Verdict::Allow
}

/// The old cluster without the pods that are gone, or whose address is somebody else's now.
fn without_the_gone(old: &Cluster, new: &Index) -> Cluster {
    let mut out = old.clone();
    for pod in &mut out.pods {
        pod.ips.retain(|ip| new.owner(*ip).is_some_and(|now| now.meta.uid == pod.meta.uid));
    }
    out
}

#[derive(Default, Debug)]
struct Seen {
    packets: usize,
    changed: usize,
    /// Transitions with addresses that old and new profiles see differently.
    faces: usize,
    /// Transitions in which a profile got a twin.
    twins: usize,
}

/// Takes a compiler from one cluster to the next and sends packets all the while.
fn pass(
    compiler: &mut Compiler,
    (old, new): (&Cluster, &Cluster),
    rng: &mut Rng,
    (packets, flow): (usize, &dyn Fn(&mut Rng) -> Flow),
    seen: &mut Seen,
    case: &str,
) {
    let case = format!("{case}\n--- old\n{old}--- new\n{new}");
    let held = compiler.current().clone();
    let (before, after) = (old.index(), new.index());
    let between = without_the_gone(old, &after).index();
    let transition = compiler.advance(&after, &facts(new));
    for plan in [&transition.withdrawn, &transition.during, &transition.after] {
        support::check(plan);
    }
    let film = Film::of(&held, &transition, rng, &case);
    let faces = |s: &SetSource| matches!(s, SetSource::Changing(..));
    seen.faces += usize::from(transition.during.identities.values().any(|i| faces(&i.source)));
    // Ingress profiles may differ by the endpoints' own ports alone.
    let egress = transition.during.profiles.values().filter(|p| p.stack.direction() == Direction::Egress);
    let all: Vec<_> = egress.map(|p| p.stack.clone()).collect();
    seen.twins += usize::from((1..all.len()).any(|i| all[..i].contains(&all[i])));
    let own: Vec<IpAddr> = film.frames.iter().flat_map(|f| f.endpoints.keys().map(|(ip, _)| *ip)).collect();
    for _ in 0..if own.is_empty() { 0 } else { packets } {
        let (own, flow) = (*rng.pick(&own), flow(rng));
        let peer = if Family::of(flow.from) == Family::of(own) { flow.from } else { continue };
        let direction = *rng.pick(&Direction::BOTH);
        // No promise is made to a packet under way at a pod that is being removed.
        let uid = |i: &Index| i.owner(own).map(|p| p.meta.uid.clone());
        let gone = uid(&before).is_some() && uid(&before) != uid(&after);
        let Some(found) = film.decide(rng, gone, direction, own, peer, flow.traffic) else { continue };
        // Pods that are gone are unknown before anything else changes.
        let views = [(&before, &before), (&before, &between), (&after, &after)];
        let allowed = views.map(|(at, peers)| engine(at, peers, direction, own, peer, flow.traffic));
        assert!(
            allowed.contains(&found),
            "{direction} of {own}, peer {peer}, {}: {found}, neither old nor new\n{case}",
            flow.traffic
        );
        let last = film.decide_at(&[film.frames.len() - 1; 8], direction, own, peer, flow.traffic);
        assert!(
            last.is_none_or(|last| last == allowed[2]),
            "{direction} of {own}, peer {peer}, {}: not as the new policies in the end\n{case}",
            flow.traffic
        );
        seen.packets += 1;
        seen.changed += usize::from(allowed[0] != allowed[2]);
    }
}

#[test]
fn every_packet_is_decided_by_the_old_or_the_new_policies() {
    let mut seen = Seen::default();
    for seed in 0..CLUSTERS {
        let mut rng = Rng::new(seed);
        let mut old = if rng.chance(50) { random::cluster(&mut rng) } else { random::tiered_cluster(&mut rng) };
        // Whether pods are told apart before policies ask, and where that ends.
        let mut compiler = Compiler::new().with_kinds(*rng.pick(&[0, 3, usize::MAX]));
        compiler.compile(&old.index(), &facts(&old));
        for step in 0..3 {
            let new = random::changed(&mut rng, &old);
            let flow = |rng: &mut Rng| {
                let cluster = if rng.chance(50) { &old } else { &new };
                random::flow(rng, cluster)
            };
            pass(
                &mut compiler,
                (&old, &new),
                &mut rng,
                (PACKETS, &flow),
                &mut seen,
                &format!("seed {seed} step {step}"),
            );
            old = new;
        }
    }
    println!("{seen:?}");
    assert!(seen.changed * 50 > seen.packets, "few packets whose verdict changes: {seen:?}");
    assert!(seen.faces > 0, "no address changed its face: {seen:?}");
}

/// One pod leaves a profile, another enters it, and a pod that its rules single out changes its labels: the worst that
/// can come together.
#[test]
fn a_profile_that_is_left_and_entered_at_once_judges_for_both() {
    let mut seen = Seen::default();
    for seed in 0..20 {
        let mut old = Cluster {
            namespaces: vec![build::namespace("a", &[])],
            nodes: vec![build::node("n1", &["192.168.0.1"])],
            pods: vec![
                build::pod("a/leaves", "n1", &[("app", "web")], &["10.244.1.2"]),
                build::pod("a/enters", "n1", &[], &["10.244.1.3"]),
                build::pod("a/stays", "n1", &[("app", "web")], &["10.244.1.4"]),
                build::pod("a/peer", "n2", &[("role", "x")], &["10.244.2.2"]),
            ],
            ..Cluster::default()
        };
        for (i, pod) in old.pods.iter_mut().enumerate() {
            pod.meta.uid = format!("{i}").into();
        }
        let mut web = build::policy("a/web", &[("app", "web")]);
        let rule = build::rule([build::pods_here(&[("role", "x")])], [build::tcp(80)]);
        (web.ingress, web.egress) = (Some(vec![rule.clone()]), Some(vec![rule]));
        let mut rest = build::policy("a/rest", &[]);
        rest.pod_selector = tortie_model::LabelSelector::new([tortie_model::Requirement::new(
            "app",
            tortie_model::Operator::DoesNotExist,
            [""; 0],
        )]);
        let rule = build::rule([build::pods_here(&[("role", "y")])], [build::tcp(81)]);
        (rest.ingress, rest.egress) = (Some(vec![rule.clone()]), Some(vec![rule]));
        old.policies = vec![web, rest];
        let mut new = old.clone();
        new.pods[0].meta.labels = build::labels(&[]);
        new.pods[1].meta.labels = build::labels(&[("app", "web")]);
        new.pods[3].meta.labels = build::labels(&[("role", "y")]);
        let mut rng = Rng::new(seed);
        let mut compiler = Compiler::new();
        compiler.compile(&old.index(), &facts(&old));
        let peer = build::ip("10.244.2.2");
        let flow = |rng: &mut Rng| {
            let port = *rng.pick(&[80, 81, 82]);
            Flow::new(peer, peer, Traffic::port(Protocol::Tcp, port))
        };
        pass(&mut compiler, (&old, &new), &mut rng, (400, &flow), &mut seen, &format!("seed {seed}"));
    }
    assert_eq!((seen.faces, seen.twins), (20, 20), "{seen:?}");
}

/// The only rule with a block gets another one, which overlaps: neither the old ranges nor the new ones will do for both.
#[test]
fn a_block_that_changes_leaves_no_gap() {
    let blocks = ["203.0.113.0/24", "203.0.113.0/25", "203.0.0.0/16", "203.0.113.64/26", "0.0.0.0/0"];
    let mut seen = Seen::default();
    for seed in 0..60 {
        let mut rng = Rng::new(seed);
        let make = |rng: &mut Rng| {
            let mut policy = build::policy("a/p", &[]);
            let block = build::block(rng.pick::<&str>(&blocks), &[]);
            policy.egress = Some(vec![build::rule([block], [build::tcp(*rng.pick(&[80, 81]))])]);
            Cluster {
                namespaces: vec![build::namespace("a", &[])],
                pods: vec![build::pod("a/p", "n1", &[], &["10.244.1.2"])],
                policies: vec![policy],
                ..Cluster::default()
            }
        };
        let (old, new) = (make(&mut rng), make(&mut rng));
        let mut compiler = Compiler::new();
        compiler.compile(&old.index(), &facts(&old));
        let flow = |rng: &mut Rng| {
            let peer = build::ip(rng.pick::<&str>(&["203.0.113.1", "203.0.113.70", "203.0.113.200", "203.0.5.5"]));
            let traffic = Traffic::port(Protocol::Tcp, *rng.pick(&[80, 81]));
            Flow::new(peer, peer, traffic)
        };
        pass(&mut compiler, (&old, &new), &mut rng, (60, &flow), &mut seen, &format!("seed {seed}"));
    }
    assert!(seen.changed > 100, "{seen:?}");
}
