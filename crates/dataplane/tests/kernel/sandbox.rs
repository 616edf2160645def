//! Namespaces for the tests.
#![allow(unsafe_code)]

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::Command;
use std::thread;

use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space, unshare_unsafe};
use tortie_netlink::route::{Batch, Routes};

/// Moves this process, which has one thread, into a user and a network namespace, as root there.
pub(crate) fn enter() -> io::Result<()> {
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    // SAFETY: neither flag changes what this process's memory or open files mean.
    unsafe { unshare_unsafe(UnshareFlags::NEWUSER | UnshareFlags::NEWNET) }?;
    fs::write("/proc/self/setgroups", "deny")?;
    fs::write("/proc/self/uid_map", format!("0 {uid} 1"))?;
    fs::write("/proc/self/gid_map", format!("0 {gid} 1"))
}

fn fresh_namespace() {
    // SAFETY: only the network namespace of this thread changes; file descriptors are unaffected.
    unsafe { unshare_unsafe(UnshareFlags::NEWNET) }.expect("a network namespace");
    let mut up = Batch::new();
    up.set_up(1, true);
    Routes::open().and_then(|mut routes| routes.commit(up)).expect("lo up");
}

/// Runs `test` on a thread in a network namespace of its own, with the loopback interface up.
pub(crate) fn in_fresh_namespace(test: fn()) -> Result<(), String> {
    let thread = thread::spawn(move || {
        fresh_namespace();
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

/// Another network namespace.
pub(crate) struct Net(OwnedFd);

impl Net {
    /// The one of this thread.
    pub(crate) fn here() -> Self {
        Self(File::open("/proc/thread-self/ns/net").expect("/proc").into())
    }

    pub(crate) fn new() -> Self {
        let made = thread::spawn(|| {
            fresh_namespace();
            Self::here()
        });
        made.join().expect("a namespace")
    }

    /// Runs `f` inside.
    pub(crate) fn run<T: Send>(&self, f: impl FnOnce() -> T + Send) -> T {
        thread::scope(|scope| {
            let inside = scope.spawn(|| {
                move_into_link_name_space(self.0.as_fd(), Some(LinkNameSpaceType::Network)).expect("setns");
                f()
            });
            inside.join().expect("what runs inside does not panic")
        })
    }
}

impl AsFd for Net {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
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
