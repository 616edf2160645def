//! Expressions, registers and verdicts.

/// One of the sixteen 4-byte registers, `NFT_REG32_00` to `NFT_REG32_15`.
///
/// A value longer than four bytes occupies this register and those after it; the 16-byte registers `NFT_REG_1..4`
/// are the registers 0, 4, 8 and 12.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Reg(u8);

impl Reg {
    /// Register `n`, 0 to 15.
    ///
    /// # Panics
    /// When `n` is above 15: programs are written by tortie, not by users.
    #[must_use]
    pub const fn new(n: u8) -> Self {
        assert!(n < 16, "nftables has sixteen 4-byte registers");
        Self(n)
    }

    /// Its index, 0 to 15.
    #[must_use]
    pub const fn index(self) -> u8 {
        self.0
    }
}

/// `NFT_META_*` keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MetaKey {
    /// Netfilter family of the packet, one byte: 2 IPv4, 10 IPv6.
    NfProto,
    /// Transport protocol number, one byte.
    L4Proto,
    /// Packet mark, host order.
    Mark,
    /// Index of the incoming interface, host order.
    Iif,
    /// Index of the outgoing interface, host order.
    Oif,
    /// Name of the incoming interface, 16 bytes.
    IifName,
    /// Name of the outgoing interface, 16 bytes.
    OifName,
}

/// `NFT_CT_*` keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CtKey {
    /// State as a bit mask, host order: invalid 1, established 2, related 4, new 8, untracked 64.
    State,
    /// Direction of the packet, one byte: 0 original, 1 reply.
    Direction,
    /// Connection mark, host order.
    Mark,
    /// Status bits (`IPS_*`), host order.
    Status,
    /// The 128-bit label.
    Labels,
}

/// Which header an offset counts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PayloadBase {
    /// Link layer.
    Link,
    /// IPv4 or IPv6.
    Network,
    /// TCP, UDP, SCTP, ICMP, ...
    Transport,
}

/// Comparison of a register with a constant (`NFT_CMP_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CmpOp {
    /// Equal.
    Eq,
    /// Not equal.
    Neq,
    /// Less.
    Lt,
    /// Less or equal.
    Lte,
    /// Greater.
    Gt,
    /// Greater or equal.
    Gte,
}

impl CmpOp {
    /// Whether it holds between a register's bytes and the constant. The kernel compares with `memcmp`, whatever the
    /// byte order.
    #[must_use]
    pub fn holds(self, value: &[u8], data: &[u8]) -> bool {
        let order = value.cmp(data);
        match self {
            Self::Eq => order.is_eq(),
            Self::Neq => order.is_ne(),
            Self::Lt => order.is_lt(),
            Self::Lte => order.is_le(),
            Self::Gt => order.is_gt(),
            Self::Gte => order.is_ge(),
        }
    }
}

/// What a `fib` lookup yields.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FibResult {
    /// Index of the output interface, 0 when there is no route.
    Oif,
    /// Type of the destination address (`RTN_*`): 1 unicast, 2 local, ...
    AddrType,
}

/// Source or destination translation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NatKind {
    /// Change the source.
    Snat,
    /// Change the destination.
    Dnat,
}

/// A verdict, as an immediate or as the data of a verdict map.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Verdict {
    /// Let through; later base chains still see the packet.
    Accept,
    /// Drop for good.
    Drop,
    /// Go on with the next rule.
    Continue,
    /// Back to the caller.
    Return,
    /// Call a chain.
    Jump(String),
    /// Go to a chain without coming back.
    Goto(String),
}

