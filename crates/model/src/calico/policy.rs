//! Calico's policies.

use std::sync::Arc;

use ipnet::IpNet;

use crate::calico::Selector;
use crate::{Family, IpProtocol, Meta, NetworkPolicy, Order, PortSpec};

/// `projectcalico.org/v3` NetworkPolicy or GlobalNetworkPolicy after defaulting: a direction is `Some` exactly when
/// `types` names it (`api/pkg/defaults/networkpolicy.go`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Name and labels; the namespace is empty for a GlobalNetworkPolicy.
    pub meta: Meta,
    /// Name of its tier; `default` when not written.
    pub tier: Arc<str>,
    /// Position in its tier.
    pub order: Order,
    /// `selector`: the endpoints that it governs, of its namespace when it has one. `all()` when not written.
    pub selector: Selector,
    /// `namespaceSelector` of a GlobalNetworkPolicy.
    pub namespaces: Option<Selector>,
    /// `serviceAccountSelector`.
    pub service_accounts: Option<Selector>,
    /// Rules for packets to the endpoint.
    pub ingress: Option<Vec<Rule>>,
    /// Rules for packets from the endpoint.
    pub egress: Option<Vec<Rule>>,
    /// What it is asked about.
    pub class: Class,
}

/// Which packets of an endpoint a GlobalNetworkPolicy is asked about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Class {
    /// Those of pods, and those that begin or end at a host.
    #[default]
    Normal,
    /// `applyOnForward`: those that a host forwards as well.
    Forward,
    /// `preDNAT`: those to a host, before destination NAT. Never those of pods.
    PreDnat,
    /// `doNotTrack`: those of a host, before connection tracking. Never those of pods.
    DoNotTrack,
}

/// What a rule does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Action {
    /// Lets the packet through.
    Allow,
    /// Drops it.
    Deny,
    /// Notes it, and asks the next rule.
    Log,
    /// Leaves it to the next tier.
    Pass,
}

/// A rule: all that is written must hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// What it does.
    pub action: Action,
    /// `ipVersion`, or what the name of an ICMP implies (`felix/calc/rule_convert.go`).
    pub family: Option<Family>,
    /// `protocol`.
    pub protocol: Option<IpProtocol>,
    /// `notProtocol`.
    pub not_protocol: Option<IpProtocol>,
    /// `icmp`.
    pub icmp: Option<Icmp>,
    /// `notICMP`.
    pub not_icmp: Option<Icmp>,
    /// Where the packet comes from.
    pub source: Entity,
    /// Where it goes.
    pub destination: Entity,
    /// Whether `http` is written. What it asks is for a proxy to judge: a kernel sees no requests.
    pub http: bool,
}

/// Messages of ICMP or ICMPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Icmp {
    /// `type`; every one when not written.
    pub kind: Option<u8>,
    /// `code`; every one when not written, and never written without a type.
    pub code: Option<u8>,
}

/// One end of the packets of a rule: all that is written must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entity {
    /// `nets`: the address lies in one of them; none written: anywhere.
    pub nets: Vec<IpNet>,
    /// `notNets`: the address lies in none of them.
    pub not_nets: Vec<IpNet>,
    /// `selector`.
    pub selector: Option<Selector>,
    /// `notSelector`.
    pub not_selector: Option<Selector>,
    /// `namespaceSelector`.
    pub namespaces: Option<Selector>,
    /// `ports`: one of them, named ones on this end.
    pub ports: Vec<PortSpec>,
    /// `notPorts`: none of them.
    pub not_ports: Vec<PortSpec>,
    /// `services`.
    pub service: Option<ServiceMatch>,
    /// `serviceAccounts`.
    pub service_accounts: Option<ServiceAccounts>,
}

/// `services`: what is behind a Service.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ServiceMatch {
    /// Name.
    pub name: Arc<str>,
    /// Namespace; that of the policy when not written.
    pub namespace: Option<Arc<str>>,
}

/// `serviceAccounts`: all that is written must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct ServiceAccounts {
    /// One of these names; none written: any.
    pub names: Vec<Arc<str>>,
    /// By labels.
    pub selector: Option<Selector>,
}

/// `stagedAction`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum StagedAction {
    /// The policy is to be there so.
    #[default]
    Set,
    /// The policy of that name is to be gone.
    Delete,
    /// As `Set`, written by a machine.
    Learn,
    /// The policy is to be left out of the preview.
    Ignore,
}

/// A policy to try out: StagedNetworkPolicy, StagedGlobalNetworkPolicy, StagedKubernetesNetworkPolicy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Staged {
    /// What is to be done.
    pub action: StagedAction,
    /// The policy of the same name, as it would be.
    pub policy: StagedPolicy,
}

/// What a staged policy would be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StagedPolicy {
    /// A NetworkPolicy or GlobalNetworkPolicy of Calico.
    Calico(Policy),
    /// A NetworkPolicy of Kubernetes.
    Kubernetes(NetworkPolicy),
}

impl Staged {
    /// Name, namespace and labels.
    #[must_use]
    pub const fn meta(&self) -> &Meta {
        match &self.policy {
            StagedPolicy::Calico(policy) => &policy.meta,
            StagedPolicy::Kubernetes(policy) => &policy.meta,
        }
    }

    /// The same, to change.
    pub const fn meta_mut(&mut self) -> &mut Meta {
        match &mut self.policy {
            StagedPolicy::Calico(policy) => &mut policy.meta,
            StagedPolicy::Kubernetes(policy) => &mut policy.meta,
        }
    }
}
