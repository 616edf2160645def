//! What an element of a lowered table says, read back from its bytes.

use std::net::IpAddr;

use tortie_model::{Direction, Family, IpProtocol};
use tortie_ruleset::{Data, Element, Verdict};

use super::contents::{NO_RANGE, NO_ROW, RANGED, TO_RANGES};
use super::layout::Slot;
use crate::{ClassId, IdentityId, PathId, PortClassId, ProfileId};

/// A part of a key, or an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Term {
    /// The index of an interface.
    Link(u32),
    /// An address.
    Address(IpAddr),
    /// Addresses from the first to the last.
    Addresses(IpAddr, IpAddr),
    /// A protocol.
    Protocol(IpProtocol),
    /// Packets of a protocol, to ports (or of ICMP types and codes) from the first to the last.
    Ports(IpProtocol, u16, u16),
    /// What policies can know of an address.
    Identity(IdentityId),
    /// The address of no pod, in no block that a policy names.
    NoBlock,
    /// Who decides.
    Profile(ProfileId),
    /// Identities that a profile does not tell apart.
    Class(ClassId),
    /// Addresses of no pod, of which a profile wants to know the block.
    ByBlock,
    /// Packets that a profile does not tell apart.
    PortClass(PortClassId),
    /// A decision.
    Path(PathId),
    /// The decision of a profile where it lists none.
    Default,
    /// The decision is left to a second look, by block.
    SecondLook,
    /// What is done with the packet.
    Verdict(Verdict),
}

/// What an element says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meaning {
    /// The key; `None` for all keys that are not listed.
    pub key: Option<Vec<Term>>,
    /// The answer; `None` in a plain set.
    pub answer: Option<Term>,
}

/// What a map of a lowered table is asked for; `None` when it is none of its maps.
#[must_use]
pub fn question(map: &str) -> Option<&'static str> {
    Some(match Slot::of(map)?.0 {
        Slot::Act(Direction::Egress, _) => "what carries out a decision on what a pod sends",
        Slot::Act(Direction::Ingress, _) => "what carries out a decision on what is sent to a pod",
        Slot::Decision => "the decision for a port class and a class",
        Slot::Protocol => "what a profile makes of a protocol",
        Slot::Port | Slot::PortRange => "what a profile makes of a port",
        Slot::Class => "what a profile makes of an identity",
        Slot::Range(_) => "in which blocks an address of no pod is",
        Slot::Identity(_) => "what policies know of an address",
        Slot::Own(_) => "which addresses are of one pod",
        Slot::Egress(_) => "who decides on what a pod sends",
        Slot::Ingress(_) => "who decides on what is sent to a pod",
        Slot::Legit(_) => "which source may come in by a link",
        Slot::Local(_) => "which addresses are of pods of this node",
    })
}

/// What an element of a map says; `None` when it is not written as tortie writes it.
#[must_use]
pub fn meaning(map: &str, element: &Element) -> Option<Meaning> {
    let slot = Slot::of(map)?.0;
    let key = match element {
        Element::Range { from, to, .. } => Some(key(slot, from, to)?),
        Element::CatchAll { .. } => None,
    };
    let answer = match element.data() {
        Some(data) => Some(answer(slot, data)?),
        None => None,
    };
    Some(Meaning { key, answer })
}

/// Reads a key field by field. What fills a field up to four bytes must be zero.
struct Fields<'a> {
    from: &'a [u8],
    to: &'a [u8],
}

impl<'a> Fields<'a> {
    fn take(&mut self, len: usize) -> Option<(&'a [u8], &'a [u8])> {
        let field = |bytes: &mut &'a [u8]| {
            let (field, rest) = bytes.split_at_checked(len)?;
            let (padding, rest) = rest.split_at_checked(len.next_multiple_of(4) - len)?;
            *bytes = rest;
            padding.iter().all(|b| *b == 0).then_some(field)
        };
        Some((field(&mut self.from)?, field(&mut self.to)?))
    }

    fn same(&mut self, len: usize) -> Option<&'a [u8]> {
        let (from, to) = self.take(len)?;
        (from == to).then_some(from)
    }

    fn number(&mut self) -> Option<u32> {
        Some(u32::from_ne_bytes(self.same(4)?.try_into().ok()?))
    }

    fn protocol(&mut self) -> Option<IpProtocol> {
        Some(IpProtocol(self.same(1)?[0]))
    }

    fn ports(&mut self) -> Option<(u16, u16)> {
        let (from, to) = self.take(2)?;
        let port = |bytes: &[u8]| Some(u16::from_be_bytes(bytes.try_into().ok()?));
        Some((port(from)?, port(to)?))
    }

    fn address(&mut self, family: Family) -> Option<Term> {
        let (from, to) = self.take(match family {
            Family::V4 => 4,
            Family::V6 => 16,
        })?;
        let (from, to) = (address(from)?, address(to)?);
        Some(if from == to { Term::Address(from) } else { Term::Addresses(from, to) })
    }
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = || <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    v4().or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()
}

