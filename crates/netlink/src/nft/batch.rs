//! Transactions: packing operations, sending, and finding out which one the kernel refused.

use rustix::io::Errno;

use super::{
    describe::describe,
    number::{BATCH_BEGIN, BATCH_END, BATCH_GENID, BATCH_RESOURCE},
    operation::{Encoded, Op, Request},
};
use crate::{
    EncodeError, Error, Message, Socket,
    message::{Ack, NLM_F_ACK, NLM_F_REQUEST},
    wire::{HEADER_LEN, Writer, align, frame},
};

/// `NFNL_MSG_BATCH_BEGIN` with a generation, and `NFNL_MSG_BATCH_END`.
const FRAME: usize = (HEADER_LEN + 4 + 8) + (HEADER_LEN + 4);

/// A transaction: all of its operations are applied, or none.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Batch {
    /// Messages without their sequence numbers, one after the other.
    messages: Vec<u8>,
    /// For each message, where it starts and which operation it is of.
    starts: Vec<(usize, usize)>,
}

impl Batch {
    /// One transaction of all these operations.
    ///
    /// # Errors
    /// [`EncodeError`] when one cannot be written.
    pub fn of<'a>(ops: impl IntoIterator<Item = &'a Op>) -> Result<Self, EncodeError> {
        Ok(Self::pack(ops, usize::MAX)?.pop().unwrap_or_default())
    }

    /// Packs operations, in their order, into as few transactions of at most `limit` bytes as that order allows. The
    /// elements of one operation may be spread over several; each transaction is atomic by itself only.
    ///
    /// `limit` should be at most [`Socket::send_limit`].
    ///
    /// # Errors
    /// [`EncodeError::Limit`] when a single operation, or a single element, takes more than `limit`.
    pub fn pack<'a>(ops: impl IntoIterator<Item = &'a Op>, limit: usize) -> Result<Vec<Self>, EncodeError> {
        let mut done = Vec::new();
        let mut current = Self::default();
        for (index, op) in ops.into_iter().enumerate() {
            match op.encode()? {
                Encoded::One(request) => {
                    let len = align(HEADER_LEN + request.body.len());
                    if current.len() + len > limit && !current.is_empty() {
                        done.push(std::mem::take(&mut current));
                    }
                    if current.len() + len > limit {
                        return Err(EncodeError::Limit {
                            operation: describe_request(&request),
                            len: FRAME + len,
                            limit,
                        });
                    }
                    current.append(&request, index)?;
                }
                Encoded::Elements(mut list) => {
                    while !list.is_empty() {
                        let room = limit.saturating_sub(current.len() + HEADER_LEN);
                        match list.next_request(room)? {
                            Some(request) => current.append(&request, index)?,
                            None if current.is_empty() => {
                                let whole = list.next_request(usize::MAX)?;
                                let len = whole.as_ref().map_or(0, |r| FRAME + HEADER_LEN + r.body.len());
                                let operation = whole.as_ref().map(describe_request).unwrap_or_default();
                                return Err(EncodeError::Limit { operation, len, limit });
                            }
                            None => done.push(std::mem::take(&mut current)),
                        }
                    }
                }
            }
        }
        if !current.is_empty() {
            done.push(current);
        }
        Ok(done)
    }

    /// Bytes on the wire, frame included.
    #[must_use]
    pub fn len(&self) -> usize {
        FRAME + self.messages.len()
    }

    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.starts.is_empty()
    }

    /// Messages between the frame's two.
    #[must_use]
    pub fn message_count(&self) -> usize {
        self.starts.len()
    }

    /// The messages between the frame's two, sequence numbers not yet filled in.
    #[must_use]
    pub fn message_bytes(&self) -> &[u8] {
        &self.messages
    }

    /// Sends the transaction and waits for the kernel's word. With `generation`, the kernel applies it only if the
    /// ruleset still is of that generation. An empty transaction is not sent.
    ///
    /// Every transaction that is applied moves the generation on by one.
    ///
    /// # Errors
    /// [`Error::Kernel`] naming the first refused operation, whose `index` counts in the operations given to
    /// [`Batch::pack`] or [`Batch::of`]; [`Error::Stale`] when the generation moved; [`Error::TooBig`] when the
    /// transaction does not fit; [`Error::Overrun`] when the outcome is unknown. So many refusals that their answers
    /// do not fit the receive buffer are still a refusal: the first answers are there.
    pub fn commit(&self, socket: &mut Socket, generation: Option<u32>) -> Result<(), Error> {
        if self.is_empty() {
            return Ok(());
        }
        if self.len() > socket.send_limit() {
            return Err(Error::TooBig { len: self.len(), limit: socket.send_limit() });
        }
        let count = u32::try_from(self.starts.len()).map_err(|_| Error::malformed("too many operations"))?;
        let first = socket.next_seq(count + 2);
        socket.send(&self.datagram(first, generation)?)?;
        let mut answers = Answers { first, count, refused: None, more: 0 };
        loop {
            let messages = match socket.recv_reply() {
                Ok(messages) => messages,
                Err(Error::Overrun) => {
                    answers.take(&socket.take_queued())?;
                    return answers.refused.map_or(Err(Error::Overrun), |r| Err(self.refusal(r, answers.more)));
                }
                Err(error) => return Err(error),
            };
            if answers.take(&messages)? {
                return answers.refused.map_or(Ok(()), |r| Err(self.refusal(r, answers.more)));
            }
        }
    }

    fn append(&mut self, request: &Request, op: usize) -> Result<(), EncodeError> {
        self.starts.push((self.messages.len(), op));
        frame(&mut self.messages, request.kind, request.flags | NLM_F_REQUEST, 0, &request.body)
    }

    fn datagram(&self, first: u32, generation: Option<u32>) -> Result<Vec<u8>, EncodeError> {
        let mut out = Vec::with_capacity(self.len());
        let mut begin = Writer::netfilter(0, BATCH_RESOURCE);
        if let Some(generation) = generation {
            begin.be32(BATCH_GENID, generation);
        }
        frame(&mut out, BATCH_BEGIN, NLM_F_REQUEST, first, &begin.finish()?)?;
        let base = out.len();
        out.extend_from_slice(&self.messages);
        let mut seq = first;
        for (at, _) in &self.starts {
            seq += 1;
            out[base + at + 8..base + at + 12].copy_from_slice(&seq.to_ne_bytes());
        }
        // Only the last operation asks for an answer: thousands would overrun the receive buffer. The end of the frame
        // is not answered before Linux 6.10.
        if let Some((at, _)) = self.starts.last() {
            let flags = &mut out[base + at + 6..base + at + 8];
            let with_ack = u16::from_ne_bytes([flags[0], flags[1]]) | NLM_F_ACK;
            flags.copy_from_slice(&with_ack.to_ne_bytes());
        }
        frame(&mut out, BATCH_END, NLM_F_REQUEST, seq + 1, &Writer::netfilter(0, BATCH_RESOURCE).finish()?)?;
        Ok(out)
    }

    fn refusal(&self, refused: Refused, more: usize) -> Error {
        let Refused { place, errno, message, offset } = refused;
        let place = (place as usize).checked_sub(1);
        let found = place.and_then(|n| self.starts.get(n).map(|&(start, op)| (n, start, op)));
        let (index, operation) = match found {
            Some((n, start, op)) => {
                let end = self.starts.get(n + 1).map_or(self.messages.len(), |next| next.0);
                (Some(op), describe(self.messages.get(start..end).unwrap_or_default(), offset))
            }
            None => (None, "transaction".to_owned()),
        };
        Error::Kernel { index, operation, errno, message, more }
    }
}

