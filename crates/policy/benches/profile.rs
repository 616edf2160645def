//! How fast one flow is decided by the many policies of one endpoint, and what is allocated for it.
//!
//! The cluster is the busiest that Tigera published of a node (`app-policy/checker/bench_test.go`): 294 policies of 68
//! rules, and 3,708 sets of some 256,000 addresses of which each rule asks for one.
//!
//! `cargo bench -p tortie-policy --bench profile [-- policies=294 rules=68 rounds=20000]`

use std::hint::black_box;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use ipnet::IpNet;
use tortie_model::calico::NetworkSet;
use tortie_model::{Direction, IpBlock, IpProtocol, Kind, Labels, Meta, ObjectRef, Order, Traffic};
use tortie_policy::{
    Action, Delta, Detail, EndpointSelector, Expression, Index, Names, Outcome, Peer, Peers, Policy, PortMatch, Ports,
    Rule, Side, Stack,
};
use tortie_testkit::{Rng, build};

/// How many sets there are with how many addresses each.
const SETS: [(usize, usize); 5] = [(3035, 5), (446, 50), (64, 400), (158, 875), (5, 10)];
/// The biggest set.
const BIGGEST: usize = 54_566;
/// Ports that rules ask for.
const PORTS: usize = 200;

struct Sizes {
    policies: usize,
    rules: usize,
    rounds: usize,
}

impl Sizes {
    fn from_args() -> Result<Self, String> {
        let mut sizes = Self { policies: 294, rules: 68, rounds: 20_000 };
        for word in std::env::args().skip(1).filter(|w| w != "--bench") {
            let (name, value) = word.split_once('=').ok_or_else(|| format!("{word}: not of the form name=value"))?;
            let number = value.parse().map_err(|e| format!("{word}: {e}"))?;
            match name {
                "policies" => sizes.policies = number,
                "rules" => sizes.rules = number,
                "rounds" => sizes.rounds = number,
                _ => return Err(format!("{name}: unknown")),
            }
        }
        Ok(sizes)
    }
}

/// What the rules of a profile are like.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kinds {
    /// Of all kinds: sets, blocks, anybody; one port, some, all.
    Mixed,
    /// All about TCP 443, each about another set.
    OnePort,
    /// All about anybody, on a port that is not 443.
    Anybody,
    /// Each about another set, on some port, where the sets overlap: one block is in all of them.
    Overlapping,
    /// Each about everybody but those of another set, on some port.
    AllBut,
}

fn address(n: usize) -> IpAddr {
    let n = u32::try_from(n).expect("fewer than 2^24 addresses");
    IpAddr::V4((0x0b00_0000 + n).into())
}

/// The sets by number, and all their addresses.
fn sets(kinds: Kinds) -> (Vec<NetworkSet>, usize) {
    let sizes = SETS.iter().flat_map(|(count, size)| std::iter::repeat_n(*size, *count)).chain([BIGGEST]);
    let mut first = 0;
    let mut set = |(n, size): (usize, usize)| {
        let common = (kinds == Kinds::Overlapping).then(|| "198.51.100.0/24".parse().expect("a block"));
        let nets = (first..first + size).map(|n| IpNet::from(address(n))).chain(common).collect();
        first += size;
        let labels: Labels = [("set", &*format!("s-{n}")), ("kind", "outside")].into_iter().collect();
        NetworkSet { meta: Meta { name: format!("set-{n}").as_str().into(), labels, ..Meta::default() }, nets }
    };
    (sizes.enumerate().map(&mut set).collect(), first)
}

fn selector(set: usize) -> EndpointSelector {
    let text = format!("set == 's-{set}' && kind in {{'outside', 'inside'}}");
    EndpointSelector::expression(None, Expression::of(&text.parse().expect("a selector")))
}

const fn tcp(from: u16, to: u16) -> PortMatch {
    PortMatch { protocol: IpProtocol::TCP, detail: Detail::Range(from, to) }
}

