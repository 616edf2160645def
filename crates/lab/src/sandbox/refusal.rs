//! Why a sandbox could not be entered, and what mends it.

use std::fmt;

use rustix::io::Errno;

use super::facts::{Facts, Os};

/// A step of [`super::Sandbox::enter`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Being on Linux at all.
    Platform,
    /// Having one thread.
    Threads,
    /// `unshare(2)`.
    Unshare,
    /// Writing `deny` to `/proc/self/setgroups`.
    SetGroups,
    /// Writing `/proc/self/uid_map`.
    UidMap,
    /// Writing `/proc/self/gid_map`.
    GidMap,
    /// Making `/` private.
    MountPrivate,
    /// Mounting a tmpfs on `/run`.
    MountRun,
    /// Setting the loopback link up.
    Network,
    /// Speaking to nf_tables.
    NfTables,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Platform => "looking for Linux",
            Self::Threads => "being the only thread",
            Self::Unshare => "unshare(2)",
            Self::SetGroups => "writing /proc/self/setgroups",
            Self::UidMap => "writing /proc/self/uid_map",
            Self::GidMap => "writing /proc/self/gid_map",
            Self::MountPrivate => "making mounts private",
            Self::MountRun => "mounting a tmpfs on /run",
            Self::Network => "setting the loopback link up",
            Self::NfTables => "speaking to nf_tables",
        })
    }
}

/// What stands in the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The lab needs Linux.
    NotLinux,
    /// The kernel is older than user namespaces, or built without them.
    NoUserNamespaces,
    /// AppArmor takes the capabilities away in user namespaces of unconfined programs (Ubuntu 23.10 and later).
    AppArmor,
    /// `kernel.unprivileged_userns_clone` is 0 (Debian and derivatives, hardened kernels).
    UnprivilegedClone,
    /// `user.max_user_namespaces` is 0.
    MaxUserNamespaces,
    /// `user.max_net_namespaces` is 0, as hardening guides have it.
    MaxNetNamespaces,
    /// All user namespaces that `user.max_user_namespaces` allows exist.
    TooManyNamespaces,
    /// A seccomp filter of a container engine.
    ContainerSeccomp,
    /// A seccomp filter that no container explains: a systemd unit, a sandboxed shell.
    Seccomp,
    /// A container that hides or protects the files in question.
    Container,
    /// The kernel has no nf_tables, or its module is missing.
    NoNfTables,
    /// The caller has several threads.
    Threads,
    /// None of the above.
    Unknown,
}

impl Cause {
    /// One line that mends it.
    #[must_use]
    pub fn remedy(self) -> &'static str {
        match self {
            Self::NotLinux => "run the lab on Linux, or in a Linux virtual machine; the offline commands work here",
            Self::NoUserNamespaces => "run as root, or use a kernel with CONFIG_USER_NS=y",
            Self::AppArmor => "sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0",
            Self::UnprivilegedClone => "sudo sysctl -w kernel.unprivileged_userns_clone=1",
            Self::MaxUserNamespaces => "sudo sysctl -w user.max_user_namespaces=15000",
            Self::MaxNetNamespaces => "sudo sysctl -w user.max_net_namespaces=15000",
            Self::TooManyNamespaces => {
                "raise user.max_user_namespaces with sysctl, or end programs that hold namespaces"
            }
            Self::ContainerSeccomp => {
                "start the container with --security-opt seccomp=unconfined (Docker, Podman) or seccompProfile \
                 type Unconfined (Kubernetes)"
            }
            Self::Seccomp => "run outside of the sandbox that filters system calls (see Seccomp in /proc/self/status)",
            Self::Container => "start the container with --privileged, or with --security-opt systempaths=unconfined",
            Self::NoNfTables => "sudo modprobe nf_tables, or use a kernel with CONFIG_NF_TABLES",
            Self::Threads => "enter the sandbox before starting threads",
            Self::Unknown => "run as root, or attach this message and the output of `tortie doctor` to a report",
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotLinux => "this is not Linux",
            Self::NoUserNamespaces => "this kernel has no user namespaces",
            Self::AppArmor => "AppArmor restricts unprivileged user namespaces",
            Self::UnprivilegedClone => "kernel.unprivileged_userns_clone is 0",
            Self::MaxUserNamespaces => "user.max_user_namespaces is 0",
            Self::MaxNetNamespaces => "user.max_net_namespaces is 0",
            Self::TooManyNamespaces => "user.max_user_namespaces is exhausted",
            Self::ContainerSeccomp => "the container's seccomp filter forbids it",
            Self::Seccomp => "a seccomp filter forbids it",
            Self::Container => "the container protects /proc or its mounts",
            Self::NoNfTables => "the kernel has no nf_tables",
            Self::Threads => "the process has several threads",
            Self::Unknown => "the cause is not known",
        })
    }
}

/// A sandbox could not be entered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot enter the sandbox: {step}: {errno} ({cause}); {}", .cause.remedy())]
pub struct Refusal {
    /// What was tried.
    pub step: Step,
    /// What the kernel said.
    pub errno: Errno,
    /// The likely cause.
    pub cause: Cause,
}

impl Refusal {
    pub(super) fn at(step: Step, errno: Errno) -> Self {
        Self { step, errno, cause: diagnose(&Facts::gather(Some((step, errno)))) }
    }
}

