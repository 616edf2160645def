//! The namespaces that the whole lab lives in.

mod facts;
mod refusal;

use std::{fs, io, path::Path};

use rustix::{
    io::Errno,
    mount::{MountFlags, MountPropagationFlags, mount, mount_change},
    process::{Resource, getegid, geteuid, getrlimit, setrlimit},
    thread::UnshareFlags,
};
use tortie_netlink::{
    Protocol, Socket,
    route::{Batch, Routes},
};

pub use facts::{Facts, Os};
pub use refusal::{Cause, Refusal, Step, diagnose};

/// Bits of `CapEff` that make a user namespace unnecessary: NET_ADMIN, NET_RAW, SYS_CHROOT and SYS_ADMIN.
const NEEDED_CAPABILITIES: u64 = 1 << 12 | 1 << 13 | 1 << 18 | 1 << 21;

/// Proof that this process is in namespaces of its own.
///
/// There is nothing to undo: the namespaces end with the last process in them.
#[derive(Debug)]
pub struct Sandbox {
    user_namespace: bool,
}

impl Sandbox {
    /// Moves this process into a network and a mount namespace of its own; as an ordinary user also into a user
    /// namespace, where the caller's own user is root. With the capabilities of root no user namespace is made.
    ///
    /// `/run` is an empty file system afterwards, seen by this process and its children alone: sockets of other
    /// programs under `/run` must be opened, and sockets to be found by others be bound, before.
    ///
    /// # Errors
    /// [`Refusal`] names the step that failed and the likely cause. The process may then be in some of the new
    /// namespaces already; it should report and end. [`Step::Threads`] if the process has more than one thread: only the
    /// calling thread would move.
    pub fn enter() -> Result<Self, Refusal> {
        if !cfg!(target_os = "linux") {
            return Err(Refusal::at(Step::Platform, Errno::NOSYS));
        }
        let threads = fs::read_dir("/proc/self/task").map(Iterator::count);
        if !matches!(threads, Ok(1)) {
            return Err(Refusal::at(Step::Threads, Errno::INVAL));
        }
        let user_namespace = !privileged();
        if user_namespace {
            enter_user_namespace()?;
        } else {
            unshare(UnshareFlags::NEWNET | UnshareFlags::NEWNS)?;
        }
        mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
            .map_err(|e| Refusal::at(Step::MountPrivate, e))?;
        mount("tmpfs", "/run", "tmpfs", MountFlags::NOSUID | MountFlags::NODEV, Some(c"mode=0755"))
            .map_err(|e| Refusal::at(Step::MountRun, e))?;
        raise_open_files();
        loopback_up()?;
        netfilter_present()?;
        Ok(Self { user_namespace })
    }

    /// Whether it has a user namespace of its own.
    #[must_use]
    pub fn has_user_namespace(&self) -> bool {
        self.user_namespace
    }
}

/// Whether the kernel here speaks IPv6.
#[must_use]
pub fn ipv6_available() -> bool {
    Path::new("/proc/sys/net/ipv6/conf/all").exists()
}

fn privileged() -> bool {
    geteuid().is_root()
        && facts::capabilities(&fs::read_to_string("/proc/self/status").unwrap_or_default())
            .is_some_and(|caps| caps & NEEDED_CAPABILITIES == NEEDED_CAPABILITIES)
}

fn enter_user_namespace() -> Result<(), Refusal> {
    // Read before: afterwards both are the overflow ids until the maps are written.
    let (uid, gid) = (geteuid().as_raw(), getegid().as_raw());
    unshare(UnshareFlags::NEWUSER | UnshareFlags::NEWNET | UnshareFlags::NEWNS)?;
    let write = |file: &str, text: &str, step| fs::write(file, text).map_err(|e| Refusal::at(step, errno(&e)));
    write("/proc/self/setgroups", "deny", Step::SetGroups)?;
    write("/proc/self/uid_map", &format!("0 {uid} 1"), Step::UidMap)?;
    write("/proc/self/gid_map", &format!("0 {gid} 1"), Step::GidMap)
}

#[allow(unsafe_code)]
fn unshare(flags: UnshareFlags) -> Result<(), Refusal> {
    // SAFETY: `FILES` is not among the flags, so no other thread can lose sight of a descriptor; `enter` made sure that
    // there is no other thread that would keep the old file system state.
    unsafe { rustix::thread::unshare_unsafe(flags) }.map_err(|e| Refusal::at(Step::Unshare, e))
}

/// A pod takes three descriptors; the usual soft limit of 1,024 would end at 300 pods.
fn raise_open_files() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // Refused at worst: then the soft limit stays, and a large lab says "too many open files".
    let _ = setrlimit(Resource::Nofile, limit);
}

fn loopback_up() -> Result<(), Refusal> {
    let up = || {
        let mut batch = Batch::new();
        batch.set_up(1, true);
        Routes::open()?.commit(batch)
    };
    up().map_err(|e| Refusal::at(Step::Network, e.errno().unwrap_or(Errno::IO)))
}

fn netfilter_present() -> Result<(), Refusal> {
    /// `NFT_MSG_GETGEN` of the nf_tables subsystem.
    const GET_GENERATION: u16 = 10 << 8 | 16;
    Socket::open(Protocol::Netfilter)
        .and_then(|mut socket| socket.request(GET_GENERATION, 0, &[0; 4], || "ask for nf_tables".to_owned()))
        .map(drop)
        .map_err(|e| Refusal::at(Step::NfTables, e.errno().unwrap_or(Errno::IO)))
}

fn errno(error: &io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}
