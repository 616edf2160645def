//! Speaking with a lab that runs in another process of the same user: a request and a reply, one line of JSON each,
//! over a socket with an abstract name. Such a name is no file, so a lab that was killed leaves nothing behind.

pub mod background;
mod client;
mod server;
mod wire;

pub use client::{Connection, labs};
pub use server::{Goodbye, Listener};
pub use wire::{
    BlameLine, Decision, DryRunFlow, DryRunStatus, DryRunVerified, FlowLine, FlowReport, Input, LostLine, NodeStatus,
    NodeVerified, PodStatus, PolicyPlace, Probed, Reply, Request, ServiceStatus, SourceFile, Status, WitnessLine,
};

use std::io;

/// Name that a lab has unless told otherwise.
pub const DEFAULT_NAME: &str = "tortie";

/// What can go wrong between two processes.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// Names of labs are part of a socket's name.
    #[error("`{0}` cannot be the name of a lab: use 1 to 40 letters, digits and hyphens")]
    BadName(String),
    /// No lab listens under the name.
    #[error("no lab `{0}` is running; start one with `tortie lab up{hint}`", hint = name_hint(.0))]
    NotRunning(String),
    /// A lab listens under the name already.
    #[error("a lab `{0}` is running already; end it with `tortie lab down{hint}` or choose another --name", hint = name_hint(.0))]
    Running(String),
    /// The other side belongs to somebody else.
    #[error("the lab `{name}` belongs to user {uid}")]
    Foreign {
        /// Name of the lab.
        name: String,
        /// Numeric user id of its owner.
        uid: u32,
    },
    /// The conversation broke off.
    #[error("lab `{name}`: {operation}: {source}")]
    Io {
        /// Name of the lab.
        name: String,
        /// What was tried.
        operation: &'static str,
        /// Why it failed.
        source: io::Error,
    },
    /// The lab could not do what it was asked.
    #[error("{0}")]
    Refused(String),
}

fn name_hint(name: &str) -> String {
    if name == DEFAULT_NAME { String::new() } else { format!(" --name {name}") }
}

/// How abstract names of this user's labs begin.
fn prefix() -> String {
    format!("tortie-lab/{}/", rustix::process::getuid().as_raw())
}

fn address(name: &str) -> Result<std::os::unix::net::SocketAddr, ControlError> {
    use std::os::linux::net::SocketAddrExt;
    let fits = (1..=40).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    let bad = || ControlError::BadName(name.to_owned());
    if !fits {
        return Err(bad());
    }
    std::os::unix::net::SocketAddr::from_abstract_name(format!("{}{name}", prefix())).map_err(|_| bad())
}

/// Refuses to speak with anybody else's process: abstract names have no permissions of their own.
fn same_user(name: &str, stream: &std::os::unix::net::UnixStream) -> Result<(), ControlError> {
    let io = |e: rustix::io::Errno| ControlError::Io {
        name: name.to_owned(),
        operation: "ask who is there",
        source: e.into(),
    };
    let peer = rustix::net::sockopt::socket_peercred(stream).map_err(io)?;
    // Inside the lab's user namespace this user is root; the kernel translates to the reader's view.
    if peer.uid == rustix::process::getuid() {
        Ok(())
    } else {
        Err(ControlError::Foreign { name: name.to_owned(), uid: peer.uid.as_raw() })
    }
}
