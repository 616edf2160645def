//! The prefix of a log record: which decision of which plan dropped or logged the packet.
//!
//! ```text
//! tortie D 12345 i      denied by path 12345, at ingress
//! tortie L 12345 e      passed a Log rule of path 12345, at egress
//! tortie A 12345 e      allowed by path 12345, at egress; only where allowed connections are recorded
//! tortie spoofed        one of the fixed reasons
//! tortie-shadow D 12345 i    would be denied by path 12345 of the plan that is tried out; the packet goes on
//! ```
//!
//! A path number is never given out again while a node runs, so a record says exactly what decided, even when the
//! policies are gone by the time it is read.

use std::fmt;
use std::str::FromStr;

use tortie_model::Direction;

use super::Lane;
use crate::PathId;

/// What comes first: log groups may be shared with others.
const fn start(lane: Lane) -> &'static str {
    match lane {
        Lane::Enforcing => "tortie",
        Lane::Shadow => "tortie-shadow",
    }
}

/// Why a record of a path was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PathKind {
    /// The path denies.
    Deny,
    /// A Log rule of the path asked for it; the path allows.
    Log,
    /// The path allows, and every decision is recorded.
    Allow,
}

/// Why a packet was dropped without policy being asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DropKind {
    /// Its connection was allowed when it was opened, and is not any more.
    Revoked,
    /// It came from a pod, with a source address that is not the pod's.
    Spoofed,
    /// It is from or to an address of this node's pod ranges that no programmed pod has.
    Unprogrammed,
    /// Connection tracking cannot make sense of it, or it lacks the header that policy asks for.
    Invalid,
    /// The maps contradict each other: a bug of tortie.
    Bad,
}

impl DropKind {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Revoked, Self::Spoofed, Self::Unprogrammed, Self::Invalid, Self::Bad];

    /// The word in the prefix, which is also the name of the chain.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Revoked => "revoked",
            Self::Spoofed => "spoofed",
            Self::Unprogrammed => "unprogrammed",
            Self::Invalid => "invalid",
            Self::Bad => "bad",
        }
    }
}

/// A log prefix of tortie's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Prefix {
    /// A decision by policy.
    Path {
        /// The plan in which the decision is: that in force, or one that is tried out.
        lane: Lane,
        /// Why the record was written.
        kind: PathKind,
        /// At which end of the packet.
        direction: Direction,
        /// The decision.
        path: PathId,
    },
    /// A drop without policy being asked.
    Fixed(DropKind),
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path { lane, kind, direction, path } => {
                let kind = match kind {
                    PathKind::Deny => 'D',
                    PathKind::Log => 'L',
                    PathKind::Allow => 'A',
                };
                write!(f, "{} {kind} {path} {}", start(*lane), letter(*direction))
            }
            Self::Fixed(kind) => write!(f, "{} {}", start(Lane::Enforcing), kind.as_str()),
        }
    }
}

/// `e` or `i`.
pub(crate) const fn letter(direction: Direction) -> char {
    match direction {
        Direction::Egress => 'e',
        Direction::Ingress => 'i',
    }
}

/// A log prefix that is not one of tortie's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a log prefix of tortie")]
pub struct NotOurs(pub String);

impl FromStr for Prefix {
    type Err = NotOurs;

    fn from_str(text: &str) -> Result<Self, NotOurs> {
        let not_ours = || NotOurs(text.to_owned());
        let mut words = text.split(' ');
        let mut next = || words.next().ok_or_else(not_ours);
        let first = next()?;
        let lanes = [Lane::Enforcing, Lane::Shadow];
        let lane = lanes.into_iter().find(|lane| start(*lane) == first).ok_or_else(not_ours)?;
        let kind = match next()? {
            "D" => PathKind::Deny,
            "L" => PathKind::Log,
            "A" => PathKind::Allow,
            word if lane == Lane::Enforcing => {
                let kind = DropKind::ALL.into_iter().find(|k| k.as_str() == word).ok_or_else(not_ours)?;
                return if words.next().is_none() { Ok(Self::Fixed(kind)) } else { Err(not_ours()) };
            }
            _ => return Err(not_ours()),
        };
        let path = PathId(next()?.parse().map_err(|_| not_ours())?);
        let direction = match next()? {
            "e" => Direction::Egress,
            "i" => Direction::Ingress,
            _ => return Err(not_ours()),
        };
        if words.next().is_some() {
            return Err(not_ours());
        }
        Ok(Self::Path { lane, kind, direction, path })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let kinds = [PathKind::Deny, PathKind::Log, PathKind::Allow];
        let lanes = [Lane::Enforcing, Lane::Shadow].into_iter();
        let paths = lanes.flat_map(|lane| kinds.map(|kind| (lane, kind))).flat_map(|(lane, kind)| {
            Direction::BOTH.map(|direction| Prefix::Path { lane, kind, direction, path: PathId(u32::MAX - 1) })
        });
        for prefix in paths.chain(DropKind::ALL.map(Prefix::Fixed)) {
            let text = prefix.to_string();
            assert!(text.len() <= 127, "the kernel takes 127 bytes");
            assert_eq!(text.parse(), Ok(prefix));
        }
        assert_eq!("tortie D 12345 i".parse::<Prefix>().map(|p| p.to_string()).as_deref(), Ok("tortie D 12345 i"));
        let shadow =
            Prefix::Path { lane: Lane::Shadow, kind: PathKind::Deny, direction: Direction::Ingress, path: PathId(7) };
        assert_eq!(shadow.to_string(), "tortie-shadow D 7 i");
    }

    #[test]
    fn prefixes_of_others_are_refused() {
        for text in [
            "",
            "tortie",
            "tortie ",
            "tortie D",
            "tortie D 1",
            "tortie D x i",
            "tortie D 1 i ",
            "tortie D 1 f",
            "tortie bad 1",
            "cali D 1 i",
            "tortie D 4294967296 i",
            "tortie-shadow spoofed",
            "tortie-shadows D 1 i",
        ] {
            assert!(text.parse::<Prefix>().is_err(), "{text:?}");
        }
    }
}
