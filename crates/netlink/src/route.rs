//! Links, addresses, routes and neighbours (`NETLINK_ROUTE`).
//!
//! Changes are gathered in a [`Batch`] and sent together: hundreds of them cost a handful of system calls. A batch is
//! not a transaction: the kernel executes its messages one after the other and goes on after a refusal.
//!
//! Numbers follow `include/uapi/linux/rtnetlink.h`, `if_link.h`, `if_addr.h` and `neighbour.h`.

mod batch;
mod object;

use std::time::{Duration, Instant};

use rustix::io::Errno;

use crate::{
    Error, Protocol, Socket,
    message::{NLM_F_ACK, NLMSG_ERROR},
    wire::{HEADER_LEN, align, frame},
};

use batch::Request;
pub use batch::{Batch, Veth};
pub use object::{Address, Link, OperState, Route};

const RTM_GETLINK: u16 = 18;
const RTM_NEWLINK: u16 = 16;
const RTM_GETADDR: u16 = 22;
const RTM_NEWADDR: u16 = 20;
const RTM_GETROUTE: u16 = 26;
const RTM_NEWROUTE: u16 = 24;
/// Multicast group of link changes.
const RTNLGRP_LINK: u32 = 1;

/// Messages sent at once. Every refusal is answered, and the answers must fit the receive buffer of an unprivileged
/// socket (425,984 bytes where `net.core.rmem_max` is untouched, about 1 KiB an answer).
const MESSAGES_AT_ONCE: usize = 256;

/// A connection to the routing subsystem of one network namespace: that of the thread that opened it.
#[derive(Debug)]
pub struct Routes {
    socket: Socket,
}

