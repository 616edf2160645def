//! What the kernel can do, found out by trying.
//!
//! Every feature is tried in a transaction that ends with an operation that must fail, so that nothing is ever applied:
//! if only that last operation is refused, the rest would have worked. Chains are not attached to hooks, so no packet
//! sees them. Kernel versions tell less than this: distributions leave parts out and put parts back.

use std::fmt;

use tortie_ruleset::{
    CtKey, DataType, Element, Expr, Family, FibResult, KeyType, MapKind, MapSpec, MetaKey, NatKind, Reg, Rule,
};

use crate::{
    Errno, Error, Protocol, Socket,
    conntrack::{self, Masked},
    nft::{Batch, Op, Place, TableFlags, TableId},
};

/// Something that tortie uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Feature {
    /// nf_tables, and tables for IPv4 and IPv6 together.
    Inet,
    /// Tables that only their owner can change.
    Owner,
    /// Owned tables that outlive their owner (Linux 6.9).
    Persist,
    /// Catch-all elements in hash and interval maps.
    CatchAll,
    /// Interval sets of several fields (`pipapo`).
    ConcatInterval,
    /// Map lookups into registers, chained.
    MapChain,
    /// Verdict maps.
    VerdictMap,
    /// Logging to a netlink group.
    LogGroup,
    /// Rate limits.
    Limit,
    /// Connection state and marks in rules.
    ConntrackMark,
    /// Connection labels in rules.
    ConntrackLabel,
    /// Listing connections by mark.
    ConntrackList,
    /// Route lookups in rules.
    Fib,
    /// Number generators.
    Numgen,
    /// Translating addresses and ports.
    Nat,
    /// Translating to the address of the outgoing interface.
    Masquerade,
    /// Translating to this host.
    Redirect,
    /// Answering refused packets.
    Reject,
}

impl Feature {
    /// All of them.
    pub const ALL: [Self; 18] = [
        Self::Inet,
        Self::Owner,
        Self::Persist,
        Self::CatchAll,
        Self::ConcatInterval,
        Self::MapChain,
        Self::VerdictMap,
        Self::LogGroup,
        Self::Limit,
        Self::ConntrackMark,
        Self::ConntrackLabel,
        Self::ConntrackList,
        Self::Fib,
        Self::Numgen,
        Self::Nat,
        Self::Masquerade,
        Self::Redirect,
        Self::Reject,
    ];

    /// The option of the kernel's configuration, or the version, that brings it.
    #[must_use]
    pub const fn needs(self) -> &'static str {
        match self {
            Self::Inet => "CONFIG_NF_TABLES and CONFIG_NF_TABLES_INET, and CAP_NET_ADMIN in the network namespace",
            Self::Owner => "Linux 5.12",
            Self::Persist => "Linux 6.9",
            Self::CatchAll => "Linux 5.13",
            Self::ConcatInterval => "Linux 5.6",
            Self::MapChain | Self::VerdictMap => "CONFIG_NF_TABLES",
            Self::LogGroup => "CONFIG_NFT_LOG and CONFIG_NETFILTER_NETLINK_LOG",
            Self::Limit => "CONFIG_NFT_LIMIT",
            Self::ConntrackMark => "CONFIG_NFT_CT and CONFIG_NF_CONNTRACK_MARK",
            Self::ConntrackLabel => "CONFIG_NFT_CT and CONFIG_NF_CONNTRACK_LABELS",
            Self::ConntrackList => "CONFIG_NF_CT_NETLINK and CONFIG_NF_CONNTRACK_MARK",
            Self::Fib => "CONFIG_NFT_FIB_INET",
            Self::Numgen => "CONFIG_NFT_NUMGEN",
            Self::Nat => "CONFIG_NFT_NAT",
            Self::Masquerade => "CONFIG_NFT_MASQ",
            Self::Redirect => "CONFIG_NFT_REDIR",
            Self::Reject => "CONFIG_NFT_REJECT_INET",
        }
    }
}

