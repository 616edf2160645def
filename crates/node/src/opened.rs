//! Connections that went through a node.

use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tortie_model::{IpProtocol, Traffic};
use tortie_netlink::conntrack::{Entry, OpenedListener};
use tortie_netlink::{Error, Transport};

/// A connection whose first packet this node has let out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    /// The node.
    pub node: Arc<str>,
    /// Who opened it, before any translation of sources.
    pub source: IpAddr,
    /// Who it goes to, behind the translation of Services.
    pub destination: IpAddr,
    /// Protocol and destination port, behind the same translation.
    pub traffic: Traffic,
    /// When it was read.
    pub time: SystemTime,
}

/// Reads the connections of one node.
#[derive(Debug)]
pub struct OpenedReader {
    node: Arc<str>,
    listener: OpenedListener,
}

impl OpenedReader {
    pub(crate) const fn new(node: Arc<str>, listener: OpenedListener) -> Self {
        Self { node, listener }
    }

    /// The connections that were opened since the last call; does not wait for more.
    ///
    /// # Errors
    /// What the socket says.
    pub fn read(&mut self) -> Result<Vec<Opened>, Error> {
        let entries = self.listener.next(Duration::ZERO)?;
        let time = SystemTime::now();
        Ok(entries.iter().map(|entry| opened(self.node.clone(), entry, time)).collect())
    }

    /// The node.
    #[must_use]
    pub const fn node(&self) -> &Arc<str> {
        &self.node
    }

    /// How often the kernel could not deliver what it had to tell.
    #[must_use]
    pub const fn overruns(&self) -> u64 {
        self.listener.overruns()
    }
}

impl AsFd for OpenedReader {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.listener.socket().as_fd()
    }
}

/// What answers are expected from is what the connection goes to, whatever it was sent to.
fn opened(node: Arc<str>, entry: &Entry, time: SystemTime) -> Opened {
    let protocol = IpProtocol(entry.original.proto);
    let detail = match (entry.original.transport, entry.reply.transport) {
        (_, Transport::Ports { sport, .. }) => sport,
        (Transport::Icmp { kind, code, .. }, _) => u16::from_be_bytes([kind, code]),
        _ => 0,
    };
    let traffic = Traffic { protocol, detail };
    Opened { node, source: entry.original.src, destination: entry.reply.src, traffic, time }
}
