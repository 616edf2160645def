//! Which open connections a change may concern: those of others need not be judged again.

use std::collections::BTreeSet;
use std::net::IpAddr;

use tortie_model::canonical;
use tortie_plan::{Plan, ProfileId};

/// So many addresses that change at once, and it is cheaper to judge every connection.
const MANY: usize = 1024;

/// Connections, by their ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Concerned {
    /// All.
    All,
    /// Those from or to one of these addresses.
    Of(BTreeSet<IpAddr>),
}

impl Concerned {
    /// None at all.
    pub const NOBODY: Self = Self::Of(BTreeSet::new());

    /// The connections about which two plans may decide differently: those of endpoints that others govern now, and
    /// those of addresses that the profiles of this node tell apart from what they were. A profile never changes its
    /// meaning, so connections between ends that kept theirs are decided as before. Addresses in this node's pod ranges
    /// count whenever their owner may be another.
    #[must_use]
    pub fn between(before: &Plan, after: &Plan) -> Self {
        let addresses = before.addresses.changes(&after.addresses);
        if addresses.len() > MANY {
            return Self::All;
        }
        let mut out: BTreeSet<IpAddr> = before
            .endpoints
            .changes(&after.endpoints)
            .into_iter()
            .flat_map(|c| [c.old, c.new])
            .flatten()
            .flat_map(|endpoint| endpoint.addresses.iter().copied())
            .collect();
        let used: BTreeSet<ProfileId> =
            after.endpoints.values().flat_map(|e| [e.egress, e.ingress]).filter(|id| id.0 != 0).collect();
        let profiles: Vec<_> =
            used.into_iter().filter_map(|id| Some((before.profiles.get(&id)?, after.profiles.get(&id)?))).collect();
        for ip in addresses.into_iter().map(|c| *c.key) {
            let owned = before.pod_ranges.iter().chain(&after.pod_ranges).any(|range| range.contains(&ip));
            if owned || profiles.iter().any(|(a, b)| before.class(a, ip) != after.class(b, ip)) {
                out.insert(ip);
            }
        }
        Self::Of(out)
    }

    /// These and those.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Of(mut a), Self::Of(b)) => {
                a.extend(b);
                Self::Of(a)
            }
            _ => Self::All,
        }
    }

    /// Whether it is none at all.
    #[must_use]
    pub fn is_nobody(&self) -> bool {
        matches!(self, Self::Of(addresses) if addresses.is_empty())
    }

    /// Whether a connection between two addresses is among them.
    #[must_use]
    pub fn contains(&self, ends: [IpAddr; 2]) -> bool {
        match self {
            Self::All => true,
            Self::Of(addresses) => ends.iter().any(|ip| addresses.contains(&canonical(*ip))),
        }
    }
}