/// The cause of a failure; without a failure, what would stand in the way. [`Cause::Unknown`] when nothing does.
///
/// The order matters: a setting that is known to be off explains more than the error number of a step, and a seccomp
/// filter is there in every container, so it only counts where it can produce the error.
#[must_use]
pub fn diagnose(facts: &Facts) -> Cause {
    if facts.os != Os::Linux {
        return Cause::NotLinux;
    }
    match facts.failure {
        Some((Step::Platform, _)) => return Cause::NotLinux,
        Some((Step::Threads, _)) => return Cause::Threads,
        // EPERM there is AppArmor or a container, as elsewhere.
        Some((Step::NfTables, e)) if e != Errno::PERM && e != Errno::ACCESS => return Cause::NoNfTables,
        _ => {}
    }
    // With the needed capabilities no user namespace is asked for, so these settings say nothing about it.
    if facts.max_user_namespaces == Some(0) && !matches!(facts.failure, Some((step, _)) if step != Step::Unshare) {
        return Cause::MaxUserNamespaces;
    }
    if facts.unprivileged_clone == Some(0) && !facts.root {
        return Cause::UnprivilegedClone;
    }
    let Some((step, errno)) = facts.failure else {
        return match facts.apparmor_restrict {
            Some(n) if n != 0 && !facts.root => Cause::AppArmor,
            _ => Cause::Unknown,
        };
    };
    if step == Step::Unshare {
        match errno {
            Errno::NOSPC | Errno::USERS if facts.max_net_namespaces == Some(0) => return Cause::MaxNetNamespaces,
            Errno::NOSPC | Errno::USERS => return Cause::TooManyNamespaces,
            Errno::INVAL | Errno::NOSYS => return Cause::NoUserNamespaces,
            _ => {}
        }
    }
    if errno != Errno::PERM && errno != Errno::ACCESS && errno != Errno::ROFS {
        return Cause::Unknown;
    }
    if step != Step::Unshare || errno == Errno::ACCESS {
        // unshare(2) itself succeeds under Ubuntu's default profile; what needs a capability afterwards does not.
        if facts.apparmor_restrict.is_some_and(|n| n != 0) && !facts.container && !facts.root {
            return Cause::AppArmor;
        }
        return if facts.container { Cause::Container } else { Cause::Unknown };
    }
    match (facts.seccomp, facts.container) {
        (Some(n), true) if n != 0 => Cause::ContainerSeccomp,
        (_, true) => Cause::Container,
        _ if facts.apparmor_restrict.is_some_and(|n| n != 0) && !facts.root => Cause::AppArmor,
        (Some(n), false) if n != 0 => Cause::Seccomp,
        _ => Cause::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(step: Step, errno: Errno) -> Facts {
        Facts {
            os: Os::Linux,
            failure: Some((step, errno)),
            root: false,
            apparmor_restrict: None,
            unprivileged_clone: None,
            max_user_namespaces: Some(15_000),
            max_net_namespaces: Some(15_000),
            seccomp: Some(0),
            no_new_privs: false,
            container: false,
        }
    }

    #[test]
    fn each_cause_is_told_from_the_others() {
        let unshare = |errno| facts(Step::Unshare, errno);
        let cases: [(Cause, Facts); 16] = [
            (Cause::NotLinux, Facts { os: Os::Other, ..unshare(Errno::NOSYS) }),
            (Cause::NoUserNamespaces, unshare(Errno::INVAL)),
            (Cause::UnprivilegedClone, Facts { unprivileged_clone: Some(0), ..unshare(Errno::PERM) }),
            (Cause::MaxUserNamespaces, Facts { max_user_namespaces: Some(0), ..unshare(Errno::NOSPC) }),
            (Cause::TooManyNamespaces, unshare(Errno::NOSPC)),
            (Cause::MaxNetNamespaces, Facts { max_net_namespaces: Some(0), ..unshare(Errno::NOSPC) }),
            (Cause::AppArmor, Facts { apparmor_restrict: Some(1), ..facts(Step::UidMap, Errno::PERM) }),
            (Cause::AppArmor, Facts { apparmor_restrict: Some(1), ..facts(Step::MountRun, Errno::ACCESS) }),
            (Cause::AppArmor, Facts { apparmor_restrict: Some(1), ..facts(Step::Network, Errno::PERM) }),
            (Cause::AppArmor, Facts { apparmor_restrict: Some(1), ..unshare(Errno::ACCESS) }),
            (Cause::ContainerSeccomp, Facts { seccomp: Some(2), container: true, ..unshare(Errno::PERM) }),
            (Cause::Seccomp, Facts { seccomp: Some(2), ..unshare(Errno::PERM) }),
            (Cause::Container, Facts { seccomp: Some(2), container: true, ..facts(Step::MountRun, Errno::PERM) }),
            (Cause::NoNfTables, facts(Step::NfTables, Errno::PROTONOSUPPORT)),
            (Cause::Threads, facts(Step::Threads, Errno::INVAL)),
            (Cause::Unknown, unshare(Errno::PERM)),
        ];
        for (cause, facts) in cases {
            assert_eq!(diagnose(&facts), cause, "{facts:?}");
        }
    }

    #[test]
    fn without_a_failure_only_settings_speak() {
        let calm = Facts { failure: None, ..facts(Step::Unshare, Errno::PERM) };
        assert_eq!(diagnose(&calm), Cause::Unknown);
        assert_eq!(diagnose(&Facts { apparmor_restrict: Some(1), ..calm.clone() }), Cause::AppArmor);
        assert_eq!(diagnose(&Facts { max_user_namespaces: Some(0), ..calm }), Cause::MaxUserNamespaces);
    }

    #[test]
    fn a_refusal_names_step_error_cause_and_remedy() {
        let refusal = Refusal { step: Step::UidMap, errno: Errno::PERM, cause: Cause::AppArmor };
        let text = refusal.to_string();
        for part in ["/proc/self/uid_map", "AppArmor", "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"] {
            assert!(text.contains(part), "{text}");
        }
    }
}
