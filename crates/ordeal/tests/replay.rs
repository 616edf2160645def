//! The kept seeds, as they are and bent, through their ordeals.
//!
//! Seeds are under `fuzz/seeds`, in a folder for each ordeal: ours, and inputs that once broke something. Plain
//! `cargo test` bends each a few times; `TORTIE_REPLAY_SECONDS` goes on for so long.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::{Duration, Instant};

use tortie_ordeal::mutation::{Dice, mutated};
use tortie_ordeal::{ALL, Ordeal};

/// How often each seed is bent where no time is given.
const TIMES: u64 = 40;

fn seeds(name: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds").join(name);
    let entries = fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut seeds: Vec<_> = entries
        .map(|entry| {
            let entry = entry.expect("an entry");
            (entry.file_name().to_string_lossy().into_owned(), fs::read(entry.path()).expect("a seed"))
        })
        .collect();
    seeds.sort();
    seeds
}

/// Puts bytes through; on failure, says which, so that they can be kept.
fn put((name, ordeal): Ordeal, what: &str, bytes: &[u8]) {
    if catch_unwind(AssertUnwindSafe(|| ordeal(bytes))).is_err() {
        let broken = std::env::temp_dir().join(format!("tortie-{name}-{:x}", bytes.len()));
        fs::write(&broken, bytes).expect("a place for what broke it");
        panic!("{what} of {name} breaks it; kept as {}:\n{}", broken.display(), bytes.escape_ascii());
    }
}

/// Rounds of bending every seed once; `budget` ends them early.
fn replay(ordeal: Ordeal, rounds: u64, budget: Option<Duration>) -> u64 {
    let seeds = seeds(ordeal.0);
    assert!(seeds.len() >= 3, "{} has {} seeds", ordeal.0, seeds.len());
    for (file, bytes) in &seeds {
        put(ordeal, file, bytes);
    }
    let start = Instant::now();
    let mut done = 0;
    for round in 0..rounds {
        for (i, (file, bytes)) in seeds.iter().enumerate() {
            if budget.is_some_and(|b| start.elapsed() > b) {
                return done;
            }
            let mut dice = Dice::new(round << 8 | i as u64);
            let other = &seeds[dice.below(seeds.len())].1;
            let bent = mutated(&mut dice, bytes, other);
            put(ordeal, &format!("{file} bent (round {round})"), &bent);
            done += 1;
        }
    }
    done
}

fn run(name: &str) {
    let ordeal = *ALL.iter().find(|(n, _)| *n == name).expect("an ordeal");
    let seconds = std::env::var("TORTIE_REPLAY_SECONDS").ok().and_then(|s| s.parse::<u64>().ok());
    let budget = seconds.map(|s| Duration::from_millis(s * 1000 / ALL.len() as u64));
    let done = replay(ordeal, budget.map_or(TIMES, |_| u64::MAX), budget);
    println!("{name}: {done} bent seeds");
    assert!(done > 0);
}

#[test]
fn manifests() {
    run("manifests");
}

#[test]
fn cases() {
    run("cases");
}

#[test]
fn names() {
    run("names");
}

#[test]
fn selectors() {
    run("selectors");
}

#[test]
fn nftables() {
    run("nftables");
}

#[test]
fn events() {
    run("events");
}

#[test]
fn links() {
    run("links");
}

#[test]
fn flows() {
    run("flows");
}

#[test]
fn every_ordeal_is_a_target() {
    let targets = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/targets");
    for (name, _) in ALL {
        let text = fs::read_to_string(targets.join(format!("{name}.rs"))).expect("a target");
        assert!(text.contains(&format!("named(\"{name}\")")), "{text}");
    }
}