fn rule(rng: &mut Rng, kinds: Kinds, sets: usize, n: usize) -> Rule {
    let action = if rng.chance(90) { Action::Allow } else { Action::Deny };
    let of_set = Peers::OneOf(vec![Peer::endpoints(selector(n % sets))]);
    let port = u16::try_from(1024 + rng.below(PORTS)).expect("a port");
    let (peers, ports) = match kinds {
        Kinds::OnePort => (of_set, vec![tcp(443, 443)]),
        Kinds::Anybody => (Peers::Any, vec![tcp(port, port)]),
        Kinds::Overlapping => (of_set, vec![tcp(port, port)]),
        Kinds::AllBut => {
            let but = Peer { not_endpoints: Some(selector(n % sets)), ..Peer::default() };
            (Peers::OneOf(vec![but]), vec![tcp(port, port)])
        }
        Kinds::Mixed => {
            let block = |n: usize| IpBlock::new(IpNet::new(address(n * 256), 24).expect("a block").trunc(), []);
            let peers = match rng.below(20) {
                0 => Peers::Any,
                1 | 2 => Peers::OneOf(vec![Peer {
                    blocks: Some(rng.several(1, 4, |r| block(r.below(60_000)))),
                    ..Peer::default()
                }]),
                3 => Peers::OneOf(vec![Peer {
                    not_endpoints: Some(selector(n % sets)),
                    blocks: Some(vec![block(rng.below(60_000))]),
                    ..Peer::default()
                }]),
                _ => of_set,
            };
            let all = PortMatch { protocol: IpProtocol::TCP, detail: Detail::All };
            let ports = match rng.below(10) {
                0 if peers != Peers::Any => vec![all],
                1 => vec![tcp(port, port + 20), tcp(8000, 8100)],
                2 => vec![PortMatch { protocol: IpProtocol::UDP, detail: Detail::Range(port, port) }],
                _ => vec![tcp(port, port)],
            };
            (peers, ports)
        }
    };
    Rule::new(0, action, peers, Ports::OneOf(ports))
}

fn policy(rng: &mut Rng, kinds: Kinds, sets: usize, rules: usize, n: usize) -> Policy {
    let ingress = (0..rules).map(|r| Rule { written: r, ..rule(rng, kinds, sets, n * rules + r) }).collect();
    Policy {
        object: ObjectRef::cluster(Kind::GlobalNetworkPolicy, &format!("policy-{n}")),
        tier: tortie_policy::DEFAULT_TIER.into(),
        order: Order::new(n as f64),
        subject: EndpointSelector::expression(None, Expression::True),
        ingress: Some(ingress),
        egress: None,
    }
}

/// Peer, protocol and port of a flow.
type Flow = (Side, Traffic);

/// Time that this process had a processor, where the system tells: on a shared machine the clock measures the neighbours.
fn processor() -> Duration {
    let told = std::fs::read_to_string("/proc/self/schedstat").unwrap_or_default();
    Duration::from_nanos(told.split(' ').next().and_then(|n| n.parse().ok()).unwrap_or_default())
}

/// Decides flows one after the other, and tells how long one takes and what is allocated.
fn measure(what: &str, flows: &[Flow], rounds: usize, decide: impl Fn(&Flow) -> Outcome) {
    let rounds = rounds.max(flows.len());
    let counted = allocation_counter::measure(|| {
        flows.iter().for_each(|flow| drop(black_box(decide(flow))));
    });
    let (started, before) = (Instant::now(), processor());
    for n in 0..rounds {
        black_box(decide(&flows[n % flows.len()]));
    }
    let (clock, used) = (started.elapsed(), processor().saturating_sub(before));
    let each = |time: Duration| time.as_secs_f64() * 1e6 / rounds as f64;
    println!(
        "| {what} | {rounds} | {:.2} µs | {:.2} µs | {:.2} |",
        each(clock),
        each(used),
        counted.count_total as f64 / flows.len() as f64
    );
}

