//! The neutral plan.
//!
//! Laws of its numbers: a number never changes its meaning while a node runs, and is not given out again; zero has a
//! fixed meaning in every kind of number.
//!
//! A packet asks in this order, and never an earlier question again: profile of the endpoint, identity of the other
//! end's address, class, port class, path. Transitions ([`crate::Transition`]) rely on it.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use tortie_model::{Direction, ObjectRef};
use tortie_persistent::Map;
use tortie_policy::{PodKey, Regions, RuleRef, Stack, Verdict};

macro_rules! number {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub u32);

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number! {
    /// What policies anywhere in the cluster can know of an address. 0: an address of no pod, not looked at further.
    IdentityId
}
number! {
    /// Identities that the rules of one profile cannot tell apart. Unique on the node; 0: the identities that a
    /// profile does not list.
    ClassId
}
number! {
    /// Packets (protocol and port) that the rules of one profile cannot tell apart. Unique on the node; 0: the packets
    /// that a profile does not list.
    PortClassId
}
number! {
    /// The rules that decide for the endpoints of one kind in one direction. 0: no policy.
    ProfileId
}
number! {
    /// A decision: a rule or the end of a tier, and the Log and Pass rules before it. 0 is not used.
    PathId
}

/// Where the members of an identity come from. Closed: what is not in it does not reach the kernel.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SetSource {
    /// Pods that selectors cannot tell apart: their namespace, and the labels and named ports that policies could ask
    /// for or do ask for, as sorted `key=value` terms.
    Selector(Arc<[Arc<str>]>),
    /// Addresses that lie in exactly these of all blocks that policies name.
    Cidr(Arc<[IpNet]>),
    /// Pods as in `Selector` whose address also lies in blocks that policies name.
    SelectorInCidr(Arc<[Arc<str>]>, Arc<[IpNet]>),
    /// During a transition only: to the profiles that endpoints are leaving the first, to all others the second.
    /// The first may be 0 or that of a range: the address belonged to no pod.
    Changing(IdentityId, IdentityId),
}

/// An identity: what it stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Where its members come from.
    pub source: SetSource,
}

/// A range of addresses of one family with its identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RangeEntry {
    /// First address.
    pub from: IpAddr,
    /// Last address, of the same family.
    pub to: IpAddr,
    /// Identity of the addresses that belong to no pod.
    pub identity: IdentityId,
}

/// The class of addresses that belong to no pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OutsideClass {
    /// One class for all of them: the profile has no rule with a block.
    One(ClassId),
    /// Their range decides (second stage).
    ByRange,
}

/// The decision table of one kind of endpoint in one direction.
///
/// For a packet: `class = classes[identity]` (0 when absent), `port = ports.get(traffic)`, `path = rows[port, class]`,
/// or `default` when there is no such row. There is never a row for class 0 and port class 0: rows need no profile in
/// their key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// The policies that it stands for.
    pub stack: Arc<Stack>,
    /// Classes of pod identities and of ranges.
    pub classes: Map<IdentityId, ClassId>,
    /// Class of addresses that belong to no pod.
    pub outside: OutsideClass,
    /// Port classes.
    pub ports: Regions<PortClassId>,
    /// Decisions that differ from `default`.
    pub rows: Map<(PortClassId, ClassId), PathId>,
    /// The decision for class 0 and port class 0, and wherever there is no row.
    pub default: PathId,
}

/// What decides at the end of a path.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Decider {
    /// A rule.
    Rule(RuleRef),
    /// The end of the tier of this name: policies of it govern the endpoint, and none of their rules decided.
    EndOfTier(Arc<str>),
    /// The namespace's profile, which allows: every tier passed the packet on.
    Profile,
    /// The table of the profile would not fit ([`Problem::TooManyRows`]): everything is denied.
    TooBig,
    /// Nothing yet: the source port decides which path is gone on with. The ranges begin at 0 and end at the last port;
    /// none of them leads to another such path.
    SourcePort(Arc<[SourceRange]>),
}

/// Source ports from the one after the range before, and the path of packets from them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SourceRange {
    /// The last of them.
    pub last: u16,
    /// The path.
    pub path: PathId,
}

/// How a packet is decided. The same path serves every profile in which the same rules decide; paths that no rule
/// decides belong to the endpoints that the same policies govern.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Path {
    /// The verdict in this direction.
    pub verdict: Verdict,
    /// The direction.
    pub direction: Direction,
    /// What decided.
    pub by: Decider,
    /// Log and Pass rules before it: they count the packet too.
    pub passed: Vec<RuleRef>,
    /// Those of `passed` that log.
    pub logged: Vec<RuleRef>,
    /// The policy of the deciding rule, or, when no rule decided, all policies that govern the endpoint, in order: for
    /// explaining a drop after they are gone.
    pub isolating: Arc<[ObjectRef]>,
    /// A pod's connection to itself passes although this denies it; see [`Stack::spares_itself`].
    pub spares_hairpin: bool,
}

