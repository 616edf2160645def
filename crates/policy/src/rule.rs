//! The one rule form that every policy API is brought into.

use std::sync::Arc;

use ipnet::IpNet;
use tortie_model::{Family, IpBlock, IpProtocol, Kind, LabelSelector, Nets, ObjectRef, Order};

use crate::expression::Expression;

/// What happens to a packet that no policy of a tier decided, when one of them governs the endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EndAction {
    /// Deny it (Calico's default, and what makes a NetworkPolicy isolate).
    Deny,
    /// Ask the next tier.
    Pass,
}

/// A tier.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Tier {
    /// Name.
    pub name: Arc<str>,
    /// Position among tiers; equal orders are sorted by name.
    pub order: Order,
    /// What its end does.
    pub end: EndAction,
}

impl Tier {
    /// Tier `default`: where NetworkPolicies are, with order 1,000,000 and end action Deny
    /// (`libcalico-go`, `DefaultTierOrder`).
    #[must_use]
    pub fn default_tier() -> Self {
        Self { name: DEFAULT_TIER.into(), order: Order::new(1_000_000.0), end: EndAction::Deny }
    }

    /// The tiers that are there without being written (`clientv3.EnsureInitialized`): `default`, and those of the
    /// cluster's administrators before and after it.
    #[must_use]
    pub fn built_in() -> [Self; 3] {
        let passing = |name: &str, order| Self { name: name.into(), order: Order::new(order), end: EndAction::Pass };
        [passing(ADMIN_TIER, 1000.0), Self::default_tier(), passing(BASELINE_TIER, 10_000_000.0)]
    }
}

/// The tier of NetworkPolicies, and of Calico policies that name none.
pub const DEFAULT_TIER: &str = "default";
/// The tier of ClusterNetworkPolicies of tier Admin.
pub const ADMIN_TIER: &str = "kube-admin";
/// The tier of those of tier Baseline.
pub const BASELINE_TIER: &str = "kube-baseline";

/// A policy of any API.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Policy {
    /// The object it was written as.
    pub object: ObjectRef,
    /// Name of its tier. A tier that does not exist comes last and denies at its end.
    pub tier: Arc<str>,
    /// Position in the tier; equal orders are sorted by the string `name/namespace/kind`, as Calico does.
    pub order: Order,
    /// The endpoints that it governs.
    pub subject: EndpointSelector,
    /// Rules for packets to the endpoint; `None` leaves that direction alone.
    pub ingress: Option<Vec<Rule>>,
    /// Rules for packets from the endpoint.
    pub egress: Option<Vec<Rule>>,
}

impl Policy {
    /// Its rules for a direction; `None` when it does not govern that direction.
    #[must_use]
    pub fn rules(&self, direction: tortie_model::Direction) -> Option<&[Rule]> {
        match direction {
            tortie_model::Direction::Ingress => self.ingress.as_deref(),
            tortie_model::Direction::Egress => self.egress.as_deref(),
        }
    }

    /// The string that breaks ties between equal orders.
    pub(crate) fn tie_break(&self) -> Arc<str> {
        format!("{}/{}/{}", self.object.name, self.object.namespace_str(), calico_kind(self.object.kind)).into()
    }
}

/// What Calico calls a kind where it sorts policies (`libcalico-go/lib/backend/model/policy.go`). One that is staged
/// stands where it would.
fn calico_kind(kind: Kind) -> &'static str {
    match kind.enforced() {
        Kind::NetworkPolicy => "KubernetesNetworkPolicy",
        Kind::ClusterNetworkPolicy => "KubernetesClusterNetworkPolicy",
        other => other.written(),
    }
}

/// What a rule does with a packet that it matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Action {
    /// Let it through in this direction.
    Allow,
    /// Deny it.
    Deny,
    /// Ask the next tier.
    Pass,
    /// Note it and go on with the next rule.
    Log,
}

/// A rule: matches a packet when all that it says of it holds.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Rule {
    /// The item of `ingress` or `egress` that it was written as. An item may be several rules, one after the other.
    pub written: usize,
    /// What it does.
    pub action: Action,
    /// What must hold of the endpoint itself; `None`: nothing more than that its policy governs it.
    pub own: Option<Peer>,
    /// Who is at the other end.
    pub peers: Peers,
    /// Which packets, by protocol and destination port.
    pub ports: Ports,
    /// Which packets not.
    pub not_ports: Vec<PortMatch>,
    /// From which ports.
    pub source_ports: Ports,
    /// From which ports not.
    pub not_source_ports: Vec<PortMatch>,
}

impl Rule {
    /// A rule about other ends and destination ports.
    #[must_use]
    pub const fn new(written: usize, action: Action, peers: Peers, ports: Ports) -> Self {
        Self {
            written,
            action,
            own: None,
            peers,
            ports,
            not_ports: Vec::new(),
            source_ports: Ports::Any,
            not_source_ports: Vec::new(),
        }
    }

