//! What Calico's agent makes of tiers: their order, and packets through programs of tiers in its own rule form. The rules
//! are put into the engine as they are, without a front end.

use std::net::IpAddr;

use ipnet::IpNet;
use serde_json::Value;
use tortie_analysis::deltas::World;
use tortie_analysis::passage::Imagined;
use tortie_analysis::staging::Staged;
use tortie_model::{Direction, IpBlock, IpProtocol, Kind, ObjectRef, Protocol, Traffic};
use tortie_policy::{
    Action, Asked, By, Detail, EndAction, EndpointSelector, NamespaceMatch, Order, Peer, Peers, PodKey, Policy,
    PortMatch, Ports, Rule, Tier, Verdict,
};
use tortie_testkit::build;

use crate::cluster::list;
use crate::corpus::{Answers, Finding};

/// The pod whose policy is asked.
const POD: &str = "ns/pod";
const NODE: &str = "node";

/// Programs of interfaces that are not a pod's.
const OF_HOSTS: [&str; 3] = ["HostPreDnatTiers", "HostForwardTiers", "HostNormalTiers"];

/// One record of `calico-tier-sort`. A tier that is not valid is one that policies name and nobody defined.
pub(crate) fn order(record: &Value) -> Finding {
    let mut world = World::default();
    for tier in list(&record["tiers"]) {
        let name = text(&tier["name"]);
        if tier["valid"] == true {
            let order = tier["order"].as_f64().map_or(Order::NONE, Order::new);
            world.tiers.insert(name.into(), Tier { name: name.into(), order, end: EndAction::Pass });
        }
        let policy = policy(name, name, 0, Direction::Ingress, Vec::new());
        world.policies.insert(policy.object.clone(), policy);
    }
    let pod = build::pod(POD, NODE, &[], &["10.244.1.10"]);
    let stack_of = world.index();
    let stack = stack_of.stack_of(Some(&pod), Direction::Ingress, stack_of.policies());
    let ours: Vec<&str> = stack.tiers().iter().map(|t| &*t.name).collect();
    let theirs: Vec<&str> = list(&record["expected_order"]).iter().map(text).collect();
    let differs = (ours != theirs).then(|| format!("expected {theirs:?}, ours {ours:?}"));
    Finding::of(Answers { engine: 1, ..Answers::default() }, differs.into_iter().collect())
}

/// One record of `calico-polprog`: packets through one program, as what comes to a pod and as what leaves one.
pub(crate) fn program(record: &Value) -> Finding {
    if record["policy"]["ForHostInterface"] == true || OF_HOSTS.iter().any(|key| !record["policy"][key].is_null()) {
        return Finding::OutOfScope("host endpoints");
    }
    let packets = [("allowed", true), ("dropped", false)];
    let packets = packets.iter().flat_map(|(key, wanted)| list(&record[*key]).iter().map(move |p| (p, *wanted)));
    // A pod always reaches its own address.
    let packets = packets.filter(|(packet, _)| packet["src"] != packet["dst"]);
    let (mut answers, mut differences) = (Answers::default(), Vec::new());
    for (packet, wanted) in packets {
        for direction in Direction::BOTH {
            answers.engine += 1;
            answers.plan += 1;
            if let Err(why) = send(record, packet, direction, wanted) {
                differences.push(format!("{direction} {packet}: {why}"));
            }
        }
    }
    Finding::of(answers, differences)
}

/// Asks about one packet, with a pod at one of its ends.
fn send(record: &Value, packet: &Value, direction: Direction, wanted: bool) -> Result<(), String> {
    let [source, destination] = ["src", "dst"].map(|key| text(&packet[key]));
    let (own, other) = match direction {
        Direction::Egress => (source, destination),
        Direction::Ingress => (destination, source),
    };
    let world = world(record, direction, own);
    let index = world.index();
    let pod = index.pod(&PodKey::new("ns", "pod")).expect("it is there");
    let is_v6 = own.contains(':');
    let family = if is_v6 { tortie_model::Family::V6 } else { tortie_model::Family::V4 };
    let pod = index.pod_side(pod, Some(family)).ok_or("no address of the family")?;
    let other = index.address_side(address(other)?);
    let (from, to) = if direction == Direction::Egress { (&pod, &other) } else { (&other, &pod) };
    let asked = asked(packet);
    let verdict = index.verdict(from, to, asked);
    let outcome = &verdict.half(direction).outcome;
    // No program has profiles: there, what no tier decides is dropped. A pod has that of its namespace, which allows.
    let ours = outcome.verdict == Verdict::Allow && outcome.by != By::Profile;
    if ours != wanted {
        return Err(format!("expected {wanted}, ours {outcome:?}"));
    }
    let staged = Staged { nodes: world.nodes.values().cloned().collect(), world, ..Staged::default() };
    let mut plans = Imagined::default();
    plans.advance(&staged, &index);
    let plan = plans.passes(from, to, asked);
    if plan == verdict.is_allowed() { Ok(()) } else { Err(format!("engine {}, plan {plan}", verdict.is_allowed())) }
}

