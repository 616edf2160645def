//! `tortie doctor`: what this machine has, what each lack costs, and the line that mends it.
// Elsewhere than on Linux there is one finding.
#![cfg_attr(not(target_os = "linux"), allow(dead_code))]

use crate::failure::{Failure, Outcome};
use crate::terminal::{ALLOW, DENY, FAINT, STRONG, WARN, print, styled};

/// How grave a lack is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Fine,
    /// Something is weaker without it.
    Weaker,
    /// Something does not work without it.
    Missing,
}

/// One line of the report.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Finding {
    state: State,
    what: String,
    /// What the lack costs.
    cost: String,
    /// What mends it.
    remedy: String,
}

impl Finding {
    fn fine(what: impl Into<String>) -> Self {
        Self { state: State::Fine, what: what.into(), cost: String::new(), remedy: String::new() }
    }

    fn lack(state: State, what: impl Into<String>, cost: &str, remedy: impl Into<String>) -> Self {
        Self { state, what: what.into(), cost: cost.to_owned(), remedy: remedy.into() }
    }
}

pub(crate) fn run() -> Result<Outcome, Failure> {
    let findings = examine();
    print(&text(&findings))?;
    Ok(Outcome::findings_if(findings.iter().any(|f| f.state == State::Missing)))
}

fn text(findings: &[Finding]) -> String {
    let mut out = String::new();
    for finding in findings {
        let state = match finding.state {
            State::Fine => styled(ALLOW, "ok      "),
            State::Weaker => styled(WARN, "weaker  "),
            State::Missing => styled(DENY, "missing "),
        };
        out.push_str(&format!("{state} {}\n", finding.what));
        if finding.state != State::Fine {
            out.push_str(&format!("           costs  {}\n", finding.cost));
            out.push_str(&format!("           mend   {}\n", styled(STRONG, &finding.remedy)));
        }
    }
    let verdict = if findings.iter().any(|f| f.state == State::Missing) {
        "`tortie explain`, `check` and `examples` work here; what is missing is named above"
    } else {
        "everything works here; try `tortie lab run`"
    };
    out.push_str(&format!("\n{}\n", styled(FAINT, verdict)));
    out
}

/// The oldest kernel that tortie is meant for.
const OLDEST: (u32, u32) = (5, 15);

/// A kernel release such as `6.8.0-45-generic`.
fn kernel(release: &str) -> Finding {
    let what = format!("Linux {release} ({})", std::env::consts::ARCH);
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse::<u32>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) if (major, minor) < OLDEST => Finding::lack(
            State::Weaker,
            what,
            "tortie is tested from Linux 5.15 on; features are tried below, whatever the version",
            "use a newer kernel",
        ),
        _ => Finding::fine(what),
    }
}

/// SCTP, by whether the kernel has sockets for it and whether connection tracking knows its ports.
fn sctp(sockets: bool, tracked: bool) -> Vec<Finding> {
    let mut findings = vec![if sockets {
        Finding::fine("SCTP sockets: SCTP probes are associations")
    } else {
        let cost =
            "SCTP probes are first packets made by hand: policy decides about them all the same, no data follows";
        Finding::lack(State::Weaker, "SCTP sockets", cost, "sudo modprobe sctp, or a kernel with CONFIG_IP_SCTP")
    }];
    if !tracked {
        let cost = "to connection tracking all SCTP between two addresses is one connection: once one port is allowed, the \
                    others are, and Services cannot translate SCTP ports";
        let what = "connection tracking of SCTP";
        findings.push(Finding::lack(State::Missing, what, cost, "a kernel with CONFIG_NF_CT_PROTO_SCTP"));
    }
    findings
}