    /// Whether it asks from which port a packet comes.
    #[must_use]
    pub fn asks_source_port(&self) -> bool {
        self.source_ports != Ports::Any || !self.not_source_ports.is_empty()
    }
}

/// The other ends that a rule speaks of.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Peers {
    /// Any, inside and outside the cluster.
    Any,
    /// One of these must match; empty matches nobody.
    OneOf(Vec<Peer>),
}

impl Peers {
    /// The peers one by one; none for any.
    #[must_use]
    pub fn listed(&self) -> &[Peer] {
        match self {
            Self::Any => &[],
            Self::OneOf(peers) => peers,
        }
    }
}

/// One kind of other end: all criteria that are present must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Peer {
    /// It is an endpoint that this selects: a pod, or an address in `sets`.
    pub endpoints: Option<EndpointSelector>,
    /// The addresses of what `endpoints` selects besides pods. The index adds them.
    pub sets: Nets,
    /// Its address lies in one of these blocks.
    pub blocks: Option<Vec<IpBlock>>,
    /// It is no pod that this selects.
    pub not_endpoints: Option<EndpointSelector>,
    /// Its address lies in none of these blocks. The index adds the addresses of what `not_endpoints` selects besides
    /// pods.
    pub not_blocks: Nets,
    /// Its address is of this family.
    pub family: Option<Family>,
    /// The objects whose addresses are its blocks. The index adds them.
    pub source: Option<BlockSource>,
}

/// Objects that stand for addresses.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum BlockSource {
    /// The endpoints of a Service, with their ports or without.
    Service {
        /// Its namespace.
        namespace: Arc<str>,
        /// Its name.
        name: Arc<str>,
        /// Whether the packet must go to one of its ports.
        with_ports: bool,
    },
    /// Nodes.
    Nodes(LabelSelector),
}

impl Peer {
    /// Pods.
    #[must_use]
    pub fn endpoints(selector: EndpointSelector) -> Self {
        Self { endpoints: Some(selector), ..Self::default() }
    }

    /// Addresses.
    #[must_use]
    pub fn block(block: IpBlock) -> Self {
        Self { blocks: Some(vec![block]), ..Self::default() }
    }

    /// Whether it asks nothing.
    #[must_use]
    pub fn is_anybody(&self) -> bool {
        *self == Self::default()
    }

    /// All blocks of addresses that it names; a family is all of its addresses.
    pub fn nets(&self) -> impl Iterator<Item = IpNet> {
        let blocks = self.blocks.iter().flatten().flat_map(|b| b.except().iter().copied().chain([b.cidr()]));
        let family = self.family.map(|family| family.whole());
        let sets = self.sets.blocks().iter().chain(self.not_blocks.blocks());
        blocks.chain(sets.copied()).chain(family)
    }
}

/// Which namespaces a selector looks in.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum NamespaceMatch {
    /// One, by name.
    Named(Arc<str>),
    /// All whose labels match.
    Matching(LabelSelector),
}

/// Selects pods by their namespace and their labels.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EndpointSelector {
    /// Where.
    pub namespaces: NamespaceMatch,
    /// Which of the pods there.
    pub pods: LabelSelector,
    /// What else is asked, of pods and of sets of addresses. Without it only pods are selected.
    pub expression: Option<Arc<Expression>>,
}

impl EndpointSelector {
    /// Pods by their labels.
    #[must_use]
    pub const fn pods(namespaces: NamespaceMatch, pods: LabelSelector) -> Self {
        Self { namespaces, pods, expression: None }
    }

    /// Endpoints by an expression, in one namespace or in all and none.
    #[must_use]
    pub fn expression(namespace: Option<&Arc<str>>, expression: Expression) -> Self {
        let everywhere = || NamespaceMatch::Matching(LabelSelector::everything());
        Self {
            namespaces: namespace.map_or_else(everywhere, |name| NamespaceMatch::Named(name.clone())),
            pods: LabelSelector::everything(),
            expression: Some(Arc::new(expression)),
        }
    }
}

/// The packets that a rule speaks of.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Ports {
    /// Every protocol and port, ICMP and other protocols too.
    Any,
    /// One of these must match; empty matches nothing.
    OneOf(Vec<PortMatch>),
}

impl Ports {
    /// The items one by one; none for any.
    #[must_use]
    pub fn listed(&self) -> &[PortMatch] {
        match self {
            Self::Any => &[],
            Self::OneOf(ports) => ports,
        }
    }
}

/// Some packets of one protocol.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PortMatch {
    /// The protocol.
    pub protocol: IpProtocol,
    /// Which of its packets.
    pub detail: Detail,
}

/// Which packets of a protocol, by [`tortie_model::Traffic::detail`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Detail {
    /// All of them.
    All,
    /// Details from the first to the second, both included.
    Range(u16, u16),
    /// The first port of that name of the pod at this end, as Kubernetes looks it up; matches nothing where there is
    /// none.
    Named(Arc<str>),
    /// All ports of that name of the pod at this end, as Calico has it.
    EveryNamed(Arc<str>),
}
