//! NFLOG: packets that rules with `log group` report.

use std::time::{Duration, SystemTime};

use rustix::net::sockopt;

use crate::{
    Error, Message, PacketTuple, Protocol, Socket,
    wire::{Attr, Attrs, Writer},
};

/// `NFNL_SUBSYS_ULOG`; `NFULNL_MSG_PACKET` is 0 within it.
const PACKET: u16 = 4 << 8;
/// `NFULNL_MSG_CONFIG`.
const CONFIG: u16 = PACKET | 1;

const CFG_CMD: u16 = 1;
const CFG_MODE: u16 = 2;
const CFG_BUFFER: u16 = 3;
const CFG_TIMEOUT: u16 = 4;
const CFG_THRESHOLD: u16 = 5;
const CFG_FLAGS: u16 = 6;
const CMD_BIND: u8 = 1;
const COPY_PACKET: u8 = 2;
/// `NFULNL_CFG_F_SEQ`.
const FLAG_SEQ: u16 = 1;

const HEADER: u16 = 1;
const MARK: u16 = 2;
const TIMESTAMP: u16 = 3;
const IIF: u16 = 4;
const OIF: u16 = 5;
const PAYLOAD: u16 = 9;
const PREFIX: u16 = 10;
const SEQ: u16 = 12;

/// How a group is listened to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogOptions {
    /// Bytes of each packet to deliver, from the network header on. A rule's own snap length can only lower it.
    pub snaplen: u32,
    /// Packets to gather before they are delivered together. A rule's own threshold replaces it.
    pub threshold: u32,
    /// Longest time that a packet waits for others, rounded to hundredths of a second.
    pub timeout: Duration,
    /// Bytes of the kernel's buffer for gathering, at most 128 KiB.
    pub gather_buffer: u32,
    /// Bytes of the socket's receive buffer; `net.core.rmem_max` caps it without privileges.
    pub receive_buffer: usize,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self {
            snaplen: 128,
            threshold: 32,
            timeout: Duration::from_millis(100),
            gather_buffer: 64 << 10,
            receive_buffer: 8 << 20,
        }
    }
}

/// One logged packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEvent {
    /// The rule's prefix.
    pub prefix: String,
    /// Where the rule sits (`enum nf_inet_hooks`): 0 prerouting, 1 input, 2 forward, 3 output, 4 postrouting.
    pub hook: u8,
    /// Ethernet type: 0x0800 IPv4, 0x86dd IPv6; 0 for packets that this host sends.
    pub ethertype: u16,
    /// Index of the incoming interface.
    pub iif: Option<u32>,
    /// Index of the outgoing interface.
    pub oif: Option<u32>,
    /// The packet's mark; 0 when it has none.
    pub mark: u32,
    /// When the packet was received; packets that were never received have none.
    pub time: Option<SystemTime>,
    /// Number of this packet in its group, from 0: a gap means lost ones.
    pub seq: Option<u32>,
    /// The packet's first bytes.
    pub payload: Vec<u8>,
}

impl LogEvent {
    /// The flow that the packet belongs to, if its headers could be read.
    #[must_use]
    pub fn tuple(&self) -> Option<PacketTuple> {
        PacketTuple::parse(&self.payload)
    }

    /// Reads the message of one packet.
    ///
    /// # Errors
    /// [`Error::Malformed`].
    pub fn read(message: &Message) -> Result<Self, Error> {
        let attrs = Attrs::netfilter(&message.body);
        let [e0, e1, hook, _] = attrs.need(HEADER, "header of a logged packet")?.array()?;
        let number = |kind| attrs.get(kind).map(Attr::be32).transpose();
        let time = match attrs.get(TIMESTAMP) {
            Some(stamp) => {
                let bytes: [u8; 16] = stamp.array()?;
                let half = |at: usize| bytes[at..].first_chunk::<8>().map_or(0, |b| u64::from_be_bytes(*b));
                let micros = u32::try_from(half(8)).unwrap_or(0).min(999_999);
                SystemTime::UNIX_EPOCH.checked_add(Duration::new(half(0), micros * 1000))
            }
            None => None,
        };
        Ok(Self {
            prefix: attrs.get(PREFIX).map(Attr::text).unwrap_or_default(),
            hook,
            ethertype: u16::from_be_bytes([e0, e1]),
            iif: number(IIF)?,
            oif: number(OIF)?,
            mark: number(MARK)?.unwrap_or(0),
            time,
            seq: number(SEQ)?,
            payload: attrs.get(PAYLOAD).map(|p| p.value.to_vec()).unwrap_or_default(),
        })
    }
}

