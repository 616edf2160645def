//! The caller's own programs inside a pod, node or outside host.
//!
//! The lab runs in one process; a program for a pod is started by another, of the same user, which moves itself into the
//! namespaces of the lab and becomes the program. It has the file system of the machine, the network of the pod, and
//! the pod's resolver.

use std::{
    ffi::OsString,
    fs::{self, File},
    io,
    os::{
        fd::AsFd,
        unix::{fs::MetadataExt, process::CommandExt},
    },
    path::{Path, PathBuf},
    process::Command,
};

use rustix::{
    mount::{MountFlags, MountPropagationFlags, mount, mount_bind, mount_change},
    thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space},
};
use serde::{Deserialize, Serialize};

use crate::netns::Netns;

/// Where to go. Made by the lab's process, used by another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnterSpec {
    /// The user namespace.
    pub user: PathBuf,
    /// The mount namespace.
    pub mount: PathBuf,
    /// The network namespace.
    pub network: PathBuf,
    /// What `/etc/resolv.conf` says there; `None`: as on the machine.
    pub resolv_conf: Option<String>,
}

impl EnterSpec {
    /// The way into a namespace of this process.
    #[must_use]
    pub fn new(network: &Netns, resolv_conf: Option<String>) -> Self {
        let pid = std::process::id();
        Self {
            user: format!("/proc/{pid}/ns/user").into(),
            mount: format!("/proc/{pid}/ns/mnt").into(),
            network: network.path(),
            resolv_conf,
        }
    }
}

/// Moves this process into the namespaces and becomes the program; returns only the error that prevented it.
///
/// The process must have one thread. The program runs as root of the lab's user namespace, that is as the caller, with
/// all rights over the pod's network and none over anything outside. What it mounts, nobody else sees.
#[must_use]
pub fn enter_and_exec(spec: &EnterSpec, argv: &[OsString]) -> io::Error {
    let Some((program, arguments)) = argv.split_first() else {
        return io::Error::new(io::ErrorKind::InvalidInput, "no command given");
    };
    if let Err(e) = enter(spec) {
        return e;
    }
    let error = Command::new(program).args(arguments).exec();
    context(&format!("run {}", program.display()))(error)
}

fn enter(spec: &EnterSpec) -> io::Result<()> {
    let open =
        |path: &Path| File::open(path).map_err(context(&format!("open {} (is the lab still up?)", path.display())));
    let (user, mounts, network) = (open(&spec.user)?, open(&spec.mount)?, open(&spec.network)?);
    let here = std::env::current_dir();
    // Joining the namespace that one is in already is an error.
    if user.metadata()?.ino() != fs::metadata("/proc/self/ns/user")?.ino() {
        join(&user, LinkNameSpaceType::User)?;
    }
    join(&network, LinkNameSpaceType::Network)?;
    join(&mounts, LinkNameSpaceType::Mount)?;
    private_mounts()?;
    if let Ok(here) = here {
        // Joining a mount namespace moves to its root.
        let _ = std::env::set_current_dir(here);
    }
    // Shows the pod's links in /sys/class/net. Refused where a container hides parts of /sys; nothing depends on it.
    let _ = mount("sysfs", "/sys", "sysfs", MountFlags::RDONLY, None);
    match &spec.resolv_conf {
        Some(text) => set_resolv_conf(text),
        None => Ok(()),
    }
}

fn join(namespace: &File, kind: LinkNameSpaceType) -> io::Result<()> {
    let what = match kind {
        LinkNameSpaceType::User => "join the lab's user namespace",
        LinkNameSpaceType::Mount => "join the lab's mount namespace",
        _ => "join the network namespace",
    };
    move_into_link_name_space(namespace.as_fd(), Some(kind)).map_err(|e| context(what)(e.into()))
}

/// A mount namespace of its own with an empty `/run`: that of the lab is shared by all its programs.
#[allow(unsafe_code)]
fn private_mounts() -> io::Result<()> {
    // SAFETY: `FILES` is not among the flags, so no descriptor is lost.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNS) }.map_err(|e| context("unshare mounts")(e.into()))?;
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
        .map_err(|e| context("make mounts private")(e.into()))?;
    mount("tmpfs", "/run", "tmpfs", MountFlags::NOSUID | MountFlags::NODEV, Some(c"mode=0755"))
        .map_err(|e| context("mount a tmpfs on /run")(e.into()))
}

/// Puts a file over `/etc/resolv.conf`, or where that links to: with systemd-resolved and NetworkManager, a file below
/// `/run`, which is empty now.
fn set_resolv_conf(text: &str) -> io::Result<()> {
    const PLACE: &str = "/etc/resolv.conf";
    let write = |path: &Path| fs::write(path, text).map_err(context(&format!("write {}", path.display())));
    if let Ok(existing) = fs::canonicalize(PLACE) {
        let ours = Path::new("/run/resolv.conf");
        write(ours)?;
        return mount_bind(ours, &existing)
            .map_err(|e| context(&format!("mount over {}", existing.display()))(e.into()));
    }
    let Ok(link) = fs::read_link(PLACE) else {
        // There is none: programs ask the machine's default, the loopback address. Nothing answers there.
        return Ok(());
    };
    let target = normalized(&Path::new("/etc").join(link));
    if !target.starts_with("/run") && !target.starts_with("/var/run") {
        return Ok(());
    }
    if let Some(folder) = target.parent() {
        fs::create_dir_all(folder).map_err(context(&format!("create {}", folder.display())))?;
    }
    write(&target)
}

/// Without `..`, which cannot be resolved as nothing of the path exists.
fn normalized(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        if part.as_os_str() == ".." {
            out.pop();
        } else {
            out.push(part);
        }
    }
    out
}

fn context(what: &str) -> impl Fn(io::Error) -> io::Error {
    let what = what.to_owned();
    move |e| io::Error::new(e.kind(), format!("{what}: {e}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relative_link_is_resolved_without_looking() {
        let link = Path::new("/etc").join("../run/systemd/resolve/stub-resolv.conf");
        assert_eq!(normalized(&link), Path::new("/run/systemd/resolve/stub-resolv.conf"));
    }
}
