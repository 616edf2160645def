//! Tables, chains and rules.

use std::collections::BTreeMap;
use std::sync::Arc;

use tortie_persistent::{Map, Set};

use crate::{Element, Expr, MapSpec};

/// Address family of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Family {
    /// IPv4 and IPv6 together.
    Inet,
    /// IPv4 only.
    Ip,
    /// IPv6 only.
    Ip6,
}

/// Where a base chain is attached (`enum nf_inet_hooks`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Hook {
    /// Before routing.
    Prerouting,
    /// To this host.
    Input,
    /// Routed through this host.
    Forward,
    /// From this host.
    Output,
    /// After routing.
    Postrouting,
}

/// The type of a base chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ChainKind {
    /// Accept or drop.
    Filter,
    /// Address translation: sees the first packet of a connection.
    Nat,
    /// Output packets whose mark changed are routed again.
    Route,
}

/// What a base chain does with a packet that no rule decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Policy {
    /// Let it through.
    Accept,
    /// Drop it.
    Drop,
}

/// How a base chain is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BaseChain {
    /// Filter, nat or route.
    pub kind: ChainKind,
    /// The hook.
    pub hook: Hook,
    /// Order among the chains of that hook, lower first.
    pub priority: i32,
    /// Verdict of a packet that falls off the end.
    pub policy: Policy,
}

/// One rule: expressions evaluated left to right; one that does not match ends the rule, not the chain.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub struct Rule {
    /// What it does.
    pub exprs: Vec<Expr>,
    /// Shown by `nft list ruleset`; at most 127 bytes.
    pub comment: Option<String>,
}

/// A chain: a base chain if it is attached to a hook.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Chain {
    /// The attachment of a base chain.
    pub base: Option<BaseChain>,
    /// Rules in order.
    pub rules: Vec<Rule>,
}

/// A whole table: what a lowered plan is, and what is read back. Copies share what is the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// Its family.
    pub family: Family,
    /// Its name.
    pub name: String,
    /// Sets and maps by name, with their elements (sorted by key).
    pub maps: BTreeMap<String, (MapSpec, Set<Element>)>,
    /// Chains by name.
    pub chains: Map<String, Arc<Chain>>,
}
