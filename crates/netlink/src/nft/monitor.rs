//! News of changes to the ruleset.

use std::time::Duration;

use super::number::{GROUP_NFTABLES, generation, msg};
use crate::{
    Error, Message, Protocol, Socket,
    wire::{Attr, Attrs},
};

/// A transaction was applied, by whomever.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RulesetChanged {
    /// Generation of the ruleset after it.
    pub generation: u32,
    /// Netlink port of the socket that sent it: compare with [`Socket::port`] to know one's own changes.
    pub port: u32,
    /// Process that sent it; 0 when it is not of this pid namespace.
    pub pid: u32,
    /// Name of that process (`comm`, at most 15 bytes).
    pub process: String,
}

/// Receives [`RulesetChanged`] for the network namespace that it was opened in.
#[derive(Debug)]
pub struct Monitor {
    socket: Socket,
}

impl Monitor {
    /// Opens a socket and joins `NFNLGRP_NFTABLES`.
    ///
    /// # Errors
    /// As [`Socket::open`]; joining needs `CAP_NET_ADMIN` in the namespace's user namespace.
    pub fn open() -> Result<Self, Error> {
        let mut socket = Socket::open(Protocol::Netfilter)?;
        socket.join(GROUP_NFTABLES)?;
        Ok(Self { socket })
    }

    /// Waits up to `timeout` for changes; empty when there were none.
    ///
    /// # Errors
    /// [`Error::Overrun`] when news were lost, as happens around large transactions, whose every object is reported:
    /// take it for a change. Otherwise as [`Socket::recv`].
    pub fn next(&mut self, timeout: Duration) -> Result<Vec<RulesetChanged>, Error> {
        let Some(messages) = self.socket.recv_timeout(timeout)? else {
            return Ok(Vec::new());
        };
        messages.iter().filter(|m| m.kind == msg::NEWGEN).map(read).collect()
    }

    /// The socket, to poll.
    #[must_use]
    pub fn socket(&self) -> &Socket {
        &self.socket
    }
}

fn read(message: &Message) -> Result<RulesetChanged, Error> {
    let attrs = Attrs::netfilter(&message.body);
    Ok(RulesetChanged {
        generation: attrs.need(generation::ID, "generation")?.be32()?,
        port: message.port,
        pid: attrs.get(generation::PID).map_or(Ok(0), Attr::be32)?,
        process: attrs.get(generation::NAME).map(Attr::text).unwrap_or_default(),
    })
}
