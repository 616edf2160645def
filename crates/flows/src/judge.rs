//! What would become of recorded connections.

use tortie_model::{Family, IpProtocol};
use tortie_policy::{FlowVerdict, Profiles, Side};

use crate::record::{Flow, Recording, Seen};
use crate::resolve::{End, Population, Unresolved};

/// Which way connections would turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Turn {
    /// They got through, and would not any more.
    Denied,
    /// They did not, and would.
    Allowed,
}

/// A flow of which something changes.
#[derive(Clone, Debug)]
pub struct Turned {
    /// As it was recorded.
    pub flow: Flow,
    /// The line that tells of it first.
    pub line: usize,
    /// Connections.
    pub count: u64,
    /// Which way.
    pub turn: Turn,
    /// Who opens it, in the new cluster.
    pub from: End,
    /// Who is reached.
    pub to: End,
    /// Why it was as it was; nothing where only the record tells.
    pub before: Option<FlowVerdict>,
    /// Why it would be otherwise, between the two pods of the ends that come first.
    pub after: FlowVerdict,
}

/// What was found.
#[derive(Clone, Debug, Default)]
pub struct Judged {
    /// What changes, in the order of the flows.
    pub turned: Vec<Turned>,
    /// Flows that stay as they are.
    pub same: usize,
    /// Flows of which an end is nobody, with the reason.
    pub unresolved: Vec<(Flow, Unresolved)>,
    /// Flows that were recorded as one thing, while the old manifests say the other: they are not of the cluster that
    /// was recorded.
    pub at_odds: usize,
}

/// Puts recorded connections to the clusters before and after a change; without the one before, what the record says
/// counts.
#[must_use]
pub fn judge(recording: &Recording, old: Option<&Population>, new: &Population) -> Judged {
    let mut out = Judged::default();
    let mut profiles = Profiles::new(new.index());
    let mut old = old.map(|old| (old, Profiles::new(old.index())));
    for (flow, seen) in &recording.flows {
        let ends = new.resolve(&flow.from).and_then(|from| Ok((from, new.resolve(&flow.to)?)));
        let (from, to) = match ends {
            Ok(ends) => ends,
            Err(why) => {
                out.unresolved.push((flow.clone(), why));
                continue;
            }
        };
        let recorded = seen.allowed() > 0;
        let before = old.as_mut().and_then(|(old, profiles)| before(old, profiles, flow, recorded));
        let was_allowed = before.as_ref().map_or(recorded, |before| before.is_allowed);
        out.at_odds += usize::from(was_allowed != recorded);
        let mut sides = new.sides(&from, &to, family(flow)).into_iter();
        match sides.find(|(a, b)| profiles.allow(a, b, flow.traffic) != was_allowed) {
            Some((a, b)) => {
                let turn = if was_allowed { Turn::Denied } else { Turn::Allowed };
                let after = new.index().verdict(&a, &b, flow.traffic);
                let told = |before: Before| {
                    let (old, _) = old.as_ref()?;
                    Some(old.index().verdict(&before.from, &before.to, flow.traffic))
                };
                let before = before.and_then(told);
                let (flow, line, count) = (flow.clone(), seen.line, count(seen, recorded));
                out.turned.push(Turned { flow, line, count, turn, from, to, before, after });
            }
            None => out.same += 1,
        }
    }
    out
}

fn count(seen: &Seen, recorded: bool) -> u64 {
    if recorded { seen.allowed() } else { seen.denied() }
}

/// What the old manifests say of a flow, and between whom.
struct Before {
    is_allowed: bool,
    from: Side,
    to: Side,
}

/// What the old manifests say: allowed when any pair of pods is as recorded.
fn before(old: &Population, profiles: &mut Profiles<'_>, flow: &Flow, recorded: bool) -> Option<Before> {
    let (from, to) = (old.resolve(&flow.from).ok()?, old.resolve(&flow.to).ok()?);
    let mut other = None;
    for (from, to) in old.sides(&from, &to, family(flow)) {
        let is_allowed = profiles.allow(&from, &to, flow.traffic);
        let before = Before { is_allowed, from, to };
        if is_allowed == recorded {
            return Some(before);
        }
        other.get_or_insert(before);
    }
    other
}

/// The family in which a connection was recorded, when an address or its protocol tells.
pub(crate) fn family(flow: &Flow) -> Option<Family> {
    match flow.traffic.protocol {
        IpProtocol::ICMPV6 => return Some(Family::V6),
        IpProtocol::ICMP => return Some(Family::V4),
        _ => {}
    }
    flow.from.address.or(flow.to.address).map(Family::of)
}