fn key(slot: Slot, from: &[u8], to: &[u8]) -> Option<Vec<Term>> {
    let mut fields = Fields { from, to };
    let fields = &mut fields;
    let profile = |number| Term::Profile(ProfileId(number));
    let terms = match slot {
        Slot::Act(..) => vec![path(fields.number()?), profile(fields.number()?)],
        Slot::Decision => vec![Term::PortClass(PortClassId(fields.number()?)), class(fields.number()?)],
        Slot::Class => vec![identity(fields.number()?), profile(fields.number()?)],
        Slot::Protocol => vec![Term::Protocol(fields.protocol()?), profile(fields.number()?)],
        Slot::Port => {
            let protocol = fields.protocol()?;
            let (first, last) = fields.ports()?;
            vec![Term::Ports(protocol, first, last), profile(fields.number()?)]
        }
        Slot::PortRange => {
            let (first, last) = fields.ports()?;
            vec![Term::Ports(fields.protocol()?, first, last), profile(fields.number()?)]
        }
        Slot::Range(f) | Slot::Identity(f) | Slot::Ingress(f) | Slot::Local(f) => vec![fields.address(f)?],
        Slot::Own(f) => vec![fields.address(f)?, fields.address(f)?],
        Slot::Egress(f) | Slot::Legit(f) => vec![Term::Link(fields.number()?), fields.address(f)?],
    };
    (fields.from.is_empty() && fields.to.is_empty()).then_some(terms)
}

fn answer(slot: Slot, data: &Data) -> Option<Term> {
    let bytes = match (slot, data) {
        (Slot::Act(..), Data::Verdict(verdict)) => {
            return Some(Term::Verdict(verdict.clone()));
        }
        (_, Data::Value(bytes)) => bytes,
        (_, Data::Verdict(_)) => return None,
    };
    // A zero comes first; see `layout.rs`.
    let number = bytes.strip_prefix(&[0; 4])?;
    let number = u32::from_ne_bytes(number.try_into().ok()?);
    Some(match slot {
        Slot::Act(..) | Slot::Own(_) | Slot::Legit(_) | Slot::Local(_) => return None,
        Slot::Decision => path(number),
        Slot::Class => class(number),
        Slot::Protocol | Slot::Port | Slot::PortRange => Term::PortClass(PortClassId(number)),
        Slot::Range(_) | Slot::Identity(_) => identity(number),
        Slot::Egress(_) | Slot::Ingress(_) => Term::Profile(ProfileId(number)),
    })
}

const fn path(number: u32) -> Term {
    match number {
        NO_ROW => Term::Default,
        TO_RANGES => Term::SecondLook,
        _ => Term::Path(PathId(number)),
    }
}

const fn class(number: u32) -> Term {
    if number == RANGED { Term::ByBlock } else { Term::Class(ClassId(number)) }
}

