//! How long one more policy, or one more pod, takes on a node that holds many: from the delta handed in to the
//! kernel's acknowledgement, with the real kernel, in a user and a network namespace of its own.
//!
//! ```text
//! cargo bench -p tortie-node --bench change -- [policies=10000] [pods=100000] [local=100] [namespaces=100] [apps=20]
//!                                              [connections=1000] [rounds=200] [only=WORD]
//! ```
#![allow(unsafe_code)]

mod arguments;
mod scene;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use arguments::Arguments;
use scene::{Event, Scene};
use tortie_node::{Change, Node, NodeOptions, Stage};

/// Longer than any grace time of the node.
const LATER: Duration = Duration::from_secs(60);

fn main() {
    let arguments = match Arguments::read(std::env::args().skip(1)) {
        Ok(arguments) => arguments,
        Err(wrong) => {
            eprintln!("{wrong}");
            std::process::exit(2);
        }
    };
    enter().expect("a user and a network namespace");
    let scene = Scene::new(&arguments);
    let mut node = Node::open(scene.facts(), NodeOptions::default()).expect("a node");
    let mut stages = Clock::default();
    let deltas = scene.deltas();
    println!("{} policies, {} pods, {} of them here", arguments.policies, arguments.pods, arguments.local);
    println!("objects made; {} MB resident", resident());
    let begin = Instant::now();
    let change = Change { deltas, attached: scene.links(), detached: Vec::new() };
    stages.begin();
    node.update_watched(change, begin, &mut |stage| stages.ends(stage)).expect("the first plan");
    settle(&mut node);
    println!("first load in {:.2} s: {}", begin.elapsed().as_secs_f64(), stages.line());
    let plan = node.plan();
    println!(
        "{} identities, {} profiles, {} paths, {} classes, {} rows; {} MB resident",
        plan.identities.len(),
        plan.profiles.len(),
        plan.paths.len(),
        plan.profiles.values().map(|p| p.classes.len()).sum::<usize>(),
        plan.profiles.values().map(|p| p.rows.len()).sum::<usize>(),
        resident()
    );
    scene::connect(arguments.connections).expect("connections");
    println!();
    println!(
        "from the delta handed in to the kernel's acknowledgement, in ms: p50, p99, max by the clock on the wall,"
    );
    println!("the same in time on a processor; then the stages, median of time on a processor in us");
    for event in Event::ALL {
        if arguments.only.as_ref().is_none_or(|word| event.name().contains(word.as_str())) {
            measure(&mut node, &scene, event, &arguments);
        }
    }
    println!("{} MB resident", resident());
    let wrong = node.mend().expect("read back");
    assert!(wrong.is_empty(), "the kernel holds something else: {wrong:?}");
}

/// Adds and removes many times; prints a line.
fn measure(node: &mut Node, scene: &Scene, event: Event, arguments: &Arguments) {
    for (word, comes) in [("added", true), ("removed", false)] {
        let mut clock = Clock::default();
        for round in 0..arguments.rounds {
            if !comes {
                node.update(scene.change(event, round, true), Instant::now()).expect("an update");
                settle(node);
            }
            let change = scene.change(event, round, comes);
            clock.begin();
            node.update_watched(change, Instant::now(), &mut |stage| clock.ends(stage)).expect("an update");
            settle(node);
            if comes {
                node.update(scene.change(event, round, false), Instant::now()).expect("an update");
                settle(node);
            }
        }
        clock.flush();
        println!(
            "{:<32} {} | {} | {}",
            format!("{} {word}", event.name()),
            spread(&mut clock.in_force.iter().map(|t| t.wall).collect::<Vec<_>>()),
            spread(&mut clock.in_force.iter().map(|t| t.cpu).collect::<Vec<_>>()),
            clock.line(),
        );
    }
}

/// Median, 99th percentile and maximum in milliseconds.
fn spread(list: &mut [Duration]) -> String {
    list.sort_unstable();
    let at = |percent: usize| list[(list.len() * percent).div_ceil(100) - 1].as_secs_f64() * 1000.0;
    format!("{:>7.2} {:>7.2} {:>7.2}", at(50), at(99), at(100))
}

/// Lets all grace times pass.
fn settle(node: &mut Node) {
    node.tick(Instant::now() + LATER).expect("what was left to do");
}

/// A moment, or the time between two: on the clock on the wall, and of this thread on a processor (system calls
/// included), which other programs cannot lengthen.
#[derive(Clone, Copy, Debug, Default)]
struct Time {
    wall: Duration,
    cpu: Duration,
}

impl Time {
    fn now() -> Self {
        let of = |id| {
            let now = rustix::time::clock_gettime(id);
            Duration::new(now.tv_sec.unsigned_abs(), u32::try_from(now.tv_nsec).unwrap_or_default())
        };
        Self { wall: of(rustix::time::ClockId::Monotonic), cpu: of(rustix::time::ClockId::ThreadCPUTime) }
    }

    fn since(self, before: Self) -> Self {
        Self { wall: self.wall.saturating_sub(before.wall), cpu: self.cpu.saturating_sub(before.cpu) }
    }
}

/// How long stages took.
#[derive(Default)]
struct Clock {
    begun: Time,
    last: Time,
    sum: BTreeMap<Stage, Duration>,
    rounds: BTreeMap<Stage, Vec<Duration>>,
    /// From the delta handed in to the kernel's acknowledgement of what puts it in force.
    in_force: Vec<Time>,
}

impl Clock {
    fn begin(&mut self) {
        self.flush();
        self.begun = Time::now();
        self.last = self.begun;
    }

    fn flush(&mut self) {
        for (stage, time) in std::mem::take(&mut self.sum) {
            self.rounds.entry(stage).or_default().push(time);
        }
    }

    fn ends(&mut self, stage: Stage) {
        let now = Time::now();
        *self.sum.entry(stage).or_default() += now.since(self.last).cpu;
        self.last = now;
        if stage == Stage::Commit {
            self.in_force.push(now.since(self.begun));
        }
    }

    fn line(&mut self) -> String {
        self.flush();
        let median = |list: &mut Vec<Duration>| {
            list.sort_unstable();
            list[list.len() / 2].as_micros()
        };
        let parts: Vec<String> =
            self.rounds.iter_mut().map(|(stage, list)| format!("{stage} {}", median(list))).collect();
        parts.join(", ")
    }
}

/// Megabytes of this process.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:")).unwrap_or("0");
    line.split_whitespace().next().and_then(|n| n.parse::<u64>().ok()).unwrap_or_default() / 1024
}

/// Moves this process, which has one thread, into a user and a network namespace, as root there.
fn enter() -> std::io::Result<()> {
    use rustix::thread::{UnshareFlags, unshare_unsafe};
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    // SAFETY: neither flag changes what this process's memory or open files mean.
    unsafe { unshare_unsafe(UnshareFlags::NEWUSER | UnshareFlags::NEWNET) }?;
    std::fs::write("/proc/self/setgroups", "deny")?;
    std::fs::write("/proc/self/uid_map", format!("0 {uid} 1"))?;
    std::fs::write("/proc/self/gid_map", format!("0 {gid} 1"))
}
