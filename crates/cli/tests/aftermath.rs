//! What a lab leaves behind when it is killed, and on the machine when root runs it: nothing.
#![cfg(target_os = "linux")]

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Carried by every process that a lab under test starts, so that survivors can be told from anybody else's.
const MARK: &str = "TORTIE_TEST_MARK";

fn lab_run(mark: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tortie"));
    command.args(["lab", "run"]).env(MARK, mark).env("NO_COLOR", "1").stdin(Stdio::null());
    command
}

/// Whether namespaces are refused here and the caller said that this may be skipped.
fn skipped() -> bool {
    let output = lab_run("probe").output().expect("tortie runs");
    let refused = String::from_utf8_lossy(&output.stdout).contains("PREDICTED");
    let may_skip = std::env::var("TORTIE_ALLOW_SKIP").is_ok_and(|v| v == "1");
    assert!(!refused || may_skip, "namespaces are refused:\n{}", String::from_utf8_lossy(&output.stderr));
    if refused {
        eprintln!("skipped: namespaces are refused, and TORTIE_ALLOW_SKIP=1");
    }
    refused
}

/// Processes whose environment carries the mark.
fn survivors(mark: &str) -> Vec<String> {
    let wanted = format!("{MARK}={mark}");
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").expect("/proc").flatten() {
        let environment = fs::read(entry.path().join("environ")).unwrap_or_default();
        if environment.split(|b| *b == 0).any(|v| v == wanted.as_bytes()) {
            let state = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
            found.push(format!("{} {state}", entry.file_name().display()));
        }
    }
    found
}

/// Files and folders of tortie in the places where programs leave such things.
fn files() -> BTreeSet<String> {
    let home = std::env::var("XDG_RUNTIME_DIR").unwrap_or_default();
    let places = ["/tmp", "/run", "/run/netns", "/var/run", "/dev/shm", home.as_str()];
    let listed = places.iter().filter(|p| !p.is_empty()).flat_map(|p| fs::read_dir(p).into_iter().flatten().flatten());
    let ours = listed.map(|e| e.path().display().to_string());
    ours.filter(|p| Path::new(p).file_name().is_some_and(|n| n.to_string_lossy().contains("tortie-lab"))).collect()
}

fn mounts() -> Vec<String> {
    let text = fs::read_to_string("/proc/self/mountinfo").expect("mountinfo");
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

/// A little randomness that needs no crate: where in its run a lab is killed.
fn random(seed: u64) -> u64 {
    let mut x = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ u64::from(std::process::id()) << 17;
    x ^= x >> 31;
    x = x.wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x ^ x >> 29
}

#[test]
fn a_killed_lab_leaves_no_process_mount_or_file() {
    if skipped() {
        return;
    }
    let whole = lab_run("whole").output().expect("tortie runs");
    assert!(whole.status.success(), "the practical holds");
    let lines = whole.stdout.split(|b| *b == b'\n').count() as u64;
    let (mounts_before, files_before) = (mounts(), files());
    let mut killed = 0;
    for round in 0..20 {
        let mark = format!("kill-{}-{round}", std::process::id());
        let mut child = lab_run(&mark).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("tortie starts");
        let mut output = BufReader::new(child.stdout.take().expect("it is piped"));
        if round % 2 == 0 {
            // While the sandbox and the first pods are made: the one place where a test waits for time to pass.
            std::thread::sleep(Duration::from_micros(random(round) % 60_000));
        } else {
            // Somewhere in its steps, by what it has said so far.
            for _ in 0..random(round) % (lines * 3 / 4) {
                output.read_line(&mut String::new()).expect("its output is text");
            }
        }
        child.kill().expect("kill -9");
        let status = child.wait().expect("the child ended");
        killed += u32::from(status.signal() == Some(9));
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let left = survivors(&mark);
            if left.is_empty() {
                break;
            }
            assert!(Instant::now() < deadline, "still there 10 s after the kill: {left:#?}");
            std::thread::yield_now();
        }
    }
    assert!(killed >= 15, "only {killed} of 20 labs were still running when they were killed");
    assert_eq!(mounts(), mounts_before);
    assert_eq!(files(), files_before);
}

/// Everything of the machine's network that a lab could change.
fn host() -> Vec<(String, String)> {
    let mut out = Vec::new();
    for file in ["dev", "route", "ipv6_route", "if_inet6", "fib_trie", "ip_tables_names", "ip6_tables_names"] {
        let path = format!("/proc/self/net/{file}");
        let mut text = fs::read_to_string(&path).unwrap_or_default();
        if file == "dev" {
            // Counters move by themselves; names of links are what counts.
            text = text.lines().filter_map(|l| l.split(':').next()).map(str::trim).collect::<Vec<_>>().join("\n");
        }
        if file == "ipv6_route" {
            // Reference and use counts.
            let columns = |l: &str| {
                l.split_whitespace()
                    .enumerate()
                    .filter(|(i, _)| ![6, 7].contains(i))
                    .map(|(_, c)| c.to_owned())
                    .collect::<Vec<_>>()
                    .join(" ")
            };
            text = text.lines().map(columns).collect::<Vec<_>>().join("\n");
        }
        out.push((path, text));
    }
    let mut folders = vec![Path::new("/proc/sys/net").to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => folders.push(entry.path()),
                // Counts of what happens to be open, on any machine.
                _ if ["nf_conntrack_count", "route", "stat"].iter().any(|n| entry.path().ends_with(n)) => {}
                _ => {
                    out.push((
                        entry.path().display().to_string(),
                        fs::read_to_string(entry.path()).unwrap_or_default(),
                    ));
                }
            }
        }
    }
    let mut socket = tortie_netlink::Socket::open(tortie_netlink::Protocol::Netfilter).expect("netlink");
    // An ordinary user may not list the machine's tables, and cannot change them either.
    let tables = tortie_netlink::nft::read_tables(&mut socket).map(|t| format!("{t:?}")).unwrap_or_default();
    out.push(("nftables".to_owned(), tables));
    out.sort();
    out
}

#[test]
fn links_routes_settings_and_rulesets_of_the_machine_stay_as_they_were() {
    if skipped() {
        return;
    }
    let before = host();
    let output = lab_run("host").output().expect("tortie runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    let after = host();
    let changed: Vec<_> = before.iter().zip(&after).filter(|(a, b)| a != b).collect();
    assert!(changed.is_empty() && before.len() == after.len(), "changed: {changed:#?}");
}