const fn identity(number: u32) -> Term {
    if number == NO_RANGE { Term::NoBlock } else { Term::Identity(IdentityId(number)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(number: u32) -> Data {
        Data::Value([0u32.to_ne_bytes(), number.to_ne_bytes()].concat())
    }

    fn words(numbers: &[u32]) -> Vec<u8> {
        numbers.iter().flat_map(|n| n.to_ne_bytes()).collect()
    }

    #[test]
    fn every_map_is_asked_for_something_and_its_elements_are_read() {
        let v4 = IpAddr::from([10, 0, 0, 1]);
        let (ip, profile) = (Term::Address(v4), Term::Profile(ProfileId(7)));
        let octets = vec![10, 0, 0, 1];
        let tcp_80 = Term::Ports(IpProtocol::TCP, 80, 80);
        let cases = [
            ("legit4.1", [&words(&[3])[..], &octets].concat(), None, vec![Term::Link(3), ip.clone()], None),
            ("local4.1", octets.clone(), None, vec![ip.clone()], None),
            ("self4.1", [&octets[..], &octets].concat(), None, vec![ip.clone(), ip.clone()], None),
            (
                "eprof4.1",
                [&words(&[3])[..], &octets].concat(),
                Some(value(7)),
                vec![Term::Link(3), ip.clone()],
                Some(profile.clone()),
            ),
            ("iprof4.1", octets.clone(), Some(value(7)), vec![ip.clone()], Some(profile.clone())),
            ("id4.1", octets, Some(value(5)), vec![ip], Some(Term::Identity(IdentityId(5)))),
            (
                "cls.1",
                words(&[5, 7]),
                Some(value(2)),
                vec![Term::Identity(IdentityId(5)), profile.clone()],
                Some(Term::Class(ClassId(2))),
            ),
            (
                "cls.1",
                words(&[u32::MAX, 7]),
                Some(value(u32::MAX)),
                vec![Term::NoBlock, profile.clone()],
                Some(Term::ByBlock),
            ),
            (
                "prt.1",
                [&[6, 0, 0, 0][..], &[0, 80, 0, 0], &words(&[7])].concat(),
                Some(value(4)),
                vec![tcp_80, profile.clone()],
                Some(Term::PortClass(PortClassId(4))),
            ),
            (
                "oth.1",
                [&[47, 0, 0, 0][..], &words(&[7])].concat(),
                Some(value(4)),
                vec![Term::Protocol(IpProtocol(47)), profile.clone()],
                Some(Term::PortClass(PortClassId(4))),
            ),
            (
                "dec.1",
                words(&[4, 2]),
                Some(value(9)),
                vec![Term::PortClass(PortClassId(4)), Term::Class(ClassId(2))],
                Some(Term::Path(PathId(9))),
            ),
            (
                "dec.1",
                words(&[0, u32::MAX]),
                Some(value(u32::MAX)),
                vec![Term::PortClass(PortClassId(0)), Term::ByBlock],
                Some(Term::SecondLook),
            ),
            (
                "iact.1",
                words(&[0, 7]),
                Some(Data::Verdict(Verdict::Goto("deny_i9.1".into()))),
                vec![Term::Default, profile],
                Some(Term::Verdict(Verdict::Goto("deny_i9.1".into()))),
            ),
        ];
        for (map, key, data, terms, answer) in cases {
            let element = Element::Range { from: key.clone(), to: key, data };
            assert_eq!(meaning(map, &element), Some(Meaning { key: Some(terms), answer }), "{map}");
        }
        for slot in Slot::all() {
            let name = super::super::layout::Layout::after(None).name(slot);
            assert!(question(&name).is_some_and(|q| !q.is_empty()), "{name}");
        }
    }

    #[test]
    fn ranges_and_everything_else_are_read() {
        let end = |port: u16| [&port.to_be_bytes()[..], &[0, 0], &[17, 0, 0, 0], &words(&[7])].concat();
        let ports = Element::Range { from: end(80), to: end(90), data: Some(value(4)) };
        let terms = vec![Term::Ports(IpProtocol::UDP, 80, 90), Term::Profile(ProfileId(7))];
        assert_eq!(meaning("prr.2", &ports).and_then(|m| m.key), Some(terms));
        let block = Element::Range { from: vec![10, 0, 0, 0], to: vec![10, 0, 0, 255], data: Some(value(3)) };
        let addresses = Term::Addresses([10, 0, 0, 0].into(), [10, 0, 0, 255].into());
        assert_eq!(meaning("cidr4.2", &block).and_then(|m| m.key), Some(vec![addresses]));
        let rest = Element::CatchAll { data: Some(value(0)) };
        assert_eq!(meaning("dec.1", &rest), Some(Meaning { key: None, answer: Some(Term::Default) }));
    }

    #[test]
    fn what_tortie_does_not_write_has_no_meaning() {
        let element = |key: Vec<u8>, data| Element::Range { from: key.clone(), to: key, data };
        let local = |key| meaning("local4.1", &element(key, None));
        assert!(local(vec![10, 0, 0, 1]).is_some());
        for key in [vec![10, 0, 0], vec![], vec![10, 0, 0, 1, 0]] {
            assert_eq!(local(key), None);
        }
        // Bits where nothing is, a value of another shape, a verdict where a number belongs, somebody else's map.
        let port = |padding| [&[6, 0, padding, 0][..], &[0, 80, 0, 0], &words(&[7])].concat();
        assert!(meaning("prt.1", &element(port(0), Some(value(1)))).is_some());
        assert_eq!(meaning("prt.1", &element(port(1), Some(value(1)))), None);
        assert_eq!(meaning("dec.1", &element(words(&[1, 1]), Some(Data::Value(vec![0, 0, 0, 1])))), None);
        assert_eq!(meaning("dec.1", &element(words(&[1, 1]), Some(Data::Verdict(Verdict::Accept)))), None);
        assert_eq!(meaning("theirs.1", &element(words(&[1, 1]), None)), None);
        assert_eq!(question("theirs"), None);
    }
}
