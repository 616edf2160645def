//! A rule of the program as a sequence of lookups, each of which finds the results of those before it where its key
//! is.
//!
//! ```text
//!                   r3     r4         r5        r6   r7           r8        r8..r11
//! profile   v4             interface  profile*                              (key: r4 r5 or r5)
//!           v6             0          profile*       interface              own address (key: r7.. or r8..)
//! peer              0      identity*                                        peer's address
//! class                    identity   profile        0            class*
//! port      exact   proto  port       profile   0    port class*
//!           range   port   proto      profile   0    port class*
//!           other          proto      profile   0    port class*
//! decision          0      path*                     port class   class
//! verdict                  path       profile
//! ```
//!
//! Results marked `*` are written over a field that the rule loaded there; see `layout.rs` for why. A packet asks for
//! its profile once, and all that follows is about that profile: the verdict, too, is looked up with it, so that "no
//! row: the profile's default" never means the default of the profile that came a moment later.

use tortie_model::{Direction, Family, IpProtocol};
use tortie_ruleset::{CmpOp, CtKey, Expr, MetaKey, PayloadBase, Reg, Rule, Verdict};

use super::layout::{Layout, Slot, Stage};

const SCRATCH: Reg = Reg::new(0);
const R3: Reg = Reg::new(3);
const R4: Reg = Reg::new(4);
const PROFILE: Reg = Reg::new(5);
const R6: Reg = Reg::new(6);
const R7: Reg = Reg::new(7);
const R8: Reg = Reg::new(8);
const WIDE: Reg = Reg::new(8);

/// Packets that the program looks at in the same way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Group {
    /// A protocol with destination ports.
    Ports(IpProtocol),
    /// ICMP: type and code instead of a port. That of the other family too: a pod may send what it likes.
    Icmp(IpProtocol),
    /// Everything else: the protocol alone.
    Other,
}

impl Group {
    /// All of them. Together they cover every protocol.
    pub(crate) const ALL: [Self; 6] = [
        Self::Ports(IpProtocol::TCP),
        Self::Ports(IpProtocol::UDP),
        Self::Ports(IpProtocol::SCTP),
        Self::Icmp(IpProtocol::ICMP),
        Self::Icmp(IpProtocol::ICMPV6),
        Self::Other,
    ];

    /// Where the sixteen bits are that policy asks for.
    const fn detail_offset(self) -> Option<u32> {
        match self {
            Self::Ports(_) => Some(2),
            Self::Icmp(_) => Some(0),
            Self::Other => None,
        }
    }

    /// Whether a port or type is looked up at all.
    pub(crate) const fn has_detail(self) -> bool {
        self.detail_offset().is_some()
    }
}

/// Source or destination of the packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Source,
    Destination,
}

/// The end that policy of a direction calls the peer.
pub(crate) const fn peer(direction: Direction) -> End {
    match direction {
        Direction::Egress => End::Destination,
        Direction::Ingress => End::Source,
    }
}

/// A rule being written.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pipeline {
    exprs: Vec<Expr>,
}

impl Pipeline {
    pub(crate) const fn new() -> Self {
        Self { exprs: Vec::new() }
    }

    fn with(mut self, expr: Expr) -> Self {
        self.exprs.push(expr);
        self
    }

    fn meta(self, key: MetaKey, dreg: Reg) -> Self {
        self.with(Expr::Meta { key, dreg })
    }

    fn payload(self, base: PayloadBase, offset: u32, len: u32, dreg: Reg) -> Self {
        self.with(Expr::Payload { base, offset, len, dreg })
    }

    fn compare(self, sreg: Reg, op: CmpOp, data: &[u8]) -> Self {
        self.with(Expr::Cmp { sreg, op, data: data.to_vec() })
    }

    fn lookup(self, layout: &Layout, slot: Slot, sreg: Reg, dreg: Reg) -> Self {
        let map = layout.name(slot);
        self.with(Expr::Lookup { map, sreg, dreg: Some(dreg), verdict: false, invert: false })
    }

    /// Goes on for packets of a family only.
    pub(crate) fn family(self, family: Family) -> Self {
        let number = match family {
            Family::V4 => 2,
            Family::V6 => 10,
        };
        self.meta(MetaKey::NfProto, SCRATCH).compare(SCRATCH, CmpOp::Eq, &[number])
    }

    /// Goes on for packets that come in from a pod (`yes`), or for all others.
    pub(crate) fn over_pod_link(self, prefix: &str, yes: bool) -> Self {
        let op = if yes { CmpOp::Eq } else { CmpOp::Neq };
        self.meta(MetaKey::IifName, WIDE).compare(WIDE, op, prefix.as_bytes())
    }

    /// Goes on for packets that do not come in by the loopback interface, whose index is 1 in every namespace.
    pub(crate) fn not_over_loopback(self) -> Self {
        self.meta(MetaKey::Iif, R7).compare(R7, CmpOp::Neq, &1u32.to_ne_bytes())
    }

    /// Goes on for packets in one of these connection states.
    pub(crate) fn state(self, bits: u32) -> Self {
        self.bits(CtKey::State, bits, CmpOp::Neq)
    }

