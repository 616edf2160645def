//! The engine: the only place where a verdict is decided.
//!
//! ```text
//! NetworkPolicy ──front end──▶ Policy{tier, order, subject, rules}          rule.rs, networkpolicy.rs
//!                                  │ Delta
//!                                  ▼
//!  pods, namespaces ──Delta──▶  Index ──stack()──▶ Stack (tiers and policies that govern one endpoint, in order)
//!                                                    ├─ decide():  one packet        ─▶ Outcome   ┐ verdict.rs adds both
//!                                                    ├─ resolve(): every packet at once ─▶ Regions ┘ directions and the trace
//!                                                    └─ prepare(): the same for many packets, by an index of the rules
//! ```
//!
//! Every policy API becomes the one rule form of `rule.rs`: tiers with an order and an end action, policies with an
//! order, rules that allow, deny, pass or log. A NetworkPolicy is a policy of order 1000 in tier `default`.
//! The plan is computed from [`Stack::resolve`], explanations from [`Index::verdict`]; both walk the same stack.

mod calico;
mod clusterpolicy;
mod expression;
mod index;
mod nearest;
mod networkpolicy;
mod own;
mod ports;
mod prepared;
mod profiles;
mod references;
mod regions;
mod rule;
mod side;
mod stack;
mod sweep;
mod verdict;
mod walk;

pub use calico::{calico_policy, calico_tier};
pub use clusterpolicy::cluster_policy;
pub use expression::{Expression, Key, Labelled, PodLabels, SetLabels};
pub use index::{Delta, Index, News, PodKey};
pub use nearest::{NearMiss, PeerMiss, PortMiss, UnmetTerm};
pub use networkpolicy::{NETWORK_POLICY_ORDER, fail_closed, network_policy};
pub use ports::{Asked, EPHEMERAL_PORT, NamedPort, NamedPorts, Names};
pub use prepared::Prepared;
pub use profiles::Profiles;
pub use regions::{Regions, Scope};
pub use rule::{
    ADMIN_TIER, Action, BASELINE_TIER, BlockSource, DEFAULT_TIER, Detail, EndAction, EndpointSelector, NamespaceMatch,
    Peer, Peers, Policy, PortMatch, Ports, Rule, Tier,
};
pub use side::Side;
pub use stack::{By, Outcome, Position, RuleRef, Stack, TierStack, Verdict};
pub use tortie_model::Order;
pub use verdict::{FlowVerdict, Half, PairVerdict, Shortcut};
