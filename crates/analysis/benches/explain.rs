//! How long one explained flow takes once a cluster is loaded: the verdict with its nearest misses, and the smallest
//! change that would allow it.
//!
//! `cargo bench -p tortie-analysis --bench explain [-- workloads=1000 replicas=100 policies=10000 rounds=200]`

use std::fmt::Write as _;
use std::hint::black_box;
use std::time::{Duration, Instant};

use tortie_analysis::edit::{Population, minimal};
use tortie_analysis::snapshot::Snapshot;
use tortie_manifest::{Expansion, LoadOptions, Memory, load};
use tortie_model::{Protocol, Traffic};
use tortie_policy::PodKey;

const NAMESPACES: usize = 100;

fn text(workloads: usize, policies: usize) -> String {
    let mut out = String::new();
    for n in 0..workloads {
        let _ = write!(
            out,
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: app-{n}, namespace: ns-{}}}\nspec:\n  replicas: 1000\n  template:\n    metadata: {{labels: {{app: app-{n}, tier: t-{}}}}}\n---\n",
            n % NAMESPACES,
            n % 3
        );
    }
    for n in 0..policies {
        let (app, peer) = (n % workloads, n * 7 % workloads);
        let _ = write!(
            out,
            "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{name: policy-{n}, namespace: ns-{}}}\nspec:\n  podSelector: {{matchLabels: {{app: app-{app}}}}}\n  policyTypes: [{}]\n  {}:\n  - {}:\n    - namespaceSelector: {{matchLabels: {{kubernetes.io/metadata.name: ns-{}}}}}\n      podSelector: {{matchLabels: {{app: app-{peer}}}}}\n    ports: [{{port: {}}}]\n---\n",
            app % NAMESPACES,
            if n % 4 == 3 { "Egress" } else { "Ingress" },
            if n % 4 == 3 { "egress" } else { "ingress" },
            if n % 4 == 3 { "to" } else { "from" },
            peer % NAMESPACES,
            1024 + n % 1000
        );
    }
    out
}

/// Time that this thread had a processor; nothing where the system is not asked.
fn processor() -> Duration {
    #[cfg(unix)]
    {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
        Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or_default())
    }
    #[cfg(not(unix))]
    Duration::ZERO
}

/// By the clock, and by the time that a processor was there: on a shared machine the clock measures the neighbours, too.
fn each(what: &str, rounds: usize, mut act: impl FnMut(usize)) {
    let (mut clock, mut processor): (Vec<f64>, Vec<f64>) = (0..rounds)
        .map(|n| {
            let (started, before) = (Instant::now(), processor());
            act(n);
            (started.elapsed().as_secs_f64() * 1e3, (processor() - before).as_secs_f64() * 1e3)
        })
        .unzip();
    let mut shown = String::new();
    for took in [&mut clock, &mut processor] {
        took.sort_by(f64::total_cmp);
        let at = |percent: usize| took[(took.len() - 1) * percent / 100];
        let _ = write!(shown, " {:.3} ms | {:.3} ms |", at(50), at(99));
    }
    println!("| {what} | {rounds} |{shown}");
}

fn main() -> Result<(), String> {
    let (mut workloads, mut replicas, mut policies, mut rounds) = (1_000, 100, 10_000, 200);
    for word in std::env::args().skip(1).filter(|w| w != "--bench") {
        let (name, value) = word.split_once('=').ok_or_else(|| format!("{word}: not of the form name=value"))?;
        let number: usize = value.parse().map_err(|e| format!("{word}: {e}"))?;
        match name {
            "workloads" => workloads = number,
            "replicas" => replicas = number,
            "policies" => policies = number,
            "rounds" => rounds = number,
            _ => return Err(format!("{name}: unknown")),
        }
    }
    let loaded = load(&Memory::new([("all.yaml", text(workloads, policies))]), &["all.yaml"], &LoadOptions::default());
    let most = u32::try_from(replicas).map_err(|e| e.to_string())?;
    let all = Snapshot::new(&loaded, &Expansion { replicas: most, nodes: Vec::new() });
    println!("{} pods of {workloads} workloads, {policies} policies", all.objects.pods.len());
    let side = |n: usize| {
        let (app, replica) = (n % workloads, 1 + n / workloads % replicas);
        let key = PodKey::new(&format!("ns-{}", app % NAMESPACES), &format!("app-{app}-{replica}"));
        all.index.pod_side(all.index.pod(&key).expect("a pod of this number"), None).expect("it has no address")
    };
    let tcp = |n: usize| Traffic::port(Protocol::Tcp, u16::try_from(1024 + n % 1000).expect("a port"));
    println!("| what | how often | median | 99 of 100 | of a processor: median | 99 of 100 |");
    println!("| --- | --- | --- | --- | --- | --- |");
    each("verdict, with the nearest misses", rounds * 10, |n| {
        black_box(all.index.verdict(&side(n * 104_729), &side(n * 7_368_787), tcp(n)).is_allowed());
    });
    each("all packets between two pods", rounds * 10, |n| {
        black_box(all.index.pair(&side(n * 104_729), &side(n * 7_368_787)).allowed());
    });
    each("pods sorted into classes", 1, |_| drop(black_box(Population::new(&all.index))));
    all.population();
    each("the smallest change", rounds, |n| {
        drop(black_box(minimal((&all).into(), all.population(), &side(n * 104_729), &side(n * 7_368_787), tcp(n))));
    });
    Ok(())
}