impl Path {
    /// The deciding rule, when one decided.
    #[must_use]
    pub const fn rule(&self) -> Option<&RuleRef> {
        match &self.by {
            Decider::Rule(rule) => Some(rule),
            Decider::EndOfTier(_) | Decider::Profile | Decider::TooBig | Decider::SourcePort(_) => None,
        }
    }

    /// Where it leads by source port; nothing when it decides itself.
    #[must_use]
    pub fn branches(&self) -> &[SourceRange] {
        match &self.by {
            Decider::SourcePort(ranges) => ranges,
            Decider::Rule(_) | Decider::EndOfTier(_) | Decider::Profile | Decider::TooBig => &[],
        }
    }
}

/// What decided, in a few words.
impl std::fmt::Display for Path {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (&self.by, &self.isolating[..]) {
            (Decider::Rule(rule), _) => write!(f, "{} {}[{}]", rule.policy, rule.direction, rule.index),
            (Decider::SourcePort(_), _) => f.write_str("by source port"),
            (Decider::Profile, _) => f.write_str("no policy decides"),
            (Decider::TooBig, _) => f.write_str("too many decisions for one pod: closed"),
            (Decider::EndOfTier(tier), []) => write!(f, "end of tier {tier}"),
            (Decider::EndOfTier(_), [only]) => write!(f, "no rule of {only}"),
            (Decider::EndOfTier(_), [first, rest @ ..]) => write!(f, "no rule of {first} and {} more", rest.len()),
        }
    }
}

/// Where in a packet's way a decision is asked for. Closed: what is not in it does not reach the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum AttachmentPoint {
    /// Packets that this node forwards: egress of its pods, then ingress of its pods.
    Forward,
    /// Packets to this node itself: egress of its pods.
    ToThisNode,
    /// Packets that this node sends. Nothing is asked yet: a node reaches its own pods.
    FromThisNode,
    /// Packets before destination NAT. Nothing is asked yet.
    BeforeDnat,
    /// Packets before connection tracking. Nothing is asked yet.
    Untracked,
}

/// What a plan could not hold, and what it does instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// A decision table is too big: its endpoints are closed in its direction.
    #[error(
        "{direction} of {}: the decision table needs more than {limit} elements, so everything is denied; \
         let fewer policies select these pods, or raise the limit",
        names(.endpoints)
    )]
    TooManyRows {
        /// The closed profile that stands in for it.
        profile: ProfileId,
        /// The direction that is closed.
        direction: Direction,
        /// Pods that it governs.
        endpoints: Vec<PodKey>,
        /// The most elements (rows and classes) that a profile may have.
        limit: usize,
    },
}

fn names(endpoints: &[PodKey]) -> String {
    endpoints.iter().map(PodKey::to_string).collect::<Vec<_>>().join(", ")
}

/// A pod that runs on this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalEndpoint {
    /// `metadata.uid`: an address belongs to a pod and not to a name.
    pub uid: Arc<str>,
    /// The node's end of its link.
    pub interface: PodInterface,
    /// Its addresses, both families.
    pub addresses: Vec<IpAddr>,
    /// Who decides for packets that it sends; 0 when no policy governs it.
    pub egress: ProfileId,
    /// Who decides for packets sent to it.
    pub ingress: ProfileId,
}

/// The node's end of a pod's link.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PodInterface {
    /// Name.
    pub name: Arc<str>,
    /// Index in the node's network namespace.
    pub index: u32,
}

/// What a node knows of itself, besides the cluster's objects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeFacts {
    /// Its name.
    pub name: Arc<str>,
    /// How the names of all pod interfaces begin: a packet from such an interface must carry the pod's own source.
    pub interface_prefix: Arc<str>,
    /// Ranges from which its pods get addresses: an address in them without a programmed pod is closed.
    pub pod_ranges: Vec<IpNet>,
    /// Links of pods that were set up, by pod.
    pub interfaces: BTreeMap<PodKey, PodInterface>,
}

/// What one node must hold. Consecutive plans share what is the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Grows with every plan of a node.
    pub generation: u64,
    /// How pod interfaces are recognised; see [`NodeFacts::interface_prefix`].
    pub interface_prefix: Arc<str>,
    /// See [`NodeFacts::pod_ranges`].
    pub pod_ranges: Vec<IpNet>,
    /// Identities of all pod addresses of the cluster.
    pub addresses: Map<IpAddr, IdentityId>,
    /// Identities of ranges, disjoint and sorted, both families; addresses outside all of them have identity 0.
    pub ranges: Arc<[RangeEntry]>,
    /// What identities stand for.
    pub identities: Map<IdentityId, Identity>,
    /// Pods of this node.
    pub endpoints: Map<PodKey, Arc<LocalEndpoint>>,
    /// Decision tables: those that endpoints use, and during a change those that they used before.
    pub profiles: Map<ProfileId, Arc<Profile>>,
    /// Decisions.
    pub paths: Map<PathId, Arc<Path>>,
    /// What does not fit, and is closed instead.
    pub problems: Vec<Problem>,
}