/// One expression of a rule.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Expr {
    /// Load packet metadata.
    Meta {
        /// What.
        key: MetaKey,
        /// Where to.
        dreg: Reg,
    },
    /// Set packet metadata (the mark).
    MetaSet {
        /// What.
        key: MetaKey,
        /// Where from.
        sreg: Reg,
    },
    /// Load from the connection-tracking entry.
    Ct {
        /// What.
        key: CtKey,
        /// Where to.
        dreg: Reg,
    },
    /// Set the mark or the labels of the connection-tracking entry. The kernel gives connections room for labels only
    /// while some rule of the network namespace sets them, so a ruleset that reads labels written over netlink needs
    /// such a rule too, even one that is never reached.
    CtSet {
        /// Mark or labels.
        key: CtKey,
        /// Where from.
        sreg: Reg,
    },
    /// Load bytes of the packet. Does not match when the packet is too short.
    Payload {
        /// Header.
        base: PayloadBase,
        /// Bytes from its start.
        offset: u32,
        /// Bytes to load.
        len: u32,
        /// Where to.
        dreg: Reg,
    },
    /// `dreg = (sreg & mask) ^ xor`.
    Bitwise {
        /// Source.
        sreg: Reg,
        /// Destination.
        dreg: Reg,
        /// As long as the value.
        mask: Vec<u8>,
        /// As long as the value.
        xor: Vec<u8>,
    },
    /// Go on only if the comparison holds.
    Cmp {
        /// Register.
        sreg: Reg,
        /// How.
        op: CmpOp,
        /// Constant, in the byte order of the loaded value.
        data: Vec<u8>,
    },
    /// Load a constant.
    Immediate {
        /// Where to.
        dreg: Reg,
        /// Bytes.
        data: Vec<u8>,
    },
    /// Decide.
    Verdict(Verdict),
    /// Look a key up in a set or map; does not match on a miss (or, if `invert`, on a hit).
    Lookup {
        /// Name of the set or map.
        map: String,
        /// First register of the key.
        sreg: Reg,
        /// Where the data of a map goes; `None` for a plain set and for a verdict map.
        dreg: Option<Reg>,
        /// The map's data are verdicts: take the one found.
        verdict: bool,
        /// Match when the key is absent. Plain sets only.
        invert: bool,
    },
    /// Count packets and bytes from here on. Values live outside the ruleset: see the read-back.
    Counter,
    /// Send the packet to a netlink log group.
    Log {
        /// Group.
        group: u16,
        /// At most 127 bytes.
        prefix: String,
        /// Bytes of the packet to copy.
        snaplen: u32,
        /// Packets to gather before the listener is woken.
        threshold: u16,
    },
    /// Match only while under a rate.
    Limit {
        /// Packets.
        rate: u64,
        /// ... in so many seconds.
        per_seconds: u64,
        /// Packets allowed above the rate.
        burst: u32,
    },
    /// Look a route up for the packet's destination address.
    Fib {
        /// What is wanted.
        result: FibResult,
        /// Where to.
        dreg: Reg,
    },
    /// Translate an address, and a port when given; values are in registers.
    Nat {
        /// Source or destination.
        kind: NatKind,
        /// 2 for IPv4, 10 for IPv6.
        family: u8,
        /// Register of the address.
        addr: Reg,
        /// Register of the port (two bytes, network order).
        port: Option<Reg>,
    },
    /// Translate the source to the address of the outgoing interface.
    Masquerade,
    /// Translate the destination to this host.
    Redirect {
        /// Register of the port (two bytes, network order).
        port: Option<Reg>,
    },
    /// A number from 0 to `modulus - 1` plus `offset`, host order: random, or one after the other.
    Numgen {
        /// Random instead of incremental.
        random: bool,
        /// How many values.
        modulus: u32,
        /// Added to the result.
        offset: u32,
        /// Where to.
        dreg: Reg,
    },
    /// Look up the socket on this host that would take the packet; does not match when there is none. Not in the
    /// forward and postrouting hooks.
    Socket {
        /// Where its transparent flag goes: one byte, 0 or 1.
        dreg: Reg,
    },
    /// Answer with a reset (`tcp_reset`) or an ICMP "administratively prohibited", and drop.
    Reject {
        /// TCP reset.
        tcp_reset: bool,
    },
    /// An expression that this crate has no word for, kept so that read-back can say what it met.
    Unknown(String),
}
