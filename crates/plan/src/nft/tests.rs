//! The lowered table, evaluated in memory, against the plan, on random clusters and on every state between two plans.

mod shadow;
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use tortie_model::{Family, IpProtocol, Protocol, Traffic};
use tortie_persistent::Map;
use tortie_policy::Delta;
use tortie_ruleset::machine::{Connection, Fate, Interface, Machine, Packet as Wire, Run};
use tortie_ruleset::{Element, Hook, Table};

use self::world::{Cluster, Dice, NAMESPACES, OUTSIDE, address, interface, packet, pod, policy};
use super::prefix::{PathKind, Prefix};
use super::*;
use crate::{AttachmentPoint, Compiler, Packet, Plan, PlanVerdict, PodInterface, Transition};

fn wire(packet: &Packet) -> (Hook, Wire) {
    let detail = packet.traffic.detail.to_be_bytes();
    let transport = match packet.traffic.protocol {
        p if p.transport().is_some() => vec![0x12, 0x34, detail[0], detail[1], 0, 0, 0, 0],
        p if p.is_icmp() => vec![detail[0], detail[1], 0, 0],
        _ => vec![],
    };
    let mut wire = Wire::new(packet.source, packet.destination, packet.traffic.protocol.0, transport);
    let input = match &packet.interface {
        Some(pod) => Interface { name: pod.name.to_string(), index: pod.index },
        None => Interface { name: "uplink".into(), index: 2 },
    };
    wire.input = Some(input);
    (if packet.at == AttachmentPoint::Forward { Hook::Forward } else { Hook::Input }, wire)
}

fn run(machine: &Machine<'_>, packet: &Packet) -> Run {
    let (hook, wire) = wire(packet);
    machine.run(hook, &wire).unwrap_or_else(|fault| panic!("{fault}"))
}

/// What the counted chains say about the packet, in the words of the plan.
fn reading(run: &Run) -> (bool, Vec<ChainMeaning>) {
    (run.fate == Fate::Accept, run.counted.iter().filter_map(|(chain, _)| chain_meaning(chain)).collect())
}

fn expected(plan: &Plan, verdict: PlanVerdict) -> Vec<ChainMeaning> {
    let path = |id: Option<crate::PathId>, spared: bool| {
        let path = id.map(|id| (id, &plan.paths[&id])).filter(|_| !spared);
        path.map(|(id, p)| ChainMeaning::Path(p.direction, id))
    };
    match verdict {
        PlanVerdict::Spoofed => vec![ChainMeaning::Fixed(prefix::DropKind::Spoofed)],
        PlanVerdict::Unprogrammed(_) => vec![ChainMeaning::Fixed(prefix::DropKind::Unprogrammed)],
        PlanVerdict::Discovery | PlanVerdict::Unattached => vec![],
        PlanVerdict::Decided { egress, ingress, .. } => {
            [path(egress, false), path(ingress, false)].into_iter().flatten().collect()
        }
    }
}

/// Both address the pod itself, so that a denial may be spared: its chain then counts nothing.
fn to_itself(packet: &Packet) -> bool {
    packet.source == packet.destination
}

/// A source of this node's pods that does not come from a pod: the table drops it.
fn forged_from_outside(plan: &Plan, packet: &Packet) -> bool {
    packet.interface.is_none()
        && packet.at == AttachmentPoint::Forward
        && plan.pod_ranges.iter().any(|r| r.contains(&packet.source))
}

