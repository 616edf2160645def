//! Calico's API (`projectcalico.org/v3`).

mod entity;
mod parse;
mod policy;
mod selector;

pub use entity::{HostEndpoint, NetworkSet, Profile, Tier};
pub use parse::{MAX_DEPTH, MAX_KEY, SelectorError};
pub use policy::{
    Action, Class, Entity, Icmp, Policy, Rule, ServiceAccounts, ServiceMatch, Staged, StagedAction, StagedPolicy,
};
pub use selector::{Comparison, Selector};