#[cfg(target_os = "linux")]
fn examine() -> Vec<Finding> {
    use tortie_lab::features::{Feature, features};
    use tortie_lab::sandbox::{Sandbox, ipv6_available};

    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mut findings = vec![kernel(release.trim())];
    match Sandbox::enter() {
        Ok(sandbox) if sandbox.has_user_namespace() => {
            findings.push(Finding::fine("user, network and mount namespaces, without root"));
        }
        Ok(_) => findings.push(Finding::fine("network and mount namespaces, as root")),
        Err(refusal) => {
            let what = format!("namespaces: {}: {} ({})", refusal.step, refusal.errno, refusal.cause);
            let cost = "no packets can be sent: `tortie lab run` predicts instead, the other lab commands do not work";
            findings.push(Finding::lack(State::Missing, what, cost, refusal.cause.remedy()));
            // Features can only be tried inside.
            return findings;
        }
    }
    findings.push(if ipv6_available() {
        Finding::fine("IPv6")
    } else {
        let cost = "cases that ask for IPv6 cannot be played";
        Finding::lack(State::Weaker, "IPv6", cost, "boot without ipv6.disable=1, or write `families: [IPv4]`")
    });
    let features = features();
    for missing in features.missing() {
        let (state, cost) = match missing.feature {
            Feature::Owner | Feature::Persist => (
                State::Weaker,
                "root's other programs could change the policy table; it would be noticed, not prevented",
            ),
            Feature::ConntrackLabel => (State::Weaker, "nothing here; another mark is used"),
            Feature::Reject => (State::Weaker, "denied packets can only be dropped silently, as is the default"),
            Feature::LogGroup => (State::Missing, "drops cannot be seen: every denied probe would count as lost"),
            Feature::ConntrackMark | Feature::ConntrackList => {
                (State::Missing, "established connections cannot be cut when a policy forbids them")
            }
            Feature::Nat | Feature::Masquerade | Feature::Redirect | Feature::Numgen => {
                (State::Missing, "Services and pods that answer on every port cannot be made in the lab")
            }
            _ => (State::Missing, "policies cannot be enforced"),
        };
        findings.push(Finding::lack(state, format!("nf_tables: {}", missing.feature), cost, missing.feature.needs()));
    }
    if features.missing().is_empty() {
        findings.push(Finding::fine(format!("nf_tables: all {} features that are used", Feature::ALL.len())));
    }
    // Asked last: trying the features has loaded connection tracking.
    findings.extend(sctp(tortie_lab::sctp::has_sockets(), tortie_lab::sctp::is_tracked()));
    findings
}

#[cfg(not(target_os = "linux"))]
fn examine() -> Vec<Finding> {
    let what = format!("Linux (this is {} on {})", std::env::consts::OS, std::env::consts::ARCH);
    let cost = "no packets can be sent: `tortie lab run` predicts instead";
    vec![Finding::lack(
        State::Missing,
        what,
        cost,
        "use a virtual machine with Linux, such as Lima, WSL 2 or Multipass",
    )]
}

#[cfg(test)]
mod tests {
    use super::*;
    use anstream::adapter::strip_str;

    #[test]
    fn each_lack_says_what_it_costs_and_what_mends_it() {
        let findings = [
            kernel("6.8.0-45-generic"),
            Finding::lack(State::Missing, "namespaces: unshare(2)", "no packets", "sudo sysctl -w x=1"),
        ];
        let text = strip_str(&text(&findings)).to_string();
        assert!(text.starts_with("ok       Linux 6.8.0-45-generic ("), "{text}");
        assert!(
            text.contains(
                "missing  namespaces: unshare(2)\n           costs  no packets\n           mend   sudo sysctl"
            ),
            "{text}"
        );
        assert!(!text.contains("lab run"), "{text}");
    }

    #[test]
    fn what_sctp_costs_is_said() {
        let states = |sockets, tracked| sctp(sockets, tracked).iter().map(|f| f.state).collect::<Vec<_>>();
        assert_eq!(states(true, true), [State::Fine]);
        assert_eq!(states(false, true), [State::Weaker]);
        assert_eq!(states(true, false), [State::Fine, State::Missing]);
    }

    #[test]
    fn an_old_kernel_is_named() {
        assert_eq!(kernel("5.10.0").state, State::Weaker);
        assert_eq!(kernel("5.15.0-1").state, State::Fine);
        assert_eq!(kernel("").state, State::Fine);
    }
}