    /// Goes on for packets in none of these connection states.
    pub(crate) fn not_in_state(self, bits: u32) -> Self {
        self.bits(CtKey::State, bits, CmpOp::Eq)
    }

    /// Goes on for packets whose connection does not carry the mark.
    pub(crate) fn unmarked(self, bit: u32) -> Self {
        self.bits(CtKey::Mark, bit, CmpOp::Eq)
    }

    /// A bit test costs half of a verdict map on the state.
    fn bits(self, key: CtKey, bits: u32, op: CmpOp) -> Self {
        let (mask, xor) = (bits.to_ne_bytes().to_vec(), vec![0; 4]);
        self.with(Expr::Ct { key, dreg: SCRATCH })
            .with(Expr::Bitwise { sreg: SCRATCH, dreg: SCRATCH, mask, xor })
            .compare(SCRATCH, op, &[0; 4])
    }

    /// Goes on for a protocol.
    pub(crate) fn protocol(self, protocol: IpProtocol) -> Self {
        self.meta(MetaKey::L4Proto, SCRATCH).compare(SCRATCH, CmpOp::Eq, &[protocol.0])
    }

    /// Goes on for packets of a group.
    pub(crate) fn group(self, group: Group) -> Self {
        match group {
            Group::Ports(protocol) | Group::Icmp(protocol) => self.protocol(protocol),
            Group::Other => {
                let own = Group::ALL.into_iter().filter_map(|group| match group {
                    Group::Ports(protocol) | Group::Icmp(protocol) => Some(protocol),
                    Group::Other => None,
                });
                let load = self.meta(MetaKey::L4Proto, SCRATCH);
                own.fold(load, |p, protocol| p.compare(SCRATCH, CmpOp::Neq, &[protocol.0]))
            }
        }
    }

    /// Goes on for ICMP types from the first to the last.
    pub(crate) fn icmp_types(self, from: u8, to: u8) -> Self {
        self.payload(PayloadBase::Transport, 0, 1, SCRATCH).compare(SCRATCH, CmpOp::Gte, &[from]).compare(
            SCRATCH,
            CmpOp::Lte,
            &[to],
        )
    }

    /// Goes on for source ports from the first to the last.
    pub(crate) fn source_ports(self, from: u16, to: u16) -> Self {
        let load = self.payload(PayloadBase::Transport, 0, 2, SCRATCH);
        let from_there = match from {
            0 => load,
            from => load.compare(SCRATCH, CmpOp::Gte, &from.to_be_bytes()),
        };
        if to == u16::MAX { from_there } else { from_there.compare(SCRATCH, CmpOp::Lte, &to.to_be_bytes()) }
    }

    /// Loads an address into registers from `dreg`, word by word: the kernel loads up to four bytes in place, and
    /// calls for more.
    fn address(self, family: Family, end: End, dreg: Reg) -> Self {
        let (offset, len) = place(family, end);
        let words = (0..u8::try_from(len / 4).expect("at most sixteen bytes")).map(|n| (offset + 4 * u32::from(n), n));
        words.fold(self, |p, (offset, n)| p.payload(PayloadBase::Network, offset, 4, Reg::new(dreg.index() + n)))
    }

    /// Loads the last word of an address: all of an IPv4 address.
    fn word(self, family: Family, end: End, dreg: Reg) -> Self {
        let (offset, len) = place(family, end);
        self.payload(PayloadBase::Network, offset + len - 4, 4, dreg)
    }

    /// Goes on for addresses in a block.
    pub(crate) fn within(self, end: End, block: &ipnet::IpNet) -> Self {
        let octets = |ip| match ip {
            std::net::IpAddr::V4(ip) => ip.octets().to_vec(),
            std::net::IpAddr::V6(ip) => ip.octets().to_vec(),
        };
        let (mask, network) = (octets(block.netmask()), octets(block.network()));
        let xor = vec![0; mask.len()];
        self.address(Family::of_net(block), end, WIDE)
            .with(Expr::Bitwise { sreg: WIDE, dreg: WIDE, mask, xor })
            .compare(WIDE, CmpOp::Eq, &network)
    }

    /// Goes on for destinations that are (or are not) pods of this node.
    pub(crate) fn local_destination(self, layout: &Layout, family: Family, yes: bool) -> Self {
        let map = layout.name(Slot::Local(family));
        self.address(family, End::Destination, WIDE).with(Expr::Lookup {
            map,
            sreg: WIDE,
            dreg: None,
            verdict: false,
            invert: !yes,
        })
    }

    /// Goes on when interface and source belong together (`yes`), or do not: a packet of a pod of this node, or of nobody
    /// here.
    pub(crate) fn own_source(self, layout: &Layout, family: Family, yes: bool) -> Self {
        let map = layout.name(Slot::Legit(family));
        self.meta(MetaKey::Iif, R7).address(family, End::Source, WIDE).with(Expr::Lookup {
            map,
            sreg: R7,
            dreg: None,
            verdict: false,
            invert: !yes,
        })
    }

