//! Tables of the lab's own: address translation, never policy.

use tortie_netlink::{
    Protocol, Socket,
    nft::{Batch, Op, TableFlags, TableId},
};
use tortie_ruleset::{CmpOp, Expr, MetaKey, PayloadBase, Reg, Table};

use crate::error::LabError;

/// `IPPROTO_TCP`, `IPPROTO_UDP`, `IPPROTO_SCTP`.
pub(crate) fn protocol_number(protocol: tortie_model::Protocol) -> u8 {
    tortie_model::IpProtocol::from(protocol).0
}

/// Puts `table` in the place of the one of its name, in one transaction. Its maps have exact keys, so no packet meets a half-made table; existing connections keep their translation.
pub(crate) fn replace(socket: &mut Socket, table: &Table) -> Result<(), LabError> {
    let id = TableId::from(table);
    let flags = TableFlags::NONE;
    // Added first, so that there is one to delete.
    let mut ops = vec![Op::AddTable { table: id.clone(), flags }, Op::DeleteTable { table: id }];
    ops.extend(Op::create(table, flags));
    commit(socket, &ops)
}

/// Adds `table` where there is none of its name, in the namespace of the calling thread.
///
/// Cheaper than [`replace`] with a socket for the purpose: closing it after something was deleted waits until no packet
/// can still see that, which takes 15 ms.
pub(crate) fn create(table: &Table) -> Result<(), LabError> {
    commit(&mut Socket::open(Protocol::Netfilter)?, &Op::create(table, TableFlags::NONE))
}

fn commit(socket: &mut Socket, ops: &[Op]) -> Result<(), LabError> {
    Batch::of(ops).map_err(tortie_netlink::Error::from)?.commit(socket, None)?;
    Ok(())
}

/// `NFPROTO_IPV4`.
pub(crate) const NFPROTO_IPV4: u8 = 2;
/// `NFPROTO_IPV6`.
pub(crate) const NFPROTO_IPV6: u8 = 10;

/// The register that every simple match loads into.
pub(crate) const R0: Reg = Reg::new(0);

/// Matches packets of this transport protocol.
pub(crate) fn of_protocol(number: u8) -> [Expr; 2] {
    [Expr::Meta { key: MetaKey::L4Proto, dreg: R0 }, Expr::Cmp { sreg: R0, op: CmpOp::Eq, data: vec![number] }]
}

/// Matches packets to this port of the protocol matched before.
pub(crate) fn to_port(port: u16) -> [Expr; 2] {
    [
        Expr::Payload { base: PayloadBase::Transport, offset: 2, len: 2, dreg: R0 },
        Expr::Cmp { sreg: R0, op: CmpOp::Eq, data: port.to_be_bytes().to_vec() },
    ]
}
