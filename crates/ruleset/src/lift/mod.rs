//! What a table does with every packet at once.
//!
//! ```text
//! Table ──Cuts──▶ Space: classes of addresses, protocols and ports ──Lift::run──▶ cubes of classes with their fate
//! ```
//!
//! The [`machine`](crate::machine) runs one packet; this runs all of them. A rule's constants and a map's elements cut
//! the values of each field into classes that the table cannot tell apart, and sets of classes are walked through the
//! same rules. Nothing is known here of what the table is for: a wrong element, a rule in the wrong place or one that
//! somebody else put there count for what packets would meet.
//!
//! A packet is what follows: the hook, the incoming interface, the connection's state and mark, both addresses, the
//! protocol, and the ports or ICMP type and code. A rule that looks at anything else is named in
//! [`Walked::odd`]: then what is said holds only of the packets that stand for their classes.

mod answers;
mod cube;
mod cuts;
mod register;
mod rule;
mod set;
mod space;
mod walk;

use std::net::IpAddr;

pub use cube::{Cube, Part};
pub use cuts::Cuts;
pub use set::ClassSet;
pub use space::{Space, TrafficClass};
pub use walk::{Head, Leaf, Lift, Walked};

use crate::machine::Interface;

/// IP version of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum IpVersion {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl IpVersion {
    /// Both.
    pub const ALL: [Self; 2] = [Self::V4, Self::V6];

    const fn bits(self) -> u32 {
        match self {
            Self::V4 => 32,
            Self::V6 => 128,
        }
    }

    fn split(ip: IpAddr) -> (Self, u128) {
        match ip {
            IpAddr::V4(ip) => (Self::V4, u128::from(ip.to_bits())),
            IpAddr::V6(ip) => (Self::V6, ip.to_bits()),
        }
    }

    fn address(self, number: u128) -> IpAddr {
        match self {
            Self::V4 => std::net::Ipv4Addr::from_bits(u32::try_from(number).unwrap_or(u32::MAX)).into(),
            Self::V6 => std::net::Ipv6Addr::from_bits(number).into(),
        }
    }
}

/// One interface for each kind that is told apart, those that are known included. Interfaces that are not known may
/// have any name with any number.
#[must_use]
pub fn interfaces(cuts: &Cuts, known: &[Interface]) -> Vec<Interface> {
    space::interfaces(cuts, known)
}

/// The marks of connections that are told apart; the second value tells whether that is all of them.
#[must_use]
pub fn marks(cuts: &Cuts) -> (Vec<u32>, bool) {
    let bits: Vec<u32> = (0..32).map(|b| 1 << b).filter(|b| cuts.marks & b != 0).collect();
    if bits.len() > 4 {
        let mut some = vec![0, cuts.marks];
        some.extend(bits);
        return (some, false);
    }
    let of = |n: u32| (0..).zip(&bits).filter(|(at, _)| n >> at & 1 == 1).fold(0, |mark, (_, bit)| mark | bit);
    ((0..1u32 << bits.len()).map(of).collect(), true)
}

/// Rules that look at interfaces or marks in a way that is not followed.
#[must_use]
pub fn odd(cuts: &Cuts) -> Vec<(String, usize)> {
    cuts.odd.iter().cloned().collect()
}

#[cfg(test)]
mod tests;
