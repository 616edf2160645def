//! A synchronous netlink socket.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd},
    time::{Duration, Instant},
};

use netlink_sys::{SocketAddr, protocols};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    net::{RecvFlags, SendFlags, sockopt},
};

use crate::{
    Error, Tap,
    message::{
        Message, NLM_F_ACK, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_MULTI, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR,
        NLMSG_NOOP,
    },
    wire::{HEADER_LEN, frame},
};

/// What the socket talks to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// `NETLINK_ROUTE`: links, addresses, routes, neighbours.
    Route,
    /// `NETLINK_NETFILTER`: nf_tables, conntrack, NFLOG.
    Netfilter,
}

/// Buffer sizes to ask for, in bytes as `SO_SNDBUF` and `SO_RCVBUF` count them (the kernel grants double).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Buffers {
    /// Bounds the largest request, hence the largest transaction.
    pub send: usize,
    /// Bounds the replies and notifications that may wait.
    pub receive: usize,
}

impl Default for Buffers {
    fn default() -> Self {
        Self { send: 8 << 20, receive: 8 << 20 }
    }
}

/// Bytes that one `recv` can take. Dumps come in datagrams of at most 32 KiB, acknowledgements are small, and an NFLOG
/// datagram is bounded by the buffer size that the listener configures (128 KiB at most).
const RECEIVE_CHUNK: usize = 256 << 10;

/// How often a dump that the kernel marks as interrupted is started again.
const DUMP_ATTEMPTS: u32 = 20;

/// The kernel answers a request before it returns from sending it, so a reply that is not there at once was lost, and
/// waiting for longer than this would be waiting forever.
const REPLY_TIMEOUT: Duration = Duration::from_secs(10);

/// A netlink socket, connected to the kernel.
///
/// It belongs to the network namespace of the thread that opened it and may then be used from any thread. Being
/// connected to port 0, it takes no unicast messages from other processes.
#[derive(Debug)]
pub struct Socket {
    inner: netlink_sys::Socket,
    port: u32,
    seq: u32,
    send_buffer: usize,
    /// Replies were lost: the kernel drops all further ones, silently, until the queue is empty.
    congested: bool,
    chunk: Vec<u8>,
    tap: Option<Box<dyn Tap>>,
}

impl Socket {
    /// Opens a socket in the network namespace of the calling thread, with large buffers where they are granted.
    ///
    /// # Errors
    /// [`Error::Io`] when the kernel lacks the protocol or refuses.
    pub fn open(protocol: Protocol) -> Result<Self, Error> {
        Self::open_with(protocol, Buffers::default())
    }

    /// Opens a socket with buffers of these sizes.
    ///
    /// `SO_SNDBUFFORCE` needs `CAP_NET_ADMIN` in the initial user namespace; elsewhere the plain option is used, which
    /// `net.core.wmem_max` caps silently. [`Socket::send_limit`] tells what was granted.
    ///
    /// # Errors
    /// As [`Socket::open`].
    pub fn open_with(protocol: Protocol, buffers: Buffers) -> Result<Self, Error> {
        let number = match protocol {
            Protocol::Route => protocols::NETLINK_ROUTE,
            Protocol::Netfilter => protocols::NETLINK_NETFILTER,
        };
        let mut inner = netlink_sys::Socket::new(number).map_err(from_std("open"))?;
        let port = inner.bind_auto().map_err(from_std("bind"))?.port_number();
        inner.set_ext_ack(true).map_err(from_std("NETLINK_EXT_ACK"))?;
        inner.set_cap_ack(true).map_err(from_std("NETLINK_CAP_ACK"))?;
        inner.connect(&SocketAddr::new(0, 0)).map_err(from_std("connect"))?;
        let fd = inner.as_fd();
        if sockopt::set_socket_send_buffer_size_force(fd, buffers.send).is_err() {
            sockopt::set_socket_send_buffer_size(fd, buffers.send).map_err(Error::io("SO_SNDBUF"))?;
        }
        if sockopt::set_socket_recv_buffer_size_force(fd, buffers.receive).is_err() {
            sockopt::set_socket_recv_buffer_size(fd, buffers.receive).map_err(Error::io("SO_RCVBUF"))?;
        }
        let send_buffer = sockopt::socket_send_buffer_size(fd).map_err(Error::io("SO_SNDBUF"))?;
        // Sequence numbers start apart from 0, which notifications carry.
        Ok(Self { inner, port, seq: 1, send_buffer, congested: false, chunk: vec![0; RECEIVE_CHUNK], tap: None })
    }

    /// Lets everything from now on go through `tap`.
    pub fn set_tap(&mut self, tap: Box<dyn Tap>) {
        self.tap = Some(tap);
    }

    /// The port by which the kernel knows this socket.
    #[must_use]
    pub fn port(&self) -> u32 {
        self.port
    }