#[test]
fn the_machine_decides_as_the_plan_does() {
    let mut seen: BTreeMap<String, u32> = BTreeMap::new();
    let mut layouts = BTreeSet::new();
    for seed in 0..150 {
        let mut dice = Dice(seed);
        let cluster = Cluster::random(&mut dice);
        let plan = Compiler::new().compile(&cluster.index(), &cluster.facts());
        let mut lowering =
            Lowering::new(Options { port_budget: 1 + 63 * (seed % 2) as u16, ..Options::default() }, None);
        let table = lowering.start(&plan).pop().expect("a table").table;
        layouts.insert(table.maps["prr.1"].1.len() > 1);
        for (map, (_, elements)) in &table.maps {
            let unread = elements.iter().find(|e| meaning(map, e).is_none());
            assert_eq!(unread, None, "every element of {map} has a meaning");
        }
        let machine = Machine::new(&table);
        for _ in 0..200 {
            let packet = packet(&mut dice);
            if forged_from_outside(&plan, &packet) {
                continue;
            }
            let verdict = plan.evaluate(&packet);
            let run = run(&machine, &packet);
            let (passes, mut counted) = reading(&run);
            assert_eq!(passes, verdict.is_allowed(), "seed {seed}: {packet:?}: {verdict:?}, {run:?}");
            if verdict == PlanVerdict::Unprogrammed(packet.destination) && packet.interface.is_some() {
                // Egress allowed it before.
                counted.retain(|c| !matches!(c, ChainMeaning::Path(Direction::Egress, _)));
            }
            if !to_itself(&packet) {
                assert_eq!(counted, expected(&plan, verdict), "seed {seed}: {packet:?}: {verdict:?}, {run:?}");
            }
            if !passes {
                let read: Vec<Prefix> = run.logged.iter().map(|p| p.parse().expect("our prefix")).collect();
                let right = match (&read[..], counted.last()) {
                    ([Prefix::Path { kind: PathKind::Deny, direction, path, .. }], Some(ChainMeaning::Path(d, p))) => {
                        (direction, path) == (d, p)
                    }
                    ([Prefix::Fixed(kind)], Some(ChainMeaning::Fixed(k))) => kind == k,
                    _ => false,
                };
                assert!(right, "seed {seed}: {read:?} {counted:?}");
            }
            let kind = format!("{verdict:?}").split([' ', '(']).next().unwrap_or_default().to_owned();
            *seen.entry(format!("{kind} {passes}")).or_default() += 1;
        }
    }
    println!("{seen:?}");
    assert_eq!(layouts.len(), 2, "with and without ranges of ports");
    for kind in ["Decided true", "Decided false", "Spoofed false", "Unprogrammed false"] {
        assert!(seen.get(kind).is_some_and(|n| *n > 500), "{kind}: {seen:?}");
    }
}

#[test]
fn every_state_between_two_plans_decides_by_the_old_or_by_the_new() {
    let mut both_differ = 0;
    let mut waits = BTreeSet::new();
    for seed in 1000..1120 {
        let mut dice = Dice(seed);
        let mut cluster = Cluster::random(&mut dice);
        let mut compiler = Compiler::new();
        let first = compiler.compile(&cluster.index(), &cluster.facts());
        let options = Options { port_budget: 64, ..Options::default() };
        let mut lowering = Lowering::new(options, None);
        let mut at = lowering.start(&first).pop().expect("a table").table;
        let mut old = first;
        for _ in 0..3 {
            cluster.change(&mut dice);
            let transition = compiler.advance(&cluster.index(), &cluster.facts());
            let targets = lowering.advance(&transition);
            let new = &transition.after;
            let packets = judged(&mut dice, 25, &old, &transition);
            let way = phases(&at, &targets);
            waits.insert(way.iter().filter(|p| p.after_grace).count());
            for phase in &way {
                for step in &phase.steps {
                    for piece in in_pieces(step) {
                        if let (Step::Flip(_), [Change::Elements { map, .. }]) = (step, &piece[..]) {
                            assert!(!map.starts_with("cidr"), "older kernels cannot change {map} while packets use it");
                        }
                        piece.iter().for_each(|change| change.apply(&mut at));
                        judge(&at, &packets, &old, new, &|| format!("seed {seed}, after {piece:?}"));
                        both_differ += packets.iter().filter(|(_, verdicts)| verdicts[0] != verdicts[2]).count();
                    }
                }
                assert_eq!(at, phase.table, "seed {seed}");
            }
            assert_eq!(Some(&at), targets.last().map(|t| &t.table), "seed {seed}");
            old = transition.after;
        }
    }
    assert!(both_differ > 1000, "{both_differ}");
    assert!(waits.contains(&2), "{waits:?}");
}

/// Every packet is decided as before, as after, or as between.
fn judge(at: &Table, packets: &[(Packet, [bool; 3])], old: &Plan, new: &Plan, when: &dyn Fn() -> String) {
    let machine = Machine::new(at);
    for (packet, verdicts) in packets {
        let passes = run(&machine, packet).fate == Fate::Accept;
        // A new pod, and one that took over an address, stays closed until it is complete.
        let closed = !passes && is_new(old, new, packet);
        // Who sends to a pod that is gone may be governed by the new policies already; nobody is there.
        let nobody = passes && old.endpoint(packet.destination).is_some() && new.endpoint(packet.destination).is_none();
        assert!(closed || nobody || verdicts.contains(&passes), "{}: {packet:?} {verdicts:?}", when());
    }
}

