//! A lab that is killed leaves nothing.

use std::{
    collections::BTreeSet,
    fs,
    io::{BufRead, BufReader},
    os::unix::process::ExitStatusExt,
    process::{Child, Command, ExitCode, Stdio},
    time::{Duration, Instant},
};

use tortie_lab::{PodSpec, Sandbox, address::Families};

use crate::support::{Result, World, two_nodes};

/// First argument of the process that kills.
pub(crate) const KILL: &str = "--kill";
/// First argument of the process that is to be killed: it makes pods until it is.
pub(crate) const HOLD: &str = "--hold";

pub(crate) fn hold() -> ExitCode {
    let made = Sandbox::enter().map_err(Into::into).and_then(|sandbox| -> Result {
        println!("entered");
        let mut topology = two_nodes(&sandbox, Families::Dual)?;
        println!("nodes");
        for n in 0.. {
            topology.add_pods(&[PodSpec::tool("a", &format!("pod-{n}"), "node-1")])?;
            println!("pod");
        }
        Ok(())
    });
    eprintln!("{made:?}");
    ExitCode::FAILURE
}

fn names(path: &str) -> BTreeSet<String> {
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    entries.map(|e| e.file_name().to_string_lossy().into_owned()).collect()
}

/// What a lab could change outside. Links of other names and what else happens on the machine is not ours.
fn traces() -> Vec<String> {
    let mut traces = vec![
        fs::read_to_string("/proc/self/mounts").unwrap_or_default(),
        fs::read_to_string("/proc/net/route").unwrap_or_default(),
    ];
    traces.extend(names("/sys/class/net").into_iter().filter(|n| n.starts_with("tor") || n.starts_with("wire")));
    for setting in [
        "ipv4/ip_forward",
        "ipv4/conf/all/rp_filter",
        "ipv4/conf/default/rp_filter",
        "ipv4/icmp_ratelimit",
        "ipv4/ping_group_range",
        "ipv6/conf/all/forwarding",
        "ipv6/conf/default/accept_dad",
        "ipv6/icmp/ratelimit",
    ] {
        traces.push(fs::read_to_string(format!("/proc/sys/net/{setting}")).unwrap_or_default());
    }
    traces
}

/// Namespaces that processes still are in: every process of the killed lab would be in one that no other is in.
fn processes_in(namespace: &str) -> usize {
    let links = names("/proc").into_iter().filter(|n| n.bytes().all(|b| b.is_ascii_digit()));
    links
        .filter(|pid| fs::read_link(format!("/proc/{pid}/ns/mnt")).is_ok_and(|l| l.to_string_lossy() == namespace))
        .count()
}

/// Runs outside of the sandbox: inside, a lab needs no user namespace.
pub(crate) fn killed(world: &World) -> Result {
    let said = world.outside.again(KILL)?;
    assert_eq!(said, "nothing left\n");
    Ok(())
}

pub(crate) fn kill() -> ExitCode {
    match kill_labs() {
        Ok(()) => {
            println!("nothing left");
            ExitCode::SUCCESS
        }
        Err(e) => {
            eprintln!("{e}");
            ExitCode::FAILURE
        }
    }
}

fn kill_labs() -> Result {
    let before = traces();
    for lines in [0, 1, 2, 3, 5, 12] {
        let mut child =
            Command::new(std::env::current_exe()?).arg(HOLD).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        let namespace = kill_after(&mut child, lines)?;
        if child.wait()?.signal() != Some(9) {
            return Err("it ended before it was killed".into());
        }
        // Without one process in it, nothing keeps its mount namespace, nor what is mounted there. Threads of a killed
        // process end a moment after it.
        let patience = Instant::now() + Duration::from_secs(10);
        while processes_in(&namespace) > 0 {
            if Instant::now() > patience {
                return Err("a process of it is still there".into());
            }
            std::thread::yield_now();
        }
    }
    let after = traces();
    if after == before { Ok(()) } else { Err(format!("before {before:#?}\nafter {after:#?}").into()) }
}

/// Kills it when it has written so many lines; returns its mount namespace.
fn kill_after(child: &mut Child, lines: usize) -> Result<String> {
    let mut output = BufReader::new(child.stdout.take().ok_or("no pipe")?);
    for _ in 0..lines {
        let mut line = String::new();
        if output.read_line(&mut line)? == 0 {
            return Err("it ended by itself".into());
        }
    }
    let namespace = fs::read_link(format!("/proc/{}/ns/mnt", child.id()))?;
    child.kill()?;
    let own = fs::read_link("/proc/self/ns/mnt")?;
    // Killed before it entered, it is in ours, which stays.
    Ok(if namespace == own { String::new() } else { namespace.to_string_lossy().into_owned() })
}
