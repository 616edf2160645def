//! Every small cluster, and every packet in it: all who decide agree.
//!
//! As a test, a part of them is played. All of them, or all of those with NetworkPolicies or with tiers, in shares for as
//! many processes as one likes:
//!
//! ```sh
//! cargo test -p tortie-plan --release --test small -- --all
//! cargo test -p tortie-plan --release --test small -- --all tiers 1/2 & cargo test ... -- --all tiers 2/2
//! cargo test -p tortie-plan --test small -- --one networkpolicies 123456
//! ```

mod support;

use std::error::Error;
use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use libtest_mimic::{Arguments, Failed, Trial};
use support::judges::Court;
use tortie_model::Family;
use tortie_plan::nft::Options;
use tortie_testkit::Rng;
use tortie_testkit::small::{NetworkPolicies, Space, Tiers, pairs};

/// Played of each kind as a test.
const PART: u64 = 800;

/// All are played in leaps of this prime, over the end and on from the start: when it is stopped, what was played is a
/// fair part of all.
const LEAP: u64 = 2_654_435_761;

/// What was seen.
#[derive(Default)]
struct Count {
    clusters: u64,
    packets: u64,
    allowed: u64,
}

impl Count {
    /// Plays one cluster.
    fn play(&mut self, space: &dyn Space, number: u64) {
        let cluster = space.cluster(number);
        let court = Court::of(&cluster, Options::default());
        let judges = court.judges(&cluster);
        for (from, to) in pairs(&mut Rng::new(number), &cluster) {
            let case = || format!("cluster {number} of {}\n{cluster}", space.name());
            let halves = judges.ask(from, to, &space.traffic(Family::of(from)), &case);
            self.packets += halves.len() as u64;
            self.allowed += halves.iter().filter(|h| h.is_allowed()).count() as u64;
        }
        self.clusters += 1;
    }
}

impl std::fmt::Display for Count {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { clusters, packets, allowed } = self;
        write!(f, "{clusters} clusters, {packets} packets, {allowed} allowed, {} denied", packets - allowed)
    }
}

/// Every so many of them, so that clusters of all sizes are among them.
fn part(space: &dyn Space) -> Result<(), Failed> {
    let mut count = Count::default();
    for i in 0..PART {
        // Anywhere in each stretch: strides must not meet the structure of the list.
        let stretch = space.size() / PART;
        count.play(space, i * stretch + Rng::new(i).next() % stretch);
    }
    println!("{}: {count} (of {} clusters)", space.name(), space.size());
    let denied = count.packets - count.allowed;
    if count.allowed * 5 < count.packets || denied * 5 < count.packets {
        return Err(format!("too few of a verdict: {count}").into());
    }
    Ok(())
}

/// The share `n` of `of`, as `n/of`.
fn share(text: &str) -> Result<(u64, u64), Box<dyn Error>> {
    let (n, of) = text.split_once('/').ok_or("a share is written as 1/2")?;
    let (n, of): (u64, u64) = (n.parse()?, of.parse()?);
    if (1..=of).contains(&n) { Ok((n - 1, of)) } else { Err(format!("no share {text}").into()) }
}

/// Plays a share of all, and says from time to time how far it is.
fn all(space: &dyn Space, (first, step): (u64, u64)) {
    let share_of_all = (space.size() - first).div_ceil(step);
    println!("{}: {} clusters, {share_of_all} of them here", space.name(), space.size());
    let (mut count, started, mut said) = (Count::default(), Instant::now(), Instant::now());
    let pace = Duration::from_secs(if std::io::stdout().is_terminal() { 2 } else { 60 });
    for i in (first..space.size()).step_by(usize::try_from(step).unwrap_or(usize::MAX)) {
        count.play(space, i * LEAP % space.size());
        if count.clusters.is_multiple_of(64) && said.elapsed() > pace {
            said = Instant::now();
            let percent = count.clusters * 100 / share_of_all;
            println!("{percent:>3} %, {} s: {count}", started.elapsed().as_secs());
            let _ = std::io::stdout().flush();
        }
    }
    println!("all agree: {count}, {} s", started.elapsed().as_secs());
}

fn one(space: &dyn Space, number: &str) -> Result<(), Box<dyn Error>> {
    let number = number.parse()?;
    print!("{}", space.cluster(number));
    let mut count = Count::default();
    count.play(space, number);
    println!("all agree: {count}");
    Ok(())
}

/// All kinds of small clusters, or the one with this name.
fn spaces(name: &str) -> Result<Vec<Box<dyn Space>>, String> {
    let mut all: Vec<Box<dyn Space>> = vec![Box::new(NetworkPolicies::new()), Box::new(Tiers::new())];
    all.retain(|space| name.is_empty() || space.name() == name);
    if all.is_empty() { Err(format!("there are no clusters called {name}")) } else { Ok(all) }
}

/// Does what the words ask for; whether they ask for anything but tests.
fn command(words: &[&str]) -> Result<bool, Box<dyn Error>> {
    let (name, part) = match words {
        ["--all"] => ("", "1/1"),
        ["--all", part] if part.contains('/') => ("", *part),
        ["--all", name] => (*name, "1/1"),
        ["--all", name, part] => (*name, *part),
        ["--one", name, number] => {
            one(&*spaces(name)?[0], number)?;
            return Ok(true);
        }
        _ => return Ok(false),
    };
    let part = share(part)?;
    spaces(name)?.iter().for_each(|space| all(&**space, part));
    Ok(true)
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match command(&arguments.iter().map(String::as_str).collect::<Vec<_>>()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => {
            let tests = ["networkpolicies", "tiers"].map(|kind| {
                let name = format!("all who decide agree on a part of all small clusters: {kind}");
                Trial::test(name, move || part(&*spaces(kind)?[0]))
            });
            libtest_mimic::run(&Arguments::from_args(), tests.into()).exit_code()
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