fn profile(kinds: Kinds, sizes: &Sizes) -> (Index, Stack, usize) {
    let mut rng = Rng::new(7);
    let (sets, addresses) = sets(kinds);
    let count = sets.len();
    let sets = sets.into_iter().map(|set| Delta::NetworkSet(Box::new(set)));
    let pods = [
        build::pod("ns/web", "node", &[("app", "web")], &["10.0.0.1"]),
        build::pod("ns/client", "node", &[("app", "client"), ("set", "s-17"), ("kind", "inside")], &["10.0.0.2"]),
    ];
    let pods = pods.into_iter().map(|pod| Delta::Pod(Box::new(pod)));
    let policies = (0..sizes.policies).map(|n| policy(&mut rng, kinds, count, sizes.rules, n));
    let policies: Vec<_> = policies.map(|policy| Delta::Policy(Box::new(policy))).collect();
    // Speaks of nobody else: what only the last rule matches.
    let mut last = policy(&mut rng, kinds, count, 0, sizes.policies);
    let nets = vec![IpBlock::new("192.0.2.0/24".parse().expect("a block"), [])];
    let peers = Peers::OneOf(vec![Peer { blocks: Some(nets), ..Peer::default() }]);
    last.ingress = Some(vec![Rule::new(0, Action::Allow, peers, Ports::OneOf(vec![tcp(443, 443)]))]);
    let index = Index::of(sets.chain(pods).chain(policies).chain([Delta::Policy(Box::new(last))]));
    let web = index.owner(build::ip("10.0.0.1")).expect("the pod");
    let stack = index.stack(web, Direction::Ingress);
    (index, stack, addresses)
}

fn main() -> Result<(), String> {
    let sizes = Sizes::from_args()?;
    for (kinds, name) in [
        (Kinds::Mixed, "rules of all kinds"),
        (Kinds::OnePort, "all about one port"),
        (Kinds::Anybody, "all about anybody"),
        (Kinds::Overlapping, "sets that overlap"),
        (Kinds::AllBut, "all about everybody but a set"),
    ] {
        let (index, stack, addresses) = profile(kinds, &sizes);
        let rules = stack.rules().count();
        let (started, mut prepared) = (Instant::now(), None);
        let held = allocation_counter::measure(|| prepared = Some(stack.prepare()));
        let (took, prepared) = (started.elapsed().as_secs_f64() * 1e3, prepared.expect("it was made"));
        println!("\n{name}: {} policies, {rules} rules, {addresses} addresses;", sizes.policies + 1);
        println!("prepared in {took:.0} ms, {:.1} MB\n", held.bytes_current as f64 / 1e6);
        println!("| what | how often | by the clock | of a processor | allocations |\n| --- | --- | --- | --- | --- |");
        let tcp = |port: u16| Traffic::port(tortie_model::Protocol::Tcp, port);
        let mut rng = Rng::new(3);
        let random: Vec<Flow> = (0..1000)
            .map(|_| {
                let port = u16::try_from(1024 + rng.below(PORTS)).expect("a port");
                (index.address_side(address(rng.below(addresses))), tcp(port))
            })
            .collect();
        let one = |ip: &str, port| [(index.address_side(build::ip(ip)), tcp(port))];
        let names = Names::NONE;
        for (flows, what) in [
            (&random[..], "any address of the sets"),
            (&one("10.0.0.2", 443), "a pod"),
            (&one("192.0.2.1", 443), "only the last rule"),
            (&one("198.51.100.1", 443), "none: the end of the tier"),
            (&one("198.51.100.1", 7), "none, and a port of no rule"),
        ] {
            measure(&format!("{what}, rule by rule"), flows, sizes.rounds / 100, |(peer, traffic)| {
                prepared.stack().decide(peer, *traffic, names)
            });
            measure(what, flows, sizes.rounds, |(peer, traffic)| prepared.decide(peer, *traffic, names));
        }
    }
    Ok(())
}
