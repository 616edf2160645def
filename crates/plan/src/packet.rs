//! Evaluation of a plan in memory.

use std::net::IpAddr;

use tortie_model::{Direction, IpProtocol, Traffic};
use tortie_policy::{Asked, Verdict};

use crate::plan::{
    AttachmentPoint, ClassId, IdentityId, LocalEndpoint, OutsideClass, PathId, Plan, PodInterface, PortClassId,
    Profile, ProfileId,
};

/// A packet that would open a connection, after destination NAT and before source NAT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Where it is asked about.
    pub at: AttachmentPoint,
    /// The pod interface by which it comes in; `None` when it comes in by any other.
    pub interface: Option<PodInterface>,
    /// Its source address.
    pub source: IpAddr,
    /// Its destination address.
    pub destination: IpAddr,
    /// Protocol and port.
    pub traffic: Traffic,
    /// Source port, for protocols that have ports.
    pub source_port: u16,
}

/// What a plan does with a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PlanVerdict {
    /// Passes: neighbour discovery or multicast listener discovery with this node, without which IPv6 does not work.
    Discovery,
    /// Passes: nothing is asked at this point.
    Unattached,
    /// Dropped: it comes from a pod's interface without being from that pod.
    Spoofed,
    /// Dropped: an address in this node's pod ranges belongs to no pod that is programmed. Of the destination this is
    /// asked after the sender's own policies.
    Unprogrammed(IpAddr),
    /// Decided by policies.
    Decided {
        /// Whether it passes.
        allowed: bool,
        /// What the source's policies decide; `None` when none governs it, or it is no pod of this node.
        egress: Option<PathId>,
        /// What the destination's policies decide; `None` as for egress, and when egress denies.
        ingress: Option<PathId>,
        /// Whether it passes although policies deny it, because a pod cannot block itself.
        hairpin: bool,
    },
}

impl PlanVerdict {
    /// Whether the packet passes.
    #[must_use]
    pub const fn is_allowed(self) -> bool {
        match self {
            Self::Discovery | Self::Unattached => true,
            Self::Spoofed | Self::Unprogrammed(_) => false,
            Self::Decided { allowed, .. } => allowed,
        }
    }
}

impl Profile {
    /// The class of an identity.
    #[must_use]
    pub fn class(&self, identity: IdentityId) -> ClassId {
        self.classes.get(&identity).copied().unwrap_or(ClassId(0))
    }

    /// The decision for a port class and a class.
    #[must_use]
    pub fn row(&self, port: PortClassId, class: ClassId) -> PathId {
        self.rows.get(&(port, class)).copied().unwrap_or(self.default)
    }
}

impl Plan {
    /// The pod of this node that has an address.
    #[must_use]
    pub fn endpoint(&self, ip: IpAddr) -> Option<&LocalEndpoint> {
        self.endpoints.values().find(|e| e.addresses.contains(&ip)).map(|e| &**e)
    }

    /// The identity of an address by its range, as if no pod owned it.
    #[must_use]
    pub fn range(&self, ip: IpAddr) -> IdentityId {
        let at = self.ranges.partition_point(|r| r.to < ip);
        self.ranges.get(at).filter(|r| r.from <= ip).map_or(IdentityId(0), |r| r.identity)
    }

    /// The class that a profile gives to an address.
    #[must_use]
    pub fn class(&self, profile: &Profile, ip: IpAddr) -> ClassId {
        match (self.addresses.get(&ip), profile.outside) {
            (Some(identity), _) => profile.class(*identity),
            (None, OutsideClass::One(class)) => class,
            (None, OutsideClass::ByRange) => profile.class(self.range(ip)),
        }
    }

    /// What a profile decides about a packet from or to an address; `None` without such a profile.
    #[must_use]
    pub fn decide(&self, profile: ProfileId, peer: IpAddr, asked: impl Into<Asked>) -> Option<PathId> {
        let (profile, asked) = (self.profiles.get(&profile)?, asked.into());
        Some(self.branch(profile.row(*profile.ports.get(asked.traffic), self.class(profile, peer)), asked.source_port))
    }

    /// The path that a packet from a port goes on with.
    #[must_use]
    pub fn branch(&self, path: PathId, source_port: u16) -> PathId {
        let branches = self.paths.get(&path).map_or(&[][..], |path| path.branches());
        let at = branches.partition_point(|branch| branch.last < source_port);
        branches.get(at).map_or(path, |branch| branch.path)
    }

    /// What the plan does with a packet, as the kernel must. Only for packets that open a connection: established ones
    /// pass, and revoked ones do not, before any of this is asked.
    #[must_use]
    pub fn evaluate(&self, packet: &Packet) -> PlanVerdict {
        match packet.at {
            AttachmentPoint::Forward => {}
            AttachmentPoint::ToThisNode if is_discovery(packet) => return PlanVerdict::Discovery,
            AttachmentPoint::ToThisNode => {}
            AttachmentPoint::FromThisNode | AttachmentPoint::BeforeDnat | AttachmentPoint::Untracked => {
                return PlanVerdict::Unattached;
            }
        }
        let from = self.endpoint(packet.source);
        if packet.interface.as_ref().is_some_and(|interface| from.is_none_or(|e| e.interface != *interface)) {
            return PlanVerdict::Spoofed;
        }
        let nobody = |ip: IpAddr, endpoint: Option<&LocalEndpoint>| {
            endpoint.is_none() && self.pod_ranges.iter().any(|r| r.contains(&ip))
        };
        if nobody(packet.source, from) {
            return PlanVerdict::Unprogrammed(packet.source);
        }
        let forwarded = packet.at == AttachmentPoint::Forward;
        let to = self.endpoint(packet.destination).filter(|_| forwarded);
        // Egress is asked of packets that a pod sends, which come in by its interface.
        let from = from.filter(|_| packet.interface.is_some());
        let itself = from.zip(to).is_some_and(|(from, to)| std::ptr::eq(from, to));
        let asked = Asked { traffic: packet.traffic, source_port: packet.source_port };
        let mut hairpin = false;
        let mut half = |direction, endpoint: Option<&LocalEndpoint>| {
            let Some(endpoint) = endpoint else { return (true, None) };
            let (profile, peer) = match direction {
                Direction::Egress => (endpoint.egress, packet.destination),
                Direction::Ingress => (endpoint.ingress, packet.source),
            };
            if profile == ProfileId(0) {
                return (true, None);
            }
            let Some(path) = self.decide(profile, peer, asked) else {
                return (false, None);
            };
            // A number without its path is a broken plan: closed.
            let allows = self.paths.get(&path).is_some_and(|p| p.verdict == Verdict::Allow);
            let spared = !allows && itself && self.paths.get(&path).is_some_and(|p| p.spares_hairpin);
            hairpin |= spared;
            (allows || spared, Some(path))
        };
        let (allowed, egress) = half(Direction::Egress, from);
        if allowed && forwarded && nobody(packet.destination, to) {
            return PlanVerdict::Unprogrammed(packet.destination);
        }
        let (allowed, ingress) = if allowed { half(Direction::Ingress, to) } else { (false, None) };
        PlanVerdict::Decided { allowed, egress, ingress, hairpin: hairpin && allowed }
    }
}

/// Router and neighbour discovery with redirects (RFC 4861), multicast listener discovery (RFC 2710, RFC 3810).
fn is_discovery(packet: &Packet) -> bool {
    let [kind, _] = packet.traffic.detail.to_be_bytes();
    packet.traffic.protocol == IpProtocol::ICMPV6 && matches!(kind, 130..=137 | 143)
}