impl fmt::Display for Feature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Inet => "nf_tables for IPv4 and IPv6",
            Self::Owner => "tables with an owner",
            Self::Persist => "owned tables that persist",
            Self::CatchAll => "catch-all elements",
            Self::ConcatInterval => "interval sets of several fields",
            Self::MapChain => "chained map lookups",
            Self::VerdictMap => "verdict maps",
            Self::LogGroup => "log groups",
            Self::Limit => "rate limits",
            Self::ConntrackMark => "connection state and marks",
            Self::ConntrackLabel => "connection labels",
            Self::ConntrackList => "listing of connections",
            Self::Fib => "route lookups",
            Self::Numgen => "number generators",
            Self::Nat => "address translation",
            Self::Masquerade => "masquerading",
            Self::Redirect => "redirection",
            Self::Reject => "reject",
        })
    }
}

/// Why a feature cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{feature} missing ({error}); needs {}", .feature.needs())]
pub struct Missing {
    /// The feature.
    pub feature: Feature,
    /// What the kernel answered.
    pub error: Error,
}

/// What [`features`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Features {
    missing: Vec<Missing>,
}

impl Features {
    /// Whether `feature` works.
    ///
    /// # Errors
    /// [`Missing`] with the kernel's reason.
    pub fn check(&self, feature: Feature) -> Result<(), Missing> {
        self.missing.iter().find(|m| m.feature == feature).map_or(Ok(()), |m| Err(m.clone()))
    }

    /// What does not work.
    #[must_use]
    pub fn missing(&self) -> &[Missing] {
        &self.missing
    }
}

/// Tries every feature in the network namespace of the calling thread. Changes nothing.
#[must_use]
pub fn features() -> Features {
    let missing = |feature| move |error| Missing { feature, error };
    let found = match Socket::open(Protocol::Netfilter) {
        Ok(mut socket) => {
            Feature::ALL.into_iter().filter_map(|f| attempt(&mut socket, f).err().map(missing(f))).collect()
        }
        Err(error) => Feature::ALL.into_iter().map(|f| missing(f)(error.clone())).collect(),
    };
    Features { missing: found }
}

fn attempt(socket: &mut Socket, feature: Feature) -> Result<(), Error> {
    if feature == Feature::ConntrackList {
        // No connection has all bits of its mark set, so this returns little.
        let rare = Masked { value: u32::MAX, mask: u32::MAX };
        return conntrack::list(socket, conntrack::Family::V4, Some(rare)).map(drop);
    }
    let table = TableId::new(Family::Inet, &format!("tortie_probe_{}", socket.port()));
    let flags = match feature {
        Feature::Owner => TableFlags { owner: true, persist: false },
        Feature::Persist => TableFlags::OWNED,
        _ => TableFlags::NONE,
    };
    let chain = "probe".to_owned();
    let mut ops = vec![
        Op::AddTable { table: table.clone(), flags },
        Op::AddChain { table: table.clone(), chain: chain.clone(), base: None },
    ];
    let (maps, exprs) = trial(feature);
    for (map, spec, elements) in maps {
        let (map, of) = (map.to_owned(), table.clone());
        ops.push(Op::AddMap { table: of.clone(), map: map.clone(), spec: spec.clone() });
        ops.push(Op::AddElements { table: of, map, spec, elements });
    }
    if !exprs.is_empty() {
        let rule = Rule { exprs, comment: None };
        ops.push(Op::AddRule { table: table.clone(), chain, place: Place::End, rule });
    }
    // Refused for sure, and with it all of the above is taken back.
    ops.push(Op::DeleteChain { table, chain: "absent".to_owned() });
    let last = ops.len() - 1;
    match Batch::of(&ops)?.commit(socket, None) {
        Err(Error::Kernel { index: Some(index), errno: Errno::NOENT, more: 0, .. }) if index == last => Ok(()),
        Err(error) => Err(error),
        Ok(()) => Err(Error::malformed("the kernel deleted a chain that does not exist")),
    }
}

