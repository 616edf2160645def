//! Namespaces for the tests.
#![allow(unsafe_code)]

use std::{
    fs, io,
    panic::{AssertUnwindSafe, catch_unwind},
    process::Command,
    thread,
};

use rustix::thread::{UnshareFlags, unshare_unsafe};
use tortie_netlink::{Protocol, Socket};

/// Moves this process, which has one thread, into a user and a network namespace, as root there.
pub(crate) fn enter() -> io::Result<()> {
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    // SAFETY: neither flag changes what this process's memory or open files mean.
    unsafe { unshare_unsafe(UnshareFlags::NEWUSER | UnshareFlags::NEWNET) }?;
    fs::write("/proc/self/setgroups", "deny")?;
    fs::write("/proc/self/uid_map", format!("0 {uid} 1"))?;
    fs::write("/proc/self/gid_map", format!("0 {gid} 1"))
}

/// Runs `test` on a thread in a network namespace of its own, with the loopback interface up.
pub(crate) fn in_fresh_namespace(test: fn()) -> Result<(), String> {
    let thread = thread::spawn(move || {
        // SAFETY: only the network namespace of this thread changes; file descriptors are unaffected.
        unsafe { unshare_unsafe(UnshareFlags::NEWNET) }.expect("a network namespace");
        loopback_up();
        catch_unwind(AssertUnwindSafe(test))
    });
    match thread.join() {
        Ok(Ok(())) => Ok(()),
        Ok(Err(panic)) | Err(panic) => Err(panic
            .downcast_ref::<String>()
            .cloned()
            .or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string))
            .unwrap_or_else(|| "panicked".to_owned())),
    }
}

fn loopback_up() {
    const RTM_NEWLINK: u16 = 16;
    let mut body = vec![0u8; 4];
    body.extend_from_slice(&1i32.to_ne_bytes()); // ifi_index of lo
    body.extend_from_slice(&1u32.to_ne_bytes()); // ifi_flags: IFF_UP
    body.extend_from_slice(&1u32.to_ne_bytes()); // ifi_change
    let mut socket = Socket::open(Protocol::Route).expect("a route socket");
    socket.request(RTM_NEWLINK, 0, &body, || "lo up".to_owned()).expect("lo up");
}

/// What `nft list ruleset` prints in this thread's network namespace; `None`, with a line saying so, when there is no
/// `nft`.
pub(crate) fn nft_list() -> Option<String> {
    let output = match Command::new("nft").args(["list", "ruleset"]).output() {
        Ok(output) => output,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            eprintln!("skipped a comparison: no nft in PATH");
            return None;
        }
        Err(error) => panic!("nft: {error}"),
    };
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "nft: {}\n{}\n{text}", output.status, String::from_utf8_lossy(&output.stderr));
    Some(text)
}

/// A netfilter socket.
pub(crate) fn socket() -> Socket {
    Socket::open(Protocol::Netfilter).expect("a netfilter socket")
}