/// The first refusal of a transaction.
struct Refused {
    /// Of the message, from 1; 0 is the frame: the transaction as a whole.
    place: u32,
    errno: Errno,
    message: Option<String>,
    offset: Option<usize>,
}

/// What the kernel said to a transaction so far.
struct Answers {
    /// Sequence number of the frame.
    first: u32,
    /// Messages in the frame.
    count: u32,
    refused: Option<Refused>,
    /// Refusals after the first.
    more: usize,
}

impl Answers {
    /// Takes what arrived; tells whether that was all. The last operation is always answered, and after all others.
    fn take(&mut self, messages: &[Message]) -> Result<bool, Error> {
        for received in messages {
            // Replies of an earlier transaction whose outcome was lost may still be queued.
            let Some(place) = received.seq.checked_sub(self.first).filter(|&n| n <= self.count) else {
                continue;
            };
            let Some(Ack { errno, message, offset }) = received.ack()? else {
                continue;
            };
            match (errno, &self.refused) {
                (Some(Errno::RESTART), _) => return Err(Error::Stale),
                (Some(errno), None) => self.refused = Some(Refused { place, errno, message, offset }),
                (Some(_), Some(_)) => self.more += 1,
                (None, _) => {}
            }
            if place == 0 || place == self.count {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

fn describe_request(request: &Request) -> String {
    let mut message = Vec::new();
    match frame(&mut message, request.kind, request.flags, 0, &request.body) {
        Ok(()) => describe(&message, None),
        Err(_) => String::new(),
    }
}
