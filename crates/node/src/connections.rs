//! The kernel's tracked connections, judged and mended.

use tortie_model::{IpProtocol, Traffic};
use tortie_netlink::conntrack::{self, Entry, Family, Masked};
use tortie_netlink::{Error, Protocol, Socket, Transport};
use tortie_plan::NodeFacts;
use tortie_policy::Index;

use crate::concern::Concerned;
use crate::revocation::{Remedy, Tracked, judge};

/// What a sweep did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Connections that were looked at.
    pub judged: usize,
    /// Connections that are forbidden since.
    pub marked: usize,
    /// Connections that are allowed again.
    pub unmarked: usize,
    /// Connections of pods that are gone.
    pub deleted: usize,
}

/// A socket to the connection tracking of one network namespace.
#[derive(Debug)]
pub(crate) struct Connections {
    socket: Socket,
    mark: u32,
}

impl Connections {
    /// For the namespace of the calling thread; `mark` is the bit of the connection mark that only revocation uses.
    pub(crate) fn open(mark: u32) -> Result<Self, Error> {
        Ok(Self { socket: Socket::open(Protocol::Netfilter)?, mark })
    }

    /// Judges these connections by the policies in force. The kernel has no index of connections by address: all are
    /// listed, at once for both families, and that costs a walk over its whole table.
    pub(crate) fn sweep(&mut self, whose: &Concerned, index: &Index, facts: &NodeFacts) -> Result<Swept, Error> {
        let mut swept = Swept::default();
        for entry in conntrack::list(&mut self.socket, Family::Any, None)? {
            let Some(tracked) = tracked(&entry, self.mark) else { continue };
            if !whose.contains([tracked.source, tracked.destination]) {
                continue;
            }
            swept.judged += 1;
            let (counter, done) = match judge(index, facts, tracked) {
                Remedy::Leave => continue,
                Remedy::Mark => (&mut swept.marked, self.set(&entry, self.mark)?),
                Remedy::Unmark => (&mut swept.unmarked, self.set(&entry, 0)?),
                Remedy::Delete => (&mut swept.deleted, conntrack::delete(&mut self.socket, &entry)?),
            };
            *counter += usize::from(done);
        }
        Ok(swept)
    }

    fn set(&mut self, entry: &Entry, value: u32) -> Result<bool, Error> {
        conntrack::set_mark(&mut self.socket, entry, Masked { value, mask: self.mark })
    }
}

/// Policy sees the source before and the destination after translation: the first packet's source, and the source of
/// the answers.
fn tracked(entry: &Entry, mark: u32) -> Option<Tracked> {
    let protocol = IpProtocol(entry.original.proto);
    let detail = match (entry.original.transport, entry.reply.transport) {
        (_, Transport::Ports { sport, .. }) if protocol.transport().is_some() => sport,
        (Transport::Icmp { kind, code, .. }, _) if protocol.is_icmp() => u16::from_be_bytes([kind, code]),
        _ if protocol.transport().is_some() || protocol.is_icmp() => return None,
        _ => 0,
    };
    Some(Tracked {
        source: entry.original.src,
        destination: entry.reply.src,
        traffic: Traffic { protocol, detail },
        marked: entry.mark & mark != 0,
    })
}