/// What was begun and cut short between two transactions is gone on with from what is there.
#[test]
fn every_state_after_a_cut_decides_by_the_old_or_by_the_new() {
    let (mut unfinished, mut denied) = (0, 0);
    for seed in 3000..3400 {
        let mut dice = Dice(seed);
        let mut cluster = Cluster::random(&mut dice);
        let mut compiler = Compiler::new();
        let old = compiler.compile(&cluster.index(), &cluster.facts());
        let options = Options { port_budget: 2, ..Options::default() };
        let mut lowering = Lowering::new(options, None);
        let mut at = lowering.start(&old).pop().expect("a table").table;
        cluster.change(&mut dice);
        let transition = compiler.advance(&cluster.index(), &cluster.facts());
        let targets = lowering.advance(&transition);
        let packets = judged(&mut dice, 100, &old, &transition);
        denied += packets.iter().filter(|(_, verdicts)| *verdicts == [false; 3]).count();
        for phase in phases(&at, &targets) {
            let pieces: Vec<Vec<Change>> = phase.steps.iter().flat_map(in_pieces).collect();
            let cut = dice.roll(pieces.len() as u64 + 1) as usize;
            pieces[..cut].iter().flatten().for_each(|change| change.apply(&mut at));
            unfinished += at.chains.values().filter(|c| c.base.is_none() && c.rules.is_empty()).count();
            for piece in steps(&at, &phase.table).iter().flat_map(in_pieces) {
                piece.iter().for_each(|change| change.apply(&mut at));
                let when = || format!("seed {seed}, cut at {cut}, after {piece:?}");
                judge(&at, &packets, &old, &transition.after, &when);
            }
            assert_eq!(at, phase.table, "seed {seed}, cut at {cut}");
        }
    }
    assert!(unfinished > 100 && denied > 1000, "{unfinished} chains without rules, {denied} packets");
}

/// Packets, and whether the plan before, the one between and the one after let them pass.
fn judged(dice: &mut Dice, count: usize, old: &Plan, transition: &Transition) -> Vec<(Packet, [bool; 3])> {
    let packets = (0..count).map(|_| packet(dice)).filter(|p| !forged_from_outside(&transition.after, p));
    let plans = [old, &transition.withdrawn, &transition.after];
    packets.map(|p| (plans.map(|plan| plan.evaluate(&p).is_allowed()), p)).map(|(verdicts, p)| (p, verdicts)).collect()
}

/// Whether an end of the packet is a pod of this node that was not there before, or not with this address.
fn is_new(old: &Plan, new: &Plan, packet: &Packet) -> bool {
    [packet.source, packet.destination].iter().any(|ip| {
        new.endpoint(*ip).map(|e| (&e.uid, &e.interface)) != old.endpoint(*ip).map(|e| (&e.uid, &e.interface))
    })
}

/// What a step may be divided into when its transactions are as small as they can be. Endpoints go together, or what a
/// policy stops to deny at one end might not be denied at the other one yet.
fn in_pieces(step: &Step) -> Vec<Vec<Change>> {
    let of_endpoints = |c: &Change| matches!(c, Change::Elements { map, .. } if map[1..].starts_with("prof"));
    if let Step::Flip(changes) = step
        && changes.iter().all(of_endpoints)
    {
        return vec![changes.clone()];
    }
    let split = |change: &Change| match change {
        Change::Elements { map, spec, groups } => groups
            .iter()
            .map(|g| vec![Change::Elements { map: map.clone(), spec: spec.clone(), groups: vec![g.clone()] }])
            .collect(),
        other => vec![vec![other.clone()]],
    };
    step.changes().iter().flat_map(split).collect()
}

fn small() -> (Compiler, Cluster) {
    let cluster = Cluster { pods: BTreeMap::new(), policies: BTreeMap::new() };
    (Compiler::new(), cluster)
}

#[test]
fn nothing_filters_before_everything_is_there() {
    let mut dice = Dice(7);
    let cluster = Cluster::random(&mut dice);
    let plan = Compiler::new().compile(&cluster.index(), &cluster.facts());
    let mut lowering = Lowering::new(Options::default(), None);
    let targets = lowering.start(&plan);
    let empty = Table { maps: BTreeMap::new(), chains: Map::new(), ..targets[0].table.clone() };
    let way = phases(&empty, &targets);
    assert_eq!(way.len(), 1, "nothing has to wait");
    let Some((last, before)) = way[0].steps.split_last() else { panic!("no steps") };
    assert!(matches!(last, Step::Switch(_)));
    let hooked = |s: &Step| s.changes().iter().any(|c| matches!(c, Change::AddChain { base: Some(_), .. }));
    assert!(hooked(last) && !before.iter().any(hooked));
}

