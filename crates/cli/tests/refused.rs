//! `lab run` where namespaces are refused for real: the engine's answer, headed as what it is, and exit code 2.
//!
//! Inside a lab its user is root of a user namespace, whose limits can be set without touching the machine's. As root
//! of the machine there is no such namespace, and the limit would be the machine's own: nothing is tried then.
#![cfg(target_os = "linux")]

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::process::{Command, Output};

fn tortie(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tortie")).args(arguments).env("NO_COLOR", "1").output().expect("tortie runs")
}

/// A lab in the background, ended with the test.
struct Lab(String);

impl Drop for Lab {
    fn drop(&mut self) {
        tortie(&["lab", "down", "--name", &self.0]);
    }
}

#[test]
fn where_no_packet_can_be_sent_the_matrix_says_that_it_is_predicted() {
    if fs::metadata("/proc/self").expect("/proc").uid() == 0 {
        eprintln!("not tried as root: the limit would be the machine's own");
        return;
    }
    let lab = Lab(format!("refused-{}", std::process::id()));
    let up = tortie(&["lab", "up", "--detach", "--name", &lab.0]);
    if !up.status.success() {
        let may_skip = std::env::var("TORTIE_ALLOW_SKIP").is_ok_and(|v| v == "1");
        assert!(may_skip, "namespaces are refused here: {}", String::from_utf8_lossy(&up.stderr));
        return;
    }
    let inside = format!("echo 0 > /proc/sys/user/max_net_namespaces && exec {} lab run", env!("CARGO_BIN_EXE_tortie"));
    let run = tortie(&["lab", "exec", "node/node-1", "--name", &lab.0, "--", "/bin/sh", "-c", &inside]);
    let (out, err) = (String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
    assert_eq!(run.status.code(), Some(2), "{out}\n{err}");
    assert!(out.contains("PREDICTED: no packet was sent"), "{out}\n{err}");
    assert!(out.contains("engine and plan agree") && !out.contains("kernel agree"), "{out}");
    assert!(err.contains("user.max_net_namespaces is 0") && err.contains("sudo sysctl -w"), "{err}");
}
