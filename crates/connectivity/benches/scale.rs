//! How long all pairs of a big cluster take, and what they hold.
//!
//! `cargo bench -p tortie-connectivity --bench scale [-- workloads pods=100000 policies=10000]`, and `labels` or `named`
//! in place of `workloads`: pods that all have different labels, of which policies ask for none, or for each.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use tortie_connectivity::Connectivity;
use tortie_model::{Kind, NetworkPolicy, ObjectRef, Pod};
use tortie_policy::{Delta, Index, network_policy};
use tortie_testkit::build;

const NAMESPACES: usize = 100;
const WORKLOADS: usize = 1_000;

struct Sizes {
    case: String,
    pods: usize,
    policies: usize,
}

impl Sizes {
    fn from_args() -> Result<Self, String> {
        let mut words = std::env::args().skip(1).filter(|w| w != "--bench").peekable();
        let case = words.next_if(|w| !w.contains('=')).unwrap_or_else(|| "workloads".to_owned());
        let pods = if case == "workloads" { 100_000 } else { 10_000 };
        let mut sizes = Self { case, pods, policies: 10_000 };
        for word in words {
            let (name, value) = word.split_once('=').ok_or_else(|| format!("{word}: not of the form name=value"))?;
            let number = value.parse().map_err(|e| format!("{word}: {e}"))?;
            match name {
                "pods" => sizes.pods = number,
                "policies" => sizes.policies = number,
                _ => return Err(format!("{name}: unknown")),
            }
        }
        Ok(sizes)
    }
}

fn bare(n: usize, labels: &[(&str, &str)]) -> Pod {
    let v4 = format!("10.{}.{}.{}", 64 + n / 65536, n / 256 % 256, n % 256);
    let v6 = format!("fd00::{:x}:{:x}", n / 65536, n % 65536);
    let name = format!("ns-{}/pod-{n}", n % NAMESPACES);
    let mut pod = build::pod(&name, &format!("node-{}", n % 1000), labels, &[&v4, &v6]);
    pod.ports.push(build::container_port("http", tortie_model::Protocol::Tcp, 8080 + u16::from(n.is_multiple_of(7))));
    pod
}

/// A pod of one of the workloads; those of a workload are alike but for names, addresses, and a label of their own.
fn of_workload(n: usize) -> Pod {
    let workload = n % WORKLOADS;
    let app = format!("app-{}", workload / NAMESPACES);
    let own = format!("{n:x}");
    let mut pod = bare(n, &[("app", &app), ("tier", ["front", "back", "data"][workload % 3]), ("hash", &own)]);
    pod.ports[0].number = 8080 + u16::from(workload.is_multiple_of(7));
    let name = format!("app-{workload}");
    pod.owner = Some(ObjectRef::namespaced(Kind::Deployment, &pod.meta.namespace, &name));
    pod
}

/// Every fifth has a block with an exception, the others pods of another kind, every third of them elsewhere.
fn of_apps(n: usize) -> NetworkPolicy {
    let app = |n: usize| format!("app-{}", n % (WORKLOADS / NAMESPACES));
    let name = format!("ns-{}/policy-{n}", n % NAMESPACES);
    let mut policy = build::policy(&name, &[("app", &app(n / NAMESPACES))]);
    let other = app(n / 7);
    let peer = match n % 15 {
        0 | 5 | 10 => build::block(&format!("172.16.{}.0/24", n % 256), &[&format!("172.16.{}.128/25", n % 256)]),
        1 | 4 | 7 => build::pods_of(&[], &[("app", &other)]),
        13 => {
            let name = format!("ns-{}", n / 3 % NAMESPACES);
            build::pods_of(&[("kubernetes.io/metadata.name", &name)], &[("tier", "front")])
        }
        _ => build::pods_here(&[("app", &other)]),
    };
    let number = u16::try_from(1024 + n % 1000).expect("a port");
    let port = if n.is_multiple_of(11) { build::tcp_named("http") } else { build::tcp(number) };
    let rules = vec![build::rule([peer], [port])];
    if n.is_multiple_of(2) {
        policy.ingress = Some(rules);
    } else {
        policy.egress = Some(rules);
    }
    policy
}

/// Selects one pod by its own label, and lets one other in.
fn of_pods(n: usize, pods: usize) -> NetworkPolicy {
    let (one, other) = (n % pods, (n * 7919 + 1) % pods);
    let mut policy = build::policy(&format!("ns-{}/policy-{n}", one % NAMESPACES), &[("own", &format!("{one:x}"))]);
    let peer = build::pods_of(&[], &[("own", &format!("{other:x}"))]);
    policy.ingress = Some(vec![build::rule([peer], [build::tcp(u16::try_from(1024 + n % 1000).expect("a port"))])]);
    policy
}

/// The most that this process ever had in memory, in megabytes.
fn peak() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).unwrap_or_default();
    let kilobytes: f64 = line.trim().trim_end_matches(" kB").parse().unwrap_or_default();
    kilobytes * 1024.0 / 1e6
}

/// Time that this thread had a processor: what a busy machine does not change.
fn processor() -> Duration {
    let text = std::fs::read_to_string("/proc/self/schedstat").unwrap_or_default();
    let nanoseconds = text.split(' ').next().and_then(|n| n.parse().ok()).unwrap_or_default();
    Duration::from_nanos(nanoseconds)
}

/// When something began, by the clock and by the processor.
struct Begun(Instant, Duration);

impl Begun {
    fn now() -> Self {
        Self(Instant::now(), processor())
    }

    fn say(&self, what: &str) {
        let (clock, processor) = (self.0.elapsed().as_secs_f64(), (processor() - self.1).as_secs_f64());
        println!("| {what} | {clock:.3} s | {processor:.3} s | {:.0} MB |", peak());
    }
}

fn main() -> Result<(), String> {
    let Sizes { case, pods, policies } = Sizes::from_args()?;
    let own = |n: usize| format!("{n:x}");
    let pod: &dyn Fn(usize) -> Pod = match &*case {
        "workloads" => &of_workload,
        "labels" | "named" => &|n| bare(n, &[("own", &own(n)), ("app", &format!("app-{}", n / NAMESPACES % 10))]),
        other => return Err(format!("{other}: unknown; say workloads, labels or named")),
    };
    let policy: &dyn Fn(usize) -> NetworkPolicy = if case == "named" { &|n| of_pods(n, pods) } else { &of_apps };
    let pods = (0..pods).map(|n| Delta::Pod(Box::new(pod(n))));
    let policies = (0..policies).map(|n| Delta::Policy(Box::new(network_policy(&policy(n)))));
    let index = Index::of(pods.chain(policies));
    println!("{}: {} pods, {} policies", case, index.pods().count(), index.policies().count());
    println!("| what | by the clock | of a processor | most memory until then |\n| --- | --- | --- | --- |");
    let begun = Begun::now();
    begun.say("(the cluster itself)");
    let connectivity = Connectivity::of(&index);
    begun.say("classes, and what governs each");
    let subjects = connectivity.subjects().len();
    let (mut allowed, mut distinct) = (0, BTreeSet::new());
    for from in 0..subjects {
        for set in connectivity.row(from) {
            allowed += usize::from(set.iter().any(|(_, allowed)| *allowed));
            distinct.insert(std::sync::Arc::as_ptr(&set));
        }
    }
    begun.say(&format!("all {} pairs besides", subjects * subjects));
    println!(
        "{subjects} subjects in {} classes; {allowed} pairs have some of {} different sets of packets",
        connectivity.class_count(),
        distinct.len()
    );
    Ok(())
}