#[test]
fn what_is_put_right_filters_again_when_the_rest_is_right() {
    let plan = Compiler::new().compile(&small().1.index(), &small().1.facts());
    let table = Lowering::new(Options::default(), None).start(&plan).remove(0).table;
    let mut there = table.clone();
    there.chains.remove("forward");
    // Packets to this node still get there.
    Change::SetRules { chain: "revoked".into(), replace: true, rules: vec![] }.apply(&mut there);
    let steps = steps(&there, &table);
    let [Step::Switch(changes)] = &steps[..] else { panic!("{steps:?}") };
    let at = |wanted: &str| {
        let of = |c: &Change| matches!(c, Change::SetRules { chain, .. } if chain == wanted);
        changes.iter().position(of)
    };
    assert!(at("revoked").is_some() && at("revoked") < at("forward"), "{changes:?}");
}

#[test]
fn another_process_switches_to_maps_and_chains_of_its_own() {
    let mut dice = Dice(8);
    let cluster = Cluster::random(&mut dice);
    let plan = Compiler::new().compile(&cluster.index(), &cluster.facts());
    let old = Lowering::new(Options::default(), None).start(&plan).remove(0).table;
    let resumed = Lowering::resume(Options::default(), &old, &plan).expect("nothing changed");
    assert!(resumed.clone().start(&plan) == [Target { table: old.clone(), after_grace: false }]);
    let other = Lowering::resume(Options { log_group: 1, ..Options::default() }, &old, &plan);
    assert!(other.is_none());
    let targets = Lowering::new(Options::default(), Some(&old)).start(&plan);
    let shared: Vec<_> = old.maps.keys().filter(|m| targets[0].table.maps.contains_key(*m)).collect();
    assert!(shared.is_empty(), "{shared:?}");
    let way = phases(&old, &targets);
    assert_eq!(way.iter().map(|p| p.after_grace).collect::<Vec<_>>(), [false, true]);
    let mut at = old.clone();
    let packets: Vec<Packet> = (0..100).map(|_| packet(&mut dice)).collect();
    for change in way.iter().flat_map(|p| &p.steps).flat_map(in_pieces).flatten() {
        change.apply(&mut at);
        let (machine, before) = (Machine::new(&at), Machine::new(&old));
        for packet in &packets {
            assert_eq!(run(&machine, packet).fate, run(&before, packet).fate, "{packet:?} after {change:?}");
        }
    }
    assert_eq!(at, targets[0].table);
}

#[test]
fn a_map_that_fills_up_is_replaced_before_anything_changes() {
    let (mut compiler, mut cluster) = small();
    let mut dice = Dice(9);
    cluster.pods.insert(0, pod(&mut dice, "x0", 0));
    cluster.policies.insert(0, policy(&mut dice, 0));
    let plan = compiler.compile(&cluster.index(), &cluster.facts());
    let mut lowering = Lowering::new(Options::default(), None);
    let old = lowering.start(&plan).remove(0).table;
    for n in 0..400 {
        let mut other = pod(&mut dice, &format!("y{n}"), 1);
        other.ips = vec![format!("10.244.{}.{}", 100 + n / 250, n % 250).parse().unwrap()];
        cluster.pods.insert(100 + n, other);
    }
    let transition = compiler.advance(&cluster.index(), &cluster.facts());
    let targets = lowering.advance(&transition);
    assert_eq!(old.maps["id4.1"].0.size, Some(512));
    assert_eq!(targets[0].table.maps["id4.2"].0.size, Some(1024));
    assert_eq!(targets[0].table.maps["id4.2"].1, old.maps["id4.1"].1, "the same contents, first");
    assert_eq!(targets[0].table.maps["id6.1"], old.maps["id6.1"]);
    let mut at = old.clone();
    for phase in phases(&old, &targets) {
        for change in phase.steps.iter().flat_map(in_pieces).flatten() {
            change.apply(&mut at);
            for (map, (spec, elements)) in &at.maps {
                let keys = elements.iter().filter(|e| matches!(e, Element::Range { .. })).count();
                assert!(spec.size.is_none_or(|size| keys <= size as usize), "{map}");
            }
        }
    }
    assert_eq!(Some(&at), targets.last().map(|t| &t.table));
}

