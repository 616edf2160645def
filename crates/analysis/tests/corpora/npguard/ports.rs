//! Sets of ports, as np-guard writes them.

use std::collections::BTreeMap;

use serde_json::Value;
use tortie_model::{Protocol, Traffic};
use tortie_policy::Side;

use crate::cluster::{Cluster, list};

/// Ports of each protocol, as sorted ranges from 1 on; protocols without any are left out.
pub(crate) type PortSets = BTreeMap<String, Vec<(u16, u16)>>;

/// `{PROTO: [[lo, hi], ..]}`.
pub(crate) fn port_sets(value: &Value) -> PortSets {
    let port = |v: &Value| v.as_u64().and_then(|n| u16::try_from(n).ok()).expect("a port");
    let ranges = |v: &Value| list(v).iter().map(|r| (port(&r[0]).max(1), port(&r[1]))).collect();
    value.as_object().into_iter().flatten().map(|(protocol, v)| (protocol.clone(), ranges(v))).collect()
}

/// What the engine lets pass between two ends; there is no port 0 in np-guard.
pub(crate) fn allowed(cluster: &Cluster, from: &Side, to: &Side) -> PortSets {
    let regions = cluster.index.pair(from, to).allowed();
    let mut out = PortSets::new();
    for protocol in Protocol::ALL {
        let ranges = regions.ranges(protocol.into()).into_iter().filter(|(_, allowed)| **allowed);
        let ranges: Vec<_> = ranges.map(|(r, _)| ((*r.start()).max(1), *r.end())).filter(|(a, b)| a <= b).collect();
        if !ranges.is_empty() {
            out.insert(protocol.to_string(), ranges);
        }
    }
    out
}

/// What is in either.
pub(super) fn union(mut a: PortSets, b: &PortSets) -> PortSets {
    for (protocol, ranges) in b {
        let mut all = a.remove(protocol).unwrap_or_default();
        all.extend(ranges);
        all.sort_unstable();
        let mut merged: Vec<(u16, u16)> = Vec::new();
        for (start, end) in all {
            match merged.last_mut() {
                Some(last) if u32::from(start) <= u32::from(last.1) + 1 => last.1 = last.1.max(end),
                _ => merged.push((start, end)),
            }
        }
        a.insert(protocol.clone(), merged);
    }
    a
}

/// What is left where a list is about one port.
pub(super) fn only(sets: &mut PortSets, protocol: &str, port: u16) {
    sets.retain(|name, ranges| {
        let is_in = ranges.iter().any(|(first, last)| (*first..=*last).contains(&port));
        *ranges = vec![(port, port)];
        name == protocol && is_in
    });
}

/// The packets at the ends of all ranges.
pub(super) fn ends(sets: &PortSets) -> Vec<Traffic> {
    let of = |(name, ranges): (&String, &Vec<(u16, u16)>)| {
        let protocol: Protocol = name.parse().expect("a transport protocol");
        ranges
            .iter()
            .flat_map(move |(a, b)| [*a, *b])
            .map(move |port| Traffic::port(protocol, port))
            .collect::<Vec<_>>()
    };
    sets.iter().flat_map(of).collect()
}
