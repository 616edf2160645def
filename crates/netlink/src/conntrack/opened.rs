//! News of connections that are opened.

use std::time::Duration;

use super::{Entry, NEW};
use crate::{Buffers, Error, Protocol, Socket};

/// `NFNLGRP_CONNTRACK_NEW`.
const GROUP_NEW: u32 = 1;

/// Receives the entries that connection tracking makes in the network namespace that it was opened in. An entry is made
/// when the first packet has left, so a connection that is denied here never shows.
#[derive(Debug)]
pub struct OpenedListener {
    socket: Socket,
    overruns: u64,
}

impl OpenedListener {
    /// Opens a socket and joins the group. The kernel tells of connections from now on, where
    /// `net.netfilter.nf_conntrack_events` is not 0.
    ///
    /// # Errors
    /// As [`Socket::open`]; joining needs `CAP_NET_ADMIN` in the namespace's user namespace.
    pub fn open(buffers: Buffers) -> Result<Self, Error> {
        let mut socket = Socket::open_with(Protocol::Netfilter, buffers)?;
        socket.join(GROUP_NEW)?;
        Ok(Self { socket, overruns: 0 })
    }

    /// Waits up to `timeout` for connections; empty when there were none, or when they came faster than they were read.
    ///
    /// # Errors
    /// As [`Socket::recv`], but for [`Error::Overrun`], which is counted.
    pub fn next(&mut self, timeout: Duration) -> Result<Vec<Entry>, Error> {
        let messages = match self.socket.recv_timeout(timeout) {
            Ok(messages) => messages.unwrap_or_default(),
            Err(Error::Overrun) => {
                self.overruns += 1;
                return Ok(Vec::new());
            }
            Err(error) => return Err(error),
        };
        let mut entries = Vec::with_capacity(messages.len());
        for message in messages.iter().filter(|m| m.kind == NEW) {
            entries.extend(Entry::read(message)?);
        }
        Ok(entries)
    }

    /// How often the kernel had news that it could not deliver; how many each time it does not say.
    #[must_use]
    pub const fn overruns(&self) -> u64 {
        self.overruns
    }

    /// The socket, to poll.
    #[must_use]
    pub const fn socket(&self) -> &Socket {
        &self.socket
    }
}