#[test]
fn established_revoked_and_odd_packets_never_ask_policy() {
    let mut dice = Dice(3);
    let cluster = Cluster { pods: [(0, pod(&mut dice, "x0", 0))].into(), policies: BTreeMap::new() };
    let mut policies = cluster.index();
    for namespace in NAMESPACES {
        policies.apply(Delta::Policy(Box::new(tortie_policy::fail_closed(namespace, "deny"))));
    }
    let plan = Compiler::new().compile(&policies, &cluster.facts());
    let table = Lowering::new(Options::default(), None).start(&plan).remove(0).table;
    let pod = address(1, 2, Family::V4);
    let outside: IpAddr = OUTSIDE[0].parse().unwrap();
    let send = |source, destination, interface: Option<PodInterface>, connection| {
        let traffic = Traffic::port(Protocol::Tcp, 80);
        let (hook, mut wire) = wire(&Packet {
            at: AttachmentPoint::Forward,
            interface,
            source,
            destination,
            traffic,
            source_port: 0xfffe,
        });
        wire.connection = connection;
        let run = Machine::new(&table).run(hook, &wire).expect("runs");
        (run.fate, run.counted.first().map(|(chain, _)| chain.split('.').next().unwrap_or_default().to_owned()))
    };
    let state = |state, mark| Connection { state, mark, reply: false };
    let denied = |chain: &str| (Fate::Drop, Some(chain.to_owned()));
    let to_pod = |connection| send(outside, pod, None, connection);
    assert_eq!(to_pod(state(Connection::ESTABLISHED, 0)), (Fate::Accept, None));
    assert_eq!(to_pod(state(Connection::RELATED, !REVOKED_BIT)), (Fate::Accept, None));
    assert_eq!(to_pod(state(Connection::ESTABLISHED, REVOKED_BIT)), denied("revoked"));
    assert_eq!(to_pod(state(Connection::INVALID, 0)), denied("invalid"));
    assert!(to_pod(state(Connection::NEW, 0)).1.is_some_and(|c| c.starts_with("deny_i")));
    // Established, but forged.
    assert_eq!(send(outside, pod, Some(interface(0)), state(Connection::ESTABLISHED, 0)), denied("spoofed"));
    assert_eq!(send(pod, outside, Some(interface(0)), state(Connection::INVALID, 0)), denied("invalid"));
    // Between others, nothing is dropped.
    let other = OUTSIDE[2].parse().unwrap();
    assert_eq!(send(outside, other, None, state(Connection::INVALID, 0)), (Fate::Accept, None));
    // From outside, with the source of a pod.
    assert_eq!(send(pod, other, None, state(Connection::NEW, 0)), denied("unprogrammed"));
    // Untracked packets are decided like new ones; those without a header to decide by are dropped.
    let mut short = Wire::new(outside, pod, IpProtocol::TCP.0, vec![0]);
    short.input = Some(Interface { name: "uplink".into(), index: 2 });
    short.connection = state(Connection::UNTRACKED, 0);
    let run = Machine::new(&table).run(Hook::Forward, &short).expect("runs");
    assert_eq!((run.fate, &run.counted[..]), (Fate::Drop, &[("invalid".to_owned(), 0)][..]));
}

#[test]
fn a_node_reaches_its_own_pods_and_is_counted() {
    let mut dice = Dice(4);
    let cluster = Cluster { pods: [(0, pod(&mut dice, "x0", 0))].into(), policies: BTreeMap::new() };
    let plan = Compiler::new().compile(&cluster.index(), &cluster.facts());
    let table = Lowering::new(Options::default(), None).start(&plan).remove(0).table;
    for family in Family::ALL {
        let from = if family == Family::V4 { "192.168.64.1" } else { "fd00::1" };
        let packet = Wire::new(from.parse().unwrap(), address(1, 2, family), 6, vec![0; 20]);
        let run = Machine::new(&table).run(Hook::Output, &packet).expect("runs");
        assert_eq!((run.fate, run.counted.len()), (Fate::Accept, 1));
        assert_eq!(chain_meaning(&run.counted[0].0), Some(ChainMeaning::FromNode));
        // To itself by an address of its pod ranges; but nobody else has such an address.
        let own = address(1, 1, family);
        let mut to_node = Wire::new(own, own, 17, vec![0; 8]);
        for (name, index, fate) in [("lo", 1, Fate::Accept), ("eth0", 2, Fate::Drop)] {
            to_node.input = Some(Interface { name: name.into(), index });
            assert_eq!(Machine::new(&table).run(Hook::Input, &to_node).expect("runs").fate, fate, "{name}");
        }
    }
}
