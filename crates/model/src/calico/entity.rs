//! What Calico's policies stand in and speak of: tiers, sets of addresses, profiles, host endpoints.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use super::Rule;
use crate::{ContainerPort, Labels, Meta, Order};

/// `projectcalico.org/v3` Tier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tier {
    /// Name and labels.
    pub meta: Meta,
    /// Position among tiers; 1,000,000 when not written (`libcalico-go/lib/resources/tier.go`).
    pub order: Order,
    /// Whether `defaultAction` is Pass; Deny when not written.
    pub passes: bool,
}

/// `projectcalico.org/v3` NetworkSet or GlobalNetworkSet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkSet {
    /// Name and labels; the namespace is empty for a GlobalNetworkSet.
    pub meta: Meta,
    /// Its addresses, host bits masked.
    pub nets: Vec<IpNet>,
}

/// `projectcalico.org/v3` Profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// Name and labels.
    pub meta: Meta,
    /// Rules for packets to the endpoint.
    pub ingress: Vec<Rule>,
    /// Rules for packets from the endpoint.
    pub egress: Vec<Rule>,
    /// `labelsToApply`.
    pub labels_to_apply: Labels,
}

/// `projectcalico.org/v3` HostEndpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostEndpoint {
    /// Name and labels.
    pub meta: Meta,
    /// The node.
    pub node: Arc<str>,
    /// `interfaceName`; `*` for all of them, empty where only addresses tell.
    pub interface: Arc<str>,
    /// `expectedIPs`.
    pub addresses: Vec<IpAddr>,
    /// Names of its profiles, in order.
    pub profiles: Vec<Arc<str>>,
    /// Named ports.
    pub ports: Vec<ContainerPort>,
}