    /// Goes on for packets from a pod to itself.
    pub(crate) fn hairpin(self, layout: &Layout, family: Family) -> Self {
        let (source, destination) = match family {
            Family::V4 => (WIDE, Reg::new(9)),
            Family::V6 => (WIDE, Reg::new(12)),
        };
        let map = layout.name(Slot::Own(family));
        self.address(family, End::Source, source).address(family, End::Destination, destination).with(Expr::Lookup {
            map,
            sreg: source,
            dreg: None,
            verdict: false,
            invert: false,
        })
    }

    /// Loads the profile of the endpoint; ends the rule when no policy governs it.
    pub(crate) fn profile(self, layout: &Layout, family: Family, direction: Direction) -> Self {
        let own = match direction {
            Direction::Egress => End::Source,
            Direction::Ingress => End::Destination,
        };
        match (family, direction) {
            (Family::V4, Direction::Egress) => {
                self.meta(MetaKey::Iif, R4).word(family, own, PROFILE).lookup(layout, Slot::Egress(family), R4, R4)
            }
            (Family::V4, Direction::Ingress) => {
                self.word(family, own, PROFILE).lookup(layout, Slot::Ingress(family), PROFILE, R4)
            }
            (Family::V6, Direction::Egress) => self
                .meta(MetaKey::Iif, R7)
                .address(family, own, WIDE)
                .word(family, own, PROFILE)
                .lookup(layout, Slot::Egress(family), R7, R4),
            (Family::V6, Direction::Ingress) => self.address(family, own, WIDE).word(family, own, PROFILE).lookup(
                layout,
                Slot::Ingress(family),
                WIDE,
                R4,
            ),
        }
    }

    /// Loads the identity of the peer.
    fn identity(self, layout: &Layout, family: Family, direction: Direction, stage: Stage) -> Self {
        let slot = match stage {
            Stage::Pod => Slot::Identity(family),
            Stage::Range => Slot::Range(family),
        };
        let end = peer(direction);
        match family {
            Family::V4 => self.word(family, end, R4).lookup(layout, slot, R4, R3),
            Family::V6 => self.address(family, end, WIDE).word(family, end, R4).lookup(layout, slot, WIDE, R3),
        }
    }

    /// Loads the class of the peer.
    fn class(self, layout: &Layout, family: Family, direction: Direction) -> Self {
        self.word(family, peer(direction), R8).lookup(layout, Slot::Class, R4, R7)
    }

    /// Loads the port class. Where port ranges have a map of their own, the exact one ends the rule on a miss.
    fn port_class(self, layout: &Layout, group: Group, slot: Slot) -> Self {
        let Some(offset) = group.detail_offset() else {
            return self.meta(MetaKey::L4Proto, R4).meta(MetaKey::L4Proto, R7).lookup(layout, Slot::Protocol, R4, R6);
        };
        let detail = |p: Self, dreg| p.payload(PayloadBase::Transport, offset, 2, dreg);
        let key = match slot {
            Slot::PortRange => detail(self, R3).meta(MetaKey::L4Proto, R4),
            _ => detail(self.meta(MetaKey::L4Proto, R3), R4),
        };
        detail(key, R7).lookup(layout, slot, R3, R6)
    }

    /// Decides: the whole chain of lookups.
    pub(crate) fn decide(
        layout: &Layout,
        family: Family,
        direction: Direction,
        stage: Stage,
        group: Group,
        ports: Slot,
    ) -> Rule {
        let map = layout.name(Slot::Act(direction, stage));
        Self::new()
            .group(group)
            .profile(layout, family, direction)
            .identity(layout, family, direction, stage)
            .class(layout, family, direction)
            .port_class(layout, group, ports)
            .lookup(layout, Slot::Decision, R7, R3)
            .with(Expr::Lookup { map, sreg: R4, dreg: None, verdict: true, invert: false })
            .end(None)
    }

    pub(crate) fn counter(self) -> Self {
        self.with(Expr::Counter)
    }

    pub(crate) fn log(self, group: u16, prefix: String, snaplen: u32, threshold: u16) -> Self {
        self.with(Expr::Log { group, prefix, snaplen, threshold })
    }

    pub(crate) fn reject(self, tcp_reset: bool) -> Self {
        self.with(Expr::Reject { tcp_reset })
    }

    /// The rule, without a verdict.
    pub(crate) fn end(self, comment: Option<String>) -> Rule {
        Rule { exprs: self.exprs, comment }
    }

    /// The rule, with a verdict.
    pub(crate) fn then(self, verdict: Verdict) -> Rule {
        self.with(Expr::Verdict(verdict)).end(None)
    }

    pub(crate) fn goto(self, chain: impl Into<String>) -> Rule {
        self.then(Verdict::Goto(chain.into()))
    }

    pub(crate) fn jump(self, chain: impl Into<String>) -> Rule {
        self.then(Verdict::Jump(chain.into()))
    }
}

/// Offset and length of an address in its header.
const fn place(family: Family, end: End) -> (u32, u32) {
    match (family, end) {
        (Family::V4, End::Source) => (12, 4),
        (Family::V4, End::Destination) => (16, 4),
        (Family::V6, End::Source) => (8, 16),
        (Family::V6, End::Destination) => (24, 16),
    }
}