/// A pod with an address, governed by the tiers of a record.
fn world(record: &Value, direction: Direction, address: &str) -> World {
    let mut world = World::default();
    world.namespaces.insert("ns".into(), build::namespace("ns", &[]));
    world.nodes.insert(NODE.into(), build::node(NODE, &["192.0.2.1"]));
    let pod = build::pod(POD, NODE, &[], &[address]);
    world.pods.insert(PodKey::of(&pod), pod);
    for (t, tier) in list(&record["policy"]["Tiers"]).iter().enumerate() {
        let name = text(&tier["Name"]);
        let end = if tier["EndAction"] == "pass" { EndAction::Pass } else { EndAction::Deny };
        world.tiers.insert(name.into(), Tier { name: name.into(), order: position(t), end });
        for (p, written) in list(&tier["Policies"]).iter().enumerate() {
            let rules = list(&written["Rules"]).iter().enumerate();
            let rules = rules.flat_map(|(n, rule)| rules_of(n, rule, direction, &record["ip_sets"])).collect();
            let name = format!("{name}.{}", text(&written["Name"]));
            let policy = policy(&name, text(&tier["Name"]), p, direction, rules);
            world.policies.insert(policy.object.clone(), policy);
        }
    }
    world
}

fn policy(name: &str, tier: &str, at: usize, direction: Direction, rules: Vec<Rule>) -> Policy {
    let everywhere = NamespaceMatch::Matching(build::selector(&[]));
    let (ingress, egress) = match direction {
        Direction::Ingress => (Some(rules), None),
        Direction::Egress => (None, Some(rules)),
    };
    Policy {
        object: ObjectRef { kind: Kind::GlobalNetworkPolicy, namespace: None, name: name.into() },
        tier: tier.into(),
        order: position(at),
        subject: EndpointSelector::pods(everywhere, build::selector(&[])),
        ingress,
        egress,
    }
}

fn position(at: usize) -> Order {
    Order::new(f64::from(u32::try_from(at).expect("few")))
}

/// A rule as rules of ours, one after the other: one for each member of its sets of addresses with ports.
fn rules_of(written: usize, rule: &Value, direction: Direction, sets: &Value) -> Vec<Rule> {
    let action = match text(&rule["Action"]) {
        "Allow" => Action::Allow,
        "Deny" => Action::Deny,
        "Pass" => Action::Pass,
        "Log" => Action::Log,
        other => panic!("action {other}"),
    };
    let mut not_ports = ports(&rule["NotDstPorts"], protocols(rule));
    not_ports.extend(protocol(&rule["NotProtocol"]).map(|protocol| PortMatch { protocol, detail: Detail::All }));
    if let Some(message) = rule["NotIcmp"]["NotIcmpTypeCode"].as_object() {
        let of = |key: &str| message[key].as_u64().and_then(|n| u8::try_from(n).ok()).expect("a byte");
        let detail = u16::from_be_bytes([of("Type"), of("Code")]);
        let both = [IpProtocol::ICMP, IpProtocol::ICMPV6];
        not_ports.extend(both.map(|protocol| PortMatch { protocol, detail: Detail::Range(detail, detail) }));
    }
    let every = protocol(&rule["Protocol"]).map(|protocol| vec![PortMatch { protocol, detail: Detail::All }]);
    let mut out = Vec::new();
    for (source, source_ports) in alternatives(rule, "Src", sets) {
        for (destination, destination_ports) in alternatives(rule, "Dst", sets) {
            let (own, other) = match direction {
                Direction::Egress => (source.clone(), destination),
                Direction::Ingress => (destination, source.clone()),
            };
            out.push(Rule {
                own: (!own.is_anybody()).then_some(own),
                not_ports: not_ports.clone(),
                source_ports: source_ports.clone().map_or(Ports::Any, Ports::OneOf),
                not_source_ports: ports(&rule["NotSrcPorts"], protocols(rule)),
                ..Rule::new(
                    written,
                    action,
                    if other.is_anybody() { Peers::Any } else { Peers::OneOf(vec![other]) },
                    destination_ports.or_else(|| every.clone()).map_or(Ports::Any, Ports::OneOf),
                )
            });
        }
    }
    out
}