    /// Most bytes that [`Socket::send`] can send at once: the granted send buffer less the kernel's own overhead of 32
    /// bytes (`netlink_sendmsg`).
    #[must_use]
    pub fn send_limit(&self) -> usize {
        self.send_buffer.saturating_sub(32)
    }

    /// Reserves `count` consecutive sequence numbers and returns the first.
    pub fn next_seq(&mut self, count: u32) -> u32 {
        if self.seq.checked_add(count).is_none() {
            self.seq = 1;
        }
        let first = self.seq;
        self.seq += count;
        first
    }

    /// Receives notifications of a multicast group.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn join(&mut self, group: u32) -> Result<(), Error> {
        self.inner.add_membership(group).map_err(from_std("NETLINK_ADD_MEMBERSHIP"))
    }

    /// Stops receiving notifications of a multicast group.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn leave(&mut self, group: u32) -> Result<(), Error> {
        self.inner.drop_membership(group).map_err(from_std("NETLINK_DROP_MEMBERSHIP"))
    }

    /// Reports lost messages no longer as [`Error::Overrun`]; for subscribers that count gaps themselves.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn ignore_overrun(&mut self) -> Result<(), Error> {
        self.inner.set_no_enobufs(true).map_err(from_std("NETLINK_NO_ENOBUFS"))
    }

    /// Sends one datagram of complete messages. After an [`Error::Overrun`], what is still queued is thrown away first, or
    /// else the kernel would drop the replies to this one too.
    ///
    /// # Errors
    /// [`Error::TooBig`] when it does not fit the send buffer, [`Error::Io`] otherwise.
    pub fn send(&mut self, datagram: &[u8]) -> Result<(), Error> {
        self.drain_if_congested();
        let too_big = Error::TooBig { len: datagram.len(), limit: self.send_limit() };
        if datagram.len() > self.send_limit() {
            return Err(too_big);
        }
        let tapped = match &mut self.tap {
            Some(tap) => {
                let mut changed = datagram.to_vec();
                tap.send(&mut changed).map_err(Error::io("send"))?;
                Some(changed)
            }
            None => None,
        };
        let datagram = tapped.as_deref().unwrap_or(datagram);
        loop {
            match rustix::net::send(&self.inner, datagram, SendFlags::empty()) {
                Ok(_) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(Errno::MSGSIZE) => return Err(too_big),
                Err(errno) => return Err(Error::io("send")(errno)),
            }
        }
    }

    /// Waits for a datagram and returns its messages.
    ///
    /// # Errors
    /// [`Error::Overrun`] when messages were lost, [`Error::Malformed`] when the datagram is truncated or does not
    /// parse, [`Error::Io`] otherwise.
    pub fn recv(&mut self) -> Result<Vec<Message>, Error> {
        loop {
            match rustix::net::recv(&self.inner, &mut self.chunk[..], RecvFlags::TRUNC) {
                Ok((_, len)) => {
                    let Some(datagram) = self.chunk.get(..len) else {
                        let have = self.chunk.len();
                        return Err(Error::malformed(format!("datagram of {len} bytes, buffer of {have}")));
                    };
                    let lost = self.tap.as_mut().and_then(|tap| tap.receive(datagram).err());
                    return match lost {
                        Some(errno) => Err(Error::io("receive")(errno)),
                        None => Message::parse_all(datagram),
                    };
                }
                Err(Errno::INTR) => {}
                Err(errno) => {
                    self.congested |= errno == Errno::NOBUFS;
                    return Err(Error::io("receive")(errno));
                }
            }
        }
    }

    /// As [`Socket::recv`], for the reply to a request that was just sent.
    ///
    /// # Errors
    /// As [`Socket::recv`], and [`Error::Io`] with `ETIMEDOUT` when there is none.
    pub fn recv_reply(&mut self) -> Result<Vec<Message>, Error> {
        let lost = Error::Io { operation: "wait for a reply", errno: Errno::TIMEDOUT };
        self.recv_timeout(REPLY_TIMEOUT)?.ok_or(lost)
    }

    /// As [`Socket::recv`], but gives up after `timeout` with `None`.
    ///
    /// # Errors
    /// As [`Socket::recv`].
    pub fn recv_timeout(&mut self, timeout: Duration) -> Result<Option<Vec<Message>>, Error> {
        let deadline = Instant::now().checked_add(timeout);
        loop {
            let left = deadline.map(|d| d.saturating_duration_since(Instant::now()));
            let left = left.and_then(|l| Timespec::try_from(l).ok());
            match poll(&mut [PollFd::new(&self.inner, PollFlags::IN)], left.as_ref()) {
                Ok(0) => return Ok(None),
                Ok(_) => return self.recv().map(Some),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(Error::io("poll")(errno)),
            }
        }
    }

    /// Sends a request and waits for its acknowledgement. `body` is what follows the header; `operation` names the
    /// request in errors. Returns the messages that came before the acknowledgement.
    ///
    /// # Errors
    /// [`Error::Kernel`] with the reason of a refusal, otherwise as [`Socket::send`] and [`Socket::recv`].
    pub fn request(
        &mut self,
        kind: u16,
        flags: u16,
        body: &[u8],
        operation: impl FnOnce() -> String,
    ) -> Result<Vec<Message>, Error> {
        let seq = self.send_request(kind, flags | NLM_F_ACK, body)?;
        let mut replies = Vec::new();
        loop {
            for message in self.recv_reply()? {
                if message.seq != seq || message.kind == NLMSG_NOOP {
                    continue;
                }
                if message.kind == NLMSG_ERROR {
                    return match refusal(&message)? {
                        Some((errno, text)) => Err(kernel_error(operation(), errno, text)),
                        None => Ok(replies),
                    };
                }
                replies.push(message);
            }
        }
    }

    /// Sends a request with `NLM_F_DUMP` and gathers the answers. Starts again when the kernel says that the table
    /// changed meanwhile, so the result is consistent.
    ///
    /// # Errors
    /// [`Error::Interrupted`] when the table kept changing, otherwise as [`Socket::request`].
    pub fn dump(
        &mut self,
        kind: u16,
        flags: u16,
        body: &[u8],
        operation: impl Fn() -> String,
    ) -> Result<Vec<Message>, Error> {
        for _ in 0..DUMP_ATTEMPTS {
            if let Some(messages) = self.dump_once(kind, flags, body, &operation)? {
                return Ok(messages);
            }
        }
        Err(Error::Interrupted { operation: operation() })
    }

    fn dump_once(
        &mut self,
        kind: u16,
        flags: u16,
        body: &[u8],
        operation: &impl Fn() -> String,
    ) -> Result<Option<Vec<Message>>, Error> {
        let seq = self.send_request(kind, flags | NLM_F_DUMP, body)?;
        let mut messages = Vec::new();
        let mut interrupted = false;
        loop {
            for message in self.recv_reply()? {
                if message.seq != seq || message.kind == NLMSG_NOOP {
                    continue;
                }
                interrupted |= message.flags & NLM_F_DUMP_INTR != 0;
                let last = message.flags & NLM_F_MULTI == 0;
                if message.kind == NLMSG_ERROR || message.kind == NLMSG_DONE {
                    return match refusal(&message)? {
                        // Some dumps report a change as an error instead of a flag.
                        Some((Errno::INTR | Errno::AGAIN, _)) => Ok(None),
                        Some((errno, text)) => Err(kernel_error(operation(), errno, text)),
                        None => Ok((!interrupted).then_some(messages)),
                    };
                }
                messages.push(message);
                if last {
                    return Ok((!interrupted).then_some(messages));
                }
            }
        }
    }

    /// What arrived before messages were lost, as far as it can be read. Nothing else is waiting then.
    pub(crate) fn take_queued(&mut self) -> Vec<Message> {
        let mut messages = Vec::new();
        loop {
            let flags = RecvFlags::DONTWAIT | RecvFlags::TRUNC;
            match rustix::net::recv(&self.inner, &mut self.chunk[..], flags) {
                Ok((_, len)) => {
                    let datagram = self.chunk.get(..len).map(Message::parse_all);
                    messages.extend(datagram.and_then(Result::ok).unwrap_or_default());
                }
                Err(Errno::INTR | Errno::NOBUFS) => {}
                Err(_) => break,
            }
        }
        self.congested = false;
        messages
    }

    fn drain_if_congested(&mut self) {
        while self.congested {
            let flags = RecvFlags::DONTWAIT | RecvFlags::TRUNC;
            match rustix::net::recv(&self.inner, &mut self.chunk[..], flags) {
                Ok(_) | Err(Errno::INTR | Errno::NOBUFS) => {}
                Err(_) => self.congested = false,
            }
        }
    }

    fn send_request(&mut self, kind: u16, flags: u16, body: &[u8]) -> Result<u32, Error> {
        let seq = self.next_seq(1);
        let mut datagram = Vec::with_capacity(HEADER_LEN + body.len());
        frame(&mut datagram, kind, flags | NLM_F_REQUEST, seq, body)?;
        self.send(&datagram)?;
        Ok(seq)
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inner.as_fd()
    }
}

fn refusal(message: &Message) -> Result<Option<(Errno, Option<String>)>, Error> {
    Ok(message.ack()?.and_then(|ack| ack.errno.map(|errno| (errno, ack.message))))
}

fn kernel_error(operation: String, errno: Errno, message: Option<String>) -> Error {
    Error::Kernel { index: None, operation, errno, message, more: 0 }
}

fn from_std(operation: &'static str) -> impl Fn(io::Error) -> Error {
    move |e| Error::io(operation)(Errno::from_io_error(&e).unwrap_or(Errno::IO))
}