impl Routes {
    /// Opens a connection to the network namespace of the calling thread.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn open() -> Result<Self, Error> {
        Ok(Self { socket: Socket::open(Protocol::Route)? })
    }

    /// Executes a batch in order. What comes after a refused message is executed all the same.
    ///
    /// # Errors
    /// [`Error::Kernel`] for the first message that was refused, with how many others were; [`Error::Encode`] when a
    /// message could not be written, in which case nothing was sent.
    pub fn commit(&mut self, batch: Batch) -> Result<(), Error> {
        let requests = batch.finish()?;
        let mut refused: Vec<(usize, Errno, Option<String>)> = Vec::new();
        let mut start = 0;
        while start < requests.len() {
            let mut end = start;
            let mut len = 0;
            while end < requests.len()
                && end - start < MESSAGES_AT_ONCE
                && (end == start || len + HEADER_LEN + requests[end].body.len() <= self.socket.send_limit())
            {
                len += align(HEADER_LEN + requests[end].body.len());
                end += 1;
            }
            self.send_some(&requests[start..end], start, &mut refused)?;
            start = end;
        }
        refused.sort_by_key(|(index, ..)| *index);
        let more = refused.len().saturating_sub(1);
        match refused.into_iter().next() {
            None => Ok(()),
            Some((index, errno, message)) => Err(Error::Kernel {
                index: Some(index),
                operation: requests[index].operation.clone(),
                errno,
                message,
                more,
            }),
        }
    }

    /// Sends messages in one datagram; only the last asks for an acknowledgement, refusals come unasked.
    fn send_some(
        &mut self,
        requests: &[Request],
        offset: usize,
        refused: &mut Vec<(usize, Errno, Option<String>)>,
    ) -> Result<(), Error> {
        let count = u32::try_from(requests.len()).expect("bounded by MESSAGES_AT_ONCE");
        let first = self.socket.next_seq(count);
        let last = first + (count - 1);
        let mut datagram = Vec::new();
        for (seq, request) in (first..).zip(requests) {
            let flags = if seq == last { request.flags | NLM_F_ACK } else { request.flags };
            frame(&mut datagram, request.kind, flags, seq, &request.body)?;
        }
        self.socket.send(&datagram)?;
        loop {
            for message in self.socket.recv_reply()? {
                if message.kind != NLMSG_ERROR || message.seq < first || message.seq > last {
                    continue;
                }
                if let Some(ack) = message.ack()?
                    && let Some(errno) = ack.errno
                {
                    refused.push((offset + (message.seq - first) as usize, errno, ack.message));
                }
                if message.seq == last {
                    return Ok(());
                }
            }
        }
    }

    /// All links.
    ///
    /// # Errors
    /// As [`Socket::dump`].
    pub fn links(&mut self) -> Result<Vec<Link>, Error> {
        let messages = self.socket.dump(RTM_GETLINK, 0, &[0; 16], || "list links".to_owned())?;
        messages.iter().filter(|m| m.kind == RTM_NEWLINK).map(|m| Link::parse(&m.body)).collect()
    }

    /// The link of this name, if there is one.
    ///
    /// # Errors
    /// As [`Socket::dump`].
    pub fn link(&mut self, name: &str) -> Result<Option<Link>, Error> {
        Ok(self.links()?.into_iter().find(|l| l.name == name))
    }

    /// All addresses of both families.
    ///
    /// # Errors
    /// As [`Socket::dump`].
    pub fn addresses(&mut self) -> Result<Vec<Address>, Error> {
        let messages = self.socket.dump(RTM_GETADDR, 0, &[0; 8], || "list addresses".to_owned())?;
        messages.iter().filter(|m| m.kind == RTM_NEWADDR).filter_map(|m| Address::parse(&m.body).transpose()).collect()
    }

    /// The unicast, blackhole and unreachable routes of the main table, both families.
    ///
    /// # Errors
    /// As [`Socket::dump`].
    pub fn routes(&mut self) -> Result<Vec<Route>, Error> {
        let messages = self.socket.dump(RTM_GETROUTE, 0, &[0; 12], || "list routes".to_owned())?;
        messages.iter().filter(|m| m.kind == RTM_NEWROUTE).filter_map(|m| Route::parse(&m.body).transpose()).collect()
    }

    /// Waits until all these links are operational: administratively up, and their queues active. The kernel activates
    /// the first-opened side of a veth pair from a work queue; packets sent before that are lost.
    ///
    /// # Errors
    /// [`Error::Kernel`] with `ETIMEDOUT` naming the links that are not up after `timeout`; otherwise as
    /// [`Socket::dump`].
    pub fn wait_operational(&mut self, indices: &[u32], timeout: Duration) -> Result<(), Error> {
        if indices.is_empty() {
            return Ok(());
        }
        let deadline = Instant::now() + timeout;
        // Subscribed before the first look, so that no change falls between look and wait.
        let mut changes: Option<Socket> = None;
        loop {
            let links = self.links()?;
            let waiting: Vec<u32> = indices
                .iter()
                .copied()
                .filter(|i| !links.iter().any(|l| l.index == *i && l.state == OperState::Up))
                .collect();
            if waiting.is_empty() {
                // The kernel writes the state first and starts the queue afterwards, while it holds the lock that every
                // change takes (`linkwatch_do_dev`) and no list does. So any change is a barrier; this one changes nothing.
                let mut barrier = Batch::new();
                barrier.set_up(indices[0], true);
                return self.commit(barrier);
            }
            let Some(changes) = changes.as_mut() else {
                let mut socket = Socket::open(Protocol::Route)?;
                socket.join(RTNLGRP_LINK)?;
                changes = Some(socket);
                continue;
            };
            let left = deadline.saturating_duration_since(Instant::now());
            match changes.recv_timeout(left) {
                Ok(Some(_)) | Err(Error::Overrun) => {}
                Ok(None) => {
                    return Err(Error::Kernel {
                        index: None,
                        operation: format!("wait for links {waiting:?} to come up"),
                        errno: Errno::TIMEDOUT,
                        message: None,
                        more: 0,
                    });
                }
                Err(e) => return Err(e),
            }
        }
    }
}