/// What a rule asks of one end: any of these, each with the ports of that end.
fn alternatives(rule: &Value, end: &str, sets: &Value) -> Vec<(Peer, Option<Vec<PortMatch>>)> {
    let field = |before: &str, after: &str| list(&rule[format!("{before}{end}{after}")]);
    let nets = |values: &[Value]| values.iter().map(|net| net_of(text(net))).collect::<Vec<_>>();
    let members = |ids: &[Value]| ids.iter().flat_map(|id| list(&sets[text(id)])).cloned().collect::<Vec<_>>();
    assert!(field("", "IpSetIds").len() < 2, "all of several sets");
    let mut blocks = (!field("", "Net").is_empty()).then(|| nets(field("", "Net")));
    if !field("", "IpSetIds").is_empty() {
        assert!(blocks.is_none(), "nets and a set at once");
        blocks = Some(nets(&members(field("", "IpSetIds"))));
    }
    let excluded = nets(field("Not", "Net")).into_iter().chain(nets(&members(field("Not", "IpSetIds"))));
    let named = field("", "NamedPortIpSetIds");
    let numbered = field("", "Ports");
    let peer = |blocks: Option<Vec<IpNet>>| Peer {
        blocks: blocks.map(|nets| nets.into_iter().map(|net| IpBlock::new(net, [])).collect()),
        not_blocks: excluded.clone().collect(),
        ..Peer::default()
    };
    if named.is_empty() {
        let ports = (!numbered.is_empty()).then(|| ports(&rule[format!("{end}Ports")], protocols(rule)));
        return vec![(peer(blocks), ports)];
    }
    assert!(blocks.is_none(), "nets and named ports at once");
    let mut out = vec![(peer(None), Some(ports(&rule[format!("{end}Ports")], protocols(rule))))];
    for member in members(named) {
        let (net, port) = text(&member).split_once(',').expect("NET,PROTOCOL:PORT");
        let (protocol, number) = port.split_once(':').expect("PROTOCOL:PORT");
        let protocol = protocol.to_uppercase().parse::<Protocol>().expect("a protocol").into();
        let number = number.parse().expect("a port");
        let port = PortMatch { protocol, detail: Detail::Range(number, number) };
        out.push((peer(Some(vec![net_of(net)])), Some(vec![port])));
    }
    out
}

/// The protocols that the ports of a rule are of.
fn protocols(rule: &Value) -> Vec<IpProtocol> {
    protocol(&rule["Protocol"]).map_or_else(|| Protocol::ALL.map(IpProtocol::from).to_vec(), |one| vec![one])
}

fn protocol(value: &Value) -> Option<IpProtocol> {
    let value = value.get("NumberOrName")?;
    if let Some(number) = value["Number"].as_u64() {
        return Some(IpProtocol(u8::try_from(number).expect("a protocol")));
    }
    Some(text(&value["Name"]).to_uppercase().parse::<Protocol>().expect("a protocol").into())
}

fn ports(ranges: &Value, protocols: Vec<IpProtocol>) -> Vec<PortMatch> {
    let port = |value: &Value| value.as_u64().and_then(|n| u16::try_from(n).ok()).expect("a port");
    let of = |protocol| {
        let range = move |r: &Value| PortMatch { protocol, detail: Detail::Range(port(&r["First"]), port(&r["Last"])) };
        list(ranges).iter().map(range)
    };
    protocols.into_iter().flat_map(of).collect()
}

fn asked(packet: &Value) -> Asked {
    let number = |key: &str| packet[key].as_u64().and_then(|n| u16::try_from(n).ok()).unwrap_or_default();
    let protocol = IpProtocol(packet["proto"].as_u64().and_then(|n| u8::try_from(n).ok()).expect("a protocol"));
    let byte = |key: &str| packet[key].as_u64().and_then(|n| u8::try_from(n).ok()).unwrap_or_default();
    let detail = match protocol.transport() {
        Some(_) => number("dport"),
        None => u16::from_be_bytes([byte("icmp_type"), byte("icmp_code")]),
    };
    Asked { traffic: Traffic { protocol, detail }, source_port: number("sport") }
}

fn net_of(text: &str) -> IpNet {
    let whole = || text.parse().map(|ip: IpAddr| IpNet::from(ip));
    text.parse().or_else(|_| whole()).expect("addresses")
}

fn address(text: &str) -> Result<IpAddr, String> {
    text.parse().map_err(|_| format!("{text} is no address"))
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