type Trial = (Vec<(&'static str, MapSpec, Vec<Element>)>, Vec<Expr>);

/// Maps and a rule that use a feature.
fn trial(feature: Feature) -> Trial {
    const R0: Reg = Reg::new(0);
    const R1: Reg = Reg::new(1);
    let map = |key: &[KeyType], data, kind| MapSpec {
        key: key.to_vec(),
        data,
        kind,
        size: None,
        counter: false,
        timeout: false,
    };
    let mark = || Expr::Meta { key: MetaKey::Mark, dreg: R0 };
    let constant = |dreg, len: usize| Expr::Immediate { dreg, data: vec![0; len] };
    match feature {
        Feature::Inet | Feature::Owner | Feature::Persist | Feature::ConntrackList => (vec![], vec![]),
        Feature::CatchAll => {
            let all = vec![Element::CatchAll { data: None }];
            let hash = map(&[KeyType::Ipv4], None, MapKind::Hash);
            let tree = map(&[KeyType::Ipv4], None, MapKind::Interval);
            (vec![("hash", hash, all.clone()), ("tree", tree, all)], vec![])
        }
        Feature::ConcatInterval => {
            let range = Element::Range { from: vec![0; 8], to: vec![1, 0, 0, 0, 1, 0, 0, 0], data: None };
            let key = [KeyType::Ipv4, KeyType::Proto];
            (vec![("pipapo", map(&key, None, MapKind::Interval), vec![range])], vec![])
        }
        Feature::MapChain => {
            let data = DataType::Value { len: 8, nft_type: 19 << 6 | 19 };
            let value = tortie_ruleset::Data::Value(vec![0; 8]);
            let spec = MapSpec { size: Some(16), ..map(&[KeyType::Mark], Some(data), MapKind::Hash) };
            let lookup = |sreg, dreg| Expr::Lookup {
                map: "chain".to_owned(),
                sreg,
                dreg: Some(dreg),
                verdict: false,
                invert: false,
            };
            (
                vec![("chain", spec, vec![Element::entry(vec![0; 4], value)])],
                vec![mark(), lookup(R0, R0), lookup(R1, R0)],
            )
        }
        Feature::VerdictMap => {
            let verdict = tortie_ruleset::Data::Verdict(tortie_ruleset::Verdict::Accept);
            let spec = map(&[KeyType::Mark], Some(DataType::Verdict), MapKind::Hash);
            let lookup =
                Expr::Lookup { map: "verdicts".to_owned(), sreg: R0, dreg: None, verdict: true, invert: false };
            (vec![("verdicts", spec, vec![Element::entry(vec![0; 4], verdict)])], vec![mark(), lookup])
        }
        Feature::LogGroup => {
            (vec![], vec![Expr::Log { group: 0, prefix: "probe".to_owned(), snaplen: 64, threshold: 1 }])
        }
        Feature::Limit => (vec![], vec![Expr::Limit { rate: 1, per_seconds: 1, burst: 1 }]),
        Feature::ConntrackMark => {
            let state = Expr::Ct { key: CtKey::State, dreg: R0 };
            (vec![], vec![state, Expr::Ct { key: CtKey::Mark, dreg: R0 }, Expr::CtSet { key: CtKey::Mark, sreg: R0 }])
        }
        Feature::ConntrackLabel => {
            let load = Expr::Ct { key: CtKey::Labels, dreg: R0 };
            (vec![], vec![load, Expr::CtSet { key: CtKey::Labels, sreg: R0 }])
        }
        Feature::Fib => {
            let kind = Expr::Fib { result: FibResult::AddrType, dreg: R0 };
            (vec![], vec![kind, Expr::Fib { result: FibResult::Oif, dreg: R0 }])
        }
        Feature::Numgen => (vec![], vec![Expr::Numgen { random: true, modulus: 2, offset: 0, dreg: R0 }]),
        Feature::Nat => {
            let nat = |kind, family| Expr::Nat { kind, family, addr: R0, port: Some(Reg::new(4)) };
            let (v4, v6) = (nat(NatKind::Dnat, 2), nat(NatKind::Snat, 10));
            (vec![], vec![constant(R0, 16), constant(Reg::new(4), 2), v4, v6])
        }
        Feature::Masquerade => (vec![], vec![Expr::Masquerade]),
        Feature::Redirect => (vec![], vec![constant(R0, 2), Expr::Redirect { port: Some(R0) }]),
        Feature::Reject => (vec![], vec![Expr::Reject { tcp_reset: false }]),
    }
}
