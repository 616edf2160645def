//! The one rule form that every policy API is brought into.

use std::sync::Arc;

use tortie_model::{IpBlock, IpProtocol, LabelSelector, ObjectRef, Order};

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
        Self { name: "default".into(), order: Order::new(1_000_000.0), end: EndAction::Deny }
    }
}

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
    pub(crate) fn tie_break(&self) -> String {
        format!("{}/{}/{}", self.object.name, self.object.namespace_str(), self.object.kind)
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

/// A rule: matches a packet when its peer and its ports do.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Rule {
    /// What it does.
    pub action: Action,
    /// Who is at the other end.
    pub peers: Peers,
    /// Which packets.
    pub ports: Ports,
}

/// The other ends that a rule speaks of.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Peers {
    /// Any, inside and outside the cluster.
    Any,
    /// One of these must match; empty matches nobody.
    OneOf(Vec<Peer>),
}

/// One kind of other end: all criteria that are present must hold.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Peer {
    /// It is a pod that this selects.
    pub endpoints: Option<EndpointSelector>,
    /// Its address lies in one of these blocks.
    pub blocks: Option<Vec<IpBlock>>,
}

impl Peer {
    /// Pods.
    #[must_use]
    pub const fn endpoints(selector: EndpointSelector) -> Self {
        Self { endpoints: Some(selector), blocks: None }
    }

    /// Addresses.
    #[must_use]
    pub fn block(block: IpBlock) -> Self {
        Self { endpoints: None, blocks: Some(vec![block]) }
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
}

/// The packets that a rule speaks of.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Ports {
    /// Every protocol and port, ICMP and other protocols too.
    Any,
    /// One of these must match; empty matches nothing.
    OneOf(Vec<PortMatch>),
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
    /// The destination pod's port of that name; matches nothing where there is none.
    Named(Arc<str>),
}
