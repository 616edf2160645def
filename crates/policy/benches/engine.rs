//! How fast the engine answers, and what it holds.
//!
//! `cargo bench -p tortie-policy --bench engine [-- pods=100000 policies=10000 rounds=200000]`

use std::hint::black_box;
use std::time::Instant;

use tortie_model::{Family, Protocol, Traffic};
use tortie_policy::{Delta, Index, PodKey, network_policy};
use tortie_testkit::build;

/// Namespaces, and kinds of pods in each.
const NAMESPACES: usize = 100;
const APPS: usize = 20;

struct Sizes {
    pods: usize,
    policies: usize,
    rounds: usize,
}

impl Sizes {
    fn from_args() -> Result<Self, String> {
        let mut sizes = Self { pods: 100_000, policies: 10_000, rounds: 200_000 };
        for word in std::env::args().skip(1).filter(|w| w != "--bench") {
            let (name, value) = word.split_once('=').ok_or_else(|| format!("{word}: not of the form name=value"))?;
            let number = value.parse().map_err(|e| format!("{word}: {e}"))?;
            match name {
                "pods" => sizes.pods = number,
                "policies" => sizes.policies = number,
                "rounds" => sizes.rounds = number,
                _ => return Err(format!("{name}: unknown")),
            }
        }
        Ok(sizes)
    }
}

fn pod_name(n: usize) -> String {
    format!("ns-{}/pod-{n}", n % NAMESPACES)
}

fn pod(n: usize) -> Delta {
    let app = format!("app-{}", n / NAMESPACES % APPS);
    let v4 = format!("10.{}.{}.{}", 64 + n / 65536, n / 256 % 256, n % 256);
    let v6 = format!("fd00::{:x}:{:x}", n / 65536, n % 65536);
    let node = format!("node-{}", n % 1000);
    Delta::Pod(Box::new(build::pod(&pod_name(n), &node, &[("app", &app), ("tier", "x")], &[&v4, &v6])))
}

/// Every fifth has a block with an exception, the others pods of another kind, every third of them elsewhere.
fn policy(n: usize) -> Delta {
    let app = |n: usize| format!("app-{}", n % APPS);
    let name = format!("ns-{}/policy-{n}", n % NAMESPACES);
    let mut policy = build::policy(&name, &[("app", &app(n / NAMESPACES))]);
    let other = app(n / 7);
    let peer = match n % 15 {
        0 | 5 | 10 => build::block(&format!("172.16.{}.0/24", n % 256), &[&format!("172.16.{}.128/25", n % 256)]),
        1 | 4 | 7 | 13 => build::pods_of(&[], &[("app", &other)]),
        _ => build::pods_here(&[("app", &other)]),
    };
    let port = u16::try_from(1024 + n % 1000).expect("a port");
    let rules = vec![build::rule([peer], [build::tcp(port)])];
    if n.is_multiple_of(2) {
        policy.ingress = Some(rules);
    } else {
        policy.egress = Some(rules);
    }
    Delta::Policy(Box::new(network_policy(&policy)))
}

/// Megabytes of this process in memory.
fn resident() -> f64 {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: f64 = pages.split(' ').nth(1).and_then(|n| n.parse().ok()).unwrap_or_default();
    pages * 4096.0 / 1e6
}

fn per(what: &str, count: usize, act: impl FnOnce()) {
    let started = Instant::now();
    act();
    let each = started.elapsed().as_secs_f64() * 1e9 / count.max(1) as f64;
    println!("| {what} | {count} | {each:.0} ns |");
}

fn main() -> Result<(), String> {
    let Sizes { pods, policies, rounds } = Sizes::from_args()?;
    let before = resident();
    let deltas: Vec<Delta> = (0..pods).map(pod).chain((0..policies).map(policy)).collect();
    println!("{pods} pods in {NAMESPACES} namespaces, {policies} policies");
    println!("| what | how often | each |\n| --- | --- | --- |");
    let mut index = Index::default();
    let count = deltas.len();
    per("object loaded into the index", count, || {
        for delta in deltas {
            index.apply(delta);
        }
    });
    per("pod relabelled", rounds.min(pods), || {
        for n in 0..rounds.min(pods) {
            index.apply(pod(n * 7919 % pods));
        }
    });
    // Scattered, so that neighbours in memory are not asked one after the other.
    let side = |n: usize| {
        let pod = index.pod(&PodKey::new(&format!("ns-{}", n % NAMESPACES), &format!("pod-{n}")));
        index.pod_side(pod.expect("a pod of this number"), Some(Family::V4)).expect("it has an address")
    };
    let pairs: Vec<_> = (0..4096).map(|n| (side(n * 104_729 % pods), side(n * 15_485_863 % pods))).collect();
    per("verdict for one packet", rounds, || {
        for n in 0..rounds {
            let (from, to) = &pairs[n % pairs.len()];
            let port = u16::try_from(1024 + n % 1000).expect("a port");
            black_box(index.verdict(from, to, Traffic::port(Protocol::Tcp, port)).is_allowed());
        }
    });
    per("verdicts for all packets between two pods", rounds / 10, || {
        for n in 0..rounds / 10 {
            let (from, to) = &pairs[n % pairs.len()];
            black_box(index.pair(from, to).allowed());
        }
    });
    println!("objects and index: {:.0} MB", resident() - before);
    Ok(())
}
