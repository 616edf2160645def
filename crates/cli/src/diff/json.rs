//! A difference for programs: a line a pair.

use std::io::{self, Write};

use schemars::JsonSchema;
use serde::Serialize;
use tortie_analysis::ingress::Way;
use tortie_connectivity::{Cause, Change, Difference, Name};

use super::cause::{CauseLine, Sides};
use super::group::Turn;
use crate::connectivity::machine::Packets;

/// A pair that differs.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Line<'l> {
    /// Who sends: `ns/Kind/name`, `node/NAME`, or a range of addresses `FIRST-LAST`; or the Ingress, Gateway or Service at
    /// which requests come in.
    src: &'l str,
    /// Who is sent it.
    dst: &'l str,
    /// How requests come in, where `src` is such an object.
    #[serde(skip_serializing_if = "Option::is_none")]
    way: Option<WayLine>,
    /// What passes now and did not.
    opened: Packets,
    /// What passed and does not any more.
    closed: Packets,
    /// All that passed.
    before: Packets,
    /// All that passes.
    after: Packets,
    /// What opened it.
    opened_by: Vec<CauseLine>,
    /// What closed it.
    closed_by: Vec<CauseLine>,
}

/// By which way requests come in.
#[derive(Serialize, JsonSchema)]
enum WayLine {
    Ingress,
    Gateway,
    LoadBalancer,
    NodePort,
    /// An address that a Service claims.
    #[serde(rename = "ExternalIP")]
    ExternalIp,
}

impl From<Way> for WayLine {
    fn from(way: Way) -> Self {
        match way {
            Way::Ingress => Self::Ingress,
            Way::Gateway => Self::Gateway,
            Way::LoadBalancer => Self::LoadBalancer,
            Way::NodePort => Self::NodePort,
            Way::ExternalIp => Self::ExternalIp,
        }
    }
}

/// Writes a line for each pair that differs; for a part of the world, one for each of its ranges.
pub(super) fn write(sides: Sides<'_>, difference: &Difference, out: &mut impl Write) -> io::Result<()> {
    for change in &difference.changes {
        for from in names(&change.from) {
            for to in names(&change.to) {
                serde_json::to_writer(&mut *out, &line(sides, change, &from, &to))?;
                writeln!(out)?;
            }
        }
    }
    out.flush()
}

fn line<'l>(sides: Sides<'_>, change: &Change, src: &'l str, dst: &'l str) -> Line<'l> {
    let causes = |turn, causes: &std::collections::BTreeSet<Cause>| -> Vec<CauseLine> {
        causes.iter().map(|cause| sides.line(turn, cause)).collect()
    };
    Line {
        src,
        dst,
        way: change.way.map(WayLine::from),
        opened: Packets::of(&change.opened),
        closed: Packets::of(&change.closed),
        before: Packets::of(&change.before),
        after: Packets::of(&change.after),
        opened_by: causes(Turn::Opened, &change.opened_by),
        closed_by: causes(Turn::Closed, &change.closed_by),
    }
}

fn names(name: &Name) -> Vec<String> {
    match name {
        Name::Outside(addresses) => addresses.ranges().map(|(first, last)| format!("{first}-{last}")).collect(),
        Name::Workload(_) | Name::Node(_) => vec![name.to_string()],
    }
}
