//! What this machine says about user namespaces.

use std::{fs, path::Path};

use rustix::io::Errno;

use super::Step;

/// Operating system, as far as it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Os {
    /// Linux.
    Linux,
    /// Anything else.
    Other,
}

/// Everything that [`super::diagnose`] looks at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Operating system.
    pub os: Os,
    /// The step that failed, and how; `None` when nothing was tried yet.
    pub failure: Option<(Step, Errno)>,
    /// Whether the caller is root.
    pub root: bool,
    /// `/proc/sys/kernel/apparmor_restrict_unprivileged_userns`; `None` where the file does not exist.
    pub apparmor_restrict: Option<u64>,
    /// `/proc/sys/kernel/unprivileged_userns_clone` (Debian and older Ubuntu kernels).
    pub unprivileged_clone: Option<u64>,
    /// `/proc/sys/user/max_user_namespaces`.
    pub max_user_namespaces: Option<u64>,
    /// `/proc/sys/user/max_net_namespaces`.
    pub max_net_namespaces: Option<u64>,
    /// `Seccomp` of `/proc/self/status`: 0 none, 1 strict, 2 filter.
    pub seccomp: Option<u64>,
    /// `NoNewPrivs` of `/proc/self/status`.
    pub no_new_privs: bool,
    /// Inside a container, by the files that engines leave and by the environment.
    pub container: bool,
}

impl Facts {
    /// Reads them on this machine.
    #[must_use]
    pub fn gather(failure: Option<(Step, Errno)>) -> Self {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        Self {
            os: if cfg!(target_os = "linux") { Os::Linux } else { Os::Other },
            failure,
            root: rustix::process::getuid().is_root(),
            apparmor_restrict: number("/proc/sys/kernel/apparmor_restrict_unprivileged_userns"),
            unprivileged_clone: number("/proc/sys/kernel/unprivileged_userns_clone"),
            max_user_namespaces: number("/proc/sys/user/max_user_namespaces"),
            max_net_namespaces: number("/proc/sys/user/max_net_namespaces"),
            seccomp: field(&status, "Seccomp").and_then(|v| v.parse().ok()),
            no_new_privs: field(&status, "NoNewPrivs") == Some("1"),
            container: Path::new("/.dockerenv").exists()
                || Path::new("/run/.containerenv").exists()
                || std::env::var_os("container").is_some()
                || std::env::var_os("KUBERNETES_SERVICE_HOST").is_some(),
        }
    }
}

/// `CapEff` of a `/proc/PID/status`.
pub(super) fn capabilities(status: &str) -> Option<u64> {
    u64::from_str_radix(field(status, "CapEff")?, 16).ok()
}

fn field<'a>(status: &'a str, name: &str) -> Option<&'a str> {
    status.lines().find_map(|line| Some(line.strip_prefix(name)?.strip_prefix(':')?.trim()))
}

fn number(file: &str) -> Option<u64> {
    fs::read_to_string(file).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_found_by_its_whole_name() {
        let status = "Name:\tx\nSeccomp_filters:\t3\nSeccomp:\t2\nNoNewPrivs:\t1\nCapEff:\t000001fffeffffff\n";
        assert_eq!(field(status, "Seccomp"), Some("2"));
        assert_eq!(capabilities(status), Some(0x1ff_feff_ffff));
        assert_eq!(field(status, "Threads"), None);
    }
}