/// Listens to one log group of the network namespace that it was opened in. A group has one listener at a time.
#[derive(Debug)]
pub struct LogListener {
    socket: Socket,
    next_seq: Option<u32>,
    lost: u64,
}

impl LogListener {
    /// Binds `group`.
    ///
    /// # Errors
    /// [`Error::Kernel`] with `EPERM` when another socket listens to the group already, or without `CAP_NET_ADMIN` in
    /// the namespace; otherwise as [`Socket::request`].
    pub fn bind(group: u16, options: LogOptions) -> Result<Self, Error> {
        let buffers = crate::Buffers { send: 64 << 10, receive: options.receive_buffer };
        let mut socket = Socket::open_with(Protocol::Netfilter, buffers)?;
        // Losses show as gaps in the sequence; an error on top would only interrupt reading.
        socket.ignore_overrun()?;
        let mut configure = |what: &str, write: &dyn Fn(&mut Writer)| -> Result<(), Error> {
            let mut w = Writer::netfilter(0, group);
            write(&mut w);
            socket.request(CONFIG, 0, &w.finish()?, || format!("log group {group}: {what}")).map(drop)
        };
        configure("bind", &|w| w.u8(CFG_CMD, CMD_BIND))?;
        configure("set options", &|w| {
            let mut mode = options.snaplen.to_be_bytes().to_vec();
            mode.extend_from_slice(&[COPY_PACKET, 0]);
            w.bytes(CFG_MODE, &mode);
            w.be32(CFG_BUFFER, options.gather_buffer);
            let hundredths = options.timeout.as_millis().div_ceil(10);
            w.be32(CFG_TIMEOUT, u32::try_from(hundredths).unwrap_or(u32::MAX));
            w.be32(CFG_THRESHOLD, options.threshold);
            w.be16(CFG_FLAGS, FLAG_SEQ);
        })?;
        Ok(Self { socket, next_seq: None, lost: 0 })
    }

    /// Waits up to `timeout` for packets; empty when there were none.
    ///
    /// # Errors
    /// As [`Socket::recv`].
    pub fn next(&mut self, timeout: Duration) -> Result<Vec<LogEvent>, Error> {
        let Some(messages) = self.socket.recv_timeout(timeout)? else { return Ok(Vec::new()) };
        let mut events = Vec::with_capacity(messages.len());
        for message in messages.iter().filter(|m| m.kind == PACKET) {
            let event = LogEvent::read(message)?;
            if let Some(seq) = event.seq {
                // Numbers start at 0 with the binding, so packets lost before the first delivery count too.
                self.lost += u64::from(seq.wrapping_sub(self.next_seq.unwrap_or(0)));
                self.next_seq = Some(seq.wrapping_add(1));
            }
            events.push(event);
        }
        Ok(events)
    }

    /// Packets that were logged but not delivered, as far as the sequence numbers tell so far.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// Bytes that the socket's receive buffer was granted.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn receive_buffer(&self) -> Result<usize, Error> {
        sockopt::socket_recv_buffer_size(&self.socket).map_err(Error::io("SO_RCVBUF"))
    }

    /// The socket, to poll.
    #[must_use]
    pub fn socket(&self) -> &Socket {
        &self.socket
    }
}
