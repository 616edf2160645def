//! Netlink messages: the header, the stream of messages in a datagram, acknowledgements.

use rustix::io::Errno;

use crate::{
    Error,
    wire::{Attrs, HEADER_LEN, Messages},
};

/// `NLM_F_REQUEST`: set on everything sent to the kernel.
pub const NLM_F_REQUEST: u16 = 1;
/// `NLM_F_MULTI`: more messages follow, up to `NLMSG_DONE`.
pub const NLM_F_MULTI: u16 = 2;
/// `NLM_F_ACK`: answer with an error message even on success.
pub const NLM_F_ACK: u16 = 4;
/// `NLM_F_DUMP_INTR`: the dumped table changed while it was being dumped.
pub const NLM_F_DUMP_INTR: u16 = 0x10;
/// `NLM_F_DUMP`: return all objects.
pub const NLM_F_DUMP: u16 = 0x300;
/// `NLM_F_REPLACE`: replace an existing object.
pub const NLM_F_REPLACE: u16 = 0x100;
/// `NLM_F_EXCL`: fail if the object exists.
pub const NLM_F_EXCL: u16 = 0x200;
/// `NLM_F_CREATE`: create the object if it does not exist.
pub const NLM_F_CREATE: u16 = 0x400;
/// `NLM_F_APPEND`: add to the end of a list.
pub const NLM_F_APPEND: u16 = 0x800;
const NLM_F_CAPPED: u16 = 0x100;
const NLM_F_ACK_TLVS: u16 = 0x200;

/// `NLMSG_NOOP`.
pub const NLMSG_NOOP: u16 = 1;
/// `NLMSG_ERROR`: an acknowledgement or an error.
pub const NLMSG_ERROR: u16 = 2;
/// `NLMSG_DONE`: end of a dump.
pub const NLMSG_DONE: u16 = 3;

const NLMSGERR_ATTR_MSG: u16 = 1;
const NLMSGERR_ATTR_OFFS: u16 = 2;

/// One message as received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// `nlmsg_type`.
    pub kind: u16,
    /// `nlmsg_flags`.
    pub flags: u16,
    /// `nlmsg_seq`: that of the request; 0 for notifications.
    pub seq: u32,
    /// `nlmsg_pid`: the port of the process that the message is for, or that caused a notification.
    pub port: u32,
    /// What follows the 16 bytes of the header.
    pub body: Vec<u8>,
}

/// What an `NLMSG_ERROR` message says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ack {
    /// The reason of a refusal; `None` is success.
    pub errno: Option<Errno>,
    /// The kernel's words, if any.
    pub message: Option<String>,
    /// Offset of the offending attribute in the request, counted from the request's header.
    pub offset: Option<usize>,
}

impl Message {
    /// Splits a received datagram into its messages.
    ///
    /// # Errors
    /// [`Error::Malformed`] when a header's length does not fit the datagram.
    pub fn parse_all(datagram: &[u8]) -> Result<Vec<Self>, Error> {
        Messages::new(datagram).collect()
    }

    /// The acknowledgement or error in this message, if it is one (`NLMSG_ERROR`, or `NLMSG_DONE`, which may carry
    /// the error that ended a dump).
    ///
    /// # Errors
    /// [`Error::Malformed`] when an `NLMSG_ERROR` is too short for its number.
    pub fn ack(&self) -> Result<Option<Ack>, Error> {
        if self.kind != NLMSG_ERROR && self.kind != NLMSG_DONE {
            return Ok(None);
        }
        let code = match self.body.first_chunk::<4>() {
            Some(bytes) => i32::from_ne_bytes(*bytes),
            None if self.kind == NLMSG_DONE => 0,
            None => return Err(Error::malformed("error message without a number")),
        };
        let errno = (code != 0).then(|| Errno::from_raw_os_error(code.unsigned_abs().min(4095).cast_signed()));
        let tlvs = if self.flags & NLM_F_ACK_TLVS == 0 {
            &[][..]
        } else if self.kind == NLMSG_DONE {
            self.body.get(4..).unwrap_or_default()
        } else {
            // The request's header is echoed; its body too unless the socket asked for capped acknowledgements.
            let echoed = if self.flags & NLM_F_CAPPED != 0 {
                HEADER_LEN
            } else {
                let len = self.body.get(4..8).and_then(|b| b.first_chunk::<4>()).map_or(0, |b| u32::from_ne_bytes(*b));
                (len as usize).saturating_add(3) & !3
            };
            4usize.checked_add(echoed).and_then(|at| self.body.get(at..)).unwrap_or_default()
        };
        let attrs = Attrs::new(tlvs);
        Ok(Some(Ack {
            errno,
            message: attrs.get(NLMSGERR_ATTR_MSG).map(|a| a.text()),
            offset: attrs.get(NLMSGERR_ATTR_OFFS).and_then(|a| a.u32_ne().ok()).map(|o| o as usize),
        }))
    }
}
